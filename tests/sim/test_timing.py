"""The default EV and charger are as quick and as slow as real ones: SLAC against what was measured on 161 captures, V2G against real captures."""

from __future__ import annotations

import collections
import gzip
import json
from pathlib import Path

import pytest
from plugtap.protocols.events import Event, Mme, Sdp, V2gMessage
from plugtap.sim import scenario as scenarios
from plugtap.sim.capture_scenario import events_of

SEEDS = range(4)
# Milliseconds, least and most of what healthy real sessions show (p5..p95 where known; docs/bench.md names the source).
SLAC = {
    ("CM_SLAC_PARM.REQ", "CM_SLAC_PARM.CNF"): (0.3, 140),
    ("CM_SLAC_PARM.CNF", "CM_START_ATTEN_CHAR.IND"): (20, 311),
    ("CM_START_ATTEN_CHAR.IND", "CM_START_ATTEN_CHAR.IND"): (20, 54),
    ("CM_MNBC_SOUND.IND", "CM_MNBC_SOUND.IND"): (20, 60),
    ("CM_MNBC_SOUND.IND", "CM_ATTEN_CHAR.IND"): (0.5, 233),
    ("CM_ATTEN_CHAR.IND", "CM_ATTEN_CHAR.RSP"): (1, 60),
    ("CM_ATTEN_CHAR.RSP", "CM_SLAC_MATCH.REQ"): (10, 921),
    ("CM_SLAC_MATCH.REQ", "CM_SLAC_MATCH.CNF"): (0.3, 93),
}


def sessions() -> list[list[Event]]:
    return [events_of(scenarios.bench(scenarios.load(name), seed=seed).run()) for name in ("din-dc", "iso2-dc", "iso2-ac") for seed in SEEDS]


@pytest.fixture(scope="module")
def bench() -> list[list[Event]]:
    return sessions()


def test_slac_takes_its_steps_as_real_cars_do(bench: list[list[Event]]) -> None:
    seen = collections.Counter[tuple[str, str]]()
    for events in bench:
        mmes = [e for e in events if isinstance(e, Mme) and e.name.startswith("CM_") and "PROFILE" not in e.name and "SET_KEY" not in e.name]
        for before, after in zip(mmes, mmes[1:], strict=False):
            step = before.name, after.name
            if step in SLAC:
                least, most = SLAC[step]
                took = (after.t - before.t) / 1e6
                assert least <= took <= most, f"{step}: {took:.1f} ms"
                seen[step] += 1
        match = next(e.t for e in mmes if e.name == "CM_SLAC_MATCH.CNF")
        discovery = next(e.t for e in events if isinstance(e, Sdp))
        assert 0.9 < (discovery - match) / 1e9 < 11.2
        first = next(e.t for e in mmes if e.name == "CM_START_ATTEN_CHAR.IND")
        result = next(e.t for e in mmes if e.name == "CM_ATTEN_CHAR.IND")
        assert 350 < (result - first) / 1e6 < 650
    assert set(seen) == set(SLAC)


OWN = ("PowerDeliveryRes",)
Times = dict[tuple[str, str], list[float]]


def pairs(messages: list[tuple[float, str]]) -> Times:
    """Seconds from request to response and from response to request, by name."""
    found: Times = collections.defaultdict(list)
    for (t0, before), (t1, after) in zip(messages, messages[1:], strict=False):
        if after == before[:-3] + "Res":
            # Which charger was asked what is chance in so few captures: all but PowerDelivery together.
            found["latency", after[:-3] if after in OWN else "others"].append(t1 - t0)
        elif before.endswith("Res") and after.endswith("Req") and t1 - t0 < 60:
            found["gap", after[:-3]].append(t1 - t0)
    return found


def test_v2g_is_as_quick_as_in_real_captures(captures: Path, bench: list[list[Event]]) -> None:
    real: Times = collections.defaultdict(list)
    for pattern in ("EVerest*", "uhi22__Ioniq28*", "tux*abb*"):
        for path in sorted((captures / "decoded").glob(f"{pattern}.jsonl.gz")):
            streams: dict[int, list[tuple[float, str]]] = collections.defaultdict(list)
            with gzip.open(path, "rt") as lines:
                for line in lines:
                    entry = json.loads(line)
                    if entry["msg"]:
                        streams[entry["stream"]].append((entry["time"], entry["msg"]))
            for messages in streams.values():
                for step, times in pairs(messages).items():
                    real[step] += times
    own: Times = collections.defaultdict(list)
    for events in bench:
        for step, times in pairs([(e.t / 1e9, str(e.message)) for e in events if isinstance(e, V2gMessage)]).items():
            own[step] += times
    compared = 0
    for step, times in own.items():
        known = sorted(real[step])
        if len(known) < 20:
            continue
        compared += 1
        low, high = known[int(0.05 * len(known))], known[int(0.95 * len(known))]
        median = sorted(times)[len(times) // 2]
        assert low * 0.95 <= median <= high * 1.05, f"{step}: {median * 1000:.1f} ms, real ones {low * 1000:.1f}..{high * 1000:.1f} ms"
    assert compared >= 16
