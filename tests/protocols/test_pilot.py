"""Levels and duty cycles to states and currents, as IEC 61851-1 annex A and SAE J1772 have them."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmes_of_captures import all_mmes

from plugtap.protocols.cp_mme import DspaceDiag, SpidcomCpInd, StpCpStateInd
from plugtap.protocols.events import Event, Mme, Pilot, PilotSample
from plugtap.protocols.items import CP_DIODE_SUSPECT, CP_GLITCH, CP_NO_PWM, CpRecord
from plugtap.protocols.pilot import (
    IEC_61851,
    LEVEL_BANDS,
    SAE_J1772,
    DutyRow,
    PilotSettings,
    PilotTracker,
    duty_current,
    letter_of,
)
from plugtap.protocols.vendor_mme import VsPlLinkStatusReq

MS = 1_000_000

# --- levels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level_mv", "letter"),
    [
        (13_500, "A"), (12_000, "A"), (10_501, "A"), (10_500, "B"), (9_000, "B"), (7_501, "B"), (7_500, "C"),
        (6_000, "C"), (4_501, "C"), (4_500, "D"), (3_000, "D"), (1_501, "D"), (1_500, "E"), (0, "E"), (-5_999, "E"),
        (-6_000, "F"), (-12_000, "F"), (-2_000_000, "F"), (2_000_000, "A"),
    ],
)  # fmt: skip
def test_letters(level_mv: int, letter: str) -> None:
    assert letter_of(level_mv) == letter


@pytest.mark.parametrize(
    ("before", "level_mv", "letter"),
    [
        ("B", 7_201, "B"), ("B", 7_200, "C"), ("C", 7_799, "C"), ("C", 7_800, "B"), ("A", 10_201, "A"), ("A", 10_200, "B"),
        ("B", 3_000, "D"), ("F", -5_701, "F"), ("F", -5_700, "E"), ("?", 7_400, "C"),
    ],
)  # fmt: skip
def test_a_band_is_left_with_hysteresis(before: str, level_mv: int, letter: str) -> None:
    assert letter_of(level_mv, before) == letter


def test_bands_meet_and_hold_their_nominal_levels() -> None:
    for upper, lower in pairwise(LEVEL_BANDS):
        assert upper.low_mv == lower.high_mv
    assert [letter_of(band.nominal_mv) for band in LEVEL_BANDS] == [band.letter for band in LEVEL_BANDS]


# --- duty cycle to current --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duty", "meaning", "ampere"),
    [
        (0, "none", None), (2.99, "none", None), (3, "digital", None), (5, "digital", None), (7, "digital", None),
        (7.01, "none", None), (7.99, "none", None), (8, "current", 6.0), (9.99, "current", 6.0), (10, "current", 6.0),
        (16, "current", 9.6), (26.67, "current", 16.002), (50, "current", 30.0), (85, "current", 51.0),
        (85.01, "current", 52.525), (90, "current", 65.0), (96, "current", 80.0), (96.5, "current", 80.0),
        (97, "current", 80.0), (97.01, "none", None), (100, "none", None), (-1, "none", None), (101, "none", None),
    ],
)  # fmt: skip
def test_iec_table(duty: float, meaning: str, ampere: float | None) -> None:
    found = duty_current(duty)
    assert found.meaning == meaning
    assert found.ampere == (None if ampere is None else pytest.approx(ampere))


@pytest.mark.parametrize(
    ("duty", "meaning", "ampere"),
    [
        (5, "digital", None), (8, "none", None), (9.49, "none", None), (9.5, "current", 6.0), (10, "current", 6.0),
        (50, "current", 30.0), (96.5, "current", 80.0), (96.51, "none", None),
    ],
)  # fmt: skip
def test_j1772_table(duty: float, meaning: str, ampere: float | None) -> None:
    assert duty_current(duty, SAE_J1772) == (meaning, ampere)


@pytest.mark.parametrize("table", [IEC_61851, SAE_J1772])
def test_tables_cover_all_duty_cycles_once(table: tuple[DutyRow, ...]) -> None:
    assert (table[0].low, table[-1].high) == (0, 100)
    for left, right in pairwise(table):
        assert left.high == right.low
        assert left.high_included != right.low_included


def test_no_duty_cycle_is_no_current() -> None:
    assert duty_current(math.nan).meaning == "none"


# --- records to events ------------------------------------------------------------------------------------------


class Line:
    """Feeds records and keeps what comes out."""

    def __init__(self, settings: PilotSettings | None = None) -> None:
        self.tracker = PilotTracker(settings)
        self.t = 0
        self.number = 0
        self.events: list[Event] = []

    def put(
        self,
        hi: int,
        lo: int | None = None,
        duty: float = 5.0,
        freq: float = 1000.0,
        n: int = 1,
        cycles: int = 1,
        flags: int = 0,
    ) -> list[Pilot]:
        """`n` records of `cycles` cycles; without `lo` there is no PWM."""
        out: list[Event] = []
        steady = lo is None
        for _ in range(n):
            self.number += 1
            record = CpRecord(
                t=self.t,
                number=self.number,
                hi_mv=hi,
                lo_mv=hi if lo is None else lo,
                duty=(10_000 if hi > 1_500 else 0) if steady else round(100 * duty),
                freq=0 if steady else round(10 * freq),
                span=cycles * MS,
                cycles=cycles,
                flags=flags | (CP_NO_PWM if steady else 0),
            )
            out += self.tracker.feed_record(record)
            self.t += cycles * MS
        self.events += out
        return [event for event in out if isinstance(event, Pilot)]


def states(pilots: list[Pilot]) -> list[tuple[str | None, str]]:
    return [(pilot.before, pilot.state) for pilot in pilots]


def test_a_session() -> None:
    line = Line()
    pilots = line.put(12_000, cycles=100)
    pilots += line.put(9_000, cycles=100)
    pilots += line.put(9_000, -12_000, cycles=100)
    pilots += line.put(6_000, -12_000, cycles=100)
    pilots += line.put(3_000, -12_000, cycles=100)
    pilots += line.put(6_000, cycles=100)
    pilots += line.put(9_000, cycles=100)
    pilots += line.put(0, cycles=100)
    pilots += line.put(-12_000, cycles=100)
    pilots += line.put(12_000, -12_000, cycles=100)
    assert [pilot.state for pilot in pilots] == ["A1", "B1", "B2", "C2", "D2", "C1", "B1", "E", "F", "A2"]
    assert [pilot.before for pilot in pilots] == [None, "A1", "B1", "B2", "C2", "D2", "C1", "B1", "E", "F"]
    assert [pilot.t // MS for pilot in pilots] == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]
    assert (pilots[2].hi_mv, pilots[2].lo_mv, pilots[2].duty, pilots[2].freq) == (9_000, -12_000, 5.0, 1000.0)
    assert line.tracker.state() == "A2"


def test_three_cycles_make_a_state_and_the_first_gives_the_time() -> None:
    line = Line()
    line.put(9_000, -12_000, n=10)
    assert line.put(6_000, -12_000, n=2) == []
    (pilot,) = line.put(6_000, -12_000)
    assert (pilot.before, pilot.state, pilot.t, pilot.frame) == ("B2", "C2", 10 * MS, 13)


def test_two_cycles_of_something_else_are_no_state() -> None:
    line = Line()
    line.put(9_000, -12_000, n=10)
    assert line.put(6_000, -12_000, n=2) + line.put(9_000, -12_000, n=5) == []
    assert line.put(6_000, -12_000, n=2) + line.put(3_000, -12_000, n=2) + line.put(9_000, -12_000, n=2) == []


def test_glitches_neither_make_nor_break_a_state() -> None:
    line = Line()
    line.put(9_000, -12_000, n=10)
    assert line.put(6_000, -12_000, n=9, flags=CP_GLITCH) == []
    line.put(6_000, -12_000, n=2)
    line.put(2_000, -12_000, n=1, flags=CP_GLITCH)
    assert states(line.put(6_000, -12_000)) == [("B2", "C2")]


def test_a_level_that_dithers_at_a_border_stays() -> None:
    line = Line()
    line.put(9_000, -12_000, cycles=10)
    assert all(line.put(level, -12_000, cycles=10) == [] for level in (7_450, 7_550, 7_300, 7_600, 7_250))
    assert states(line.put(7_100, -12_000, cycles=10)) == [("B2", "C2")]


@pytest.mark.parametrize(
    ("freq", "duty", "state"),
    [(899, 5, "B1"), (900, 5, "B2"), (1100, 5, "B2"), (1101, 5, "B1"), (1000, 0.01, "B2")],
)
def test_what_is_pwm(freq: float, duty: float, state: str) -> None:
    assert Line().put(9_000, -12_000, duty=duty, freq=freq, cycles=10)[0].state == state


def test_a_shorted_pilot_is_e_with_and_without_pwm() -> None:
    assert Line().put(700, -12_000, cycles=5)[0].state == "E"
    assert Line().put(890, -890, cycles=5)[0].state == "E"


def test_an_oscillator_at_minus_12_v_cannot_be() -> None:
    line = Line()
    assert line.put(-11_000, -12_000, cycles=50) == []
    (sample,) = line.events
    assert isinstance(sample, PilotSample)
    assert sample.state == "?"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (5.0, 5.4, False),
        (5.0, 5.5, True),
        (6.9, 7.1, True),
        (6.98, 7.02, False),
        (26.7, 26.3, False),
        (26.7, 20.0, True),
        (2.9, 3.05, True),
    ],
)
def test_duty_changes(before: float, after: float, told: bool) -> None:
    line = Line()
    line.put(9_000, -12_000, duty=before, cycles=100)
    pilots = line.put(9_000, -12_000, duty=after, cycles=100)
    assert states(pilots) == ([("B2", "B2")] if told else [])
    if told:
        assert pilots[0].duty == pytest.approx(after)


def test_slow_drift_of_duty_is_told_when_it_adds_up() -> None:
    line = Line()
    line.put(9_000, -12_000, duty=20.0, cycles=100)
    told = [line.put(9_000, -12_000, duty=20 + i / 10, cycles=100) for i in range(1, 11)]
    assert [len(pilots) for pilots in told] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_one_cycle_of_another_duty_is_not_told() -> None:
    line = Line()
    line.put(9_000, -12_000, n=20)
    assert line.put(9_000, -12_000, duty=9.0, n=9) == []
    assert line.put(9_000, -12_000, n=20) == []
    assert len(line.put(9_000, -12_000, duty=9.0, n=10)) == 1


def test_an_oscillation_nobody_measured() -> None:
    line = Line()
    (pilot,) = line.put(9_000, -11_900, duty=0, freq=0, cycles=5)
    assert pilot.state == "B2"
    assert math.isnan(pilot.duty)
    assert math.isnan(pilot.freq)
    assert line.put(9_000, -11_900, duty=0, freq=0, cycles=5) == []
    (pilot,) = line.put(9_000, -11_900, duty=5, cycles=50)  # now somebody did
    assert (pilot.state, pilot.duty) == ("B2", 5.0)
    assert line.put(9_000, -11_900, duty=0, freq=0, cycles=5) == []


def test_samples_carry_the_record_and_its_state() -> None:
    tracker = PilotTracker()
    record = CpRecord(
        t=7, number=3, hi_mv=9_012, lo_mv=-9_000, duty=512, freq=10_003, span=100 * MS, cycles=100, noise_mv=40,
        flags=CP_DIODE_SUSPECT, pp_mv=2_700, pp_ohm=1_500,
    )  # fmt: skip
    pilot, sample = tracker.feed_record(record)
    assert isinstance(pilot, Pilot)
    assert sample == PilotSample(
        t=7, frame=3, source="cp", hi_mv=9_012, lo_mv=-9_000, duty=5.12, freq=1000.3, span=100 * MS, cycles=100, noise_mv=40,
        flags=CP_DIODE_SUSPECT, state="B2", pp_mv=2_700, pp_ohm=1_500,
    )  # fmt: skip
    assert (pilot.flags, pilot.pp_ohm, pilot.origin) == (CP_DIODE_SUSPECT, 1_500, "adc")


def test_samples_in_a_change_have_no_state() -> None:
    line = Line()
    line.put(9_000, -12_000, n=5)
    line.events.clear()
    line.put(6_000, -12_000, n=3)
    assert [event.state for event in line.events if isinstance(event, PilotSample)] == ["?", "?", "C2"]
    assert [type(event) for event in line.events] == [PilotSample, PilotSample, Pilot, PilotSample]


def test_sources_are_kept_apart_and_bounded() -> None:
    tracker = PilotTracker(max_sources=2)

    def put(source: str, hi: int) -> int:
        record = CpRecord(t=0, number=1, hi_mv=hi, lo_mv=hi, duty=10_000, freq=0, cycles=9, source=source)
        return len(tracker.feed_record(record))

    assert (put("cp", 9_000), put("cp2", 12_000), put("cp3", 6_000)) == (2, 2, 0)
    assert (tracker.state(source="cp"), tracker.state(source="cp2"), tracker.state(source="cp3")) == ("B1", "A1", None)
    assert tracker.rejected == 1


@given(
    st.lists(
        st.tuples(
            st.integers(-32_768, 32_767),
            st.integers(-32_768, 32_767),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.integers(0, 200),
            st.integers(0, 255),
        ),
        max_size=60,
    )
)
def test_any_records_give_a_chain_of_states(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    tracker = PilotTracker()
    last = None
    for i, (hi, lo, duty, freq, cycles, flags) in enumerate(rows):
        record = CpRecord(t=i * MS, number=i, hi_mv=hi, lo_mv=lo, duty=duty, freq=freq, cycles=cycles, flags=flags)
        events = tracker.feed_record(record)
        assert isinstance(events[-1], PilotSample)
        for event in events[:-1]:
            assert isinstance(event, Pilot)
            assert event.before == last
            assert event.state in {"A1", "A2", "B1", "B2", "C1", "C2", "D1", "D2", "E", "F"}
            assert event.t <= i * MS
            last = event.state
        assert tracker.state() == last


# --- MMEs to events ---------------------------------------------------------------------------------------------


def mme(body: object, t: int = 0, frame: int = 1) -> Mme:
    return Mme(t=t, frame=frame, src=bytes(6), dst=bytes(6), mmv=1, mmtype=0xA22E, name="", body=body)


def test_mmes_count_at_once() -> None:
    tracker = PilotTracker()
    found: list[Pilot] = []
    for i, body in enumerate(
        [
            StpCpStateInd(1, 100, 0, 12_008),
            StpCpStateInd(3, 100, 0, 8_973),
            StpCpStateInd(3, 5, 1000, 8_946),
            SpidcomCpInd(0, 1000, 53, 8_900),
            StpCpStateInd(5, 5, 1000, 5_956),
            StpCpStateInd(9, 0, 1000, 0),
            StpCpStateInd(10, 0, 0, -12_000),
        ]
    ):
        events = tracker.feed_mme(mme(body, t=i, frame=i + 1))
        assert isinstance(events[-1], PilotSample)
        found += [event for event in events if isinstance(event, Pilot)]
    assert [(p.t, p.frame, p.state) for p in found] == [
        (0, 1, "A1"), (1, 2, "B1"), (2, 3, "B2"), (4, 5, "C2"), (5, 6, "E"), (6, 7, "F"),
    ]  # fmt: skip
    assert {p.origin for p in found} == {"mme"}
    assert (found[2].duty, found[2].freq, found[2].hi_mv) == (5.0, 1000.0, 8_946)
    assert (tracker.state("mme", "plc"), tracker.state()) == ("F", None)


def test_level_and_letter_of_different_moments_make_no_state() -> None:
    tracker = PilotTracker()
    tracker.feed_mme(mme(DspaceDiag("v1", "x", {"CP State": "State_A1", "CP/CE Voltage [V]": 12.0})))
    (sample,) = tracker.feed_mme(mme(DspaceDiag("v1", "x", {"CP State": "State_A1", "CP/CE Voltage [V]": 8.97})))
    assert isinstance(sample, PilotSample)
    assert sample.state == "?"
    pilot, _ = tracker.feed_mme(mme(DspaceDiag("v1", "x", {"CP State": "State_B1", "CP/CE Voltage [V]": 8.97})))
    assert isinstance(pilot, Pilot)
    assert (pilot.before, pilot.state, pilot.duty, pilot.freq) == ("A1", "B1", 100.0, 0.0)


def test_a_teller_without_duty() -> None:
    tracker = PilotTracker()
    b2 = DspaceDiag("v1", "x", {"CP State": "State_B2", "CP/CE Voltage [V]": 8.97, "PP Resistor [Ohm]": 1568})
    pilot, _ = tracker.feed_mme(mme(b2))
    assert isinstance(pilot, Pilot)
    assert (pilot.state, pilot.pp_ohm) == ("B2", 1568)
    assert math.isnan(pilot.duty)
    # … only adds samples once one with duty is heard
    pilot, _ = tracker.feed_mme(mme(StpCpStateInd(3, 5, 1000, 8_950)))
    assert isinstance(pilot, Pilot)
    assert (pilot.duty, pilot.pp_ohm) == (5.0, 1568)
    (sample,) = tracker.feed_mme(mme(b2))
    assert isinstance(sample, PilotSample)
    assert (sample.state, sample.duty) == ("B2", 5.0)
    (sample,) = tracker.feed_mme(mme(DspaceDiag("v1", "x", {"CP State": "State_E", "CP/CE Voltage [V]": 0})))
    assert isinstance(sample, PilotSample)
    assert sample.state == "?"
    assert tracker.state("mme", "plc") == "B2"


def test_other_mmes_are_silent() -> None:
    tracker = PilotTracker(max_sources=0)
    assert tracker.feed_mme(mme(None)) == tracker.feed_mme(mme(VsPlLinkStatusReq())) == []
    assert tracker.feed_mme(mme(DspaceDiag("v1", "x", {"CP State": "State_B2"}))) == []  # no level
    assert tracker.rejected == 0
    assert tracker.feed_mme(mme(StpCpStateInd(3, 5, 1000, 8_950))) == []
    assert tracker.rejected == 1


def test_a_charger_tester_in_real_captures(captures: Path) -> None:
    """States follow the messages that carry the letter, one event for each change of letter or duty."""
    checked = 0
    for listing in sorted((captures / "cp").glob("*.cp.jsonl")):
        tracker = PilotTracker()
        found: list[tuple[int, str, float]] = []
        for message in all_mmes(captures)[f"dspace-group__dsV2Gshark/{listing.name.removesuffix('.cp.jsonl')}"].mmes:
            for event in tracker.feed_mme(message):
                if isinstance(event, Pilot) and event.origin == "mme" and isinstance(message.body, StpCpStateInd):
                    found.append((event.frame, event.state, event.duty))
        expected: list[tuple[int, str, float]] = []
        for line in listing.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "0xa22e" not in row["source"]:
                continue
            letter, duty, freq = row["data"]["state"], float(row["data"]["duty_pct"]), row["data"]["freq_hz"]
            state = letter if letter in "EF" else letter + ("2" if 0 < duty < 100 and freq else "1")
            if not expected or state != expected[-1][1] or (state.endswith("2") and duty != expected[-1][2]):
                expected.append((row["frame"], state, duty))
        # the tester's own diagnostics may have told the very first state before
        assert found[-len(expected) + 1 :] == expected[1:], listing.name
        checked += len(expected)
    assert checked > 60
