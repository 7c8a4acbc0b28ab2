"""The SLAC messages: signal level attenuation characterisation, how an EV finds the EVSE it is plugged into.

ISO 15118-3 annex A, HomePlug Green PHY; field order checked against open-plc-utils (slac/slac.h) and EVerest libslac.
Field names are the standard's in lower case. MACs, RunID and ids are raw bytes; attenuations (AAG) are dB, one byte a
group.

In order: PARM.REQ (EV to all), PARM.CNF (each EVSE that heard it), 3 x START_ATTEN_CHAR.IND and 10 x MNBC_SOUND.IND
(EV to all), ATTEN_PROFILE.IND (the EVSE's modem to its host, one a sound), ATTEN_CHAR.IND and RSP, optionally
VALIDATE, SLAC_MATCH.REQ and CNF.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap.protocols.errors import DecodeError
from plugtap.protocols.mme_codec import Codec, Layout, fixed, hide_key, take

BROADCAST = b"\xff" * 6

MVF_LENGTH_REQ = 0x003E  # bytes after MVFLength in SLAC_MATCH.REQ
MVF_LENGTH_CNF = 0x0056  # … and in SLAC_MATCH.CNF

# CM_VALIDATE Result
VALIDATE_NOT_READY, VALIDATE_READY, VALIDATE_SUCCESS, VALIDATE_FAILURE, VALIDATE_NOT_REQUIRED = range(5)


class CmSlacParmReq(msgspec.Struct, frozen=True):
    """CM_SLAC_PARM.REQ, EV to broadcast. `cipher_suites` only with security_type 1."""

    run_id: bytes
    application_type: int = 0
    security_type: int = 0
    cipher_suites: tuple[int, ...] = ()


class CmSlacParmCnf(msgspec.Struct, frozen=True):
    """CM_SLAC_PARM.CNF, EVSE to EV: asks for `num_sounds` sounds (normally 10) within `time_out` x 100 ms (normally 6).

    `resp_type` 0x01: results go to another Green PHY station (`forwarding_sta`); 0x00: to the host.
    """

    run_id: bytes
    forwarding_sta: bytes
    m_sound_target: bytes = BROADCAST
    num_sounds: int = 10
    time_out: int = 6  # 100 ms
    resp_type: int = 1
    application_type: int = 0
    security_type: int = 0
    cipher_suite: int | None = None  # only with security_type 1


class CmStartAttenCharInd(msgspec.Struct, frozen=True):
    """CM_START_ATTEN_CHAR.IND, EV to broadcast, three times. `time_out` in 100 ms.

    `private` holds the seven bytes after RunID (frame bytes 38..44) when they are not all zero: some hobby stacks
    send their own data there.
    """

    run_id: bytes
    forwarding_sta: bytes
    num_sounds: int = 10
    time_out: int = 6  # 100 ms
    resp_type: int = 1
    application_type: int = 0
    security_type: int = 0
    private: bytes = b""


class CmMnbcSoundInd(msgspec.Struct, frozen=True):
    """CM_MNBC_SOUND.IND, EV to broadcast: a sound the EVSEs measure. `cnt` is how many are still to come (9 … 0)."""

    cnt: int
    run_id: bytes
    rnd: bytes  # 16 bytes of random
    sender_id: bytes = bytes(17)
    application_type: int = 0
    security_type: int = 0


class CmAttenProfileInd(msgspec.Struct, frozen=True):
    """CM_ATTEN_PROFILE.IND, modem of the EVSE to its own host, one a sound: attenuation per carrier group.

    No RunID: it belongs to `pev_mac`. Modems that are not in EVSE mode send it without groups.
    """

    pev_mac: bytes
    aag: bytes  # dB, one byte a group


class CmAttenCharInd(msgspec.Struct, frozen=True):
    """CM_ATTEN_CHAR.IND, EVSE to EV: the averaged attenuation.

    `complete` is False for frames that end right before NumGroups (seen in the field, as long as an ATTEN_CHAR.RSP):
    they have no profile. After the match some hobby stacks use the message, sent to source_address ff:ff:ff:ff:ff:ff,
    to command a power supply.
    """

    source_address: bytes  # MAC of the EV
    run_id: bytes
    num_sounds: int
    aag: bytes  # dB, one byte a group
    source_id: bytes = bytes(17)
    resp_id: bytes = bytes(17)
    application_type: int = 0
    security_type: int = 0
    complete: bool = True

    @property
    def average(self) -> float | None:
        """Mean attenuation over all groups in dB, what the EV compares EVSEs by; None without groups."""
        return sum(self.aag) / len(self.aag) if self.aag else None


class CmAttenCharRsp(msgspec.Struct, frozen=True):
    """CM_ATTEN_CHAR.RSP, EV to EVSE. `result` 0: success."""

    source_address: bytes
    run_id: bytes
    source_id: bytes = bytes(17)
    resp_id: bytes = bytes(17)
    result: int = 0
    application_type: int = 0
    security_type: int = 0


class CmValidateReq(msgspec.Struct, frozen=True):
    """CM_VALIDATE.REQ. `signal_type` 0: the EV toggles S2 on the control pilot. In the second exchange the EV toggles
    for (`timer` + 1) x 100 ms. `result` 1: ready."""

    signal_type: int = 0
    timer: int = 0
    result: int = VALIDATE_READY


class CmValidateCnf(msgspec.Struct, frozen=True):
    """CM_VALIDATE.CNF. `toggle_num`: B-C edges counted. `result`: 0 not ready, 1 ready, 2 success, 3 failure, 4 not
    required.
    """

    signal_type: int = 0
    toggle_num: int = 0
    result: int = VALIDATE_READY


class CmSlacMatchReq(msgspec.Struct, frozen=True):
    """CM_SLAC_MATCH.REQ, EV to the EVSE it chose. The 17-byte ids may be all zero."""

    pev_mac: bytes
    evse_mac: bytes
    run_id: bytes
    pev_id: bytes = bytes(17)
    evse_id: bytes = bytes(17)
    application_type: int = 0
    security_type: int = 0
    mvf_length: int = MVF_LENGTH_REQ


class CmSlacMatchCnf(msgspec.Struct, frozen=True):
    """CM_SLAC_MATCH.CNF, EVSE to EV: the network to join. `nmk` is a secret."""

    pev_mac: bytes
    evse_mac: bytes
    run_id: bytes
    nid: bytes
    nmk: bytes
    pev_id: bytes = bytes(17)
    evse_id: bytes = bytes(17)
    application_type: int = 0
    security_type: int = 0
    mvf_length: int = MVF_LENGTH_CNF

    def __repr__(self) -> str:
        return hide_key(self, "nmk")


# --- the variable ones ------------------------------------------------------------------------------------------

_PARM_REQ = Layout(("application_type", "B"), ("security_type", "B"), ("run_id", "8s"))


def _read_parm_req(data: bytes, pos: int, _mmv: int) -> CmSlacParmReq:
    head = _PARM_REQ.read(data, pos)
    suites: tuple[int, ...] = ()
    if head["security_type"] == 1:
        pos += _PARM_REQ.size
        count = take(data, pos, 1, "CipherSuiteSetSize")[0]
        raw = take(data, pos + 1, 2 * count, "CipherSuite")
        suites = tuple(int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2))
    return CmSlacParmReq(**head, cipher_suites=suites)


def _write_parm_req(body: CmSlacParmReq, _mmv: int) -> bytes:
    head = _PARM_REQ.write(body)
    if body.security_type != 1:
        return head
    return head + bytes([len(body.cipher_suites)]) + b"".join(s.to_bytes(2, "little") for s in body.cipher_suites)


_PARM_CNF = Layout(
    ("m_sound_target", "6s"),
    ("num_sounds", "B"),
    ("time_out", "B"),
    ("resp_type", "B"),
    ("forwarding_sta", "6s"),
    ("application_type", "B"),
    ("security_type", "B"),
    ("run_id", "8s"),
)


def _read_parm_cnf(data: bytes, pos: int, _mmv: int) -> CmSlacParmCnf:
    head = _PARM_CNF.read(data, pos)
    suite = None
    if head["security_type"] == 1:
        suite = int.from_bytes(take(data, pos + _PARM_CNF.size, 2, "CipherSuite"), "little")
    return CmSlacParmCnf(**head, cipher_suite=suite)


def _write_parm_cnf(body: CmSlacParmCnf, _mmv: int) -> bytes:
    head = _PARM_CNF.write(body)
    return head + (body.cipher_suite or 0).to_bytes(2, "little") if body.security_type == 1 else head


_START = Layout(
    ("application_type", "B"),
    ("security_type", "B"),
    ("num_sounds", "B"),
    ("time_out", "B"),
    ("resp_type", "B"),
    ("forwarding_sta", "6s"),
    ("run_id", "8s"),
)
_PRIVATE_SIZE = 7


def _read_start(data: bytes, pos: int, _mmv: int) -> CmStartAttenCharInd:
    head = _START.read(data, pos)
    pos += _START.size
    private = data[pos : pos + _PRIVATE_SIZE]
    return CmStartAttenCharInd(**head, private=private if any(private) else b"")


def _write_start(body: CmStartAttenCharInd, _mmv: int) -> bytes:
    if len(body.private) > _PRIVATE_SIZE:
        raise ValueError(f"private: at most {_PRIVATE_SIZE} bytes, {len(body.private)} given")
    return _START.write(body) + body.private


def _read_profile(data: bytes, pos: int, _mmv: int) -> CmAttenProfileInd:
    mac = take(data, pos, 6, "PEV_MAC")
    groups = take(data, pos + 6, 2, "NumGroups")[0]
    return CmAttenProfileInd(pev_mac=mac, aag=take(data, pos + 8, groups, "AAG"))


def _write_profile(body: CmAttenProfileInd, _mmv: int) -> bytes:
    if len(body.pev_mac) != 6 or len(body.aag) > 255:
        raise ValueError("CM_ATTEN_PROFILE: a MAC of 6 bytes and at most 255 groups")
    return body.pev_mac + bytes([len(body.aag), 0]) + body.aag


_CHAR_IND = Layout(
    ("application_type", "B"),
    ("security_type", "B"),
    ("source_address", "6s"),
    ("run_id", "8s"),
    ("source_id", "17s"),
    ("resp_id", "17s"),
    ("num_sounds", "B"),
)


def _read_char_ind(data: bytes, pos: int, _mmv: int) -> CmAttenCharInd:
    head = _CHAR_IND.read(data, pos)
    pos += _CHAR_IND.size
    if pos == len(data):
        return CmAttenCharInd(**head, aag=b"", complete=False)
    groups = data[pos]
    if groups > len(data) - pos - 1:
        raise DecodeError("homeplug", pos, f"NumGroups is {groups}, but {len(data) - pos - 1} bytes follow")
    return CmAttenCharInd(**head, aag=data[pos + 1 : pos + 1 + groups])


def _write_char_ind(body: CmAttenCharInd, _mmv: int) -> bytes:
    head = _CHAR_IND.write(body)
    if len(body.aag) > 255:
        raise ValueError("CM_ATTEN_CHAR: at most 255 groups")
    return head + bytes([len(body.aag)]) + body.aag if body.complete else head


CODECS: tuple[Codec, ...] = (
    Codec(0x6064, CmSlacParmReq, _read_parm_req, _write_parm_req),
    Codec(0x6065, CmSlacParmCnf, _read_parm_cnf, _write_parm_cnf),
    Codec(0x606A, CmStartAttenCharInd, _read_start, _write_start),
    Codec(0x606E, CmAttenCharInd, _read_char_ind, _write_char_ind),
    fixed(
        0x606F,
        CmAttenCharRsp,
        ("application_type", "B"),
        ("security_type", "B"),
        ("source_address", "6s"),
        ("run_id", "8s"),
        ("source_id", "17s"),
        ("resp_id", "17s"),
        ("result", "B"),
    ),
    fixed(
        0x6076,
        CmMnbcSoundInd,
        ("application_type", "B"),
        ("security_type", "B"),
        ("sender_id", "17s"),
        ("cnt", "B"),
        ("run_id", "8s"),
        ("", "8x"),
        ("rnd", "16s"),
    ),
    fixed(0x6078, CmValidateReq, ("signal_type", "B"), ("timer", "B"), ("result", "B")),
    fixed(0x6079, CmValidateCnf, ("signal_type", "B"), ("toggle_num", "B"), ("result", "B")),
    fixed(
        0x607C,
        CmSlacMatchReq,
        ("application_type", "B"),
        ("security_type", "B"),
        ("mvf_length", "H"),
        ("pev_id", "17s"),
        ("pev_mac", "6s"),
        ("evse_id", "17s"),
        ("evse_mac", "6s"),
        ("run_id", "8s"),
        ("", "8x"),
    ),
    fixed(
        0x607D,
        CmSlacMatchCnf,
        ("application_type", "B"),
        ("security_type", "B"),
        ("mvf_length", "H"),
        ("pev_id", "17s"),
        ("pev_mac", "6s"),
        ("evse_id", "17s"),
        ("evse_mac", "6s"),
        ("run_id", "8s"),
        ("", "8x"),
        ("nid", "7s"),
        ("", "1x"),
        ("nmk", "16s"),
    ),
    Codec(0x6086, CmAttenProfileInd, _read_profile, _write_profile),
)

SlacBody = (
    CmSlacParmReq
    | CmSlacParmCnf
    | CmStartAttenCharInd
    | CmMnbcSoundInd
    | CmAttenProfileInd
    | CmAttenCharInd
    | CmAttenCharRsp
    | CmValidateReq
    | CmValidateCnf
    | CmSlacMatchReq
    | CmSlacMatchCnf
)


def run_id_of(body: Any) -> bytes | None:
    """The RunID a SLAC body belongs to; None for bodies that carry none (CM_ATTEN_PROFILE, CM_VALIDATE, anything
    else).
    """
    return getattr(body, "run_id", None) if isinstance(body, SlacBody) else None
