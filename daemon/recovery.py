"""What an earlier run left open: read it back, so that a session in progress goes on with the same ids."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Callable

import msgspec

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.config.analysis import AnalysisSettings, decode_settings
from plugtap.daemon import retention
from plugtap.hw.archive_file import ArchiveFiles
from plugtap.protocols.archive import ArchiveHeader

_NAME = re.compile(r"(?P<stem>.+-[0-9]{8}T[0-9]{6}Z)(?:-(?P<part>[0-9]+))?\.pcapng\.part")

ALIVE_ITEMS = 1000
MakeAnalysis = Callable[[AnalysisSettings], Analysis]


class LeftOpen(msgspec.Struct):
    """An open archive file, and the Analysis that was fed all of it (and of the files it continues)."""

    path: str
    stem: str
    part: int
    size: int  # bytes that are whole
    next_number: int
    end: int  # time of its last item, ns; 0: it has none
    header: ArchiveHeader | None
    analysis: Analysis
    outputs: list[Output]  # the last revision of each


def open_files(directory: str, tap: str) -> list[str]:
    """Paths of the tap's open files, oldest first."""
    pattern = os.path.join(glob.escape(directory), f"{tap}-[0-9]*{retention.OPEN}")
    return sorted(path for path in glob.glob(pattern) if _NAME.fullmatch(os.path.basename(path)))


def read_open(path: str, settings: AnalysisSettings, make: MakeAnalysis, alive: Callable[[], None]) -> LeftOpen:
    """Feed a new Analysis what is in the open file at `path`, with the settings it was written with (`settings` where
    it has none). `alive` is called now and then, since this may take long. Raises OSError."""
    name = _NAME.fullmatch(os.path.basename(path))
    if name is None:
        raise ValueError(f"{path} is no open archive file")
    stem, part = name["stem"], int(name["part"] or 1)
    folder = os.path.dirname(path)
    earlier = [os.path.join(folder, f"{stem}{f'-{n}' if n > 1 else ''}{retention.SEALED}") for n in range(1, part)]
    files = ArchiveFiles([*[file for file in earlier if os.path.exists(file)], path])
    analysis: Analysis | None = None
    latest: dict[str, Output] = {}
    for count, item in enumerate(files):
        if count % ALIVE_ITEMS == 0:
            alive()
        if analysis is None:
            analysis = make(_recorded(files.facts.settings, settings))
        for output in analysis.feed(item):
            latest.pop(output.id, None)
            latest[output.id] = output
    facts = files.facts
    return LeftOpen(
        path=path,
        stem=stem,
        part=part,
        size=files.good,
        next_number=facts.frames + 1,
        end=facts.end or 0,
        header=facts.header,
        analysis=analysis or make(settings),
        outputs=list(latest.values()),
    )


def _recorded(recorded: bytes | None, settings: AnalysisSettings) -> AnalysisSettings:
    if recorded:
        with contextlib.suppress(msgspec.MsgspecError):
            return decode_settings(recorded)
    return settings


def may_resume(left: LeftOpen, header: ArchiveHeader, *, now: int, resume_ns: int) -> bool:
    """Whether the run with `header` goes on with the file: same settings and program, and not too long ago."""
    if left.header is None or not left.size or not left.end or not 0 <= now - left.end <= resume_ns:
        return False
    same = ("site", "tap", "catalogue", "plugtap", "settings")
    return all(getattr(left.header, name) == getattr(header, name) for name in same)


def results(analysis: Analysis) -> bytes:
    """Sessions (with their findings) as JSON, for the end of an archive file."""
    return msgspec.json.encode({"sessions": analysis.reports()})


def is_open(output: Output) -> bool:
    """Whether the output says that a session goes on."""
    return isinstance(output, SessionReport) and output.state == "open"
