"""Thresholds of the standards as rows of TSV files: ``slac.tsv``, ``pilot.tsv``, ``transport.tsv``.

Columns: name, value, unit, sure, refs, source, why. Lines that start with # are comments; the first other line names the columns.
An engineer who knows no Python may correct a number there; every check that uses it follows.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping

import msgspec

from plugtap.checks.meta import Limit

COLUMNS = ("name", "value", "unit", "sure", "refs", "source", "why")
SURE = ("confirmed", "single", "heuristic")


class Row(msgspec.Struct, frozen=True):
    """One threshold: its Limit, the clauses it rests on, and where the number was read."""

    limit: Limit
    refs: str
    source: str


@functools.cache
def table(name: str) -> Mapping[str, Row]:
    """The rows of ``<name>.tsv`` by name. Raises ValueError with file and line where a row is not usable."""
    text = importlib.resources.files("plugtap.checks").joinpath(f"{name}.tsv").read_text(encoding="utf-8")
    return parse(text, f"{name}.tsv")


def parse(text: str, where: str) -> Mapping[str, Row]:
    """Rows out of the text of a limit table."""
    rows: dict[str, Row] = {}
    header_seen = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if not header_seen:
            if tuple(cells) != COLUMNS:
                raise ValueError(f"{where}:{number}: the columns must be {', '.join(COLUMNS)}")
            header_seen = True
            continue
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{where}:{number}: {len(cells)} cells, {len(COLUMNS)} wanted")
        name, value, unit, sure, refs, source, why = cells
        if name in rows:
            raise ValueError(f"{where}:{number}: {name} is there twice")
        if sure not in SURE:
            raise ValueError(f"{where}:{number}: {sure} is none of {', '.join(SURE)}")
        if not why or not source:
            raise ValueError(f"{where}:{number}: {name} needs a source and a reason")
        try:
            amount = float(value)
        except ValueError:
            raise ValueError(f"{where}:{number}: {value} is no number") from None
        rows[name] = Row(Limit(int(amount) if amount.is_integer() else amount, unit, why, sure), refs, source)
    return rows


def limits_of(name: str, *limits: str) -> dict[str, Limit]:
    """The named limits of a table, for Meta.limits. Raises KeyError for one that is not there."""
    rows = table(name)
    return {limit: rows[limit].limit for limit in limits}
