"""What analysis is told: everything that may change a finding, and nothing else.

These values are written into every archive, so that a replay takes them from there.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Severity = Literal["info", "warning", "error"]


class CheckSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a site changes about one check or one family (``time-*``)."""

    enabled: bool | None = None
    severity: Severity | None = None
    expected_until: str = ""  # a date: until then the check is expected to fire, and is shown as info
    max_findings: Annotated[int, msgspec.Meta(ge=1, description="a number from 1 on")] | None = None  # different findings of this check in one session; more are counted as dropped
    every: Annotated[float, msgspec.Meta(ge=0, description="seconds, 0 or more")] = 0.0  # seconds between two notices of the same finding while it repeats; the session's last report has them all
    limits: dict[str, float] = msgspec.field(default_factory=dict)  # thresholds by name; `plugtap checks ID` lists them


class AnalysisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of one Analysis. Times in seconds."""

    site: str = "site"
    tap: str = "tap"
    reorder: float = 0.15  # how far sources may lag behind each other (pilot block 100 ms + 50 ms)
    idle: float = 60.0  # a pair silent for this long has ended its session
    recording_gap: float = 30.0  # foreign files: silence of all sources this long is a gap in the recording
    pilot: Literal["iec", "j1772"] = "iec"  # whose table says what a duty cycle means: IEC 61851-1 Table A.7 or SAE J1772
    own_macs: tuple[str, ...] = ()  # MACs of the EVSE at this connector; empty: learnt from the traffic
    max_sessions: int = 64  # open at the same time
    max_findings: int = 200  # of one session
    max_streams: int = 256
    vantage: Literal["passive", "host", "bridge", "unknown"] = "unknown"
    checks: dict[str, CheckSettings] = msgspec.field(default_factory=dict)


def encode_settings(settings: AnalysisSettings) -> bytes:
    """The settings as JSON bytes, in a fixed order, for the archive."""
    return msgspec.json.encode(settings, order="sorted")


def decode_settings(data: bytes) -> AnalysisSettings:
    """Read back what `encode_settings` wrote. Raises msgspec.ValidationError, naming the key."""
    return msgspec.json.decode(data, type=AnalysisSettings)
