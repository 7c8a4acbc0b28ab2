"""V2G messages as bytes: V2GTP framing and EXI, with a memory of what was encoded so that the receiving party needn't decode it again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.sim import wire

Content = dict[str, Any]
PAYLOAD_TYPE = {"sap": 0x8001, "din": 0x8001, "iso2": 0x8001, "iso20cm": 0x8002, "iso20ac": 0x8003, "iso20dc": 0x8004}
_SCHEMA_OF = {0x8002: "iso20cm", 0x8003: "iso20ac", 0x8004: "iso20dc"}
_ENCODER = msgspec.json.Encoder()


class Codec:
    """Encodes and decodes; both directions are remembered (bounded), so equal messages cost once. Content is never changed in place."""

    def __init__(self, keep: int = 2048) -> None:
        self._keep = keep
        self._encoded: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._decoded: OrderedDict[tuple[str, bytes], Content] = OrderedDict()

    def encode(self, schema: str, content: Content) -> bytes:
        """EXI bytes of a message."""
        key = (schema, _ENCODER.encode(content))
        known = self._encoded.get(key)
        if known is None:
            known = exi.encode(schema, content)
            self._encoded[key] = known
            self._decoded[(schema, known)] = content
            for memory in (self._encoded, self._decoded):
                if len(memory) > self._keep:
                    memory.popitem(last=False)
        return known

    def decode(self, schema: str, data: bytes) -> Content | None:
        """Content of a message; None when it can't be decoded."""
        known = self._decoded.get((schema, data))
        if known is not None:
            return known
        try:
            return exi.decode(schema, data)
        except DecodeError:
            return None


def name_and_body(content: Content) -> tuple[str, Content]:
    """The message element's name and its content."""
    if "V2G_Message" in content:
        body = content["V2G_Message"]["Body"]
        return next(iter(body.items())) if body else ("", {})
    return next(iter(content.items()))


def schema_for(payload_type: int, negotiated: str) -> str:
    """Which schema reads a payload: SAP until a protocol is chosen."""
    return _SCHEMA_OF.get(payload_type, negotiated)


class Assembler:
    """V2GTP messages out of a byte stream, for the parties (plugtap's own is protocols/v2gtp.py)."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Whole messages as (payload type, payload). A header that is none ends the reading: the rest is dropped."""
        self._data += data
        found = []
        while len(self._data) >= 8:
            version, inverse, payload_type, length = wire.V2GTP_HEADER.unpack_from(self._data)
            if version != 1 or inverse != 0xFE or length > 65536:
                self._data.clear()
                break
            if len(self._data) < 8 + length:
                break
            found.append((payload_type, bytes(self._data[8 : 8 + length])))
            del self._data[: 8 + length]
        return found


def physical(value: float, unit: str, multiplier: int = 0) -> Content:
    """PhysicalValueType of DIN 70121 and ISO 15118-2."""
    while abs(round(value / 10**multiplier)) > 32767:
        multiplier += 1
    return {"Multiplier": multiplier, "Unit": unit, "Value": round(value / 10**multiplier)}


def rational(value: float, exponent: int = 0) -> Content:
    """RationalNumberType of ISO 15118-20."""
    while abs(round(value / 10**exponent)) > 32767:
        exponent += 1
    return {"Exponent": exponent, "Value": round(value / 10**exponent)}


def number(node: Content | None) -> float:
    """The value of a PhysicalValue or RationalNumber; 0 when absent."""
    if not node:
        return 0.0
    exponent = node["Multiplier"] if "Multiplier" in node else node.get("Exponent", 0)
    return float(node["Value"]) * float(10.0 ** int(exponent))
