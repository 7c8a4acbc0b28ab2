"""One tap at work: sources -> inbox -> archive -> Analysis -> outputs.

The archive is the log of what Analysis was told, in the order it was told. Every item is numbered and written before
Analysis sees it, and Analysis is ticked only by writing the tick. So a replay of the file is the same run again.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from plugtap.analysis.outputs import Output, SessionReport
from plugtap.config.analysis import AnalysisSettings
from plugtap.config.settings import Archive
from plugtap.daemon import recovery
from plugtap.daemon.archive import TapArchive
from plugtap.daemon.inbox import Inbox
from plugtap.hw.source import Clock, Source, SourceItem, wall_clock
from plugtap.protocols.archive import ArchiveHeader
from plugtap.protocols.items import CpRecord, Item, TapEvent, Tick

log = logging.getLogger("plugtap.tap")

SECOND = 1_000_000_000
BATCH = 128  # items written and analysed before others get their turn
# Ticks prove silence: at deadlines, and so often while sessions are open, or while there is none. Silence of 30 s and
# more without proof reads as a recording gap.
OPEN_TICK_NS = 1 * SECOND
IDLE_TICK_NS = 10 * SECOND
LEAST_TICK_NS = SECOND // 20
LOOK_SECONDS = 1.0  # at the latest after this the pipeline looks around (heartbeat, clock, rotation)
BUSY_SECONDS = 0.005
CLOCK_JUMP_NS = SECOND // 2
DRAIN_SECONDS = 1.5
DRAIN_BATCH = 64
LEVELS = {
    "link-lost": logging.WARNING, "damaged": logging.WARNING, "carrier-down": logging.WARNING, "drop": logging.WARNING,
    "start": logging.INFO, "carrier-up": logging.INFO,
}  # fmt: skip
FEW = (1, 10, 100, 1000, 10_000)  # of many failures alike these are logged

Publish = Callable[[str, str, Sequence[Output]], None]  # tap, archive id, outputs


class TapPipeline:
    """Runs one tap until told to stop, or until all its sources have ended.

    counters: items, ticks, errors (an Analysis that raised), publish_errors, overloads. `analysis_ns`: time spent in
    Analysis.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        archive: TapArchive,
        header: ArchiveHeader,
        settings: AnalysisSettings,
        make: recovery.MakeAnalysis,
        publish: Publish,
        *,
        archive_settings: Archive,
        queue_items: int = 20_000,
        clock: Clock = wall_clock,
        monotonic: Clock = time.monotonic_ns,
        heard_pilot: Callable[[str, CpRecord], None] | None = None,
    ) -> None:
        """`heard_pilot` is told of every pilot record."""
        self.name = name
        self.sources = tuple(sources)
        self.archive = archive
        self.inbox = Inbox(queue_items)
        self.counters: collections.Counter[str] = collections.Counter()
        self.analysis_ns = 0
        self.behind = 0  # items that were archived and not analysed, when stopping
        self.beat = time.monotonic()
        self.done = False
        self.open_sessions: set[str] = set()
        self.latest_session: SessionReport | None = None
        self.pilot: CpRecord | None = None
        self.last_item: dict[str, int] = {}  # source -> time, ns
        self._header = header
        self._settings = settings
        self._make = make
        self._analysis = make(settings)
        self._publish = publish
        self._heard_pilot = heard_pilot
        self._archive_settings = archive_settings
        self._clock = clock
        self._monotonic = monotonic
        self._stop = asyncio.Event()
        self._last_tick = 0
        self._clock_offset: int | None = None
        self._full_told = 0
        self._told: collections.Counter[tuple[str, str]] = collections.Counter()
        self._running = len(self.sources)

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Recover, then pump until `stop` or the end of all sources; leaves a complete or a continuable archive."""
        # What comes during recovery waits in the inbox.
        pumps = [asyncio.create_task(self._pump(source), name=f"{self.name}-{source.name}") for source in self.sources]
        try:
            await self._recover()
            while not self._stop.is_set() and self._running and not _failed(pumps):
                await self._turn()
            stopped = self._stop.is_set()
            proven = await self._drain(pumps, stopped=stopped)
            for pump in pumps:
                if pump.done() and not pump.cancelled():
                    pump.result()  # a source that raised can't go on: say so
        finally:
            await _cancel(pumps)
        await self._end(proven, stopped=stopped)
        self.done = True
        self.archive.stop()

    def stop(self) -> None:
        """Stop soon: what waits to be read is read first."""
        self._stop.set()
        self.inbox.wake()

    async def _recover(self) -> None:
        """Go on with the file that an earlier run left open, or complete it and begin a new one."""
        paths = recovery.open_files(self.archive.directory, self.name) if self._archive_settings.enabled else []
        for path in paths:
            try:
                left = await asyncio.to_thread(recovery.read_open, path, self._settings, self._make, self._heartbeat)
            except OSError as error:
                log.error("open archive file can't be read path=%s reason=%r", path, error.strerror)
                continue
            resume_ns = int(self._archive_settings.resume_seconds * SECOND)
            if path == paths[-1] and recovery.may_resume(left, self._header, now=self._clock(), resume_ns=resume_ns):
                log.info("going on with path=%s packets=%d", path, left.next_number - 1)
                self._analysis = left.analysis
                self._last_tick = left.end
                await self.archive.resume(path, left.stem, left.part, left.size, left.next_number)
                self._hand_on(left.outputs)
                return
            left.outputs += left.analysis.finish()
            await self.archive.complete(path, left.size, recovery.results(left.analysis))
            log.info("completed path=%s packets=%d", path, left.next_number - 1)
            self._tell(left.stem, left.outputs)
        await self.archive.begin()

    def _heartbeat(self) -> None:
        self.beat = time.monotonic()

    async def _pump(self, source: Source) -> None:
        try:
            async with contextlib.aclosing(aiter(source)) as items:
                async for item in items:
                    await self.inbox.put(item)
        finally:
            self._running -= 1
            self.inbox.wake()

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Take what waits, then tick if that is due."""
        items = await self.inbox.take(BATCH, self._patience())
        self._heartbeat()
        self._watch_clock(items)
        if self.inbox.full > self._full_told:
            self._full_told = self.inbox.full
            self.counters["overloads"] += 1
        if items:
            await self._process(items)
        await self._tick_if_due()
        await self._rotate_if_due()
        await self.archive.sweep_if_due()

    async def _process(self, items: Sequence[Item]) -> None:
        """Archive first, then Analysis."""
        for item in await self.archive.append(items):
            if not isinstance(item, Tick):
                self.counters["items"] += 1
                self.last_item[item.source] = item.t
                if isinstance(item, TapEvent):
                    self._log_event(item)
                if isinstance(item, CpRecord):
                    self.pilot = item
                    if self._heard_pilot is not None:
                        self._heard_pilot(self.name, item)
            self._feed(item)

    def _log_event(self, event: TapEvent) -> None:
        """What happens to a source stands in the log as well; of many alike, a few."""
        level = LEVELS.get(event.kind)
        if level is None:
            return
        self._told[event.source, event.kind] += 1
        times = self._told[event.source, event.kind]
        if times in FEW:
            log.log(level, "%s tap=%s source=%s times=%d detail=%r", event.kind, self.name, event.source, times, event.detail)

    def _feed(self, item: Item) -> None:
        begun = time.perf_counter_ns()
        try:
            outputs = self._analysis.feed(item)
        except Exception:
            # A mistake of ours: the evidence is on disk, and the next item may well be fine.
            self.counters["errors"] += 1
            if self.counters["errors"] in FEW:
                log.exception("analysis failed tap=%s times=%d", self.name, self.counters["errors"])
            return
        finally:
            self.analysis_ns += time.perf_counter_ns() - begun
        self._hand_on(outputs)

    def _hand_on(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        for output in outputs:
            if isinstance(output, SessionReport):
                self.latest_session = output
                if recovery.is_open(output):
                    self.open_sessions.add(output.id)
                else:
                    self.open_sessions.discard(output.id)
        self._tell(self.archive.stem, outputs)

    def _tell(self, archive: str, outputs: Sequence[Output]) -> None:
        """Hand outputs to the sinks; what goes wrong there is no reason to stop listening."""
        try:
            self._publish(self.name, archive, outputs)
        except Exception:
            self.counters["publish_errors"] += 1
            if self.counters["publish_errors"] in FEW:
                log.exception("publishing failed tap=%s times=%d", self.name, self.counters["publish_errors"])

    def _watch_clock(self, items: list[SourceItem]) -> None:
        """A step of the wall clock is told to Analysis by an event before the items at hand."""
        now = self._clock()
        offset = now - self._monotonic()
        before, self._clock_offset = self._clock_offset, offset
        if before is None or abs(offset - before) < CLOCK_JUMP_NS:
            return
        by = offset - before
        log.warning("the clock was set tap=%s seconds=%.3f", self.name, by / SECOND)
        event = TapEvent(t=now, number=0, source=self.sources[0].name, kind="clock-jump", values={"ns": by})
        items.insert(0, event)
        self._last_tick = min(self._last_tick, now)

    # -- ticks -------------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Seconds until a tick is due."""
        wait = (self._tick_due() - self._clock()) / SECOND
        return min(max(wait, BUSY_SECONDS), LOOK_SECONDS)

    def _tick_due(self) -> int:
        due = self._last_tick + (OPEN_TICK_NS if self.open_sessions else IDLE_TICK_NS)
        deadline = self._analysis.next_deadline()
        if deadline is not None:
            due = min(due, max(deadline, self._last_tick + LEAST_TICK_NS))
        return due

    async def _tick_if_due(self) -> bool:
        """Tick if it is time, and if nothing waits anywhere: then the silence until now is proven."""
        due = self._tick_due()
        now = self._clock()
        if now < due or len(self.inbox):
            return False
        proofs = [source.silent(now) for source in self.sources]
        times = [proof for proof in proofs if proof is not None]
        if len(times) < len(proofs) or len(self.inbox):
            return False
        proven = min(times)
        if proven <= self._last_tick:
            return False
        self._last_tick = proven
        self.counters["ticks"] += 1
        await self._process([Tick(proven)])
        return True

    # -- files -------------------------------------------------------------------------------------------------------

    async def _rotate_if_due(self) -> None:
        due = self.archive.rotation()
        if due == "split":
            if self._in_session():
                log.warning("a session outgrew its archive file tap=%s", self.name)
                await self.archive.split()
                return
            due = "between"
        if due == "between" and not self._in_session():
            await self._complete()
            self._analysis = self._make(self._settings)
            await self.archive.begin()

    def _in_session(self) -> bool:
        return bool(self.open_sessions) or any(report.state == "open" for report in self._analysis.reports())

    async def _complete(self) -> None:
        """Finish Analysis and seal the file with what it found."""
        self._hand_on(self._analysis.finish())
        await self.archive.seal(recovery.results(self._analysis))

    async def _drain(self, pumps: Sequence[asyncio.Task[None]], *, stopped: bool) -> int | None:
        """Read what already waits, in the sources and in the inbox. Returns the time up to which silence is proven then.

        When stopped there is not for ever: what Analysis can't take in DRAIN_SECONDS goes into the archive only, and the
        next run reads it there.
        """
        deadline = time.monotonic() + DRAIN_SECONDS
        while not stopped or time.monotonic() < deadline:
            now = self._clock()
            proofs = [source.silent(now) for source in self.sources]
            times = [proof for proof in proofs if proof is not None]
            if not len(self.inbox) and (not self._running or len(times) == len(proofs)):
                return min(times) if self._running else None
            await self._process(await self.inbox.take(DRAIN_BATCH, BUSY_SECONDS))
        await _cancel(pumps)  # what comes now would keep the inbox filled
        while len(self.inbox):
            self.behind += len(await self.archive.append(await self.inbox.take(BATCH, 0)))
        return None

    async def _end(self, proven: int | None, *, stopped: bool) -> None:
        """Write the end: the file is completed, or left open for a session that goes on."""
        stop = TapEvent(t=self._clock(), number=0, source=self.sources[0].name, kind="stop")
        if self.behind:
            log.warning("stopped before all was analysed tap=%s items=%d; the next start goes on there", self.name, self.behind)
            await self.archive.append([stop])
            await self.archive.leave()
            return
        if proven is not None and proven > self._last_tick:
            await self._process([Tick(proven)])
        if stopped:
            await self._process([stop])
            if self._in_session():
                await self.archive.leave()
                return
        await self._complete()

    # -- for health --------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When Analysis wants to be told of silence at the latest, ns."""
        return self._analysis.next_deadline()


async def _cancel(pumps: Sequence[asyncio.Task[None]]) -> None:
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)


def _failed(pumps: Sequence[asyncio.Task[None]]) -> bool:
    """Whether a source has raised."""
    return any(pump.done() and not pump.cancelled() and pump.exception() is not None for pump in pumps)
