"""Run in a mount namespace of its own: a small tmpfs fills up under a running tap, and has room again later."""

from __future__ import annotations

import asyncio
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import logging

from rig import Rig, frame

from plugtap.config.settings import Archive
from plugtap.hw.files import read_items
from plugtap.protocols.items import Frame, TapEvent, Tick


async def main(folder: pathlib.Path) -> dict[str, Any]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    filler = folder / "filler"
    result: dict[str, Any] = {}
    rig = Rig(folder, archive=Archive(min_free_megabytes=0))
    rig.archive._backoff._first = rig.archive._backoff._next = rig.archive._backoff._longest = 0.05
    rig.start()
    sent = 0

    async def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            sent += 1
            rig.sources[0].say(frame(time.time_ns(), sent.to_bytes(4, "big") * 100))
        await rig.until(lambda: rig.tap.counters["items"] >= sent, "analysis goes on")

    await send(50)
    filler.write_bytes(bytes(200_000))
    for _ in range(20):
        await send(10)
    result["problem"] = rig.archive.problem
    result["errors"] = rig.archive.counters["errors"]
    lost = rig.archive.counters["lost"]
    result["lost while full"] = lost
    # Every file is whole even now.
    for path in rig.files(".pcapng") + rig.files(".part"):
        if path.stat().st_size:
            reader = read_items(str(path))
            list(reader)
            assert reader.facts.truncated is None, path
    filler.unlink()
    await asyncio.sleep(0.1)
    await send(20)
    result["problem after"] = rig.archive.problem
    await rig.stop()
    kept: list[bytes] = []
    drops: list[dict[str, Any]] = []
    for path in sorted(rig.files(".pcapng")):
        reader = read_items(str(path))
        for item in reader:
            if isinstance(item, Frame):
                kept.append(item.data[:4])
            elif isinstance(item, TapEvent) and item.kind == "drop":
                drops.append({"values": item.values, "detail": item.detail})
            else:
                assert isinstance(item, Tick | TapEvent)
    result["files"] = len(rig.files(".pcapng"))
    result["sent"], result["kept"] = sent, len(kept)
    result["in order"] = kept == sorted(set(kept))
    result["last kept"] = int.from_bytes(kept[-1], "big")
    result["drops"] = drops
    result["counted lost"] = rig.archive.counters["lost"]
    result["analysed"] = rig.tap.counters["items"]
    return result


logging.disable()
with tempfile.TemporaryDirectory(prefix="plugtap-full-") as name:
    mount = pathlib.Path(name) / "mount"
    mount.mkdir()
    try:
        print(json.dumps(asyncio.run(main(mount))))
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)
