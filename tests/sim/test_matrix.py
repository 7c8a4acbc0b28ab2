"""The matrix: what plugtap says of every scenario, held against what the scenario expects.

The default run takes some good sessions and one of each group of faults; `-m slow` takes all of them. A check a scenario names that does not
exist yet is listed, not failed. OPEN names scenarios in which the analyser says something else for now, with the reason.
"""

from __future__ import annotations

import pytest
from plugtap.sim import scenario as scenarios
from plugtap.sim.matrix import judge
from plugtap.sim.v2g import Codec

OPEN: dict[str, str] = {
    "cp-duty-jitter": "the check's window starts over at every change of duty, which jitter causes all the time",
    "link-lost": "the session ends with the pilot's C to B before the new SLAC is seen, so the lost link is not named",
    "nd-no-answer": "a session that never gets past discovery because of a fault is called stopped, not failed",
    "nd-wrong-mac": "stopped, not failed; the wrong MAC is not named",
    "sap-duplicate": "the undecodable message is blamed, not the ambiguous offer it follows from",
    "sap-no-schemaid": "stopped, not failed",
    "sap-schemaid-unknown": "stopped, not failed",
    "sap-silent": "stopped, not failed",
    "sdp-global-address": "stopped, not failed",
    "sdp-port-ignored": "stopped, not failed; the refused SYN is not named",
    "sdp-short": "stopped, not failed",
    "sdp-tls-refused": "stopped, not failed",
    "secc-silent": "the EV's leaving is blamed, not the charger's silence that it follows from",
    "slac-runid-not-echoed": "the EV's silence is blamed, not the wrong RunID it follows from",
    "tap-sniffer-lossy": "messages the tap missed are taken for messages that were not sent",
    "tcp-never-closed": "the check's timer ends with the session, before it is due",
    "tcp-no-synack": "stopped, not failed",
    "tcp-refused": "stopped, not failed",
    "v2gtp-type-foreign": "a message decoded with the wrong schema turns the sides round",
    "v2gtp-unsolicited": "the EV's leaving is blamed, not the second answer it follows from",
}

LIBRARY = scenarios.library()
HEALTHY = [name for name, item in LIBRARY.items() if item.healthy]
FAULTS = [name for name, item in LIBRARY.items() if not item.healthy]


def some_of_each_group() -> list[str]:
    seen: dict[str, int] = {}
    chosen = []
    for name in FAULTS:
        group = LIBRARY[name].group
        seen[group] = seen.get(group, 0) + 1
        if seen[group] <= 1:
            chosen.append(name)
    return chosen


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


def check(name: str, codec: Codec) -> None:
    judged = judge(LIBRARY[name], codec=codec)
    if name in OPEN:
        if judged.wrong:
            pytest.xfail(f"{OPEN[name]}: {'; '.join(judged.wrong)}")
        return
    assert not judged.wrong, f"{name} ({LIBRARY[name].title}):\n  " + "\n  ".join(judged.wrong)


@pytest.mark.parametrize("name", HEALTHY[::3])
def test_good_sessions_end_as_scripted_without_a_finding_above_info(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.parametrize("name", some_of_each_group())
def test_faults_are_found(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in HEALTHY[::3]])
def test_every_good_session_is_good(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in some_of_each_group()])
def test_every_fault_is_found(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", [2, 3])
def test_good_sessions_are_good_with_other_dice(name: str, seed: int, codec: Codec) -> None:
    judged = judge(LIBRARY[name], seed=seed, codec=codec)
    if name not in OPEN:
        assert not judged.wrong, f"{name} with seed {seed}:\n  " + "\n  ".join(judged.wrong)


def test_the_list_of_open_points_names_scenarios() -> None:
    assert set(OPEN) <= set(LIBRARY)
