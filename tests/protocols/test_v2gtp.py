"""V2GTP out of a byte stream: whole, split, joined, damaged, with holes."""

from __future__ import annotations

import struct

import pytest
from builders import exi, v2gtp
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.v2gtp import Message, Note, Output, Reader

A, B, C = v2gtp(exi(1)), v2gtp(exi(2, 30)), v2gtp(exi(3))


def numbers(out: list[Output]) -> list[int]:
    return [int.from_bytes(m.payload[2:4], "big") for m in out if isinstance(m, Message)]


def notes(out: list[Output]) -> list[tuple[str, int]]:
    return [(n.kind, n.length) for n in out if isinstance(n, Note)]


def run(*parts: bytes | int, reader: Reader | None = None, end: bool = True) -> list[Output]:
    """Feed bytes and holes (integers); the n-th part has frame n."""
    reader = reader or Reader()
    out: list[Output] = []
    for frame, part in enumerate(parts, 1):
        out += reader.hole(part, frame * 10, frame) if isinstance(part, int) else reader.feed(part, frame * 10, frame)
    if end:
        out += reader.end(999, 99, "FIN")
        assert reader.buffered == 0
    return out


def test_messages_joined_in_one_segment() -> None:
    out = run(A + B + C)
    assert [(m.frame, m.first_frame) for m in out if isinstance(m, Message)] == [(1, 1)] * 3
    assert numbers(out) == [1, 2, 3]
    assert notes(out) == []


def test_a_message_over_several_segments_has_the_frame_of_its_end_and_of_its_beginning() -> None:
    out = run(A + B[:3], B[3:20], B[20:] + C[:1], C[1:])
    found = [(m.frame, m.first_frame, m.t, m.first_t) for m in out if isinstance(m, Message)]
    assert found == [(1, 1, 10, 10), (3, 1, 30, 10), (4, 3, 40, 30)]


@given(st.lists(st.integers(1, 200), max_size=30), st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_segmentation_does_not_matter(cuts: list[int], sizes: list[int]) -> None:
    stream = b"".join(v2gtp(exi(i, 4 + size)) for i, size in enumerate(sizes))
    whole = numbers(run(stream))
    parts, at = [], 0
    for cut in cuts:
        parts.append(stream[at : at + cut])
        at += cut
    assert numbers(run(*parts, stream[at:])) == whole == list(range(len(sizes)))
    assert numbers(run(*(stream[i : i + 1] for i in range(len(stream))))) == whole


def test_the_beginning_of_a_message_in_very_many_segments_stays_known() -> None:
    long = v2gtp(exi(5, 3000))
    out = run(A, *(long[i : i + 1] for i in range(len(long))))
    assert [(m.first_frame, m.frame) for m in out if isinstance(m, Message)] == [(1, 1), (2, 1 + len(long))]


# --- loss ---------------------------------------------------------------------------------------------------------


def test_a_hole_inside_a_message_costs_that_message_only() -> None:
    out = run(A + B[:12], 10, B[22:] + C)
    assert numbers(out) == [1, 3]
    assert notes(out) == [("cut", 12)]
    assert [m.after_hole for m in out if isinstance(m, Message)] == [False, True]


def test_a_hole_to_the_exact_end_of_a_message() -> None:
    out = run(A + B[:12], len(B) - 12, C)
    assert (numbers(out), notes(out)) == ([1, 3], [("cut", 12)])


def test_a_second_hole_in_the_rest_of_a_cut_message() -> None:
    out = run(B[:12], 4, B[16:20], 6, B[26:] + C)
    assert (numbers(out), notes(out)) == ([3], [("cut", 12)])


def test_a_hole_over_several_messages_is_searched_through() -> None:
    out = run(A[:4], 100, B[15:] + C)
    assert (numbers(out), notes(out)) == ([3], [("cut", 4), ("resync", len(B) - 15)])


def test_a_hole_between_messages_skips_nothing() -> None:
    out = run(A, len(B), C)
    assert (numbers(out), notes(out)) == ([1, 3], [])
    assert [m.after_hole for m in out if isinstance(m, Message)] == [False, True]


def test_what_looks_like_a_header_inside_encoded_data_is_passed_over() -> None:
    decoys = b"\x01\xfe\x80\x01\x00\x00\x00\x05\x11" + b"\x01\xfe\x80\x01\x00\x99\x00\x00\x80" + b"\x01\xfe\x90\x00\x00\x00\x00\x07"
    out = run(A, 50, decoys + C)
    assert (numbers(out), notes(out)) == ([1, 3], [("resync", len(decoys))])


@given(st.integers(0, 3 * len(B)), st.integers(1, 80), st.integers(1, 40))
def test_after_any_hole_later_messages_are_found(start: int, size: int, step: int) -> None:
    stream = b"".join(v2gtp(exi(i, 30)) for i in range(12))
    parts: list[bytes | int] = [stream[i : min(i + step, start)] for i in range(0, start, step)]
    rest = stream[start + size :]
    parts += [size, *(rest[i : i + step] for i in range(0, len(rest), step))]
    found = numbers(run(*parts))
    lost = set(range(start // len(B), -(-(start + size) // len(B))))
    assert found == [i for i in range(12) if i not in lost]


# --- odd headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        (v2gtp(exi(2), version=2, inverse=0xFD), ("version", 12)),
        (v2gtp(exi(2), inverse=0xFF), ("inverse", 12)),
        (v2gtp(exi(2), kind=0x4C41), ("payload-type", 12)),
        (v2gtp(exi(2), kind=0xA001), ("payload-type", 12)),
        (v2gtp(exi(2, 20), kind=0x9001), ("sdp-on-tcp", 20)),
    ],
)
def test_odd_but_whole_messages_are_reported_and_kept(odd: bytes, note: tuple[str, int]) -> None:
    out = run(A + odd + C)
    assert (numbers(out), notes(out)) == ([1, 2, 3], [note])
    assert numbers(run(*(bytes((byte,)) for byte in A + odd + C))) == [1, 2, 3]


def test_the_payload_of_a_stray_sdp_message_is_in_the_note() -> None:
    [note] = [n for n in run(v2gtp(b"\x10\x00", 0x9000)) if isinstance(n, Note)]
    assert note.detail == "payload type 0x9000: 1000"


def test_an_empty_payload() -> None:
    out = run(A + v2gtp(b"") + C)
    assert (numbers(out), notes(out)) == ([1, 3], [("empty", 0)])


def test_garbage_between_messages() -> None:
    out = run(A + b"garbage\x01" + C)
    assert (numbers(out), notes(out)) == ([1, 3], [("resync", 8)])


def test_garbage_at_the_end() -> None:
    assert notes(run(A + bytes(5))) == [("resync", 5)]


def test_a_message_without_its_end() -> None:
    out = run(A + B[:20])
    assert (numbers(out), notes(out)) == ([1], [("cut", 20)])
    assert [n.detail for n in out if isinstance(n, Note)] == ["FIN after 20 bytes of a message"]


def test_too_long_a_length_is_not_waited_for() -> None:
    long = struct.pack(">BBHI", 1, 0xFE, 0x8001, 65537) + bytes(40)
    out = run(A + long + C)
    assert (numbers(out), notes(out)) == ([1, 3], [("length", 65537), ("resync", len(long))])
    assert numbers(run(v2gtp(exi(7, 65536)))) == [7]


def test_a_length_that_is_too_large_swallows_one_message_only() -> None:
    wrong = B[:7] + b"\xff" + B[8:]  # announces 255 bytes, has 30
    out = run(A, wrong, C, A)
    assert (numbers(out), notes(out)) == ([1, 3, 1], [("length", len(B))])


# --- joining in the middle ----------------------------------------------------------------------------------------


def test_joined_in_the_middle() -> None:
    out = run(B[11:] + C, reader=Reader(lost=True, quiet=True))
    assert (numbers(out), notes(out)) == ([3], [])
    out = run(B[11:] + C + b"xx" + A, reader=Reader(lost=True, quiet=True))
    assert (numbers(out), notes(out)) == ([3, 1], [("resync", 2)])


def test_a_stream_that_is_something_else_is_not_kept_and_not_called_odd() -> None:
    reader = Reader(lost=True)
    assert run(*[b"GET / HTTP/1.1\r\n\x01\xfe\x80"] * 1000, reader=reader, end=False) == []
    assert reader.buffered < 9
    assert reader.end(1, 1, "FIN") == []


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(1, 50), st.sampled_from([A, B, C, A[:9], B[9:]])), max_size=25))
def test_any_bytes_and_holes(parts: list[bytes | int]) -> None:
    """Nothing is raised, and every byte is in a message, in a note, or dropped with a message that was cut."""
    reader = Reader(max_payload=64)
    out = run(*parts, reader=reader)
    fed = sum(len(part) for part in parts if isinstance(part, bytes))
    delivered = sum(len(m.payload) + 8 for m in out if isinstance(m, Message))
    assert delivered + sum(n.length for n in out if isinstance(n, Note) and n.kind == "resync") <= fed
    assert all(0 < len(m.payload) <= 64 for m in out if isinstance(m, Message))
    assert all(1 <= m.first_frame <= m.frame <= len(parts) for m in out if isinstance(m, Message))
