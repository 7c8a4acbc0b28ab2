"""Sources that are streams of bytes: connect, read, decode, and connect again when the stream ends."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Protocol

from plugtap.hw.errors import SourceError
from plugtap.hw.source import Backoff, Clock, RemoteTime, SourceItem, readable, waiting, wall_clock
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import TapEvent

CHUNK = 65536  # bytes read at once


class Connection(Protocol):
    """An open stream. `live` is False for regular files, which can always be read and end for good."""

    live: bool

    def fileno(self) -> int: ...

    def read(self, size: int) -> bytes:
        """Bytes that are there; b"" at the end. Raises BlockingIOError when nothing waits, OSError when it broke."""
        ...

    def close(self) -> None: ...


class Decoder(Protocol):
    """Bytes of one connection to items. One is made for each connection."""

    def feed(self, data: bytes, arrival: int) -> Iterable[SourceItem]:
        """Items that `data`, arrived at `arrival` ns, completes. Raises DecodeError when the stream can't go on."""
        ...

    def flush(self, now: int) -> Iterable[SourceItem]:
        """Items held back that are complete by now."""
        ...


class FdConnection:
    """A non-blocking file descriptor."""

    def __init__(self, fd: int, *, live: bool = True) -> None:
        self.live = live
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def read(self, size: int) -> bytes:
        return os.read(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)


class StreamSource:
    """Items decoded from a stream of bytes, over all its connections.

    `connect` opens the stream (raises OSError: tried again; SourceError: hopeless). `decoder` makes the decoder of one
    connection. A connection lost, and one that comes back, are tap events. counters: bytes, opened, errors, damaged,
    items.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        connect: Callable[[], Awaitable[Connection]],
        decoder: Callable[[collections.Counter[str]], Decoder],
        *,
        times: RemoteTime | None = None,
        flush_seconds: float | None = None,
        counters: Iterable[str] = (),
        clock: Clock = wall_clock,
    ) -> None:
        """`counters`: those that the decoder counts. `times`: for streams stamped elsewhere, who may also be late. `flush_seconds`: how often to flush the decoder
        while nothing comes."""
        self.name = name
        self.detail = detail
        self.up = False
        self.counters: collections.Counter[str] = collections.Counter(bytes=0, opened=0, errors=0, damaged=0, items=0)
        self.counters.update(dict.fromkeys(counters, 0))
        self._connect = connect
        self._decoder = decoder
        self._times = times
        self._flush = flush_seconds
        self._clock = clock
        self._connection: Connection | None = None
        self._waits = True  # for bytes: nothing read is on its way to the consumer
        self._ended = False

    async def __aiter__(self) -> AsyncGenerator[SourceItem, None]:
        backoff = Backoff()
        told = False
        while not self._ended:
            try:
                connection = self._connection = await self._connect()
            except OSError as error:
                self.counters["errors"] += 1
                if not told:
                    told = True
                    yield self._event("link-lost", f"{self.detail}: {error.strerror or error}")
                await asyncio.sleep(backoff.pause())
                continue
            reason = "ended"
            got_any = False
            try:
                async with contextlib.aclosing(self._read(connection)) as items:
                    async for item in items:
                        if not got_any:
                            # Opening proves little (a FIFO opens without a writer): up is when something comes.
                            got_any, told = True, False
                            backoff.reset()
                        yield item
            except DecodeError as error:
                self.counters["damaged"] += 1
                reason = str(error)
                yield self._event("damaged", f"{self.detail}: {error}")
            except OSError as error:
                self.counters["errors"] += 1
                reason = error.strerror or str(error)
            finally:
                self.up = False
                self._waits = True
                self._connection = None
                connection.close()
                if self._times is not None:
                    self._times.forget()
            if not connection.live:
                self._ended = True
                if not got_any and reason != "ended":
                    raise SourceError(self.detail, f"nothing in it can be read: {reason}")
                return
            if not told:
                told = True
                yield self._event("link-lost", f"{self.detail}: {reason}")
            await asyncio.sleep(backoff.pause())

    async def _read(self, connection: Connection) -> AsyncGenerator[SourceItem, None]:
        decoder = self._decoder(self.counters)
        self.counters["opened"] += 1
        told = not connection.live  # a file needs no word that it is there
        while True:
            if connection.live:
                self._waits = True
                ready = await readable(connection.fileno(), timeout=self._flush)
                self._waits = False
                if not ready:
                    for item in decoder.flush(self._clock()):
                        yield item
                    continue
            else:
                self._waits = False
                await asyncio.sleep(0)
            try:
                data = connection.read(CHUNK)
            except BlockingIOError:
                continue
            if not data:
                for item in decoder.flush(self._clock()):
                    yield item
                return
            arrival = self._clock()
            self.counters["bytes"] += len(data)
            self.up = True
            for item in decoder.feed(data, arrival):
                self.counters["items"] += 1
                if not told:
                    # At the first item's time: an event of now would stand before items that were stamped a moment ago.
                    told = True
                    yield TapEvent(t=item.t, number=0, source=self.name, kind="start", detail=self.detail)
                yield item

    def silent(self, now: int) -> int | None:
        """See `Source`. A file has no silence: its time is not now."""
        if self._ended or not self._waits:
            return None
        connection = self._connection
        if connection is None:
            return now
        if not connection.live or waiting(connection.fileno()):
            return None
        if self._times is None:
            return now
        there = self._times.now(now)
        return now if there is None else there

    def _event(self, kind: str, detail: str = "") -> TapEvent:
        return TapEvent(t=self._clock(), number=0, source=self.name, kind=kind, detail=detail)
