"""What decoding yields: one typed value for each thing that happened.

Every event has `t` (ns since the epoch), `frame` (the 1-based number of the packet that completed it) and `source`.
Names are those of the standards. Fields hold what was on the wire; opinions live in checks/.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events."""

    t: int
    frame: int
    source: str = "plc"


# --- HomePlug ---------------------------------------------------------------------------------------------------


class Mme(Event, frozen=True, kw_only=True):
    """One HomePlug management message (after reassembly of fragments).

    `name` is the full name with its kind (``CM_SLAC_PARM.REQ``, or ``0xA14E`` when unknown). `body` is one of the typed
    messages of homeplug.py / slac.py, or None when the type is known by number only; `payload` is the raw rest after the MME header.
    """

    src: bytes  # 6 bytes, OSA
    dst: bytes  # 6 bytes, ODA
    mmv: int
    mmtype: int  # with the two low bits: REQ 0, CNF 1, IND 2, RSP 3
    name: str
    oui: bytes | None = None  # vendor MMEs only
    body: Any = None
    payload: bytes = b""


# --- IPv6, ND, UDP, SDP -----------------------------------------------------------------------------------------


class Neighbor(Event, frozen=True, kw_only=True):
    """ICMPv6 neighbour discovery (RFC 4861): kind is NS, NA, RS, RA or redirect."""

    kind: str
    src_mac: bytes
    dst_mac: bytes
    src: bytes  # 16 bytes
    dst: bytes
    target: bytes | None = None
    lladdr: bytes | None = None  # source or target link-layer address option
    dad: bool = False  # NS from :: (duplicate address detection)


class IcmpError(Event, frozen=True, kw_only=True):
    """ICMPv6 error (type 1..4) about a packet of `inner_src` to `inner_dst`."""

    type: int
    code: int
    src_mac: bytes
    dst_mac: bytes
    src: bytes
    dst: bytes
    inner_src: bytes | None = None
    inner_dst: bytes | None = None


class Sdp(Event, frozen=True, kw_only=True):
    """SECC Discovery Protocol request or response (ISO 15118-2 7.10.1).

    `security` is 0x00 TLS, 0x10 no transport security; `transport` 0x00 TCP. `ip` and `port` only in a response.
    """

    request: bool
    src_mac: bytes
    dst_mac: bytes
    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    security: int
    transport: int
    ip: bytes | None = None
    port: int | None = None
    wireless: bool = False  # payload types 0x9002/0x9003 of ISO 15118-20


class OtherTraffic(Event, frozen=True, kw_only=True):
    """A frame that is well formed and none of the protocols plugtap reads: `what` is a short bounded label (``ipv4``, ``mdns``, ``udp`` …)."""

    what: str
    src_mac: bytes
    dst_mac: bytes
    length: int = 0


class KeyLog(Event, frozen=True, kw_only=True):
    """TLS key-log lines (the NSS format) sent along in a UDP datagram to port 52345, as some test systems do. Secret."""

    src_mac: bytes
    lines: bytes


# --- TCP, TLS ---------------------------------------------------------------------------------------------------


class TcpPeer(msgspec.Struct, frozen=True):
    """One end of a TCP connection."""

    mac: bytes
    ip: bytes  # 16 bytes
    port: int


class Tcp(Event, frozen=True, kw_only=True):
    """A change or oddity on a TCP connection. `stream` counts connections from 0 in order of their first segment.

    `a` opened the connection (sent the SYN) where that was seen; else `a` is the first sender seen and `opener_seen` is False.
    `from_a` tells who sent the segment that caused the event (for gap, and data after it: who sent the bytes). A retried SYN or SYN-ACK
    is reported again under its own kind. kinds:

    ======================  =====================================================================================
    syn, synack, open       handshake; open when it is complete (or data seen without handshake)
    data                    new in-order bytes; `length` of them (sent once a segment, before what is in them)
    fin, rst, closed        closed when both directions have finished, or after a reset
    retransmission          bytes seen before came again; duplicate when the same segment was captured twice within 1 ms
    out-of-order, gap       a hole opened; gap when it was given up: `length` bytes are missing from the capture
    ack-unseen              the peer acknowledged bytes the capture does not have (the capture lost them)
    zero-window, keepalive, dup-ack
    reused                  the port pair starts over as a new connection
    overlap                 `length` bytes seen before came again with other content (the first ones count)
    bad-checksum            wrong, and not as checksum offload leaves it; the segment is used all the same
    ======================  =====================================================================================
    """

    kind: str
    stream: int
    a: TcpPeer
    b: TcpPeer
    from_a: bool
    length: int = 0
    seq: int = 0
    opener_seen: bool = True


class Tls(Event, frozen=True, kw_only=True):
    """A TLS record, or a handshake message in the clear.

    `kind`: client-hello, server-hello, certificate, certificate-request, alert, change-cipher-spec, handshake,
    application-data, encrypted. `version` as on the wire (0x0303), in hellos the negotiated or offered one. `values` of
    handshake messages: tls_handshake.py; an unreadable one has ``error``.
    """

    kind: str
    stream: int
    from_a: bool
    version: int = 0
    length: int = 0
    values: dict[str, Any] = msgspec.field(default_factory=dict)


# --- V2G --------------------------------------------------------------------------------------------------------


class V2gMessage(Event, frozen=True, kw_only=True):
    """One V2GTP message on a TCP stream, decoded or not.

    `index` counts the messages that complete in the same frame, from 0. `side` is who sent it. `content` is the tree of DESIGN section 5;
    `message` the name of the body element (``CurrentDemandReq``). Undecodable: `message` None, and `error` says where and why.
    """

    index: int
    stream: int
    src: TcpPeer
    dst: TcpPeer
    side: str  # EVCC, SECC, unknown
    payload_type: int
    schema: str | None
    message: str | None
    content: dict[str, Any] | None
    exi: bytes
    tls: bool = False
    guessed: bool = False  # the schema is a guess: no supportedAppProtocol seen
    proven: bool = False  # guessed, and enough messages of the connection have spoken for this schema before
    error: dict[str, Any] | None = None  # layer, offset, path, reason
    notes: tuple[str, ...] = ()  # trailing bytes, facet violations …
    variant: str = ""  # the codec whose own grammar was needed, because the schema's did not fit
    first_frame: int = 0  # the packet that carried the message's first byte
    first_t: int = 0

    body: dict[str, Any] = {}  # the message element's own content (below V2G_Message/Body for din and iso2); {} if undecoded
    header: dict[str, Any] = {}  # the V2G message header; {} for supportedAppProtocol and undecoded messages


class Redecoded(Event, frozen=True, kw_only=True):
    """A message given out before, decoded again: the schema of its connection had been a guess, and is known now.

    `message` is the message as it should have been, with its own time and frame; `t` and `frame` are those of the message that brought the
    knowledge. `schema_before` and `message_before` are what had been given out.
    """

    message: V2gMessage
    schema_before: str | None
    message_before: str | None


def message_parts(content: dict[str, Any] | None, message: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(body, header) of a decoded message: where they stand differs between the message sets."""
    if content is None or message is None:
        return {}, {}
    wrapped = content.get("V2G_Message")
    holder = wrapped.get("Body", {}) if isinstance(wrapped, dict) else content
    node = holder.get(message, {}) if isinstance(holder, dict) else {}
    body = node if isinstance(node, dict) else {}
    head = wrapped.get("Header", {}) if isinstance(wrapped, dict) else body.get("Header", {})
    return body, head if isinstance(head, dict) else {}


class V2gtpOddity(Event, frozen=True, kw_only=True):
    """The V2GTP byte stream is not as it should be. `kind`: resync (bytes skipped to the next header), version, inverse, length,
    payload-type, sdp-on-tcp, cut (a message whose end was lost), empty (payload of length 0)."""

    kind: str
    stream: int
    from_a: bool
    length: int = 0
    detail: str = ""


# --- control pilot ----------------------------------------------------------------------------------------------


class Pilot(Event, frozen=True, kw_only=True):
    """The control pilot changed: state letter with 1 (no PWM) or 2 (PWM), as IEC 61851-1 names them, or a significant change of duty or level.

    `state` is ``A1`` … ``F`` or ``?``; `before` the state until now (None at the first). `origin`: adc, or mme (a vendor MME carried it).
    """

    state: str
    before: str | None
    hi_mv: int
    lo_mv: int
    duty: float  # percent
    freq: float  # Hz
    origin: str = "adc"
    pp_ohm: int | None = None
    flags: int = 0


class PilotSample(Event, frozen=True, kw_only=True):
    """One pilot record as read (for checks of levels, duty and frequency); Pilot tells what it means. Same units as Pilot."""

    hi_mv: int
    lo_mv: int
    duty: float
    freq: float
    span: int
    cycles: int
    noise_mv: int = 0
    flags: int = 0
    state: str = "?"
    pp_mv: int | None = None
    pp_ohm: int | None = None
    origin: str = "adc"


# --- loss and damage --------------------------------------------------------------------------------------------


class Loss(Event, frozen=True, kw_only=True):
    """Something may have been missed. `kind`: drop (the capture lost `frames`), stream-gap (`length` bytes of `stream` in one direction),
    silence (no source gave anything for 30 s or more: a recording gap), cut (packet shorter than on the wire), clock-jump, rekey (the tap was blind),
    tap (any other tap event, in `detail`)."""

    kind: str
    frames: int = 0
    length: int = 0
    stream: int | None = None
    from_a: bool | None = None
    until: int = 0  # end of the blind time, ns (0: a moment)
    detail: str = ""


class Undecodable(Event, frozen=True, kw_only=True):
    """A frame, or an MME, IPv6, UDP or SDP packet that DecodeError was raised for."""

    layer: str
    offset: int
    reason: str
    src_mac: bytes | None = None
