"""Device clock to host time under drift, jitter, restarts and set clocks."""

from __future__ import annotations

import random

import pytest

from plugtap.protocols.cp_clock import SECOND, DeviceClock

MS = 1_000_000
EPOCH = 1_700_000_000 * SECOND


def run(clock: DeviceClock, seconds: float, *, drift: float, delay: int, jitter: int, start: int = 0, seed: int = 1) -> list[int]:
    """Frames every 20 ms through a transport of at least `delay` and up to `jitter` more; the error of each frame's mapped time in ns,
    apart from the shortest delay, which nobody can know."""
    rng = random.Random(seed)
    errors = []
    for i in range(round(seconds * 50)):
        true = EPOCH + start + i * 20 * MS
        t_dev = round((start + i * 20 * MS) * (1 + drift))
        late = rng.randrange(jitter + 1) if rng.random() < 0.9 else 4 * jitter
        clock.observe(t_dev, true + delay + late)
        errors.append(clock.to_host(t_dev) - true - delay)
    return errors


@pytest.mark.parametrize("drift", [0, 40e-6, -40e-6, 5e-3, -5e-3])
@pytest.mark.parametrize("jitter", [1 * MS, 8 * MS])
def test_time_under_drift_and_jitter(drift: float, jitter: int) -> None:
    clock = DeviceClock()
    errors = run(clock, 150, drift=drift, delay=3 * MS, jitter=jitter)
    settled = errors[50 * 20 :]
    assert max(map(abs, settled)) < 1 * MS + jitter / 8
    assert clock.restarts == 0
    assert not clock.uncertain
    assert clock.drift == pytest.approx(1 / (1 + drift) - 1, abs=60e-6)
    assert 0 <= clock.spread < jitter


def test_the_first_seconds_are_uncertain() -> None:
    clock = DeviceClock()
    assert clock.uncertain
    run(clock, 1.9, drift=0, delay=0, jitter=MS)
    assert clock.uncertain
    run(clock, 0.5, drift=0, delay=0, jitter=MS, start=19 * SECOND // 10)
    assert not clock.uncertain


def test_nothing_is_received_before_it_was_measured() -> None:
    clock = DeviceClock()
    rng = random.Random(3)
    for i in range(5000):
        t_dev = i * 20 * MS
        t_rx = EPOCH + round(t_dev * 1.0004) + rng.randrange(10 * MS)
        clock.observe(t_dev, t_rx)
        assert clock.to_host(t_dev) <= t_rx


def test_a_busy_host_makes_times_uncertain_but_does_not_move_them() -> None:
    clock = DeviceClock()
    run(clock, 10, drift=0, delay=0, jitter=0)
    for i in range(20):  # frames of 400 ms read at once, 400 ms late
        t_dev = 10 * SECOND + i * 20 * MS
        clock.observe(t_dev, EPOCH + 10 * SECOND + 800 * MS)
        assert clock.to_host(t_dev) == EPOCH + t_dev
    assert clock.uncertain
    clock.observe(11 * SECOND, EPOCH + 11 * SECOND)
    assert not clock.uncertain
    assert clock.restarts == 0


@pytest.mark.parametrize("step", [-100 * MS, 100 * MS, 3600 * SECOND, -3600 * SECOND])
def test_a_host_clock_that_is_set_starts_the_fit_over(step: int) -> None:
    clock = DeviceClock(gap=7200 * SECOND)
    run(clock, 10, drift=0, delay=0, jitter=0)
    for i in range(100):
        t_dev = 10 * SECOND + i * 20 * MS
        clock.observe(t_dev, EPOCH + t_dev + step)
    assert clock.restarts == 1
    assert clock.to_host(12 * SECOND) == EPOCH + 12 * SECOND + step


def test_a_device_that_restarts() -> None:
    clock = DeviceClock()
    run(clock, 10, drift=0, delay=0, jitter=0)
    clock.observe(5 * MS, EPOCH + 11 * SECOND)
    assert clock.restarts == 1
    assert clock.uncertain
    assert clock.to_host(5 * MS) == EPOCH + 11 * SECOND


def test_a_long_silence_starts_over() -> None:
    clock = DeviceClock()
    run(clock, 10, drift=0, delay=0, jitter=0)
    clock.observe(25 * SECOND, EPOCH + 25 * SECOND)
    assert clock.restarts == 1


def test_restart_before_anything_is_none() -> None:
    clock = DeviceClock()
    clock.restart()
    assert clock.restarts == 0


def test_memory_is_bounded() -> None:
    clock = DeviceClock(window=30)
    run(clock, 100, drift=1e-5, delay=0, jitter=MS)
    assert len(clock._bins) == 30
