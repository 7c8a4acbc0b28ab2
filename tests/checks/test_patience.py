"""Limits on silence that are looked at once a limit (checks/patience.py) speak at the same moment as a deadline set by every message would."""

from __future__ import annotations

import msgspec
import pytest
from casebook import Lab

from plugtap.analysis.analysis import Analysis
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Frame, Item, Tick
from plugtap.sessions.records import SECOND, rfc3339

SEQUENCE = "time-secc-sequence-timeout"
MESSAGE = "time-msg-timeout"
SETTINGS = AnalysisSettings(site="lab", tap="lab", vantage="host", idle=900.0, recording_gap=60.0)


def heard(items: list[Item], check: str) -> list[Finding]:
    analysis = Analysis(SETTINGS, sources=("plc", "cp"))
    outputs = [output for item in items for output in analysis.feed(item)]
    assert not analysis.engine.failures
    return list({o.id: o for o in outputs if isinstance(o, Finding) and o.check == check}.values())


def sent(items: list[Item], frame: int) -> int:
    return next(i.t for i in items if not isinstance(i, Tick) and i.number == frame)


@pytest.mark.parametrize("pause", [59.5, 60.2, 119.0])
@pytest.mark.parametrize("before", [0.0, 0.5, 17.0, 31.0, 59.0])
def test_the_evs_silence_is_told_at_its_moment(pause: float, before: float) -> None:
    """However the 60 s lie between the looks that the check takes at the dialogue."""
    items = Lab.good("din-dc").delay("PreChargeReq", 0, before).delay("CurrentDemandReq", 3, pause).items()
    found = heard(items, SEQUENCE)
    assert len(found) == (pause > 60)
    assert [f.time for f in found] == [rfc3339(sent(items, f.frame) + 60 * SECOND) for f in found]


@pytest.mark.parametrize("before", [0.0, 0.3, 1.1, 2.9, 7.0])
@pytest.mark.parametrize(("wait", "speaks"), [(1.9, False), (2.5, True), (60.0, True)])
def test_an_answer_that_does_not_come_is_told_at_its_moment(before: float, wait: float, speaks: bool) -> None:
    items = Lab.good("din-dc").delay("CableCheckReq", 0, before).delay("CableCheckRes", 1, wait).items()
    found = heard(items, MESSAGE)
    assert [f.time for f in found] == [rfc3339(sent(items, f.frames[0]) + 2 * SECOND) for f in found]
    assert len(found) == speaks


def test_silence_while_nobody_recorded_is_none() -> None:
    """After a hole in the recording the deadlines in it are gone, and the next message that waits has its own again."""
    lab = Lab.good("din-dc", pilot=False).delay("CurrentDemandReq", 4, 240.0).stop_after("CurrentDemandRes", 6)
    items = lab.items()
    frames = [i for i in items if not isinstance(i, Tick)]
    hole = max(range(1, len(frames)), key=lambda n: frames[n].t - frames[n - 1].t)
    start, end = frames[hole - 1].t, frames[hole].t
    assert end - start > 239 * SECOND
    found = heard([i for i in items if not (isinstance(i, Tick) and start < i.t < end)], SEQUENCE)
    assert [f.time for f in found] == [rfc3339(sent(items, f.frame) + 60 * SECOND) for f in found]
    assert len(found) == 1 and sent(items, found[0].frame) > end
    assert [f.count for f in heard(items, SEQUENCE)] == [2], "with somebody listening both were proven"


def test_a_clock_set_back_ends_what_was_waited_for_and_no_more() -> None:
    lab = Lab.good("din-dc", pilot=False).stop_after("CurrentDemandRes", 6)
    items = lab.items()
    last = max(i.t for i in items if not isinstance(i, Tick))
    turn = sorted({i.t for i in items if not isinstance(i, Tick)})[-9]
    back = 3600 * SECOND
    moved: list[Item] = []
    for item in items:
        shift = back if item.t > turn else 0
        moved.append(Tick(item.t - shift) if isinstance(item, Tick) else msgspec.structs.replace(item, t=item.t - shift))
    found = heard(moved, SEQUENCE)
    assert [(f.time, f.count) for f in found] == [(rfc3339(sent(moved, f.frame) + 60 * SECOND), 1) for f in found]
    assert len(found) == 1 and 0 <= last - back - sent(moved, found[0].frame) < SECOND // 100


def test_silence_after_a_hole_does_not_prove_the_time_in_it() -> None:
    """The response before the hole was the last that was heard; its 60 s were over while nobody listened."""
    items = Lab.good("din-dc", pilot=False).stop_after("CurrentDemandRes", 4).items(tail=10.0)
    end = items[-1].t
    stranger = Frame(t=end + 240 * SECOND, number=9999, source="plc", data=bytes.fromhex("ffffffffffff0200000000990806") + bytes(46), link=1)
    later: list[Item] = [stranger, *(Tick(stranger.t + n * SECOND) for n in range(200))]
    assert heard([*items, *later], SEQUENCE) == heard(items, SEQUENCE) == []
    assert len(heard([*items, *(Tick(end + n * SECOND) for n in range(100))], SEQUENCE)) == 1
