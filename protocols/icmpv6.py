"""ICMPv6: neighbour discovery and error messages. Sources: RFC 4443 (errors), RFC 4861 (neighbour discovery)."""

from __future__ import annotations

from plugtap.protocols import events, ipv6
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.ethernet import Link

# type -> (kind, fixed bytes before the options, position of the target address or None, link-layer option that counts)
SOURCE_LLADDR, TARGET_LLADDR = 1, 2
DISCOVERY: dict[int, tuple[str, int, int | None, int]] = {
    133: ("RS", 8, None, SOURCE_LLADDR),
    134: ("RA", 16, None, SOURCE_LLADDR),
    135: ("NS", 24, 8, SOURCE_LLADDR),
    136: ("NA", 24, 8, TARGET_LLADDR),
    137: ("redirect", 40, 8, TARGET_LLADDR),
}
UNSPECIFIED = b"\0" * 16
MAX_OPTIONS = 32


def parse(t: int, frame: int, source: str, link: Link, packet: ipv6.Packet) -> events.Event:
    """The event for an ICMPv6 message: Neighbor, IcmpError, or OtherTraffic ``icmpv6`` (echo, multicast listener …).

    Raises DecodeError("icmpv6", …) for messages too short and for broken options.
    """
    data = packet.payload
    if len(data) < 4:
        raise DecodeError("icmpv6", len(data), "shorter than an ICMPv6 header")
    kind = data[0]
    if 1 <= kind <= 4:
        return _error(t, frame, source, link, packet)
    if kind in DISCOVERY:
        return _discovery(t, frame, source, link, packet)
    return events.OtherTraffic(
        t=t, frame=frame, source=source, what="icmpv6", src_mac=link.src, dst_mac=link.dst, length=len(data)
    )


def _error(t: int, frame: int, source: str, link: Link, packet: ipv6.Packet) -> events.IcmpError:
    data = packet.payload
    inner = data[8:]
    known = len(inner) >= 40 and inner[0] >> 4 == 6
    return events.IcmpError(
        t=t,
        frame=frame,
        source=source,
        type=data[0],
        code=data[1],
        src_mac=link.src,
        dst_mac=link.dst,
        src=packet.src,
        dst=packet.dst,
        inner_src=inner[8:24] if known else None,
        inner_dst=inner[24:40] if known else None,
    )


def _discovery(t: int, frame: int, source: str, link: Link, packet: ipv6.Packet) -> events.Neighbor:
    data = packet.payload
    kind, fixed, at, wanted = DISCOVERY[data[0]]
    if len(data) < fixed:
        raise DecodeError("icmpv6", len(data), f"{kind} of {len(data)} bytes, at least {fixed} are needed")
    return events.Neighbor(
        t=t,
        frame=frame,
        source=source,
        kind=kind,
        src_mac=link.src,
        dst_mac=link.dst,
        src=packet.src,
        dst=packet.dst,
        target=None if at is None else data[at : at + 16],
        lladdr=_lladdr(data, fixed, wanted, bool(packet.missing)),
        dad=kind == "NS" and packet.src == UNSPECIFIED,
    )


def _lladdr(data: bytes, at: int, wanted: int, cut: bool) -> bytes | None:
    """The address in the first link-layer address option of type `wanted`. Options: type, length in units of 8 bytes.
    """
    for _ in range(MAX_OPTIONS):
        if at + 2 > len(data):
            return None
        size = data[at + 1] * 8
        if size == 0:
            raise DecodeError("icmpv6", at + 1, "an option of length 0")
        if at + size > len(data):
            if cut:
                return None
            raise DecodeError("icmpv6", at + 1, "an option exceeds the message")
        if data[at] == wanted:
            return data[at + 2 : at + 8]
        at += size
    return None
