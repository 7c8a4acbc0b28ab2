"""The whole stack: sides, indexes, checksums, damage of any kind, bounds."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from builders import ACK, EV, EVSE, PSH, Host, Talk, exi, frames, icmpv6, renumbered, sdp_request, sdp_response, tcp, udp, v2gtp
from hypothesis import given, settings
from hypothesis import strategies as st
from net_lab import messages, oddities, raws, run, tcp_kinds

from plugtap.protocols import ethernet, events
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import Frame
from plugtap.protocols.net import Limits, NetDecoder


def session() -> list[Frame]:
    """Neighbour discovery, SDP, a TCP connection with V2GTP, its end, and a TLS record on another connection."""
    talk = Talk(t=0)
    made = [
        talk.frame(icmpv6(bytes((135, 0)) + bytes(6) + EVSE.ip + b"\x01\x01" + EV.mac)),
        talk.frame(udp(sdp_request())),
        talk.frame(udp(sdp_response(), EVSE, EV, 15118, 50000)),
        *talk.open(),
    ]
    for number in range(6):
        made += [talk.send(True, v2gtp(exi(2 * number))), talk.send(False, v2gtp(exi(2 * number + 1)))]
    made += talk.close()
    other = Talk(a=Host(EV.mac, EV.ip, 50_001))
    return renumbered([*made, *other.open(), other.send(True, b"\x16\x03\x01\x00\x04\x0e\0\0\0")])


def test_a_session() -> None:
    out = run(session())
    assert [type(e).__name__ for e in out[:3]] == ["Neighbor", "Sdp", "Sdp"]
    assert messages(out) == [("ab"[n % 2], n) for n in range(12)]
    assert [type(e).__name__ for e in out if isinstance(e, events.Tls | events.Undecodable | events.Loss)] == ["Tls"]
    times = [e.t for e in out]
    assert times == sorted(times)


# --- who is who ---------------------------------------------------------------------------------------------------


def test_sdp_tells_the_sides_of_a_connection_joined_in_the_middle() -> None:
    talk = Talk()
    talk.open()
    data = [talk.send(False, v2gtp(exi(1))), talk.send(True, v2gtp(exi(2)))]
    assert [(e.side, e.opener_seen, e.from_a) for e in raws(run(renumbered(data)))] == [("unknown", False, True), ("unknown", False, False)]
    response = frames([udp(sdp_response(), EVSE, EV, 15118, 50000)])
    assert [e.side for e in raws(run(renumbered([*response, *data])))] == ["SECC", "EVCC"]


def test_the_endpoints_learnt_from_sdp_are_bounded() -> None:
    decoder = NetDecoder()
    for frame in frames(udp(sdp_response(Host(EVSE.mac, EVSE.ip, port)), EVSE, EV, 15118, 1) for port in range(100)):
        decoder.feed(frame, ethernet.parse(frame))
    assert len(decoder.endpoints) == 32
    assert list(decoder.endpoints)[-1] == (EVSE.ip, 99)


# --- frame and index ----------------------------------------------------------------------------------------------


def test_index_counts_messages_and_oddities_of_a_frame() -> None:
    talk = Talk()
    payload = v2gtp(exi(1)) + v2gtp(b"") + v2gtp(exi(2)) + v2gtp(exi(3, 40))[:20]
    out = run([*talk.open(), talk.send(True, payload), talk.send(True, v2gtp(exi(3, 40))[20:] + v2gtp(exi(4)))])
    assert [(e.frame, e.index, e.first_frame) for e in raws(out)] == [(4, 0, 4), (4, 2, 4), (5, 0, 4), (5, 1, 5)]
    assert oddities(out) == [("empty", 0)]


def test_late_messages_of_one_frame_have_different_indexes() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, v2gtp(exi(1)))]
    talk.send(True, v2gtp(exi(9)))
    made += [talk.send(True, v2gtp(exi(2)) + v2gtp(exi(3))), talk.ack(False), talk.send(True, v2gtp(exi(4)))]
    found = [(e.frame, e.index) for e in raws(run(renumbered(made)))]
    assert found == [(4, 0), (5, 0), (5, 1), (7, 0)]


def test_the_memory_of_indexes_is_bounded() -> None:
    talk = Talk()
    decoder = NetDecoder()
    for frame in [*talk.open(), *(talk.send(True, v2gtp(exi(n))) for n in range(1500))]:
        assert all(e.index == 0 for e in raws(decoder.feed(frame, ethernet.parse(frame))))
    assert len(decoder._indexes) == 1024


# --- checksums ----------------------------------------------------------------------------------------------------


def test_checksums_are_facts() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, v2gtp(exi(1)))]
    wrong = bytearray(made[3].data)
    wrong[-1] ^= 0xFF
    decoder = NetDecoder()
    out = []
    for frame in [*made[:3], msgspec.structs.replace(made[3], data=bytes(wrong))]:
        out += decoder.feed(frame, ethernet.parse(frame))
    assert tcp_kinds(out) == ["a.syn", "b.synack", "a.open", "a.bad-checksum", "a.data"]
    assert messages(out) == [("a", 1)]
    assert (decoder.counts["tcp_checksum_ok"], decoder.counts["tcp_checksum_bad"]) == (3, 1)


def test_checksum_offload_is_normal() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, v2gtp(exi(1)))]
    data = bytearray(made[3].data)
    at = 14 + 40
    total = int.from_bytes(EV.ip, "big") + int.from_bytes(EVSE.ip, "big") + len(data) - at + 6
    data[at + 16 : at + 18] = (total % 0xFFFF).to_bytes(2, "big")
    decoder = NetDecoder()
    out = decoder.feed(made[3], ethernet.parse(msgspec.structs.replace(made[3], data=bytes(data))))
    assert tcp_kinds(out) == ["a.open", "a.data"]
    assert decoder.counts["tcp_checksum_offload"] == 1


# --- damage -------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.data())
def test_mutated_frames(data: st.DataObject) -> None:
    """Frames flipped, cut, repeated, reordered, dropped: decoders yield events; the link layer may raise DecodeError."""
    made = session()
    order = data.draw(st.lists(st.integers(0, len(made) - 1), min_size=1, max_size=40))
    decoder = NetDecoder()
    for number, index in enumerate(order, 1):
        raw = bytearray(made[index].data)
        for _ in range(data.draw(st.integers(0, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
        wire = len(raw) if data.draw(st.booleans()) else 0
        frame = Frame(t=made[index].t, number=number, data=bytes(raw[:cut]), wire_len=wire)
        try:
            link = ethernet.parse(frame)
        except DecodeError as error:
            assert error.layer == "ethernet"
            continue
        for event in decoder.feed(frame, link):
            assert 1 <= event.frame <= number
    assert all(1 <= e.frame <= len(order) for e in decoder.finish(0, len(order)))
    assert decoder.finish(0, len(order)) == []


@given(st.binary(max_size=200))
def test_any_ipv6_payload(data: bytes) -> None:
    frame = Frame(t=1, number=1, data=EVSE.mac + EV.mac + b"\x86\xdd" + data)
    out = NetDecoder().feed(frame, ethernet.parse(frame))
    assert len(out) >= 1


def test_garbage_floods_stay_within_bounds() -> None:
    """Many connections, each with an unfinished message, unfinished records and bytes behind holes."""
    decoder = NetDecoder(Limits())
    tracemalloc.start()
    try:
        number = 0
        for port in range(400):
            src = Host(EV.mac, EV.ip, port + 1)
            starts = (v2gtp(exi(1, 60_000))[:1000], b"\x17\x03\x03\x40\x00" + bytes(995), bytes(1000))
            for seq, payload in ((1, starts[port % 3]), (5001, bytes(1400)), (9001, bytes(1400))):
                number += 1
                frame = Frame(t=number, number=number, data=tcp(src, EVSE, seq, 1, ACK | PSH, payload))
                decoder.feed(frame, ethernet.parse(frame))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoder.counts["connections_dropped"] == 400 - 128
    assert held < 8_000_000


@pytest.mark.parametrize("silent", [True, False])
def test_a_stream_of_unknown_bytes_is_not_kept(silent: bool) -> None:
    talk = Talk()
    decoder = NetDecoder()
    tracemalloc.start()
    try:
        for _ in range(200):
            frame = talk.send(True, b"\x01\xfe\x80\x01" * 300 if silent else bytes(1200))
            decoder.feed(frame, ethernet.parse(frame))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000
