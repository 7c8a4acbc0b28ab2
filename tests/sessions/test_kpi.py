"""Key figures: power started, how long it took, ended well; what is not known is left out."""

from __future__ import annotations

import pytest
from lab import Lab

from plugtap.analysis.outputs import SessionReport
from plugtap.config.analysis import AnalysisSettings
from plugtap.sessions.kpi import Kpi


def power_at(session: SessionReport) -> float:
    return session.electrical["power_started_s"]


@pytest.mark.parametrize("name", ["din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac"])
def test_a_good_session(name: str) -> None:
    kpi = Lab.good(name).run().session.kpi
    assert (kpi.power_started, kpi.ended_ok, kpi.success, kpi.unknown) == (True, True, True, "")
    assert kpi.charge_start_s is not None
    assert 0 < kpi.charge_start_s < 60


def test_the_start_counts_from_the_later_of_plug_in_and_authorization() -> None:
    quick = Lab.good("din-dc").run().session.kpi
    waited = Lab.good("din-dc").repeat("ContractAuthentication", 0, 30, every=1.0).run().session
    assert quick.charge_start_s is not None
    assert waited.kpi.charge_start_s == pytest.approx(quick.charge_start_s, abs=0.2)  # the driver's search for the card is not the charger's
    assert power_at(waited) > quick.charge_start_s + 30


def test_no_power_no_success() -> None:
    session = Lab.good("din-dc").replace("CurrentDemandRes", None, {"EVSEPresentCurrent.Value": 0}).run().session
    assert session.kpi == Kpi(power_started=False, success=False)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Lab.good("din-dc").stop_after("CurrentDemandRes", 8).close("rst", "EVCC"),
        lambda: Lab.good("din-dc").replace("CurrentDemandReq", -1, {"DC_EVStatus.EVErrorCode": "FAILED_EVRESSMalfunction"}),
        lambda: Lab.good("din-dc").replace("CurrentDemandRes", 5, {"DC_EVSEStatus.EVSEIsolationStatus": "Fault"}),
        lambda: Lab.good("din-dc").replace("CurrentDemandRes", -1, {"DC_EVSEStatus.EVSEStatusCode": "EVSE_Malfunction"}),
        lambda: Lab.good("din-dc").replace("SessionStopRes", 0, ResponseCode="FAILED"),
    ],
    ids=["reset", "EV error", "isolation", "EVSE fault", "FAILED"],
)
def test_power_and_a_bad_end(made) -> None:  # type: ignore[no-untyped-def]
    kpi = made().run().session.kpi
    assert (kpi.power_started, kpi.ended_ok, kpi.success) == (True, False, False)


def test_a_stop_the_evse_announced_is_a_good_end() -> None:
    lab = Lab.good("din-dc").replace("CurrentDemandRes", -1, {"DC_EVSEStatus.EVSEStatusCode": "EVSE_Shutdown"})
    assert lab.run().session.kpi.ended_ok is True


def test_a_capture_that_ends_under_power_knows_the_start_only() -> None:
    kpi = Lab.good("din-dc").stop_after("CurrentDemandRes", 8).run(ticks=None).session.kpi
    assert (kpi.power_started, kpi.ended_ok, kpi.success, kpi.unknown) == (True, None, None, "the end is not shown")


def test_a_capture_that_ends_before_power_knows_nothing() -> None:
    assert Lab.good("din-dc").stop_after("CableCheckRes", 0).run(ticks=None).session.kpi == Kpi(unknown="the end is not shown")


def test_a_session_joined_in_the_middle_is_no_attempt() -> None:
    lab = Lab.good("din-dc", pilot=False, slac=False)
    at = next(i for i, s in enumerate(lab.steps) if s.name == "CurrentDemandReq")
    lab.steps = lab.steps[at:]
    assert lab.run().session.kpi == Kpi(unknown="the start was not recorded")


def test_neighbours_do_not_count() -> None:
    settings = AnalysisSettings(own_macs=("02:00:00:00:99:99",))
    assert Lab.good("din-dc", pilot=False).run(settings).session.kpi == Kpi(unknown="another pair's session")


def test_ac_by_the_pilot_alone() -> None:
    lab = Lab().pilot("A1").pilot("B1", 2.0).pilot("B2", 1.0, duty=2670).pilot("C2", 3.0, duty=2670)
    kpi = lab.pilot("B2", 20.0, duty=2670).pilot("B1", 0.5).pilot("A1", 2.0).run().session.kpi
    assert (kpi.power_started, kpi.ended_ok) == (True, True)
    assert kpi.charge_start_s == pytest.approx(4.0, abs=0.2)
