"""Capture streams: pcap or pcapng from a FIFO, a Unix socket, standard input, or a file. The twins of a live
interface."""

from __future__ import annotations

import asyncio
import collections
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from plugtap.hw.errors import SourceError
from plugtap.hw.source import Clock, RemoteTime, SourceItem, wall_clock
from plugtap.hw.stream import Connection, FdConnection, StreamSource
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.item_decoder import ItemDecoder
from plugtap.protocols.items import Frame, Tick


class CaptureDecoder:
    """Bytes of a pcap or pcapng stream to its frames (and, from a plugtap elsewhere, its pilot records and tap
    events)."""

    def __init__(self, counters: collections.Counter[str], times: RemoteTime | None = None) -> None:
        self._reader = CaptureReader()
        self._items = ItemDecoder()
        self._counters = counters
        self._times = times

    def feed(self, data: bytes, arrival: int) -> Iterator[SourceItem]:
        """See `Decoder`. Ticks of another plugtap are left out: they prove silence there, not here."""
        for item in self._items.decode(self._reader.feed(data)):
            if isinstance(item, Tick):
                continue
            if isinstance(item, Frame):
                self._counters["frames"] += 1
                self._counters["dropped"] += item.lost
            if self._times is not None:
                self._times.seen(item.t, arrival)
            yield msgspec.structs.replace(item, number=0)

    def flush(self, now: int) -> Iterator[SourceItem]:
        """See `Decoder`: a capture stream holds nothing back."""
        return iter(())


class SocketConnection:
    """A connected non-blocking stream socket."""

    live = True

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, size: int) -> bytes:
        return self._socket.recv(size)

    def close(self) -> None:
        self._socket.close()


async def open_path(path: str) -> Connection:
    """Open a FIFO, a Unix socket, a file, or ``-``. Raises OSError, or SourceError for a path that is none of these."""
    if path == "-":
        fd = os.dup(0)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return FdConnection(fd, live=False)
        os.set_blocking(fd, False)
        return FdConnection(fd)
    mode = os.stat(path).st_mode
    if stat.S_ISSOCK(mode):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, path)
        except BaseException:
            sock.close()
            raise
        return SocketConnection(sock)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return FdConnection(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    if stat.S_ISREG(mode):
        return FdConnection(os.open(path, os.O_RDONLY | os.O_CLOEXEC), live=False)
    raise SourceError(path, "is neither a FIFO, a socket nor a file", "make one: mkfifo " + path)


def capture_stream(
    name: str,
    detail: str,
    connect: Callable[[], Awaitable[Connection]],
    *,
    local_clock: bool = True,
    slack: float = 0.05,
    clock: Clock = wall_clock,
) -> StreamSource:
    """A source of frames from a pcap or pcapng stream. `local_clock`: this machine's clock stamped them; `slack`:
    seconds that a frame may be under way."""
    times = RemoteTime(int(slack * 1e9), local=local_clock)
    return StreamSource(
        name,
        detail,
        connect,
        lambda counters: CaptureDecoder(counters, times),
        times=times,
        counters=("frames", "dropped"),
        clock=clock,
    )


def pipe_source(path: str, *, name: str = "plc", local_clock: bool = True, slack: float = 0.05, clock: Clock = wall_clock) -> StreamSource:
    """Frames from a FIFO, Unix socket, file or ``-``."""
    return capture_stream(name, path, lambda: open_path(path), local_clock=local_clock, slack=slack, clock=clock)


def file_source(path: str, *, name: str = "plc", clock: Clock = wall_clock) -> StreamSource:
    """Frames from a capture file, once. Unlike a FIFO, a file that is not there is not waited for: SourceError."""

    async def connect() -> Connection:
        try:
            return await open_path(path)
        except OSError as error:
            raise SourceError(path, f"can't be opened: {error.strerror or error}") from None

    return capture_stream(name, path, connect, clock=clock)
