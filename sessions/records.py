"""The parts of a SESSION object as consumers see them (DESIGN section 5). Plain values, built once a session changes.

`time` strings are RFC 3339 UTC with nine decimals; `t` is seconds since the session's start.
"""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

import msgspec

SECOND = 1_000_000_000

PHASES = (
    "plugged", "slac", "matched", "linked", "sdp", "tcp", "tls", "negotiated", "setup",
    "authorization", "parameters", "cable-check", "pre-charge", "charging",
)  # fmt: skip


def rfc3339(t: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 UTC with nine decimals; times outside years 1..9999 are clamped."""
    seconds, nanos = divmod(t, SECOND)
    seconds = max(-62135596800, min(253402300799, seconds))
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{moment.isoformat()}.{nanos:09d}Z"


class PhaseRecord(msgspec.Struct, frozen=True):
    """One phase of the session: its name (see PHASES), when it was entered and when the next one was."""

    name: str
    start: str
    end: str | None


class Ended(msgspec.Struct, frozen=True):
    """Who ended the session, and how."""

    by: str  # EVCC, SECC, line, unknown
    how: str  # session-stop, pause, fin, rst, silence, unplug, new-slac, capture-end
    frame: int
    time: str


class Coverage(msgspec.Struct, frozen=True):
    """What of the session could be seen, and what was lost."""

    vantage: str = "unknown"
    slac: str = "none"  # both, evcc, secc, none: whose messages were seen
    unicast: str = "none"
    broadcast: bool = False
    pilot: str = "none"  # none, states, cycles
    tls: str = "none"  # none, metadata, decrypted
    start: str = "seen"  # seen, late
    end: str = "seen"  # seen, cut
    clock: str = "absolute"  # absolute, relative
    lost: dict[str, int] = msgspec.field(default_factory=lambda: {"frames": 0, "bytes": 0})
    gaps: tuple[dict[str, Any], ...] = ()


class Party(msgspec.Struct, frozen=True):
    """EVCC or SECC as identified by its messages. `id` is EVCCID or EVSEID."""

    mac: str | None = None
    ip: str | None = None
    id: str | None = None
    vendor: str | None = None


def stable_id(prefix: str, *facts: object) -> str:
    """A deterministic id: the same facts give the same id after a restart or in a replay."""
    digest = hashlib.blake2b("\x1f".join(map(str, facts)).encode(), digest_size=8).hexdigest()
    return f"{prefix}-{digest}"
