"""The V2GTP byte stream and the dialogue on it (ISO 15118-2 7.8.3, 8.8.1)."""

from __future__ import annotations

from collections import deque

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, never, oddly_typed, out_of_turn
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.sap_negotiation import KNOWN, offers_of
from plugtap.checks.tcp_connection import sender
from plugtap.checks.v2g_common import failed, is_request, response_code, stem
from plugtap.protocols.events import Tcp, V2gMessage, V2gtpOddity
from plugtap.sessions.notices import NewAttempt, SessionClosing

VENDOR = 0xA000
MAX_ASKED = 8


def side_of(check: Check, ev: V2gtpOddity) -> str | None:
    """Who sent it: the EV opens the connection."""
    return "EVCC" if ev.from_a else "SECC"


class _Oddity(Check):
    """Base: oddities of some kinds. Armed by every message, for each has a header."""

    kinds: tuple[str, ...] = ()

    @on(V2gMessage, only=never, quiet=("armed",))
    def message(self, ev: V2gMessage) -> None:
        self.arm()

    @on(V2gtpOddity)
    def oddity(self, ev: V2gtpOddity) -> None:
        if ev.kind in self.kinds:
            self.say(ev)

    def say(self, ev: V2gtpOddity) -> None:
        """One oddity of these kinds."""
        self.fire(ev, f"{ev.detail[:1].upper()}{ev.detail[1:]}.", key=f"{ev.kind} {ev.from_a}", side=side_of(self, ev))


@register
class Version(_Oddity):
    """A receiver must ignore such a message. Bytes that are no header at all count here, too; after lost bytes the reader says nothing."""

    kinds = ("version", "inverse", "resync")
    meta = Meta(
        id="v2gtp-version",
        title="V2GTP version is wrong",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        certainty="likely",
        trigger="a V2GTP header does not begin with 01 FE",
        cause="A protocol stack that writes another version, or bytes lost in its TCP layer.",
        fix="Sender: write 01 FE. Look at the TCP stream around this frame.",
        refs=("ISO 15118-2 7.8.3",),
        uec="V2GTPProtocolVersionInvalid",
        priority=31,
        gap="proceed",
        example="Header 02 FD 80 01.",
    )


@register
class PayloadType(_Oddity):
    """Types from 0xA000 on belong to makers: information."""

    kinds = ("payload-type", "sdp-on-tcp")
    meta = Meta(
        id="v2gtp-payload-type",
        title="V2GTP payload type is unknown here",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="unknown",
        certainty="likely",
        trigger="a payload type that is none of 0x8001 to 0x8006, 0x8101 to 0x8104; SDP types on TCP; makers' types are information",
        cause="A protocol stack that sends SDP on the TCP connection, or bytes damaged on the way or by the recording.",
        fix="Show the named frame to the sender's maker.",
        refs=("ISO 15118-2 Table 10", "DIN SPEC 70121 Table 16", "ISO 15118-20 Table 12"),
        uec="V2GTPPayloadTypeInvalid",
        priority=55,
        gap="proceed",
        example="Payload type 0x9001 (SDP response) on the TCP connection.",
    )

    def say(self, ev: V2gtpOddity) -> None:
        digits = ev.detail.partition("0x")[2][:4]
        vendor = len(digits) == 4 and all(c in "0123456789ABCDEFabcdef" for c in digits) and int(digits, 16) >= VENDOR
        self.fire(
            ev, f"{ev.detail[:1].upper()}{ev.detail[1:]}.", key=f"{ev.kind} {ev.from_a}", side=side_of(self, ev),
            severity="info" if vendor else None, effect="none" if vendor else None,
        )  # fmt: skip


@register
class Length(_Oddity):
    """The stream is read on from the next header."""

    kinds = ("length", "empty")
    meta = Meta(
        id="v2gtp-length-zero",
        title="V2GTP payload length is absurd",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        certainty="likely",
        trigger="a payload length of 0, or more than any V2G message needs (65,536 bytes)",
        cause="An encoder that failed, or bytes damaged on the way.",
        fix="Show the named frame to the sender's maker.",
        refs=("ISO 15118-2 7.8.3",),
        uec="V2GTPPayloadLengthInvalid",
        priority=31,
        gap="proceed",
        example="Header 01 FE 80 01 00 00 00 00.",
    )


@register
class TypeVersusProtocol(Check):
    """What was negotiated decides the payload type."""

    meta = Meta(
        id="v2gtp-payload-type-vs-protocol",
        title="Payload type does not fit the negotiated protocol",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="0x8001 after ISO 15118-20 was chosen, or 0x8002 and above after DIN or ISO 15118-2",
        cause="A protocol stack that mixes the two generations.",
        fix="Sender: use the payload type of the negotiated protocol.",
        refs=("ISO 15118-20 Table 12",),
        uec="V2GTPPayloadTypeInvalid",
        priority=30,
        gap="proceed",
        example="DC_CableCheckReq in 0x8004 after DIN was chosen.",
    )

    def start(self) -> None:
        self.offers: dict[object, str | None] = {}
        self.chosen: str | None = None

    @on(V2gMessage, "supportedAppProtocolReq")
    def offer(self, ev: V2gMessage) -> None:
        self.offers = {o.get("SchemaID"): KNOWN.get(str(o.get("ProtocolNamespace"))) for o in offers_of(ev)}

    @on(V2gMessage, "supportedAppProtocolRes")
    def choice(self, ev: V2gMessage) -> None:
        self.chosen = None if failed(response_code(ev)) else self.offers.get(ev.body.get("SchemaID"))

    @on(V2gMessage, only=never, quiet=COUNTED)
    def count(self, ev: V2gMessage) -> None:
        self.arm()
        self.evaluated()

    @on(V2gMessage, only=oddly_typed)
    def message(self, ev: V2gMessage) -> None:
        if self.chosen is None or ev.message in ("supportedAppProtocolReq", "supportedAppProtocolRes"):
            return
        new = ev.payload_type != 0x8001
        if new == (self.chosen == "iso20") or ev.payload_type >= VENDOR:
            return
        self.fire(
            ev, f"{self.chosen} was chosen, the {ev.side} sends payload type 0x{ev.payload_type:04x}.", key=ev.side,
            side=ev.side if ev.side in ("EVCC", "SECC") else None, values={"payload_type": Value(f"0x{ev.payload_type:04x}")},
        )  # fmt: skip


@register
class Pipelined(Check):
    """Judged when the next answer is there: only then a hole in the capture would show."""

    meta = Meta(
        id="v2gtp-pipelined-requests",
        title="Second request before the first was answered",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        certainty="likely",
        trigger="two requests on one connection without a response in between, and nothing missing from the capture",
        cause="The EV repeats on its own timer.",
        fix="EV: wait for the response or give the session up.",
        refs=("ISO 15118-2 8.8.1",),
        confidence="unconfirmed",
        needs=("hears-unicast-secc",),
        uec="V2GSequenceError",
        priority=59,
        example="CurrentDemandReq twice within 300 ms, then one CurrentDemandRes.",
    )

    def start(self) -> None:
        self.pair: tuple[V2gMessage, V2gMessage] | None = None
        self.attempt = -1  # when the latest attempt began: a request before it is given up

    @on(V2gMessage, "*Req", only=never, quiet=COUNTED)
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        self.evaluated()

    @on(V2gMessage, only=out_of_turn)
    def message(self, ev: V2gMessage) -> None:
        pair, self.pair = self.pair, None
        self.sleep()
        if ev.message is None:
            return
        if is_request(ev.message):
            before = self.session.message_before
            if before is None or before.message is None or not is_request(before.message) or before.t < self.attempt:
                return
            if before.stream == ev.stream and ev.message not in ("SessionStopReq", "supportedAppProtocolReq"):
                self.pair = before, ev
                self.wake()
            return
        if pair is None:
            return
        first, second = pair
        self.fire(
            [first, second, ev], f"{second.message} followed {first.message} without a response in between.", since=first.t, key=str(second.message)
        )

    @on(Tcp, "ack-unseen")
    def unseen(self, ev: Tcp) -> None:
        # The EV acknowledges bytes that are not in the capture: the answer was there.
        self.pair = None

    @on(NewAttempt)
    def again(self, ev: NewAttempt) -> None:
        self.pair, self.attempt = None, ev.t


@register
class Unsolicited(Check):
    """Judged at the EV's next request: only then a request that the capture lost would show."""

    meta = Meta(
        id="v2gtp-unsolicited-response",
        title="Response without a request",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        certainty="likely",
        trigger=(
            "a response with no open request of its kind, and nothing missing from the capture (error: the EV closed at its next request of another kind, "
            "to which it found the surplus response as the answer)"
        ),
        cause="The EVSE answers twice, or answers something else than was asked.",
        fix="Show the named frames to the EVSE's maker.",
        refs=("ISO 15118-2 8.8.1",),
        confidence="unconfirmed",
        needs=("hears-unicast-evcc",),
        uec="V2GSequenceError",
        priority=59,
        example="CableCheckRes twice for one CableCheckReq.",
    )

    def start(self) -> None:
        self.asked: deque[str] = deque(maxlen=MAX_ASKED)  # requests without an answer so far; pipelined ones wait together
        self.watching = False  # as long as all goes in turn, there is nothing to keep
        self.odd: tuple[V2gMessage, V2gMessage] | None = None
        # An EV that reads in order is one answer behind from a surplus one on. In the charge loop, where all are alike, it notices nothing.
        self.surplus: V2gMessage | None = None
        self.other: V2gMessage | None = None  # the first request of another kind since: it finds the surplus answer in its place

    @on(V2gMessage, "*Res", only=never, quiet=COUNTED)
    def response(self, ev: V2gMessage) -> None:
        self.arm()
        self.evaluated()

    @on(V2gMessage, only=out_of_turn)
    def message(self, ev: V2gMessage) -> None:
        before = self.session.message_before
        if not self.watching:
            self.watching = True
            self.wake()
            self.asked.clear()
            if before is not None and before.message is not None and is_request(before.message):
                self.asked.append(stem(before.message))
        self._take(ev, before)
        name = str(ev.message)
        usual = [stem(name)] if is_request(name) else []  # what waits for an answer where all goes in turn
        if self.odd is None and self.surplus is None and self.other is None and list(self.asked) == usual:
            self.watching = False
            self.sleep()

    def _take(self, ev: V2gMessage, before: V2gMessage | None) -> None:
        if ev.message is None:
            self.odd = None
            self.asked.clear()
            return
        if is_request(ev.message):
            self._judge()
            self.asked.append(stem(ev.message))
            if self.other is not None:
                self.surplus = self.other = None  # it went on: it had thrown the surplus answer away
            elif self.surplus is not None and stem(ev.message) != stem(str(self.surplus.message)):
                self.other = ev
            return
        if stem(ev.message) in self.asked:
            self.asked.remove(stem(ev.message))
        elif before is not None and before.message is not None and before.stream == ev.stream:
            self.odd = (before, ev)

    @on(Tcp, "ack-unseen")
    def unseen(self, ev: Tcp) -> None:
        self.odd = None

    @on(Tcp, "fin", "rst")
    def closed(self, ev: Tcp) -> None:
        surplus, other = self.surplus, self.other
        self.surplus = self.other = None
        if surplus is None or other is None or self.session.pending is not other or sender(self.session, ev) != "EVCC":
            return
        self.fire(
            [surplus, other, ev],
            f"{surplus.message} (frame {surplus.frame}) was one answer too many: an EV that reads in order found {surplus.message} as the answer "
            f"to {other.message}, and closed.",
            effect="stops-charging",
            severity="error",
            since=surplus.t,
            key=f"{surplus.message} read as an answer",
        )

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        self._judge()

    def _judge(self) -> None:
        odd, self.odd = self.odd, None
        if odd is None:
            return
        before, answer = odd
        self.surplus, self.other = answer, None
        self.fire([before, answer], f"{answer.message} came after {before.message} without its request.", since=before.t, key=str(answer.message))
