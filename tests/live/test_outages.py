"""The daemon when things go away: the power, the broker, the capture. Frames by a FIFO, so that no privileges are
needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from lab import Lab
from live_tools import Broker, Daemon, Player, Subscriber, analyze, bare, free_port, last_by_id, sessions_of

from plugtap.protocols.items import Frame
from plugtap.protocols.pcapng_writer import PcapngWriter

SPEED = 8.0
SETTINGS = """
[site]
state = "{state}"
[privacy]
redact = {redact}
[analysis]
idle = {idle}
[mqtt]
enabled = true
host = "127.0.0.1"
port = {port}
health_seconds = 1.0
[metrics]
enabled = false
[tap.garage.capture]
type = "pipe"
path = "{fifo}"
"""


class Fifo:
    """The writing end of a capture pipe; each opening begins a new pcapng stream."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = -1
        self._writer = PcapngWriter()

    def open(self) -> None:
        """Waits for a reader."""
        self._fd = os.open(self.path, os.O_WRONLY)
        self._writer = PcapngWriter()
        os.write(self._fd, self._writer.section(application="test") + self._writer.interface(1, "eth0"))

    def frame(self, frame: Frame) -> None:
        """One frame, stamped now."""
        os.write(self._fd, self._writer.packet(0, wall(), frame.data))

    def close(self) -> None:
        """The capture program ends."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def wall() -> int:
    import time

    return time.time_ns()


@pytest.fixture
def broker(tmp_path: pathlib.Path) -> Iterator[Broker]:
    if Broker.installed() is None:
        pytest.skip("mosquitto is not installed")
    broker = Broker(tmp_path, free_port())
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def fifo(tmp_path: pathlib.Path) -> Iterator[Fifo]:
    fifo = Fifo(tmp_path / "capture.fifo")
    yield fifo
    fifo.close()


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[Subscriber]:
    heard = Subscriber(port)
    task = asyncio.create_task(heard.run())
    try:
        await heard.ready.wait()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def settings(tmp_path: pathlib.Path, broker: Broker, fifo: Fifo, *, redact: bool = False, idle: float = 60.0) -> str:
    shown = "true" if redact else "false"
    return SETTINGS.format(state=tmp_path / "state", port=broker.port, fifo=fifo.path, redact=shown, idle=idle)


async def test_a_session_goes_on_after_the_power_failed(tmp_path: pathlib.Path, broker: Broker, fifo: Fifo) -> None:
    """Killed in the middle of a session, and started again: the same session with the same id; one file; identical
    replay."""
    items = Lab.good("din-dc", pilot=False).items(ticks=None)
    middle = len(items) // 2
    daemon = Daemon(settings(tmp_path, broker, fifo), tmp_path)
    archive = tmp_path / "state" / "archive" / "garage"
    async with listening(broker.port) as heard:
        daemon.start()
        await asyncio.to_thread(fifo.open)
        await Player(fifo.frame, None, speed=SPEED).play(items[:middle])
        await heard.until(lambda: bool(heard.of("tap/garage/session")), "the session opens")
        await asyncio.sleep(0.3)
        daemon.kill()
        fifo.close()
        (part,) = archive.iterdir()
        assert part.name.endswith(".pcapng.part")
        with part.open("ab") as file:
            file.write(b"\x06\x00\x00\x00\x40\x00\x00\x00 half a block")
        before = last_by_id(heard.of("tap/garage/session"), "session")
        await heard.until(lambda: heard.last("status") == b"offline", "the last will")

        daemon.start()
        await asyncio.to_thread(fifo.open)
        await Player(fifo.frame, None, speed=SPEED).play(items[middle:])
        await heard.until(lambda: heard.of("tap/garage/session")[-1]["state"] == "closed", "the session closes")
        code, seconds = await daemon.stop()
        assert code == 0 and seconds < 5, daemon.log
        live = last_by_id(heard.of("tap/garage/session"), "session")
    assert len(live) == 1 and live.keys() == before.keys()
    (file,) = archive.iterdir()
    assert file.name == part.name.removesuffix(".part")
    replayed = {key: bare(value) for key, value in sessions_of(analyze(file)).items()}
    assert replayed == live
    (session,) = live.values()
    assert session["messages"]["SessionSetupReq"] == 1 and session["reached"] == "charging"
    assert "going on with" in daemon.log


@pytest.mark.slow
async def test_a_stop_within_a_session_leaves_it_open_and_a_new_start_goes_on(tmp_path: pathlib.Path, broker: Broker, fifo: Fifo) -> None:
    items = Lab.good("din-dc", pilot=False).items(ticks=None)
    middle = len(items) // 2
    daemon = Daemon(settings(tmp_path, broker, fifo), tmp_path)
    async with listening(broker.port) as heard:
        daemon.start()
        await asyncio.to_thread(fifo.open)
        await Player(fifo.frame, None, speed=SPEED).play(items[:middle])
        code, seconds = await daemon.stop()
        assert code == 0 and seconds < 5, daemon.log
        fifo.close()
        assert [path.suffix for path in (tmp_path / "state" / "archive" / "garage").iterdir()] == [".part"]
        assert heard.of("tap/garage/session")[-1]["state"] == "open"
        daemon.start()
        await asyncio.to_thread(fifo.open)
        await Player(fifo.frame, None, speed=SPEED).play(items[middle:])
        await heard.until(lambda: heard.of("tap/garage/session")[-1]["state"] == "closed", "the session closes")
        await daemon.stop()
        live = last_by_id(heard.of("tap/garage/session"), "session")
    (file,) = (tmp_path / "state" / "archive" / "garage").iterdir()
    replayed = {key: bare(value) for key, value in sessions_of(analyze(file)).items()}
    assert replayed == live and len(live) == 1


async def test_findings_outlive_an_outage_of_the_broker_and_a_restart(tmp_path: pathlib.Path, broker: Broker, fifo: Fifo) -> None:
    """What is found while the broker is away arrives when it is back, though the daemon was killed in between."""
    conversation = Lab.good("din-dc", pilot=False).stop_after("PreChargeReq", 1)
    daemon = Daemon(settings(tmp_path, broker, fifo, redact=True, idle=2.0), tmp_path)
    async with listening(broker.port) as heard:
        daemon.start()
        await heard.until(lambda: heard.last("status") == b"online", "online")
    broker.stop()
    await asyncio.to_thread(fifo.open)
    await Player(fifo.frame, None, speed=SPEED).play(conversation.items(ticks=None))
    findings = tmp_path / "state" / "findings.jsonl"

    def logged() -> list[dict[str, object]]:
        return [json.loads(line) for line in findings.read_text().splitlines()] if findings.exists() else []

    for _ in range(150):
        if any(tree.get("state") == "closed" for tree in logged()):
            break
        await asyncio.sleep(0.1)
    assert any(tree.get("state") == "closed" for tree in logged()), daemon.log
    await asyncio.sleep(3)  # the outbox is stored between two attempts to connect
    daemon.kill()
    broker.start()
    async with listening(broker.port) as heard:
        daemon.start()
        await heard.until(lambda: any(s["state"] == "closed" for s in heard.of("tap/garage/session")), "the session")
        log = last_by_id(logged(), "finding")
        await heard.until(lambda: last_by_id(heard.of("tap/garage/finding"), "finding") == log, "all findings")
        code, seconds = await daemon.stop()
        assert code == 0 and seconds < 5
        published = heard.of("tap/garage/finding") + heard.of("tap/garage/session")
    assert log
    text = msgspec.json.encode(published).decode().lower()
    for secret in ("02:00:00:00:0e:01", "02:00:00:00:05:01", "020000000e01", "fe80::e0"):
        assert secret not in text, "what leaves the box is redacted"
    assert '"h:' in text
    assert "Traceback" not in daemon.log


async def test_the_capture_program_ends_and_comes_back(tmp_path: pathlib.Path, broker: Broker, fifo: Fifo) -> None:
    daemon = Daemon(settings(tmp_path, broker, fifo), tmp_path)
    async with listening(broker.port) as heard:
        daemon.start()
        await asyncio.to_thread(fifo.open)
        items = [item for item in Lab.good("din-dc", pilot=False).items(ticks=None) if isinstance(item, Frame)]
        fifo.frame(items[0])

        def source() -> dict[str, object]:
            health = heard.of("tap/garage/health")
            return health[-1]["sources"]["plc"] if health else {"up": None}

        await heard.until(lambda: source()["up"] is True, "up")
        fifo.close()
        await heard.until(lambda: source()["up"] is False, "away")
        assert heard.of("tap/garage/health")[-1]["status"] == "degraded"
        await asyncio.to_thread(fifo.open)
        fifo.frame(items[1])
        await heard.until(lambda: source()["up"] is True, "up again")
        assert source()["frames"] == 2
        # Rubbish instead of a capture: told, and taken up again when a capture comes.
        fifo.close()
        await heard.until(lambda: source()["up"] is False, "away")
        fd = await asyncio.to_thread(os.open, fifo.path, os.O_WRONLY)
        os.write(fd, b"this is no capture at all")
        await heard.until(lambda: source().get("damaged") == 1, "damage")
        os.close(fd)
        await asyncio.to_thread(fifo.open)
        fifo.frame(items[2])
        await heard.until(lambda: source()["frames"] == 3, "frames again")
        code, _ = await daemon.stop()
        assert code == 0
    assert "Traceback" not in daemon.log
