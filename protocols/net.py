"""The network stack of a tap: frames with EtherType IPv6 become events and undecoded V2GTP messages.

Ethernet (ethernet.py) → IPv6 (ipv6.py) → ICMPv6, UDP with SDP, TCP (tcp.py) → per direction V2GTP (v2gtp.py) or TLS
(tls.py).
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from plugtap.protocols import ethernet, events, icmpv6, ipv6, sdp, tcp, tcp_header, tls, udp, v2gtp
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.ethernet import Link
from plugtap.protocols.events import TcpPeer
from plugtap.protocols.items import Frame
from plugtap.protocols.reassembly import Data, Hole

MAX_ENDPOINTS = 32  # SECC addresses learnt from SDP
MAX_INDEXED = 1024  # frames whose message count is remembered
DECIDE = 3  # bytes that tell V2GTP from TLS


class Limits(msgspec.Struct, frozen=True):
    """Caps of a NetDecoder; with the defaults it holds a few MB at the very worst, a few kB normally."""

    tcp: tcp.Limits = tcp.Limits()
    max_payload: int = 65536  # of one V2GTP message
    max_handshake: int = 65536  # of one TLS handshake message
    fragmented_packets: int = 16


class RawV2g(msgspec.Struct, frozen=True):
    """A V2GTP message on TCP, its payload not decoded yet.

    `frame` and `t` are those of the packet that completes it, `first_…` of the one with its first byte. Around
    given-up holes `frame` may be lower than that of a message handed out before. `index` counts messages and
    V2gtpOddity events of one frame. `side` is the sender's: known when the connection's opener was seen (the EVCC) or
    the SECC's address from SDP, else "unknown".
    """

    t: int
    frame: int
    source: str
    stream: int
    from_a: bool
    src: TcpPeer
    dst: TcpPeer
    payload_type: int
    payload: bytes
    first_frame: int
    first_t: int
    index: int
    after_hole: bool
    opener_seen: bool
    side: str


Output = events.Event | RawV2g
Found = v2gtp.Output | tls.Fact


class NetDecoder:
    """Decodes the IPv6 traffic of one tap. Feed frames in their order; nothing is raised whatever they hold.

    `counts` has checksum states (``tcp_checksum_bad`` …), lost bytes and hit caps; `endpoints` the (address, port)
    pairs that SDP responses announced, latest last.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._fragments = ipv6.Reassembler(self._limits.fragmented_packets)
        self._tracker = tcp.TcpTracker(self._limits.tcp)
        self._flows: dict[int, _Flow] = {}
        self._indexes: OrderedDict[int, int] = OrderedDict()
        self._source = "plc"
        self.endpoints: OrderedDict[tuple[bytes, int], int] = OrderedDict()  # -> time of the last response
        self.counts: Counter[str] = Counter()

    def feed(self, frame: Frame, link: Link) -> list[Output]:
        """Decode one frame. HomePlug frames yield nothing here, other EtherTypes OtherTraffic."""
        self._source = frame.source
        if link.ethertype == ethernet.ETH_IPV6:
            try:
                return self._ipv6(frame, link)
            except DecodeError as error:
                return self._failed(frame, link, error)
        if link.ethertype == ethernet.ETH_HOMEPLUG_AV:
            return []
        return [self._other(frame, link, ethernet.label(link.ethertype), len(link.payload))]

    def tick(self, t: int, frame: int) -> list[Output]:
        """Time has passed without a frame (`frame`: the last one): holes too old are given up."""
        return self._streams(self._tracker.tick(t, frame, self._source), t, frame)

    def finish(self, t: int, frame: int) -> list[Output]:
        """The items are over: give up what waits and report messages that were cut."""
        return self._streams(self._tracker.finish(t, frame, self._source), t, frame)

    # --- layers ---------------------------------------------------------------------------------------------------

    def _ipv6(self, frame: Frame, link: Link) -> list[Output]:
        out: list[Output] = []
        first = ipv6.parse(link.payload, frame.wire_len > len(frame.data))
        if first.fragment is not None:
            out.append(self._other(frame, link, "ipv6-fragment", len(first.payload)))
        try:
            packet = self._fragments.feed(frame.t, first)
            if packet is not None:
                out += self._upper(frame, link, packet)
        except DecodeError as error:
            out += self._failed(frame, link, error)
        self.counts["fragmented_packets_dropped"] = self._fragments.dropped
        return out

    def _upper(self, frame: Frame, link: Link, packet: ipv6.Packet) -> list[Output]:
        if packet.protocol == ipv6.TCP:
            return self._tcp(frame, link, packet)
        if packet.protocol == ipv6.UDP:
            return [self._udp(frame, link, packet)]
        if packet.protocol == ipv6.ICMPV6:
            self.counts[f"icmpv6_checksum_{ipv6.verify(packet, 2)}"] += 1
            return [icmpv6.parse(frame.t, frame.number, frame.source, link, packet)]
        return [self._other(frame, link, "ipv6", len(packet.payload))]

    def _udp(self, frame: Frame, link: Link, packet: ipv6.Packet) -> events.Event:
        datagram = udp.parse(packet)
        self.counts[f"udp_checksum_{datagram.checksum}"] += 1
        if udp.SDP_PORT in (datagram.src_port, datagram.dst_port):
            message = sdp.parse(frame.t, frame.number, frame.source, link, packet, datagram)
            self._learn(message)
            return message
        if udp.KEYLOG_PORT in (datagram.src_port, datagram.dst_port):
            return events.KeyLog(
                t=frame.t, frame=frame.number, source=frame.source, src_mac=link.src, lines=datagram.payload
            )
        return self._other(frame, link, udp.label(datagram), len(datagram.payload))

    def _tcp(self, frame: Frame, link: Link, packet: ipv6.Packet) -> list[Output]:
        segment = tcp_header.parse(packet)
        self.counts[f"tcp_checksum_{segment.checksum}"] += 1
        src = TcpPeer(link.src, packet.src, segment.src_port)
        dst = TcpPeer(link.dst, packet.dst, segment.dst_port)
        found = self._tracker.feed(frame.t, frame.number, frame.source, src, dst, segment)
        return self._streams(found, frame.t, frame.number)

    def _streams(self, found: list[tcp.Output], t: int, frame: int) -> list[Output]:
        """Events of the tracker as they are; pieces of byte streams through the reader of their direction."""
        out: list[Output] = []
        for item in found:
            if isinstance(item, events.Tcp):
                out.append(item)
            elif isinstance(item, tcp.Forgotten):
                self._flows.pop(item.connection.stream, None)
            else:
                self._piece(item, t, frame, out)
        self.counts["connections_dropped"] = self._tracker.dropped
        return out

    def _piece(self, item: tcp.Upward, t: int, frame: int, out: list[Output]) -> None:
        connection, from_a, piece = item.connection, item.from_a, item.piece
        flow = self._flows.get(connection.stream)
        if flow is None:
            flow = self._flows[connection.stream] = _Flow(self._limits)
        side = flow.of_a if from_a else flow.of_b
        if isinstance(piece, Data):
            side.joined = (connection.of_a if from_a else connection.of_b).bytes.isn is None
            results = side.feed(piece.data, piece.t, piece.frame)
        elif isinstance(piece, Hole):
            self.counts["stream_gaps"] += 1
            self.counts["stream_gap_bytes"] += piece.length
            loss = events.Loss(
                t=t, frame=frame, source=self._source, kind="stream-gap", length=piece.length,
                stream=connection.stream, from_a=from_a,
            )  # fmt: skip
            out.append(loss)
            results = side.hole(piece.length, piece.t, piece.frame)
        else:
            results = side.end(piece.t, piece.frame, piece.why)
        for result in results:
            out.append(self._result(connection, from_a, result))

    # --- events ---------------------------------------------------------------------------------------------------

    def _result(self, connection: tcp.Connection, from_a: bool, result: Found) -> Output:
        if isinstance(result, v2gtp.Message):
            return self._message(connection, from_a, result)
        if isinstance(result, v2gtp.Note):
            self._index(result.frame)
            return events.V2gtpOddity(
                t=result.t, frame=result.frame, source=self._source, kind=result.kind, stream=connection.stream,
                from_a=from_a, length=result.length, detail=result.detail,
            )  # fmt: skip
        return events.Tls(
            t=result.t, frame=result.frame, source=self._source, kind=result.kind, stream=connection.stream,
            from_a=from_a, version=result.version, length=result.length, values=result.values,
        )  # fmt: skip

    def _message(self, connection: tcp.Connection, from_a: bool, message: v2gtp.Message) -> RawV2g:
        src, dst = (connection.a, connection.b) if from_a else (connection.b, connection.a)
        return RawV2g(
            t=message.t,
            frame=message.frame,
            source=self._source,
            stream=connection.stream,
            from_a=from_a,
            src=src,
            dst=dst,
            payload_type=message.payload_type,
            payload=message.payload,
            first_frame=message.first_frame,
            first_t=message.first_t,
            index=self._index(message.frame),
            after_hole=message.after_hole,
            opener_seen=connection.opener_seen,
            side=self._side(connection, from_a),
        )

    def _side(self, connection: tcp.Connection, from_a: bool) -> str:
        if connection.opener_seen:
            return "EVCC" if from_a else "SECC"
        src, dst = (connection.a, connection.b) if from_a else (connection.b, connection.a)
        if (dst.ip, dst.port) in self.endpoints:
            return "EVCC"
        if (src.ip, src.port) in self.endpoints:
            return "SECC"
        return "unknown"

    def _index(self, frame: int) -> int:
        """The next index within `frame`; frames come back only around given-up holes, so few are remembered."""
        index = self._indexes.get(frame, 0)
        self._indexes[frame] = index + 1
        if len(self._indexes) > MAX_INDEXED:
            self._indexes.popitem(last=False)
        return index

    def _learn(self, message: events.Sdp) -> None:
        if message.ip is None or message.port is None:
            return
        key = (message.ip, message.port)
        self.endpoints[key] = message.t
        self.endpoints.move_to_end(key)
        if len(self.endpoints) > MAX_ENDPOINTS:
            self.endpoints.popitem(last=False)

    def _failed(self, frame: Frame, link: Link, error: DecodeError) -> list[Output]:
        out: list[Output] = []
        if isinstance(error.partial, events.Sdp):  # readable all the same
            self._learn(error.partial)
            out.append(error.partial)
        failure = events.Undecodable(
            t=frame.t, frame=frame.number, source=frame.source, layer=error.layer, offset=error.offset,
            reason=error.reason, src_mac=link.src,
        )  # fmt: skip
        out.append(failure)
        return out

    @staticmethod
    def _other(frame: Frame, link: Link, what: str, length: int) -> events.OtherTraffic:
        return events.OtherTraffic(
            t=frame.t, frame=frame.number, source=frame.source, what=what, src_mac=link.src, dst_mac=link.dst,
            length=length,
        )  # fmt: skip


# --- what a stream carries ----------------------------------------------------------------------------------------


class _Flow:
    """The two directions of one connection; what one of them carries tells about the other."""

    def __init__(self, limits: Limits) -> None:
        self.of_a = _Way(limits)
        self.of_b = _Way(limits)
        self.of_a.other, self.of_b.other = self.of_b, self.of_a


class _Way:
    """One direction: V2GTP, TLS, or unknown, decided by its first bytes; unknown ones are searched for V2GTP and
    never kept.
    """

    def __init__(self, limits: Limits) -> None:
        self.other: _Way | None = None
        self.joined = False  # the capture does not have the beginning
        self._limits = limits
        self._first: list[tuple[bytes, int, int]] = []  # undecided: fewer than DECIDE bytes
        self._hole = 0
        self._v2gtp: v2gtp.Reader | None = None
        self._tls: tls.Reader | None = None
        self._known = False  # it looked like what it is taken for

    @property
    def kind(self) -> str:
        """``v2gtp``, ``tls``, or "" while nothing proves it."""
        if not self._known:
            return ""
        return "tls" if self._tls is not None else "v2gtp"

    def feed(self, data: bytes, t: int, frame: int) -> list[Found]:
        """Take the next bytes of the stream."""
        if self._tls is not None:
            return [*self._tls.feed(data, t, frame)]
        if self._v2gtp is not None:
            if not self._known and self._is_tls(data):
                self._v2gtp = None
                self._tls = tls.Reader(self._limits.max_handshake, lost=True)
                self._known = True
                return [*self._tls.feed(data, t, frame)]
            out = self._v2gtp.feed(data, t, frame)
            self._known = self._known or bool(out)
            return [*out]
        self._first.append((data, t, frame))
        return self._decide() if sum(len(piece) for piece, _, _ in self._first) >= DECIDE else []

    def hole(self, length: int, t: int, frame: int) -> list[Found]:
        """`length` bytes of the stream are missing here."""
        out = self._decide() if self._first else []
        if self._tls is not None:
            self._tls.hole(length)
        elif self._v2gtp is not None:
            out += self._v2gtp.hole(length, t, frame)
        else:
            self._hole += length
        return out

    def end(self, t: int, frame: int, why: str) -> list[Found]:
        """The stream is over."""
        out = self._decide() if self._first else []
        if self._v2gtp is not None:
            out += self._v2gtp.end(t, frame, why)
        return out

    def _decide(self) -> list[Found]:
        """Choose the reader by the first bytes, else by what the other direction is, and give it what has waited."""
        pieces, self._first = self._first, []
        start = b"".join(piece for piece, _, _ in pieces)
        other = self.other.kind if self.other is not None else ""
        lost = self.joined or self._hole > 0
        starts_tls = len(start) >= DECIDE and start[0] in tls.CONTENT_TYPES and start[1] == 3 and start[2] <= 4
        out: list[Found] = []
        if starts_tls or (other == "tls" and not _starts_v2gtp(start)):
            self._tls = tls.Reader(self._limits.max_handshake, lost=lost or not starts_tls)
            self._known = True
            for piece in pieces:
                out += self._tls.feed(*piece)
            return out
        self._known = _starts_v2gtp(start)
        self._v2gtp = v2gtp.Reader(self._limits.max_payload, lost=not self._known, quiet=self.joined)
        if self._hole:
            out += self._v2gtp.hole(self._hole, pieces[0][1], pieces[0][2])
        for piece in pieces:
            out += self._v2gtp.feed(*piece)
        return out

    def _is_tls(self, data: bytes) -> bool:
        """Whether a segment in the middle of an unknown stream shows it to be TLS: joined inside a record."""
        if not tls.plausible(data):
            return False
        whole = tls.RECORD_HEADER + int.from_bytes(data[3:5], "big") == len(data)
        return whole or (self.other is not None and self.other.kind == "tls")


def _starts_v2gtp(start: bytes) -> bool:
    """Whether a stream starts with a V2GTP header, one of its two version bytes possibly wrong."""
    if start[:2] == v2gtp.START:
        return True
    return len(start) >= DECIDE and (start[0] == v2gtp.VERSION or start[1] == start[0] ^ 0xFF) and start[2] == 0x80
