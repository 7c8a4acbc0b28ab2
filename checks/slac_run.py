"""SLAC as a whole: restarts, duration, and what should follow the match (ISO 15118-3 clause 9, ISO 15118-2 8.7)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import is_nominal, letter
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import SECOND, ns, seconds, slac
from plugtap.checks.slac_match import talks
from plugtap.checks.tcp_connection import sender
from plugtap.protocols.events import Mme, Neighbor, Pilot, Sdp, Tcp, V2gMessage
from plugtap.protocols.slac import CmSlacParmReq
from plugtap.sessions.notices import NewAttempt, SessionEnded

KEPT = 8
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


class _Dialogue(Check):
    """Knows when the pair's last IP frame was (what a host says to its own modem does not count), and which segments it repeated in vain."""

    def start(self) -> None:
        self.last: Tcp | V2gMessage | None = None
        self.repeats: list[Tcp] = []

    @on(Tcp)
    def segment(self, ev: Tcp) -> None:
        self.last = ev
        if ev.kind == "data" or (self.repeats and ev.from_a != self.repeats[0].from_a):
            self.repeats = []  # the peer is there, whatever it says
        if ev.kind == "retransmission":
            self.repeats = [*self.repeats[-KEPT:], ev]

    @on(V2gMessage)
    def message(self, ev: V2gMessage) -> None:
        self.last = ev


@register
class InMatched(_Dialogue):
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
        last = self.last
        if not self.session.setup_ok or last is None:
            return
        self.arm()
        pause = ev.t - last.t
        # negative: the capture's clock was set back in between
        if ev.how == "new-slac" and pause >= 0 and not self.repeats:
            self.fire(
                [last, ev],
                f"The EV sent CM_SLAC_PARM.REQ {seconds(pause):.1f} s after the last frame of the dialogue.",
                values={"pause": Value(seconds(pause), "s")},
                since=last.t,
                certainty="possible" if pause > LONG_PAUSE_NS else None,
            )


@register
class LinkLost(_Dialogue):
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
        priority=40,
        example="CurrentDemandReq repeated three times, 12 s of silence, CM_SLAC_PARM.REQ.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if not self.session.setup_ok:
            return
        self.arm()
        if ev.how in ("new-slac", "silence") and len(self.repeats) >= self.limit("vain_repeats"):
            first, last = self.repeats[0], self.repeats[-1]
            self.fire(
                self.repeats,
                f"The {sender(self.session, first)} sent its last segment {len(self.repeats)} times more within {seconds(last.t - first.t):.1f} s; "
                "its peer did not even acknowledge it, then silence.",
                values={"repeats": Value(len(self.repeats), "", self.limit("vain_repeats"), ">=")},
                since=first.t,
                t=last.t,
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


class _AfterMatch(Check):
    """Armed by the match; frames of the pair after it disarm it."""

    def start(self) -> None:
        self.matched: Mme | None = None

    def wait(self, ev: Mme, limit: str) -> None:
        """Begin to wait; repeats of the confirmation do not extend it."""
        if self.matched is None and not talks(self.session):
            self.matched = ev
            self.arm()
            self.at(ev.t + ns(self.limit(limit)), self.overdue)

    def seen(self) -> None:
        """What was waited for has come."""
        if self.matched is not None:
            self.evaluated()
        self.cancel()

    def overdue(self, t: int) -> None:
        """It did not come."""
        raise NotImplementedError

    def late(self, t: int, detail: str, limit: str) -> None:
        """Fire."""
        if self.matched is not None:
            self.fire(
                self.matched,
                detail,
                values={"waited": Value(seconds(t - self.matched.t), "s", self.limit(limit), ">=")},
                since=self.matched.t,
                t=t,
            )


@register
class LinkNotUp(_AfterMatch):
    """Nothing at all of the EV after the match, where it would have been heard."""

    meta = Meta(
        id="slac-link-not-up",
        title="No link after the match",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="unknown",
        trigger="no frame of the EV within {TT_match_join} of CM_SLAC_MATCH.CNF, on a tap at the EVSE's modem",
        cause="The EV's modem did not take the key, restarts slowly (5 s and more), or the signal is too weak.",
        fix="Check the EV modem's firmware and the attenuation; EVSE: keep 12 s for the link to come up.",
        refs=("ISO 15118-3 Table A.1 (TT_match_join)",),
        certainty="likely",
        needs=("host",),
        limits=slac("TT_match_join"),
        uec="PLCLinkDetectionTimeout",
        priority=40,
        example="Match at 3 s, nothing of the car until unplugging.",
    )

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def match_answer(self, ev: Mme) -> None:
        self.wait(ev, "TT_match_join")

    @on(Mme, "CM_SLAC_PARM.REQ", "CM_SLAC_MATCH.REQ", "CM_AMP_MAP.REQ", "CM_AMP_MAP.CNF")
    def mme_seen(self, ev: Mme) -> None:
        if self.matched is not None and ev.src == self.session.evcc_mac:
            self.seen()

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        if ev.src_mac == self.session.evcc_mac:
            self.seen()

    @on(Sdp)
    def sdp(self, ev: Sdp) -> None:
        self.seen()

    def overdue(self, t: int) -> None:
        if not talks(self.session) and not _basic(self.session.pilot):
            self.late(t, f"No frame of the EV for {self.limit('TT_match_join'):g} s after CM_SLAC_MATCH.CNF.", "TT_match_join")


@register
class NoSdpAfterMatch(_AfterMatch):
    """The EV is there (IPv6 or MMEs were seen) but does not look for the SECC; without any sign it is slac-link-not-up."""

    meta = Meta(
        id="slac-no-sdp-after-match",
        title="The EV is on the link but does not look for the SECC",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger=("no SECC discovery request within {communication_setup} of CM_SLAC_MATCH.CNF though the EV's IPv6 traffic is heard"),
        cause="The EV's IPv6 address configuration fails, or the EV gave up.",
        fix="Look at its neighbour discovery (link-dad-conflict); check the EV's log.",
        refs=("ISO 15118-2 V2G2-446, V2G2-448", "Table 111"),
        limits=slac("communication_setup"),
        uec="SLACTimeout",
        priority=40,
        example="Router solicitations for 20 s, no request to ff02::1 port 15118.",
    )

    def start(self) -> None:
        super().start()
        self.ipv6: Neighbor | None = None

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def match_answer(self, ev: Mme) -> None:
        self.wait(ev, "communication_setup")

    @on(Mme, "CM_SLAC_PARM.REQ")
    def again(self, ev: Mme) -> None:
        self.cancel()
        self.matched = None

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        if ev.src_mac == self.session.evcc_mac:
            self.ipv6 = ev

    @on(Sdp)
    def sdp(self, ev: Sdp) -> None:
        self.seen()

    def overdue(self, t: int) -> None:
        if self.ipv6 is not None and not talks(self.session) and not _basic(self.session.pilot):
            self.late(t, f"No SECC discovery request for {self.limit('communication_setup'):g} s after the match.", "communication_setup")


@register
class ThenNoHlc(_AfterMatch):
    """Basic charging by the pilot: normal for many AC cars."""

    meta = Meta(
        id="slac-then-no-hlc",
        title="SLAC matched, then the EV charges by the pilot alone",
        severity="info",
        class_="implementation",
        effect="none",
        side="EVCC",
        trigger=("no SECC discovery within {communication_setup} of the match while the pilot announces a current and the EV is in C or D"),
        cause="The EV speaks SLAC but no ISO 15118 for AC.",
        fix="None.",
        refs=("practice",),
        needs=("pilot",),
        limits=slac("communication_setup"),
        priority=95,
        example="Match, 16 A duty, state C.",
    )

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def match_answer(self, ev: Mme) -> None:
        self.wait(ev, "communication_setup")

    @on(Sdp)
    def sdp(self, ev: Sdp) -> None:
        self.seen()

    def overdue(self, t: int) -> None:
        if not talks(self.session) and _basic(self.session.pilot):
            self.late(t, "The EV charges by the control pilot without looking for the SECC.", "communication_setup")


def _basic(pilot: Pilot | None) -> bool:
    return pilot is not None and is_nominal(pilot) and letter(pilot.state) in "CD"
