"""Compares a committed EXI table with the grammars that EXIficient dumped (development tool).

Two grammars are the same when a walk through both in step finds, in every pair of states it reaches, the same events
in the same order, the same datatypes, the same kind of state and the same number of second-level events. EXIficient
unrolls repetitions and the tables count them, so a state of ours is paired together with its count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

EE, CH_UNTYPED, CH, AT, SE, SE_ANY, AT_ANY = range(7)

EVENTS = {
    EE: "END_ELEMENT",
    CH_UNTYPED: "CHARACTERS_GENERIC",
    CH: "CHARACTERS",
    AT: "ATTRIBUTE",
    SE: "START_ELEMENT",
    SE_ANY: "START_ELEMENT_GENERIC",
    AT_ANY: "ATTRIBUTE_GENERIC",
}
KINDS = (
    "SCHEMA_INFORMED_FIRST_START_TAG_CONTENT",
    "SCHEMA_INFORMED_START_TAG_CONTENT",
    "SCHEMA_INFORMED_ELEMENT_CONTENT",
)
BINARY = {"hex": "BinaryHexDatatype", "base64": "BinaryBase64Datatype"}


@dataclass
class Dump:
    """What ExiGrammarDump printed."""

    roots: dict[str, int] = field(default_factory=dict)
    kinds: dict[int, tuple[str, int]] = field(default_factory=dict)  # state -> kind, second-level events
    productions: dict[int, list[list[str]]] = field(default_factory=dict)


def parse(text: str) -> Dump:
    dump = Dump()
    state = -1
    for line in text.splitlines():
        part = line.split("\t")
        if part[0] == "ROOT":
            dump.roots[part[1]] = int(part[2])
        elif part[0] == "STATE":
            state = int(part[1])
            dump.kinds[state] = (part[2], int(part[3]))
            dump.productions[state] = []
        else:
            dump.productions[state].append(part)
    return dump


def datatype(entry: list[Any]) -> str:
    """A simple type of the table in the words of the dump."""
    match entry[0]:
        case "enum":
            return "|".join(["EnumerationDatatype", *entry[1]])
        case "boolean":
            return "BooleanDatatype"
        case "nbit":
            return f"NBitUnsignedIntegerDatatype|{entry[1]}|{entry[2]}"
        case "uint":
            return "UnsignedIntegerDatatype"
        case "int":
            return "IntegerDatatype"
        case "string":
            return "StringDatatype"
        case kind:
            return BINARY[kind]


Node = tuple[int, int, tuple[tuple[int, int], ...]]  # type, state, counts of the limited elements offered there


class Comparison:
    """Walks both grammars of one set. `differences` and the number of `pairs` are the result."""

    def __init__(self, table: dict[str, Any], dump: Dump) -> None:
        self.table = table
        self.types: list[list[Any]] = table["types"]
        self.dump = dump
        self.differences: list[str] = []
        self.pairs: set[tuple[Node, int]] = set()
        self._open: list[tuple[Node, int]] = []
        # Elements of simple type and their ends, which the tables do not spell out.
        self._simple: set[tuple[int, int]] = set()

    def run(self) -> None:
        roots = [[element, kind] for element, kind in self.table["roots"]]
        self._top("document", roots, ["START_ELEMENT_GENERIC"])
        fragment = [[element, kind] for element, kind in enumerate(self.table["fragment"])]
        self._top("fragment", fragment, ["START_ELEMENT_GENERIC", "END_DOCUMENT"])
        while self._open:
            self._state(*self._open.pop())

    def _name(self, element: int, attribute: bool = False) -> tuple[str, str]:
        local, uri = self.table["attributes" if attribute else "elements"][element]
        return local, self.table["uris"][uri]

    def _top(self, which: str, roots: list[list[int]], rest: list[str]) -> None:
        theirs = self.dump.productions[self.dump.roots[which]]
        if [p[0] for p in theirs] != ["START_ELEMENT"] * len(roots) + rest:
            self.differences.append(f"{which}: {len(roots)} roots, EXIficient has {len(theirs)} events")
        for (element, kind), their in zip(roots, theirs, strict=False):
            self._element(which, element, kind, their)

    def _element(self, where: str, element: int, kind: int, their: list[str]) -> None:
        if (their[2], their[3]) != self._name(element):
            self.differences.append(f"{where}: {self._name(element)} is {their[2:4]}")
        self._follow_type(where, kind, int(their[4]))

    def _follow_type(self, where: str, kind: int, state: int) -> None:
        entry = self.types[kind]
        if isinstance(entry[0], str):
            if (kind, state) not in self._simple:
                self._simple.add((kind, state))
                self._simple_type(where, entry, state)
        else:
            self._pair((kind, 0, ()), state)

    def _simple_type(self, where: str, entry: list[Any], state: int) -> None:
        productions = self.dump.productions[state]
        expected = [["CHARACTERS", datatype(entry)]]
        if [[p[0], p[2]] for p in productions] != expected or self.dump.kinds[state] != (KINDS[0], 7):
            self.differences.append(f"{where}: {expected} is {productions} {self.dump.kinds[state]}")
            return
        end = int(productions[0][1])
        if [p[0] for p in self.dump.productions[end]] != ["END_ELEMENT"] or self.dump.kinds[end] != (KINDS[2], 2):
            self.differences.append(f"{where}: after CH {self.dump.productions[end]} {self.dump.kinds[end]}")

    def _pair(self, node: Node, state: int) -> None:
        if (node, state) not in self.pairs:
            self.pairs.add((node, state))
            self._open.append((node, state))

    def _state(self, node: Node, state: int) -> None:
        kind, index, _counts = node
        ours = self.types[kind][index][1:]
        theirs = self.dump.productions[state]
        where = f"type {kind} state {index} (EXIficient {state})"
        level = self.types[kind][index][0]
        ends = any(p[0] == EE for p in ours)
        second = (2 if ends else 3) + (4, 2, 0)[level]
        if self.dump.kinds[state] != (KINDS[level], second):
            self.differences.append(f"{where}: {KINDS[level]} {second} is {self.dump.kinds[state]}")
        if [EVENTS[p[0]] for p in ours] != [p[0] for p in theirs]:
            self.differences.append(f"{where}: {[EVENTS[p[0]] for p in ours]} is {[p[0] for p in theirs]}")
            return
        for our, their in zip(ours, theirs, strict=True):
            self._production(where, node, our, their)

    def _production(self, where: str, node: Node, our: list[int], their: list[str]) -> None:
        event = our[0]
        if event == EE:
            return
        if event == SE:
            self._element(where, our[3], our[2], their)
        elif event == AT:
            if (their[2], their[3]) != self._name(our[3], attribute=True):
                self.differences.append(f"{where}: {self._name(our[3], attribute=True)} is {their[2:4]}")
            self._value(where, our, their[4])
        elif event == CH:
            self._value(where, our, their[2])
        self._pair(self._next(node, our), int(their[1]))

    def _value(self, where: str, our: list[int], their: str) -> None:
        if datatype(self.types[our[2]]) != their:
            self.differences.append(f"{where}: {datatype(self.types[our[2]])} is {their}")

    def _next(self, node: Node, our: list[int]) -> Node:
        """Where our production leads; repeated elements are counted while they are offered."""
        kind, _, counted = node
        counts = dict(counted)
        target = our[1]
        if our[0] == SE and len(our) > 4:
            counts[our[3]] = counts.get(our[3], 0) + 1
            if len(our) > 6 and counts[our[3]] == our[5]:
                target = our[6]
        offered = {p[3] for p in self.types[kind][target][1:] if p[0] == SE and len(p) > 6}
        return kind, target, tuple(sorted((e, n) for e, n in counts.items() if e in offered))
