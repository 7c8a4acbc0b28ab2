"""The bench: one world with a line, its pairs and a tap; out come the items a real tap would have given.

    bench = Bench(BenchSettings(seed=7))
    items = bench.run(90.0)          # all at once, or
    items = bench.advance(t)         # everything up to a moment: the live edge calls this with the wall clock
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick
from plugtap.sim.kernel import SECOND, World, seconds
from plugtap.sim.line import Line
from plugtap.sim.pair import Pair, PairSettings
from plugtap.sim.taps import LineTap, TapSettings
from plugtap.sim.v2g import Codec

# The first moment of a scenario written to a file: fixed, so that the same seed gives the same bytes.
EPOCH = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


class BenchSettings(msgspec.Struct):
    """A whole set-up. The tap belongs to the first pair; others are neighbours on the same line."""

    seed: int = 1
    start: int = EPOCH
    duration: float = 90.0  # seconds; it ends earlier when everything is over
    tail: float = 3.0  # seconds recorded after the end
    pairs: tuple[PairSettings, ...] = ()
    tap: TapSettings = msgspec.field(default_factory=TapSettings)


class Post:
    """One tap and what it gave, numbered as a capture numbers it."""

    def __init__(self, world: World, settings: TapSettings) -> None:
        self.tap = LineTap(world, settings, self.emit)
        self._items: list[Item] = []
        self._number = 0
        self._told = 0  # items there were at the last tick

    def emit(self, item: Frame | CpRecord | TapEvent) -> None:
        """Number an item and keep it."""
        self._number += 1
        self._items.append(msgspec.structs.replace(item, number=self._number))

    def pilot(self, record: CpRecord) -> None:
        """A record of the control pilot, if this tap has one and listens."""
        if self.tap.settings.pilot and self.tap.listening():
            self.emit(record)

    def tick(self, t: int) -> None:
        """Say that it listened and heard nothing since the last item or tick, as the daemon does once a second."""
        if self.tap.listening() and len(self._items) == self._told:
            self._items.append(Tick(t))
        self._told = len(self._items)

    def take(self) -> list[Item]:
        """What it gave since it was asked last."""
        items, self._items, self._told = self._items, [], 0
        return items


class Bench:
    """Runs a set-up in virtual time and collects what the tap gives.

    `others`: more taps that listen to the same session (same pair). They change nothing about it: the dice of each part are its own.
    """

    def __init__(self, settings: BenchSettings, codec: Codec | None = None, others: Sequence[TapSettings] = ()) -> None:
        self.settings = settings
        self.world = World(settings.start, settings.seed)
        self.line = Line(self.world)
        shared = codec or Codec()
        pairs = settings.pairs or (PairSettings(),)
        self.pairs = [Pair(self.world, self.line, own, shared, number) for number, own in enumerate(pairs)]
        self.posts = [Post(self.world, tap) for tap in (settings.tap, *others)]
        self.line.taps += [post.tap for post in self.posts]
        if any(post.tap.settings.pilot for post in self.posts):
            self.pairs[0].pilot.emit = self._emit_pilot
        for pair in self.pairs:
            pair.start()

    @property
    def end(self) -> int:
        """The moment at which the scenario is over at the latest."""
        return self.settings.start + seconds(self.settings.duration)

    def _emit_pilot(self, record: CpRecord) -> None:
        for post in self.posts:
            post.pilot(record)

    def advance(self, until: int) -> list[Item]:
        """Let time go on to `until`; what the tap gave meanwhile."""
        self.world.advance(until)
        return self.posts[0].take()

    def over(self) -> bool:
        """Whether the first pair's EV is done and unplugged."""
        return self.over_at is not None

    @property
    def over_at(self) -> int | None:
        """When that was; None: not yet."""
        return self.pairs[0].over_at

    def close(self) -> None:
        """Take it apart; nothing can be done with it after that.

        Its parts know each other, so by itself it would lie about until Python looks for cycles, and that look takes 50 ms where a hundred
        benches live: too long for one that plays them by the clock."""
        self.world.clear()
        for pair in self.pairs:
            for part in (pair.ev.node, pair.evse.node, pair.ev, pair.evse, pair.ev_station, pair.evse_station, pair):
                vars(part).clear()
        self.line.taps.clear()
        self.line.stations.clear()

    def run(self) -> list[Item]:
        """The whole scenario: until its duration, or `tail` after the plug is out."""
        return self.run_all()[0]

    def run_all(self) -> list[list[Item]]:
        """The whole scenario as each of the taps heard it."""
        cut = self.settings.tap.stop_at
        end = min(self.end, self.settings.start + seconds(cut)) if cut else self.end
        while self.world.now < end:
            self.world.advance(min(end, self.world.now + SECOND))
            for post in self.posts:
                post.tick(self.world.now)
            if self.over():
                self.world.advance(min(end, self.world.now + seconds(self.settings.tail)))
                break
        heard = [post.take() for post in self.posts]
        for post, items in zip(self.posts, heard, strict=True):
            if post.tap.listening() and not cut:
                items.append(Tick(self.world.now))  # the tap listened to the end, and there was nothing more
        return heard
