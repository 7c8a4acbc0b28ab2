"""What `analyze` and `checks --stats` read: one capture, or ring files joined, with a pilot record beside them."""

from __future__ import annotations

import argparse
import itertools
import pathlib
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from plugtap.cli import plugins
from plugtap.cli.main import UsageError
from plugtap.config.analysis import AnalysisSettings, decode_settings
from plugtap.config.errors import ConfigError
from plugtap.config.load import parse_analysis
from plugtap.hw.errors import SourceError
from plugtap.hw.files import ItemReader, read_items
from plugtap.hw.pilot_files import PilotFile
from plugtap.protocols.item_decoder import CaptureFacts
from plugtap.protocols.items import CpRecord, Item, Tick
from plugtap.sessions.records import SECOND, rfc3339

Progress = Callable[[int, int | None], None]


class CaptureItems:
    """Items of one capture, or of several files as one stream (ring files, in the order of their first packets).

    Iterate once. What can't be read raises SourceError where nothing at all can be read; else it is kept in `errors`,
    and the rest goes on.
    """

    def __init__(
        self, paths: list[str], *, pilot: PilotFile | None = None, pilot_offset: float = 0.0, progress: Progress | None = None
    ) -> None:
        self.errors: list[SourceError] = []
        self._progress = progress
        self._pilot = pilot
        self._pilot_offset = round(pilot_offset * SECOND)
        self._pilot_note = ""
        self._done: list[tuple[str, CaptureFacts]] = []
        self._now: tuple[str, ItemReader] | None = None  # the file being read
        self._joined = len(paths) > 1
        if self._joined:
            self._paths, self._heads = self._in_order(paths)
            self._first = self._open(self._paths[0])
        else:
            self._paths, self._first = paths, self._open(paths[0])
            self._heads = [facts for _, facts in self._read_so_far()]

    def _open(self, path: str) -> list[Item]:
        """Open a file and read its first item: it brings the head along, whose archive it is, and its settings."""
        reader = read_items(path, self._progress)
        self._now = path, reader
        return list(itertools.islice(reader, 1))

    def _in_order(self, paths: list[str]) -> tuple[list[str], list[CaptureFacts]]:
        """The files in the order of their first items, and what their heads say."""
        found: list[tuple[int, str, CaptureFacts]] = []
        for path in paths:
            if path == "-":
                raise UsageError("--join can't read standard input; give the files by name")
            try:
                reader = read_items(path)
                first = list(itertools.islice(reader, 1))
                reader.close()  # a ring may have more files than a process may hold open
                found.append((first[0].t if first else 0, path, reader.facts))
            except SourceError as error:
                self.errors.append(error)
        if not found:
            raise self.errors.pop(0)
        found.sort(key=lambda entry: entry[0])
        return [path for _, path, _ in found], [facts for _, _, facts in found]

    def close(self) -> None:
        """Close the file being read; facts and notes stay."""
        if self._now is not None:
            self._now[1].close()

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The file, or the first and the last of several."""
        return self._paths[0] if not self._joined else f"{self._paths[0]} … {self._paths[-1]}"

    @property
    def ours(self) -> bool:
        """Whether plugtap wrote all of it."""
        return all(facts.ours for facts in self._heads)

    @property
    def settings(self) -> bytes | None:
        """The settings in the (first) archive."""
        return self._heads[0].settings

    @property
    def tap(self) -> str:
        """Name of the tap whose archive it is; empty for other files."""
        header = self._heads[0].header
        return header.tap if header is not None else ""

    def facts(self) -> CaptureFacts:
        """Facts of the first file; frames and times over all that was read."""
        every = [facts for _, facts in self._read_so_far()] or self._heads
        starts = [facts.start for facts in every if facts.start is not None]
        ends = [facts.end for facts in every if facts.end is not None]
        return msgspec.structs.replace(
            every[0], frames=sum(facts.frames for facts in every), start=min(starts, default=None), end=max(ends, default=None), ours=self.ours
        )

    def _read_so_far(self) -> list[tuple[str, CaptureFacts]]:
        """Files that were read, with their facts; the one being read is the last."""
        return self._done if self._now is None else [*self._done, (self._now[0], self._now[1].facts)]

    def sources(self) -> tuple[str, ...]:
        """Names of the sources to begin with, as in the daemon; others join with their first item."""
        return ("plc", "cp") if self._pilot is not None else ("plc",)

    def notes(self) -> tuple[str, ...]:
        """Remarks for people."""
        notes = [self._pilot_note] if self._pilot_note else []
        if self._pilot is not None:
            notes.extend(self._pilot.notes())
        for path, facts in self._read_so_far():
            own = list(facts.notes) + [f"{n} packets skipped: {what}" for what, n in facts.skipped.items()]
            notes.extend(f"{path}: {note}" if self._joined else note for note in own)
        notes.extend(str(error) for error in self.errors)
        return tuple(dict.fromkeys(notes))

    # -- items ---------------------------------------------------------------------------------------------------------

    def items(self) -> Iterator[Item]:
        """All items, in the order they were written; pilot records by time among them."""
        stream = self._joined_items()
        return stream if self._pilot is None else self._with_pilot(stream, self._pilot)

    def _joined_items(self) -> Iterator[Item]:
        """Items of all files; numbers go on from file to file."""
        base = 0
        for i, path in enumerate(self._paths):
            try:
                first = self._open(path) if i else self._first
                for item in itertools.chain(first, self._now[1] if self._now else ()):
                    if base and not isinstance(item, Tick):
                        item = msgspec.structs.replace(item, number=item.number + base)
                    yield item
            except SourceError as error:
                self.errors.append(error)
            if self._joined and self._now is not None:
                self._done.append((path, self._now[1].facts))
                base += self._now[1].facts.frames
                self._now = None

    def _with_pilot(self, stream: Iterator[Item], pilot: PilotFile) -> Iterator[Item]:
        """Pilot records of the capture's time, each with the number of the frame before it.

        None from before or after the capture: they would prove that somebody listened to frames then. Only the state
        that held when it began is taken along, from the beginning.
        """
        waiting: deque[CpRecord] = deque()
        number, t, told, started = 1, 0, 0, False
        for item in stream:
            if not started:
                started, t = True, item.t
                waiting.extend(_since(item.t, pilot.records(item.t, self._pilot_offset)))
            while waiting and waiting[0].t <= item.t:
                told += 1
                yield msgspec.structs.replace(waiting.popleft(), number=number)
            if not isinstance(item, Tick):
                number = item.number
            t = max(t, item.t)
            yield item
        if started and not told:
            first, last = pilot.records(t, self._pilot_offset)[0], pilot.records(t, self._pilot_offset)[-1]
            self._pilot_note = (
                f"{pilot.name}: none of its {len(pilot.log.records)} readings is within the capture's time; they are from "
                f"{rfc3339(first.t)[:19]} to {rfc3339(last.t)[:19]} UTC. Move them with --cp-offset"
            )


def _since(start: int, records: list[CpRecord]) -> list[CpRecord]:
    """The records from `start` on, led by the one that held then."""
    later = [record for record in records if record.t >= start]
    holding = [record for record in records if record.t < start <= record.t + record.span]
    if holding:
        last = holding[-1]
        later.insert(0, msgspec.structs.replace(last, t=start, span=last.t + last.span - start))
    return later


def settings_for(args: argparse.Namespace, source: CaptureItems) -> AnalysisSettings:
    """Settings of the archive (--as-recorded), of a file (-c), or the defaults. Raises SourceError and ConfigError."""
    if args.as_recorded:
        if not source.settings:
            reason = "is an archive without settings" if source.ours else "is not an archive of plugtap and holds no settings"
            raise SourceError(source.name, reason, "leave --as-recorded out")
        try:
            return decode_settings(source.settings)
        except msgspec.MsgspecError as error:
            raise SourceError(source.name, f"its settings are of another version of plugtap: {error}", "give a settings file with -c") from None
    if args.config:
        return load_settings(args.config, source.tap)
    return AnalysisSettings()


def load_settings(path: str, tap: str = "") -> AnalysisSettings:
    """What concerns analysis (of tap `tap`, if it is there) in the settings file at `path`. Raises ConfigError."""
    try:
        settings = parse_analysis(pathlib.Path(path).read_text(encoding="utf-8"), tap)
    except OSError as error:
        raise ConfigError("", f"{path} can't be read: {error.strerror}", "`plugtap config default` prints one to start from") from None
    except UnicodeDecodeError as error:
        raise ConfigError("", f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    plugins.hold(settings.checks)
    return settings
