"""Runs the checks of a tap: hands them events, keeps their deadlines, findings and counters, and isolates the ones that raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from plugtap.checks.base import Check, Deadline, Guard, Handles, Waiting
from plugtap.checks.finding import SEVERITIES, Finding, Value
from plugtap.checks.meta import Meta
from plugtap.config.analysis import AnalysisSettings, CheckSettings
from plugtap.protocols.events import Event, Mme, Tcp, V2gMessage
from plugtap.sessions.notices import Exchange, NewAttempt, PhaseEntered, SessionEnded
from plugtap.sessions.records import SECOND, rfc3339, stable_id
from plugtap.sessions.session import Session

MAX_FRAMES = 12  # of one finding
MAX_FAILURES = 3  # of a check that raises, before it is switched off

MAX_KEPT_NAMES = 1024
MAX_KEPT_CALLS = 64  # combinations of guards and waking checks remembered for a kind of event

V2G_PROTOCOLS = ("din", "iso2", "iso20")
STEPS = frozenset({Exchange, SessionEnded, NewAttempt})  # the dialogue's steps

Timer = Callable[[int], None]


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


_NAME_FIELD: dict[type[Event], str] = {V2gMessage: "message", Exchange: "name", Mme: "name", Tcp: "kind", PhaseEntered: "phase"}


class _Route(NamedTuple):
    """A handler of a check, and one of its marks."""

    order: int  # of the calls
    check: int  # its place in the plan
    method: str
    mark: Handles


class _Plan:
    """Which method of which check handles what: made once per Engine."""

    def __init__(self, checks: Iterable[type[Check]]) -> None:
        self.checks = list(checks)
        self.routes: dict[type[Event], dict[str, list[_Route]]] = {}  # event type -> name ("" any) -> handlers
        self._found: dict[tuple[type[Event], str | None], list[_Route]] = {}
        self.bits = {check.meta.id: 1 << i for i, check in enumerate(self.checks)}  # in SessionChecks.awake
        order = 0
        for i, check in enumerate(self.checks):
            for attribute in dir(check):
                for mark in getattr(getattr(check, attribute, None), "handles", ()):
                    table = self.routes.setdefault(mark.kind, {})
                    order += 1
                    for name in mark.names or ("",):
                        table.setdefault(name, []).append(_Route(order, i, attribute, mark))

    def find(self, kind: type[Event], name: str | None) -> list[_Route]:
        """The handlers of an event: first those of any or of all requests or responses, then those that name it."""
        known = self._found.get((kind, name))
        if known is None:
            if len(self._found) >= MAX_KEPT_NAMES:
                self._found.clear()
            known = self._found[kind, name] = self._find(kind, name)
        return known

    def _find(self, kind: type[Event], name: str | None) -> list[_Route]:
        table = self.routes.get(kind, {})
        if not name:
            return table.get("", [])
        general = table.get("", []) + (table.get(f"*{name[-3:]}", []) if kind is V2gMessage else [])
        return sorted(general) + table.get(name, [])


class _Calls:
    """The handlers to call for a kind of event while the same guards hold, and what the others would have counted."""

    __slots__ = ("methods", "once", "quiet", "times")

    def __init__(self) -> None:
        self.methods: list[tuple[Check, Callable[[Any], None]]] = []
        self.quiet: list[tuple[dict[str, int], str]] = []
        self.once: list[tuple[int, str]] = []
        self.times = 0  # not yet counted for `quiet`

    def settle(self) -> None:
        """Count what was put off."""
        for row, what in self.quiet:
            row[what] += self.times
        self.times = 0


class _Bound:
    """The handlers of one kind of event in one session."""

    __slots__ = ("all_hold", "calls", "guarded", "guards", "routes")

    def __init__(self, routes: list[_Route]) -> None:
        self.routes = routes
        guards: dict[Guard, int] = {}
        self.guarded = 0  # bits of the checks that a guard may keep from being called
        for route in routes:
            if route.mark.only is not None:
                guards.setdefault(route.mark.only, 1 << len(guards))
                self.guarded |= 1 << route.check
        self.guards = list(guards.items())
        self.all_hold = (1 << len(guards)) - 1
        self.calls: dict[tuple[int, int], _Calls] = {}  # (which guards hold, which guarded checks are awake) -> the calls

    def settle(self) -> None:
        """Count what was put off, and forget the calls."""
        for calls in self.calls.values():
            calls.settle()
        self.calls.clear()

    def holds(self, route: _Route, held: int) -> bool:
        """Is the handler to be called?"""
        only = route.mark.only
        return only is None or any(held & bit for guard, bit in self.guards if guard is only)


class SessionChecks:
    """The check objects of one session: the Context they talk to."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self.engine = engine
        self.session = session
        self.now = session.start
        self.findings: dict[tuple[str, str], Finding] = {}
        self.told: dict[str, int] = {}  # finding -> the revision consumers have
        self._told_t: dict[str, int] = {}  # … and when they got it
        self.objects: list[Check | None] = [None] * len(engine.plan.checks)
        # (event type, name) -> the methods to call: found once, because a charge loop asks the same again ten times a second.
        self._bound: dict[tuple[type[Event], str | None], _Bound] = {}
        self._spent: set[tuple[int, str]] = set()  # handlers that wanted one event only, and had it
        self.awake = 0  # bits of the checks that are to be called whatever their guards say (Check.wake)
        self._disabled = 0
        self._protocol: str | None = None
        # Checks that wait for the dialogue's next step, whatever it is (checks/asked.py): few at a time, asked at every step.
        self.waiting: list[Waiting] = []

    def handle(self, event: Event) -> None:
        """Give one event to every check that asked for it."""
        session = self.session
        self.now = max(self.now, event.t)
        if self._disabled != len(self.engine.disabled) or self._protocol != session.protocol:
            self._disabled, self._protocol = len(self.engine.disabled), session.protocol
            self._unbind()
        kind = type(event)
        field = _NAME_FIELD.get(kind)
        name = None if field is None else getattr(event, field)
        bound = self._bound.get((kind, name))
        if bound is None:
            bound = self._bound[kind, name] = _Bound(list(self._routes(kind, name)))
        held = 0
        try:
            for guard, bit in bound.guards:
                if guard(session, event):
                    held |= bit
        except Exception:  # a guard saves calls and no more: without its answer all are called
            held = bound.all_hold
        key = held, self.awake & bound.guarded
        calls = bound.calls.get(key)
        if calls is None:
            if len(bound.calls) >= MAX_KEPT_CALLS:
                bound.settle()
            calls = bound.calls[key] = self._calls(bound, *key)
        calls.times += 1
        for check, method in calls.methods:
            try:
                method(event)
            except Exception as error:  # a check's own fault must not stop the others
                self.engine.failed(check.meta, error)
        if calls.once:
            self._spent.update(calls.once)
            self._unbind()
        if self.waiting and kind in STEPS:
            for waiting in list(self.waiting):
                try:
                    waiting.step(event)
                except Exception as error:  # isolation: see above
                    self.engine.failed(waiting.meta, error)

    def _routes(self, kind: type[Event], name: str | None) -> Iterator[_Route]:
        spoken = self._protocol if self._protocol in V2G_PROTOCOLS else None
        for route in self.engine.plan.find(kind, name):
            meta = self.engine.plan.checks[route.check].meta
            if spoken is not None and spoken not in meta.protocols:
                continue  # the check's rule is not one of the protocol that was negotiated
            if meta.id not in self.engine.disabled and (route.check, route.method) not in self._spent:
                yield route

    def _calls(self, bound: _Bound, held: int, awake: int) -> _Calls:
        calls = _Calls()
        for route in bound.routes:
            if not bound.holds(route, held) and not awake >> route.check & 1:
                row = self.row(self.engine.plan.checks[route.check].meta)
                calls.quiet.extend((row, what) for what in route.mark.quiet)
                continue
            check = self._object(route.check)
            if check is not None:
                calls.methods.append((check, getattr(check, route.method)))
                if route.mark.once:
                    calls.once.append((route.check, route.method))
        return calls

    def _unbind(self) -> None:
        """What was found of handlers no longer holds."""
        self.settle()
        self._bound.clear()

    def settle(self) -> None:
        """Count what was put off."""
        for bound in self._bound.values():
            for calls in bound.calls.values():
                calls.settle()

    def _object(self, index: int) -> Check | None:
        check = self.objects[index]
        kind = self.engine.plan.checks[index]
        if check is None:
            try:
                check = kind(self)
            except Exception as error:  # isolation: see handle
                self.engine.failed(kind.meta, error)
                return None
            self.objects[index] = check
        return check

    # -- Context -------------------------------------------------------------------------------------------------

    def limit(self, meta: Meta, name: str) -> float:
        """The site's value of a limit, else the table's."""
        if not self.engine.settings.checks:
            return meta.limits[name].value
        for key in (meta.id, f"{meta.family}-*"):
            setting = self.engine.settings.checks.get(key)
            if setting is not None and name in setting.limits:
                return setting.limits[name]
        return meta.limits[name].value

    def deadline(self, check: Check, call: Timer) -> Deadline:
        """A deadline of a check, not set."""
        return self.engine.deadline(lambda now: self._deadline(check, call, now))

    def _deadline(self, check: Check, call: Timer, t: int) -> None:
        if check.meta.id not in self.engine.disabled and not self.session.closed:
            before, self.now = self.now, max(self.now, t)
            try:
                call(t)
            except Exception as error:  # isolation: see handle
                self.engine.failed(check.meta, error)
            self.now = before  # a deadline that turns out to mean nothing leaves no trace

    def bit(self, meta: Meta) -> int:
        """The check's bit in `awake`."""
        return self.engine.plan.bits[meta.id]

    def row(self, meta: Meta) -> dict[str, int]:
        """The check's counters, for `plugtap checks --stats`."""
        return self.engine.counted.row(meta.id)

    def emit(self, check: Check, **facts: Any) -> None:
        """Apply coverage, gap policy and settings, then make or repeat the finding."""
        meta, session = check.meta, self.session
        self.engine.counted.add(meta.id, "evaluated")
        certainty = facts["certainty"] or meta.certainty
        if meta.pairs == "own" and session.pair == "foreign":
            self.engine.counted.add(meta.id, "suppressed")
            return
        if any(not session.sees(need) for need in meta.needs):
            self.engine.counted.add(meta.id, "suppressed")
            return
        since = facts["since"]
        if since is not None and meta.gap != "proceed" and session.gap_since(since):
            if meta.gap == "suppress":
                self.engine.counted.add(meta.id, "suppressed")
                return
            certainty = "possible"
        self.engine.counted.add(meta.id, "fired")
        key = (meta.id, facts["key"])
        known = self.findings.get(key)
        t = facts["t"]
        if known is not None:
            finding = msgspec.structs.replace(
                known, rev=known.rev + 1, count=known.count + 1, last_time=rfc3339(t),
                frames=(known.frames + tuple(f for f in facts["frames"] if f not in known.frames))[:MAX_FRAMES],
            )  # fmt: skip
        elif len(self.findings) >= self.engine.settings.max_findings or self._enough(meta):
            self.engine.capped_findings += 1
            return
        else:
            finding = self._new(meta, facts, t, certainty)
        self.findings[key] = finding
        # A condition that holds through a charge loop repeats ten times a second: consumers hear of the 1st, 2nd, 4th, 8th … and, in the
        # session's last report, of all.
        if finding.count & (finding.count - 1) == 0 and self._due(meta, finding, t):
            self.told[finding.id] = finding.rev
            self._told_t[finding.id] = t
            self.engine.changed(self.session, finding)

    def _setting(self, meta: Meta) -> CheckSettings | None:
        """What the site says of this check, or else of its family."""
        checks = self.engine.settings.checks
        return checks.get(meta.id) or checks.get(f"{meta.family}-*") if checks else None

    def _enough(self, meta: Meta) -> bool:
        setting = self._setting(meta)
        most = setting.max_findings if setting is not None else None
        return most is not None and sum(check == meta.id for check, _ in self.findings) >= most

    def _due(self, meta: Meta, finding: Finding, t: int) -> bool:
        """May consumers hear of it again already? Of a new finding always."""
        setting, told = self._setting(meta), self._told_t.get(finding.id)
        return setting is None or told is None or t - told >= setting.every * SECOND

    def _new(self, meta: Meta, facts: dict[str, Any], t: int, certainty: str) -> Finding:
        session, engine = self.session, self.engine
        severity = self._severity(meta, facts["severity"] or meta.severity, t)
        frames = facts["frames"][:MAX_FRAMES]
        frame = frames[-1] if frames else session.last_frame
        values: dict[str, Value] = facts["values"]
        return Finding(
            id=stable_id("f", engine.settings.site, engine.settings.tap, session.id, meta.id, facts["key"], t),
            session=session.id, check=meta.id, severity=severity, class_=meta.class_, effect=facts["effect"] or meta.effect,
            side=facts["side"] or meta.side, certainty=certainty, time=rfc3339(t), t=round((t - session.start) / SECOND, 6),
            frame=frame, frames=frames, last_time=rfc3339(t), title=meta.title, detail=facts["detail"],
            cause=facts["cause"] or meta.cause, fix=facts["fix"] or meta.fix, refs=meta.refs, uec=meta.uec, values=values,
        )  # fmt: skip

    def _severity(self, meta: Meta, severity: str, t: int) -> str:
        for key in (meta.id, f"{meta.family}-*"):
            setting: CheckSettings | None = self.engine.settings.checks.get(key)
            if setting is None:
                continue
            if setting.expected_until and rfc3339(t)[:10] <= setting.expected_until:
                return "info"
            if setting.severity is not None:
                return setting.severity
        return severity


class Engine:
    """All sessions' checks of one tap. `deadline` belongs to the analysis loop, which owns time."""

    def __init__(
        self,
        settings: AnalysisSettings,
        checks: Mapping[str, type[Check]],
        deadline: Callable[[Timer], Deadline],
        changed: Callable[[Session, Finding], None],
    ) -> None:
        self.settings = settings
        self.plan = _Plan(check for check in checks.values() if self._enabled(check.meta))
        self.deadline = deadline
        self.changed = changed
        self.counted = Counters()
        self.disabled: set[str] = set()
        self.failures: dict[str, tuple[int, str]] = {}  # check -> times, first reason
        self.capped_findings = 0
        self.sessions: dict[str, SessionChecks] = {}

    @property
    def counters(self) -> Counters:
        """The counters as they stand."""
        for entry in self.sessions.values():
            entry.settle()
        return self.counted

    def _enabled(self, meta: Meta) -> bool:
        for key in (meta.id, f"{meta.family}-*"):
            setting = self.settings.checks.get(key)
            if setting is not None and setting.enabled is not None:
                return setting.enabled
        return meta.enabled

    def failed(self, meta: Meta, error: Exception) -> None:
        """A check raised: count it, remember the first reason, switch it off when it goes on."""
        self.counted.add(meta.id, "failed")
        times, reason = self.failures.get(meta.id, (0, f"{type(error).__name__}: {error}"))
        self.failures[meta.id] = (times + 1, reason)
        if times + 1 >= MAX_FAILURES:
            self.disabled.add(meta.id)

    def of(self, session: Session) -> SessionChecks:
        """The check objects of a session."""
        entry = self.sessions.get(session.id)
        if entry is None:
            entry = self.sessions[session.id] = SessionChecks(self, session)
        return entry

    def handle(self, session: Session, event: Event) -> None:
        """One event of one session."""
        self.of(session).handle(event)

    def forget(self, session: Session) -> None:
        """The session is reported: drop its check objects."""
        entry = self.sessions.pop(session.id, None)
        if entry is not None:
            entry.settle()


def severity_rank(severity: str) -> int:
    """info 0, warning 1, error 2."""
    return SEVERITIES.index(severity)
