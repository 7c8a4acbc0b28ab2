"""Checks of status, voltages, currents, limits and schedules from bytes."""

from __future__ import annotations

from typing import Any

import pytest
from casebook import Case, Lab, assert_fires, assert_gap, assert_quiet, book, good
from lab_good import ampere, value, volt, watt
from test_time_checks import switched_on
from v2g_scenes import each, ends, loop, loops, precharge

CPDQ, CPDS = "ChargeParameterDiscoveryReq", "ChargeParameterDiscoveryRes"
CDQ, CDS = "CurrentDemandReq", "CurrentDemandRes"


def din() -> Lab:
    return Lab.good("din-dc")


def iso2() -> Lab:
    return Lab.good("iso2-dc")


def status(lab: Lab, name: str, nth: int | None, **fields: Any) -> Lab:
    """Change DC_EVSEStatus."""
    return lab.replace(name, nth, {f"DC_EVSEStatus.{key}": v for key, v in fields.items()})


def metered(step: int) -> Lab:
    """120 s at 20 kW, the meter counting `step` Wh a loop."""
    made = iso2().repeat("CurrentDemand", -1, 120, every=1.0)
    for nth in range(len(made.find(CDS))):
        made.replace(CDS, nth, {"MeterInfo.MeterReading": 1000 + nth * step})
    return made


def soc(made: Lab, values: dict[int, int]) -> Lab:
    for nth, percent in values.items():
        made.replace(CDQ, nth, {"DC_EVStatus.EVRESSSOC": percent})
    return made


def rising_soc() -> Lab:
    made = din().repeat("CurrentDemand", -1, 350, every=1.0)
    return soc(made, {nth: 40 + nth // 60 for nth in range(len(made.find(CDQ)))})


def renegotiation(times: int) -> Lab:
    made = iso2().repeat("CurrentDemand", 0, times, every=1.0)
    return status(made, CDS, None, EVSENotification="ReNegotiation")


def stopping_evse(times: int) -> Lab:
    """The EVSE announces its stop in the last loop, and `times` more are asked for."""
    return loop(status(din(), CDS, -1, EVSEStatusCode="EVSE_Shutdown"), times, 0.5)


def welding(volts: float) -> Lab:
    return din().repeat("WeldingDetection", 0, 6, every=1.0).replace("WeldingDetectionRes", None, EVSEPresentVoltage=volt(volts))


PARAMETER = "DC_EVSEChargeParameter"
CASES = book(
    Case(
        "status-everrorcode",
        lambda: ends(din().replace("PowerDeliveryReq", 0, {"DC_EVPowerDeliveryParameter.DC_EVStatus.EVErrorCode": "FAILED_EVRESSMalfunction"}), "PowerDeliveryRes", 0, by="EVCC"),
        ("PowerDeliveryReq", 0), "EVCC", "PowerDeliveryReq says FAILED_EVRESSMalfunction",
        {"EVErrorCode": "FAILED_EVRESSMalfunction", "EVSEPresentVoltage": 398.0, "EVTargetVoltage": 400.0}, ("PreChargeRes", "PowerDeliveryReq"), "error",
    ),
    Case(
        "status-evready-false", lambda: din().replace(CDQ, 3, {"DC_EVStatus.EVReady": False}), (CDQ, 3), "EVCC", "CurrentDemandReq with EVReady false",
        {"EVReady": False}, (CDQ,), "info",
    ),
    Case(
        "status-evse-malfunction", lambda: ends(status(din(), CDS, 5, EVSEStatusCode="EVSE_EmergencyShutdown"), CDS, 5, how="rst"), (CDQ, 5), "SECC",
        "says EVSE_EmergencyShutdown in the charge loop", {"EVSEStatusCode": "EVSE_EmergencyShutdown", "EVSEPresentVoltage": 398.0}, (CDS,), "error",
    ),
    Case(
        "status-evse-shutdown", lambda: stopping_evse(14), (CDS, -4), "SECC", "CurrentDemandRes says EVSE_Shutdown in the charge loop",
        {"EVSEStatusCode": "EVSE_Shutdown"}, (CDS,), "info", count=2,
    ),
    Case(
        "status-evse-notready", lambda: status(din(), "PreChargeRes", None, EVSEStatusCode="EVSE_NotReady"), ("PreChargeReq", 1), "SECC",
        "4 PreChargeRes in a row", {"responses": 4}, ("PreChargeRes",), "warning",
    ),
    Case(
        "status-notification-renegotiation", lambda: status(iso2(), CDS, 3, EVSENotification="ReNegotiation"), (CDQ, 3), "SECC", "asks for renegotiation",
        {"EVSENotification": "ReNegotiation"}, (CDS,), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "status-renegotiation-ignored", lambda: renegotiation(70), (CDS, 5), "EVCC", "asks for renegotiation since", {"waited": 61.0}, (CDS,), "info",
        quiet=lambda: renegotiation(20),
    ),
    Case(
        "status-evsenotification-maxdelay", lambda: status(iso2(), CDS, 3, EVSENotification="StopCharging", NotificationMaxDelay=65535), (CDQ, 3), "SECC",
        "65535 s to react to StopCharging", {"NotificationMaxDelay": 65535}, (CDS,), "info",
        quiet=lambda: status(iso2(), CDS, 3, EVSENotification="StopCharging", NotificationMaxDelay=10),
    ),
    Case(
        "status-ac-rcd", lambda: ends(Lab.good("iso2-ac").replace("ChargingStatusRes", 3, {"AC_EVSEStatus.RCD": True}), "ChargingStatusRes", 3),
        ("ChargingStatusReq", 3), "SECC", "residual current device has tripped", {"RCD": True}, ("ChargingStatusRes",), "error", quiet=good("iso2-ac"),
    ),
    Case(
        "status-isolation-invalid", lambda: status(din(), "PreChargeRes", None, EVSEIsolationStatus="Invalid"), ("PreChargeReq", 0), "SECC",
        "PreChargeRes says EVSEIsolationStatus Invalid", {"EVSEIsolationStatus": "Invalid"}, ("PreChargeRes",), "warning",
    ),
    Case(
        "status-isolation-fault", lambda: ends(status(din(), "CableCheckRes", 2, EVSEIsolationStatus="Fault"), "CableCheckRes", 2), ("CableCheckReq", 2),
        "SECC", "CableCheckRes says EVSEIsolationStatus Fault during CableCheck", {"EVSEIsolationStatus": "Fault"}, ("CableCheckRes",), "error",
    ),
    Case(
        "status-isolation-noimd", lambda: status(iso2(), "CableCheckRes", -1, EVSEIsolationStatus="No_IMD"), ("CableCheckReq", 1), "SECC", "says No_IMD",
        {"EVSEIsolationStatus": "No_IMD"}, ("CableCheckRes",), "warning", quiet=good("iso2-dc"),
    ),
    Case(
        "status-isolation-sequence", lambda: status(din(), "CableCheckRes", None, EVSEStatusCode="EVSE_Ready"), ("CableCheckRes", 0), "SECC",
        "never reported", {"EVSEStatusCode": "EVSE_Ready"}, ("CableCheckRes",), "info",
    ),
    Case(
        "value-voltage-above-evmax", lambda: loops(din(), 5, volts=500, count=3), (CDS, 5), "SECC", "EVSEPresentVoltage is 500.0 V, the EV's maximum 450.0 V",
        {"EVSEPresentVoltage": 500.0, "EVMaximumVoltageLimit": 450.0}, (CDS,), "error", quiet=lambda: loops(din(), 0, volts=500, amps=0),
    ),
    Case(
        "value-voltage-above-evsemax", lambda: din().replace(CDQ, 3, EVTargetVoltage=volt(950)), (CDQ, 3), "EVCC", "asks for 950 V",
        {"EVTargetVoltage": 950.0}, (CDQ,), "info",
    ),
    Case(
        "value-present-voltage-lost", lambda: loops(din(), 0, volts=2), (CDS, 3), "SECC", "EVSEPresentVoltage is 2.0 V for a target of 400.0 V",
        {"EVSEPresentVoltage": 2.0, "EVTargetVoltage": 400.0}, (CDS,), "warning",
    ),
    Case(
        "value-overshoot-low-load", lambda: din().replace(CDS, 0, EVSEPresentVoltage=volt(460)), (CDQ, 0), "SECC", "460.0 V at 0 A",
        {"EVSEPresentVoltage": 460.0}, (CDS,), "info",
    ),
    Case(
        "value-sessionstop-voltage", lambda: din().replace("WeldingDetectionRes", -1, EVSEPresentVoltage=volt(290)), ("WeldingDetectionRes", 0), "SECC",
        "WeldingDetection ended at 290 V", {"EVSEPresentVoltage": 290.0}, ("WeldingDetectionRes",), "info",
    ),
    Case(
        "value-welding-voltage-stuck", lambda: welding(298), ("WeldingDetectionRes", 2), "SECC", "did not fall at all", {"EVSEPresentVoltage": 298.0},
        ("WeldingDetectionRes",), "warning",
    ),
    Case(
        "value-precharge-delta", lambda: din().replace("PreChargeRes", -1, EVSEPresentVoltage=volt(340)), ("PreChargeRes", -1), "EVCC",
        "PowerDelivery was started at 340.0 V for a target of 400.0 V: 60 V too low", {"difference": 60.0}, ("PreChargeReq", "PreChargeRes", "PowerDeliveryReq"),
        "warning",
    ),
    Case(
        "value-precharge-current", lambda: din().replace("PreChargeReq", 1, EVTargetCurrent=ampere(10)), ("PreChargeReq", 1), "EVCC", "asks for 10 A",
        {"EVTargetCurrent": 10.0}, ("PreChargeReq",), "info",
    ),
    Case(
        "value-precharge-voltage-zero", lambda: precharge(din(), 0.0, 6), ("PreChargeRes", 2), "SECC", "stayed at 0 V", {"EVTargetVoltage": 400.0},
        ("PreChargeReq", "PreChargeRes"), "error",
    ),
    Case(
        "value-precharge-stalled", lambda: precharge(din(), 100.0, 8), ("PreChargeRes", 2), "SECC", "the voltage went from 100 V to 100 V",
        {"EVSEPresentVoltage": 100.0, "highest": 100.0}, ("PreChargeReq", "PreChargeRes"), "error", quiet=lambda: din().repeat("PreCharge", -1, 8, every=0.5),
    ),
    Case(
        "value-precharge-wrong-first-target", lambda: din().replace("PreChargeReq", 0, EVTargetVoltage=volt(300)), ("PreChargeReq", 0), "EVCC",
        "The target went from 300 V to 400 V", {"difference": 100.0}, ("PreChargeReq",), "info",
    ),
    Case(
        "value-current-above-limit", lambda: loop(din(), 4).replace(CDQ, None, EVTargetCurrent=ampere(150)), (CDS, 3), "EVCC",
        "asks for 150 A, the EVSE offers 100 A", {"EVTargetCurrent": 150.0}, (CDS,), "info",
    ),
    Case(
        "value-present-exceeds-target", lambda: loops(loop(din(), 6), 6, amps=1200), (CDS, 10), "SECC",
        "EVSEPresentCurrent is 1200 A for a target of 50 A, 24 times as much", {"EVSEPresentCurrent": 1200.0}, (CDS,), "warning",
    ),
    Case(
        "value-target-vs-present-current", lambda: loops(loop(din(), 30), 5, volts=380, amps=10), (CDS, 15), "SECC", "no limit flag is set",
        {"EVSEPresentCurrent": 10.0}, (CDS,), "info",
    ),
    Case(
        "value-limit-flags-inconsistent", lambda: loops(loop(din(), 30), 5, volts=380, amps=10).replace(CDS, None, EVSECurrentLimitAchieved=True),
        (CDS, 15), "SECC", "EVSECurrentLimitAchieved is set at 10 A", {"EVSEPresentCurrent": 10.0}, (CDS,), "info",
    ),
    Case(
        "value-power-above-limit", lambda: loop(din(), 6).replace(CDS, None, EVSEMaximumPowerLimit=watt(10_000)), (CDS, 6), "unknown",
        "19.9 kW flow, EVSEMaximumPowerLimit is 10.0 kW", {"power": 19900.0}, (CDS,), "info",
    ),
    Case(
        "value-zero-power", lambda: loops(din().repeat("CurrentDemand", -1, 70, every=1.0), 0, amps=0), (CDS, 20), "SECC", "the EV asks for 50 A",
        {"EVSEPresentCurrent": 0.0, "EVTargetCurrent": 50.0}, (CDS,), "warning",
    ),
    Case(
        "value-temperature", lambda: each(din(), CDS, range(8, 12), {"EVSEMaximumCurrentLimit": ampere(50)}), (CDS, 7), "SECC", "fell from 100 A to 50 A",
        {"EVSEMaximumCurrentLimit": 50.0}, (CDS,), "info",
    ),
    Case(
        "value-current-ripple", lambda: loop(din(), 8).replace(CDS, 14, EVSEPresentCurrent=ampere(90)), (CDS, 13), "SECC", "scatters by", {"deviation": 11.66}, (CDS,), "info",
        settings=switched_on("value-current-ripple"),
    ),
    Case(
        "value-voltage-ripple", lambda: loop(din(), 8).replace(CDS, 14, EVSEPresentVoltage=volt(370)), (CDS, 13), "SECC", "scatters by", {"deviation": 8.16}, (CDS,), "info",
        settings=switched_on("value-voltage-ripple"),
    ),
    Case(
        "value-limits-inconsistent", lambda: din().replace(CPDS, 0, {f"{PARAMETER}.EVSEMaximumVoltageLimit": volt(100)}), (CPDQ, 0), "SECC",
        "EVSEMaximumVoltageLimit 100 V is below EVSEMinimumVoltageLimit 150 V", {"EVSEMaximumVoltageLimit": 100.0}, (CPDS,), "warning",
    ),
    Case(
        "value-ev-evse-incompatible", lambda: ends(din().replace(CPDQ, 0, {"DC_EVChargeParameter.EVMaximumVoltageLimit": volt(140)}), CPDS, by="EVCC"),
        (CPDQ, 0), "unknown", "The EV's maximum voltage is 140 V, the EVSE's minimum 150 V", {"EVMaximumVoltageLimit": 140.0}, (CPDS,), "error",
    ),
    Case(
        "value-negative-limit", lambda: ends(din().replace(CPDQ, 0, {"DC_EVChargeParameter.EVMaximumPowerLimit": watt(-5000)}), CPDQ), (CPDQ, 0), "EVCC",
        "EVMaximumPowerLimit is -5000", {"EVMaximumPowerLimit": -5000.0}, (CPDQ,), "error",
    ),
    Case(
        "value-unit-mismatch", lambda: din().replace("PreChargeReq", 1, {"EVTargetVoltage": value(400, "A")}), ("PreChargeReq", 1), "EVCC",
        "EVTargetVoltage in PreChargeReq has the unit A, not V", {"EVTargetVoltage": "A"}, ("PreChargeReq",), "warning",
    ),
    Case(
        "value-multiplier-extreme", lambda: din().replace(CPDQ, 0, {"DC_EVChargeParameter.EVMaximumVoltageLimit": value(45_000, "V", 3)}), (CPDQ, 0), "EVCC",
        "EVMaximumVoltageLimit in ChargeParameterDiscoveryReq is 45000 V", {"EVMaximumVoltageLimit": 45000.0}, (CPDQ,), "warning",
    ),
    Case(
        "value-pmax-zero", lambda: ends(din().replace(CPDS, 0, {"SAScheduleList.SAScheduleTuple.0.PMaxSchedule.PMaxScheduleEntry.0.PMax": 0}), CPDS, by="EVCC"),
        (CPDQ, 0), "SECC", "PMax is 0 in all 1 entries", {"PMax": 0.0}, (CPDS,), "error",
    ),
    Case(
        "value-schedule-power-limits-session",
        lambda: din().replace(CPDS, 0, {"SAScheduleList.SAScheduleTuple.0.PMaxSchedule.PMaxScheduleEntry.0.PMax": 50}), (CPDQ, 0), "SECC",
        "The number looks like kW", {"PMax": 50.0}, (CPDS,), "info",
    ),
    Case(
        "value-pmax-short-horizon",
        lambda: iso2().replace(CPDS, 0, {"SAScheduleList.SAScheduleTuple.0.PMaxSchedule.PMaxScheduleEntry.0.RelativeTimeInterval.duration": 3600}),
        (CPDQ, 0), "SECC", "The schedule covers 3600 s", {"covered": 3600}, (CPDS,), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "value-energy-mismatch", lambda: metered(100), (CDS, 30), "SECC", "The meter counted", {"MeterReading": 13100, "difference": 1845.7}, (CDS,), "info", quiet=lambda: metered(5),
    ),
    Case(
        "value-meter-implausible", lambda: iso2().replace(CDS, 5, {"MeterInfo.MeterReading": 900}), (CDS, 4), "SECC", "fell from 1004 Wh to 900 Wh",
        {"MeterReading": 900}, (CDS,), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "value-soc-range", lambda: soc(din(), {3: 110}), (CDQ, 3), "EVCC", "CurrentDemandReq says 110 %", {"EVRESSSOC": 110}, (CDQ,), "info",
    ),
    Case(
        "value-soc-frozen", lambda: din().repeat("CurrentDemand", -1, 350, every=1.0), (CDS, 100), "EVCC", "stays at 40 %", {"EVRESSSOC": 40}, (CDS,), "info",
        quiet=rising_soc, settings=switched_on("value-soc-frozen"),
    ),
    Case(
        "value-soc-jump", lambda: soc(din(), dict.fromkeys(range(6, 12), 80)), (CDQ, 5), "EVCC", "went from 40 % to 80 %", {"EVRESSSOC": 80, "change": 40},
        (CDQ,), "info",
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


def test_difference_within_the_standard_is_information() -> None:
    finding = din().replace("PreChargeRes", -1, EVSEPresentVoltage=volt(414)).run().one("value-precharge-delta")
    assert (finding.severity, finding.side) == ("info", "SECC")


def test_ordinary_stop_by_the_evse_is_no_fault() -> None:
    result = stopping_evse(2).run()
    assert result.session.outcome == "completed"
    assert result.one("status-evse-shutdown").severity == "info"
    assert "status-evse-malfunction" not in result.ids()


def test_current_that_follows_a_falling_target_is_not_too_much() -> None:
    made = loop(din(), 8)
    made.replace(CDQ, 17, EVTargetCurrent=ampere(10)).replace(CDQ, 18, EVTargetCurrent=ampere(10)).replace(CDQ, 19, EVTargetCurrent=ampere(10))
    assert "value-present-exceeds-target" not in made.run().ids()


def test_ev_that_ignores_a_fault_of_the_evse() -> None:
    made = loop(status(din(), CDS, 5, EVSEStatusCode="EVSE_Malfunction"), 14, 0.5)
    for nth in range(6, len(made.find(CDS))):
        status(made, CDS, nth, EVSEStatusCode="EVSE_Malfunction")
    finding = made.run().one("status-evse-shutdown")
    assert (finding.side, finding.severity) == ("EVCC", "warning")
