"""Ctrl-C and SIGTERM as a request to stop reading, so that what was found until then is still said."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class _Stopped(BaseException):
    """Leaves a read that waits; never leaves `Stop.reading`."""


class Stop:
    """While entered, the first SIGINT or SIGTERM ends `reading` after the item at hand; a second one works as usual."""

    def __init__(self) -> None:
        self.code = 0  # exit code: 130 after SIGINT, 143 after SIGTERM
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.code = 128 + number
        self._restore()
        # Between items anything may be left where it is; within the handling of one it must be finished first.
        if self._waiting:
            raise _Stopped

    def reading(self, items: Iterable[T]) -> Iterator[T]:
        """The items until they end or a signal came."""
        source = iter(items)
        with contextlib.suppress(_Stopped):
            while not self.code:
                try:
                    self._waiting = True
                    item = next(source)
                except StopIteration:
                    return
                finally:
                    self._waiting = False
                yield item
