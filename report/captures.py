"""The result of one capture as `plugtap analyze` gives it (DESIGN section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap import __version__
from plugtap.analysis.outputs import FORMAT, Output, SessionReport
from plugtap.checks.finding import Finding


class CaptureReport(msgspec.Struct, frozen=True, kw_only=True):
    """One capture file. `notes` are remarks for people (truncated record, skipped interfaces); not part of the JSON contract's facts."""

    file: str
    frames: int
    start: str | None
    end: str | None
    coverage: dict[str, Any]
    sessions: tuple[SessionReport, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """`plugtap analyze --format json`."""

    plugtap: str = __version__
    format: int = FORMAT
    captures: tuple[CaptureReport, ...] = ()


class CaptureLine(msgspec.Struct, frozen=True, kw_only=True, tag="capture", tag_field="type"):
    """The line of a capture in `--format jsonl`, after its sessions, which come as they end."""

    plugtap: str = __version__
    format: int = FORMAT
    file: str
    frames: int
    start: str | None
    end: str | None
    coverage: dict[str, Any]
    notes: tuple[str, ...] = ()


def document(reports: list[CaptureReport]) -> bytes:
    """The JSON document, pretty enough to read in a pager."""
    return msgspec.json.format(msgspec.json.encode(Document(captures=tuple(reports))), indent=1)


def head(report: CaptureReport) -> CaptureLine:
    """The line of the capture itself in JSON Lines."""
    return CaptureLine(
        file=report.file, frames=report.frames, start=report.start, end=report.end, coverage=report.coverage, notes=report.notes
    )


def line(output: CaptureLine | Output) -> bytes:
    """One line of JSON Lines."""
    return msgspec.json.encode(output) + b"\n"
