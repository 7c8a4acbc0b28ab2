"""What SECC discovery says: security, address and port, and whether the EV uses them (ISO 15118-2 7.10.1)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Sdp, Tcp
from plugtap.sessions.values import ip_text

TLS, NO_TLS = 0x00, 0x10
SECURITY = {TLS: "TLS", NO_TLS: "no TLS"}
KEPT = 8


@register
class SdpSecurityValue(Check):
    """Both bytes, both directions."""

    meta = Meta(
        id="sdp-security-value",
        title="Security or TransportProtocol of a discovery message is invalid",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="Security is neither 0x00 (TLS) nor 0x10 (no TLS), or TransportProtocol is not 0x00 (TCP)",
        cause="A fault in the sender's software, often swapped bytes.",
        fix="Correct the message in the sender's software.",
        refs=("V2G2-623",),
        gap="proceed",
        uec="SDPParameterInvalid",
        priority=25,
        example="Security 0x01.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        self.arm()
        if ev.security not in SECURITY or ev.transport != 0:
            self.fire(
                ev,
                f"Security is 0x{ev.security:02x}, TransportProtocol 0x{ev.transport:02x}.",
                values={"Security": Value(f"0x{ev.security:02x}"), "TransportProtocol": Value(f"0x{ev.transport:02x}")},
                side="EVCC" if ev.request else "SECC",
                key="request" if ev.request else "response",
            )


class _Security(Check):
    """Holds the last request against each response."""

    def start(self) -> None:
        self.asked: Sdp | None = None
        self.differs: tuple[Sdp, Sdp] | None = None

    def follow(self, ev: Sdp) -> tuple[Sdp, Sdp] | None:
        """Request and response, if this is a response with another security."""
        if ev.request:
            self.asked = ev
            return None
        if self.asked is None or self.asked.security == ev.security or {self.asked.security, ev.security} - set(SECURITY):
            return None
        return self.asked, ev


@register
class SdpSecurityDowngrade(_Security):
    """Allowed in ISO 15118-2; Plug and Charge and ISO 15118-20 are impossible then."""

    meta = Meta(
        id="sdp-security-downgrade",
        title="The EV asked for TLS, the SECC offers none",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="Security TLS in the request, no TLS in the response",
        cause="The EVSE has no TLS or no certificate configured.",
        fix="EVSE: enable TLS if Plug and Charge or ISO 15118-20 is wanted.",
        refs=("V2G20-1238, V2G20-1805", "TC_SECC_CMN_VTB_SDP_007"),
        gap="proceed",
        protocols=("iso2", "iso20"),
        uec="SDPParameterInvalid",
        priority=85,
        example="0x00 asked, 0x10 answered, the car goes on with DIN.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        pair = self.follow(ev)
        if not ev.request and self.asked is not None:
            self.arm()
        if pair is not None and pair[1].security == NO_TLS:
            self.fire(pair, "The EV asked for TLS, the SECC offers no TLS.")


@register
class SdpSecurityMismatch(_Security):
    """Said when the EV asks again instead of connecting."""

    meta = Meta(
        id="sdp-security-mismatch",
        title="The EV does not accept the SECC's security",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="the response's Security differs from the request's and the EV asks again without connecting",
        cause="The EVSE forces TLS or refuses it, against what the EV wants.",
        fix="Align the EVSE's TLS setting with the cars; the EV must accept no TLS where the protocol allows it.",
        refs=("ISO 15118-2 7.10.1",),
        certainty="likely",
        uec="SDPParameterInvalid",
        priority=30,
        example="no TLS asked, TLS answered, asked again and again.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if ev.request and self.differs is not None and not self.session.messages:
            request, response = self.differs
            self.fire(
                [request, response, ev],
                f"The EV asked for {SECURITY[request.security]}, the SECC offers {SECURITY[response.security]}, and the EV asks again.",
                since=response.t,
            )
        pair = self.follow(ev)
        if not ev.request:
            self.arm()
            self.differs = pair

    @on(Tcp, "syn", "open")
    def connected(self, ev: Tcp) -> None:
        self.differs = None


@register
class SdpPortRange(Check):
    """The port the SECC announces."""

    meta = Meta(
        id="sdp-port-range",
        title="The announced TCP port is not a dynamic one",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="port of the discovery response below {port_low}",
        cause="The EVSE uses a fixed port.",
        fix="EVSE: use a port from 49152 to 65535.",
        refs=("ISO 15118-2 Table 15",),
        gap="proceed",
        limits=limits_of("transport", "port_low"),
        uec="SDPParameterInvalid",
        priority=90,
        example="Port 15118.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if ev.port is None:
            return
        self.arm()
        if ev.port < self.limit("port_low"):
            self.fire(ev, f"The SECC announces port {ev.port}.", values={"port": Value(ev.port, "", self.limit("port_low"), "<")})


@register
class SdpPortIgnored(Check):
    """Only while nothing is connected: some cars probe other ports during a session."""

    meta = Meta(
        id="sdp-port-ignored",
        title="The EV connects to another address or port than announced",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="before the first message a SYN of the EV to an address or port that no discovery response announced",
        cause="The EV has a fixed port (15118) in its software.",
        fix="EV software: use address and port of the discovery response.",
        refs=("ISO 15118-2 7.10.1",),
        uec="SDPParameterInvalid",
        priority=25,
        example="Announced 61341, SYN to 15118.",
    )

    def start(self) -> None:
        self.announced: list[Sdp] = []

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if not ev.request:
            self.announced = [*self.announced[-KEPT:], ev]

    @on(Tcp, "syn")
    def syn(self, ev: Tcp) -> None:
        if not self.announced or self.session.messages or not ev.from_a:
            return
        self.arm()
        if not any(ev.b.ip == a.ip and ev.b.port == a.port for a in self.announced):
            last = self.announced[-1]
            self.fire(
                [last, ev],
                f"The EV connects to [{ip_text(ev.b.ip)}]:{ev.b.port}, announced was [{ip_text(last.ip)}]:{last.port}.",
                values={"port": Value(ev.b.port, "", last.port, "!=")},
                since=last.t,
            )


@register
class SdpLlaNotLinkLocal(Check):
    """The address the SECC announces."""

    meta = Meta(
        id="sdp-lla-not-linklocal",
        title="The announced address is not link-local",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="address of the discovery response outside fe80::/10",
        cause="The EVSE announces another interface's address, or its bytes are swapped.",
        fix="EVSE: announce the link-local address of the PLC interface.",
        refs=("ISO 15118-2 7.6",),
        gap="proceed",
        uec="SDPParameterInvalid",
        priority=35,
        example="A global address.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if ev.ip is None:
            return
        self.arm()
        if ev.ip[0] != 0xFE or ev.ip[1] & 0xC0 != 0x80:
            self.fire(ev, f"The SECC announces {ip_text(ev.ip)}.", values={"address": Value(ip_text(ev.ip), "", "fe80::/10", "not in")})
