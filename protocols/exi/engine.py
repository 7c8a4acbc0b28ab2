"""The table-driven EXI decoder: grammar nodes and the reader of the bit stream.

EXI 1.0 (W3C Recommendation, second edition), bit-packed, schema-informed, non-strict, without an options document:
the profile of DIN SPEC 70121 and ISO 15118-2/-20. This one source is used twice: as it stands, and compiled by
Cython with the C types of `engine.pxd` (see `build.py`).

How it is made fast, in both builds:

- The stream is read through a window: `acc` holds the bits that end at bit `top`, of which `left` are
  not read yet, so reading is one subtraction, one shift and one mask. C takes a window of 64 bits, plain Python one of WINDOW bytes.
- An element of simple type is three events (SE, CH, EE) whose codes are zeros unless something unusual comes. They
  are read together with the value, and one look-up or comparison covers them. When it fails, the same place is read again
  step by step (`careful`), which finds out what is there.
- Nesting is a chain of frames that is used again for every message, not recursion.
- The plain build fills an element's dictionary key by key. The compiled one collects the values and makes the
  dictionary in one go when the element ends (`Shape`).
- Messages repeat most of what the one before them said. A small element whose bits are those that were read at the same
  place of the grammar last time is a copy of what they meant then (`Memo`).

A state's event code has ceil(log2(n + 1)) bits for n productions: the last code is the escape to the second level,
which the non-strict grammars always have.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, NoReturn

from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi.result import Decoded

try:
    import cython
except ImportError:  # plain Python without Cython: nothing but `cython.compiled` is asked of it
    from plugtap.protocols.exi import nocython as cython

if not cython.compiled and TYPE_CHECKING:  # only the compiled build calls them, and has them from engine_native.h
    from plugtap.protocols.exi.engine_native import drop, keep, layout, load, record

COMPILED: bool = cython.compiled

# Kinds of grammar states (they decide the second level of event codes, EXI 8.5.4.4).
FIRST = 0
START = 1
CONTENT = 2

# What a production reads. The first seven are the events of the table files, the others are SE of simple types.
EE = 0
CH_UNTYPED = 1
CH = 2
AT = 3
SE_COMPLEX = 4
SE_ANY = 5
AT_ANY = 6
SE_SIMPLE = 7
SE_FIXED = 8
SE_NUMBER = 9
UNUSUAL = 10

# How a value is coded (EXI 7.1).
ENUM = 0
BOOLEAN = 1
NBIT = 2
UINT = 3
INT = 4
HEX = 5
BASE64 = 6
STRING = 7

VALUE_KINDS = {
    "enum": ENUM,
    "boolean": BOOLEAN,
    "nbit": NBIT,
    "uint": UINT,
    "int": INT,
    "hex": HEX,
    "base64": BASE64,
    "string": STRING,
}

WINDOW = 32  # bytes of the plain build's window
MAX_NOTES = 30
MAX_GROUPS = 64  # 7-bit groups of one integer: 448 bits, more than any certificate's serial number
DIGITS = b"0123456789ABCDEF"
TABLE_WIDTH = 8  # bits of a value that is looked up together with the codes around it
USUAL_VALUES = 64  # values of open elements that there is room for from the start
MAX_SHAPES = 1024  # that are remembered of one set; sessions need less than 400
WORTH_A_MODEL = 2  # uses of a shape after which it gets a model
NESTED = -1
WORD = 56  # bits that are compared at once
GLOBAL = -2  # the slot of the global string partition
MISS = object()
EASY = 1 << 14  # integers of up to two groups are below this


class Value:
    """A simple type. `values` lists what a fixed-width code stands for; `low` and `high` bound a number or a length."""

    __slots__ = ("_tables", "high", "kind", "low", "size", "values", "width")

    def __init__(self, kind: int, width: int, values: tuple[Any, ...], low: int | None, high: int | None) -> None:
        self.kind = kind
        self.width = width
        self.values = values
        self.size = len(values)
        self.low = low
        self.high = high
        self._tables: dict[int, tuple[Any, ...]] = {}

    def easy(self) -> bool:
        """An integer type whose bounds hold for every number of up to two groups."""
        if self.kind not in (UINT, INT):
            return False
        least = -EASY if self.kind == INT else 0
        return (self.low is None or self.low <= least) and (self.high is None or self.high >= EASY - 1)

    def table(self, lead: int) -> tuple[Any, ...]:
        """The value for each pattern of (event code,) CH, value, EE; MISS for all that are unusual."""
        if lead not in self._tables:
            patterns: list[Any] = [MISS] * (1 << (self.width + 2 + lead))
            patterns[: 2 * self.size : 2] = list(self.values)
            self._tables[lead] = tuple(patterns)
        return self._tables[lead]


class Production:
    """One event: what is read (`op`), under which `key` it is stored, and the state that follows (`next`).

    `limit` above 0: when the list under `key` has that many entries, `full` follows instead of `next`. `slot` names
    the string partition of the element or attribute. `start` is the first state of a complex type, linked when first
    needed.

    The fast path reads `width` bits at once, `mask` cuts them out. For SE_FIXED and SE_NUMBER they are an index into
    `table`, where numbers of one group are; for longer numbers the bits in `guard` have to be zero. For all others
    every bit has to be zero.
    """

    __slots__ = (
        "full",
        "guard",
        "key",
        "limit",
        "many",
        "mask",
        "memo",
        "next",
        "op",
        "slot",
        "start",
        "table",
        "type",
        "value",
        "width",
    )

    def __init__(self, op: int, key: str, slot: int, type: Type | None, value: Value | None) -> None:
        self.op = op
        self.key = key
        self.slot = slot
        self.type = type
        self.value = value
        self.many = False
        self.limit = 0
        self.width = 0
        self.mask = 0
        self.guard = 0
        self.table: tuple[Any, ...] = ()
        self.start: State | None = None
        self.memo: Memo | None = None
        self.next: State | None = None
        self.full: State | None = None

    def fast(self, lead: int) -> Production:
        """This production with what its fast path needs. `lead` 1: with the event code, which is one bit, in front."""
        p = Production(self.op, self.key, self.slot, self.type, self.value)
        p.many, p.limit, p.next, p.full = self.many, self.limit, self.next, self.full
        value = self.value
        if self.op == SE_SIMPLE and value.values and value.width <= TABLE_WIDTH:
            p.op = SE_FIXED
            p.width = value.width + 2  # CH, value, EE
            p.table = value.table(lead)
        elif self.op == SE_SIMPLE and value.easy():
            p.op = SE_NUMBER
            signed = 1 if value.kind == INT else 0
            p.width = 10 + signed  # CH, sign, the first group, and the bit after it
            p.guard = (1 << (9 + signed) << lead) | (1 << (9 + signed))
            p.table = NUMBERS[signed]
        p.width += lead
        p.mask = (1 << p.width) - 1
        return p


class State:
    """A grammar state: productions in the order of their event codes.

    `only`: the single production, to be read with its event code, 0. In other states the code comes first.
    """

    __slots__ = ("count", "ends", "kind", "mask", "only", "productions", "width")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.count = 0
        self.width = 0
        self.mask = 0
        self.ends = False
        self.only: Production | None = None
        self.productions: list[Production] = []

    def fill(self, productions: list[Production]) -> None:
        self.productions = [p.fast(0) for p in productions]
        self.count = len(productions)
        self.width = self.count.bit_length()  # ceil(log2(count + 1))
        self.mask = (1 << self.width) - 1
        self.ends = any(p.op == EE for p in productions)
        self.only = productions[0].fast(1) if self.count == 1 else None

    def second_level(self) -> int:
        """How many second-level events the state has: EE where the first level has none, xsi:type and xsi:nil,
        AT(*) and AT with an untyped value, SE(*), CH (EXI 8.5.4.4, all fidelity options off)."""
        return (2 if self.ends else 3) + (4 if self.kind == FIRST else 2 if self.kind == START else 0)


class Shape:
    """The children that an element has so far, in their order. Only the compiled build uses it.

    Elements of one type mostly have the same children. Their values wait on a stack; when the element ends, a copy
    of a dictionary that has the keys already, the `model`, takes them. That is much faster than to add key by key. `via`
    and `next` are the production that led on last time, and to which shape; `before` and `then` are the same for the time
    before (a Body has requests and responses in turn); `others` are all that did.
    """

    __slots__ = ("before", "count", "first", "keys", "model", "nested", "next", "others", "shapes", "then", "uses", "via")

    def __init__(self, shapes: Shapes, keys: tuple[str, ...], nested: tuple[bool, ...]) -> None:
        self.shapes = shapes
        self.keys = keys
        self.nested = nested  # for each key, whether its value is an element with children, or a list
        self.count = len(keys)
        self.via: Production | None = None
        self.next: Shape | None = None
        self.before: Production | None = None
        self.then: Shape | None = None
        self.others: dict[Production, Shape] = {}
        self.uses = 0
        self.model: dict[str, Any] | None = None
        self.first = 0

    def follow(self, p: Production) -> Shape:
        """The shape after one more child, read by `p`."""
        shape = self.then if self.before is p else self.others.get(p)
        if shape is None:
            self.shapes.one_more()
            shape = Shape(self.shapes, (*self.keys, p.key), (*self.nested, p.many or p.op == SE_COMPLEX))
            self.others[p] = shape
        self.before, self.then = self.via, self.next
        self.via, self.next = p, shape
        return shape

    def finish(self, values: list[Any], base: int) -> dict[str, Any]:
        """The element, whose values are in `values` from `base` on; there they are gone afterwards."""
        if self.first:
            return record(self.model, self.first, values, base, self.count)
        self.uses += 1
        if self.uses == WORTH_A_MODEL and self.count:
            self.model = {key: object() for key in self.keys}
            first = layout(self.model)
            for key, nested in zip(self.keys, self.nested, strict=True):
                # A dictionary as value, so that the garbage collector minds the model's copies as it should.
                self.model[key] = {} if nested else None
            self.first = first
        return self.part(values, base)

    def part(self, values: list[Any], base: int) -> dict[str, Any]:
        """The same without a model."""
        return dict(zip(self.keys, drop(values, base, self.count), strict=True))


class Memo:
    """The last content of a small element at one place of the grammar: `size` bits and what they mean.

    Only of elements without children of their own, lists and strings (see `Type.wordless`): there the same bits mean
    the same, whatever was read before. The plain build has the bits in `first` and their mask in `head`, the compiled
    one in `first` (`head` bits, at most WORD) and `second`.
    """

    __slots__ = ("content", "first", "head", "second", "size")

    def __init__(self, size: int, head: int, first: int, second: int, content: dict[str, Any]) -> None:
        # Never changed afterwards: another thread may be reading with it.
        self.size = size
        self.head = head
        self.first = first
        self.second = second
        self.content = content


class Shapes:
    """The shapes of a schema set. Hostile messages could have any number of different ones: when there are more than
    MAX_SHAPES all are forgotten, and those that are needed come again."""

    __slots__ = ("count", "types")

    def __init__(self) -> None:
        self.count = 0
        self.types: list[Type] = []

    def one_more(self) -> None:
        self.count += 1
        if self.count > MAX_SHAPES:
            self.count = 1
            for type in self.types:
                type.shape = Shape(self, (), ())


class Type:
    """An element's type: a simple one has `value`; a complex one has `raw` states, linked on first use."""

    __slots__ = ("raw", "shape", "start", "table", "value", "wordless")

    def __init__(self, value: Value | None, raw: list[Any] | None, table: Any) -> None:
        self.value = value
        self.raw = raw
        self.start: State | None = None
        self.shape: Shape | None = None
        if raw is not None:
            self.shape = Shape(table.shapes, (), ())
            table.shapes.types.append(self)
        self.wordless = True  # neither its text nor that of its children without children is a string
        self.table = table

    def first(self) -> State:
        """The state after the start tag."""
        if self.start is None:
            self.start, states = self.table.link(self.raw)
            for state in states:
                for p in state.productions:
                    if p.op == CH_UNTYPED or (p.value is not None and p.value.kind == STRING):
                        self.wordless = False
            self.raw = None
        return self.start


def _ending() -> State:
    state = State(CONTENT)
    state.only = Production(EE, "", -1, None, None)
    return state


def _unusual() -> Production:
    p = Production(UNUSUAL, "", -1, None, None)
    p.table = (MISS,)
    return p


CLOSED = _ending()  # an element that has ended: nothing more is read
ESCAPE = _unusual()  # what an event code beyond the productions stands for


class Frame:
    """An open element: how it began (`production`), at which bit (`start`; NESTED when it has children that have children,
    or lists), and what was read of it so far.

    That is a dictionary (`out`) in the plain build; in the compiled one `shape`, and as many values from `base` on. The
    innermost's are kept by `Reader.element`, which writes them here before it calls what needs them.
    """

    __slots__ = ("base", "depth", "inner", "out", "outer", "production", "shape", "start")

    def __init__(self, outer: Frame | None) -> None:
        self.outer = outer
        self.inner: Frame | None = None
        self.depth: int = 1 if outer is None else outer.depth + 1
        self.production: Production | None = None
        self.start = 0
        self.base = 0
        self.shape: Shape | None = None
        self.out: Any = None


class Reader:
    """Decodes one EXI body after the other. Every failure is a DecodeError whose offset is the bit where the failing
    read began."""

    __slots__ = (
        "acc",
        "buffer",
        "data",
        "end",
        "entries",
        "frame",
        "key",
        "literals",
        "max_depth",
        "max_entries",
        "notes",
        "outermost",
        "partitions",
        "pos",
        "scratch",
        "top",
        "values",
    )

    def __init__(self) -> None:
        self.outermost = Frame(None)  # that of the root, where `start` does not matter
        if cython.compiled:
            self.values: list[Any] = [None] * USUAL_VALUES
        else:
            self.scratch = b""

    def open(self, data: bytes, pos: int, max_depth: int, max_entries: int) -> None:
        """Begins with `data` at bit `pos`."""
        self.data = data
        self.buffer = data
        self.end = 8 * len(data)
        self.pos = pos
        self.acc = 0
        self.top = 0
        self.key = ""
        self.max_depth = max_depth
        self.max_entries = max_entries
        self.entries = 0
        self.notes: list[str] | None = None
        self.frame: Frame | None = None
        # The literal strings with the slots of their partitions, in turn; and sorted by slot once that is needed.
        self.literals: list[Any] | None = None
        self.partitions: dict[int, list[str]] | None = None

    def close(self) -> None:
        """Forgets the message."""
        self.data = b""
        self.notes = self.literals = self.partitions = self.frame = None

    # -- bits ----------------------------------------------------------------------------------------------------

    def refill(self, left: int, width: int) -> int:
        """Moves the window to the byte of the current bit, which has `left` bits between it and the window's end.

        Returns how many bits are left then, or -1 when fewer than `width` are left in the message.
        """
        pos = self.top - left
        if pos + width > self.end:
            return -1
        start = pos >> 3
        if cython.compiled:
            size = min((self.end >> 3) - start, 8)
            if size == 8:
                self.acc = load(self.buffer, start)
            else:
                word = 0
                for i in range(start, start + size):
                    word = (word << 8) | self.buffer[i]
                self.acc = word
        else:
            chunk = self.data[start : start + WINDOW]
            size = len(chunk)
            self.acc = int.from_bytes(chunk, "big")
        self.top = 8 * (start + size)
        return self.top - pos

    def bits(self, width: int) -> int:
        """The next `width` bits (1 to 56) as an unsigned integer."""
        after = self.pos + width
        if after > self.top and self.refill(self.top - self.pos, width) < 0:
            self.cut(width)
        self.pos = after
        return (self.acc >> (self.top - after)) & ((1 << width) - 1)

    def cut(self, width: int) -> None:
        self.fail(self.pos, f"the message ends: {width} bits wanted, {self.end - self.pos} left")

    def fail(self, offset: int, reason: str) -> NoReturn:
        raise DecodeError("exi", offset, reason)

    def note(self, text: str) -> None:
        if self.notes is None:
            self.notes = []
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)
        elif len(self.notes) == MAX_NOTES:
            self.notes.append("more notes are left out")

    def unsigned(self) -> Any:
        """Unsigned Integer (EXI 7.1.6): groups of 7 bits, least significant first, high bit: more follow."""
        start = self.pos
        group = self.bits(8)
        small = group & 127
        shift = 7
        while group > 127:
            if shift == 63:
                return self.long_unsigned(small, start)
            group = self.bits(8)
            small |= (group & 127) << shift
            shift += 7
        return small

    def long_unsigned(self, small: Any, start: int) -> Any:
        """The rest of an integer of more than 63 bits."""
        value = small
        shift = 63
        more = True
        while more:
            if shift >= 7 * MAX_GROUPS:
                self.fail(start, f"an integer of more than {7 * MAX_GROUPS} bits")
            group: Any = self.bits(8)
            value |= (group & 127) << shift
            more = group > 127
            shift += 7
        return value

    def length(self) -> int:
        """An Unsigned Integer that counts bytes or characters: checked against what is left."""
        start = self.pos
        value = self.unsigned()
        left = (self.end - self.pos) >> 3
        if value > left + 2:  # strings count from 2
            self.fail(start, f"a length of {value} with {left} bytes left")
        return int(value)

    def octets(self, count: int) -> bytes:
        """`count` bytes from any bit position."""
        start = self.skip(count)
        shift = start & 7
        start >>= 3
        if shift == 0:
            return self.data[start : start + count]
        if cython.compiled:
            raw = bytearray(count)
            target = raw
            for i in range(count):
                target[i] = (self.buffer[start + i] << shift | self.buffer[start + i + 1] >> (8 - shift)) & 255
            return bytes(raw)
        whole = int.from_bytes(self.data[start : start + count + 1], "big") >> (8 - shift)
        return (whole & ((1 << (8 * count)) - 1)).to_bytes(count, "big")

    # The compiled build may read the byte after the last: a bytes object ends with a zero that is not counted.

    def skip(self, count: int) -> int:
        """Steps over `count` bytes; the bit where they begin."""
        pos = self.pos
        if pos + 8 * count > self.end:
            self.cut(8 * count)
        self.pos = pos + 8 * count
        return pos

    def hexadecimal(self, count: int) -> str:
        """`count` bytes as upper-case hexadecimal digits."""
        if cython.compiled and count <= 32:
            start = self.skip(count)
            shift = start & 7
            start >>= 3
            target: Any = self.scratch
            for i in range(count):
                byte = (self.buffer[start + i] << shift | self.buffer[start + i + 1] >> (8 - shift)) & 255
                target[2 * i] = DIGITS[byte >> 4]
                target[2 * i + 1] = DIGITS[byte & 15]
            text: str = target[: 2 * count].decode("ascii")
            return text
        return self.octets(count).hex().upper()

    # -- values --------------------------------------------------------------------------------------------------

    def string(self, slot: int) -> str:
        """String (EXI 7.1.10, 7.3.3): a literal, or a hit in the local or global value partition."""
        start = self.pos
        length = self.length()
        if length < 2:
            return self.hit(length, slot, start)
        if length == 2:
            return ""
        text = self.characters(length - 2)
        if not text.isprintable():
            self.note(f"{self.key}: unprintable characters")
        if self.partitions is not None:
            self.partitions.setdefault(slot, []).append(text)
            self.partitions[GLOBAL].append(text)
            return text
        if self.literals is None:
            self.literals = []
        self.literals.append(slot)
        self.literals.append(text)
        return text

    def characters(self, count: int) -> str:
        """Code points, each an Unsigned Integer: below 128 a character is one byte."""
        begin = self.pos
        if begin + 8 * count <= self.end:
            raw = self.octets(count)
            if raw.isascii():
                return raw.decode("ascii")
            self.pos = begin
            self.top = 0
        points: list[str] = []
        for _ in range(count):
            at = self.pos
            point = self.unsigned()
            if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                self.fail(at, f"character code {point} does not exist")
            points.append(chr(point))
        return "".join(points)

    def hit(self, where: int, slot: int, start: int) -> str:
        """A string seen before: `where` 0 is the partition of the same element or attribute, 1 the global one."""
        if self.partitions is None:
            literals = self.literals or []
            self.partitions = {GLOBAL: literals[1::2]}
            for i in range(0, len(literals), 2):
                self.partitions.setdefault(literals[i], []).append(literals[i + 1])
        found: list[str] = self.partitions.get(GLOBAL if where == 1 else slot, [])
        if not found:
            self.fail(start, "a string-table hit in an empty partition")
        width = (len(found) - 1).bit_length()
        index = self.bits(width) if width else 0
        if index >= len(found):
            self.fail(start, f"string-table entry {index} of {len(found)}")
        return found[index]

    def read_value(self, v: Value, slot: int) -> Any:
        """A value of simple type `v`. Facets are no part of the coding: a violation is noted."""
        kind = v.kind
        if kind in (ENUM, BOOLEAN, NBIT):
            return self.fixed(v)
        if kind in (UINT, INT):
            return self.number(v)
        if kind == STRING:
            text = self.string(slot)
            size = len(text)
        else:
            size = self.length()
            if kind == HEX:
                text = self.hexadecimal(size)
            else:
                text = b2a_base64(self.octets(size), newline=False).decode("ascii")
        if v.high is not None and size > v.high:
            self.note(f"{self.key}: length {size}, at most {v.high} allowed")
        elif size < v.low:
            self.note(f"{self.key}: length {size}, at least {v.low} required")
        return text

    def fixed(self, v: Value) -> Any:
        start = self.pos
        code = self.bits(v.width) if v.width else 0
        if code < v.size:
            return v.values[code]
        if v.kind == ENUM:
            self.fail(start, f"{self.key}: enumeration index {code} of {v.size}")
        number = v.low + code
        self.note(f"{self.key}: {number} is outside {v.low}..{v.high}")
        return number

    def number(self, v: Value) -> Any:
        negative = v.kind == INT and self.bits(1) == 1
        number = self.unsigned()
        if negative:
            number = -1 - number
        if (v.low is not None and number < v.low) or (v.high is not None and number > v.high):
            self.note(f"{self.key}: {number} is outside {v.low}..{v.high}")
        return number

    # -- grammar -------------------------------------------------------------------------------------------------

    def simple(self, p: Production) -> Any:
        """An element of simple type, step by step: CH and EE are one bit each, 0; the escape: an empty element."""
        self.key = p.key
        if self.bits(1):
            # The second level of a first start-tag state that has no EE: 7 events.
            code = self.bits(3)
            if code:
                self.fail(self.pos - 4, f"undeclared content (second-level event {code} of 7)")
            if p.value.kind < HEX:
                self.note(f"{p.key}: empty")
            return ""
        value = self.read_value(p.value, p.slot)
        if self.bits(1):
            self.fail(self.pos - 1, "undeclared content after the value")
        return value

    def escape(self, state: State, code: int) -> None:
        """The second level (EXI 8.5.4.4): returns when it ends the element, and fails for anything else."""
        self.key = ""
        start = self.pos - state.width
        if code > state.count:
            self.fail(start, f"event code {code} of {state.count + 1}")
        events = state.second_level()
        second = self.bits((events - 1).bit_length())
        if second or state.ends:
            self.fail(start, f"undeclared content (second-level event {second} of {events})")
        # The last production is what cannot be left out: those before it are optional, or alternatives to it.
        p = state.productions[state.count - 1]
        if p.op == CH:
            self.put(p, "")
        else:
            self.note(f"{self.frame.production.key} ends where {p.key} is required")

    def root(self, p: Production) -> dict[str, Any]:
        """Reads the root element `p`, from after its start tag to its end."""
        content: dict[str, Any] = {}
        try:
            if p.type.value is None:
                content[p.key] = self.element(p, p.type)
            else:
                content[p.key] = self.simple(p)
        except DecodeError as error:
            path = [self.key] if self.key else []
            frame = self.frame
            if frame is not None:
                content[p.key] = self.partial(frame)
            while frame is not None:
                path.append(frame.production.key)
                frame = frame.outer
            error.path = "/".join(reversed(path))
            error.partial = content
            raise
        return content

    def element(self, root: Production, kind: Type) -> dict[str, Any]:
        """Reads the root's content and everything in it; the content."""
        compiled = cython.compiled  # a constant for the C compiler
        state = kind.first()
        frame = self.outermost
        frame.production = root
        if compiled:
            values = self.values
            room = len(values)
            shape = kind.shape
            base = 0
        else:
            self.frame = frame
            frame.out = out = {}
        acc = self.acc
        left = self.top - self.pos  # bits between here and the end of the window
        value: Any
        while True:
            # The event code, except where there is only one production: its code is read with what follows.
            begin = left
            p = state.only
            if p is None:
                rest = left - state.width
                if rest < 0:
                    begin = self.refill(left, state.width)
                    if begin < 0:
                        if compiled:
                            self.here(frame, shape, base)
                        self.key = ""
                        self.pos = self.top - left
                        self.cut(state.width)
                    acc = self.acc
                    rest = begin - state.width
                code = (acc >> rest) & state.mask
                p = state.productions[code] if code < state.count else ESCAPE
                left = rest

            rest = left - p.width
            if rest < 0:
                fresh = self.refill(left, p.width)
                if fresh >= 0:
                    begin += fresh - left
                    rest = fresh - p.width
                    acc = self.acc
            if rest >= 0:
                left = rest
                code = (acc >> left) & p.mask
                op = p.op
                if op >= SE_FIXED:
                    value = p.table[code]
                    if value is MISS and op == SE_NUMBER and code & 256:
                        # A second group, and EE after it; the last bit so far was the first of that group.
                        rest = left - 8
                        if rest < 0:
                            fresh = self.refill(left + 1, 9)
                            if fresh >= 0:
                                begin += fresh - left - 1
                                rest = fresh - 9
                                acc = self.acc
                        if rest >= 0:
                            low = (acc >> rest) & 511
                            if code & p.guard == 0 and low & 257 == 0:
                                left = rest
                                value = ((code >> 1) & 127) | ((low >> 1) << 7)
                                if code & 512:
                                    value = -1 - value
                    if value is not MISS:
                        if p.many:
                            if compiled:
                                self.here(frame, shape, base)
                            self.entry(p, self.top - left)
                            state = self.append(p, value)
                            if compiled:
                                shape = frame.shape
                        else:
                            if compiled:
                                if base + shape.count == room:
                                    room = self.more_values()
                                keep(values, base + shape.count, value)
                                shape = shape.next if shape.via is p else shape.follow(p)
                            else:
                                out[p.key] = value
                            state = p.next
                        continue
                elif code == 0:
                    if op == SE_COMPLEX:
                        frame.start = NESTED
                        if compiled:
                            frame.shape = shape
                            frame.base = base
                        if p.many:
                            self.frame = frame
                            self.entry(p, self.top - left)
                        if frame.inner is None or frame.depth >= self.max_depth:
                            self.deeper(frame, p, self.top - left)
                        memo = p.memo
                        if memo is not None:
                            if compiled:
                                same = self.same(memo, self.top - left)
                            else:
                                rest = left - memo.size
                                if rest < 0:
                                    fresh = self.refill(left, 0)
                                    left = fresh
                                    acc = self.acc
                                    rest = left - memo.size
                                same = rest >= 0 and (acc >> rest) & memo.head == memo.first
                            if same:
                                child = memo.content.copy()
                                left -= memo.size
                                if p.many:
                                    self.frame = frame
                                    state = self.append(p, child)
                                    if compiled:
                                        shape = frame.shape
                                    continue
                                if compiled:
                                    if base + shape.count == room:
                                        room = self.more_values()
                                    keep(values, base + shape.count, child)
                                    shape = shape.next if shape.via is p else shape.follow(p)
                                else:
                                    out[p.key] = child
                                state = p.next
                                continue
                        frame = frame.inner
                        frame.production = p
                        frame.start = self.top - left
                        if compiled:
                            base += shape.count
                            shape = p.type.shape
                        else:
                            child = {}
                            if p.many:
                                self.append(p, child)
                            else:
                                out[p.key] = child
                            frame.out = out = child
                            self.frame = frame
                        state = p.start
                        if state is None:
                            state = p.start = p.type.first()
                        continue
                    if op == EE:
                        if compiled:
                            child = shape.finish(values, base)
                        else:
                            child = out
                            frame.out = None
                        p = frame.production
                        if frame.outer is None:
                            self.pos = self.top - left
                            return child
                        if frame.start != NESTED and p.type.wordless and self.notes is None:
                            self.remember(p, frame.start, self.top - left, child)
                        frame = frame.outer
                        if compiled:
                            shape = frame.shape
                            base = frame.base
                            if p.many:
                                self.frame = frame
                                state = self.append(p, child)
                                shape = frame.shape
                            else:
                                if base + shape.count == room:
                                    room = self.more_values()
                                keep(values, base + shape.count, child)
                                shape = shape.next if shape.via is p else shape.follow(p)
                                state = p.next
                        else:
                            self.frame = frame
                            out = frame.out
                            state = p.full if p.limit and len(out[p.key]) == p.limit else p.next
                        continue
                    if compiled:
                        self.here(frame, shape, base)
                    self.pos = self.top - left
                    state = self.other(op, p, frame.production.slot)
                    left = self.top - self.pos
                    acc = self.acc
                    if compiled:
                        shape = frame.shape
                        room = len(values)
                    continue

            # Something unusual: the same place again, step by step.
            if compiled:
                self.here(frame, shape, base)
            self.pos = self.top - begin
            self.top = 0
            state = self.careful(state)
            left = self.top - self.pos
            acc = self.acc
            if compiled:
                shape = frame.shape
                room = len(values)

    def here(self, frame: Frame, shape: Shape, base: int) -> None:
        """Where `element` is, for what it calls (compiled build)."""
        frame.shape = shape
        frame.base = base
        self.frame = frame

    def careful(self, state: State) -> State:
        """One event code, and the element of simple type that it may start, step by step; the state that follows."""
        self.key = ""
        code = self.bits(state.width)
        if code >= state.count:
            self.escape(state, code)
            return CLOSED
        p = state.productions[code]
        return self.put(p, self.simple(p))

    def other(self, op: int, p: Production, slot: int) -> State:
        """Values that are not read in one go; the state that follows. `slot` is the string partition of the enclosing
        element."""
        self.key = p.key
        if op == SE_SIMPLE:
            return self.put(p, self.simple(p))
        if op == AT:
            return self.put(p, self.read_value(p.value, p.slot))
        if op == CH:
            return self.put(p, self.read_value(p.value, slot))
        if op == CH_UNTYPED:
            before = self.found(p.key)
            return self.put(p, ("" if before is None else before) + self.string(slot))
        self.key = ""
        self.fail(self.pos, "content that the schema leaves open (a wildcard) is not decoded")

    def deeper(self, frame: Frame, p: Production, offset: int) -> None:
        """Room for an element in that of `frame`, if there may be one."""
        if frame.depth >= self.max_depth:
            self.frame = frame
            self.key = p.key
            self.fail(offset, f"more than {self.max_depth} elements deep")
        frame.inner = Frame(frame)

    # -- elements that were read before ------------------------------------------------------------------------------

    def word(self, pos: int, width: int) -> int:
        """`width` bits (0 to WORD) at bit `pos`, all of which are there (compiled build)."""
        if width == 0:
            return 0
        start = pos >> 3
        if start + 8 <= self.end >> 3:
            word = load(self.buffer, start)
        else:
            word = 0
            for i in range(start, start + 8):
                word = (word << 8) | (self.buffer[i] if i < self.end >> 3 else 0)
        return (word << (pos & 7)) >> (64 - width)

    def same(self, memo: Memo, pos: int) -> bool:
        """Whether the bits at `pos` are those of `memo` (compiled build)."""
        if pos + memo.size > self.end or self.word(pos, memo.head) != memo.first:
            return False
        return memo.size == memo.head or self.word(pos + WORD, memo.size - WORD) == memo.second

    def remember(self, p: Production, start: int, end: int, content: dict[str, Any]) -> None:
        """Keeps the content of the small element that `p` read, and its bits, for the next time."""
        size = end - start
        if size > 2 * WORD:
            return
        if cython.compiled:
            head = min(size, WORD)
            p.memo = Memo(size, head, self.word(start, head), self.word(start + head, size - head), content.copy())
        else:
            after = (end + 7) >> 3
            mask = (1 << size) - 1
            bits = int.from_bytes(self.data[start >> 3 : after], "big") >> (8 * after - end) & mask
            p.memo = Memo(size, mask, bits, 0, content.copy())

    # -- the innermost open element --------------------------------------------------------------------------------

    def more_values(self) -> int:
        """Makes room for twice as many values; for how many there is room then."""
        self.values.extend([None] * len(self.values))
        return len(self.values)

    def found(self, key: str) -> Any:
        """What there is under `key` so far, or None."""
        frame = self.frame
        if cython.compiled:
            keys = frame.shape.keys
            return self.values[frame.base + keys.index(key)] if key in keys else None
        return frame.out.get(key)

    def store(self, p: Production, value: Any) -> None:
        """Stores a value under a key that is new (compiled build)."""
        frame = self.frame
        place = frame.base + frame.shape.count
        if place == len(self.values):
            self.more_values()
        keep(self.values, place, value)
        frame.shape = frame.shape.follow(p)

    def put(self, p: Production, value: Any) -> State:
        """Stores what `p` read; the state that follows."""
        if p.many:
            self.entry(p, self.pos)
            return self.append(p, value)
        frame = self.frame
        if cython.compiled:
            keys = frame.shape.keys
            if frame.shape.via is not p and p.key in keys:  # text in pieces, an attribute in the relaxed grammar
                keep(self.values, frame.base + keys.index(p.key), value)
            else:
                self.store(p, value)
        else:
            frame.out[p.key] = value
        return p.next

    def entry(self, p: Production, offset: int) -> None:
        """Counts an entry of a list; the entries of a message are bounded."""
        self.entries += 1
        if self.entries > self.max_entries:
            self.key = p.key
            self.fail(offset, f"more than {self.max_entries} repeated elements")

    def append(self, p: Production, value: Any) -> State:
        """Adds an entry to a list; the state that follows."""
        self.frame.start = NESTED
        entries = self.found(p.key)
        if entries is None:
            entries = [value]
            if cython.compiled:
                self.store(p, entries)
            else:
                self.frame.out[p.key] = entries
        else:
            entries.append(value)
        return p.full if len(entries) == p.limit else p.next

    def partial(self, frame: Frame) -> dict[str, Any]:
        """The root with all that was read of it, when reading failed in `frame`."""
        if not cython.compiled:
            out: dict[str, Any] = self.outermost.out
            inner: Frame | None = frame
            while inner is not None:
                inner.out = None
                inner = inner.outer
            return out
        content = frame.shape.part(self.values, frame.base)
        while frame.outer is not None:
            p = frame.production
            frame = frame.outer
            outer = frame.shape.part(self.values, frame.base)
            if p.many:
                outer.setdefault(p.key, []).append(content)
            else:
                outer[p.key] = content
            content = outer
        return content


def small_numbers(signed: int) -> tuple[Any, ...]:
    """The number for each pattern of event code, CH, (sign,) group, EE; MISS for all that are unusual or longer."""
    patterns: list[Any] = [MISS] * (1 << (11 + signed))
    for number in range(128):
        patterns[number << 1] = number
        if signed:
            patterns[512 | number << 1] = -1 - number
    return tuple(patterns)


NUMBERS = (small_numbers(0), small_numbers(1))


class Grammar:
    """The roots of one schema set. Productions are in event-code order; SE(*) follows them (and ED in fragments)."""

    __slots__ = ("documents", "fragments", "schema", "spare", "width", "wrapper")

    def __init__(self, schema: str, wrapped: bool, documents: list[Production], fragments: list[Production]) -> None:
        self.schema = schema
        self.documents = documents
        self.fragments = fragments
        self.width = len(documents).bit_length()
        self.spare: list[Reader] = []  # those that are not in use
        self.wrapper: Production | None = None
        for p in documents:
            if wrapped and p.key == "V2G_Message":
                self.wrapper = p
            # A root is never repeated: here `many` tells the messages from the other global elements.
            p.many = not wrapped and p.key.endswith(("Req", "Res"))

    def decode(self, data: bytes, max_depth: int, max_entries: int) -> Decoded:
        """One EXI document."""
        if not data or data[0] != 0x80:
            refuse(data)
        reader = self.reader()
        try:
            reader.open(data, 8, max_depth, max_entries)
            code = reader.bits(self.width)
            if code >= len(self.documents):
                reader.fail(8, f"root event code {code}: the schema has {len(self.documents)} root elements")
            p = self.documents[code]
            content = reader.root(p)
            message = p.key
            if p is self.wrapper:
                message = None
                body = content[p.key]
                body = body.get("Body")
                if body is not None:
                    for message in body:
                        break
            elif not p.many:
                reader.note(f"root element {message} is not a message")
            trailing = (reader.end - reader.pos) >> 3
            if trailing:
                reader.note(f"{trailing} bytes after the end of the document")
            notes = () if reader.notes is None else tuple(reader.notes)
        finally:
            reader.close()
            self.spare.append(reader)
        return Decoded(self.schema, content, message, notes, trailing)

    def decode_fragment(self, data: bytes, max_depth: int, max_entries: int) -> dict[str, Any]:
        """One EXI fragment of one element."""
        if not data or data[0] != 0x80:
            refuse(data)
        count = len(self.fragments)
        width = (count + 1).bit_length()
        reader = self.reader()
        try:
            reader.open(data, 8, max_depth, max_entries)
            code = reader.bits(width)
            if code >= count:
                reader.fail(8, f"fragment event code {code}: the schema has {count} elements")
            content = reader.root(self.fragments[code])
            start = reader.pos
            if reader.bits(width) != count + 1:
                raise DecodeError("exi", start, "more than one element in the fragment", partial=content)
        finally:
            reader.close()
            self.spare.append(reader)
        return content

    def reader(self) -> Reader:
        """One that is not in use; each thread takes its own."""
        try:
            return self.spare.pop()
        except IndexError:
            self.spare += [Reader(), Reader(), Reader()]  # a list of one would give its memory back and ask for it again
            return Reader()


def refuse(data: bytes) -> None:
    """The only EXI header of the profile: distinguishing bits 10, no options document, final version 1."""
    raise DecodeError("exi", 0, f"EXI header 0x{data[0]:02X}, not 0x80" if data else "empty payload")
