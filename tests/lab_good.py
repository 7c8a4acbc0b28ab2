"""Good sessions, message by message: what a healthy EV and EVSE say to each other in each protocol and mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]

NAMESPACE = {
    "din": "urn:din:70121:2012:MsgDef",
    "iso2": "urn:iso:15118:2:2013:MsgDef",
    "iso20-dc": "urn:iso:std:iso:15118:-20:DC",
    "iso20-ac": "urn:iso:std:iso:15118:-20:AC",
}
SESSION_ID = "A1B2C3D4E5F60718"
TARGET = 400.0  # V, of the DC sessions
CURRENT = 50.0  # A


def value(number: float, unit: str, multiplier: int | None = None) -> Tree:
    """A PhysicalValueType (DIN, ISO 15118-2) of `number`; one decimal unless `multiplier` is given."""
    if multiplier is None:
        multiplier = -1 if abs(number) < 3000 else 1 if abs(number) < 300_000 else 3
    return {"Multiplier": multiplier, "Unit": unit, "Value": round(number / 10**multiplier)}


def volt(number: float) -> Tree:
    """Volts."""
    return value(number, "V")


def ampere(number: float) -> Tree:
    """Amperes."""
    return value(number, "A")


def watt(number: float) -> Tree:
    """Watts."""
    return value(number, "W")


def rational(number: float, exponent: int | None = None) -> Tree:
    """A RationalNumberType (ISO 15118-20)."""
    if exponent is None:
        exponent = -1 if abs(number) < 3000 else 1 if abs(number) < 300_000 else 3
    return {"Exponent": exponent, "Value": round(number / 10**exponent)}


def din_status(isolation: str = "Valid", code: str = "EVSE_Ready") -> Tree:
    """DC_EVSEStatus of DIN."""
    return {
        "EVSEIsolationStatus": isolation,
        "EVSEStatusCode": code,
        "NotificationMaxDelay": 0,
        "EVSENotification": "None",
    }


def iso2_status(isolation: str = "Valid", code: str = "EVSE_Ready") -> Tree:
    """DC_EVSEStatus of ISO 15118-2."""
    return {
        "NotificationMaxDelay": 0,
        "EVSENotification": "None",
        "EVSEIsolationStatus": isolation,
        "EVSEStatusCode": code,
    }


AC_STATUS: Tree = {"NotificationMaxDelay": 0, "EVSENotification": "None", "RCD": False}
Exchange = tuple[str, Tree, Tree, float]  # name without Req/Res, request, response, seconds until the next request


def sap(protocol: str, offer: tuple[str, ...]) -> Exchange:
    """supportedAppProtocol: `offer` by priority, the SECC takes `protocol`."""
    entries = [
        {
            "ProtocolNamespace": NAMESPACE[name],
            "VersionNumberMajor": 1 if name.startswith("iso20") else 2,
            "VersionNumberMinor": 0,
            "SchemaID": i,
            "Priority": i + 1,
        }
        for i, name in enumerate(offer)
    ]
    chosen = offer.index(protocol)
    return (
        "supportedAppProtocol",
        {"AppProtocol": entries},
        {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": chosen},
        0.02,
    )


def ramp() -> tuple[float, ...]:
    """EVSEPresentVoltage over a healthy pre-charge."""
    return 60.0, 230.0, 350.0, 398.0


def din_dc() -> Iterator[Exchange]:
    """DIN SPEC 70121, DC."""
    ok: Tree = {"ResponseCode": "OK"}
    ev: Tree = {
        "EVReady": True,
        "EVCabinConditioning": False,
        "EVRESSConditioning": False,
        "EVErrorCode": "NO_ERROR",
        "EVRESSSOC": 40,
    }
    yield sap("din", ("din",))
    yield (
        "SessionSetup",
        {"EVCCID": "020000000E01"},
        {"ResponseCode": "OK_NewSessionEstablished", "EVSEID": "44452A504C47"},
        0.02,
    )
    service = {
        "ServiceTag": {"ServiceID": 1, "ServiceCategory": "EVCharging"},
        "FreeService": False,
        "EnergyTransferType": "DC_extended",
    }
    yield (
        "ServiceDiscovery",
        {"ServiceCategory": "EVCharging"},
        ok | {"PaymentOptions": {"PaymentOption": ["ExternalPayment"]}, "ChargeService": service},
        0.02,
    )
    yield (
        "ServicePaymentSelection",
        {"SelectedPaymentOption": "ExternalPayment", "SelectedServiceList": {"SelectedService": [{"ServiceID": 1}]}},
        ok,
        0.02,
    )
    for processing in ("Ongoing", "Ongoing", "Finished"):
        yield "ContractAuthentication", {}, ok | {"EVSEProcessing": processing}, 0.5
    limits = {
        "EVMaximumCurrentLimit": ampere(200),
        "EVMaximumPowerLimit": watt(80_000),
        "EVMaximumVoltageLimit": volt(450),
    }
    schedule = {
        "SAScheduleTuple": [
            {
                "SAScheduleTupleID": 1,
                "PMaxSchedule": {
                    "PMaxScheduleID": 1,
                    "PMaxScheduleEntry": [{"RelativeTimeInterval": {"start": 0, "duration": 86400}, "PMax": 30000}],
                },
            }
        ]
    }
    charger = {
        "DC_EVSEStatus": din_status("Invalid"),
        "EVSEMaximumCurrentLimit": ampere(100),
        "EVSEMaximumPowerLimit": watt(50_000),
        "EVSEMaximumVoltageLimit": volt(920),
        "EVSEMinimumCurrentLimit": ampere(0),
        "EVSEMinimumVoltageLimit": volt(150),
        "EVSEPeakCurrentRipple": ampere(2),
    }
    yield (
        "ChargeParameterDiscovery",
        {
            "EVRequestedEnergyTransferType": "DC_extended",
            "DC_EVChargeParameter": {"DC_EVStatus": ev | {"EVReady": False}} | limits,
        },
        ok | {"EVSEProcessing": "Finished", "SAScheduleList": schedule, "DC_EVSEChargeParameter": charger},
        0.3,
    )
    for processing, code in (("Ongoing", "EVSE_IsolationMonitoringActive"),) * 3 + (("Finished", "EVSE_Ready"),):
        isolation = "Valid" if processing == "Finished" else "Invalid"
        yield (
            "CableCheck",
            {"DC_EVStatus": ev},
            ok | {"DC_EVSEStatus": din_status(isolation, code), "EVSEProcessing": processing},
            0.8,
        )
    for present in ramp():
        yield (
            "PreCharge",
            {"DC_EVStatus": ev, "EVTargetVoltage": volt(TARGET), "EVTargetCurrent": ampere(1)},
            ok | {"DC_EVSEStatus": din_status(), "EVSEPresentVoltage": volt(present)},
            0.4,
        )
    done = {"BulkChargingComplete": False, "ChargingComplete": False}
    yield (
        "PowerDelivery",
        {"ReadyToChargeState": True, "DC_EVPowerDeliveryParameter": {"DC_EVStatus": ev} | done},
        ok | {"DC_EVSEStatus": din_status()},
        0.1,
    )
    for i in range(12):
        current = min(CURRENT, 10.0 * i)
        yield (
            "CurrentDemand",
            {
                "DC_EVStatus": ev,
                "EVTargetCurrent": ampere(current),
                "EVMaximumVoltageLimit": volt(450),
                "EVMaximumCurrentLimit": ampere(200),
                "EVMaximumPowerLimit": watt(80_000),
            }
            | done
            | {
                "RemainingTimeToFullSoC": value(3600, "s"),
                "RemainingTimeToBulkSoC": value(1800, "s"),
                "EVTargetVoltage": volt(TARGET),
            },
            ok
            | {
                "DC_EVSEStatus": din_status(),
                "EVSEPresentVoltage": volt(TARGET - 2),
                "EVSEPresentCurrent": ampere(current),
                "EVSECurrentLimitAchieved": False,
                "EVSEVoltageLimitAchieved": False,
                "EVSEPowerLimitAchieved": False,
                "EVSEMaximumVoltageLimit": volt(920),
                "EVSEMaximumCurrentLimit": ampere(100),
                "EVSEMaximumPowerLimit": watt(50_000),
            },
            0.18,
        )
    yield (
        "PowerDelivery",
        {"ReadyToChargeState": False, "DC_EVPowerDeliveryParameter": {"DC_EVStatus": ev | {"EVReady": False}} | done},
        ok | {"DC_EVSEStatus": din_status(code="EVSE_NotReady")},
        0.3,
    )
    for present in (300.0, 30.0):
        yield (
            "WeldingDetection",
            {"DC_EVStatus": ev | {"EVReady": False}},
            ok | {"DC_EVSEStatus": din_status(code="EVSE_NotReady"), "EVSEPresentVoltage": volt(present)},
            0.5,
        )
    yield "SessionStop", {}, ok, 0.1


def iso2_head(offer: tuple[str, ...], modes: list[str], payment: str = "ExternalPayment") -> Iterator[Exchange]:
    """What AC and DC of ISO 15118-2 share: until authorization."""
    ok: Tree = {"ResponseCode": "OK"}
    yield sap("iso2", offer)
    yield (
        "SessionSetup",
        {"EVCCID": "020000000E01"},
        {"ResponseCode": "OK_NewSessionEstablished", "EVSEID": "DE*PLG*E1234*1"},
        0.02,
    )
    charge = {
        "ServiceID": 1,
        "ServiceCategory": "EVCharging",
        "FreeService": False,
        "SupportedEnergyTransferMode": {"EnergyTransferMode": modes},
    }
    yield (
        "ServiceDiscovery",
        {},
        ok | {"PaymentOptionList": {"PaymentOption": [payment]}, "ChargeService": charge},
        0.02,
    )
    yield (
        "PaymentServiceSelection",
        {"SelectedPaymentOption": payment, "SelectedServiceList": {"SelectedService": [{"ServiceID": 1}]}},
        ok,
        0.02,
    )
    for processing in ("Ongoing", "Ongoing", "Finished"):
        yield "Authorization", {}, ok | {"EVSEProcessing": processing}, 0.5


def iso2_schedule(watts: float) -> Tree:
    """One schedule of a day."""
    return {
        "SAScheduleTuple": [
            {
                "SAScheduleTupleID": 1,
                "PMaxSchedule": {"PMaxScheduleEntry": [{"RelativeTimeInterval": {"start": 0, "duration": 86400}, "PMax": watt(watts)}]},
            }
        ]
    }


def iso2_dc() -> Iterator[Exchange]:
    """ISO 15118-2, DC, external payment."""
    ok: Tree = {"ResponseCode": "OK"}
    ev: Tree = {"EVReady": True, "EVErrorCode": "NO_ERROR", "EVRESSSOC": 40}
    yield from iso2_head(("iso2", "din"), ["DC_extended", "DC_core"])
    limits = {
        "EVMaximumCurrentLimit": ampere(200),
        "EVMaximumPowerLimit": watt(80_000),
        "EVMaximumVoltageLimit": volt(450),
    }
    charger = {
        "DC_EVSEStatus": iso2_status("Invalid"),
        "EVSEMaximumCurrentLimit": ampere(100),
        "EVSEMaximumPowerLimit": watt(50_000),
        "EVSEMaximumVoltageLimit": volt(920),
        "EVSEMinimumCurrentLimit": ampere(0),
        "EVSEMinimumVoltageLimit": volt(150),
        "EVSEPeakCurrentRipple": ampere(2),
    }
    yield (
        "ChargeParameterDiscovery",
        {
            "MaxEntriesSAScheduleTuple": 24,
            "RequestedEnergyTransferMode": "DC_extended",
            "DC_EVChargeParameter": {"DC_EVStatus": ev | {"EVReady": False}} | limits,
        },
        ok | {"EVSEProcessing": "Finished", "SAScheduleList": iso2_schedule(50_000), "DC_EVSEChargeParameter": charger},
        0.3,
    )
    for processing, code in (("Ongoing", "EVSE_IsolationMonitoringActive"),) * 3 + (("Finished", "EVSE_Ready"),):
        isolation = "Valid" if processing == "Finished" else "Invalid"
        yield (
            "CableCheck",
            {"DC_EVStatus": ev},
            ok | {"DC_EVSEStatus": iso2_status(isolation, code), "EVSEProcessing": processing},
            0.8,
        )
    for present in ramp():
        yield (
            "PreCharge",
            {"DC_EVStatus": ev, "EVTargetVoltage": volt(TARGET), "EVTargetCurrent": ampere(1)},
            ok | {"DC_EVSEStatus": iso2_status(), "EVSEPresentVoltage": volt(present)},
            0.4,
        )
    power = {"DC_EVPowerDeliveryParameter": {"DC_EVStatus": ev, "BulkChargingComplete": False, "ChargingComplete": False}}
    yield (
        "PowerDelivery",
        {"ChargeProgress": "Start", "SAScheduleTupleID": 1} | power,
        ok | {"DC_EVSEStatus": iso2_status()},
        0.1,
    )
    for i in range(12):
        current = min(CURRENT, 10.0 * i)
        yield (
            "CurrentDemand",
            {
                "DC_EVStatus": ev,
                "EVTargetCurrent": ampere(current),
                "EVMaximumVoltageLimit": volt(450),
                "EVMaximumCurrentLimit": ampere(200),
                "EVMaximumPowerLimit": watt(80_000),
                "BulkChargingComplete": False,
                "ChargingComplete": False,
                "RemainingTimeToFullSoC": value(3600, "s"),
                "RemainingTimeToBulkSoC": value(1800, "s"),
                "EVTargetVoltage": volt(TARGET),
            },
            ok
            | {
                "DC_EVSEStatus": iso2_status(),
                "EVSEPresentVoltage": volt(TARGET - 2),
                "EVSEPresentCurrent": ampere(current),
                "EVSECurrentLimitAchieved": False,
                "EVSEVoltageLimitAchieved": False,
                "EVSEPowerLimitAchieved": False,
                "EVSEMaximumVoltageLimit": volt(920),
                "EVSEMaximumCurrentLimit": ampere(100),
                "EVSEMaximumPowerLimit": watt(50_000),
                "EVSEID": "DE*PLG*E1234*1",
                "SAScheduleTupleID": 1,
                "MeterInfo": {"MeterID": "METER1", "MeterReading": 1000 + i},
            },
            0.18,
        )
    yield (
        "PowerDelivery",
        {"ChargeProgress": "Stop", "SAScheduleTupleID": 1} | power,
        ok | {"DC_EVSEStatus": iso2_status(code="EVSE_NotReady")},
        0.3,
    )
    for present in (300.0, 30.0):
        yield (
            "WeldingDetection",
            {"DC_EVStatus": ev | {"EVReady": False}},
            ok | {"DC_EVSEStatus": iso2_status(code="EVSE_NotReady"), "EVSEPresentVoltage": volt(present)},
            0.5,
        )
    yield "SessionStop", {"ChargingSession": "Terminate"}, ok, 0.1


def iso2_ac() -> Iterator[Exchange]:
    """ISO 15118-2, AC, external payment."""
    ok: Tree = {"ResponseCode": "OK"}
    yield from iso2_head(("iso2",), ["AC_three_phase_core", "AC_single_phase_core"])
    ev = {
        "EAmount": value(20_000, "Wh"),
        "EVMaxVoltage": volt(400),
        "EVMaxCurrent": ampere(16),
        "EVMinCurrent": ampere(6),
    }
    charger = {"AC_EVSEStatus": AC_STATUS, "EVSENominalVoltage": volt(230), "EVSEMaxCurrent": ampere(16)}
    yield (
        "ChargeParameterDiscovery",
        {
            "MaxEntriesSAScheduleTuple": 24,
            "RequestedEnergyTransferMode": "AC_three_phase_core",
            "AC_EVChargeParameter": ev,
        },
        ok | {"EVSEProcessing": "Finished", "SAScheduleList": iso2_schedule(11_000), "AC_EVSEChargeParameter": charger},
        0.3,
    )
    profile = {"ProfileEntry": [{"ChargingProfileEntryStart": 0, "ChargingProfileEntryMaxPower": watt(11_000)}]}
    yield (
        "PowerDelivery",
        {"ChargeProgress": "Start", "SAScheduleTupleID": 1, "ChargingProfile": profile},
        ok | {"AC_EVSEStatus": AC_STATUS},
        0.5,
    )
    for i in range(8):
        yield (
            "ChargingStatus",
            {},
            ok
            | {
                "EVSEID": "DE*PLG*E1234*1",
                "SAScheduleTupleID": 1,
                "EVSEMaxCurrent": ampere(16),
                "MeterInfo": {"MeterID": "METER1", "MeterReading": 1000 + i},
                "AC_EVSEStatus": AC_STATUS,
            },
            1.0,
        )
    yield "PowerDelivery", {"ChargeProgress": "Stop", "SAScheduleTupleID": 1}, ok | {"AC_EVSEStatus": AC_STATUS}, 0.3
    yield "SessionStop", {"ChargingSession": "Terminate"}, ok, 0.1


def iso20_head(mode: str, service: int) -> Iterator[Exchange]:
    """What AC and DC of ISO 15118-20 share: until service selection."""
    ok: Tree = {"ResponseCode": "OK"}
    yield sap(f"iso20-{mode}", (f"iso20-{mode}",))
    yield (
        "SessionSetup",
        {"EVCCID": "WMIV1234567890ABCDEX"},
        {"ResponseCode": "OK_NewSessionEstablished", "EVSEID": "DE*PLG*E1234*1"},
        0.02,
    )
    yield (
        "AuthorizationSetup",
        {},
        ok | {"AuthorizationServices": ["EIM"], "CertificateInstallationService": False, "EIM_ASResAuthorizationMode": {}},
        0.02,
    )
    for processing in ("Ongoing", "Finished"):
        yield (
            "Authorization",
            {"SelectedAuthorizationService": "EIM", "EIM_AReqAuthorizationMode": {}},
            ok | {"EVSEProcessing": processing},
            0.5,
        )
    services = {"Service": [{"ServiceID": service, "FreeService": False}]}
    yield (
        "ServiceDiscovery",
        {},
        ok | {"ServiceRenegotiationSupported": False, "EnergyTransferServiceList": services},
        0.02,
    )
    parameters = [
        {"@Name": "Connector", "intValue": 2},
        {"@Name": "ControlMode", "intValue": 1},
        {"@Name": "MobilityNeedsMode", "intValue": 1},
        {"@Name": "Pricing", "intValue": 0},
    ]
    yield (
        "ServiceDetail",
        {"ServiceID": service},
        ok
        | {
            "ServiceID": service,
            "ServiceParameterList": {"ParameterSet": [{"ParameterSetID": 1, "Parameter": parameters}]},
        },
        0.02,
    )
    yield "ServiceSelection", {"SelectedEnergyTransferService": {"ServiceID": service, "ParameterSetID": 1}}, ok, 0.02


def iso20_schedule() -> Exchange:
    """ScheduleExchange in scheduled mode."""
    power = {
        "TimeAnchor": 0,
        "PowerScheduleEntries": {"PowerScheduleEntry": [{"Duration": 86400, "Power": rational(11_000)}]},
    }
    tuples = [{"ScheduleTupleID": 1, "ChargingSchedule": {"PowerSchedule": power}}]
    return (
        "ScheduleExchange",
        {"MaximumSupportingPoints": 1024, "Scheduled_SEReqControlMode": {}},
        {"ResponseCode": "OK", "EVSEProcessing": "Finished", "Scheduled_SEResControlMode": {"ScheduleTuple": tuples}},
        0.1,
    )


def iso20_profile() -> Tree:
    """EVPowerProfile of PowerDeliveryReq(Start)."""
    return {
        "TimeAnchor": 0,
        "Scheduled_EVPPTControlMode": {"SelectedScheduleTupleID": 1},
        "EVPowerProfileEntries": {"EVPowerProfileEntry": [{"Duration": 3600, "Power": rational(11_000)}]},
    }


def iso20_dc() -> Iterator[Exchange]:
    """ISO 15118-20, DC, scheduled, external identification."""
    ok: Tree = {"ResponseCode": "OK"}
    yield from iso20_head("dc", 2)
    ev = {
        "EVMaximumChargePower": rational(80_000),
        "EVMinimumChargePower": rational(0),
        "EVMaximumChargeCurrent": rational(200),
        "EVMinimumChargeCurrent": rational(0),
        "EVMaximumVoltage": rational(450),
        "EVMinimumVoltage": rational(150),
    }
    evse = {
        "EVSEMaximumChargePower": rational(50_000),
        "EVSEMinimumChargePower": rational(0),
        "EVSEMaximumChargeCurrent": rational(100),
        "EVSEMinimumChargeCurrent": rational(0),
        "EVSEMaximumVoltage": rational(920),
        "EVSEMinimumVoltage": rational(150),
    }
    yield (
        "DC_ChargeParameterDiscovery",
        {"DC_CPDReqEnergyTransferMode": ev},
        ok | {"DC_CPDResEnergyTransferMode": evse},
        0.05,
    )
    yield iso20_schedule()
    for processing in ("Ongoing", "Ongoing", "Finished"):
        yield "DC_CableCheck", {}, ok | {"EVSEProcessing": processing}, 0.8
    voltages = ramp()
    for i, present in enumerate(voltages):
        yield (
            "DC_PreCharge",
            {
                "EVProcessing": "Finished" if i == len(voltages) - 1 else "Ongoing",
                "EVPresentVoltage": rational(TARGET),
                "EVTargetVoltage": rational(TARGET),
            },
            ok | {"EVSEPresentVoltage": rational(present)},
            0.4,
        )
    yield (
        "PowerDelivery",
        {"EVProcessing": "Finished", "ChargeProgress": "Start", "EVPowerProfile": iso20_profile()},
        ok,
        0.1,
    )
    for i in range(12):
        current = min(CURRENT, 10.0 * i)
        yield (
            "DC_ChargeLoop",
            {
                "DisplayParameters": {"PresentSOC": 40},
                "MeterInfoRequested": False,
                "EVPresentVoltage": rational(TARGET),
                "Scheduled_DC_CLReqControlMode": {
                    "EVTargetCurrent": rational(current),
                    "EVTargetVoltage": rational(TARGET),
                },
            },
            ok
            | {
                "EVSEPresentCurrent": rational(current),
                "EVSEPresentVoltage": rational(TARGET - 2),
                "EVSEPowerLimitAchieved": False,
                "EVSECurrentLimitAchieved": False,
                "EVSEVoltageLimitAchieved": False,
                "Scheduled_DC_CLResControlMode": {},
            },
            0.18,
        )
    yield "PowerDelivery", {"EVProcessing": "Finished", "ChargeProgress": "Stop"}, ok, 0.3
    for processing, present in (("Ongoing", 300.0), ("Finished", 30.0)):
        yield "DC_WeldingDetection", {"EVProcessing": processing}, ok | {"EVSEPresentVoltage": rational(present)}, 0.5
    yield "SessionStop", {"ChargingSession": "Terminate"}, ok, 0.1


def iso20_ac() -> Iterator[Exchange]:
    """ISO 15118-20, AC, scheduled, external identification."""
    ok: Tree = {"ResponseCode": "OK"}
    yield from iso20_head("ac", 1)
    ev = {"EVMaximumChargePower": rational(11_000), "EVMinimumChargePower": rational(0)}
    evse = {
        "EVSEMaximumChargePower": rational(11_000),
        "EVSEMinimumChargePower": rational(0),
        "EVSENominalFrequency": rational(50),
    }
    yield (
        "AC_ChargeParameterDiscovery",
        {"AC_CPDReqEnergyTransferMode": ev},
        ok | {"AC_CPDResEnergyTransferMode": evse},
        0.05,
    )
    yield iso20_schedule()
    yield (
        "PowerDelivery",
        {"EVProcessing": "Finished", "ChargeProgress": "Start", "EVPowerProfile": iso20_profile()},
        ok,
        0.1,
    )
    for _ in range(8):
        yield (
            "AC_ChargeLoop",
            {"MeterInfoRequested": False, "Scheduled_AC_CLReqControlMode": {"EVPresentActivePower": rational(11_000)}},
            ok | {"Scheduled_AC_CLResControlMode": {}},
            0.18,
        )
    yield "PowerDelivery", {"EVProcessing": "Finished", "ChargeProgress": "Stop"}, ok, 0.3
    yield "SessionStop", {"ChargingSession": "Terminate"}, ok, 0.1


GOOD = {"din-dc": din_dc, "iso2-dc": iso2_dc, "iso2-ac": iso2_ac, "iso20-dc": iso20_dc, "iso20-ac": iso20_ac}
