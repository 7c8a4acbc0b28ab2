"""Lines of text: what is a reading, what is not, and any bytes give readings or counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.cp_text import CpTextParser, TextReading, encode_line, parse_line, parse_time, text_record, xor
from plugtap.protocols.items import CP_NO_PWM, CpRecord
from plugtap.protocols.pilot import CP_NOMINAL

LINES = [
    ("CP,123456,9012,-11987,50,10001*1C", TextReading(123456, None, 9012, -11987, 500, 10001)),
    ("CP,123456,9012,-11987,50,10001", TextReading(123456, None, 9012, -11987, 500, 10001)),
    ("CP,123456,9012,-11987,50,10001,1500*34", TextReading(123456, None, 9012, -11987, 500, 10001, pp_ohm=1500)),
    ("CP,0,12000,12000,1000,0", TextReading(0, None, 12000, 12000, 10_000, 0)),
    ("-11.93 8.97", TextReading(hi_mv=8970, lo_mv=-11930)),
    ("8.97\t-11.93", TextReading(hi_mv=8970, lo_mv=-11930)),
    ("  12 12  ", TextReading(hi_mv=12000, lo_mv=12000)),
    ("hi=8.97 lo=-11.93 duty=5 freq=1000", TextReading(hi_mv=8970, lo_mv=-11930, duty=500, freq=10_000)),
    ("HI: 8.97, LO: -11.93, PP_ohm: 1500", TextReading(hi_mv=8970, lo_mv=-11930, pp_ohm=1500)),
    ("t_ms=7;cp_voltage_hi=8970;cp_voltage_lo=-11930", TextReading(7.0, hi_mv=8970, lo_mv=-11930)),
    ('{ hi = 8.97, state = "B2", note = hello }', TextReading(hi_mv=8970, state="B2")),
    (
        '{"t": 1.5, "hi": 8.97, "lo": -11.93, "duty": 5.0, "freq": 1000.4}',
        TextReading(1500.0, None, 8970, -11930, 500, 10_004),
    ),
    ('{"time": "2026-01-01T00:00:00.123456789Z", "state": "B2"}', TextReading(time_ns=1767225600123456789, state="B2")),
    ('{"time": 1767225600.25, "state": "State_C"}', TextReading(time_ns=1767225600250000000, state="C")),
    ('{"state": "E2"}', TextReading(state="E")),
    ("$AT 02 02 16 0000", TextReading(state="B2", duty=2667)),
    ("$AT 03 03 16 0000^36", TextReading(state="C2", duty=2667)),
    ("$AT 03 03 80 0000", TextReading(state="C2", duty=9600)),
    ("$AT fe 02 16 0000", TextReading(state="B1")),
    ("$AT 01 01 16 0000", TextReading(state="A1")),
]


@pytest.mark.parametrize(("line", "reading"), LINES)
def test_lines(line: str, reading: TextReading) -> None:
    assert parse_line(line) == reading


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "CP",
        "CP,",
        "CP,1,2,3",
        "CP,1,2,3,4,5,6,7",
        "CP,123456,9012,-11987,50,10001*5C",  # wrong checksum
        "CP,123456,9012,-11987,50,10001*1",
        "CP,123456,9012,-11987,50,10001*xy",
        "CP,123456,9012,-11987,50,x",
        "CP,123456,90120,-11987,50,10001",  # 90 V
        "CP,123456,9012,-11987,1001,10001",  # more than 100 %
        "CP,-1,9012,-11987,50,10001",
        "1 2 3",
        "900 9012",
        "hi=nan",
        "hi=inf",
        "hi=1e400",
        "hi=9 duty=fast",
        "duty=5 freq=1000",  # no level, no state
        "state=Z9",
        '{"hi": [1]}',
        '{"hi": true}',
        '{"state": 3}',
        "$AT",
        "$AT 03 03 16 0000^37",
        "$AT 03 09 16 0000",
        "$AT 03 03 16",
    ],
)
def test_what_is_no_reading(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01 00:00:01.5", 1_500_000_000),
        ("1970-01-01T01:00:01+01:00", 1_000_000_000),
        ("2026-02-30T00:00:00Z", None),
        ("1969-12-31T00:00:00Z", None),
        ("yesterday", None),
        (5, 5_000_000_000),
        (-1.0, None),
        (1e300, None),
        (True, None),
        (None, None),
    ],
)
def test_times(value: str | float | None, expected: int | None) -> None:
    assert parse_time(value) == expected


@given(
    st.integers(0, 10**9),
    st.integers(-30_000, 30_000),
    st.integers(-30_000, 30_000),
    st.integers(0, 1000),
    st.integers(0, 0xFFFF),
    st.none() | st.integers(0, 100_000),
)
def test_round_trip(t: int, hi: int, lo: int, duty: int, freq: int, pp: int | None) -> None:
    reading = TextReading(t, None, hi, lo, 10 * duty, freq, pp_ohm=pp)
    line = encode_line(reading)
    assert line.endswith(b"\n")
    assert CpTextParser().feed(line) == [reading]


def test_checksum() -> None:
    assert xor("") == 0
    assert xor("AB") == 0x03
    with pytest.raises(ValueError, match="levels"):
        encode_line(TextReading(state="B2"))


# --- the stream -------------------------------------------------------------------------------------------------


def test_lines_end_with_cr_lf_or_both() -> None:
    parser = CpTextParser()
    found = parser.feed(b"boot\n# comment\r\n-11.93 8.97\r-12 6\n\n-12 ") + parser.feed(b"3\r") + parser.feed(b"\n12 12")
    assert [reading.hi_mv for reading in found] == [8970, 6000, 3000]
    assert [reading.hi_mv for reading in parser.close()] == [12_000]
    assert (parser.counters.lines, parser.counters.bad) == (5, 1)


def test_noise_without_a_line_end_is_bounded() -> None:
    parser = CpTextParser()
    for _ in range(100):
        assert parser.feed(b"x" * 1000) == []
        assert len(parser._buffer) <= 1512
    assert [reading.hi_mv for reading in parser.feed(b"\n-12 9\n")] == [9000]
    assert parser.counters.oversize == 1


@given(st.binary(max_size=2000), st.integers(1, 30))
def test_any_bytes_in_any_pieces(data: bytes, size: int) -> None:
    whole, pieces = CpTextParser(), CpTextParser()
    found = whole.feed(data)
    assert [r for i in range(0, len(data), size) for r in pieces.feed(data[i : i + size])] == found
    assert whole.feed(b"\n-12 9\n")[-1:] == [TextReading(hi_mv=9000, lo_mv=-12_000)]


@given(st.sampled_from([line for line, _ in LINES]), st.integers(0, 200), st.characters(codec="utf-8"))
def test_damaged_lines(line: str, at: int, character: str) -> None:
    at %= len(line)
    found = CpTextParser().feed((line[:at] + character + line[at + 1 :]).encode() + b"\n")
    for reading in found:
        assert reading.hi_mv is None or -30_000 <= reading.hi_mv <= 30_000
        assert reading.duty is None or 0 <= reading.duty <= 10_000


# --- records ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "hi", "lo", "duty", "freq", "flags"),
    [
        (TextReading(hi_mv=9000, lo_mv=-12_000, duty=500, freq=10_001), 9000, -12_000, 500, 10_001, 0),
        (TextReading(hi_mv=9000, lo_mv=-12_000, duty=500), 9000, -12_000, 500, 10_000, 0),
        (TextReading(hi_mv=8900, duty=500), 8900, -12_000, 500, 10_000, CP_NOMINAL),
        (TextReading(hi_mv=9000, lo_mv=-12_000), 9000, -12_000, 0, 0, 0),
        (TextReading(hi_mv=9000, lo_mv=8_900), 9000, 9000, 10_000, 0, CP_NO_PWM),
        (TextReading(hi_mv=9000), 9000, 9000, 10_000, 0, CP_NO_PWM),
        (TextReading(hi_mv=12_000, lo_mv=12_000, duty=10_000, freq=0), 12_000, 12_000, 10_000, 0, CP_NO_PWM),
        (TextReading(hi_mv=-11_900, lo_mv=-12_000, duty=0, freq=0), -11_900, -11_900, 0, 0, CP_NO_PWM),
        (TextReading(state="B2", duty=2667), 9000, -12_000, 2667, 10_000, CP_NOMINAL),
        (TextReading(state="B2"), 9000, -12_000, 0, 0, CP_NOMINAL),
        (TextReading(state="B1"), 9000, 9000, 10_000, 0, CP_NOMINAL | CP_NO_PWM),
        (TextReading(state="C"), 6000, -12_000, 0, 0, CP_NOMINAL),
        (TextReading(state="C", duty=500), 6000, -12_000, 500, 10_000, CP_NOMINAL),
        (TextReading(state="C", duty=10_000), 6000, 6000, 10_000, 0, CP_NOMINAL | CP_NO_PWM),
        (TextReading(state="E"), 0, 0, 0, 0, CP_NOMINAL | CP_NO_PWM),
        (TextReading(state="F", duty=500), -12_000, -12_000, 0, 0, CP_NOMINAL | CP_NO_PWM),
    ],
)
def test_records(reading: TextReading, hi: int, lo: int, duty: int, freq: int, flags: int) -> None:
    assert text_record(reading, 5, 100_000_000, digit="2") == CpRecord(
        t=5, number=0, hi_mv=hi, lo_mv=lo, duty=duty, freq=freq, span=100_000_000, cycles=100, flags=flags
    )


def test_no_record_without_level_or_state() -> None:
    assert text_record(TextReading(duty=500), 0) is None
