"""What the tracker derives from events, for checks: the session's own events. Same base as protocol events."""

from __future__ import annotations

from plugtap.protocols.events import Event, V2gMessage


class PhaseEntered(Event, frozen=True, kw_only=True):
    """The session entered `phase` (see sessions.records.PHASES)."""

    phase: str


class Exchange(Event, frozen=True, kw_only=True):
    """A request and its response met. `name` is without Req/Res (``CableCheck``). `latency` ns from the request's completing frame to the
    first frame of the response. `late`: another request came in between, or the pairing crossed a gap."""

    name: str
    request: V2gMessage
    response: V2gMessage
    latency: int
    late: bool = False


class SessionOpened(Event, frozen=True, kw_only=True):
    """The session began."""


class NewAttempt(Event, frozen=True, kw_only=True):
    """Another try of the same pair before SessionSetup was answered. `what`: slac or sap."""

    what: str
    number: int


class ReportToOther(Event, frozen=True, kw_only=True):
    """The EVSE this EV is at SLAC with reported an attenuation to another EV. `evse`, `ev`: MACs; `average`: dB, None where the report is empty."""

    evse: bytes
    ev: bytes
    average: float | None


class SessionEnded(Event, frozen=True, kw_only=True):
    """The end is known (by, how as in DESIGN); frames of the close may still follow."""

    by: str
    how: str


class SessionClosing(Event, frozen=True, kw_only=True):
    """Last chance before the report: no event of this session follows."""
