"""Decoding of whole EXI streams: header, root element, end, and what is around them."""

from __future__ import annotations

from typing import Any

import msgspec
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi import build
from plugtap.protocols.exi.tables import FRAGMENT_SCHEMAS, SCHEMAS, Table, table

Content = dict[str, Any]
"""A decoded element by its name: attributes ``@Name``, text beside attributes ``#text``, an empty element ``{}``."""

HEADER = 0x80
"""Distinguishing bits 10, no options document, final version 1: the only EXI header of the profile."""

MAX_DEPTH = 40
MAX_ENTRIES = 65_536

WRAPPED = ("din", "iso2")
"""Sets whose messages stand in the Body of a V2G_Message."""


class Decoded(msgspec.Struct, frozen=True):
    """One decoded EXI stream.

    `message` is the name of the message: the root element, or for din and iso2 the element in the Body (None when
    the Body is empty). `notes` are oddities that did not stop decoding, one line each. `trailing` counts the bytes
    after the end of the document. `variant` names the foreign grammar that was needed ("libcbv2g"), or is empty.
    """

    schema: str
    content: Content
    message: str | None
    notes: tuple[str, ...] = ()
    trailing: int = 0
    variant: str = ""


def decode(schema: str, data: bytes) -> Content:
    """The content of one EXI document. See `decode_message`."""
    return decode_message(schema, data).content


def decode_message(
    schema: str, data: bytes, *, max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES
) -> Decoded:
    """Decodes one EXI document (a V2GTP payload) of the schema set `schema`, one of `SCHEMAS`.

    Raises DecodeError (layer ``exi``, offset in bits, `path` of the elements entered, `partial` content), and
    ValueError for an unknown schema. Source: EXI 1.0 as profiled in ISO 15118-2 7.9.1 and ISO 15118-20 7.9.
    """
    tables = _table(schema)
    reader = _reader(data, max_depth, max_entries)
    return _finish(schema, reader, _root(reader, tables.documents))


def decode_fragment(schema: str, data: bytes) -> Content:
    """Decodes an EXI fragment of one element, the form in which signed elements are digested.

    `schema` may also be ``xmldsig``, whose fragments SignedInfo is signed as. Raises as `decode_message` does.
    """
    tables = _table(schema)
    reader = _reader(data, MAX_DEPTH, MAX_ENTRIES)
    content = _root(reader, tables.fragments, also=1)
    # ED is the last event code, after the elements and SE(*).
    width = (len(tables.fragments) + 1).bit_length()
    start = reader.pos
    if reader.bits(width) != len(tables.fragments) + 1:
        raise DecodeError("exi", start, "more than one element in the fragment", partial=content)
    return content


def guess(data: bytes) -> str | None:
    """The schema set of a payload of type 0x8001 from its first bytes: ``sap``, ``din``, ``iso2`` or None.

    The root's event code says it: V2G_Message is 77 of 82 in DIN and 76 of 81 in ISO 15118-2; a
    supportedAppProtocol message has code 0 or 1 of 3.
    """
    if len(data) < 2 or data[0] != HEADER:
        return None
    code = data[1] >> 1
    if code == 77:
        return "din"
    if code == 76:
        return "iso2"
    return "sap" if data[1] < 0x80 else None


def _table(schema: str) -> Table:
    if schema not in FRAGMENT_SCHEMAS:
        raise ValueError(f"unknown schema {schema!r}: one of {', '.join(SCHEMAS)}")
    return table(schema)


def _reader(data: bytes, max_depth: int, max_entries: int) -> Any:
    if not data:
        raise DecodeError("exi", 0, "empty payload")
    if data[0] != HEADER:
        raise DecodeError("exi", 0, f"EXI header 0x{data[0]:02X}, not 0x80")
    return build.engine().Reader(data, 8, max_depth, max_entries)


def _root(reader: Any, roots: list[Any], also: int = 0) -> Content:
    """Reads the root element; `also`: further event codes after SE(*)."""
    code = reader.bits((len(roots) + also).bit_length())
    if code >= len(roots):
        raise DecodeError("exi", 8, f"root event code {code}: the schema has {len(roots)} root elements")
    content: Content = reader.root(roots[code])
    return content


def _finish(schema: str, reader: Any, content: Content) -> Decoded:
    notes: list[str] = reader.notes
    (root,) = content
    message: str | None = root
    if schema in WRAPPED:
        if root == "V2G_Message":
            body = content[root].get("Body", {})
            message = next(iter(body), None)
        else:
            notes.append(f"root element {root} is not a message")
    elif not root.endswith(("Req", "Res")):
        notes.append(f"root element {root} is not a message")
    trailing = (reader.end - reader.pos) // 8
    if trailing:
        notes.append(f"{trailing} bytes after the end of the document")
    return Decoded(schema, content, message, tuple(notes), trailing)
