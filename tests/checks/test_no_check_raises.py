"""Whatever is heard, no check raises: conversations with frames lost, doubled, swapped and damaged."""

from __future__ import annotations

import functools
import random

import msgspec
from casebook import mme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.checks.base import Check
from plugtap.checks.catalogue import load
from plugtap.config.analysis import AnalysisSettings, CheckSettings
from plugtap.protocols.items import CpRecord, Frame, Item

NAMES = ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac")
ALL_ON = AnalysisSettings(site="lab", tap="lab", vantage="host", checks={i: CheckSettings(enabled=True) for i in load()})


@functools.cache
def heard(name: str) -> tuple[Item, ...]:
    lab = Lab.good(name)
    extra = [
        mme("CM_VALIDATE.REQ", "EVCC"),
        mme("CM_VALIDATE.CNF", "SECC", result=2, toggle_num=1),
        mme("CM_AMP_MAP.REQ", "SECC", raw=b"\x02\x00\x0f"),
    ]
    return tuple(lab.insert_before("CM_SLAC_MATCH.REQ", 0, *extra).items(ticks=5.0, tail=20.0))


def worn(items: tuple[Item, ...], seed: int, wear: float) -> list[Item]:
    """Frames lost, doubled, swapped with their neighbour and damaged; pilot values moved. Times stay in order."""
    chance = random.Random(seed)
    made: list[Item] = []
    for item in items:
        luck = chance.random()
        if luck < wear / 3:
            continue
        if isinstance(item, Frame) and luck < wear:
            data = bytearray(item.data)
            for _ in range(chance.randint(0, 3)):
                data[chance.randrange(12, len(data))] = chance.randrange(256)
            item = msgspec.structs.replace(item, data=bytes(data[: chance.choice((len(data), len(data), 40))]), lost=chance.choice((0, 0, 3)))
        elif isinstance(item, CpRecord) and luck < wear:
            level = chance.choice((-12_000, 0, 3_000, 6_000, 9_000, 12_000, 30_000))
            item = msgspec.structs.replace(item, hi_mv=level, duty=chance.randint(0, 10_000), pp_ohm=chance.choice((None, 0, 150, 480, 1500, 10**6)))
        made.append(item)
        if luck > 1 - wear / 4:
            made.append(item)
    return made


def play(items: list[Item], checks: dict[str, type[Check]]) -> Analysis:
    analysis = Analysis(ALL_ON, sources=("plc", "cp"), checks=checks)
    for item in items:
        analysis.feed(item)
    analysis.finish(items[-1].t if items else None)
    return analysis


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), wear=st.floats(0.01, 0.5))
def test_no_check_raises(name: str, seed: int, wear: float) -> None:
    analysis = play(worn(heard(name), seed, wear), dict(load()))
    assert analysis.engine.failures == {}
