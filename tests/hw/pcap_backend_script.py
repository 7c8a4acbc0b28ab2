"""Run in a network namespace of its own: libpcap in a child on one end of a veth pair."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from stream_rig import collecting

from plugtap.hw.pcap_backend import libpcap_source

HOMEPLUG = bytes.fromhex("ffffffffffff020000000e0188e1016460000000") + bytes(41)
IPV6 = bytes.fromhex("020000000501020000000e0186dd") + b"\x60" + bytes(45)
IPV4 = bytes.fromhex("020000000501020000000e010800") + b"\x45" + bytes(45)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def children() -> list[str]:
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False)
    return listing.stdout.split()


async def main() -> dict[str, object]:
    ip("link", "add", "tap0", "type", "veth", "peer", "name", "wire0")
    for name in ("tap0", "wire0"):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind(("wire0", 0))
    async with collecting(libpcap_source("tap0")) as heard:
        end = time.monotonic() + 20
        while not heard.frames and time.monotonic() < end:
            wire.send(HOMEPLUG)  # until the child has opened the interface
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        known = len(heard.frames)
        before = time.time()
        for data in (IPV4, HOMEPLUG, IPV6):
            wire.send(data)
        await heard.until(lambda: len(heard.frames) == known + 2, "frames")
        new = heard.frames[known:]
        result: dict[str, object] = {"frames": [a.data == b for a, b in zip(new, (HOMEPLUG, IPV6), strict=True)]}
        result["close in time"] = abs(new[0].t / 1e9 - before) < 1
    result["child ended"] = len(children()) <= 1  # ps itself
    return result


print(json.dumps(asyncio.run(main())))
