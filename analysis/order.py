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


class Deadline:
    """A time by which something is to be done; one object for many settings, because some are put off at every message of a charge loop."""

    __slots__ = ("_timers", "call", "key", "number", "queued", "t")

    def __init__(self, timers: Timers, call: Timer, key: Hashable = None) -> None:
        self._timers = timers
        self.call = call
        self.key = key
        self.t: int | None = None  # None: not set
        self.number = 0  # of the latest setting: equal times run in the order in which they were set
        self.queued: int | None = None  # time of its entry in the heap

    def set(self, t: int) -> None:
        """Call once the watermark has passed `t`; a time set before no longer counts."""
        timers = self._timers
        timers.count += 1
        self.t, self.number = t, timers.count
        if self.queued is None or t < self.queued:
            timers.queue(self, t)

    def clear(self) -> None:
        """Don't call."""
        self.t = None


class Timers:
    """All deadlines, by object or by key; setting one again replaces its time.

    A deadline that is put off leaves its entry in the heap as it is: the entry is brought up to date when it comes to the top.
    """

    def __init__(self) -> None:
        self.count = 0
        self._by_key: dict[Hashable, Deadline] = {}
        self._heap: list[tuple[int, int, Deadline]] = []  # t, number; of each deadline that is set at least one entry, not later than its t

    def deadline(self, call: Timer) -> Deadline:
        """A new one, not set."""
        return Deadline(self, call)

    def queue(self, deadline: Deadline, t: int) -> None:
        """Into the heap (for Deadline)."""
        deadline.queued = t
        heapq.heappush(self._heap, (t, deadline.number, deadline))

    def set(self, key: Hashable, t: int, call: Timer) -> None:
        """Call `call(t)` once the watermark has passed `t`."""
        deadline = self._by_key.get(key)
        if deadline is None:
            deadline = self._by_key[key] = Deadline(self, call, key)
        deadline.call = call
        deadline.set(t)

    def cancel(self, key: Hashable) -> None:
        """Forget the deadline of `key`, if there is one."""
        deadline = self._by_key.get(key)
        if deadline is not None:
            deadline.clear()  # it stays known until its entry leaves the heap, so that setting it again needs no second one

    def next(self) -> int | None:
        """Time of the earliest deadline."""
        heap = self._heap
        while heap:
            t, number, deadline = heap[0]
            if deadline.t is None:
                self._pop()
            elif deadline.number == number:
                return t
            else:
                heapq.heapreplace(heap, (deadline.t, deadline.number, deadline))
                deadline.queued = deadline.t
        return None

    def run_before(self, t: int) -> Iterator[int]:
        """Run each deadline earlier than `t`, in order; yields its time after it ran (it may have set others)."""
        while self._heap and self._heap[0][0] < t and (due := self.next()) is not None and due < t:
            self._pop().call(due)
            yield due

    def _pop(self) -> Deadline:
        deadline = heapq.heappop(self._heap)[2]
        deadline.t = deadline.queued = None
        if deadline.key is not None:
            self._by_key.pop(deadline.key, None)
        return deadline

    def drop_between(self, start: int, end: int) -> int:
        """Drop deadlines in (start, end): the silence up to them is not proven. Returns how many."""
        dropped = {entry[2] for entry in self._heap if entry[2].t is not None and start < entry[2].t < end}
        for deadline in dropped:
            deadline.clear()
        return len(dropped)

    def clear(self) -> None:
        """Drop all."""
        for _, _, deadline in self._heap:
            deadline.t = deadline.queued = None
        self._heap.clear()
        self._by_key.clear()


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
