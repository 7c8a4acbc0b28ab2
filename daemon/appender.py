"""Bytes to a file that may fail: one thread writes, the rest of the daemon never waits long, and what a file holds is
always a whole number of the chunks it was given."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable

FILE_MODE = 0o640
PENDING_BYTES = 64_000_000  # not yet written: a disk that hangs for long loses what is beyond
PATIENCE = 1.0  # seconds a caller waits for a slow disk before it goes on


class Appender:
    """Appends chunks to one file in a thread of its own.

    After a failure (disk full, I/O error) the file is cut back to its last whole chunk and nothing more is written to
    it:
    `failed` says so, and what to do next is the owner's decision. `lost` counts the chunks' items that were not
    written.
    """

    def __init__(
        self,
        path: str,
        thread: concurrent.futures.ThreadPoolExecutor,
        *,
        size: int = 0,
        sync_seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`size`: bytes of an existing file to keep (the rest is cut); 0 makes a new file, which must not exist."""
        self.path = path
        self.size = size
        self.failed: OSError | None = None
        self.lost = 0
        self.late = 0  # times a caller went on without waiting for the disk
        self._thread = thread
        self._pending = 0
        self._fd = -1
        self._resume = size > 0
        self._sync = sync_seconds
        self._synced = monotonic()
        self._monotonic = monotonic

    async def write(self, chunk: bytes, items: int) -> bool:
        """Append `chunk`, which holds `items` items. Returns when it is written, or PATIENCE has run out; False if it
        is known to be lost."""
        if self.failed is not None or self._pending + len(chunk) > PENDING_BYTES:
            self.lost += items
            return False
        self._pending += len(chunk)
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._write, chunk, items)
        finished, _ = await asyncio.wait([done], timeout=PATIENCE)
        if not finished:
            self.late += 1
            return True
        return done.result()

    async def close(self, name: str | None = None) -> bool:
        """Write out, close, and (unless it failed) rename to `name`. False if the file could not be completed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._close, name)

    def _write(self, chunk: bytes, items: int) -> bool:
        try:
            if self.failed is not None:
                self.lost += items
                return False
            if self._fd < 0:
                self._open()
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._fd, view) :]
            self.size += len(chunk)
            if self._monotonic() - self._synced >= self._sync:
                self._synced = self._monotonic()
                os.fdatasync(self._fd)
        except OSError as error:
            self.failed = error
            self.lost += items
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self.size)
            return False
        finally:
            self._pending -= len(chunk)
        return True

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (0 if self._resume else os.O_CREAT | os.O_EXCL)
        fd = os.open(self.path, flags, FILE_MODE)
        try:
            os.fchmod(fd, FILE_MODE)  # whatever the umask says
            if self._resume:
                os.ftruncate(fd, self.size)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def _close(self, name: str | None) -> bool:
        try:
            if self._fd >= 0:
                try:
                    os.fsync(self._fd)
                finally:
                    os.close(self._fd)
                    self._fd = -1
                if name is not None:
                    os.rename(self.path, name)
                    _sync_directory(os.path.dirname(name))
        except OSError as error:
            self.failed = self.failed or error
        return self.failed is None


def _sync_directory(path: str) -> None:
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
