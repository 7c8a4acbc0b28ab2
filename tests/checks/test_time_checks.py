"""Checks of times, ends and stalls of V2G sessions from bytes."""

from __future__ import annotations

import pytest
from casebook import Case, Lab, assert_fires, assert_gap, assert_quiet, book, good
from lab_good import SESSION_ID
from v2g_scenes import again, ends, stop_exchange

from plugtap.config.analysis import AnalysisSettings, CheckSettings

CPD = "ChargeParameterDiscovery"


def switched_on(check: str) -> AnalysisSettings:
    """The laboratory's settings with a check that is off by default."""
    return AnalysisSettings(site="lab", tap="lab", vantage="host", checks={check: CheckSettings(enabled=True)})


def din() -> Lab:
    return Lab.good("din-dc")


def ongoing(times: int) -> Lab:
    made = din().replace(f"{CPD}Res", 0, EVSEProcessing="Ongoing")
    made.repeat(CPD, 0, times, every=2.0)
    return made.replace(f"{CPD}Res", -1, EVSEProcessing="Finished")


def jitter() -> Lab:
    made = din().repeat("CurrentDemand", -1, 110, every=0.5)
    for nth in (30, 60, 90):
        made.delay("CurrentDemandRes", nth, 0.3)
    return made


def fast_cable_check() -> Lab:
    return din().drop("CableCheck", 0).drop("CableCheck", 0).drop("CableCheck", 0)


def middle() -> Lab:
    """A capture that begins in CableCheck."""
    made = Lab.good("din-dc", slac=False)
    first = next(i for i, s in enumerate(made.steps) if s.name == "CableCheckReq")
    made.steps = made.steps[first:]
    return made


def twice(protocol: str) -> Lab:
    """Two sessions with the same SessionID."""
    return Lab.good(protocol).append(*Lab.good(protocol).steps)


def twice_fresh() -> Lab:
    """Two sessions, the second resumes the first: it says so."""
    made = Lab.good("iso2-dc")
    second = Lab.good("iso2-dc").replace("SessionSetupRes", 0, ResponseCode="OK_OldSessionJoined").header("SessionSetupReq", 0, SessionID=SESSION_ID)
    return made.append(*second.steps)


def with_id(ident: str) -> Lab:
    made = din()
    made.session_id = ident
    return made


def failed_then_stop() -> Lab:
    made = Lab.good("iso20-dc").replace("ServiceDetailRes", 0, ResponseCode="FAILED_ServiceIDInvalid")
    stop = stop_exchange(made)
    return made.stop_after("ServiceDetailRes").append(*stop).close("fin")


CASES = book(
    Case(
        "time-msg-timeout", lambda: din().stop_after("CableCheckReq", 1), ("CableCheckReq", 1), "SECC", "CableCheckReq was not answered within 2 s",
        {"response_time": 3.0}, ("CableCheckReq",), "error",
    ),
    Case(
        "time-perf-missed", lambda: din().delay("CableCheckRes", 1, 1.6), ("CableCheckReq", 1), "SECC", "CableCheckRes took 1.61 s",
        {"response_time": 1.61}, ("CableCheckReq", "CableCheckRes"), "info",
    ),
    Case(
        "time-currentdemand", lambda: din().delay("CurrentDemandRes", 3, 0.3), ("CurrentDemandReq", 3), "SECC", "CurrentDemandRes took 0.312 s",
        {"response_time": 0.312}, ("CurrentDemandReq", "CurrentDemandRes"), "info",
    ),
    Case(
        "time-chargeloop-iso20", lambda: Lab.good("iso20-dc").delay("DC_ChargeLoopReq", 3, 0.1), ("DC_ChargeLoopRes", 2), "EVCC",
        "DC_ChargeLoopReq came 0.300 s after", {"pause": 0.3}, ("DC_ChargeLoopReq", "DC_ChargeLoopRes"), "info", quiet=good("iso20-dc"),
    ),
    Case(
        "time-ev-gave-up-early", lambda: ends(din(), f"{CPD}Req", by="EVCC", gap=0.4), (f"{CPD}Req", 0), "EVCC", "closed the connection 0.40 s after",
        {"waited": 0.4}, (f"{CPD}Req", "fin"), "error",
    ),
    Case(
        "time-secc-sequence-timeout", lambda: din().stop_after("CableCheckRes", 1), ("CableCheckRes", 1), "EVCC", "no further request for 60 s",
        {"pause": 60.0}, ("CableCheckRes",), None,
    ),
    Case(
        "time-ev-slow-between", lambda: Lab.good("iso2-dc").delay("PowerDeliveryReq", 0, 41.0), ("PreChargeRes", -1), "EVCC",
        "PowerDeliveryReq came 41.4 s after PreChargeRes", {"pause": 41.4}, ("PreChargeRes", "PowerDeliveryReq"), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "time-ongoing-timeout", lambda: ongoing(35), (f"{CPD}Res", 3), "SECC", f"{CPD}Res says Ongoing since 60 s", {"ongoing": 60.0, "responses": 31},
        (f"{CPD}Res",), "warning",
    ),
    Case(
        "time-authorization-wait", lambda: din().repeat("ContractAuthentication", 0, 35, every=2.0), ("ContractAuthenticationRes", 3), "authorization",
        "Authorization is not Finished 60 s after", {"waited": 60.0}, ("ContractAuthenticationReq", "ContractAuthenticationRes"), "info",
    ),
    Case(
        "time-precharge", lambda: din().repeat("PreCharge", 0, 20, every=0.5), ("PreChargeRes", 3), "SECC", "The EV waited and went on",
        {"duration": 11.3, "EVTargetVoltage": 400.0, "EVSEPresentVoltage": 398.0, "voltage at 0 s": 60.0}, ("PreChargeReq", "PreChargeRes"), "info",
    ),
    Case(
        "time-precharge-iso20", lambda: Lab.good("iso20-dc").repeat("DC_PreCharge", 0, 30, every=0.5), ("DC_PreChargeRes", 3), "SECC",
        "PreCharge took 16.3 s in 34 responses", {"duration": 16.3}, ("DC_PreChargeReq", "DC_PreChargeRes"), "info", quiet=good("iso20-dc"),
    ),
    Case(
        "time-cablecheck", lambda: din().repeat("CableCheck", 0, 50, every=1.0), ("CableCheckRes", 5), "SECC",
        "CableCheck is not Finished 40 s after its first request (EVSE_IsolationMonitoringActive/Invalid", {"duration": 40.0},
        ("CableCheckReq", "CableCheckRes"), "warning",
    ),
    Case(
        "time-cablecheck-fast", fast_cable_check, ("CableCheckReq", 0), "SECC", "CableCheck was Finished after 0.01 s", {"duration": 0.012},
        ("CableCheckReq", "CableCheckRes"), "info",
    ),
    Case(
        "time-welding-timeout", lambda: din().repeat("WeldingDetection", 0, 25, every=1.0), ("WeldingDetectionRes", 3), "unknown",
        "WeldingDetection took 25.5 s", {"duration": 25.5, "EVSEPresentVoltage": 30.0}, ("WeldingDetectionReq", "WeldingDetectionRes"), "warning",
    ),
    Case(
        "time-comm-setup", lambda: din().delay("CM_SLAC_PARM.REQ", 0, 22.0), ("CM_SLAC_PARM.REQ", 0), "unknown", "SessionSetupRes came 26.", {"duration": 26.4},
        ("CP", "SessionSetupRes"), "info",
    ),
    Case(
        "time-clock-jump", lambda: Lab.good("iso2-dc").replace("SessionSetupRes", 0, EVSETimeStamp=1_600_000_000), ("SessionSetupReq", 0), "SECC",
        "s behind the capture's", {"difference": 100000006.9}, ("SessionSetupRes",), "info",
        quiet=lambda: Lab.good("iso2-dc").replace("SessionSetupRes", 0, EVSETimeStamp=1_700_000_005),
    ),
    Case(
        "time-response-jitter", jitter, ("CurrentDemandReq", 3), "SECC", "99th percentile 312 ms", {"median": 12.0}, ("CurrentDemandRes",), "info",
        quiet=lambda: din().repeat("CurrentDemand", -1, 110, every=0.5), settings=switched_on("time-response-jitter"),
    ),
    Case(
        "sess-resp-failed", lambda: ends(din().replace(f"{CPD}Res", 0, ResponseCode="FAILED_WrongChargeParameter"), f"{CPD}Res", by="EVCC"),
        (f"{CPD}Req", 0), "EVCC", "says FAILED_WrongChargeParameter", {"ResponseCode": "FAILED_WrongChargeParameter"}, (f"{CPD}Req", f"{CPD}Res"), "error",
    ),
    Case(
        "sess-contactor-error", lambda: ends(Lab.good("iso2-ac").replace("PowerDeliveryRes", 0, ResponseCode="FAILED_ContactorError"), "PowerDeliveryRes", 0),
        ("PowerDeliveryReq", 0), "SECC", "PowerDeliveryRes says FAILED_ContactorError", {"ResponseCode": "FAILED_ContactorError"}, ("PowerDeliveryRes",),
        "error", quiet=good("iso2-ac"),
    ),
    Case(
        "sess-resp-warning-20", lambda: Lab.good("iso20-dc").replace("AuthorizationRes", -1, ResponseCode="WARNING_EIMAuthorizationFailure"),
        ("AuthorizationReq", -1), "authorization", "says WARNING_EIMAuthorizationFailure", {"ResponseCode": "WARNING_EIMAuthorizationFailure"},
        ("AuthorizationRes",), "warning", quiet=good("iso20-dc"),
    ),
    Case(
        "sess-eim-rejected-iso20-wrong", lambda: Lab.good("iso20-dc").replace("AuthorizationRes", 0, ResponseCode="WARNING_EIMAuthorizationFailure"),
        ("AuthorizationReq", 0), "SECC", "EVSEProcessing is Ongoing", {"EVSEProcessing": "Ongoing"}, ("AuthorizationRes",), None, quiet=good("iso20-dc"),
    ),
    Case(
        "sess-failed-without-close", lambda: Lab.good("iso20-dc").replace("ServiceDetailRes", 0, ResponseCode="FAILED_ServiceIDInvalid"),
        ("ServiceDetailReq", 0), "SECC", "goes on with ServiceSelectionRes", {}, ("ServiceDetailRes", "ServiceSelectionRes"), "info", quiet=failed_then_stop,
    ),
    Case(
        "sess-terminated-by-secc", lambda: ends(din(), "ContractAuthenticationRes"), ("ContractAuthenticationRes", -1), "SECC",
        "The EVSE closed the TCP connection", {"reached": "authorization"}, ("ContractAuthenticationRes", "fin"), "error",
    ),
    Case(
        "sess-terminated-by-evcc", lambda: ends(din(), "ContractAuthenticationRes", by="EVCC", how="rst"), ("ContractAuthenticationRes", -1), "EVCC",
        "The EV reset the TCP connection", {"last_message": "ContractAuthenticationRes"}, ("ContractAuthenticationRes", "rst"), "error",
    ),
    Case(
        "sess-no-sessionstop", lambda: ends(din(), "CurrentDemandRes", 5, by="EVCC", how="rst"), ("CurrentDemandRes", 5), "EVCC", "without SessionStop",
        {"how": "rst"}, ("CurrentDemandRes", "rst"), "info",
    ),
    Case("sess-capture-truncated", middle, ("CableCheckReq", 0), "tap", "The first message is CableCheckReq", {"first_message": "CableCheckReq"}, ("CableCheckReq",), "info"),
    Case(
        "sess-short", din, ("CurrentDemandReq", 3), "unknown", "The charge loop lasted", {"energy": 10.0}, ("CurrentDemandReq",), "info",
        quiet=lambda: din().repeat("CurrentDemand", -1, 130, every=0.3),
    ),
    Case(
        "sess-id-zero-first", lambda: Lab.good("iso2-dc").header("SessionSetupReq", 0, SessionID=SESSION_ID), ("SessionSetupReq", 0), "EVCC", "of 8 bytes",
        {"length": 8}, ("SessionSetupReq",), "info",
    ),
    Case(
        "sess-id-empty", lambda: din().header("SessionSetupReq", 0, SessionID=""), ("SessionSetupReq", 0), "EVCC", "an empty SessionID", {"length": 0},
        ("SessionSetupReq",), "info",
    ),
    Case(
        "sess-id-zero-assigned", lambda: ends(din().header("SessionSetupRes", 0, SessionID="0000000000000000"), "SessionSetupRes", by="EVCC"),
        ("SessionSetupReq", 0), "SECC", "a SessionID of zero", {"SessionID": "zero"}, ("SessionSetupRes",), "error",
    ),
    Case("sess-id-short", lambda: with_id("A1B2C3D4"), ("SessionSetupReq", 0), "SECC", "has 4 bytes", {"length": 4}, ("SessionSetupRes",), "info"),
    Case(
        "sess-id-mismatch",
        lambda: ends(
            din().header("ServiceDiscoveryReq", 0, SessionID="1111111111111111").replace("ServiceDiscoveryRes", 0, ResponseCode="FAILED_UnknownSession"),
            "ServiceDiscoveryRes", by="EVCC",
        ),
        ("SessionSetupRes", 0), "EVCC", "ServiceDiscoveryReq carries another one of 8 bytes", {"length": 8}, ("SessionSetupRes", "ServiceDiscoveryReq"), "error",
    ),
    Case(
        "sess-id-not-checked", lambda: din().header("ServiceDiscoveryReq", 0, SessionID="1111111111111111"), ("SessionSetupRes", 0), "SECC",
        "the EVSE answers OK", {"length": 8}, ("ServiceDiscoveryReq", "ServiceDiscoveryRes"), "info",
    ),
    Case("sess-id-entropy", lambda: with_id("3132333435363738"), ("SessionSetupReq", 0), "SECC", "a text of digits", {"length": 8}, ("SessionSetupRes",), "info"),
    Case("sess-id-reused", lambda: twice("din-dc"), ("SessionSetupReq", 1), "SECC", "was that of session", {"session": "s-91cbb044670c80ae"}, ("SessionSetupRes",), "info"),
    Case(
        "sess-oldjoined-without-pause", lambda: Lab.good("iso2-dc").replace("SessionSetupRes", 0, ResponseCode="OK_OldSessionJoined"), ("SessionSetupReq", 0),
        "SECC", "The EV sent no SessionID", {"ResponseCode": "OK_OldSessionJoined"}, ("SessionSetupReq", "SessionSetupRes"), "warning", quiet=twice_fresh,
    ),
    Case(
        "sess-id-new-not-indicated", lambda: Lab.good("iso2-dc").replace("SessionSetupRes", 0, ResponseCode="OK"), ("SessionSetupReq", 0), "SECC",
        "says OK, not OK_NewSessionEstablished", {"ResponseCode": "OK"}, ("SessionSetupRes",), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "sess-ev-stall", lambda: din().stop_after("CableCheckRes", 1), ("CableCheckRes", 1), "EVCC", "sent nothing for 30 s", {"pause": 30.0},
        ("CableCheckRes",), None,
    ),
    Case(
        "sess-ev-stall-after-authorization", lambda: din().stop_after("ContractAuthenticationRes"), ("ContractAuthenticationRes", -1), "EVCC",
        "The EV got ContractAuthenticationRes", {"pause": 40.0}, ("ContractAuthenticationRes",), None, tail=130.0,
    ),
    Case(
        "sess-ev-stall-before-cablecheck", lambda: din().stop_after(f"{CPD}Res"), (f"{CPD}Res", 0), "EVCC", f"The EV got {CPD}Res", {"pause": 40.0}, (f"{CPD}Res",), None,
        tail=130.0,
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fires(case: Case) -> None:
    assert_fires(case)


@pytest.mark.parametrize("case", CASES)
def test_armed_and_quiet(case: Case) -> None:
    assert_quiet(case)


@pytest.mark.parametrize("case", CASES)
def test_gap(case: Case) -> None:
    assert_gap(case)


def test_silence_of_everybody_proves_no_stall() -> None:
    """A foreign capture without a frame between the answer and the next SLAC: recording may have stopped."""
    made = din().stop_after("PowerDeliveryRes", 0)
    made.append(*again(Lab.good("din-dc"), "CM_SLAC_PARM.REQ", gap=20.0))
    result = made.run(ticks=None)
    assert "sess-ev-stall" not in result.ids()


def test_a_pause_after_which_the_ev_goes_on_is_information() -> None:
    result = din().delay("PowerDeliveryReq", 0, 11.0).run()
    assert result.one("sess-ev-stall").severity == "info"
    assert result.session.outcome == "completed"


def test_ev_that_leaves_when_cable_check_ran_out_did_not_give_up_early() -> None:
    made = din().repeat("CableCheck", 0, 40, every=1.0)
    result = ends(made, "CableCheckReq", 40, by="EVCC", gap=0.4).run()
    assert "time-ev-gave-up-early" not in result.ids()
    assert result.one("time-cablecheck").severity == "error"
    assert result.session.verdict.check == "time-cablecheck"


def test_close_by_the_evse_is_not_a_missing_answer() -> None:
    result = ends(din(), "CableCheckReq", 1).run()
    assert "time-msg-timeout" not in result.ids()
    assert "sess-terminated-by-secc" in result.ids("error", "warning")


def test_late_answer_is_a_warning() -> None:
    result = din().delay("CableCheckRes", 1, 2.4).run()
    finding = result.one("time-msg-timeout")
    assert finding.severity == "warning"
    assert finding.values["response_time"].value == pytest.approx(2.412)


def test_precharge_that_met_its_target_blames_nobody() -> None:
    """The reported voltage is right, the EV stops all the same: what it measures is not on the wire."""
    made = din().repeat("PreCharge", -1, 25, every=0.4)
    stop = stop_exchange(made)
    result = made.stop_after("PreChargeRes").append(*stop).close("fin").run()
    finding = result.one("time-precharge")
    assert (finding.side, finding.severity) == ("unknown", "error")  # nothing else explains why no energy flowed
    assert "had met the target" in finding.detail
