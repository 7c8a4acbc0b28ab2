"""Run in a network namespace of its own: two conversations at once over a veth pair, in real time, analysed while they are captured. Prints what
was said live, and what the same items say when they are read again in one go."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from typing import Any

import msgspec
from lab import Lab

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.config.analysis import AnalysisSettings
from plugtap.hw.capture import InterfaceSource
from plugtap.protocols.items import Frame, Item, Tick

TAIL_S = 6.0  # longer than it takes to prove that a request is unanswered for good
SETTINGS = AnalysisSettings(site="lab", tap="live", vantage="host")


def conversations() -> list[list[Frame]]:
    """One EVSE that stops answering, and beside it a pair whose EV resets: a few seconds each."""
    silent = Lab.good("din-dc", pilot=False).stop_after("CableCheckReq", 1)
    reset = Lab.good("iso2-dc", pilot=False).pair(7).stop_after("CableCheckRes", 1).close("rst", "EVCC")
    return [[i for i in lab.items(ticks=None, tail=0) if isinstance(i, Frame)] for lab in (silent, reset)]


def make_pair() -> None:
    for words in (["link", "add", "tap0", "type", "veth", "peer", "name", "wire0"],):
        subprocess.run(["ip", *words], check=True)
    for name in ("tap0", "wire0"):
        subprocess.run(["ip", "link", "set", name, "addrgenmode", "none"], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)


async def play(frames: list[Frame]) -> None:
    """Put the frames on the wire with the gaps they have."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind(("wire0", 0))
    begin, first = time.monotonic(), frames[0].t
    for frame in frames:
        await asyncio.sleep(max(0.0, (frame.t - first) / 1e9 - (time.monotonic() - begin)))
        wire.send(frame.data)
    wire.close()


def said(reports: list[SessionReport]) -> list[Any]:
    return json.loads(msgspec.json.encode(reports))  # type: ignore[no-any-return]


async def main() -> dict[str, object]:
    make_pair()
    source = InterfaceSource("tap0")
    items: list[Item] = []
    live = Analysis(SETTINGS, sources=("plc",))

    async def pump() -> None:
        async for item in source:
            if isinstance(item, Frame):
                frame = msgspec.structs.replace(item, source="plc", number=sum(isinstance(i, Frame) for i in items) + 1)
                items.append(frame)
                live.feed(frame)

    async def clock() -> None:
        """Proofs of silence, as the daemon takes them from its source."""
        while True:
            await asyncio.sleep(0.1)
            proven = source.silent(time.time_ns())
            if proven is not None and items:
                items.append(Tick(proven))
                live.tick(proven)

    tasks = [asyncio.create_task(pump()), asyncio.create_task(clock())]
    async with asyncio.timeout(10):
        while not source.up:
            await asyncio.sleep(0.02)
    streams = conversations()
    await asyncio.gather(*(play(frames) for frames in streams))
    await asyncio.sleep(TAIL_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    end = items[-1].t
    live.finish(end)

    again = Analysis(SETTINGS, sources=("plc",))
    for item in items:
        again.feed(item)
    again.finish(end)
    return {
        "sent": sum(map(len, streams)), "captured": sum(isinstance(i, Frame) for i in items), "live": said(live.reports()), "again": said(again.reports()),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
    sys.exit(0)
