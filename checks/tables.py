"""The standards' tables beside the code: ``checks/*.tsv``, read and validated here and nowhere else.

A table is tab-separated text. Lines that begin with ``#`` are comments, the first other line names the columns, every
row says how sure it is (`sure`), where the requirement stands (`refs`) and who says so (`source`). Correcting a number
there corrects every check that uses it; no Python needs to be known. Errors name the file and the line.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator

import msgspec

from plugtap.checks.meta import Limit

SURE = ("confirmed", "single", "heuristic", "unconfirmed")
COMMON = ("sure", "refs", "source")

# Columns each table has besides COMMON. A table not named here has at least COMMON.
COLUMNS: dict[str, tuple[str, ...]] = {
    "timeouts": ("protocol", "message", "timeout", "fails", "performance"),
    "order": ("protocol", "mode", "after", "next", "tolerated"),
    "presence": ("protocol", "message", "element", "mode", "when", "rule", "check"),
    "codes": ("kind", "code", "side", "meaning", "fix"),
    "ranges": ("protocol", "element", "unit", "low", "high"),
}
LIMIT_COLUMNS = ("name", "value", "unit", "why")

Row = dict[str, str]


class TableError(ValueError):
    """A table that cannot be used: the text names file, line and what is wrong."""


class Timeout(msgspec.Struct, frozen=True):
    """Times of one message in seconds.

    `timeout` the EVCC's message time-out, `fails` from when on an answer counts as missing in practice, `performance`
    what the SECC should need.
    """

    timeout: float
    fails: float
    performance: float | None
    refs: tuple[str, ...]
    sure: str


class Order(msgspec.Struct, frozen=True):
    """What may follow a response. `tolerated`: not allowed by the strict reading, harmless in the field."""

    next: frozenset[str]
    tolerated: frozenset[str]
    refs: tuple[str, ...]
    sure: str


class Presence(msgspec.Struct, frozen=True):
    """`rule`: ``required`` or ``forbidden`` for `element` (a path) of `message` in `mode`, on the condition `when`."""

    protocol: str
    message: str
    element: tuple[str, ...]
    mode: str
    when: tuple[str, str] | None
    rule: str
    check: str
    refs: tuple[str, ...]


class Code(msgspec.Struct, frozen=True):
    """What a code says and who has to act on it."""

    side: str
    meaning: str
    fix: str
    refs: tuple[str, ...]


class Range(msgspec.Struct, frozen=True):
    """Unit and plausible range of an element's physical value; None where open."""

    unit: str
    low: float | None
    high: float | None
    refs: tuple[str, ...]
    sure: str


def parse(text: str, name: str) -> tuple[Row, ...]:
    """Rows of a table. Raises TableError naming `name` and the line."""
    columns: list[str] = []
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if not columns:
            columns = cells
            needed = {*COMMON, *(COLUMNS.get(name, ()))}
            if missing := sorted(needed - set(columns)):
                raise TableError(f"{name}.tsv line {number}: no column {', '.join(missing)}")
            continue
        if len(cells) != len(columns):
            raise TableError(f"{name}.tsv line {number}: {len(cells)} cells, not {len(columns)}")
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        if row["sure"] not in SURE:
            raise TableError(f"{name}.tsv line {number}: sure is {row['sure']!r}, not one of {', '.join(SURE)}")
        row["line"] = str(number)
        rows.append(row)
    if not rows:
        raise TableError(f"{name}.tsv: no rows")
    return tuple(rows)


@functools.cache
def rows(name: str) -> tuple[Row, ...]:
    """The rows of ``checks/NAME.tsv``. Raises TableError."""
    path = importlib.resources.files("plugtap.checks").joinpath(f"{name}.tsv")
    try:
        return parse(path.read_text(encoding="utf-8"), name)
    except FileNotFoundError:
        raise TableError(f"{name}.tsv: no such table") from None


def number(row: Row, column: str, name: str) -> float:
    """A cell as a number. Raises TableError."""
    try:
        return float(row[column])
    except (KeyError, ValueError):
        raise TableError(f"{name}.tsv line {row.get('line')}: {column} is {row.get(column)!r}, not a number") from None


def optional(row: Row, column: str, name: str) -> float | None:
    """A cell as a number, None where it is empty. Raises TableError."""
    return number(row, column, name) if row.get(column) else None


def refs_of(row: Row) -> tuple[str, ...]:
    """The requirement ids and tables of a row, separated by ``;`` in the file."""
    return tuple(part.strip() for part in row["refs"].split(";") if part.strip())


@functools.cache
def _limits(table: str) -> dict[str, Limit]:
    found: dict[str, Limit] = {}
    for row in rows(table):
        if missing := [c for c in LIMIT_COLUMNS if c not in row]:
            raise TableError(f"{table}.tsv line {row['line']}: no column {', '.join(missing)}")
        if row["name"] in found:
            raise TableError(f"{table}.tsv line {row['line']}: {row['name']} for the second time")
        found[row["name"]] = Limit(number(row, "value", table), row["unit"], row["why"], row["sure"])
    return found


def limits_of(table: str, *names: str) -> dict[str, Limit]:
    """Rows of a table of limits (name, value, unit, why) by name; all of them without names. Raises TableError."""
    found = _limits(table)
    if missing := [n for n in names if n not in found]:
        raise TableError(f"{table}.tsv: no row {', '.join(missing)}")
    return {name: found[name] for name in names} if names else dict(found)


@functools.cache
def timeouts() -> dict[tuple[str, str], Timeout]:
    """Message times by (protocol, message without Req/Res). Raises TableError."""
    found: dict[tuple[str, str], Timeout] = {}
    for row in rows("timeouts"):
        limit = number(row, "timeout", "timeouts")
        fails = optional(row, "fails", "timeouts")
        for protocol in row["protocol"].split():
            found[protocol, row["message"]] = Timeout(
                timeout=limit,
                fails=limit if fails is None else fails,
                performance=optional(row, "performance", "timeouts"),
                refs=refs_of(row),
                sure=row["sure"],
            )
    return found


def timeout_limits(column: str, protocols: tuple[str, ...] = ("din", "iso2", "iso20")) -> dict[str, Limit]:
    """One column of the message times as limits a site may change, named ``protocol.Message``."""
    found: dict[str, Limit] = {}
    for (protocol, message), row in timeouts().items():
        value = getattr(row, column)
        if protocol in protocols and value is not None:
            found[f"{protocol}.{message}"] = Limit(value, "s", "; ".join(row.refs), row.sure)
    return found


@functools.cache
def order() -> dict[tuple[str, str, str], Order]:
    """What may follow, by (protocol, mode, state); mode ``any`` stands for ac and dc. Raises TableError."""
    found: dict[tuple[str, str, str], Order] = {}
    for row in rows("order"):
        entry = Order(frozenset(row["next"].split()), frozenset(row["tolerated"].split()), refs_of(row), row["sure"])
        for mode in ("ac", "dc") if row["mode"] == "any" else (row["mode"],):
            key = (row["protocol"], mode, row["after"])
            if key in found:
                raise TableError(f"order.tsv line {row['line']}: {' '.join(key)} for the second time")
            found[key] = entry
    return found


def presence(check: str) -> tuple[Presence, ...]:
    """The rows of the table of required and forbidden elements that belong to one check. Raises TableError."""
    return tuple(_presence(check))


def _presence(check: str) -> Iterator[Presence]:
    for row in rows("presence"):
        if row["rule"] not in ("required", "forbidden"):
            raise TableError(f"presence.tsv line {row['line']}: rule is {row['rule']!r}")
        if row["check"] != check:
            continue
        path, _, wanted = row["when"].partition("=")
        for protocol in row["protocol"].split():
            yield Presence(
                protocol=protocol,
                message=row["message"],
                element=tuple(row["element"].split("/")),
                mode=row["mode"],
                when=(path, wanted) if path else None,
                rule=row["rule"],
                check=check,
                refs=refs_of(row),
            )


@functools.cache
def codes(kind: str) -> dict[str, Code]:
    """Codes of one kind: ``response``, ``ev-error``, ``evse-status``. Raises TableError."""
    return {row["code"]: Code(row["side"], row["meaning"], row["fix"], refs_of(row)) for row in rows("codes") if row["kind"] == kind}


@functools.cache
def ranges() -> dict[tuple[str, str], Range]:
    """Units and plausible ranges by (protocol, element). Raises TableError."""
    found: dict[tuple[str, str], Range] = {}
    for row in rows("ranges"):
        entry = Range(row["unit"], optional(row, "low", "ranges"), optional(row, "high", "ranges"), refs_of(row), row["sure"])
        for protocol in row["protocol"].split():
            found[protocol, row["element"]] = entry
    return found
