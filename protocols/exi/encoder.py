"""Encoding of content into EXI, over the same tables as decoding.

The encoder serves the simulator, the tests and the checking of signatures; it is not on the analyser's hot path.
It writes what EXIficient writes for the standards' profile: no string-table hits, an empty element as the escape
followed by the second-level EE. Children may come in any order: the grammar puts them in order.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Any

from plugtap.protocols.exi import engine as codes
from plugtap.protocols.exi.tables import TEXT, grammar


class EncodeError(ValueError):
    """Content that does not fit the schema. `path` names the element."""

    def __init__(self, path: str, reason: str) -> None:
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
    _child(writer, p, content[p.key], p.key)


class _Writer:
    """Bits, most significant first."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def bits(self, value: int, width: int) -> None:
        if width:
            self._parts.append(format(value, f"0{width}b"))

    def unsigned(self, value: int) -> None:
        while value > 127:
            self.bits(value & 127 | 128, 8)
            value >>= 7
        self.bits(value, 8)

    def octets(self, data: bytes) -> None:
        if data:
            self.bits(int.from_bytes(data, "big"), 8 * len(data))

    def finish(self) -> bytes:
        text = "".join(self._parts)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def _child(writer: _Writer, p: Any, value: Any, path: str) -> None:
    """The content of an element whose start tag `p` has been written, and its end."""
    if p.type.value is not None:
        _simple(writer, p.value, value, path)
        return
    start = p.type.first()
    if value == "":  # an empty element in the form some decoders give it
        value = {}
    if not isinstance(value, dict):
        value = {TEXT: value}
    _element(writer, start, value, path)


def _simple(writer: _Writer, v: Any, value: Any, path: str) -> None:
    if value == {}:
        value = ""
    if value == "":
        # No CH event for an empty value: the escape (1), then EE, code 0 of 6 or 7.
        writer.bits(0b1000, 4)
        return
    writer.bits(0, 1)
    _value(writer, v, value, path)
    writer.bits(0, 1)


def _element(writer: _Writer, state: Any, content: dict[str, Any], path: str) -> None:
    pending: dict[str, list[Any]] = {
        key: list(value) if isinstance(value, (list, tuple)) else [value] for key, value in content.items()
    }
    pending = {key: values for key, values in pending.items() if values}
    written: dict[str, int] = {}
    if pending.get(TEXT) == [""]:
        del pending[TEXT]
    while True:
        for code, p in enumerate(state.productions):
            if p.op == codes.EE:
                if pending:
                    continue
                writer.bits(code, state.width)
                return
            if p.key not in pending or p.op in (codes.SE_ANY, codes.AT_ANY):
                continue
            writer.bits(code, state.width)
            break
        else:
            _no_event(writer, state, content, pending, path)
            return
        values = pending[p.key]
        value = values.pop(0)
        if not values:
            del pending[p.key]
        inner = f"{path}/{p.key}"
        if p.type is not None:
            _child(writer, p, value, inner)
        elif p.op == codes.CH_UNTYPED:
            _string(writer, value, inner)
        else:
            _value(writer, p.value, value, inner)
        count = written[p.key] = written.get(p.key, 0) + 1
        state = p.full if count == p.limit else p.next


def _no_event(writer: _Writer, state: Any, content: dict[str, Any], pending: dict[str, list[Any]], path: str) -> None:
    """No first-level event fits: legal only for simple content with an empty value."""
    if pending:
        raise EncodeError(path, f"{next(iter(pending))} does not fit here, or too often")
    if content.get(TEXT) != "":
        missing = ", ".join(p.key for p in state.productions)
        raise EncodeError(path, f"expected {missing}")
    writer.bits(state.count, state.width)
    writer.bits(0, (state.second_level() - 1).bit_length())


def _value(writer: _Writer, v: Any, value: Any, path: str) -> None:
    kind = v.kind
    if kind == codes.ENUM:
        if value not in v.values:
            raise EncodeError(path, f"{value!r} is not one of {', '.join(v.values)}")
        writer.bits(v.values.index(value), v.width)
    elif kind == codes.BOOLEAN:
        if value not in (True, False, "true", "false"):
            raise EncodeError(path, f"{value!r} is not a boolean")
        writer.bits(int(value in (True, "true")), 1)
    elif kind in (codes.NBIT, codes.UINT, codes.INT):
        _integer(writer, v, value, path)
    elif kind == codes.STRING:
        _string(writer, value, path)
    else:
        data = _bytes(kind == codes.HEX, value, path)
        writer.unsigned(len(data))
        writer.octets(data)


def _integer(writer: _Writer, v: Any, value: Any, path: str) -> None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise EncodeError(path, f"{value!r} is not an integer") from None
    if v.kind == codes.NBIT:
        if not 0 <= number - v.low < 1 << v.width:
            raise EncodeError(path, f"{number} is outside {v.low}..{v.high}")
        writer.bits(number - v.low, v.width)
    elif v.kind == codes.UINT:
        if number < 0:
            raise EncodeError(path, f"{number} is negative")
        writer.unsigned(number)
    else:
        writer.bits(int(number < 0), 1)
        writer.unsigned(-1 - number if number < 0 else number)


def _string(writer: _Writer, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise EncodeError(path, f"{value!r} is not a string")
    writer.unsigned(len(value) + 2)
    for character in value:
        writer.unsigned(ord(character))


def _bytes(hexadecimal: bool, value: Any, path: str) -> bytes:
    try:
        return bytes.fromhex(value) if hexadecimal else a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError, Base64Error):
        raise EncodeError(path, f"not {'hexBinary' if hexadecimal else 'base64Binary'}") from None
