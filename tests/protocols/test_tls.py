"""TLS records and handshake messages: hand-built ones, a real ClientHello of the standard library, and damage."""

from __future__ import annotations

import ssl
import struct

import pytest
from builders import Talk, exi, renumbered, v2gtp
from hypothesis import given
from hypothesis import strategies as st
from net_lab import messages, raws, run

from plugtap.protocols import events, tls, tls_handshake
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.net import Output


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def record(kind: int, data: bytes, version: int = 0x0303) -> bytes:
    return struct.pack(">BH", kind, version) + vector(2, data)


def handshake(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + vector(3, body)


def words(*numbers: int) -> bytes:
    return b"".join(n.to_bytes(2, "big") for n in numbers)


def extension(kind: int, data: bytes) -> bytes:
    return words(kind) + vector(2, data)


RANDOM = bytes(range(32))
NAME = b"0\x0bname in DER"
CLIENT_EXTENSIONS = (
    extension(0, vector(2, b"\0" + vector(2, b"secc.example")))
    + extension(3, vector(2, b"\0" + b"\x01" + b"\xaa" * 20 + b"\x02" + vector(2, NAME) + b"\x03" + b"\xbb" * 20))
    + extension(5, b"\x01\0\0\0\0")
    + extension(10, vector(2, words(23, 25, 30)))
    + extension(13, vector(2, words(0x0403, 0x0603)))
    + extension(43, vector(1, words(0x0A0A, 0x0304, 0x0303)))
    + extension(47, vector(2, vector(2, NAME)))
    + extension(50, vector(2, words(0x0808)))
    + extension(51, vector(2, words(25) + vector(2, b"\x04" * 133)))
)
CLIENT_HELLO = handshake(
    1, words(0x0303) + RANDOM + vector(1, b"\x11\x22") + vector(2, words(0xC023, 0xC025, 0x1302)) + b"\x01\0" + vector(2, CLIENT_EXTENSIONS)
)
SERVER_HELLO = handshake(2, words(0x0303) + RANDOM + b"\0" + words(0xC023) + b"\0" + vector(2, extension(5, b"")))
CERTIFICATE = handshake(11, vector(3, vector(3, b"leaf" * 200) + vector(3, b"sub" * 100)))
KEY_EXCHANGE = handshake(12, b"\x03" + words(23) + vector(1, b"\x04" * 65))
REQUEST = handshake(13, vector(1, b"\x40") + vector(2, words(0x0403)) + vector(2, vector(2, NAME)))
STATUS = handshake(22, b"\x01" + vector(3, b"ocsp"))


def facts(data: bytes, size: int = 0, max_handshake: int = 65536) -> list[tls.Fact]:
    reader = tls.Reader(max_handshake)
    size = size or len(data) or 1
    return [fact for i in range(0, len(data), size) for fact in reader.feed(data[i : i + size], i, i + 1)]


def test_client_hello() -> None:
    [fact] = facts(record(22, CLIENT_HELLO, 0x0301))
    assert (fact.kind, fact.version, fact.length) == ("client-hello", 0x0304, len(CLIENT_HELLO) - 4)
    assert fact.values == {
        "legacy_version": 0x0303,
        "random": RANDOM.hex(),
        "session_id": "1122",
        "suites": [0xC023, 0xC025, 0x1302],
        "extensions": [0, 3, 5, 10, 13, 43, 47, 50, 51],
        "sni": "secc.example",
        "trusted_ca_keys": [
            {"type": 0, "value": ""},
            {"type": 1, "value": "aa" * 20},
            {"type": 2, "value": NAME.hex()},
            {"type": 3, "value": "bb" * 20},
        ],
        "status_request": True,
        "status_request_v2": False,
        "groups": [23, 25, 30],
        "signature_algorithms": [0x0403, 0x0603],
        "signature_algorithms_cert": [0x0808],
        "certificate_authorities": [NAME],
        "versions": [0x0304, 0x0303],
        "key_shares": [25],
    }


def test_a_hello_without_extensions() -> None:
    body = words(0x0303) + RANDOM + b"\0" + vector(2, words(0xC025)) + b"\x01\0"
    [fact] = facts(record(22, handshake(1, body)))
    assert (fact.version, fact.values["extensions"], fact.values["sni"], fact.values["trusted_ca_keys"]) == (0x0303, [], None, None)


def test_server_hello_of_both_versions() -> None:
    [fact] = facts(record(22, SERVER_HELLO))
    assert (fact.kind, fact.version, fact.values["suite"], fact.values["status_request"]) == ("server-hello", 0x0303, 0xC023, True)
    body = words(0x0303) + tls_handshake.HELLO_RETRY + b"\0" + words(0x1302) + b"\0"
    body += vector(2, extension(43, words(0x0304)) + extension(51, words(25)))
    [fact] = facts(record(22, handshake(2, body)))
    assert (fact.version, fact.values["hello_retry"], fact.values["key_share"]) == (0x0304, True, 25)


def test_the_rest_of_a_handshake_in_one_record_and_in_many() -> None:
    flight = SERVER_HELLO + CERTIFICATE + STATUS + KEY_EXCHANGE + REQUEST + handshake(14, b"")
    whole = facts(record(22, flight))
    assert [f.kind for f in whole] == ["server-hello", "certificate", "handshake", "handshake", "certificate-request", "handshake"]
    assert whole[1].values == {"count": 2, "sizes": [800, 300], "chain": [b"leaf" * 200, b"sub" * 100]}
    assert whole[2].values == {"type": 22, "name": "certificate_status", "status_type": 1, "response": b"ocsp"}
    assert whole[3].values == {"type": 12, "name": "server_key_exchange", "group": 23}
    assert whole[4].values == {"types": [0x40], "signature_algorithms": [0x0403], "authorities": [NAME]}
    assert whole[5].values == {"type": 14, "name": "server_hello_done"}
    split = b"".join(record(22, flight[i : i + 100]) for i in range(0, len(flight), 100))
    for size in (1, 7, 0):
        assert [(f.kind, f.values) for f in facts(split, size)] == [(f.kind, f.values) for f in whole]


def test_the_frame_is_that_of_the_last_byte() -> None:
    data = record(22, SERVER_HELLO)
    [fact] = facts(data, 10)
    assert fact.frame == (len(data) - 1) // 10 * 10 + 1


def test_what_follows_a_change_of_cipher_is_not_read() -> None:
    data = record(22, CLIENT_HELLO) + record(20, b"\x01") + record(22, bytes(40)) + record(23, bytes(99)) + record(21, bytes(32))
    assert [(f.kind, f.length, f.values) for f in facts(data)[1:]] == [
        ("change-cipher-spec", 1, {}),
        ("encrypted", 40, {}),
        ("application-data", 99, {}),
        ("alert", 32, {}),
    ]


def test_alerts() -> None:
    [fact] = facts(record(21, b"\x02\x30"))
    assert (fact.kind, fact.values) == ("alert", {"level": 2, "description": 48, "name": "unknown_ca"})
    [fact] = facts(record(21, b"\x01\xc8"))
    assert fact.values["name"] == "200"


def test_heartbeats_are_named_by_their_number() -> None:
    [fact] = facts(record(24, bytes(5)))
    assert (fact.kind, fact.values) == ("encrypted", {"content_type": 24})


@pytest.mark.parametrize(
    ("extensions", "field", "value"),
    [
        (extension(0, b""), "sni", None),
        (extension(0, vector(2, b"\x01" + vector(2, b"x"))), "sni", None),
        (extension(0, vector(2, b"\0" + vector(2, b"\xffx"))), "sni", "\\xffx"),
        (extension(3, b""), "trusted_ca_keys", []),
        (extension(3, vector(2, b"\x09")), "error", "tls at 0: trusted_ca_keys identifier type 9"),
        (extension(10, vector(2, b"\0")), "error", "tls at 3: a list of 2-byte numbers in 1 bytes"),
    ],
)
def test_odd_extensions(extensions: bytes, field: str, value: object) -> None:
    body = words(0x0303) + RANDOM + b"\0" + vector(2, words(0xC025)) + b"\x01\0" + vector(2, extensions)
    [fact] = facts(record(22, handshake(1, body)))
    assert (fact.kind, fact.values[field]) == ("client-hello", value)


def test_only_so_many_certificates_are_kept() -> None:
    [fact] = facts(record(22, handshake(11, vector(3, vector(3, b"der") * 40))))
    assert (fact.values["count"], len(fact.values["chain"]), len(fact.values["sizes"])) == (40, 16, 40)


def test_a_handshake_message_that_is_too_long() -> None:
    data = record(22, b"\x0b\x01\x00\x00" + bytes(60)) + record(22, bytes(30))
    first, second = facts(data, max_handshake=1000)
    assert (first.kind, first.values) == ("handshake", {"error": "message of 65540 bytes, more than 1000"})
    assert second.kind == "encrypted"


@pytest.mark.parametrize("kind", [1, 2, 11, 13, 22])
def test_a_broken_message_keeps_its_name(kind: int) -> None:
    [fact] = facts(record(22, handshake(kind, b"\x03\x03\x00")))
    assert fact.values["type"] == kind
    assert fact.values["error"].startswith("tls at ")
    with pytest.raises(DecodeError):
        tls_handshake.parse(kind, b"\x03\x03\x00", 0x0303)


# --- loss ---------------------------------------------------------------------------------------------------------


def test_a_hole_inside_a_record_skips_that_record() -> None:
    reader = tls.Reader()
    data = record(23, bytes(100))
    assert reader.feed(data[:50], 1, 1) == []
    reader.hole(20)
    assert [f.length for f in reader.feed(data[70:] + record(23, bytes(7)), 2, 2)] == [7]
    assert reader.buffered == 0


def test_after_a_longer_hole_the_next_segment_that_starts_a_record_counts() -> None:
    reader = tls.Reader()
    reader.feed(record(23, bytes(100))[:50], 1, 1)
    reader.hole(500)
    assert reader.feed(bytes(30), 2, 2) == []
    assert [f.length for f in reader.feed(record(23, bytes(7)), 3, 3)] == [7]
    assert reader.skipped == 30


def test_after_a_hole_only_a_hello_is_read_again() -> None:
    reader = tls.Reader()
    reader.hole(10)
    assert [f.kind for f in reader.feed(record(22, CERTIFICATE[:400]), 1, 1)] == ["encrypted"]
    assert [f.kind for f in reader.feed(record(22, CLIENT_HELLO), 2, 2)] == ["client-hello"]


def test_bytes_that_are_no_record() -> None:
    reader = tls.Reader()
    assert [f.length for f in reader.feed(record(23, bytes(3)) + b"not a record", 1, 1)] == [3]
    assert reader.skipped == 12
    assert [f.length for f in reader.feed(record(23, bytes(4)), 1, 1)] == [4]


parts = st.one_of(
    st.binary(max_size=60), st.integers(1, 3000),
    st.sampled_from([record(22, CLIENT_HELLO), record(22, CERTIFICATE), record(20, b"\x01"), record(23, bytes(500))[:300]]),
)  # fmt: skip


@given(st.lists(parts, max_size=20))
def test_any_bytes_and_holes(feed: list[bytes | int]) -> None:
    """Nothing is raised and nothing kept beyond a record and a handshake message."""
    reader = tls.Reader(max_handshake=2000)
    for frame, part in enumerate(feed):
        if isinstance(part, int):
            reader.hole(part)
        else:
            assert all(f.frame == frame for f in reader.feed(part, frame, frame))
        assert reader.buffered <= tls.MAX_RECORD + tls.RECORD_HEADER + 2000 + 4


@given(st.sampled_from([CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, REQUEST, STATUS]), st.data())
def test_mutated_messages(message: bytes, data: st.DataObject) -> None:
    """A damaged body is read or raises DecodeError."""
    body = bytearray(message[4:])
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = body[: data.draw(st.integers(0, len(body)))]
    try:
        kind, _, values = tls_handshake.parse(message[0], bytes(cut), 0x0303)
    except DecodeError as error:
        assert error.layer == "tls"
        return
    assert kind in ("client-hello", "server-hello", "certificate", "certificate-request", "handshake")
    assert values


# --- in a connection ----------------------------------------------------------------------------------------------


def tls_events(out: list[Output]) -> list[tuple[str, bool]]:
    return [(e.kind, e.from_a) for e in out if isinstance(e, events.Tls)]


def real_client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="secc.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_a_real_hello_over_small_segments() -> None:
    hello = real_client_hello()
    talk = Talk()
    out = run([*talk.open(), *(talk.send(True, hello[i : i + 50]) for i in range(0, len(hello), 50))])
    [event] = [e for e in out if isinstance(e, events.Tls)]
    assert (event.kind, event.version, event.stream, event.from_a) == ("client-hello", 0x0304, 0, True)
    assert event.values["sni"] == "secc.example"
    assert set(event.values["versions"]) == {0x0304, 0x0303}
    assert 0x1302 in event.values["suites"]
    assert event.values["groups"]
    assert event.frame == 3 + -(-len(hello) // 50)


def test_a_stream_joined_in_the_middle_is_known_by_its_records() -> None:
    talk = Talk()
    made = [
        talk.send(True, record(23, bytes(90))[40:]),  # starts inside a record
        talk.send(False, record(23, bytes(80))),
        talk.send(True, record(23, bytes(70))),
    ]
    assert tls_events(run(renumbered(made))) == [("application-data", False), ("application-data", True)]


def test_one_direction_tells_about_the_other() -> None:
    talk = Talk()
    made = [talk.send(False, record(23, bytes(80))), talk.send(True, bytes(50)), talk.send(True, record(23, bytes(70)) + record(23, b"x"))]
    assert tls_events(run(renumbered(made))) == [("application-data", True)] + [("application-data", False)] * 2


def test_v2gtp_and_unknown_streams() -> None:
    talk = Talk()
    out = run([*talk.open(), talk.send(True, b"\x01"), talk.send(True, v2gtp(exi(1))[1:]), talk.send(False, v2gtp(exi(2)))])
    assert messages(out) == [("a", 1), ("b", 2)]
    assert [(e.frame, e.first_frame) for e in raws(out)] == [(5, 4), (6, 6)]
    talk = Talk()
    out = run([*talk.open(), talk.send(True, b"HELO"), talk.send(False, b"x"), talk.send(True, v2gtp(exi(1)))])
    assert messages(out) == [("a", 1)]
    assert [(e.kind, e.length) for e in out if isinstance(e, events.V2gtpOddity)] == [("resync", 4)]
