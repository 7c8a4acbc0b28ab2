"""The clock of a serial device in the host's time.

What is received came later than it was measured, by at least the transport's shortest delay and sometimes by much
more (USB polling, UART latency timers, a busy host). So the offset between the clocks is read from the lower envelope
of (received - measured): the least value of each second, and under these the line that lies closest below all. Its
slope is the drift between the two clocks.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

SECOND = 1_000_000_000


class DeviceClock:
    """Device time to host time. `observe` every frame, then `to_host` any time near it. All times in ns.

    The fit starts over when the device's clock jumps back (restart), after `gap` without a frame, and when frames
    come `jump` earlier than possible, or later for a whole second. Until `settle` after that, and while frames are
    that late, times are `uncertain`.
    """

    def __init__(
        self,
        *,
        window: int = 120,
        jump: int = 50_000_000,
        gap: int = 10 * SECOND,
        settle: int = 2 * SECOND,
        max_drift: float = 6e-3,
    ) -> None:
        self.restarts = 0
        self.drift = 0.0  # host ns per device ns, minus 1
        self.spread = 0  # how far the seconds' least delays scatter above the line, ns
        self._window, self._jump, self._gap, self._settle, self._max_drift = window, jump, gap, settle, max_drift
        self._bins: deque[tuple[int, int]] = deque(maxlen=window)  # (device time, least offset) of whole seconds
        self._best: tuple[int, int] | None = None  # of the second that runs
        self._anchor = 0  # device time where the offset is `_offset`
        self._offset = 0
        self._started: int | None = None  # device time of the first frame since the last restart
        self._last = 0
        self._last_rx = 0
        self._late_since: int | None = None

    @property
    def uncertain(self) -> bool:
        """Times may be wrong by more than the transport's jitter."""
        settling = self._started is None or self._last - self._started < self._settle
        return settling or self._late_since is not None

    def restart(self) -> None:
        """Forget everything: the device has started anew."""
        if self._started is not None:
            self.restarts += 1
        self._started = None
        self._bins.clear()
        self._best = None
        self._late_since = None
        self.drift, self.spread = 0.0, 0

    def to_host(self, t_dev: int) -> int:
        """Host time of a device time."""
        return t_dev + self._predicted(t_dev)

    def observe(self, t_dev: int, t_rx: int) -> None:
        """A frame whose last sample was taken at device time `t_dev` was received at host time `t_rx`."""
        if self._started is not None and (t_dev < self._last - SECOND or t_rx - self._last_rx > self._gap):
            self.restart()
        offset = t_rx - t_dev
        if self._started is not None:
            residual = offset - self._predicted(t_dev)
            if residual < -self._jump or (residual > self._jump and self._late_too_long(t_dev)):
                self.restart()
            elif residual <= self._jump:
                self._late_since = None
                if residual < 0:
                    self._offset += residual  # nothing is received before it was sent
        if self._started is None:
            self._started, self._anchor, self._offset = t_dev, t_dev, offset
        # frames of different kinds end at slightly different times: only a step back of a second is one
        self._last = max(self._last, t_dev) if self._best else t_dev
        self._last_rx = t_rx
        self._collect(t_dev, offset)

    def _late_too_long(self, t_dev: int) -> bool:
        """Late frames alone say that the host was busy; late for a second means that a clock was set."""
        if self._late_since is None:
            self._late_since = t_dev
        return t_dev - self._late_since >= SECOND

    def _predicted(self, t_dev: int) -> int:
        return self._offset + round(self.drift * (t_dev - self._anchor))

    def _collect(self, t_dev: int, offset: int) -> None:
        if self._best is not None and t_dev // SECOND != self._best[0] // SECOND:
            self._bins.append(self._best)
            self._best = None
            self._fit()
        if self._best is None or offset < self._best[1]:
            self._best = (t_dev, offset)

    def _fit(self) -> None:
        """The line under all bins: the edge of their lower convex hull below their centre."""
        points = list(self._bins)
        if len(points) < 5:
            low = min(points, key=lambda point: point[1])
            self._anchor, self._offset, self.drift = points[-1][0], low[1], 0.0
            return
        hull: list[tuple[int, int]] = []
        for point in points:
            while len(hull) >= 2 and _turns_right(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        centre = sum(t for t, _ in points) // len(points)
        left, right = next((a, b) for a, b in pairwise(hull) if b[0] >= centre)
        drift = (right[1] - left[1]) / (right[0] - left[0])
        self.drift = min(self._max_drift, max(-self._max_drift, drift))
        self._anchor, self._offset = left
        self.spread = max(offset - self._predicted(t) for t, offset in points)


def _turns_right(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """Is `b` on or above the line from `a` to `c`?"""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
