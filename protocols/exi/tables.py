"""Loads the committed grammar tables (`*.json`, made by tools/exi_schemas) and links them into engine nodes.

The tables of a set are read on first use; the states of an element type are linked when the type is first met.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

from plugtap.protocols.exi import build, variants
from plugtap.protocols.exi import engine as codes

SCHEMAS = ("sap", "din", "iso2", "iso20cm", "iso20ac", "iso20dc", "iso20acdp", "iso20wpt")
"""The message sets, in the order of their V2GTP payload types."""

FRAGMENT_SCHEMAS = (*SCHEMAS, "xmldsig")
"""The sets for which fragments can be coded: SignedInfo is signed as a fragment of xmldsig alone."""

WRAPPED = ("din", "iso2")
"""Sets whose messages stand in the Body of a V2G_Message."""

TEXT = "#text"


class Raw(msgspec.Struct, frozen=True):
    """A table file. Productions are ``[event, next, type, name, many, limit, full]``, shortened from the right.

    `roots` are pairs of element and type, `fragment` the types of all elements. For an attribute `many` marks one
    that is not the element's own where the grammar offers several of that local name.
    """

    format: int
    schema: str
    uris: list[str]
    elements: list[tuple[str, int]]
    attributes: list[tuple[str, int]]
    roots: list[tuple[int, int]]
    fragment: list[int]
    types: list[list[Any]]


def read(schema: str) -> Raw:
    """The raw table of a set."""
    data = resources.files("plugtap.protocols.exi").joinpath(f"{schema}.json").read_bytes()
    return msgspec.json.decode(data, type=Raw)


class Table:
    """One schema set, linked for one build of the engine: `grammar` decodes with it."""

    def __init__(self, raw: Raw, engine: Any) -> None:
        self.raw = raw
        self.engine = engine
        self.shapes = engine.Shapes()
        self._types = [self._type(entry) for entry in raw.types]
        documents = [self._element(element, self._types[kind]) for element, kind in raw.roots]
        fragments = [self._element(element, self._types[kind]) for element, kind in enumerate(raw.fragment)]
        self.grammar = engine.Grammar(raw.schema, raw.schema in WRAPPED, documents, fragments)

    def _type(self, entry: list[Any]) -> Any:
        engine = self.engine
        if not isinstance(entry[0], str):
            return engine.Type(None, entry, self)
        kind = engine.VALUE_KINDS[entry[0]]
        low, high = entry[1:] if len(entry) == 3 else (None, None)
        values: tuple[Any, ...] = ()
        if kind == codes.ENUM:
            values = tuple(entry[1])
        elif kind == codes.BOOLEAN:
            values = (False, True)
        elif kind == codes.NBIT:
            values = tuple(range(low, high + 1))
        width = (len(values) - 1).bit_length() if values else 0
        return engine.Type(engine.Value(kind, width, values, low, high), None, self)

    def _element(self, element: int, kind: Any) -> Any:
        engine = self.engine
        op = codes.SE_COMPLEX if kind.value is None else codes.SE_SIMPLE
        return engine.Production(op, self.raw.elements[element][0], element, kind, kind.value)

    def link(self, raw: list[list[Any]]) -> Any:
        """The states of one element type from their raw form: the first, and all."""
        engine = self.engine
        states = [engine.State(entry[0]) for entry in raw]
        for state, entry in zip(states, raw, strict=True):
            state.fill([self._production(p, states) for p in entry[1:]])
        return states[0], states

    def _production(self, raw: list[int], states: list[Any]) -> Any:
        engine = self.engine
        event = raw[0]
        if event == codes.SE_COMPLEX:
            p = self._element(raw[3], self._types[raw[2]])
        elif event == codes.AT:
            # Attributes have partitions of their own in the string tables: numbered after the elements.
            slot = len(self.raw.elements) + raw[3]
            local, uri = self.raw.attributes[raw[3]]
            foreign = f"{{{self.raw.uris[uri]}}}" if len(raw) > 4 else ""
            p = engine.Production(event, f"@{foreign}{local}", slot, None, self._types[raw[2]].value)
        elif event == codes.CH:
            p = engine.Production(event, TEXT, -1, None, self._types[raw[2]].value)
        else:
            p = engine.Production(event, TEXT, -1, None, None)
        if len(raw) > 1:
            p.next = states[raw[1]]
        if event == codes.SE_COMPLEX and len(raw) > 4:
            p.many = True
        if len(raw) > 6:
            p.limit, p.full = raw[5], states[raw[6]]
        return p


def load(schema: str, engine: Any, variant: str = "") -> Any:
    """The grammar of a set, linked for `engine`. Raises ValueError for a set that does not exist."""
    if schema not in FRAGMENT_SCHEMAS:
        raise ValueError(f"unknown schema {schema!r}: one of {', '.join(FRAGMENT_SCHEMAS)}")
    raw = read(schema)
    return Table(variants.libcbv2g(raw) if variant else raw, engine).grammar


loaded: dict[str, Any] = {}
"""The grammars that have been used, by schema; those of a variant by schema, slash, variant."""


def grammar(schema: str, variant: str = "") -> Any:
    """The grammar of a set, linked for the build in use. Raises ValueError for a set that does not exist."""
    key = f"{schema}/{variant}" if variant else schema
    if key not in loaded:
        loaded[key] = load(schema, build.engine(), variant)
    return loaded[key]
