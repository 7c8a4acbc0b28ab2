"""EXI codec for V2G messages over compact grammar tables. Pure."""

from plugtap.protocols.exi.build import BUILD
from plugtap.protocols.exi.decoder import decode, decode_fragment, decode_message, guess
from plugtap.protocols.exi.encoder import EncodeError, encode, encode_fragment
from plugtap.protocols.exi.result import Content, Decoded
from plugtap.protocols.exi.tables import FRAGMENT_SCHEMAS, SCHEMAS

PAYLOAD_TYPES: dict[int, tuple[str, ...]] = {
    0x8001: ("sap", "din", "iso2"),
    0x8002: ("iso20cm",),
    0x8003: ("iso20ac",),
    0x8004: ("iso20dc",),
    0x8005: ("iso20acdp",),
    0x8006: ("iso20wpt",),
    0x8101: ("iso20cm",),
    0x8102: ("iso20cm",),
    0x8103: ("iso20acdp",),
    0x8104: ("iso20cm",),
}
"""V2GTP payload type -> the schema sets its payload may belong to (ISO 15118-20 table 13; -2 and DIN share 0x8001)."""

__all__ = [
    "BUILD",
    "FRAGMENT_SCHEMAS",
    "PAYLOAD_TYPES",
    "SCHEMAS",
    "Content",
    "Decoded",
    "EncodeError",
    "decode",
    "decode_fragment",
    "decode_message",
    "encode",
    "encode_fragment",
    "guess",
]
