"""Benches played by the wall clock, many side by side in one process.

A lane is one connector: one bench after another into the same sinks. What it says depends on its seed and on the moment it began, not on how late
this process is woken or how many other lanes it plays.
"""

from __future__ import annotations

import asyncio
import heapq
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from plugtap.protocols.items import CpRecord, Frame
from plugtap.sim.bench import Bench
from plugtap.sim.kernel import MS, SECOND
from plugtap.sim.live import FrameSink, PilotSink
from plugtap.sim.scenario import ScenarioError

QUANTUM = MS  # events closer than this are delivered together
REST = SECOND  # of the bench's time, between two rounds
AHEAD = 2 * SECOND  # the next round is built this long before the present one ends, or earlier
BUILD = 8 * MS  # for each lane, before all begin: building one takes 2 ms on an idle machine
LEAD = 50 * MS  # … and never less than this
SERVED = 50  # steps in a row without a look at whether the user wants an end
LONGEST = 100 * MS  # a lane is looked at this often even when nothing happens in it


class PlayError(Exception):
    """A lane can't go on; the message names it and says what happened."""


class Opening(msgspec.Struct, frozen=True):
    """The moment at which lanes begin: `monotonic` (ns of the monotonic clock) is `wall` (ns since the epoch) in their benches' time."""

    monotonic: int
    wall: int

    @classmethod
    def soon(cls, lanes: int, wall: int = 0) -> Opening:
        """When so many lanes can have been built. `wall`: call that moment so (0: what the wall clock will say)."""
        lead = max(LEAD, lanes * BUILD)
        return cls(time.monotonic_ns() + lead, wall or time.time_ns() + lead)


class Lane:
    """One bench after another played into the same sinks. `make(number, start)` gives the bench of a round, or None to end; `name` is for errors."""

    def __init__(
        self, make: Callable[[int, int], Bench | None], frames: FrameSink | None, pilot: PilotSink | None, *, speed: float = 1.0, name: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self._make = make
        self._frames = frames
        self._pilot = pilot
        self._speed = speed
        self._opening: Opening | None = None
        self._bench: Bench | None = None
        self._next: Bench | None = None  # the next round, when it has been built
        self._last = False  # there is no next round
        self._from = 0  # when the next round begins, in the bench's time
        self._end = 0  # … and when the present one ends
        self._tail = 0  # ns after the car has gone at which that is
        self._fixed = False  # … and that doesn't change any more
        self._ending = False
        self.rounds = 0
        self.items = 0
        self.played = 0  # ns of the bench's time
        self.late = 0  # ns: how far behind the clock an event was delivered at worst
        self.delays: dict[int, int] = {}  # deliveries by how late they were, in whole ms

    def open(self, opening: Opening) -> None:
        """Say when it begins."""
        self._opening = opening
        self._from = opening.wall

    def take_ending(self) -> bool:
        """Whether the end of this round has become known since this was asked last: the next one can be built."""
        ending, self._ending = self._ending, False
        return ending

    def prepare(self) -> None:
        """Build the next round of an open lane, unless that was done: it takes milliseconds, so it is best called when nothing is due."""
        if self._next is None and not self._last:
            self._next = self._make(self.rounds, self._from)
            self._last = self._next is None

    def step(self, now: int) -> int | None:
        """Deliver what is due at `now` (monotonic ns); when to come again, or None when it is over."""
        opening = self._opening
        assert opening is not None
        moment = opening.wall + round((now - opening.monotonic) * self._speed)
        bench = self._bench
        if bench is None:
            if moment < self._from:
                return now + self._wait(self._from - moment)
            self.prepare()
            bench = self._bench = self._next
            if bench is None:
                return None
            self._next = None
            self.rounds += 1
            self._end, self._fixed = bench.end, False
            self._tail = round(bench.settings.tail * SECOND)
        world = bench.world
        due = world.next_time()
        before = world.now
        # Never further than its tail at once: then the end of the round is known before it is passed, however late this is.
        reach = min(moment, self._end, before + max(QUANTUM, self._tail))
        items = bench.advance(reach)
        self.played += world.now - before
        for item in items:
            if isinstance(item, Frame):
                if self._frames is not None:
                    self._frames.frame(item)
            elif isinstance(item, CpRecord) and self._pilot is not None:
                self._pilot.record(item)
        if items and due is not None:
            self.items += len(items)
            self._delivered(opening.monotonic + round((due - opening.wall) / self._speed))
        if not self._fixed:
            self._look_ahead(bench)
        if reach >= self._end:
            self._bench = None
            bench.close()
            return None if self._last else now + QUANTUM
        following = world.next_time()
        return now + (LONGEST if following is None else self._wait(following - moment))

    def _wait(self, time: int) -> int:
        """Real ns until `time` of the bench's ns have passed."""
        return max(QUANTUM, min(round(time / self._speed), LONGEST))

    def _delivered(self, due: int) -> None:
        """What was due at `due` (monotonic ns) has now been handed over, and all that came after it too."""
        late = max(0, time.monotonic_ns() - due)
        self.late = max(self.late, late)
        delay = late // MS
        self.delays[delay] = self.delays.get(delay, 0) + 1

    def _look_ahead(self, bench: Bench) -> None:
        """Fix the end of this round as soon as it is known, and with it the beginning of the next."""
        if bench.over_at is not None:
            self._end = min(self._end, bench.over_at + self._tail)
        elif self._end - bench.world.now > AHEAD:
            return
        self._fixed = self._ending = True
        self._from = self._end + REST


def playing(lanes: list[Lane], opening: Opening | None = None) -> Iterator[float]:
    """Play lanes side by side by the wall clock, until all have ended: yields how many seconds the caller should wait, 0 included.

    They begin together, at `opening` (default: as soon as they can be built). Raises PlayError."""
    moment = opening or Opening.soon(len(lanes))
    queue = [(moment.monotonic, number) for number in range(len(lanes))]  # sorted, so it is a heap
    unbuilt = deque(lanes)  # lanes whose next round is to be built when nothing is due
    lane: Lane | None = None
    for lane in lanes:
        lane.open(moment)
    try:
        while queue:
            now = time.monotonic_ns()
            if queue[0][0] > now:
                if unbuilt:
                    lane = unbuilt.popleft()
                    lane.prepare()
                    yield 0.0
                else:
                    yield max(QUANTUM, queue[0][0] - now) / SECOND
                continue
            served = 0
            while queue and queue[0][0] <= now:
                number = queue[0][1]
                lane = lanes[number]
                again = lane.step(time.monotonic_ns())
                if again is None:
                    heapq.heappop(queue)
                else:
                    heapq.heapreplace(queue, (again, number))
                if lane.take_ending():
                    unbuilt.append(lane)
                served += 1
                if served % SERVED == 0:
                    yield 0.0
    except Exception as error:
        name = lane.name if lane is not None else ""
        raise PlayError(f"{name}: {_told(error)}") from error


async def play(lanes: list[Lane], stop: asyncio.Event | None = None, opening: Opening | None = None) -> None:
    """`playing` as a task: until all have ended or `stop` is set."""
    for pause in playing(lanes, opening):
        await asyncio.sleep(pause)
        if stop is not None and stop.is_set():
            return


def _told(error: Exception) -> str:
    """An error in one line: what it is, and where it was raised."""
    if isinstance(error, ScenarioError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
