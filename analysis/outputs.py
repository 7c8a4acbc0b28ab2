"""What Analysis gives: sessions and findings as consumers see them (DESIGN section 5, `format` 1)."""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap.checks.finding import Finding, Verdict
from plugtap.checks.health import Measure
from plugtap.sessions.kpi import Kpi
from plugtap.sessions.records import Coverage, Ended, PhaseRecord

FORMAT = 1


class SessionReport(msgspec.Struct, frozen=True, kw_only=True, tag="session", tag_field="type"):
    """A SESSION object. Sent when a session opens, enters a phase, gains a finding, and closes; upsert by (id, rev)."""

    id: str
    rev: int = 1
    plug: str | None = None
    resumes: str | None = None
    attempts: int = 1
    state: str = "open"  # open, closed
    pair: str = "unknown"  # own, foreign, unknown
    start: str
    end: str | None = None
    first_frame: int
    last_frame: int
    evcc: dict[str, str | None]
    secc: dict[str, str | None]
    protocol: str | None = None  # din, iso2, iso20, iec61851
    energy: str | None = None
    payment: str | None = None
    reached: str | None = None
    phases: tuple[PhaseRecord, ...] = ()
    ended: Ended | None = None
    outcome: str | None = None  # completed, paused, failed, stopped, incomplete; None while open
    verdict: Verdict
    coverage: Coverage
    electrical: dict[str, Any] = msgspec.field(default_factory=dict)
    health: tuple[Measure, ...] = ()  # measured values beside their limits
    kpi: Kpi = Kpi(unknown="in progress")
    slac: dict[str, Any] = msgspec.field(default_factory=dict)
    tls: dict[str, Any] | None = None
    messages: dict[str, int] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


Output = SessionReport | Finding


def encode(output: Output) -> bytes:
    """The JSON of one output, as in the json formats, the archive, the log and MQTT."""
    return msgspec.json.encode(output)
