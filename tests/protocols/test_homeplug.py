"""HomePlug header, fragments, names, and: any bytes either decode or raise DecodeError, nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mme_bodies import BODIES, bodies

from plugtap.protocols import homeplug, slac, vendor_mme
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Mme
from plugtap.protocols.homeplug import HomeplugDecoder, encode, mmtype_of, to_frame
from plugtap.protocols.mme_names import OUI_DSPACE, OUI_LUMISSIL, OUI_NONE, OUI_QUALCOMM, OUI_ST, mme_name

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def feed(payload: bytes, t: int = 0, decoder: HomeplugDecoder | None = None) -> list[Mme]:
    events = (decoder or HomeplugDecoder()).feed(t, 7, "plc", A, B, payload)
    assert all(isinstance(event, Mme) for event in events)
    return [event for event in events if isinstance(event, Mme)]


def one(payload: bytes) -> Mme:
    (mme,) = feed(payload)
    return mme


def refused(payload: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        feed(payload)
    assert caught.value.layer == "homeplug"
    return caught.value


# --- header -----------------------------------------------------------------------------------------------------


def test_mmv1_has_fmi() -> None:
    mme = one(bytes.fromhex("01 6460 0000 00 00 0102030405060708"))
    assert (mme.mmv, mme.mmtype, mme.name, mme.oui) == (1, 0x6064, "CM_SLAC_PARM.REQ", None)
    assert (mme.src, mme.dst, mme.frame, mme.source) == (A, B, 7, "plc")
    assert mme.body == slac.CmSlacParmReq(run_id=bytes(range(1, 9)))
    assert mme.payload == bytes.fromhex("0000 0102030405060708")


def test_mmv0_has_none() -> None:
    mme = one(bytes.fromhex("00 b9a0 00b052 00 01"))
    assert (mme.mmv, mme.oui, mme.payload) == (0, OUI_QUALCOMM, b"\0\1")
    assert mme.body == vendor_mme.VsPlLinkStatusCnf(mstatus=0, link_status=1)


def test_mmv2_is_laid_out_like_mmv1() -> None:
    assert one(bytes.fromhex("02 6460 0000 00 00 0102030405060708")).body.run_id == bytes(range(1, 9))


@pytest.mark.parametrize(
    ("payload", "offset"),
    [
        ("", 0),
        ("0164", 2),
        ("016460", 3),  # no FMI
        ("01646000", 4),
        ("03646000000000", 0),  # no such MMV
        ("ffadad", 0),
        ("0000a000b0", 5),  # OUI cut
        ("012ea2000000", 6),
        ("0164600300", 3),  # fragment number 3 of 1
        ("0164601300", 3),  # … of 2
    ],
)
def test_headers_that_are_none(payload: str, offset: int) -> None:
    assert refused(bytes.fromhex(payload)).offset == offset


def test_padding_and_longer_frames_change_nothing() -> None:
    whole = encode(slac.CmSlacParmReq(run_id=bytes(8)))
    assert one(whole + bytes(31)).body == one(whole + b"\xde\xad" * 500).body == one(whole).body


def test_a_cut_body_names_the_first_missing_field() -> None:
    error = refused(bytes.fromhex("01 6560 0000 ffffffffffff 0a 06"))
    assert error.offset == 13
    assert "resp_type" in error.reason


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_every_cut_of_every_type_is_an_error_or_a_shorter_body(body: object) -> None:
    whole = encode(body)
    for length in range(len(whole)):
        try:
            (mme,) = feed(whole[:length])
        except DecodeError as error:
            assert error.layer == "homeplug"
            assert error.offset <= length
        else:
            assert type(mme.body) is type(body)


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mmtype", "oui", "name"),
    [
        (0x0030, None, "CC_ASSOC.REQ"),
        (0x0014, None, "CC_DISCOVER_LIST.REQ"),
        (0x003A, None, "CC_SET_TEI_MAP.IND"),
        (0x6002, None, "CM_UNASSOCIATED_STA.IND"),
        (0x6065, None, "CM_SLAC_PARM.CNF"),
        (0x606A, None, "CM_START_ATTEN_CHAR.IND"),
        (0x606F, None, "CM_ATTEN_CHAR.RSP"),
        (0x6086, None, "CM_ATTEN_PROFILE.IND"),
        (0xA07C, OUI_QUALCOMM, "VS_FAC_DEFAULTS.REQ"),
        (0xA14E, OUI_QUALCOMM, "VS_ATTENUATION_CHARACTERISTICS.IND"),
        (0xA14E, OUI_NONE, "VS_ATTENUATION_CHARACTERISTICS.IND"),
        (0xA22E, OUI_ST, "STP_CPSTATE.IND"),
        (0x8002, OUI_DSPACE, "DSPACE_DIAG.IND"),
        (0xAC6D, OUI_LUMISSIL, "NSCM_GET_VERSION.CNF"),
        (0xAC70, OUI_LUMISSIL, "NSCM_RESET.REQ"),
        (0xAC9C, OUI_LUMISSIL, "NSCM_GET_D_LINK_STATUS.REQ"),
        (0xADAD, OUI_QUALCOMM, "0xADAD"),
        (0xA001, OUI_LUMISSIL, "0xA001"),
        (0x6FFC, None, "0x6FFC"),
    ],
)
def test_names(mmtype: int, oui: bytes | None, name: str) -> None:
    assert mme_name(mmtype, oui) == name


def test_a_type_without_a_body_keeps_its_bytes() -> None:
    mme = one(bytes.fromhex("01 6360 0000 0102"))
    assert (mme.name, mme.body, mme.payload) == ("CM_STA_IDENTIFY.RSP", None, b"\1\2")


# --- fragments --------------------------------------------------------------------------------------------------


def fragments(payload: bytes, count: int, fmsn: int = 5) -> list[bytes]:
    """The MME cut into `count` fragments."""
    body = payload[5:]
    size = -(-len(body) // count)
    return [
        payload[:3] + bytes([(count - 1) << 4 | i, fmsn]) + body[i * size : (i + 1) * size] for i in range(count)
    ]


WHOLE = encode(slac.CmAttenCharInd(source_address=A, run_id=bytes(8), num_sounds=10, aag=bytes(range(58))))


@given(st.permutations(range(4)))
def test_fragments_come_in_any_order(order: list[int]) -> None:
    decoder, pieces = HomeplugDecoder(), fragments(WHOLE, 4)
    for i in order[:-1]:
        assert feed(pieces[i], decoder=decoder) == []
    (mme,) = feed(pieces[order[-1]], decoder=decoder)
    assert mme.body == one(WHOLE).body


def test_a_vendor_message_has_its_oui_in_the_first_fragment_only() -> None:
    whole = encode(vendor_mme.VsNwInfoCnf(networks=()), mmv=1) + bytes(80)
    decoder = HomeplugDecoder()
    first, second = fragments(whole, 2)
    assert feed(first, decoder=decoder) == []
    (mme,) = feed(second, decoder=decoder)
    assert mme.oui == OUI_QUALCOMM
    assert mme.body == vendor_mme.VsNwInfoCnf(networks=())


def test_repeated_fragments_are_taken_once() -> None:
    decoder = HomeplugDecoder()
    first, second = fragments(WHOLE, 2)
    assert feed(first, decoder=decoder) == feed(first, decoder=decoder) == []
    assert feed(second, decoder=decoder)[0].body == one(WHOLE).body


def test_messages_with_other_sequence_numbers_do_not_mix() -> None:
    decoder = HomeplugDecoder()
    assert feed(fragments(WHOLE, 2, fmsn=1)[0], decoder=decoder) == []
    assert feed(fragments(WHOLE, 2, fmsn=2)[1], decoder=decoder) == []


@pytest.mark.parametrize("later", [1_000_000_001, -1_000_000_001])
def test_a_fragment_that_waits_too_long_is_given_up(later: int) -> None:
    decoder = HomeplugDecoder()
    first, second = fragments(WHOLE, 2)
    feed(first, t=0, decoder=decoder)
    assert feed(second, t=later, decoder=decoder) == []
    assert decoder.counters.expired == 1


def test_open_messages_are_bounded() -> None:
    decoder = HomeplugDecoder(max_open=4)
    for fmsn in range(10):
        feed(fragments(WHOLE, 2, fmsn)[0], decoder=decoder)
    assert decoder.counters.evicted == 6
    assert feed(fragments(WHOLE, 2, 0)[1], decoder=decoder) == []  # gone
    assert decoder.counters.evicted == 7  # that one opened again, at the cost of number 6
    assert feed(fragments(WHOLE, 2, 9)[1], decoder=decoder) != []


def test_long_messages_are_bounded() -> None:
    decoder = HomeplugDecoder(max_size=100)
    first, second = fragments(WHOLE, 2)
    feed(first, decoder=decoder)
    assert feed(second, decoder=decoder) == []
    assert decoder.counters.oversize == 1


# --- frames -----------------------------------------------------------------------------------------------------


def test_frames_are_padded_and_addressed() -> None:
    frame = to_frame(vendor_mme.VsSwVerReq(), A, vendor_mme.LOCALCAST)
    assert frame == bytes.fromhex("00b052000001 020000000001 88e1 00 00a0 00b052") + bytes(40)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        encode("CM_SLAC_PARM.REQ")
    with pytest.raises(TypeError):
        mmtype_of(None)
    with pytest.raises(ValueError, match="6 bytes"):
        to_frame(vendor_mme.VsSwVerReq(), b"", A)
    with pytest.raises(ValueError, match="run_id"):
        encode(slac.CmSlacParmReq(run_id=b"short"))
    with pytest.raises(ValueError, match="CmValidateReq"):
        encode(slac.CmValidateReq(timer=256))


def test_the_type_of_a_body() -> None:
    assert mmtype_of(slac.CmSlacMatchCnf(A, B, bytes(8), bytes(7), bytes(16))) == 0x607D


# --- round trips and damage -------------------------------------------------------------------------------------


@given(bodies())
def test_round_trip(body: object) -> None:
    mme = one(to_frame(body, A, B)[14:])
    assert mme.body == body
    assert mme.mmtype == mmtype_of(body)
    assert not mme.name.startswith("0x")


@given(bodies(), st.integers(0, 10_000), st.integers(1, 255), st.integers(0, 400))
def test_flipped_and_cut_messages(body: object, at: int, flip: int, length: int) -> None:
    damaged = bytearray(to_frame(body, A, B)[14:])
    damaged[at % len(damaged)] ^= flip
    try:
        feed(bytes(damaged[: length or None]))
    except DecodeError as error:
        assert 0 <= error.offset <= len(damaged)


@given(st.binary(max_size=600))
def test_random_bytes(payload: bytes) -> None:
    try:
        feed(payload)
    except DecodeError as error:
        assert 0 <= error.offset <= len(payload)


def test_random_bodies_of_every_known_type() -> None:
    rng = random.Random(1)
    decoder = HomeplugDecoder()
    raised = 0
    for mmtype, oui in homeplug._BY_TYPE:
        for _ in range(40):
            mmv = rng.choice((0, 1, 2))
            head = bytes([mmv]) + mmtype.to_bytes(2, "little") + (b"\0\0" if mmv else b"") + (oui or b"")
            try:
                feed(head + rng.randbytes(rng.randrange(200)), decoder=decoder)
            except DecodeError:
                raised += 1
    assert raised > 100
