"""Connectors spread over processes: the same bytes as by one, one end for all, and no failure that goes unsaid."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugtap.protocols.items import CpRecord, Frame
from plugtap.sim import crew, stage
from plugtap.sim import scenario as scenarios
from plugtap.sim.adc import Adc
from plugtap.sim.lanes import Lane, Opening, PlayError, play
from plugtap.sim.live import PilotPort, Veth
from plugtap.sim.stage import Bay

EPOCH = 1_767_225_600_000_000_000
QUICK = "base = 'din-dc'\nduration = 2.5\n[ev]\nplug_delay = 1.0\nslac_delay = 0.1\n[evse]\nb_to_pwm = 0.1\n"
BROKEN = QUICK + "[[do]]\nafter = 'plug'\ndo = 'fly'\n"


class File:
    """A sink that keeps all: nothing is lost, so what came can be compared byte for byte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._adc = Adc("text", EPOCH)

    def frame(self, frame: Frame) -> None:
        self._add(b"%d %s\n" % (frame.t, frame.data.hex().encode()))

    def record(self, record: CpRecord) -> None:
        self._add(self._adc.encode(record))

    def _add(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)

    def close(self) -> None:
        pass


def bays(folder: Path, *scenario_texts: str) -> list[Bay]:
    folder.mkdir()
    made = []
    for number, text in enumerate(scenario_texts, 1):
        sink = File(folder / f"bay-{number}")
        made.append(Bay(f"bay-{number}", scenarios.parse(text, "quick"), sink, sink, "", "", ""))  # type: ignore[arg-type]
    return made


def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    kept = []
    for processes in (1, 2, 3):
        folder = tmp_path / str(processes)
        orders = crew.Orders(seed=7, speed=8.0, processes=processes, rounds=2, start=EPOCH)
        tally = crew.perform(bays(folder, *[QUICK] * 4), orders)
        assert (tally.processes, tally.rounds) == (processes, 8)
        kept.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 4 and len(set(kept[0].values())) == 4, "each connector has its own dice"
    assert all(data.count(b"CP,") > 200 and data.count(b"88e1") > 20 for data in kept[0].values())


def test_cables_and_terminals_are_played_by_other_processes_too(tmp_path: Path) -> None:
    scenario = scenarios.parse(QUICK, "quick")
    made, why = stage.make_bays(tmp_path, [("one", scenario), ("two", scenario)], cable=True)
    files: list[int] = []
    sockets: list[socket.socket] = []
    try:
        if why or not all(isinstance(bay.frames, Veth) and isinstance(bay.pilot, PilotPort) for bay in made):
            pytest.skip(why or "no terminals here")
        for bay in made:
            assert isinstance(bay.frames, Veth) and isinstance(bay.pilot, PilotPort)
            files.append(os.open(bay.pilot.device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
            sockets.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            sockets[-1].bind((bay.frames.tap, 0))
            sockets[-1].setblocking(False)
        assert crew.perform(made, crew.Orders(processes=2, rounds=1)).processes == 2
        assert all(len(os.read(file, 4096)) > 1000 for file in files)
        assert all(b"\x88\xe1" in listening.recv(2000) for listening in sockets)
    finally:
        stage.close(made)
        for file in files:
            os.close(file)
        for listening in sockets:
            listening.close()


def test_the_tally_says_how_late(tmp_path: Path) -> None:
    tally = crew.perform(bays(tmp_path / "x", QUICK, QUICK), crew.Orders(speed=8.0, processes=2, rounds=1))
    assert 4.9e9 < tally.played < 5.1e9 and tally.items > 60 and tally.processor > 0
    assert 1 <= tally.within(0.5) <= tally.within(1.0) and tally.within(1.0) == tally.late // 1_000_000 + 1


def test_a_tally_of_nothing() -> None:
    assert crew.Tally().within(0.5) == 0


def test_few_pairs_need_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert [crew.processes_for(pairs) for pairs in (1, 10, 11, 40, 200)] == [1, 1, 2, 4, 8]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_connector_that_fails_is_named_and_ends_all(processes: int, tmp_path: Path) -> None:
    orders = crew.Orders(processes=processes, seconds=30)
    begin = time.monotonic()
    with pytest.raises(PlayError, match=r"^bay-3 \(quick\): ValueError: no such verb: fly \(pair.py, line \d+\)$"):
        crew.perform(bays(tmp_path / "x", QUICK, QUICK, BROKEN, QUICK), orders)
    assert time.monotonic() - begin < 8


def test_what_a_closed_bench_leaves_for_the_collector() -> None:
    bench = scenarios.bench(scenarios.load("din-dc"))
    bench.advance(bench.end)
    gc.collect()
    bench.close()
    del bench
    assert gc.collect() < 100, "a bench has over five hundred parts that know each other"


def test_rounds_follow_each_other_in_the_benches_time() -> None:
    starts: list[int] = []

    def make(number: int, start: int) -> object:
        starts.append(start)
        return scenarios.bench(scenarios.parse(QUICK, "quick"), start=start) if number < 3 else None

    lane = Lane(make, None, None, speed=50.0)  # type: ignore[arg-type]
    asyncio.run(play([lane], None, Opening.soon(1, EPOCH)))
    assert starts == [EPOCH, EPOCH + 3_500_000_000, EPOCH + 7_000_000_000, EPOCH + 10_500_000_000]


def test_a_lane_that_is_woken_late_says_the_same() -> None:
    scenario = scenarios.parse("base = 'din-dc'\nduration = 60.0\ntail = 1.0\n[ev]\nplug_delay = 0.5\n[[do]]\nafter = 'plug'\ndelay = 1.0\ndo = 'unplug'\n", "short")

    class Kept(list[tuple[int, bytes]]):
        def frame(self, frame: Frame) -> None:
            self.append((frame.t, frame.data))

        def record(self, record: CpRecord) -> None:
            self.append((record.t, b""))

        def close(self) -> None:
            pass

    told = []
    for beat in (1_000_000, 7_000_000_000):
        kept = Kept()
        lane = Lane(lambda number, start: scenarios.bench(scenario, start=start) if number < 2 else None, kept, kept)  # type: ignore[arg-type]
        lane.open(Opening(0, EPOCH))
        now = 0
        while (again := lane.step(now)) is not None:
            now = max(again, now + beat)
        told.append(list(kept))
    assert told[0] == told[1] and len(told[0]) > 40
    assert told[0][-1][0] < EPOCH + 6_500_000_000, "both rounds ended a second after the plug was out"


# -- the command -------------------------------------------------------------------------------------------------------


def simulate(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "plugtap", "simulate", *more, "--live", "--pipes", "--pairs", "4", "--processes", "2", "--dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@contextlib.contextmanager
def playing(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command at work, and the processes that play."""
    process = simulate(folder, *more)
    try:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        children: list[int] = []
        until = time.monotonic() + 10
        while len(children) < 2 and time.monotonic() < until:
            time.sleep(0.05)
            children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        time.sleep(0.3)
        yield process, children
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(("number", "group"), [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGTERM, True)])
def test_a_signal_ends_all_within_five_seconds(number: signal.Signals, group: bool, tmp_path: Path) -> None:
    with playing(tmp_path, "din-dc") as (process, children):
        assert len(children) == 2
        begin = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        said, wrong = process.communicate(timeout=10)
        assert time.monotonic() - begin < 5
    assert process.returncode == 0 and not wrong and "4 sessions begun" in said and "by 2 processes" in said
    assert all(gone(pid) for pid in children) and not list(tmp_path.glob("*.fifo"))


def test_players_do_not_outlive_the_command(tmp_path: Path) -> None:
    with playing(tmp_path, "din-dc") as (process, children):
        process.kill()
        until = time.monotonic() + 5
        while not all(gone(pid) for pid in children):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_player_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with playing(tmp_path, "din-dc") as (process, children):
        os.kill(children[1], signal.SIGKILL)
        _, wrong = process.communicate(timeout=10)
    assert process.returncode == 1 and gone(children[0])
    assert wrong == "plugtap simulate: bay-3 to bay-4: the process that played them was ended by signal 9\n"


def test_a_connector_that_fails_ends_the_command(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(BROKEN)
    process = simulate(tmp_path, "din-dc", str(mine))
    said, wrong = process.communicate(timeout=30)
    assert process.returncode == 1
    assert re.fullmatch(r"plugtap simulate: bay-[24] \(mine\): ValueError: no such verb: fly \(pair.py, line \d+\)\n", wrong), said + wrong
    assert not list(tmp_path.glob("*.fifo"))


def test_numbers_that_make_no_sense(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "plugtap", "simulate", "din-dc", "--live", "--processes", "-1", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and "--processes" in done.stderr
