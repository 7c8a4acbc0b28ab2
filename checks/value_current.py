"""Currents and power of the charge loop against targets and limits."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import dig, limits, ns, physical, quantity, seconds
from plugtap.checks.value_common import LOOP_REQ, LOOP_RES, PARAMETERS_RES, Held, present
from plugtap.protocols.events import V2gMessage


LIMIT_FLAGS = ("EVSECurrentLimitAchieved", "EVSEVoltageLimitAchieved", "EVSEPowerLimitAchieved")


class _Held(Check):
    """Base: a condition on the charge loop that must hold for a while."""

    def start(self) -> None:
        self.held = Held()

    def fine(self) -> None:
        """The condition does not hold."""
        self.held.first = None
        row = self._row
        row["armed"] += 1
        row["evaluated"] += 1

    def judge(self, ev: V2gMessage, bad: bool, limit_name: str) -> V2gMessage | None:
        """The first message of the stretch once `bad` has held for the limit."""
        if not bad:
            self.fine()
            return None
        self.arm()
        first = self.held.feed(ev, bad, self.limit(limit_name))
        if first is None:
            self.evaluated()
        return first


@register
class TargetAboveLimit(_Held):
    """The EVSE clamps; an EV that goes on asking for more has not understood the limit."""

    meta = Meta(
        id="value-current-above-limit",
        title="EV asks for more current than the EVSE offers",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="EVCC",
        trigger="EVTargetCurrent above EVSEMaximumCurrentLimit for more than {over_time}",
        cause="The EV ignores a reduced limit, or it sends its wish and leaves it to the EVSE to clamp.",
        fix="EVSE: clamp to your limit. EV: stay within EVSEMaximumCurrentLimit.",
        refs=("V2G20-2188",),
        modes=("dc",),
        limits=limits("over_time"),
        uec="V2GParameterOutOfRange",
        example="EVTargetCurrent 300 A, EVSEMaximumCurrentLimit 125 A.",
    )

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        if el.target_i is None or not el.evse_max_i or self.session.stopping:
            self.held.first = None
            return
        if el.target_i <= el.evse_max_i * 1.001:
            self.fine()
            return
        first = self.judge(ev, True, "over_time")
        if first is not None:
            self.fire([first, ev], f"The EV asks for {el.target_i:g} A, the EVSE offers {el.evse_max_i:g} A.", since=first.t,
                      values={"EVTargetCurrent": quantity(el.target_i, "A", el.evse_max_i, ">")})  # fmt: skip


@register
class PresentAboveTarget(_Held):
    """The tolerance the EVSE announces counts where it is larger. A falling target is followed with a delay, hence the time."""

    meta = Meta(
        id="value-present-exceeds-target",
        title="EVSE reports more current than the EV asked for",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentCurrent above EVTargetCurrent by more than {current_tolerance}, {current_tolerance_part} and the announced tolerance for {over_time}",
        cause="The EVSE's current regulation or its measurement is wrong, often a scaling error.",
        fix="Compare EVSEPresentCurrent with a clamp meter; correct Multiplier and Value, or the regulation.",
        refs=("IEC 61851-23",),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("current_tolerance", "current_tolerance_part", "over_time", "follow_time"),
        uec="OverCurrent",
        mrec="CX004",
        example="EVTargetCurrent 25 A, EVSEPresentCurrent 1350 A.",
    )

    def start(self) -> None:
        super().start()
        self.tolerance = 0.0
        self.target: float | None = None
        self.fell: int | None = None  # when the target fell last: the current follows with a delay

    @on(V2gMessage, *PARAMETERS_RES)
    def parameters(self, ev: V2gMessage) -> None:
        self.tolerance = physical(dig(ev.body, "DC_EVSEChargeParameter", "EVSECurrentRegulationTolerance")) or self.tolerance

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        amps, target = el.present_i, el.target_i
        if amps is None or target is None or target < 0 or self.session.stopping:
            self.held.first = None
            return
        if self.target is not None and target < self.target:
            self.fell = ev.t
        self.target = target
        if amps <= target:
            self.fine()
            return
        following = self.fell is not None and ev.t - self.fell < ns(self.limit("follow_time"))
        allowed = target + max(self.limit("current_tolerance"), target * self.limit("current_tolerance_part") / 100, min(self.tolerance, 50.0))
        first = self.judge(ev, amps > allowed and not following, "over_time")
        if first is not None:
            factor = f", {amps / target:.0f} times as much" if target >= 1 and amps / target >= 10 else ""
            self.fire([first, ev], f"EVSEPresentCurrent is {amps:g} A for a target of {target:g} A{factor}.", since=first.t,
                      values={"EVSEPresentCurrent": quantity(amps, "A", allowed, ">"), "EVTargetCurrent": quantity(target, "A")})  # fmt: skip


@register
class TargetMismatch(_Held):
    """Less than asked for, without a reason the EVSE tells: no limit flag, no announced limit that explains it."""

    meta = Meta(
        id="value-target-vs-present-current",
        title="EVSE delivers less current than asked for without saying why",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentCurrent below EVTargetCurrent by more than {mismatch} and {mismatch_part} for {mismatch_time}, no limit-achieved flag set "
        "and no announced limit reached",
        cause="The EVSE derates without reporting it, or its measurement is off.",
        fix="EVSE: lower EVSEMaximumCurrentLimit or set EVSECurrentLimitAchieved / EVSEPowerLimitAchieved.",
        refs=("ISO 15118-2 8.4.5.4",),
        modes=("dc",),
        limits=limits("mismatch", "mismatch_part", "mismatch_time"),
        uec="UnderCurrent",
        example="EVTargetCurrent 126 A, EVSEPresentCurrent 95 to 105 A for a minute, no flag.",
    )

    def start(self) -> None:
        super().start()
        self.margin, self.part = self.limit("mismatch"), self.limit("mismatch_part") / 100

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        session = self.session
        el = session.electrical
        volts, amps, target = el.present_v, el.present_i, el.target_i
        if amps is None or target is None or target <= 0 or session.stopping or not session.energy_moved:
            self.held.first = None
            return
        # Near the target voltage the EVSE regulates voltage: the current is the battery's.
        if amps >= target - self.margin or (volts is not None and el.target_v is not None and volts >= el.target_v - 3):
            self.fine()
            return
        wanted = target if not el.evse_max_i else min(target, el.evse_max_i)
        if el.evse_max_p and volts and volts > 50:
            wanted = min(wanted, el.evse_max_p / volts)
        bound = wanted - max(self.margin, wanted * self.part)
        if amps >= bound:
            self.fine()
            return
        first = self.judge(ev, not any(ev.body.get(flag) is True for flag in LIMIT_FLAGS), "mismatch_time")
        if first is not None:
            self.fire([first, ev], f"EVSEPresentCurrent is {amps:g} A, asked for and allowed are {wanted:g} A; no limit flag is set.", since=first.t,
                      values={"EVSEPresentCurrent": quantity(amps, "A", bound, "<"), "EVTargetCurrent": quantity(target, "A")})  # fmt: skip


@register
class FlagsInconsistent(_Held):
    """EVSECurrentLimitAchieved while far below what is allowed and asked for."""

    meta = Meta(
        id="value-limit-flags-inconsistent",
        title="Limit flag contradicts the values",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="EVSECurrentLimitAchieved true for {mismatch_time} while EVSEPresentCurrent is more than {flag_margin} below target and limit",
        cause="The EVSE sets its flags by other values than those it reports.",
        fix="EVSE: set the flags from the reported limits.",
        refs=("ISO 15118-2 8.4.5.4",),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("flag_margin", "mismatch_time"),
        uec="V2GParameterOutOfRange",
        example="EVSECurrentLimitAchieved true at 20 A, target 80 A, limit 125 A.",
    )

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        session = self.session
        el = session.electrical
        amps = el.present_i
        if amps is None or el.target_i is None or not el.evse_max_i or session.stopping or not session.energy_moved:
            self.held.first = None
            return
        if ev.body.get("EVSECurrentLimitAchieved") is not True:
            self.fine()
            return
        bound = min(el.target_i, el.evse_max_i) - self.limit("flag_margin")
        first = self.judge(ev, amps < bound, "mismatch_time")
        if first is not None:
            self.fire([first, ev], f"EVSECurrentLimitAchieved is set at {amps:g} A; target {el.target_i:g} A, limit {el.evse_max_i:g} A.", since=first.t,
                      values={"EVSEPresentCurrent": quantity(amps, "A", bound, "<")})  # fmt: skip


@register
class PowerAboveLimit(_Held):
    """V times I against both sides' power limits."""

    meta = Meta(
        id="value-power-above-limit",
        title="Power above the announced limit",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="unknown",
        certainty="possible",
        trigger="EVSEPresentVoltage times EVSEPresentCurrent above EVMaximumPowerLimit or EVSEMaximumPowerLimit by more than {power_tolerance} for {over_time}",
        cause="A limit or a measured value is scaled wrongly; or a side does not keep its limit.",
        fix="Compare Multiplier and Value of limits and measured values.",
        refs=(),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("power_tolerance", "over_time"),
        uec="OverCurrent",
        example="55 kW for 10 s with EVSEMaximumPowerLimit 50 kW.",
    )

    def start(self) -> None:
        super().start()
        self.factor = 1 + self.limit("power_tolerance") / 100

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        volts, amps = el.present_v, el.present_i
        name, top = "EVMaximumPowerLimit", el.ev_max_p if el.ev_max_p and el.ev_max_p > 0 else None
        if el.evse_max_p and el.evse_max_p > 0 and (top is None or el.evse_max_p < top):
            name, top = "EVSEMaximumPowerLimit", el.evse_max_p
        if volts is None or amps is None or top is None:
            return
        if el.target_i is not None and amps > 3 * max(el.target_i, 1):
            return  # the current itself is wrong: value-present-exceeds-target
        bound = top * self.factor
        if volts * amps <= bound:
            self.fine()
            return
        first = self.judge(ev, True, "over_time")
        if first is not None:
            self.fire([first, ev], f"{volts * amps / 1000:.1f} kW flow, {name} is {top / 1000:.1f} kW.", since=first.t,
                      values={"power": quantity(volts * amps, "W", bound, ">")})  # fmt: skip


@register
class ZeroPower(_Held):
    """A pause by energy management, an EV that is full, or a charger that does not deliver."""

    meta = Meta(
        id="value-zero-power",
        title="Charge loop without current",
        severity="warning",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        certainty="possible",
        trigger="EVSEPresentCurrent below 1 A for {zero_power_time} while EVTargetCurrent is above {zero_power_target}",
        cause="Energy management holds the EVSE at zero, its power unit does not deliver, or its output contactor is open.",
        fix="Look at the EVSE's energy management; a pause should be told by EVSENotification and limits.",
        refs=(),
        modes=("dc",),
        limits=limits("zero_power_time", "zero_power_target"),
        uec="UnderCurrent",
        example="EVTargetCurrent 80 A, EVSEPresentCurrent 0 A for two minutes.",
    )

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        amps = el.present_i
        if amps is None or el.target_i is None or self.session.stopping:
            self.held.first = None
            return
        if abs(amps) >= 1:
            self.fine()
            return
        first = self.judge(ev, el.target_i > self.limit("zero_power_target"), "zero_power_time")
        if first is not None:
            held = seconds(ev.t - first.t)
            zero = el.evse_max_p == 0 or el.evse_max_i == 0
            self.fire(
                [first, ev], f"No current for {held:.0f} s, the EV asks for {el.target_i:g} A" + (", the EVSE announces a limit of 0." if zero else "."),
                since=first.t, values={"EVSEPresentCurrent": quantity(amps, "A", 1, "<"), "EVTargetCurrent": quantity(el.target_i, "A")},
            )  # fmt: skip


@register
class Derating(Check):
    """The cause (heat, another car, grid) cannot be told from the wire."""

    meta = Meta(
        id="value-temperature",
        title="EVSE reduces its current limit",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        certainty="possible",
        trigger="EVSEMaximumCurrentLimit falls by more than {derating} within {derating_time} while charging",
        cause="A hot cable or connector, a hot power unit, or another EV that shares the power.",
        fix="Look at the EVSE's temperatures at this time.",
        refs=("IEC 61851-23",),
        modes=("dc",),
        limits=limits("derating", "derating_time"),
        uec="HighTemperature",
        mrec="CX018",
        example="EVSEMaximumCurrentLimit from 200 A to 120 A within 20 s.",
    )

    def start(self) -> None:
        self.highest: tuple[V2gMessage, float] | None = None
        self.span = ns(self.limit("derating_time"))

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        session = self.session
        top = session.electrical.evse_max_i
        if top is None or top <= 0 or session.stopping or not session.energy_moved:
            return
        self.arm()
        highest = self.highest
        if highest is None or top >= highest[1] or ev.t - highest[0].t > self.span:
            self.highest = (ev, top)
            self.evaluated()
            return
        before, was = highest
        part = self.limit("derating")
        if top >= was * (1 - part / 100):
            self.evaluated()
            return
        self.highest = (ev, top)
        self.fire([before, ev], f"EVSEMaximumCurrentLimit fell from {was:g} A to {top:g} A in {seconds(ev.t - before.t):.0f} s.", since=before.t,
                  values={"EVSEMaximumCurrentLimit": quantity(top, "A", was * (1 - part / 100), "<")})  # fmt: skip


class _Noise(Check):
    """Base: standard deviation of one value within a second, at a steady target."""

    def start(self) -> None:
        self.window: list[tuple[V2gMessage, float]] = []
        self.target: float | None = None

    @on(V2gMessage, *LOOP_REQ)
    def request(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        target = el.target_i if self.meta.id == "value-current-ripple" else el.target_v
        if target != self.target:
            self.target, self.window = target, []

    def sample(self, ev: V2gMessage, value: float | None, limit_name: str, what: str, unit: str) -> None:
        """One value of the loop."""
        if value is None or self.session.stopping:
            self.window = []
            return
        self.window = [(e, v) for e, v in self.window if ev.t - e.t <= ns(1)][-50:]
        self.window.append((ev, value))
        if len(self.window) < 4:
            return
        self.arm()
        values = [v for _, v in self.window]
        mean = sum(values) / len(values)
        # A ramp is no noise: what is left after taking out the straight line between first and last.
        slope = (values[-1] - values[0]) / (len(values) - 1)
        rest = [v - values[0] - slope * i for i, v in enumerate(values)]
        middle = sum(rest) / len(rest)
        deviation = (sum((r - middle) ** 2 for r in rest) / len(rest)) ** 0.5
        limit = self.limit(limit_name)
        if deviation <= limit:
            self.evaluated()
            return
        first = self.window[0][0]
        self.window = []
        self.fire([first, ev], f"{what} scatters by {deviation:.1f} {unit} around {mean:.1f} {unit} within a second at a steady target.", since=first.t,
                  values={"deviation": quantity(deviation, unit, limit, ">")})  # fmt: skip


@register
class CurrentNoise(_Noise):
    """Not the ripple of the hardware: EVSEPresentCurrent comes 4 to 25 times a second and cannot show that."""

    meta = Meta(
        id="value-current-ripple",
        title="Reported current scatters",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="standard deviation of EVSEPresentCurrent above {noise_current} within a second at a steady target",
        cause="Noise of the EVSE's measurement, or regulation that swings.",
        fix="Compare with a clamp meter.",
        refs=("IEC 61851-23",),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("noise_current"),
        enabled=False,
        uec="V2GParameterOutOfRange",
        example="EVSEPresentCurrent 80, 96, 71, 99 A at a target of 90 A.",
    )

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        self.sample(ev, present(ev)[1], "noise_current", "EVSEPresentCurrent", "A")


@register
class VoltageNoise(_Noise):
    """Measurement noise, or regulation that swings."""

    meta = Meta(
        id="value-voltage-ripple",
        title="Reported voltage scatters",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="standard deviation of EVSEPresentVoltage above {noise_voltage} within a second at a steady target",
        cause="Noise of the EVSE's measurement, or regulation that swings.",
        fix="Compare with a voltmeter.",
        refs=(),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("noise_voltage"),
        enabled=False,
        uec="V2GParameterOutOfRange",
        example="EVSEPresentVoltage 380, 395, 377, 399 V.",
    )

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        self.sample(ev, present(ev)[0], "noise_voltage", "EVSEPresentVoltage", "V")
