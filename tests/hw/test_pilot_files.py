"""Pilot files beside a capture: opened, put on its clock, refused with file, line and remedy; and real ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.cli.inputs import CaptureItems
from plugtap.hw.errors import SourceError
from plugtap.hw.pilot_files import open_pilot_file, read_pilot_file
from plugtap.protocols.events import Pilot
from plugtap.protocols.items import CpRecord
from plugtap.protocols.stack import Stack

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def test_absolute_times_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pilot"
    path.write_text('{"time": 1700000000.5, "state": "B1"}\n{"time": 1700000003, "state": "B2", "duty": 5}\n')
    records = read_pilot_file(str(path))
    assert [r.t for r in records] == [START + SECOND // 2, START + 3 * SECOND]
    assert [r.t for r in read_pilot_file(str(path), -SECOND, start=77)] == [START - SECOND // 2, START + 2 * SECOND]


def test_relative_times_count_from_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "pilot.jsonl"
    path.write_text('{"t": 0.5, "state": "B1"}\n{"t": 3, "state": "B2", "duty": 5}\n')
    records = read_pilot_file(str(path), 2 * SECOND, START)
    assert [r.t - START for r in records] == [5 * SECOND // 2, 5 * SECOND]


def test_device_clocks_begin_with_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "pilot.txt"
    path.write_text("CP,987654,9000,-12000,50,10000\nCP,987754,9000,-12000,50,10000\n")
    records = read_pilot_file(str(path), SECOND // 4, START)
    assert [r.t - START for r in records] == [SECOND // 4, SECOND // 4]
    assert records[1].span == SECOND // 10, "a line covers the time since the one before"


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "pilot.gz"
    path.write_bytes(gzip.compress(b'{"t": 1, "state": "C2", "duty": 53.3}\n'))
    (record,) = read_pilot_file(str(path))
    assert (record.duty, record.hi_mv) == (5330, 6000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello\n", "line 1 is in no known form"),
        (b"\n\n{}\n", "line 3 is in no known form"),
        (b"-11.93 8.97\n", "line 1 has no time"),
        (b"\0\1\2\3" * 100, "no CPF1 frame"),
        (b"", "says nothing about the pilot"),
    ],
)
def test_errors_name_file_line_and_remedy(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "pilot.what"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_pilot_file(str(path))
    assert str(path) in str(caught.value)
    assert words in caught.value.reason
    assert "JSON Lines" in caught.value.remedy


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_pilot_file(str(tmp_path / "none"))


def test_damaged_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "pilot.jsonl"
    path.write_text('{"t": 1, "state": "B1"}\nrubbish\n{"t": 2, "state": "B2"}\n{"time": 5, "state": "C2"}\n')
    file = open_pilot_file(str(path))
    assert file.notes() == (
        f"{path}: 1 lines could not be read, the first is line 2",
        f"{path}: 1 readings have no time on the clock of the first one and were left out",
    )


# -- real captures -------------------------------------------------------------------------------------------------


def everest_pairs(captures: Path) -> list[tuple[Path, Path]]:
    """Captures with their event logs."""
    pairs = []
    for log in sorted((captures / "cp").glob("*.events.jsonl")):
        folder = captures / "files" / "EVerest__logfiles" / log.name.removesuffix(".events.jsonl").replace("__", "/")
        pairs.append((folder / "ethernet-traffic.dump", log))
    return pairs


def analyse(capture: Path, log: Path) -> tuple[list[SessionReport], list[str], CaptureItems]:
    """Sessions and pilot states of a capture with its log."""
    source = CaptureItems([str(capture)], pilot=open_pilot_file(str(log)))
    stack = Stack()
    analysis = Analysis(sources=source.sources(), foreign=True)
    states: list[str] = []
    last = 0
    for item in source.items():
        analysis.feed(item)
        if isinstance(item, CpRecord):
            assert item.t >= last
            states += [e.state for e in stack.feed(item) if isinstance(e, Pilot)]
        last = item.t
    analysis.finish()
    return analysis.reports(), states, source


def test_a_real_capture_gets_its_pilot_from_the_event_log(captures: Path) -> None:
    name = "VW__id.4__iso_15118-2_AC__2023-04-14T09-52-17.069Z-3_config-ac-iso2"
    (capture, log) = next(pair for pair in everest_pairs(captures) if pair[1].name == name + ".events.jsonl")
    sessions, states, source = analyse(capture, log)
    assert states == ["A1", "B1", "B2", "C2", "B2"]
    charging = sessions[0]
    assert charging.coverage.pilot == "states"
    assert charging.phases[0].name == "plugged"
    assert charging.phases[0].start.startswith("2023-04-14T09:52:17.07")
    assert [n for n in source.notes() if "readings" in n] == []


def test_every_event_log_fits_its_capture(captures: Path) -> None:
    pairs = everest_pairs(captures)
    assert len(pairs) >= 30
    smallest = sorted(pairs, key=lambda pair: pair[0].stat().st_size)[:8]
    for capture, log in smallest:
        sessions, states, source = analyse(capture, log)
        assert states[:3] == ["A1", "B1", "B2"], log.name
        assert sessions[0].coverage.pilot == "states", log.name
        assert not any("within the capture's time" in note for note in source.notes()), log.name


def test_a_log_of_another_day_is_told(captures: Path) -> None:
    pairs = everest_pairs(captures)
    capture, log = pairs[0][0], pairs[-1][1]
    sessions, states, source = analyse(capture, log)
    assert states == []
    assert all(session.coverage.pilot == "none" for session in sessions)
    assert any("--cp-offset" in note for note in source.notes())


def test_values_out_of_mmes_say_what_the_mmes_say(captures: Path) -> None:
    capture = next((captures / "files").rglob("IEC61851_AC_PWM_Basic.pcapng"))
    log = captures / "cp" / "IEC61851_AC_PWM_Basic.pcapng.cp.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    sessions, states, _ = analyse(capture, log)
    assert len(rows) > 10
    assert states == ["A1", "B1", "B2", "C2", "B2", "C2", "C1", "B1", "A1"]
    alone = Analysis(foreign=True)
    for item in CaptureItems([str(capture)]).items():
        alone.feed(item)
    alone.finish()
    assert [s.outcome for s in sessions] == [s.outcome for s in alone.reports()]
    assert alone.reports()[0].coverage.pilot == "states"
