"""The live edge: frames and pilot through pipes and terminals to the daemon's own sources, in time; and the demo as users run it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from plugtap.hw.pipe import pipe_source
from plugtap.protocols.cpf1 import Cpf1Parser, Cycles
from plugtap.protocols.items import CpRecord, Frame
from plugtap.sim import scenario as scenarios
from plugtap.sim import stage
from plugtap.sim.bench import Bench
from plugtap.sim.lanes import Lane, play
from plugtap.sim.live import CapturePipe, LiveError, PilotPort, SessionPipe, Veth
from plugtap.sim.matrix import analyse

QUICK = "base = 'din-dc'\n[ev]\nplug_delay = 1.0\nslac_delay = 0.1\n[evse]\nb_to_pwm = 0.1\n"


def quick_lane(frames: object, pilot: object, *, speed: float = 1.0) -> Lane:
    scenario = scenarios.parse(QUICK, "quick")
    scenario.duration = 2.5

    def make(number: int, start: int) -> object:
        return scenarios.bench(scenario, start=start) if number == 0 else None

    return Lane(make, frames, pilot, speed=speed)  # type: ignore[arg-type]


async def test_frames_come_out_of_the_pipe_source_when_they_happen(tmp_path: Path) -> None:
    pipe = CapturePipe(tmp_path / "capture")
    source = pipe_source(str(tmp_path / "capture"))
    got: list[tuple[int, Frame]] = []

    async def read() -> None:
        async for item in source:
            if isinstance(item, Frame):
                got.append((time.time_ns(), item))

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    lane = quick_lane(pipe, None)
    await play([lane])
    await asyncio.sleep(0.1)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    pipe.close()
    assert lane.rounds == 1 and len(got) > 12
    mmes = [item.data[15:17].hex() for _, item in got if item.data[12:14] == b"\x88\xe1"]
    assert mmes[:3] == ["6460", "6560", "6a60"]
    delays = sorted(arrival - item.t for arrival, item in got)
    assert delays[0] > -1_000_000, "nothing comes before it happens"
    assert delays[len(delays) // 2] < 250_000_000


async def test_a_pipe_without_reader_loses_frames_and_goes_on(tmp_path: Path) -> None:
    pipe = CapturePipe(tmp_path / "nobody")
    lane = quick_lane(pipe, None, speed=20.0)
    await play([lane])
    pipe.close()
    assert lane.items > 12 and not (tmp_path / "nobody").exists()


async def test_the_pilot_comes_out_of_the_terminal(tmp_path: Path) -> None:
    port = PilotPort("cpf1", time.time_ns() - 10**9)
    device = os.open(port.device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    await play([quick_lane(None, port, speed=10.0)])
    data = os.read(device, 200_000)
    os.close(device)
    port.close()
    parser = Cpf1Parser()
    cycles = [m for m in parser.feed(data) if isinstance(m, Cycles)]
    assert parser.counters.bad_crc == 0 and len(cycles) >= 20
    assert min(m.cycles[0].lo_mv for m in cycles) < -11_000, "PWM was seen"


async def test_at_more_than_real_time_frames_and_pilot_share_a_clock_that_never_goes_back(tmp_path: Path) -> None:
    pipe = SessionPipe(tmp_path / "both", "fast")
    source = pipe_source(str(tmp_path / "both"), local_clock=False)
    got: list[Frame | CpRecord] = []

    async def read() -> None:
        async for item in source:
            if isinstance(item, Frame | CpRecord):
                got.append(item)

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    scenario = scenarios.load("din-dc")

    def make(number: int, start: int) -> Bench | None:
        return scenarios.bench(scenario, start=start) if number < 2 else None

    await play([Lane(make, pipe, pipe, speed=40.0)])
    await asyncio.sleep(0.1)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    pipe.close()
    for source_of in (Frame, CpRecord):
        times = [item.t for item in got if isinstance(item, source_of)]
        assert len(times) > 500 and times == sorted(times)
    reports, findings = analyse([msgspec.structs.replace(item, number=number) for number, item in enumerate(got, 1)])
    assert [report.outcome for report in reports] == ["completed", "completed"]
    assert not [finding.check for finding in findings if finding.severity != "info"]


def test_a_cable_where_permitted(tmp_path: Path) -> None:
    try:
        cable = Veth(77)
    except LiveError as error:
        pytest.skip(str(error))
    try:
        assert Path(f"/sys/class/net/{cable.tap}").exists()
        assert Path(f"/proc/sys/net/ipv6/conf/{cable.tap}/disable_ipv6").read_text().strip() == "1"
    finally:
        cable.close()
    assert not Path(f"/sys/class/net/{cable.tap}").exists()


def test_bays_fall_back_to_pipes_and_say_so(tmp_path: Path) -> None:
    bays, why = stage.make_bays(tmp_path, [("one", "din-dc"), ("two", "iso2-dc")], cable=False, terminals=False)
    try:
        assert "no virtual cables" in why
        text = stage.settings_toml(tmp_path, bays, 0, 0)
        assert text.count('type = "pipe"') == 4 and "[mqtt]" not in text
        from plugtap.config.load import parse_settings

        assert set(parse_settings(text).tap) == {"one", "two"}
    finally:
        stage.close(bays)


def test_at_other_speeds_the_pilot_has_no_source_of_its_own(tmp_path: Path) -> None:
    bays, why = stage.make_bays(tmp_path, [("one", "din-dc")], cable=False, real_time=False)
    try:
        from plugtap.config.load import parse_settings

        tap = parse_settings(stage.settings_toml(tmp_path, bays, 0, 0)).tap["one"]
        assert not why and tap.capture.clock == "remote"
    finally:
        stage.close(bays)


@pytest.mark.slow
def test_the_demo_from_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "plugtap", "demo", "--pipes", "--for", "40", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert text.index("What a tap can see") < text.index("the daemon is online"), "the truth comes first"
    for said in ("COMPLETED", "FAILED", "side: SECC", "cause:", "remedy:", "plugtap_sessions_total", ".pcapng"):
        assert said in text, f"{said} is missing in:\n{text}"
    assert list((tmp_path / "state" / "archive").rglob("*.pcapng*"))


def test_the_demo_explains_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "plugtap", "demo", "--help"], capture_output=True, text=True, timeout=60, check=True)
    for said in ("--for SECONDS", "Without root", "examples:"):
        assert said in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "plugtap", "demo", "--for", "1"], capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2 and "five seconds at least" in wrong.stderr
