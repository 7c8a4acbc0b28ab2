"""Runs the checks of a tap: hands them events, keeps their deadlines, findings and counters, and isolates the ones that raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from plugtap.checks.base import Check, Deadline, Waiting
from plugtap.checks.dispatch import NAME_OF, V2G_PROTOCOLS, Counters, Plan
from plugtap.checks.finding import SEVERITIES, Finding, Value
from plugtap.checks.meta import Meta
from plugtap.config.analysis import AnalysisSettings, CheckSettings
from plugtap.protocols.events import Event
from plugtap.sessions.notices import Exchange, NewAttempt, SessionEnded
from plugtap.sessions.records import SECOND, rfc3339, stable_id
from plugtap.sessions.session import Session

MAX_FRAMES = 12  # of one finding
MAX_FAILURES = 3  # of a check that raises, before it is switched off

STEPS = frozenset({Exchange, SessionEnded, NewAttempt})  # the dialogue's steps

Timer = Callable[[int], None]


class _More:
    """Repeats of a finding."""

    __slots__ = ("count", "frames", "t")

    def __init__(self, known: Finding) -> None:
        self.count, self.t, self.frames = known.count, 0, list(known.frames)

    def finding(self, known: Finding) -> Finding:
        """The finding with its repeats."""
        return msgspec.structs.replace(
            known, rev=known.rev + self.count - known.count, count=self.count, last_time=rfc3339(self.t), frames=tuple(self.frames[:MAX_FRAMES])
        )


class SessionChecks:
    """The check objects of one session: the Context they talk to."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self.engine = engine
        self.session = session
        self.now = session.start
        self._findings: dict[tuple[str, str], Finding] = {}
        self._more: dict[tuple[str, str], _More] = {}  # repeats not yet counted in `_findings`
        self.told: dict[str, int] = {}  # finding -> the revision consumers have
        self._told_t: dict[str, int] = {}  # … and when they got it
        self.objects: list[Check | None] = [None] * len(engine.plan.checks)
        self.spent = 0  # bits of the handlers that wanted one event only, and had it
        self.awake = 0  # bits of the checks that are to be called whatever their guards say (Check.wake)
        self._protocol: str | None = None
        self._spoken: str | None = None  # … if checks are written for it
        # Checks that wait for the dialogue's next step, whatever it is (checks/asked.py): few at a time, asked at every step.
        self.waiting: list[Waiting] = []

    def handle(self, event: Event) -> None:
        """Give one event to every check that asked for it."""
        session = self.session
        self.now = max(self.now, event.t)
        if self._protocol != session.protocol:
            self._protocol = session.protocol
            self._spoken = session.protocol if session.protocol in V2G_PROTOCOLS else None
        kind, plan = type(event), self.engine.plan
        name_of = NAME_OF.get(kind)
        what = kind, None if name_of is None else name_of(event), self._spoken
        shape = plan.shapes.get(what) or plan.shape(what)
        held = 0
        if shape.guards:
            try:
                for guard, bit in shape.guards:
                    if guard(session, event):
                        held |= bit
            except Exception:  # a guard saves calls and no more: without its answer all are called
                held = shape.all_hold
        key = held, self.awake and self.awake & shape.guarded, shape.once and self.spent & shape.once
        calls = shape.kept.get(key) or shape.calls(key)
        calls.times += 1
        objects = self.objects
        for index, method in calls.methods:
            check = objects[index] or self._object(index)
            if check is not None:
                try:
                    method(check, event)
                except Exception as error:  # a check's own fault must not stop the others
                    self.engine.failed(check.meta, error)
        if calls.once:
            self.spent |= calls.once
        if self.waiting and kind in STEPS:
            for waiting in list(self.waiting):
                try:
                    waiting.step(event)
                except Exception as error:  # isolation: see above
                    self.engine.failed(waiting.meta, error)

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
        if check.meta.id not in self.engine.plan.disabled and not self.session.closed:
            before, self.now = self.now, max(self.now, t)
            try:
                call(t)
            except Exception as error:  # isolation: see handle
                self.engine.failed(check.meta, error)
            self.now = before  # a deadline that turns out to mean nothing leaves no trace

    def repeat(self, check: Check, key: str, ev: Event) -> bool:
        """Count a finding that was made already; False where it was not, or where `emit` is to decide."""
        meta, session = check.meta, self.session
        known = self._findings.get((meta.id, key))
        if known is None or (meta.pairs == "own" and session.pair == "foreign") or any(not session.sees(need) for need in meta.needs):
            return False
        row = self.row(meta)
        row["evaluated"] += 1
        row["fired"] += 1
        self._once_more(meta, key, known, (ev.frame,) if ev.frame else (), self.now)
        return True

    def amend(self, check: Check, key: str, facts: dict[str, Any]) -> None:
        """Change what a finding says; consumers hear of it at once."""
        known = self.findings.get((check.meta.id, key))
        if known is None:
            return
        if (setting := self._setting(check.meta)) is not None and setting.severity is not None:
            facts = {name: value for name, value in facts.items() if name != "severity"}
        finding = self._findings[check.meta.id, key] = msgspec.structs.replace(known, rev=known.rev + 1, **facts)
        self.told[finding.id] = finding.rev
        self.engine.changed(self.session, finding)

    def _once_more(self, meta: Meta, key: str, known: Finding, frames: tuple[int, ...], t: int) -> None:
        """Repeats are counted by themselves until consumers hear of them: the 1st, 2nd, 4th, 8th …, and all in the session's last report.
        A condition that holds through a charge loop comes ten times a second."""
        more = self._more.get((meta.id, key))
        if more is None:
            more = self._more[meta.id, key] = _More(known)
        more.count += 1
        more.t = t
        if len(more.frames) < MAX_FRAMES:
            more.frames.extend(f for f in frames if f not in more.frames)
        if more.count & (more.count - 1) == 0:
            del self._more[meta.id, key]
            self._keep(meta, key, more.finding(known), t)

    @property
    def findings(self) -> dict[tuple[str, str], Finding]:
        """The findings so far by check and key."""
        for key, more in self._more.items():
            self._findings[key] = more.finding(self._findings[key])
        self._more.clear()
        return self._findings

    def _keep(self, meta: Meta, key: str, finding: Finding, t: int) -> None:
        self._findings[meta.id, key] = finding
        if finding.count & (finding.count - 1) == 0 and self._due(meta, finding, t):
            self.told[finding.id] = finding.rev
            self._told_t[finding.id] = t
            self.engine.changed(self.session, finding)

    def bit(self, meta: Meta) -> int:
        """The check's bit in `awake`."""
        return self.engine.plan.bits[meta.id]

    def row(self, meta: Meta) -> dict[str, int]:
        """The check's counters, for `plugtap checks --stats`."""
        return self.engine.plan.counted.row(meta.id)

    def emit(self, check: Check, **facts: Any) -> None:
        """Apply coverage, gap policy and settings, then make or repeat the finding."""
        meta, session = check.meta, self.session
        self.engine.plan.counted.add(meta.id, "evaluated")
        certainty = facts["certainty"] or meta.certainty
        if meta.pairs == "own" and session.pair == "foreign":
            self.engine.plan.counted.add(meta.id, "suppressed")
            return
        if any(not session.sees(need) for need in meta.needs):
            self.engine.plan.counted.add(meta.id, "suppressed")
            return
        since = facts["since"]
        if since is not None and meta.gap != "proceed" and session.gap_since(since):
            if meta.gap == "suppress":
                self.engine.plan.counted.add(meta.id, "suppressed")
                return
            certainty = "possible"
        self.engine.plan.counted.add(meta.id, "fired")
        key, t = facts["key"], facts["t"]
        known = self._findings.get((meta.id, key))
        if known is not None:
            self._once_more(meta, key, known, facts["frames"], t)
        elif len(self._findings) >= self.engine.settings.max_findings or self._enough(meta):
            self.engine.capped_findings += 1
        else:
            self._keep(meta, key, self._new(meta, facts, t, certainty), t)

    def _setting(self, meta: Meta) -> CheckSettings | None:
        """What the site says of this check, or else of its family."""
        checks = self.engine.settings.checks
        return checks.get(meta.id) or checks.get(f"{meta.family}-*") if checks else None

    def _enough(self, meta: Meta) -> bool:
        setting = self._setting(meta)
        most = setting.max_findings if setting is not None else None
        return most is not None and sum(check == meta.id for check, _ in self._findings) >= most

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
        self.plan = Plan(check for check in checks.values() if self._enabled(check.meta))
        self.deadline = deadline
        self.changed = changed
        self.failures: dict[str, tuple[int, str]] = {}  # check -> times, first reason
        self.capped_findings = 0
        self.sessions: dict[str, SessionChecks] = {}

    @property
    def counters(self) -> Counters:
        """The counters as they stand."""
        self.plan.settle()
        return self.plan.counted

    @property
    def disabled(self) -> set[str]:
        """Checks that were switched off because they raised."""
        return self.plan.disabled

    def _enabled(self, meta: Meta) -> bool:
        for key in (meta.id, f"{meta.family}-*"):
            setting = self.settings.checks.get(key)
            if setting is not None and setting.enabled is not None:
                return setting.enabled
        return meta.enabled

    def failed(self, meta: Meta, error: Exception) -> None:
        """A check raised: count it, remember the first reason, switch it off when it goes on."""
        self.plan.counted.add(meta.id, "failed")
        times, reason = self.failures.get(meta.id, (0, f"{type(error).__name__}: {error}"))
        self.failures[meta.id] = (times + 1, reason)
        if times + 1 >= MAX_FAILURES:
            self.plan.disable(meta.id)

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
        self.sessions.pop(session.id, None)


def severity_rank(severity: str) -> int:
    """info 0, warning 1, error 2."""
    return SEVERITIES.index(severity)
