"""The plain engine without its memory: every message is read as if it were the first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from plugtap.protocols.exi import engine


class Reader(engine.Reader):
    def remember(self, *what: Any) -> None:
        pass


class Grammar(engine.Grammar):
    def reader(self) -> Reader:
        self.spare.clear()  # the last one, which was put back
        return Reader()


def bare() -> Any:
    """What stands in for the engine module where grammars are loaded."""
    return SimpleNamespace(**{**vars(engine), "Grammar": Grammar})
