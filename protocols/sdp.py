"""SECC Discovery Protocol: how the EVCC finds address, port and security of the SECC.

Sources: ISO 15118-2 7.10.1 (V2GTP payload types 0x9000 and 0x9001), DIN SPEC 70121 8.7, ISO 15118-20 7.10.1 (0x9002
and 0x9003, whose first fields are the same and which carry more after them).
"""

from __future__ import annotations

from plugtap.protocols import events, ipv6, udp, v2gtp
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.ethernet import Link

REQUEST, RESPONSE = 0x9000, 0x9001
REQUEST_WIRELESS, RESPONSE_WIRELESS = 0x9002, 0x9003
TYPES = frozenset({REQUEST, RESPONSE, REQUEST_WIRELESS, RESPONSE_WIRELESS})
REQUEST_SIZE = 2
RESPONSE_SIZE = 20


def parse(
    t: int, frame: int, source: str, link: Link, packet: ipv6.Packet, datagram: udp.Datagram
) -> events.Sdp:
    """The SDP message in a datagram from or to port 15118.

    Raises DecodeError("sdp", …). Where the message could be read in spite of the error (wrong version bytes, bytes
    too many) it is the error's `partial`.
    """
    data = datagram.payload
    if len(data) < v2gtp.HEADER:
        raise DecodeError("sdp", len(data), "shorter than a V2GTP header")
    kind = int.from_bytes(data[2:4], "big")
    length = int.from_bytes(data[4:8], "big")
    if kind not in TYPES:
        raise DecodeError("sdp", 2, f"payload type 0x{kind:04X} is not SDP")
    body = data[8:]
    request = kind in (REQUEST, REQUEST_WIRELESS)
    wireless = kind in (REQUEST_WIRELESS, RESPONSE_WIRELESS)
    need = REQUEST_SIZE if request else RESPONSE_SIZE
    name = "request" if request else "response"
    if len(body) < need:
        raise DecodeError("sdp", len(data), f"{name} of {len(body)} bytes, {need} are needed")
    event = events.Sdp(
        t=t,
        frame=frame,
        source=source,
        request=request,
        src_mac=link.src,
        dst_mac=link.dst,
        src=packet.src,
        dst=packet.dst,
        src_port=datagram.src_port,
        dst_port=datagram.dst_port,
        security=body[need - 2],
        transport=body[need - 1],
        ip=None if request else body[:16],
        port=None if request else int.from_bytes(body[16:18], "big"),
        wireless=wireless,
    )
    if data[0] != v2gtp.VERSION or data[1] != v2gtp.INVERSE:
        raise DecodeError("sdp", 0, f"V2GTP version bytes {data[:2].hex()}, not 01fe", partial=event)
    if length != datagram.length - v2gtp.HEADER:
        reason = f"{name}: length field {length}, but {datagram.length - v2gtp.HEADER} bytes follow"
        raise DecodeError("sdp", 4, reason, partial=event)
    if length > need and not wireless:
        raise DecodeError("sdp", v2gtp.HEADER + need, f"{name} of {length} bytes, not {need}", partial=event)
    return event
