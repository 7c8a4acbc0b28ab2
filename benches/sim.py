#!/usr/bin/env python3
"""The virtual bench: how long a ten-minute session takes to write, and how many pairs stream in real time.

    python benches/sim.py [--pairs 200] [--seconds 30] [--minutes 10]

Peer: the wall clock. Processor time is given beside it, because other work on the machine slows the first and not the second. The pairs write frames and pilot to pipes
as `plugtap simulate --live --pairs N` does, and another process reads them all; "late" is how far behind the clock the last event of a step was delivered.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import select
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from plugtap.sim import scenario as scenarios
from plugtap.sim import stage
from plugtap.sim.lanes import play
from plugtap.sim.record import pcapng
from plugtap.sim.v2g import Codec

SCENARIOS = ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc")


def write(minutes: float) -> None:
    """One long session to the bytes of a capture."""
    scenario = scenarios.load("din-dc")
    scenario.duration = 60 * minutes + 60
    scenario.ev["charge_time"] = 60 * minutes - 40
    wall, cpu = time.perf_counter(), time.process_time()
    made = pcapng(scenario)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"write: {made.seconds / 60:.1f} minutes, {made.frames} frames, {made.records} pilot records, {len(made.data) / 1e6:.1f} MB: "
        f"{wall:.2f} s ({cpu:.2f} s of processor time), {made.seconds / wall:.0f} times real time"
    )


def drain(paths: list[str], total: Synchronized[int]) -> None:
    """Read all pipes until killed."""
    poll = select.poll()
    for path in paths:
        poll.register(os.open(path, os.O_RDONLY | os.O_NONBLOCK), select.POLLIN)
    while True:
        for fd, event in poll.poll(1000):
            if event & select.POLLIN:
                total.value += len(os.read(fd, 1 << 16))
            elif event & select.POLLHUP:
                time.sleep(0.001)  # nobody writes yet


async def stream(pairs: int, seconds: float) -> None:
    """Many pairs by the wall clock."""
    codec = Codec(8192)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plan: list[tuple[str, str | scenarios.Scenario]] = [
            (f"bay-{number}", scenarios.load(SCENARIOS[number % len(SCENARIOS)])) for number in range(pairs)
        ]
        bays, _ = stage.make_bays(folder, plan, cable=False, terminals=False)
        total = multiprocessing.Value("q", 0)
        reader = multiprocessing.Process(target=drain, args=([str(path) for path in folder.glob("*.fifo")], total), daemon=True)
        reader.start()
        await asyncio.sleep(0.5)
        lanes = [stage.lane(bay, seed=1 + 1000 * number, codec=codec) for number, bay in enumerate(bays)]
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            await play(lanes, stop)
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            stage.close(bays)
            reader.terminate()
        played = sum(lane.played for lane in lanes) / 1e9
        late = sorted(lane.late / 1e6 for lane in lanes)
        print(
            f"stream: {pairs} pairs for {wall:.0f} s: {sum(lane.items for lane in lanes)} frames and pilot records, {total.value / 1e6:.1f} MB read; "
            f"{cpu:.1f} s of processor time for {played:.0f} s of sessions: at real time {100 * cpu * pairs / played:.0f} % of one core; "
            f"late at worst, by pair: median {late[len(late) // 2]:.0f} ms, highest {late[-1]:.0f} ms"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="pairs that stream side by side (default: 200)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for so long (default: 30)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the session that is written (default: 10)")
    args = parser.parse_args()
    write(args.minutes)
    asyncio.run(stream(args.pairs, args.seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
