"""The three cases every check has, and how they are run.

A case names a check, a conversation that makes it fire and what the finding must say, one that arms it without firing, and where
frames are lost to show the gap policy. Only the check under test runs, over the whole analysis, from bytes.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from lab import SECOND, Lab, Result, Step
from lab_wire import ethernet

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.events import Mme, Neighbor, OtherTraffic, Pilot, PilotSample, Sdp, Tcp, Undecodable, V2gMessage
from plugtap.protocols.items import Item, Tick
from plugtap.protocols.stack import Stack

Scene = Callable[[], Lab]
NOISE = ethernet(b"\x01\x80\xc2\x00\x00\x0e", bytes.fromhex("020000009999"), 0x88CC, bytes(30))
SETTINGS = AnalysisSettings(site="lab", tap="lab", vantage="host")


def good(name: str = "din-dc", **options: bool) -> Scene:
    """A healthy session, as a scene."""
    return lambda: Lab.good(name, **options)


GOOD = good()


def lost() -> Step:
    """A frame that the capture lost and knows of."""
    return Step("frame", "LOST", gap=0.0002, raw=NOISE, lost=True)


def noise(gap: float = 0.0002) -> Step:
    """A frame of nobody: where a loss shows."""
    return Step("frame", "NOISE", gap=gap, raw=NOISE)


@dataclass(frozen=True)
class Case:
    """The cases of one check. `loss`: name and number of the step after which frames are lost, within what the check observes."""

    check: str
    fires: Scene
    loss: tuple[str, int]
    side: str
    says: str  # part of the detail
    values: dict[str, Any] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()  # what the finding's frames carry
    severity: str | None = None  # as settled; None: not asserted
    quiet: Scene = GOOD
    settings: AnalysisSettings = SETTINGS
    count: int = 1  # findings of the check
    tail: float = 70.0


BOOK: dict[str, Case] = {}


def read_whole() -> dict[str, Case]:
    """The book with the cases of every test file of this folder."""
    for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py")):
        if "= book(" in path.read_text(encoding="utf-8"):
            importlib.import_module(path.stem)
    return BOOK


def book(*cases: Case) -> list[Any]:
    """Enter cases and give them to pytest.mark.parametrize."""
    for case in cases:
        BOOK[case.check] = case  # a module may be imported twice: by pytest, and by name from another one
    return [pytest.param(case, id=case.check) for case in cases]


# --- running ------------------------------------------------------------------------------------------------------


def play(items: list[Item], check: str, settings: AnalysisSettings) -> Result:
    """Run items through an Analysis that knows this check only."""
    on = AnalysisSettings(**{name: getattr(settings, name) for name in settings.__struct_fields__})
    analysis = Analysis(on, sources=("plc", "cp"), checks={check: load()[check]})
    outputs: list[SessionReport | Finding] = []
    for item in items:
        outputs += analysis.feed(item)
    outputs += analysis.finish(items[-1].t)
    result = Result(analysis, items, outputs)
    assert not result.failures(), result.failures()
    return result


def labels(items: list[Item]) -> dict[int, set[str]]:
    """What each frame carries: names of messages, kinds of TCP and neighbour events, CP for pilot records."""
    stack = Stack()
    found: dict[int, set[str]] = {}
    for item in items:
        if isinstance(item, Tick):
            continue
        for event in stack.feed(item):
            match event:
                case Mme():
                    name = event.name
                case V2gMessage():
                    name = event.message or "undecoded"
                case Tcp() | Neighbor():
                    name = event.kind
                case Sdp():
                    name = "SDP.REQ" if event.request else "SDP.RES"
                case Pilot() | PilotSample():
                    name = "CP"
                case OtherTraffic():
                    name = event.what
                case Undecodable():
                    name = "damaged"
                case _:
                    continue
            found.setdefault(event.frame, set()).add(name)
    return found


def frames_of(finding: Finding, items: list[Item]) -> set[str]:
    """Names of what the finding's frames carry."""
    carried = labels(items)
    return set().union(*(carried.get(frame, set()) for frame in finding.frames))


def assert_fires(case: Case) -> None:
    """The finding is there, and says side, evidence and values."""
    items = case.fires().items(tail=case.tail)
    result = play(items, case.check, case.settings)
    found = result.of(case.check)
    assert len(found) == case.count, [f.detail for f in found]
    finding = found[0]
    assert case.says in finding.detail
    assert case.values or not finding.values, f"name a value: {finding.values}"
    assert case.evidence or not finding.frames, f"name what the frames carry: {frames_of(finding, items)}"
    assert finding.side == case.side
    if case.severity is not None:
        assert finding.severity == case.severity
    for name, value in case.values.items():
        said = finding.values[name].value
        assert said == (pytest.approx(value, abs=0.06) if isinstance(value, float) else value), name
    assert set(case.evidence) <= frames_of(finding, items), frames_of(finding, items)
    assert result.count(case.check, "fired") >= 1


def assert_quiet(case: Case) -> None:
    """Armed, and silent."""
    result = play(case.quiet().items(tail=case.tail), case.check, case.settings)
    assert result.of(case.check) == []
    assert result.count(case.check, "armed") >= 1


def assert_gap(case: Case) -> None:
    """With frames lost in between: silent, less sure, or the same, as the check says."""
    lab = case.fires()
    lab.insert_after(case.loss[0], case.loss[1], lost(), noise())
    result = play(lab.items(tail=case.tail), case.check, case.settings)
    found = result.of(case.check)
    policy = load()[case.check].meta.gap
    if policy == "suppress":
        assert found == []
        assert result.count(case.check, "suppressed") >= 1
    else:
        assert found, "a loss must not silence this check"
        assert policy == "proceed" or found[0].certainty == "possible"


def steps(*made: Step) -> Iterator[Step]:
    """Steps as an iterator, for lab.append and friends."""
    return iter(made)


def mme(name: str, side: str, gap: float = 0.01, raw: bytes | None = None, **fields: Any) -> Step:
    """A management message."""
    return Step("mme", name, side, gap, fields, raw=raw)


__all__ = ["BOOK", "SECOND", "Case", "Lab", "Step", "assert_fires", "assert_gap", "assert_quiet", "book", "good", "mme", "noise", "steps"]
