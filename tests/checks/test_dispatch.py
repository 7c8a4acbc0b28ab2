"""Which events a handler gets: its names, its guard; and that guards save calls without changing what is found and counted."""

from __future__ import annotations

import pytest
from lab import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.checks.base import Check, on
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
from plugtap.checks.guards import never
from plugtap.checks.meta import Meta
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.items import Item
from plugtap.sessions.session import Session
from test_no_check_raises import ALL_ON, NAMES, heard, worn

LOOP = ("CurrentDemandReq", "CurrentDemandRes")


def loops(session: Session, ev: V2gMessage) -> bool:
    return ev.message in LOOP


class Listener(Check):
    """Notes what each of its handlers is called for."""

    meta = Meta(
        id="lab-listener", title="t", severity="info", class_="info", effect="none", side="none", trigger="t", cause="c", fix="f",
        refs=(), example="e",
    )  # fmt: skip
    heard: dict[str, list[str | None]]

    @on(V2gMessage)
    def every(self, ev: V2gMessage) -> None:
        self.heard.setdefault("every", []).append(ev.message)

    @on(V2gMessage, "SessionSetupRes", "CurrentDemandReq")
    def named(self, ev: V2gMessage) -> None:
        self.heard.setdefault("named", []).append(ev.message)

    @on(V2gMessage, "*Req")
    def requests(self, ev: V2gMessage) -> None:
        self.heard.setdefault("requests", []).append(ev.message)

    @on(V2gMessage, "*Res", only=loops, quiet=("armed",))
    def guarded(self, ev: V2gMessage) -> None:
        self.heard.setdefault("guarded", []).append(ev.message)

    @on(V2gMessage, once=True)
    def first(self, ev: V2gMessage) -> None:
        self.heard.setdefault("first", []).append(ev.message)


def analysed(items: list[Item] | tuple[Item, ...], checks: dict[str, type[Check]], *, guards: bool = True) -> tuple[Analysis, list[Finding]]:
    analysis = Analysis(ALL_ON, sources=("plc", "cp"), checks=checks)
    if not guards:
        plan = analysis.engine.plan
        for table in plan.routes.values():
            for name, routes in table.items():
                table[name] = [r._replace(mark=r.mark._replace(only=None, quiet=())) for r in routes]
    for item in items:
        analysis.feed(item)
    analysis.finish(items[-1].t if items else None)
    return analysis, [finding for report in analysis.reports() for finding in report.findings]


def test_a_handler_is_called_for_what_its_mark_says() -> None:
    Listener.heard = {}
    analysis, _ = analysed(list(Lab.good("din-dc").items()), {"lab-listener": Listener})
    every = Listener.heard["every"]
    assert every.count("CurrentDemandReq") > 3
    assert Listener.heard["named"] == [m for m in every if m in ("SessionSetupRes", "CurrentDemandReq")]
    assert Listener.heard["requests"] == [m for m in every if m and m.endswith("Req")]
    assert Listener.heard["guarded"] == [m for m in every if m == "CurrentDemandRes"]
    assert Listener.heard["first"] == every[:1]
    responses = [m for m in every if m and m.endswith("Res")]
    assert analysis.engine.counters.row("lab-listener")["armed"] == len(responses) - every.count("CurrentDemandRes") > 0
    assert not analysis.engine.failures


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wear", [0.0, 0.02, 0.3])
def test_guards_change_neither_findings_nor_counters(name: str, wear: float) -> None:
    items = worn(heard(name), 7, wear)
    with_guards, found = analysed(items, load())
    without, all_found = analysed(items, load(), guards=False)
    assert found == all_found
    rows = with_guards.engine.counters.by_check
    assert {k: row for k, row in rows.items() if any(row.values())} == {
        k: row for k, row in without.engine.counters.by_check.items() if any(row.values())
    }


def test_a_guard_that_raises_costs_no_call() -> None:
    def broken(session: Session, ev: V2gMessage) -> bool:
        raise ValueError("no answer")

    class Guarded(Listener):
        @on(V2gMessage, only=broken)
        def guarded(self, ev: V2gMessage) -> None:
            self.heard.setdefault("guarded", []).append(ev.message)

    Listener.heard = {}
    analysed(list(Lab.good("din-dc").items()), {"lab-listener": Guarded})
    assert Listener.heard["guarded"] == Listener.heard["every"]


def test_a_check_that_is_awake_is_called_whatever_its_guards_say() -> None:
    class Sleeper(Listener):
        """Wakes at PowerDeliveryReq and sleeps again after three more messages."""

        @on(V2gMessage, "PowerDeliveryReq")
        def begin(self, ev: V2gMessage) -> None:
            self.wake()

        @on(V2gMessage, only=never, quiet=("armed",))
        def waiting(self, ev: V2gMessage) -> None:
            got = self.heard.setdefault("waiting", [])
            got.append(ev.message)
            if len(got) % 3 == 0:
                self.sleep()

    Listener.heard = {}
    analysis, _ = analysed(list(Lab.good("din-dc").items()), {"lab-listener": Sleeper})
    every, waiting = Listener.heard["every"], Listener.heard["waiting"]
    starts = [i for i, m in enumerate(every) if m == "PowerDeliveryReq"]
    assert len(starts) == 2
    # Asleep when the message that wakes it comes, so that the next one is the first it gets.
    assert waiting == [m for i in starts for m in every[i + 1 : i + 4]]
    # While awake its other guarded handler is called, too: neither counts what it would have counted.
    asleep = len(every) - len(waiting)
    answers = [m for i, m in enumerate(every) if m and m.endswith("Res") and m not in LOOP and not any(s < i <= s + 3 for s in starts)]
    assert analysis.engine.counters.row("lab-listener")["armed"] == asleep + len(answers)


def test_repeats_are_counted_without_being_worded_again() -> None:
    class Repeater(Listener):
        @on(V2gMessage, "CurrentDemandRes")
        def named(self, ev: V2gMessage) -> None:
            if not self.repeat(ev, "loop"):
                self.heard.setdefault("worded", []).append(ev.message)
                self.fire(ev, f"in frame {ev.frame}", key="loop")

    class Worder(Listener):
        @on(V2gMessage, "CurrentDemandRes")
        def named(self, ev: V2gMessage) -> None:
            self.fire(ev, f"in frame {ev.frame}", key="loop")

    items = list(Lab.good("din-dc").items())
    Listener.heard = {}
    first, [repeated] = analysed(items, {"lab-listener": Repeater})
    assert Listener.heard["worded"] == ["CurrentDemandRes"]
    second, [worded] = analysed(items, {"lab-listener": Worder})
    assert repeated == worded
    assert repeated.count == Listener.heard["every"].count("CurrentDemandRes") // 2 >= 12
    assert len(repeated.frames) == 12
    assert first.engine.counters.row("lab-listener") == second.engine.counters.row("lab-listener")


def test_what_consumers_hear_of_repeats() -> None:
    """The 1st, 2nd, 4th, 8th … time as it comes, all of them with the session's end."""

    class Worder(Listener):
        @on(V2gMessage, "CurrentDemandRes")
        def named(self, ev: V2gMessage) -> None:
            self.fire(ev, "again", key="loop")

    Listener.heard = {}
    analysis = Analysis(ALL_ON, sources=("plc", "cp"), checks={"lab-listener": Worder})
    items = list(Lab.good("din-dc").items())
    told = [out.count for item in items for out in analysis.feed(item) if isinstance(out, Finding)]
    told += [out.count for out in analysis.finish(items[-1].t) if isinstance(out, Finding)]
    total = Listener.heard["every"].count("CurrentDemandRes")
    powers = [1 << i for i in range(total.bit_length())]
    assert told == (powers if powers[-1] == total else [*powers, total])


def test_a_deadline_that_is_put_off_runs_once_at_its_last_time() -> None:
    class Waits(Listener):
        ran: list[tuple[int, int]]

        def start(self) -> None:
            self.due = self.deadline(self.over)
            self.last = 0

        @on(V2gMessage)
        def every(self, ev: V2gMessage) -> None:
            self.due.set(ev.t + 2_000_000_000)
            self.last = ev.t

        def over(self, t: int) -> None:
            assert self.now == t
            self.ran.append((t, self.last))

    Listener.heard, Waits.ran = {}, []
    items = list(Lab.good("din-dc").items())
    analysis = Analysis(ALL_ON, sources=("plc", "cp"), checks={"lab-listener": Waits})
    for item in items:
        analysis.feed(item)
    analysis.finish(items[-1].t + 3_000_000_000)
    assert not analysis.engine.failures
    assert [t - last for t, last in Waits.ran] == [2_000_000_000] * len(Waits.ran)
    assert len(Waits.ran) == len({last for _, last in Waits.ran}) >= 1
