"""IPv6: header, extension headers, bounded reassembly of fragments, and the checksum that UDP, TCP and ICMPv6 share.

Sources: RFC 8200 (header 3, extension headers 4, checksum 8.1), RFC 5722 (overlapping fragments), RFC 6946 (atomic
fragments).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from plugtap.protocols.errors import DecodeError

HOP_BY_HOP = 0
TCP = 6
UDP = 17
ROUTING = 43
FRAGMENT = 44
AUTHENTICATION = 51
ICMPV6 = 58
NO_NEXT = 59
DESTINATION = 60
MOBILITY = 135
CHAINED = frozenset({HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION, MOBILITY})

MAX_HEADERS = 16  # extension headers in one packet: no honest sender uses more than a handful


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """The fragment header of a packet: `offset` in bytes, `more` fragments follow, `ident`ification."""

    offset: int
    more: bool
    ident: int


class Packet(msgspec.Struct, frozen=True, gc=False):
    """An IPv6 packet behind its extension headers.

    `protocol` is the upper-layer protocol (for a fragment: the header that follows the fragment header). `missing`
    bytes of the payload are not in the capture (snap length). `fragment` is None for a whole packet. `fragmented`
    stays True after reassembly. `routed`: a routing header still has segments to visit, so the checksum cannot be
    verified.
    """

    src: bytes  # 16 bytes
    dst: bytes  # 16 bytes
    protocol: int
    payload: bytes
    missing: int = 0
    hop_limit: int = 0
    fragment: Fragment | None = None
    fragmented: bool = False
    routed: bool = False


def parse(data: bytes, cut: bool = False) -> Packet:
    """The packet in `data`, which starts with the IPv6 header; bytes after the payload length are padding and ignored.

    `cut` says that the capture shortened the frame: then a payload shorter than its length field is taken as it is.
    Raises DecodeError("ipv6", …) for everything that cannot be IPv6.
    """
    if len(data) < 40:
        raise DecodeError("ipv6", len(data), "shorter than an IPv6 header")
    if data[0] >> 4 != 6:
        raise DecodeError("ipv6", 0, f"version {data[0] >> 4}, not 6")
    length = int.from_bytes(data[4:6], "big")
    end = 40 + length
    missing = max(0, end - len(data))
    if missing and not cut:
        raise DecodeError("ipv6", 4, f"payload length {length}, but {len(data) - 40} bytes follow the header")
    src, dst = data[8:24], data[24:40]
    protocol, at, fragment, routed = _extensions(data, data[6], min(end, len(data)), cut)
    return Packet(src, dst, protocol, data[at:end], missing, data[7], fragment, fragment is not None, routed)


def _extensions(data: bytes, protocol: int, end: int, cut: bool) -> tuple[int, int, Fragment | None, bool]:
    """Walk the extension headers from byte 40: upper-layer protocol, its position, the fragment header, unfinished
    route.
    """
    at = 40
    routed = False
    for _ in range(MAX_HEADERS):
        if protocol == FRAGMENT:  # what follows it is read after reassembly
            if at + 8 > end:
                raise DecodeError("ipv6", at, "cut in a fragment header")
            word = int.from_bytes(data[at + 2 : at + 4], "big")
            ident = int.from_bytes(data[at + 4 : at + 8], "big")
            return data[at], at + 8, Fragment(word & 0xFFF8, bool(word & 1), ident), routed
        if protocol not in CHAINED:
            return protocol, at, None, routed
        if at + 8 > end:
            reason = "the capture ends in an extension header" if cut else "an extension header exceeds the packet"
            raise DecodeError("ipv6", at, reason)
        size = (data[at + 1] + 2) * 4 if protocol == AUTHENTICATION else (data[at + 1] + 1) * 8
        if protocol == ROUTING and data[at + 3]:
            routed = True
        if at + size > end:
            raise DecodeError("ipv6", at + 1, "an extension header exceeds the packet")
        protocol = data[at]
        at += size
    raise DecodeError("ipv6", at, f"more than {MAX_HEADERS} extension headers")


class _Pending:
    """Fragments of one packet, not complete yet."""

    __slots__ = ("parts", "protocol", "size", "started", "total")

    def __init__(self, started: int) -> None:
        self.parts: dict[int, bytes] = {}
        self.total: int | None = None
        self.protocol: int | None = None
        self.size = 0
        self.started = started


class Reassembler:
    """Puts fragments together; holds at most `max_packets` packets of at most `max_bytes` each.

    A packet is dropped when fragments overlap with different extent (RFC 5722), when it grows too large, when it is the
    oldest of too many, or `timeout` ns after its first fragment (RFC 8200 4.5: 60 s). `dropped` counts them all.
    """

    def __init__(self, max_packets: int = 16, max_bytes: int = 65535, timeout: int = 60_000_000_000) -> None:
        self._pending: OrderedDict[tuple[bytes, bytes, int], _Pending] = OrderedDict()
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._timeout = timeout
        self.dropped = 0

    def feed(self, t: int, packet: Packet) -> Packet | None:
        """The whole packet when `packet` completes it, else None. A packet without fragment header comes back
        unchanged.

        Raises DecodeError("ipv6", …) when the fragment, or what it completes, cannot be right.
        """
        fragment = packet.fragment
        if fragment is None:
            return packet
        if fragment.offset == 0 and not fragment.more:  # RFC 6946: atomic, never mixed with others
            return self._whole(packet, packet.protocol, packet.payload)
        key = (packet.src, packet.dst, fragment.ident)
        pending = self._pending.get(key)
        if pending is not None and not 0 <= t - pending.started <= self._timeout:
            self._drop(key)
            pending = None
        if packet.missing:
            raise DecodeError("ipv6", 40, "a fragment cut by the snap length")
        data = packet.payload
        if fragment.more and (len(data) % 8 or not data):
            raise DecodeError("ipv6", 4, f"a fragment of {len(data)} bytes that is not the last")
        if fragment.offset + len(data) > self._max_bytes:
            if pending is not None:
                self._drop(key)
            raise DecodeError("ipv6", 42, f"fragments exceed {self._max_bytes} bytes")
        if pending is None:
            if len(self._pending) >= self._max_packets:
                self._drop(next(iter(self._pending)))
            pending = self._pending[key] = _Pending(t)
        self._add(key, pending, packet.protocol, fragment, data)
        if pending.total is None or pending.size != pending.total or pending.protocol is None:
            return None
        del self._pending[key]
        payload = b"".join(pending.parts[offset] for offset in sorted(pending.parts))
        return self._whole(packet, pending.protocol, payload)

    def _add(
        self, key: tuple[bytes, bytes, int], pending: _Pending, protocol: int, fragment: Fragment, data: bytes
    ) -> None:
        start, end = fragment.offset, fragment.offset + len(data)
        known = pending.parts.get(start)
        if known is not None and len(known) == len(data):  # the same fragment again: the first one counts
            return
        if any(start < at + len(part) and at < end for at, part in pending.parts.items()):
            self._drop(key)
            raise DecodeError("ipv6", 42, "overlapping fragments")
        if not fragment.more:
            pending.total = end
        furthest = max(end, *(at + len(part) for at, part in pending.parts.items()), 0)
        if pending.total is not None and furthest > pending.total:
            self._drop(key)
            raise DecodeError("ipv6", 42, "a fragment beyond the last one")
        if start == 0:
            pending.protocol = protocol
        pending.parts[start] = data
        pending.size += len(data)

    def _drop(self, key: tuple[bytes, bytes, int]) -> None:
        del self._pending[key]
        self.dropped += 1

    @staticmethod
    def _whole(packet: Packet, protocol: int, payload: bytes) -> Packet:
        """A packet without fragment header; headers of the fragmentable part are read now."""
        routed = packet.routed
        missing = packet.missing
        if protocol in CHAINED:
            header = b"\x60\0\0\0" + min(len(payload), 0xFFFF).to_bytes(2, "big") + bytes((protocol, packet.hop_limit))
            inner, at, again, inner_routed = _extensions(
                header + packet.src + packet.dst + payload, protocol, 40 + len(payload), bool(missing)
            )
            if again is not None:
                raise DecodeError("ipv6", 40, "a fragment inside reassembled fragments")
            protocol, payload, routed = inner, payload[at - 40 :], routed or inner_routed
        elif protocol == FRAGMENT:
            raise DecodeError("ipv6", 40, "a fragment inside reassembled fragments")
        return Packet(packet.src, packet.dst, protocol, payload, missing, packet.hop_limit, None, True, routed)


# --- checksum -----------------------------------------------------------------------------------------------------

CHECKSUM_OK = "ok"
CHECKSUM_OFFLOAD = "offload"  # the field has the sum of the pseudo header only: the network card is to finish it
CHECKSUM_BAD = "bad"
CHECKSUM_UNKNOWN = "unknown"  # cut, or a route not walked to its end


def pseudo_sum(src: bytes, dst: bytes, length: int, protocol: int) -> int:
    """Sum of the pseudo header of RFC 8200 8.1, modulo 0xFFFF."""
    return (int.from_bytes(src, "big") + int.from_bytes(dst, "big") + length + protocol) % 0xFFFF


def checksum(src: bytes, dst: bytes, protocol: int, payload: bytes) -> int:
    """The value of the checksum field for `payload`, in which that field is zero (1..0xFFFF; 0 is sent as 0xFFFF)."""
    # 2**16 is 1 modulo 0xFFFF, so the remainder of the payload as one number is its ones' complement sum.
    padded = payload + b"\0" if len(payload) & 1 else payload
    total = (pseudo_sum(src, dst, len(payload), protocol) + int.from_bytes(padded, "big")) % 0xFFFF
    return 0xFFFF - total


def verify(packet: Packet, at: int) -> str:
    """Whether the checksum field at byte `at` of the payload is right: one of the CHECKSUM_ constants.

    Checksum offload makes unfinished checksums normal on frames a host sends and captures itself: a fact, never an
    error.
    """
    payload = packet.payload
    if packet.missing or packet.routed or len(payload) < at + 2:
        return CHECKSUM_UNKNOWN
    padded = payload + b"\0" if len(payload) & 1 else payload
    pseudo = pseudo_sum(packet.src, packet.dst, len(payload), packet.protocol)
    if (pseudo + int.from_bytes(padded, "big")) % 0xFFFF == 0:
        return CHECKSUM_OK
    field = int.from_bytes(payload[at : at + 2], "big")
    if field % 0xFFFF == pseudo:
        return CHECKSUM_OFFLOAD
    return CHECKSUM_BAD
