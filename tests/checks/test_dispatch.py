"""Which events a handler gets: its names, its guard; and that guards save calls without changing what is found and counted."""

from __future__ import annotations

import pytest
from lab import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.checks.base import Check, on
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
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
