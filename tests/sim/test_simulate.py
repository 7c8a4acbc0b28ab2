"""`plugtap simulate`: list, show, write; and scenarios made of captures."""

from __future__ import annotations

import collections
import subprocess
import sys
from pathlib import Path

import pytest
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.items import Tick
from plugtap.sim import scenario as scenarios
from plugtap.sim.capture_scenario import events_of, scenario_text
from plugtap.sim.matrix import analyse
from plugtap.sim.scenario import ScenarioError


def plugtap(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "plugtap", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_list_show_and_write(tmp_path: Path) -> None:
    listed = plugtap("simulate", "--list").stdout
    assert "precharge-stalled" in listed and "healthy" in listed
    shown = plugtap("simulate", "precharge-stalled", "--show").stdout
    assert scenarios.parse(shown, "again").supply == {"stall_v": 120.0}
    plugtap("simulate", "demo-good", "demo-precharge", "-o", str(tmp_path))
    plugtap("simulate", "demo-good", "-o", str(tmp_path / "one.pcapng"))
    assert (tmp_path / "one.pcapng").read_bytes() == (tmp_path / "demo-good.pcapng").read_bytes()
    judged = plugtap("analyze", "--format", "json", str(tmp_path / "demo-precharge.pcapng"), code=1).stdout
    assert '"outcome": "failed"' in judged


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[ev]\ncolour = 'red'\n")
    for arguments, said, code in (
        (("simulate", "no-such"), "no such scenario", 2),
        (("simulate", "din-dc"), "-o FILE", 2),
        (("simulate", str(mine), "-o", "x.pcapng"), "no setting named colour", 2),
        (("simulate", str(tmp_path / "none.toml"), "-o", "x.pcapng"), "none.toml", 3),
        (("simulate", "--from", str(mine), "-o", str(tmp_path / "out.toml")), "mine.toml", 3),
    ):
        error = plugtap(*arguments, code=code).stderr
        assert said in error and "Traceback" not in error


@pytest.mark.parametrize("name", ["din-dc", "iso2-ac", "iso20-dc", "tcp-secc-reset", "cable-check-endless"])
def test_a_capture_becomes_a_scenario_that_says_the_same_again(name: str) -> None:
    first = scenarios.bench(scenarios.load(name)).run()
    text, what = scenario_text(first, f"{name}.pcapng")
    assert "exchanges" in what
    again = scenarios.bench(scenarios.parse(text, "again")).run()

    def told(items: object) -> tuple[collections.Counter[str], list[str]]:
        messages = [e for e in events_of(items) if isinstance(e, V2gMessage)]  # type: ignore[arg-type]
        order = [str(m.message) for m in messages]
        return collections.Counter(order), list(dict.fromkeys(order))

    assert told(first)[1] == told(again)[1]
    before, after = told(first)[0], told(again)[0]
    assert all(abs(before[message] - after[message]) <= 2 for message in before), (before, after)
    reached = [[report.reached for report in analyse(items, vantage="passive")[0]] for items in (first, again)]
    assert reached[0] == reached[1]


def test_times_of_a_real_capture_are_kept(captures: Path) -> None:
    from plugtap.hw.files import read_items

    path = next((captures / "files").rglob("*SWIsued*.pcap"))
    text, _ = scenario_text(list(read_items(str(path))), path.name)
    items = scenarios.bench(scenarios.parse(text, "real")).run()
    reports, _ = analyse(items, vantage="passive")
    assert [report.outcome for report in reports] == ["completed"]
    assert 45 < float(reports[0].electrical["soc_end"]) < 55


# Part of the file's name, and how its first session with a dialogue goes: outcome, how it ended, verdict's side and check. (A recording that
# pauses in the middle is not among them: the bench's own captures prove their silence, so the same frames say more.)
STORIES = {
    "2024-02-14_SuC_endless*": ("failed", "new-slac", "SECC", "time-cablecheck"),
    "spi_ioniq_alpiHYC150_Meitingen*": ("incomplete", "capture-end", "none", None),
    "abb-normal-din.pcap": ("completed", "rst", "none", None),
    "ampera_dc_din.dump": ("failed", "fin", "SECC", "time-cablecheck"),
    "2024-04-20_ModelY_pyPLC_stop*": ("stopped", "session-stop", "SECC", "status-evse-notready"),
}


@pytest.mark.parametrize("pattern", STORIES)
def test_a_scenario_made_of_a_capture_tells_the_same_story(pattern: str, captures: Path) -> None:
    from plugtap.hw.files import read_items

    path = next((captures / "files").rglob(pattern))
    real = list(read_items(str(path)))
    text, _ = scenario_text(real, path.name)
    # Only our own recordings prove silence: told without that proof, as the capture is.
    made = [item for item in scenarios.bench(scenarios.parse(text, "real")).run() if not isinstance(item, Tick)]
    told = []
    for items in (real, made):
        session = next(report for report in analyse(items)[0] if report.messages.get("SessionSetupRes"))
        assert session.ended is not None
        told.append((session.outcome, session.ended.how, session.verdict.side, session.verdict.check))
    assert told[0] == told[1]
    assert told[1] == STORIES[pattern]


def test_a_capture_without_session_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no session was set up"):
        scenario_text(scenarios.bench(scenarios.load("slac-charger-deaf")).run(), "x")
