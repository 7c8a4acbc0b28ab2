"""Voltages around PreCharge: what the EV asked for, what the EVSE reports, and the difference when the contactors close."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.time_process import Process
from plugtap.checks.v2g_common import limits, ns, physical, quantity, seconds, took
from plugtap.checks.value_common import PRECHARGE_REQ, PRECHARGE_RES
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import NewAttempt, SessionEnded
from plugtap.sessions.v2g_facts import delivery_kind

BOTH = (*PRECHARGE_REQ, *PRECHARGE_RES)


@register
class PreChargeDelta(Check):
    """The difference is what the EV's contactors have to bear. Many sessions survive it."""

    meta = Meta(
        id="value-precharge-delta",
        title="Contactors closed on a voltage difference",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="at PowerDeliveryReq(Start) EVSEPresentVoltage and EVTargetVoltage of the last PreCharge differ by more than {precharge_delta}; information from {precharge_delta_seen} on",
        cause="The EVSE overshoots or does not follow the target, one of the two measures wrongly, or the EV does not wait.",
        fix="Compare the reported voltage with the real one at the outlet; check the EVSE's regulation without load; EV: wait for the voltage.",
        refs=("IEC 61851-23 CC.5.2", "ISO 15118-2 8.7.4"),
        modes=("dc",),
        limits=limits("precharge_delta", "precharge_delta_seen"),
        uec="V2GParameterOutOfRange",
        mrec="CX012",
        priority=46,
        example="Target 439 V, EVSEPresentVoltage 500 V in the only PreChargeRes, PowerDeliveryReq; two CurrentDemand later the EV leaves.",
    )

    def start(self) -> None:
        self.asked: V2gMessage | None = None
        self.told: V2gMessage | None = None

    @on(V2gMessage, *PRECHARGE_REQ)
    def request(self, ev: V2gMessage) -> None:
        self.asked = ev

    @on(V2gMessage, *PRECHARGE_RES)
    def response(self, ev: V2gMessage) -> None:
        self.told = ev

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        asked, told = self.asked, self.told
        self.asked = self.told = None
        if asked is None or told is None or delivery_kind(ev.body) != "Start":
            return
        target, volts = physical(asked.body.get("EVTargetVoltage")), physical(told.body.get("EVSEPresentVoltage"))
        if target is None or volts is None:
            return
        self.arm()
        limit, difference = self.limit("precharge_delta"), volts - target
        allowed = abs(difference) <= limit
        if allowed and abs(difference) <= self.limit("precharge_delta_seen"):
            self.evaluated()
            return
        over = difference > 0
        text = f"PowerDelivery was started at {volts:.1f} V for a target of {target:.1f} V: {abs(difference):.0f} V too {'high' if over else 'low'}."
        if allowed:
            text += f" The standard allows {limit:g} V."
        elif not over:
            text += " The EV did not wait for the voltage."
        self.fire(
            [asked, told, ev], text, side="SECC" if over else "EVCC", since=asked.t,
            severity="info" if allowed else None, effect="none" if allowed else None,
            values={"difference": quantity(abs(difference), "V", limit, ">"), "EVSEPresentVoltage": quantity(volts, "V"), "EVTargetVoltage": quantity(target, "V")},
        )  # fmt: skip


@register
class PreChargeCurrent(Check):
    """PreCharge messages carry the current the EV asks for; the EVSE does not report one."""

    meta = Meta(
        id="value-precharge-current",
        title="EV asks for too much current in PreCharge",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="EVTargetCurrent above {precharge_current} in PreChargeReq",
        cause="The EV sends its charging current already in PreCharge.",
        fix="EV: ask for 2 A at most. EVSE: limit the current by itself.",
        refs=("IEC 61851-23 CC.5.2",),
        protocols=("din", "iso2"),
        modes=("dc",),
        limits=limits("precharge_current"),
        uec="V2GParameterOutOfRange",
        gap="proceed",
        example="PreChargeReq with EVTargetCurrent 10 A.",
    )

    @on(V2gMessage, "PreChargeReq")
    def request(self, ev: V2gMessage) -> None:
        amps = physical(ev.body.get("EVTargetCurrent"))
        if amps is None:
            return
        self.arm()
        limit = self.limit("precharge_current")
        if amps > limit:
            self.fire(ev, f"PreChargeReq asks for {amps:g} A.", values={"EVTargetCurrent": quantity(amps, "A", limit, ">")})
        else:
            self.evaluated()


class _Course(Process):
    """Base: voltages of one PreCharge."""

    stems = ("PreCharge", "DC_PreCharge")

    def start(self) -> None:
        super().start()
        self.target: float | None = None
        self.points: list[tuple[int, float]] = []

    def began(self, request: V2gMessage) -> None:
        self.points = []

    def see(self, ev: V2gMessage) -> None:
        """A message of PreCharge."""
        self.on_message(ev)
        if ev.message in PRECHARGE_REQ:
            target = physical(ev.body.get("EVTargetVoltage"))
            self.target = self.target if target is None else target
        else:
            volts = physical(ev.body.get("EVSEPresentVoltage"))
            if volts is not None:
                if len(self.points) >= 1200:
                    del self.points[:600]
                self.points.append((ev.t, volts))


@register
class VoltageZero(_Course):
    """Said when PreCharge is over and the voltage never came: chargers need some seconds before it rises."""

    meta = Meta(
        id="value-precharge-voltage-zero",
        title="EVSE reports no voltage in PreCharge",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="PreCharge for more than {precharge_zero} with EVSEPresentVoltage 0 in all responses and a target above 50 V",
        cause="The EVSE's output is off, its contactor open, or its voltage measurement not connected.",
        fix="Measure the voltage at the outlet during PreCharge and compare; check power unit, contactor and measurement.",
        refs=("IEC 61851-23 CC.5.2",),
        modes=("dc",),
        limits=limits("precharge_zero"),
        uec="V2GParameterOutOfRange",
        mrec="CX012",
        priority=49,
        example="26 PreChargeRes with 0 V for a target of 360 V.",
    )

    @on(V2gMessage, *BOTH)
    def message(self, ev: V2gMessage) -> None:
        self.see(ev)

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        limit = self.limit("precharge_zero")
        if last is None or not self.points or last.t - first.t <= ns(limit) or (self.target or 0) <= 50 or any(v > 1 for _, v in self.points):
            self.evaluated()
            return
        went_on = by is not None and by.message == "PowerDeliveryReq"
        self.fire(
            [first, last], f"EVSEPresentVoltage stayed at {max(v for _, v in self.points):g} V for {seconds(last.t - first.t):.1f} s, the target is {self.target:g} V.",
            since=first.t, effect="degrades" if went_on else None,
            values={"duration": took(last.t - first.t, limit), "EVTargetVoltage": quantity(self.target, "V"), "responses": Value(len(self.points))},
        )  # fmt: skip


@register
class Stalled(_Course):
    """Only the last stretch counts: what ended with the target met is nobody's concern."""

    meta = Meta(
        id="value-precharge-stalled",
        title="PreCharge voltage does not rise",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="EVSEPresentVoltage rose less than {precharge_rise} in the last {precharge_stalled} of PreCharge, {precharge_delta} or more below the target",
        cause="The EVSE's output cannot raise the voltage: contactor open, a load at the outlet, power unit off.",
        fix="Measure at the outlet; look for a load or a discharge resistor; check the power unit.",
        refs=("IEC 61851-23 CC.5.2",),
        modes=("dc",),
        limits=limits("precharge_rise", "precharge_stalled", "precharge_delta"),
        uec="V2GParameterOutOfRange",
        mrec="CX012",
        priority=49,
        example="EVSEPresentVoltage 95 V, 60 V, 1 V for a target of 230 V.",
    )

    @on(V2gMessage, *BOTH)
    def message(self, ev: V2gMessage) -> None:
        self.see(ev)

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        span, rise, away = self.limit("precharge_stalled"), self.limit("precharge_rise"), self.limit("precharge_delta")
        target = self.target
        if last is None or target is None or last.t - first.t < ns(span):
            self.evaluated()
            return
        recent = [v for t, v in self.points if t >= last.t - ns(span)]
        now = recent[-1] if recent else 0.0
        silent = not any(v > 1 for _, v in self.points)  # that is value-precharge-voltage-zero
        if len(recent) < 3 or silent or target - now <= away or now - recent[0] >= rise:
            self.evaluated()
            return
        went_on = by is not None and by.message == "PowerDeliveryReq"
        highest = max(v for _, v in self.points)
        self.fire(
            [first, last], f"In the last {span:g} s of PreCharge the voltage went from {recent[0]:.0f} V to {now:.0f} V; the target is {target:g} V, the highest "
            f"was {highest:.0f} V.", since=first.t, effect="degrades" if went_on else None,
            values={"rise": quantity(now - recent[0], "V", rise, "<"), "EVTargetVoltage": quantity(target, "V"), "EVSEPresentVoltage": quantity(now, "V"),
                    "highest": quantity(highest, "V")},
        )  # fmt: skip


@register
class WrongFirstTarget(Check):
    """Known of single EVs: the EVSE must follow the last target, not the first."""

    meta = Meta(
        id="value-precharge-wrong-first-target",
        title="First PreCharge target is implausible",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="EVCC",
        certainty="likely",
        trigger="the first EVTargetVoltage is 0 or less, below EVSEMinimumVoltageLimit, or more than {precharge_delta} away from the second",
        cause="The EV sends a start value before it has measured its battery.",
        fix="EVSE: regulate to the target of the latest PreChargeReq.",
        refs=(),
        modes=("dc",),
        limits=limits("precharge_delta"),
        uec="V2GParameterOutOfRange",
        example="First PreChargeReq 0 V, second 358 V.",
    )

    def start(self) -> None:
        self.targets: list[float] = []
        self.first: V2gMessage | None = None

    @on(NewAttempt)
    @on(SessionEnded)
    def again(self, ev: NewAttempt | SessionEnded) -> None:
        self.targets, self.first = [], None

    @on(V2gMessage, *PRECHARGE_REQ)
    def request(self, ev: V2gMessage) -> None:
        target = physical(ev.body.get("EVTargetVoltage"))
        if target is None or len(self.targets) >= 2:
            return
        self.targets.append(target)
        if self.first is None:
            self.first = ev
            self.arm()
            low = self.session.electrical.evse_min_v
            if target <= 0:
                self.fire(ev, f"The first PreChargeReq asks for {target:g} V.", values={"EVTargetVoltage": quantity(target, "V", 0, "<=")})
            elif low is not None and target < low:
                self.fire(ev, f"The first PreChargeReq asks for {target:g} V, the EVSE's minimum is {low:g} V.", key="minimum",
                          values={"EVTargetVoltage": quantity(target, "V", low, "<")})  # fmt: skip
            return
        limit = self.limit("precharge_delta")
        if self.targets[0] > 0 and abs(self.targets[1] - self.targets[0]) > limit:
            self.fire(
                [self.first, ev], f"The target went from {self.targets[0]:g} V to {self.targets[1]:g} V with the second PreChargeReq.", key="changed",
                since=self.first.t, values={"difference": quantity(abs(self.targets[1] - self.targets[0]), "V", limit, ">")},
            )  # fmt: skip
        else:
            self.evaluated()
