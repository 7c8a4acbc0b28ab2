"""Borders of v2g.tsv: for each row a conversation in which what the limit is held against has a given amount."""

from __future__ import annotations

from typing import Any

from lab import Lab
from lab_good import CURRENT, TARGET, Tree, ampere, value, volt, watt
from steps_limits import Border, apart, at, dc, is_warning, pause, stretch
from v2g_scenes import each

CPD, CPDQ, CPDS = "ChargeParameterDiscovery", "ChargeParameterDiscoveryReq", "ChargeParameterDiscoveryRes"
CDQ, CDS = "CurrentDemandReq", "CurrentDemandRes"
PMAX = "SAScheduleList.SAScheduleTuple.0.PMaxSchedule.PMaxScheduleEntry.0"


def ongoing(seconds: float) -> Lab:
    """EVSEProcessing of ChargeParameterDiscovery is Finished so long after it was first Ongoing."""
    lab = dc().repeat(CPD, 0, 1).replace(CPDS, 0, EVSEProcessing="Ongoing")
    return stretch(lab, CPD, seconds)


def loop(seconds: float, lab: Lab | None = None, times: int = 8, *, volts: float | None = None, amps: float | None = None, target: float = CURRENT) -> Lab:
    """A charge loop of so many seconds at one target, voltage and current."""
    lab = stretch(lab or dc(), "CurrentDemand", seconds, times).replace(CDQ, None, EVTargetCurrent=ampere(target))
    lab.replace(CDS, None, EVSEPresentVoltage=volt(TARGET - 20 if volts is None else volts))
    return lab.replace(CDS, None, EVSEPresentCurrent=ampere(target if amps is None else amps))


def energy(wattage: float, seconds: float, lab: Lab | None = None) -> Lab:
    """A charge loop at this power, four answers a second."""
    return loop(seconds, lab, max(4, round(seconds * 4)), volts=360.0, amps=wattage / 360, target=wattage / 360)


def clock(seconds: float) -> Lab:
    """EVSETimeStamp, whole seconds, so far from the capture's clock."""
    lab = dc("iso2-dc")
    lab.steps[0].gap += 10.5 - at(lab, "SessionSetupRes", 0)
    stamp = 1_700_000_000 + 10.5 + seconds
    assert stamp == int(stamp)
    return lab.replace("SessionSetupRes", 0, EVSETimeStamp=int(stamp))


def jitter(ratio: float) -> Lab:
    """Three of 122 answers take so many times the median."""
    lab = dc().repeat("CurrentDemand", -1, 110, every=0.4)
    for one in lab.find(CDS):
        one.gap = 0.02
    for nth in (40, 60, 80):
        lab.find(CDS, nth)[0].gap = 0.02 * ratio
    return lab


def short(seconds: float) -> Lab:
    """The EV resets the connection so long after the first request of the loop."""
    lab = dc().replace(CDS, None, EVSEPresentCurrent=ampere(0)).stop_after(CDS, 2).close("rst")
    return apart(lab, (CDQ, 0), ("RST", 0), seconds)


def short_energy(watt_hours: float) -> Lab:
    """36 kW for a while, and a reset."""
    return energy(36_000, watt_hours / 10).stop_after(CDS).close("rst")


def status(lab: Lab, name: str, nth: int | None, **fields: Any) -> Lab:
    """DC_EVSEStatus of responses."""
    return lab.replace(name, nth, {f"DC_EVSEStatus.{key}": content for key, content in fields.items()})


def ignored(seconds: float) -> Lab:
    """The EVSE announces its stop; the last request of the loop comes so long after."""
    return pause(status(dc(), CDS, -2, EVSEStatusCode="EVSE_Shutdown"), CDQ, -1, seconds)


def renegotiation(seconds: float) -> Lab:
    """The EVSE asks for it for so long."""
    return status(stretch(dc("iso2-dc"), "CurrentDemand", seconds), CDS, None, EVSENotification="ReNegotiation")


def not_ready(count: float) -> Lab:
    """So many responses in a row."""
    lab = dc()
    for nth in range(int(count)):
        status(lab, "PreChargeRes", nth, EVSEStatusCode="EVSE_NotReady")
    return lab


def precharge(seconds: float, volts: float, end: float | None = None) -> Lab:
    """A PreCharge of so many seconds at one voltage; `end`: the last one."""
    lab = stretch(dc(), "PreCharge", seconds).replace("PreChargeRes", None, EVSEPresentVoltage=volt(volts))
    return lab if end is None else lab.replace("PreChargeRes", -1, EVSEPresentVoltage=volt(end))


def follow(seconds: float) -> Lab:
    """The target falls; the current stays for so long and for over_time (2 s), ten answers a second."""
    lab = dc().repeat("CurrentDemand", -1, 80, every=0.1)
    for one in lab.find(CDQ)[20:]:
        one.fields["EVTargetCurrent"] = ampere(5)
    for i, one in enumerate(lab.find(CDS)[20:]):
        one.fields["EVSEPresentCurrent"] = ampere(50 if i * 0.1 <= seconds + 2 else 5)
    return lab


def noise(what: str, unit: str, middle: float, deviation: float) -> Lab:
    """Four answers at a steady target; their scatter around the line from the first to the last is half of what the two in between are off."""
    lab = stretch(dc(), "CurrentDemand", 0.6, 3).replace(CDQ, None, EVTargetCurrent=ampere(CURRENT))
    lab.replace(CDS, None, {what: value(middle, unit)})
    return each(lab, CDS, (1, 2), {what: value(middle + 2 * deviation, unit)})


def soc(first: int, percent: int) -> Lab:
    """EVRESSSOC, 40 % before, of the loop's requests from one on."""
    lab = dc()
    return each(lab, CDQ, range(first, len(lab.find(CDQ))), {"DC_EVStatus.EVRESSSOC": percent})


def welding(volts: float, seconds: float) -> Lab:
    """WeldingDetection of so many seconds at one voltage."""
    return stretch(dc(), "WeldingDetection", seconds).replace("WeldingDetectionRes", None, EVSEPresentVoltage=volt(volts))


def derated(part: float, seconds: float) -> Lab:
    """The EVSE's limit is a little lower, then by this share, in percent, so long after it was whole."""
    lab = loop(seconds).replace(CDS, None, EVSEMaximumCurrentLimit=ampere(95))
    lab.replace(CDS, 0, EVSEMaximumCurrentLimit=ampere(100))
    return lab.replace(CDS, -1, EVSEMaximumCurrentLimit=ampere(100 - part))


def metered(meter: float, integral: float) -> Lab:
    """The meter counts so many Wh, voltage and current give so many."""
    lab = energy(36_000, integral / 10, dc("iso2-dc")).replace(CDS, None, {"MeterInfo.MeterReading": 1000})
    return lab.replace(CDS, -1, {"MeterInfo.MeterReading": 1000 + round(meter)})


def roofless(number: Tree) -> Lab:
    """A value in an element whose row in ranges.tsv has no top of its own."""
    return dc("iso2-dc").replace(CPDQ, 0, {"DC_EVChargeParameter.EVEnergyRequest": number})


V2G: dict[str, Border] = {
    "sequence_timeout": Border("time-secc-sequence-timeout", lambda x: pause(dc(), "CableCheckReq", 1, x)),
    "sequence_performance": Border("time-ev-slow-between", lambda x: pause(dc("iso2-dc"), "PowerDeliveryReq", 0, x)),
    "ongoing": Border("time-ongoing-timeout", ongoing),
    "ongoing_authorization": Border("time-ongoing-timeout", lambda x: stretch(dc(), "ContractAuthentication", x)),
    "authorization_wait": Border("time-authorization-wait", lambda x: stretch(dc(), "ContractAuthentication", x)),
    "cable_check": Border("time-cablecheck", lambda x: stretch(dc(), "CableCheck", x)),
    "cable_check_fast": Border("time-cablecheck-fast", lambda x: stretch(dc(), "CableCheck", x), under=True),
    "precharge": Border("time-precharge", lambda x: stretch(dc(), "PreCharge", x)),
    "precharge_iso20": Border("time-precharge-iso20", lambda x: stretch(dc("iso20-dc"), "DC_PreCharge", x)),
    "precharge_endless": Border("time-precharge", lambda x: stretch(dc(), "PreCharge", x), heard=lambda f: "did not go on" in f.detail),
    "welding": Border("time-welding-timeout", lambda x: stretch(dc(), "WeldingDetection", x)),
    "loop_slow": Border("time-currentdemand", lambda x: pause(dc(), CDS, 3, x)),
    "loop_late": Border("time-currentdemand", lambda x: pause(dc(), CDS, 3, x), heard=is_warning),
    "chargeloop_performance": Border("time-chargeloop-iso20", lambda x: pause(dc("iso20-dc"), "DC_ChargeLoopReq", 3, x)),
    "chargeloop_sequence": Border("time-chargeloop-iso20", lambda x: pause(dc("iso20-dc"), "DC_ChargeLoopReq", 3, x), heard=is_warning),
    "communication_setup": Border("time-comm-setup", lambda x: apart(Lab.good("din-dc", slac=False), ("CP", 2), ("SessionSetupRes", 0), x, ("SDP.REQ", 0))),
    "timestamp": Border("time-clock-jump", clock),
    "jitter": Border("time-response-jitter", jitter),
    "left_at_once": Border("time-ev-gave-up-early", lambda x: dc().stop_after("CableCheckReq", 1).close("fin", "EVCC", x)),
    # The pilot goes on while the EV's request does not come: somebody listens.
    "stall": Border("sess-ev-stall", lambda x: pause(Lab.good("din-dc"), "PowerDeliveryReq", 0, x)),
    "stall_authorization": Border("sess-ev-stall-after-authorization", lambda x: pause(Lab.good("din-dc"), CPDQ, 0, x)),
    "stall_cablecheck": Border("sess-ev-stall-before-cablecheck", lambda x: apart(Lab.good("din-dc"), (CPDS, 0), ("CableCheckReq", 0), x)),
    "short_session": Border("sess-short", short, under=True),
    "short_energy": Border("sess-short", short_energy, under=True),
    "shutdown_ignored": Border("status-evse-shutdown", ignored, heard=lambda f: f.side == "EVCC"),
    "renegotiation_ignored": Border("status-renegotiation-ignored", renegotiation),
    "notification_delay": Border(
        "status-evsenotification-maxdelay", lambda x: status(dc(), CDS, 3, EVSENotification="StopCharging", NotificationMaxDelay=int(x)), at=False,
    ),
    "notready_min": Border("status-evse-notready", not_ready, at=True),
    "precharge_delta": Border("value-precharge-delta", lambda x: precharge(2, TARGET, TARGET + x), heard=is_warning),
    "precharge_delta_seen": Border("value-precharge-delta", lambda x: precharge(2, TARGET, TARGET - x)),
    "precharge_current": Border("value-precharge-current", lambda x: dc().replace("PreChargeReq", 1, EVTargetCurrent=ampere(x))),
    "precharge_zero": Border("value-precharge-voltage-zero", lambda x: precharge(x, 0)),
    "precharge_stalled": Border("value-precharge-stalled", lambda x: precharge(x, 100)),
    "precharge_rise": Border("value-precharge-stalled", lambda x: precharge(4, 100, 100 + x), under=True),
    "over_time": Border("value-current-above-limit", lambda x: loop(x, amps=50, target=150)),
    "overvoltage_time": Border("value-voltage-above-evmax", lambda x: loop(x, volts=500)),
    "follow_time": Border("value-present-exceeds-target", follow),
    "overvoltage_margin": Border("value-voltage-above-evmax", lambda x: loop(3, volts=450 * (1 + x / 100))),
    "current_tolerance": Border("value-present-exceeds-target", lambda x: loop(3, target=10, amps=10 + x)),
    "current_tolerance_part": Border("value-present-exceeds-target", lambda x: loop(3, target=100, amps=100 + x)),
    "mismatch": Border("value-target-vs-present-current", lambda x: loop(6, amps=50 - x)),
    "mismatch_part": Border(
        "value-target-vs-present-current",
        lambda x: loop(6, amps=200 - 2 * x, target=200).replace(CDS, None, EVSEMaximumCurrentLimit=ampere(200), EVSEMaximumPowerLimit=watt(200_000)),
    ),
    "mismatch_time": Border("value-target-vs-present-current", lambda x: loop(x, amps=30, target=50)),
    "power_tolerance": Border(
        "value-power-above-limit", lambda x: loop(3, volts=400, amps=50 + x / 2).replace(CDS, None, EVSEMaximumPowerLimit=watt(20_000)),
    ),
    "overshoot": Border("value-overshoot-low-load", lambda x: dc().replace(CDS, 0, EVSEPresentVoltage=volt(400 + 4 * x))),
    "flag_margin": Border("value-limit-flags-inconsistent", lambda x: loop(6, amps=50 - x).replace(CDS, None, EVSECurrentLimitAchieved=True)),
    "noise_voltage": Border("value-voltage-ripple", lambda x: noise("EVSEPresentVoltage", "V", 380, x)),
    "noise_current": Border("value-current-ripple", lambda x: noise("EVSEPresentCurrent", "A", 40, x)),
    "zero_power_time": Border("value-zero-power", lambda x: loop(x, amps=0)),
    "zero_power_target": Border("value-zero-power", lambda x: loop(65, amps=0, target=x)),
    "soc_frozen_time": Border("value-soc-frozen", lambda x: loop(x, times=30)),
    "soc_frozen_power": Border(
        "value-soc-frozen", lambda x: loop(320, times=30, volts=100).replace(CDS, None, EVSEPresentCurrent=value(x / 100, "A", -3)),
    ),
    "soc_jump": Border("value-soc-jump", lambda x: soc(6, 40 + int(x)), at=False),
    "soc_jump_time": Border("value-soc-jump", lambda x: pause(soc(6, 80), CDQ, 6, x - 0.012), under=True),
    "soc_drop": Border("value-soc-jump", lambda x: soc(6, 40 - int(x)), at=False),
    "safe_voltage": Border("value-sessionstop-voltage", lambda x: welding(x, 1)),
    "welding_drop": Border("value-welding-voltage-stuck", lambda x: welding(300, x)),
    "derating": Border("value-temperature", lambda x: derated(x, 2)),
    "derating_time": Border("value-temperature", lambda x: derated(50, x), under=True),
    "voltage_lost": Border("value-present-voltage-lost", lambda x: loop(3, volts=TARGET * x / 100), under=True),
    "energy_mismatch": Border("value-energy-mismatch", lambda x: metered(1000 + 10 * x, 1000)),
    "energy_min": Border("value-energy-mismatch", lambda x: metered(1000, x)),
    "pmax_share": Border("value-schedule-power-limits-session", lambda x: dc("iso2-dc").replace(CPDS, 0, {f"{PMAX}.PMax": watt(500 * x)}), under=True),
    "departure": Border(
        "value-pmax-short-horizon", lambda x: dc("iso2-dc").replace(CPDS, 0, {f"{PMAX}.RelativeTimeInterval.duration": int(x)}), under=True, at=False,
    ),
    "max_voltage": Border("value-multiplier-extreme", lambda x: roofless(value(x, "V", -1))),
    "max_current": Border("value-multiplier-extreme", lambda x: roofless(value(x, "A", -1))),
    "max_power": Border("value-multiplier-extreme", lambda x: roofless(value(x, "W", 3)), at=False),
}  # fmt: skip
