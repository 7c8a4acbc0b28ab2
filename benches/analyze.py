"""Decoding and analysing: frames and messages a second, what sessions and checks add, and tshark on the same file.

All captures go one after the other into one file, 2 minutes apart, so that start-up counts once. tshark prints a line
per packet to /dev/null; it knows HomePlug, IPv6 and TCP, but no EXI. Times are CPU time (user and system), so that
another program on the same machine disturbs less. Without captures a virtual session is repeated."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from plugtap.analysis.analysis import Analysis
from plugtap.checks.catalogue import load
from plugtap.cli.main import collect_seldom
from plugtap.hw.errors import SourceError
from plugtap.hw.files import find_captures, read_items
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.exi import BUILD
from plugtap.protocols.items import Frame, Item
from plugtap.protocols.pcapng_writer import PcapngWriter
from plugtap.protocols.stack import Stack

APART = 120 * 1_000_000_000
START = 1_700_000_000 * 1_000_000_000
LAYERS = ("read", "decode", "sessions", "analyze")
TITLES = {
    "read": "reading the file",
    "decode": "… and decoding",
    "sessions": "… and sessions, no checks",
    "analyze": "… and all checks (analyze)",
}


def captures(folder: Path) -> tuple[list[list[Frame]], str]:
    """Ethernet frames of every capture, and where they are from."""
    found = []
    for path in find_captures([str(folder)]) if folder.is_dir() else []:
        try:
            found.append([item for item in read_items(path) if isinstance(item, Frame) and item.link == 1])
        except SourceError as error:
            print(f"left out: {error}", file=sys.stderr)
    if found:
        return found, f"{len(found)} captures of {folder.name}"
    from plugtap.sim import scenario
    from plugtap.sim.record import pcapng

    with tempfile.NamedTemporaryFile(suffix=".pcapng") as file:
        file.write(pcapng(scenario.load("iso2-dc")).data)
        file.flush()
        session = [item for item in read_items(file.name) if isinstance(item, Frame)]
    return [session] * 10, "no captures there: the virtual session iso2-dc 10 times"


def write(path: Path, found: list[list[Frame]]) -> int:
    """One after the other into one file; returns the number of frames."""
    writer = PcapngWriter()
    t = START
    count = 0
    with path.open("wb") as out:
        out.write(writer.section(application="bench") + writer.interface(1, "plc"))
        for frames in found:
            if not frames:
                continue
            shift = t - frames[0].t
            for frame in frames:
                out.write(writer.packet(0, max(START, frame.t + shift), frame.data, wire_len=frame.wire_len or None))
                t = max(t, frame.t + shift)
            count += len(frames)
            t += APART
    return count


def run(layer: str, path: Path) -> tuple[float, int]:
    """Seconds of CPU time, and V2G messages decoded, of one pass."""
    messages = 0
    begin = time.process_time()
    items = read_items(str(path))
    if layer == "read":
        for _ in items:
            pass
    elif layer == "decode":
        stack = Stack()
        for item in items:
            messages += sum(isinstance(event, V2gMessage) for event in stack.feed(item))
    else:
        analysis = Analysis(foreign=True, checks={} if layer == "sessions" else load())
        feed: Callable[[Item], object] = analysis.feed
        for item in items:
            feed(item)
        analysis.finish()
        messages = sum(sum(session.messages.values()) for session in analysis.reports())
    return time.process_time() - begin, messages


def child(layer: str, path: Path) -> None:
    """In a process of its own, set up as the command is: once to warm up, once measured."""
    collect_seldom()
    run(layer, path)
    seconds, messages = run(layer, path)
    print(json.dumps([seconds, messages]))


def time_layer(layer: str, path: Path) -> tuple[float, int]:
    done = subprocess.run([sys.executable, __file__, "--child", layer, str(path)], check=True, capture_output=True, text=True)
    seconds, messages = json.loads(done.stdout)
    return seconds, messages


def time_program(*command: str) -> float:
    """Seconds of CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(path: Path, empty: Path, frames: int, repeat: int) -> None:
    """Each in turn, so that a busy moment of the machine hits all of them; the best of each counts."""
    times: dict[str, list[float]] = {layer: [] for layer in LAYERS}
    messages = 0
    tshark, startup = [], []
    for _ in range(repeat):
        for layer in LAYERS:
            seconds, count = time_layer(layer, path)
            times[layer].append(seconds)
            messages = count if layer == "decode" else messages
        if shutil.which("tshark"):
            tshark.append(time_program("tshark", "-n", "-r", str(path)))
            startup.append(time_program("tshark", "-n", "-r", str(empty)))
    ours = min(times["analyze"])
    print(f"{frames} frames, {messages} V2G messages, {path.stat().st_size / 1e6:.1f} MB; CPU time, best of {repeat}")
    for layer in LAYERS:
        best = min(times[layer])
        spread = statistics.median(times[layer]) / best - 1
        says = f"{messages / best:8.0f} messages/s" if layer != "read" else " " * 19
        print(f"  {TITLES[layer]:28} {best:7.2f} s {frames / best:9.0f} frames/s {says}   (median {spread:+.0%})")
    if tshark:
        best, start = min(tshark), min(startup)
        print(f"  {'tshark -r FILE':28} {best:7.2f} s {frames / best:9.0f} frames/s{'':22}(of it start-up {start:.2f} s)")
        print(f"  decoding takes {min(times['decode']) / (best - start):.2f} x, analyze {ours / (best - start):.2f} x the time of tshark without its start-up")
    else:
        print("  tshark: not installed")
    print(f"  checks make analyze {ours / min(times['sessions']):.2f} x as long as decoding and sessions alone ({len(load())} checks)")


def main() -> None:
    folder = Path(__file__).resolve().parents[2] / "shared" / "captures" / "files"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=folder, help="folder with real captures")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--child", nargs=2, metavar=("LAYER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]))
        return
    found, source = captures(arguments.captures)
    print(f"Python {sys.version.split()[0]}, EXI codec {BUILD}; {source}")
    with tempfile.TemporaryDirectory() as place:
        path, empty = Path(place) / "all.pcapng", Path(place) / "empty.pcapng"
        frames = write(path, found)
        write(empty, [])
        measure(path, empty, frames, arguments.repeat)


if __name__ == "__main__":
    main()
