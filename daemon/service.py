"""The service: taps, sinks, health and signals, put together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from plugtap import __version__
from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.checks.catalogue import load
from plugtap.config.analysis import AnalysisSettings, encode_settings
from plugtap.config.errors import ConfigError
from plugtap.config.settings import Settings
from plugtap.daemon import health
from plugtap.daemon.archive import TapArchive
from plugtap.daemon.findings_log import FindingsLog
from plugtap.daemon.metrics import DaemonCollector, MetricsServer, Tally
from plugtap.daemon.mqtt import MAX_PAYLOAD, Publisher
from plugtap.daemon.notify import Notifier
from plugtap.daemon.outbox import Outbox
from plugtap.daemon.payloads import Payloads, pilot_state
from plugtap.daemon.sources import tap_sources
from plugtap.daemon.tap import TapPipeline
from plugtap.hw.source import wall_clock
from plugtap.protocols.archive import ArchiveHeader
from plugtap.protocols.items import CpRecord
from plugtap.report.redact import KEY_BYTES, Redactor

log = logging.getLogger("plugtap")

STOP_SECONDS = 5.0  # from SIGTERM to the end
SINK_SECONDS = 2.0  # of which the broker may have
SINK_PAUSE_SECONDS = 5.0
LOOK_SECONDS = 0.5


def catalogue_version() -> str:
    """Stands for the checks that take part: another set of checks is another Analysis."""
    names = "\n".join(sorted(load()))
    return hashlib.blake2b(names.encode(), digest_size=6).hexdigest()


def make_analysis(settings: AnalysisSettings) -> Analysis:
    """Analysis as `plugtap analyze` makes it for an archive: further sources join with their first item."""
    return Analysis(settings, sources=("plc",))


def redaction_key(path: str) -> bytes:
    """The key in the file at `path`; made if there is none. Raises ConfigError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            with open(path, "rb") as file:
                key = bytes.fromhex(file.read(200).decode().strip())
            if len(key) < 16:
                raise ValueError("less than 16 bytes")
            return key[:64]
        key = secrets.token_bytes(KEY_BYTES)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(key.hex() + "\n")
        return key
    except (OSError, ValueError) as error:
        remedy = "it holds hexadecimal digits; remove it, and a new one is made"
        raise ConfigError("privacy.key_file", f'"{path}" can\'t be used: {error}', remedy) from None


async def _supervised(run: Callable[[], Awaitable[None]], name: str) -> None:
    """Run a sink until it ends by itself; a mistake of ours in it is logged, and it begins again. Listening goes on."""
    while True:
        try:
            await run()
            return
        except Exception:
            log.exception("a sink failed name=%s", name)
            await asyncio.sleep(SINK_PAUSE_SECONDS)


class Service:
    """Everything of one `plugtap run`. Raises ConfigError when the settings can't be carried out here."""

    def __init__(self, settings: Settings, *, notifier: Notifier | None = None) -> None:
        self.settings = settings
        self.notifier = notifier or Notifier()
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._lock = self._prepare_directories()
        site = settings.site.name
        redactor = Redactor(redaction_key(settings.redaction_key_path)) if settings.privacy.redact else None
        self._payloads = Payloads(site, redactor, max_bytes=MAX_PAYLOAD)
        self._tally = Tally()
        self._findings = FindingsLog(settings.findings_path, max_bytes=settings.log.findings_megabytes * 1_000_000, files=settings.log.findings_files)
        self._mqtt: Publisher | None = None
        if settings.mqtt.enabled:
            outbox = Outbox(
                os.path.join(settings.site.state, "outbox.sqlite"),
                max_messages=settings.mqtt.outbox_messages,
                max_bytes=settings.mqtt.outbox_megabytes * 1_000_000,
            )
            self._mqtt = Publisher(settings.mqtt, settings.mqtt_base, site, outbox)
        run = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}"
        catalogue = catalogue_version()
        self.taps = [self._tap(name, run, catalogue) for name in settings.tap]
        collector = DaemonCollector(site, self.taps, self._tally, self._mqtt, self._findings)
        self._metrics = MetricsServer(settings.metrics, collector) if settings.metrics.enabled else None
        self._pilot_told: dict[str, tuple[str, float]] = {}

    @property
    def metrics_port(self) -> int | None:
        """The port that /metrics is served on."""
        return self._metrics.port if self._metrics else None

    def _prepare_directories(self) -> int:
        """Make the state directory and lock it: two daemons would write into each other's files."""
        state = self.settings.site.state
        try:
            os.makedirs(state, 0o750, exist_ok=True)
            lock = os.open(os.path.join(state, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            problem = f'"{state}" can\'t be used: {error.strerror}'
            raise ConfigError("site.state", problem, "name a directory that the daemon may write to") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            remedy = "stop it, or give this one a state directory of its own"
            raise ConfigError("site.state", f'"{state}" is used by another plugtap', remedy) from None
        return lock

    def _tap(self, name: str, run: str, catalogue: str) -> TapPipeline:
        settings = self.settings
        analysis = settings.analysis_of(name)
        header = ArchiveHeader(
            site=settings.site.name,
            tap=name,
            run=run,
            catalogue=catalogue,
            plugtap=__version__,
            settings=encode_settings(analysis),
        )
        directory = os.path.join(settings.archive_directory, name)
        archive = TapArchive(directory, name, settings.archive, header, settings.sources_of(name))
        return TapPipeline(
            name,
            tap_sources(settings.tap[name]),
            archive,
            header,
            analysis,
            make_analysis,
            self._publish,
            archive_settings=settings.archive,
            queue_items=settings.tap[name].queue_items,
            heard_pilot=self._heard_pilot,
        )

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, or until all taps have ended (files). Raises SourceError when a tap can't go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        sinks: list[asyncio.Task[None]] = []
        try:
            sinks.append(asyncio.create_task(_supervised(self._findings.run, "findings"), name="findings"))
            if self._mqtt is not None:
                sinks.append(asyncio.create_task(_supervised(self._mqtt.run, "mqtt"), name="mqtt"))
            await self._run_taps()
            await self._close_sinks(sinks)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            for task in sinks:
                task.cancel()
            await asyncio.gather(*sinks, return_exceptions=True)
            if self._mqtt is not None:
                await self._mqtt.outbox.close()
            if self._metrics is not None:
                await asyncio.to_thread(self._metrics.close)
            os.close(self._lock)

    def stop(self) -> None:
        """Stop soon; a second call stops at once."""
        if self._stop.is_set():
            log.warning("stopping at once")
            for task in asyncio.all_tasks():
                task.cancel()
            return
        log.info("stopping")
        self.notifier.send(STOPPING="1", STATUS="stopping")
        self._stop.set()

    async def _run_taps(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                taps = [group.create_task(tap.run(), name=f"tap-{tap.name}") for tap in self.taps]
                looking = group.create_task(self._look(), name="health")
                waiting = group.create_task(self._stop.wait(), name="stop")
                self.notifier.send(READY="1", STATUS=f"listening to {', '.join(self.settings.tap)}")
                log.info("started version=%s taps=%s", __version__, ",".join(self.settings.tap))
                ended = asyncio.ensure_future(asyncio.wait(taps))
                await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
                for tap in self.taps:
                    tap.stop()
                await asyncio.wait([ended], timeout=STOP_SECONDS - SINK_SECONDS)
                ended.cancel()
                waiting.cancel()
                looking.cancel()
                for task in taps:
                    if not task.done():
                        log.error("tap does not stop name=%s", task.get_name())
                        task.cancel()
        except ExceptionGroup as several:  # not except*: before Python 3.11.4 what is raised in it stays a group
            raise several.exceptions[0] from None

    async def _close_sinks(self, sinks: Sequence[asyncio.Task[None]]) -> None:
        await self._tell_health()
        self._findings.close()
        if self._mqtt is not None:
            self._mqtt.close()
        _, late = await asyncio.wait(sinks, timeout=SINK_SECONDS)
        for task in late:
            log.warning("not everything could be handed over sink=%s", task.get_name())

    # -- outputs -----------------------------------------------------------------------------------------------------

    def _publish(self, tap: str, archive: str, outputs: Sequence[Output]) -> None:
        for output in outputs:
            tree = self._payloads.output(tap, archive, output)
            self._tally.add(tap, output)
            self._findings.add(msgspec.json.encode(tree))
            if self._mqtt is not None:
                kind = "session" if isinstance(output, SessionReport) else "finding"
                self._mqtt.send(f"{tap}/{output.id}", f"tap/{tap}/{kind}", self._payloads.bounded(tree))
        if self._mqtt is not None:
            pipeline = next(entry for entry in self.taps if entry.name == tap)
            self._mqtt.retain(f"tap/{tap}/state", self._payloads.state(tap, pipeline.latest_session))

    # -- health ------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Watchdog and health."""
        told = 0.0
        fed = 0.0
        status: list[Any] = []
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if self.notifier.watchdog and now - fed >= self.notifier.watchdog / 3:
                if not any(health.stuck(tap) for tap in self.taps):
                    self.notifier.send(WATCHDOG="1")
                fed = now
            changed = [(tap.archive.problem, *(source.up for source in tap.sources)) for tap in self.taps]
            if changed != status or now - told >= self.settings.mqtt.health_seconds:
                status, told = changed, now
                try:
                    await self._tell_health()
                except Exception:
                    log.exception("health can't be told")

    async def _tell_health(self) -> None:
        now = wall_clock()
        site = self.settings.site.name
        taps = [health.tap_health(site, tap, now) for tap in self.taps]
        whole = health.health(site, taps, self._mqtt, self._findings, now=now, started=self._started)
        self.notifier.send(STATUS=f"{whole['status']}: {'; '.join(whole['reasons']) or 'listening'}"[:200])
        if self._mqtt is None:
            return
        for tap in taps:
            self._mqtt.retain(f"tap/{tap['tap']}/health", msgspec.json.encode(tap))
        self._mqtt.retain("health", msgspec.json.encode(whole))

    def _heard_pilot(self, tap: str, record: CpRecord) -> None:
        """The pilot topic follows the state letter at once, and the levels now and then."""
        if self._mqtt is None:
            return
        state, now = pilot_state(record), time.monotonic()
        before, at = self._pilot_told.get(tap, ("", 0.0))
        if state != before or now - at >= self.settings.mqtt.pilot_seconds:
            self._pilot_told[tap] = (state, now)
            self._mqtt.retain(f"tap/{tap}/pilot", self._payloads.pilot(tap, record))
