"""What is just within and just beyond a number of the tables, from the double entry (pinned.tsv): not from the table under test.

Each test_steps_*.py makes bytes from the pinned numbers of a table and holds what the analysis says on both sides. `of_row(row)` there gives
the runs that belong to a row: pytest runs all of them, `tools/mutate_tables` those of the row whose number it has moved.
"""

from __future__ import annotations

import decimal
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from casebook import SETTINGS, play
from lab import Lab, Result

from plugtap.config.analysis import AnalysisSettings, CheckSettings

PINNED = pathlib.Path(__file__).parent / "pinned.tsv"
Row = dict[str, str]
Run = Callable[[], None]


@functools.cache
def pinned(table: str) -> tuple[Row, ...]:
    """The rows of a table in the double entry, in the table's order."""
    found: list[Row] = []
    for line in PINNED.read_text(encoding="utf-8").splitlines():
        name, *cells = line.split("\t")
        if name == table:
            found.append(dict(cell.split("=", 1) for cell in cells))
    assert found, table
    return tuple(found)


def step(number: str) -> float:
    """One in the last place a number is written with: ``0.25`` -> 0.01."""
    return float(decimal.Decimal(1).scaleb(int(decimal.Decimal(number).as_tuple().exponent)))


def around(number: str) -> tuple[float, float]:
    """Half a step below a number, and half a step above it."""
    return float(number) - step(number) / 2, float(number) + step(number) / 2


def name_of(row: Row) -> str:
    """A row in a word, for the names of tests."""
    return "-".join(value.replace(" ", "+") for value in (*row.values(),)[:3])


def each_row(table: str) -> pytest.MarkDecorator:
    """A test for each row of a table."""
    return pytest.mark.parametrize("row", pinned(table), ids=[name_of(row) for row in pinned(table)])


def on(check: str, limits: dict[str, float] | None = None, **settings: Any) -> AnalysisSettings:
    """The laboratory's settings, and this check is on whatever it is by default."""
    return msgspec.structs.replace(SETTINGS, checks={check: CheckSettings(enabled=True, limits=limits or {})}, **settings)


def said(lab: Lab, check: str, tail: float = 70.0, settings: AnalysisSettings | None = None) -> Result:
    """The conversation as bytes through an analysis that knows this check only."""
    return play(lab.items(tail=tail), check, settings or on(check))


def run_all(runs: Iterator[Run]) -> None:
    """All runs of a row; there must be one."""
    count = 0
    for run in runs:
        run()
        count += 1
    assert count, "nothing is run for this row"
