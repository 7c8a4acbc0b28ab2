"""The matrix: what plugtap says of every scenario under every kind of tap, held against what the scenario expects.

The default run takes some good sessions and one of each group of faults; `-m slow` takes all of them, and good sessions with other dice.
`tools/bench_matrix` runs the same with all cores. A check a scenario names that does not exist yet is listed, not failed.
"""

from __future__ import annotations

import msgspec
import pytest
from plugtap.checks.catalogue import load as load_checks
from plugtap.sim import scenario as scenarios
from plugtap.sim.matrix import ONE_SOURCE, POSTS, WITH_PILOT, Judged, has_posts, judge, judge_posts, sees, shown
from plugtap.sim.scenario import Expect
from plugtap.sim.v2g import Codec

LIBRARY = scenarios.library()
HEALTHY = [name for name, item in LIBRARY.items() if item.healthy]
FAULTS = [name for name, item in LIBRARY.items() if not item.healthy]
FEW = HEALTHY[::6]


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


def check(name: str, codec: Codec, seed: int | None = None) -> None:
    scenario = LIBRARY[name]
    if has_posts(scenario):
        judged, heard = judge_posts(scenario, seed=seed, codec=codec)
        wrong = [*judged.wrong, *(f"{one.post}: {text}" for one in heard for text in one.wrong)]
    else:
        wrong = list(judge(scenario, seed=seed, codec=codec).wrong)
    assert not wrong, f"{name} ({scenario.title}), seed {seed}:\n  " + "\n  ".join(wrong)


@pytest.mark.parametrize("name", FEW)
def test_good_sessions_end_as_scripted_without_a_finding_above_info(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.parametrize("name", some_of_each_group())
def test_faults_are_found_by_whoever_can_see_them(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in FEW])
def test_every_good_session_is_good(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in some_of_each_group()])
def test_every_fault_is_found(name: str, codec: Codec) -> None:
    check(name, codec)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_good_sessions_are_good_with_other_dice(name: str, seed: int, codec: Codec) -> None:
    check(name, codec, seed)


@pytest.mark.slow
def test_a_lossy_sniffer_finds_most_faults(codec: Codec) -> None:
    due = missed = 0
    for name in FAULTS[::4]:
        if has_posts(LIBRARY[name]):
            _, (heard,) = judge_posts(LIBRARY[name], ["lossy"], codec=codec)
            due += heard.due
            missed += len(heard.missed)
    assert due > 40
    assert missed <= 0.25 * due, f"{missed} of {due} named checks missed"


# -- the judge itself ------------------------------------------------------------------------------------------------


def judged_as(name: str, expect: Expect, codec: Codec, posts: tuple[str, ...] = ()) -> tuple[Judged, list[str]]:
    scenario = scenarios.load(name)
    scenario.expect = expect
    judged, heard = judge_posts(scenario, posts, codec=codec)
    return judged, [f"{one.post}: {text}" for one in heard for text in one.wrong]


def test_an_error_that_nobody_expects_is_wrong(codec: Codec) -> None:
    judged, _ = judged_as("sap-no-common", Expect(outcome="failed"), codec)
    assert any(text.startswith("error beyond what is expected: sap-failed-nonegotiation") for text in judged.wrong)


def test_a_check_that_does_not_fire_is_wrong_only_where_it_could_be_heard(codec: Codec) -> None:
    expect = Expect(checks=("slac-parm-fields", "value-precharge-stalled"), allow=("slac-atten-high",))
    judged, wrong = judged_as("din-dc", expect, codec, ("sniffer", "evse-side", "ev-side"))
    assert "slac-parm-fields did not fire" in judged.wrong and "value-precharge-stalled did not fire" in judged.wrong
    assert "evse-side: slac-parm-fields did not fire" in wrong
    assert not [text for text in wrong if text.startswith("ev-side") or text == "evse-side: value-precharge-stalled did not fire"]


def test_blaming_somebody_for_what_the_tap_did_not_hear_is_wrong(codec: Codec) -> None:
    """The judge's own case: a fault of the EV, told by a tap that cannot see it, blamed on the charger."""
    scenario = scenarios.load("ev-silent")
    truth, heard = judge_posts(scenario, ["evse-side"], codec=codec)
    assert not heard[0].sees and not heard[0].wrong
    from plugtap.sim.matrix import _false

    session = truth.sessions[-1]
    said = msgspec.structs.replace(session.verdict, side="SECC", check="time-msg-timeout", certainty="sure")
    lie = msgspec.structs.replace(truth, sessions=(msgspec.structs.replace(session, verdict=said),), findings=())
    assert any("SECC blamed" in text for text in _false(scenario, lie, truth, doubtful=False))


def test_every_kind_of_tap_has_its_post_and_every_fault_a_post_that_sees_it() -> None:
    assert {post.settings["kind"] for post in POSTS.values()} == {"passive", "host", "host-ev", "evse-side", "ev-side", "broadcast", "bridge"}
    known = set(load_checks())
    assert set(ONE_SOURCE) | set(WITH_PILOT) <= known
    for name in FAULTS:
        if has_posts(LIBRARY[name]):
            assert any(sees(LIBRARY[name], post) for post in POSTS), f"{name}: no tap sees it"
            assert set(LIBRARY[name].expect.taps) <= set(POSTS), name
    blind = [name for name in FAULTS if shown(LIBRARY[name], "evse-side")]
    assert 20 < len(blind) < len(FAULTS) / 2
