"""When the oscillator stops: after SessionStop, not before, and before a close that follows a failure."""

from __future__ import annotations

import functools

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import already_failed, has_pwm, in_hlc, letter, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot, Tcp, V2gMessage


class _Oscillator(Check):
    """Shared by the three checks of when the PWM stops."""

    def held_on(self) -> Pilot | None:
        """The pilot, if it oscillates with a car in."""
        held = self.session.pilot
        return held if held is not None and has_pwm(held) and letter(held.state) in "BCD" else None


@register
class OscillatorOffLate(_Oscillator):
    """DIN has a number; ISO 15118-2 has none, so it is not judged there."""

    meta = Meta(
        id="cp-oscillator-off-late",
        title="The PWM goes on after SessionStop",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="DIN: PWM still on {oscillator_retain} after SessionStopRes",
        cause="The EVSE leaves the oscillator running; the EV may start SLAC again.",
        fix="EVSE: switch to X1 within 1.5 s after SessionStopRes.",
        refs=("V2G-DC-968", "DIN 70121 Table 77 (V2G_SECC_CPOscillator_Retain_Time)"),
        needs=("pilot",),
        protocols=("din",),
        modes=("dc",),
        limits=pilot("oscillator_retain"),
        uec="ControlPilotStateUnexpected",
        priority=90,
        example="5 % for 30 s after the stop.",
    )

    @on(V2gMessage, "SessionStopRes")
    def stopped(self, ev: V2gMessage) -> None:
        if self.session.protocol == "din" and self.held_on() is not None:
            self.arm()
            self.at(ev.t + ns(self.limit("oscillator_retain")), functools.partial(self.overdue, ev))

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if not has_pwm(ev):
            self.cancel()

    def overdue(self, ev: V2gMessage, t: int) -> None:
        """Still oscillating?"""
        held = self.held_on()
        if held is not None:
            self.fire(
                [ev, held],
                f"PWM of {held.duty:.1f} % {self.limit('oscillator_retain'):g} s after SessionStopRes.",
                values={"waited": Value(seconds(t - ev.t), "s", self.limit("oscillator_retain"), ">=")},
                since=ev.t,
                t=t,
            )


@register
class OscillatorOffEarly(_Oscillator):
    """E and F have checks of their own; a plug pulled right after is no reason to blame the EVSE."""

    meta = Meta(
        id="cp-oscillator-off-early",
        title="The PWM stops while the session is open",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "PWM goes off (X1) for {off_reason} while a V2G session is set up, not stopped and not closed, nothing "
            "had failed, and no message had asked to stop"
        ),
        cause=("An internal error of the EVSE, or its software treats the session as basic charging after authorisation."),
        fix=("EVSE: say it in EVSEStatusCode or EVSENotification first, then change the pilot; keep 5 % while messages flow."),
        refs=("V2G2-852", "ISO 15118-3 V2G3-M06, V2G3-M07"),
        needs=("pilot",),
        limits=pilot("off_reason"),
        uec="ControlPilotStateUnexpected",
        priority=35,
        example="C2 to C1 in the middle of CurrentDemand.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if has_pwm(ev) or letter(ev.state) not in "BCD":
            self.cancel()
        if not in_hlc(self.session):
            return
        self.arm()
        session = self.session
        off = ev.state in ("B1", "C1", "D1") and (ev.before or "").endswith("2")
        if off and not already_failed(session, ev.t) and session.stop_asked is None:
            self.at(ev.t + ns(self.limit("off_reason")), functools.partial(self.stayed_off, ev))

    def stayed_off(self, ev: Pilot, t: int) -> None:
        """No unplugging and no PWM since."""
        session = self.session
        if not in_hlc(session):
            return
        last = session.last_request
        asked = session.stop_asked
        self.fire(
            [*([last] if last is not None else []), ev],
            f"The PWM stopped ({ev.before} to {ev.state}) with the session open"
            + (f" and before {asked.name} asked to stop." if asked is not None else f", after {last.message}." if last is not None else "."),
            key="stop" if asked is not None else "",
            values={"actualValue": Value(ev.state), "expectedValue": Value(ev.before)},
            since=ev.t,
            t=ev.t,
            severity="info" if asked is not None else None,
            effect="none" if asked is not None else None,
        )


@register
class OscillatorOnAtFailedClose(_Oscillator):
    """Order of the shutdown as the conformance tests want it."""

    meta = Meta(
        id="cp-oscillator-on-at-failed-close",
        title="The EVSE closes after a failure with the PWM still on",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="after a FAILED response the SECC sends FIN or RST while 5 % PWM is on",
        cause="The EVSE shuts down in the wrong order.",
        fix="EVSE: stop the oscillator, then close TCP.",
        refs=("V2G2-034, V2G2-539", "ISO 15118-4 TC_SECC"),
        needs=("pilot",),
        protocols=("iso2",),
        uec="ControlPilotStateUnexpected",
        priority=90,
        example="FAILED_SequenceError, FIN, and 5 % for another minute.",
    )

    def start(self) -> None:
        self.said = False

    @on(Tcp, "fin", "rst")
    def closed(self, ev: Tcp) -> None:
        session = self.session
        failed, held = session.failed_response, self.held_on()
        sender = ev.a if ev.from_a else ev.b
        if self.said or failed is None or session.protocol != "iso2" or sender.ip != session.secc_ip:
            return
        self.said = True
        self.arm()
        if held is not None:
            self.fire(
                [held, ev],
                f"The SECC sent {ev.kind.upper()} after {failed.name} {failed.code} with {held.duty:.1f} % PWM on.",
                frames=(failed.frame,),
                since=failed.t,
            )
