"""Makes contents for messages from the grammar tables: a random walk through the states of the root element."""

from __future__ import annotations

import base64
from functools import cache
from random import Random
from typing import Any

from plugtap.protocols.exi import tables

EE, CH_UNTYPED, CH, AT, SE, SE_ANY, AT_ANY = range(7)

NEVER = 1 << 20

LETTERS = "abcXYZ019-._:/# äßЖ漢🔌"


def messages(schema: str) -> list[str]:
    """The names of all messages of a set: the roots, or the elements of the Body."""
    raw = read(schema)
    if schema in tables.WRAPPED:
        root = next(kind for element, kind in raw.roots if raw.elements[element][0] == "V2G_Message")
        body = next(p[2] for s in raw.types[root] for p in s[1:] if p[0] == SE and raw.elements[p[3]][0] == "Body")
        return [raw.elements[p[3]][0] for p in raw.types[body][0][1:] if p[0] == SE]
    names = [raw.elements[element][0] for element, _ in raw.roots]
    return [name for name in names if name.endswith(("Req", "Res"))]


read = cache(tables.read)
_ends: dict[tuple[str, int], list[int]] = {}  # for each state of a type, the least number of events to its end


class Maker:
    """Contents of one set. `most` bounds the repetitions of an element."""

    def __init__(self, schema: str, random: Random, most: int = 3) -> None:
        self.raw = read(schema)
        self.schema = schema
        self.random = random
        self.most = most

    def message(self, name: str) -> dict[str, Any]:
        """A message by its name, in its V2G_Message where the set has that."""
        root = "V2G_Message" if self.schema in tables.WRAPPED else name
        kind = next(kind for element, kind in self.raw.roots if self.raw.elements[element][0] == root)
        return {root: self.content(kind, prefer=name)}

    def element(self, name: str) -> dict[str, Any]:
        """Any element of the set by its name, as the root of a fragment."""
        index = next(i for i, (local, _) in enumerate(self.raw.elements) if local == name)
        return {name: self.content(self.raw.fragment[index])}

    def content(self, kind: int, prefer: str = "") -> Any:
        entry = self.raw.types[kind]
        if isinstance(entry[0], str):
            return self.value(entry)
        out: dict[str, Any] = {}
        state = 0
        while True:
            p = self._choose(kind, state, out, prefer)
            event = p[0]
            if event == EE:
                return out
            state = p[1]
            if event == SE:
                state = self._child(out, p, prefer)
            elif event == AT:
                out["@" + self.raw.attributes[p[3]][0]] = self.value(self.raw.types[p[2]])
            elif event == CH:
                out["#text"] = self.value(self.raw.types[p[2]])
            else:
                out["#text"] = out.get("#text", "") + (self._text(1, 5) or "x")

    def _child(self, out: dict[str, Any], p: list[int], prefer: str) -> int:
        name = self.raw.elements[p[3]][0]
        value = self.content(p[2], prefer)
        if len(p) < 5:
            out[name] = value
            return p[1]
        entries = out.setdefault(name, [])
        entries.append(value)
        return p[6] if len(p) > 6 and len(entries) == p[5] else p[1]

    def _choose(self, kind: int, state: int, out: dict[str, Any], prefer: str) -> list[int]:
        """One of the productions from which the element can end; the way to the end once there is enough content."""
        productions = [p for p in self.raw.types[kind][state][1:] if self._steps(kind, p) < NEVER]
        for p in productions:
            if p[0] == SE and prefer == self.raw.elements[p[3]][0]:
                return p
        if "#text" in out or any(isinstance(v, list) and len(v) >= self.most for v in out.values()):
            return min(productions, key=lambda p: self._steps(kind, p))
        return self.random.choice(productions)

    def can_end(self, name: str) -> bool:
        """Whether an element can be made at all: some need content that the schema leaves open."""
        index = next(i for i, (local, _) in enumerate(self.raw.elements) if local == name)
        return self._to_end(self.raw.fragment[index])[0] < NEVER

    def _steps(self, kind: int, p: list[int]) -> int:
        if p[0] == EE:
            return 0
        if p[0] in (SE_ANY, AT_ANY) or (p[0] == SE and self._to_end(p[2])[0] >= NEVER):
            return NEVER
        return 1 + self._to_end(kind)[p[1]]

    def _to_end(self, kind: int) -> list[int]:
        key = (self.schema, kind)
        if key not in _ends:
            entry = self.raw.types[kind]
            if isinstance(entry[0], str):
                _ends[key] = [0]
            else:
                _ends[key] = [NEVER] * len(entry)
                for _ in entry:
                    _ends[key] = [min(self._steps(kind, p) for p in state[1:]) for state in entry]
        return _ends[key]

    def value(self, entry: list[Any]) -> Any:
        random = self.random
        match entry[0]:
            case "enum":
                return random.choice(entry[1])
            case "boolean":
                return random.random() < 0.5
            case "nbit" | "uint" | "int":
                low = entry[1] if entry[1] is not None else -(1 << 200)
                high = entry[2] if entry[2] is not None else 1 << 200
                edges = [v for v in (low, high, 0, 1, -1, 127, 128, 16383, 16384, -128, -129, -16385, 1 << 62, 1 << 63) if low <= v <= high]
                return random.choice(edges) if random.random() < 0.5 else random.randint(low, min(high, low + (1 << 20)))
            case "string":
                return self._text(entry[1], entry[2])
            case kind:
                least, most = entry[1], entry[2]
                size = random.choice([least, most if most is not None and most < 70 else least + 9, least + (most is None or most > least)])
                data = random.randbytes(size)
                return data.hex().upper() if kind == "hex" else base64.b64encode(data).decode()

    def _text(self, least: int, most: int | None) -> str:
        most = least + 30 if most is None else min(most, least + 30)
        return "".join(self.random.choice(LETTERS) for _ in range(self.random.randint(least, most)))
