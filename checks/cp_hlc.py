"""The pilot against the dialogue: state and duty cycle that each message needs (ISO 15118-2 8.7, DIN SPEC 70121 9.x)."""

from __future__ import annotations

import math

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import already_failed, has_pwm, in_hlc, letter, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.guards import never, with_pilot
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot, V2gMessage
from plugtap.protocols.pilot import duty_current
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.session import Session
from plugtap.sessions.values import physical

LOOP = ("CurrentDemandReq", "ChargingStatusReq", "DC_ChargeLoopReq", "AC_ChargeLoopReq")


def is_dc(session: Session) -> bool:
    """DIN knows DC only; else what the EV asked for."""
    return session.protocol == "din" or (session.energy or "").startswith("dc")


def is_ac(session: Session) -> bool:
    """The EV asked for AC in an ISO 15118 session."""
    return (session.energy or "").startswith("ac") and session.protocol != "iec61851"


@register
class DutyNotDigital(Check):
    """PWM on, but not 5 %. PWM off is cp-oscillator-off-early."""

    meta = Meta(
        id="cp-duty-not-digital-during-hlc",
        title="No 5 % PWM in a DC session",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "messages between SessionSetupRes and SessionStopRes of a DC session while the duty cycle has been "
            "outside {digital_low} to {digital_high} for {hlc_hold}"
        ),
        cause="The EVSE switched to a current too early, or measures and sets its duty cycle wrongly.",
        fix="EVSE: keep 5 % until the session has stopped; calibrate the PWM (8.5 % instead of 5 % is known).",
        refs=("V2G2-852", "ISO 15118-3 V2G3-M06"),
        gap="proceed",
        needs=("pilot",),
        modes=("dc",),
        limits=pilot("digital_low", "digital_high", "hlc_hold", "duty_tolerance"),
        uec="ControlPilotStateUnexpected",
        priority=35,
        example="8.5 % in CableCheck.",
    )

    def start(self) -> None:
        tolerance = self.limit("duty_tolerance")
        self.bounds = self.limit("digital_low") - tolerance, self.limit("digital_high") + tolerance

    @on(V2gMessage, only=with_pilot)
    def message(self, ev: V2gMessage) -> None:
        session = self.session
        held = session.pilot
        if held is None or not in_hlc(session) or not is_dc(session) or not has_pwm(held) or math.isnan(held.duty):
            return
        self.arm()
        low, high = self.bounds
        if letter(held.state) in "BCD" and not low <= held.duty <= high and ev.t - held.t >= ns(self.limit("hlc_hold")):
            limit = self.limit("digital_low") if held.duty < low else self.limit("digital_high")
            self.fire(
                [held, ev],
                f"The duty cycle is {held.duty:.1f} % while {ev.message or 'messages'} flows.",
                values={"dutyCycle": Value(round(held.duty, 2), "%", limit, "<" if held.duty < low else ">")},
            )


@register
class DutyVsMaxCurrent(Check):
    """Both channels tell the EV a current; they should be the same one."""

    meta = Meta(
        id="cp-duty-vs-evsemaxcurrent-ac",
        title="Duty cycle and EVSEMaxCurrent contradict each other",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        trigger=(
            "AC with a duty cycle that announces a current: it differs by more than {current_difference} from "
            "EVSEMaxCurrent of ChargingStatusRes for {current_time}"
        ),
        cause="The load management updates one channel only.",
        fix="EVSE: update both, the duty cycle at most every 5 s.",
        refs=("V2G2-853", "V2G2-931"),
        confidence="unconfirmed",
        needs=("pilot",),
        protocols=("iso2",),
        modes=("ac",),
        limits=pilot("current_difference", "current_time"),
        uec="ControlPilotStateUnexpected",
        priority=85,
        example="26.7 % (16 A) on the pilot, 10 A in ChargingStatusRes.",
    )

    def start(self) -> None:
        self.since: V2gMessage | None = None

    @on(V2gMessage, "ChargingStatusRes")
    def status(self, ev: V2gMessage) -> None:
        held = self.session.pilot
        offered = duty_current(held.duty, self.session.duty_table).ampere if held is not None and has_pwm(held) else None
        limit = physical(ev.body.get("EVSEMaxCurrent"))
        if offered is None or limit is None:
            self.since = None
            return
        self.arm()
        if abs(offered - limit) <= self.limit("current_difference"):
            self.since = None
            return
        if self.since is None:
            self.since = ev
        if ev.t - self.since.t >= ns(self.limit("current_time")):
            self.fire(
                [self.since, ev],
                f"The pilot announces {offered:.1f} A, EVSEMaxCurrent is {limit:g} A.",
                values={"pilot": Value(round(offered, 1), "A"), "EVSEMaxCurrent": Value(limit, "A")},
                since=self.since.t,
            )


@register
class CBeforeCpdFinished(Check):
    """Short toggles are not judged: C must hold."""

    meta = Meta(
        id="cp-c-before-cpd-finished",
        title="The EV goes to C before the charge parameters are agreed",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="EVCC",
        trigger=("C or D held for {hlc_hold} in a DC session before ChargeParameterDiscoveryRes with EVSEProcessing Finished"),
        cause="The EV asserts C from the start, or as soon as it sees 5 %.",
        fix="EV software: go to C for CableCheck only; some chargers break off otherwise.",
        refs=("V2G2-916, V2G2-917", "V2G-DC-547"),
        certainty="likely",
        needs=("pilot",),
        modes=("dc",),
        limits=pilot("hlc_hold"),
        uec="ControlPilotStateUnexpected",
        priority=60,
        example="C 2 s after plug-in; the charger reports a fault before CableCheck.",
    )

    def start(self) -> None:
        self.finished = False
        self.early: Pilot | None = None

    @on(V2gMessage, "ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes")
    def parameters(self, ev: V2gMessage) -> None:
        if ev.body.get("EVSEProcessing", "Finished") == "Finished":
            self.finished = True

    @on(V2gMessage, only=with_pilot)
    def message(self, ev: V2gMessage) -> None:
        held = self.session.pilot
        if self.finished or held is None or not in_hlc(self.session) or not is_dc(self.session):
            return
        self.arm()
        if letter(held.state) in "CD" and ev.t - held.t >= ns(self.limit("hlc_hold")):
            self.fire([held, ev], f"The pilot is in {held.state} before ChargeParameterDiscovery has finished.", since=held.t)


@register
class CMissingCableCheck(Check):
    """From the first CableCheckReq."""

    meta = Meta(
        id="cp-c-missing-cablecheck",
        title="The EV is not in C for CableCheck",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger="the pilot is still in B {state_c_after_cablecheck} after the first CableCheckReq",
        cause="The EV's relay or resistor switch does not act, or its controller is slow.",
        fix="Check the EV's inlet electronics; measure the pilot at the inlet during CableCheck.",
        refs=("V2G2-916..918", "V2G-DC-547, V2G-DC-967"),
        needs=("pilot",),
        modes=("dc",),
        limits=pilot("state_c_after_cablecheck"),
        uec="ControlPilotStateUnexpected",
        priority=30,
        example="B2 throughout CableCheck, the EVSE answers FAILED.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None

    @on(V2gMessage, "CableCheckReq", "DC_CableCheckReq")
    def request(self, ev: V2gMessage) -> None:
        if self.first is None:
            self.first = ev
            self.arm()
            if self.session.pilot is not None and letter(self.session.pilot.state) == "B":
                self.at(ev.t + ns(self.limit("state_c_after_cablecheck")), self.overdue)

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if letter(ev.state) != "B":
            self.cancel()

    def overdue(self, t: int) -> None:
        held = self.session.pilot
        if self.first is not None and held is not None and letter(held.state) == "B":
            self.fire(
                [held, self.first],
                f"The pilot is still in {held.state} {self.limit('state_c_after_cablecheck'):g} s after the first CableCheckReq.",
                values={
                    "waited": Value(seconds(t - self.first.t), "s", self.limit("state_c_after_cablecheck"), ">="),
                    "actualValue": Value(held.state),
                    "expectedValue": Value("C2"),
                },
                since=self.first.t,
                t=t,
            )


@register
class CToBMidCharge(Check):
    """Between an accepted PowerDelivery(Start) and a request to stop."""

    meta = Meta(
        id="cp-c-to-b-mid-charge",
        title="The EV drops from C to B while charging",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger=(
            "C2 or D2 to B after PowerDelivery(Start) was accepted, without PowerDeliveryReq(Stop or Renegotiate) "
            "within {stop_before} before or after, and nothing had failed before"
        ),
        cause=("The EV broke off: a time-out of the charge loop, a fault of its battery management, or precharge and battery voltage too far apart."),
        fix=("Look at the last messages and their latency before the edge, and at the precharge voltage; read the EV's log."),
        refs=("V2G2-728", "V2G-DC-668", "IEC 61851-23"),
        gap="uncertain",
        needs=("pilot",),
        limits=pilot("stop_before"),
        uec="ControlPilotStateUnexpected",
        priority=35,
        example="B 0.3 s after the second CurrentDemandReq.",
    )

    def start(self) -> None:
        self.edge: Pilot | None = None
        self.last: V2gMessage | None = None

    @on(V2gMessage, *LOOP, only=never, quiet=("armed",))
    def loop(self, ev: V2gMessage) -> None:
        self.arm()

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        session = self.session
        if letter(ev.state) in "CD":
            self.edge = None  # back again: cp-c-flap
            self.sleep()
        # Without PWM before the edge the EVSE has stopped first and the EV obeys (IEC 61851-1 sequence 10.1).
        dropped = ev.before in ("C2", "D2") and letter(ev.state) == "B"
        if not dropped or not session.delivering or session.ended is not None:
            return
        stopped = session.delivery_stopped
        if stopped is None or ev.t - stopped.t > ns(self.limit("stop_before")):
            self.edge, self.last = ev, session.last_request
            self.wake()

    @on(V2gMessage, "PowerDeliveryReq")
    def stop(self, ev: V2gMessage) -> None:
        # Two clocks, and a pilot that is faster than a message: the stop may come just after the edge.
        if self.edge is not None and ev.t - self.edge.t <= ns(self.limit("stop_before")):
            self.evaluated()
            self.edge = None
            self.sleep()

    @on(V2gMessage, only=never)
    def message(self, ev: V2gMessage) -> None:
        if self.edge is not None and ev.t - self.edge.t > ns(self.limit("stop_before")):
            self._say(None)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        # Silence may be that of the power line's record, which ended before the pilot's.
        heard = ev.how in ("fin", "rst", "session-stop", "new-slac")
        if self.edge is not None:
            self._say(None if heard else "possible")

    def _say(self, certainty: str | None) -> None:
        edge, last = self.edge, self.last
        self.edge = None
        self.sleep()
        if edge is None:
            return
        session = self.session
        before = already_failed(session, edge.t)
        asked = session.stop_asked
        if not before and asked is not None and asked.t < edge.t:
            before = f"{asked.name} asked to stop"
        age = f", {seconds(edge.t - last.t):.2f} s after {last.message}" if last is not None else ""
        self.fire(
            [*([last] if last is not None else []), edge],
            f"The pilot went from {edge.before} to {edge.state} without PowerDelivery(Stop){age}" + (f"; before that: {before}." if before else "."),
            key="after" if before else "",
            values={"actualValue": Value(edge.state), "expectedValue": Value(edge.before)},
            since=last.t if last is not None else None,
            t=edge.t,
            certainty=certainty,
            severity="info" if before else "warning" if certainty else None,
            effect="none" if before else None,
        )
