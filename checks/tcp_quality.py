"""How well TCP flows: retransmissions, delays they cause, closed windows, messages in pieces (RFC 9293)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.guards import never, oddly_coded
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds
from plugtap.checks.tcp_connection import sender
from plugtap.protocols.events import Tcp, V2gMessage
from plugtap.sessions.notices import Exchange

LOOP = ("CurrentDemand", "ChargingStatus", "DC_ChargeLoop", "AC_ChargeLoop")
KEPT = 8


@register
class RetransmissionRate(Check):
    """Data sent again, over fixed windows. Duplicate acknowledgements are no sign: small stacks send them in good sessions."""

    meta = Meta(
        id="tcp-retransmission-rate",
        title="Much TCP data is sent again",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="line",
        trigger=(
            "more than {retransmission_info} of the data segments within {retransmission_window} are "
            "retransmissions, at least {retransmission_least} (info); more than {retransmission_warning} and at "
            "least {retransmission_many} (warning)"
        ),
        cause=(
            "Frames are lost on the power line (weak signal, disturbance from the power stage), or one side acknowledges with wrong sequence numbers."
        ),
        fix=("Look at the attenuation of SLAC; compare the time with the current; check connector, shield and coupling."),
        refs=("practice",),
        gap="uncertain",
        limits=limits_of(
            "transport", "retransmission_window", "retransmission_info", "retransmission_warning", "retransmission_least", "retransmission_many"
        ),
        uec="TCPError",
        priority=65,
        example="12 % during the ramp.",
    )

    def start(self) -> None:
        self.window: int | None = None
        self.span = ns(self.limit("retransmission_window"))
        self.segments = 0
        self.again: list[Tcp] = []
        self.count = 0

    @on(Tcp, "data", "retransmission")
    def segment(self, ev: Tcp) -> None:
        if self.window is None or ev.t - self.window > self.span:
            self.arm()
            self.window, self.segments, self.again, self.count = ev.t, 0, [], 0
        self.segments += 1
        if ev.kind != "retransmission" or ev.length == 0:
            return
        self.count += 1
        self.again = [*self.again[-KEPT:], ev]
        share = 100 * self.count / self.segments
        if self.count < self.limit("retransmission_least") or share <= self.limit("retransmission_info"):
            return
        bad = share > self.limit("retransmission_warning") and self.count >= self.limit("retransmission_many")
        limit = self.limit("retransmission_warning" if bad else "retransmission_info")
        self.fire(
            self.again,
            f"{self.count} of {self.segments} data segments within {seconds(ev.t - self.window):.1f} s were sent again.",
            key="warning" if bad else "",
            values={"share": Value(round(share, 1), "%", limit, ">")},
            since=self.window,
            severity="warning" if bad else None,
        )


@register
class RtoVsMsgTimeout(Check):
    """The answer came, but a retransmission ate the message's time."""

    meta = Meta(
        id="tcp-rto-vs-msgtimeout",
        title="A retransmission delays the charge loop",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="line",
        trigger="a charge loop exchange that took more than {rto} with a retransmission in it",
        cause="A frame was lost on the power line and the sender's retransmission timer is long.",
        fix="Use a short minimum RTO on the PLC link (Linux: ip route … rto_min); reduce the losses.",
        refs=("ISO 15118-2 Table 109",),
        gap="suppress",
        limits=limits_of("transport", "rto"),
        uec="TCPError",
        priority=70,
        example="CurrentDemandRes after 340 ms, its segment sent twice.",
    )

    def start(self) -> None:
        self.last: Tcp | None = None

    @on(Tcp, "retransmission")
    def again(self, ev: Tcp) -> None:
        if ev.length:
            self.last = ev
            self.wake()

    @on(Exchange, *LOOP, only=never, quiet=("armed",))
    def exchange(self, ev: Exchange) -> None:
        self.arm()
        last = self.last
        self.sleep()
        if last is not None and ev.request.t < last.t <= ev.t and ev.latency > ns(self.limit("rto")):
            self.fire(
                [ev.request, last, ev.response],
                f"{ev.name} took {1000 * seconds(ev.latency):.0f} ms, with a retransmission by the {sender(self.session, last)}.",
                values={"latency": Value(seconds(ev.latency), "s", self.limit("rto"), ">")},
                since=ev.request.t,
            )


@register
class ZeroWindow(Check):
    """Two advertisements of a closed window, no data of the peer between them."""

    meta = Meta(
        id="tcp-zero-window",
        title="A receiver is full",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="unknown",
        trigger=("a window of 0 advertised again {zero_window} or more after the first time, with no data received in between"),
        cause="The receiver's software does not read: blocked or overloaded.",
        fix="Look at the processor load and the log of that side.",
        refs=("RFC 9293",),
        confidence="unconfirmed",
        gap="uncertain",
        limits=limits_of("transport", "zero_window"),
        uec="TCPError",
        priority=70,
        example="The SECC's window stays at 0 for 1.5 s.",
    )

    def start(self) -> None:
        self.closed: dict[bool, Tcp] = {}

    @on(Tcp, "open")
    def opened(self, ev: Tcp) -> None:
        self.arm()

    @on(Tcp, "zero-window")
    def zero(self, ev: Tcp) -> None:
        first = self.closed.get(ev.from_a)
        if first is None or self.session.data_frames.get(not ev.from_a, 0) > first.frame:
            first = self.closed[ev.from_a] = ev
        if ev.t - first.t >= ns(self.limit("zero_window")):
            self.fire(
                [first, ev],
                f"The window stays at 0 for {seconds(ev.t - first.t):.2f} s.",
                values={"closed": Value(seconds(ev.t - first.t), "s", self.limit("zero_window"), ">=")},
                since=first.t,
                side=sender(self.session, ev),
            )


@register
class SplitV2gtp(Check):
    """Legal; off unless somebody hunts a stack that can't do it."""

    meta = Meta(
        id="tcp-split-v2gtp",
        title="A message comes in several TCP segments",
        severity="info",
        class_="info",
        effect="none",
        side="unknown",
        trigger="a V2GTP message whose first and last byte are in different frames",
        cause="Large messages (certificates), or a sender that writes header and payload apart.",
        fix="None; stacks must reassemble.",
        refs=("RFC 9293",),
        confidence="unconfirmed",
        gap="proceed",
        priority=95,
        enabled=False,
        example="CertificateInstallationRes in four segments.",
    )

    @on(V2gMessage, only=oddly_coded, quiet=("armed",))
    def message(self, ev: V2gMessage) -> None:
        self.arm()
        if ev.first_frame and ev.first_frame != ev.frame:
            self.fire(ev, f"{ev.message or 'A message'} came in frames {ev.first_frame} to {ev.frame}.", frames=(ev.first_frame,), side=ev.side)
