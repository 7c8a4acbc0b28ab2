"""Grammars of peers that deviate from the standard: libcbv2g, the codec of EVerest.

Its tables of two ISO 15118-20 sets differ from the schemas, so peers built on it put other bytes on the wire:

- ACDP: the root event codes of ACDP_ConnectRes (1) and ACDP_DisconnectReq (2) are exchanged.
- WPT: in the four WPT_FinePositioning messages, where the optional list of VendorSpecificDataContainer is followed by
  one optional element, that element is offered only after exactly one container. Before the first container and
  after the second the end of the element therefore has code 1 instead of 2. (What it does after the third is not
  known; here it stays as after the second.)
"""

from __future__ import annotations

from typing import Any

import msgspec

LIBCBV2G = "libcbv2g"

SCHEMAS = ("iso20acdp", "iso20wpt")
"""The sets that have such a variant."""

_EE, _SE = 0, 4


def libcbv2g(raw: Any) -> Any:
    """The table `raw` of a set in `SCHEMAS` as libcbv2g has it."""
    return _acdp(raw) if raw.schema == "iso20acdp" else _wpt(raw)


def _acdp(raw: Any) -> Any:
    roots = list(raw.roots)
    names = [raw.elements[element][0] for element, _ in roots]
    first, second = names.index("ACDP_ConnectRes"), names.index("ACDP_DisconnectReq")
    roots[first], roots[second] = roots[second], roots[first]
    return msgspec.structs.replace(raw, roots=roots)


def _wpt(raw: Any) -> Any:
    types = list(raw.types)
    for element, kind in raw.roots:
        if raw.elements[element][0].startswith("WPT_FinePositioning"):
            types[kind] = _without_option(types[kind])
    return msgspec.structs.replace(raw, types=types)


def _without_option(states: list[Any]) -> list[Any]:
    """The states of one message, with the optional element left out before the first and after the second container.

    In the table the list is two states: the one before it, and one that loops (its first production leads to itself).
    """
    states = [list(state) for state in states]
    before = next(i for i, s in enumerate(states) if _optional_list(s) and s[1][1] != i)
    loop = states[before][1][1]
    second = len(states)
    container, _option, end = states[loop][1:]
    states.append([states[loop][0], [container[0], second, *container[2:]], end])
    states[loop] = [states[loop][0], [container[0], second, *container[2:]], *states[loop][2:]]
    states[before] = [states[before][0], states[before][1], states[before][3]]
    return states


def _optional_list(state: list[Any]) -> bool:
    """An optional repeated element, an optional single one, the end: kind and three productions."""
    return (
        len(state) == 4
        and state[1][0] == _SE
        and len(state[1]) > 4
        and state[2][0] == _SE
        and len(state[2]) == 4
        and state[3][0] == _EE
    )
