"""What is found depends on what happened, not on how it reached plugtap: in one go or frame by frame, with few or many ticks, with the pilot
a little late, with strangers talking in between."""

from __future__ import annotations

import heapq
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from lab import SECOND, Lab
from namespace import run_script
from lab_good import TARGET, volt
from v2g_scenes import ends

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.hw.files import read_items
from plugtap.protocols.items import Frame, Item, Tick

SETTINGS = AnalysisSettings(site="lab", tap="lab")
# What a frame is called in another stream: its number, and that of its TCP connection (as Wireshark counts them).
NUMBERS = ("frame", "frames", "first_frame", "last_frame", "rev")
IN_WORDS = re.compile(r"\b(frame|stream) \d+")


# --- the sessions that are compared ---------------------------------------------------------------------------------


def overshoot() -> Lab:
    return Lab.good("din-dc").replace("CurrentDemandRes", 4, EVSEPresentVoltage=volt(TARGET + 90))


def retried() -> Lab:
    """SLAC twice, because the first match is never confirmed."""
    made = Lab.good("iso2-dc")
    again = [s for s in made.steps if s.kind == "mme"]
    made.drop("CM_SLAC_MATCH.CNF", 0)
    again[0].gap = 12.0
    return made.insert_after("CM_SLAC_MATCH.REQ", 0, *again)


def pilot_first() -> Lab:
    """The EVSE goes to F 20 ms before the EV asks to stop: which came first decides."""
    made = Lab.good("din-dc")
    made.insert_before("PowerDeliveryReq", 1, made.cp("F"))
    made.find("PowerDeliveryReq", 1)[0].gap = 0.02
    return made


SCENES: dict[str, Callable[[], Lab]] = {
    "din": lambda: Lab.good("din-dc"),
    "iso2-dc": lambda: Lab.good("iso2-dc"),
    "iso2-ac": lambda: Lab.good("iso2-ac"),
    "iso20-dc": lambda: Lab.good("iso20-dc"),
    "iso20-ac": lambda: Lab.good("iso20-ac"),
    "unanswered": lambda: Lab.good("din-dc").stop_after("CableCheckReq", 1),
    "stalled": lambda: Lab.good("din-dc").stop_after("CableCheckRes", 1),
    "reset": lambda: ends(Lab.good("din-dc"), "CurrentDemandRes", 5, how="rst"),
    "slow precharge": lambda: Lab.good("din-dc").repeat("PreCharge", 0, 20, every=0.5),
    "cable check": lambda: Lab.good("din-dc").repeat("CableCheck", 0, 50, every=1.0),
    "pilot to B": lambda: Lab.good("din-dc").stop_after("CurrentDemandRes", 6, pilot=False).insert_after("CurrentDemandRes", 6, Lab().cp("B2")),
    "pilot first": pilot_first,
    "overshoot": overshoot,
    "lost frames": lambda: Lab.good("iso2-dc").lose("CurrentDemandRes", 3).lose("PreChargeReq", 1),
    "second SLAC": retried,
}
REAL = (
    "uhi22__Ioniq28Investigations/spi_ioniq_alpiHYC300_SWIsued_2024-03-22_ok_stopOnCharger.csv.pcap",
    "uhi22__pyPLC/2022-12-13_compleo_with_bulb.pcapng",
    "dspace-group__dsV2Gshark/IEC61851_AC_PWM_Basic.pcapng",
    "uhi22__clara-logs/2024-02-14_SuC_endlessCablecheck.claralog.pcap",
    "EVerest__logfiles/Opel/Ampera-E/2023-01-13-din_spec_70121/session/ampera_dc_din_3.dump",
)


# --- running and comparing ------------------------------------------------------------------------------------------


def analyse(
    items: Iterable[Item], *, foreign: bool = False, sources: tuple[str, ...] = ("plc", "cp"), upsert: bool = False, settings: AnalysisSettings = SETTINGS
) -> list[SessionReport]:
    """The sessions' last states; `upsert`: out of the outputs of each call, as live consumers put them together."""
    analysis = Analysis(settings, sources=sources, foreign=foreign)
    reports: dict[str, SessionReport] = {}
    findings: dict[str, Finding] = {}
    for item in items:
        for output in analysis.feed(item):
            (reports if isinstance(output, SessionReport) else findings)[output.id] = output  # type: ignore[index]
    for output in analysis.finish():
        (reports if isinstance(output, SessionReport) else findings)[output.id] = output  # type: ignore[index]
    assert not analysis.engine.failures, analysis.engine.failures
    if not upsert:
        return analysis.reports()
    for report in reports.values():
        said = {f.id: findings[f.id] for f in report.findings}
        assert said == {f.id: f for f in report.findings}, "a consumer that keeps the newest of each id has what the session says"
    return sorted(reports.values(), key=lambda report: (report.start, report.id))


def facts(reports: Iterable[SessionReport]) -> dict[str, Any]:
    """Everything said of each session, by id, without the names that frames have in one stream."""
    return {report.id: _bare(msgspec.to_builtins(report)) for report in reports}


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(part) for name, part in value.items() if name not in NUMBERS}
    if isinstance(value, list | tuple):
        return [_bare(part) for part in value]
    return IN_WORDS.sub(r"\1 N", value) if isinstance(value, str) else value


def with_ticks(items: Sequence[Item], extra: int, stretch: int = 1) -> list[Item]:
    """`extra` more ticks between items, evenly, after every `stretch`-th item."""
    out: list[Item] = []
    for i, (item, after) in enumerate(zip(items, [*items[1:], items[-1]], strict=True)):
        out.append(item)
        if i % stretch == 0:
            out += [Tick(item.t + (after.t - item.t) * (n + 1) // (extra + 1)) for n in range(extra)]
    return out


def late_pilot(items: Sequence[Item], by: int) -> list[Item]:
    """The same items, each pilot record arriving `by` ns after its time; a tick says that nothing was waiting, so it too comes later."""
    return [item for _, _, item in sorted((item.t + (0 if isinstance(item, Frame) else by), i, item) for i, item in enumerate(items))]


def shuffled(*streams: Sequence[Item]) -> list[Item]:
    """Several streams as one, by time, numbered anew."""
    out: list[Item] = []
    for number, item in enumerate(heapq.merge(*streams, key=lambda item: item.t), 1):
        out.append(item if isinstance(item, Tick) else msgspec.structs.replace(item, number=number))
    return out


# --- ticks ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SCENES)
def played(request: pytest.FixtureRequest) -> list[Item]:
    """A session with proofs of silence each second, as the daemon records them."""
    return SCENES[request.param]().items()


def test_frame_by_frame_with_any_number_of_ticks(played: list[Item]) -> None:
    reference = facts(analyse(played))
    assert reference
    for extra, stretch in ((0, 1), (1, 1), (1000, len(played) // 20)):
        assert facts(analyse(with_ticks(played, extra, stretch), upsert=True)) == reference, extra


def test_a_session_told_in_one_go_or_asked_for_its_deadlines(played: list[Item]) -> None:
    """A daemon ticks when the next deadline asks for it, not each second."""
    reference = facts(analyse(played))
    bare = [item for item in played if not isinstance(item, Tick)]
    analysis = Analysis(SETTINGS, sources=("plc", "cp"))
    for item in bare:
        while (due := analysis.next_deadline()) is not None and due <= item.t:
            analysis.tick(due)
        analysis.feed(item)
    for _ in range(1000):
        due = analysis.next_deadline()
        if due is None or due > played[-1].t:
            break
        analysis.tick(due)
    analysis.finish(played[-1].t)
    assert facts(analysis.reports()) == reference


# --- the pilot ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_ms", [1, 60, 149])
def test_pilot_within_the_allowance(played: list[Item], late_ms: int) -> None:
    assert late_ms / 1000 < SETTINGS.reorder
    assert facts(analyse(late_pilot(played, late_ms * 1_000_000))) == facts(analyse(played))


def test_a_pilot_later_than_the_allowance_is_not_put_right() -> None:
    """The allowance is what does it."""
    played = pilot_first().items()
    hasty = msgspec.structs.replace(SETTINGS, reorder=0.005)
    assert facts(analyse(late_pilot(played, 140_000_000), settings=hasty)) != facts(analyse(played, settings=hasty))


# --- strangers ------------------------------------------------------------------------------------------------------

PAIRS = (
    ("din", "iso2-dc"),
    ("unanswered", "iso20-dc"),
    ("stalled", "cable check"),
    ("reset", "second SLAC"),
    ("slow precharge", "overshoot"),
    ("iso2-ac", "iso20-ac"),
)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("shift_s", [0.0, 1.7, 9.3])
def test_unrelated_pairs_in_one_stream(one: str, other: str, shift_s: float) -> None:
    """Without a pilot: its line belongs to one connector, so that it tells of one of the pairs only."""

    def silent(name: str, number: int, shift: float) -> list[Item]:
        made = SCENES[name]().pair(number)
        made.steps = [step for step in made.steps if step.kind != "cp"]
        made.steps[0].gap = shift
        return made.items(tail=130.0 - shift)

    streams = [silent(one, 1, 0.0), silent(other, 2, shift_s)]
    apart = [facts(analyse(stream, sources=("plc",))) for stream in streams]
    assert facts(analyse(shuffled(*streams), sources=("plc",))) == apart[0] | apart[1]


# --- real captures --------------------------------------------------------------------------------------------------


def real(captures: pathlib.Path, name: str) -> list[Item]:
    path = captures / "files" / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    return list(read_items(str(path)))


def proven(items: Sequence[Item], start: int, end: int) -> list[Item]:
    """The items moved to begin at `start`, with a proof of silence every half second until `end`."""
    shift = start - items[0].t
    moved: list[Item] = [Tick(i.t + shift) if isinstance(i, Tick) else msgspec.structs.replace(i, t=i.t + shift) for i in items]
    ticks: list[Item] = [Tick(t) for t in range(start + SECOND // 2, end, SECOND // 2)]
    return list(heapq.merge(moved, ticks, key=lambda item: item.t))


@pytest.mark.parametrize("name", REAL)
def test_real_captures_with_any_number_of_ticks(captures: pathlib.Path, name: str) -> None:
    """In a foreign file a tick may say no more than the packet before it: at its own time."""
    items = real(captures, name)
    reference = facts(analyse(items, foreign=True, sources=("plc",)))
    assert reference
    for ticks, stretch in ((1, 1), (1000, len(items) // 10)):
        more: list[Item] = []
        for i, item in enumerate(items):
            more += [item, *([Tick(item.t)] * (ticks if i % stretch == 0 else 0))]
        assert facts(analyse(more, foreign=True, sources=("plc",), upsert=True)) == reference, ticks


@pytest.mark.parametrize(("one", "other"), [(REAL[0], REAL[1]), (REAL[4], REAL[1])])
def test_real_captures_shuffled_into_one(captures: pathlib.Path, one: str, other: str) -> None:
    start, end = 1_700_000_000 * SECOND, 1_700_000_300 * SECOND
    streams = [proven(real(captures, one), start, end), proven(real(captures, other), start + 3 * SECOND, end)]
    apart = [facts(analyse(stream, sources=("plc",))) for stream in streams]
    assert facts(analyse(shuffled(*streams), sources=("plc",))) == apart[0] | apart[1]



# --- live -----------------------------------------------------------------------------------------------------------


def test_live_through_a_cable_as_from_a_file() -> None:
    """Two conversations at once over a veth pair, in real time: what is said while it happens is what the recording says, ids and all, and it
    is what the same conversations say in the laboratory."""
    seen = run_script(pathlib.Path(__file__).with_name("live_script.py"), timeout=120.0)
    assert seen["captured"] == seen["sent"]
    assert seen["live"] == seen["again"]
    told = {s["protocol"]: (s["outcome"], s["verdict"]["check"], s["verdict"]["side"]) for s in seen["live"]}
    scenes = (
        Lab.good("din-dc", pilot=False).stop_after("CableCheckReq", 1),
        Lab.good("iso2-dc", pilot=False).pair(7).stop_after("CableCheckRes", 1).close("rst", "EVCC"),
    )
    for lab in scenes:
        there = lab.run(AnalysisSettings(site="lab", tap="live", vantage="host"), tail=6.0).session
        assert told[there.protocol] == (there.outcome, there.verdict.check, there.verdict.side)
    assert told["din"] == ("failed", "time-msg-timeout", "SECC")
