"""What the tests of the command share: captures as files, and the command as a user runs it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import Lab
from lab_good import volt

from plugtap.config.analysis import AnalysisSettings, encode_settings
from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.items import Frame, Item

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = AnalysisSettings(site="lab", tap="left")


def good() -> Lab:
    """A DIN DC session from plugging in to unplugging."""
    return Lab.good("din-dc")


def failed() -> Lab:
    """The same, but the voltage stays at 90 V during PreCharge until the EV gives up."""
    lab = Lab.good("din-dc", pilot=False)
    lab.replace("PreChargeRes", EVSEPresentVoltage=volt(90))
    lab.repeat("PreCharge", -1, 40, every=0.25)
    return lab.stop_after("PreChargeRes").close("rst")


def pcap(items: Iterable[Item]) -> bytes:
    """The frames among the items as a classic capture file, nanoseconds precise."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)]
    for item in items:
        if isinstance(item, Frame):
            seconds, nanos = divmod(item.t, 1_000_000_000)
            parts.append(struct.pack("<IIII", seconds, nanos, len(item.data), len(item.data)) + item.data)
    return b"".join(parts)


def archive(items: Iterable[Item], *, results: bytes | None = b"{}", settings: AnalysisSettings = SETTINGS, next_number: int = 1) -> bytes:
    """The items as an archive of the daemon; with `results` None it was split, not sealed."""
    header = ArchiveHeader(settings.site, settings.tap, "run", settings=encode_settings(settings))
    encoder = ArchiveEncoder(header, next_number=next_number)
    parts = [encoder.start()] + [encoder.encode(item)[1] for item in items]
    return b"".join(parts) + (encoder.seal(results) if results is not None else b"")


def command() -> list[str]:
    """The command as installed."""
    script = Path(sys.executable).parent / "plugtap"
    return [str(script)] if script.exists() else [sys.executable, "-m", "plugtap"]


def environment(**more: str) -> dict[str, str]:
    """No colours, no width from the terminal of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "FORCE_COLOR", "PYTHONWARNINGS")}
    return {**kept, **more}


def plugtap(*args: str | Path, stdin: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    return subprocess.run(
        [*command(), *map(str, args)], input=stdin, capture_output=True, timeout=60, env=environment(), check=False, **options
    )
