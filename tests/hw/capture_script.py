"""Run in a network namespace of its own: captures one end of a veth pair while the other sends; prints what was
seen."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time

from plugtap.hw.capture import InterfaceSource
from plugtap.protocols.items import Frame, TapEvent

HOMEPLUG = bytes.fromhex("ffffffffffff 020000000e01 88e1 01 6460 0000 00 00".replace(" ", "")) + bytes(41)
IPV6 = bytes.fromhex("020000000501 020000000e01 86dd".replace(" ", "")) + b"\x60" + bytes(45)
IPV4 = bytes.fromhex("020000000501 020000000e01 0800".replace(" ", "")) + b"\x45" + bytes(45)
VLAN = HOMEPLUG[:12] + bytes.fromhex("81000065") + HOMEPLUG[12:]
VLAN_IPV4 = IPV4[:12] + bytes.fromhex("81000065") + IPV4[12:]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def quiet(interface: str) -> None:
    """No IPv6 of this host's own, as the shipped networkd file has it."""
    try:
        path = f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"
        with open(path, "w") as file:
            file.write("1")
    except OSError:
        subprocess.run(["ip", "link", "set", interface, "addrgenmode", "none"], check=True)


def make_pair() -> None:
    ip("link", "add", "tap0", "type", "veth", "peer", "name", "wire0")
    for name in ("tap0", "wire0"):
        quiet(name)
        ip("link", "set", name, "up")


def sender() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("wire0", 0))
    return sock


def sent_by_tap() -> int:
    """Frames that left the tap's end, by the other end's count."""
    listing = subprocess.run(["ip", "-s", "-j", "link", "show", "wire0"], check=True, capture_output=True, text=True)
    return int(json.loads(listing.stdout)[0]["stats64"]["rx"]["packets"])


async def main() -> dict[str, object]:
    result: dict[str, object] = {"euid": os.geteuid()}
    source = InterfaceSource("tap0", buffer_bytes=300_000)
    seen: list[Frame | TapEvent] = []
    wanted = asyncio.Event()

    async def pump() -> None:
        async for item in source:
            seen.append(item)
            wanted.set()

    async def until(condition: object, what: str) -> None:
        async with asyncio.timeout(10):
            while not condition():  # type: ignore[operator]
                wanted.clear()
                try:
                    await asyncio.wait_for(wanted.wait(), 0.2)
                except TimeoutError:
                    continue
        result[what] = True

    def events() -> list[str]:
        return [item.kind for item in seen if isinstance(item, TapEvent)]

    def frames() -> list[Frame]:
        return [item for item in seen if isinstance(item, Frame)]

    task = asyncio.create_task(pump())
    await until(lambda: events() == ["link-lost"], "interface missing is told")
    make_pair()
    await until(lambda: "start" in events() and source.up, "interface that appears is opened")

    # What passes the filter, with what was put on the wire.
    wire = sender()
    before = time.time_ns()
    for data in (HOMEPLUG, IPV4, IPV6, VLAN, VLAN_IPV4):
        wire.send(data)
    await until(lambda: len(frames()) == 3, "filter")
    after = time.time_ns()
    result["data"] = [frame.data == sent for frame, sent in zip(frames(), (HOMEPLUG, IPV6, VLAN), strict=True)]
    result["wire_len"] = [frame.wire_len == len(frame.data) for frame in frames()]
    result["times in order"] = before < frames()[0].t < frames()[1].t < frames()[2].t < after
    result["nanoseconds"] = any(frame.t % 1000 for frame in frames())
    result["directions"] = [frame.direction for frame in frames()]

    # Outgoing frames of the host itself (a host tap) are seen as such.
    own = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    own.bind(("tap0", 0))
    result["sent by tap while capturing"] = sent_by_tap()
    own.send(HOMEPLUG)
    await until(lambda: len(frames()) == 4, "own frame")
    result["own direction"] = frames()[3].direction
    own.close()

    # Silence: nothing waits now; with a frame waiting there is none.
    now = time.time_ns()
    proof = source.silent(now)
    result["silent"] = proof is not None and now - 10_000_000 < proof <= now
    wire.send(HOMEPLUG)
    result["not silent"] = source.silent(time.time_ns())
    await until(lambda: len(frames()) == 5, "fifth")

    # More than the buffer holds: what the kernel dropped is counted between the frames, or told at the end.
    flood = 20_000
    for _ in range(flood):
        wire.send(HOMEPLUG)

    def accounted() -> int:
        lost = sum(frame.lost for frame in frames())
        told = sum(int(e.values["frames"]) for e in seen if isinstance(e, TapEvent) and e.kind == "drop")
        return len(frames()) - 5 + lost + told

    await until(lambda: accounted() >= flood, "flood is accounted for")
    wire.send(HOMEPLUG)
    await until(lambda: accounted() >= flood + 1, "frame after the flood")
    result["flood"] = {"accounted": accounted(), "captured": len(frames()) - 6, "counter": source.counters["dropped"]}

    # Carrier.
    ip("link", "set", "wire0", "down")
    await until(lambda: events()[-1] == "carrier-down" and not source.up, "carrier loss")
    ip("link", "set", "wire0", "up")
    await until(lambda: events()[-1] == "carrier-up" and source.up, "carrier back")

    # The interface goes away and comes back.
    ip("link", "del", "tap0")
    await until(lambda: "link-lost" in events()[1:] and not source.up, "interface gone")
    result["silent while gone"] = source.silent(time.time_ns()) is not None
    wire.close()
    make_pair()
    await until(lambda: events()[-1] in ("start", "carrier-up") and source.up, "interface back")
    wire = sender()
    count = len(frames())
    wire.send(HOMEPLUG)
    await until(lambda: len(frames()) == count + 1, "frames after its return")
    wire.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    result["opened"] = source.counters["opened"]
    return result


print(json.dumps(asyncio.run(main())))
