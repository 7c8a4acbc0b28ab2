"""Which build of the engine runs: the compiled twin of ``engine.py``, or ``engine.py`` as it stands.

Both are the same source. The twin carries the digest of the source it was compiled from, and is used only when that
is the source at hand: a twin left over from an older version never runs.
"""

from __future__ import annotations

import hashlib
from importlib import import_module, resources
from types import ModuleType

from plugtap.protocols.exi import engine as plain


FILES = ("engine.py", "engine.pxd", "engine_native.h")


def source_digest() -> str:
    """SHA-256 of the engine's files, as setup.py puts it into the twin."""
    package = resources.files("plugtap.protocols.exi")
    source = b"".join(package.joinpath(name).read_bytes() for name in FILES)
    return hashlib.sha256(source).hexdigest()


def _twin() -> tuple[ModuleType | None, str]:
    try:
        twin = import_module("plugtap.protocols.exi._engine_c")
    except ImportError:
        return None, "there is no compiled engine"
    if getattr(twin, "SOURCE", "") != source_digest():
        return None, "the compiled engine belongs to other source: build it again"
    return twin, ""


compiled, WHY_PLAIN = _twin()
"""The compiled engine or None; and why it is None."""

BUILD = "plain" if compiled is None else "compiled"


def engine() -> ModuleType:
    """The engine to use: the compiled one where there is one."""
    return plain if compiled is None else compiled
