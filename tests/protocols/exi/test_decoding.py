"""What the decoder says of single messages: golden bytes, shapes, notes, errors, limits."""

from __future__ import annotations

from typing import Any

import pytest

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi.encoder import _Writer

pytestmark = pytest.mark.usefixtures("engine")

HEADER_20 = {"SessionID": "AD4A12C3F4D2A989", "TimeStamp": 1700000000}

SAP_REQ = {
    "supportedAppProtocolReq": {
        "AppProtocol": [
            {"ProtocolNamespace": "urn:din:70121:2012:MsgDef", "VersionNumberMajor": 2, "VersionNumberMinor": 0, "SchemaID": 1, "Priority": 1}
        ]
    }
}
CURRENT_DEMAND = {
    "V2G_Message": {
        "Header": {"SessionID": "0102030405060708"},
        "Body": {
            "CurrentDemandReq": {
                "DC_EVStatus": {"EVReady": True, "EVErrorCode": "NO_ERROR", "EVRESSSOC": 55},
                "EVTargetCurrent": {"Multiplier": -1, "Unit": "A", "Value": 1250},
                "ChargingComplete": False,
                "EVTargetVoltage": {"Multiplier": -1, "Unit": "V", "Value": 4000},
            }
        },
    }
}
AUTHORIZATION = {
    "V2G_Message": {
        "Header": {"SessionID": "0102030405060708"},
        "Body": {"AuthorizationReq": {"@Id": "id1", "GenChallenge": "AAECAwQFBgcICQoLDA0ODw=="}},
    }
}

GOLDEN: list[tuple[str, str, dict[str, Any]]] = [
    ("sap", "8000dbab9371d3234b71d1b981899189d191818991d26b9b3a232b30020000040040", SAP_REQ),
    ("sap", "80440040", {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiationWithMinorDeviation", "SchemaID": 1}}),
    ("din", "809a02004080c1014181c210d1400dc080c38824821028500f80", CURRENT_DEMAND),
    ("iso2", "809802004080c1014181c2100015a590c4080000810182028303840485058606870780", AUTHORIZATION),
    ("iso20cm", "808c0456a50961fa6954c4880e2cfaa062052ba6a4ab1899199a00", {"SessionSetupReq": {"Header": HEADER_20, "EVCCID": "WMIV1234"}}),
    ("iso20dc", "802c0456a50961fa6954c4880e2cfaa062", {"DC_CableCheckReq": {"Header": HEADER_20}}),
]


@pytest.mark.parametrize(("schema", "data", "content"), GOLDEN, ids=lambda v: v if isinstance(v, str) and len(v) < 9 else "")
def test_golden(schema: str, data: str, content: dict[str, Any]) -> None:
    assert exi.encode(schema, content).hex() == data
    assert exi.decode(schema, bytes.fromhex(data)) == content


def test_message_names() -> None:
    assert exi.decode_message("sap", exi.encode("sap", SAP_REQ)).message == "supportedAppProtocolReq"
    assert exi.decode_message("din", exi.encode("din", CURRENT_DEMAND)).message == "CurrentDemandReq"
    empty = {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {}}}
    for schema in ("din", "iso2"):
        decoded = exi.decode_message(schema, exi.encode(schema, empty))
        assert (decoded.content, decoded.message, decoded.notes) == (empty, None, ())


def test_root_that_is_no_message() -> None:
    for schema, content in (("iso2", {"SessionSetupReq": {"EVCCID": "0102"}}), ("iso20ac", {"CLReqControlMode": {}})):
        decoded = exi.decode_message(schema, exi.encode(schema, content))
        name = next(iter(content))
        assert decoded.message == name
        assert decoded.notes == (f"root element {name} is not a message",)


def test_guess() -> None:
    assert exi.guess(exi.encode("sap", SAP_REQ)) == "sap"
    assert exi.guess(bytes.fromhex("8040")) == "sap"
    assert exi.guess(exi.encode("din", CURRENT_DEMAND)) == "din"
    assert exi.guess(exi.encode("iso2", AUTHORIZATION)) == "iso2"
    assert [exi.guess(bytes.fromhex(h)) for h in ("", "80", "809c", "a09a", "80fe")] == [None] * 5


def test_shapes() -> None:
    decoded = exi.decode("sap", exi.encode("sap", SAP_REQ))
    assert isinstance(decoded["supportedAppProtocolReq"]["AppProtocol"], list)
    assert exi.decode("iso2", exi.encode("iso2", AUTHORIZATION))["V2G_Message"]["Body"]["AuthorizationReq"]["@Id"] == "id1"
    loop = {"DC_ChargeLoopReq": {"Header": HEADER_20, "MeterInfoRequested": False, "EVPresentVoltage": {"Exponent": 0, "Value": 400}}}
    loop["DC_ChargeLoopReq"]["CLReqControlMode"] = {}
    assert exi.decode("iso20dc", exi.encode("iso20dc", loop)) == loop


def test_unknown_schema() -> None:
    with pytest.raises(ValueError, match="unknown schema 'iso3'"):
        exi.decode("iso3", b"\x80\x00")
    with pytest.raises(ValueError, match="unknown schema"):
        exi.encode("", {})


@pytest.mark.parametrize(
    ("schema", "data", "offset", "path", "reason"),
    [
        ("din", "", 0, "", "empty payload"),
        ("din", "a09a00", 0, "", "EXI header 0xA0, not 0x80"),
        ("din", "80", 8, "", "the message ends: 7 bits wanted, 0 left"),
        ("din", "80a4", 8, "", "root event code 82: the schema has 81 root elements"),
        ("din", "809a", 16, "V2G_Message/Header", "the message ends: 1 bits wanted"),
        ("din", "809a02004080c101", 18, "V2G_Message/Header/SessionID", "a length of 8"),
        ("sap", "804c00", 12, "supportedAppProtocolRes/ResponseCode", "enumeration index 3 of 3"),
    ],
)
def test_errors(schema: str, data: str, offset: int, path: str, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        exi.decode(schema, bytes.fromhex(data))
    error = caught.value
    assert (error.layer, error.offset, error.path) == ("exi", offset, path)
    assert reason in error.reason


def test_event_code_beyond_the_escape() -> None:
    """The Body of -2 has 36 productions and the escape: 37 of 64 codes of 6 bits."""
    header = ((76, 7), (0, 1), (0, 1), (0, 1), (0, 8), (0, 1), (2, 2), (0, 1))
    with pytest.raises(DecodeError) as caught:
        exi.decode("iso2", stream(*header, (40, 6)))
    assert (caught.value.offset, caught.value.path) == (30, "V2G_Message/Body")
    assert caught.value.reason == "event code 40 of 37"


def test_error_keeps_what_was_read() -> None:
    data = exi.encode("din", CURRENT_DEMAND)[:-3]
    with pytest.raises(DecodeError) as caught:
        exi.decode("din", data)
    assert caught.value.path == "V2G_Message/Body/CurrentDemandReq/EVTargetVoltage/Value"
    partial = caught.value.partial
    assert isinstance(partial, dict)
    body = partial["V2G_Message"]["Body"]["CurrentDemandReq"]
    assert body["EVTargetCurrent"] == {"Multiplier": -1, "Unit": "A", "Value": 1250}
    assert body["EVTargetVoltage"] == {"Multiplier": -1, "Unit": "V"}


def test_notes_on_facets() -> None:
    """Facets are no part of the coding: what breaks them is still decoded, and noted."""
    long = {"V2G_Message": {"Header": {"SessionID": "00" * 9}, "Body": {"SessionSetupReq": {"EVCCID": "01" * 7}}}}
    decoded = exi.decode_message("iso2", exi.encode("iso2", long))
    assert decoded.content == long
    assert decoded.notes == ("SessionID: length 9, at most 8 allowed", "EVCCID: length 7, at most 6 allowed")
    soc = {**CURRENT_DEMAND["V2G_Message"]["Body"]["CurrentDemandReq"], "DC_EVStatus": {"EVReady": True, "EVErrorCode": "NO_ERROR", "EVRESSSOC": 127}}
    message = {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"CurrentDemandReq": soc}}}
    decoded = exi.decode_message("din", exi.encode("din", message))
    assert (decoded.content, decoded.notes) == (message, ("EVRESSSOC: 127 is outside 0..100",))
    far = {"supportedAppProtocolRes": {"ResponseCode": "Failed_NoNegotiation"}}
    assert exi.decode_message("sap", exi.encode("sap", far)).notes == ()
    short = {"DC_CableCheckReq": {"Header": {"SessionID": "00", "TimeStamp": 1 << 64}}}
    decoded = exi.decode_message("iso20dc", exi.encode("iso20dc", short))
    assert decoded.content == short
    assert decoded.notes == (
        "SessionID: length 1, at least 8 required",
        "TimeStamp: 18446744073709551616 is outside 0..18446744073709551615",
    )
    nul = {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"ServiceDiscoveryReq": {"ServiceScope": "\0" * 64}}}}
    decoded = exi.decode_message("iso2", exi.encode("iso2", nul))
    assert (decoded.content, decoded.notes) == (nul, ("ServiceScope: unprintable characters",))


@pytest.mark.parametrize("number", [0, 127, 128, 16383, 16384, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0x4000000000000000])
def test_long_integers(number: int) -> None:
    message = {"DC_CableCheckReq": {"Header": {"SessionID": "00" * 8, "TimeStamp": number}}}
    decoded = exi.decode_message("iso20dc", exi.encode("iso20dc", message))
    assert (decoded.content, decoded.notes) == (message, ())


@pytest.mark.parametrize("number", [0, -1, 1, 127, -128, 128, -129, 16383, -16384, 16384, -16385, 32767, -32768])
def test_shorts(number: int) -> None:
    message = {"DC_PreChargeReq": {"Header": HEADER_20, "EVProcessing": "Ongoing"}}
    message["DC_PreChargeReq"] |= {"EVPresentVoltage": {"Exponent": -128, "Value": number}, "EVTargetVoltage": {"Exponent": 127, "Value": number}}
    decoded = exi.decode_message("iso20dc", exi.encode("iso20dc", message))
    assert (decoded.content, decoded.notes) == (message, ())


def test_integer_without_end() -> None:
    huge = {"X509IssuerSerial": {"X509IssuerName": "CN=a", "X509SerialNumber": (1 << 440) - 1}}
    data = exi.encode_fragment("xmldsig", huge)
    assert exi.decode_fragment("xmldsig", data) == huge
    endless = exi.encode_fragment("xmldsig", {"X509IssuerSerial": {"X509IssuerName": "CN=a", "X509SerialNumber": 1 << 500}})
    with pytest.raises(DecodeError, match="an integer of more than 448 bits"):
        exi.decode_fragment("xmldsig", endless)


def test_bytes_after_the_end() -> None:
    data = exi.encode("din", CURRENT_DEMAND)
    decoded = exi.decode_message("din", data + b"\0\0")
    assert (decoded.content, decoded.trailing) == (CURRENT_DEMAND, 2)
    assert decoded.notes == ("2 bytes after the end of the document",)


def stream(*parts: tuple[int, int] | str) -> bytes:
    """Bits for an EXI stream: (value, width), or a string as its literal."""
    writer = _Writer()
    writer.bits(0x80, 8)
    for part in parts:
        if isinstance(part, str):
            writer.unsigned(len(part) + 2)
            for character in part:
                writer.unsigned(ord(character))
        else:
            writer.bits(*part)
    return writer.finish()


APP = ((0, 1), (0, 1), (0, 1), (2, 8), (0, 1), (0, 1), (0, 1), (0, 8), (0, 1), (0, 1), (0, 1), (1, 8), (0, 1), (0, 1), (0, 1), (0, 5), (0, 1), (0, 1))
"""VersionNumberMajor 2, VersionNumberMinor 0, SchemaID 1, Priority 1, and the end of the AppProtocol."""


def test_string_tables() -> None:
    """A peer that leaves the string tables on: hits in the local and in the global partition."""
    urn = "urn:din:70121:2012:MsgDef"
    data = stream((0, 2), (0, 1), (0, 1), (0, 1), urn, *APP, (0, 2), (0, 1), (0, 1), (0, 8), *APP, (0, 2), (0, 1), (0, 1), (1, 8), *APP, (1, 2))
    decoded = exi.decode_message("sap", data)
    assert [app["ProtocolNamespace"] for app in decoded.content["supportedAppProtocolReq"]["AppProtocol"]] == [urn] * 3
    assert decoded.notes == ()


def test_string_table_entry_that_does_not_exist() -> None:
    with pytest.raises(DecodeError, match="empty partition") as caught:
        exi.decode("sap", stream((0, 2), (0, 1), (0, 1), (0, 1), (1, 8), *APP))
    assert caught.value.path == "supportedAppProtocolReq/AppProtocol/ProtocolNamespace"
    three = [part for name in "abc" for part in ((0, 2), (0, 1), (0, 1), name, *APP)][1:]
    with pytest.raises(DecodeError, match="entry 3 of 3"):
        exi.decode("sap", stream((0, 2), (0, 1), *three, (0, 2), (0, 1), (0, 1), (0, 8), (3, 2), *APP))


def test_characters() -> None:
    for text in ("ä", "漢字", "🔌", "a" * 99, "a" * 50 + "ß" * 50):
        request = {"supportedAppProtocolReq": {"AppProtocol": [{**SAP_REQ["supportedAppProtocolReq"]["AppProtocol"][0], "ProtocolNamespace": text}]}}
        assert exi.decode("sap", exi.encode("sap", request)) == request
    with pytest.raises(DecodeError, match="character code 55296 does not exist"):
        exi.decode("sap", stream((0, 2), (0, 1), (0, 1), (0, 1), (3, 8), (0x80, 8), (0x80 | 0x30, 8), (3, 8), *APP))


def test_empty_elements() -> None:
    """<X/> of a simple type is the escape and the second-level EE (EXI 8.5.4.4)."""
    message = {"V2G_Message": {"Header": {"SessionID": ""}, "Body": {"SessionSetupReq": {"EVCCID": ""}}}}
    data = exi.encode("iso2", message)
    assert data.hex() == "8098447500"
    decoded = exi.decode_message("iso2", data)
    assert (decoded.content, decoded.notes) == (message, ())
    empty = stream((1, 2), (0, 1), (8, 4), (1, 2))
    decoded = exi.decode_message("sap", empty)
    assert decoded.content == {"supportedAppProtocolRes": {"ResponseCode": ""}}
    assert decoded.notes == ("ResponseCode: empty",)


def test_what_is_not_declared_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"undeclared content \(second-level event 6 of 7\)"):
        exi.decode("sap", stream((1, 2), (0, 1), (1, 1), (6, 3), (0, 16)))
    with pytest.raises(DecodeError, match=r"undeclared content \(second-level event 1 of 7\)"):
        exi.decode("sap", stream((1, 2), (1, 1), (1, 3), (0, 16)))
    with pytest.raises(DecodeError, match="undeclared content after the value"):
        exi.decode("sap", stream((1, 2), (0, 1), (0, 1), (0, 2), (1, 1), (0, 16)))
    # CanonicalizationMethod is the first element of xmldsig; after its attribute come SE(*) 0, EE 1, CH 2.
    with pytest.raises(DecodeError, match="a wildcard") as caught:
        exi.decode_fragment("xmldsig", stream((0, 6), (0, 1), "a", (0, 2)))
    assert caught.value.partial == {"CanonicalizationMethod": {"@Algorithm": "a"}}


def test_element_that_ends_early() -> None:
    data = stream((1, 2), (1, 1), (0, 3))
    decoded = exi.decode_message("sap", data)
    assert decoded.content == {"supportedAppProtocolRes": {}}
    assert decoded.notes == ("supportedAppProtocolRes ends where ResponseCode is required",)


def test_repetition_ends_at_its_limit() -> None:
    """-20 allows 1,024 entries and 2,048 in the power profile: after the last one the event codes get narrower."""
    entry = {"Duration": 60, "Power": {"Exponent": 3, "Value": 11}}
    profile = {"TimeAnchor": 1, "EVPowerProfileEntries": {"EVPowerProfileEntry": [entry] * 2048}}
    message = {"PowerDeliveryReq": {"Header": HEADER_20, "EVProcessing": "Finished", "ChargeProgress": "Start", "EVPowerProfile": profile}}
    profile["Dynamic_EVPPTControlMode"] = {}
    data = exi.encode("iso20cm", message)
    assert exi.decode("iso20cm", data) == message
    profile["EVPowerProfileEntries"]["EVPowerProfileEntry"].append(entry)
    with pytest.raises(exi.EncodeError, match="EVPowerProfileEntry does not fit here, or too often"):
        exi.encode("iso20cm", message)


def test_limits() -> None:
    entries = SAP_REQ["supportedAppProtocolReq"]["AppProtocol"] * 20
    data = exi.encode("sap", {"supportedAppProtocolReq": {"AppProtocol": entries}})
    assert len(exi.decode_message("sap", data, max_entries=20).content["supportedAppProtocolReq"]["AppProtocol"]) == 20
    with pytest.raises(DecodeError, match="more than 19 repeated elements") as caught:
        exi.decode_message("sap", data, max_entries=19)
    assert caught.value.path == "supportedAppProtocolReq/AppProtocol"
    signed = exi.encode_fragment("xmldsig", {"KeyInfo": {"X509Data": [{"X509IssuerSerial": [{"X509IssuerName": "a", "X509SerialNumber": 1}]}]}})
    assert exi.decode_fragment("xmldsig", signed)
    deep = nested_emaid(60)
    with pytest.raises(DecodeError, match="more than 40 elements deep"):
        exi.decode_fragment("iso2", deep)
    assert exi.decode_fragment("iso2", nested_emaid(30))


def nested_emaid(levels: int) -> bytes:
    """A fragment in which eMAID, whose relaxed grammar allows any element, is nested in itself."""
    content: Any = {"#text": "x"}
    for _ in range(levels):
        content = {"eMAID": [content]}
    return exi.encode_fragment("iso2", {"eMAID": content["eMAID"][0]})


def test_many_notes_are_cut() -> None:
    certificates = ["A" * 1204] * 40
    message = {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"PaymentDetailsReq": {}}}}
    message["V2G_Message"]["Body"]["PaymentDetailsReq"] = {
        "ContractID": "DE" + "1" * 22,
        "ContractSignatureCertChain": {"Certificate": "AA==", "SubCertificates": {"Certificate": certificates}},
    }
    decoded = exi.decode_message("din", exi.encode("din", message))
    assert len(decoded.notes) <= 31
