"""The JSON lines of sessions and findings: rotation, failing disks, bounds."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from plugtap.daemon import findings_log
from plugtap.daemon.findings_log import FindingsLog


async def written(log: FindingsLog, *lines: bytes) -> None:
    task = asyncio.create_task(log.run())
    for line in lines:
        log.add(line)
        await asyncio.sleep(0.02)
    log.close()
    await asyncio.wait_for(task, 5)


async def test_lines_are_appended_and_files_renamed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "findings.jsonl"
    path.write_bytes(b"old\n")
    log = FindingsLog(str(path), max_bytes=24, files=3)
    await written(log, b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}', b'{"n":5}', b'{"n":6}', b'{"n":7}', b'{"n":8}', b'{"n":9}')
    assert log.counters["lines"] == 9
    files = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert sorted(files) == ["findings.jsonl", "findings.jsonl.1", "findings.jsonl.2"]
    assert files["findings.jsonl"].endswith('{"n":9}\n') and all(len(text) <= 24 for text in files.values())
    assert path.stat().st_mode & 0o777 == 0o640


async def test_one_file_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    await written(FindingsLog(str(path), max_bytes=10, files=1), b"12345678", b"abcdefgh")
    assert path.read_bytes() == b"abcdefgh\n" and len(list(tmp_path.iterdir())) == 1


async def test_a_failing_disk_is_retried(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "not yet"
    log = FindingsLog(str(folder / "f"), max_bytes=100, files=2)
    task = asyncio.create_task(log.run())
    log.add(b"a")
    await asyncio.sleep(0.1)
    assert log.problem and log.counters["errors"] == 1
    folder.mkdir()
    await asyncio.sleep(1.3)
    assert not log.problem and (folder / "f").read_bytes() == b"a\n"
    log.close()
    await task


async def test_what_cannot_be_written_at_the_end_is_counted(tmp_path: pathlib.Path) -> None:
    log = FindingsLog(str(tmp_path / "no" / "f"), max_bytes=100, files=2)
    log.add(b"a")
    log.close()
    await asyncio.wait_for(log.run(), 5)
    assert log.counters["lost"] == 1


async def test_waiting_lines_are_bounded(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_log, "MAX_WAITING", 3)
    log = FindingsLog(str(tmp_path / "f"), max_bytes=100, files=2)
    for _ in range(5):
        log.add(b"x")
    assert log.counters["lost"] == 2
