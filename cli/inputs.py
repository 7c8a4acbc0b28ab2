"""What `analyze` and `checks --stats` read: one capture, or ring files joined, with a pilot record beside them."""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections.abc import Callable, Iterator

import msgspec

from plugtap.cli.main import UsageError
from plugtap.config.analysis import AnalysisSettings, decode_settings
from plugtap.hw.files import ItemReader, read_items
from plugtap.protocols.item_decoder import CaptureFacts
from plugtap.protocols.items import CpRecord, Frame, Item, Tick

Progress = Callable[[int, int | None], None]


class CaptureItems:
    """Items of one capture, or of several files as one stream (ring files, in the order of their first packets)."""

    def __init__(
        self, paths: list[str], *, cp: str | None = None, cp_offset: float = 0.0, progress: Progress | None = None
    ) -> None:
        self._pilot: list[CpRecord] = []
        if cp is not None:
            from plugtap.hw.pilot_files import read_pilot_file

            self._pilot = read_pilot_file(cp, int(cp_offset * 1_000_000_000))
        self._readers: list[ItemReader] = []
        self._first: list[tuple[ItemReader, list[Item]]] = []
        for path in paths:
            reader = read_items(path, progress)
            self._readers.append(reader)
            # The first item brings the file's head with it: whose archive it is, and its settings.
            self._first.append((reader, list(itertools.islice(reader, 1))))
        if len(paths) > 1:
            self._first.sort(key=lambda entry: entry[1][0].t if entry[1] else 0)
            self._readers = [reader for reader, _ in self._first]

    def facts(self) -> CaptureFacts:
        """Facts of the (first) file; frames and end over all."""
        facts = [reader.facts for reader in self._readers]
        ends = [f.end for f in facts if f.end is not None]
        return msgspec.structs.replace(
            facts[0], frames=sum(f.frames for f in facts), end=max(ends) if ends else None, ours=all(f.ours for f in facts)
        )

    def sources(self) -> tuple[str, ...]:
        """Names of the sources known before the first item."""
        named = [s.source for s in self._readers[0].facts.sources]
        if not named or named[0] not in ("plc", "cp"):
            named = ["plc"]
        if self._pilot and "cp" not in named:
            named.append("cp")
        return tuple(named)

    def items(self) -> Iterator[Item]:
        """All items. Numbers go on from file to file."""
        stream = self._joined()
        if self._pilot:
            return heapq.merge(stream, self._pilot, key=lambda item: item.t)
        return stream

    def _joined(self) -> Iterator[Item]:
        base = 0
        for reader, first in self._first:
            last = base
            for item in itertools.chain(first, reader):
                if base and not isinstance(item, Tick):
                    item = msgspec.structs.replace(item, number=item.number + base)
                if isinstance(item, Frame | CpRecord):
                    last = item.number
                yield item
            base = max(last, base + reader.facts.frames) if len(self._first) > 1 else 0

    def notes(self) -> tuple[str, ...]:
        """Remarks for people."""
        notes: list[str] = []
        for reader in self._readers:
            facts = reader.facts
            notes.extend(facts.notes)
            if facts.truncated is not None:
                notes.append(f"the file ends within a {facts.truncated.what} (byte {facts.truncated.offset}); all before it was read")
            notes.extend(f"{n} packets skipped: {what}" for what, n in facts.skipped.items())
        return tuple(dict.fromkeys(notes))


def settings_for(args: argparse.Namespace, source: CaptureItems) -> AnalysisSettings:
    """Settings of the archive (--as-recorded), of a file (-c), or the defaults."""
    if args.as_recorded:
        recorded = source.facts().settings
        if recorded is None:
            raise UsageError("--as-recorded: this capture is not an archive of plugtap and holds no settings; leave the option out")
        return decode_settings(recorded)
    if args.config:
        from plugtap.config.load import load_analysis

        return load_analysis(args.config)
    return AnalysisSettings()
