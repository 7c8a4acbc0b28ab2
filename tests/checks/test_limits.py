"""Every number of the tables decides something: beyond it a check speaks, below it not. And every row stands a second time in pinned.tsv.

`tools/mutate_tables` moves each number and each row by one step and says which of these tests notice.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import msgspec
import pytest
from casebook import BOOK, Case, play, read_whole
from lab import Result
from plugtap.checks import tables
from plugtap.checks.catalogue import load
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings, CheckSettings

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


# No case of the book is near these: test_steps_limits.py holds both of their sides.
FAR = ("A_high", "D_high", "D_low", "pp_20A", "stop_before", "follow_time", "rival_by")
USED = {name: idents for name, idents in used().items() if name not in FAR}


@pytest.mark.parametrize(("name", "idents"), USED.items(), ids=list(USED))
def test_a_limit_decides(name: str, idents: list[str]) -> None:
    """At least one of the checks that use the number hears a site's change of it: in what it says of its case, or of its quiet case.

    Where the finding shows the measured value beside the limit: a limit on its far side silences the check, one on its near side does not.
    """
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
