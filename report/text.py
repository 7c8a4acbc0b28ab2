"""Sessions and findings for a person at a terminal: what happened, who, why, what to do. Gives rich renderables; printing is the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding
from plugtap.report.captures import CaptureReport
from plugtap.sessions.records import PHASES

OUTCOME_STYLE = {
    "completed": ("✔", "bold green"),
    "paused": ("⏸", "bold green"),
    "stopped": ("■", "bold yellow"),
    "incomplete": ("…", "bold cyan"),
    "failed": ("✘", "bold red"),
    None: ("▶", "bold blue"),
}
SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}
PROTOCOL = {"din": "DIN 70121", "iso2": "ISO 15118-2", "iso20": "ISO 15118-20", "iec61851": "IEC 61851 (pilot only)"}
MAX_FINDINGS = 12


def capture(report: CaptureReport, *, details: bool = True) -> RenderableType:
    """A capture file: its head line, then its sessions."""
    parts: list[RenderableType] = [_head(report)]
    for shown in report.sessions:
        parts.append(Padding(session(shown, details=details), (1, 0, 0, 2)))
    for finding in report.findings:
        parts.append(Padding(_finding_line(finding), (0, 0, 0, 2)))
    if not report.sessions:
        parts.append(Padding(Text("no charging communication in this capture", "dim"), (0, 0, 0, 2)))
    for note in report.notes:
        parts.append(Padding(Text(f"note: {note}", "dim"), (0, 0, 0, 2)))
    return Group(*parts)


def _head(report: CaptureReport) -> Text:
    head = Text(report.file, "bold")
    when = "clock not set" if report.coverage.get("clock") == "relative" else (report.start or "")[:19].replace("T", " ")
    n = len(report.sessions)
    head.append(f"  {n} session{'' if n == 1 else 's'}, {report.frames} frames", "default")
    if when:
        head.append(f", {when}{' UTC' if when[:1].isdigit() else ''}", "dim")
    return head


def session(report: SessionReport, *, details: bool = True) -> RenderableType:
    """One session: outcome, verdict, way, coverage, findings."""
    mark, style = OUTCOME_STYLE[report.outcome]
    head = Text()
    head.append(f"{mark} {(report.outcome or 'in progress').upper()}", style)
    head.append(f"  reached {report.reached or 'nothing'}", "bold")
    for fact in _facts(report):
        head.append(f" · {fact}")
    lines: list[RenderableType] = [head]
    verdict = Text("  ")
    if report.verdict.side not in ("none",):
        verdict.append(f"{_side(report.verdict.side)}: ", "bold")
    verdict.append(report.verdict.summary)
    if report.verdict.certainty != "sure":
        verdict.append(f" ({report.verdict.certainty})", "dim")
    lines.append(verdict)
    if report.verdict.suggestion:
        lines.append(Text(f"  → {report.verdict.suggestion}", "italic"))
    if details:
        lines.append(_way(report))
        lines.append(Text(f"  seen: {_coverage(report)}", "dim"))
    if report.findings and details:
        lines.append(_findings(report.findings))
    return Group(*lines)


def _side(side: str) -> str:
    return {"EVCC": "EV", "SECC": "EVSE", "line": "the line", "tap": "the tap"}.get(side, side)


def _facts(report: SessionReport) -> Iterable[str]:
    if report.protocol:
        energy = f" {report.energy.upper()}" if report.energy else ""
        yield PROTOCOL.get(report.protocol, report.protocol) + energy
    if report.pair == "foreign":
        yield "a neighbour's session"
    el = report.electrical
    if el.get("energy_wh"):
        yield f"{el['energy_wh'] / 1000:.2f} kWh"
    if "soc_start" in el and "soc_end" in el:
        yield f"SOC {el['soc_start']}→{el['soc_end']} %"
    if report.attempts > 1:
        yield f"{report.attempts} attempts"
    if report.coverage.clock == "absolute":
        yield f"{report.start[11:23]}"
    yield f"frames {report.first_frame}–{report.last_frame}"
    yield report.id


def _way(report: SessionReport) -> Text:
    """The phases as a path: those entered, and where it stopped."""
    entered = {p.name: p for p in report.phases}
    text = Text("  ")
    shown = [p for p in PHASES if p in entered]
    for i, name in enumerate(shown):
        if i:
            text.append(" → ", "dim")
        last = name == report.reached
        text.append(name, OUTCOME_STYLE[report.outcome][1] if last else "default")
    if report.ended is not None:
        who = _side(report.ended.by)
        text.append(f"  ({report.ended.how} by {who}, frame {report.ended.frame})", "dim")
    return text


def _coverage(report: SessionReport) -> str:
    c = report.coverage
    words = {"both": "both sides", "evcc": "EV side only", "secc": "EVSE side only", "none": "nothing"}
    parts = [f"SLAC {words[c.slac]}", f"V2G {words[c.unicast]}", f"pilot {c.pilot}"]
    if c.tls != "none":
        parts.append(f"TLS {c.tls}")
    if c.start == "late":
        parts.append("joined late")
    if c.end == "cut":
        parts.append("end not in the capture")
    if c.lost["frames"] or c.lost["bytes"]:
        parts.append(f"lost {c.lost['frames']} frames, {c.lost['bytes']} bytes")
    return ", ".join(parts)


def _order(finding: Finding) -> tuple[int, str, str]:
    return ({"error": 0, "warning": 1, "info": 2}[finding.severity], finding.time, finding.check)


def _findings(findings: Sequence[Finding]) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    ordered = sorted(findings, key=_order)
    for finding in ordered[:MAX_FINDINGS]:
        times = f" ×{finding.count}" if finding.count > 1 else ""
        what = Text(finding.check, SEVERITY_STYLE[finding.severity])
        what.append(f"{times}\n", "default")
        what.append(finding.detail, "default" if finding.severity != "info" else "dim")
        table.add_row(
            Text(f"  {finding.severity}", SEVERITY_STYLE[finding.severity]), f"{finding.t:.3f} s", Text(f"frame {finding.frame}", "dim"), what
        )
    if len(ordered) > MAX_FINDINGS:
        table.add_row("", "", "", Text(f"… and {len(ordered) - MAX_FINDINGS} more (--format json shows all)", "dim"))
    return table


def _finding_line(finding: Finding) -> Text:
    line = Text(f"{finding.severity} ", SEVERITY_STYLE[finding.severity])
    line.append(f"{finding.check}: {finding.detail}")
    return line


def summary(reports: Sequence[CaptureReport]) -> Text:
    """One line over many captures."""
    counts: dict[str, int] = {}
    for report in reports:
        for shown in report.sessions:
            counts[shown.outcome or "open"] = counts.get(shown.outcome or "open", 0) + 1
    text = Text(f"{len(reports)} captures, {sum(counts.values())} sessions: ")
    for i, (name, (mark, style)) in enumerate((n, s) for n, s in OUTCOME_STYLE.items() if n is not None and n in counts):
        text.append(", " if i else "")
        text.append(f"{mark} {counts[name]} {name}", style)
    return text


def fact_rows(values: dict[str, Any]) -> list[str]:
    """``name value unit (limit op)`` of a finding's values, for explanations."""
    rows = []
    for name, value in values.items():
        limit = f" ({value.op} {value.limit} {value.unit})" if value.limit is not None else ""
        rows.append(f"{name} {value.value} {value.unit}{limit}")
    return rows
