"""Pilot files: every form by its content, the clocks, what holds how long, and that nothing but DecodeError escapes."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugtap.protocols import cpf1
from plugtap.protocols.cp_log import ABSOLUTE, CAPTURE, DEVICE, PilotLog, PilotLogParser
from plugtap.protocols.cp_text import TextReading, encode_line
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Pilot
from plugtap.protocols.items import CP_GLITCH, CP_NO_PWM, CP_TIME_UNCERTAIN
from plugtap.protocols.pilot import CP_NOMINAL, PilotTracker

MS = 1_000_000
SECOND = 1_000_000_000


def read(data: bytes | str, **options: int) -> PilotLog:
    parser = PilotLogParser(**options)
    parser.feed(data.encode() if isinstance(data, str) else data)
    return parser.close()


def states(log: PilotLog) -> list[str]:
    """What the tracker makes of the records."""
    tracker = PilotTracker()
    return [e.state for r in log.records for e in tracker.feed_record(r) if isinstance(e, Pilot)]


def cycles(t_us: int, hi: int, *, seq: int = 0, count: int = 20) -> bytes:
    """A CPF1 frame of `count` PWM cycles of 5 %."""
    rows = tuple(cpf1.Cycle(dt=100 * i, hi_mv=hi, lo_mv=-12_000, duty=500, freq=10_000) for i in range(count))
    return cpf1.encode(cpf1.Cycles(cycles=rows, t_us=t_us, seq=seq))


EVENTS = [
    ("Session logging started.", 100.0),
    ("Session Started: EVConnected", 100.0),
    ("Set PWM On (5.000000074505806%)", 101.0),
    ("Transaction Started (0 kWh)", 101.5),
    ("Set PWM On (5.000000074505806%)", 102.0),
    ("Event CarRequestedPower", 110.0),
    ("Event PowerOn", 110.1),
    ("Event CarRequestedStopPower", 130.0),
    ("Set PWM Off", 131.0),
    ("Event CarUnplugged", 140.0),
    ("Session logging stopped.", 141.0),
]


def everest(events: list[tuple[str, float]] = EVENTS) -> str:
    return "".join(json.dumps({"time": t, "who": "EVSE", "event": e}) + "\n" for e, t in events)


def test_event_log_of_everest_tells_states() -> None:
    log = read(everest())
    assert (log.form, log.clock, log.bad, log.untimed) == ("EVerest event log", ABSOLUTE, 0, 0)
    assert states(log) == ["A1", "B1", "B2", "C2", "B2", "B1", "A1"]
    assert all(r.flags & CP_NOMINAL for r in log.records), "nobody measured a level"
    pwm = [r for r in log.records if not r.flags & CP_NO_PWM]
    assert {(r.duty, r.freq, r.lo_mv) for r in pwm} == {(500, 10_000, -12_000)}
    # Each state holds until the next, the last until the log ends.
    assert [(r.t / SECOND, r.span / SECOND) for r in log.records[2:]] == [(101.0, 9.0), (110.0, 20.0), (130.0, 1.0), (131.0, 9.0), (140.0, 1.0)]


def test_event_log_as_csv() -> None:
    rows = [f'"2026-01-01T00:00:{i:02d}.500Z","EVSE","","{event}"' for i, (event, _) in enumerate(EVENTS)]
    log = read("\n".join(rows))
    assert states(log) == ["A1", "B1", "B2", "C2", "B2", "B1", "A1"]
    assert log.records[1].t == 1_767_225_601_500_000_000


def test_pwm_that_is_a_steady_level_is_no_pwm() -> None:
    log = read(everest([("Session Started: EVConnected", 1.0), ("Set PWM On (100%)", 2.0), ("Set PWM F", 3.0)]))
    assert states(log) == ["A1", "B1", "F"]


def test_json_lines_with_time_are_absolute() -> None:
    rows = [
        {"time": "2026-01-01T00:00:00Z", "state": "A"},
        {"time": "2026-01-01T00:00:02.25Z", "state": "B1"},
        {"time": 1_767_225_603, "hi": 8.9, "lo": -11.9, "duty": 5, "freq": 1000},
        {"time": 1_767_225_605, "state": "C2"},
    ]
    log = read("\n".join(map(json.dumps, rows)))
    assert log.clock == ABSOLUTE
    assert states(log) == ["A1", "B1", "B2", "C2"]
    measured = log.records[2]
    assert (measured.hi_mv, measured.lo_mv, measured.duty, measured.freq, measured.flags) == (8900, -11900, 500, 10_000, 0)
    assert measured.span == SECOND, "a level that was measured once does not hold for ever"
    assert log.records[0].span == 2_250 * MS


def test_json_lines_with_t_count_from_the_capture() -> None:
    log = read('{"t": 1.5, "state": "B1"}\n{"t": 2, "state": "B2", "duty": 5}\n')
    assert (log.clock, [r.t for r in log.records]) == (CAPTURE, [1_500 * MS, 2_000 * MS])
    assert not any(r.flags & CP_TIME_UNCERTAIN for r in log.records)


def test_values_out_of_mmes() -> None:
    rows = [
        {"time": 100.0, "frame": 1, "source": "MME 0xa22e", "data": {"state": "A", "duty_pct": 100, "freq_hz": 0, "cp_mv": 12008}},
        {"time": 100.1, "frame": 2, "source": "diag", "data": {"CP State": "State_A1", "CP/CE Voltage [V]": 12.01}},
        {"time": 105.0, "frame": 9, "source": "MME 0xa22e", "data": {"state": "B", "duty_pct": 5, "freq_hz": 1000, "cp_mv": 8859}},
        {"time": 106.0, "frame": 11, "source": "MME 0xa22e", "data": {"state": "C", "duty_pct": 5, "freq_hz": 1000, "cp_mv": 8859}},
    ]
    log = read("\n".join(map(json.dumps, rows)))
    assert states(log) == ["A1", "B2"]
    a, b, glitch = log.records
    assert (a.hi_mv, a.flags) == (12008, CP_NO_PWM)
    assert (b.hi_mv, b.lo_mv, b.flags) == (8859, -12_000, CP_NOMINAL), "nobody told the negative plateau"
    assert glitch.flags & CP_GLITCH, "level and letter disagree"


def test_lines_of_a_device_begin_with_the_first() -> None:
    lines = b"# a sketch\n" + b"".join(
        encode_line(TextReading(t_ms=5_000_000 + 100 * i, hi_mv=9000 if i < 10 else 6000, lo_mv=-12_000, duty=500, freq=10_000)) for i in range(20)
    )
    log = read(lines)
    assert (log.form, log.clock) == ("lines of a device", DEVICE)
    assert log.records[0].t == 0
    assert states(log) == ["B2", "C2"]
    assert all(r.flags & CP_TIME_UNCERTAIN for r in log.records)
    changed = next(r for r in log.records if r.hi_mv == 6000)
    assert changed.t == 900 * MS, "a line covers the time since the one before"


def test_cpf1_begins_with_the_first_record() -> None:
    stream = b"".join(cycles(77_000_000 + 20_000 * i, 9000 if i < 25 else 6000, seq=i) for i in range(50))
    log = read(stream)
    assert (log.form, log.clock, log.bad) == ("CPF1", DEVICE, 0)
    assert log.records[0].t == 0
    assert states(log) == ["B2", "C2"]
    assert next(r.t for r in log.records if r.hi_mv == 6000) == 500 * MS
    assert sum(r.cycles for r in log.records) == 1000
    assert not any(r.flags & CP_NOMINAL for r in log.records)


def test_cpf1_time_goes_on_after_a_restart_of_the_device() -> None:
    stream = b"".join(cycles(9_000_000 + 20_000 * i, 9000, seq=i) for i in range(10)) + b"".join(cycles(1000 + 20_000 * i, 6000, seq=i) for i in range(10))
    log = read(stream)
    times = [r.t for r in log.records]
    assert times == sorted(times)
    assert log.records[-1].t + log.records[-1].span < SECOND


def test_damage_is_counted_and_named() -> None:
    log = read('{"t": 1, "state": "B1"}\nwhat?\n{"t": 2, "state": "Q"}\n{"t": 3, "state": "B2"}\n' + "x" * 20_000 + "\n")
    assert (log.bad, log.first_bad, len(log.records)) == (3, 2, 2)
    good = cycles(1000, 9000) + cycles(21_000, 9000, seq=1)
    assert read(good[:40] + b"\x07" + good[40:] + cycles(41_000, 9000, seq=2)).bad == 1


def test_readings_of_another_clock_are_left_out() -> None:
    log = read('{"time": 100, "state": "B1"}\n{"t": 2, "state": "B2"}\n{"state": "C2"}\n{"time": 101, "state": "C2"}\n')
    assert (log.untimed, states(log)) == (2, ["B1", "C2"])


def test_records_are_bounded() -> None:
    log = read("".join(f'{{"t": {i}, "state": "{"B1" if i % 2 else "C1"}"}}\n' for i in range(50)), max_records=10)
    assert (len(log.records), log.dropped) == (10, 40)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", 0, "nothing about the pilot"),
        (b"# only a remark\n\n", 0, "nothing about the pilot"),
        (b"\n\nhello world\n", 3, "line 3 is in no known form"),
        (b"\n-11.93 8.97\n", 2, "line 2 has no time"),
        (b'{"state": "B2"}\n', 1, "line 1 has no time"),
        (b"\xff\xfe{\x00", 1, "UTF-16"),
        (bytes(range(256)) * 20, 0, "no CPF1 frame"),
        (b'{"time": 1, "event": "Transaction Started (0 kWh)"}\n', 0, "nothing about the pilot"),
    ],
)
def test_what_is_no_pilot_file_says_why(content: bytes, line: int, words: str) -> None:
    with pytest.raises(DecodeError, match=words) as caught:
        read(content)
    assert (caught.value.layer, caught.value.offset) == ("pilot file", line)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_in_any_pieces(end: str) -> None:
    text = everest().replace("\n", end).encode()
    whole = read(b"\xef\xbb\xbf" + text)
    parser = PilotLogParser()
    for byte in text:
        parser.feed(bytes((byte,)))
    assert parser.close() == whole


GOOD = (
    everest().encode(),
    b'{"t": 1, "hi": 9, "lo": -12, "duty": 5, "freq": 1000}\n{"t": 2, "state": "C2"}\n',
    b"".join(encode_line(TextReading(t_ms=100 * i, hi_mv=9000, lo_mv=-12_000, duty=500, freq=10_000)) for i in range(5)),
    b"".join(cycles(1000 + 20_000 * i, 9000, seq=i) for i in range(3)),
    b'{"time": 100, "data": {"state": "B", "duty_pct": 5, "freq_hz": 1000, "cp_mv": 8859}}\n',
    b'{"time": 1' + b"0" * 400 + b', "state": "B2"}\n{"time": 1e400, "event": "Set PWM On (5%)", "data": {}}\n' + b"[" * 3000,
)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(GOOD), st.integers(1, 40))
def test_whatever_the_bytes_only_decode_errors_escape(seed: int, data: bytes, times: int) -> None:
    dice = random.Random(seed)
    changed = bytearray(data)
    for _ in range(times):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(4):
            case 0:
                del changed[at : at + dice.randrange(20)]
            case 1:
                changed[at:at] = dice.randbytes(dice.randrange(10))
            case 2:
                changed[at:at] = dice.choice(GOOD)[:200]
            case _ if at < len(changed):
                changed[at] ^= 1 << dice.randrange(8)
    parser = PilotLogParser(max_records=1000)
    try:
        middle = dice.randrange(len(changed) + 1)
        parser.feed(bytes(changed[:middle]))
        parser.feed(bytes(changed[middle:]))
        log = parser.close()
    except DecodeError as error:
        assert error.layer == "pilot file"
        return
    assert log.records
    assert [r.t for r in log.records] == sorted(r.t for r in log.records)
    assert all(r.span >= 0 for r in log.records)
