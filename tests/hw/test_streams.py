"""Capture streams: FIFO, Unix socket, TCP, file; what happens when they end, break, or are no captures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_rig import Collector, Stream, collecting

from plugtap.hw.errors import SourceError
from plugtap.hw.pipe import open_path, pipe_source
from plugtap.hw.source import Backoff, RemoteTime
from plugtap.hw.tcp import tcp_source
from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.items import CpRecord, Frame, TapEvent, Tick

SECOND = 1_000_000_000


async def writer(path: pathlib.Path) -> int:
    return await asyncio.to_thread(os.open, path, os.O_WRONLY)


async def test_fifo_with_writers_that_come_and_go(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = pipe_source(str(path))
    async with collecting(source) as heard:
        await asyncio.sleep(0.05)
        assert not heard.items and not source.up, "a FIFO without a writer is not up"
        fd = await writer(path)
        stream = Stream()
        t = time.time_ns()
        data = stream.head + stream.frame(t, b"a" * 60) + stream.frame(t + 1, b"b" * 60, dropped=3)
        for cut in range(0, len(data), 7):
            os.write(fd, data[cut : cut + 7])
        await heard.until(lambda: len(heard.frames) == 2, "frames")
        assert heard.events == ["start"] and source.up
        start = heard.items[0]
        assert isinstance(start, TapEvent) and start.t == t, "not after the first frame"
        assert heard.frames[1].lost == 3 and source.counters["dropped"] == 3
        assert [frame.number for frame in heard.frames] == [0, 0]
        os.close(fd)
        await heard.until(lambda: heard.events == ["start", "link-lost"], "the end")
        assert not source.up
        fd = await writer(path)
        again = Stream()
        os.write(fd, again.head + again.frame(time.time_ns()))
        await heard.until(lambda: heard.events == ["start", "link-lost", "start"], "a new writer")
        os.close(fd)


async def test_silence_is_proven_only_when_nothing_waits(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = pipe_source(str(path), slack=0.2)
    async with collecting(source) as heard:
        fd = await writer(path)
        stream = Stream()
        os.write(fd, stream.head + stream.frame(time.time_ns()))
        await heard.until(lambda: len(heard.frames) == 1)
        await asyncio.sleep(0.02)
        now = time.time_ns()
        assert source.silent(now) == now - SECOND // 5, "a frame may be under way for the slack"
        os.write(fd, stream.frame(time.time_ns()))
        assert source.silent(now) is None
        await heard.until(lambda: len(heard.frames) == 2)
        os.close(fd)


async def test_rubbish_and_truncation_are_told(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = pipe_source(str(path))
    async with collecting(source) as heard:
        fd = await writer(path)
        os.write(fd, b"GET / HTTP/1.1\r\n")
        await heard.until(lambda: heard.events == ["damaged", "link-lost"], "rubbish")
        os.close(fd)
        fd = await writer(path)
        stream = Stream()
        whole = stream.head + stream.frame(time.time_ns())
        os.write(fd, whole + stream.frame(time.time_ns())[:-5])
        await heard.until(lambda: len(heard.frames) == 1)
        os.close(fd)
        await heard.until(lambda: heard.events[2:] == ["start", "link-lost"], "cut")
        assert source.counters["damaged"] == 1


async def test_unix_socket_and_tcp(tmp_path: pathlib.Path) -> None:
    stream = Stream()
    data = stream.head + stream.frame(time.time_ns() - 5 * SECOND)

    async def serve(_: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        out.write(data)
        await out.drain()
        await asyncio.sleep(0.1)
        out.close()
        with contextlib.suppress(OSError):
            await out.wait_closed()

    unix = await asyncio.start_unix_server(serve, str(tmp_path / "sock"))
    async with collecting(pipe_source(str(tmp_path / "sock"))) as heard:
        await heard.until(lambda: len(heard.frames) >= 2, "a connection, and another after it ended")
        assert heard.events[:3] == ["start", "link-lost", "start"]
    await asyncio.sleep(0.2)  # let the last handler end
    unix.close()
    await unix.wait_closed()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = tcp_source("127.0.0.1", port, slack=0.5)
    async with collecting(source) as heard:
        await heard.until(lambda: len(heard.frames) == 1)
        proof = source.silent(time.time_ns())
        assert proof is None or proof < time.time_ns() - 5 * SECOND, "the other clock is 5 s behind, and it takes half a second"
    await asyncio.sleep(0.2)
    server.close()
    await server.wait_closed()


async def test_tcp_that_refuses_is_told_once_and_retried() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = tcp_source("127.0.0.1", port)
    async with collecting(source) as heard:
        await heard.until(lambda: source.counters["errors"] >= 3, "attempts")
        assert heard.events == ["link-lost"]
        assert source.silent(5) == 5, "nothing can wait where there is no connection"


async def test_a_file_is_read_once_and_ends(tmp_path: pathlib.Path) -> None:
    stream = Stream()
    path = tmp_path / "capture.pcapng"
    path.write_bytes(stream.head + b"".join(stream.frame(1_700_000_000 * SECOND + n) for n in range(1000)))
    source = pipe_source(str(path))
    collector = Collector(source)
    await asyncio.wait_for(collector.run(), 10)
    assert len(collector.frames) == 1000 and collector.events == []
    assert source.silent(time.time_ns()) is None


async def test_an_archive_gives_its_records_but_not_its_ticks(tmp_path: pathlib.Path) -> None:
    """Another plugtap's archive, streamed: ticks prove silence there, not here."""
    encoder = ArchiveEncoder(ArchiveHeader("s", "t", "r"))
    items = [
        Frame(10**18, 0, bytes(60)),
        Tick(10**18 + 5),
        CpRecord(10**18 + 6, 0, 9000, 9000, 10000, 0),
        TapEvent(10**18 + 7, 0, "plc", "carrier-down"),
    ]
    path = tmp_path / "a.pcapng"
    path.write_bytes(encoder.start() + b"".join(encoder.encode(item)[1] for item in items))
    collector = Collector(pipe_source(str(path)))
    await asyncio.wait_for(collector.run(), 10)
    assert collector.items == [items[0], items[2], items[3]]


async def test_paths_that_cannot_be(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SourceError, match="mkfifo"):
        await open_path(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        await open_path(str(tmp_path / "none"))


async def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    saved = os.dup(0)
    os.dup2(read, 0)
    try:
        async with collecting(pipe_source("-")) as heard:
            stream = Stream()
            os.write(write, stream.head + stream.frame(time.time_ns()))
            await heard.until(lambda: len(heard.frames) == 1)
    finally:
        os.dup2(saved, 0)
        for fd in (read, write, saved):
            os.close(fd)


# --- clocks and patience ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(-(10**18), 10**18))
def test_remote_time_is_never_ahead_of_a_frame_to_come(delays: list[int], offset: int) -> None:
    """Whatever arrives with no less delay than the fastest so far, its stamp is above what was called silent before."""
    slack = 10**9
    times = RemoteTime(slack, local=False)
    assert times.now(0) is None
    local = 10**18
    for delay in delays:
        stamp = local - delay + offset
        times.seen(stamp, local)
        silent = times.now(local)
        assert silent is not None and silent <= local + offset, "never ahead of the other clock"
        assert silent <= stamp + max(delays), "and a frame under way at most that long is not called silent"
        local += 10**9


def test_local_time_needs_no_frame() -> None:
    times = RemoteTime(5, local=True)
    times.seen(0, 10**9)
    assert times.now(100) == 95
    times.forget()
    assert times.now(100) == 95


def test_backoff_doubles_and_starts_over() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.pause() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.pause() == 0.1
