"""How fast captures are read: plugtap's blocks and items against tshark, dpkt and scapy, on the same file in one run.

    python benches/pcap.py [--packets 200000] [--repeat 3] [--captures FOLDER]

The file holds the packets of real captures (``../shared/captures`` unless FOLDER is given), repeated until there are
enough; synthetic packets where there are none. Each reader runs in a process of its own, the best of the repeats counts
and a reader's start-up (imports, its options) is part of it for programs and not for libraries.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from plugtap.hw.files import CHUNK, find_captures, open_capture, read_items
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.items import Frame
from plugtap.protocols.pcapng_writer import PcapngWriter


def packets(folder: Path, count: int) -> tuple[list[bytes], str]:
    """`count` Ethernet packets and where they are from."""
    found: list[bytes] = []
    for path in find_captures([str(folder)]) if folder.is_dir() else []:
        found += [item.data for item in read_items(path) if isinstance(item, Frame) and item.link == 1]
    source = f"{len(found)} packets of {folder.name}, repeated" if found else "synthetic packets of 60 to 360 bytes"
    if not found:
        found = [bytes(60 + n * 7 % 300) for n in range(1000)]
    return (found * (count // len(found) + 1))[:count], source


def write_pcapng(path: Path, data: list[bytes]) -> float:
    """Write the file and return the seconds it took, disk included."""
    writer = PcapngWriter()
    begin = time.perf_counter()
    with path.open("wb") as out:
        out.write(writer.section(application="plugtap") + writer.interface(1, "plc"))
        for n, one in enumerate(data):
            out.write(writer.packet(0, 1_700_000_000_000_000_000 + n * 50_000, one))
    return time.perf_counter() - begin


def read_blocks(path: Path) -> int:
    reader = CaptureReader()
    count = 0
    for chunk in open_capture(str(path)):
        count += len(reader.feed(chunk))
    return count


def read_by_items(path: Path) -> int:
    return sum(1 for _ in read_items(str(path)))


def read_dpkt(path: Path) -> int:
    import dpkt  # type: ignore[import-not-found,unused-ignore]

    with path.open("rb") as source:
        reader = dpkt.pcapng.Reader(source) if path.suffix == ".pcapng" else dpkt.pcap.Reader(source)
        return sum(1 for _ in reader)


def read_scapy(path: Path) -> int:
    from scapy.utils import RawPcapNgReader, RawPcapReader  # type: ignore[import-not-found,unused-ignore]

    reader = RawPcapNgReader if path.suffix == ".pcapng" else RawPcapReader
    return sum(1 for _ in reader(str(path)))


LIBRARIES: dict[str, Callable[[Path], int]] = {
    "plugtap blocks": read_blocks,
    "plugtap items": read_by_items,
    "dpkt": read_dpkt,
    "scapy raw": read_scapy,
}


def child(name: str, path: Path) -> None:
    """In a process of its own: read once to warm up the imports and the page cache, then measure."""
    read = LIBRARIES[name]
    read(path)
    begin = time.perf_counter()
    count = read(path)
    print(time.perf_counter() - begin, count)


def time_library(name: str, path: Path) -> float:
    command = [sys.executable, os.path.abspath(__file__), "--child", name, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[0])


def time_program(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(path: Path, count: int, repeat: int) -> None:
    size = path.stat().st_size
    print(f"{path.name}: {count} packets, {size / 1e6:.1f} MB")
    runs: dict[str, Callable[[], float]] = {
        "plugtap blocks": lambda: time_library("plugtap blocks", path),
        "plugtap items": lambda: time_library("plugtap items", path),
    }
    if shutil.which("tshark"):
        # Without dissection: what is left is reading the file and printing a line per packet.
        fields = ("-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch")
        runs["tshark, no dissection"] = lambda: time_program(
            "tshark", "-r", str(path), "--disable-protocol", "eth", *fields
        )
    if shutil.which("capinfos"):
        runs["capinfos -c"] = lambda: time_program("capinfos", "-c", str(path))
    for name in ("dpkt", "scapy"):
        if importlib.util.find_spec(name):
            label = name if name == "dpkt" else "scapy raw"
            runs[label] = lambda label=label: time_library(label, path)  # type: ignore[misc]
        else:
            print(f"  {name}: not installed")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):  # in turn, so that a busy moment of the machine hits all of them
        for name, run in runs.items():
            times[name].append(run())
    ours = min(times["plugtap items"])
    for name, seconds in times.items():
        best = min(seconds)
        spread = statistics.median(seconds) / best - 1
        print(
            f"  {name:22} {count / best / 1000:8.0f} k packets/s {size / best / 1e6:7.1f} MB/s"
            f"   {best / ours:5.2f} x the time of plugtap items   (median {spread:+.0%})"
        )


def main() -> None:
    folder = Path(__file__).resolve().parents[2] / "shared" / "captures" / "files"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--captures", type=Path, default=folder, help="folder with real captures")
    parser.add_argument("--child", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]))
        return
    data, source = packets(arguments.captures, arguments.packets)
    print(f"Python {sys.version.split()[0]}; {source}; chunks of {CHUNK // 1024} KiB; best of {arguments.repeat}")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "bench.pcapng"
        seconds = min(write_pcapng(path, data) for _ in range(arguments.repeat))
        print(f"writing pcapng: {len(data) / seconds / 1000:.0f} k packets/s, {path.stat().st_size / seconds / 1e6:.1f} MB/s")
        measure(path, len(data), arguments.repeat)
        if shutil.which("editcap"):
            classic = Path(place) / "bench.pcap"
            subprocess.run(["editcap", "-F", "pcap", str(path), str(classic)], check=True, stderr=subprocess.DEVNULL)
            measure(classic, len(data), arguments.repeat)


if __name__ == "__main__":
    main()
