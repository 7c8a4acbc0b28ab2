"""UDP over IPv6 (RFC 768, RFC 8200 8.1) and short names for what is not SDP."""

from __future__ import annotations

import msgspec

from plugtap.protocols import ipv6
from plugtap.protocols.errors import DecodeError

SDP_PORT = 15118
KEYLOG_PORT = 52345  # TLS key-log lines sent along by test systems (dSPACE, RISE-V2G)

LABELS = {
    53: "dns",
    123: "ntp",
    514: "syslog",
    546: "dhcpv6",
    547: "dhcpv6",
    1900: "ssdp",
    3702: "ws-discovery",
    5353: "mdns",
    5355: "llmnr",
}


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """A UDP datagram. `payload` may be shorter than `length` when the capture was cut; `checksum` is a CHECKSUM_
    constant of ipv6.py.
    """

    src_port: int
    dst_port: int
    payload: bytes
    length: int  # of the payload, as the header says
    checksum: str


def parse(packet: ipv6.Packet) -> Datagram:
    """The datagram in `packet`. Raises DecodeError("udp", …)."""
    data = packet.payload
    if len(data) < 8:
        raise DecodeError("udp", len(data), "shorter than a UDP header")
    length = int.from_bytes(data[4:6], "big")
    if length < 8 or length > len(data) + packet.missing:
        raise DecodeError("udp", 4, f"length {length} in a packet of {len(data) + packet.missing} bytes")
    if length < len(data):  # RFC 768: the checksum covers `length` bytes, whatever follows them
        packet = msgspec.structs.replace(packet, payload=data[:length])
    return Datagram(
        int.from_bytes(data[0:2], "big"),
        int.from_bytes(data[2:4], "big"),
        data[8:length],
        length - 8,
        ipv6.verify(packet, 6),
    )


def label(datagram: Datagram) -> str:
    """A short name out of a bounded set for a datagram that plugtap does not read."""
    return LABELS.get(datagram.dst_port) or LABELS.get(datagram.src_port) or "udp"
