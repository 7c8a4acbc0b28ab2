"""How the pilot moves: steps through X1, E and F, the way from 5 % to a current, toggles, and an EV that does not let go.

X1 means any state without PWM (IEC 61851-1); X2 with.
"""

from __future__ import annotations

import functools

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import has_pwm, is_digital, is_nominal, letter, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Mme, Pilot
from plugtap.protocols.slac import CmValidateCnf

MAX_EDGES = 32


@register
class EfDurationShort(Check):
    """Both ends of the step must be seen, and a car plugged in before and after."""

    meta = Meta(
        id="cp-ef-duration-short",
        title="An E/F step is too short",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=("B, C or D to E or F and back in less than {T_step_EF} (minus {step_tolerance}) but not less than {ef_time}"),
        cause="The EVSE's timer for the step is wrong; the EV may not see it.",
        fix="EVSE: hold E or F for at least 4 s.",
        refs=("ISO 15118-3 V2G3-M06-05, -07, -09", "V2G3-M07-08"),
        needs=("pilot",),
        limits=pilot("T_step_EF", "step_tolerance", "ef_time"),
        uec="ControlPilotStateUnexpected",
        priority=85,
        example="F for 1.2 s between two attempts.",
    )

    def start(self) -> None:
        self.step: Pilot | None = None

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        step, self.step = self.step, None
        if letter(ev.state) in "EF" and letter(ev.before) in "BCD":
            self.arm()
            self.step = ev
        elif step is not None and letter(ev.state) in "BCD":
            lasted = ev.t - step.t
            if lasted < ns(self.limit("ef_time")):
                return  # a glitch, no step
            if lasted < ns(self.limit("T_step_EF") - self.limit("step_tolerance")):
                self.fire(
                    [step, ev],
                    f"{step.state} lasted {seconds(lasted):.2f} s.",
                    values={"step": Value(seconds(lasted), "s", self.limit("T_step_EF"), "<")},
                    since=step.t,
                )
            else:
                self.evaluated()


@register
class StepX1Short(Check):
    """Only where 5 % turns into a current."""

    meta = Meta(
        id="cp-step-x1-short",
        title="The step without PWM between 5 % and the current is too short",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger=("5 %, then no PWM for less than {T_step_X1} (minus {step_tolerance}), then a duty cycle that announces a current"),
        cause="The EVSE skips the step X1.",
        fix="EVSE: hold X1 for 3 s.",
        refs=("ISO 15118-3 V2G3-M06-06", "IEC 61851-1 sequence 9.2"),
        needs=("pilot",),
        modes=("ac",),
        limits=pilot("T_step_X1", "step_tolerance"),
        uec="ControlPilotStateUnexpected",
        priority=90,
        example="5 %, 0.4 s without PWM, 27 %.",
    )

    def start(self) -> None:
        self.path: list[Pilot] = []

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.path = [*self.path[-2:], ev]
        if len(self.path) < 3:
            return
        digital, off, on_again = self.path
        if is_digital(digital) and off.state.endswith("1") and letter(off.state) in "BCD" and is_nominal(on_again, self.session.duty_table):
            self.arm()
            lasted = on_again.t - off.t
            if lasted < ns(self.limit("T_step_X1") - self.limit("step_tolerance")):
                self.fire(
                    [off, on_again],
                    f"X1 lasted {seconds(lasted):.2f} s.",
                    values={"step": Value(seconds(lasted), "s", self.limit("T_step_X1"), "<")},
                    since=off.t,
                )


@register
class WrongPath(Check):
    """Which way is right depends on whether the EV had begun SLAC."""

    meta = Meta(
        id="cp-digital-to-nominal-wrong-path",
        title="The way from 5 % to the current is the wrong one",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger=(
            "5 % becomes a current without a step, through X1 though no SLAC was seen (E or F is due), or through E "
            "or F though SLAC was running (X1 is due)"
        ),
        cause="The EVSE believes that matching runs, or that it does not.",
        fix="EVSE: report matching only after the first CM_SLAC_PARM.REQ; then X1, else E/F.",
        refs=("ISO 15118-3 V2G3-M06-05, -06, -08",),
        certainty="likely",
        needs=("pilot",),
        modes=("ac",),
        uec="ControlPilotStateUnexpected",
        priority=90,
        example="5 %, X1, 27 % for a car without SLAC: it may not notice.",
    )

    def start(self) -> None:
        self.digital: Pilot | None = None
        self.step: Pilot | None = None
        self.slac: Mme | None = None

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        self.slac = ev

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if is_digital(ev):
            self.digital, self.step = ev, None
        elif letter(ev.state) == "A":
            self.digital = None
        elif not has_pwm(ev):
            if self.step is None or letter(ev.state) in "EF":
                self.step = ev  # E or F on the way counts, whatever X1 follows it
        elif is_nominal(ev, self.session.duty_table) and self.digital is not None:
            digital, step, self.digital = self.digital, self.step, None
            self.arm()
            wrong = self._judge(step)
            if wrong:
                self.fire([digital, *([step] if step else []), ev], wrong, since=digital.t)

    def _judge(self, step: Pilot | None) -> str:
        if step is None:
            return "The duty cycle went from 5 % to a current without a step."
        if letter(step.state) in "EF":
            return f"The EVSE went through {step.state} though SLAC was running." if self.slac is not None else ""
        # that no SLAC was seen proves something only on a tap that hears the EV
        deaf = self.slac is None and not self.session.sees("hears-evcc")
        return "" if self.slac is not None or deaf else "The EVSE went through X1 though no SLAC had been seen."


@register
class C1NotReleased(Check):
    """From the moment the PWM stops while the EV is in C or D."""

    meta = Meta(
        id="cp-c1-not-released",
        title="The EV stays in C after the PWM stopped",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger=(
            "PWM stops in C or D and the EV is not back in B (or unplugged) within {c1_release}; after {c1_forced} the EVSE may open under load"
        ),
        cause="The EV does not react to the loss of the PWM.",
        fix="EV software: open the contactor and go to B within 3 s. EVSE: open after 6 s.",
        refs=("IEC 61851-1 Table A.6 sequence 10.1, 10.2",),
        needs=("pilot",),
        limits=pilot("c1_release", "c1_forced"),
        uec="ControlPilotStateUnexpected",
        priority=75,
        example="C1 for 15 s.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if ev.state in ("C1", "D1") and (ev.before or "").endswith("2"):
            self.arm()
            for name in ("c1_release", "c1_forced"):
                self.at(ev.t + ns(self.limit(name)), functools.partial(self.stayed, ev, name), key=name)
        elif ev.state not in ("C1", "D1"):
            self.cancel("c1_release")
            self.cancel("c1_forced")

    def stayed(self, ev: Pilot, name: str, t: int) -> None:
        """Still C1 or D1."""
        forced = name == "c1_forced"
        self.fire(
            ev,
            f"{ev.state} for {self.limit(name):g} s after the PWM stopped" + ("; the EVSE may now open under load." if forced else "."),
            values={"waited": Value(self.limit(name), "s", self.limit(name), ">=")},
            since=ev.t,
            t=t,
        )


@register
class CFlap(Check):
    """Toggles of a B-C-B sequence are expected and do not count."""

    meta = Meta(
        id="cp-c-flap",
        title="The pilot flaps between B and C",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="EVCC",
        trigger=("{flap_edges} or more B-C edges within {flap_window} that are no B-C-B toggle of {bcb_min} to {bcb_max}"),
        cause="The EV tries and gives up again and again, or the pilot has a loose contact.",
        fix="Inspect the contact; read the EV's log; look at the messages between the edges.",
        refs=("practice",),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("flap_edges", "flap_window", "bcb_min", "bcb_max", "bcb_tolerance"),
        uec="ControlPilotStateUnexpected",
        priority=70,
        example="C for 2 s, B for 1 s, C for 2 s, B.",
    )

    def start(self) -> None:
        self.edges: list[Pilot] = []
        self.said = 0

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if {letter(ev.before), letter(ev.state)} not in ({"B", "C"}, {"B", "D"}):
            return
        self.arm()
        window = ns(self.limit("flap_window"))
        self.edges = [e for e in self.edges[-MAX_EDGES:] if ev.t - e.t <= window] + [ev]
        low, high = self.limit("bcb_min") - self.limit("bcb_tolerance"), self.limit("bcb_max") + self.limit("bcb_tolerance")
        pulses = [b.t - a.t for a, b in zip(self.edges, self.edges[1:], strict=False)]
        toggling = bool(pulses) and all(ns(low) <= pulse <= ns(high) for pulse in pulses)
        if len(self.edges) >= self.limit("flap_edges") and not toggling and ev.t - self.said > window:
            self.said = ev.t
            self.fire(
                self.edges,
                f"{len(self.edges)} changes between B and C within {seconds(ev.t - self.edges[0].t):.1f} s.",
                values={"edges": Value(len(self.edges), "", self.limit("flap_edges"), ">=")},
                since=self.edges[0].t,
            )


class _Toggles(Check):
    """Collects C pulses before the match and before any message: there only a wake-up or a validation toggles."""

    def start(self) -> None:
        self.rise: Pilot | None = None
        self.pulses: list[tuple[Pilot, Pilot]] = []

    def follow(self, ev: Pilot) -> tuple[Pilot, Pilot] | None:
        """The pulse that ended with this change, if it may be a toggle."""
        if letter(ev.before) == "B" and letter(ev.state) == "C":
            self.rise = ev
            return None
        rise, self.rise = self.rise, None
        if rise is None or letter(ev.before) != "C" or letter(ev.state) != "B" or self.session.messages:
            return None
        if ev.t - rise.t > ns(self.limit("bcb_pulse")):
            return None
        self.pulses = [*self.pulses[-MAX_EDGES:], (rise, ev)]
        return rise, ev


@register
class BcbPulseDuration(_Toggles):
    """The C half of a toggle."""

    meta = Meta(
        id="cp-bcb-pulse-duration",
        title="A B-C-B toggle is too short or too long",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger=("before the first message a C of at most {bcb_pulse} that is not {bcb_min} to {bcb_max} long (± {bcb_tolerance})"),
        cause="The EV's timing; a strict EVSE does not count the toggle.",
        fix="EV software: 200 to 400 ms for each state.",
        refs=("ISO 15118-3 Table 3 (TP_EV_vald_state_duration)",),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("bcb_min", "bcb_max", "bcb_tolerance", "bcb_pulse"),
        uec="ControlPilotStateUnexpected",
        priority=85,
        example="C for 90 ms.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        pulse = self.follow(ev)
        if pulse is None:
            return
        self.arm()
        lasted = ev.t - pulse[0].t
        low, high, tolerance = self.limit("bcb_min"), self.limit("bcb_max"), self.limit("bcb_tolerance")
        short = lasted < ns(low - tolerance)
        if short or lasted > ns(high + tolerance):
            self.fire(
                list(pulse),
                f"The EV was in C for {1000 * seconds(lasted):.0f} ms.",
                key="short" if short else "long",
                values={"pulse": Value(seconds(lasted), "s", low if short else high, "<" if short else ">")},
            )


@register
class BcbCount(_Toggles):
    """What the EVSE counted against what the pilot did."""

    meta = Meta(
        id="cp-bcb-count",
        title="The number of B-C-B toggles does not fit",
        severity="info",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger=(
            "the last CM_VALIDATE.CNF of a validation counts another number of toggles than the pilot showed within "
            "{bcb_sequence}, or there were none or more than {bcb_most}"
        ),
        cause="The EVSE missed toggles, the EV made a wrong number, or the EV is at another outlet.",
        fix="Compare with the pilots of the neighbouring outlets.",
        refs=("ISO 15118-3 A.9.3", "Table 3 (C_EV_vald_nb_toggles)"),
        needs=("pilot",),
        limits=pilot("bcb_most", "bcb_sequence", "bcb_pulse"),
        uec="ControlPilotStateUnexpected",
        priority=80,
        example="The EVSE says 0, the pilot toggled twice.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)

    @on(Mme, "CM_VALIDATE.CNF")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmValidateCnf) or body.result not in (2, 3):
            return  # only the second step reports a count
        self.arm()
        window = ns(self.limit("bcb_sequence"))
        toggles = [pulse for pulse in self.pulses if ev.t - pulse[1].t <= window]
        if len(toggles) != body.toggle_num or not 0 < len(toggles) <= self.limit("bcb_most"):
            self.fire(
                [*(edge for pulse in toggles for edge in pulse), ev],
                f"The pilot toggled {len(toggles)} times, CM_VALIDATE.CNF says {body.toggle_num}.",
                values={"toggles": Value(len(toggles)), "ToggleNum": Value(body.toggle_num)},
                since=ev.t - window,
            )
