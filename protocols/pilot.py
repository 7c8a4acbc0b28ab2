"""What the control pilot says: levels and duty cycle to states A1 … F, and duty cycle to current. IEC 61851-1 annex
A, SAE J1772.

The EVSE drives 12 V, or a 1 kHz square wave of +12 V and -12 V, through 1 kohm; the EV pulls the positive half down.
The positive plateau is the letter, the oscillator (PWM) the digit: B1 is plugged in without PWM, B2 with. E (0 V) and
F (-12 V) have no digit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from plugtap.protocols.cp_mme import CarriedCp, cp_of
from plugtap.protocols.events import Event, Mme, Pilot, PilotSample
from plugtap.protocols.items import CP_GLITCH, CpRecord

CP_NOMINAL = 64  # flag of a CpRecord: levels are those of its state's name, nobody measured them

UNKNOWN = "?"


class LevelBand(NamedTuple):
    """Levels of the positive plateau (mV) that mean one state letter. `nominal_mv` is what the standard aims at."""

    letter: str
    low_mv: int
    high_mv: int
    nominal_mv: int
    meaning: str
    may_oscillate: bool = True


_FAR = 1_000_000  # no pilot gets there

# Borders are the middles between the nominal levels. How near a level is to its nominal one is for checks to judge.
LEVEL_BANDS = (
    LevelBand("A", 10_500, _FAR, 12_000, "no vehicle connected"),
    LevelBand("B", 7_500, 10_500, 9_000, "vehicle connected, not ready"),
    LevelBand("C", 4_500, 7_500, 6_000, "vehicle ready, no ventilation needed"),
    LevelBand("D", 1_500, 4_500, 3_000, "vehicle ready, ventilation needed"),
    LevelBand("E", -6_000, 1_500, 0, "no power, or pilot shorted to PE"),
    LevelBand("F", -_FAR, -6_000, -12_000, "charging station not available", may_oscillate=False),
)
BAND = {band.letter: band for band in LEVEL_BANDS}


def letter_of(level_mv: int, before: str | None = None, hysteresis_mv: int = 300) -> str:
    """State letter of a positive plateau. To leave the band of `before` the level must pass its border by
    `hysteresis_mv`.
    """
    if before in BAND:
        band = BAND[before]
        if band.low_mv - hysteresis_mv < level_mv < band.high_mv + hysteresis_mv:
            return band.letter
    for band in LEVEL_BANDS:
        if level_mv > band.low_mv:
            return band.letter
    return "F"


# --- duty cycle -------------------------------------------------------------------------------------------------


class DutyRow(NamedTuple):
    """Duty cycles (%) from `low` to `high` and what they announce: a current of `slope` x (duty - `offset`) ampere.

    The border belongs to the row whose `..._included` says so. `meaning`: none (not allowed), digital (ISO 15118 or
    DIN 70121 decide), current.
    """

    low: float
    high: float
    meaning: str
    slope: float = 0.0
    offset: float = 0.0
    fixed: float | None = None
    low_included: bool = True
    high_included: bool = False


# IEC 61851-1 Table A.7
IEC_61851 = (
    DutyRow(0, 3, "none"),
    DutyRow(3, 7, "digital", high_included=True),
    DutyRow(7, 8, "none", low_included=False),
    DutyRow(8, 10, "current", fixed=6.0),
    DutyRow(10, 85, "current", slope=0.6, high_included=True),
    DutyRow(85, 96, "current", slope=2.5, offset=64, low_included=False, high_included=True),
    DutyRow(96, 97, "current", fixed=80.0, low_included=False, high_included=True),
    DutyRow(97, 100, "none", low_included=False, high_included=True),
)

# SAE J1772 (OCT2017), as public implementations read it: narrower at both ends
SAE_J1772 = (
    DutyRow(0, 3, "none"),
    DutyRow(3, 7, "digital", high_included=True),
    DutyRow(7, 9.5, "none", low_included=False),
    DutyRow(9.5, 10, "current", fixed=6.0),
    DutyRow(10, 85, "current", slope=0.6, high_included=True),
    DutyRow(85, 96, "current", slope=2.5, offset=64, low_included=False, high_included=True),
    DutyRow(96, 96.5, "current", fixed=80.0, low_included=False, high_included=True),
    DutyRow(96.5, 100, "none", low_included=False, high_included=True),
)


class DutyCurrent(NamedTuple):
    """What a duty cycle announces. `ampere` only with meaning ``current``."""

    meaning: str  # none, digital, current
    ampere: float | None = None


def duty_current(duty: float, table: tuple[DutyRow, ...] = IEC_61851) -> DutyCurrent:
    """The meaning of a duty cycle (%) of an oscillating pilot. Anything outside 0 … 100 means ``none``."""
    for row in table:
        above = duty > row.low or (row.low_included and duty == row.low)
        below = duty < row.high or (row.high_included and duty == row.high)
        if above and below:
            if row.meaning != "current":
                return DutyCurrent(row.meaning)
            return DutyCurrent("current", row.fixed if row.fixed is not None else row.slope * (duty - row.offset))
    return DutyCurrent("none")


def is_digital(duty: float) -> bool:
    """3 to 7 %: high level communication decides."""
    return 3.0 <= duty <= 7.0


# --- states -----------------------------------------------------------------------------------------------------


class PilotSettings(msgspec.Struct, frozen=True):
    """How a pilot is read."""

    hysteresis_mv: int = 300  # at the borders of LEVEL_BANDS
    cycles: int = 3  # so many cycles in agreement make a state
    duty_cycles: int = 10  # … and so many another duty cycle of the same state: sampled edges jitter
    cycle_ns: int = 1_000_000
    duty_step: float = 0.5  # % points: a change of at least this is reported
    freq_low: float = 900.0  # Hz: an oscillator outside is no PWM
    freq_high: float = 1100.0
    swing_mv: int = 3_000  # levels this far apart oscillate even when nobody measured duty and frequency


class _Reading(NamedTuple):
    """One reading, from wherever it came. `duty` is NaN when the pilot oscillates and nobody measured how."""

    t: int
    frame: int
    source: str
    origin: str
    hi_mv: int
    lo_mv: int
    duty: float
    freq: float
    span: int
    cycles: int
    noise_mv: int
    flags: int
    pp_mv: int | None
    pp_ohm: int | None


class _Channel:
    """State of one pilot as one source tells it."""

    def __init__(self, settings: PilotSettings) -> None:
        self.settings = settings
        self.state: str | None = None
        self.duty = math.nan  # as last reported
        self.freq = 0.0
        self.pp: tuple[int | None, int | None] = (None, None)
        self.duty_known = False  # this source has a teller of duty
        self._candidate: str | None = None
        self._candidate_duty = math.nan
        self._candidate_t = 0
        self._candidate_cycles = 0

    def classify(self, hi_mv: int, oscillates: bool) -> str:
        """``B2``, ``E`` …; ``?`` for what cannot be (an oscillator at -12 V)."""
        letter = letter_of(hi_mv, self.state[0] if self.state else None, self.settings.hysteresis_mv)
        if letter in ("E", "F"):
            return letter if BAND[letter].may_oscillate or not oscillates else UNKNOWN
        return letter + ("2" if oscillates else "1")

    def oscillates(self, hi_mv: int, lo_mv: int, duty: float, freq: float) -> bool:
        """Is the PWM on?"""
        if duty == 0 and freq == 0:
            return hi_mv - lo_mv > self.settings.swing_mv
        return 0 < duty < 100 and self.settings.freq_low <= freq <= self.settings.freq_high

    def feed(self, r: _Reading, state: str, at_once: bool) -> list[Event]:
        """The events of a reading that was classified as `state`."""
        before = self.state
        confirmed = False
        if state == UNKNOWN or not self._differs(state, r.duty):
            self._candidate = None
        elif not r.flags & CP_GLITCH:
            confirmed = self._count(r, state) or at_once
        out: list[Event] = []
        if confirmed:
            self.state, self.duty, self.freq, self._candidate = state, r.duty, r.freq, None
            out.append(
                Pilot(
                    t=self._candidate_t,
                    frame=r.frame,
                    source=r.source,
                    state=state,
                    before=before,
                    hi_mv=r.hi_mv,
                    lo_mv=r.lo_mv,
                    duty=r.duty,
                    freq=r.freq,
                    origin=r.origin,
                    pp_ohm=r.pp_ohm,
                    flags=r.flags,
                )
            )
        out.append(
            PilotSample(
                t=r.t,
                frame=r.frame,
                source=r.source,
                hi_mv=r.hi_mv,
                lo_mv=r.lo_mv,
                duty=r.duty,
                freq=r.freq,
                span=r.span,
                cycles=r.cycles,
                noise_mv=r.noise_mv,
                flags=r.flags,
                # while a change is not confirmed the levels may be those of the change itself
                state=state if state == self.state else UNKNOWN,
                pp_mv=r.pp_mv,
                pp_ohm=r.pp_ohm,
                origin=r.origin,
            )
        )
        return out

    def _differs(self, state: str, duty: float) -> bool:
        """Is this another state, or the same with another duty cycle worth telling?"""
        if state != self.state:
            return True
        if not state.endswith("2"):
            return False
        step = abs(duty - self.duty)
        if math.isnan(step):
            return math.isnan(self.duty) and not math.isnan(duty)
        # at the borders of 3 and 7 % the tenth keeps jitter from telling the same thing again and again
        crossed = is_digital(duty) != is_digital(self.duty) and step >= 0.1
        return crossed or step >= self.settings.duty_step

    def _count(self, r: _Reading, state: str) -> bool:
        """Adds a reading to the candidate, or makes it a new one. True when enough cycles agree."""
        same = state == self._candidate and not abs(r.duty - self._candidate_duty) >= self.settings.duty_step
        if not same:
            self._candidate, self._candidate_duty, self._candidate_t = state, r.duty, r.t
            self._candidate_cycles = 0
        self._candidate_cycles += max(r.cycles, r.span // self.settings.cycle_ns)
        return self._candidate_cycles >= (self.settings.duty_cycles if state == self.state else self.settings.cycles)


class PilotTracker:
    """Pilot records, and MMEs that carry the pilot, to events: a `Pilot` for every change, a `PilotSample` for every
    reading.

    A change counts when `PilotSettings.cycles` cycles agree (`duty_cycles` for duty alone), and its event has the
    time of the first of them; states in MMEs count at once. Each source has its own state. A `Pilot` comes before the
    sample that made it certain.

    `duty` and `freq` are NaN where the pilot oscillates and the source does not tell how. MMEs carry the positive
    plateau only: `lo_mv` repeats it there, so that checks of the negative plateau must look at `origin` ``adc``.
    """

    def __init__(self, settings: PilotSettings | None = None, max_sources: int = 16) -> None:
        self.settings = settings or PilotSettings()
        self.rejected = 0  # readings of sources beyond `max_sources`
        self._max_sources = max_sources
        self._channels: dict[tuple[str, str], _Channel] = {}

    def state(self, origin: str = "adc", source: str = "cp") -> str | None:
        """The state now, as one source tells it; None before the first."""
        channel = self._channels.get((origin, source))
        return channel.state if channel else None

    def feed_record(self, rec: CpRecord) -> list[Event]:
        """Events of one record of the ADC (or of a pilot file)."""
        channel = self._channel("adc", rec.source)
        if channel is None:
            return []
        duty, freq = rec.duty / 100, rec.freq / 10
        oscillates = channel.oscillates(rec.hi_mv, rec.lo_mv, duty, freq)
        if oscillates and freq == 0:
            duty = freq = math.nan
        reading = _Reading(
            t=rec.t,
            frame=rec.number,
            source=rec.source,
            origin="adc",
            hi_mv=rec.hi_mv,
            lo_mv=rec.lo_mv,
            duty=duty,
            freq=freq,
            span=rec.span,
            cycles=rec.cycles,
            noise_mv=rec.noise_mv,
            flags=rec.flags,
            pp_mv=rec.pp_mv,
            pp_ohm=rec.pp_ohm,
        )
        return channel.feed(reading, channel.classify(rec.hi_mv, oscillates), at_once=False)

    def feed_mme(self, mme: Mme) -> list[Event]:
        """Events of an MME that carries the pilot; none for any other."""
        carried = cp_of(mme.body)
        if carried is None or carried.level_mv is None:
            return []
        channel = self._channel("mme", mme.source)
        if channel is None:
            return []
        level = carried.level_mv
        if carried.pp_mv is not None or carried.pp_ohm is not None:
            channel.pp = (carried.pp_mv, carried.pp_ohm)
        duty, freq, oscillates = self._duty(channel, carried)
        state = channel.classify(level, oscillates)
        if carried.duty is not None:
            channel.duty_known = True
        elif channel.duty_known:
            # Diagnostics without duty lag behind the messages that have it: they add samples, never a state.
            state = channel.state if channel.state == state else UNKNOWN
        if carried.letter is not None and state[:1] != carried.letter:
            state = UNKNOWN  # level and letter are not of the same moment
        reading = _Reading(
            t=mme.t,
            frame=mme.frame,
            source=mme.source,
            origin="mme",
            hi_mv=level,
            lo_mv=level,
            duty=duty,
            freq=freq,
            span=0,
            cycles=1,
            noise_mv=0,
            flags=0,
            pp_mv=channel.pp[0],
            pp_ohm=channel.pp[1],
        )
        return channel.feed(reading, state, at_once=True)

    def _duty(self, channel: _Channel, carried: CarriedCp) -> tuple[float, float, bool]:
        """Duty (%), frequency (Hz) and whether the PWM is on, as far as an MME tells."""
        level = carried.level_mv or 0
        if carried.duty is not None and carried.freq is not None:
            return carried.duty, carried.freq, channel.oscillates(level, level, carried.duty, carried.freq)
        if carried.pwm:
            known = channel.state is not None and channel.state.endswith("2")
            return (channel.duty, channel.freq, True) if known else (math.nan, math.nan, True)
        return (100.0 if level > BAND["E"].high_mv else 0.0), 0.0, False

    def _channel(self, origin: str, source: str) -> _Channel | None:
        channel = self._channels.get((origin, source))
        if channel is None and len(self._channels) < self._max_sources:
            channel = self._channels[origin, source] = _Channel(self.settings)
        if channel is None:
            self.rejected += 1
        return channel
