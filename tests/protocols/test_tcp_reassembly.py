"""One direction: whatever the order, bytes come out in sequence and lost ones are holes of the right length in the right place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.reassembly import Data, Direction, Hole

STREAM = bytes((i * 7 + i // 256) % 256 for i in range(600))
SECOND = 1_000_000_000


def direction(max_waiting: int = 65536, max_pieces: int = 64, history: int = 2048, origin: int = 100) -> Direction:
    made = Direction(max_waiting, max_pieces, 5 * SECOND, history)
    made.anchor(origin)
    return made


def shape(pieces: list[Data] | list[Data | Hole]) -> list[tuple[bytes, int] | int]:
    """Data as (bytes, frame), holes as their length."""
    return [piece.length if isinstance(piece, Hole) else (piece.data, piece.frame) for piece in pieces]


segments = st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(1, 90)), max_size=40)


@given(segments, st.sampled_from([100, 2**32 - 300, 2**32 - 1, 2**31]))
def test_no_byte_is_lost_or_moved(parts: list[tuple[int, int]], origin: int) -> None:
    """Any segments of a stream, in any order, overlapping or not, around the wrap of sequence numbers."""
    one = direction(origin=origin)
    out: list[Data | Hole] = []
    seen = bytearray(len(STREAM))
    for frame, (start, size) in enumerate(parts):
        data = STREAM[start : start + size]
        arrival = one.feed((origin + start) % 2**32, data, frame, frame)
        assert arrival.differing == 0
        assert arrival.old == sum(seen[start : start + len(data)])
        seen[start : start + len(data)] = b"\x01" * len(data)
        out += arrival.pieces
    out += one.settle(0, 0, force=True)
    rebuilt = b""
    covered = b""
    for piece in out:
        size = piece.length if isinstance(piece, Hole) else len(piece.data)
        rebuilt += STREAM[len(rebuilt) : len(rebuilt) + size] if isinstance(piece, Hole) else piece.data
        covered += (b"\0" if isinstance(piece, Hole) else b"\x01") * size
    end = max((start + len(STREAM[start : start + size]) for start, size in parts), default=0)
    assert rebuilt == STREAM[:end]
    assert covered == bytes(seen[:end])
    assert one.waiting == []


def test_a_filled_hole_gives_the_time_of_the_packet_that_fills_it() -> None:
    one = direction()
    assert shape(one.feed(100, b"aa", 1, 1).pieces) == [(b"aa", 1)]
    arrival = one.feed(104, b"cc", 2, 2)
    assert (arrival.opened, shape(arrival.pieces)) == (2, [])
    assert shape(one.feed(102, b"bb", 3, 3).pieces) == [(b"bb", 3), (b"cc", 3)]


def test_a_hole_the_other_end_acknowledged_is_given_up_at_once() -> None:
    one = direction()
    one.feed(104, b"cc", 2, 2)
    assert one.settle(3, 3) == []
    one.acked = 4
    assert shape(one.settle(3, 3)) == [4, (b"cc", 2)]
    assert one.feed(100, b"aabb", 4, 4).old == 4  # too late


def test_an_acknowledgement_below_the_hole_gives_nothing_up() -> None:
    one = direction()
    one.feed(104, b"cc", 2, 2)
    one.acked = 3
    assert one.settle(3, 3) == []


def test_too_many_waiting_pieces_or_bytes_end_the_wait() -> None:
    one = direction(max_pieces=3)
    for i in range(3):
        one.feed(110 + 2 * i, b"x", i, i)
        assert one.settle(i, i) == []
    one.feed(116, b"x", 3, 3)
    assert shape(one.settle(3, 3)) == [10, (b"x", 0)]  # three are waiting again, which is not too many
    two = direction(max_waiting=10)
    two.feed(110, bytes(11), 1, 1)
    assert shape(two.settle(1, 1)) == [10, (bytes(11), 1)]


def test_a_hole_grows_old_only_while_nothing_comes() -> None:
    one = direction()
    one.feed(110, b"later", 0, 1)
    assert one.settle(4 * SECOND, 2) == []
    one.feed(100, b"a", 4 * SECOND, 3)
    assert one.settle(8 * SECOND, 4) == []
    assert shape(one.settle(10 * SECOND, 5)) == [9, (b"later", 1)]


def test_a_clock_that_jumps_back_gives_nothing_up() -> None:
    one = direction()
    one.feed(110, b"later", 100 * SECOND, 1)
    assert one.settle(0, 2) == []


def test_the_first_bytes_win_and_differences_are_counted() -> None:
    one = direction()
    one.feed(110, b"first", 1, 1)
    arrival = one.feed(108, b"..FIRST..", 2, 2)
    assert (arrival.old, arrival.differing) == (5, 5)
    assert shape(one.feed(100, b"12345678", 3, 3).pieces) == [(b"12345678", 3), (b"..", 3), (b"first", 3), (b"..", 3)]
    again = one.feed(110, b"fiRst", 4, 4)
    assert (again.old, again.differing) == (5, 1)


def test_bytes_older_than_the_history_count_as_equal() -> None:
    one = direction(history=4)
    for i in range(10):
        one.feed(100 + i, b"x", i, i)
    assert one.feed(100, b"yyyyyyyyyy", 11, 11).differing == 4


def test_a_keep_alive_as_the_first_segment_does_not_shift_the_stream() -> None:
    one = Direction(65536, 64, 5 * SECOND, 0)
    one.anchor(99, soft=True)
    assert shape(one.feed(100, b"data", 1, 1).pieces) == [(b"data", 1)]


def test_the_fin_shows_what_is_missing_before_it() -> None:
    one = direction()
    one.feed(100, b"aa", 1, 1)
    one.fin = 10
    assert one.settle(2, 2) == []
    assert not one.complete()
    one.acked = 11
    assert shape(one.settle(3, 3)) == [8]
    assert one.complete()


def test_the_end_shows_what_was_acknowledged_and_never_seen() -> None:
    one = direction()
    one.feed(100, b"aa", 1, 1)
    one.acked = 12
    assert one.settle(2, 2) == []
    assert shape(one.settle(3, 3, force=True)) == [10]
    two = direction()
    two.acked = 1  # a FIN that was not captured takes a number too
    assert two.settle(3, 3, force=True) == []
