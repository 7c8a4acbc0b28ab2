"""A scenario as a capture: the same pcapng form as the daemon's archive, so pilot and frames are in one file."""

from __future__ import annotations

import msgspec

from plugtap import __version__
from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.items import CpRecord, Frame, Item
from plugtap.sim import scenario as scenarios
from plugtap.sim.kernel import SECOND
from plugtap.sim.scenario import Scenario


class Capture(msgspec.Struct, frozen=True):
    """A written scenario: the bytes of the pcapng, and how much is in it."""

    data: bytes
    frames: int
    records: int
    seconds: float


def encode(items: list[Item], name: str) -> bytes:
    """Items as the bytes of a pcapng file."""
    encoder = ArchiveEncoder(ArchiveHeader(site="bench", tap=name[:32], run="simulated", plugtap=__version__))
    parts = [encoder.start()]
    parts += [encoder.encode(item)[1] for item in items]
    return b"".join(parts)


def pcapng(scenario: Scenario, *, seed: int | None = None) -> Capture:
    """Run a scenario at once and give it as a capture."""
    bench = scenarios.bench(scenario, seed=seed)
    items = bench.run()
    frames = sum(isinstance(item, Frame) for item in items)
    records = sum(isinstance(item, CpRecord) for item in items)
    return Capture(encode(items, scenario.name), frames, records, (bench.world.now - bench.world.start) / SECOND)
