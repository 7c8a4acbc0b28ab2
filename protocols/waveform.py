"""A sampled control pilot waveform to its cycles: edges, period, duty cycle, and the level of both plateaus.

numpy, because 100 000 samples a second would cost plain Python a noticeable part of a small processor.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


class Piece(NamedTuple):
    """A cycle of the PWM from rising edge to rising edge, or a stretch without PWM. Positions in samples, levels in mV.

    Without PWM `high` is None, and both levels are the mean.
    """

    start: float
    length: float
    high: float | None  # length of the positive plateau
    hi_mv: float
    lo_mv: float
    noise_mv: float  # peak to peak on a plateau
    glitch: bool = False

    @property
    def duty(self) -> float | None:
        """Duty cycle from 0 to 1; None without PWM."""
        return None if self.high is None else self.high / self.length


class WaveformSettings(NamedTuple):
    """How a waveform is read.

    An edge is where the level has passed from below `low_mv` to above `high_mv` or back; its time is that of crossing
    0 V. Both thresholds lie between the least positive plateau (a pilot shorted behind the EV's diode, 0.7 V) and the
    least negative one (state D without diode, -3 V).
    """

    high_mv: float = 200.0
    low_mv: float = -1500.0
    steady_s: float = 2.5e-3  # no edge for so long: no PWM
    piece_s: float = 1e-3  # a stretch without PWM is read in pieces like cycles, so that no piece averages over a step
    settle_s: float = 50e-6  # left out after an edge
    glitch: float = 0.2  # period this far from the usual one


DEFAULT = WaveformSettings()

_PLATEAU = np.array([0.65, 0.75, 0.85])  # a plateau is read around three quarters: settled, and clear of the next edge


def to_mv(counts: NDArray[np.int16], uv_per_lsb: int, offset_uv: int) -> Samples:
    """ADC counts to mV at the pilot."""
    return (counts.astype(np.float64) * uv_per_lsb + offset_uv) / 1000


def unpack(data: bytes, n: int, bits: int) -> NDArray[np.int16]:
    """The `n` samples in `data`: 16 bits signed little endian, or 12 bits unsigned, two in three bytes (low 8 bits of
    the first; its high 4 and the low 4 of the second; high 8 of the second). Raises ValueError when they are not all
    there."""
    if bits == 16:
        if len(data) < 2 * n:
            raise ValueError(f"{n} samples of 16 bits in {len(data)} bytes")
        return np.frombuffer(data, dtype="<i2", count=n).astype(np.int16)
    if bits != 12 or len(data) < (3 * n + 1) // 2:
        raise ValueError(f"{n} samples of {bits} bits in {len(data)} bytes")
    triples = np.frombuffer(data.ljust((n + 1) // 2 * 3, b"\0"), dtype=np.uint8, count=(n + 1) // 2 * 3)
    a, b, c = triples.reshape(-1, 3).astype(np.int16).T
    pairs = np.empty((len(a), 2), dtype=np.int16)
    pairs[:, 0] = a | (b & 0x0F) << 8
    pairs[:, 1] = b >> 4 | c << 4
    return pairs.reshape(-1)[:n]


def pack12(samples: NDArray[np.int16]) -> bytes:
    """The reverse of `unpack` for 12 bits."""
    even = np.zeros((len(samples) + 1) // 2 * 2, dtype=np.int16)
    even[: len(samples)] = samples
    a, b = even.reshape(-1, 2).T
    triples = np.stack([a & 0xFF, a >> 8 & 0x0F | (b & 0x0F) << 4, b >> 4 & 0xFF], axis=1).astype(np.uint8)
    return triples.tobytes()[: (3 * len(samples) + 1) // 2]


def edges(x: Samples, settings: WaveformSettings = DEFAULT) -> tuple[Samples, bool]:
    """Times of all edges in samples (they alternate), and whether the level is high before the first."""
    side = np.zeros(len(x), dtype=np.int8)
    side[x > settings.high_mv] = 1
    side[x < settings.low_mv] = -1
    known = np.flatnonzero(side)
    if len(known) == 0:
        return np.empty(0), bool(len(x) and x.mean() > 0)
    # between the thresholds the side stays as it was
    latest = np.maximum.accumulate(np.where(side != 0, np.arange(len(x)), known[0]))
    side = side[latest]
    before = np.flatnonzero(np.diff(side))
    # Half-way between the plateaus: with few samples in an edge, the crossing of 0 V would be guessed too late on one
    # side and too early on the other whenever the plateaus are not alike, and bend the duty cycle.
    half = (x[np.maximum(before - 1, 0)] + x[np.minimum(before + 2, len(x) - 1)]) / 2
    part = (half - x[before]) / (x[before + 1] - x[before])
    return before.astype(np.float64) + np.clip(part, -1.0, 2.0), bool(side[0] > 0)


def pieces(x: Samples, rate_hz: float, settings: WaveformSettings = DEFAULT) -> tuple[list[Piece], int]:
    """The pieces in `x` (mV), and how many samples they use up: go on with the rest and what comes after it.

    What is used up ends at the last rising edge while the PWM runs, and at the end of `x` while it does not. Part of
    a cycle before the first rising edge is left out.
    """
    at, high_first = edges(x, settings)
    rising = at[1 if high_first else 0 :: 2]
    used = float(rising[-1]) if len(rising) else 0.0
    out: list[Piece] = []
    for left, right in pairwise([0.0, *at.tolist(), float(len(x))]):
        if right - left >= settings.steady_s * rate_hz:
            out += _levels(x, left, right, rate_hz, settings)
            used = max(used, right)
    if len(rising) >= 2:
        falling = at[2 if high_first else 1 :: 2][: len(rising) - 1]
        out += _cycles(x, rising, falling, settings.steady_s * rate_hz, settings)
    out.sort(key=lambda piece: piece.start)
    if used >= len(x):
        return out, len(x)
    # a little early, so that the edge itself is still there
    keep = int(used)
    while keep > 0 and settings.low_mv <= x[keep] <= settings.high_mv:
        keep -= 1
    return out, max(0, keep - 1)


def _cycles(x: Samples, rising: Samples, falling: Samples, steady: float, settings: WaveformSettings) -> list[Piece]:
    period = np.diff(rising)
    high = falling - rising[:-1]
    low = period - high
    usable = (high < steady) & (low < steady)
    if not usable.any():
        return []
    top = x[_around(rising[:-1], high, len(x))]
    bottom = x[_around(falling, low, len(x))]
    noise = np.maximum(np.ptp(top, axis=1), np.ptp(bottom, axis=1))
    usual = np.median(period[usable])
    glitch = np.abs(period - usual) > settings.glitch * usual
    columns = (rising[:-1], period, high, np.median(top, axis=1), np.median(bottom, axis=1), noise, glitch)
    return [Piece(*row) for row in zip(*(column[usable].tolist() for column in columns), strict=True)]


def _around(start: Samples, length: Samples, size: int) -> NDArray[np.intp]:
    """Three sample numbers on each plateau that begins at an edge."""
    # an edge between two samples belongs to the later one
    where = np.maximum(np.floor(start[:, None] + length[:, None] * _PLATEAU), np.ceil(start)[:, None])
    numbers: NDArray[np.intp] = np.clip(where, 0, size - 1).astype(np.intp)
    return numbers


def _levels(x: Samples, left: float, right: float, rate_hz: float, settings: WaveformSettings) -> list[Piece]:
    """A stretch without edges, in pieces of about `piece_s`."""
    first = int(np.ceil(left + (settings.settle_s * rate_hz if left > 0 else 0)))
    last = int(right)
    count = max(1, round((last - first) / (settings.piece_s * rate_hz)))
    size = (last - first) // count
    if size == 0:
        return []
    # the last samples that do not fill a piece are left out: less than a piece
    rows = x[first : first + count * size].reshape(count, size)
    columns = (rows.mean(axis=1).tolist(), np.ptp(rows, axis=1).tolist())
    return [
        Piece(float(first + i * size), float(size), None, mean, mean, noise)
        for i, (mean, noise) in enumerate(zip(*columns, strict=True))
    ]
