"""Checks of elements, services, payment and schedules from bytes."""

from __future__ import annotations

from typing import Any

import pytest
from casebook import Case, Lab, assert_fires, assert_gap, assert_quiet, book, good
from lab import DROP
from lab_good import rational, watt
from v2g_scenes import SIGNATURE, TARIFF, contract, ends

CPDQ, CPDS = "ChargeParameterDiscoveryReq", "ChargeParameterDiscoveryRes"
TUPLE = "SAScheduleList.SAScheduleTuple.0"
PROFILE = "ChargingProfile.ProfileEntry.0.ChargingProfileEntryMaxPower"
CHALLENGE = "AAECAwQFBgcICQoLDA0ODw=="


def din() -> Lab:
    return Lab.good("din-dc")


def iso2() -> Lab:
    return Lab.good("iso2-dc")


def iso20() -> Lab:
    return Lab.good("iso20-dc")


def other_parameters(name: str, ours: str, theirs: str) -> Lab:
    """Charge parameters of AC in a DC session."""
    content = Lab.good("iso2-ac").find(name)[0].fields[theirs]
    return iso2().replace(name, 0, {ours: DROP, theirs: content})


def details_in_eim() -> Lab:
    made = iso2()
    chain = {"eMAID": "DEABC123456789Y", "ContractSignatureCertChain": {"Certificate": "AAAA"}}
    return made.stop_after("PaymentServiceSelectionRes").append(made.message("PaymentDetailsReq", chain)).close("fin", "SECC")


def details_in_pnc() -> Lab:
    return contract(iso2(), challenge=CHALLENGE)


def ac_in_dc() -> Lab:
    made = iso2()
    return made.stop_after("CurrentDemandRes", 3).append(made.message("ChargingStatusReq", {})).close("fin", "SECC")


def tariff(signed: bool) -> Lab:
    made = iso2().replace(CPDS, 0, {f"{TUPLE}.SalesTariff": TARIFF})
    if signed:
        contract(made, challenge=CHALLENGE).header(CPDS, 0, Signature=SIGNATURE)
    return made


def dynamic_loop() -> Lab:
    mode = {
        "EVTargetEnergyRequest": rational(10_000), "EVMaximumEnergyRequest": rational(20_000), "EVMinimumEnergyRequest": rational(0),
        "EVMaximumChargePower": rational(80_000), "EVMinimumChargePower": rational(0), "EVMaximumChargeCurrent": rational(200),
        "EVMaximumVoltage": rational(450), "EVMinimumVoltage": rational(150),
    }  # fmt: skip
    made = iso20().replace("DC_ChargeLoopReq", 3, Scheduled_DC_CLReqControlMode=DROP, Dynamic_DC_CLReqControlMode=mode)
    return ends(made, "DC_ChargeLoopReq", 3)


def standby(code: str) -> Lab:
    return iso20().replace("PowerDeliveryReq", -1, ChargeProgress="Standby").replace("PowerDeliveryRes", -1, ResponseCode=code)


def not_offered(name: str, changes: dict[str, Any], lab: Lab) -> Lab:
    """A selection of what was not offered; the EVSE hangs up."""
    return ends(lab.replace(name, 0, changes), name, 0)


CASES = book(
    Case(
        "pres-chargeparam-mismatch", lambda: ends(other_parameters(CPDQ, "DC_EVChargeParameter", "AC_EVChargeParameter"), CPDQ), (CPDQ, 0), "EVCC",
        "has AC_EVChargeParameter", {"AC_EVChargeParameter": "forbidden"}, (CPDQ,), "error",
    ),
    Case(
        "pres-evse-chargeparam-mismatch", lambda: ends(other_parameters(CPDS, "DC_EVSEChargeParameter", "AC_EVSEChargeParameter"), CPDS, by="EVCC"),
        (CPDQ, 0), "SECC", "has AC_EVSEChargeParameter", {"AC_EVSEChargeParameter": "forbidden"}, (CPDS,), "error",
    ),
    Case(
        "pres-saschedule-missing", lambda: ends(iso2().replace(CPDS, 0, SAScheduleList=DROP), CPDS, by="EVCC"), (CPDQ, 0), "SECC",
        "lacks SAScheduleList while EVSEProcessing is Finished", {"SAScheduleList": "required"}, (CPDS,), "error", quiet=good("iso2-dc"),
    ),
    Case(
        "pres-chargingprofile-missing-ac", lambda: Lab.good("iso2-ac").replace("PowerDeliveryReq", 0, ChargingProfile=DROP), ("PowerDeliveryReq", 0), "EVCC",
        "lacks ChargingProfile while ChargeProgress is Start", {"ChargingProfile": "required"}, ("PowerDeliveryReq",), "info", quiet=good("iso2-ac"),
    ),
    Case(
        "pres-evseisolationstatus-missing", lambda: din().replace("CableCheckRes", 1, {"DC_EVSEStatus.EVSEIsolationStatus": DROP}), ("CableCheckReq", 1),
        "SECC", "CableCheckRes lacks EVSEIsolationStatus", {"EVSEIsolationStatus": "required"}, ("CableCheckRes",), "info",
    ),
    Case(
        "pres-currentdemand-limits-missing", lambda: din().replace("CurrentDemandReq", 3, EVMaximumCurrentLimit=DROP), ("CurrentDemandReq", 3), "EVCC",
        "CurrentDemandReq lacks EVMaximumCurrentLimit", {"EVMaximumCurrentLimit": "required"}, ("CurrentDemandReq",), "info",
    ),
    Case(
        "pres-din-forbidden-elements", lambda: din().replace("ServiceDiscoveryReq", 0, ServiceScope="here"), ("ServiceDiscoveryReq", 0), "EVCC",
        "ServiceDiscoveryReq has ServiceScope", {"ServiceScope": "forbidden"}, ("ServiceDiscoveryReq",), "info",
    ),
    Case(
        "pres-servicelist-dup",
        lambda: not_offered("ServicePaymentSelectionReq", {"SelectedServiceList.SelectedService.0.ServiceID": 7}, din()),
        ("ServiceDiscoveryRes", 0), "EVCC", "names service 7; offered were [1]", {"ServiceID": 7}, ("ServiceDiscoveryRes", "ServicePaymentSelectionReq"), "error",
    ),
    Case(
        "pres-iso20-service-not-offered", lambda: not_offered("ServiceSelectionReq", {"SelectedEnergyTransferService.ServiceID": 6}, iso20()),
        ("ServiceDiscoveryRes", 0), "EVCC", "selects service 6; offered were [2]", {"ServiceID": 6}, ("ServiceDiscoveryRes", "ServiceSelectionReq"), "error",
        quiet=good("iso20-dc"),
    ),
    Case(
        "pres-payment-mismatch", lambda: not_offered("PaymentServiceSelectionReq", {"SelectedPaymentOption": "Contract"}, iso2()), ("ServiceDiscoveryRes", 0),
        "EVCC", "selects Contract; offered were ExternalPayment", {"SelectedPaymentOption": "Contract"},
        ("ServiceDiscoveryRes", "PaymentServiceSelectionReq"), "error", quiet=good("iso2-dc"),
    ),
    Case(
        "pres-paymentoption-list-pnc-plain",
        lambda: iso2().replace("ServiceDiscoveryRes", 0, {"PaymentOptionList.PaymentOption": ["Contract", "ExternalPayment"]}), ("ServiceDiscoveryReq", 0),
        "SECC", "offers Contract, ExternalPayment without TLS", {"options": ["Contract", "ExternalPayment"]}, ("ServiceDiscoveryRes",), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "pres-paymentdetails-in-eim", details_in_eim, ("PaymentServiceSelectionReq", 0), "EVCC", "the payment is external", {"request": "PaymentDetailsReq"},
        ("PaymentServiceSelectionRes", "PaymentDetailsReq"), "error", quiet=details_in_pnc,
    ),
    Case(
        "pres-iso2-ac-in-dc-session", ac_in_dc, ("CurrentDemandReq", 3), "EVCC", "ChargingStatusReq follows CurrentDemandRes",
        {"request": "ChargingStatusReq"}, ("CurrentDemandRes", "ChargingStatusReq"), "error", quiet=good("iso2-ac"),
    ),
    Case(
        "pres-genchallenge-missing", lambda: ends(contract(iso2(), challenge=None), "AuthorizationReq", 0), ("PaymentDetailsRes", 0), "EVCC",
        "does not carry GenChallenge", {}, ("PaymentDetailsRes", "AuthorizationReq"), "error", quiet=details_in_pnc,
    ),
    Case(
        "pres-saschedule-tupleid-range", lambda: iso2().replace(CPDS, 0, {f"{TUPLE}.SAScheduleTupleID": 256}), (CPDQ, 0), "SECC", "SAScheduleTupleID is 256",
        {"SAScheduleTupleID": 256}, (CPDS,), "warning", quiet=good("iso2-dc"),
    ),
    Case(
        "pres-tupleid-mismatch", lambda: not_offered("PowerDeliveryReq", {"SAScheduleTupleID": 7}, iso2()), (CPDS, 0), "EVCC",
        "selects schedule 7; offered were [1]", {"SAScheduleTupleID": 7}, (CPDS, "PowerDeliveryReq"), "error", quiet=good("iso2-dc"),
    ),
    Case(
        "pres-chargingprofile-exceeds-pmax", lambda: Lab.good("iso2-ac").replace("PowerDeliveryReq", 0, {PROFILE: watt(22_000)}), (CPDS, 0), "EVCC",
        "plans 22000 W from 0 s on, the schedule allows 11000 W", {"power": 22000.0}, (CPDS, "PowerDeliveryReq"), "info", quiet=good("iso2-ac"),
    ),
    Case(
        "pres-salestariff-no-pnc", lambda: tariff(False), (CPDQ, 0), "SECC", "the payment is external", {}, (CPDS,), "info", quiet=lambda: tariff(True),
    ),
    Case(
        "pres-iso20-control-mode", dynamic_loop, ("DC_ChargeLoopRes", 2), "EVCC", "DC_ChargeLoopReq is dynamic, selected was scheduled",
        {"ControlMode": "Dynamic"}, ("ServiceSelectionReq", "DC_ChargeLoopReq"), "error", quiet=good("iso20-dc"),
    ),
    Case(
        "pres-iso20-renegotiation-unsupported", lambda: ends(iso20().replace("SessionStopReq", 0, ChargingSession="ServiceRenegotiation"), "SessionStopReq"),
        ("DC_WeldingDetectionRes", 0), "EVCC", "which the EVSE does not support", {"ServiceRenegotiationSupported": False},
        ("ServiceDiscoveryRes", "SessionStopReq"), None, quiet=good("iso20-dc"),
    ),
    Case(
        "pres-iso20-standby", lambda: standby("WARNING_StandbyNotAllowed"), ("PowerDeliveryReq", -1), "EVCC", "Standby was answered with",
        {"ResponseCode": "WARNING_StandbyNotAllowed"}, ("PowerDeliveryReq", "PowerDeliveryRes"), "warning", quiet=lambda: standby("OK"),
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


def test_accepted_deviation_is_information() -> None:
    """The same wrong service id, and the EVSE goes on as if nothing were."""
    made = din().replace("ServicePaymentSelectionReq", 0, {"SelectedServiceList.SelectedService.0.ServiceID": 7})
    finding = made.run().one("pres-servicelist-dup")
    assert (finding.severity, finding.effect) == ("info", "none")
    assert "accepted it" in finding.detail


def test_refused_deviation_is_the_cause() -> None:
    made = din().replace("ServicePaymentSelectionReq", 0, {"SelectedServiceList.SelectedService.0.ServiceID": 7})
    made.replace("ServicePaymentSelectionRes", 0, ResponseCode="FAILED_ServiceSelectionInvalid")
    result = ends(made, "ServicePaymentSelectionRes").run()
    assert result.one("pres-servicelist-dup").severity == "error"
    assert result.session.verdict.check == "pres-servicelist-dup"
