"""SLAC messages byte by byte as ISO 15118-3 lays them out, and what stations in the field make of them."""

from __future__ import annotations

import pytest

from plugtap.protocols import slac
from plugtap.protocols.cm_mme import (
    DEFAULT_NID,
    DEFAULT_NMK,
    CmAmpMapReq,
    CmGetKeyCnf,
    CmNwInfoCnf,
    CmSetKeyCnf,
    CmSetKeyReq,
    Network,
    nid_from_nmk,
)
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.homeplug import HomeplugDecoder, to_frame
from plugtap.protocols.slac import run_id_of

EV, EVSE, ALL = bytes.fromhex("020000000e01"), bytes.fromhex("020000000e5e"), b"\xff" * 6
MODEM, LOCALCAST = bytes.fromhex("02000000a0de"), bytes.fromhex("00b052000001")
RUN = bytes.fromhex("a0a1a2a3a4a5a6a7")
NID, NMK = bytes.fromhex("11121314151607"), bytes(range(0x20, 0x30))
ID = "00" * 17
AAG = bytes([9] * 54 + [9, 15, 19, 25])

# (what it is, body, from, to, total length, the frame without its padding)
FRAMES = [
    (
        "CM_SLAC_PARM.REQ",
        slac.CmSlacParmReq(run_id=RUN),
        EV, ALL, 60,
        "ffffffffffff 020000000e01 88e1 01 6460 0000 00 00 a0a1a2a3a4a5a6a7",
    ),
    (
        "CM_SLAC_PARM.REQ",
        slac.CmSlacParmReq(run_id=RUN, security_type=1, cipher_suites=(1,)),
        EV, ALL, 60,
        "ffffffffffff 020000000e01 88e1 01 6460 0000 00 01 a0a1a2a3a4a5a6a7 01 0100",
    ),
    (
        "CM_SLAC_PARM.CNF",
        slac.CmSlacParmCnf(run_id=RUN, forwarding_sta=EV),
        EVSE, EV, 60,
        "020000000e01 020000000e5e 88e1 01 6560 0000 ffffffffffff 0a 06 01 020000000e01 00 00 a0a1a2a3a4a5a6a7",
    ),
    (
        "CM_START_ATTEN_CHAR.IND",
        slac.CmStartAttenCharInd(run_id=RUN, forwarding_sta=EV),
        EV, ALL, 60,
        "ffffffffffff 020000000e01 88e1 01 6a60 0000 00 00 0a 06 01 020000000e01 a0a1a2a3a4a5a6a7",
    ),
    (
        "CM_MNBC_SOUND.IND",
        slac.CmMnbcSoundInd(cnt=9, run_id=RUN, rnd=NMK),
        EV, ALL, 71,
        f"ffffffffffff 020000000e01 88e1 01 7660 0000 00 00 {ID} 09 a0a1a2a3a4a5a6a7 0000000000000000 {NMK.hex()}",
    ),
    (
        "CM_ATTEN_PROFILE.IND",
        slac.CmAttenProfileInd(pev_mac=EV, aag=AAG),
        MODEM, EVSE, 85,
        f"020000000e5e 02000000a0de 88e1 01 8660 0000 020000000e01 3a 00 {AAG.hex()}",
    ),
    (
        "CM_ATTEN_CHAR.IND",
        slac.CmAttenCharInd(source_address=EV, run_id=RUN, num_sounds=10, aag=AAG),
        EVSE, EV, 129,
        "020000000e01 020000000e5e 88e1 01 6e60 0000 00 00 020000000e01 a0a1a2a3a4a5a6a7 "
        f"{ID} {ID} 0a 3a {AAG.hex()}",
    ),
    (
        "CM_ATTEN_CHAR.RSP",
        slac.CmAttenCharRsp(source_address=EV, run_id=RUN),
        EV, EVSE, 70,
        f"020000000e5e 020000000e01 88e1 01 6f60 0000 00 00 020000000e01 a0a1a2a3a4a5a6a7 {ID} {ID} 00",
    ),
    (
        "CM_VALIDATE.REQ",
        slac.CmValidateReq(timer=6),
        EV, EVSE, 60,
        "020000000e5e 020000000e01 88e1 01 7860 0000 00 06 01",
    ),
    (
        "CM_VALIDATE.CNF",
        slac.CmValidateCnf(toggle_num=3, result=slac.VALIDATE_SUCCESS),
        EVSE, EV, 60,
        "020000000e01 020000000e5e 88e1 01 7960 0000 00 03 02",
    ),
    (
        "CM_SLAC_MATCH.REQ",
        slac.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=RUN),
        EV, EVSE, 85,
        f"020000000e5e 020000000e01 88e1 01 7c60 0000 00 00 3e00 {ID} 020000000e01 {ID} 020000000e5e "
        "a0a1a2a3a4a5a6a7 0000000000000000",
    ),
    (
        "CM_SLAC_MATCH.CNF",
        slac.CmSlacMatchCnf(pev_mac=EV, evse_mac=EVSE, run_id=RUN, nid=NID, nmk=NMK),
        EVSE, EV, 109,
        f"020000000e01 020000000e5e 88e1 01 7d60 0000 00 00 5600 {ID} 020000000e01 {ID} 020000000e5e "
        f"a0a1a2a3a4a5a6a7 0000000000000000 11121314151607 00 {NMK.hex()}",
    ),
    (
        "CM_SET_KEY.REQ",
        CmSetKeyReq(nid=NID, new_key=NMK, my_nonce=b"\xaa" * 4),
        EVSE, LOCALCAST, 60,
        f"00b052000001 020000000e5e 88e1 01 0860 0000 01 aaaaaaaa 00000000 04 0000 00 00 11121314151607 01 {NMK.hex()}",
    ),
    (
        "CM_SET_KEY.CNF",
        CmSetKeyCnf(result=1, my_nonce=b"\1\2\3\4", your_nonce=b"\xaa" * 4, pmn=0xFF),
        MODEM, EVSE, 60,
        "020000000e5e 02000000a0de 88e1 01 0960 0000 01 01020304 aaaaaaaa 04 0000 ff 00",
    ),
    (
        "CM_GET_KEY.CNF",
        CmGetKeyCnf(result=0, nid=NID, key=NMK, my_nonce=b"\1\2\3\4", your_nonce=b"\xaa" * 4, pmn=0xFF),
        MODEM, EVSE, 60,
        f"020000000e5e 02000000a0de 88e1 01 0d60 0000 00 01 01020304 aaaaaaaa 11121314151607 01 04 0000 ff {NMK.hex()}",
    ),
    (
        "CM_AMP_MAP.REQ",
        CmAmpMapReq(amlen=5, amdata=b"\x21\x43\x05"),
        EVSE, EV, 60,
        "020000000e01 020000000e5e 88e1 01 1c60 0000 0500 214305",
    ),
    (
        "CM_NW_INFO.CNF",
        CmNwInfoCnf((Network(nid=NID, snid=10, tei=1, role=2, cco_mac=MODEM),)),
        MODEM, EVSE, 60,
        "020000000e5e 02000000a0de 88e1 01 3960 0000 01 11121314151607 0a 01 02 02000000a0de 00 00",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body", "src", "dst", "length", "frame"), FRAMES, ids=[row[0] for row in FRAMES]
)
def test_frames(name: str, body: object, src: bytes, dst: bytes, length: int, frame: str) -> None:
    expected = bytes.fromhex(frame)
    sent = to_frame(body, src, dst)
    assert sent == expected.ljust(60, b"\0")
    assert len(sent) == length
    (mme,) = HomeplugDecoder().feed(0, 1, "plc", sent[6:12], sent[:6], sent[14:])
    assert (mme.name, mme.body, mme.src, mme.dst) == (name, body, src, dst)


def decode(payload: str) -> object:
    (mme,) = HomeplugDecoder().feed(0, 1, "plc", EV, ALL, bytes.fromhex(payload))
    return mme.body


# --- what stations in the field make of it ----------------------------------------------------------------------


def test_attenuation_without_groups() -> None:
    assert decode(f"01 8660 0000 {EV.hex()} 00 00" + "00" * 33) == slac.CmAttenProfileInd(EV, b"")
    body = decode(f"01 6e60 0000 00 00 {EV.hex()} {RUN.hex()} {ID} {ID} 00 00")
    assert isinstance(body, slac.CmAttenCharInd)
    assert (body.aag, body.average, body.complete) == (b"", None, True)


def test_atten_char_ind_that_ends_before_num_groups() -> None:
    body = decode(f"01 6e60 0000 00 00 {EV.hex()} {RUN.hex()} {ID} {ID} 0a")
    assert body == slac.CmAttenCharInd(EV, RUN, 10, b"", complete=False)
    assert len(to_frame(body, EVSE, EV)) == 70


def test_atten_char_ind_that_promises_more_than_there_is() -> None:
    with pytest.raises(DecodeError, match="NumGroups is 58") as caught:
        decode(f"01 6e60 0000 00 00 {EV.hex()} {RUN.hex()} {ID} {ID} 0a 3a 0102")
    assert caught.value.offset == 56


def test_atten_char_ind_with_room_for_255_groups() -> None:
    body = decode(f"01 6e60 0000 00 00 {EV.hex()} {RUN.hex()} {ID} {ID} 0a 3a {AAG.hex()}" + "00" * 197)
    assert isinstance(body, slac.CmAttenCharInd)
    assert body.aag == AAG
    assert body.average == pytest.approx((55 * 9 + 15 + 19 + 25) / 58)


def test_start_atten_char_as_a_private_channel() -> None:
    body = decode(f"01 6a60 0000 00 00 0a 06 01 {EV.hex()} {RUN.hex()} 01020304050607 0000")
    assert body == slac.CmStartAttenCharInd(RUN, EV, private=bytes(range(1, 8)))


def test_atten_char_ind_as_a_command_to_a_power_supply() -> None:
    command = bytes.fromhex("aaffedc10541054000a000a0").ljust(58, b"\0")
    body = decode(f"01 6e60 0000 00 00 {'ff' * 6} {RUN.hex()} {ID} {ID} 0a 3a {command.hex()}")
    assert isinstance(body, slac.CmAttenCharInd)
    assert (body.source_address, body.aag) == (ALL, command)


def test_amplitude_map_longer_than_its_frame() -> None:
    with pytest.raises(DecodeError, match="AMDATA"):
        decode("01 1c60 0000 ffff" + "00" * 40)


def test_cipher_suites_longer_than_their_frame() -> None:
    with pytest.raises(DecodeError, match="CipherSuite"):
        decode(f"01 6460 0000 00 01 {RUN.hex()} ff 0100")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (slac.CmAttenProfileInd(EV, bytes(256)), "255 groups"),
        (slac.CmAttenCharInd(EV, RUN, 10, bytes(256)), "255 groups"),
        (slac.CmStartAttenCharInd(RUN, EV, private=bytes(8)), "private"),
        (CmAmpMapReq(5, b"\0"), "amlen"),
    ],
)
def test_what_does_not_fit_is_not_sent(body: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_frame(body, EVSE, EV)


# --- keys -------------------------------------------------------------------------------------------------------


def test_nid_of_the_default_key() -> None:
    assert nid_from_nmk(DEFAULT_NMK) == DEFAULT_NID
    assert nid_from_nmk(DEFAULT_NMK, 1) == DEFAULT_NID[:6] + b"\x13"


@pytest.mark.parametrize(("nmk", "level"), [(bytes(15), 0), (bytes(16), 4)])
def test_nid_of_what_is_no_key(nmk: bytes, level: int) -> None:
    with pytest.raises(ValueError, match="NMK"):
        nid_from_nmk(nmk, level)


@pytest.mark.parametrize(
    "body",
    [
        slac.CmSlacMatchCnf(EV, EVSE, RUN, NID, b"topsecretnmk1234"),
        CmSetKeyReq(NID, b"topsecretnmk1234"),
        CmGetKeyCnf(0, NID, b"topsecretnmk1234"),
    ],
)
def test_keys_do_not_show_in_a_repr(body: object) -> None:
    assert "topsecret" not in repr(body)
    assert "<secret>" in repr(body)


def test_run_id_of_a_message() -> None:
    assert run_id_of(slac.CmSlacParmReq(RUN)) == RUN
    assert run_id_of(slac.CmValidateReq()) is None
    assert run_id_of(CmSetKeyCnf(1)) is None
