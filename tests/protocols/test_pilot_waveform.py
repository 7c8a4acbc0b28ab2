"""Sampled waveforms to cycles: edges, duty cycle, plateaus; whole or in blocks the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pilot_signal import Part, signal

from plugtap.protocols.waveform import Piece, edges, pack12, pieces, to_mv, unpack


def cycles(found: list[Piece]) -> list[Piece]:
    return [piece for piece in found if piece.high is not None]


def steady(found: list[Piece]) -> list[Piece]:
    return [piece for piece in found if piece.high is None]


@pytest.mark.parametrize(
    ("rate", "duty"),
    [(50_000, 0.1), (50_000, 0.9), *((rate, d) for rate in (100_000, 500_000) for d in (0.05, 0.1, 0.5, 0.85, 0.96))],
)
@pytest.mark.parametrize("hi", [12_000, 9_000, 6_000, 3_000])
def test_cycles(rate: int, duty: float, hi: int) -> None:
    x = signal([Part(0.1, hi, -12_000, duty)], rate, freq=1000.37)
    found, used = pieces(x, rate)
    assert len(found) in (99, 100)
    step = 1000.0 / rate
    assert np.mean([piece.duty for piece in found]) == pytest.approx(duty, abs=step / 2)
    assert rate / np.mean([piece.length for piece in found]) == pytest.approx(1000.37, rel=2e-4)
    assert all(piece.duty == pytest.approx(duty, abs=1.5 * step) for piece in found)
    assert all(piece.hi_mv == pytest.approx(hi, abs=90) for piece in found)
    assert all(piece.lo_mv == pytest.approx(-12_000, abs=90) for piece in found)
    assert all(0 < piece.noise_mv < 200 and not piece.glitch for piece in found)
    assert len(x) - used < 1.1 * rate / 1000


@pytest.mark.parametrize("level", [12_000, 9_000, 0, 900, -900, -12_000])
def test_a_steady_level(level: int) -> None:
    found, used = pieces(signal([Part(0.1, level)]), 100_000)
    assert used == 10_000
    assert len(found) == 100
    assert sum(piece.length for piece in found) == 10_000
    assert all(piece.duty is None and piece.hi_mv == piece.lo_mv == pytest.approx(level, abs=10) for piece in found)


def test_a_shorted_pilot_shows_no_edges() -> None:
    found, _ = pieces(signal([Part(0.05, 890, -890, 0.05)]), 100_000)
    assert cycles(found) == []
    assert all(-900 < piece.hi_mv < 0 for piece in found)


def test_a_missing_diode_still_shows_edges() -> None:
    found, _ = pieces(signal([Part(0.05, 3_000, -3_000, 0.5)]), 100_000)
    assert len(cycles(found)) >= 48


def test_pwm_that_starts_stops_and_fails() -> None:
    parts = [Part(0.02, 9_000), Part(0.02, 9_000, -12_000, 0.05), Part(0.02, 9_000), Part(0.02, -12_000), Part(0.02, 0)]
    found, used = pieces(signal(parts), 100_000)
    assert used == 10_000
    assert [piece.start for piece in found] == sorted(piece.start for piece in found)
    pwm = cycles(found)
    assert 18 <= len(pwm) <= 20
    assert (pwm[0].start, pwm[-1].start) == (pytest.approx(2_000, abs=101), pytest.approx(3_900, abs=101))
    levels = [round(piece.hi_mv, -3) for piece in steady(found) if piece.noise_mv < 1_000]  # without the step
    assert list(dict.fromkeys(levels)) == [9_000, -12_000, 0]
    assert sum(piece.length for piece in found) > 9_500


def test_a_step_without_edges_is_in_one_piece_only() -> None:
    found, _ = pieces(signal([Part(0.0204, 6_000), Part(0.02, 0)]), 100_000)
    levels = [round(piece.hi_mv, -3) for piece in found]
    assert levels[:20] == [6_000] * 20
    assert levels[21:] == [0] * 19
    assert found[20].noise_mv > 5_900


def test_a_change_between_two_cycles() -> None:
    found, _ = pieces(signal([Part(0.02, 9_000, -12_000, 0.05), Part(0.02, 6_000, -12_000, 0.05)]), 100_000)
    levels = [round(piece.hi_mv, -3) for piece in found]
    assert levels == [9_000] * 20 + [6_000] * 19 or levels == [9_000] * 19 + [6_000] * 19


def test_a_lost_cycle_is_a_glitch() -> None:
    x = signal([Part(0.05, 9_000, -12_000, 0.5)])
    x[1_990:2_060] = -12_000  # one high half is missing
    found, _ = pieces(x, 100_000)
    (glitch,) = [piece for piece in found if piece.glitch]
    assert glitch.length == pytest.approx(200, abs=2)


@given(st.lists(st.integers(1, 4000), max_size=12), st.sampled_from([0.05, 0.3, 0.97, None]), st.floats(990, 1010))
def test_blocks_give_the_same_cycles_as_the_whole(sizes: list[int], duty: float | None, freq: float) -> None:
    x = signal([Part(0.02, 9_000, -12_000, duty), Part(0.01, 9_000), Part(0.03, 6_000, -12_000, 0.5)], freq=freq)
    whole = cycles(pieces(x, 100_000)[0])
    rest, at, found = x[:0], 0, []
    cut = [*np.cumsum(sizes)[np.cumsum(sizes) < len(x)].tolist(), len(x)]
    for left, right in pairwise([0, *cut]):
        rest = np.concatenate([rest, x[left:right]])
        some, used = pieces(rest, 100_000)
        found += [piece._replace(start=piece.start + at) for piece in cycles(some)]
        rest, at = rest[used:], at + used
    # Where a block ends within an edge, the edge is interpolated from fewer samples: up to one sample (10 µs) apart.
    assert [piece.start for piece in found] == pytest.approx([piece.start for piece in whole], abs=1)
    assert [piece.hi_mv for piece in found] == pytest.approx([piece.hi_mv for piece in whole], abs=50)


@given(st.lists(st.floats(-15_000, 15_000), max_size=600), st.sampled_from([5_000, 50_000]))
def test_any_samples(values: list[float], rate: int) -> None:
    x = np.array(values)
    at, _ = edges(x)
    assert np.all(np.diff(at) >= -2)
    found, used = pieces(x, rate)
    assert 0 <= used <= len(x)
    for piece in found:
        assert -15_000 <= piece.lo_mv <= 15_000
        assert -15_000 <= piece.hi_mv <= 15_000


def test_counts_to_levels() -> None:
    assert to_mv(np.array([0, 2048, 4095], dtype=np.int16), 7_326, -15_000_000).tolist() == pytest.approx(
        [-15_000, 3.648, 14_999.97]
    )


@given(st.lists(st.integers(0, 4095), max_size=40))
def test_twelve_bits(values: list[int]) -> None:
    samples = np.array(values, dtype=np.int16)
    packed = pack12(samples)
    assert len(packed) == (3 * len(values) + 1) // 2
    assert unpack(packed, len(values), 12).tolist() == values


def test_twelve_bits_as_they_are_sent() -> None:
    assert unpack(bytes.fromhex("23614589ab"), 3, 12).tolist() == [0x123, 0x456, 0xB89]


def test_sixteen_bits() -> None:
    assert unpack(b"\1\0\xff\xff\0\x80", 3, 16).tolist() == [1, -1, -32768]


@pytest.mark.parametrize(("data", "n", "bits"), [(b"\0", 1, 16), (b"\0\0", 2, 12), (b"\0\0\0\0", 1, 8)])
def test_samples_that_are_not_there(data: bytes, n: int, bits: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        unpack(data, n, bits)
