"""Many connectors at once: their lanes spread over processes that begin at the same moment and end together.

One process plays some hundred pairs, two cores twice as many. What a connector says depends on its own seed only, so the number of processes changes
nothing about it. The processes are forks: virtual cables and terminals are open files, which only a fork can inherit.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType

import msgspec

from plugtap.sim import stage
from plugtap.sim.kernel import SECOND
from plugtap.sim.lanes import Opening, PlayError, playing
from plugtap.sim.stage import Bay
from plugtap.sim.v2g import Codec

FEW = 10  # pairs: one process is enough for so many
PATIENCE = 3.0  # seconds that processes have to end when they are asked to


class Orders(msgspec.Struct, frozen=True):
    """How connectors are to be played."""

    seed: int = 1  # of the first; each following one has 1000 more
    speed: float = 1.0
    processes: int = 0  # 0: one for each core, but only one for each ten pairs
    seconds: float | None = None  # end after so long
    rounds: int = 0  # sessions of each connector; 0: without end
    start: int = 0  # ns since the epoch at which the sessions are said to begin; 0: when they do


class Tally(msgspec.Struct):
    """What was played. Times in ns."""

    rounds: int = 0
    items: int = 0  # frames and pilot records
    played: int = 0  # of the benches' time
    late: int = 0  # how far behind the clock something was delivered at worst
    processor: int = 0  # processor time of all processes
    processes: int = 0
    delays: dict[int, int] = {}  # deliveries by how late they were, in whole ms

    def add(self, other: Tally) -> None:
        """Take in what another process played."""
        self.rounds += other.rounds
        self.items += other.items
        self.played += other.played
        self.late = max(self.late, other.late)
        self.processor += other.processor
        self.processes += other.processes
        self.delays = dict(Counter(self.delays) + Counter(other.delays))

    def within(self, share: float) -> int:
        """The ms within which this share of the deliveries was made."""
        left = share * sum(self.delays.values())
        for delay in sorted(self.delays):
            left -= self.delays[delay]
            if left <= 0:
                return delay + 1
        return 0


def processes_for(pairs: int) -> int:
    """How many processes play so many pairs if nothing else is said."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, -(-pairs // FEW)))


def perform(bays: Sequence[Bay], orders: Orders) -> Tally:
    """Play connectors until all have ended, the time is over, or SIGINT or SIGTERM comes. Only the main thread may call it.

    Raises PlayError, which names the connector, when one fails or a process is lost; the others have then ended too."""
    count = min(orders.processes or processes_for(len(bays)), len(bays))
    opening = Opening.soon(-(-len(bays) // max(1, count)), orders.start)
    with _signals() as asked:
        if count <= 1:
            return _play(bays, 0, orders, opening, asked)
        return _Crew(bays, count, orders, opening).work(asked)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A file descriptor that becomes readable when the user wants an end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def handler(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(writing, b"!")

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reading
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        os.close(reading)
        os.close(writing)


def _play(bays: Sequence[Bay], first: int, orders: Orders, opening: Opening, leash: int) -> Tally:
    """Play some connectors in this process until `leash` can be read. `first` is the number of the first of them."""
    began = time.process_time_ns()
    codec = Codec()
    lanes = [
        stage.lane(bay, seed=orders.seed + 1000 * (first + number), speed=orders.speed, rounds=orders.rounds, codec=codec)
        for number, bay in enumerate(bays)
    ]
    until = opening.monotonic + round(orders.seconds * SECOND) if orders.seconds is not None else None
    # Not by asyncio: with hundreds of waits a second its loop would cost more than what is waited for.
    for pause in playing(lanes, opening):
        left = pause if until is None else min(pause, (until - time.monotonic_ns()) / SECOND)
        if left < 0 or select.select([leash], [], [], left)[0]:
            break
    tally = Tally(processes=1, processor=time.process_time_ns() - began)
    for lane in lanes:
        tally.add(Tally(lane.rounds, lane.items, lane.played, lane.late, delays=lane.delays))
    return tally


class _Crew:
    """The processes, and what they say at their end: a Tally, or what went wrong."""

    def __init__(self, bays: Sequence[Bay], count: int, orders: Orders, opening: Opening) -> None:
        self._tally = Tally()
        self._failure = ""
        self._running: dict[Connection, tuple[ForkProcess, str]] = {}
        # The processes end when they can read from the leash: when we let go of it, or are no more.
        self._held, self._leash = os.pipe()
        context = multiprocessing.get_context("fork")
        # Neighbours go together: with scenarios in turn, each process gets some of all.
        bounds = [number * len(bays) // count for number in range(count + 1)]
        try:
            for first, end in itertools.pairwise(bounds):
                report, theirs = context.Pipe(duplex=False)
                arguments = (bays[first:end], first, orders, opening, (self._held, self._leash), theirs)
                process = context.Process(target=_member, args=arguments, daemon=True)
                process.start()
                theirs.close()
                self._running[report] = (process, _names(bays[first:end]))
        except OSError as error:
            self._failure = f"no process to play {_names(bays)}: {error}"
            self._let_go()

    def work(self, asked: int) -> Tally:
        """Wait for their end. `asked` can be read when the user wants it."""
        until: float | None = None  # by when they must have ended
        try:
            while self._running:
                if self._leash < 0:
                    until = until or time.monotonic() + PATIENCE
                    ready = wait([*self._running], until - time.monotonic())
                else:
                    ready = wait([*self._running, asked])
                if not ready:
                    late = ", ".join(names for _, names in self._running.values())
                    self._failure = self._failure or f"{late}: the process that plays them does not end"
                    break
                for report in ready:
                    if isinstance(report, Connection):
                        self._hear(report)
                if asked in ready or self._failure:
                    self._let_go()
        finally:
            self._let_go()
            for process, _ in self._running.values():
                process.kill()
                process.join()
            os.close(self._held)
        if self._failure:
            raise PlayError(self._failure)
        return self._tally

    def _hear(self, report: Connection) -> None:
        process, names = self._running.pop(report)
        said: Tally | str
        try:
            said = report.recv()
        except EOFError:
            said = ""
        report.close()
        process.join()
        if isinstance(said, Tally):
            self._tally.add(said)
        elif not self._failure:
            code = process.exitcode or 0
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._failure = said or f"{names}: the process that played them was ended {how}"

    def _let_go(self) -> None:
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


def _names(bays: Sequence[Bay]) -> str:
    """Connectors for people."""
    return bays[0].name if len(bays) == 1 else f"{bays[0].name} to {bays[-1].name}"


def _member(bays: Sequence[Bay], first: int, orders: Orders, opening: Opening, leash: tuple[int, int], report: Connection) -> None:
    """One process of the crew."""
    # Ctrl-C and the like reach all processes of a terminal; the one that was called decides, and lets go of the leash.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    held, holding = leash
    os.close(holding)
    said: Tally | str
    try:
        said = _play(bays, first, orders, opening, held)
    except PlayError as error:
        said = str(error)
    report.send(said)
    report.close()

