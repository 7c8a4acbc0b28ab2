"""SECC discovery: answered, in time, with values that make sense (ISO 15118-2 7.10.1, DIN SPEC 70121 8.7)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds
from plugtap.protocols.events import Sdp, Tcp, Undecodable
from plugtap.sessions.values import ip_text

ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
SDP_PORT = 15118
KEPT = 8  # requests kept as evidence


@register
class SdpRetries(Check):
    """Counts requests, not repeats: 50 requests are 49 repeats."""

    meta = Meta(
        id="sdp-retries",
        title="SECC discovery is repeated",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=(
            "more than {sdp_retries} requests before an answer (warning at {sdp_max}), or two requests less than {sdp_spacing} apart (side EVCC)"
        ),
        cause=("The EVSE's discovery server starts after the link, or requests are lost; or the EV asks faster than it may."),
        fix="EVSE: start the discovery server before the link is up.",
        refs=("V2G2-159", "V2G2-161", "V2G-DC-849"),
        limits=limits_of("transport", "sdp_retries", "sdp_max", "sdp_spacing", "sdp_spacing_tolerance"),
        needs=("hears-unicast-secc",),
        gap="uncertain",
        uec="SDPDiscoveryTimeout",
        priority=75,
        example="7 requests, the eighth is answered.",
    )

    def start(self) -> None:
        self.requests: list[Sdp] = []
        self.count = 0

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if not ev.request:
            if self.count > self.limit("sdp_retries"):
                self._many(ev)
            self.requests, self.count = [], 0
            return
        self.arm()
        self.count += 1
        last = self.requests[-1] if self.requests else None
        self.requests = [*self.requests[-KEPT:], ev]
        if last is not None and ev.t - last.t < ns(self.limit("sdp_spacing") - self.limit("sdp_spacing_tolerance")):
            self.fire(
                [last, ev],
                f"{1000 * seconds(ev.t - last.t):.0f} ms between two discovery requests.",
                key="spacing",
                values={"spacing": Value(seconds(ev.t - last.t), "s", self.limit("sdp_spacing"), "<")},
                since=last.t,
                side="EVCC",
                effect="none",
            )
        if self.count == self.limit("sdp_max"):
            self._many(ev)

    def _many(self, ev: Sdp) -> None:
        most = self.count >= self.limit("sdp_max")
        self.fire(
            [*self.requests, ev],
            f"{self.count} discovery requests" + (" were answered only now." if not ev.request else " and no answer."),
            key="max" if most else "",
            values={"requests": Value(self.count, "", self.limit("sdp_max" if most else "sdp_retries"), ">=" if most else ">")},
            since=self.requests[0].t,
            severity="warning" if most else None,
        )


@register
class SdpNoResponse(Check):
    """On a tap that may not hear the SECC's unicast this is a statement about the tap."""

    meta = Meta(
        id="sdp-no-response",
        title="SECC discovery is not answered",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "no discovery response for {communication_setup} after the first of the requests, or after {sdp_max} "
            "requests; information about the tap where the SECC's unicast was never heard"
        ),
        cause=("The EVSE's discovery server does not run or listens on another interface, multicast is filtered, or the link is not ready."),
        fix="EVSE: check that it has joined ff02::1 on the PLC interface and listens on UDP 15118.",
        refs=("V2G2-159, V2G2-161", "V2G2-714, V2G2-716", "TC_SECC_CMN_VTB_SDP"),
        limits=limits_of("transport", "communication_setup", "sdp_max"),
        uec="SDPDiscoveryTimeout",
        priority=30,
        example="50 requests in 20 s, nothing comes back.",
    )

    def start(self) -> None:
        self.requests: list[Sdp] = []
        self.count = 0

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if not ev.request:
            if self.requests:
                self.evaluated()
            self.requests, self.count = [], 0
            self.cancel()
            return
        if not self.requests:
            self.arm()
            self.at(ev.t + ns(self.limit("communication_setup")), self.overdue)
        self.count += 1
        self.requests = [*self.requests[:1], *self.requests[1:][-KEPT:], ev]
        if self.count == self.limit("sdp_max"):
            self._unanswered(ev.t)

    def overdue(self, t: int) -> None:
        if self.requests and not self.session.messages:
            self._unanswered(t)

    def _unanswered(self, t: int) -> None:
        heard = self.session.sees("hears-unicast-secc")
        self.cancel()
        self.fire(
            self.requests,
            f"{self.count} discovery requests in {seconds(t - self.requests[0].t):.1f} s and no response"
            + ("." if heard else "; this tap never heard the SECC's unicast, so a response may have been there."),
            values={"requests": Value(self.count), "waited": Value(seconds(t - self.requests[0].t), "s", self.limit("communication_setup"), ">=")},
            since=self.requests[0].t,
            t=t,
            severity=None if heard else "info",
            side=None if heard else "tap",
            effect=None if heard else "unknown",
            certainty=None if heard else "possible",
        )


@register
class SdpWrongDst(Check):
    """Where the request goes."""

    meta = Meta(
        id="sdp-wrong-dst",
        title="SECC discovery goes to the wrong place",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="a discovery request that is not sent to ff02::1 port 15118, or from a port below 1024",
        cause="A fault in the EV's software.",
        fix="EV software: send to ff02::1, UDP port 15118.",
        refs=("V2G2-139", "ISO 15118-2 Table 15"),
        gap="proceed",
        uec="SDPParameterInvalid",
        priority=25,
        example="Sent to the EVSE's unicast address.",
    )

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if not ev.request:
            return
        self.arm()
        if ev.dst != ALL_NODES or ev.dst_port != SDP_PORT or ev.src_port < 1024:
            self.fire(
                ev,
                f"The request goes from port {ev.src_port} to [{ip_text(ev.dst)}]:{ev.dst_port}.",
                values={"destination": Value(f"[{ip_text(ev.dst)}]:{ev.dst_port}", "", "[ff02::1]:15118", "!=")},
            )


@register
class SdpLen(Check):
    """The decoder says what is wrong; messages too short have no sender known for sure."""

    meta = Meta(
        id="sdp-len",
        title="A discovery message has the wrong length",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="payload of a discovery request is not 2 bytes, of a response not 20 bytes",
        cause="A fault in the sender's software.",
        fix="Correct the message in the sender's software.",
        refs=("ISO 15118-2 7.10.1",),
        gap="proceed",
        uec="SDPPayloadLengthInvalid",
        priority=25,
        example="A response of 18 bytes.",
    )

    @on(Sdp)
    def good(self, ev: Sdp) -> None:
        self.arm()

    @on(Undecodable)
    def bad(self, ev: Undecodable) -> None:
        if ev.layer != "sdp" or "version" in ev.reason or "payload type" in ev.reason:
            return
        side = {self.session.evcc_mac: "EVCC", self.session.secc_mac: "SECC"}.get(ev.src_mac)
        if side is not None:
            self.arm()
            self.fire(ev, f"Discovery message not as it should be: {ev.reason}.", side=side, key=side)


@register
class SdpMultipleResponders(Check):
    """Two networks in one, or a multiplexer."""

    meta = Meta(
        id="sdp-multiple-responders",
        title="Several SECCs answer one discovery",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="line",
        trigger="responses with different addresses to the requests of one EV since its last answer was used",
        cause="Two EVSEs share one network key, or two outlets one network.",
        fix="Give each connector its own key (new NMK for each match).",
        refs=("practice",),
        confidence="unconfirmed",
        gap="proceed",
        uec="SDPParameterInvalid",
        priority=70,
        example="fe80::1 and fe80::2 both answer.",
    )

    def start(self) -> None:
        self.answers: dict[bytes, Sdp] = {}

    @on(Tcp, "open")
    def connected(self, ev: Tcp) -> None:
        self.answers = {}

    @on(Sdp)
    def message(self, ev: Sdp) -> None:
        if ev.ip is None:
            return
        self.arm()
        if len(self.answers) < KEPT:
            self.answers.setdefault(ev.ip, ev)
        if len(self.answers) > 1:
            self.fire(
                list(self.answers.values()),
                f"{len(self.answers)} SECC addresses answer: {', '.join(str(ip_text(ip)) for ip in self.answers)}.",
                values={"responders": Value(len(self.answers), "", 1, ">")},
            )
