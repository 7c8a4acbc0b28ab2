"""IPv6 on the new link: addresses, neighbours, and traffic that does not belong there (RFC 4861, RFC 4862, ISO 15118-2 7.6)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import SECOND, mac, ns, seconds
from plugtap.protocols.events import Mme, Neighbor, OtherTraffic, Sdp, Tcp, V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.values import ip_text

DAD_NS = 2 * SECOND  # an answer to a probe comes within a second; the rest is for the line
OWN_WORK = ("icmpv6", "ipv6-fragment", "dhcpv6")


@register
class NoIpv6Lla(Check):
    """The alarm is the 20 s timer; this is the earlier hint."""

    meta = Meta(
        id="link-no-ipv6-lla",
        title="No IPv6 of the EV after the match",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="EVCC",
        trigger=("no ICMPv6 and no discovery request of the EV within {T_conn_max_comm} of CM_SLAC_MATCH.CNF, on a tap at the EVSE's modem"),
        cause="The EV's modem has not joined yet, or its IP stack starts slowly.",
        fix="See slac-link-not-up and slac-no-sdp-after-match.",
        refs=("ISO 15118-3 Table 3 (T_conn_max_comm)",),
        confidence="corrected",
        needs=("host",),
        limits=limits_of("transport", "T_conn_max_comm"),
        uec="PLCFault",
        priority=85,
        example="The first router solicitation 9 s after the match.",
    )

    def start(self) -> None:
        self.matched: Mme | None = None

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def match(self, ev: Mme) -> None:
        if self.matched is None:
            self.matched = ev
            self.arm()
            self.at(ev.t + ns(self.limit("T_conn_max_comm")), self.overdue)

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        if ev.src_mac == self.session.evcc_mac:
            self.evaluated()
            self.cancel()

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.matched is not None and not self.session.messages:
            self.fire(
                self.matched,
                f"No IPv6 of the EV {self.limit('T_conn_max_comm'):g} s after the match.",
                values={"waited": Value(seconds(t - self.matched.t), "s", self.limit("T_conn_max_comm"), ">=")},
                since=self.matched.t,
                t=t,
            )


@register
class DadConflict(Check):
    """A probe (neighbour solicitation from ::) that somebody else answers, or makes too."""

    meta = Meta(
        id="link-dad-conflict",
        title="Two stations want the same IPv6 address",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="within 2 s of a duplicate address probe another MAC advertises the address or probes for it",
        cause=("Two stations with one MAC or interface id, or a tap whose network interface has IPv6 switched on with a copied MAC."),
        fix="Switch IPv6 off on the tap's interface; check the MACs of EV and EVSE.",
        refs=("RFC 4862",),
        confidence="unconfirmed",
        gap="proceed",
        uec="PLCFault",
        priority=30,
        example="fe80::1 probed by the car and advertised by another station 0.2 s later.",
    )

    def start(self) -> None:
        self.probes: dict[bytes, Neighbor] = {}

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        target = ev.target
        if target is None:
            return
        probe = self.probes.get(target)
        claim = ev.kind == "NA" or (ev.kind == "NS" and ev.dad)
        if probe is not None and claim and ev.src_mac != probe.src_mac and ev.t - probe.t <= DAD_NS:
            self.fire(
                [probe, ev],
                f"{ip_text(target)} is probed by {mac(probe.src_mac)} and claimed by {mac(ev.src_mac)}.",
                values={"first": Value(mac(probe.src_mac)), "second": Value(mac(ev.src_mac))},
            )
        elif ev.kind == "NS" and ev.dad:
            self.arm()
            if len(self.probes) >= 16:
                self.probes.pop(next(iter(self.probes)))
            self.probes[target] = ev


@register
class NdNoAnswer(Check):
    """Before the first message only: later the address is known."""

    meta = Meta(
        id="link-nd-no-answer",
        title="The SECC's address is not resolved",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "{nd_solicitations} neighbour solicitations for the announced SECC address without an advertisement "
            "within {nd_wait}, on a tap that hears the SECC's unicast"
        ),
        cause="The EVSE announces an address it does not answer for (wrong scope or MAC), or unicast is filtered.",
        fix="EVSE: compare the address in the discovery response with that of the PLC interface.",
        refs=("RFC 4861",),
        needs=("hears-unicast-secc",),
        limits=limits_of("transport", "nd_solicitations", "nd_wait"),
        uec="PLCFault",
        priority=30,
        example="Discovery answered, five solicitations, no advertisement.",
    )

    def start(self) -> None:
        self.asked: list[Neighbor] = []
        self.announced: bytes | None = None

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        self.announced = ev.ip or self.announced

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        if self.announced is None or ev.target != self.announced:
            return
        if ev.kind == "NA":
            if self.asked:
                self.evaluated()
            self.asked = []
            self.cancel()
        elif ev.kind == "NS" and not ev.dad and not self.session.messages:
            if not self.asked:
                self.arm()
                self.at(ev.t + ns(self.limit("nd_wait")), self.overdue)
            self.asked = [*self.asked[-8:], ev]

    def overdue(self, t: int) -> None:
        asked, self.asked = self.asked, []
        if len(asked) >= self.limit("nd_solicitations") and not self.session.messages:
            self.fire(
                asked,
                f"{len(asked)} neighbour solicitations for {ip_text(self.announced)} without an answer.",
                values={"solicitations": Value(len(asked), "", self.limit("nd_solicitations"), ">=")},
                since=asked[0].t,
                t=t,
            )


@register
class NdWrongMac(Check):
    """EVSEs with several ports may bridge: information."""

    meta = Meta(
        id="link-nd-wrong-mac",
        title="The SECC's neighbour advertisement names another MAC than its discovery response",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        trigger=(
            "the link-layer address in the advertisement of the SECC's address is not the source MAC of the discovery response (error: and the EV "
            "never got a connection)"
        ),
        cause="The EVSE bridges several ports, or advertises the address of another interface, to which the EV's frames then go.",
        fix="None while it works; else check the EVSE's bridge.",
        refs=("RFC 4861",),
        confidence="unconfirmed",
        gap="proceed",
        uec="PLCFault",
        priority=35,
        example="Advertisement from the controller, discovery from the modem's host.",
    )

    def start(self) -> None:
        self.answer: Sdp | None = None
        self.wrong: Neighbor | None = None
        self.connected = False

    @on(Tcp, "synack")
    @on(V2gMessage, once=True)
    def works(self, ev: Tcp | V2gMessage) -> None:
        self.connected = True

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        if not ev.request:
            self.answer = ev

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        answer = self.answer
        if answer is None or ev.kind != "NA" or ev.lladdr is None or ev.target != answer.ip:
            return
        self.arm()
        if ev.lladdr != answer.src_mac:
            self.wrong = ev
            self.fire([answer, ev], f"The advertisement names {mac(ev.lladdr)}, the discovery response came from {mac(answer.src_mac)}.")

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        answer, wrong = self.answer, self.wrong
        if answer is None or wrong is None or wrong.lladdr is None or self.connected or self.session.tls is not None:
            return
        self.fire(
            [answer, wrong],
            f"The advertisement sends the EV to {mac(wrong.lladdr)}, the SECC is {mac(answer.src_mac)}: no connection came up.",
            severity="error",
            effect="stops-charging",
            certainty="likely",
            since=wrong.t,
            fix="EVSE: advertise the MAC of the interface that answers discovery and listens for TCP.",
            key="no connection",
        )


@register
class RaDhcp(Check):
    """Allowed, and still something an operator wants to know."""

    meta = Meta(
        id="link-ra-dhcp",
        title="Router advertisements or DHCPv6 on the charging link",
        severity="info",
        class_="info",
        effect="none",
        side="SECC",
        trigger="a router advertisement or DHCPv6 message of a station of this pair",
        cause="The EVSE bridges its own network onto the power line, or its host runs a DHCP client there.",
        fix="EVSE: isolate the PLC interface from the backend network (privacy, security).",
        refs=("ISO 15118-2 7.6",),
        gap="proceed",
        priority=95,
        example="A router advertisement every 10 s from the EVSE.",
    )

    @on(Neighbor)
    def neighbor(self, ev: Neighbor) -> None:
        self.arm()
        side = _side_of(self, ev.src_mac)
        if ev.kind == "RA" and side is not None:
            self.fire(ev, f"A router advertisement of {mac(ev.src_mac)}.", key="RA", side=side)

    @on(OtherTraffic)
    def other(self, ev: OtherTraffic) -> None:
        side = _side_of(self, ev.src_mac)
        if ev.what == "dhcpv6" and side is not None:
            self.fire(ev, f"A DHCPv6 message of {mac(ev.src_mac)}.", key="dhcpv6", side=side)


@register
class ForeignTraffic(Check):
    """Only what the pair itself sends: captures on a host hold the host's own chatter."""

    meta = Meta(
        id="link-foreign-traffic",
        title="A station of the pair sends traffic that is not charging communication",
        severity="info",
        class_="heuristic",
        effect="none",
        side="unknown",
        trigger=("{foreign_frames} or more of IPv4, mDNS, LLMNR or other traffic whose source MAC is that of the EV or the EVSE"),
        limits=limits_of("transport", "foreign_frames"),
        cause="An operating system's chatter on the PLC interface.",
        fix="Close the PLC interface with a firewall; switch IPv4 and name services off there.",
        refs=("practice, corrected on real captures",),
        confidence="corrected",
        gap="proceed",
        priority=95,
        example="mDNS of the EVSE's Linux every minute.",
    )

    def start(self) -> None:
        self.frames: dict[str, int] = {}

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        self.arm()

    @on(OtherTraffic)
    def other(self, ev: OtherTraffic) -> None:
        side = _side_of(self, ev.src_mac)
        if side is None or ev.what in OWN_WORK:
            return
        self.frames[side] = self.frames.get(side, 0) + 1
        if self.frames[side] >= self.limit("foreign_frames") and not self.repeat(ev, side):
            self.fire(
                ev,
                f"{self.frames[side]} frames of other protocols from {mac(ev.src_mac)}, the last one {ev.what}.",
                key=side,
                values={"frames": Value(self.frames[side], "", self.limit("foreign_frames"), ">=")},
                side=side,
            )


@register
class MtuFrag(Check):
    """Legal, and rare enough to be told."""

    meta = Meta(
        id="link-mtu-frag",
        title="IPv6 fragments",
        severity="info",
        class_="info",
        effect="none",
        side="unknown",
        trigger="an IPv6 fragment of a station of the pair",
        cause="A datagram larger than the link's MTU.",
        fix="None while it works.",
        refs=("RFC 8200",),
        confidence="unconfirmed",
        gap="proceed",
        priority=95,
        example="A large UDP datagram.",
    )

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        self.arm()

    @on(OtherTraffic)
    def other(self, ev: OtherTraffic) -> None:
        side = _side_of(self, ev.src_mac)
        if ev.what == "ipv6-fragment" and side is not None:
            self.fire(ev, f"A fragment of {ev.length} bytes.", side=side)


def _side_of(check: Check, address: bytes) -> str | None:
    """EVCC or SECC by MAC; None for stations that are not of the pair."""
    session = check.session
    if address == session.evcc_mac:
        return "EVCC"
    return "SECC" if address == session.secc_mac else None
