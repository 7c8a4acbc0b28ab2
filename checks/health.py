"""How much room a session had: what was measured beside its limit, as a ratio. Says nothing of good and bad; that is for findings and verdict."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from plugtap.checks.tables import limits_of, timeouts
from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session

SOUNDS = 10  # C_EV_match_MNBC


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """`ratio` is value over limit: 1 is the limit itself. For `at_least` limits (sounds counted) more is better. `frame`: where it was, 0 unknown."""

    name: str
    value: float
    unit: str
    limit: float
    ratio: float
    at_least: bool = False
    frame: int = 0


def _measure(name: str, value: float, unit: str, limit: float, *, at_least: bool = False, frame: int = 0) -> Iterator[Measure]:
    if limit > 0:
        yield Measure(name=name, value=round(value, 3), unit=unit, limit=limit, ratio=round(value / limit, 3), at_least=at_least, frame=frame)


def measures(session: Session) -> tuple[Measure, ...]:
    """What can be told of the session, in the order of its phases. Deterministic; empty where nothing was measured."""
    return (*_slac(session), *_process(session), *_answers(session), *_electrical(session))


def _slac(session: Session) -> Iterator[Measure]:
    facts = session.slac
    if facts.attenuation_db is not None:
        yield from _measure("attenuation", facts.attenuation_db, "dB", limits_of("slac", "attenuation_warning")["attenuation_warning"].value)
    if facts.sounds_counted is not None:
        yield from _measure("sounds counted", facts.sounds_counted, "", SOUNDS, at_least=True)


def _process(session: Session) -> Iterator[Measure]:
    limit = {name: entry.value for name, entry in limits_of("v2g").items()}
    el = session.electrical
    phases = session.phases
    if "setup" in phases and not session.start_late:
        begin = phases.get("plugged", (session.start, 0))[0] if session.attempts == 1 else phases.get("matched", (session.start, 0))[0]
        yield from _measure("communication set-up", (phases["setup"][0] - begin) / SECOND, "s", limit["communication_setup"], frame=phases["setup"][1])
    if el.cable_check_first is not None and el.cable_check_last is not None:
        yield from _measure("CableCheck", (el.cable_check_last - el.cable_check_first) / SECOND, "s", limit["cable_check"])
    if el.precharge_first is not None and el.precharge_last is not None:
        allowed = limit["precharge_iso20" if session.protocol == "iso20" else "precharge"]
        yield from _measure("PreCharge", (el.precharge_last - el.precharge_first) / SECOND, "s", allowed)


def _answers(session: Session) -> Iterator[Measure]:
    """The slowest answer of each message, against the time the EVCC waits for it."""
    table = timeouts()
    for name, (latency, frame) in session.slowest.items():
        row = table.get((session.protocol or "", name)) or table.get(("sap", name))
        if row is not None:
            yield from _measure(f"{name}Res", latency / SECOND, "s", row.timeout, frame=frame)


def _electrical(session: Session) -> Iterator[Measure]:
    el = session.electrical
    if el.v_max is not None and el.ev_max_v is not None:
        yield from _measure("highest voltage", el.v_max, "V", el.ev_max_v)
    amps = [a for a in (el.ev_max_i, el.evse_max_i) if a is not None and a > 0]
    if el.i_max is not None and amps:
        yield from _measure("highest current", el.i_max, "A", min(amps))


def words(measure: Measure) -> str:
    """``CableCheck 34.7 of 40 s (87 %)``."""
    return f"{measure.name} {measure.value:.3g} of {measure.limit:g} {measure.unit} ({measure.ratio * 100:.0f} %)".replace("  ", " ")
