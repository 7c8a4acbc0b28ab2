"""The pilot as a waveform: what an ADC at the pilot contact samples, with the PWM's edges, their rise, and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plugtap.protocols.items import CpRecord
from plugtap.sim.kernel import SECOND


class Waveform:
    """Samples of successive pilot records; the PWM's phase runs on from one record to the next.

    `rate` in samples a second; `rise` is the time constant of an edge in µs (cable and EV capacitance). Values in millivolts.
    """

    def __init__(self, rate: int, rise: float = 1.5, seed: int = 1) -> None:
        self.rate = rate
        self.rise = rise
        self._random = np.random.default_rng(seed)
        self._cycles = 0.0  # of the PWM since its start

    def samples(self, record: CpRecord) -> NDArray[np.float64]:
        """The samples that fall into the record's span."""
        count = max(1, round(record.span * self.rate / SECOND))
        # noise_mv is peak to peak: about six standard deviations
        noise = self._random.normal(0, max(record.noise_mv, 1) / 6, count)
        if record.hi_mv == record.lo_mv or not record.freq:
            self._cycles = 0.0
            return record.hi_mv + noise
        steps = np.arange(count) * (record.freq / 10 / self.rate)
        phase = (self._cycles + steps) % 1.0
        self._cycles = (self._cycles + count * record.freq / 10 / self.rate) % 1.0
        duty = record.duty / 10_000
        period_us = 10_000_000 / record.freq
        high, low = float(record.hi_mv), float(record.lo_mv)
        since_rise = phase * period_us
        since_fall = (phase - duty) * period_us
        wave = np.where(
            phase < duty,
            high + (low - high) * np.exp(-since_rise / self.rise),
            low + (high - low) * np.exp(-np.maximum(since_fall, 0) / self.rise),
        )
        result: NDArray[np.float64] = wave + noise
        return result
