"""Time order over several sources, and deadlines: the part of the loop that owns time.

Events wait until no source can bring an earlier one (the tap's watermark), then go on in the order of their times; equal times in the order of the
sources. A source silent for longer than `reorder` is taken to be `reorder` behind the latest. So what is found does not depend on how the
sources' blocks interleave on arrival. Deadlines run when the watermark has passed them, each at its own time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Timer = Callable[[int], None]
STEP_BACK = 1_000_000_000  # a source whose time falls by more than this has had its clock set


class Timers:
    """Deadlines by key; setting a key again replaces it."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._calls: dict[int, tuple[Hashable, Timer]] = {}
        self._number: dict[Hashable, int] = {}
        self._count = 0

    def set(self, key: Hashable, t: int, call: Timer) -> None:
        """Call `call(t)` once the watermark has passed `t`."""
        self.cancel(key)
        self._count += 1
        self._number[key] = self._count
        self._calls[self._count] = (key, call)
        heapq.heappush(self._heap, (t, self._count))

    def cancel(self, key: Hashable) -> None:
        """Forget the deadline of `key`, if there is one."""
        number = self._number.pop(key, None)
        if number is not None:
            del self._calls[number]

    def next(self) -> int | None:
        """Time of the earliest deadline."""
        while self._heap and self._heap[0][1] not in self._calls:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_before(self, t: int) -> Iterator[int]:
        """Run each deadline earlier than `t`, in order; yields its time after it ran (it may have set others)."""
        while (due := self.next()) is not None and due < t:
            _, number = heapq.heappop(self._heap)
            key, call = self._calls.pop(number)
            if self._number.get(key) == number:
                del self._number[key]
            call(due)
            yield due

    def drop_between(self, start: int, end: int) -> int:
        """Drop deadlines in (start, end): the silence up to them is not proven. Returns how many."""
        dropped = 0
        for t, number in list(self._heap):
            if start < t < end and number in self._calls:
                key, _ = self._calls.pop(number)
                self._number.pop(key, None)
                dropped += 1
        return dropped

    def clear(self) -> None:
        """Drop all."""
        self._heap.clear()
        self._calls.clear()
        self._number.clear()


class Ordered(Generic[T]):
    """Holds values of several sources until their order is certain."""

    def __init__(self, sources: tuple[str, ...], reorder_ns: int) -> None:
        self.reorder = reorder_ns
        self.times: dict[str, int] = {}
        self._rank: dict[str, int] = {}
        for source in sources:
            self.add_source(source)
        self.latest: int | None = None
        self.late = 0
        self._held: list[tuple[int, int, int, T]] = []
        self._count = 0
        self._done: int | None = None  # time up to which values have gone on

    def add_source(self, source: str) -> None:
        """A source that may yield; sources not named come in as they appear."""
        self._rank.setdefault(source, len(self._rank))

    def note(self, source: str, t: int) -> int | None:
        """A source has reached time `t`. Returns by how much its clock jumped back, if it did (the caller resets)."""
        self.add_source(source)
        last = self.times.get(source)
        if last is not None and t < last - STEP_BACK:
            return last - t
        self.times[source] = t if last is None else max(last, t)
        self.latest = t if self.latest is None else max(self.latest, t)
        return None

    def tick(self, t: int) -> None:
        """Nothing was waiting at time `t`."""
        self.latest = t if self.latest is None else max(self.latest, t)

    def reset(self, t: int) -> None:
        """The clock was set: time starts over at `t`."""
        self.times = {}
        self.latest = t
        self._done = None

    def hold(self, source: str, t: int, value: T) -> None:
        """Take a value; one older than the watermark is late: counted, and goes on at once."""
        if self._done is not None and t < self._done:
            self.late += 1
        self._count += 1
        heapq.heappush(self._held, (t, self._rank[source], self._count, value))

    def watermark(self) -> int | None:
        """No source can bring anything at or before this time any more (late arrivals apart)."""
        if self.latest is None:
            return None
        floor = self.latest - self.reorder
        return min((max(self.times.get(s, floor), floor) for s in self._rank), default=self.latest)

    def ready(self) -> Iterator[tuple[int, T]]:
        """Values whose turn has come, in order."""
        mark = self.watermark()
        single = len(self._rank) == 1
        while mark is not None and self._held and (self._held[0][0] < mark or (single and self._held[0][0] == mark)):
            t, _, _, value = heapq.heappop(self._held)
            self._done = t if self._done is None else max(self._done, t)
            yield t, value

    def rest(self) -> Iterator[tuple[int, T]]:
        """Everything still held, in order: the end, or a clock jump."""
        while self._held:
            t, _, _, value = heapq.heappop(self._held)
            yield t, value
