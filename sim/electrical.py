"""The power path: battery, charger output, contactors and insulation, so that all numbers on the line agree with each other.

Volts, amperes, watts, seconds. The model moves on when somebody reads it; slews are limited, the battery's voltage follows its state of
charge and the current through its resistance. The faults of real power stages are attributes of Supply.
"""

from __future__ import annotations

import random

import msgspec

from plugtap.sim.kernel import SECOND, World

OFF, ISOLATION, PRECHARGE, CURRENT = "off", "isolation", "pre-charge", "current"


class Battery(msgspec.Struct):
    """The EV's battery and what the EV allows."""

    soc: float = 42.0  # %
    capacity_wh: float = 62_000.0
    empty_v: float = 330.0
    full_v: float = 402.0
    resistance: float = 0.06
    max_v: float = 413.0
    max_a: float = 125.0
    max_w: float = 50_000.0

    def open_voltage(self) -> float:
        """Voltage without current at the present state of charge."""
        return self.empty_v + (self.full_v - self.empty_v) * self.soc / 100


class Supply(msgspec.Struct):
    """The charger's power stage."""

    max_v: float = 500.0
    min_v: float = 150.0
    max_a: float = 125.0
    min_a: float = 0.0
    max_w: float = 50_000.0
    slew_v: float = 350.0  # V/s
    slew_a: float = 60.0  # A/s
    noise_v: float = 0.25
    noise_a: float = 0.12
    discharge_s: float = 0.45  # time constant of the output after switching off
    stall_v: float = 0.0  # above this voltage the output does not rise (0: no fault)
    offset_v: float = 0.0  # regulation error
    overshoot_v: float = 0.0  # dies away with 0.6 s
    deliver: float = 1.0  # share of the asked current that comes
    extra_a: float = 0.0  # current nobody asked for
    ripple_a: float = 0.0
    ripple_v: float = 0.0
    reading_v: float = -1.0  # the voltmeter is stuck at this (below 0: it works)
    scale_a: float = 1.0  # wrong scale of the ammeter
    dead: bool = False  # the output collapses
    welded: bool = False  # output does not go away after switching off
    insulation_kohm: float = 1200.0


class Power:
    """One connector's power path, advanced by `at(now)`."""

    def __init__(self, world: World, battery: Battery, supply: Supply, name: str) -> None:
        self.battery = battery
        self.supply = supply
        self.mode = OFF
        self.target_v = 0.0
        self.target_a = 0.0
        self.voltage = 0.0  # at the charger's output
        self.current = 0.0
        self.ev_contactor = False
        self.energy_wh = 0.0
        self._chance = random.Random(f"{world.seed}/{name}/power")
        self._world = world
        self._time = world.now
        self._over = 0.0

    def set(self, mode: str, volts: float = 0.0, amperes: float = 0.0) -> None:
        """What the charger regulates to from now on."""
        self.step()
        if mode == PRECHARGE and self.mode != PRECHARGE and self.supply.overshoot_v:
            self._over = self.supply.overshoot_v
        self.mode, self.target_v, self.target_a = mode, volts, amperes

    def contactor(self, closed: bool) -> None:
        """The EV closes or opens its contactor."""
        self.step()
        self.ev_contactor = closed
        if closed:
            self.voltage = max(self.voltage, self.battery.open_voltage())

    def step(self) -> None:
        """Advance to the world's time."""
        now = self._world.now
        left = (now - self._time) / SECOND
        self._time = now
        while left > 1e-9:
            dt = min(left, 0.05)
            left -= dt
            self._advance(dt)

    def _advance(self, dt: float) -> None:
        supply, battery = self.supply, self.battery
        self._over -= self._over * min(1.0, dt / 0.6)
        wish_a = 0.0
        if self.mode == CURRENT and self.ev_contactor and not supply.dead:
            room = max(0.0, (self.target_v - battery.open_voltage()) / battery.resistance)
            limit = min(supply.max_a, supply.max_w / max(1.0, self.voltage), room)
            wish_a = max(-supply.max_a, min(self.target_a, limit)) * supply.deliver + supply.extra_a
        change = supply.slew_a * dt * (4 if abs(wish_a) < abs(self.current) else 1)
        self.current += max(-change, min(change, wish_a - self.current))
        if self.ev_contactor and not supply.dead:
            self.voltage = battery.open_voltage() + self.current * battery.resistance
        elif supply.welded and self.mode == OFF:
            pass
        elif self.mode in (ISOLATION, PRECHARGE, CURRENT) and not supply.dead:
            goal = min(self.target_v + supply.offset_v, supply.max_v)
            if supply.stall_v:
                goal = min(goal, supply.stall_v)
            change = supply.slew_v * dt
            self.voltage += max(-change, min(change, goal - self.voltage))
        else:
            self.voltage -= self.voltage * min(1.0, dt / supply.discharge_s)
        energy = self.voltage * self.current * dt / 3600
        self.energy_wh += energy
        battery.soc = min(100.0, battery.soc + 100 * energy / battery.capacity_wh)

    def read_voltage(self) -> float:
        """What the charger's voltmeter shows now."""
        self.step()
        if self.supply.reading_v >= 0:
            return self.supply.reading_v
        if self.voltage < 1.0:
            return 0.0
        noise = self._chance.gauss(0, self.supply.noise_v) + self._chance.uniform(-1, 1) * self.supply.ripple_v
        return max(0.0, self.voltage + self._over + noise)

    def read_current(self) -> float:
        """What the charger's ammeter shows now."""
        self.step()
        if abs(self.current) < 0.05:
            return 0.0
        noise = self._chance.gauss(0, self.supply.noise_a) + self._chance.uniform(-1, 1) * self.supply.ripple_a
        return (self.current + noise) * self.supply.scale_a

    def limits_reached(self) -> tuple[bool, bool, bool]:
        """Whether the current, voltage and power limits of the charger hold the output back."""
        supply = self.supply
        asked = self.target_a
        power = supply.max_w / max(1.0, self.voltage)
        return (
            asked > supply.max_a and supply.max_a <= power,
            self.target_v > supply.max_v,
            asked > power and power < supply.max_a,
        )
