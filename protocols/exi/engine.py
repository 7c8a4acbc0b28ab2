"""The table-driven EXI decoder: grammar nodes and the reader of the bit stream.

EXI 1.0 (W3C Recommendation, second edition), bit-packed, schema-informed, non-strict, without an options document:
the profile of DIN SPEC 70121 and ISO 15118-2/-20. This one source is used twice: as it stands, and compiled by
Cython with the C types of `engine.pxd` (see `build.py`); hence the plain style, and no import of the package's
other modules except the error.

A state's event code has ceil(log2(n + 1)) bits for n productions: the last code is the escape to the second level,
which the non-strict grammars always have.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

from plugtap.protocols.errors import DecodeError

try:
    import cython

    COMPILED: bool = cython.compiled
except ImportError:
    COMPILED = False

# Kinds of grammar states (they decide the second level of event codes, EXI 8.5.4.4).
FIRST = 0
START = 1
CONTENT = 2

# What a production reads.
EE = 0
CH_UNTYPED = 1
CH = 2
AT = 3
SE_COMPLEX = 4
SE_ANY = 5
AT_ANY = 6
SE_SIMPLE = 7

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

WINDOW = 32  # bytes that the plain build turns into one integer at a time
MAX_GROUPS = 64  # 7-bit groups of one integer: 448 bits, more than any certificate serial number


class Value:
    """A simple type: `kind` and, for the fixed-width kinds, `width` in bits; bounds of values or lengths."""

    __slots__ = ("bounded", "high", "kind", "low", "size", "values", "width")

    def __init__(self, kind: int, width: int, values: tuple[str, ...], low: int | None, high: int | None) -> None:
        self.kind = kind
        self.width = width
        self.values = values
        self.size = len(values)
        self.low = low
        self.high = high
        self.bounded = low is not None and high is not None


class State:
    """A grammar state: productions in the order of their event codes."""

    __slots__ = ("attributed", "count", "ends", "kind", "productions", "width")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.count = 0
        self.width = 0
        self.ends = False
        self.attributed = False
        self.productions: list[Production] = []

    def fill(self, productions: list[Production], attributed: bool) -> None:
        """`attributed`: the element's type declares attributes."""
        self.productions = productions
        self.count = len(productions)
        self.width = self.count.bit_length()  # ceil(log2(count + 1))
        self.ends = any(p.op == EE for p in productions)
        self.attributed = attributed


    def second_level(self) -> int:
        """How many second-level events the state has (EXI 8.5.4.4, with everything that only fidelity options add off)."""
        items = 2 if self.ends else 3  # SE(*), CH, and EE where the first level has none
        if self.kind == FIRST:
            items += 2  # xsi:type, xsi:nil
        if self.kind != CONTENT:
            items += 2 if self.attributed else 1  # AT(*), and AT untyped
        return items


class Type:
    """An element's type: a simple one has `value`; a complex one has `start`, or `raw` states not linked yet."""

    __slots__ = ("raw", "start", "table", "value")

    def __init__(self, value: Value | None, raw: list[Any] | None, table: Any) -> None:
        self.value = value
        self.raw = raw
        self.start: State | None = None
        self.table = table

    def link(self) -> State:
        """Builds the states on first use."""
        self.start = self.table.link(self.raw)
        self.raw = None
        return self.start


class Production:
    """One event: what is read (`op`), under which `key` it is stored, and the state that follows.

    `limit` above 0: when the list under `key` has that many entries, `full` follows instead of `next`.
    """

    __slots__ = ("full", "key", "limit", "many", "next", "op", "slot", "type", "value")

    def __init__(self, op: int, key: str, slot: int, type: Type | None, value: Value | None) -> None:
        self.op = op
        self.key = key
        self.slot = slot
        self.type = type
        self.value = value
        self.many = False
        self.limit = 0
        self.next: State | None = None
        self.full: State | None = None


class Reader:
    """Decodes one EXI body. Every failure is a DecodeError whose offset is the bit where the failing read began."""

    __slots__ = ("acc", "buffer", "data", "elements", "end", "literals", "max_depth", "max_elements", "notes", "pos", "top")

    def __init__(self, data: bytes, max_depth: int, max_elements: int) -> None:
        self.data = data + bytes(8)  # eight bytes can be loaded at any position
        self.buffer = self.data
        self.end = 8 * len(data)
        self.pos = 0
        self.acc = 0
        self.top = 0
        self.max_depth = max_depth
        self.elements = max_elements
        self.max_elements = max_elements
        self.notes: list[str] = []
        self.literals: list[tuple[int, str]] = []

    # -- bits ----------------------------------------------------------------------------------------------------

    def bits(self, width: int) -> int:
        """The next `width` bits (1 to 56) as an unsigned integer."""
        pos = self.pos
        after = pos + width
        if COMPILED:
            if after > self.end:
                self.cut(width)
            self.pos = after
            return (load(self.buffer, pos >> 3) << (pos & 7)) >> (64 - width)
        if after > self.top:
            self.refill(width)
        self.pos = after
        return (self.acc >> (self.top - after)) & ((1 << width) - 1)

    def refill(self, width: int) -> None:
        """Plain build: moves the window so that it begins at the current byte."""
        if self.pos + width > self.end:
            self.cut(width)
        start = self.pos >> 3
        chunk = self.data[start : min(start + WINDOW, self.end >> 3)]
        self.acc = int.from_bytes(chunk, "big")
        self.top = 8 * (start + len(chunk))

    def cut(self, width: int) -> None:
        left = self.end - self.pos
        raise DecodeError("exi", self.pos, f"the message ends: {width} bits wanted, {left} left")

    def fail(self, offset: int, reason: str) -> None:
        raise DecodeError("exi", offset, reason)

    def unsigned(self) -> Any:
        """Unsigned Integer (EXI 7.1.6): groups of 7 bits, least significant first, high bit: more follow."""
        group = self.bits(8)
        if group < 128:
            return group
        start = self.pos - 8
        small = group & 127
        shift = 7
        while shift < 63:
            group = self.bits(8)
            small |= (group & 127) << shift
            if group < 128:
                return small
            shift += 7
        return self.long_unsigned(small, start)

    def long_unsigned(self, small: int, start: int) -> Any:
        """The rest of an integer of more than 63 bits."""
        value: Any = int(small)
        shift = 63
        while True:
            if shift >= 7 * MAX_GROUPS:
                self.fail(start, f"an integer of more than {7 * MAX_GROUPS} bits")
            group = self.bits(8)
            value |= int(group & 127) << shift
            if group < 128:
                return value
            shift += 7

    def length(self) -> int:
        """An Unsigned Integer that counts bytes or characters: checked against what is left."""
        start = self.pos
        value = self.unsigned()
        if value > (self.end - self.pos) // 8 + 2:
            self.fail(start, f"a length of {value} in the last {(self.end - self.pos) // 8} bytes")
        return int(value)

    def octets(self, count: int) -> bytes:
        """`count` bytes from any bit position."""
        if self.pos + 8 * count > self.end:
            self.cut(8 * count)
        start = self.pos >> 3
        shift = self.pos & 7
        self.pos += 8 * count
        chunk = self.data[start : start + count + 1]
        if shift == 0:
            return chunk[:count]
        whole = int.from_bytes(chunk, "big") >> (8 - shift)
        return (whole & ((1 << (8 * count)) - 1)).to_bytes(count, "big")

    # -- values --------------------------------------------------------------------------------------------------

    def string(self, slot: int) -> str:
        """String (EXI 7.1.10, 7.3.3): a literal, or a hit in the local or global value partition."""
        start = self.pos
        length = self.length()
        if length < 2:
            return self.hit(length, slot, start)
        length -= 2
        if length == 0:
            return ""
        text = self.characters(length)
        self.literals.append((slot, text))
        return text

    def characters(self, count: int) -> str:
        begin = self.pos
        if begin + 8 * count <= self.end:
            raw = self.octets(count)
            if raw.isascii():
                return raw.decode("ascii")
            self.pos = begin
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
        if where == 0:
            values = [text for owner, text in self.literals if owner == slot]
        else:
            values = [text for _, text in self.literals]
        if not values:
            self.fail(start, "a string-table hit in an empty partition")
        width = (len(values) - 1).bit_length()
        index = self.bits(width) if width else 0
        if index >= len(values):
            self.fail(start, f"string-table entry {index} of {len(values)}")
        return values[index]

    def value(self, v: Value, key: str, slot: int) -> Any:
        """A value of simple type `v`. Facets are no part of the coding: a violation is noted."""
        kind = v.kind
        number: Any
        if kind == ENUM:
            code = self.bits(v.width) if v.width else 0
            if code >= v.size:
                self.fail(self.pos - v.width, f"{key}: enumeration index {code} of {v.size}")
            return v.values[code]
        if kind == BOOLEAN:
            return self.bits(1) == 1
        if kind == NBIT:
            number = v.low + self.bits(v.width)
        elif kind == UINT:
            number = self.unsigned()
        elif kind == INT:
            if self.bits(1):
                number = -1 - self.unsigned()
            else:
                number = self.unsigned()
        else:
            return self.sized(v, key, slot)
        if v.bounded and (number < v.low or number > v.high):
            self.notes.append(f"{key}: {number} is outside {v.low}..{v.high}")
        return number

    def sized(self, v: Value, key: str, slot: int) -> str:
        """hexBinary, base64Binary and strings: `low` and `high` bound the length."""
        if v.kind == STRING:
            text = self.string(slot)
            size = len(text)
        else:
            size = self.length()
            raw = self.octets(size)
            text = raw.hex().upper() if v.kind == HEX else b2a_base64(raw, newline=False).decode("ascii")
        if v.high is not None and size > v.high:
            self.notes.append(f"{key}: length {size}, at most {v.high} allowed")
        elif size < v.low:
            self.notes.append(f"{key}: length {size}, at least {v.low} required")
        return text

    # -- grammar -------------------------------------------------------------------------------------------------

    def simple(self, v: Value, key: str, slot: int) -> Any:
        """An element of plain simple type: CH and EE are one bit each, 0; the escape stands for an empty element."""
        if self.bits(1):
            # Second level of a first start-tag state: EE, xsi:type, xsi:nil, AT(*), SE(*), CH (and, by some, AT untyped).
            code = self.bits(3)
            if code:
                self.fail(self.pos - 4, f"{key}: undeclared content (second-level event {code})")
            if v.kind < HEX:
                self.notes.append(f"{key}: empty")
            return ""
        value = self.value(v, key, slot)
        if self.bits(1):
            self.fail(self.pos - 1, f"{key}: undeclared content after the value")
        return value

    def escape(self, state: State, out: dict[str, Any]) -> None:
        """The second level (EXI 8.5.4.4): returns when it ends the element, and fails for anything else."""
        start = self.pos
        items = state.second_level()
        code = self.bits((items - 1).bit_length())
        if code or state.ends:
            self.fail(start, f"undeclared content (second-level event {code} of {items})")
        p = state.productions[0]
        if p.op == CH:
            out[p.key] = ""
        else:
            self.notes.append(f"an element ends where {p.key} is required")

    def root(self, p: Production, out: dict[str, Any]) -> None:
        """Reads the root element `p`, from after its start tag to its end, into `out`."""
        if p.op == SE_SIMPLE:
            out[p.key] = self.simple(p.value, p.key, p.slot)
            return
        content: dict[str, Any] = {}
        out[p.key] = content
        start = p.type.start
        if start is None:
            start = p.type.link()
        try:
            self.element(start, content, p.slot, self.max_depth)
        except DecodeError as error:
            error.path = f"{p.key}/{error.path}" if error.path else p.key
            raise

    def element(self, state: State, out: dict[str, Any], slot: int, depth: int) -> None:
        """Reads an element of complex type, from after its start tag to its end tag, into `out`.

        `slot` names the element's own string partition.
        """
        while True:
            code = self.bits(state.width)
            if code >= state.count:
                if code > state.count:
                    self.fail(self.pos - state.width, f"event code {code} of {state.count + 1}")
                self.escape(state, out)
                return
            p = state.productions[code]
            op = p.op
            if op == EE:
                return
            value: Any
            if op == SE_SIMPLE:
                try:
                    value = self.simple(p.value, p.key, p.slot)
                except DecodeError as error:
                    error.path = p.key
                    raise
            elif op == SE_COMPLEX:
                value = {}
            elif op == AT:
                value = self.value(p.value, p.key, p.slot)
            elif op == CH:
                value = self.value(p.value, p.key, slot)
            elif op == CH_UNTYPED:
                value = out.get(p.key, "") + self.string(slot)
            else:
                self.fail(self.pos - state.width, "content that the schema leaves open (a wildcard) is not decoded")
            self.elements -= 1
            if self.elements < 0:
                self.fail(self.pos, f"more than {self.max_elements} elements")
            if p.many:
                entries = out.get(p.key)
                if entries is None:
                    entries = out[p.key] = []
                entries.append(value)
                state = p.full if len(entries) == p.limit else p.next
            else:
                out[p.key] = value
                state = p.next
            if op == SE_COMPLEX:
                if depth == 0:
                    self.fail(self.pos, "nested too deep")
                start = p.type.start
                if start is None:
                    start = p.type.link()
                try:
                    self.element(start, value, p.slot, depth - 1)
                except DecodeError as error:
                    error.path = f"{p.key}/{error.path}" if error.path else p.key
                    raise


def load(buffer: Any, index: int) -> int:
    """Eight bytes, big-endian: one load and a byte swap in C."""
    word = buffer[index]
    word = (word << 8) | buffer[index + 1]
    word = (word << 8) | buffer[index + 2]
    word = (word << 8) | buffer[index + 3]
    word = (word << 8) | buffer[index + 4]
    word = (word << 8) | buffer[index + 5]
    word = (word << 8) | buffer[index + 6]
    return (word << 8) | buffer[index + 7]
