"""Messages of an ADC to records: run lengths, host time, waveforms, restarts; and from a signal on the line to states."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pilot_signal import Part, signal
from test_cpf1 import MESSAGES

from plugtap.protocols import cpf1
from plugtap.protocols.cp_assembler import AssemblerSettings, CpAssembler
from plugtap.protocols.cp_text import CpTextParser, TextReading
from plugtap.protocols.cpf1 import Cpf1Parser, Cycle, Cycles, Hello, Level, Message, Pp, Raw, Time, encode
from plugtap.protocols.events import Pilot
from plugtap.protocols.items import (
    CP_CLIPPED,
    CP_DIODE_SUSPECT,
    CP_NO_PWM,
    CP_OVERRUN,
    CP_TIME_UNCERTAIN,
    CpRecord,
)
from plugtap.protocols.pilot import PilotTracker
from plugtap.protocols.waveform import pack12

MS = 1_000_000
SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


def b2(dt: int = 0, hi: int = 9_000, duty: int = 500, **more: int) -> Cycle:
    return Cycle(dt=dt, hi_mv=hi, lo_mv=-12_000, duty=duty, freq=10_000, **more)


class Device:
    """Sends messages that arrive as soon as they can (or `late` ns later), and keeps the records."""

    def __init__(self, settings: AssemblerSettings | None = None, late: int = 0) -> None:
        self.assembler = CpAssembler(settings=settings)
        self.records: list[CpRecord] = []
        self.t_us = 0
        self.late = late

    def send(self, message: Message, duration_us: int = 0) -> list[CpRecord]:
        """`duration_us`: how long the message took to measure."""
        t_rx = EPOCH + (message.t_us + duration_us) * 1000 + self.late
        found = self.assembler.feed(t_rx, message)
        self.records += found
        return found

    def cycles(self, *cycles: Cycle, flags: int = 0) -> list[CpRecord]:
        """A frame of cycles one millisecond apart."""
        placed = tuple(msgspec.structs.replace(cycle, dt=100 * i) for i, cycle in enumerate(cycles))
        found = self.send(Cycles(cycles=placed, t_us=self.t_us, flags=flags), 1000 * len(cycles))
        self.t_us += 1000 * len(cycles)
        return found

    def settle(self) -> None:
        """Three seconds of B2, so that the clock is certain; forgets the records."""
        for _ in range(150):
            self.cycles(*[b2()] * 20)
        self.records.clear()


# --- run lengths ------------------------------------------------------------------------------------------------


def test_a_steady_stretch_is_one_record_a_tenth_of_a_second() -> None:
    device = Device()
    device.settle()
    for _ in range(50):
        device.cycles(*[b2()] * 20)
    assert len(device.records) == 10
    record = device.records[3]
    assert (record.span, record.cycles, record.flags) == (100 * MS, 100, 0)
    assert (record.hi_mv, record.lo_mv, record.duty, record.freq, record.number) == (9_000, -12_000, 500, 10_000, 0)
    assert [b.t - a.t for a, b in pairwise(device.records)] == [100 * MS] * 9


def test_the_first_record_of_a_new_state_comes_at_once() -> None:
    device = Device()
    device.settle()
    found = device.cycles(b2(), b2(), b2(hi=6_000), b2(hi=6_000))
    assert [(r.hi_mv, r.cycles) for r in found] == [(9_000, 99)]
    found = device.cycles(b2(hi=6_000), b2(hi=6_000))
    assert [(r.hi_mv, r.cycles) for r in found] == [(6_000, 3)]
    assert device.cycles(*[b2(hi=6_000)] * 20) == []


def test_a_change_ends_the_record_at_its_cycle() -> None:
    device = Device()
    device.settle()
    start = device.t_us
    device.cycles(*[b2()] * 7, *[b2(hi=6_000)] * 7, *[b2(hi=6_000, duty=1_000)] * 7)
    device.records += device.assembler.flush()
    spans = [(r.hi_mv, r.duty, (r.t - EPOCH) // 1000 - start, r.cycles) for r in device.records]
    assert spans[0][:2] == (9_000, 500)
    assert spans[-4:] == [
        (6_000, 500, 7_000, 3),
        (6_000, 500, 10_000, 4),
        (6_000, 1_000, 14_000, 3),
        (6_000, 1_000, 17_000, 4),
    ]


def test_noise_within_limits_is_averaged_and_told() -> None:
    device = Device()
    device.settle()
    device.cycles(*[b2(hi=9_000 + 100 * (i % 3), duty=500 + 10 * (i % 3), noise=2) for i in range(90)])
    device.records += device.assembler.flush()
    (*_, record) = device.records
    assert (record.hi_mv, record.duty, record.noise_mv) == (pytest.approx(9_100, abs=3), pytest.approx(510, abs=1), 200)


def test_one_odd_cycle_is_a_record_of_its_own() -> None:
    device = Device()
    device.settle()
    device.cycles(*[b2()] * 9, b2(hi=3_000, flags=4), *[b2()] * 9)
    device.records += device.assembler.flush()
    assert [(r.hi_mv, r.cycles, r.flags) for r in device.records if r.hi_mv == 3_000] == [(3_000, 1, 4)]


def test_records_may_be_shorter() -> None:
    device = Device(AssemblerSettings(max_span=10 * MS))
    device.settle()
    device.cycles(*[b2()] * 40)
    assert [r.cycles for r in device.records] == [10, 10, 10, 10]


# --- kinds of messages ------------------------------------------------------------------------------------------


def test_levels_without_pwm() -> None:
    device = Device()
    device.settle()
    for mean in (9_000, 9_000, 0, 0, -12_000, -12_000):
        device.send(Level(mean_mv=mean, min_mv=mean - 20, max_mv=mean + 30, n=1000, t_us=device.t_us), 10_000)
        device.t_us += 10_000
    device.records += device.assembler.flush()
    assert [(r.hi_mv, r.lo_mv, r.duty, r.freq) for r in device.records[-6:]] == [
        (9_000, 9_000, 10_000, 0), (9_000, 9_000, 10_000, 0), (0, 0, 0, 0), (0, 0, 0, 0),
        (-12_000, -12_000, 0, 0), (-12_000, -12_000, 0, 0),
    ]  # fmt: skip
    assert {(r.flags, r.cycles, r.span, r.noise_mv) for r in device.records[-6:]} == {(CP_NO_PWM, 10, 10 * MS, 50)}
    device.send(Level(mean_mv=3_000, min_mv=0, max_mv=6_000, n=1000, t_us=device.t_us), 10_000)
    assert [r.cycles for r in device.assembler.flush()] == [1]  # a step: its mean is no level


def test_cycles_without_pwm() -> None:
    device = Device()
    device.settle()
    device.cycles(*[Cycle(0, 12_000, 11_990, 10_000, 0, 0, 1)] * 5)
    device.records += device.assembler.flush()
    record = device.records[-1]
    assert (record.hi_mv, record.lo_mv, record.flags) == (12_000, 12_000, CP_NO_PWM)


def test_proximity_goes_into_the_records_and_ends_one_when_it_moves() -> None:
    device = Device()
    device.settle()
    device.send(Pp(pp_mv=2_770, pp_ohm=0xFFFF, t_us=device.t_us))
    device.cycles(*[b2()] * 20)
    device.send(Pp(pp_mv=2_790, pp_ohm=0xFFFF, t_us=device.t_us))
    device.cycles(*[b2()] * 20)
    device.send(Pp(pp_mv=1_530, pp_ohm=150, t_us=device.t_us))
    device.cycles(*[b2()] * 20)
    device.records += device.assembler.flush()
    assert [(r.pp_mv, r.pp_ohm, r.cycles) for r in device.records if r.pp_mv is not None] == [
        (2_790, None, 40),
        (1_530, 150, 20),
    ]
    device.t_us += 6_000_000
    device.cycles(*[b2()] * 3)
    assert (device.records[-1].pp_mv, device.records[-1].pp_ohm) == (None, None)


def test_overruns_and_clipping_are_flags() -> None:
    device = Device()
    device.settle()
    device.cycles(*[b2()] * 3, flags=cpf1.FLAG_CLIPPED)
    assert device.records[-1].flags == CP_CLIPPED
    device.cycles(*[b2()] * 3, flags=cpf1.FLAG_OVERRUN)
    assert device.records[-1].flags == CP_OVERRUN
    device.cycles(*[b2()] * 100)
    assert device.records[-1].flags == 0


def test_a_gap_ends_a_record() -> None:
    device = Device()
    device.settle()
    device.cycles(*[b2()] * 5)
    device.t_us += 500_000
    device.cycles(*[b2()] * 5)
    assert device.assembler.counters.gaps == 1
    assert device.records[-1].t == EPOCH + (device.t_us - 5_000) * 1000


# --- time -------------------------------------------------------------------------------------------------------


def test_early_records_have_uncertain_time() -> None:
    device = Device()
    for _ in range(200):
        device.cycles(*[b2()] * 20)
    uncertain = [bool(r.flags & CP_TIME_UNCERTAIN) for r in device.records]
    assert uncertain[:19] == [True] * 19
    assert uncertain[22:] == [False] * (len(uncertain) - 22)


def test_time_is_that_of_measuring_not_of_receiving() -> None:
    rng = random.Random(1)
    device = Device()
    for _ in range(1000):
        device.late = 2 * MS + round(rng.expovariate(1 / (5 * MS)))
        device.cycles(*[b2()] * 20)
    for record in device.records[-20:]:
        error = (record.t - EPOCH) % MS - 2 * MS  # the shortest delay cannot be known
        assert min(error % MS, -error % MS) < MS // 4


def test_a_restart_of_the_device() -> None:
    device = Device()
    device.send(Hello(boot_id=1))
    device.settle()
    device.cycles(*[b2()] * 10)
    t_rx = EPOCH + device.t_us * 1000 + SECOND
    before = device.assembler.feed(t_rx, Hello(boot_id=2, t_us=50))
    assert [r.cycles for r in before] == [7]
    assert not before[0].flags & CP_TIME_UNCERTAIN
    (record,) = device.assembler.feed(t_rx + 10 * MS, Cycles(cycles=(b2(), b2(100), b2(200)), t_us=7_050))
    assert record.flags & CP_TIME_UNCERTAIN
    assert record.t == t_rx + 7 * MS
    assert device.assembler.counters.restarts == 1


def test_a_restart_without_a_hello() -> None:
    device = Device()
    device.settle()
    device.cycles(*[b2()] * 10)
    t_rx = EPOCH + device.t_us * 1000 + SECOND
    found = device.assembler.feed(t_rx, Cycles(cycles=(b2(), b2(100), b2(200)), t_us=0))
    assert [(r.cycles, bool(r.flags & CP_TIME_UNCERTAIN)) for r in found] == [(7, False), (3, True)]
    assert found[1].t == t_rx - 3 * MS


def test_a_host_clock_set_back_does_not_hold_records() -> None:
    device = Device()
    device.settle()
    device.late = -3600 * SECOND
    device.cycles(*[b2()] * 120)
    assert device.records[-1].t == EPOCH + device.late + (device.t_us - 120_000) * 1000
    assert device.records[-1].flags & CP_TIME_UNCERTAIN


def test_time_messages_serve_the_clock() -> None:
    assembler = CpAssembler()
    assert assembler.feed(EPOCH, Time(t_us_now=5)) == []
    assert assembler.clock.to_host(5_000) == EPOCH


# --- waveforms --------------------------------------------------------------------------------------------------

UV = 10_000  # a count is 10 mV


def play(parts: list[Part], rate: int = 100_000, bits: int = 16, lose: tuple[int, ...] = ()) -> tuple[CpAssembler, list[CpRecord]]:
    """A signal through frames of 500 samples, parser and assembler; frames with a number in `lose` do not arrive."""
    offset = -20_480_000 if bits == 12 else 0
    counts = np.round((signal(parts, rate) * 1000 - offset) / UV).astype(np.int16)
    parser, assembler, records = Cpf1Parser(), CpAssembler(), []
    hello = Hello(uv_per_lsb=UV, offset_uv=offset, rate_hz=rate, boot_id=1)
    for seq, at in enumerate(range(-1, len(counts), 500)):
        samples = counts[max(0, at) : at + 500]
        data = pack12(samples) if bits == 12 else samples.astype("<i2").tobytes()
        t_us = max(0, at) * 1_000_000 // rate
        message: Message = Raw(rate_hz=rate, n=len(samples), data=data, bits=bits, t_us=t_us, seq=seq)
        frames = encode(hello) + encode(message) if seq == 0 else encode(message)
        if seq in lose:
            continue
        for found in parser.feed(frames):
            end_us = found.t_us + (len(samples) * 1_000_000 // rate if isinstance(found, Raw) else 0)
            records += assembler.feed(EPOCH + end_us * 1000, found)
    records += assembler.flush()
    assert parser.counters.bad_crc == parser.counters.bad_length == 0
    return assembler, records


SESSION = [
    Part(3.0, 12_000),
    Part(0.5, 9_000),
    Part(0.8, 9_000, -12_000, 0.05),
    Part(0.4, 6_000, -12_000, 0.05),
    Part(0.25, 9_000, -12_000, 0.05),
    Part(0.4, 9_000, -12_000, 0.5),
    Part(0.3, 6_000),
    Part(0.3, 0),
    Part(0.3, -12_000),
    Part(0.3, 12_000),
]


@pytest.mark.parametrize(("rate", "bits"), [(100_000, 16), (100_000, 12), (250_000, 16)])
def test_from_the_line_to_states(rate: int, bits: int) -> None:
    _, records = play(SESSION, rate, bits)
    tracker = PilotTracker()
    pilots = [event for record in records for event in tracker.feed_record(record) if isinstance(event, Pilot)]
    assert [(p.state, round(p.duty, 0)) for p in pilots] == [
        ("A1", 100), ("B1", 100), ("B2", 5), ("C2", 5), ("B2", 5), ("B2", 50), ("C1", 100), ("E", 0), ("F", 0), ("A1", 100),
    ]  # fmt: skip
    times = np.cumsum([0, *(part.seconds for part in SESSION[:-1])])
    assert [(p.t - EPOCH) / SECOND for p in pilots] == pytest.approx(times.tolist(), abs=1.6e-3)
    for p, (hi, duty) in zip(pilots, [(part.hi, part.duty) for part in SESSION], strict=True):
        assert p.hi_mv == pytest.approx(hi, abs=60)
        assert duty is None or p.duty == pytest.approx(100 * duty, abs=0.3)


def test_a_waveform_costs_few_records() -> None:
    assembler, records = play([Part(5, 9_000, -12_000, 0.05)])
    assert 48 <= len(records) <= 56
    assert sum(record.cycles for record in records) >= 4_990
    assert all(record.duty == pytest.approx(500, abs=15) for record in records[2:])
    assert all(record.freq == pytest.approx(10_000, abs=20) for record in records[2:])
    assert assembler.counters.gaps == 0


def test_a_missing_diode_is_suspected_but_not_in_state_a() -> None:
    _, records = play([Part(0.3, 9_000, -9_000, 0.5)])
    assert all(record.flags & CP_DIODE_SUSPECT for record in records)
    _, records = play([Part(0.3, 12_000, -12_000, 0.5)])
    assert not any(record.flags & CP_DIODE_SUSPECT for record in records)


def test_lost_waveforms_are_gaps() -> None:
    assembler, records = play([Part(1, 9_000, -12_000, 0.05)], lose=tuple(range(100, 150)))
    assert assembler.counters.gaps == 1
    assert 740 <= sum(record.cycles for record in records) <= 760
    assert all(record.hi_mv == pytest.approx(9_000, abs=60) for record in records)


def test_waveforms_without_scale_are_counted() -> None:
    assembler = CpAssembler()
    raw = Raw(rate_hz=100_000, n=2, data=bytes(4))
    assert assembler.feed(0, raw) == []
    assembler.feed(0, Hello(uv_per_lsb=0))
    assert assembler.feed(0, raw) == []
    assert assembler.counters.uncalibrated == 2


def test_a_waveform_at_another_rate_is_another_waveform() -> None:
    device = Device()
    device.send(Hello(uv_per_lsb=UV, boot_id=1))
    one = (signal([Part(0.01, 9_000)]) / 10).astype("<i2").tobytes()
    device.send(Raw(rate_hz=100_000, n=1000, data=one, t_us=0), 10_000)
    device.send(Raw(rate_hz=50_000, n=1000, data=one, t_us=10_000, flags=cpf1.FLAG_CLIPPED), 20_000)
    device.records += device.assembler.flush()
    assert [(r.span // MS, bool(r.flags & CP_CLIPPED)) for r in device.records] == [
        (3, False), (7, False), (3, True), (17, True),
    ]  # fmt: skip


def test_what_is_no_pilot_is_not_gathered_for_ever() -> None:
    assembler = CpAssembler()
    assembler.feed(0, Hello(uv_per_lsb=UV, boot_id=1))
    for i in range(200):
        # a slow triangle between the thresholds and back: edges too far apart for PWM, too near for a steady level
        x = (np.abs(np.arange(500) % 460 - 230) * 20 - 2_300).astype("<i2")
        assembler.feed(i * 5 * MS, Raw(rate_hz=100_000, n=500, data=x.tobytes(), t_us=i * 5_000))
        assert sum(len(part) for part in assembler._wave) <= 11_000


# --- text -------------------------------------------------------------------------------------------------------


def test_lines_with_the_devices_time() -> None:
    parser, assembler = CpTextParser(), CpAssembler()
    records = []
    for i in range(40):
        hi = 9_000 if i < 30 else 6_000
        for reading in parser.feed(f"CP,{1000 + 100 * i},{hi},-12000,50,10000,1500\n".encode()):
            records += assembler.feed(EPOCH + i * 100 * MS + 3 * MS, reading)
    assert len(records) == 40
    assert (records[30].t, records[30].span, records[30].cycles) == (EPOCH + 2_903 * MS, 100 * MS, 100)
    assert (records[30].hi_mv, records[30].pp_ohm, records[30].flags) == (6_000, 1_500, 0)
    assert records[5].flags == CP_TIME_UNCERTAIN


def test_lines_without_time() -> None:
    assembler = CpAssembler(source="cp2")
    (first,) = assembler.feed(EPOCH, TextReading(hi_mv=9_000, lo_mv=-12_000))
    (second,) = assembler.feed(EPOCH + 22 * MS, TextReading(hi_mv=9_000, lo_mv=-12_000))
    assert (first.t, first.span, first.cycles, first.source) == (EPOCH, 0, 3, "cp2")
    assert (second.t, second.span, second.cycles, second.flags) == (EPOCH, 22 * MS, 22, CP_TIME_UNCERTAIN)
    (late,) = assembler.feed(EPOCH + 9 * SECOND, TextReading(hi_mv=9_000))
    assert (late.t, late.span) == (EPOCH + 9 * SECOND, 0)


def test_a_letter_keeps_the_digit_of_before() -> None:
    assembler = CpAssembler()
    levels = []
    for state in ("B", "B2", "C", "B1", "C"):
        (record,) = assembler.feed(0, TextReading(state=state))
        levels.append((record.hi_mv, record.lo_mv))
    assert levels == [(9_000, 9_000), (9_000, -12_000), (6_000, -12_000), (9_000, 9_000), (6_000, 6_000)]
    assert assembler.feed(0, TextReading(duty=500)) == []


# --- anything ---------------------------------------------------------------------------------------------------

ANY = st.one_of(
    MESSAGES,
    st.builds(
        TextReading,
        t_ms=st.none() | st.floats(0, 1e15),
        time_ns=st.none() | st.integers(0, 2**62),
        hi_mv=st.integers(-30_000, 30_000),
        lo_mv=st.none() | st.integers(-30_000, 30_000),
        duty=st.none() | st.integers(0, 10_000),
        freq=st.none() | st.integers(0, 0xFFFF),
        state=st.none() | st.sampled_from(["A", "B2", "C1", "E", "F"]),
    ),
)


@given(st.lists(st.tuples(ANY, st.integers(0, 2**62)), max_size=15))
def test_any_messages_at_any_times(sent: list[tuple[Message | TextReading, int]]) -> None:
    assembler, tracker = CpAssembler(), PilotTracker()
    records = [record for message, t_rx in sent for record in assembler.feed(t_rx, message)] + assembler.flush()
    assert assembler.counters.records == len(records)
    for record in records:
        assert record.cycles >= 1
        assert record.span >= 0
        tracker.feed_record(record)
