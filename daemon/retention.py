"""Which complete archive files may stay."""

from __future__ import annotations

import os
import re
import shutil

import msgspec

SEALED = ".pcapng"
OPEN = ".pcapng.part"


class ArchiveFile(msgspec.Struct, frozen=True):
    """One complete file of the archive; `end`: when it was last written, s since the epoch."""

    path: str
    size: int
    end: float


def complete_files(directory: str, tap: str) -> list[ArchiveFile]:
    """The tap's complete files, oldest first (their names sort by time)."""
    pattern = re.compile(rf"{re.escape(tap)}-[0-9]{{8}}T[0-9]{{6}}Z(-[0-9]+)*\.pcapng")
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found.append(ArchiveFile(entry.path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda file: file.path)


def to_remove(files: list[ArchiveFile], *, now: float, keep_bytes: int, keep_seconds: float, free: int, min_free: int) -> list[ArchiveFile]:
    """Of `files` (oldest first) those that go: too old, beyond `keep_bytes`, or in the way of `min_free` bytes of
    space."""
    total = sum(file.size for file in files)
    going = []
    for file in files:
        if now - file.end <= keep_seconds and total <= keep_bytes and free >= min_free:
            break
        going.append(file)
        total -= file.size
        free += file.size
    return going


def apply(directory: str, tap: str, *, now: float, keep_bytes: int, keep_seconds: float, min_free: int, spare: str) -> tuple[int, int, int]:
    """Remove what has to go; files of the open archive `spare` stay. Returns files removed, files left and bytes left.

    Raises OSError.
    """
    names = (f"{spare}.", f"{spare}-") if spare else ("/",)
    going = to_remove(
        [file for file in complete_files(directory, tap) if not os.path.basename(file.path).startswith(names)],
        now=now,
        keep_bytes=keep_bytes,
        keep_seconds=keep_seconds,
        free=shutil.disk_usage(directory).free,
        min_free=min_free,
    )
    for file in going:
        os.unlink(file.path)
    left = complete_files(directory, tap)
    return len(going), len(left), sum(file.size for file in left)
