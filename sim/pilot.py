"""Control pilot and proximity of one connector: who drives what, the levels that result, and the records an ADC makes of them.

The charger drives +12 V, a 1 kHz PWM of ±12 V, or -12 V through 1 kohm; the EV loads the positive side with a diode and 2.74 kohm
(state B), 882 ohm (C) or 246 ohm (D). IEC 61851-1 Annex A.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plugtap.protocols.items import CP_CLIPPED, CP_DIODE_SUSPECT, CP_NO_PWM, CpRecord
from plugtap.sim.kernel import MS, World

BLOCK = 100 * MS  # the longest stretch one record covers
LOAD_OHM = {"B": 2740.0, "C": 882.0, "D": 246.0}
_DIODE_V = 0.7


class PilotSettings(msgspec.Struct):
    """Levels and flaws of the pilot. Everything a scenario may bend."""

    high_v: float = 12.0
    low_v: float = -12.0
    source_ohm: float = 1000.0
    frequency: float = 1000.0
    noise_v: float = 0.03  # peak to peak
    level_noise_v: float = 0.012  # of a plateau, from record to record (standard deviation)
    duty_noise: float = 0.02  # percent points, standard deviation
    diode: bool = True
    offset_v: float = 0.0  # resistance in PE or a bad contact lifts the levels
    pp_ohm: int = 1500  # CCS2 plug; 60000 when open
    pp_supply_v: float = 5.0
    pp_pull_ohm: float = 330.0
    pp_noise_ohm: float = 0.0
    adc_ppm: float = 0.0  # drift of the ADC's clock
    adc_offset_ms: float = 0.0  # the ADC's time stamps are off by this


class Pilot:
    """The pilot line; `emit` gets a CpRecord for every steady stretch of up to 100 ms."""

    def __init__(self, world: World, settings: PilotSettings, name: str) -> None:
        self.world = world
        self.settings = settings
        self.state = "A"  # what the EV does: A (not plugged), B, C, D
        self.drive = "high"  # what the charger does: high (no PWM), pwm, F (-12 V), E (0 V)
        self.duty = 100.0
        self.emit: Callable[[CpRecord], None] | None = None
        self.on_state: list[Callable[[str], None]] = []
        self._chance = world.chance(f"{name}/pilot")
        self._since = world.now

    def start(self) -> None:
        """Begin to record."""
        self._since = self.world.now
        self.world.later(BLOCK, self._block)

    def ev(self, state: str) -> None:
        """The EV (or the hand at the plug) changes the load."""
        if state == self.state:
            return
        self._flush()
        self.state = state
        for handler in list(self.on_state):
            handler(state)

    def pwm(self, duty: float) -> None:
        """The charger drives PWM of `duty` percent; 100 is +12 V without PWM."""
        self._flush()
        self.drive, self.duty = ("high" if duty >= 100 else "pwm"), duty

    def fault(self, state: str) -> None:
        """The charger drives -12 V (F) or nothing at all (E)."""
        self._flush()
        self.drive = state

    def touch(self) -> None:
        """A setting is about to change: close the record of before."""
        self._flush()

    def levels(self) -> tuple[float, float, float]:
        """High plateau, low plateau (V) and duty (%) as they are on the line, without noise."""
        s = self.settings
        if self.drive == "E":
            return 0.0, 0.0, 0.0
        if self.drive == "F":
            return s.low_v, s.low_v, 0.0
        load = LOAD_OHM.get(self.state)
        high = s.high_v
        low = s.low_v
        if load is not None:
            share = load / (load + s.source_ohm)
            if s.diode:
                high = (s.high_v - _DIODE_V) * share + _DIODE_V
            else:
                high, low = s.high_v * share, s.low_v * share
            high += s.offset_v
        if self.drive == "high":
            return high, high, 100.0
        return high, low, self.duty

    def _block(self) -> None:
        self._flush()
        self.world.later(BLOCK, self._block)

    def _flush(self) -> None:
        """Turn the stretch since the last record into one."""
        now = self.world.now
        span = now - self._since
        if span <= 0 or self.emit is None:
            return
        s = self.settings
        gauss = self._chance.gauss
        high, low, duty = self.levels()
        steady = self.drive != "pwm"
        high += gauss(0, s.level_noise_v)
        low = high if steady else low + gauss(0, s.level_noise_v)
        flags = CP_NO_PWM if steady else 0
        if not steady and abs(high + low) < 1.1:
            flags |= CP_DIODE_SUSPECT
        if max(abs(high), abs(low)) > 14:
            flags |= CP_CLIPPED
        pp_ohm = max(1, round(s.pp_ohm + gauss(0, s.pp_noise_ohm))) if s.pp_noise_ohm else s.pp_ohm
        pp_mv = round(1000 * s.pp_supply_v * pp_ohm / (pp_ohm + s.pp_pull_ohm))
        drift = round((self._since - self.world.start) * s.adc_ppm / 1e6 + s.adc_offset_ms * MS)
        self.emit(
            CpRecord(
                t=self._since + drift,
                number=0,
                hi_mv=round(high * 1000),
                lo_mv=round(low * 1000),
                duty=round(100 * (duty if steady else min(99.9, max(0.1, duty + gauss(0, s.duty_noise))))),
                freq=0 if steady else round(10 * (s.frequency + gauss(0, 0.15))),
                span=span,
                cycles=max(1, span // MS),
                noise_mv=round(1000 * s.noise_v * (0.8 + 0.4 * self._chance.random())),
                flags=flags,
                pp_mv=pp_mv,
                pp_ohm=pp_ohm,
            )
        )
        self._since = now
