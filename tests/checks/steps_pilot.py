"""Borders of pilot.tsv: for each row a pilot (and a conversation) in which what the limit is held against has a given amount."""

from __future__ import annotations

from lab import Lab, Step
from lab_good import ampere, watt
from steps_limits import Border, is_warning, pause, place, stretch
from steps_v2g import CDS, CPDS
from test_pilot_checks import ac, ac_with, cp, cut_in_loop, dc, from_digital, last_message_then, nominal, plugged, proximity, toggle, wobble

from plugtap.protocols.items import CpRecord, Item

TOLERANCE = 0.3  # cp_tolerance, V
HOLE = 1  # Ohm; marks records that nobody got


def millivolt(volts: float) -> int:
    return round(1000 * volts)


def level(state: str, volts: float, seconds: float = 0.5) -> Lab:
    """The positive plateau at a level that reads as this state. A with nothing plugged in here: while another's messages are heard."""
    mv = millivolt(volts)
    if state == "A":
        lab = Lab.good("din-dc", pilot=False)
        return lab.insert_before("SDP.REQ", 0, *(lab.cp("A1", 0.3, hi_mv=mv, lo_mv=mv + i) for i in range(4)))
    return dc().insert_after("CP", 3, cp(f"{state}2", 0.2, hi_mv=mv), cp("C2", seconds))


def band(state: str, side: str) -> Border:
    """The edge of a band, and the tolerance beyond it."""
    low = side == "low"
    return Border("cp-level-out-of-band", lambda x: level(state, x - TOLERANCE if low else x + TOLERANCE), under=low)


def rail(volts: float, seconds: float = 0.5) -> Lab:
    """The negative plateau for a while."""
    return dc().insert_after("CP", 3, cp("C2", 0.2, lo_mv=millivolt(volts)), cp("C2", seconds))


def between(seconds: float, after: float = 2.0) -> Lab:
    """10.2 V, no state's, so long after the pilot's window began (0.06 s after the change to B2)."""
    return plugged(cp("B2", 0.06 + after, hi_mv=10_200), cp("B2", seconds))


def settling(seconds: float) -> Lab:
    """20 ms between two states, so long after each of many changes."""
    lab = plugged()
    for i in range(60):
        state, off = ("C2", 7_400) if i % 2 else ("B2", 10_200)
        lab.append(cp(state, 0.25), cp(state, seconds, hi_mv=off), cp(state, 0.02))
    return lab


def running(cycles: float) -> Lab:
    """So many cycles of 960 Hz, then no PWM."""
    return dc().stop_after("CP", 1).append(cp("B2", 0.5, freq=9600), cp("B1", cycles / 1000))


def shaking(seconds: float, low: int = 400, high: int = 620) -> Lab:
    """A duty cycle that alternates for so long, from state to state."""
    steps = wobble("duty", low, high)[: round(seconds * 1000)]
    return plugged(*steps, cp("C2", 0.001), cp("A1", 0.1))


def update(second: float, by: float = 500) -> Lab:
    """Two commands, the second so long after the first."""
    return from_digital(cp("B1", 1.0), nominal(2667), nominal(2000, 6.0), nominal(round(2000 - by), second))


def offered(seconds: float) -> Lab:
    """6 A on the pilot and 16 A in the messages for so long."""
    return stretch(ac().replace("CP", 3, duty=1000), "ChargingStatus", seconds)


def moved_to_c(lab: Lab, name: str, seconds: float, nth: int = 0) -> Lab:
    """The EV goes to C so long after a message."""
    return place(lab.drop("CP", 3), name, nth, seconds, cp("C2", 0.0))


def released(lab: Lab, number: int, name: str, nth: int, seconds: float, state: str) -> Lab:
    """A later change of the pilot happens so long after a message."""
    return place(lab.drop("CP", number), name, nth, seconds, cp(state, 0.0))


def flapping(edges: float, span: float) -> Lab:
    """So many edges between B and C within this time."""
    lab = dc().stop_after("CM_SLAC_MATCH.CNF")
    for i in range(int(edges)):
        lab.append(cp("B2" if i % 2 else "C2", span / (edges - 1) if i else 1.2))
    return lab


def validated(toggles: float, wait: float = 0.3) -> Lab:
    """So many toggles, all of them counted, CM_VALIDATE.CNF so long after the last."""
    steps = [Step("mme", "CM_VALIDATE.REQ", "EVCC", 0.01, {"timer": 5})]
    for _ in range(int(toggles)):
        steps += [cp("C2", 0.3), cp("B2", 0.3)]
    steps.append(Step("mme", "CM_VALIDATE.CNF", "SECC", wait, {"result": 2, "toggle_num": int(toggles)}))
    return dc().insert_before("CM_SLAC_MATCH.REQ", 0, *steps)


def in_time(seconds: float) -> Lab:
    """C so long before a message, and B right after it."""
    lab = dc()
    place(lab, "ContractAuthenticationReq", 1, 0.001, cp("B2", 0.0))
    return place(lab, "ContractAuthenticationReq", 1, -seconds, cp("C2", 0.0))


def stopped(seconds: float) -> Lab:
    """B in the charge loop, and PowerDeliveryReq(Stop) so long after it."""
    lab = dc().drop("CP", 4).insert_before("PowerDeliveryReq", 1, cp("B2", 0.05))
    return pause(lab, "PowerDeliveryReq", 1, seconds)


def unplugged(amps: float) -> Lab:
    """A just after this current."""
    return cut_in_loop(cp("A2", 0.1)).replace(CDS, None, EVSEPresentCurrent=ampere(amps))


def off(seconds: float) -> Lab:
    """The PWM stops in the charge loop for so long."""
    lab = dc().repeat("CurrentDemand", -1, 20)
    return place(lab, CDS, 4, 0.05, cp("C1", 0.0), cp("C2", seconds))


class Deaf(Lab):
    """Records of the pilot are missing where the proximity value is HOLE."""

    def items(self, *, ticks: float | None = 1.0, tail: float = 70.0) -> list[Item]:
        return [item for item in super().items(ticks=ticks, tail=tail) if not (isinstance(item, CpRecord) and item.pp_ohm == HOLE)]


def hole(seconds: float) -> Lab:
    """No records for so long."""
    return Deaf.good("din-dc").insert_after("CP", 3, cp("C2", 0.2, pp_ohm=HOLE), cp("C2", seconds))


def passing(ohm: int, seconds: float) -> Lab:
    """Another proximity value for so long."""
    lab = proximity(1500)
    return lab.insert_after("CP", 3, cp("C2", 0.2, pp_ohm=ohm), cp("C2", seconds, pp_ohm=1500))


def capped(watts: float, promised: float) -> Lab:
    """EVSEMaximumPowerLimit of the loop and of ChargeParameterDiscoveryRes."""
    lab = dc().replace(CPDS, None, {"DC_EVSEChargeParameter.EVSEMaximumPowerLimit": watt(promised)})
    return lab.replace(CDS, None, EVSEMaximumPowerLimit=watt(watts))


def shaky(percent: float) -> Lab:
    """A proximity value that alternates around 1500 Ohm."""
    return plugged(*wobble("pp_ohm", round(1500 - 15 * percent), round(1500 + 15 * percent)))


def coded(number: float) -> Border:
    """The upper end of a resistor's band, the last whole Ohm within and the first beyond. The band is 10 % here: with 20 %, some reach into each other."""
    return Border("pp-resistor-unknown", lambda x: proximity(round(number * 1.1 + x - number)), at=False, others=(("pp_band", 10.0),))


PILOT: dict[str, Border] = {
    **{f"{state}_{side}": band(state, side) for state in "ABCD" for side in ("low", "high")},
    "negative_low": Border("cp-negative-rail-missing", lambda x: rail(x - TOLERANCE), under=True),
    "negative_high": Border("cp-negative-rail-missing", lambda x: rail(x + TOLERANCE)),
    "cp_tolerance": Border("cp-level-out-of-band", lambda x: level("B", 8.36 - x)),
    "level_cycles": Border("cp-level-out-of-band", lambda x: level("B", 7.9, x / 1000), at=True),
    "rail_cycles": Border("cp-negative-rail-missing", lambda x: rail(-9.5, x / 1000), at=True),
    "gap_share": Border("cp-gap-voltage-noise", lambda x: between(x * 0.107), tail=15),
    "gap_window": Border("cp-gap-voltage-noise", lambda x: between(0.3, x - 0.3), under=True, tail=3),
    "gap_settle": Border("cp-gap-voltage-noise", settling, tail=1),
    "diode_symmetry": Border("cp-diode-missing", lambda x: rail(x - 6), under=True),
    "freq_low": Border("cp-frequency-out-of-range", lambda x: dc().replace("CP", 3, freq=round(10 * x)), under=True, heard=is_warning),
    "freq_high": Border("cp-frequency-out-of-range", lambda x: dc().replace("CP", 3, freq=round(10 * x)), heard=is_warning),
    "freq_generator_low": Border("cp-frequency-out-of-range", lambda x: dc().replace("CP", 3, freq=round(10 * x)), under=True),
    "freq_generator_high": Border("cp-frequency-out-of-range", lambda x: dc().replace("CP", 3, freq=round(10 * x))),
    "freq_cycles": Border("cp-frequency-out-of-range", running, at=True),
    "duty_sd": Border("cp-duty-jitter", lambda x: shaking(1.1, round(500 - 100 * x), round(500 + 100 * x))),
    "jitter_window": Border("cp-duty-jitter", lambda x: shaking(x)),
    "duty_tolerance": Border("cp-duty-invalid", lambda x: dc().replace("CP", 3, duty=round(700 + 100 * x))),
    "invalid_duty_time": Border("cp-duty-invalid", lambda x: dc().insert_after("CP", 3, cp("C2", 0.2, duty=750), cp("C2", x))),
    "digital_low": Border("cp-duty-not-digital-during-hlc", lambda x: dc().replace("CP", 3, duty=round(100 * (x - TOLERANCE))), under=True),
    "digital_high": Border("cp-duty-not-digital-during-hlc", lambda x: dc().replace("CP", 3, duty=round(100 * (x + TOLERANCE)))),
    "duty_update": Border("cp-duty-update-too-fast", update, under=True),
    "duty_step": Border("cp-duty-update-too-fast", lambda x: update(2.0, 100 * x)),
    "current_difference": Border("cp-duty-vs-evsemaxcurrent-ac", lambda x: ac_with(round(100 * (16 + x) / 0.6))),
    "current_time": Border("cp-duty-vs-evsemaxcurrent-ac", offered),
    "ef_time": Border("cp-state-e", lambda x: cut_in_loop(cp("E", 0.1), cp("C2", x))),
    "d_time": Border("cp-state-d-unexpected", lambda x: cut_in_loop(cp("D2", 0.1), cp("C2", x))),
    "current_flows": Border("cross-unplug-in-session", unplugged),
    "T_step_EF": Border("cp-ef-duration-short", lambda x: plugged(cp("F", 5.0), cp("B2", x - 0.1)), under=True),
    "T_step_X1": Border("cp-step-x1-short", lambda x: from_digital(cp("B1", 1.0), nominal(2667, x - 0.1)), under=True),
    "step_tolerance": Border("cp-ef-duration-short", lambda x: plugged(cp("F", 5.0), cp("B2", 4 - x))),
    "c1_release": Border("cp-c1-not-released", lambda x: plugged(cp("C2", 3.0, duty=2667), cp("C1", 10.0), cp("B1", x))),
    "c1_forced": Border("cp-c1-not-released", lambda x: plugged(cp("C2", 3.0, duty=2667), cp("C1", 10.0), cp("B1", x)), heard=lambda f: f.count > 1),
    "flap_edges": Border("cp-c-flap", lambda x: flapping(x, 6.0), at=True),
    "flap_window": Border("cp-c-flap", lambda x: flapping(4, x), under=True),
    "bcb_min": Border("cp-bcb-pulse-duration", lambda x: plugged(*toggle(x - 0.05)), under=True),
    "bcb_max": Border("cp-bcb-pulse-duration", lambda x: plugged(*toggle(x + 0.05))),
    "bcb_tolerance": Border("cp-bcb-pulse-duration", lambda x: plugged(*toggle(0.2 - x))),
    "bcb_pulse": Border("cp-bcb-pulse-duration", lambda x: plugged(*toggle(x)), under=True),
    "bcb_sequence": Border("cp-bcb-count", lambda x: validated(1, x)),
    "bcb_most": Border("cp-bcb-count", validated, at=False),
    "plug_info": Border("cp-plug-no-response", lambda x: pause(dc(), "CP", 2, x)),
    # A session in which nobody speaks is over after `idle`, 60 s by default: only a site that waits longer hears of 120 s.
    "plug_warning": Border("cp-plug-no-response", lambda x: pause(dc(), "CP", 2, x), heard=lambda f: "B1 for 8 s" not in f.detail, idle=200.0),
    "state_c_after_cablecheck": Border("cp-c-missing-cablecheck", lambda x: moved_to_c(dc(), "CableCheckReq", x)),
    "state_c_after_power": Border("cp-c-late-powerdelivery", lambda x: moved_to_c(ac(), "PowerDeliveryReq", x)),
    "state_b_after_stop": Border("cp-b-late-after-stop", lambda x: released(dc(), 4, "PowerDeliveryRes", 1, x, "B2")),
    "state_b_detection": Border("cp-b-late-after-stop", lambda x: released(dc(), 4, "PowerDeliveryRes", 1, x, "B2"), heard=is_warning),
    "stop_before": Border("cp-c-to-b-mid-charge", stopped),
    "oscillator_retain": Border("cp-oscillator-off-late", lambda x: released(dc(), 5, "SessionStopRes", 0, x, "B1")),
    "off_reason": Border("cp-oscillator-off-early", off),
    "contactor": Border("cp-contactor-late-ac", lambda x: pause(ac().insert_before("PowerDeliveryReq", 0, cp("C2", 0.05)), "PowerDeliveryRes", 0, x)),
    "hlc_hold": Border("cp-c-before-cpd-finished", in_time),
    "dialogue_alive": Border("cp-b-to-a-before-sessionstop", lambda x: last_message_then("ContractAuthenticationRes", 1, cp("A2", x)), under=True),
    "sample_gap": Border("cp-sampling-gap", hole),
    "pp_band": Border("pp-resistor-unknown", lambda x: proximity(round(1500 + 15 * x))),
    "pp_time": Border("pp-resistor-unknown", lambda x: passing(950, x)),
    "pp_open": Border("pp-lost", lambda x: proximity(1500, int(x)), at=False),
    "pp_sd": Border("pp-noise", shaky),
    "dc_cap_tolerance": Border("pp-ampacity-limits-dc", lambda x: capped(22_080 * (1 + x / 100), 150_000), under=True),
    "dc_cap_share": Border("pp-ampacity-limits-dc", lambda x: capped(43_470, 4_347_000 / x), under=True),
    "pp_13A": coded(1500),
    "pp_20A": coded(680),
    "pp_32A": coded(220),
    "pp_63A": coded(100),
    "pp_latched": coded(150),
    "pp_button": coded(480),
}  # fmt: skip
