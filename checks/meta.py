"""What is known about a check before it runs: the text people read and the rules the engine applies."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """A threshold a site may change. `sure`: confirmed (standard value, several sources), single (one source), heuristic (practice)."""

    value: float
    unit: str
    why: str
    sure: str = "heuristic"


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of a check. `id` is kebab-case, family first, and stable once released.

    `severity` is what the finding starts with; the settling at the session's end raises the root of a failure to error and lowers what did no
    harm (checks/settle.py). `effect` is what the condition *can* do: ``stops-charging`` makes the check a candidate for the root cause.
    `priority` orders candidates: the lower, the closer to the root (10 wire damage and negotiation, 50 time-outs, 90 consequences).
    `needs` names coverage (Session.sees): without it the check is suppressed. `gap` says what a loss since the check was armed means:
    suppress (say nothing), uncertain (say ``possible``), proceed.
    """

    id: str
    title: str
    severity: str  # info, warning, error
    class_: str  # normative, timeout, performance, heuristic, implementation, info
    effect: str  # unsafe, stops-charging, degrades, none, unknown
    side: str  # EVCC, SECC, line, authorization, user, tap, none, unknown
    trigger: str  # the condition in words, with the numbers as {limit-name}
    cause: str
    fix: str
    refs: tuple[str, ...]
    confidence: str = "seen"  # seen, mixed, corrected, unconfirmed (as the catalogue has it)
    certainty: str = "sure"
    gap: str = "suppress"
    needs: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("din", "iso2", "iso20")
    modes: tuple[str, ...] = ("ac", "dc")
    limits: dict[str, Limit] = msgspec.field(default_factory=dict)
    uec: str | None = None
    mrec: str | None = None
    priority: int = 60
    enabled: bool = True
    pairs: str = "own"  # own: silent on pairs known to be foreign; any
    example: str = ""

    @property
    def family(self) -> str:
        """``slac`` of ``slac-match-no-cnf``."""
        return self.id.split("-", 1)[0]
