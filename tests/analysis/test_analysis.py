"""The heart as a whole: the same bytes give the same findings, however they come; hostile bytes give some result."""

from __future__ import annotations

import random

import msgspec
import pytest
from lab import Lab

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Frame, Item, Tick

SECOND = 1_000_000_000


def whole(items: list[Item], ticks: int = 0, settings: AnalysisSettings | None = None) -> list[SessionReport]:
    """Analyse, with extra ticks at the time of each item."""
    analysis = Analysis(settings, foreign=True)
    for item in items:
        analysis.feed(item)
        for _ in range(ticks):
            analysis.feed(Tick(t=item.t))
    analysis.finish()
    return analysis.reports()


def before_the_end(items: list[Item], frames: int = 12) -> int:
    """Index of an item in the charge loop: some frames before the session's end."""
    (report,) = whole(items)
    assert report.ended is not None
    return next(i for i, item in enumerate(items) if isinstance(item, Frame) and item.number == report.ended.frame - frames)


def without_revisions(reports: list[SessionReport]) -> bytes:
    return msgspec.json.encode([msgspec.structs.replace(r, rev=1) for r in reports])


@pytest.mark.parametrize("kind", ["din-dc", "iso2-dc", "iso2-ac"])
def test_a_good_session_is_told_as_one(kind: str) -> None:
    report = Lab.good(kind).run().session
    assert report.outcome == "completed", report.verdict
    assert report.reached == "charging"
    assert report.verdict.side == "none"
    assert report.coverage.slac == report.coverage.unicast == "both"
    assert report.ended is not None
    assert report.ended.how == "session-stop"
    assert [f.check for f in report.findings if f.severity != "info"] == []


def test_extra_ticks_change_nothing() -> None:
    items = Lab.good("din-dc").items()
    plain = without_revisions(whole(items))
    assert plain == without_revisions(whole(items, 1)) == without_revisions(whole(items, 20))


def test_the_same_bytes_give_the_same_ids_and_another_tap_gives_others() -> None:
    items = Lab.good("din-dc").items()
    first, second = whole(items), whole(items)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    other = whole(items, settings=AnalysisSettings(tap="other"))
    assert other[0].id != first[0].id


def test_frames_in_any_damage_never_raise() -> None:
    rng = random.Random(7)
    items = [i for i in Lab.good("din-dc").items() if isinstance(i, Frame)]
    for _ in range(60):
        analysis = Analysis(foreign=True)
        for item in items:
            data = bytearray(item.data)
            roll = rng.random()
            if roll < 0.15 and data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            elif roll < 0.2:
                del data[rng.randrange(len(data) + 1) :]
            elif roll < 0.22:
                continue
            analysis.feed(msgspec.structs.replace(item, data=bytes(data), wire_len=0))
        analysis.finish()
        assert analysis.engine.failures == {}
        for report in analysis.reports():
            msgspec.json.encode(report)


def test_a_long_silence_in_a_foreign_file_is_a_gap_not_a_fault() -> None:
    items = Lab.good("din-dc").items()
    cut = before_the_end(items)
    late = [msgspec.structs.replace(i, t=i.t + 45 * SECOND) for i in items[cut:]]
    (report,) = whole([*items[:cut], *late])
    assert [g["kind"] for g in report.coverage.gaps] == ["silence"]
    assert not [f for f in report.findings if f.severity == "error"]


def test_a_capture_that_ends_is_cut_not_failed() -> None:
    items = Lab.good("din-dc").items()
    (report,) = whole(items[: before_the_end(items)])
    assert report.outcome == "incomplete"
    assert report.coverage.end == "cut"
    assert report.ended is not None
    assert report.ended.how == "capture-end"


def test_a_clock_that_jumps_back_does_not_split_or_fail_the_session() -> None:
    items = Lab.good("din-dc").items()
    cut = before_the_end(items)
    back = [msgspec.structs.replace(i, t=i.t - 3600 * SECOND) for i in items[cut:]]
    reports = whole([*items[:cut], *back])
    assert len(reports) == 1
    assert reports[0].outcome == "completed"
    assert "clock-jump" in {g["kind"] for g in reports[0].coverage.gaps}


def test_a_check_that_raises_is_isolated_reported_and_switched_off() -> None:
    from plugtap.checks.base import Check, on
    from plugtap.checks.meta import Meta
    from plugtap.protocols.events import V2gMessage

    class Broken(Check):
        meta = Meta(
            id="time-broken", title="t", severity="info", class_="info", effect="none", side="none", trigger="", cause="", fix="", refs=()
        )

        @on(V2gMessage)
        def message(self, ev: V2gMessage) -> None:
            raise RuntimeError("bug")

    analysis = Analysis(foreign=True, checks={"time-broken": Broken})
    for item in Lab.good("din-dc").items():
        analysis.feed(item)
    analysis.finish()
    assert analysis.engine.failures["time-broken"][1] == "RuntimeError: bug"
    assert "time-broken" in analysis.engine.disabled
    assert analysis.reports()[0].outcome == "completed"


def test_a_pause_of_the_line_in_the_middle_of_tcp_is_named_as_loss() -> None:
    items = Lab.good("din-dc").items()
    # Take single frames away: the peers go on, so the capture lost them.
    gone = before_the_end(items)
    reports = whole([*items[:gone], *items[gone + 1 :]])
    assert len(reports) == 1
    assert reports[0].outcome == "completed"
