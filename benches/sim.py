#!/usr/bin/env python3
"""The virtual bench: how long a ten-minute session takes to write, and how many pairs stream in real time.

    python benches/sim.py [--pairs 200] [--seconds 60] [--minutes 10] [--processes N]

Peer: the wall clock. Processor time is given beside it, because other work on the machine slows the first and not the second. The pairs are those of
`plugtap simulate … --live --pairs N`, the command itself as users call it; another process reads all of its pipes. How late its deliveries are the command
says at its end: from the moment a thing was due to the moment it was written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from plugtap.sim import scenario as scenarios
from plugtap.sim.record import pcapng

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


def drain(paths: list[Path], total: Synchronized[int], used: Synchronized[float]) -> None:
    """Read all pipes until none is left."""
    poll = select.poll()
    opened = {os.open(path, os.O_RDONLY | os.O_NONBLOCK): path for path in paths}
    for fd in opened:
        poll.register(fd, select.POLLIN)
    while opened:
        for fd, event in poll.poll(1000):
            if event & select.POLLIN:
                total.value += len(os.read(fd, 1 << 16))
            elif not opened[fd].exists():
                poll.unregister(fd)
                del opened[fd]
            else:
                time.sleep(0.001)  # nobody writes yet
        used.value = time.process_time()


def stream(pairs: int, seconds: float, processes: int) -> int:
    """Many pairs by the wall clock."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable, "-m", "plugtap", "simulate", *SCENARIOS, "--live", "--pipes", "--pairs", str(pairs), "--processes", str(processes),
            "--for", str(seconds), "--dir", scratch,
        ]  # fmt: skip
        player = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert player.stdout is not None
        lines = iter(player.stdout)
        if not any("Ctrl-C" in line for line in lines):
            print(f"stream: the command ended with exit code {player.wait()}")
            return 1
        total, used = multiprocessing.Value("q", 0), multiprocessing.Value("d", 0.0)
        reader = multiprocessing.Process(target=drain, args=([*Path(scratch).glob("*.fifo")], total, used), daemon=True)
        reader.start()
        said = [line.strip() for line in lines]
        code = player.wait()
        cost = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the player: the reader is waited for later
        reader.join(5)
        cores = (cost.ru_utime + cost.ru_stime) / seconds
        print(f"stream: {pairs} pairs for {seconds:.0f} s, {total.value / 1e6:.1f} MB read; exit code {code}")
        for line in said:
            print(f"        {line}")
        print(f"        the whole command took {cores:.2f} cores, beginning and end included; the reader {used.value / seconds:.2f}")
        return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="pairs that stream side by side (default: 200)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for so long (default: 60, more than one session of each)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the session that is written (default: 10)")
    parser.add_argument("--processes", type=int, default=0, help="processes that play (default: as many as the command thinks right)")
    args = parser.parse_args()
    write(args.minutes)
    return stream(args.pairs, args.seconds, args.processes)


if __name__ == "__main__":
    raise SystemExit(main())
