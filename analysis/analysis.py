"""Analysis: items in, sessions and findings out. The same object runs live, over files and in the demo.

Time comes in with the items. Nothing here knows whether an item is being heard now or was written last year.
"""

from __future__ import annotations

from collections.abc import Mapping

from plugtap.analysis.order import Ordered, Timers
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.analysis.report import build_report
from plugtap.checks.base import Check
from plugtap.checks.engine import Engine
from plugtap.checks.finding import Finding
from plugtap.checks.settle import settle
from plugtap.checks.verdict import verdict
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.events import Event, Loss
from plugtap.protocols.items import Item, Tick
from plugtap.protocols.stack import Stack
from plugtap.sessions.notices import PhaseEntered
from plugtap.sessions.outcome import outcome, with_root
from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session
from plugtap.sessions.tracker import SessionTracker

RELATIVE_BEFORE = 315_532_800 * SECOND  # a clock before 1980 was never set
MAX_CLOSED = 10_000
HUSH_NS = 5 * SECOND  # nothing from any source for this long: somebody may have stopped recording


class Analysis:
    """One tap's analysis.

    `sources` are the tap's sources in their order (``("plc", "cp")``); others are taken as they appear. `foreign`: the items come
    from a file plugtap did not write, so silence after the last item proves nothing. `checks` are the registered ones unless given.
    """

    def __init__(
        self,
        settings: AnalysisSettings | None = None,
        *,
        sources: tuple[str, ...] = ("plc",),
        foreign: bool = False,
        checks: Mapping[str, type[Check]] | None = None,
    ) -> None:
        if checks is None:
            from plugtap.checks.catalogue import load

            checks = load()
        self.settings = settings or AnalysisSettings()
        self.foreign = foreign
        self._checks = checks
        self._stack = Stack()
        self._order: Ordered[Event] = Ordered(sources, int(self.settings.reorder * SECOND))
        self._timers = Timers()
        self._gap_ns = int(self.settings.recording_gap * SECOND)
        self.engine = Engine(self.settings, checks, self._timers.deadline, self._finding)
        self._tracker = SessionTracker(
            self.settings, notify=self._notify, closed=self._closed, set_timer=self._timers.set, cancel_timer=self._timers.cancel
        )
        self._out: list[Output] = []
        self._changed: dict[str, Session] = {}
        self._closed_reports: list[SessionReport] = []
        self._last_frame = 0
        self._first_t: int | None = None
        self.items = 0
        self.capped_reports = 0

    # -- the loop ------------------------------------------------------------------------------------------------

    def feed(self, item: Item) -> list[Output]:
        """One item, at its arrival. Returns what is new: findings and session reports, to be upserted by (id, rev)."""
        if isinstance(item, Tick):
            return self.tick(item.t)
        self.items += 1
        if self._first_t is None:
            self._first_t = item.t
        self._last_frame = max(self._last_frame, item.number)
        self._watch_clock(item.source, item.t, item.number)
        for event in self._stack.feed(item):
            self._order.hold(item.source, event.t, event)
        self._advance()
        return self._take()

    def tick(self, now: int) -> list[Output]:
        """Proof of silence: at `now` nothing else was waiting. Runs the deadlines that have passed."""
        self._order.tick(now)
        self._advance()
        return self._take()

    def next_deadline(self) -> int | None:
        """When a tick is wanted at the latest; None when nothing waits."""
        due = self._timers.next()
        return None if due is None else due + self._order.reorder + 1

    def finish(self, end: int | None = None) -> list[Output]:
        """No more items. `end`: time until which silence is proven (live and own archives), None in foreign files."""
        if end is not None:
            self.tick_into(end)
        last = self._order.latest or 0
        for event in self._stack.finish(last, self._last_frame):
            self._order.hold(event.source, event.t, event)
        self._dispatch_rest()
        self._tracker.finish(last, self._last_frame)
        return self._take()

    def tick_into(self, now: int) -> None:
        """Like tick, the outputs stay for the next call."""
        self._order.tick(now)
        self._advance()

    def reports(self) -> list[SessionReport]:
        """All sessions so far, the open ones as they stand, in the order of their start."""
        live = [self._report(s, state="open") for s in self._tracker.open.values()]
        return sorted([*self._closed_reports, *live], key=lambda r: (r.start, r.id))

    def drop_reports(self) -> None:
        """Forget closed sessions (they have been stored)."""
        self._closed_reports.clear()

    @property
    def relative_clock(self) -> bool:
        """Did the capture's clock start near 1970?"""
        return self._first_t is not None and self._first_t < RELATIVE_BEFORE

    @property
    def undecodable(self) -> int:
        """Frames that a decoder refused."""
        return self._stack.undecodable

    # -- time ----------------------------------------------------------------------------------------------------

    def _watch_clock(self, source: str, t: int, frame: int) -> None:
        latest = self._order.latest
        back = self._order.note(source, t)
        if back is not None:
            self._dispatch_rest()
            self._timers_forget()
            self._order.reset(t)
            self._order.note(source, t)
            self._deliver(Loss(t=t, frame=frame, source=source, kind="clock-jump", detail=f"the clock went back by {back / SECOND:.3f} s"))
        elif latest is not None and t - latest >= HUSH_NS:
            self._tracker.hush(latest, t)
        if back is None and latest is not None and t - latest >= self._gap_ns:
            # Nothing was heard and nothing proves that anybody listened.
            self._dispatch_rest()
            self._run_timers(latest + 1)
            self._timers.drop_between(latest, t)
            self._deliver(Loss(t=latest, frame=frame, source=source, kind="silence", until=t))
            self._keep_sessions_watched(t)

    def _timers_forget(self) -> None:
        self._timers.clear()
        self._keep_sessions_watched(self._order.latest or 0)

    def _keep_sessions_watched(self, t: int) -> None:
        """The deadlines went; sessions still need theirs."""
        for session in list(self._tracker.open.values()):
            self._tracker.watch(session, t)

    def _advance(self) -> None:
        for t, event in self._order.ready():
            self._run_timers(t)
            self._deliver(event)
        mark = self._order.watermark()
        if mark is not None:
            self._run_timers(mark)

    def _dispatch_rest(self) -> None:
        for t, event in self._order.rest():
            self._run_timers(t)
            self._deliver(event)

    def _run_timers(self, t: int) -> None:
        for _ in self._timers.run_before(t):
            pass

    # -- events, findings, reports ---------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        self._tracker.handle(event)

    def _notify(self, session: Session, event: Event) -> None:
        self.engine.handle(session, event)
        if isinstance(event, PhaseEntered):
            self._changed[session.id] = session

    def _finding(self, session: Session, finding: Finding) -> None:
        self._out.append(finding)
        if finding.count == 1:
            self._changed[session.id] = session

    def _closed(self, session: Session) -> None:
        result = outcome(session)
        known = self.engine.of(session).findings
        settled, root = settle(session, result, list(known.values()), self._checks, self.settings)
        after = result if root is None else self._after_root(session, result, root)
        if after != result:
            result = after
            settled, root = settle(session, result, list(known.values()), self._checks, self.settings)
        told = self.engine.of(session).told
        self._out.extend(finding for finding in settled if told.get(finding.id) != finding.rev)
        session.rev += 1
        report = build_report(
            session, settled, verdict(session, result, root, self._checks), result, state="closed",
            settings=self.settings, relative=self.relative_clock,
        )  # fmt: skip
        if len(self._closed_reports) >= MAX_CLOSED:
            self._closed_reports.pop(0)
            self.capped_reports += 1
        self._closed_reports.append(report)
        self._out.append(report)
        self._changed.pop(session.id, None)
        self.engine.forget(session)

    def _after_root(self, session: Session, result: str, root: Finding) -> str:
        priority = self._checks[root.check].meta.priority
        return with_root(session, result, root_class=root.class_, severity=root.severity, effect=root.effect, priority=priority)

    def _report(self, session: Session, *, state: str) -> SessionReport:
        findings = list(self.engine.of(session).findings.values())
        return build_report(
            session, findings, verdict(session, None, None, self._checks), None, state=state,
            settings=self.settings, relative=self.relative_clock,
        )  # fmt: skip

    def _take(self) -> list[Output]:
        for session in self._changed.values():
            session.rev += 1
            self._out.append(self._report(session, state="open"))
        self._changed.clear()
        out, self._out = self._out, []
        return out
