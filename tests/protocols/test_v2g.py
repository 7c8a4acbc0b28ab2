"""Which schema a payload is decoded with: negotiated, or guessed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from plugtap.protocols import exi
from plugtap.protocols.events import Event, Redecoded, TcpPeer, V2gMessage
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


def raw(number: int, payload: bytes, kind: int = 0x8001) -> RawV2g:
    """One payload of the connection."""
    return RawV2g(
        t=number, frame=number, source="plc", stream=1, from_a=True, src=PEER, dst=PEER, payload_type=kind, payload=payload, first_frame=number,
        first_t=number, index=0, after_hole=False, opener_seen=False, side="unknown",
    )  # fmt: skip


def read(*payloads: bytes, decoder: V2gDecoder | None = None) -> list[V2gMessage]:
    """The messages of one connection."""
    decoder = decoder or V2gDecoder()
    found = []
    for number, payload in enumerate(payloads):
        found += [event for event in decoder.feed(raw(number, payload)) if isinstance(event, V2gMessage)]
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


BROKEN = ISO2[:2] + bytes([255] * 6)
TYPED = (DIN, 0x8002)  # a sender that uses the payload type of ISO 15118-20 for DIN
Payload = bytes | tuple[bytes, int]


def events(*payloads: Payload) -> list[Event]:
    decoder = V2gDecoder()
    found: list[Event] = []
    for number, payload in enumerate(payloads):
        found += decoder.feed(raw(number, *(payload if isinstance(payload, tuple) else (payload,))))
    return found


def again(found: list[Event]) -> list[tuple[int, int, str | None, str | None, str | None, bool]]:
    """(known from frame, frame, schema, message, schema before, guessed) of what was decoded again."""
    return [(e.frame, e.message.frame, e.message.schema, e.message.message, e.schema_before, e.message.guessed) for e in found if isinstance(e, Redecoded)]


def test_what_no_schema_was_known_for_is_decoded_again_once_it_is() -> None:
    """The type says ISO 15118-20, and only the three messages after it tell what this connection speaks."""
    found = events(TYPED, DIN, DIN, DIN, DIN)
    first = found[0]
    assert isinstance(first, V2gMessage) and first.schema == "iso20cm" and first.notes, "read with rest, by a schema that is none of the two"
    assert again(found) == [(3, 0, "din", "SessionStopReq", "iso20cm", True)]
    redecoded = next(e for e in found if isinstance(e, Redecoded))
    assert found.index(redecoded) == 4, "right after the message that brought the knowledge"
    assert redecoded.message.side == "EVCC" and redecoded.message.error is None and redecoded.message.header == HEADER


def test_a_handshake_makes_the_schema_known_at_once() -> None:
    assert again(events(TYPED, *SAP, DIN)) == [(2, 0, "din", "SessionStopReq", "iso20cm", False)]


def test_once_it_is_known_later_ones_are_read_by_it_at_once() -> None:
    *_, last = events(DIN, DIN, DIN, TYPED)
    assert isinstance(last, V2gMessage) and (last.schema, last.message, last.guessed) == ("din", "SessionStopReq", True)


def test_what_nothing_was_known_of_is_read_by_the_schema_of_the_handshake() -> None:
    """A first byte that names no schema: an error before, and one that says where after."""
    strange = b"\x80\xfe" + bytes(8)
    found = events(strange, *SAP, DIN)
    assert isinstance(found[0], V2gMessage) and found[0].schema is None
    [redecoded] = [e for e in found if isinstance(e, Redecoded)]
    assert (redecoded.frame, redecoded.message.frame, redecoded.message.schema, redecoded.message.guessed) == (2, 0, "din", False)
    assert redecoded.message.error is not None and redecoded.message.error["layer"] == "exi"


def test_a_whole_message_of_another_schema_is_left_alone() -> None:
    """It is what its bytes say: the same ports may have had another connection before, whose end was not heard."""
    assert again(events(ISO2, DIN, DIN, DIN)) == []
    assert again(events(ISO2, ISO2, *SAP, DIN)) == []


def test_proven_is_said_from_the_message_after_the_proof() -> None:
    found = [e for e in events(DIN, DIN, DIN, DIN, BROKEN, ISO2) if isinstance(e, V2gMessage)]
    assert [(e.schema, e.guessed, e.proven) for e in found] == [
        ("din", True, False), ("din", True, False), ("din", True, False), ("din", True, True), ("din", True, True), ("iso2", True, False),
    ]  # fmt: skip
    assert not any(e.proven for e in events(*SAP, DIN) if isinstance(e, V2gMessage)), "negotiated is more than proven"


def test_nothing_is_said_again_where_nothing_differs() -> None:
    assert again(events(DIN, DIN, DIN, DIN)) == []
    assert again(events(DIN, BROKEN, DIN, DIN, DIN)) == [], "the broken one was read by the schema that proved right"
    assert again(events(*SAP, DIN, ISO2, DIN, DIN, DIN)) == [], "negotiated: no other was tried, nothing is to be corrected"


def test_two_of_each_prove_nothing() -> None:
    assert again(events(TYPED, DIN, DIN, ISO2, ISO2)) == []


def test_what_is_kept_is_bounded() -> None:
    found = events(*[TYPED] * 50, DIN, DIN, DIN)
    assert [frame for _, frame, *_ in again(found)] == list(range(36, 50)), "the latest 16 that were not certain, two of which are DIN anyway"
    large = (DIN + bytes(9000), 0x8002)
    assert [frame for _, frame, *_ in again(events(*[large] * 9, DIN, DIN, DIN))] == [8]


def test_iso20_says_itself_what_its_payloads_are() -> None:
    assert again(events(*[TYPED] * 4)) == []


@given(st.lists(st.sampled_from([DIN, ISO2, BROKEN, TYPED, (ISO2, 0x8004), *SAP, b"", b"\x80", b"\x80\x9a\xff"]), min_size=1, max_size=60))
def test_whatever_comes_what_is_said_again_is_of_an_earlier_message(payloads: list[Payload]) -> None:
    decoder = V2gDecoder()
    found: list[Event] = []
    for number, payload in enumerate(payloads):
        found += decoder.feed(raw(number, *(payload if isinstance(payload, tuple) else (payload,))))
        kept = decoder._streams[1].backlog or []
        assert len(kept) <= 16 and sum(len(message.exi) for message in kept) <= 16 * 1024
    known = decoder._streams[1].chosen or decoder._streams[1].proven
    said = {e.frame: e for e in found if isinstance(e, V2gMessage)}
    assert list(said) == list(range(len(payloads)))
    redecoded = [e for e in found if isinstance(e, Redecoded)]
    assert len(redecoded) <= 16
    assert len({e.frame for e in redecoded}) <= 1, "a schema becomes known once"
    for event in redecoded:
        old = said[event.message.frame]
        assert event.message.frame < event.frame
        assert (event.schema_before, event.message_before) == (old.schema, old.message)
        assert event.message.schema in ("din", "iso2", "sap") and event.message.schema != old.schema
        assert event.message.exi == old.exi
        assert known is not None, "only what is known is a reason"
