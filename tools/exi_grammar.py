"""Turns the declarations of one schema set into EXI grammars and into the committed table (development tool).

The grammars are those of EXI 1.0 (W3C, second edition), chapter 8.5, schema-informed and non-strict: each state
is its list of first-level productions in event-code order; level 2 follows from the state's kind alone.

A repeated element is not unrolled. `x{m,M}` becomes m - 1 states, then one that loops; the production carries
`limit` M and `full`, the state that follows the M-th occurrence (where x is no longer offered, so the event codes
get narrower). The reader of the table counts occurrences by the length of the list it fills, so a limit is
allowed only where the element's name belongs to one particle of its type: the compiler checks that.
"""

from __future__ import annotations

from dataclasses import dataclass

from exi_xsd import Complex, Element, Particle, QName, Schemas, Simple, Unsupported

FORMAT = 1

# Kinds of states: they decide the second level of event codes (EXI 8.5.4.4).
FIRST, START, CONTENT = 0, 1, 2

# Events, as numbered in the table.
EE, CH_UNTYPED, CH, AT, SE, SE_ANY, AT_ANY = range(7)

RELAXED = "(relaxed)"


@dataclass(frozen=True)
class Production:
    event: int
    next: int = -1
    name: QName | None = None
    type: str = ""  # type key for SE and CH
    simple: Simple | None = None  # value type for AT and CH
    many: bool = False
    limit: int = 0
    full: int = -1


@dataclass
class State:
    kind: int
    productions: list[Production]


Grammar = list[State]


@dataclass
class _Position:
    """A place in the content model where an element is read (the position automaton of Glushkov)."""

    rank: tuple[int, int]  # SE(qname) in schema order, SE(*) after all of them
    elements: tuple[Element, ...]  # empty: wildcard
    many: bool
    limit: int = 0
    full: int = -1  # the position that stands for "read, and that was the last one allowed"


class _Model:
    """Position automaton of one content model: first, last and follow sets."""

    def __init__(self, content: Particle | None) -> None:
        self.positions: list[_Position] = []
        self.follow: list[set[int]] = []
        self._leaf = 0
        self.nullable, self.first, self.last = (True, set(), set()) if content is None else self._walk(content, False)
        for position in [p for p in self.positions if p.limit]:
            position.full = len(self.positions)
            index = self.positions.index(position)
            self.positions.append(_Position(position.rank, position.elements, True))
            self.follow.append(self.follow[index] - {index})
            if index in self.last:
                self.last = self.last | {position.full}

    def _position(self, position: _Position) -> int:
        self.positions.append(position)
        self.follow.append(set())
        return len(self.positions) - 1

    def _walk(self, p: Particle, many: bool) -> tuple[bool, set[int], set[int]]:
        many = many or p.most is None or p.most > 1
        if p.kind in ("element", "any"):
            return self._leaves(p, many)
        if p.most is not None and (p.least > 1 or p.most > 1):
            raise Unsupported("a group with a finite maxOccurs above 1")
        nullable, first, last = self._sequence(p, many) if p.kind == "sequence" else self._choice(p, many)
        if p.most is None:
            self._loop(first, last)
        return nullable or p.least == 0, first, last

    def _sequence(self, p: Particle, many: bool) -> tuple[bool, set[int], set[int]]:
        nullable, first, last = True, set[int](), set[int]()
        for part in p.parts:
            n, f, la = self._walk(part, many)
            for i in last:
                self.follow[i] |= f
            first = first | f if nullable else first
            last = last | la if n else la
            nullable = nullable and n
        return nullable, first, last

    def _choice(self, p: Particle, many: bool) -> tuple[bool, set[int], set[int]]:
        nullable, first, last = not p.parts, set[int](), set[int]()
        for part in p.parts:
            n, f, la = self._walk(part, many)
            nullable, first, last = nullable or n, first | f, last | la
        return nullable, first, last

    def _leaves(self, p: Particle, many: bool) -> tuple[bool, set[int], set[int]]:
        rank = (0 if p.elements else 1, self._leaf)
        self._leaf += 1
        chain: list[int] = []
        for _ in range(max(p.least - 1, 0)):
            chain.append(self._position(_Position(rank, p.elements, many)))
        if p.most is not None and p.most < max(p.least, 1):
            raise Unsupported("maxOccurs below minOccurs, or 0")
        repeats = p.most is None or p.most > max(p.least, 1)
        limit = p.most if p.most is not None and repeats else 0
        end = self._position(_Position(rank, p.elements, many, limit))
        if repeats:
            self.follow[end].add(end)
        for a, b in zip(chain, [*chain[1:], end], strict=False):
            self.follow[a].add(b)
        return p.least == 0, {(chain or [end])[0]}, {end}

    def _loop(self, first: set[int], last: set[int]) -> None:
        for i in last:
            self.follow[i] |= first


class _Builder:
    """Subset construction over the positions, attributes in front."""

    def __init__(self, schemas: Schemas, entry: Complex, key: str) -> None:
        self.entry = entry
        self.key = key
        self.model = _Model(entry.content)
        self.states: Grammar = []
        self._known: dict[frozenset[int] | None, int] = {}
        self._check_limits()

    def _check_limits(self) -> None:
        """A limit is counted by the length of the list under the element's name: one particle for each such name."""
        owners: dict[str, set[tuple[int, int]]] = {}
        for p in self.model.positions:
            for element in p.elements:
                owners.setdefault(element.name[0], set()).add(p.rank)
        for p in self.model.positions:
            if p.limit and (len(p.elements) != 1 or len(owners[p.elements[0].name[0]]) != 1):
                raise Unsupported(f"{self.key}: a counted element that is not alone under its name")

    def build(self) -> Grammar:
        attributes = self.entry.attributes
        count = len(attributes)
        # Start-tag states come first: state i offers the attributes from i on.
        self.states = [State(START if i else FIRST, []) for i in range(count + 1)]
        if self.entry.text is not None:
            content = [Production(CH, self._end(), simple=self.entry.text)]
        else:
            content = self._content(None)
        for i in range(count + 1):
            mine: list[Production] = []
            for j in range(i, count):
                mine.append(Production(AT, j + 1, attributes[j].name, simple=attributes[j].type))
                if attributes[j].required:
                    break
            else:
                mine.extend(content)
            self.states[i].productions = mine
        return self.states

    def _end(self) -> int:
        self.states.append(State(CONTENT, [Production(EE)]))
        return len(self.states) - 1

    def _state(self, members: frozenset[int] | None) -> int:
        """The content state after reading one of `members` (None: before the first child)."""
        if members not in self._known:
            self._known[members] = len(self.states)
            state = State(CONTENT, [])
            self.states.append(state)
            state.productions = self._content(members)
        return self._known[members]

    def _content(self, members: frozenset[int] | None) -> list[Production]:
        model = self.model
        if members is None:
            reach, ends = set(model.first), model.nullable
        else:
            reach = set().union(*(model.follow[m] for m in members))
            ends = bool(members & model.last)
        labels: dict[tuple[tuple[int, int], int], tuple[Element | None, set[int]]] = {}
        seen: dict[QName | None, tuple[tuple[int, int], int]] = {}
        for index in sorted(reach, key=lambda i: model.positions[i].rank):
            position = model.positions[index]
            for order, element in enumerate(position.elements or (None,)):
                name = element.name if element else None
                place = seen.setdefault(name, (position.rank if element else (1, 0), order))
                known = labels.setdefault(place, (element, set()))
                if known[0] != element:
                    raise Unsupported(f"{self.key}: {name} has two types")
                known[1].add(index)
        productions = [self._read(element, targets) for _, (element, targets) in sorted(labels.items())]
        if ends:
            productions.append(Production(EE))
        if self.entry.mixed:
            productions.append(Production(CH_UNTYPED, self._state(members)))
        return productions

    def _read(self, element: Element | None, targets: set[int]) -> Production:
        positions = [self.model.positions[t] for t in targets]
        target = self._state(frozenset(targets))
        if element is None:
            return Production(SE_ANY, target)
        many = any(p.many for p in positions)
        limited = [p for p in positions if p.limit]
        if not limited:
            return Production(SE, target, element.name, element.type, many=many)
        if len(positions) != 1:
            raise Unsupported(f"{self.key}: ambiguous counted element")
        full = self._state(frozenset({limited[0].full}))
        return Production(SE, target, element.name, element.type, many=many, limit=limited[0].limit, full=full)


def complex_grammar(schemas: Schemas, key: str) -> Grammar:
    """The element grammar of a complex type; state 0 is where the start tag has just been read."""
    return _Builder(schemas, schemas.complex[key], key).build()


def relaxed_grammar(schemas: Schemas, element: QName) -> Grammar:
    """The schema-informed element fragment grammar (EXI 8.5.3): for a qname that is declared with different types.

    It offers every attribute of the set, several of the same local name among them. Those that no type of `element`
    has are marked (`many`), so that the local name alone stands for the one that belongs there.
    """
    own = {
        attribute.name
        for key in schemas.declared[element]
        if key in schemas.complex
        for attribute in schemas.complex[key].attributes
    }
    start, body = State(FIRST, []), State(CONTENT, [])
    for name in sorted(schemas.attributes):
        types = schemas.attributes[name]
        simple = next(iter(types)) if len(types) == 1 else Simple("string")
        foreign = name not in own and any(other[0] == name[0] for other in own)
        start.productions.append(Production(AT, 0, name, simple=simple, many=foreign))
    start.productions.append(Production(AT_ANY, 0))
    children = [Production(SE, 1, name, fragment_type(schemas, name), many=True) for name in sorted(schemas.declared)]
    rest = [*children, Production(SE_ANY, 1), Production(EE), Production(CH_UNTYPED, 1)]
    start.productions += rest
    body.productions = rest
    return [start, body]


def fragment_type(schemas: Schemas, name: QName) -> str:
    """The type key under which an element of a fragment is read: `(relaxed)` and its name if it has several types."""
    types = schemas.declared[name]
    return next(iter(types)) if len(types) == 1 else f"{RELAXED}{{{name[1]}}}{name[0]}"


# -- the table ---------------------------------------------------------------------------------------------------


def _simple_entry(simple: Simple) -> list[object]:
    """A simple type as the table spells it: its coding first, then what the coding or the checks need."""
    match simple.base:
        case "enum":
            return ["enum", list(simple.values)]
        case "boolean":
            return ["boolean"]
        case "integer":
            low, high = simple.low, simple.high
            if low is not None and high is not None and high - low < 4096:
                return ["nbit", low, high]
            return ["uint" if low is not None and low >= 0 else "int", low, high]
        case base:
            return [base, simple.min_length, simple.max_length]


class Table:
    """Collects names and types in the order of first use, which is fixed by the schemas."""

    def __init__(self, schema: str, schemas: Schemas) -> None:
        self.schema = schema
        self.schemas = schemas
        self.uris = sorted({uri for _, uri in [*schemas.declared, *schemas.attributes]})
        self.elements = sorted(schemas.declared)
        self.attributes = sorted(schemas.attributes)
        self.types: list[object] = []
        self._index: dict[object, int] = {}

    def _simple(self, simple: Simple) -> int:
        if simple not in self._index:
            self._index[simple] = len(self.types)
            self.types.append(_simple_entry(simple))
        return self._index[simple]

    def _type(self, key: str) -> int:
        if key in self.schemas.simple:
            return self._simple(self.schemas.simple[key])
        if key not in self._index:
            self._index[key] = len(self.types)
            self.types.append(None)
            if key.startswith(RELAXED):
                element = next(n for n in self.elements if fragment_type(self.schemas, n) == key)
                grammar = relaxed_grammar(self.schemas, element)
            else:
                grammar = complex_grammar(self.schemas, key)
            self.types[self._index[key]] = [[s.kind, *map(self._production, s.productions)] for s in grammar]
        return self._index[key]

    def _production(self, p: Production) -> list[int]:
        if p.event == EE:
            return [EE]
        if p.event in (CH_UNTYPED, SE_ANY, AT_ANY):
            return [p.event, p.next]
        if p.event == CH:
            assert p.simple is not None
            return [CH, p.next, self._simple(p.simple)]
        assert p.name is not None
        if p.event == AT:
            assert p.simple is not None
            out = [AT, p.next, self._simple(p.simple), self.attributes.index(p.name)]
            return [*out, 1] if p.many else out
        out = [SE, p.next, self._type(p.type), self.elements.index(p.name)]
        if p.limit:
            return [*out, 1, p.limit, p.full]
        return [*out, 1] if p.many else out

    def build(self) -> dict[str, object]:
        roots = [[self.elements.index(n), self._type(e.type)] for n, e in sorted(self.schemas.roots.items())]
        fragment = [self._type(fragment_type(self.schemas, n)) for n in self.elements]
        return {
            "format": FORMAT,
            "schema": self.schema,
            "uris": self.uris,
            "elements": [[local, self.uris.index(uri)] for local, uri in self.elements],
            "attributes": [[local, self.uris.index(uri)] for local, uri in self.attributes],
            "roots": roots,
            "fragment": fragment,
            "types": self.types,
        }
