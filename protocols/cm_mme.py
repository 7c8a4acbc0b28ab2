"""Management messages between a host and its own modem about keys, networks and the amplitude map.

HomePlug AV 1.1 (chapter 11), ISO 15118-3; checked against open-plc-utils (slac/), EVerest libslac and real modems.
"""

from __future__ import annotations

import hashlib

import msgspec

from plugtap.protocols.mme_codec import Codec, Layout, fixed, hide_key, take

# The key every HomePlug AV station has out of the box ("HomePlugAV"), and the network it makes.
DEFAULT_NMK = bytes.fromhex("50d3e4933f855b7040784df815aa8db7")
DEFAULT_NID = bytes.fromhex("b0f2e695666b03")

KEY_NMK = 0x01
PID_HLE = 0x04  # the protocol "set by higher layer entity"

# station role in CM_NW_INFO and VS_NW_INFO
ROLE_STA, ROLE_PCO, ROLE_CCO = range(3)


def nid_from_nmk(nmk: bytes, security_level: int = 0) -> bytes:
    """The default network id (7 bytes, 54 bits) that HomePlug AV derives from a network membership key.

    52 bits of SHA-256 applied five times, then two bits of security level (HomePlug AV 1.1; as in EVerest libslac).
    Networks may use another NID: a mismatch is a fact about the network, not an error. Raises ValueError for a key
    that is not 16 bytes long.
    """
    if len(nmk) != 16 or not 0 <= security_level <= 3:
        raise ValueError("an NMK of 16 bytes and a security level of 0 to 3")
    digest = nmk
    for _ in range(5):
        digest = hashlib.sha256(digest).digest()
    return digest[:6] + bytes([digest[6] >> 4 | security_level << 4])


class CmSetKeyReq(msgspec.Struct, frozen=True):
    """CM_SET_KEY.REQ, host to its own modem: join the network of `nid` with `new_key`. `new_key` is a secret.

    ISO 15118-3 wants `my_nonce` 0; Qualcomm's tools send aa:aa:aa:aa.
    """

    nid: bytes
    new_key: bytes
    key_type: int = KEY_NMK
    my_nonce: bytes = bytes(4)
    your_nonce: bytes = bytes(4)
    pid: int = PID_HLE
    prn: int = 0
    pmn: int = 0
    cco_capability: int = 0
    new_eks: int = 1

    def __repr__(self) -> str:
        return hide_key(self, "new_key")


class CmSetKeyCnf(msgspec.Struct, frozen=True):
    """CM_SET_KEY.CNF.

    `result` cannot be trusted: HomePlug AV says 0 success, 1 failure; a local Qualcomm modem answers 1 when it took
    the key (and restarts), 0 when it did nothing or is remote. Whether the key took shows in CM_NW_INFO or
    VS_PL_LINK_STATUS only.
    """

    result: int
    my_nonce: bytes = bytes(4)
    your_nonce: bytes = bytes(4)
    pid: int = PID_HLE
    prn: int = 0
    pmn: int = 0
    cco_capability: int = 0


class CmGetKeyReq(msgspec.Struct, frozen=True):
    """CM_GET_KEY.REQ. A modem refuses when `nid` is not its network's, but says which one it is."""

    nid: bytes
    request_type: int = 0  # 0 direct, 1 relayed
    key_type: int = KEY_NMK
    my_nonce: bytes = bytes(4)
    pid: int = PID_HLE
    prn: int = 0
    pmn: int = 0


class CmGetKeyCnf(msgspec.Struct, frozen=True):
    """CM_GET_KEY.CNF. `result`: 0 granted, 1 refused, 2 unsupported. `key` is a secret; all zero when refused."""

    result: int
    nid: bytes
    key: bytes
    key_type: int = KEY_NMK
    my_nonce: bytes = bytes(4)
    your_nonce: bytes = bytes(4)
    eks: int = 1
    pid: int = PID_HLE
    prn: int = 0
    pmn: int = 0

    def __repr__(self) -> str:
        return hide_key(self, "key")


class CmAmpMapReq(msgspec.Struct, frozen=True):
    """CM_AMP_MAP.REQ: `amlen` carriers, 4 bits each in `amdata` (two a byte, the first in the low half). 0 carriers
    is invalid.
    """

    amlen: int
    amdata: bytes


class CmAmpMapCnf(msgspec.Struct, frozen=True):
    """CM_AMP_MAP.CNF. `res_type` 0: success."""

    res_type: int = 0


class CmNwInfoReq(msgspec.Struct, frozen=True):
    """CM_NW_INFO.REQ: has no content."""


class Network(msgspec.Struct, frozen=True):
    """One network of CM_NW_INFO.CNF. `role`: 0 station, 1 proxy coordinator, 2 central coordinator."""

    nid: bytes
    snid: int
    tei: int
    role: int
    cco_mac: bytes
    access: int = 0
    num_coord: int = 0


class CmNwInfoCnf(msgspec.Struct, frozen=True):
    """CM_NW_INFO.CNF: the networks the modem is a member of; none while it is not associated."""

    networks: tuple[Network, ...] = ()


def _read_amp_map(data: bytes, pos: int, _mmv: int) -> CmAmpMapReq:
    amlen = int.from_bytes(take(data, pos, 2, "AMLEN"), "little")
    return CmAmpMapReq(amlen=amlen, amdata=take(data, pos + 2, (amlen + 1) // 2, "AMDATA"))


def _write_amp_map(body: CmAmpMapReq, _mmv: int) -> bytes:
    if len(body.amdata) != (body.amlen + 1) // 2 or not 0 <= body.amlen <= 0xFFFF:
        raise ValueError("amdata must hold amlen half bytes")
    return body.amlen.to_bytes(2, "little") + body.amdata


_NETWORK = Layout(
    ("nid", "7s"),
    ("snid", "B"),
    ("tei", "B"),
    ("role", "B"),
    ("cco_mac", "6s"),
    ("access", "B"),
    ("num_coord", "B"),
)


def _read_nw_info(data: bytes, pos: int, _mmv: int) -> CmNwInfoCnf:
    count = take(data, pos, 1, "NumNWs")[0]
    pos += 1
    return CmNwInfoCnf(networks=tuple(Network(**_NETWORK.read(data, pos + i * _NETWORK.size)) for i in range(count)))


def _write_nw_info(body: CmNwInfoCnf, _mmv: int) -> bytes:
    return bytes([len(body.networks)]) + b"".join(_NETWORK.write(network) for network in body.networks)


CODECS: tuple[Codec, ...] = (
    fixed(
        0x6008,
        CmSetKeyReq,
        ("key_type", "B"),
        ("my_nonce", "4s"),
        ("your_nonce", "4s"),
        ("pid", "B"),
        ("prn", "H"),
        ("pmn", "B"),
        ("cco_capability", "B"),
        ("nid", "7s"),
        ("new_eks", "B"),
        ("new_key", "16s"),
    ),
    fixed(
        0x6009,
        CmSetKeyCnf,
        ("result", "B"),
        ("my_nonce", "4s"),
        ("your_nonce", "4s"),
        ("pid", "B"),
        ("prn", "H"),
        ("pmn", "B"),
        ("cco_capability", "B"),
    ),
    fixed(
        0x600C,
        CmGetKeyReq,
        ("request_type", "B"),
        ("key_type", "B"),
        ("nid", "7s"),
        ("my_nonce", "4s"),
        ("pid", "B"),
        ("prn", "H"),
        ("pmn", "B"),
    ),
    fixed(
        0x600D,
        CmGetKeyCnf,
        ("result", "B"),
        ("key_type", "B"),
        ("my_nonce", "4s"),
        ("your_nonce", "4s"),
        ("nid", "7s"),
        ("eks", "B"),
        ("pid", "B"),
        ("prn", "H"),
        ("pmn", "B"),
        ("key", "16s"),
    ),
    Codec(0x601C, CmAmpMapReq, _read_amp_map, _write_amp_map),
    fixed(0x601D, CmAmpMapCnf, ("res_type", "B")),
    fixed(0x6038, CmNwInfoReq),
    Codec(0x6039, CmNwInfoCnf, _read_nw_info, _write_nw_info),
)
