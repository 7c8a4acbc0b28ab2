"""What the live tests share: a broker, the daemon as a process, a subscriber, and conversations played in real time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiomqtt

from plugtap.protocols.cp_text import TextReading, encode_line
from plugtap.protocols.items import CpRecord, Frame, Item, Tick

ENRICHED = ("site", "tap", "archive", "format", "truncated")  # what the daemon adds to the objects of the contract
PILOT_SECONDS = 0.05


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Broker:
    """mosquitto on the loopback interface; `stop` and `start` make an outage."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> str | None:
        """Path of mosquitto; None where it is not installed."""
        return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def options(self) -> str:
        """Further lines of its settings."""
        return ""

    def start(self) -> None:
        """Start, and wait until it listens."""
        config = self.folder / f"mosquitto-{self.port}.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"per_listener_settings true\nlistener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n{user}{self.options()}")
        path = self.installed()
        assert path is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([path, "-c", str(config)], stdout=log, stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError(f"mosquitto does not listen: {(self.folder / 'mosquitto.log').read_text()}")

    def stop(self) -> None:
        """End the process that was started here."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(5)
            self._process = None


class Subscriber:
    """Everything below a base topic, in order of arrival; `retained` holds what was retained when it came."""

    def __init__(self, port: int, base: str = "plugtap/site") -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.ready = asyncio.Event()
        self._news = asyncio.Event()
        self._port = port
        self._base = base

    async def run(self) -> None:
        """Listen until cancelled; connects again when the broker was away."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", self._port, identifier="plugtap-test-listener") as client:
                    await client.subscribe(f"{self._base}/#", qos=1)
                    self.ready.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        self.messages.append((str(message.topic).removeprefix(self._base + "/"), message.payload))
                        self._news.set()
            await asyncio.sleep(0.1)

    def of(self, topic: str) -> list[Any]:
        """Payloads of a topic, oldest first, as JSON."""
        return [json.loads(payload) for name, payload in self.messages if name == topic]

    def last(self, topic: str) -> bytes | None:
        """The last payload of a topic."""
        return next((payload for name, payload in reversed(self.messages) if name == topic), None)

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Wait for messages until `condition` holds. AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"{what} did not come; topics: {sorted({name for name, _ in self.messages})}"
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, 0.2))


class Daemon:
    """`plugtap run` as a child process."""

    def __init__(self, settings: str, folder: pathlib.Path, environment: dict[str, str] | None = None) -> None:
        self._folder = folder
        self.config = folder / "plugtap.toml"
        self.config.write_text(settings)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Its standard error so far."""
        path = self._folder / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it."""
        with (self._folder / "daemon.log").open("ab") as log:
            command = [sys.executable, "-m", "plugtap", "run", "-c", str(self.config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        """The power fails."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)

    async def stop(self) -> tuple[int, float]:
        """SIGTERM; exit code and seconds it took."""
        assert self._process is not None
        begin = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, 15)
        return code, time.monotonic() - begin


def bare(tree: dict[str, Any]) -> dict[str, Any]:
    """The object of the contract, without what the daemon adds."""
    return {key: value for key, value in tree.items() if key not in ENRICHED}


def last_by_id(trees: Iterable[dict[str, Any]], type_: str) -> dict[str, dict[str, Any]]:
    """The latest revision of each object of one type."""
    found: dict[str, dict[str, Any]] = {}
    for tree in trees:
        if tree["type"] == type_ and tree["rev"] >= found.get(tree["id"], tree)["rev"]:
            found[tree["id"]] = bare(tree)
    return found


def analyze(*paths: pathlib.Path) -> dict[str, Any]:
    """`plugtap analyze --as-recorded --format json`; several files are read as one."""
    command = [sys.executable, "-m", "plugtap", "analyze", "--as-recorded", "--format", "json", "--fail-on", "never"]
    if len(paths) > 1:
        command.append("--join")
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def sessions_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sessions of an analyze document by id."""
    return {session["id"]: session for capture in document["captures"] for session in capture["sessions"]}


class Player:
    """Plays the items of a laboratory conversation: frames to a sink, the pilot as text lines that never stop."""

    def __init__(self, frame: Callable[[Frame], None], line: Callable[[bytes], None] | None, *, speed: float) -> None:
        self._frame = frame
        self._line = line
        self._speed = speed
        self._pilot: CpRecord | None = None
        self._boot = time.monotonic()

    async def play(self, items: Iterable[Item]) -> None:
        """Each item when its time has come, divided by the speed."""
        first: int | None = None
        begin = time.monotonic()
        for item in items:
            if isinstance(item, Tick):
                continue
            first = item.t if first is None else first
            wait = begin + (item.t - first) / 1e9 / self._speed - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if isinstance(item, Frame):
                self._frame(item)
            elif isinstance(item, CpRecord):
                self._pilot = item
                self._say()

    def _say(self) -> None:
        if self._pilot is None or self._line is None:
            return
        p = self._pilot
        moment = (time.monotonic() - self._boot) * 1000
        self._line(encode_line(TextReading(t_ms=moment, hi_mv=p.hi_mv, lo_mv=p.lo_mv, duty=p.duty, freq=p.freq)))

    async def run(self) -> None:
        """The pilot device: a line every 50 ms, for ever."""
        while True:
            self._say()
            await asyncio.sleep(PILOT_SECONDS)
