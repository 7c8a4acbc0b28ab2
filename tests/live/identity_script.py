"""Run in a network namespace of its own: two charging sessions through a real interface, a pseudo terminal and a real
broker.

The second session ends with a request that nobody answers. Prints what the daemon said and what the replay of its
archive says.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import tty
import urllib.request
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lab import Lab
from lab_wire import EV_MAC, Host
from live_tools import Broker, Daemon, Player, Subscriber, analyze, bare, last_by_id, sessions_of

from plugtap.hw.files import read_items
from plugtap.protocols.items import Frame

SPEED = 8.0
SETTINGS = """
[site]
state = "{state}"
[privacy]
redact = false
[analysis]
idle = 4.0
[mqtt]
enabled = true
host = "127.0.0.1"
port = 1883
protocol = "5"
health_seconds = 1.0
pilot_seconds = 0.5
[metrics]
port = 9751
[tap.garage]
vantage = "passive"
[tap.garage.capture]
type = "interface"
interface = "tap0"
[tap.garage.pilot]
type = "serial"
device = "{device}"
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def make_network() -> socket.socket:
    """Loopback, and a veth pair; a socket that sends into its far end."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "tap0", "type", "veth", "peer", "name", "wire0")
    for name in ("tap0", "wire0"):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind(("wire0", 0))
    return wire


def sent_by_daemon() -> int:
    """Frames that the daemon's end has put on the wire."""
    listing = subprocess.run(["ip", "-s", "-j", "link", "show", "wire0"], check=True, capture_output=True, text=True)
    return int(json.loads(listing.stdout)[0]["stats64"]["rx"]["packets"])


def tshark(path: pathlib.Path) -> dict[str, Any] | None:
    """What tshark says of the archive; None where it is not installed."""
    if shutil.which("tshark") is None:
        return None
    command = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.number", "-e", "frame.interface_name", "-e", "eth.src"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {"code": done.returncode, "packets": len(rows), "interfaces": sorted({row[1] for row in rows if len(row) > 1})}


async def main(folder: pathlib.Path) -> dict[str, Any]:
    wire = make_network()
    sent = 0

    def send(frame: Frame) -> None:
        nonlocal sent
        sent += 1
        wire.send(frame.data)

    master, slave = os.openpty()
    tty.setraw(slave)
    broker = Broker(folder, 1883)
    broker.start()
    state = folder / "state"
    daemon = Daemon(SETTINGS.format(state=state, device=os.ttyname(slave)), folder)
    speed = float(sys.argv[2]) if len(sys.argv) > 2 else SPEED
    player = Player(send, lambda line: os.write(master, line) and None, speed=speed)
    heard = Subscriber(1883)
    tasks = [asyncio.create_task(heard.run()), asyncio.create_task(player.run())]
    result: dict[str, Any] = {}
    try:
        await heard.ready.wait()
        daemon.start()
        await heard.until(lambda: heard.last("status") == b"online", "online")

        def up() -> bool:
            health = heard.of("tap/garage/health")
            return bool(health) and health[-1]["sources"]["plc"]["up"]

        await heard.until(up, "interface up")
        if len(sys.argv) > 1:
            frames = [item for item in read_items(sys.argv[1]) if isinstance(item, Frame)]
            await player.play(frames)
        else:
            await player.play(Lab.good("din-dc").items(ticks=None))
            second = Lab.good("din-dc").stop_after("PreChargeReq", 1)
            second.ev = Host(EV_MAC, 49201)
            await player.play(second.items(ticks=None))

        def ended() -> bool:
            states = {s["id"]: s["state"] for s in heard.of("tap/garage/session")}
            return set(states.values()) == {"closed"} and (len(states) >= 2 or len(sys.argv) > 1)

        await heard.until(ended, "the end of all sessions", 30)
        with urllib.request.urlopen("http://127.0.0.1:9751/metrics", timeout=5) as answer:
            result["metrics"] = answer.read().decode()
        result["health"] = heard.of("health")[-1]
        result["tap health"] = heard.of("tap/garage/health")[-1]
        result["pilot states"] = list(dict.fromkeys(entry["state"] for entry in heard.of("tap/garage/pilot")))
        result["exit"], result["seconds"] = await daemon.stop()
        await heard.until(lambda: heard.last("status") == b"offline", "offline")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        broker.stop()
        print(daemon.log, file=sys.stderr)
    result["sent by daemon"] = sent_by_daemon()
    result["frames sent"] = sent
    (archive,) = (state / "archive" / "garage").iterdir()
    result["archive"] = {"name": archive.name, "mode": stat.S_IMODE(archive.stat().st_mode)}
    lines = [json.loads(line) for line in (state / "findings.jsonl").read_text().splitlines()]
    published = heard.of("tap/garage/session") + heard.of("tap/garage/finding")
    result["log"] = last_by_id(lines, "session")
    result["mqtt"] = last_by_id(published, "session")
    result["log findings"] = last_by_id(lines, "finding")
    result["mqtt findings"] = last_by_id(published, "finding")
    result["archive ids"] = sorted({tree["archive"]["id"] for tree in published})
    document = analyze(archive)
    result["replayed"] = {key: bare(value) for key, value in sessions_of(document).items()}
    result["frames in archive"] = document["captures"][0]["frames"]
    result["tshark"] = tshark(archive)
    return result


with tempfile.TemporaryDirectory(prefix="plugtap-live-") as name:
    print(json.dumps(asyncio.run(main(pathlib.Path(name)))))
