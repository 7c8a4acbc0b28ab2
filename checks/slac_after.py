"""What should follow the match: a link, IPv6, discovery (ISO 15118-3 A.9.5, ISO 15118-2 8.7)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import is_nominal, letter
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds, slac
from plugtap.checks.slac_match import talks
from plugtap.protocols.events import Mme, Neighbor, Sdp
from plugtap.sessions.session import Session


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
        if not talks(self.session) and not _basic(self.session):
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
        if self.ipv6 is not None and not talks(self.session) and not _basic(self.session):
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
        if not talks(self.session) and _basic(self.session):
            self.late(t, "The EV charges by the control pilot without looking for the SECC.", "communication_setup")


def _basic(session: Session) -> bool:
    pilot = session.pilot
    return pilot is not None and is_nominal(pilot, session.duty_table) and letter(pilot.state) in "CD"
