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
- Nesting is two lists, not recursion.

A state's event code has ceil(log2(n + 1)) bits for n productions: the last code is the escape to the second level,
which the non-strict grammars always have.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi.result import Decoded

try:
    import cython
except ImportError:  # plain Python without Cython: nothing but `cython.compiled` is asked of it
    from plugtap.protocols.exi import nocython as cython

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
USUAL_DEPTH = 8  # open elements that there is room for from the start
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


class Type:
    """An element's type: a simple one has `value`; a complex one has `raw` states, linked on first use."""

    __slots__ = ("raw", "start", "table", "value")

    def __init__(self, value: Value | None, raw: list[Any] | None, table: Any) -> None:
        self.value = value
        self.raw = raw
        self.start: State | None = None
        self.table = table

    def first(self) -> State:
        """The state after the start tag."""
        if self.start is None:
            self.start = self.table.link(self.raw)
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


class Reader:
    """Decodes one EXI body. Every failure is a DecodeError whose offset is the bit where the failing read began."""

    __slots__ = (
        "acc",
        "buffer",
        "data",
        "depth",
        "end",
        "entries",
        "key",
        "literals",
        "max_depth",
        "max_entries",
        "notes",
        "opened",
        "outs",
        "pos",
        "scratch",
        "top",
    )

    def __init__(self, data: bytes, pos: int, max_depth: int, max_entries: int) -> None:
        self.data = data
        self.buffer = data
        if not cython.compiled:
            self.scratch = b""
        self.end = 8 * len(data)
        self.pos = pos
        self.acc = 0
        self.top = 0
        self.key = ""
        self.max_depth = max_depth
        self.max_entries = max_entries
        self.entries = 0
        self.notes: list[str] | None = None
        self.literals: dict[int, list[str]] | None = None
        # The open elements: what was read of them so far, and how they were read.
        self.outs: list[Any] = [None] * USUAL_DEPTH
        self.opened: list[Any] = [None] * USUAL_DEPTH
        self.depth = 0

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

    def fail(self, offset: int, reason: str) -> None:
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
        if self.literals is None:
            self.literals = {}
        self.literals.setdefault(slot, []).append(text)
        self.literals.setdefault(GLOBAL, []).append(text)
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
        found: list[str] = (self.literals or {}).get(GLOBAL if where == 1 else slot, [])
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

    def escape(self, state: State, code: int, out: dict[str, Any]) -> None:
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
            out[p.key] = ""
        else:
            self.note(f"{self.opened[self.depth - 1].key} ends where {p.key} is required")

    def root(self, p: Production) -> dict[str, Any]:
        """Reads the root element `p`, from after its start tag to its end."""
        content: dict[str, Any] = {}
        try:
            if p.type.value is None:
                value: dict[str, Any] = {}
                content[p.key] = value
                self.opened[0] = p
                self.depth = 1
                self.element(p.type.first(), value)
            else:
                content[p.key] = self.simple(p)
        except DecodeError as error:
            path = [p.key for p in self.opened[: self.depth]]
            if self.key:
                path.append(self.key)
            error.path = "/".join(path)
            error.partial = content
            raise
        return content

    def element(self, state: State, out: dict[str, Any]) -> None:
        """Reads the root's content, and everything in it, into `out`."""
        outs = self.outs
        opened = self.opened
        depth = 1
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
                            state = self.append(out, p, value, left)
                        else:
                            out[p.key] = value
                            state = p.next
                        continue
                elif code == 0:
                    if op == EE:
                        depth -= 1
                        if depth == 0:
                            self.pos = self.top - left
                            return
                        self.depth = depth
                        out = outs[depth]
                        p = opened[depth]
                        state = p.full if p.limit and len(out[p.key]) == p.limit else p.next
                        continue
                    if op == SE_COMPLEX:
                        child: dict[str, Any] = {}
                        if p.many:
                            self.append(out, p, child, left)
                        else:
                            out[p.key] = child
                        if depth >= USUAL_DEPTH:
                            self.deeper(left, p.key)
                        outs[depth] = out
                        opened[depth] = p
                        depth += 1
                        self.depth = depth
                        out = child
                        state = p.start
                        if state is None:
                            state = p.start = p.type.first()
                        continue
                    self.pos = self.top - left
                    value = self.other(op, p, opened[depth - 1].slot, out)
                    left = self.top - self.pos
                    acc = self.acc
                    if p.many:
                        state = self.append(out, p, value, left)
                    else:
                        out[p.key] = value
                        state = p.next
                    continue

            # Something unusual: the same place again, step by step.
            self.pos = self.top - begin
            self.top = 0
            state = self.careful(state, out)
            left = self.top - self.pos
            acc = self.acc

    def careful(self, state: State, out: dict[str, Any]) -> State:
        """One event code, and the element of simple type that it may start, step by step; the state that follows."""
        self.key = ""
        code = self.bits(state.width)
        if code >= state.count:
            self.escape(state, code, out)
            return CLOSED
        p = state.productions[code]
        value = self.simple(p)
        if p.many:
            return self.append(out, p, value, self.top - self.pos)
        out[p.key] = value
        return p.next

    def other(self, op: int, p: Production, slot: int, out: dict[str, Any]) -> Any:
        """Values that are not read in one go. `slot` is the string partition of the enclosing element."""
        self.key = p.key
        if op == SE_SIMPLE:
            return self.simple(p)
        if op == AT:
            return self.read_value(p.value, p.slot)
        if op == CH:
            return self.read_value(p.value, slot)
        if op == CH_UNTYPED:
            return out.get(p.key, "") + self.string(slot)
        self.key = ""
        self.fail(self.pos, "content that the schema leaves open (a wildcard) is not decoded")

    def deeper(self, left: int, key: str) -> None:
        """Room for one more open element than usual."""
        if self.depth >= self.max_depth:
            self.key = key
            self.fail(self.top - left, f"more than {self.max_depth} elements deep")
        if self.depth == len(self.opened):
            self.outs.append(None)
            self.opened.append(None)

    def append(self, out: dict[str, Any], p: Production, value: Any, left: int) -> State:
        """Adds an entry to a list; the entries of a message are bounded. The state that follows."""
        self.entries += 1
        if self.entries > self.max_entries:
            self.key = p.key
            self.fail(self.top - left, f"more than {self.max_entries} repeated elements")
        entries = out.get(p.key)
        if entries is None:
            out[p.key] = [value]
            return p.next
        entries.append(value)
        return p.full if len(entries) == p.limit else p.next


def small_numbers(signed: int) -> tuple[Any, ...]:
    """The number for each pattern of event code, CH, (sign,) group, EE; MISS for all that are unusual or longer."""
    patterns: list[Any] = [MISS] * (1 << (11 + signed))
    for number in range(128):
        patterns[number << 1] = number
        if signed:
            patterns[512 | number << 1] = -1 - number
    return tuple(patterns)


NUMBERS = (small_numbers(0), small_numbers(1))


def load(buffer: bytes, i: int) -> int:
    """Eight bytes, big-endian; C compilers make it one load and a byte swap."""
    word = buffer[i]
    word = (word << 8) | buffer[i + 1]
    word = (word << 8) | buffer[i + 2]
    word = (word << 8) | buffer[i + 3]
    word = (word << 8) | buffer[i + 4]
    word = (word << 8) | buffer[i + 5]
    word = (word << 8) | buffer[i + 6]
    return (word << 8) | buffer[i + 7]


class Grammar:
    """The roots of one schema set. Productions are in event-code order; SE(*) follows them (and ED in fragments)."""

    __slots__ = ("documents", "fragments", "schema", "width", "wrapped")

    def __init__(self, schema: str, wrapped: bool, documents: list[Production], fragments: list[Production]) -> None:
        self.schema = schema
        self.wrapped = wrapped
        self.documents = documents
        self.fragments = fragments
        self.width = len(documents).bit_length()
        for p in documents:
            # A root is never repeated: here `many` tells the messages from the other global elements.
            p.many = not wrapped and p.key.endswith(("Req", "Res"))

    def decode(self, data: bytes, max_depth: int, max_entries: int) -> Decoded:
        """One EXI document."""
        if not data or data[0] != 0x80:
            refuse(data)
        reader = Reader(data, 8, max_depth, max_entries)
        code = reader.bits(self.width)
        if code >= len(self.documents):
            reader.fail(8, f"root event code {code}: the schema has {len(self.documents)} root elements")
        p = self.documents[code]
        content = reader.root(p)
        message = p.key
        if message == "V2G_Message" and self.wrapped:
            message = None
            for message in content["V2G_Message"].get("Body", ()):
                break
        elif not p.many:
            reader.note(f"root element {message} is not a message")
        trailing = (reader.end - reader.pos) >> 3
        if trailing:
            reader.note(f"{trailing} bytes after the end of the document")
        notes = () if reader.notes is None else tuple(reader.notes)
        return Decoded(self.schema, content, message, notes, trailing)

    def decode_fragment(self, data: bytes, max_depth: int, max_entries: int) -> dict[str, Any]:
        """One EXI fragment of one element."""
        if not data or data[0] != 0x80:
            refuse(data)
        reader = Reader(data, 8, max_depth, max_entries)
        count = len(self.fragments)
        width = (count + 1).bit_length()
        code = reader.bits(width)
        if code >= count:
            reader.fail(8, f"fragment event code {code}: the schema has {count} elements")
        content = reader.root(self.fragments[code])
        start = reader.pos
        if reader.bits(width) != count + 1:
            raise DecodeError("exi", start, "more than one element in the fragment", partial=content)
        return content


def refuse(data: bytes) -> None:
    """The only EXI header of the profile: distinguishing bits 10, no options document, final version 1."""
    raise DecodeError("exi", 0, f"EXI header 0x{data[0]:02X}, not 0x80" if data else "empty payload")
