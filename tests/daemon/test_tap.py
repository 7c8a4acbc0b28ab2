"""One tap: archive first, ticks as proofs, rotation, recovery, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import pathlib
import stat
import time

import pytest
from lab import Lab
from rig import FakeSource, Rig, frame, items_of, replay, shifted

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import Output
from plugtap.config.analysis import AnalysisSettings
from plugtap.config.settings import Archive
from plugtap.daemon import recovery
from plugtap.hw.errors import SourceError
from plugtap.hw.files import read_items
from plugtap.protocols.archive import ArchiveHeader
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick

SECOND = 1_000_000_000
SPEED = 10


def good(start: int | None = None, name: str = "din-dc", *, pilot: bool = False) -> list[Frame | CpRecord | TapEvent]:
    """A good session, ten times as fast as usual, that begins at `start` (default: now)."""
    return shifted(Lab.good(name, pilot=pilot).items(ticks=None), time.time_ns() if start is None else start, SPEED)


async def test_live_and_replay_say_the_same(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path, sources=[FakeSource("plc"), FakeSource("cp")])
    rig.start()
    await rig.play(good(pilot=True))
    rig.skip(10)
    await rig.until(lambda: any(s["state"] == "closed" for s in rig.live().values()), "the session closes")
    await rig.stop()
    (file,) = rig.files()
    assert file.suffix == ".pcapng" and stat.S_IMODE(file.stat().st_mode) == 0o640
    assert replay([file]) == rig.live() != {}
    facts = read_items(str(file))
    items = list(facts)
    assert facts.facts.sealed and facts.facts.results is not None
    assert [item.number for item in items if not isinstance(item, Tick)] == list(range(1, facts.facts.frames)), "no gaps"
    assert isinstance(items[-1], TapEvent) and items[-1].kind == "stop"


class Recorder(Analysis):
    """An Analysis that looks at the file before it looks at the item."""

    folder: pathlib.Path
    missing: list[Item]
    raising = False

    def feed(self, item: Item) -> list[Output]:
        (path,) = self.folder.iterdir()
        reader = read_items(str(path))
        if item not in list(reader):
            self.missing.append(item)
        if self.raising and isinstance(item, Frame):
            raise RuntimeError("a mistake of ours")
        return super().feed(item)


async def test_every_item_is_in_the_file_before_analysis_sees_it(tmp_path: pathlib.Path) -> None:
    Recorder.folder, Recorder.missing, Recorder.raising = tmp_path, [], False
    rig = Rig(tmp_path, make=Recorder)
    rig.start()
    rig.sources[0].say(*good()[:40])
    await rig.until(lambda: rig.tap.counters["items"] == 40, "items")
    await rig.until(lambda: rig.tap.counters["ticks"] >= 1, "a tick")
    await rig.stop()
    assert Recorder.missing == []


async def test_an_analysis_that_raises_loses_no_evidence(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    Recorder.folder, Recorder.missing, Recorder.raising = tmp_path, [], True
    rig = Rig(tmp_path, make=Recorder)
    rig.start()
    items = good()[:30]
    rig.sources[0].say(*items)
    await rig.until(lambda: rig.tap.counters["errors"] == 30, "errors are counted")
    await rig.stop()
    assert [item.data for item in items_of(rig.files()[0]) if isinstance(item, Frame)] == [item.data for item in items if isinstance(item, Frame)]
    told = [record for record in caplog.records if "analysis failed" in record.getMessage()]
    assert 1 <= len(told) <= 3, "the log is told, but not each time"


async def test_ticks_only_when_nothing_waits_anywhere(tmp_path: pathlib.Path) -> None:
    plc, cp = FakeSource("plc"), FakeSource("cp")
    rig = Rig(tmp_path, sources=[plc, cp])
    cp.busy = True
    rig.start()
    plc.say(*good()[:5])
    await rig.until(lambda: bool(rig.tap.open_sessions), "a session")
    await asyncio.sleep(0.3)
    assert rig.tap.counters["ticks"] == 0
    cp.busy = False
    await rig.until(lambda: rig.tap.counters["ticks"] > 0, "a tick")
    await rig.stop()
    ticks = [item.t for item in items_of(rig.files()[0]) if isinstance(item, Tick)]
    assert ticks == sorted(set(ticks))


async def test_a_session_left_open_is_gone_on_with(tmp_path: pathlib.Path) -> None:
    items = good()
    first = Rig(tmp_path)
    first.start()
    await first.play(items[:90])
    await first.until(lambda: first.tap.counters["items"] == 90, "first part")
    await first.stop()
    (part,) = first.files(".part")
    ids = set(first.live())
    assert len(ids) == 1 and first.live().popitem()[1]["state"] == "open"
    second = Rig(tmp_path)
    second.start()
    await second.until(lambda: bool(second.live()), "what was open is told again")
    await second.play(shifted(items[90:], time.time_ns()))
    second.skip(10)
    await second.until(lambda: any(s["state"] == "closed" for s in second.live().values()), "the end", 15)
    await second.stop()
    assert set(second.live()) == ids
    assert replay(second.files()) == second.live()
    assert [path.name for path in second.files()] == [part.name.removesuffix(".part")]


@pytest.mark.parametrize("change", ["settings", "catalogue", "late"])
async def test_a_file_that_cannot_be_gone_on_with_is_completed(tmp_path: pathlib.Path, change: str) -> None:
    first = Rig(tmp_path)
    first.start()
    await first.play(good()[:90])
    await first.until(lambda: first.tap.counters["items"] == 90, "items")
    await first.stop()
    (part,) = first.files(".part")
    if change == "settings":
        second = Rig(tmp_path, analysis=AnalysisSettings(site="lab", tap="tap", idle=2.0))
    elif change == "catalogue":
        second = Rig(tmp_path, catalogue="d")
    else:
        later = Archive(resume_seconds=0.1)
        await asyncio.sleep(0.2)
        second = Rig(tmp_path, archive=later)
    second.start()
    await second.until(lambda: len(second.files(".part")) == 1 and second.files(".part") != [part], "a new file")
    await second.stop()
    complete = tmp_path / part.name.removesuffix(".part")
    reader = read_items(str(complete))
    assert list(reader) and reader.facts.sealed
    told = second.live()
    assert set(told) == set(first.live()) and {s["state"] for s in told.values()} == {"closed"}
    assert replay([complete]) == told
    assert {stem for stem, _ in second.published} == {complete.stem}


async def test_damaged_and_empty_open_files(tmp_path: pathlib.Path) -> None:
    """Files that an earlier run left: one empty, one with rubbish, one cut in the middle of its last block."""
    (tmp_path / "tap-20200101T000000Z.pcapng.part").write_bytes(b"")
    (tmp_path / "tap-20200102T000000Z.pcapng.part").write_bytes(b"rubbish")
    (tmp_path / "tap-not-ours.pcapng.part").write_bytes(b"another's")
    first = Rig(tmp_path / "x")
    first.start()
    first.sources[0].say(*good()[:10])
    await first.until(lambda: first.tap.counters["items"] == 10, "items")
    await first.stop()
    (file,) = first.files()
    data = file.read_bytes()
    (tmp_path / "tap-20200103T000000Z.pcapng.part").write_bytes(data[: len(data) // 2 + 1])
    rig = Rig(tmp_path, catalogue="another")
    rig.start()
    await rig.until(lambda: len(rig.files(".part")) == 2, "the new file and the one that is not ours")
    await rig.stop()
    names = [path.name for path in rig.files()]
    assert "tap-20200101T000000Z.pcapng" not in names and "tap-20200102T000000Z.pcapng" not in names
    assert "tap-not-ours.pcapng.part" in names
    reader = read_items(str(tmp_path / "tap-20200103T000000Z.pcapng"))
    assert 1 <= len(list(reader)) < 15 and reader.facts.truncated is None and reader.facts.sealed


async def test_rotation_between_sessions_and_a_fresh_count(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path, archive=Archive(rotate_hours=1e-9))
    rig.start()
    playing = asyncio.create_task(rig.play(good()))
    await rig.until(lambda: bool(rig.tap.open_sessions), "a session")
    begun = len(rig.files())
    await rig.until(lambda: rig.tap.counters["items"] > 100, "within the session")
    assert len(rig.files()) == begun, "not within a session"
    await playing
    rig.skip(10)
    await rig.until(lambda: len(rig.files(".pcapng")) >= 1 and not rig.tap.open_sessions, "rotation", 40)
    again = good()
    before = len(rig.live())
    await rig.play(again)
    await rig.until(lambda: len(rig.live()) > before, "another session")
    await rig.stop()
    assert replay(rig.files(".pcapng")).keys() | rig.live().keys() == rig.live().keys()
    for path in rig.files():
        numbers = [item.number for item in items_of(path) if not isinstance(item, Tick)]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_session_larger_than_a_file_goes_on_in_a_second_one(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.start()
    await rig.until(lambda: bool(rig.files()), "a file")
    items = good()
    await rig.play(items[:100])
    await rig.until(lambda: bool(rig.tap.open_sessions) and rig.tap.counters["items"] == 100, "within a session")
    rig.archive._settings = Archive(rotate_megabytes=1, split_megabytes=0)
    await rig.until(lambda: len(rig.files()) >= 2, "split")
    rig.archive._settings = Archive()
    parts = rig.files()
    assert [path.name.endswith(".part") for path in parts].count(True) == 1
    await rig.play(items[100:])
    rig.skip(10)
    await rig.until(lambda: not rig.tap.open_sessions, "the end", 40)
    await rig.stop()
    live = rig.live()
    assert len(live) == 1
    # One stream over the files: what `--join` reads, and what a restart reads.
    ordered = sorted(rig.files(), key=lambda p: int(p.stem.rsplit("-", 1)[-1]) if p.stem.count("-") > 1 else 1)
    from plugtap.hw.archive_file import ArchiveFiles

    stream = ArchiveFiles([str(path) for path in ordered])
    analysis = Analysis(AnalysisSettings(site="lab", tap="tap"), sources=("plc",))
    for item in stream:
        analysis.feed(item)
    analysis.finish()
    assert {report.id: report.last_frame for report in analysis.reports()} == {key: value["last_frame"] for key, value in live.items()}


async def test_a_restart_after_a_split_reads_all_files_of_the_session(tmp_path: pathlib.Path) -> None:
    items = good()
    first = Rig(tmp_path)
    first.start()
    await first.play(items[:60])
    await first.until(lambda: first.tap.counters["items"] == 60 and bool(first.tap.open_sessions), "first file")
    await first.archive.split()
    await first.play(items[60:90])
    await first.until(lambda: first.tap.counters["items"] == 90, "second file")
    await first.stop()
    (part,) = first.files(".part")
    assert part.name.endswith("-2.pcapng.part")
    left = recovery.read_open(str(part), AnalysisSettings(), lambda settings: Analysis(settings, sources=("plc",)), lambda: None)
    assert left.part == 2 and left.next_number == 92, "90 packets, and the stop event"
    assert {report.id for report in left.analysis.reports()} == set(first.live())
    header = ArchiveHeader(site="lab", tap="tap", run="other", catalogue="c", plugtap="0", settings=left.header.settings if left.header else b"")
    assert recovery.may_resume(left, header, now=left.end + 1, resume_ns=SECOND)
    assert not recovery.may_resume(left, header, now=left.end - 1, resume_ns=SECOND), "a clock that went back"


async def test_a_source_that_ends_completes_the_file(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.start()
    rig.sources[0].say(*good(1_700_000_000 * SECOND))
    rig.sources[0].end()
    await rig.wait()
    (file,) = rig.files()
    assert file.suffix == ".pcapng" and replay([file]) == rig.live()
    assert rig.tap.done
    assert not [item for item in items_of(file) if isinstance(item, Tick)], "the time of a file is not now"


async def test_a_hopeless_source_ends_the_tap_and_leaves_the_evidence(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.start()
    rig.sources[0].say(*good()[:10], SourceError("eth1", "capturing is not permitted", "do something"))
    with pytest.raises(SourceError, match="not permitted"):
        await rig.wait()
    assert len([i for i in items_of(rig.files()[0]) if isinstance(i, Frame)]) <= 10


async def test_a_full_queue_stops_reading_and_loses_nothing(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path, queue_items=100)
    rig.start()
    rig.sources[0].say(*[frame(time.time_ns() + n) for n in range(5000)])
    await rig.until(lambda: rig.tap.counters["items"] == 5000, "all items")
    await rig.stop()
    assert rig.tap.inbox.high <= 100 and rig.tap.inbox.full > 0 and rig.tap.counters["overloads"] > 0
    assert len([i for i in items_of(rig.files()[0]) if isinstance(i, Frame)]) == 5000


async def test_a_clock_that_is_set_is_told(tmp_path: pathlib.Path) -> None:
    offset = 0
    rig = Rig(tmp_path, clock=lambda: time.time_ns() + offset)
    rig.start()
    rig.sources[0].say(frame(time.time_ns()))
    await rig.until(lambda: rig.tap.counters["items"] == 1, "an item")
    offset = -3600 * SECOND
    await rig.until(lambda: rig.tap.counters["items"] >= 2, "the event")
    await rig.until(lambda: rig.tap.counters["ticks"] >= 1, "ticks go on", 15)
    await rig.stop()
    (jump,) = [i for i in items_of(rig.files()[0]) if isinstance(i, TapEvent) and i.kind == "clock-jump"]
    assert abs(int(jump.values["ns"]) + 3600 * SECOND) < SECOND


async def test_items_the_format_cannot_hold_are_counted(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path)
    rig.start()
    rig.sources[0].say(frame(-5), frame(time.time_ns()))
    await rig.until(lambda: rig.tap.counters["items"] == 1, "the good one")
    await rig.stop()
    assert rig.archive.counters["refused"] == 1


async def test_without_an_archive_the_rest_works(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path, archive=Archive(enabled=False))
    rig.start()
    await rig.play(good())
    rig.skip(10)
    await rig.until(lambda: any(s["state"] == "closed" for s in rig.live().values()), "a session")
    await rig.stop()
    assert rig.files() == []


async def test_sinks_that_fail_do_not_stop_listening(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)

    def broken(*arguments: object) -> None:
        raise RuntimeError("a mistake in a sink")

    monkeypatch.setattr(rig.tap, "_publish", broken)
    rig.start()
    await rig.play(good()[:40])
    await rig.until(lambda: rig.tap.counters["items"] == 40, "all items")
    await rig.stop()
    assert rig.tap.counters["publish_errors"] > 0 and rig.tap.counters["errors"] == 0


class Slow(Analysis):
    """An Analysis on a machine that is much too small."""

    def feed(self, item: Item) -> list[Output]:
        time.sleep(0.005)
        return super().feed(item)


async def test_a_stop_under_overload_is_in_time_and_the_next_run_reads_the_rest(tmp_path: pathlib.Path) -> None:
    rig = Rig(tmp_path, make=Slow, queue_items=5000)
    rig.start()
    items = good()
    rig.sources[0].say(*items, *[frame(items[-1].t + n) for n in range(2000)])
    await rig.until(lambda: len(rig.tap.inbox) > 1000, "a backlog")
    begun = time.monotonic()
    await rig.stop()
    assert time.monotonic() - begun < 5
    assert rig.tap.behind > 500
    (part,) = rig.files(".part")
    assert len([i for i in items_of(part) if isinstance(i, Frame)]) == len(items) + 2000, "the evidence is complete"
    again = Rig(tmp_path)
    again.start()
    await again.until(lambda: bool(again.live()), "what was not analysed is analysed now")
    again.skip(100)
    await again.until(lambda: not again.tap.open_sessions, "the session closes")
    await again.stop()
    assert replay(again.files()) == again.live()


async def test_what_happens_to_a_source_stands_in_the_log(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and again after many alike: a line that flaps doesn't fill the disk."""
    caplog.set_level("INFO")
    rig = Rig(tmp_path)
    rig.start()
    lost = [TapEvent(t=time.time_ns(), number=0, source="plc", kind="link-lost", detail="/dev/plc: gone") for _ in range(25)]
    rig.sources[0].say(*lost)
    await rig.until(lambda: rig.tap.counters["items"] == 25, "events")
    await rig.stop()
    told = [record.getMessage() for record in caplog.records if "link-lost" in record.getMessage()]
    assert told == [f"link-lost tap=tap source=plc times={times} detail='/dev/plc: gone'" for times in (1, 10)]
