"""Scenario files: they read, they are many, they are deterministic, mistakes in them are named, and deviations do what they say."""

from __future__ import annotations

import msgspec
import pytest
from plugtap.protocols.archive import read_header
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick
from plugtap.sim import scenario as scenarios
from plugtap.sim.deviate import Change, altered, in_range, scaled
from plugtap.sim.record import encode, pcapng
from plugtap.sim.scenario import Scenario, ScenarioError


def frames(text: str, name: str = "test", seed: int | None = None) -> list[Frame]:
    items = scenarios.bench(scenarios.parse(text, name), seed=seed).run()
    return [item for item in items if isinstance(item, Frame)]


def test_the_library_is_large_and_every_file_builds() -> None:
    library = scenarios.library()
    assert sum(item.healthy for item in library.values()) >= 20
    assert sum(not item.healthy for item in library.values()) >= 80
    for name, item in library.items():
        scenarios.build(item)
        assert item.title and item.story and item.group, f"{name}: title, story and group are for people"
        expect = item.expect
        assert any((expect.outcome, expect.outcomes, expect.checks, expect.never, expect.side)), f"{name} expects nothing"
    assert {item.group for item in library.values()} >= {
        "healthy", "pilot", "proximity", "slac", "link", "sdp", "tcp", "v2gtp", "exi", "sap", "order", "timing", "presence", "session",
        "status", "value", "cross", "coverage",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ev]\nsoc = 3\n", "no setting named soc"),
        ("[ev]\ncharge_time = 'long'\n", "charge_time"),
        ("base = 'no-such'\n", "no such scenario"),
        ("[nonsense]\n", "nonsense"),
        ("title = \n", "Invalid value"),
        ("[[change]]\nmessge = 'PreChargeRes'\n", "messge"),
        ("[tap]\nkind = 'magic'\n", "no such kind of tap"),
        ("[[do]]\nafter = 'plug'\ndo = 'explode'\n", "no such verb: explode"),
        ("[[do]]\nafter = 'plug'\nset = { 'supply.volts' = 3 }\n", "no such setting: supply.volts"),
        ("[line]\ncolour = 'blue'\n", "colour"),
    ],
)
def test_mistakes_in_a_file_are_named(text: str, said: str) -> None:
    with pytest.raises((ScenarioError, ValueError), match=said):
        scenarios.bench(scenarios.parse(text, "mine")).run()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    quick = scenarios.load("din-dc")
    quick.ev = {**quick.ev, "charge_time": 2.0}
    first, again, other = (pcapng(quick, seed=seed).data for seed in (3, 3, 4))
    assert first == again and first != other


def test_a_capture_is_an_archive_with_frames_and_pilot_in_order() -> None:
    items = scenarios.bench(scenarios.load("demo-good")).run()
    numbered = [item for item in items if not isinstance(item, Tick)]
    assert [item.number for item in numbered] == list(range(1, len(numbered) + 1))
    times = [item.t + (item.span if isinstance(item, CpRecord) else 0) for item in items]
    assert times == sorted(times), "items come in the order in which a tap would have given them"
    assert encode(items, "x")[:4] == b"\x0a\x0d\x0d\x0a"
    assert read_header is not None


@pytest.mark.parametrize(("nth", "counts"), [("", [1, 2, 9]), ("3", [3]), ("2-5", [2, 5]), ("4-", [4, 400]), ("-2", [1, 2])])
def test_ranges_count_from_one(nth: str, counts: list[int]) -> None:
    assert all(in_range(nth, count) for count in counts)
    assert not in_range("3", 4) and not in_range("2-5", 6) and not in_range("4-", 3)


def test_numbers_set_physical_values_in_the_finest_scale_that_fits() -> None:
    volts = {"Multiplier": -1, "Unit": "V", "Value": 3600}
    assert scaled(volts, 12.3) == {"Multiplier": -1, "Unit": "V", "Value": 123}
    assert scaled(volts, 50_000) == {"Multiplier": 1, "Unit": "V", "Value": 5000}
    body = {"EVSEPresentVoltage": volts, "DC_EVSEStatus": {"EVSEStatusCode": "EVSE_Ready"}}
    change = Change("PreChargeRes", set={"EVSEPresentVoltage": 1, "DC_EVSEStatus.EVSEStatusCode": "EVSE_NotReady"}, remove=("Gone",))
    assert altered(body, change)["EVSEPresentVoltage"]["Value"] == 10
    assert altered(body, change)["DC_EVSEStatus"] == {"EVSEStatusCode": "EVSE_NotReady"}
    assert volts["Value"] == 3600, "the original stays as it is"


SHORT = "base = 'din-dc'\n[ev]\ncharge_time = 1.0\n"


def count(items: list[Frame], mmtype: str) -> int:
    return sum(item.data[15:17].hex() == mmtype for item in items if item.data[12:14] == b"\x88\xe1")


def test_messages_can_be_dropped_doubled_and_bent() -> None:
    plain = frames(SHORT)
    assert count(plain, "7660") == 10
    assert count(frames(SHORT + "[[change]]\nmessage = 'CM_MNBC_SOUND.IND'\nnth = '2-4'\ndrop = true\n"), "7660") == 7
    assert count(frames(SHORT + "[[change]]\nmessage = 'CM_MNBC_SOUND.IND'\nnth = '5'\nrepeat = 3\n"), "7660") == 12
    bent = frames(SHORT + "[[change]]\nmessage = 'CM_MNBC_SOUND.IND'\nnth = '1'\nbytes_at = { '38' = 'aa' }\n")
    sounds = [item.data[38] for item in bent if item.data[15:17].hex() == "7660"]
    assert sounds == [0xAA, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def kinds(tap: str, **more: object) -> list[Item]:
    item = scenarios.parse(SHORT, "tap")
    item.tap = {"kind": tap, **more}
    return scenarios.bench(item).run()


def seen(items: list[Item]) -> tuple[set[str], set[bytes], bool]:
    """Names of the MMEs' directions, sources of unicast IPv6, and whether local messages were heard."""
    heard = [item.data for item in items if isinstance(item, Frame)]
    mmes = {data[6:12].hex() for data in heard if data[12:14] == b"\x88\xe1"}
    unicast = {data[6:12] for data in heard if data[12:14] == b"\x86\xdd" and not data[0] & 1}
    return mmes, unicast, any(data[0:6] == bytes.fromhex("00b052000001") for data in heard)


EV, EVSE = "025300000001", "025300000002"


def test_taps_hear_what_such_taps_hear() -> None:
    both = {bytes.fromhex(EV), bytes.fromhex(EVSE)}
    assert seen(kinds("passive")) == ({EV, EVSE}, both, False)
    host = seen(kinds("host"))
    assert host[1:] == (both, True) and {EV, EVSE, "025300000102"} == host[0]
    assert seen(kinds("evse-side")) == ({EVSE}, set(), False)
    assert seen(kinds("ev-side")) == ({EV}, set(), False)
    broadcast = kinds("broadcast")
    assert seen(broadcast)[:2] == ({EVSE}, set())
    assert any(isinstance(item, TapEvent) and item.kind == "rekey" for item in broadcast)
    assert all(item.data[0] & 1 for item in broadcast if isinstance(item, Frame) and item.data[12:14] == b"\x86\xdd")
    assert {item.source for item in kinds("bridge") if isinstance(item, Frame)} == {"plc", "plc2"}


def test_taps_that_miss_drop_cut_and_repeat() -> None:
    plain = sum(isinstance(item, Frame) for item in kinds("passive"))
    missing = sum(isinstance(item, Frame) for item in kinds("passive", miss=0.08))
    assert 0.85 * plain < missing < plain
    dropping = [item for item in kinds("passive", drop=0.1) if isinstance(item, Frame)]
    assert sum(item.lost for item in dropping) + len(dropping) in (plain, plain - 1, plain - 2), "what is dropped is counted"
    assert all(len(item.data) <= 64 < item.wire_len for item in kinds("passive", snap=64) if isinstance(item, Frame) and item.wire_len)
    assert sum(isinstance(item, Frame) for item in kinds("passive", duplicate=1.0)) == 2 * plain


def test_a_recording_that_ends_early_proves_no_silence() -> None:
    cut = kinds("passive", stop_at=5.0)
    assert not any(isinstance(item, Tick) for item in cut)
    assert isinstance(kinds("passive")[-1], Tick)


def test_a_neighbour_keeps_to_itself() -> None:
    item = scenarios.load("neighbor-quiet")
    own = scenarios.bench(item)
    own.run()
    assert own.pairs[0].ev.outcome == own.pairs[1].ev.outcome == "done"
    assert own.pairs[0].evse_station.mac != own.pairs[1].evse_station.mac


def test_two_hundred_pairs_fit_into_real_time() -> None:
    """Each pair gets a hundredth of the time it plays here on a busy machine; see docs/bench.md for the measured share."""
    import time

    from plugtap.sim.v2g import Codec

    codec = Codec()
    item: Scenario = scenarios.load("din-dc")
    begin = time.perf_counter()
    for seed in range(4):
        scenarios.bench(item, seed=seed, codec=codec).run()
    spent = time.perf_counter() - begin
    assert spent < 4 * 44 / 50, f"{spent:.2f} s for 176 s of four sessions"


def test_settings_of_a_scenario_are_its_own() -> None:
    item = scenarios.load("slac-restart-mid")
    scenarios.bench(item).run()
    assert scenarios.build(item).pairs[0].ev.slac_restart_after == "CM_MNBC_SOUND.IND", "a run leaves the scenario as it was"
    assert msgspec.json.encode(item)
