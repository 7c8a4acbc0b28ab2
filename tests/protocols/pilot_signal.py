"""A control pilot as an ADC sees it, made sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EDGE_S = 2e-6


class Part(NamedTuple):
    """A stretch of the signal: seconds, levels in mV, duty cycle from 0 to 1 (None: no PWM, `hi` all the time)."""

    seconds: float
    hi: float
    lo: float = -12_000.0
    duty: float | None = None


def signal(parts: list[Part], rate: int = 100_000, noise_mv: float = 20.0, freq: float = 1000.0) -> NDArray[np.float64]:
    """Samples in mV. The PWM's phase goes on over all parts, edges are straight lines."""
    rng = np.random.default_rng(1)
    out = []
    start = 0
    for part in parts:
        n = round(part.seconds * rate)
        if part.duty is None:
            x = np.full(n, part.hi)
        else:
            phase = np.arange(start, start + n) / rate * freq % 1.0  # of the cycle, which begins with the rising edge
            edge = EDGE_S * freq
            share = np.clip(np.minimum(phase / edge, (part.duty - phase) / edge + 1), 0, 1)
            x = part.lo + (part.hi - part.lo) * share
        out.append(x)
        start += n
    joined = np.concatenate(out)
    return joined + rng.normal(0, noise_mv, len(joined)) if noise_mv else joined
