"""Small tools that describe an MME body as a list of fields, so that one table serves decoding and encoding.

A layout is a list of ``(name, code)``: the code is that of the standard library's `struct` (``B`` one byte, ``H``
two, ``I`` four, ``Q`` eight, ``h`` two signed, ``6s`` six raw bytes, ``3x`` three reserved bytes: skipped when read,
zero when written). Everything in HomePlug bodies is little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from plugtap.protocols.errors import DecodeError

Field = tuple[str, str]


def cut_error(pos: int, name: str, size: int, length: int) -> DecodeError:
    """`name` should be `size` bytes at `pos`, but only `length` bytes came."""
    return DecodeError("homeplug", pos, f"cut at {name}: {size} bytes wanted, {max(0, length - pos)} there")


class Layout:
    """A run of fields of fixed size."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self.names = tuple(name for name, code in fields if not code.endswith("x"))
        self.struct = struct.Struct("<" + "".join(code for _, code in fields))
        self.size = self.struct.size
        sizes = [struct.calcsize("<" + code) for _, code in fields]
        self._places = [(name, sum(sizes[:i]), sizes[i]) for i, (name, _) in enumerate(fields)]
        self.raw_sizes = {name: struct.calcsize("<" + code) for name, code in fields if code.endswith("s")}

    def read(self, data: bytes, pos: int) -> dict[str, Any]:
        """The fields that start at `data[pos]`. Raises DecodeError naming the first field that is not all there."""
        if len(data) < pos + self.size:
            raise self._cut(data, pos)
        return dict(zip(self.names, self.struct.unpack_from(data, pos), strict=True))

    def write(self, body: object) -> bytes:
        """The bytes of `body`'s attributes. Raises ValueError for a value that does not fit its field."""
        values = []
        for name in self.names:
            value = getattr(body, name)
            size = self.raw_sizes.get(name)
            # struct would cut or pad in silence
            if size is not None and len(value) != size:
                raise ValueError(f"{name}: {size} bytes wanted, {len(value)} given")
            values.append(value)
        try:
            return self.struct.pack(*values)
        except struct.error as error:
            raise ValueError(f"{type(body).__name__}: {error}") from error

    def _cut(self, data: bytes, pos: int) -> DecodeError:
        name, at, size = next(f for f in self._places if pos + f[1] + f[2] > len(data))
        return cut_error(pos + at, name or "a reserved field", size, len(data))


Decode = Callable[[bytes, int, int], Any]
Encode = Callable[[Any, int], bytes]


class Codec(NamedTuple):
    """How one MME type is read and written. `decode(data, pos, mmv)` reads the body that starts at `pos` of the MME
    (after header, FMI and OUI); `encode(body, mmv)` gives these bytes; `mmv` is the header version it is sent with."""

    mmtype: int
    cls: type[msgspec.Struct]
    decode: Decode
    encode: Encode
    mmv: int = 1
    oui: bytes | None = None


def fixed(mmtype: int, cls: type[msgspec.Struct], *fields: Field, mmv: int = 1, oui: bytes | None = None) -> Codec:
    """The codec of a body made of fixed fields only. Bytes after them (padding, newer versions) are ignored."""
    layout = Layout(*fields)

    def decode(data: bytes, pos: int, _mmv: int) -> Any:
        return cls(**layout.read(data, pos))

    def encode(body: Any, _mmv: int) -> bytes:
        return layout.write(body)

    return Codec(mmtype, cls, decode, encode, mmv, oui)


def take(data: bytes, pos: int, size: int, name: str) -> bytes:
    """`size` bytes from `pos`. Raises DecodeError when they are not all there."""
    if pos + size > len(data):
        raise cut_error(pos, name, size, len(data))
    return data[pos : pos + size]


def text(raw: bytes) -> str:
    """The printable text of a fixed-size field: up to the first NUL, anything not ASCII replaced."""
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def hide_key(body: msgspec.Struct, *secret: str) -> str:
    """A repr that keeps keys out of logs and tracebacks."""
    parts = (f"{f}=<secret>" if f in secret else f"{f}={getattr(body, f)!r}" for f in body.__struct_fields__)
    return f"{type(body).__name__}({', '.join(parts)})"
