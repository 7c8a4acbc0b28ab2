"""Which handlers of which checks an event goes to. Found once for a kind of event, a protocol and what the guards say; the same for all sessions,
because a charge loop asks the same again ten times a second."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from plugtap.checks.base import Check, Guard, Handles
from plugtap.checks.guards import never
from plugtap.protocols.events import Event, Mme, Tcp, V2gMessage
from plugtap.sessions.notices import Exchange, PhaseEntered

NEVER = 1 << 62  # bit of a guard that need not be asked
MAX_KEPT = 1024  # kinds of event, names in them included
MAX_KEPT_CALLS = 64  # combinations of guards and waking checks, for a kind of event
V2G_PROTOCOLS = ("din", "iso2", "iso20")

Method = Callable[[Check, Any], None]

# What the names of `on` are held against.
NAME_OF: dict[type[Event], Callable[[Any], str | None]] = {
    V2gMessage: attrgetter("message"), Exchange: attrgetter("name"), Mme: attrgetter("name"), Tcp: attrgetter("kind"), PhaseEntered: attrgetter("phase"),
}  # fmt: skip


class Counters:
    """armed, evaluated, fired, suppressed, failed of each check."""

    def __init__(self) -> None:
        self.by_check: dict[str, dict[str, int]] = {}

    def row(self, check: str) -> dict[str, int]:
        """The counters of a check."""
        row = self.by_check.get(check)
        if row is None:
            row = self.by_check[check] = {"armed": 0, "evaluated": 0, "fired": 0, "suppressed": 0, "failed": 0}
        return row

    def add(self, check: str, what: str, n: int = 1) -> None:
        """Count."""
        self.row(check)[what] += n


class Route(NamedTuple):
    """A handler of a check, and one of its marks."""

    order: int  # of the calls
    check: int  # its place in the plan
    method: str
    mark: Handles


@functools.lru_cache(maxsize=4096)
def marks_of(check: type[Check]) -> tuple[tuple[str, Handles], ...]:
    """(method, mark) of each handler; remembered, because a folder of captures makes a plan for each."""
    return tuple((name, mark) for name in dir(check) for mark in getattr(getattr(check, name, None), "handles", ()))


class Calls:
    """The handlers to call, and what the others would have counted."""

    __slots__ = ("methods", "once", "quiet", "times")

    def __init__(self) -> None:
        self.methods: list[tuple[int, Method]] = []  # place of the check in the plan, its method
        self.quiet: list[tuple[dict[str, int], str]] = []
        self.once = 0  # bits of those that want no second event (Plan.once)
        self.times = 0  # not yet counted for `quiet`

    def settle(self) -> None:
        """Count what was put off."""
        for row, what in self.quiet:
            row[what] += self.times
        self.times = 0


class Shape:
    """The handlers of one kind of event under one protocol."""

    __slots__ = ("_plan", "_routes", "all_hold", "guarded", "guards", "kept", "once")

    def __init__(self, plan: Plan, routes: Iterable[Route]) -> None:
        self._plan = plan
        self._routes: list[tuple[Route, int]] = []  # with the bit of its guard, 0 without
        self.guarded = 0  # bits of the checks that a guard may keep from being called
        self.once = 0  # bits of the handlers that want one event only
        guards: dict[Guard, int] = {}
        for route in routes:
            only, bit = route.mark.only, 0
            if only is not None:
                bit = NEVER if only is never else guards.setdefault(only, 1 << len(guards))
                self.guarded |= 1 << route.check
            if route.mark.once:
                self.once |= plan.once_bit(route)
            self._routes.append((route, bit))
        self.guards = list(guards.items())
        self.all_hold = (1 << len(guards)) - 1
        self.kept: dict[tuple[int, int, int], Calls] = {}  # which guards hold, which guarded checks are awake, which handlers had their event

    def calls(self, key: tuple[int, int, int]) -> Calls:
        """The calls under these circumstances."""
        if len(self.kept) >= MAX_KEPT_CALLS:
            self.settle()
            self.kept.clear()
        held, awake, spent = key
        calls = self.kept[key] = Calls()
        plan = self._plan
        for route, bit in self._routes:
            check = plan.checks[route.check]
            once = plan.once_bit(route) if route.mark.once else 0
            if check.meta.id in plan.disabled or spent & once:
                continue
            if bit and not held & bit and not awake >> route.check & 1:
                row = plan.counted.row(check.meta.id)
                calls.quiet.extend((row, what) for what in route.mark.quiet)
                continue
            calls.methods.append((route.check, getattr(check, route.method)))
            calls.once |= once
        return calls

    def settle(self) -> None:
        """Count what was put off."""
        for calls in self.kept.values():
            calls.settle()


class Plan:
    """Which method of which check handles what."""

    def __init__(self, checks: Iterable[type[Check]]) -> None:
        self.checks = list(checks)
        self.counted = Counters()
        self.disabled: set[str] = set()
        self.bits = {check.meta.id: 1 << i for i, check in enumerate(self.checks)}  # in SessionChecks.awake
        self.routes: dict[type[Event], dict[str, list[Route]]] = {}  # event type -> name ("" any) -> handlers
        self.shapes: dict[tuple[type[Event], str | None, str | None], Shape] = {}  # event type, name, protocol -> handlers
        self._once: dict[tuple[int, str], int] = {}
        order = 0
        for i, check in enumerate(self.checks):
            for attribute, mark in marks_of(check):  # type: ignore[arg-type]  # mypy takes __hash__ of the instances
                table = self.routes.setdefault(mark.kind, {})
                order += 1
                for name in mark.names or ("",):
                    table.setdefault(name, []).append(Route(order, i, attribute, mark))

    def shape(self, what: tuple[type[Event], str | None, str | None]) -> Shape:
        """The handlers of an event: its type, its name, and the protocol that the session speaks (None: not known yet)."""
        kind, name, spoken = what
        if len(self.shapes) >= MAX_KEPT:
            self.settle()
            self.shapes.clear()
        # Once a protocol was negotiated, rules of others don't count.
        routes = (r for r in self.find(kind, name) if spoken is None or spoken in self.checks[r.check].meta.protocols)
        shape = self.shapes[what] = Shape(self, routes)
        return shape

    def find(self, kind: type[Event], name: str | None) -> list[Route]:
        """The handlers of an event: first those of any or of all requests or responses, then those that name it."""
        table = self.routes.get(kind, {})
        if not name:
            return table.get("", [])
        general = table.get("", []) + (table.get(f"*{name[-3:]}", []) if kind is V2gMessage else [])
        return sorted(general) + table.get(name, [])

    def once_bit(self, route: Route) -> int:
        """The bit of a handler that wants one event only, in SessionChecks.spent."""
        return self._once.setdefault((route.check, route.method), 1 << len(self._once))

    def disable(self, check: str) -> None:
        """Call this check no more."""
        self.disabled.add(check)
        self.settle()
        for shape in self.shapes.values():
            shape.kept.clear()

    def settle(self) -> None:
        """Bring the counters up to date."""
        for shape in self.shapes.values():
            shape.settle()
