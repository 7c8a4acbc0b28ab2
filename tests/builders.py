"""Packets by hand: link layers, IPv6 with extension headers, ICMPv6, UDP, TCP, V2GTP, and conversations of frames.

Checksums are added up word by word, in another way than the product verifies them, so that one mistake cannot hide the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from plugtap.protocols.items import LINKTYPE_ETHERNET, Frame

MS = 1_000_000
START = 1_700_000_000_000_000_000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_NODES_MAC = bytes.fromhex("333300000001")


@dataclass(frozen=True)
class Host:
    """A station: MAC, IPv6 address, TCP port."""

    mac: bytes
    ip: bytes
    port: int


EV = Host(bytes.fromhex("02000000000a"), bytes.fromhex("fe80000000000000000000fffe00000a"), 49152)
EVSE = Host(bytes.fromhex("02000000000b"), bytes.fromhex("fe80000000000000000000fffe00000b"), 61341)


def ethernet(payload: bytes, ethertype: int = 0x86DD, src: bytes = EV.mac, dst: bytes = EVSE.mac) -> bytes:
    """An Ethernet II frame, not padded."""
    return dst + src + struct.pack(">H", ethertype) + payload


def ipv6(payload: bytes, protocol: int, src: bytes = EV.ip, dst: bytes = EVSE.ip, hops: int = 64) -> bytes:
    """An IPv6 packet; `payload` starts with whatever `protocol` names."""
    return struct.pack(">IHBB", 0x60000000, len(payload), protocol, hops) + src + dst + payload


def extension(following: int, size: int = 8) -> bytes:
    """A hop-by-hop or destination options header of `size` bytes, padded with a PadN option."""
    return bytes((following, size // 8 - 1, 1, size - 4)) + bytes(size - 4)


def fragment(following: int, offset: int, more: bool, ident: int = 7) -> bytes:
    """A fragment header; `offset` in bytes."""
    return struct.pack(">BBHI", following, 0, offset | more, ident)


def ones_complement(src: bytes, dst: bytes, protocol: int, data: bytes) -> int:
    """The checksum over pseudo header and data (checksum field zero), RFC 1071 style."""
    buffer = src + dst + struct.pack(">II", len(data), protocol) + data + b"\0" * (len(data) % 2)
    total = 0
    for (word,) in struct.iter_unpack(">H", buffer):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def udp(payload: bytes, src: Host = EV, dst: Host = EVSE, sport: int = 50000, dport: int = 15118) -> bytes:
    """An Ethernet frame with a UDP datagram."""
    header = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    checksum = ones_complement(src.ip, dst.ip, 17, header + payload) or 0xFFFF
    datagram = header[:6] + struct.pack(">H", checksum) + payload
    return ethernet(ipv6(datagram, 17, src.ip, dst.ip), src=src.mac, dst=dst.mac)


def icmpv6(body: bytes, src: Host = EV, dst: Host = EVSE) -> bytes:
    """An Ethernet frame with an ICMPv6 message; `body` has type, code, two zero bytes and the rest."""
    checksum = ones_complement(src.ip, dst.ip, 58, body)
    message = body[:2] + struct.pack(">H", checksum) + body[4:]
    return ethernet(ipv6(message, 58, src.ip, dst.ip, 255), src=src.mac, dst=dst.mac)


def tcp_segment(src: Host, dst: Host, seq: int, ack: int, flags: int, payload: bytes = b"", window: int = 8192) -> bytes:
    """A TCP segment (no options) with its checksum."""
    head = struct.pack(">HHIIBBHHH", src.port, dst.port, seq % 2**32, ack % 2**32, 5 << 4, flags, window, 0, 0)
    checksum = ones_complement(src.ip, dst.ip, 6, head + payload)
    return head[:16] + struct.pack(">H", checksum) + head[18:] + payload


def tcp(src: Host, dst: Host, seq: int, ack: int, flags: int, payload: bytes = b"", window: int = 8192) -> bytes:
    """An Ethernet frame with a TCP segment."""
    segment = tcp_segment(src, dst, seq, ack, flags, payload, window)
    return ethernet(ipv6(segment, 6, src.ip, dst.ip), src=src.mac, dst=dst.mac)


def v2gtp(payload: bytes, kind: int = 0x8001, version: int = 1, inverse: int = 0xFE) -> bytes:
    """A V2GTP message."""
    return struct.pack(">BBHI", version, inverse, kind, len(payload)) + payload


def exi(number: int, size: int = 12) -> bytes:
    """A payload that starts as an EXI document does and carries `number`, to tell messages apart."""
    return (b"\x80\x9a" + struct.pack(">H", number)).ljust(size, b"\x55")


def sdp_request(security: int = 0x10) -> bytes:
    """The payload of an SDP request."""
    return v2gtp(bytes((security, 0)), 0x9000)


def sdp_response(host: Host = EVSE, security: int = 0x10) -> bytes:
    """The payload of an SDP response."""
    return v2gtp(host.ip + struct.pack(">H", host.port) + bytes((security, 0)), 0x9001)


def frames(data: Iterable[bytes], step: int = 10 * MS, link: int = LINKTYPE_ETHERNET) -> list[Frame]:
    """Frames numbered from 1, `step` ns apart."""
    return [Frame(t=START + i * step, number=i + 1, data=d, link=link) for i, d in enumerate(data)]


def renumbered(some: Iterable[Frame], *, keep_times: bool = False) -> list[Frame]:
    """The same frames in the order given, numbered from 1 and 10 ms apart unless their times are kept."""
    return [
        msgspec.structs.replace(f, number=i + 1, t=f.t if keep_times else START + i * 10 * MS) for i, f in enumerate(some)
    ]


@dataclass
class Talk:
    """A TCP conversation. Each call gives the next frame; sequence numbers advance by themselves.

    `a` is the opener. `seq` holds the next sequence number of a and b.
    """

    a: Host = EV
    b: Host = EVSE
    seq: list[int] = field(default_factory=lambda: [1000, 500_000])
    t: int = START
    number: int = 0
    step: int = 10 * MS
    window: int = 8192

    def frame(self, data: bytes) -> Frame:
        """Wrap bytes as the next frame."""
        self.number += 1
        self.t += self.step
        return Frame(t=self.t, number=self.number, data=data)

    def segment(
        self, from_a: bool, payload: bytes = b"", flags: int = ACK, *, back: int = 0, ack: int | None = None, window: int = -1
    ) -> Frame:
        """A segment that starts `back` bytes before the next one and does not advance anything."""
        me, other = (0, 1) if from_a else (1, 0)
        src, dst = (self.a, self.b) if from_a else (self.b, self.a)
        acknowledged = self.seq[other] if ack is None else ack
        if not flags & ACK:
            acknowledged = 0
        return self.frame(
            tcp(src, dst, self.seq[me] - back, acknowledged, flags, payload, self.window if window < 0 else window)
        )

    def syn(self) -> Frame:
        """The opener's SYN."""
        made = self.segment(True, flags=SYN)
        self.seq[0] += 1
        return made

    def synack(self) -> Frame:
        """The answer to it."""
        made = self.segment(False, flags=SYN | ACK)
        self.seq[1] += 1
        return made

    def open(self) -> list[Frame]:
        """The three-way handshake."""
        return [self.syn(), self.synack(), self.segment(True)]

    def send(self, from_a: bool, payload: bytes, window: int = -1) -> Frame:
        """New bytes."""
        made = self.segment(from_a, payload, PSH | ACK, window=window)
        self.seq[0 if from_a else 1] += len(payload)
        return made

    def ack(self, from_a: bool) -> Frame:
        """A bare acknowledgement of everything the other end sent."""
        return self.segment(from_a)

    def fin(self, from_a: bool) -> Frame:
        """The end of one direction."""
        made = self.segment(from_a, flags=FIN | ACK)
        self.seq[0 if from_a else 1] += 1
        return made

    def close(self) -> list[Frame]:
        """FIN, ACK, FIN, ACK; `a` first."""
        return [self.fin(True), self.ack(False), self.fin(False), self.ack(True)]

    def rst(self, from_a: bool) -> Frame:
        """A reset."""
        return self.segment(from_a, flags=RST | ACK)
