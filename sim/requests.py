"""What the EV asks, DIN 70121 and ISO 15118-2: message contents from the EV's state. Element order as in the schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.v2g import Content, physical

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev

Message = tuple[str, Content]

# Names that differ between the two protocols: step -> (DIN 70121, ISO 15118-2)
NAMES = {
    "payment": ("ServicePaymentSelectionReq", "PaymentServiceSelectionReq"),
    "authorization": ("ContractAuthenticationReq", "AuthorizationReq"),
}


def message_name(step: str, din: bool) -> str:
    """The request of a step whose name differs between the protocols."""
    return NAMES[step][0 if din else 1]


def ev_status(ev: Ev, ready: bool) -> Content:
    """DC_EVStatus."""
    s = ev.settings
    node: Content = {"EVReady": ready and s.evready}
    if ev.din:
        node |= {"EVCabinConditioning": False, "EVRESSConditioning": False}
    return node | {"EVErrorCode": s.error_code, "EVRESSSOC": int(ev.power.battery.soc)}


def session_setup(ev: Ev) -> Message:
    """SessionSetupReq."""
    return "SessionSetupReq", {"EVCCID": ev.evccid.upper()}


def service_discovery(ev: Ev) -> Message:
    """ServiceDiscoveryReq."""
    return "ServiceDiscoveryReq", {"ServiceCategory": "EVCharging"} if ev.din else {}


def service_detail(ev: Ev) -> Message:
    """ServiceDetailReq (ISO 15118-2)."""
    return "ServiceDetailReq", {"ServiceID": 1}


def payment(ev: Ev) -> Message:
    """ServicePaymentSelectionReq or PaymentServiceSelectionReq: always external payment."""
    content = {"SelectedPaymentOption": "ExternalPayment", "SelectedServiceList": {"SelectedService": [{"ServiceID": 1}]}}
    return message_name("payment", ev.din), content


def authorization(ev: Ev) -> Message:
    """ContractAuthenticationReq or AuthorizationReq, external identification."""
    return message_name("authorization", ev.din), {}


def energy_mode(ev: Ev) -> str:
    """The energy transfer mode asked for."""
    return "DC_extended" if ev.settings.energy == "dc" else ev.settings.ac_modes[0]


def parameters(ev: Ev) -> Message:
    """ChargeParameterDiscoveryReq."""
    battery, s = ev.power.battery, ev.settings
    if s.energy == "ac" and not ev.din:
        return "ChargeParameterDiscoveryReq", {
            "RequestedEnergyTransferMode": energy_mode(ev),
            "AC_EVChargeParameter": {
                "DepartureTime": 0,
                "EAmount": physical(battery.capacity_wh * (100 - battery.soc) / 100, "Wh", 1),
                "EVMaxVoltage": physical(400, "V"),
                "EVMaxCurrent": physical(32, "A"),
                "EVMinCurrent": physical(6, "A"),
            },
        }
    limits: Content = {"DC_EVStatus": ev_status(ev, False), "EVMaximumCurrentLimit": physical(battery.max_a, "A", -1)}
    if battery.max_w:
        limits["EVMaximumPowerLimit"] = physical(battery.max_w, "W", 1)
    limits |= {
        "EVMaximumVoltageLimit": physical(battery.max_v, "V", -1),
        "EVEnergyCapacity": physical(battery.capacity_wh, "Wh", 1),
        "EVEnergyRequest": physical(battery.capacity_wh * max(0.0, s.full_soc - battery.soc) / 100, "Wh", 1),
        "FullSOC": s.full_soc,
        "BulkSOC": s.bulk_soc,
    }
    if ev.din:
        return "ChargeParameterDiscoveryReq", {"EVRequestedEnergyTransferType": "DC_extended", "DC_EVChargeParameter": limits}
    return "ChargeParameterDiscoveryReq", {
        "MaxEntriesSAScheduleTuple": 16,
        "RequestedEnergyTransferMode": energy_mode(ev),
        "DC_EVChargeParameter": {"DepartureTime": 0} | limits,
    }


def cable_check(ev: Ev) -> Message:
    """CableCheckReq."""
    return "CableCheckReq", {"DC_EVStatus": ev_status(ev, True)}


def precharge(ev: Ev) -> Message:
    """PreChargeReq."""
    return "PreChargeReq", {
        "DC_EVStatus": ev_status(ev, True),
        "EVTargetVoltage": physical(ev.precharge_target(), "V", -1),
        "EVTargetCurrent": physical(ev.settings.precharge_a, "A", -1),
    }


def power_delivery(ev: Ev, progress: str) -> Message:
    """PowerDeliveryReq; `progress` Start, Stop or Renegotiate."""
    start = progress == "Start"
    if ev.din:
        parameter = {
            "DC_EVStatus": ev_status(ev, start),
            "BulkChargingComplete": not start and ev.power.battery.soc >= ev.settings.bulk_soc,
            "ChargingComplete": not start,
        }
        return "PowerDeliveryReq", {"ReadyToChargeState": start, "DC_EVPowerDeliveryParameter": parameter}
    content: Content = {"ChargeProgress": progress, "SAScheduleTupleID": ev.tuple_id}
    if start:
        entry = {"ChargingProfileEntryStart": 0, "ChargingProfileEntryMaxPower": physical(ev.profile_power, "W")}
        content["ChargingProfile"] = {"ProfileEntry": [entry]}
    if ev.settings.energy == "dc":
        content["DC_EVPowerDeliveryParameter"] = {"DC_EVStatus": ev_status(ev, start), "ChargingComplete": not start}
    return "PowerDeliveryReq", content


def current_demand(ev: Ev, amperes: float) -> Message:
    """CurrentDemandReq."""
    battery, s = ev.power.battery, ev.settings
    content: Content = {"DC_EVStatus": ev_status(ev, True), "EVTargetCurrent": physical(amperes, "A", -1)}
    if s.limits_in_loop:
        content |= {
            "EVMaximumVoltageLimit": physical(battery.max_v, "V", -1),
            "EVMaximumCurrentLimit": physical(battery.max_a, "A", -1),
        }
    missing = max(0.0, s.full_soc - battery.soc) / 100 * battery.capacity_wh
    bulk = max(0.0, s.bulk_soc - battery.soc) / 100 * battery.capacity_wh
    watts = max(1000.0, battery.open_voltage() * max(1.0, amperes))
    content |= {
        "BulkChargingComplete": battery.soc >= s.bulk_soc,
        "ChargingComplete": False,
        "RemainingTimeToFullSoC": physical(60 * round(missing / watts * 60), "s"),
        "RemainingTimeToBulkSoC": physical(60 * round(bulk / watts * 60), "s"),
        "EVTargetVoltage": physical(min(battery.max_v, battery.full_v + 4), "V", -1),
    }
    return "CurrentDemandReq", content


def charging_status(ev: Ev) -> Message:
    """ChargingStatusReq (ISO 15118-2, AC)."""
    return "ChargingStatusReq", {}


def metering_receipt(ev: Ev) -> Message:
    """MeteringReceiptReq (ISO 15118-2)."""
    return "MeteringReceiptReq", {
        "SessionID": ev.session_id,
        "SAScheduleTupleID": ev.tuple_id,
        "MeterInfo": ev.meter_info or {"MeterID": ""},
    }


def welding(ev: Ev) -> Message:
    """WeldingDetectionReq."""
    return "WeldingDetectionReq", {"DC_EVStatus": ev_status(ev, False)}


def session_stop(ev: Ev) -> Message:
    """SessionStopReq."""
    return "SessionStopReq", {} if ev.din else {"ChargingSession": "Pause" if ev.settings.pause else "Terminate"}
