"""TCP connections come up and go down as they should (RFC 9293, ISO 15118-2 7.7 and 8.7)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds
from plugtap.protocols.events import IcmpError, Tcp, V2gMessage
from plugtap.sessions.notices import SessionClosing
from plugtap.sessions.session import Session

KEPT = 8


def sender(session: Session, ev: Tcp) -> str:
    """EVCC, SECC or unknown: who sent the segment."""
    peer = ev.a if ev.from_a else ev.b
    if peer.ip == session.secc_ip or (session.secc_ip is None and peer.mac == session.secc_mac):
        return "SECC"
    if peer.ip == session.evcc_ip or peer.mac == session.evcc_mac:
        return "EVCC"
    return "unknown"


def to_secc(session: Session, ev: Tcp) -> bool:
    """Does this connection lead to the announced address and port (or to anything, where none was heard)?"""
    if session.secc_port is None:
        return True
    return ev.b.ip == session.secc_ip and ev.b.port == session.secc_port


@register
class SynRst(Check):
    """Some cars probe another port once a second during the session: only the announced one counts."""

    meta = Meta(
        id="tcp-syn-rst",
        title="The TCP connection is refused",
        severity="info",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=("a SYN to the announced address and port is answered by RST or an ICMPv6 error (info; warning when no connection ever came up)"),
        cause="The EVSE's listener is not open yet, or serves one connection only.",
        fix="EVSE: open the listener before answering the discovery.",
        refs=("RFC 9293",),
        gap="uncertain",
        uec="TCPConnectionTimeout",
        priority=40,
        example="SYN, RST, and again after a second.",
    )

    def start(self) -> None:
        self.syn: Tcp | None = None
        self.refused: list[Tcp | IcmpError] = []
        self.opened = False

    @on(Tcp, "syn", "synack", "open", "rst")
    def segment(self, ev: Tcp) -> None:
        if ev.kind == "syn" and to_secc(self.session, ev):
            self.arm()
            self.syn = ev
        elif ev.kind in ("synack", "open"):
            self.opened = True
            self.syn = None
        elif ev.kind == "rst" and self.syn is not None and ev.stream == self.syn.stream and not ev.from_a:
            self._refused(ev, "RST")

    @on(IcmpError)
    def unreachable(self, ev: IcmpError) -> None:
        if ev.type == 1 and self.syn is not None and ev.inner_dst == self.syn.b.ip:
            self._refused(ev, "an ICMPv6 error")

    def _refused(self, ev: Tcp | IcmpError, by: str) -> None:
        syn, self.syn = self.syn, None
        self.refused = [*self.refused[-KEPT:], ev]
        if syn is not None:
            self.fire(
                [syn, ev], f"SYN to port {syn.b.port} was answered by {by}.", values={"port": Value(syn.b.port)}, effect="degrades", since=syn.t
            )

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        if self.refused and not self.opened and not self.session.messages:
            self.fire(self.refused, "Every SYN was refused; no connection came up.", key="never", severity="warning", t=self.refused[-1].t)


@register
class SynTimeout(Check):
    """Tries in a row, whatever their ports: each retry may use a new one."""

    meta = Meta(
        id="tcp-syn-timeout",
        title="The TCP connection is not answered",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="SECC",
        trigger=("{syn_tries} SYN in a row without SYN-ACK or RST, the last {syn_wait} old, on a tap that hears the SECC's unicast"),
        cause="A firewall or wrong route in the EVSE, neighbour discovery that fails, or a weak power line signal.",
        fix=("Check the EVSE's listener and firewall on the PLC interface; look at neighbour discovery and attenuation."),
        refs=("RFC 9293",),
        confidence="unconfirmed",
        needs=("hears-unicast-secc",),
        limits=limits_of("transport", "syn_tries", "syn_wait"),
        uec="TCPConnectionTimeout",
        priority=40,
        example="A SYN every 5 s, 24 of them, then it works.",
    )

    def start(self) -> None:
        self.tries: list[Tcp] = []
        self.count = 0

    @on(Tcp, "syn", "synack", "rst", "open")
    def segment(self, ev: Tcp) -> None:
        if ev.kind != "syn":
            if self.tries:
                self.evaluated()
            self.tries, self.count = [], 0
            self.cancel()
            return
        if not to_secc(self.session, ev) or self.session.ended is not None:
            return
        self.arm()
        self.count += 1
        self.tries = [*self.tries[-KEPT:], ev]
        self.at(ev.t + ns(self.limit("syn_wait")), self.overdue)

    def overdue(self, t: int) -> None:
        if self.count >= self.limit("syn_tries"):
            self.fire(
                self.tries,
                f"{self.count} SYN to port {self.tries[-1].b.port} in a row without an answer.",
                values={"tries": Value(self.count, "", self.limit("syn_tries"), ">=")},
                since=self.tries[0].t,
                t=t,
            )


@register
class SynAckLoop(Check):
    """The opener's ACK was captured, so the answerer should have it."""

    meta = Meta(
        id="tcp-synack-loop",
        title="SYN-ACK is repeated though it was acknowledged",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="unknown",
        trigger="{synack_repeats} or more repeats of SYN-ACK on a connection whose ACK was seen",
        cause="A fault in a small TCP stack (checksum, address scope), or the ACK is lost on its way.",
        fix="Check the checksum of the ACK; update the stack.",
        refs=("RFC 9293",),
        gap="uncertain",
        limits=limits_of("transport", "synack_repeats"),
        uec="TCPConnectionTimeout",
        priority=70,
        example="Five SYN-ACK, an ACK after each.",
    )

    def start(self) -> None:
        self.answers: dict[int, list[Tcp]] = {}

    @on(Tcp, "open")
    def opened(self, ev: Tcp) -> None:
        self.arm()
        if len(self.answers) < KEPT:
            self.answers.setdefault(ev.stream, [])

    @on(Tcp, "synack")
    def answer(self, ev: Tcp) -> None:
        repeats = self.answers.get(ev.stream)
        if repeats is None:
            return  # the first one, before the connection is open
        repeats.append(ev)
        if len(repeats) == self.limit("synack_repeats"):
            self.fire(
                repeats,
                f"SYN-ACK was repeated {len(repeats)} times after the ACK.",
                values={"repeats": Value(len(repeats), "", self.limit("synack_repeats"), ">=")},
                since=repeats[0].t,
                side=sender(self.session, ev),
            )


@register
class RstMidSession(Check):
    """The best proof of an abort."""

    meta = Meta(
        id="tcp-rst-mid-session",
        title="The TCP connection is reset in the middle of the session",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger=(
            "RST on the session's connection after SessionSetupRes and before SessionStopRes (warning: before "
            "SessionSetupRes, or after one side had asked to stop; info: after SessionStopReq, or by the EVSE after it announced its stop)"
        ),
        cause="The side that reset aborted: a time-out, a fault, or a crash of its software.",
        fix="Look at the last exchange and its latency, and at the other findings right before; read that side's log.",
        refs=("V2G2-728",),
        gap="proceed",
        uec="TCPUnexpectedClose",
        priority=80,
        example="RST of the EV 2.0 s after an unanswered CableCheckReq.",
    )

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev: V2gMessage) -> None:
        self.arm()

    @on(Tcp, "rst")
    def reset(self, ev: Tcp) -> None:
        session = self.session
        if session.session_stop_res is not None or not session.messages or ev.stream not in session.streams:
            return
        if len(session.closes) > 1 or session.failed_negotiation is not None:
            return  # it was closing already
        side = sender(session, ev)
        # impatient, but the session was over: by SessionStop, or because the EVSE had said so
        stopping = session.session_stop_req is not None or _own_stop(session, side)
        self.fire(
            [*([session.pending] if session.pending is not None else []), ev],
            f"{side if side != 'unknown' else 'One side'} reset the connection" + _pending(session, ev) + _announced(session, side) + ".",
            side=side,
            severity="info" if stopping else None if session.setup_ok and session.stop_asked is None else "warning",
            effect="none" if stopping else None,
        )


@register
class FinEarly(Check):
    """An EV may close without a word in some states; it still explains the end."""

    meta = Meta(
        id="tcp-fin-early",
        title="The TCP connection is closed without SessionStop",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger=(
            "FIN on the session's connection without SessionStopReq, a FAILED response or a failed negotiation "
            "before (warning: before SessionSetupRes, or after one side had asked to stop; info: by the EVSE after it announced its stop)"
        ),
        cause="The side that closed dropped the session.",
        fix="Look at the last exchange and its latency, and at the other findings right before; read that side's log.",
        refs=("V2G2-728, V2G2-025", "ISO 15118-4"),
        gap="uncertain",
        needs=("unicast-both",),
        uec="TCPUnexpectedClose",
        priority=80,
        example="FIN of the SECC 0.4 ms after supportedAppProtocolReq.",
    )

    @on(V2gMessage, "supportedAppProtocolReq", "SessionSetupRes")
    def message(self, ev: V2gMessage) -> None:
        self.arm()

    @on(Tcp, "fin")
    def closed(self, ev: Tcp) -> None:
        session = self.session
        if not session.messages or ev.stream not in session.streams or len(session.closes) > 1:
            return
        if (
            session.session_stop_res is not None
            or session.session_stop_req is not None
            or session.failed_response is not None
            or session.failed_negotiation is not None
        ):
            return
        side = sender(session, ev)
        since = session.pending or session.last_response
        self.fire(
            [*([session.pending] if session.pending is not None else []), ev],
            f"{side if side != 'unknown' else 'One side'} closed the connection" + _pending(session, ev) + _announced(session, side) + _choice(session, side) + ".",
            side=side,
            severity="info" if _own_stop(session, side) else None if session.setup_ok and session.stop_asked is None else "warning",
            effect="none" if _own_stop(session, side) else None,
            since=since.t if since is not None else None,
        )


def _pending(session: Session, ev: Tcp) -> str:
    """What was open at that moment, in words."""
    if session.pending is not None and session.pending.message is not None:
        return f" {_after(ev.t - session.pending.t)} after {session.pending.message}, which was not answered{_offer(session)}"
    last = session.last_response
    return f" {_after(ev.t - last.t)} after {last.message}" if last is not None and last.message else ""


def _own_stop(session: Session, side: str) -> bool:
    """Did the side that closes announce its stop before? Then the close only ends what the other side did not."""
    return side == "SECC" and session.stop_asked_by == "SECC"


def _announced(session: Session, side: str) -> str:
    return f"; it had announced its stop in frame {session.stop_asked.frame}" if _own_stop(session, side) and session.stop_asked is not None else ""


def _choice(session: Session, side: str) -> str:
    """An EV that leaves between the EVSE's offer and its own parameters mostly misses a mode it can use: name what was offered."""
    if side != "EVCC" or not session.modes_offered or session.reached_at_least("parameters"):
        return ""
    return f"; the EVSE offers {', '.join(session.modes_offered)}, which this EV may not support"


def _after(t: int) -> str:
    """A time in words: milliseconds where seconds would show zeros."""
    return f"{t / 1e6:.1f} ms" if t < 10_000_000 else f"{seconds(t):.3f} s"


def _offer(session: Session) -> str:
    """What the EV had offered, where that was all it had said: a close instead of an answer mostly means that nothing in it suits."""
    if session.pending is None or session.pending.message != "supportedAppProtocolReq" or not session.sap_offer:
        return ""
    names = ", ".join(str(offer.get("ProtocolNamespace")) for offer in session.sap_offer[:8])
    return f". The EV offers {names}; a refusal should be the answer Failed_NoNegotiation"


@register
class CloseOrder(Check):
    """A race that some EVs misread."""

    meta = Meta(
        id="tcp-close-order",
        title="The SECC closes before the EV",
        severity="info",
        class_="implementation",
        effect="none",
        side="SECC",
        trigger="after SessionStopRes the SECC's FIN comes before the EV's",
        cause="The EVSE does not wait for the EV.",
        fix="EVSE: let the EV close first, close after 5 s.",
        refs=("EVerest CLIENT_FIN_TIMEOUT",),
        protocols=("din", "iso2"),
        uec="TCPError",
        priority=95,
        example="FIN of the SECC 2 ms after SessionStopRes.",
    )

    def start(self) -> None:
        self.stopped: V2gMessage | None = None

    @on(V2gMessage, "SessionStopRes")
    def stop(self, ev: V2gMessage) -> None:
        self.arm()
        self.stopped = ev

    @on(Tcp, "fin", "rst")
    def closed(self, ev: Tcp) -> None:
        stopped, self.stopped = self.stopped, None
        if stopped is not None and ev.kind == "fin" and sender(self.session, ev) == "SECC":
            self.fire([stopped, ev], f"The SECC's FIN came {1000 * seconds(ev.t - stopped.t):.1f} ms after SessionStopRes.", since=stopped.t)


@register
class CloseLate(Check):
    """From SessionStopRes."""

    meta = Meta(
        id="tcp-close-late",
        title="The TCP connection stays open after SessionStop",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="no FIN or RST within {close_wait} of SessionStopRes",
        cause="A hung session on one side.",
        fix="EVSE: close after 5 s.",
        refs=("V2G20-1643",),
        needs=("unicast-both",),
        limits=limits_of("transport", "close_wait"),
        uec="TCPError",
        priority=95,
        example="The connection is still open at unplugging.",
    )

    def start(self) -> None:
        self.stopped: V2gMessage | None = None

    @on(V2gMessage, "SessionStopRes")
    def stop(self, ev: V2gMessage) -> None:
        self.arm()
        self.stopped = ev
        self.at(ev.t + ns(self.limit("close_wait")), self.overdue)

    @on(Tcp, "fin", "rst")
    def closed(self, ev: Tcp) -> None:
        if self.stopped is not None:
            self.evaluated()
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.stopped is not None:
            self.fire(
                self.stopped,
                f"No FIN {self.limit('close_wait'):g} s after SessionStopRes.",
                values={"waited": Value(seconds(t - self.stopped.t), "s", self.limit("close_wait"), ">=")},
                since=self.stopped.t,
                t=t,
            )
