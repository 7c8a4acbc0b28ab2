"""Vendor MMEs byte by byte: Qualcomm modems, and the messages that carry the control pilot."""

from __future__ import annotations

import pytest

from plugtap.protocols import cp_mme, vendor_mme
from plugtap.protocols.cp_mme import CarriedCp, DspaceDiag, SpidcomCpInd, StpCpStateInd, cp_of
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.homeplug import HomeplugDecoder, encode

MAC, NID = bytes.fromhex("02000000a0de"), bytes.fromhex("11121314151607")


def decode(payload: str | bytes) -> object:
    raw = payload if isinstance(payload, bytes) else bytes.fromhex(payload)
    (mme,) = HomeplugDecoder().feed(0, 1, "plc", MAC, MAC, raw)
    return mme.body


STATION = vendor_mme.Station(mac=MAC, tei=2, bda=bytes(6), tx_rate=9, rx_rate=8)
NETWORK = vendor_mme.VsNetwork(NID, snid=4, tei=1, role=2, cco_mac=MAC, cco_tei=1, stations=(STATION,))
VERSION = "MAC-QCA7005-1.1.0.730-04-20140815-CS"

CASES = [
    (vendor_mme.VsSwVerReq(), 0, "00 00a0 00b052 00000000"),
    (vendor_mme.VsSwVerCnf(0, 0x22, VERSION), 0, f"00 01a0 00b052 00 22 24 {VERSION.encode().hex()}"),
    (vendor_mme.VsSnifferReq(1), 0, "00 34a0 00b052 01"),
    (vendor_mme.VsSnifferCnf(0, 1, MAC), 0, "00 35a0 00b052 00 01 02000000a0de"),
    (
        vendor_mme.VsSnifferInd(0, 1, 0x1122334455, 0x4D, bytes([0x28]) + bytes(15), NID + bytes(129)),
        0,
        "00 36a0 00b052 00 01 5544332211000000 4d000000 28" + "00" * 15 + NID.hex() + "00" * 129,
    ),
    (vendor_mme.VsNwInfoReq(), 1, "01 38a0 0000 00b052"),
    (
        vendor_mme.VsNwInfoCnf((NETWORK,)),
        0,
        "00 39a0 00b052 01 11121314151607 04 01 02 02000000a0de 01 01 02000000a0de 02 000000000000 09 08",
    ),
    (
        vendor_mme.VsNwInfoCnf((NETWORK,)),
        1,
        "01 39a0 0000 00b052 00 00 3a00 00 01"
        "11121314151607 0000 04 01 00000000 02 02000000a0de 01 000000 01 0000000000"
        "02000000a0de 02 000000 000000000000 0900 00 00 0800 0000",
    ),
    (vendor_mme.VsNwInfoCnf(()), 1, "01 39a0 0000 00b052 00 00 0200 00 00"),
    (vendor_mme.VsHostActionInd(4), 0, "00 62a0 00b052 04"),
    (vendor_mme.VsOpAttributesReq(0x012345), 0, "00 68a0 00b052 45230100 00"),
    (vendor_mme.VsPlLinkStatusReq(), 0, "00 b8a0 00b052"),
    (vendor_mme.VsPlLinkStatusCnf(0, 1), 0, "00 b9a0 00b052 00 01"),
    (
        vendor_mme.VsAttenuationCharacteristicsInd(MAC, b"\1\2"),
        0,
        f"00 4ea1 00b052 {MAC.hex()} 02 00 10 {'00' * 7} 0102",
    ),
    (StpCpStateInd(3, 5, 1000, 8973), 1, "012ea2 0000 0080e1 00 000000 00 03 05 e803 0d23"),
    (StpCpStateInd(10, 0, 0, -12000), 1, "012ea2 0000 0080e1 00 000000 00 0a 00 0000 20d1"),
    (SpidcomCpInd(7, 1000, 53, 8900), 1, "010ea1 0000 0013d7 07 e803 3500 c422"),
]


@pytest.mark.parametrize(("body", "mmv", "payload"), CASES, ids=lambda v: type(v).__name__)
def test_bytes(body: object, mmv: int, payload: str) -> None:
    assert encode(body, mmv) == bytes.fromhex(payload)
    assert decode(payload) == body


def test_firmware_with_an_identity_behind_its_version() -> None:
    body = vendor_mme.VsSwVerCnf(0, 0x22, VERSION, ident=0x1B587C)
    raw = encode(body)
    assert raw[9 + 254 : 9 + 258] == bytes.fromhex("7c581b00")
    assert decode(raw) == body
    assert (body.device, vendor_mme.VsSwVerCnf(0, 0x77, "").device) == ("QCA7000/7005", "0x77")


def test_version_longer_than_the_frame() -> None:
    with pytest.raises(DecodeError, match="MVERSION"):
        decode("00 01a0 00b052 00 22 24 4d4143")


def test_version_with_its_nul_and_garbage_behind() -> None:
    body = decode("00 01a0 00b052 00 22 05 4d414300 cc cccccccccccc")
    assert body == vendor_mme.VsSwVerCnf(0, 0x22, "MAC")


def test_attributes() -> None:
    body = vendor_mme.VsOpAttributesCnf(0, 0x2002, 0, 118, "QCA7420", "MAC", 1, 4, 0, 20, "20171027", "CS")
    assert decode(encode(body)) == body
    assert decode("00 69a0 00b052 0100 02200000 00 7600") == vendor_mme.VsOpAttributesCnf(1, 0x2002, 0, 118)


def test_attenuation_without_groups_and_without_oui() -> None:
    body = decode(f"00 4ea1 000000 {MAC.hex()} 00 00 10 {'00' * 7}")
    assert body == vendor_mme.VsAttenuationCharacteristicsInd(MAC, b"")


def test_more_networks_than_bytes() -> None:
    with pytest.raises(DecodeError):
        decode("00 39a0 00b052 ff" + "00" * 60)


def test_sniffer_delimiter() -> None:
    body = decode("00 36a0 00b052 00 01" + "00" * 12 + "21" + "00" * 15)
    assert isinstance(body, vendor_mme.VsSnifferInd)
    assert (body.delimiter, body.beacon) == (1, b"")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (vendor_mme.VsSwVerCnf(0, 0x22, "x" * 255), "version"),
        (vendor_mme.VsSnifferInd(0, 0, 0, 0, bytes(16), bytes(137)), "beacon"),
        (vendor_mme.VsAttenuationCharacteristicsInd(MAC, bytes(256)), "255 groups"),
    ],
)
def test_what_does_not_fit_is_not_sent(body: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(body)


# --- control pilot ----------------------------------------------------------------------------------------------

DIAG = b'\x01\x02\x80\0\0\x64\x4d\x70dSPACE SCS Diag|dsV2Gshark|v1|SCS Diagnostic|'


@pytest.mark.parametrize(
    ("code", "letter"), [(1, "A"), (2, None), (3, "B"), (5, "C"), (7, "D"), (9, "E"), (10, "F"), (0, None)]
)
def test_state_codes_of_st(code: int, letter: str | None) -> None:
    assert StpCpStateInd(code, 0, 0, 0).letter == letter


def test_what_cp_messages_have_in_common() -> None:
    assert cp_of(StpCpStateInd(3, 5, 1000, 8973)) == CarriedCp(level_mv=8973, letter="B", duty=5.0, freq=1000.0)
    assert cp_of(SpidcomCpInd(0, 1000, 53, 8900)) == CarriedCp(level_mv=8900, duty=5.3, freq=1000.0)
    assert cp_of(vendor_mme.VsNwInfoReq()) is None


def test_dspace() -> None:
    body = decode(
        DIAG + b'{"PP Resistor [Ohm]" : 1568,"PP/ID Voltage [V]" : 4.17,'
        b'"CP State" : "State_B2","CP/CE Voltage [V]" : 8.97}'
    )
    assert isinstance(body, DspaceDiag)
    assert (body.version, body.topic, body.number("PP Resistor [Ohm]")) == ("v1", "SCS Diagnostic", 1568.0)
    assert cp_of(body) == CarriedCp(level_mv=8970, letter="B", pwm=True, pp_mv=4170, pp_ohm=1568)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"CP State": "State_E", "CP/CE Voltage [V]": 0}, CarriedCp(level_mv=0, letter="E")),
        ({"CP State": "State_A1"}, CarriedCp(letter="A", pwm=False)),
        ({"CP State": "Zzz", "CP/CE Voltage [V]": 6, "PP Resistor [Ohm]": 0}, CarriedCp(level_mv=6000)),
        ({"CP State": 7, "CP/CE Voltage [V]": "6"}, None),
        ({"CP/CE Voltage [V]": 1e300}, None),
        ({"CP/CE Voltage [V]": True}, None),
    ],
)
def test_dspace_values(values: dict[str, str | int | float | bool | None], expected: CarriedCp | None) -> None:
    assert cp_of(DspaceDiag("v1", "x", values)) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b'{"a": [1]}',
        b'{"a": {"b": 1}}',
        b"[" * 1400,
        b'{"a": ' * 300,
        b'{"a": "\xff\xfe"}',
        b'{"a": 1e999}x',
        b"{" + b",".join(b'"%d": 1' % i for i in range(65)) + b"}",
        b'{"a": "' + b"x" * 5000 + b'"}',
    ],
)
def test_dspace_text_that_is_none(text: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(DIAG + text)
    assert caught.value.offset == len(DIAG)


def test_other_texts_on_the_dspace_number() -> None:
    with pytest.raises(DecodeError, match="not a dSPACE"):
        decode(b"\x01\x02\x80\0\0\x64\x4d\x70hello")


def test_the_codecs_of_cp_messages_are_those_of_their_makers() -> None:
    assert {codec.cls for codec in cp_mme.CODECS} == {StpCpStateInd, SpidcomCpInd, DspaceDiag}
