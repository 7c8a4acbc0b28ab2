"""One direction of a TCP connection: segments in any order become a byte stream, with lost bytes exactly where they
are.

Positions are integers counted from the first byte of the direction (the one after the SYN, or the first one seen), so
the wrap of the 32-bit sequence number happens in one place, `Direction.position`. RFC 9293 3.4.
"""

from __future__ import annotations

from collections import deque

import msgspec

WRAP = 1 << 32
HALF = 1 << 31


class Data(msgspec.Struct, frozen=True, gc=False):
    """Bytes of the stream. `t` and `frame` are those of the packet that made them readable: their own, or the one
    that filled a hole.
    """

    data: bytes
    t: int
    frame: int


class Hole(msgspec.Struct, frozen=True, gc=False):
    """`length` bytes of the stream are not in the capture; `t` and `frame` tell where that became certain."""

    length: int
    t: int
    frame: int


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Bytes behind a hole."""

    start: int
    data: bytes
    t: int
    frame: int


class Arrival(msgspec.Struct, gc=False):
    """What one segment did: bytes seen before (`old`), how many of them differ from the first time, the length of the
    hole it opened, and what of the stream can be read now.
    """

    old: int = 0
    differing: int = 0
    opened: int = 0
    pieces: list[Data] = msgspec.field(default_factory=list)


class Direction:
    """The bytes one end sends.

    `max_waiting` bytes in at most `max_pieces` pieces are held behind a hole, and the last `history` bytes read are
    kept to compare repetitions with. A hole older than `max_age` ns is not waited for any longer.
    """

    def __init__(self, max_waiting: int, max_pieces: int, max_age: int, history: int) -> None:
        self.anchored = False  # the position of sequence numbers is known
        self.isn: int | None = None  # sequence number of the SYN
        self.next = 0  # position of the first byte not read yet
        self.acked = 0  # the other end has acknowledged everything before this position
        self.fin: int | None = None  # position of the FIN
        self.ended = False  # the end was reported
        self.segments = 0  # segments seen
        self.waiting: list[Waiting] = []  # sorted, without overlaps
        self._soft = False  # anchored by a segment without data, which may have been a keep-alive
        self._origin = 0  # sequence number of position 0
        self._waiting_bytes = 0
        self._past: deque[tuple[int, bytes]] = deque()
        self._past_bytes = 0
        self._progress = 0  # time of the last byte read
        self._max_waiting = max_waiting
        self._max_pieces = max_pieces
        self._max_age = max_age
        self._history = history

    # --- positions ------------------------------------------------------------------------------------------------

    def anchor(self, seq: int, *, soft: bool = False) -> None:
        """The byte with sequence number `seq` has position 0. `soft`: it may be off by one (no SYN, no data yet)."""
        self._origin = seq
        self.anchored = True
        self._soft = soft

    def position(self, seq: int) -> int:
        """The position of sequence number `seq`, taken as the nearest one to the next byte expected."""
        ahead = (seq - self._origin - self.next) % WRAP
        return self.next + (ahead if ahead < HALF else ahead - WRAP)

    @property
    def end(self) -> int:
        """The position after everything seen, read or waiting, FIN included."""
        end = max(self.next, self.waiting[-1].start + len(self.waiting[-1].data)) if self.waiting else self.next
        return max(end, self.fin + 1) if self.fin is not None else end

    # --- data -----------------------------------------------------------------------------------------------------

    def feed(self, seq: int, data: bytes, t: int, frame: int) -> Arrival:
        """Take the payload of a segment (not empty)."""
        arrival = Arrival()
        if not self.anchored:
            self.anchor(seq)
        start = self.position(seq)
        if self._soft:
            if start == 1 and self.next == 0:  # the segment before was a keep-alive: this is the first byte
                self._origin = seq
                start = 0
            self._soft = False
        if start == self.next and not self.waiting:  # nearly always
            self._read(data, t, frame, arrival.pieces)
            return arrival
        if start < self.next:
            known = min(self.next - start, len(data))
            arrival.old += known
            arrival.differing += self._differs(start, data[:known])
            start, data = start + known, data[known:]
            if not data:
                return arrival
        known_end = self.waiting[-1].start + len(self.waiting[-1].data) if self.waiting else self.next
        arrival.opened = max(0, start - known_end)
        self._park(start, data, t, frame, arrival)
        while self.waiting and self.waiting[0].start == self.next:
            self._read(self._pop().data, t, frame, arrival.pieces)
        return arrival

    def settle(self, t: int, frame: int, *, force: bool = False) -> list[Data | Hole]:
        """Give up holes that will not be filled, and return what can be read then; data keeps its own time and frame.

        A hole is given up when the other end has acknowledged what was in it, when too much waits behind it, when it
        is too old, or with `force` (the connection is over). Without data behind it a hole shows at the end only.
        """
        out: list[Data | Hole] = []
        while self.waiting:
            first = self.waiting[0]
            if first.start > self.next:
                if not (force or self._hopeless(first, t)):
                    return out
                out.append(Hole(first.start - self.next, t, frame))
                self.next = first.start
            piece = self._pop()
            self._read(piece.data, piece.t, piece.frame, out)
        if self.fin is not None and self.fin > self.next and (force or self.acked >= self.fin):
            out.append(Hole(self.fin - self.next, t, frame))
            self.next = self.fin
        elif force and self.fin is None and self.acked > self.next + 1:  # + 1: a FIN that was not captured
            out.append(Hole(self.acked - self.next, t, frame))
            self.next = self.acked
        return out

    def complete(self) -> bool:
        """Whether the FIN was seen and everything before it was read or given up."""
        return self.fin is not None and self.next >= self.fin

    # --- inside ---------------------------------------------------------------------------------------------------

    def _hopeless(self, first: Waiting, t: int) -> bool:
        return (
            self.acked >= first.start
            or len(self.waiting) > self._max_pieces
            or self._waiting_bytes > self._max_waiting
            or t - max(first.t, self._progress) > self._max_age  # a hole that is being filled is not old
        )

    def _read(self, data: bytes, t: int, frame: int, out: list[Data] | list[Data | Hole]) -> None:
        out.append(Data(data, t, frame))
        self._progress = t
        self._past.append((self.next, data))
        self._past_bytes += len(data)
        while self._past and self._past_bytes - len(self._past[0][1]) >= self._history:
            self._past_bytes -= len(self._past.popleft()[1])
        self.next += len(data)

    def _pop(self) -> Waiting:
        piece = self.waiting.pop(0)
        self._waiting_bytes -= len(piece.data)
        return piece

    def _park(self, start: int, data: bytes, t: int, frame: int, arrival: Arrival) -> None:
        """Put what is new of `data` among the waiting pieces. What came first stays."""
        fresh: list[Waiting] = []
        at, end = start, start + len(data)
        for piece in self.waiting:
            if at >= end:
                break
            stop = piece.start + len(piece.data)
            if stop <= at:
                continue
            if piece.start >= end:
                break
            if piece.start > at:
                fresh.append(Waiting(at, data[at - start : piece.start - start], t, frame))
                at = piece.start
            upto = min(stop, end)
            arrival.old += upto - at
            first = piece.data[at - piece.start : upto - piece.start]
            arrival.differing += _unlike(first, data[at - start : upto - start])
            at = upto
        if at < end:
            fresh.append(Waiting(at, data[at - start :], t, frame))
        if fresh:
            self.waiting = sorted([*self.waiting, *fresh], key=lambda piece: piece.start)
            self._waiting_bytes += sum(len(piece.data) for piece in fresh)

    def _differs(self, start: int, data: bytes) -> int:
        """How many bytes of `data`, read before, differ from what was read then; older than the history counts as
        equal.
        """
        end = start + len(data)
        count = 0
        for at, past in self._past:
            low, high = max(at, start), min(at + len(past), end)
            if low < high:
                count += _unlike(past[low - at : high - at], data[low - start : high - start])
        return count


def _unlike(one: bytes, other: bytes) -> int:
    return 0 if one == other else sum(a != b for a, b in zip(one, other, strict=True))
