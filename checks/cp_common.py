"""What the control pilot checks share: their limits, and how a pilot state is read."""

from __future__ import annotations

from plugtap.checks.tables import limits_of, timeouts
from plugtap.checks.meta import Limit
from plugtap.checks.v2g_common import stem
from plugtap.protocols.events import Pilot, PilotSample
from plugtap.protocols.items import CP_TIME_UNCERTAIN
from plugtap.protocols.pilot import CP_NOMINAL, DutyRow, duty_current
from plugtap.sessions.session import Session

SECOND = 1_000_000_000


def pilot(*names: str) -> dict[str, Limit]:
    """Rows of pilot.tsv by name."""
    return limits_of("pilot", *names)


def ns(seconds: float) -> int:
    """Seconds as nanoseconds."""
    return round(seconds * SECOND)


def seconds(t: int) -> float:
    """Nanoseconds as seconds, milliseconds precise."""
    return round(t / SECOND, 3)


def letter(state: str | None) -> str:
    """``B`` of ``B2``; ``?`` where nothing is known."""
    return state[:1] if state else "?"


def has_pwm(ev: Pilot | PilotSample) -> bool:
    """Does the oscillator run?"""
    return ev.state.endswith("2")


def is_digital(ev: Pilot | PilotSample) -> bool:
    """PWM of 3 to 7 %: digital communication. False where nobody measured the duty cycle."""
    return has_pwm(ev) and duty_current(ev.duty).meaning == "digital"


def is_nominal(ev: Pilot | PilotSample, table: tuple[DutyRow, ...]) -> bool:
    """PWM that announces a current by the site's table. False where nobody measured the duty cycle."""
    return has_pwm(ev) and duty_current(ev.duty, table).meaning == "current"


def measured(ev: Pilot | PilotSample) -> bool:
    """Were the levels measured, cycle by cycle, at a front end of ours? MMEs and event logs carry the positive plateau or names only."""
    return ev.origin == "adc" and not ev.flags & CP_NOMINAL


def timed(ev: Pilot | PilotSample) -> bool:
    """Is the time good enough to be held against PLC frames within a quarter of a second?"""
    return not ev.flags & CP_TIME_UNCERTAIN


def in_hlc(session: Session) -> bool:
    """Is a V2G session running: set up, not stopped, not ended?"""
    return session.setup_ok and session.session_stop_res is None and session.ended is None


def already_failed(session: Session, t: int) -> str:
    """What had gone wrong before `t`, in words; empty if nothing had. What the pilot does then is a consequence."""
    failure = session.failed_response
    if failure is not None and failure.t <= t:
        return f"{failure.name} {failure.code}"
    for trouble in (session.evse_fault, session.ev_error):
        if trouble is not None and trouble[1].t <= t:
            return trouble[0]
    if session.setup_ok and any(close[2] <= t for close in session.closes):
        return "the connection was closed"
    pending = session.pending
    if pending is not None and pending.message is not None and not session.gap_since(pending.t):
        row = timeouts().get((session.protocol or "", stem(pending.message)))
        if row is not None and t - pending.t > row.fails * SECOND:
            return f"{pending.message} was not answered within {row.fails:g} s"
    return ""
