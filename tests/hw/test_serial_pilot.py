"""The pilot's ADC on a pseudo terminal: both formats, unplugging, damage."""

from __future__ import annotations

import asyncio
import collections
import os
import pathlib
import time
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_rig import collecting

from plugtap.hw.serial_pilot import PilotDecoder, pipe_pilot, serial_pilot, tcp_pilot
from plugtap.protocols import cpf1
from plugtap.protocols.cp_text import TextReading, encode_line
from plugtap.protocols.items import CpRecord, TapEvent

B2 = {"hi_mv": 9000, "lo_mv": -12000, "duty": 500, "freq": 10000}


def line(moment_ms: float, **levels: int) -> bytes:
    return encode_line(TextReading(t_ms=moment_ms, **{**B2, **levels}))


def cycles(seq: int, t_us: int, count: int = 20) -> bytes:
    entries = tuple(cpf1.Cycle(dt=n * 100, hi_mv=9000, lo_mv=-12000, duty=500, freq=10000, noise=1, flags=0) for n in range(count))
    return cpf1.encode(cpf1.Cycles(flags=4, seq=seq, t_us=t_us, cycles=entries))


class Port:
    """The device's end of a pseudo terminal."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.device = os.ttyname(slave)
        os.close(slave)

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def unplug(self) -> None:
        os.close(self.master)


async def test_text_lines_from_a_pseudo_terminal_and_unplugging(tmp_path: pathlib.Path) -> None:
    port = Port()
    link = tmp_path / "adc"
    link.symlink_to(port.device)
    source = serial_pilot(str(link))
    async with collecting(source) as heard:
        await heard.until(lambda: source.counters["opened"] == 1, "open")
        begun = time.time_ns()
        for n in range(5):
            port.send(line(n * 50, hi_mv=9000 - n))
            await asyncio.sleep(0.01)
        await heard.until(lambda: len(heard.records) == 5, "records")
        assert heard.events == ["start"] and source.up
        assert [record.hi_mv for record in heard.records] == [9000, 8999, 8998, 8997, 8996]
        assert all(begun - 10**9 < record.t < time.time_ns() for record in heard.records)
        assert {record.source for record in heard.records} == {"cp"}
        port.unplug()
        await heard.until(lambda: heard.events == ["start", "link-lost"], "unplugged")
        assert not source.up
        link.unlink()
        other = Port()
        link.symlink_to(other.device)
        await heard.until(lambda: source.counters["opened"] == 2, "open again")
        other.send(line(0))
        await heard.until(lambda: heard.events == ["start", "link-lost", "start"], "plugged in again")
        other.unplug()


async def test_cpf1_frames_and_what_is_missing() -> None:
    port = Port()
    source = serial_pilot(port.device, form="cpf1")
    async with collecting(source) as heard:
        await heard.until(lambda: source.counters["opened"] == 1, "open")
        for n in (0, 1, 2, 5):
            port.send(cycles(n, n * 20_000))
        await heard.until(lambda: source.counters["gaps"] == 2, "missing frames are counted")
        broken = bytearray(cycles(6, 6 * 20_000))
        broken[10] ^= 0x55
        port.send(bytes(broken) + cycles(7, 7 * 20_000))
        await heard.until(lambda: source.counters["damaged"] == 1, "damage is counted")
        await heard.until(lambda: sum(r.cycles for r in heard.records) == 100, "a silent device leaves nothing unsaid")
        drops = [item for item in heard.items if isinstance(item, TapEvent) and item.kind == "drop"]
        assert [item.values for item in drops] == [{"frames": 2}, {"frames": 1}]
        assert [item.kind for item in heard.items if isinstance(item, TapEvent)].count("damaged") == 1
    port.unplug()


@pytest.mark.parametrize("first", ["text", "cpf1"])
@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_auto_finds_out_what_the_device_speaks(first: str, cut: int) -> None:
    counters: collections.Counter[str] = collections.Counter()
    decoder = PilotDecoder(counters, "cp", "auto")
    stream = b"\x00\xffnoise after a reset\r\n\x00"
    stream += b"".join(line(n * 50) if first == "text" else cycles(n, n * 20_000) for n in range(20))
    records = []
    for begin in range(0, len(stream), cut):
        records += [r for r in decoder.feed(stream[begin : begin + cut], time.time_ns()) if isinstance(r, CpRecord)]
    records += [r for r in decoder.flush(time.time_ns()) if isinstance(r, CpRecord)]
    assert records and {(r.hi_mv, r.lo_mv, r.duty) for r in records} == {(9000, -12000, 500)}
    assert counters["damaged"] == 0, "noise before the first sound frame says nothing"
    if first == "cpf1":
        assert sum(r.cycles for r in records) == 400


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    counters: collections.Counter[str] = collections.Counter()
    decoder = PilotDecoder(counters, "cp", "auto")
    for piece in pieces:
        for item in decoder.feed(piece, 10**18):
            assert isinstance(item, CpRecord | TapEvent)


async def test_pilot_by_pipe_and_tcp(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    async with collecting(pipe_pilot(str(path))) as heard:
        fd = await asyncio.to_thread(os.open, path, os.O_WRONLY)
        os.write(fd, line(0))
        await heard.until(lambda: len(heard.records) == 1)
        os.close(fd)

    async def serve(_: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        out.write(line(0))
        await out.drain()
        await asyncio.sleep(0.1)
        out.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with collecting(tcp_pilot("127.0.0.1", server.sockets[0].getsockname()[1])) as heard:
        await heard.until(lambda: len(heard.records) == 1)
    await asyncio.sleep(0.2)  # let the handler end
    server.close()


async def test_a_port_that_is_not_there_is_told_once() -> None:
    source = serial_pilot("/dev/plugtap-no-such-port")
    async with collecting(source) as heard:
        await heard.until(lambda: source.counters["errors"] >= 2, "attempts")
        assert heard.events == ["link-lost"]
