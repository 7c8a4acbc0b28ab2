"""A step of each limit of slac.tsv, pilot.tsv, v2g.tsv and transport.tsv is heard: the double entry's number, and bytes just within and just beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from steps import Row, Run, pinned
from steps_limits import Border
from steps_pilot import PILOT
from steps_slac import SLAC
from steps_transport import TRANSPORT
from steps_v2g import V2G

BORDERS: dict[str, dict[str, Border]] = {"slac": SLAC, "pilot": PILOT, "v2g": V2G, "transport": TRANSPORT}
ROWS = [(table, row) for table in BORDERS for row in pinned(table)]
# Rows without bytes that tell a number from its neighbours, and why.
UNTOLD: dict[tuple[str, str], str] = {}


def test_the_rows_that_no_bytes_tell_are_few_and_known() -> None:
    """They may only become fewer: a row that is in the list has no border, and every other one has."""
    known = {(table, row["name"]) for table, row in ROWS}
    assert known - {(table, name) for table, borders in BORDERS.items() for name in borders} == set(UNTOLD)
    assert len(UNTOLD) <= 0


def of_row(row: Row, table: str) -> Iterator[Run]:
    """Silent just within, speaking just beyond."""
    border = BORDERS[table].get(row["name"])
    if border is not None:
        yield from border.runs(row["value"])


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{table}-{row['name']}" for table, row in ROWS])
def test_a_step_of_the_limit_is_heard(table: str, row: Row) -> None:
    for run in of_row(row, table):
        run()
