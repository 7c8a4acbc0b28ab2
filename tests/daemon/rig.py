"""A tap in the test's own process: sources that say what they are told, and what came out."""

from __future__ import annotations

import asyncio
import collections
import json
import pathlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.config.analysis import AnalysisSettings, encode_settings
from plugtap.config.settings import Archive
from plugtap.daemon.archive import TapArchive
from plugtap.daemon.tap import TapPipeline
from plugtap.hw.files import read_items
from plugtap.hw.source import SourceItem
from plugtap.protocols.archive import ArchiveHeader
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick


class FakeSource:
    """A source that yields what `say` is given; `end` ends it; `busy` lets it claim that something waits."""

    def __init__(self, name: str = "plc") -> None:
        self.name = name
        self.detail = "fake"
        self.up = True
        self.counters: collections.Counter[str] = collections.Counter()
        self.busy = False
        self._items: asyncio.Queue[SourceItem | BaseException | None] = asyncio.Queue()
        self._waits = True

    def say(self, *items: SourceItem | BaseException) -> None:
        for item in items:
            self._items.put_nowait(item)

    def end(self) -> None:
        self._items.put_nowait(None)

    async def __aiter__(self) -> AsyncGenerator[SourceItem, None]:
        while True:
            self._waits = self._items.empty()
            item = await self._items.get()
            self._waits = False
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def silent(self, now: int) -> int | None:
        return None if self.busy or not self._waits or not self._items.empty() else now


class Rig:
    """One pipeline with its archive in `folder`."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        sources: Sequence[FakeSource] | None = None,
        archive: Archive | None = None,
        analysis: AnalysisSettings | None = None,
        make: Callable[[AnalysisSettings], Analysis] | None = None,
        queue_items: int = 1000,
        clock: Callable[[], int] | None = None,
        catalogue: str = "c",
        since_boot: float | None = None,
    ) -> None:
        """`since_boot`: the archive's monotonic clock starts there, in s; otherwise it is the machine's."""
        self.folder = folder
        self._skipped = 0
        clock = clock or (lambda: time.time_ns() + self._skipped)
        self.sources = list(sources) if sources is not None else [FakeSource()]
        settings = analysis or AnalysisSettings(site="lab", tap="tap")
        header = ArchiveHeader(site="lab", tap="tap", run="r", catalogue=catalogue, plugtap="0", settings=encode_settings(settings))
        self.settings = archive or Archive()
        started = time.monotonic() - since_boot if since_boot is not None else 0.0
        names = [source.name for source in self.sources]
        self.archive = TapArchive(
            str(folder), "tap", self.settings, header, names, clock=clock, monotonic=lambda: time.monotonic() - started
        )
        self.outputs: list[Output] = []
        self.published: list[tuple[str, str]] = []
        self.tap = TapPipeline(
            "tap",
            self.sources,
            self.archive,
            header,
            settings,
            make or (lambda settings: Analysis(settings, sources=("plc",))),
            self._take,
            archive_settings=self.settings,
            queue_items=queue_items,
            clock=clock,
            monotonic=lambda: time.monotonic_ns() + self._skipped,
        )
        self._task: asyncio.Task[None] | None = None

    def _take(self, tap: str, archive: str, outputs: Sequence[Output]) -> None:
        self.outputs += outputs
        self.published += [(archive, output.id) for output in outputs]

    def start(self) -> None:
        self._task = asyncio.create_task(self.tap.run())

    async def wait(self) -> None:
        """Until the pipeline has ended (its sources have)."""
        assert self._task is not None
        await asyncio.wait_for(self._task, 10)

    async def stop(self) -> None:
        self.tap.stop()
        await self.wait()

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._skipped += int(seconds * 1e9)
        self.tap.inbox.wake()

    async def play(self, items: Iterable[SourceItem]) -> None:
        """Say each item when its time has come, by the source of its name."""
        by_name = {source.name: source for source in self.sources}
        for item in items:
            wait = (item.t - time.time_ns()) / 1e9
            if wait > 0:
                await asyncio.sleep(wait)
            by_name[item.source].say(msgspec.structs.replace(item, t=item.t + self._skipped))

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self._task is None or not self._task.done(), self._task
            assert time.monotonic() < end, what
            await asyncio.sleep(0.01)

    def live(self) -> dict[str, dict[str, Any]]:
        """The last revision of each session."""
        found: dict[str, dict[str, Any]] = {}
        for output in self.outputs:
            if isinstance(output, SessionReport):
                found[output.id] = json.loads(msgspec.json.encode(output))
        return found

    def files(self, ending: str = "") -> list[pathlib.Path]:
        return sorted(path for path in self.folder.iterdir() if path.name.endswith(ending))


def replay(paths: Iterable[pathlib.Path]) -> dict[str, dict[str, Any]]:
    """Sessions of each file, as `plugtap analyze --as-recorded` has them."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        reader = read_items(str(path))
        analysis: Analysis | None = None
        for item in reader:
            if analysis is None:
                recorded = reader.facts.settings
                assert recorded is not None
                analysis = Analysis(msgspec.json.decode(recorded, type=AnalysisSettings), sources=("plc",))
            analysis.feed(item)
        assert analysis is not None
        analysis.finish()
        found |= {report.id: json.loads(msgspec.json.encode(report)) for report in analysis.reports()}
    return found


def items_of(path: pathlib.Path) -> list[Item]:
    """All items of an archive file."""
    return list(read_items(str(path)))


def shifted(items: Iterable[Item], start: int, speed: int = 1) -> list[SourceItem]:
    """Items without ticks and numbers, beginning at `start`; times go by `speed` times as fast."""
    found: list[SourceItem] = []
    first: int | None = None
    for item in items:
        if not isinstance(item, Tick):
            first = item.t if first is None else first
            found.append(msgspec.structs.replace(item, t=start + (item.t - first) // speed, number=0))
    return found


def frame(t: int, data: bytes = bytes(60)) -> Frame:
    """Any frame."""
    return Frame(t=t, number=0, data=data)


__all__ = ["CpRecord", "FakeSource", "Rig", "TapEvent", "frame", "items_of", "replay", "shifted"]
