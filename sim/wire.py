"""Bytes of the virtual line: Ethernet, IPv6, ICMPv6, UDP, TCP and V2GTP, built and read the way the bench's parties need them.

Written for the simulator alone: plugtap.protocols is what is under test, so the bench does not lean on it here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

BROADCAST = b"\xff" * 6
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
UNSPECIFIED = bytes(16)
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_HOMEPLUG = 0x88E1
NEXT_TCP, NEXT_UDP, NEXT_ICMPV6 = 6, 17, 58
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT = 135, 136


def mac_text(mac: bytes) -> str:
    """``02:53:00:00:00:01``."""
    return mac.hex(":")


def link_local(mac: bytes) -> bytes:
    """The EUI-64 link-local address of a MAC (RFC 4291 2.5.6)."""
    return bytes.fromhex("fe80000000000000") + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def solicited_node(ip: bytes) -> bytes:
    """The multicast address that a neighbour solicitation for `ip` goes to (RFC 4291 2.7.1)."""
    return bytes.fromhex("ff0200000000000000000001ff") + ip[13:]


def multicast_mac(ip: bytes) -> bytes:
    """33:33 and the last four bytes of a multicast address (RFC 2464 7)."""
    return b"\x33\x33" + ip[12:]


def ethernet(dst: bytes, src: bytes, ethertype: int, payload: bytes) -> bytes:
    """A frame without FCS, padded to the 60 bytes Ethernet asks for."""
    return (dst + src + ethertype.to_bytes(2, "big") + payload).ljust(60, b"\0")


def checksum(data: bytes) -> int:
    """The ones' complement sum of RFC 1071, as a number: 16-bit words summed modulo 0xFFFF."""
    if len(data) % 2:
        data += b"\0"
    rest = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - rest if rest else 0


def _ipv6(src: bytes, dst: bytes, next_header: int, payload: bytes, hop_limit: int, checksum_at: int) -> bytes:
    pseudo = src + dst + struct.pack("!II", len(payload), next_header)
    total = checksum(pseudo + payload)
    if next_header == NEXT_UDP and total == 0:
        total = 0xFFFF
    payload = payload[:checksum_at] + total.to_bytes(2, "big") + payload[checksum_at + 2 :]
    return struct.pack("!IHBB", 0x60000000, len(payload), next_header, hop_limit) + src + dst + payload


def udp(src_mac: bytes, dst_mac: bytes, src: bytes, dst: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram in it."""
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ethernet(dst_mac, src_mac, ETHERTYPE_IPV6, _ipv6(src, dst, NEXT_UDP, datagram, 64, 6))


def neighbor_solicitation(mac: bytes, src: bytes, target: bytes, dst: bytes | None = None) -> bytes:
    """An ICMPv6 neighbour solicitation (RFC 4861 4.3); from the unspecified address it is duplicate address detection."""
    option = b"" if src == UNSPECIFIED else b"\x01\x01" + mac
    body = struct.pack("!BBHI", NEIGHBOR_SOLICITATION, 0, 0, 0) + target + option
    group = dst or solicited_node(target)
    return ethernet(multicast_mac(group), mac, ETHERTYPE_IPV6, _ipv6(src, group, NEXT_ICMPV6, body, 255, 2))


def neighbor_advertisement(mac: bytes, src: bytes, dst_mac: bytes, dst: bytes, lladdr: bytes) -> bytes:
    """An ICMPv6 neighbour advertisement (RFC 4861 4.4), solicited and overriding."""
    body = struct.pack("!BBHI", NEIGHBOR_ADVERTISEMENT, 0, 0, 0x60000000) + src + b"\x02\x01" + lladdr
    return ethernet(dst_mac, mac, ETHERTYPE_IPV6, _ipv6(src, dst, NEXT_ICMPV6, body, 255, 2))


def router_advertisement(mac: bytes, src: bytes) -> bytes:
    """An ICMPv6 router advertisement to all nodes (RFC 4861 4.2): nothing that belongs on a charging line."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + mac
    frame = _ipv6(src, ALL_NODES, NEXT_ICMPV6, body, 255, 2)
    return ethernet(multicast_mac(ALL_NODES), mac, ETHERTYPE_IPV6, frame)


def icmp_unreachable(mac: bytes, src: bytes, dst_mac: bytes, dst: bytes, code: int, about: bytes) -> bytes:
    """An ICMPv6 destination unreachable (RFC 4443 3.1) about the IPv6 packet `about`."""
    body = struct.pack("!BBHI", 1, code, 0, 0) + about[:1232]
    return ethernet(dst_mac, mac, ETHERTYPE_IPV6, _ipv6(src, dst, NEXT_ICMPV6, body, 64, 2))


def tcp(
    src_mac: bytes, dst_mac: bytes, src: bytes, dst: bytes, sport: int, dport: int,
    seq: int, ack: int, flags: int, window: int, payload: bytes = b"", options: bytes = b"",
) -> bytes:  # fmt: skip
    """An Ethernet frame with a TCP segment in it; `options` already padded to a multiple of four."""
    offset = (5 + len(options) // 4) << 4
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset, flags, window, 0, 0) + options + payload
    return ethernet(dst_mac, src_mac, ETHERTYPE_IPV6, _ipv6(src, dst, NEXT_TCP, segment, 64, 16))


class Packet(NamedTuple):
    """An IPv6 packet as a party reads it. `rest` is what the next header's own header is followed by."""

    src_mac: bytes
    dst_mac: bytes
    src: bytes
    dst: bytes
    next_header: int
    body: bytes


class Segment(NamedTuple):
    """A TCP segment as a party reads it."""

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes


def read_ipv6(frame: bytes) -> Packet | None:
    """The packet in an Ethernet frame; None when it is not IPv6, is cut, or its checksum is wrong."""
    if len(frame) < 54 or frame[12:14] != b"\x86\xdd":
        return None
    length = int.from_bytes(frame[18:20], "big")
    body = frame[54 : 54 + length]
    if len(body) < length:
        return None
    src, dst = frame[22:38], frame[38:54]
    next_header = frame[20]
    if next_header in (NEXT_TCP, NEXT_UDP, NEXT_ICMPV6):
        pseudo = src + dst + struct.pack("!II", length, next_header)
        if checksum(pseudo + body) != 0:
            return None
    return Packet(frame[6:12], frame[0:6], src, dst, next_header, body)


def read_tcp(body: bytes) -> Segment | None:
    """The TCP segment in an IPv6 body; None when it is too short."""
    if len(body) < 20:
        return None
    sport, dport, seq, ack, offset, flags, window, _, _ = struct.unpack_from("!HHIIBBHHH", body)
    start = (offset >> 4) * 4
    if start < 20 or start > len(body):
        return None
    return Segment(sport, dport, seq, ack, flags, window, body[20:start], body[start:])


V2GTP_HEADER = struct.Struct("!BBHI")
SDP_REQUEST, SDP_RESPONSE, EXI_MESSAGE = 0x9000, 0x9001, 0x8001


def v2gtp(payload_type: int, payload: bytes, version: int = 0x01, inverse: int = 0xFE, length: int | None = None) -> bytes:
    """A V2GTP message (ISO 15118-2 7.8.3); version, inverse and length can be made wrong."""
    return V2GTP_HEADER.pack(version, inverse, payload_type, len(payload) if length is None else length) + payload
