"""What a source of items is, and what all of them share: waiting for a file descriptor, and patience between
attempts."""

from __future__ import annotations

import asyncio
import collections
import select
import time
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from plugtap.protocols.items import CpRecord, Frame, TapEvent

Clock = Callable[[], int]  # nanoseconds since the epoch
SourceItem = Frame | CpRecord | TapEvent

SECOND = 1_000_000_000
FIRST_PAUSE = 0.1  # seconds before the second attempt to open a source; doubled each time …
LONGEST_PAUSE = 5.0  # … up to this


class Source(Protocol):
    """A live source of a tap. Twins of one kind (interface, pipe, TCP, file; serial, TCP, pipe) differ only in where
    bytes come from. A source retries by itself for ever, tells what happened by tap events, and ends only when closed
    (a file: when it is read). Items have number 0; who reads them counts.
    """

    name: str  # "plc", "plc2", "cp": the `source` of its items
    counters: collections.Counter[str]  # bounded set of names; only ever grows
    up: bool  # whether items can come at this moment
    detail: str  # where from, for people

    def __aiter__(self) -> AsyncGenerator[SourceItem, None]:
        """The items. Closing the iterator closes the device."""
        ...

    def silent(self, now: int) -> int | None:
        """The time (of the items' clock) up to which nothing waits to be read; None when something waits."""
        ...


async def readable(*fds: int, timeout: float | None = None) -> bool:
    """Wait until one of the file descriptors can be read (or has an error); False after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    for fd in fds:
        loop.add_reader(fd, wake)
    try:
        # Not wait_for: before Python 3.12 it drops a cancellation that comes together with what is waited for, and under load that is always.
        async with asyncio.timeout(timeout):
            await ready
    except TimeoutError:
        return False
    finally:
        for fd in fds:
            loop.remove_reader(fd)
    return True


def waiting(fd: int) -> bool:
    """Whether bytes (or an error) wait at the file descriptor now."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class Backoff:
    """Pauses that double from FIRST_PAUSE to LONGEST_PAUSE, until `reset`."""

    def __init__(self, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def pause(self) -> float:
        """Seconds to wait now."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now


class RemoteTime:
    """Local time in terms of a clock elsewhere, from when its frames arrive here: the lower envelope of the delays.

    A frame stamped s that arrives at r has been under way for r - s; the smallest such difference seen is offset plus
    least delay. `slack` ns stand for how much later than the fastest a frame may come.
    """

    def __init__(self, slack: int, *, local: bool) -> None:
        self._slack = slack
        self._offset: int | None = 0 if local else None
        self._local = local

    def seen(self, stamp: int, arrival: int) -> None:
        if not self._local and (self._offset is None or arrival - stamp < self._offset):
            self._offset = arrival - stamp

    def forget(self) -> None:
        """The connection is a new one: its clock may be another."""
        if not self._local:
            self._offset = None

    def now(self, local: int) -> int | None:
        """What the other clock shows at local time `local`, less the slack; None before the first frame."""
        return None if self._offset is None else local - self._offset - self._slack


wall_clock: Clock = time.time_ns
