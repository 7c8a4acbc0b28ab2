"""Deviations: what a scenario changes about messages, and what it lets happen when.

A Change alters messages on their way out (a value, a header, the bytes, the time, whether at all). An Action happens after a message or
at a time and sets any attribute of the bench, or calls one of its verbs (cp, reset, unplug, restart SLAC …).
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to messages named `message` (``PreChargeRes``, ``CM_SLAC_MATCH.CNF``, ``SDPRes``, ``NA`` …).

    `nth` counts messages of that name since plug-in, from 1: ``3``, ``2-5``, ``4-``, empty for all.
    """

    message: str
    nth: str = ""
    set: dict[str, Any] = {}  # dotted path below the message element -> value; a number sets a PhysicalValue
    remove: tuple[str, ...] = ()
    header: dict[str, Any] = {}
    name: str = ""  # send it as another message (with the content of `set`)
    replace: bool = False  # drop the built content, keep only what `set` gives
    delay: float = 0.0  # seconds later than usual
    drop: bool = False
    repeat: int = 1
    append: str = ""  # hex bytes after the EXI stream, inside the V2GTP payload
    exi: str = ""  # hex: this instead of the EXI stream
    flip: tuple[int, ...] = ()  # bits of the EXI stream to invert
    version: int = 0x01
    inverse: int = 0xFE
    payload_type: int = 0  # 0: the right one
    length: int = -1  # -1: the right one
    bytes_at: dict[str, str] = {}  # offset in the frame (MME, SDP payload, ND frame) -> hex
    cut: int = 0  # shorten the frame or payload to so many bytes

    def matches(self, count: int) -> bool:
        """Whether the `count`-th message is meant."""
        return in_range(self.nth, count)


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens `delay` seconds after the nth `after` (a message, or an event such as ``plug``, ``link``, ``tcp``)."""

    after: str
    nth: str = "1"
    delay: float = 0.0
    set: dict[str, Any] = {}  # dotted path in the pair: ev, evse, battery, supply, pilot, line, modem … -> value
    do: str = ""  # a verb of the pair: see pair.VERBS
    value: Any = None


def in_range(text: str, count: int) -> bool:
    """``""`` all, ``3`` that one, ``2-5`` a range, ``4-`` from there on."""
    if not text:
        return True
    first, dash, last = text.partition("-")
    if not dash:
        return count == int(first)
    return int(first or 1) <= count <= (int(last) if last else 1 << 30)


def is_physical(node: object) -> bool:
    """Whether a node is a PhysicalValue (DIN, ISO 15118-2) or RationalNumber (-20)."""
    return isinstance(node, dict) and "Value" in node and ("Multiplier" in node or "Exponent" in node)


def scaled(node: dict[str, Any], value: float) -> dict[str, Any]:
    """The PhysicalValue or RationalNumber with another value, in the finest scale that fits 16 bits."""
    key = "Multiplier" if "Multiplier" in node else "Exponent"
    exponent = int(node[key])
    while abs(round(value / 10**exponent)) > 32767:
        exponent += 1
    return {**node, key: exponent, "Value": round(value / 10**exponent)}


def apply_path(root: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path in a tree; list positions are numbers. Missing dicts on the way are made."""
    node: Any = root
    *way, last = path.split(".")
    for step in way:
        if isinstance(node, list):
            node = node[int(step)]
        else:
            node = node.setdefault(step, {})
    if isinstance(node, list):
        node[int(last)] = value
    elif is_physical(node.get(last)) and isinstance(value, (int, float)) and not isinstance(value, bool):
        node[last] = scaled(node[last], value)
    else:
        node[last] = value


def remove_path(root: dict[str, Any], path: str) -> None:
    """Remove a dotted path from a tree, where it is there."""
    node: Any = root
    *way, last = path.split(".")
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node.get(step, {})
    if isinstance(node, dict):
        node.pop(last, None)


def altered(body: dict[str, Any], change: Change) -> dict[str, Any]:
    """The message element's content after a change; the original stays as it is."""
    result: dict[str, Any] = {} if change.replace else copy.deepcopy(body)
    for path, value in change.set.items():
        apply_path(result, path, copy.deepcopy(value))
    for path in change.remove:
        remove_path(result, path)
    return result


def patched(data: bytes, change: Change) -> bytes:
    """Raw bytes after a change's `bytes_at` and `cut`."""
    result = bytearray(data)
    for offset, text in change.bytes_at.items():
        fresh = bytes.fromhex(text)
        result[int(offset) : int(offset) + len(fresh)] = fresh
    return bytes(result[: change.cut]) if change.cut else bytes(result)


def flipped(exi: bytes, bits: tuple[int, ...]) -> bytes:
    """EXI bytes with bits inverted (bit 0 is the first of the stream)."""
    result = bytearray(exi)
    for bit in bits:
        if bit // 8 < len(result):
            result[bit // 8] ^= 0x80 >> bit % 8
    return bytes(result)
