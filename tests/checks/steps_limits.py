"""Borders of the tables of limits: how to make a conversation in which what a limit is held against has a given amount."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab import Lab, Step
from steps import around, on, said, step

from plugtap.checks.finding import Finding

Scene = Callable[[float], Lab]
Heard = Callable[[Finding], bool]


def anything(finding: Finding) -> bool:
    """Every finding of the check counts."""
    return True


def is_warning(finding: Finding) -> bool:
    """The upper of two limits of a check."""
    return finding.severity == "warning"


@dataclass(frozen=True)
class Border:
    """The check speaks where the amount that `scene` is given lies above the limit; below it with `under`.

    Amounts that can be anything are held half a step before and after the number. Those that come in whole steps (`at` is not None) are held
    at the number and one step before or after it: `at` says whether the check speaks at the number itself. `heard`: the findings that count.
    """

    check: str
    scene: Scene
    under: bool = False
    at: bool | None = None
    heard: Heard = anything
    tail: float = 70.0
    idle: float = 60.0  # s, after which the analysis calls a session over
    others: tuple[tuple[str, float], ...] = ()  # limits of the check that this scene sets apart, so that only the one in question decides

    def amounts(self, number: str) -> tuple[float, float]:
        """(silent, speaking)."""
        value, one = float(number), step(number) if not self.under else -step(number)
        if self.at is None:
            low, high = around(number)
            return (high, low) if self.under else (low, high)
        return (value - one, value) if self.at else (value, value + one)

    def speaks(self, amount: float) -> bool:
        result = said(self.scene(amount), self.check, self.tail, on(self.check, dict(self.others), idle=self.idle))
        return any(self.heard(finding) for finding in result.of(self.check))

    def runs(self, number: str) -> Iterator[Callable[[], None]]:
        """Silent on the one side, speaking on the other."""
        silent, speaking = self.amounts(number)
        yield lambda: self._holds(silent, False)
        yield lambda: self._holds(speaking, True)

    def _holds(self, amount: float, speaks: bool) -> None:
        assert self.speaks(amount) is speaks, f"{self.check} at {amount:g}"


# --- conversations ------------------------------------------------------------------------------------------------


def dc(name: str = "din-dc") -> Lab:
    """A good session's V2G messages alone."""
    return Lab.good(name, pilot=False, slac=False)


def pause(lab: Lab, name: str, nth: int, seconds: float) -> Lab:
    """So long after the step before it."""
    lab.find(name, nth)[0].gap = seconds
    return lab


def at(lab: Lab, name: str, nth: int) -> float:
    """When a step happens, seconds from the start."""
    found = lab.find(name, nth)[0]
    total = 0.0
    for one in lab.steps:
        total += one.gap
        if one is found:
            break
    return total


def apart(lab: Lab, first: tuple[str, int], last: tuple[str, int], seconds: float, wait: tuple[str, int] | None = None) -> Lab:
    """So much time between two steps: the step `wait` (default: the later one) comes sooner or later for it."""
    found = lab.find(*(wait or last))[0]
    found.gap += seconds - (at(lab, *last) - at(lab, *first))
    assert found.gap >= 0, found.gap
    return lab


def place(lab: Lab, name: str, nth: int, seconds: float, *steps: Step) -> Lab:
    """Let steps (each its gap after the one before; the first so long after the named one) happen amidst the others, which keep their times."""
    when = at(lab, name, nth) + seconds
    for one in steps:
        when += 0 if one is steps[0] else one.gap
        now = 0.0
        for i, other in enumerate(lab.steps):
            if now + other.gap > when:
                other.gap -= when - now
                lab.steps.insert(i, one)
                break
            now += other.gap
        else:
            lab.steps.append(one)
        one.gap = when - now
    return lab


def stretch(lab: Lab, name: str, seconds: float, times: int = 8) -> Lab:
    """All exchanges of a name: the first, copies of it, and the last; so much time from the first response to the last response."""
    stop = lab.find(f"{name}Req")[-1]
    begin, end = (next(i for i, s in enumerate(lab.steps) if s is one) for one in (lab.find(f"{name}Req")[0], stop))
    block = [s for s in lab.steps[begin:end] if s.name in (f"{name}Req", f"{name}Res")][:2]
    every = seconds / times
    copies: list[Step] = []
    for _ in range(times - 1):
        again = copy.deepcopy(block)
        again[0].gap = every - again[1].gap
        copies += again
    lab.steps[begin:end] = block + copies
    stop.gap = every - lab.find(f"{name}Res")[-1].gap
    return lab


__all__ = ["Border", "apart", "at", "dc", "is_warning", "pause", "place", "stretch"]
