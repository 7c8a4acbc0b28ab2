"""Which schema a payload is decoded with: negotiated, or guessed."""

from __future__ import annotations

from plugtap.protocols import exi
from plugtap.protocols.events import TcpPeer, V2gMessage
from plugtap.protocols.net import RawV2g
from plugtap.protocols.v2g import V2gDecoder

HEADER = {"SessionID": "A1B2C3D4E5F60718"}
DIN = exi.encode("din", {"V2G_Message": {"Header": HEADER, "Body": {"SessionStopReq": {}}}})
ISO2 = exi.encode("iso2", {"V2G_Message": {"Header": HEADER, "Body": {"SessionStopReq": {"ChargingSession": "Terminate"}}}})
PROTOCOL = {"ProtocolNamespace": "urn:din:70121:2012:MsgDef", "VersionNumberMajor": 2, "VersionNumberMinor": 0, "SchemaID": 1, "Priority": 1}
SAP = [
    exi.encode("sap", {"supportedAppProtocolReq": {"AppProtocol": [PROTOCOL]}}),
    exi.encode("sap", {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}}),
]
PEER = TcpPeer(bytes(6), bytes(16), 1)


def read(*payloads: bytes, decoder: V2gDecoder | None = None) -> list[V2gMessage]:
    """The messages of one connection."""
    decoder = decoder or V2gDecoder()
    found = []
    for number, payload in enumerate(payloads):
        raw = RawV2g(
            t=number, frame=number, source="plc", stream=1, from_a=True, src=PEER, dst=PEER, payload_type=0x8001, payload=payload, first_frame=number,
            first_t=number, index=0, after_hole=False, opener_seen=False, side="unknown",
        )  # fmt: skip
        found += [event for event in decoder.feed(raw) if isinstance(event, V2gMessage)]
    return found


def schemas(messages: list[V2gMessage]) -> list[tuple[str | None, str | None, bool]]:
    return [(m.schema, m.message, m.guessed) for m in messages]


def test_negotiated_and_no_other() -> None:
    """A payload of -2 on a connection that chose DIN is not read with -2, though it could be."""
    *_, din, other = read(*SAP, DIN, ISO2)
    assert schemas([din]) == [("din", "SessionStopReq", False)]
    assert other.schema == "din"
    assert other.message != "SessionStopReq"
    assert exi.decode_message("iso2", ISO2).message == "SessionStopReq"


def test_iso20_negotiated_and_no_other() -> None:
    """A payload of DIN in its payload type, on a connection that chose ISO 15118-20, is not guessed at."""
    offer = exi.encode("sap", {"supportedAppProtocolReq": {"AppProtocol": [{**PROTOCOL, "ProtocolNamespace": "urn:iso:std:iso:15118:-20:DC"}]}})
    *_, other = read(offer, SAP[1], DIN)
    assert (other.schema, other.message, other.guessed) == (None, None, False)
    assert other.error is not None and other.error["reason"] == "no schema known for payload type 0x8001"


def test_joined_in_the_middle() -> None:
    assert schemas(read(DIN, DIN)) == [("din", "SessionStopReq", True)] * 2
    assert schemas(read(ISO2, ISO2)) == [("iso2", "SessionStopReq", True)] * 2


def test_a_wrong_guess_does_not_last() -> None:
    """The first message heard is damaged so that it decodes with the other schema: those after it are read as what they are."""
    assert schemas(read(ISO2, DIN, DIN)) == [("iso2", "SessionStopReq", True), ("din", "SessionStopReq", True), ("din", "SessionStopReq", True)]


def test_a_damaged_message_changes_no_guess() -> None:
    """One whose first bytes say another schema but which does not decode with it stays what the messages before it were."""
    damaged = ISO2[:2] + bytes([255] * 6)
    first, second, third = read(DIN, damaged, DIN)
    assert schemas([first, third]) == [("din", "SessionStopReq", True)] * 2
    assert second.message is None and second.schema == "din" and second.error is not None


def test_a_handshake_ends_guessing() -> None:
    assert [m.guessed for m in read(DIN, *SAP, DIN)] == [True, False, False, False]
