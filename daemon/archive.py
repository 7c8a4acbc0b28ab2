"""The rolling archive of one tap: what Analysis is told, written down before it is told, in the same order.

Names: ``<tap>-<UTC of its start>.pcapng``, with ``.part`` behind it until the file is complete. A session that
outgrows a file goes on in ``…-2.pcapng``; its packets count on, so those files read as one (`plugtap analyze --join`).
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import datetime
import functools
import logging
import math
import os
import time
from collections.abc import Callable, Iterable

from plugtap.config.settings import Archive
from plugtap.daemon import retention
from plugtap.daemon.appender import Appender
from plugtap.hw.source import Backoff, Clock, wall_clock
from plugtap.protocols.archive import MAX_RESULTS, ArchiveEncoder, ArchiveHeader
from plugtap.protocols.items import LINKTYPE_ETHERNET, LINKTYPE_USER0, Item, TapEvent

log = logging.getLogger("plugtap.archive")

RETENTION_SECONDS = 600.0
MEGABYTE = 1_000_000
DIRECTORY_MODE = 0o750


class TapArchive:
    """Appends the items of one tap. Failures of the disk are counted and retried; they never stop the caller.

    counters: bytes, items, lost (items that could not be written), errors, refused (items the format can't hold),
    files, removed (old files).
    """

    def __init__(
        self,
        directory: str,
        tap: str,
        settings: Archive,
        header: ArchiveHeader,
        sources: Iterable[str],
        *,
        clock: Clock = wall_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.tap = tap
        self.counters: collections.Counter[str] = collections.Counter()
        self.problem = ""  # why nothing can be written at the moment
        self.files = 0
        self.files_bytes = 0
        self.stem = ""
        self._part = 1
        self._settings = settings
        self._header = header
        self._links = [(name, LINKTYPE_USER0 if name.startswith("cp") else LINKTYPE_ETHERNET) for name in sources]
        self._clock = clock
        self._monotonic = monotonic
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"archive-{tap}")
        self._encoder = ArchiveEncoder(header, self._links)
        self._file: Appender | None = None
        self._begun = 0.0
        self._backoff = Backoff(1.0, 60.0)
        self._retry = 0.0
        self._unwritten = 0
        self._incomplete = False  # this file does not hold all that Analysis was told: begin a new one soon
        self._swept = -math.inf  # due at once, whatever the machine's clock since boot says

    # -- opening -----------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Begin a new file, with packet number 1."""
        self._encoder = ArchiveEncoder(self._header, self._links)
        self._incomplete = False
        await self._new_file(self._encoder.start())

    async def resume(self, path: str, stem: str, part: int, size: int, next_number: int) -> None:
        """Go on with an open file of an earlier run: keep its first `size` bytes."""
        self._encoder = ArchiveEncoder(self._header, self._links, next_number=next_number)
        self.stem, self._part, self._begun = stem, part, self._monotonic()
        self._file = self._appender(path, size)
        await self._write(self._encoder.start(), 0)
        await self.sweep()

    async def complete(self, path: str, size: int, results: bytes) -> None:
        """Complete a file that an earlier run left open, of which the first `size` bytes are whole."""
        if not size:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return
        encoder = ArchiveEncoder(self._header)
        encoder.start()
        file = self._appender(path, size)
        if len(results) <= MAX_RESULTS:
            await file.write(encoder.seal(results), 0)
        if not await file.close(path.removesuffix(retention.OPEN) + retention.SEALED):
            log.error("open archive file can't be completed path=%s reason=%r", path, str(file.failed))

    async def _new_file(self, head: bytes) -> None:
        self._part = 1
        self._begun = self._monotonic()
        if not self._settings.enabled:
            return
        moment = datetime.datetime.fromtimestamp(self._clock() // 1_000_000_000, datetime.UTC)
        while True:
            self.stem = f"{self.tap}-{moment:%Y%m%dT%H%M%SZ}"
            if not any(os.path.exists(self._path(end)) for end in (retention.SEALED, retention.OPEN)):
                break
            moment += datetime.timedelta(seconds=1)
        with contextlib.suppress(OSError):  # the first write says what is wrong
            os.makedirs(self.directory, DIRECTORY_MODE, exist_ok=True)
        self._file = self._appender(self._path(retention.OPEN), 0)
        self.counters["files"] += 1
        await self._write(head, 0)

    def _appender(self, path: str, size: int) -> Appender:
        return Appender(path, self._thread, size=size, sync_seconds=self._settings.sync_seconds, monotonic=self._monotonic)

    def _path(self, end: str) -> str:
        number = f"-{self._part}" if self._part > 1 else ""
        return os.path.join(self.directory, f"{self.stem}{number}{end}")

    # -- writing -----------------------------------------------------------------------------------------------------

    async def append(self, items: Iterable[Item]) -> list[Item]:
        """Write the items (numbers are given here); returns them as they will be read back, for Analysis."""
        if self.problem and self._monotonic() >= self._retry:
            await self._try_again()
        done: list[Item] = []
        chunks: list[bytes] = []
        for item in items:
            try:
                numbered, chunk = self._encoder.encode(item)
            except ValueError as error:
                self.counters["refused"] += 1
                log.error("item refused tap=%s kind=%s reason=%r", self.tap, type(item).__name__, str(error))
                continue
            done.append(numbered)
            chunks.append(chunk)
        if done and self._settings.enabled:
            await self._write(b"".join(chunks), len(done))
        return done

    async def _write(self, chunk: bytes, items: int) -> None:
        if self._file is not None and await self._file.write(chunk, items):
            self.counters["bytes"] += len(chunk)
            self.counters["items"] += items
            return
        self.counters["lost"] += items
        self._unwritten += items
        self._incomplete = True
        failed = self._file.failed if self._file is not None else None
        if self._file is not None and failed is None:
            self._report("the disk does not keep up")
        elif failed is not None:
            self._report(f"{failed.strerror or failed}")

    def _report(self, problem: str) -> None:
        if not self.problem:
            self.counters["errors"] += 1
            log.error("archive can't be written tap=%s reason=%r; analysis goes on", self.tap, problem)
            self._retry = self._monotonic() + self._backoff.pause()
        self.problem = problem

    async def _try_again(self) -> None:
        """After a failure: make room, and begin a new file that says how much is missing."""
        self._retry = self._monotonic() + self._backoff.pause()
        await self.sweep()
        old, problem = self._file, self.problem
        if old is not None:
            if old.size:
                await old.close(self._path(retention.SEALED))
            else:
                await old.close()
                with contextlib.suppress(OSError):
                    os.unlink(old.path)
        number = self._encoder.next_number
        self._encoder = ArchiveEncoder(self._header, self._links, next_number=number)
        head = self._encoder.start()
        missing = TapEvent(
            t=self._clock(),
            number=0,
            source=self._links[0][0],
            kind="drop",
            detail=f"{self._unwritten} items were not archived: {problem}",
            values={"frames": self._unwritten},
        )
        # Of the archive only: Analysis heard those items. It is the reader of this file who did not.
        _, told = self._encoder.encode(missing)
        self.problem = ""
        await self._new_file(head + told)
        self._incomplete = True
        if self.problem:
            return
        log.warning("archive can be written again tap=%s items_lost=%d", self.tap, self._unwritten)
        self._unwritten = 0
        self._backoff.reset()

    # -- ending ------------------------------------------------------------------------------------------------------

    def rotation(self) -> str:
        """ "" while the file may grow; "between": a new one at the next moment without a session; "split": at once."""
        if not self._settings.enabled or self._file is None or self.problem:
            return ""
        if self._file.size >= self._settings.split_megabytes * MEGABYTE:
            return "split"
        age = self._monotonic() - self._begun
        large = self._file.size >= self._settings.rotate_megabytes * MEGABYTE
        return "between" if large or age >= self._settings.rotate_hours * 3600 or self._incomplete else ""

    async def seal(self, results: bytes) -> None:
        """The file is complete: add what was found, and take the ``.part`` off its name."""
        if self._file is None:
            return
        if not self.problem and len(results) <= MAX_RESULTS:
            await self._write(self._encoder.seal(results), 0)
        await self._close(self._path(retention.SEALED))

    async def split(self) -> None:
        """The session outgrew the file: it goes on in a further one."""
        await self._close(self._path(retention.SEALED))
        self._encoder = ArchiveEncoder(self._header, self._links, next_number=self._encoder.next_number)
        self._part += 1
        self._begun = self._monotonic()
        self._file = self._appender(self._path(retention.OPEN), 0)
        self.counters["files"] += 1
        await self._write(self._encoder.start(), 0)

    async def leave(self) -> None:
        """Stop with the file open: the next run goes on with it."""
        await self._close(None)

    async def _close(self, name: str | None) -> None:
        file, self._file = self._file, None
        if file is not None:
            if not await file.close(name if file.size else None):
                self._report(f"{file.failed}")
            await self.sweep()

    def stop(self) -> None:
        """Let go of the writing thread; what it still writes is written."""
        self._thread.shutdown(wait=False)

    # -- retention ---------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Remove files that may not stay any longer."""
        self._swept = self._monotonic()
        if not self._settings.enabled:
            return
        work = functools.partial(
            retention.apply,
            self.directory,
            self.tap,
            now=self._clock() / 1e9,
            keep_bytes=self._settings.keep_megabytes * MEGABYTE,
            keep_seconds=self._settings.keep_days * 86_400,
            min_free=self._settings.min_free_megabytes * MEGABYTE,
            spare=self.stem,
        )
        try:
            removed, self.files, self.files_bytes = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            log.warning("old archive files can't be removed tap=%s reason=%r", self.tap, error.strerror)
            return
        self.counters["removed"] += removed

    async def sweep_if_due(self) -> None:
        """`sweep` now and then."""
        if self._monotonic() - self._swept >= RETENTION_SECONDS:
            await self.sweep()
