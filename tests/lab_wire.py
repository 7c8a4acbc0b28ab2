"""Bytes for test conversations: HomePlug management messages, ICMPv6, UDP/SDP and TCP with right checksums.

Written apart from the product's decoders on purpose: a mistake made twice would hide itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

EV_MAC = bytes.fromhex("020000000e01")
EVSE_MAC = bytes.fromhex("020000000501")
EV_MODEM = bytes.fromhex("00b052000e01")
EVSE_MODEM = bytes.fromhex("00b052000501")
BROADCAST = b"\xff" * 6
RUN_ID = bytes.fromhex("a1a2a3a4a5a6a7a8")
NID = bytes.fromhex("11223344556607")
NMK = bytes.fromhex("000102030405060708090a0b0c0d0e0f")

MMTYPES = {
    "CM_SET_KEY.REQ": 0x6008,
    "CM_SET_KEY.CNF": 0x6009,
    "CM_AMP_MAP.REQ": 0x601C,
    "CM_AMP_MAP.CNF": 0x601D,
    "CM_SLAC_PARM.REQ": 0x6064,
    "CM_SLAC_PARM.CNF": 0x6065,
    "CM_START_ATTEN_CHAR.IND": 0x606A,
    "CM_ATTEN_CHAR.IND": 0x606E,
    "CM_ATTEN_CHAR.RSP": 0x606F,
    "CM_MNBC_SOUND.IND": 0x6076,
    "CM_VALIDATE.REQ": 0x6078,
    "CM_VALIDATE.CNF": 0x6079,
    "CM_SLAC_MATCH.REQ": 0x607C,
    "CM_SLAC_MATCH.CNF": 0x607D,
    "CM_ATTEN_PROFILE.IND": 0x6086,
}


def link_local(mac: bytes) -> bytes:
    """The EUI-64 link-local address of a MAC."""
    return bytes.fromhex("fe80000000000000") + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def ethernet(dst: bytes, src: bytes, ethertype: int, payload: bytes) -> bytes:
    """An Ethernet frame padded to 60 bytes."""
    return (dst + src + struct.pack(">H", ethertype) + payload).ljust(60, b"\0")


def mme(src: bytes, dst: bytes, mmtype: int, payload: bytes, mmv: int = 1) -> bytes:
    """A HomePlug AV 1.1 management message: MMV, MMTYPE, FMI, payload (a vendor message has its OUI in `payload`)."""
    fmi = b"" if mmv == 0 else b"\0\0"
    return ethernet(dst, src, 0x88E1, struct.pack("<BH", mmv, mmtype) + fmi + payload)


def slac_payload(name: str, f: dict[str, object]) -> bytes:
    """The payload of a SLAC message from its fields, named as in ISO 15118-3, in snake case."""

    def b(key: str, default: bytes) -> bytes:
        value = f.get(key, default)
        assert isinstance(value, bytes), key
        return value

    def i(key: str, default: int) -> bytes:
        value = f.get(key, default)
        assert isinstance(value, int), key
        return bytes([value])

    run, head = b("run_id", RUN_ID), i("application_type", 0) + i("security_type", 0)
    ev, evse = b("pev_mac", EV_MAC), b("evse_mac", EVSE_MAC)
    profile = b("aag", bytes([30] * 58))
    timing = i("num_sounds", 10) + i("time_out", 6) + i("resp_type", 1)
    ids = b("source_id", bytes(17)) + b("resp_id", bytes(17))
    match = b("pev_id", bytes(17)) + ev + b("evse_id", bytes(17)) + evse + run + bytes(8)
    length = f.get("mvf_length", 0x3E if name == "CM_SLAC_MATCH.REQ" else 0x56)
    assert isinstance(length, int)
    match name:
        case "CM_SLAC_PARM.REQ":
            return head + run
        case "CM_SLAC_PARM.CNF":
            return b("m_sound_target", BROADCAST) + timing + b("forwarding_sta", ev) + head + run
        case "CM_START_ATTEN_CHAR.IND":
            return head + timing + b("forwarding_sta", ev) + run
        case "CM_MNBC_SOUND.IND":
            return head + b("sender_id", bytes(17)) + i("cnt", 0) + run + bytes(8) + b("rnd", b"\xaa" * 16)
        case "CM_ATTEN_PROFILE.IND":
            return ev + bytes([len(profile), 0]) + profile
        case "CM_ATTEN_CHAR.IND":
            return head + ev + run + ids + i("num_sounds", 10) + bytes([len(profile)]) + profile
        case "CM_ATTEN_CHAR.RSP":
            return head + ev + run + ids + i("result", 0)
        case "CM_VALIDATE.REQ":
            return i("signal_type", 0) + i("timer", 0) + i("result", 1)
        case "CM_VALIDATE.CNF":
            return i("signal_type", 0) + i("toggle_num", 0) + i("result", 1)
        case "CM_SLAC_MATCH.REQ":
            return head + struct.pack("<H", length) + match
        case "CM_SLAC_MATCH.CNF":
            return head + struct.pack("<H", length) + match + b("nid", NID) + b"\0" + b("nmk", NMK)
        case "CM_SET_KEY.REQ":
            nonces = b("my_nonce", b"\xaa" * 4) + b("your_nonce", bytes(4))
            return i("key_type", 1) + nonces + b"\x04\0\0\0\0" + b("nid", NID) + i("new_eks", 1) + b("nmk", NMK)
        case "CM_SET_KEY.CNF":
            return i("result", 0) + b("my_nonce", b"\xbb" * 4) + b("your_nonce", b"\xaa" * 4) + b"\x04\0\0\0\0"
    raise ValueError(name)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv6(src: bytes, dst: bytes, next_header: int, payload: bytes, hop: int = 64) -> bytes:
    """An IPv6 packet without extension headers."""
    return struct.pack(">IHBB", 6 << 28, len(payload), next_header, hop) + src + dst + payload


def pseudo(src: bytes, dst: bytes, next_header: int, payload: bytes) -> bytes:
    """What upper-layer checksums cover (RFC 8200 section 8.1)."""
    return src + dst + struct.pack(">II", len(payload), next_header) + payload


@dataclass
class Host:
    """One station with its addresses."""

    mac: bytes
    port: int = 0
    ip: bytes = b""

    def __post_init__(self) -> None:
        self.ip = self.ip or link_local(self.mac)


def udp(src: Host, dst: Host, sport: int, dport: int, payload: bytes) -> bytes:
    """A UDP datagram in its Ethernet frame."""
    head = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    total = checksum(pseudo(src.ip, dst.ip, 17, head + payload)) or 0xFFFF
    packet = head[:6] + struct.pack(">H", total) + payload
    return ethernet(dst.mac, src.mac, 0x86DD, ipv6(src.ip, dst.ip, 17, packet))


def icmpv6(src: Host, dst: Host, kind: int, rest: bytes, code: int = 0) -> bytes:
    """An ICMPv6 message (hop limit 255, as neighbour discovery wants it)."""
    body = bytes([kind, code, 0, 0]) + rest
    body = body[:2] + struct.pack(">H", checksum(pseudo(src.ip, dst.ip, 58, body))) + body[4:]
    return ethernet(dst.mac, src.mac, 0x86DD, ipv6(src.ip, dst.ip, 58, body, 255))


def neighbor(src: Host, dst: Host, solicit: bool, target: bytes | None = None, lladdr: bytes | None = None) -> bytes:
    """Neighbour solicitation (135, to the solicited-node group) or advertisement (136, solicited and override)."""
    if solicit:
        target = dst.ip if target is None else target
        group = Host(b"\x33\x33\xff" + target[13:], ip=bytes.fromhex("ff0200000000000000000001ff") + target[13:])
        return icmpv6(src, group, 135, bytes(4) + target + b"\x01\x01" + (lladdr or src.mac))
    target = src.ip if target is None else target
    return icmpv6(src, dst, 136, b"\x60\0\0\0" + target + b"\x02\x01" + (lladdr or src.mac))


ALL_NODES = Host(bytes.fromhex("333300000001"), ip=bytes.fromhex("ff020000000000000000000000000001"))


def v2gtp(payload_type: int, payload: bytes, version: int = 1, inverse: int = 0xFE, length: int | None = None) -> bytes:
    """A V2GTP message; `length` overrides the right one."""
    return struct.pack(">BBHI", version, inverse, payload_type, len(payload) if length is None else length) + payload


@dataclass
class Connection:
    """Sequence numbers of one TCP connection; `ev` opened it."""

    ev: Host
    secc: Host
    seq: dict[str, int] = field(default_factory=lambda: {"EVCC": 1000, "SECC": 5000})

    def segment(self, side: str, flags: int, data: bytes = b"", window: int = 8192, seq: int | None = None) -> bytes:
        """One segment from `side`; advances its sequence number unless `seq` is given (a retransmission)."""
        src, dst = (self.ev, self.secc) if side == "EVCC" else (self.secc, self.ev)
        other = "SECC" if side == "EVCC" else "EVCC"
        number = self.seq[side] if seq is None else seq
        ack = self.seq[other] if flags & 0x10 else 0
        head = struct.pack(">HHIIBBHHH", src.port, dst.port, number, ack, 5 << 4, flags, window, 0, 0)
        total = checksum(pseudo(src.ip, dst.ip, 6, head + data))
        packet = head[:16] + struct.pack(">H", total) + head[18:] + data
        if seq is None:
            self.seq[side] = (number + len(data) + (1 if flags & 0x03 else 0)) & 0xFFFFFFFF
        return ethernet(dst.mac, src.mac, 0x86DD, ipv6(src.ip, dst.ip, 6, packet))


FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
