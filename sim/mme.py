"""HomePlug management messages of the bench: SLAC, key management and the modem's vendor messages, as bytes.

Layouts as ISO 15118-3 Annex A and the HomePlug Green PHY specification give them. Built here from fields, not with plugtap's own
encoders: what the decoders are tested with should not come from the same hand.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from plugtap.sim.wire import ETHERTYPE_HOMEPLUG, ethernet

LOCAL_MODEM = bytes.fromhex("00b052000001")
OUI_QUALCOMM = bytes.fromhex("00b052")
GROUPS = 58

SLAC_PARM, START_ATTEN_CHAR, ATTEN_CHAR, MNBC_SOUND = 0x6064, 0x6068, 0x606C, 0x6074
VALIDATE, SLAC_MATCH, ATTEN_PROFILE = 0x6078, 0x607C, 0x6084
SET_KEY, GET_KEY, AMP_MAP, NW_INFO, LINK_STATS = 0x6008, 0x600C, 0x601C, 0x6038, 0x6048
VS_SW_VER, VS_RS_DEV, VS_NW_INFO, VS_ATTRIBUTES, VS_LINK_STATUS, VS_ATTEN_CHAR = 0xA000, 0xA01C, 0xA038, 0xA068, 0xA0B8, 0xA14C
REQ, CNF, IND, RSP = 0, 1, 2, 3

NAMES = {
    SLAC_PARM: "CM_SLAC_PARM", START_ATTEN_CHAR: "CM_START_ATTEN_CHAR", ATTEN_CHAR: "CM_ATTEN_CHAR", MNBC_SOUND: "CM_MNBC_SOUND",
    VALIDATE: "CM_VALIDATE", SLAC_MATCH: "CM_SLAC_MATCH", ATTEN_PROFILE: "CM_ATTEN_PROFILE", SET_KEY: "CM_SET_KEY",
    GET_KEY: "CM_GET_KEY", AMP_MAP: "CM_AMP_MAP", NW_INFO: "CM_NW_INFO", VS_SW_VER: "VS_SW_VER", VS_RS_DEV: "VS_RS_DEV",
    VS_NW_INFO: "VS_NW_INFO", VS_ATTRIBUTES: "VS_OP_ATTRIBUTES", VS_LINK_STATUS: "VS_PL_LINK_STATUS",
    VS_ATTEN_CHAR: "VS_ATTENUATION_CHARACTERISTICS",
}  # fmt: skip
_KINDS = (".REQ", ".CNF", ".IND", ".RSP")


class Mme(NamedTuple):
    """A management message as a party or modem reads it; `body` begins after the MME header (and FMI)."""

    dst: bytes
    src: bytes
    mmv: int
    mmtype: int
    body: bytes

    @property
    def name(self) -> str:
        """``CM_SLAC_PARM.REQ``."""
        return NAMES.get(self.mmtype & ~3, f"0x{self.mmtype & ~3:04X}") + _KINDS[self.mmtype & 3]


def build(dst: bytes, src: bytes, mmtype: int, body: bytes, mmv: int = 1) -> bytes:
    """An Ethernet frame with one management message."""
    header = struct.pack("<BH", mmv, mmtype) + (b"\0\0" if mmv else b"")
    return ethernet(dst, src, ETHERTYPE_HOMEPLUG, header + body)


def read(frame: bytes) -> Mme | None:
    """The management message in a frame; None when there is none."""
    if len(frame) < 19 or frame[12:14] != b"\x88\xe1":
        return None
    mmv, mmtype = struct.unpack_from("<BH", frame, 14)
    return Mme(frame[0:6], frame[6:12], mmv, mmtype, frame[19 if mmv else 17 :])


def nid_of(nmk: bytes, security_level: int = 0) -> bytes:
    """The network id of a membership key: SHA-256 applied five times, its first 52 bits, and the security level."""
    digest = nmk
    for _ in range(5):
        digest = hashlib.sha256(digest).digest()
    return digest[:6] + bytes([digest[6] >> 4 | security_level << 4])


# -- SLAC ----------------------------------------------------------------------------------------------------------------


def slac_parm_req(run_id: bytes) -> bytes:
    """Body of CM_SLAC_PARM.REQ: no security."""
    return b"\0\0" + run_id


def slac_parm_cnf(ev: bytes, run_id: bytes, sounds: int = 10, timeout: int = 6, resp_type: int = 1) -> bytes:
    """Body of CM_SLAC_PARM.CNF; `timeout` in 100 ms."""
    return b"\xff" * 6 + bytes([sounds, timeout, resp_type]) + ev + b"\0\0" + run_id


def start_atten_char(ev: bytes, run_id: bytes, sounds: int = 10, timeout: int = 6) -> bytes:
    """Body of CM_START_ATTEN_CHAR.IND."""
    return bytes([0, 0, sounds, timeout, 1]) + ev + run_id


def mnbc_sound(run_id: bytes, remaining: int, noise: bytes) -> bytes:
    """Body of CM_MNBC_SOUND.IND; `remaining` counts down, `noise` is 16 random bytes."""
    return b"\0\0" + bytes(17) + bytes([remaining & 0xFF]) + run_id + bytes(8) + noise


def atten_profile(ev: bytes, groups: bytes) -> bytes:
    """Body of CM_ATTEN_PROFILE.IND: what the modem heard of one sound, dB per group."""
    return ev + bytes([len(groups), 0]) + groups


def atten_char_ind(ev: bytes, run_id: bytes, sounds: int, groups: bytes) -> bytes:
    """Body of CM_ATTEN_CHAR.IND: the average over `sounds` sounds, dB per group."""
    return b"\0\0" + ev + run_id + bytes(34) + bytes([sounds, len(groups)]) + groups


def atten_char_rsp(ev: bytes, run_id: bytes, result: int = 0) -> bytes:
    """Body of CM_ATTEN_CHAR.RSP."""
    return b"\0\0" + ev + run_id + bytes(34) + bytes([result])


def validate_req(timer: int, result: int = 1) -> bytes:
    """Body of CM_VALIDATE.REQ: signal type 0 (the EV toggles the pilot), `timer` in 100 ms less one."""
    return bytes([0, timer, result])


def validate_cnf(toggles: int, result: int) -> bytes:
    """Body of CM_VALIDATE.CNF; result 1 ready, 2 success, 3 failure, 4 not required."""
    return bytes([0, toggles, result])


def slac_match_req(ev: bytes, evse: bytes, run_id: bytes) -> bytes:
    """Body of CM_SLAC_MATCH.REQ."""
    return b"\0\0" + struct.pack("<H", 0x3E) + bytes(17) + ev + bytes(17) + evse + run_id + bytes(8)


def slac_match_cnf(ev: bytes, evse: bytes, run_id: bytes, nid: bytes, nmk: bytes) -> bytes:
    """Body of CM_SLAC_MATCH.CNF, with the key of the network."""
    return b"\0\0" + struct.pack("<H", 0x56) + bytes(17) + ev + bytes(17) + evse + run_id + bytes(8) + nid + b"\0" + nmk


# -- keys and vendor messages --------------------------------------------------------------------------------------------


def set_key_req(nid: bytes, nmk: bytes) -> bytes:
    """Body of CM_SET_KEY.REQ: key type NMK, protocol HLE."""
    return b"\x01" + b"\xaa" * 4 + bytes(4) + b"\x04" + bytes(4) + nid + b"\x01" + nmk


def set_key_cnf(result: int, my_nonce: bytes) -> bytes:
    """Body of CM_SET_KEY.CNF. Qualcomm modems say 0x01 when they took the key."""
    return bytes([result]) + my_nonce + b"\xaa" * 4 + b"\x04" + bytes(2) + b"\xff\0"


def amp_map_req(carriers: int = 917) -> bytes:
    """Body of CM_AMP_MAP.REQ: no attenuation on any carrier, four bits each."""
    return struct.pack("<H", carriers) + bytes((carriers + 1) // 2)


def pilot_iotecha(duty: int, freq: int, millivolts: int) -> bytes:
    """Body (after the FMI) of the pilot message 0xA22E of ST/IoTecha modems: duty %, Hz, mV.

    Offsets as the public dissector dsV2Gshark reads them (frame bytes 28, 29 and 31)."""
    return bytes.fromhex("0080e1") + bytes(6) + struct.pack("<Bhh", duty, freq, millivolts)
