"""What a tap missed, or could not hear at all, is nobody's failure."""

from __future__ import annotations

import msgspec
import pytest
from lab import Lab
from lab_camera import moved

from plugtap.analysis.analysis import Analysis
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Tick

POWER_OFF = "PowerDeliveryReq", "PowerDeliveryRes"


@pytest.mark.parametrize("missed", [POWER_OFF[:1], POWER_OFF], ids=["request", "both"])
def test_an_edge_from_c_to_b_is_no_failure_where_the_stop_was_missed(missed: tuple[str, ...]) -> None:
    made = Lab.good("din-dc")
    for name in missed:
        made.lose(name, -1, declared=False)
    session = made.run().session
    assert session.outcome == "completed"
    assert session.verdict.side == "none"
    assert not [f.check for f in session.findings if f.severity == "error"]


def test_an_edge_from_c_to_b_without_a_stop_is_one() -> None:
    made = Lab.good("din-dc")
    for name in POWER_OFF:
        made.drop(name, -1)
    session = made.run().session
    assert session.outcome == "failed"
    assert session.verdict.check == "cp-c-to-b-mid-charge"


def test_a_session_whose_last_answer_was_missed_is_not_unplugged_under_power() -> None:
    made = Lab.good("din-dc").lose("SessionStopRes", declared=False).lose("FIN", declared=False)
    session = made.run().session
    assert session.ended is not None and session.ended.how == "unplug"
    assert session.outcome == "completed"


@pytest.mark.parametrize("side", ["EVCC", "SECC"])
def test_one_side_of_slac_and_then_the_plug_taken_out_tells_nothing_of_the_session(side: str) -> None:
    made = Lab.good("din-dc")
    on_the_air = [step for step in made.steps if step.kind == "mme" and "PROFILE" not in step.name]  # profiles go from a modem to its own host
    made.steps = [step for step in made.steps if step.kind == "cp" or (step in on_the_air and step.side == side)]
    session = made.run().session
    assert session.outcome == "incomplete"
    assert session.verdict.side == "tap"


def test_of_two_cars_in_slac_with_one_charger_one_is_plugged_in_elsewhere() -> None:
    """The charger's own tap sees a neighbour's car answer the report, and never ask for the match."""
    own, other = Lab.good("din-dc"), Lab.good("din-dc", pilot=False).pair(7)
    other.secc = own.secc
    other.steps = [step for step in other.steps if step.kind == "mme"]
    other.stop_after("CM_ATTEN_CHAR.RSP")
    later = [moved(item, 2_600_000_000, 0) for item in other.items(ticks=None)]
    analysis = Analysis(AnalysisSettings(site="lab", tap="lab", vantage="host"), sources=("plc", "cp"))
    together = sorted([*own.items(tail=80.0), *later], key=lambda item: item.t)
    for number, item in enumerate(together, 1):
        analysis.feed(item if isinstance(item, Tick) else msgspec.structs.replace(item, number=number))
    analysis.finish(together[-1].t)
    charged, passed_by = sorted(analysis.reports(), key=lambda report: report.start)
    assert charged.outcome == "completed" and charged.verdict.side == "none"
    assert (passed_by.outcome, passed_by.verdict.side) == ("stopped", "none")
    assert [(f.check, f.severity) for f in passed_by.findings if f.check == "slac-match-req-missing"] == [("slac-match-req-missing", "info")]
