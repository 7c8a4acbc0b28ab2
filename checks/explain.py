"""A check in words: what `plugtap checks ID` and docs/checks.md print, from the metadata and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from plugtap.checks.meta import Limit, Meta

GAP = {
    "suppress": "frames lost within what it observes silence it",
    "uncertain": "frames lost within what it observes make it `possible`",
    "proceed": "lost frames don't matter to it",
}
CONFIDENCE = {
    "seen": "the number or id was read in a public source",
    "mixed": "partly read in public sources",
    "corrected": "the number was corrected against further sources or real captures",
    "unconfirmed": "no public source: a heuristic",
}
NEEDS = {
    "slac-both": "both sides of SLAC",
    "slac-evcc": "the EV's SLAC messages",
    "slac-secc": "the EVSE's SLAC messages",
    "hears-evcc": "a tap that hears the EV",
    "hears-secc": "a tap that hears the EVSE",
    "unicast-both": "unicast of both sides",
    "unicast-evcc": "the EV's unicast",
    "unicast-secc": "the SECC's unicast",
    "hears-unicast-evcc": "a tap that hears the EV's unicast",
    "hears-unicast-secc": "a tap that hears the SECC's unicast",
    "pilot": "the control pilot",
    "pilot-cycles": "the control pilot, cycle by cycle",
    "host": "a tap between a host and its modem",
}
_PLACE = re.compile(r"\{([^{}]+)\}")


def amount(limit: Limit) -> str:
    """``0.2 s``, ``40 dB``, ``3``."""
    return f"{limit.value:g} {limit.unit}".rstrip()


def filled(text: str, limits: Mapping[str, Limit]) -> str:
    """The text with ``{limit-name}`` replaced by number and unit; the unit is left out where the text goes on with it."""

    def put(match: re.Match[str]) -> str:
        limit = limits.get(match[1])
        if limit is None:
            return match[0]
        goes_on = limit.unit and text[match.end() :].lstrip().startswith(limit.unit.split()[0])
        return f"{limit.value:g}" if goes_on else amount(limit)

    return _PLACE.sub(put, text)


def trigger(meta: Meta) -> str:
    """The condition with its numbers."""
    return filled(meta.trigger, meta.limits)


def needs(meta: Meta) -> str:
    """The coverage without which the check stays silent, in words; empty if it needs none."""
    return ", ".join(NEEDS.get(need, need) for need in meta.needs)


def sections(meta: Meta) -> list[tuple[str, str]]:
    """Everything there is to know of a check as (heading, text), in reading order."""
    parts = [
        ("trigger", trigger(meta)),
        ("likely cause", meta.cause),
        ("remedy", meta.fix),
        ("rests on", "; ".join(meta.refs)),
        ("how sure", CONFIDENCE.get(meta.confidence, meta.confidence)),
        ("applies to", f"{', '.join(meta.protocols)}; {', '.join(meta.modes)}"),
        ("needs", needs(meta)),
        ("losses", GAP[meta.gap]),
        ("codes", ", ".join(code for code in (meta.uec, meta.mrec) if code)),
        ("limits", "; ".join(f"{name} = {amount(limit)} ({limit.why}; {limit.sure})" for name, limit in meta.limits.items())),
        ("example", meta.example),
        ("", "" if meta.enabled else "Off unless the settings switch it on."),
    ]
    return [(heading, text) for heading, text in parts if text]
