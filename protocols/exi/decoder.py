"""Decoding of whole EXI streams."""

from __future__ import annotations

import msgspec

from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi import variants
from plugtap.protocols.exi.result import Content, Decoded
from plugtap.protocols.exi.tables import grammar, loaded

MAX_DEPTH = 40
"""Elements in elements: the deepest message has less than half of that."""

MAX_ENTRIES = 65_536
"""Repeated elements in one message, all lists together."""

known = loaded.get  # half the time of asking `loaded` anew for its method


def decode(schema: str, data: bytes) -> Content:
    """The content of one EXI document. See `decode_message`."""
    return decode_message(schema, data).content


def decode_message(
    schema: str, data: bytes, max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES
) -> Decoded:
    """Decodes one EXI document (a V2GTP payload) of the schema set `schema`, one of `SCHEMAS`.

    iso20acdp and iso20wpt are also tried in the order of libcbv2g, see `variants`; `Decoded.variant` says so.
    Raises DecodeError (layer ``exi``, offset in bits, `path` of the elements entered, `partial` content), and
    ValueError for an unknown schema. Source: EXI 1.0 as profiled in ISO 15118-2 7.9.1 and ISO 15118-20 7.9.
    """
    try:
        decoded: Decoded = (known(schema) or grammar(schema)).decode(data, max_depth, max_entries)
    except DecodeError:
        foreign = _foreign(schema, data, max_depth, max_entries)
        if foreign is None:
            raise
        return foreign
    if decoded.trailing:
        return _foreign(schema, data, max_depth, max_entries) or decoded
    return decoded


def _foreign(schema: str, data: bytes, max_depth: int, max_entries: int) -> Decoded | None:
    """Where the standard's grammar fails or leaves bytes over: by libcbv2g's, if it has one and that leaves none."""
    if schema not in variants.SCHEMAS:
        return None
    try:
        decoded: Decoded = grammar(schema, variants.LIBCBV2G).decode(data, max_depth, max_entries)
    except DecodeError:
        return None
    return None if decoded.trailing else msgspec.structs.replace(decoded, variant=variants.LIBCBV2G)


def decode_fragment(schema: str, data: bytes) -> Content:
    """Decodes an EXI fragment of one element, the form in which signed elements are digested.

    `schema` may also be ``xmldsig``, whose fragments SignedInfo is signed as. Raises as `decode_message` does.
    """
    content: Content = grammar(schema).decode_fragment(data, MAX_DEPTH, MAX_ENTRIES)
    return content


def guess(data: bytes) -> str | None:
    """The schema set of a payload of type 0x8001 from its first bytes: ``sap``, ``din``, ``iso2`` or None.

    The root's event code says it: V2G_Message is 77 of 82 in DIN and 76 of 81 in ISO 15118-2; a
    supportedAppProtocol message has code 0 or 1 of 3.
    """
    if len(data) < 2 or data[0] != 0x80:
        return None
    code = data[1] >> 1
    if code == 77:
        return "din"
    if code == 76:
        return "iso2"
    return "sap" if data[1] < 0x80 else None
