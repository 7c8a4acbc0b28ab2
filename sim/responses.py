"""What the charger answers, DIN 70121 and ISO 15118-2: message contents from the charger's state. Element order as in the schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.kernel import SECOND
from plugtap.sim.v2g import Content, physical

if TYPE_CHECKING:
    from plugtap.sim.evse import Evse


def dc_status(evse: Evse, isolation: str, status: str = "") -> Content:
    """DC_EVSEStatus; the order of its elements differs between the protocols."""
    s = evse.settings
    code = status or evse.status or s.status
    isolated: Content = {"EVSEIsolationStatus": isolation, "EVSEStatusCode": code}
    notice: Content = {"NotificationMaxDelay": s.notification_delay, "EVSENotification": evse.notification or s.notification}
    return isolated | notice if evse.din else notice | isolated


def ac_status(evse: Evse) -> Content:
    """AC_EVSEStatus (ISO 15118-2)."""
    s = evse.settings
    return {"NotificationMaxDelay": s.notification_delay, "EVSENotification": evse.notification or s.notification, "RCD": False}


def session_setup(evse: Evse, code: str) -> Content:
    """SessionSetupRes."""
    s = evse.settings
    content: Content = {"ResponseCode": code, "EVSEID": s.din_evseid if evse.din else s.evseid}
    if s.timestamp:
        content["DateTimeNow" if evse.din else "EVSETimeStamp"] = evse.world.now // SECOND
    return content


def service_discovery(evse: Evse, code: str) -> Content:
    """ServiceDiscoveryRes."""
    s = evse.settings
    if evse.din:
        return {
            "ResponseCode": code,
            "PaymentOptions": {"PaymentOption": [s.payment]},
            "ChargeService": {
                "ServiceTag": {"ServiceID": 1, "ServiceCategory": "EVCharging"},
                "FreeService": s.free,
                "EnergyTransferType": "DC_extended",
            },
        }
    modes = ["DC_core", "DC_extended"] if s.energy == "dc" else list(s.ac_modes)
    return {
        "ResponseCode": code,
        "PaymentOptionList": {"PaymentOption": [s.payment]},
        "ChargeService": {
            "ServiceID": 1,
            "ServiceCategory": "EVCharging",
            "FreeService": s.free,
            "SupportedEnergyTransferMode": {"EnergyTransferMode": modes},
        },
    }


def parameters(evse: Evse, code: str, processing: str) -> Content:
    """ChargeParameterDiscoveryRes."""
    s, supply = evse.settings, evse.power.supply
    content: Content = {"ResponseCode": code, "EVSEProcessing": processing}
    finished = processing == "Finished"
    if finished or evse.din:
        interval: Content = {"start": 0, "duration": s.schedule_s}
        power = s.pmax or (supply.max_w if s.energy == "dc" else s.ac_max_a * 230 * 3)
        if evse.din:
            entry = {"RelativeTimeInterval": interval, "PMax": min(32767, round(power))}
            schedule: Content = {"PMaxScheduleID": 1, "PMaxScheduleEntry": [entry]}
        else:
            schedule = {"PMaxScheduleEntry": [{"RelativeTimeInterval": interval, "PMax": physical(power, "W")}]}
        content["SAScheduleList"] = {"SAScheduleTuple": [{"SAScheduleTupleID": 1, "PMaxSchedule": schedule}]}
    if s.energy == "ac":
        content["AC_EVSEChargeParameter"] = {
            "AC_EVSEStatus": ac_status(evse),
            "EVSENominalVoltage": physical(230, "V"),
            "EVSEMaxCurrent": physical(s.ac_max_a, "A"),
        }
        return content
    content["DC_EVSEChargeParameter"] = {
        "DC_EVSEStatus": dc_status(evse, "Invalid"),
        "EVSEMaximumCurrentLimit": physical(supply.max_a, "A"),
        "EVSEMaximumPowerLimit": physical(supply.max_w, "W"),
        "EVSEMaximumVoltageLimit": physical(supply.max_v, "V"),
        "EVSEMinimumCurrentLimit": physical(supply.min_a, "A"),
        "EVSEMinimumVoltageLimit": physical(supply.min_v, "V"),
        "EVSECurrentRegulationTolerance": physical(2, "A"),
        "EVSEPeakCurrentRipple": physical(1, "A"),
    }
    return content


def cable_check(evse: Evse, code: str, finished: bool) -> Content:
    """CableCheckRes."""
    s = evse.settings
    if finished:
        status = dc_status(evse, s.isolation_after)
    else:
        status = dc_status(evse, s.isolation_during, evse.status or "EVSE_IsolationMonitoringActive")
    return {"ResponseCode": code, "DC_EVSEStatus": status, "EVSEProcessing": "Finished" if finished else "Ongoing"}


def precharge(evse: Evse, code: str) -> Content:
    """PreChargeRes."""
    return {
        "ResponseCode": code,
        "DC_EVSEStatus": dc_status(evse, evse.settings.isolation_after),
        "EVSEPresentVoltage": physical(evse.power.read_voltage(), "V", -1),
    }


def power_delivery(evse: Evse, code: str) -> Content:
    """PowerDeliveryRes."""
    if evse.settings.energy == "ac":
        return {"ResponseCode": code, "AC_EVSEStatus": ac_status(evse)}
    return {"ResponseCode": code, "DC_EVSEStatus": dc_status(evse, evse.settings.isolation_after)}


def meter_info(evse: Evse) -> Content:
    """MeterInfo: the meter's reading in Wh."""
    return {"MeterID": "BENCH-METER-1", "MeterReading": evse.meter_start + round(evse.power.energy_wh)}


def current_demand(evse: Evse, code: str) -> Content:
    """CurrentDemandRes."""
    s, supply, power = evse.settings, evse.power.supply, evse.power
    reached = power.limits_reached()
    content: Content = {
        "ResponseCode": code,
        "DC_EVSEStatus": dc_status(evse, s.isolation_after),
        "EVSEPresentVoltage": physical(power.read_voltage(), "V", -1),
        "EVSEPresentCurrent": physical(power.read_current(), "A", -1),
        "EVSECurrentLimitAchieved": reached[0],
        "EVSEVoltageLimitAchieved": reached[1],
        "EVSEPowerLimitAchieved": reached[2],
        "EVSEMaximumVoltageLimit": physical(supply.max_v, "V"),
        "EVSEMaximumCurrentLimit": physical(supply.max_a, "A"),
        "EVSEMaximumPowerLimit": physical(supply.max_w, "W"),
    }
    if evse.din:
        return content
    content |= {"EVSEID": s.evseid, "SAScheduleTupleID": 1}
    if s.meter:
        content["MeterInfo"] = meter_info(evse)
    content["ReceiptRequired"] = evse.receipt_due()
    return content


def charging_status(evse: Evse, code: str) -> Content:
    """ChargingStatusRes (ISO 15118-2, AC)."""
    s = evse.settings
    content: Content = {
        "ResponseCode": code,
        "EVSEID": s.evseid,
        "SAScheduleTupleID": 1,
        "EVSEMaxCurrent": physical(s.ac_max_a, "A"),
    }
    if s.meter:
        content["MeterInfo"] = meter_info(evse)
    return content | {"ReceiptRequired": evse.receipt_due(), "AC_EVSEStatus": ac_status(evse)}


def metering_receipt(evse: Evse, code: str) -> Content:
    """MeteringReceiptRes (ISO 15118-2)."""
    if evse.settings.energy == "ac":
        return {"ResponseCode": code, "AC_EVSEStatus": ac_status(evse)}
    return {"ResponseCode": code, "DC_EVSEStatus": dc_status(evse, evse.settings.isolation_after)}


def welding(evse: Evse, code: str) -> Content:
    """WeldingDetectionRes."""
    return {
        "ResponseCode": code,
        "DC_EVSEStatus": dc_status(evse, evse.settings.isolation_after, evse.status or "EVSE_NotReady" if evse.din else ""),
        "EVSEPresentVoltage": physical(evse.power.read_voltage(), "V", -1),
    }
