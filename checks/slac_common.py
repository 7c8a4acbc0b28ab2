"""What the SLAC checks share: their limits and how times are written."""

from __future__ import annotations

from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.meta import Limit

SECOND = 1_000_000_000


def slac(*names: str) -> dict[str, Limit]:
    """Rows of slac.tsv by name."""
    return limits_of("slac", *names)


def ns(seconds: float) -> int:
    """Seconds as nanoseconds."""
    return round(seconds * SECOND)


def seconds(t: int) -> float:
    """Nanoseconds as seconds, microseconds precise."""
    return round(t / SECOND, 6)


def took(t: int, limit: float, op: str = ">") -> Value:
    """A duration beside its limit."""
    return Value(seconds(t), "s", limit, op)


def mac(address: bytes) -> str:
    """``02:00:00:00:00:01``."""
    return address.hex(":")
