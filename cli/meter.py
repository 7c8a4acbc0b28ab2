"""A progress bar on standard error, for input that takes longer than a moment."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PATIENCE = 0.5  # seconds without any output before a bar appears


class Meter:
    """Shows how far reading has come, where standard error is a terminal. Call `hide` before anything is printed."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._number = 0
        self._name = ""
        self._since = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._enabled = sys.stderr.isatty()

    def begin(self, name: str) -> None:
        """The next file begins."""
        self._number += 1
        shown = name.rsplit("/", 1)[-1]
        self._name = f"{self._number}/{self._files} {shown}" if self._files > 1 else shown
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, description=self._name)

    def read(self, done: int, total: int | None) -> None:
        """So many bytes of the file have been read."""
        if not self._enabled:
            return
        if self._progress is None:
            if time.monotonic() - self._since < PATIENCE:
                return
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._progress.add_task(self._name, total=total)
            self._progress.start()
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=self._name)

    def hide(self) -> None:
        """Take the bar away; it comes back when reading goes on for a while."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None
        self._since = time.monotonic()
