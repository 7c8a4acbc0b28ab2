"""Every number of the tables decides something: beyond it a check speaks, below it not. And every row stands a second time in pinned.tsv.

`tools/mutate_tables` moves each number and each row by one step and says which of these tests notice.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import msgspec
import pytest
from casebook import BOOK, Case, play, read_whole
from lab import Lab, Result
from plugtap.checks import tables
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings, CheckSettings
from test_slac_checks import rival

HERE = pathlib.Path(__file__).parent
PINNED = HERE / "pinned.tsv"
TABLES = ("timeouts", "order", "presence", "codes", "ranges", "slac", "pilot", "v2g", "transport")
PROSE = ("why", "source", "refs", "meaning", "fix", "sure", "line")  # no behaviour

read_whole()


# --- double entry -------------------------------------------------------------------------------------------------


def entries() -> Iterator[str]:
    """What decides in each row of each table, one line a row."""
    for table in TABLES:
        for row in tables.rows(table):
            yield "\t".join([table, *(f"{name}={value}" for name, value in row.items() if name not in PROSE)])


def test_every_row_stands_twice() -> None:
    """A slip of the keyboard in a table must not pass: correct both, and say in the commit why."""
    assert list(entries()) == PINNED.read_text(encoding="utf-8").splitlines()


# --- numbers decide -----------------------------------------------------------------------------------------------


def with_limits(case: Case, **limits: float) -> AnalysisSettings:
    return msgspec.structs.replace(case.settings, checks={case.check: CheckSettings(enabled=True, limits=limits)})


def fired(case: Case, settings: AnalysisSettings) -> Result:
    return play(case.fires().items(tail=case.tail), case.check, settings)


def used() -> dict[str, list[str]]:
    """The rows of the tables of limits, and the checks that ask for them. Times of messages have a test of their own."""
    found: dict[str, list[str]] = {}
    for ident, check in sorted(load().items()):
        for name in check.meta.limits:
            if "." not in name:
                found.setdefault(name, []).append(ident)
    return found


def key_of(finding: Finding, limit: float) -> str | None:
    """The value of the finding that is held against this limit."""
    for name, value in finding.values.items():
        numeric = isinstance(value.value, int | float) and isinstance(value.limit, int | float) and not isinstance(value.value, bool)
        if numeric and value.op in (">", ">=", "<", "<=") and float(value.limit) == float(limit):
            return name
    return None


def speech(result: Result, check: str) -> list[tuple[str, str, str, str]]:
    """What the check said, without the limits it may quote."""
    return [(f.severity, f.side, f.effect, ",".join(map(str, f.frames)) + f.time) for f in result.of(check)]


Border = tuple[Callable[[], tuple[str, Lab]], bool]  # a scene of a check, and whether the check speaks


def level(state: str, mv: int) -> Callable[[], tuple[str, Lab]]:
    """The positive plateau at a level that reads as this state, for a second. A with nothing plugged in here: while another's messages are heard."""

    def made() -> tuple[str, Lab]:
        if state == "A":
            lab = Lab.good("din-dc", pilot=False)
            return "cp-level-out-of-band", lab.insert_before("SDP.REQ", 0, *(lab.cp("A1", 0.3, hi_mv=mv, lo_mv=mv + i) for i in range(4)))
        lab = Lab.good("din-dc")
        return "cp-level-out-of-band", lab.insert_after("CP", 3, lab.cp(f"{state}2", 0.2, hi_mv=mv), lab.cp("C2", 1.0))

    return made


def cable(ohm: int) -> Callable[[], tuple[str, Lab]]:
    """A proximity resistor."""

    def made() -> tuple[str, Lab]:
        lab = Lab.good("din-dc")
        for i in (1, 2, 3):
            lab.replace("CP", i, pp_ohm=ohm)
        return "pp-resistor-unknown", lab

    return made


def stopped(seconds: float) -> Callable[[], tuple[str, Lab]]:
    """B in the charge loop, and PowerDeliveryReq(Stop) so long after it."""

    def made() -> tuple[str, Lab]:
        lab = Lab.good("din-dc").drop("CP", 4)
        lab.insert_before("PowerDeliveryReq", 1, lab.cp("B2", 0.05))
        lab.find("PowerDeliveryReq", 1)[0].gap = seconds
        return "cp-c-to-b-mid-charge", lab

    return made


def lagging(seconds: float) -> Callable[[], tuple[str, Lab]]:
    """The target falls to a tenth; the current stays for so long, at 4 answers a second."""

    def made() -> tuple[str, Lab]:
        lab = Lab.good("din-dc").repeat("CurrentDemand", 4, 60, every=0.25)
        late = lab.find("CurrentDemandReq")[30:]
        for step in late:
            step.fields["EVTargetCurrent"] = {"Multiplier": 0, "Unit": "A", "Value": 5}
        for i, step in enumerate(lab.find("CurrentDemandRes")[30:]):
            step.fields["EVSEPresentCurrent"] = {"Multiplier": 0, "Unit": "A", "Value": 50 if i * 0.25 <= seconds else 5}
        return "value-present-exceeds-target", lab

    return made


def crossed(difference: int) -> Callable[[], tuple[str, Lab]]:
    """The EVSE reports to another EV so many decibels less."""
    return lambda: ("slac-wrong-evse-selected", rival(44 + difference, 44, before=True))


# cp_tolerance is 0.3 V, pp_band 20 %, over_time 2 s.
BORDERS: dict[str, tuple[Border, ...]] = {
    "A_high": ((level("A", 12_850), False), (level("A", 12_950), True)),
    "D_high": ((level("D", 3_500), False), (level("D", 3_600), True)),
    "D_low": ((level("D", 2_350), False), (level("D", 2_270), True)),
    "pp_20A": ((cable(810), False), (cable(822), True)),
    "stop_before": ((stopped(1.9), False), (stopped(2.1), True)),
    "follow_time": ((lagging(4.5), False), (lagging(5.5), True)),
    "rival_by": ((crossed(10), False), (crossed(11), True)),
}


@pytest.mark.parametrize(("name", "idents"), used().items(), ids=list(used()))
def test_a_limit_decides(name: str, idents: list[str]) -> None:
    """Borders that no case of the book is near have boundary cases below; else at least one of the checks that use the number hears a change of it: in what it says of its case, or of its quiet case.

    Where the finding shows the measured value beside the limit: a limit on its far side silences the check, one on its near side does not.
    """
    if name in BORDERS:
        for value, speaks in BORDERS[name]:
            check, lab = value()
            assert bool(play(lab.items(), check, BOOK[check].settings).of(check)) is speaks
        return
    for ident in idents:
        if _decides(ident, name):
            return
    pytest.fail(f"no value of {name} changes what {', '.join(idents)} say of their cases")


def _decides(ident: str, name: str) -> bool:
    case, limit = BOOK[ident], load()[ident].meta.limits[name].value
    base = fired(case, case.settings)
    finding = base.of(ident)[0]
    key = key_of(finding, limit)
    if key is not None:
        value = finding.values[key]
        measured, room = float(value.value), max(0.002, abs(float(value.value)) * 0.005)
        far, near = (measured + room, measured - room) if value.op.startswith(">") else (measured - room, measured + room)
        within = fired(case, with_limits(case, **{name: near}))
        if speech(fired(case, with_limits(case, **{name: far})), ident) != speech(within, ident):
            assert within.of(ident), f"{ident} is silent although {measured} is beyond {near}"
            return True
    heard = speech(base, ident)
    quiet_items = case.quiet().items(tail=case.tail)
    quiet = speech(play(quiet_items, ident, case.settings), ident)
    for other in (0.0, limit / 10, limit / 3, limit * 3, limit * 10, limit + 1, limit - 1, -limit, 1e6):
        settings = with_limits(case, **{name: other})
        if speech(fired(case, settings), ident) != heard or speech(play(quiet_items, ident, settings), ident) != quiet:
            return True
    return False
