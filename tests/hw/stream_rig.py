"""Collects what a source yields while a test plays the other end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from plugtap.hw.source import Source, SourceItem
from plugtap.protocols.items import CpRecord, Frame, TapEvent
from plugtap.protocols.pcapng_writer import PcapngWriter


class Collector:
    """Items of one source, in order."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.items: list[SourceItem] = []
        self.ended = False
        self.error: BaseException | None = None

    async def run(self) -> None:
        try:
            async with contextlib.aclosing(aiter(self.source)) as items:
                async for item in items:
                    self.items.append(item)
        except Exception as error:
            self.error = error
        self.ended = True

    @property
    def frames(self) -> list[Frame]:
        return [item for item in self.items if isinstance(item, Frame)]

    @property
    def records(self) -> list[CpRecord]:
        return [item for item in self.items if isinstance(item, CpRecord)]

    @property
    def events(self) -> list[str]:
        return [item.kind for item in self.items if isinstance(item, TapEvent)]

    async def until(self, condition: Callable[[], bool], what: str = "", seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.items} {self.error!r}"
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def collecting(source: Source) -> AsyncIterator[Collector]:
    collector = Collector(source)
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Stream:
    """A pcapng stream in pieces."""

    def __init__(self) -> None:
        self._writer = PcapngWriter()
        self.head = self._writer.section(application="test") + self._writer.interface(1, "eth0")

    def frame(self, t: int, data: bytes = bytes(60), dropped: int = 0) -> bytes:
        return self._writer.packet(0, t, data, dropped=dropped)
