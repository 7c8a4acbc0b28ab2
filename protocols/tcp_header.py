"""TCP segments: the header (RFC 9293 3.1) of one packet."""

from __future__ import annotations

import msgspec

from plugtap.protocols import ipv6
from plugtap.protocols.errors import DecodeError

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A TCP segment. `length` is that of the payload on the wire: more than len(payload) when the capture was cut.

    `checksum` is a CHECKSUM_ constant of ipv6.py, `sum_field` the field itself.
    """

    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes
    length: int
    checksum: str
    sum_field: int


def parse(packet: ipv6.Packet) -> Segment:
    """The segment in `packet`. Raises DecodeError("tcp", …)."""
    data = packet.payload
    if len(data) < 20:
        raise DecodeError("tcp", len(data), "shorter than a TCP header")
    offset = (data[12] >> 4) * 4
    if offset < 20 or offset > len(data):
        raise DecodeError("tcp", 12, f"header length {offset} in a segment of {len(data)} bytes")
    payload = data[offset:]
    return Segment(
        int.from_bytes(data[0:2], "big"),
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        data[13],
        int.from_bytes(data[14:16], "big"),
        payload,
        len(payload) + packet.missing,
        ipv6.verify(packet, 16),
        int.from_bytes(data[16:18], "big"),
    )
