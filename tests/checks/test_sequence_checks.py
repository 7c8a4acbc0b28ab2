"""Checks of the order of messages from bytes."""

from __future__ import annotations

import pytest
from casebook import Case, Lab, assert_fires, assert_gap, assert_quiet, book, good
from v2g_scenes import again, contract, ends, stop_exchange


def din() -> Lab:
    return Lab.good("din-dc")


def unexpected() -> Lab:
    made = din()
    odd = again(made, "PreChargeReq", gap=0.1)
    return made.stop_after("ContractAuthenticationRes").append(*odd).close("fin", "SECC")


def without_authorization() -> Lab:
    return din().drop("ContractAuthentication")


def stop_after_start() -> Lab:
    made = din()
    stop = stop_exchange(made)
    return made.stop_after("PowerDeliveryRes", 0).append(*stop).close("fin")


def stop_from_loop() -> Lab:
    made = din()
    stop = stop_exchange(made)
    return made.stop_after("CurrentDemandRes", 5).append(*stop).close("fin")


def renegotiated(cable_check: bool) -> Lab:
    made = Lab.good("iso2-dc")
    steps = again(made, "PowerDelivery", 0, gap=0.2, ChargeProgress="Renegotiate") + again(made, "ChargeParameterDiscovery", gap=0.2)
    steps += again(made, "CableCheck", -1, gap=0.2) + again(made, "PreCharge", -1, gap=0.2) if cable_check else []
    return made.insert_after("CurrentDemandRes", 5, *steps, *again(made, "PowerDelivery", 0, gap=0.2))


def receipt(lab: Lab) -> Lab:
    body = {"SessionID": lab.session_id, "SAScheduleTupleID": 1, "MeterInfo": {"MeterID": "METER1", "MeterReading": 1003}}
    answer = {"ResponseCode": "OK", "DC_EVSEStatus": lab.find("CurrentDemandRes", 3)[0].fields["DC_EVSEStatus"]}
    return lab.insert_after("CurrentDemandRes", 3, lab.message("MeteringReceiptReq", body), lab.message("MeteringReceiptRes", answer))


def receipt_asked() -> Lab:
    made = contract(Lab.good("iso2-dc"), challenge="AAECAwQFBgcICQoLDA0ODw==")
    return receipt(made.replace("CurrentDemandRes", 3, ReceiptRequired=True))


CPD = "ChargeParameterDiscoveryReq"
CASES = book(
    Case(
        "seq-unexpected-request", unexpected, ("ContractAuthenticationReq", -1), "EVCC", "allowed is ChargeParameterDiscoveryReq, SessionStopReq",
        {"request": "PreChargeReq"}, ("ContractAuthenticationRes", "PreChargeReq"), "error",
    ),
    Case(
        "seq-failed-sequenceerror", lambda: din().replace("SessionStopRes", 0, ResponseCode="FAILED_SequenceError"), ("SessionStopReq", 0), "EVCC",
        "SessionStopReq is answered with FAILED_SequenceError", {"ResponseCode": "FAILED_SequenceError"}, ("SessionStopReq", "SessionStopRes"),
    ),
    Case(
        "seq-sequenceerror-not-raised", without_authorization, (CPD, 0), "SECC", "came after ServicePaymentSelectionRes", {"ResponseCode": "OK"},
        (CPD, "ChargeParameterDiscoveryRes"), "info",
    ),
    Case(
        "seq-contractauth-missing-din", lambda: ends(without_authorization(), CPD), ("ServicePaymentSelectionReq", 0), "EVCC",
        "ChargeParameterDiscoveryReq follows ServicePaymentSelectionRes", {"request": CPD}, ("ServicePaymentSelectionRes", CPD), "error",
    ),
    Case(
        "seq-sessionstop-early", stop_after_start, ("PowerDeliveryReq", 0), "EVCC", "SessionStopReq follows PowerDeliveryRes", {"request": "SessionStopReq"},
        ("PowerDeliveryRes", "SessionStopReq"), "info",
    ),
    Case(
        "seq-sessionstop-from-loop", stop_from_loop, ("CurrentDemandReq", 5), "EVCC", "SessionStopReq follows CurrentDemandRes",
        {"request": "SessionStopReq"}, ("CurrentDemandRes", "SessionStopReq"), "info",
    ),
    Case(
        "seq-skipped-cablecheck", lambda: din().drop("CableCheck"), ("ChargeParameterDiscoveryReq", 0), "EVCC", "no isolation test in this session",
        {"request": "PreChargeReq"}, ("ChargeParameterDiscoveryRes", "PreChargeReq"), "warning",
    ),
    Case(
        "seq-skipped-precharge", lambda: din().drop("PreCharge"), ("CableCheckReq", -1), "EVCC", "voltages were not matched",
        {"request": "PowerDeliveryReq"}, ("CableCheckRes", "PowerDeliveryReq"), "warning",
    ),
    Case(
        "seq-precharge-to-pd-while-ongoing", lambda: Lab.good("iso20-dc").replace("DC_PreChargeReq", -1, EVProcessing="Ongoing"), ("DC_PreChargeReq", -1),
        "EVCC", "the EV had said EVProcessing Ongoing", {"request": "PowerDeliveryReq"}, ("DC_PreChargeRes", "PowerDeliveryReq"), "warning",
        quiet=good("iso20-dc"),
    ),
    Case(
        "seq-welding-ongoing-then-stop", lambda: Lab.good("iso20-dc").replace("DC_WeldingDetectionReq", -1, EVProcessing="Ongoing"),
        ("DC_WeldingDetectionReq", -1), "EVCC", "the EV had said EVProcessing Ongoing", {"request": "SessionStopReq"},
        ("DC_WeldingDetectionRes", "SessionStopReq"), "info", quiet=good("iso20-dc"),
    ),
    Case(
        "seq-ongoing-not-repeated", lambda: ends(din().replace("CableCheckRes", -1, EVSEProcessing="Ongoing"), "PreChargeReq", 0), ("CableCheckReq", -1),
        "EVCC", "CableCheckRes said Ongoing, PreChargeReq follows", {"request": "PreChargeReq"}, ("CableCheckRes", "PreChargeReq"), "error",
    ),
    Case(
        "seq-renegotiation-skips-cablecheck", lambda: renegotiated(False), ("ChargeParameterDiscoveryRes", -1), "EVCC", "without CableCheck", {},
        ("PowerDeliveryReq",), "info", quiet=lambda: renegotiated(True),
    ),
    Case(
        "seq-renegotiate-before-start", lambda: ends(Lab.good("iso2-dc").replace("PowerDeliveryReq", 0, ChargeProgress="Renegotiate"), "PowerDeliveryReq", 0),
        ("CableCheckReq", 0), "EVCC", "before it ever started power", {}, ("PowerDeliveryReq",), None, quiet=good("iso2-dc"),
    ),
    Case(
        "seq-meteringreceipt-without-request", lambda: receipt(Lab.good("iso2-dc")), ("CurrentDemandRes", 3), "EVCC", "although payment is external", {},
        ("MeteringReceiptReq",), "info", quiet=receipt_asked,
    ),
    Case(
        "seq-receiptrequired-eim", lambda: Lab.good("iso2-dc").replace("CurrentDemandRes", 3, ReceiptRequired=True), ("CurrentDemandReq", 3), "SECC",
        "asks for a receipt", {"ReceiptRequired": True}, ("CurrentDemandRes",), "warning",
        quiet=lambda: Lab.good("iso2-dc").replace("CurrentDemandRes", None, ReceiptRequired=False),
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


def test_messages_after_a_refused_handshake() -> None:
    """Failed_NoNegotiation, and the EV opens a session all the same."""
    made = din().replace("supportedAppProtocolRes", 0, ResponseCode="Failed_NoNegotiation")
    result = ends(made, "SessionSetupReq").run()
    assert "allowed is nothing" in result.one("seq-unexpected-request").detail
