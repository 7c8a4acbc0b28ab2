"""The archive on disks that fail: analysis goes on, losses are counted and told, files stay whole."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
import pathlib
import time

import pytest
from namespace import run_script
from rig import Rig, frame

from plugtap.daemon import appender, retention
from plugtap.daemon.appender import Appender
from plugtap.daemon.retention import ArchiveFile

DISK = pathlib.Path(__file__).with_name("disk_full_script.py")


def test_a_full_disk_does_not_stop_analysis() -> None:
    seen = run_script(DISK)
    assert seen["problem"] == "No space left on device"
    assert seen["lost while full"] > 0 and seen["errors"] >= 1
    assert seen["problem after"] == ""
    assert seen["analysed"] > seen["sent"] == 270
    assert seen["in order"] and seen["last kept"] == 270, "writing goes on when there is room"
    assert seen["files"] >= 2, "what follows a loss is another file"
    told = sum(drop["values"]["frames"] for drop in seen["drops"])
    assert told == seen["counted lost"], "and the archive says how much is missing"
    assert seen["kept"] >= 270 - told, "nothing is missing that was not counted"


@pytest.fixture
def thread() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(1)


async def test_a_failed_write_is_cut_back_to_the_last_whole_chunk(
    tmp_path: pathlib.Path, thread: concurrent.futures.ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.part"
    file = Appender(str(path), thread)
    assert await file.write(b"whole", 1)
    real = os.write
    calls = 0

    def half(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, bytes(data)[:3])

    monkeypatch.setattr(appender.os, "write", half)
    assert not await file.write(b"chunk that does not fit", 7)
    monkeypatch.undo()
    assert path.read_bytes() == b"whole"
    assert file.failed is not None and file.failed.errno == errno.ENOSPC and file.lost == 7
    assert not await file.write(b"more", 2), "a file with a hole is not written on"
    assert file.lost == 9
    assert not await file.close(str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"whole", "what there is gets its name all the same"


async def test_a_disk_that_hangs_is_not_waited_for(
    tmp_path: pathlib.Path, thread: concurrent.futures.ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "PATIENCE", 0.05)
    monkeypatch.setattr(appender, "PENDING_BYTES", 100)
    file = Appender(str(tmp_path / "a.part"), thread)
    thread.submit(time.sleep, 0.6)
    begun = time.monotonic()
    assert await file.write(b"x" * 60, 1)
    assert time.monotonic() - begun < 0.5 and file.late == 1
    assert not await file.write(b"y" * 60, 1), "what waits is bounded"
    assert file.lost == 1
    assert await file.close(str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"x" * 60


async def test_mode_does_not_depend_on_the_umask(tmp_path: pathlib.Path, thread: concurrent.futures.ThreadPoolExecutor) -> None:
    old = os.umask(0o077)
    try:
        file = Appender(str(tmp_path / "a.part"), thread)
        await file.write(b"x", 1)
        await file.close()
    finally:
        os.umask(old)
    assert (tmp_path / "a.part").stat().st_mode & 0o777 == 0o640


async def test_a_directory_that_cannot_be_written_is_retried(tmp_path: pathlib.Path) -> None:
    """Nothing can be opened at the start; later it can."""
    blocked = tmp_path / "archive"
    blocked.write_text("a file where the directory should be")
    rig = Rig(blocked)
    rig.archive._backoff._first = rig.archive._backoff._next = 0.05
    rig.start()
    rig.sources[0].say(frame(time.time_ns()))
    await rig.until(lambda: rig.tap.counters["items"] == 1, "analysis works")
    assert rig.archive.problem and rig.archive.counters["lost"] >= 1
    blocked.unlink()
    await asyncio.sleep(0.2)
    rig.sources[0].say(frame(time.time_ns()))
    await rig.until(lambda: rig.tap.counters["items"] == 2, "analysis works")
    await rig.stop()
    assert not rig.archive.problem and rig.files(".pcapng")


# --- retention --------------------------------------------------------------------------------------------------------

FILES = [ArchiveFile(f"t-{n}", 100, 1000.0 + n) for n in range(5)]
NEVER = {"now": 1010.0, "keep_bytes": 10**9, "keep_seconds": 10**9, "free": 10**9, "min_free": 0}


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        ({}, 0),
        ({"keep_bytes": 300}, 2),
        ({"keep_bytes": 0}, 5),
        ({"keep_seconds": 8.5}, 2),
        ({"free": 50, "min_free": 200}, 2),
        ({"free": 0, "min_free": 10**9}, 5),
        ({"keep_bytes": 400, "keep_seconds": 7.5}, 3),
    ],
)
def test_what_goes(change: dict[str, float], removed: int) -> None:
    assert retention.to_remove(FILES, **{**NEVER, **change}) == FILES[:removed]


def test_only_own_complete_files_go(tmp_path: pathlib.Path) -> None:
    names = [
        "tap-20260101T000000Z.pcapng", "tap-20260101T000000Z-2.pcapng", "tap-20260102T000000Z.pcapng.part", "tap-notes.pcapng",
        "other-20260101T000000Z.pcapng", "tap-20260103T000000Z.pcapng", "tap-20260103T000000Z-2.pcapng.part", "findings.jsonl",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 10)
    (tmp_path / "tap-20260104T000000Z.pcapng").symlink_to(tmp_path / "findings.jsonl")
    removed, files, size = retention.apply(
        str(tmp_path), "tap", now=time.time(), keep_bytes=0, keep_seconds=1e9, min_free=0, spare="tap-20260103T000000Z"
    )
    assert (removed, files, size) == (2, 1, 10)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[2:], "tap-20260104T000000Z.pcapng"}


@pytest.mark.parametrize("since_boot", [0.0, 1e6])
async def test_old_files_go_while_the_daemon_runs(tmp_path: pathlib.Path, since_boot: float) -> None:
    old = tmp_path / "tap-20200101T000000Z.pcapng"
    old.write_bytes(b"x" * 1000)
    os.utime(old, (1, 1))
    rig = Rig(tmp_path, since_boot=since_boot)
    rig.start()
    rig.sources[0].say(frame(time.time_ns()))
    await rig.until(lambda: rig.tap.counters["items"] == 1, "an item")
    await rig.until(lambda: not old.exists(), "removed")
    await rig.stop()
    assert rig.archive.counters["removed"] == 1 and rig.archive.files == 1
