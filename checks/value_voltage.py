"""Voltages of the charge loop and of WeldingDetection."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import SECOND, failed, limits, ns, quantity, response_code, seconds, took
from plugtap.checks.value_common import LOOP_REQ, LOOP_RES, PRECHARGE_RES, WELDING_RES, Held, present
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.session import Session

OVERSHOOT_NS = 10 * SECOND


def just_begun(session: Session, ev: V2gMessage) -> bool:
    """The charge loop's first ten seconds."""
    begin = session.electrical.loop_answered
    return begin is None or ev.t - begin <= OVERSHOOT_NS


@register
class AboveEvMaximum(Check):
    """Only with current the reported voltage is the battery's: without, contactors are open, and many EVSEs report 500 V then."""

    meta = Meta(
        id="value-voltage-above-evmax",
        title="Voltage above the EV's maximum",
        severity="error",
        class_="normative",
        effect="unsafe",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentVoltage in the charge loop above EVMaximumVoltageLimit by more than {overvoltage_margin} for {overvoltage_time} while current flows; "
        "a warning below 5 %, and for a target above the EV's own maximum",
        cause="The EVSE's regulation overshoots or its measurement is wrong; or the EV announces a wrong limit.",
        fix="Take the EVSE out of service until its voltage regulation and its over-voltage protection have been checked.",
        refs=("IEC 61851-23 CC.6.2", "IEC 61851-23 6.4.3.107"),
        modes=("dc",),
        limits=limits("overvoltage_time", "overvoltage_margin"),
        uec="OverVoltage",
        mrec="CX005",
        priority=27,
        example="EVMaximumVoltageLimit 420 V, EVSEPresentVoltage 451 V for 2 s while current flows.",
    )

    def start(self) -> None:
        self.held = Held()
        self.factor = 1 + self.limit("overvoltage_margin") / 100

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        volts, amps, top = el.present_v, el.present_i, el.ev_max_v
        if volts is None or not top or top <= 0:
            return
        self.arm()
        bound = top * self.factor
        if volts <= bound:
            self.held.first = None
            self.evaluated()
            return
        first = self.held.feed(ev, volts > bound and abs(amps or 0.0) >= 1, self.limit("overvoltage_time"))
        if first is None:
            self.evaluated()
            return
        mild = volts <= top * 1.05
        self.fire(
            [first, ev], f"EVSEPresentVoltage is {volts:.1f} V, the EV's maximum {top:.1f} V.", since=first.t, severity="warning" if mild else None,
            effect="degrades" if mild else None, values={"EVSEPresentVoltage": quantity(volts, "V", bound, ">"), "EVMaximumVoltageLimit": quantity(top, "V")},
        )  # fmt: skip

    @on(V2gMessage, *LOOP_REQ)
    def request(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        if el.target_v is None or not el.ev_max_v or el.target_v <= el.ev_max_v * self.factor:
            return
        self.fire(
            ev, f"The EV asks for {el.target_v:.1f} V, more than its own maximum of {el.ev_max_v:.1f} V.", key="target", side="EVCC", severity="warning",
            effect="degrades", values={"EVTargetVoltage": quantity(el.target_v, "V", el.ev_max_v, ">")},
        )  # fmt: skip


@register
class TargetAboveEvse(Check):
    """The target is not a request to exceed the limit: the EVSE has to clamp."""

    meta = Meta(
        id="value-voltage-above-evsemax",
        title="EV asks for more voltage than the EVSE can give",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="EVCC",
        trigger="EVTargetVoltage above EVSEMaximumVoltageLimit in the charge loop",
        cause="The EV ignores the EVSE's limit.",
        fix="EVSE: clamp to your maximum. EV: stay within EVSEMaximumVoltageLimit.",
        refs=("V2G20-2188",),
        modes=("dc",),
        uec="V2GParameterOutOfRange",
        gap="proceed",
        example="EVTargetVoltage 800 V, EVSEMaximumVoltageLimit 500 V.",
    )

    @on(V2gMessage, *LOOP_REQ)
    def request(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        if el.target_v is None or not el.evse_max_v:
            return
        self.arm()
        if el.target_v > el.evse_max_v:
            self.fire(ev, f"The EV asks for {el.target_v:g} V, the EVSE's maximum is {el.evse_max_v:g} V.",
                      values={"EVTargetVoltage": quantity(el.target_v, "V", el.evse_max_v, ">")})  # fmt: skip
        else:
            self.evaluated()


@register
class VoltageLost(Check):
    """PreCharge had a voltage, the loop has none."""

    meta = Meta(
        id="value-present-voltage-lost",
        title="EVSE reports no voltage in the charge loop",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentVoltage below {voltage_lost} of EVTargetVoltage for {over_time} in the charge loop, although PreCharge had met its target",
        cause="The EVSE's measurement is not connected or not scaled, its output contactor is open, or the EVSE is simulated.",
        fix="Compare the reported with the physical voltage at the outlet; check contactor and measurement.",
        refs=(),
        modes=("dc",),
        limits=limits("voltage_lost", "over_time", "precharge_delta"),
        uec="UnderVoltage",
        priority=50,
        example="PreCharge met 400 V; CurrentDemandRes report 2 V for 20 s.",
    )

    def start(self) -> None:
        self.met = False
        self.held = Held()

    @on(V2gMessage, *PRECHARGE_RES)
    def precharge(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        volts, target = el.precharge_v, el.precharge_target
        self.met = volts is not None and target is not None and target > 50 and abs(volts - target) <= self.limit("precharge_delta")

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        volts, target = el.present_v, el.target_v
        if not self.met or volts is None or not target or self.session.stopping:
            self.held.first = None
            return
        self.arm()
        bound = target * self.limit("voltage_lost") / 100
        first = self.held.feed(ev, volts < bound, self.limit("over_time"))
        if first is None:
            self.evaluated()
            return
        self.fire([first, ev], f"EVSEPresentVoltage is {volts:.1f} V for a target of {target:.1f} V.", since=first.t,
                  values={"EVSEPresentVoltage": quantity(volts, "V", bound, "<"), "EVTargetVoltage": quantity(target, "V")})  # fmt: skip


@register
class Overshoot(Check):
    """Chargers regulate poorly without load: seen where the EV's contactors close late."""

    meta = Meta(
        id="value-overshoot-low-load",
        title="Voltage overshoots without load",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentVoltage more than {overshoot} above EVTargetVoltage with less than 1 A in the first 10 s of the charge loop",
        cause="The EVSE regulates poorly without load, or the EV closes its contactors late.",
        fix="Check the EVSE's regulation at no load; some EVs and some EVSEs stop here.",
        refs=(),
        modes=("dc",),
        limits=limits("overshoot"),
        uec="OverVoltage",
        gap="proceed",
        example="Target 400 V, EVSEPresentVoltage 455 V at 0 A right after PowerDelivery.",
    )

    @on(V2gMessage, *LOOP_RES, only=just_begun)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        volts, amps, target = el.present_v, el.present_i, el.target_v
        if volts is None or not target or target < 50 or not just_begun(self.session, ev):
            return
        self.arm()
        bound = target * (1 + self.limit("overshoot") / 100)
        if volts > bound and abs(amps or 0.0) < 1:
            self.fire(ev, f"EVSEPresentVoltage is {volts:.1f} V at {amps or 0:g} A, the target {target:.1f} V.",
                      values={"EVSEPresentVoltage": quantity(volts, "V", bound, ">"), "EVSEPresentCurrent": quantity(amps, "A")})  # fmt: skip
        else:
            self.evaluated()


class _Welding(Check):
    """Base: the voltages of WeldingDetection."""

    def start(self) -> None:
        self.first: V2gMessage | None = None
        self.last: V2gMessage | None = None
        self.points: list[float] = []

    @on(V2gMessage, *WELDING_RES)
    def response(self, ev: V2gMessage) -> None:
        volts, _ = present(ev)
        if self.first is None:
            self.first = ev
            self.arm()
        self.last = ev
        if volts is not None and len(self.points) < 500:
            self.points.append(volts)

    @on(V2gMessage, "SessionStopReq")
    def leave(self, ev: V2gMessage) -> None:
        self._over()

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self._over()

    def _over(self) -> None:
        first, last, points = self.first, self.last, self.points
        self.first = self.last = None
        self.points = []
        if first is not None and last is not None and points:
            self.judge(first, last, points)

    def judge(self, first: V2gMessage, last: V2gMessage, points: list[float]) -> None:
        """WeldingDetection is over."""
        raise NotImplementedError


@register
class VoltageAtStop(_Welding):
    """Many EVSEs report the voltage of their side of the contactor, so that this is information."""

    meta = Meta(
        id="value-sessionstop-voltage",
        title="Voltage still high after WeldingDetection",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="the last EVSEPresentVoltage of WeldingDetection is above {safe_voltage}",
        cause="The output was not discharged, or the EV ended WeldingDetection early.",
        fix="Check the EVSE's discharge of its output; the connector must be free of voltage before it is unlocked.",
        refs=("IEC 61851-23",),
        modes=("dc",),
        limits=limits("safe_voltage", "welding_drop"),
        uec="V2GParameterOutOfRange",
        mrec="CX024",
        example="Last WeldingDetectionRes 324 V, SessionStopReq.",
    )

    def judge(self, first: V2gMessage, last: V2gMessage, points: list[float]) -> None:
        limit = self.limit("safe_voltage")
        # A voltage that stays for long is the matter of value-welding-voltage-stuck.
        if points[-1] <= limit or last.t - first.t > ns(self.limit("welding_drop")):
            self.evaluated()
            return
        self.fire(
            [first, last],
            f"WeldingDetection ended at {points[-1]:.0f} V.",
            since=first.t,
            values={"EVSEPresentVoltage": quantity(points[-1], "V", limit, ">")},
        )


@register
class VoltageStuck(_Welding):
    """A welded contactor, or an output that is not discharged, or a measurement behind the EVSE's own contactor."""

    meta = Meta(
        id="value-welding-voltage-stuck",
        title="Voltage does not fall in WeldingDetection",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        certainty="possible",
        trigger="EVSEPresentVoltage stays above {safe_voltage} for more than {welding_drop} of WeldingDetection",
        cause="A contactor of the EV is welded, the EVSE's output is not discharged, or the EVSE reports the voltage behind its contactor.",
        fix="Measure at the inlet after the session; compare with other EVs at this EVSE to tell which side it is.",
        refs=("IEC 61851-23",),
        modes=("dc",),
        limits=limits("safe_voltage", "welding_drop"),
        uec="ContactorFault",
        mrec="CX017",
        example="EVSEPresentVoltage 397 to 390 V for 12 s of WeldingDetection.",
    )

    def judge(self, first: V2gMessage, last: V2gMessage, points: list[float]) -> None:
        limit, drop = self.limit("safe_voltage"), self.limit("welding_drop")
        if min(points) <= limit or last.t - first.t <= ns(drop) or failed(response_code(last)):
            self.evaluated()
            return
        constant = max(points) - min(points) < 5
        self.fire(
            [first, last], f"EVSEPresentVoltage went from {points[0]:.0f} V to {points[-1]:.0f} V in {seconds(last.t - first.t):.1f} s"
            + (": it did not fall at all, which tells of the EVSE's measurement rather than of the EV's contactors." if constant else "."),
            since=first.t, side="SECC" if constant else None,
            values={"duration": took(last.t - first.t, drop), "EVSEPresentVoltage": quantity(points[-1], "V", limit, ">"), "responses": Value(len(points))},
        )  # fmt: skip
