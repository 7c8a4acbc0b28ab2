"""Numbers out of message trees."""

from __future__ import annotations

import ipaddress
from typing import Any


def physical(node: Any) -> float | None:
    """A PhysicalValueType (DIN, ISO 15118-2: Multiplier, Unit, Value) or RationalNumberType (ISO 15118-20: Exponent, Value).

    A float in the value's unit; None where it is absent or odd.
    """
    if isinstance(node, bool):
        return None
    if isinstance(node, int | float):
        return float(node)
    if not isinstance(node, dict):
        return None
    value = node.get("Value")
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    exponent = node.get("Multiplier", node.get("Exponent", 0))
    if not isinstance(exponent, int):
        return None
    # Powers of ten as division keep 2300 * 10^-1 at 230.0 where 2300 * 0.1 would not.
    return float(value * 10**exponent) if exponent >= 0 else value / 10**-exponent


def number(node: Any) -> float | None:
    """A plain number, or a physical value."""
    return physical(node)


def dig(node: Any, *path: str) -> Any:
    """Follow element names; lists are entered at their first entry. None where the path ends early."""
    for name in path:
        if isinstance(node, list):
            node = node[0] if node else None
        if not isinstance(node, dict):
            return None
        node = node.get(name)
    return node


def mac_text(mac: bytes | None) -> str | None:
    """``02:00:00:00:00:01``."""
    return None if mac is None else ":".join(f"{b:02x}" for b in mac)


def ip_text(ip: bytes | None) -> str | None:
    """RFC 5952 text of an IPv6 address of 16 bytes."""
    if ip is None or len(ip) != 16:
        return None
    return str(ipaddress.IPv6Address(ip))
