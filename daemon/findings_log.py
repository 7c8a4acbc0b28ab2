"""Sessions and findings as JSON lines in a file that is renamed when it grows. Written in a thread; losses are
counted."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os

log = logging.getLogger("plugtap.findings")

FILE_MODE = 0o640
MAX_WAITING = 10_000  # lines


class FindingsLog:
    """``findings.jsonl``, then ``.1``, ``.2`` … counters: lines, lost, errors."""

    def __init__(self, path: str, *, max_bytes: int, files: int) -> None:
        self.path = path
        self.counters: collections.Counter[str] = collections.Counter()
        self.problem = ""
        self._max_bytes = max_bytes
        self._files = files
        self._lines: collections.deque[bytes] = collections.deque()
        self._wake = asyncio.Event()
        self._closed = False

    def add(self, line: bytes) -> None:
        """Take a line (without its end) to be written soon."""
        if len(self._lines) >= MAX_WAITING:
            self.counters["lost"] += 1
            return
        self._lines.append(line)
        self._wake.set()

    def close(self) -> None:
        """Write what waits, then end `run`."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Write until closed; a failure is retried each second."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._lines:
                lines = list(self._lines)
                try:
                    await asyncio.to_thread(self._append, b"\n".join(lines) + b"\n")
                except OSError as error:
                    self._report(error)
                    if self._closed:
                        self.counters["lost"] += len(self._lines)
                        return
                    await asyncio.sleep(1)
                    continue
                for _ in lines:
                    self._lines.popleft()
                self.counters["lines"] += len(lines)
                if self.problem:
                    self.problem = ""
                    log.warning("findings log can be written again path=%s", self.path)
            if self._closed:
                return

    def _report(self, error: OSError) -> None:
        if not self.problem:
            log.error("findings log can't be written path=%s reason=%r", self.path, error.strerror)
            self.counters["errors"] += 1
        self.problem = error.strerror or str(error)

    def _append(self, data: bytes) -> None:
        self._rename_if_large(len(data))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            size = os.fstat(fd).st_size
            os.fchmod(fd, FILE_MODE)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            except OSError:
                # No half lines; the whole piece is tried again.
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)

    def _rename_if_large(self, more: int) -> None:
        try:
            if os.stat(self.path).st_size + more <= self._max_bytes:
                return
        except FileNotFoundError:
            return
        if self._files == 1:
            os.unlink(self.path)
            return
        for number in range(self._files - 2, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.rename(self.path, f"{self.path}.1")
