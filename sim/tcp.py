"""TCP between the virtual EV and EVSE: handshake, windows, retransmission, delayed acknowledgement, orderly and rude ends.

Small, but a real one (RFC 9293, RFC 6298): whatever the line loses, doubles, delays or damages, it repairs or gives up on as an
embedded stack would. Behaviour that real stacks get wrong is a switch in TcpSettings.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plugtap.sim.kernel import MS, SECOND, Mailbox, Timer, World
from plugtap.sim.wire import ACK, FIN, PSH, RST, SYN, Segment

MASK = 0xFFFFFFFF


class TcpSettings(msgspec.Struct, frozen=True):
    """How one side's stack behaves. Times in seconds."""

    mss: int = 1440
    window: int = 8192
    rto: float = 0.3  # first retransmission time-out
    rto_max: float = 4.0
    retries: int = 6
    syn_retry: float = 1.0
    syn_retries: int = 5
    delayed_ack: float = 0.04
    split: int = 0  # cut every message into segments of this many bytes (0: as large as the MSS allows)
    refuse: bool = False  # answer every SYN with RST
    deaf: bool = False  # never answer a SYN


class Closed(msgspec.Struct, frozen=True):
    """Put into the inbox when the connection ends: how is fin, rst, timeout."""

    how: str


def _before(a: int, b: int) -> bool:
    return ((a - b) & MASK) > 0x7FFFFFFF


class Connection:
    """One end of a TCP connection. `inbox` gives bytes, in order, and a Closed when the peer has finished or the line has."""

    def __init__(
        self, world: World, settings: TcpSettings, iss: int, transmit: Callable[[Connection, int, int, int, int, bytes, bytes], None],
        local_port: int, peer_ip: bytes, peer_port: int, on_gone: Callable[[Connection], None],
    ) -> None:  # fmt: skip
        self.world = world
        self.settings = settings
        self.local_port = local_port
        self.peer_ip = peer_ip
        self.peer_port = peer_port
        self.state = "closed"
        self.inbox: Mailbox[bytes | Closed] = Mailbox()
        self.opened: Mailbox[bool] = Mailbox()
        self.window = settings.window
        self._transmit = transmit
        self._on_gone = on_gone
        self._una = iss  # oldest byte not acknowledged
        self._next = iss  # next byte to send
        self._peer_window = 1
        self._mss = 536
        self._out = bytearray()  # from _una on: sent and not acknowledged, then not sent yet
        self._fin_queued = False
        self._fin_sent = False
        self._rcv = 0  # next byte expected
        self._early: dict[int, bytes] = {}  # segments after a hole
        self._fin_at: int | None = None
        self._rto_timer: Timer | None = None
        self._ack_timer: Timer | None = None
        self._persist_timer: Timer | None = None
        self._rto = round(settings.rto * SECOND)
        self._tries = 0
        self._dup_acks = 0
        self._unacked_segments = 0
        self.mute = False  # send nothing any more, not even acknowledgements: the stack hangs

    # -- what the party does ---------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Send the SYN; `opened` gives True or False."""
        self.state = "syn-sent"
        self._rto = round(self.settings.syn_retry * SECOND)
        self._send_syn()

    def send(self, data: bytes) -> None:
        """Queue bytes; they go out as windows allow."""
        if self.state in ("established", "close-wait") and not self._fin_queued:
            self._out += data
            self._push()

    def close(self) -> None:
        """Finish our direction: FIN after everything queued."""
        if self.state in ("established", "close-wait") and not self._fin_queued:
            self._fin_queued = True
            self._push()
        elif self.state in ("syn-sent", "syn-received"):
            self._gone("closed")

    def abort(self) -> None:
        """Reset the connection."""
        if self.state not in ("closed", "syn-sent"):
            self._emit(self._next, RST | ACK)
        self._gone("closed")

    def silence(self) -> None:
        """Go dead without a word (power loss, a hung stack)."""
        self.mute = True
        self._stop_timers()

    def set_window(self, size: int) -> None:
        """Advertise another receive window, and say so."""
        self.window = size
        if self.state in ("established", "close-wait"):
            self._ack_now()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _emit(self, seq: int, flags: int, payload: bytes = b"", options: bytes = b"") -> None:
        if self.mute:
            return
        if flags & ACK:
            self._unacked_segments = 0
            if self._ack_timer is not None:
                self._ack_timer.cancel()
                self._ack_timer = None
        self._transmit(self, seq & MASK, self._rcv if flags & ACK else 0, flags, self.window, payload, options)

    def _send_syn(self) -> None:
        option = b"\x02\x04" + self.settings.mss.to_bytes(2, "big")
        self._emit(self._una, SYN | (ACK if self.state == "syn-received" else 0), options=option)
        self._next = (self._una + 1) & MASK
        self._arm()

    def _push(self) -> None:
        if self.state not in ("established", "close-wait", "fin-wait-1", "last-ack"):
            return
        limit = min(self._mss, self.settings.split or self._mss)
        while not self._fin_sent:
            flying = (self._next - self._una) & MASK
            waiting = len(self._out) - flying
            room = self._peer_window - flying
            if waiting > 0 and room > 0:
                chunk = bytes(self._out[flying : flying + min(limit, waiting, room)])
                last = len(chunk) == waiting
                self._emit(self._next, ACK | (PSH if last else 0), chunk)
                self._next = (self._next + len(chunk)) & MASK
            elif waiting > 0 and flying == 0:
                self._persist()
                break
            elif waiting == 0 and self._fin_queued:
                self._emit(self._next, FIN | ACK)
                self._next = (self._next + 1) & MASK
                self._fin_sent = True
                self.state = "last-ack" if self.state == "close-wait" else "fin-wait-1"
            else:
                break
        if self._next != self._una and self._rto_timer is None:
            self._arm()

    def _persist(self) -> None:
        """The peer's window is closed: ask with one byte now and then whether it has opened (RFC 9293 3.8.6.1)."""
        if self._persist_timer is None:
            self._persist_timer = self.world.later(round(self.settings.rto * SECOND), self._probe)

    def _probe(self) -> None:
        self._persist_timer = None
        if self.state in ("established", "close-wait") and self._peer_window == 0 and self._out:
            self._emit(self._next, ACK, bytes(self._out[:1]))
            self._persist()

    def _arm(self) -> None:
        if self._rto_timer is not None:
            self._rto_timer.cancel()
        self._rto_timer = self.world.later(self._rto, self._timeout)

    def _timeout(self) -> None:
        self._rto_timer = None
        self._tries += 1
        opening = self.state in ("syn-sent", "syn-received")
        if self._tries > (self.settings.syn_retries if opening else self.settings.retries):
            self._gone("timeout")
            return
        self._rto = min(self._rto * 2, round(self.settings.rto_max * SECOND))
        if opening:
            self._send_syn()
        else:
            self._resend()
            self._arm()

    def _resend(self) -> None:
        """Send the oldest unacknowledged segment again."""
        flying = (self._next - self._una) & MASK
        data = min(len(self._out), flying)
        if data:
            self._emit(self._una, ACK | PSH, bytes(self._out[: min(self._mss, self.settings.split or self._mss, data)]))
        elif self._fin_sent:
            self._emit(self._una, FIN | ACK)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def accept(self, segment: Segment) -> None:
        """The first SYN of a peer (called by the listening node)."""
        self.state = "syn-received"
        self._rcv = (segment.seq + 1) & MASK
        self._read_options(segment.options)
        self._peer_window = segment.window
        self._rto = round(self.settings.syn_retry * SECOND)
        self._send_syn()

    def receive(self, segment: Segment) -> None:
        """A segment for this connection."""
        if self.mute or self.state == "closed":
            return
        if segment.flags & RST:
            self._gone("rst")
            return
        if self.state == "syn-sent":
            self._in_syn_sent(segment)
            return
        if segment.flags & SYN:
            # Our answer to the SYN got lost: say it again.
            if self.state == "syn-received":
                self._send_syn()
            else:
                self._ack_now()
            return
        if segment.flags & ACK:
            self._acknowledged(segment)
        if self.state != "closed" and (segment.payload or segment.flags & FIN):
            self._data(segment)

    def _in_syn_sent(self, segment: Segment) -> None:
        if segment.flags & (SYN | ACK) != SYN | ACK or segment.ack != self._next:
            return
        self._rcv = (segment.seq + 1) & MASK
        self._una = segment.ack
        self._read_options(segment.options)
        self._peer_window = segment.window
        self._established()
        self._emit(self._next, ACK)

    def _read_options(self, options: bytes) -> None:
        at = options.find(b"\x02\x04")
        if at >= 0 and len(options) >= at + 4:
            self._mss = min(int.from_bytes(options[at + 2 : at + 4], "big"), self.settings.mss)

    def _established(self) -> None:
        self._stop_timers()
        self._rto = round(self.settings.rto * SECOND)
        self._tries = 0
        self.state = "established"
        self.opened.put(True)

    def _acknowledged(self, segment: Segment) -> None:
        ack = segment.ack
        if self.state == "syn-received":
            if ack != self._next:
                return
            self._una = ack
            self._peer_window = segment.window
            self._established()
            return
        if _before(self._next, ack):
            return
        if ack == self._una:
            if not segment.payload and self._next != self._una and segment.window == self._peer_window:
                self._dup_acks += 1
                if self._dup_acks == 3:
                    self._resend()
            self._peer_window = segment.window
            self._push()
            return
        if _before(ack, self._una):
            return
        done = (ack - self._una) & MASK
        if self._fin_sent and ack == self._next:
            del self._out[: max(0, done - 1)]
            self._una = ack
            self._fin_acknowledged()
            return
        del self._out[:done]
        self._una = ack
        self._dup_acks = 0
        self._tries = 0
        self._rto = round(self.settings.rto * SECOND)
        self._peer_window = segment.window
        if self._rto_timer is not None:
            self._rto_timer.cancel()
            self._rto_timer = None
        self._push()

    def _fin_acknowledged(self) -> None:
        self._stop_timers()
        if self.state == "fin-wait-1":
            self.state = "fin-wait-2"
        elif self.state in ("last-ack", "closing"):
            self._gone("closed")

    def _data(self, segment: Segment) -> None:
        seq, payload = segment.seq, segment.payload
        if payload and self.window == 0:
            self._ack_now()
            return
        if segment.flags & FIN:
            self._fin_at = (seq + len(payload)) & MASK
        if payload:
            if _before(seq, self._rcv):
                skip = (self._rcv - seq) & MASK
                payload = payload[skip:] if skip < len(payload) else b""
                seq = self._rcv
            if payload and len(self._early) < 64:
                self._early[seq] = payload
        fresh = bytearray()
        while self._rcv in self._early:
            chunk = self._early.pop(self._rcv)
            fresh += chunk
            self._rcv = (self._rcv + len(chunk)) & MASK
        if fresh:
            self.inbox.put(bytes(fresh))
        if self._fin_at is not None and self._fin_at == self._rcv and self.state in ("established", "fin-wait-1", "fin-wait-2"):
            self._rcv = (self._rcv + 1) & MASK
            self._peer_finished()
            return
        self._unacked_segments += 1
        if not fresh or self._early or self._unacked_segments >= 2:
            self._ack_now()
        elif self._ack_timer is None:
            self._ack_timer = self.world.later(round(self.settings.delayed_ack * SECOND), self._ack_now)

    def _peer_finished(self) -> None:
        self._ack_now()
        if self.state == "established":
            self.state = "close-wait"
            self.inbox.put(Closed("fin"))
        elif self.state == "fin-wait-1":
            self.state = "closing"
            self.inbox.put(Closed("fin"))
        else:
            self._gone("fin")

    def _ack_now(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self.state != "closed":
            self._emit(self._next, ACK)

    def _stop_timers(self) -> None:
        for timer in (self._rto_timer, self._ack_timer, self._persist_timer):
            if timer is not None:
                timer.cancel()
        self._rto_timer = self._ack_timer = self._persist_timer = None

    def _gone(self, how: str) -> None:
        was = self.state
        self.state = "closed"
        self._stop_timers()
        if was in ("syn-sent", "syn-received"):
            self.opened.put(False)
        if how != "closed":
            self.inbox.put(Closed(how))
        # The port pair stays known for a moment, so that a late acknowledgement isn't answered by a reset.
        self.world.later(2 * SECOND if how != "rst" else MS, lambda: self._on_gone(self))
