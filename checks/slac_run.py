"""SLAC as a whole: restarts, duration, and SLAC in the middle of a session (ISO 15118-3 clause 9)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import SECOND, ns, seconds, slac
from plugtap.checks.slac_match import talks
from plugtap.checks.tcp_connection import sender
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import CmSlacParmReq
from plugtap.sessions.notices import NewAttempt, SessionEnded

LONG_PAUSE_NS = 5 * SECOND  # after this much silence the reason is a guess


@register
class Restart(Check):
    """Also says how far the run before had come."""

    meta = Meta(
        id="slac-restart",
        title="The EV starts SLAC again",
        severity="info",
        class_="info",
        effect="none",
        side="unknown",
        trigger=(
            "another CM_SLAC_PARM.REQ of the same EV within {restart_window} of its last one, after sounding had "
            "begun, after the match, or after more than 3 s"
        ),
        cause=("The run before failed or the EV reset its modem (known behaviour of some cars); the other findings of that run say why."),
        fix="EVSE: accept a new run at any time before the link is up.",
        refs=("ISO 15118-3 V2G3-A09-16, V2G3-A09-124, V2G3-A09-125",),
        gap="proceed",
        limits=slac("restart_window"),
        uec="SLACSequenceError",
        priority=80,
        example="First run without CM_ATTEN_CHAR.RSP, second run matches.",
    )

    def start(self) -> None:
        self.last: Mme | None = None
        self.stage = ""

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        last = self.last
        if ev.what == "slac" and last is not None and ev.t - last.t <= ns(self.limit("restart_window")):
            self.fire(
                ev,
                f"SLAC began again after {seconds(ev.t - last.t):.1f} s; the run before had come to {self.stage or last.name}.",
                values={"attempt": Value(ev.number), "after": Value(seconds(ev.t - last.t), "s")},
                frames=(last.frame,),
            )

    @on(Mme)
    def message(self, ev: Mme) -> None:
        if isinstance(ev.body, CmSlacParmReq):
            self.arm()
            self.last = ev
        if ev.name.startswith(("CM_SLAC", "CM_START", "CM_MNBC", "CM_ATTEN_CHAR", "CM_VALIDATE")):
            self.stage = ev.name


@register
class RestartStorm(Check):
    """Restarts in a row before any match."""

    meta = Meta(
        id="slac-restart-storm",
        title="The EV starts SLAC again and again",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="unknown",
        trigger="{storm} restarts within {restart_window} without a match and without IP traffic of the pair",
        cause="Each run fails in the same way: the first finding of a run says where.",
        fix="Look at the findings of the single runs; if all look well, check which EVSE this car answers to (cross-talk).",
        refs=("ISO 15118-3 V2G3-A09-124, V2G3-A09-125",),
        gap="uncertain",
        limits=slac("storm", "restart_window"),
        uec="SLACSequenceError",
        priority=55,
        example="Four runs within 40 s, none matches.",
    )

    def start(self) -> None:
        self.restarts: list[NewAttempt] = []

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        self.arm()

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def matched(self, ev: Mme) -> None:
        self.restarts = []

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        if ev.what != "slac" or talks(self.session):
            return
        window = ns(self.limit("restart_window"))
        self.restarts = [r for r in self.restarts if ev.t - r.t <= window] + [ev]
        if len(self.restarts) >= self.limit("storm"):
            self.fire(
                self.restarts,
                f"{len(self.restarts)} restarts of SLAC within {seconds(ev.t - self.restarts[0].t):.0f} s and no match.",
                values={"restarts": Value(len(self.restarts), "", self.limit("storm"), ">=")},
                since=self.restarts[0].t,
            )


@register
class InMatched(Check):
    """The tracker ends the running session at such a request; this says why."""

    meta = Meta(
        id="slac-in-matched",
        title="The EV starts SLAC in the middle of a session",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger=("CM_SLAC_PARM.REQ from the EV of a session that was set up and not stopped, nothing unanswered before it"),
        cause=("The EV left the session without closing it: its controller gave up or reset. Or the capture misses the end."),
        fix=("Look at the last messages before it: a time-out of the EV or a loss of the power line signal; check the car's log."),
        refs=("ISO 15118-5 CmSlacParm tests",),
        gap="proceed",
        certainty="likely",
        uec="SLACSequenceError",
        priority=90,
        example="Charging at 40 A, then CM_SLAC_PARM.REQ of the same car.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        last = self.session.last_segment
        if not self.session.setup_ok or last is None:
            return
        self.arm()
        pause = ev.t - last.t
        # negative: the capture's clock was set back in between
        if ev.how == "new-slac" and pause >= 0 and not self.session.repeats:
            self.fire(
                [last, ev],
                f"The EV sent CM_SLAC_PARM.REQ {seconds(pause):.1f} s after the last frame of the dialogue.",
                values={"pause": Value(seconds(pause), "s")},
                since=last.t,
                certainty="possible" if pause > LONG_PAUSE_NS else None,
            )


@register
class LinkLost(Check):
    """The pair fell silent in a session and came back with SLAC."""

    meta = Meta(
        id="slac-link-lost",
        title="The peer vanished: link lost or switched off",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="unknown",
        trigger=(
            "a session that was set up and not stopped ends in {vain_repeats} or more repeats of a TCP segment "
            "without any data in return, then silence or SLAC again"
        ),
        cause=(
            "The power line signal collapsed (disturbance from the power stage, a loose contact, the plug pulled), "
            "or the peer's modem or controller was switched off."
        ),
        fix=(
            "Look whether the EVSE switched itself off at that moment (its log, the pilot); else compare it with the "
            "current ramp, check connector, shield and PLC coupling."
        ),
        refs=("ISO 15118-3 (TT_link_status_response 5 s)",),
        certainty="likely",
        limits=slac("vain_repeats"),
        uec="PLCLinkLost",
        priority=34,
        example="CurrentDemandReq repeated three times, 12 s of silence, CM_SLAC_PARM.REQ.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if not self.session.setup_ok:
            return
        self.arm()
        repeats = self.session.repeats
        if ev.how in ("new-slac", "silence") and len(repeats) >= self.limit("vain_repeats"):
            first, last = repeats[0], repeats[-1]
            left = self.session.cp_lost is not None and self.session.cp_lost[1] <= first.t  # the pilot had told before that it is over
            self.fire(
                repeats,
                f"The {sender(self.session, first)} sent its last segment {len(repeats)} times more within {seconds(last.t - first.t):.1f} s; "
                "its peer did not even acknowledge it, then silence.",
                values={"repeats": Value(len(repeats), "", self.limit("vain_repeats"), ">=")},
                since=first.t,
                t=last.t,
                effect="none" if left else None,
            )


@register
class SlacDuration(Check):
    """All attempts together."""

    meta = Meta(
        id="slac-duration",
        title="SLAC took long",
        severity="info",
        class_="performance",
        effect="degrades",
        side="unknown",
        trigger="more than {slow_slac} from the first CM_SLAC_PARM.REQ to CM_SLAC_MATCH.CNF",
        cause="Retries; the other findings say where they come from.",
        fix="See the findings of the single steps.",
        refs=("practice",),
        gap="proceed",
        limits=slac("slow_slac"),
        uec="SLACTimeout",
        priority=90,
        example="Two runs, 14 s until the match.",
    )

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def matched(self, ev: Mme) -> None:
        first = self.session.slac.first_parm_req
        if first is None:
            return
        self.arm()
        if ev.t - first > ns(self.limit("slow_slac")):
            self.fire(
                ev,
                f"{seconds(ev.t - first):.1f} s from the first request to the match.",
                values={"duration": Value(seconds(ev.t - first), "s", self.limit("slow_slac"), ">")},
            )
