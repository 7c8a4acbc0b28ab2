"""What checks say: findings and verdicts (DESIGN section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

SEVERITIES = ("info", "warning", "error")
CLASSES = ("normative", "timeout", "performance", "heuristic", "implementation", "info")
EFFECTS = ("unsafe", "stops-charging", "degrades", "none", "unknown")
SIDES = ("EVCC", "SECC", "line", "authorization", "user", "tap", "none", "unknown")
CERTAINTIES = ("sure", "likely", "possible")


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A measured number beside its limit: ``{"value": 12.03, "unit": "s", "limit": 7, "op": ">"}``."""

    value: Any
    unit: str = ""
    limit: Any = None
    op: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True, tag="finding", tag_field="type"):
    """One violation with its evidence. Repeats raise `count` and `rev`; consequences name their `root`."""

    id: str
    rev: int = 1
    session: str | None
    check: str
    severity: str
    class_: str = msgspec.field(name="class")
    effect: str
    side: str
    certainty: str
    time: str
    t: float
    frame: int
    frames: tuple[int, ...]
    count: int = 1
    last_time: str
    root: str | None = None
    title: str
    detail: str
    cause: str
    fix: str
    refs: tuple[str, ...] = ()
    uec: str | None = None
    values: dict[str, Value] = msgspec.field(default_factory=dict)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The one-sentence judgement of a session."""

    check: str | None = None
    side: str = "none"
    certainty: str = "possible"
    summary: str
    suggestion: str = ""
    uec: str | None = None
    possible_mrec: str | None = None
