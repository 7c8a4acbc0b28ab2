"""The demo's stage: a directory, virtual taps, an embedded broker, and the daemon as a child process.

What runs here is what users run: `plugtap run -c FILE`. Nothing is shortcut: frames and pilot reach the daemon through a virtual cable and a
pseudo terminal (or pipes), and what it says is read back from its broker and its /metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from plugtap.sim import scenario as scenarios
from plugtap.sim.bench import Bench
from plugtap.sim.lanes import Lane
from plugtap.sim.live import CapturePipe, FrameSink, LiveError, PilotPipe, PilotPort, PilotSink, SessionPipe, Veth
from plugtap.sim.scenario import Scenario
from plugtap.sim.v2g import Codec

START_SECONDS = 20.0
STOP_SECONDS = 8.0


class StageError(Exception):
    """The demo can't be set up; the message says what is missing and what to do."""


class Bay(msgspec.Struct):
    """One connector of the demo: its tap's name, the scenario played at it, and where the tap listens."""

    name: str
    scenario: str | Scenario
    frames: FrameSink
    pilot: PilotSink
    capture: str  # TOML of [tap.NAME.capture]
    pilot_toml: str  # of [tap.NAME.pilot]; empty: the pilot comes with the frames
    how: str  # for people


def free_port() -> int:
    """A TCP port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_bays(
    folder: Path, plan: Sequence[tuple[str, str | Scenario]], *, cable: bool, terminals: bool = True, real_time: bool = True
) -> tuple[list[Bay], str]:
    """Virtual connectors, by veth and pty where the machine lets us, else by pipes. Also says why, if by pipes.

    Without `real_time` the pilot goes with the frames through one pipe, in their time."""
    bays: list[Bay] = []
    why = "" if cable or not real_time else "no virtual cables, as asked for"
    for number, (name, scenario) in enumerate(plan):
        if not real_time:
            path = folder / f"{name}.fifo"
            both = SessionPipe(path, name)
            bays.append(Bay(name, scenario, both, both, f'type = "pipe"\npath = "{path}"\nclock = "remote"', "", f"pipe {path.name}, pilot in it"))
            continue
        veth: Veth | None = None
        if not why:
            try:
                veth = Veth(number)
            except LiveError as error:
                why = str(error)
        form = "cpf1" if number % 2 == 0 else "text"
        boot = time.time_ns() - 3_600_000_000_000
        frames: FrameSink
        if veth is not None:
            frames, capture, how = veth, f'type = "interface"\ninterface = "{veth.tap}"', f"interface {veth.tap}"
        else:
            path = folder / f"{name}.fifo"
            frames, capture, how = CapturePipe(path), f'type = "pipe"\npath = "{path}"\nclock = "local"', f"pipe {path.name}"
        try:
            if not terminals:
                raise OSError
            port = PilotPort(form, boot)
            pilot: PilotSink = port
            pilot_toml = f'type = "serial"\ndevice = "{port.device}"\nbaud = 230400\nformat = "{form}"'
            how += f", pilot {port.device} ({form})"
        except OSError:
            path = folder / f"{name}-cp.fifo"
            pilot, pilot_toml = PilotPipe(path, form, boot), f'type = "pipe"\npath = "{path}"\nformat = "{form}"'
            how += f", pilot pipe {path.name} ({form})"
        bays.append(Bay(name, scenario, frames, pilot, capture, pilot_toml, how))
    return bays, why


def settings_toml(folder: Path, bays: list[Bay], mqtt_port: int, metrics_port: int, site: str = "demo") -> str:
    """A settings file for a daemon that listens at the bays. `mqtt_port` 0: no MQTT."""
    mqtt = (
        f'[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {mqtt_port}\nprotocol = "3.1.1"\nhealth_seconds = 5.0\npilot_seconds = 2.0\n'
        if mqtt_port
        else ""
    )
    parts = [
        f'[site]\nname = "{site}"\nstate = "{folder / "state"}"\n',
        mqtt,
        f'[metrics]\nlisten = "127.0.0.1"\nport = {metrics_port}\n',
        '[log]\nlevel = "info"\n',
    ]
    for bay in bays:
        parts.append(f'[tap.{bay.name}]\nvantage = "passive"\n')
        parts.append(f"[tap.{bay.name}.capture]\n{bay.capture}\n")
        parts.append(f"[tap.{bay.name}.pilot]\n{bay.pilot_toml}\n" if bay.pilot_toml else "")
    return "\n".join(part for part in parts if part)


class Daemon:
    """`plugtap run` as a child process; its log goes to a file."""

    def __init__(self, config: Path, log: Path) -> None:
        self.config = config
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it. Raises StageError when it ends at once."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plugtap", "run", "-c", str(self.config),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def ended(self) -> bool:
        """Whether it has gone."""
        return self._process is None or self._process.returncode is not None

    def last_words(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-2000:].strip()
        return ""

    async def stop(self) -> int | None:
        """Ask it to end (SIGTERM), and make it if it doesn't; its exit code."""
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode


async def metrics(port: int) -> str:
    """The text of /metrics; empty while the daemon doesn't answer."""

    def fetch() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except (OSError, urllib.error.URLError):
            return ""

    return await asyncio.to_thread(fetch)


@contextlib.asynccontextmanager
async def broker(port: int) -> AsyncIterator[None]:
    """An MQTT broker inside this process (amqtt). Raises StageError when it isn't installed."""
    try:
        from amqtt.broker import Broker
    except ImportError:
        raise StageError("the demo's broker isn't installed: pip install 'plugtap[demo]'") from None
    for noisy in ("amqtt", "transitions", "passlib"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    made = Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    })  # fmt: skip
    await made.start()
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            await made.shutdown()


async def listen(port: int, handler: Callable[[str, dict[str, Any]], None], ready: asyncio.Event) -> None:
    """Subscribe to everything the daemon publishes, for ever: (topic, object)."""
    import aiomqtt

    client = aiomqtt.Client("127.0.0.1", port, identifier="demo-screen", protocol=aiomqtt.ProtocolVersion.V311)
    async with client:
        await client.subscribe("plugtap/demo/#", qos=1)
        ready.set()
        async for message in client.messages:
            payload = message.payload
            try:
                value = json.loads(payload)
            except ValueError:
                value = payload.decode(errors="replace")  # the status topic says just online or offline
            handler(str(message.topic), value if isinstance(value, dict) else {"value": value})


def lane(bay: Bay, *, seed: int, rounds: int = 0, speed: float = 1.0, codec: Codec | None = None) -> Lane:
    """A bay's scenario, played again and again (or `rounds` times), each time with other dice."""
    scenario = scenarios.load(bay.scenario) if isinstance(bay.scenario, str) else bay.scenario
    shared = codec or Codec()

    def make(number: int, start: int) -> Bench | None:
        if rounds and number >= rounds:
            return None
        return scenarios.bench(scenario, seed=seed + number, start=start, codec=shared)

    return Lane(make, bay.frames, bay.pilot, speed=speed, name=f"{bay.name} ({scenario.name})")


def archives(folder: Path) -> list[Path]:
    """The archive files the daemon wrote."""
    return sorted(path for path in (folder / "state").rglob("*.pcapng*") if path.is_file())


def close(bays: list[Bay]) -> None:
    """Take all virtual devices away."""
    for bay in bays:
        bay.frames.close()
        with contextlib.suppress(OSError):
            bay.pilot.close()

