"""Encoding of content into EXI, over the same tables as decoding.

The encoder serves the simulator, the tests and the checking of signatures; it is not on the analyser's hot path, but it is on that of
many virtual pairs that play at once.
It writes what EXIficient writes for the standards' profile: no string-table hits, an empty element as the escape
followed by the second-level EE. Children may come in any order: the grammar puts them in order.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections import deque
from typing import Any

from plugtap.protocols.exi import engine as codes
from plugtap.protocols.exi.tables import TEXT, grammar


# Where an element stands: the way to its parent, and its own name. It is only put into words for an error.
Path = tuple["Path | None", str]


def _text(path: Path) -> str:
    parent, name = path
    return name if parent is None else f"{_text(parent)}/{name}"


class EncodeError(ValueError):
    """Content that does not fit the schema. `path` names the element."""

    def __init__(self, where: Path | str, reason: str) -> None:
        path = where if isinstance(where, str) else _text(where)
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def encode(schema: str, content: dict[str, Any]) -> bytes:
    """The EXI document for `content` (one root element), in the form `decode` gives.

    Integers may also be strings of digits, booleans ``"true"`` and ``"false"``; a list of one entry may be given
    without the list. Raises EncodeError where the content does not fit the schema, ValueError for an unknown schema.
    """
    return encode_with(grammar(schema), content)


def encode_with(rules: Any, content: dict[str, Any]) -> bytes:
    """`encode` with a loaded grammar, which may be that of a variant."""
    roots = rules.documents
    writer = _Writer()
    writer.bits(0x80, 8)
    index = _root(roots, content)
    writer.bits(index, rules.width)
    _root_content(writer, roots[index], content)
    return writer.finish()


def encode_fragment(schema: str, content: dict[str, Any]) -> bytes:
    """The EXI fragment for one element, as it is digested for a signature (`schema` may be ``xmldsig``).

    Raises as `encode` does. Source: ISO 15118-2 7.9.2.4.2, ISO 15118-20 7.9.2.5.
    """
    roots = grammar(schema).fragments
    writer = _Writer()
    writer.bits(0x80, 8)
    index = _root(roots, content)
    width = (len(roots) + 1).bit_length()
    writer.bits(index, width)
    _root_content(writer, roots[index], content)
    writer.bits(len(roots) + 1, width)
    return writer.finish()


def _root(roots: list[Any], content: dict[str, Any]) -> int:
    if len(content) != 1:
        raise EncodeError("", f"one root element expected, not {len(content)}")
    (name,) = content
    for index, p in enumerate(roots):
        if p.key == name:
            return index
    raise EncodeError(str(name), "not an element of this schema")


def _root_content(writer: _Writer, p: Any, content: dict[str, Any]) -> None:
    _child(writer, p, content[p.key], (None, p.key))


# As names of this module: looked up a hundred times a message.
_EE, _ANY = codes.EE, (codes.SE_ANY, codes.AT_ANY)
_ENUM, _BOOLEAN, _NBIT, _UINT, _INT = codes.ENUM, codes.BOOLEAN, codes.NBIT, codes.UINT, codes.INT

# Numbers of 0 to 8 bits as they are written most often.
_BITS = [[format(value, f"0{width}b") if width else "" for value in range(1 << width)] for width in range(9)]
_OCTET = _BITS[8]


class _Writer:
    """Bits, most significant first."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[str] = []

    def bits(self, value: int, width: int) -> None:
        if width <= 8:
            self.parts.append(_BITS[width][value])
        else:
            self.parts.append(format(value, f"0{width}b"))

    def unsigned(self, value: int) -> None:
        while value > 127:
            self.parts.append(_OCTET[value & 127 | 128])
            value >>= 7
        self.parts.append(_OCTET[value])

    def octets(self, data: bytes) -> None:
        if data:
            self.bits(int.from_bytes(data, "big"), 8 * len(data))

    def finish(self) -> bytes:
        text = "".join(self.parts)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def _child(writer: _Writer, p: Any, value: Any, path: Path) -> None:
    """The content of an element whose start tag `p` has been written, and its end."""
    kind = p.type
    if kind.value is not None:
        _simple(writer, p.value, value, path)
        return
    if value == "":  # an empty element in the form some decoders give it
        value = {}
    if not isinstance(value, dict):
        value = {TEXT: value}
    _element(writer, kind.first(), value, path)


def _simple(writer: _Writer, v: Any, value: Any, path: Path) -> None:
    if value in ("", {}):
        # No CH event for an empty value: the escape (1), then EE, code 0 of 6 or 7.
        writer.parts.append("1000")
        return
    writer.parts.append("0")
    _value(writer, v, value, path)
    writer.parts.append("0")


def _element(writer: _Writer, state: Any, content: dict[str, Any], path: Path) -> None:
    # What is still to be written: a value, or of a list the values in their order.
    pending: dict[str, Any] = {}
    for key, value in content.items():
        if not isinstance(value, (list, tuple)):
            pending[key] = value
        elif value:
            pending[key] = deque(value)
    written: dict[str, int] = {}
    if TEXT in pending and pending[TEXT] in ("", deque([""])):
        del pending[TEXT]
    parts = writer.parts
    while True:
        code = 0
        for p in state.productions:
            op = p.op
            if op == _EE:
                if not pending:
                    writer.bits(code, state.width)
                    return
            elif p.key in pending and op not in _ANY:
                break
            code += 1
        else:
            _no_event(writer, state, content, pending, path)
            return
        width = state.width
        if width <= 8:
            parts.append(_BITS[width][code])
        else:
            writer.bits(code, width)
        key = p.key
        value = pending[key]
        if isinstance(value, deque):
            values = value
            value = values.popleft()
            if not values:
                del pending[key]
            count = written[key] = written.get(key, 0) + 1
        else:
            del pending[key]
            count = 1
        inner = (path, key)
        if p.type is not None:
            _child(writer, p, value, inner)
        elif op == codes.CH_UNTYPED:
            _string(writer, value, inner)
        else:
            _value(writer, p.value, value, inner)
        state = p.full if count == p.limit else p.next


def _no_event(writer: _Writer, state: Any, content: dict[str, Any], pending: dict[str, Any], path: Path) -> None:
    """No first-level event fits: legal only for simple content with an empty value."""
    if pending:
        raise EncodeError(path, f"{next(iter(pending))} does not fit here, or too often")
    if content.get(TEXT) != "":
        missing = ", ".join(p.key for p in state.productions)
        raise EncodeError(path, f"expected {missing}")
    writer.bits(state.count, state.width)
    writer.bits(0, (state.second_level() - 1).bit_length())


def _value(writer: _Writer, v: Any, value: Any, path: Path) -> None:
    kind = v.kind
    if kind == _ENUM:
        try:
            code = v.values.index(value)
        except ValueError:
            raise EncodeError(path, f"{value!r} is not one of {', '.join(v.values)}") from None
        writer.bits(code, v.width)
    elif kind in (_NBIT, _UINT, _INT):
        _integer(writer, v, value, path)
    elif kind == _BOOLEAN:
        if value not in (True, False, "true", "false"):
            raise EncodeError(path, f"{value!r} is not a boolean")
        writer.parts.append("1" if value in (True, "true") else "0")
    elif kind == codes.STRING:
        _string(writer, value, path)
    else:
        data = _bytes(kind == codes.HEX, value, path)
        writer.unsigned(len(data))
        writer.octets(data)


def _integer(writer: _Writer, v: Any, value: Any, path: Path) -> None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise EncodeError(path, f"{value!r} is not an integer") from None
    kind = v.kind
    if kind == _NBIT:
        if not 0 <= number - v.low < 1 << v.width:
            raise EncodeError(path, f"{number} is outside {v.low}..{v.high}")
        writer.bits(number - v.low, v.width)
    elif kind == _UINT:
        if number < 0:
            raise EncodeError(path, f"{number} is negative")
        writer.unsigned(number)
    else:
        writer.parts.append("1" if number < 0 else "0")
        writer.unsigned(-1 - number if number < 0 else number)


def _string(writer: _Writer, value: Any, path: Path) -> None:
    if not isinstance(value, str):
        raise EncodeError(path, f"{value!r} is not a string")
    writer.unsigned(len(value) + 2)
    if value.isascii():  # each character is one octet
        writer.octets(value.encode())
        return
    for character in value:
        writer.unsigned(ord(character))


def _bytes(hexadecimal: bool, value: Any, path: Path) -> bytes:
    try:
        return bytes.fromhex(value) if hexadecimal else a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError, Base64Error):
        raise EncodeError(path, f"not {'hexBinary' if hexadecimal else 'base64Binary'}") from None
