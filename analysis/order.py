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
    """Deadlines by key; setting a key again replaces it.

    A deadline that is put off again and again, as at every message of a charge loop, leaves its entry in the heap as it is: the entry is
    brought up to date when it comes to the top.
    """

    def __init__(self) -> None:
        self._live: dict[Hashable, tuple[int, int, Timer]] = {}  # key -> t, number, call
        self._heap: list[tuple[int, int, Hashable]] = []  # t, number, key; of each live key at least one entry, not later than its t
        self._queued: dict[Hashable, int] = {}  # key -> t of one of its entries
        self._count = 0

    def set(self, key: Hashable, t: int, call: Timer) -> None:
        """Call `call(t)` once the watermark has passed `t`."""
        self._count += 1
        self._live[key] = (t, self._count, call)
        queued = self._queued.get(key)
        if queued is None or t < queued:
            self._queued[key] = t
            heapq.heappush(self._heap, (t, self._count, key))

    def cancel(self, key: Hashable) -> None:
        """Forget the deadline of `key`, if there is one."""
        self._live.pop(key, None)

    def next(self) -> int | None:
        """Time of the earliest deadline."""
        heap = self._heap
        while heap:
            t, number, key = heap[0]
            live = self._live.get(key)
            if live is None:
                heapq.heappop(heap)
                self._queued.pop(key, None)
            elif live[1] == number:
                return t
            else:
                heapq.heapreplace(heap, (live[0], live[1], key))
                self._queued[key] = live[0]
        return None

    def run_before(self, t: int) -> Iterator[int]:
        """Run each deadline earlier than `t`, in order; yields its time after it ran (it may have set others)."""
        while self._heap and self._heap[0][0] < t and (due := self.next()) is not None and due < t:
            _, _, key = heapq.heappop(self._heap)
            self._queued.pop(key, None)
            _, _, call = self._live.pop(key)
            call(due)
            yield due

    def drop_between(self, start: int, end: int) -> int:
        """Drop deadlines in (start, end): the silence up to them is not proven. Returns how many."""
        dropped = [key for key, (t, _, _) in self._live.items() if start < t < end]
        for key in dropped:
            del self._live[key]
        return len(dropped)

    def clear(self) -> None:
        """Drop all."""
        self._heap.clear()
        self._live.clear()
        self._queued.clear()


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
