"""Pilot states that should not be: unplugged, E, F or D while a session runs, and a plug that nobody answers (IEC 61851-1 Table A.6)."""

from __future__ import annotations

import functools

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import already_failed, has_pwm, in_hlc, letter, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot
from plugtap.sessions.session import Session

MAX_PLUGS = 20


def current_flows(session: Session, t: int, limit: float) -> bool:
    """Was a current above `limit` reported within the last second?"""
    el = session.electrical
    return el.i_last is not None and el.t_last is not None and el.i_last > limit and t - el.t_last <= 1_000_000_000


@register
class StateAUnderSession(Check):
    """With current it is cross-unplug-in-session, from B it is cp-b-to-a-before-sessionstop."""

    meta = Meta(
        id="cp-state-a-under-session",
        title="The pilot shows no vehicle in the middle of a session",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="line",
        trigger=("state A from C or D while a V2G session is set up, not stopped and not closed, with at most {current_flows} flowing"),
        cause="The plug was pulled, the latch did not hold, or the pilot wire is broken.",
        fix="Check lock and latch, and the pilot wire while the cable is moved; EVSE: the contactor must open.",
        refs=("IEC 61851-1 Table A.6 sequence 2.1, 2.2",),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("current_flows"),
        uec="ControlPilotStateUnexpected",
        mrec="CX026",
        priority=20,
        example="C2, then A in the middle of PreCharge.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if not in_hlc(self.session):
            return
        self.arm()
        if letter(ev.state) == "A" and letter(ev.before) in "CD" and not current_flows(self.session, ev.t, self.limit("current_flows")):
            self.fire(
                ev,
                f"The pilot went from {ev.before} to {ev.state} without SessionStop.",
                values={"actualValue": Value(ev.state), "expectedValue": Value(ev.before)},
            )


@register
class UnplugInSession(Check):
    """Current by the last CurrentDemandRes (or loop response) within a second."""

    meta = Meta(
        id="cross-unplug-in-session",
        title="Unplugged while current flowed",
        severity="error",
        class_="normative",
        effect="unsafe",
        side="line",
        trigger="state A while the last response, at most 1 s old, reported more than {current_flows}",
        cause="The connector is not locked, the latch is broken, or the pilot wire broke.",
        fix=("Take the outlet out of service until lock and latch are checked; check the pilot wire while the cable is moved."),
        refs=("IEC 61851-1 Table A.6", "IEC 61851-23"),
        gap="proceed",
        needs=("pilot",),
        modes=("dc",),
        limits=pilot("current_flows"),
        uec="ControlPilotStateUnexpected",
        mrec="CX001",
        priority=10,
        example="A at 80 A.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if self.session.ended is not None:
            return
        self.arm()
        if letter(ev.state) == "A" and current_flows(self.session, ev.t, self.limit("current_flows")):
            current = self.session.electrical.i_last or 0.0
            self.fire(
                ev,
                f"The pilot went to A while {current:g} A were reported.",
                values={"current": Value(current, "A", self.limit("current_flows"), ">")},
            )


@register
class UnplugWithoutStop(Check):
    """The driver's right; said because it explains the end."""

    meta = Meta(
        id="cp-b-to-a-before-sessionstop",
        title="Unplugged before SessionStop",
        severity="info",
        class_="heuristic",
        effect="none",
        side="user",
        trigger=("state A from B while a V2G session is set up, without SessionStop, FIN or RST, at most {dialogue_alive} after its last message"),
        cause="The driver pulled the plug, or used the emergency release.",
        fix="None; if nobody pulled it, check the pilot wire.",
        refs=("V2G-DC-962",),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("dialogue_alive"),
        uec="ControlPilotStateUnexpected",
        priority=70,
        example="Unplugged while waiting for authorisation.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if not in_hlc(self.session) or self.session.closes:
            return
        self.arm()
        # The dialogue must have been alive until then, else it is the power line's record that ended.
        last = self.session.history[-1].t if self.session.history else None
        if letter(ev.state) == "A" and letter(ev.before) == "B" and last is not None and ev.t - last <= ns(self.limit("dialogue_alive")):
            self.fire(ev, f"The pilot went from {ev.before} to A without SessionStop.")


@register
class StateD(Check):
    """D is allowed: only said."""

    meta = Meta(
        id="cp-state-d-unexpected",
        title="The EV asks for ventilation (state D)",
        severity="info",
        class_="info",
        effect="none",
        side="EVCC",
        trigger="state D for {d_time}",
        cause="The EV asks for ventilation, or something resistive lies parallel to the pilot.",
        fix=("EVSE without ventilation: do not energise. If the car has no gassing battery, look for leakage on the pilot."),
        refs=("IEC 61851-1 Table A.4",),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("d_time"),
        uec="ControlPilotStateNotSupported",
        priority=85,
        example="2.9 V for 2 s.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.cancel()
        self.arm()
        if letter(ev.state) == "D":
            self.at(ev.t + ns(self.limit("d_time")), functools.partial(self.lasted, ev))

    def lasted(self, ev: Pilot, t: int) -> None:
        """D has held."""
        self.fire(ev, f"The pilot is in {ev.state} ({ev.hi_mv / 1000:.2f} V).", t=t)


class _FaultState(Check):
    """E or F while a session runs; before set-up they are wake-up steps, after an end they are orderly."""

    which = ""

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.cancel()
        if not in_hlc(self.session):
            return
        self.arm()
        if letter(ev.state) == self.which and letter(ev.before) != "A":
            running = self.session.last_request.message if self.session.last_request is not None else None
            self.at(ev.t + ns(self.limit("ef_time")), functools.partial(self.lasted, ev, running))

    def lasted(self, ev: Pilot, running: str | None, t: int) -> None:
        """The state has held long enough."""
        before = already_failed(self.session, ev.t)
        during = f" during {running.removesuffix('Req')}" if running else ""
        self.fire(
            ev,
            f"The pilot went from {ev.before} to {ev.state}{during}" + (f", after {before}." if before else "."),
            key="after" if before else "",
            values={"actualValue": Value(ev.state), "expectedValue": Value(ev.before), "voltagePositive": Value(ev.hi_mv / 1000, "V")},
            t=t,
            severity="info" if before else None,
            effect="none" if before else None,
        )


@register
class StateE(_FaultState):
    """0 V without PWM."""

    which = "E"
    meta = Meta(
        id="cp-state-e",
        title="The pilot is at 0 V (state E) in a session",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=("state E for {ef_time} while a V2G session is set up, not stopped and not closed, and nothing had failed before"),
        cause="Pilot shorted to PE, the EVSE lost its supply, or the cable is cut.",
        fix=("Check the cable and the connector for a short between pilot and PE; check the EVSE's supply at that moment."),
        refs=("IEC 61851-1 Table A.4", "V2G2-728"),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("ef_time"),
        uec="ControlPilotStateUnexpected",
        mrec="CX014",
        priority=20,
        example="0.1 V while charging at 100 A.",
    )


@register
class StateF(_FaultState):
    """-12 V without PWM."""

    which = "F"
    meta = Meta(
        id="cp-state-f",
        title="The EVSE takes the pilot to -12 V (state F) in a session",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=("state F for {ef_time} while a V2G session is set up, not stopped and not closed, and nothing had failed before"),
        cause="The EVSE signals that it is not available: an internal fault.",
        fix="Read the EVSE's log at this time; look for an EVSEStatusCode before it.",
        refs=("IEC 61851-1 Table A.4", "V2G2-728"),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("ef_time"),
        uec="ControlPilotStateUnexpected",
        mrec="CX014",
        priority=20,
        example="-12 V in the middle of CableCheck.",
    )


@register
class PlugNoResponse(Check):
    """From the plug-in; a capture that begins with a plug in place is not judged."""

    meta = Meta(
        id="cp-plug-no-response",
        title="The EVSE does not start after plug-in",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        trigger="B1 from A for {plug_info} (info) or {plug_warning} (warning) without PWM",
        cause="The EVSE waits for authorisation before it begins, or is out of service.",
        fix="Check the EVSE's state and whether somebody authorised.",
        refs=("ISO 15118-4 par_SECC_B1_B2_Timeout", "ChargeX test plan"),
        confidence="corrected",
        needs=("pilot",),
        limits=pilot("plug_info", "plug_warning"),
        priority=80,
        example="B1 for 40 s until a card is shown.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if ev.state == "B1" and letter(ev.before) == "A":
            self.arm()
            for name, severity in (("plug_info", "info"), ("plug_warning", "warning")):
                self.at(ev.t + ns(self.limit(name)), functools.partial(self.waited, ev, name, severity), key=name)
        elif has_pwm(ev) or letter(ev.state) != "B":
            self.cancel("plug_info")
            self.cancel("plug_warning")

    def waited(self, ev: Pilot, name: str, severity: str, t: int) -> None:
        """Still B1."""
        self.fire(
            ev,
            f"B1 for {seconds(t - ev.t):g} s without PWM.",
            key=name,
            values={"waited": Value(seconds(t - ev.t), "s", self.limit(name), ">=")},
            since=ev.t,
            t=t,
            severity=severity,
        )
