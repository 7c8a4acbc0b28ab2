"""Which build of the engine runs: ``engine.py`` as it stands."""

from __future__ import annotations

from types import ModuleType

from plugtap.protocols.exi import engine as _plain

NAME = "plain"


def engine() -> ModuleType:
    return _plain
