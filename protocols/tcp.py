"""TCP: segments of all connections become events, and a byte stream for each direction.

Sources: RFC 9293 (sequence numbers 3.4, states 3.3.2, keep-alives 3.8.4). Connections are numbered as
Wireshark's tcp.stream does: in order of their first segment; a SYN with another initial sequence number on a known
port pair starts a new one.

The capture is not one of the ends: segments may be missing from it that the ends have seen, and it may see one
direction only. So a hole is filled if its bytes come, and given up by the rules of `Direction.settle`.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

from plugtap.protocols import events, ipv6
from plugtap.protocols.ethernet import NO_MAC
from plugtap.protocols.events import TcpPeer
from plugtap.protocols.reassembly import WRAP, Data, Direction, Hole
from plugtap.protocols.tcp_header import ACK, FIN, RST, SYN, Segment

DUPLICATE_TIME = 1_000_000  # ns; events.Tcp: the same segment twice within 1 ms was captured twice
RECENT = 8  # segments of a direction kept to recognise that
FAR = 1 << 20  # bytes; a V2G connection never has more than a few kilobytes in flight


class Limits(msgspec.Struct, frozen=True):
    """Caps of a TcpTracker, bytes and pieces per direction."""

    connections: int = 128
    waiting_bytes: int = 65536
    waiting_pieces: int = 64
    hole_age: int = 5_000_000_000  # ns; longer than the first retransmission time-outs of most stacks
    history: int = 2048


class End(msgspec.Struct, frozen=True, gc=False):
    """No more bytes come in this direction; `why` is for a person."""

    why: str
    t: int
    frame: int


class Connection:
    """One TCP connection: `a` opened it, or sent the first segment seen (`opener_seen` False)."""

    def __init__(self, stream: int, a: TcpPeer, b: TcpPeer, opener_seen: bool, limits: Limits) -> None:
        self.stream = stream
        self.a = a
        self.b = b
        self.opener_seen = opener_seen
        self.open = False
        self.closed = False
        self.of_a = _Side(limits)
        self.of_b = _Side(limits)

    def restart(self, limits: Limits) -> None:
        """The opener was refused and tries again with the same initial number: for Wireshark the same stream too."""
        self.open = self.closed = False
        self.of_a, self.of_b = _Side(limits), _Side(limits)

    def is_a(self, peer: TcpPeer) -> bool:
        """Whether `peer` is `a`."""
        return peer.ip == self.a.ip and peer.port == self.a.port


class Upward(msgspec.Struct, frozen=True):
    """A piece of the byte stream that `a` (from_a) or `b` of `connection` sends."""

    connection: Connection
    from_a: bool
    piece: Data | Hole | End


class Forgotten(msgspec.Struct, frozen=True):
    """The byte streams of this connection are over: its port pair is used anew, or there are too many."""

    connection: Connection


Output = events.Tcp | Upward | Forgotten


class _Side:
    """What is remembered of one end of a connection."""

    def __init__(self, limits: Limits) -> None:
        self.bytes = Direction(limits.waiting_bytes, limits.waiting_pieces, limits.hole_age, limits.history)
        self.window = -1
        self.ack = -1  # last acknowledgement number sent
        self.unseen = 0  # position up to which acknowledged bytes of this end were reported missing
        self.recent: deque[tuple[tuple[int, ...], int, int]] = deque(maxlen=RECENT)  # identity, t, other's segments


class _Context(msgspec.Struct, frozen=True):
    """The segment at hand: who sent it on which connection, and where events go."""

    t: int
    frame: int
    source: str
    connection: Connection
    from_a: bool
    me: _Side
    other: _Side
    out: list[Output]

    def event(self, kind: str, length: int = 0, seq: int = 0) -> None:
        connection = self.connection
        self.out.append(
            events.Tcp(
                t=self.t,
                frame=self.frame,
                source=self.source,
                kind=kind,
                stream=connection.stream,
                a=connection.a,
                b=connection.b,
                from_a=self.from_a,
                length=length,
                seq=seq,
                opener_seen=connection.opener_seen,
            )
        )


class TcpTracker:
    """All TCP connections of a tap. `dropped` counts connections forgotten because there were too many."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._connections: OrderedDict[tuple[bytes, int, bytes, int], Connection] = OrderedDict()
        self._streams = 0
        self.dropped = 0

    def feed(self, t: int, frame: int, source: str, src: TcpPeer, dst: TcpPeer, segment: Segment) -> list[Output]:
        """Take one segment; returns, in order, what it shows and what of the byte streams can be read now."""
        out: list[Output] = []
        key = _key(src, dst)
        connection = self._connections.get(key)
        reused = connection is not None and _is_new(connection, src, segment)
        if connection is not None and reused:
            self._forget(key, t, frame, source, "the port pair is used for a new connection", out)
        if connection is None or reused:
            connection = self._open(key, src, dst, segment, t, frame, source, out)
        elif connection.closed and segment.flags & SYN:
            out.append(Forgotten(connection))
            connection.restart(self._limits)
        self._connections.move_to_end(key)
        from_a = connection.is_a(src)
        _learn_mac(connection, from_a, src)
        me, other = (connection.of_a, connection.of_b) if from_a else (connection.of_b, connection.of_a)
        context = _Context(t, frame, source, connection, from_a, me, other, out)
        if reused:
            context.event("reused", seq=segment.seq)
        _segment(context, segment)
        return out

    def tick(self, t: int, frame: int, source: str) -> list[Output]:
        """Time has passed without a segment: give up holes that have become too old."""
        out: list[Output] = []
        for connection in self._connections.values():
            a, b = connection.of_a, connection.of_b
            if a.bytes.waiting:
                _settle(_Context(t, frame, source, connection, True, a, b, out))
            if b.bytes.waiting:
                _settle(_Context(t, frame, source, connection, False, b, a, out))
        return out

    def finish(self, t: int, frame: int, source: str) -> list[Output]:
        """The capture is over: give up all holes and end all streams."""
        out: list[Output] = []
        for key in list(self._connections):
            self._forget(key, t, frame, source, "the capture ends", out)
        return out

    def _open(
        self, key: tuple[bytes, int, bytes, int], src: TcpPeer, dst: TcpPeer, segment: Segment, t: int, frame: int,
        source: str, out: list[Output],
    ) -> Connection:  # fmt: skip
        if len(self._connections) >= self._limits.connections:
            oldest = next((k for k, c in self._connections.items() if c.closed), next(iter(self._connections)))
            self.dropped += 1
            self._forget(oldest, t, frame, source, "too many connections at once", out)
        answer = segment.flags & (SYN | ACK) == SYN | ACK
        a, b = (dst, src) if answer else (src, dst)
        connection = Connection(self._streams, a, b, bool(segment.flags & SYN), self._limits)
        self._streams += 1
        self._connections[key] = connection
        return connection

    def _forget(
        self, key: tuple[bytes, int, bytes, int], t: int, frame: int, source: str, why: str, out: list[Output]
    ) -> None:
        connection = self._connections.pop(key)
        for from_a in (True, False):
            me, other = (connection.of_a, connection.of_b) if from_a else (connection.of_b, connection.of_a)
            _end(_Context(t, frame, source, connection, from_a, me, other, out), why)
        out.append(Forgotten(connection))


# --- one segment --------------------------------------------------------------------------------------------------


def _segment(context: _Context, segment: Segment) -> None:
    me, other = context.me, context.other
    flags = segment.flags
    if _captured_twice(context, segment):
        context.event("duplicate", segment.length, segment.seq)
        return
    me.bytes.segments += 1
    if segment.checksum == ipv6.CHECKSUM_BAD:
        context.event("bad-checksum", segment.length, segment.seq)
    if flags & SYN:
        _syn(context, segment)
        return
    if flags & RST:
        context.event("rst", seq=segment.seq)
        _reset(context)
        return
    if not me.bytes.anchored:
        me.bytes.anchor(segment.seq, soft=not segment.length)
    # The opener's ACK proves the SYN-ACK, captured or not.
    shaken = context.from_a and flags & ACK and context.connection.opener_seen
    if not context.connection.open and (segment.length or shaken):
        context.connection.open = True
        context.event("open", seq=segment.seq)
    if flags & ACK and segment.checksum != ipv6.CHECKSUM_BAD:
        _acknowledge(context, segment)
    _oddities(context, segment)
    damaged = segment.checksum == ipv6.CHECKSUM_BAD and abs(me.bytes.position(segment.seq) - me.bytes.end) > FAR
    if segment.payload and not damaged and not _is_keepalive(context, segment):
        _data(context, segment)
    fin = bool(flags & FIN) and not damaged and _fin(context, segment)
    moved_on = me.ack not in (-1, segment.ack)
    me.window, me.ack = segment.window, segment.ack
    _settle(_swapped(context))  # first what the acknowledgement gave up, then this end's own holes
    _settle(context, moved_on, fin=segment.seq if fin else None)
    if me.bytes.ended and other.bytes.ended and not context.connection.closed:
        context.connection.closed = True
        context.event("closed")


def _syn(context: _Context, segment: Segment) -> None:
    """SYN and SYN-ACK; a repeated one is reported again under the same name, so that retries can be counted."""
    direction = context.me.bytes
    if direction.isn != segment.seq:
        direction.isn = segment.seq
        direction.anchor((segment.seq + 1) % WRAP)
    context.me.window, context.me.ack = segment.window, segment.ack
    context.event("synack" if segment.flags & ACK else "syn", seq=segment.seq)
    if segment.payload:  # TCP Fast Open
        _data(context, msgspec.structs.replace(segment, seq=(segment.seq + 1) % WRAP))


def _acknowledge(context: _Context, segment: Segment) -> None:
    """What this end has received: `ack-unseen` when the capture has less."""
    other = context.other
    direction = other.bytes
    if not direction.anchored or (context.connection.opener_seen and not context.connection.open):
        return  # before the handshake is done, an acknowledgement may belong to the connection before
    position = direction.position(segment.ack)
    if position - direction.end > FAR:  # damaged
        return
    direction.acked = max(direction.acked, position)
    if position > direction.end and position > other.unseen:
        missing = position - max(direction.end, other.unseen)
        other.unseen = position
        context.event("ack-unseen", missing, segment.ack)


def _oddities(context: _Context, segment: Segment) -> None:
    me = context.me
    if segment.window == 0:
        context.event("zero-window", seq=segment.seq)
    if segment.length > 1 or segment.flags & FIN:
        return
    if _is_keepalive(context, segment):
        context.event("keepalive", segment.length, segment.seq)
    elif (
        segment.length == 0
        and segment.window == me.window != 0
        and segment.ack == me.ack
        and me.bytes.position(segment.seq) == me.bytes.end
    ):
        context.event("dup-ack", seq=segment.seq)


def _is_keepalive(context: _Context, segment: Segment) -> bool:
    """RFC 9293 3.8.4: the sequence number one before the next byte, with no data or that one old byte."""
    direction = context.me.bytes
    return (
        segment.length <= 1
        and not segment.flags & (SYN | FIN | RST)
        and direction.fin is None
        and direction.position(segment.seq) == direction.end - 1
        and (segment.length == 0 or direction.next == direction.end)
    )


def _data(context: _Context, segment: Segment) -> None:
    arrival = context.me.bytes.feed(segment.seq, segment.payload, context.t, context.frame)
    if arrival.old:
        context.event("retransmission", arrival.old, segment.seq)
    if arrival.differing:
        context.event("overlap", arrival.differing, segment.seq)
    if arrival.opened:
        context.event("out-of-order", arrival.opened, segment.seq)
    if arrival.pieces:
        context.event("data", sum(len(piece.data) for piece in arrival.pieces), segment.seq)
        for piece in arrival.pieces:
            context.out.append(Upward(context.connection, context.from_a, piece))


def _fin(context: _Context, segment: Segment) -> bool:
    """Where this direction ends; False for a repeated FIN. The event itself follows the gap that the FIN reveals (`_settle`)."""
    direction = context.me.bytes
    position = direction.position(segment.seq) + segment.length
    if direction.fin is not None:
        context.event("retransmission", 0, segment.seq)
        return False
    direction.fin = max(position, direction.next)
    return True


def _reset(context: _Context) -> None:
    for owner in (context, _swapped(context)):
        _end(owner, "RST")
    if not context.connection.closed:
        context.connection.closed = True
        context.event("closed")


def _settle(context: _Context, moved_on: bool = False, fin: int | None = None) -> None:
    """Give up what will not come in this direction, and end it when its FIN is reached.

    When only one end is heard, no acknowledgement will ever be seen. But V2G is request and response in turn (ISO
    15118-2 8.8.1): if this end has received more (`moved_on`) since the hole, the other end had what is missing here.
    """
    direction = context.me.bytes
    one_sided = context.other.bytes.segments == 0
    force = one_sided and (moved_on or direction.fin is not None)
    _upward(context, direction.settle(context.t, context.frame, force=force))
    if fin is not None:
        context.event("fin", seq=fin)
    if direction.complete():
        _finish(context, "FIN")


def _end(context: _Context, why: str) -> None:
    """Give up the holes of this direction and end it."""
    _upward(context, context.me.bytes.settle(context.t, context.frame, force=True))
    _finish(context, why)


def _finish(context: _Context, why: str) -> None:
    if not context.me.bytes.ended:
        context.me.bytes.ended = True
        context.out.append(Upward(context.connection, context.from_a, End(why, context.t, context.frame)))


def _upward(context: _Context, pieces: list[Data | Hole]) -> None:
    """Report pieces that were waiting: a gap for each hole, data with the time and frame of its own packet."""
    for piece in pieces:
        if isinstance(piece, Hole):
            context.event("gap", piece.length)
        else:
            msgspec.structs.replace(context, t=piece.t, frame=piece.frame).event("data", len(piece.data))
        context.out.append(Upward(context.connection, context.from_a, piece))


def _swapped(context: _Context) -> _Context:
    """The same moment, seen from the other end."""
    return msgspec.structs.replace(context, from_a=not context.from_a, me=context.other, other=context.me)


def _captured_twice(context: _Context, segment: Segment) -> bool:
    """Whether this very segment came a moment ago: captured on two interfaces, or on its way in and out.

    A bare acknowledgement may honestly be repeated, but only in answer to something the other end sent in between.
    """
    me = context.me
    identity = (segment.seq, segment.ack, segment.flags, segment.window, segment.length, segment.sum_field)
    heard = context.other.bytes.segments
    bare = segment.length == 0 and not segment.flags & (SYN | FIN | RST)
    for known, t, heard_then in me.recent:
        if known == identity and abs(context.t - t) <= DUPLICATE_TIME and not (bare and heard != heard_then):
            return True
    me.recent.append((identity, context.t, heard))
    return False


def _is_new(connection: Connection, src: TcpPeer, segment: Segment) -> bool:
    """Whether a segment on a known port pair belongs to a new connection."""
    from_a = connection.is_a(src)
    me, other = (connection.of_a, connection.of_b) if from_a else (connection.of_b, connection.of_a)
    mine, theirs = me.bytes, other.bytes
    if segment.flags & SYN:
        if mine.isn == segment.seq:
            return False
        if segment.flags & ACK and theirs.isn is not None and segment.ack == (theirs.isn + 1) % WRAP:
            # What answered before may have been left over from an earlier connection (RFC 9293 3.5.2), unless it brought data.
            return mine.next > 0
        if mine.isn is not None:
            return True
        if segment.flags & ACK:
            return mine.anchored or from_a
        late = theirs.isn is not None and other.ack == (segment.seq + 1) % WRAP
        return not late or mine.anchored
    if not mine.anchored or segment.flags & RST or segment.checksum == ipv6.CHECKSUM_BAD:
        return False
    distance = mine.position(segment.seq) - mine.end
    if segment.payload and mine.fin is not None and distance > 0:  # data behind its own FIN
        return True
    if abs(distance) <= FAR or not segment.flags & ACK:
        return False
    # Far off with a right checksum: the SYN of a new connection was not captured.
    return not theirs.anchored or abs(theirs.position(segment.ack) - theirs.end) > FAR


def _learn_mac(connection: Connection, from_a: bool, src: TcpPeer) -> None:
    """Cooked captures have no destination address: take a peer's from its first own segment."""
    if src.mac == NO_MAC:
        return
    if from_a and connection.a.mac == NO_MAC:
        connection.a = src
    elif not from_a and connection.b.mac == NO_MAC:
        connection.b = src


def _key(src: TcpPeer, dst: TcpPeer) -> tuple[bytes, int, bytes, int]:
    if (src.ip, src.port) <= (dst.ip, dst.port):
        return src.ip, src.port, dst.ip, dst.port
    return dst.ip, dst.port, src.ip, src.port
