"""plugtap listens to CCS charging sessions from outside and says who broke them, why, and how to fix it.

The public API: the names below, imported when first used, and `plugtap.protocols.exi` (docs/exi.md). An example is in docs/analyze.md.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_API = {
    "Analysis": "plugtap.analysis.analysis",
    "AnalysisSettings": "plugtap.config.analysis",
    "CpRecord": "plugtap.protocols.items",
    "DecodeError": "plugtap.protocols.errors",
    "Finding": "plugtap.checks.finding",
    "Frame": "plugtap.protocols.items",
    "SessionReport": "plugtap.analysis.outputs",
    "TapEvent": "plugtap.protocols.items",
    "Tick": "plugtap.protocols.items",
    "read_items": "plugtap.hw.files",
}
__all__ = ["__version__", *sorted(_API)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'plugtap' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_API[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_API})
