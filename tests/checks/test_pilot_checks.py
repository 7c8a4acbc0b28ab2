"""Control pilot and proximity checks from bytes."""

from __future__ import annotations

from typing import Any

import pytest
from casebook import Case, Lab, Step, assert_fires, assert_gap, assert_quiet, book, good, mme

PWM = {"C2": 3, "B2": 2}  # number of the CP step in a good DC session


def dc() -> Lab:
    return Lab.good("din-dc")


def ac() -> Lab:
    return Lab.good("iso2-ac")


def levels(**fields: int) -> Lab:
    """A good session whose C2 has other levels."""
    return dc().replace("CP", 3, **fields)


def plugged(*after: Step) -> Lab:
    """Only the pilot: A, B1, B2, then `after`."""
    return dc().stop_after("CP", 2).append(*after)


def cp(state: str, gap: float, **fields: int) -> Step:
    return Step("cp", "CP", gap=gap, fields={"state": state, **fields})


def in_loop(*made: Step, nth: int = 5) -> Lab:
    """Pilot changes in the middle of the charge loop."""
    return dc().insert_after("CurrentDemandRes", nth, *made)


def cut_in_loop(*made: Step, name: str = "CurrentDemandRes", nth: int = 5) -> Lab:
    """The session stops in the charge loop, then `made`."""
    return dc().stop_after(name, nth).append(*made)


def wobble(key: str, low: int, high: int) -> list[Step]:
    """A little over a second in which one value alternates from cycle to cycle."""
    return [cp("B2", 0.001 if i else 0.5, **{key: low if i % 2 else high}) for i in range(1200)]


def jitter() -> Lab:
    return plugged(*wobble("duty", 400, 620))


def between() -> Lab:
    """Half a second at 10.2 V in every second: still B by the middles, but in no band."""
    made = plugged()
    for _ in range(14):
        made.append(cp("B2", 0.5, hi_mv=10_200), cp("B2", 0.5))
    return made


def last_message_then(name: str, nth: int, *made: Step) -> Lab:
    return dc().stop_after(name, nth).append(*made)


def toggle(pulse: float) -> list[Step]:
    """One B-C-B toggle."""
    return [cp("C2", 0.5), cp("B2", pulse)]


def validation(toggles: int, counted: int) -> Lab:
    made = [mme("CM_VALIDATE.REQ", "EVCC", timer=5)]
    for _ in range(toggles):
        made += [cp("C2", 0.3), cp("B2", 0.3)]
    made.append(mme("CM_VALIDATE.CNF", "SECC", 0.3, result=2, toggle_num=counted))
    return dc().insert_before("CM_SLAC_MATCH.REQ", 0, *made)


def nominal(duty: int, gap: float = 3.5, state: str = "B2") -> Step:
    return cp(state, gap, duty=duty)


def from_digital(*path: Step) -> Lab:
    """SLAC has run, then the pilot goes to a current on this path."""
    return dc().stop_after("CM_SLAC_MATCH.CNF").append(*path)


def flapping(gap: float) -> Lab:
    made = dc().stop_after("CM_SLAC_MATCH.CNF")
    for _ in range(3):
        made.append(cp("C2", gap), cp("B2", gap))
    return made


def ac_with(duty: int) -> Lab:
    """AC under a duty cycle that announces a current."""
    return ac().replace("CP", 3, duty=duty).repeat("ChargingStatus", 7, 30, every=0.5)


def proximity(*values: int, name: str = "din-dc", state: int = 3) -> Lab:
    """A good session with a proximity resistance from plug-in, and other values later, in C2."""
    made = Lab.good(name)
    for i in (1, 2, 3):
        made.replace("CP", i, pp_ohm=values[0])
    for i, ohm in enumerate(values[1:]):
        made.insert_after("CP", state + i, cp("C2", 1.0, pp_ohm=ohm))
    return made


def shaky() -> Lab:
    return plugged(*wobble("pp_ohm", 1200, 1800))


def capped(watts: int) -> Lab:
    promised = {"Multiplier": 3, "Unit": "W", "Value": 150}
    made = dc().replace("ChargeParameterDiscoveryRes", None, {"DC_EVSEChargeParameter.EVSEMaximumPowerLimit": promised})
    return made.replace("CurrentDemandRes", None, EVSEMaximumPowerLimit={"Multiplier": 1, "Unit": "W", "Value": watts // 10})


def failed_with_pwm() -> Lab:
    made = Lab.good("iso2-dc").replace("CableCheckRes", 3, ResponseCode="FAILED").stop_after("CableCheckRes", 3)
    return made.close("fin", side="SECC")


def case(check: str, fires: Any, loss: tuple[str, int], side: str, says: str, values: dict[str, Any] | None = None, **more: Any) -> Case:
    return Case(check, fires, loss, side, says, values or {}, more.pop("evidence", ("CP",)), **more)


CASES = book(
    # levels
    case("cp-level-out-of-band", lambda: levels(hi_mv=7000), ("CP", 3), "unknown", "7.00 V", {"voltagePositive": 7.0}, severity="warning"),
    case("cp-gap-voltage-noise", between, ("CP", 6), "line", "between two states", {"share": 48.17}, severity="info", quiet=lambda: plugged(cp("B2", 25.0))),
    case("cp-negative-rail-missing", lambda: levels(lo_mv=-9500), ("CP", 3), "SECC", "-9.50 V", {"voltageNegative": -9.5}),
    case("cp-diode-missing", lambda: levels(lo_mv=-6000), ("CP", 3), "EVCC", "-6.00 V", {"voltagePositive": 6.0, "voltageNegative": -6.0}),
    case("cp-sampling-gap", lambda: levels(flags=8), ("CP", 3), "tap", "overrun", severity="info"),
    # oscillator
    case("cp-frequency-out-of-range", lambda: levels(freq=9600), ("CP", 3), "SECC", "960.0 Hz", {"frequency": 960.0}, severity="warning"),
    case("cp-duty-jitter", jitter, ("CP", 8), "SECC", "varies by", {"deviation": 1.1}, severity="info", quiet=lambda: plugged(*wobble("duty", 500, 501))),
    case("cp-duty-invalid", lambda: levels(duty=755), ("CP", 3), "SECC", "7.5 %", {"dutyCycle": 7.55}),
    case(
        "cp-duty-update-too-fast",
        lambda: from_digital(cp("B1", 1.0), nominal(2667), nominal(2000, 6.0), nominal(1500, 2.0)),
        ("CP", 4),
        "SECC",
        "2.0 s later",
        {"interval": 2.0},
        quiet=lambda: from_digital(cp("B1", 1.0), nominal(2667), nominal(2000, 6.0), nominal(1500, 7.0)),
    ),
    case(
        "cp-duty-not-digital-during-hlc",
        lambda: dc().replace("CP", 3, duty=850),
        ("CableCheckRes", 0),
        "SECC",
        "8.5 %",
        {"dutyCycle": 8.5},
        severity="warning",
    ),
    case(
        "cp-duty-vs-evsemaxcurrent-ac",
        lambda: ac_with(1000),
        ("ChargingStatusRes", 3),
        "SECC",
        "6.0 A, EVSEMaxCurrent is 16 A",
        {"pilot": 6.0, "EVSEMaxCurrent": 16.0},
        evidence=("ChargingStatusRes",),
        quiet=lambda: ac_with(2667),
    ),
    # states
    case(
        "cp-state-a-under-session",
        lambda: last_message_then("PreChargeRes", 1, cp("A2", 0.1)),
        ("CP", 3),
        "line",
        "C2 to A",
        {"actualValue": "A2", "expectedValue": "C2"},
        severity="error",
    ),
    case(
        "cross-unplug-in-session",
        lambda: cut_in_loop(cp("A2", 0.1)),
        ("CurrentDemandRes", 5),
        "line",
        "50 A",
        {"current": 50.0},
        severity="error",
    ),
    case(
        "cp-b-to-a-before-sessionstop",
        lambda: last_message_then("ContractAuthenticationRes", 1, cp("A2", 0.3)),
        ("ContractAuthenticationRes", 0),
        "user",
        "without SessionStop",
        severity="info",
    ),
    case("cp-state-d-unexpected", lambda: dc().replace("CP", 3, state="D2"), ("CP", 3), "EVCC", "D2 (3.00 V)", severity="info"),
    case(
        "cp-state-e",
        lambda: cut_in_loop(cp("E", 0.1)),
        ("CurrentDemandRes", 5),
        "SECC",
        "C2 to E during CurrentDemand",
        {"actualValue": "E"},
        severity="error",
    ),
    case("cp-state-f", lambda: cut_in_loop(cp("F", 0.1)), ("CurrentDemandRes", 5), "SECC", "C2 to F", {"actualValue": "F"}, severity="error"),
    case("cp-plug-no-response", lambda: dc().stop_after("CP", 1), ("CP", 1), "SECC", "B1 for 8 s", {"waited": 8.0}, severity="info", tail=30.0),
    # steps
    case(
        "cp-ef-duration-short",
        lambda: plugged(cp("F", 5.0), cp("B2", 1.5)),
        ("CP", 3),
        "SECC",
        "1.50 s",
        {"step": 1.5},
        severity="info",
        quiet=lambda: plugged(cp("F", 5.0), cp("B2", 4.5)),
    ),
    case(
        "cp-step-x1-short",
        lambda: from_digital(cp("B1", 1.0), nominal(2667, 0.5)),
        ("CP", 3),
        "SECC",
        "0.50 s",
        {"step": 0.5},
        quiet=lambda: from_digital(cp("B1", 1.0), nominal(2667, 3.2)),
    ),
    case(
        "cp-digital-to-nominal-wrong-path",
        lambda: from_digital(nominal(2667, 1.0)),
        ("CM_SLAC_MATCH.CNF", 0),
        "SECC",
        "without a step",
        quiet=lambda: from_digital(cp("B1", 1.0), nominal(2667)),
    ),
    case(
        "cp-c1-not-released",
        lambda: plugged(cp("C2", 3.0, duty=2667), cp("C1", 10.0), cp("B1", 5.0)),
        ("CP", 4),
        "EVCC",
        "C1 for 3 s",
        {"waited": 3.0},
        quiet=lambda: plugged(cp("C2", 3.0, duty=2667), cp("C1", 10.0), cp("B1", 1.0)),
    ),
    case("cp-c-flap", lambda: flapping(1.2), ("CP", 4), "EVCC", "4 changes", {"edges": 4}, severity="info", quiet=lambda: flapping(0.3)),
    case("cp-bcb-pulse-duration", lambda: plugged(*toggle(0.08)), ("CP", 3), "EVCC", "80 ms", {"pulse": 0.08}, quiet=lambda: plugged(*toggle(0.3))),
    case(
        "cp-bcb-count",
        lambda: validation(1, 2),
        ("CM_VALIDATE.REQ", 0),
        "unknown",
        "toggled 1 times",
        {"toggles": 1, "ToggleNum": 2},
        evidence=("CM_VALIDATE.CNF",),
        quiet=lambda: validation(2, 2),
    ),
    # pilot and dialogue
    case(
        "cp-c-before-cpd-finished",
        lambda: dc().insert_before("ServiceDiscoveryReq", 0, cp("C2", 0.01)),
        ("ContractAuthenticationRes", 0),
        "EVCC",
        "before ChargeParameterDiscovery",
        severity="info",
    ),
    case(
        "cp-c-missing-cablecheck",
        lambda: dc().replace("CP", 3, state="B2"),
        ("CableCheckReq", 0),
        "EVCC",
        "still in B2",
        {"waited": 1.5, "actualValue": "B2"},
        evidence=("CableCheckReq",),
    ),
    case(
        "cp-c-late-powerdelivery",
        lambda: ac().delay("CP", 3, 0.6),
        ("PowerDeliveryReq", 0),
        "EVCC",
        "after PowerDeliveryReq(Start)",
        {"delay": 0.63},
        evidence=("PowerDeliveryReq",),
        quiet=ac,
    ),
    case(
        "cp-b-late-after-stop",
        lambda: dc().delay("CP", 4, 0.5),
        ("PowerDeliveryRes", 1),
        "EVCC",
        "0.52 s after",
        {"delay": 0.52},
        evidence=("PowerDeliveryRes",),
        severity="info",
    ),
    case(
        "cp-c-to-b-mid-charge",
        lambda: cut_in_loop(cp("B2", 0.05)).close("fin", gap=2.5),
        ("CurrentDemandReq", 5),
        "EVCC",
        "C2 to B2",
        {"actualValue": "B2"},
        severity="error",
    ),
    case(
        "cp-contactor-late-ac",
        lambda: ac().insert_before("PowerDeliveryReq", 0, cp("C2", 0.05)).delay("PowerDeliveryRes", 0, 3.5),
        ("PowerDeliveryReq", 0),
        "SECC",
        "after request and state C",
        {"latency": 3.512},
        evidence=("PowerDeliveryReq", "PowerDeliveryRes"),
        quiet=lambda: ac().insert_before("PowerDeliveryReq", 0, cp("C2", 0.05)),
    ),
    case(
        "cp-oscillator-off-late",
        lambda: dc().delay("CP", 5, 4.0),
        ("SessionStopRes", 0),
        "SECC",
        "after SessionStopRes",
        {"waited": 1.5},
        evidence=("SessionStopRes",),
        severity="info",
    ),
    case(
        "cp-oscillator-off-early",
        lambda: in_loop(cp("C1", 0.01)).repeat("CurrentDemand", -1, 10),
        ("CurrentDemandRes", 6),
        "SECC",
        "C2 to C1",
        {"actualValue": "C1"},
    ),
    case(
        "cp-oscillator-on-at-failed-close",
        failed_with_pwm,
        ("CableCheckRes", 3),
        "SECC",
        "FIN after CableCheckRes FAILED",
        evidence=("fin",),
        quiet=lambda: failed_with_pwm().insert_after("CableCheckRes", 3, cp("C1", 0.01)),
    ),
    # proximity
    case("pp-resistor-unknown", lambda: proximity(950), ("CP", 2), "line", "950 ohm", {"resistance": 950}, quiet=lambda: proximity(1500)),
    case("pp-ccs2-value", lambda: proximity(220), ("CableCheckRes", 0), "SECC", "220 ohm", {"resistance": 220}, quiet=lambda: proximity(1500)),
    case(
        "pp-button-pressed",
        lambda: proximity(150, 150, 480),
        ("CP", 4),
        "user",
        "from 150 to 480",
        {"actualValue": 480},
        quiet=lambda: proximity(150),
    ),
    case("pp-lost", lambda: proximity(1500, 60_000), ("CP", 3), "line", "PP is open", {"resistance": 60_000}, quiet=lambda: proximity(1500)),
    case("pp-noise", shaky, ("CP", 8), "line", "varies by", {"deviation": 20.0}, severity="info", quiet=lambda: plugged(*wobble("pp_ohm", 1490, 1510))),
    case(
        "pp-power-limit-mismatch",
        lambda: proximity(1500, name="iso2-ac"),
        ("ChargeParameterDiscoveryReq", 0),
        "SECC",
        "coded for 13 A",
        {"EVSEMaxCurrent": 16.0},
        evidence=("ChargeParameterDiscoveryRes",),
        quiet=lambda: proximity(220, name="iso2-ac"),
    ),
    case(
        "pp-ampacity-limits-dc",
        lambda: capped(22_000),
        ("CurrentDemandRes", 1),
        "SECC",
        "22.0 kW",
        {"EVSEMaximumPowerLimit": 22_000.0},
        evidence=("CurrentDemandRes",),
        severity="info",
        quiet=lambda: capped(140_000),
    ),
)


@pytest.mark.parametrize("case", CASES)
def test_fires(case: Case) -> None:
    assert_fires(case)


@pytest.mark.parametrize("case", CASES)
def test_quiet(case: Case) -> None:
    assert_quiet(case)


@pytest.mark.parametrize("case", CASES)
def test_gap(case: Case) -> None:
    assert_gap(case)


def test_wave_of_a_dummy_load_is_no_weak_supply() -> None:
    """One cause, one finding: a symmetric wave is the missing diode."""
    assert {"cp-diode-missing"} == levels(lo_mv=-6000).run().ids() & {"cp-diode-missing", "cp-negative-rail-missing"}


def test_ev_that_obeys_the_pilot_is_not_blamed() -> None:
    """The EVSE stops the PWM first, the EV leaves C: no drop by the EV, and no failed session."""
    made = in_loop(cp("C1", 0.01), cp("B1", 0.1))
    result = made.run()
    assert not result.of("cp-c-to-b-mid-charge")
    assert result.session.outcome == "completed"


def test_stop_just_after_the_edge_is_no_drop() -> None:
    """The pilot is faster than the message: B 0.3 s before PowerDeliveryReq(Stop)."""
    made = dc().drop("CP", 4)
    made.insert_before("PowerDeliveryReq", 1, cp("B2", 0.05)).delay("PowerDeliveryReq", 1, 0.3)
    assert not made.run().of("cp-c-to-b-mid-charge")


def test_e_after_a_failure_is_a_consequence() -> None:
    """F after FAILED is the EVSE's right: said, and not blamed."""
    made = Lab.good("iso2-dc").replace("CableCheckRes", 3, ResponseCode="FAILED").stop_after("CableCheckRes", 3)
    finding = made.append(cp("F", 0.2)).run().one("cp-state-f")
    assert (finding.severity, finding.effect) == ("info", "none")
    assert "FAILED" in finding.detail


@pytest.mark.parametrize("scene", [good(name) for name in ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac")])
def test_good_sessions_have_no_pilot_finding(scene: Any) -> None:
    assert not [f.check for f in scene().run().findings if f.check.startswith(("cp-", "pp-"))]


@pytest.mark.parametrize(("ohm", "speaks"), [(176, False), (178, False), (181, True)])
def test_the_nearest_coding_counts(ohm: int, speaks: bool) -> None:
    """178 Ohm lie within 20 % of 150 and of 220 Ohm: a latched CCS1 plug is nearer, and right at a DC outlet."""
    assert bool(proximity(ohm).run().of("pp-ccs2-value")) is speaks
