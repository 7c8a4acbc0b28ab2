"""Power path and pilot: the numbers agree with each other and with the standards' levels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.cp_assembler import CpAssembler
from plugtap.protocols.cp_text import CpTextParser
from plugtap.protocols.cpf1 import Cpf1Parser, Cycles, Hello, Pp
from plugtap.protocols.items import CpRecord
from plugtap.protocols.pilot import letter_of
from plugtap.sim.adc import Adc
from plugtap.sim.electrical import CURRENT, ISOLATION, OFF, PRECHARGE, Battery, Power, Supply
from plugtap.sim.kernel import MS, SECOND, World, seconds
from plugtap.sim.pilot import Pilot, PilotSettings


def power(**supply: float | bool) -> tuple[World, Power]:
    world = World(0, 1)
    return world, Power(world, Battery(), Supply(**supply), "p")  # type: ignore[arg-type]


def test_a_whole_charge_adds_up() -> None:
    world, p = power()
    p.set(ISOLATION, 450)
    world.advance(seconds(3))
    assert abs(p.read_voltage() - 450) < 2 and p.read_current() == 0
    p.set(OFF)
    world.advance(seconds(8))
    assert p.read_voltage() < 1
    target = p.battery.open_voltage()
    p.set(PRECHARGE, target)
    world.advance(seconds(11))
    assert abs(p.read_voltage() - target) < 2
    p.contactor(True)
    p.set(CURRENT, 410, 100)
    soc = p.battery.soc
    energy = 0.0
    for step in range(1, 601):
        world.advance(seconds(11) + step * SECOND)
        energy += p.read_voltage() * p.read_current() / 3600
    assert p.energy_wh == pytest.approx(energy, rel=0.01)
    assert p.battery.soc - soc == pytest.approx(100 * p.energy_wh / p.battery.capacity_wh, rel=1e-6)
    assert p.read_voltage() == pytest.approx(p.battery.open_voltage() + 100 * p.battery.resistance, abs=1.5)
    p.set(OFF)
    p.contactor(False)
    world.advance(world.now + seconds(6))
    assert p.read_voltage() < 60 and p.read_current() == 0


@given(st.floats(0, 400), st.floats(0, 150))
def test_limits_hold_whatever_is_asked(volts: float, amperes: float) -> None:
    world, p = power(max_a=50.0, max_w=15_000.0)
    p.contactor(True)
    p.set(CURRENT, volts, amperes)
    world.advance(seconds(20))
    assert 0 <= p.read_current() <= 51 and p.read_voltage() * p.read_current() <= 15_600
    if volts < p.battery.open_voltage():
        assert p.read_current() == 0, "no current flows uphill"


def test_faults_of_the_power_stage() -> None:
    world, p = power(stall_v=120.0)
    p.set(PRECHARGE, 360)
    world.advance(seconds(10))
    assert abs(p.read_voltage() - 120) < 2
    world, p = power(welded=True)
    p.set(PRECHARGE, 360)
    world.advance(seconds(3))
    p.set(OFF)
    world.advance(seconds(30))
    assert p.read_voltage() > 350
    world, p = power(reading_v=0.0)
    p.set(PRECHARGE, 360)
    world.advance(seconds(3))
    assert p.read_voltage() == 0 and p.voltage > 350


def test_discharging_lowers_the_state_of_charge() -> None:
    world, p = power()
    p.contactor(True)
    p.set(CURRENT, 410, -40)
    world.advance(seconds(60))
    assert p.read_current() < -38 and p.energy_wh < 0 and p.battery.soc < 42


def pilot(**settings: object) -> tuple[World, Pilot, list[CpRecord]]:
    world = World(0, 1)
    made = Pilot(world, PilotSettings(**settings), "p")  # type: ignore[arg-type]
    records: list[CpRecord] = []
    made.emit = records.append
    made.start()
    return world, made, records


def test_levels_are_those_of_the_standard() -> None:
    world, p, records = pilot()
    for at, state in enumerate("ABCD", 1):
        p.ev(state)
        p.pwm(5.0 if state != "A" else 100)
        world.advance(at * SECOND)
    letters = [letter_of(r.hi_mv) for r in records]
    assert "".join(dict.fromkeys(letters)) == "ABCD"
    for r in records:
        low, high = {"A": (11400, 12600), "B": (8360, 9560), "C": (5480, 6490), "D": (2620, 3250)}[letter_of(r.hi_mv)]
        assert low < r.hi_mv < high
        assert r.lo_mv == r.hi_mv if r.duty == 10_000 else -12600 < r.lo_mv < -11400
    p.fault("F")
    world.advance(5 * SECOND)
    p.fault("E")
    world.advance(6 * SECOND)
    assert letter_of(records[-15].hi_mv) == "F" and abs(records[-1].hi_mv) < 200


def test_records_cover_time_without_gap_or_overlap_and_never_longer_than_a_block() -> None:
    world, p, records = pilot()
    world.later(333 * MS, lambda: p.ev("B"))
    world.later(777 * MS, lambda: p.pwm(5.0))
    world.advance(3 * SECOND)
    assert all(0 < r.span <= 100 * MS for r in records)
    assert all(a.t + a.span == b.t for a, b in zip(records, records[1:], strict=False))
    assert {r.t for r in records} >= {333 * MS, 777 * MS}, "changes begin a record of their own"


def test_a_missing_diode_bends_the_negative_side() -> None:
    world, p, records = pilot(diode=False)
    p.ev("B")
    p.pwm(5.0)
    world.advance(SECOND)
    assert abs(records[-1].hi_mv + records[-1].lo_mv) < 200 and records[-1].flags


def test_the_adc_speaks_cpf1_as_plugtap_reads_it() -> None:
    world, p, records = pilot()
    p.ev("B")
    p.pwm(5.0)
    world.advance(2 * SECOND)
    adc = Adc("cpf1", 0, boot_id=77)
    parser = Cpf1Parser()
    messages = parser.feed(b"".join(adc.encode(r) for r in records))
    assert parser.counters.bad_crc == parser.counters.bad_cobs == parser.counters.lost == 0
    assert [m.boot_id for m in messages if isinstance(m, Hello)] == [77]
    assert [m.pp_ohm for m in messages if isinstance(m, Pp)] == [1500, 1500]
    cycles = [m for m in messages if isinstance(m, Cycles)]
    assert [(m.t_us, m.cycles[0].hi_mv, m.cycles[0].duty) for m in cycles] == [(r.t // 1000, r.hi_mv, r.duty) for r in records]
    assert sum(len(m.cycles) for m in cycles) == 200, "every tenth of 2000 cycles"


def test_the_adc_speaks_text_as_plugtap_reads_it() -> None:
    world, p, records = pilot()
    p.ev("C")
    p.pwm(53.3)
    world.advance(SECOND)
    parser = CpTextParser()
    readings = parser.feed(b"".join(Adc("text", 0).encode(r) for r in records))
    assert len(readings) == 100
    assert {(r.hi_mv, r.lo_mv) for r in readings} == {(r.hi_mv, r.lo_mv) for r in records}
    assert all(abs(r.duty / 100 - 53.3) < 0.3 and r.pp_ohm == 1500 for r in readings)


@pytest.mark.parametrize("form", ["cpf1", "raw", "text"])
def test_the_device_seen_through_plugtap_is_the_pilot_again(form: str) -> None:
    """Pilot -> ADC -> serial bytes -> parser -> assembler: levels, duty and frequency come back, at their times."""
    world, p, records = pilot()
    world.at(500 * MS, lambda: p.ev("B"))
    world.at(1200 * MS, lambda: p.pwm(5.0))
    world.at(2200 * MS, lambda: p.ev("C"))
    world.advance(3500 * MS)
    adc = Adc(form, 0)
    parser = CpTextParser() if form == "text" else Cpf1Parser()
    assembler = CpAssembler()
    out: list[CpRecord] = []
    for record in records:
        arrival = record.t + record.span + 2 * MS
        for message in parser.feed(adc.encode(record)):
            out += assembler.feed(arrival, message)
    out += assembler.flush()
    for at, letter, duty in ((300, "A", 100), (1000, "B", 100), (2000, "B", 5), (3300, "C", 5)):
        seen = [r for r in out if r.t <= at * MS < r.t + max(r.span, 11 * MS)]
        assert seen, f"nothing at {at} ms"
        assert letter_of(seen[-1].hi_mv) == letter
        assert abs(seen[-1].duty / 100 - duty) < 0.3
        if duty == 5:
            assert abs(seen[-1].freq / 10 - 1000) < 3 and abs(seen[-1].lo_mv + 12_000) < 150
    assert all(a.t <= b.t for a, b in zip(out, out[1:], strict=False))
