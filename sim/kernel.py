"""Virtual time: a heap of events, and scripts (generators) that sleep and wait on mailboxes.

Everything in the bench happens at an integer nanosecond that this clock hands out; nothing reads a real clock. The same seed gives
the same run. A script is a generator that yields

* an ``int``: sleep so many nanoseconds,
* ``mailbox.get(timeout)``: the next thing put into the mailbox, or None after `timeout` ns.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MS = 1_000_000
SECOND = 1_000_000_000


def seconds(value: float) -> int:
    """Seconds as integer nanoseconds."""
    return round(value * SECOND)


class Timer:
    """A scheduled call; `cancel` makes it never happen."""

    __slots__ = ("call", "time")

    def __init__(self, time: int, call: Callable[[], None]) -> None:
        self.time = time
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Forget the call (harmless when it has already happened)."""
        self.call = None


class Get(Generic[T]):
    """What a script yields to wait on a mailbox."""

    __slots__ = ("mailbox", "timeout")

    def __init__(self, mailbox: Mailbox[T], timeout: int | None) -> None:
        self.mailbox = mailbox
        self.timeout = timeout


class Mailbox(Generic[T]):
    """A queue between parts of the bench; at most one script waits on it at a time."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiter: Process | None = None

    def put(self, item: T) -> None:
        """Hand over `item`: at once to the waiting script, or kept until one asks."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.deliver(item)
        else:
            self._items.append(item)

    def get(self, timeout: int | None = None) -> Get[T]:
        """For `yield`: the next item, or None when `timeout` ns have passed."""
        return Get(self, timeout)

    def clear(self) -> None:
        """Throw away what nobody has read."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def take(self, process: Process) -> tuple[bool, T | None]:
        """Used by Process: an item that is already here, or register the process."""
        if self._items:
            return True, self._items.popleft()
        self._waiter = process
        return False, None

    def forget(self, process: Process) -> None:
        """Used by Process: the wait is over."""
        if self._waiter is process:
            self._waiter = None


Script = Generator[Any, Any, R]


class Process:
    """A running script."""

    def __init__(self, world: World, script: Script[Any], name: str) -> None:
        self.name = name
        self.done = False
        self._world = world
        self._script = script
        self._timer: Timer | None = None
        self._mailbox: Mailbox[Any] | None = None

    def deliver(self, value: Any) -> None:
        """A mailbox has something for the script: it goes on at this very moment, after what is running now."""
        self._mailbox = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._world.at(self._world.now, lambda: self._resume(value))

    def kill(self) -> None:
        """End the script where it stands (its ``finally`` blocks run)."""
        if self.done:
            return
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        if self._mailbox is not None:
            self._mailbox.forget(self)
        self._script.close()

    def start(self) -> None:
        """Run the script to its first wait."""
        self._resume(None)

    def _timeout(self) -> None:
        self._timer = None
        if self._mailbox is not None:
            self._mailbox.forget(self)
            self._mailbox = None
        self._resume(None)

    def _resume(self, value: Any) -> None:
        while not self.done:
            try:
                wish = self._script.send(value)
            except StopIteration:
                self.done = True
                return
            if isinstance(wish, int):
                self._timer = self._world.at(self._world.now + max(0, wish), self._timeout)
                return
            ready, value = wish.mailbox.take(self)
            if ready:
                continue
            self._mailbox = wish.mailbox
            if wish.timeout is not None:
                self._timer = self._world.at(self._world.now + max(0, wish.timeout), self._timeout)
            return


class World:
    """The clock, the events still to come, and the sources of chance.

    `start` is the time of the first moment (ns since the epoch), `seed` decides everything that is random.
    """

    def __init__(self, start: int, seed: int) -> None:
        self.start = start
        self.now = start
        self.seed = seed
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def chance(self, name: str) -> random.Random:
        """A source of chance of its own for each part: changing one part leaves the dice of the others alone."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, time: int, call: Callable[[], None]) -> Timer:
        """Call at `time` (never before now); calls of the same time happen in the order they were asked for."""
        timer = Timer(max(time, self.now), call)
        self._count += 1
        heapq.heappush(self._heap, (timer.time, self._count, timer))
        return timer

    def later(self, delay: int, call: Callable[[], None]) -> Timer:
        """Call after `delay` ns."""
        return self.at(self.now + delay, call)

    def spawn(self, script: Script[Any], name: str) -> Process:
        """Start a script now, after what is running."""
        process = Process(self, script, name)
        self.at(self.now, process.start)
        return process

    def next_time(self) -> int | None:
        """When the next event is due; None when nothing is left."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget all that was to happen."""
        self._heap.clear()

    def advance(self, until: int) -> None:
        """Let everything up to and including `until` happen; the clock then stands at `until`."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            time, _, timer = heapq.heappop(heap)
            call = timer.call
            if call is not None:
                self.now = time
                timer.call = None
                call()
        self.now = max(self.now, until)
