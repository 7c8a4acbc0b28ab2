"""SLAC against the control pilot: does the EV begin at all, in time, and only when it may (ISO 15118-3 clause 7, IEC 61851-1)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import is_digital, letter
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds, slac
from plugtap.protocols.events import Mme, Pilot


class _SinceDigital(Check):
    """Keeps the time of the last change to 5 % PWM of this plug; None while another pilot state holds."""

    def start(self) -> None:
        self.digital: Pilot | None = None
        self.stepped: Pilot | None = None  # E, F or X1 seen since the plug-in after a first 5 %
        self.requests: list[Mme] = []

    def follow(self, ev: Pilot) -> None:
        """Take a pilot change in."""
        if is_digital(ev) and letter(ev.state) in "BCD":
            if self.digital is None:
                self.digital = ev
        else:
            if self.digital is not None and letter(ev.state) != "A":
                self.stepped = ev
            self.digital = None


@register
class NoParmReq(_SinceDigital):
    """Armed by 5 % PWM; any sign of SLAC disarms it."""

    meta = Meta(
        id="slac-no-parm-req",
        title="No SLAC after 5 % PWM",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger="5 % PWM in B, C or D for {TT_EVSE_SLAC_init} without one CM_SLAC_PARM.REQ on a tap that hears the EV",
        cause="The EV sleeps, has no digital communication, or its power line signal does not reach the EVSE.",
        fix=(
            "EVSE: try the wake-up step (E/F for 4 s, twice), then basic charging for AC. "
            "On site: check the PLC coupling to the pilot wire; try another car."
        ),
        refs=("ISO 15118-3 V2G3-M06-07", "Table A.1 (TT_EVSE_SLAC_init 20..50 s)"),
        certainty="likely",
        needs=("pilot", "host"),
        limits=slac("TT_EVSE_SLAC_init"),
        uec="SLACTimeout",
        priority=40,
        example="A plug-in hybrid without ISO 15118 at an AC charger that offers 5 % first.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)
        if self.digital is ev and not self.requests:
            self.arm()
            self.at(ev.t + ns(self.limit("TT_EVSE_SLAC_init")), self.overdue)
        elif self.digital is None:
            self.cancel()

    @on(Mme, "CM_SLAC_PARM.REQ", "CM_SLAC_PARM.CNF", "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND", "CM_ATTEN_CHAR.IND")
    def slac_seen(self, ev: Mme) -> None:
        if self.digital is not None and not self.requests:
            self.evaluated()
        self.requests = [ev]
        self.cancel()

    def overdue(self, t: int) -> None:
        start = self.digital
        if start is not None and not self.session.messages:
            self.fire(
                start,
                f"5 % PWM for {seconds(t - start.t):.0f} s and no CM_SLAC_PARM.REQ.",
                since=start.t,
                values={"waited": Value(seconds(t - start.t), "s", self.limit("TT_EVSE_SLAC_init"), ">=")},
            )


@register
class ParmLate(_SinceDigital):
    """From 5 % PWM to the first request of the plug."""

    meta = Meta(
        id="slac-parm-late",
        title="The EV begins SLAC late",
        severity="info",
        class_="performance",
        effect="none",
        side="EVCC",
        trigger="more than {TP_EV_SLAC_init} from 5 % PWM to the first CM_SLAC_PARM.REQ",
        cause="The EV's communication controller wakes up slowly (up to 30 s is known).",
        fix="EVSE: wait 40 to 50 s for SLAC before falling back to basic charging.",
        refs=("ISO 15118-3 Table A.1 (TP_EV_SLAC_init)",),
        needs=("pilot",),
        limits=slac("TP_EV_SLAC_init"),
        uec="SLACTimeout",
        priority=85,
        example="5 % PWM at 3 s, the first request at 31 s.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        first, start = not self.requests, self.digital
        self.requests = [ev]
        if not first or start is None or self.stepped is not None:
            return
        self.arm()
        delay = ev.t - start.t
        if delay > ns(self.limit("TP_EV_SLAC_init")):
            self.fire(
                [start, ev],
                f"The first CM_SLAC_PARM.REQ came {seconds(delay):.1f} s after 5 % PWM.",
                since=start.t,
                values={"delay": Value(seconds(delay), "s", self.limit("TP_EV_SLAC_init"), ">")},
            )


@register
class LateAfterStep(_SinceDigital):
    """The start that follows an E, F or X1 step only; merged with the question whether a wake-up was needed."""

    meta = Meta(
        id="slac-late-after-ef",
        title="The EV begins SLAC only after a step of the pilot, and late",
        severity="info",
        class_="implementation",
        effect="none",
        side="EVCC",
        trigger=("first CM_SLAC_PARM.REQ {late_ef_min} to {late_ef_max} after 5 % PWM, which itself followed an E, F or X1 step"),
        cause="The EV waits for a timer of its own after a failed session (seen with cars of the VW group).",
        fix="EVSE: wait at least 40 s for SLAC after the step.",
        refs=("EVerest issue 1501",),
        needs=("pilot",),
        limits=slac("late_ef_min", "late_ef_max"),
        priority=85,
        example="5 %, 8 s of silence, F for 4 s, 5 % again, the first request 22 s later.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        first, start, step = not self.requests, self.digital, self.stepped
        self.requests = [ev]
        if not first or start is None or step is None:
            return
        self.arm()
        delay = ev.t - start.t
        if ns(self.limit("late_ef_min")) <= delay <= ns(self.limit("late_ef_max")):
            self.fire(
                [step, start, ev],
                f"SLAC began {seconds(delay):.1f} s after 5 % PWM came back from {step.state}.",
                since=step.t,
                values={"delay": Value(seconds(delay), "s", self.limit("late_ef_min"), ">=")},
            )


@register
class WakeupNeeded(_SinceDigital):
    """5 % without SLAC, a step, 5 % again and then SLAC."""

    meta = Meta(
        id="cp-wakeup-needed",
        title="The EV needed a wake-up step of the pilot",
        severity="info",
        class_="heuristic",
        effect="none",
        side="EVCC",
        trigger="5 % PWM without CM_SLAC_PARM.REQ, then an E, F or X1 step, then SLAC",
        cause="The EV's communication controller was asleep, for example after a pause.",
        fix="EVSE: keep the wake-up sequence: E/F for at least 4 s, then 0.5 to 1 s of X1 before 5 %.",
        refs=("IEC 61851-1 A.5.3",),
        needs=("pilot",),
        uec="ControlPilotStateUnexpected",
        priority=85,
        example="B2 for 20 s, F for 4 s, B1, B2: the EV answers.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        first, step = not self.requests, self.stepped
        self.requests = [ev]
        if first and self.digital is not None:
            self.arm()
            if step is not None:
                self.fire(
                    [step, self.digital, ev],
                    f"SLAC began only after the pilot had gone to {step.state} and back.",
                    since=step.t,
                )


@register
class FirstParmBeforeReady(_SinceDigital):
    """The very first request, if it is fast and stays without an answer."""

    meta = Meta(
        id="slac-first-parm-before-evse-ready",
        title="The EV asks before the EVSE listens",
        severity="info",
        class_="implementation",
        effect="none",
        side="SECC",
        trigger="first CM_SLAC_PARM.REQ within {fast_ev} of 5 % PWM, not answered within {TT_match_response}",
        cause="The EVSE switches the PWM on before its SLAC software is ready; fast EVs ask at once.",
        fix="EVSE: arm SLAC first, or switch the PWM on 0.5 s later.",
        refs=("everest-core EvseManager manifest",),
        needs=("pilot", "hears-secc"),
        limits=slac("fast_ev", "TT_match_response"),
        priority=70,
        example="Request 40 ms after the PWM, answer only to the repeat.",
    )

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.follow(ev)

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        first, start = not self.requests, self.digital
        self.requests.append(ev)
        del self.requests[1:]
        if first and start is not None:
            self.arm()
            if ev.t - start.t <= ns(self.limit("fast_ev")):
                self.at(ev.t + ns(self.limit("TT_match_response")), self.overdue)

    @on(Mme, "CM_SLAC_PARM.CNF")
    def answer(self, ev: Mme) -> None:
        self.cancel()

    def overdue(self, t: int) -> None:
        ev, start = self.requests[0], self.digital
        if start is not None:
            self.fire(
                [start, ev],
                f"CM_SLAC_PARM.REQ {1000 * seconds(ev.t - start.t):.0f} ms after 5 % PWM was not answered.",
                since=ev.t,
                values={"delay": Value(seconds(ev.t - start.t), "s", self.limit("fast_ev"), "<=")},
            )


@register
class WithoutDigitalDuty(Check):
    """State A is cross-talk and has its own check (cross-sdp-no-cp)."""

    meta = Meta(
        id="slac-without-digital-duty",
        title="SLAC while the pilot is in E or F",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="CM_SLAC_PARM.REQ while this connector's pilot is in E or F",
        cause="The EV belongs to another connector whose signal leaks over, or does not watch the pilot.",
        fix="Compare with the other connectors' pilots at this time; check the shielding between outlets.",
        refs=("ISO 15118-3 V2G3-M06-13, V2G3-A09-123",),
        needs=("pilot",),
        gap="proceed",
        certainty="likely",
        pairs="any",
        uec="SLACSequenceError",
        priority=75,
        example="A request 1 s after the EVSE went to F: it is the neighbour's car.",
    )

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        pilot = self.session.pilot
        if pilot is None:
            return
        self.arm()
        if letter(pilot.state) in "EF":
            self.fire(
                [pilot, ev],
                f"CM_SLAC_PARM.REQ while the pilot is in {pilot.state}.",
                values={"state": Value(pilot.state, "", "B, C or D", "not in")},
            )
