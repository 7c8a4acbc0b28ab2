"""The bounded queue between a tap's sources and its pipeline. When it is full the sources wait, and what they can't
read is counted where it is lost: by the kernel, or by gaps in the pilot's sequence numbers."""

from __future__ import annotations

import asyncio
import collections

from plugtap.hw.source import SourceItem


class Inbox:
    """First in, first out, for one consumer. `capacity`: items that may wait."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.high = 0  # most items that ever waited
        self.full = 0  # times a source had to wait
        self._items: collections.deque[SourceItem] = collections.deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: SourceItem) -> None:
        """Add an item; waits while the queue is full."""
        while len(self._items) >= self.capacity:
            self.full += 1
            self._room.clear()
            await self._room.wait()
        self._items.append(item)
        self.high = max(self.high, len(self._items))
        self._filled.set()

    async def take(self, most: int, timeout: float) -> list[SourceItem]:
        """Up to `most` items as soon as there is one; [] after `timeout` seconds, or when woken."""
        if not self._items:
            self._filled.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._filled.wait()
            except TimeoutError:
                return []
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        self._room.set()
        return taken

    def wake(self) -> None:
        """Let the consumer look around now."""
        self._filled.set()
