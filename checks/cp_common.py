"""What the control pilot checks share: their limits, and how a pilot state is read."""

from __future__ import annotations

from plugtap.checks.limits import limits_of
from plugtap.checks.meta import Limit
from plugtap.protocols.events import Pilot, PilotSample
from plugtap.sessions.session import Session

SECOND = 1_000_000_000
# IEC 61851-1 annex A: 3..7 % announces digital communication, 8..97 % a current
DIGITAL = (3.0, 7.0)
NOMINAL = (8.0, 97.0)


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
    return 0.0 < ev.duty < 100.0 and ev.state[:1] not in ("E", "F")


def is_digital(ev: Pilot | PilotSample) -> bool:
    """PWM of 3 to 7 %: digital communication."""
    return has_pwm(ev) and DIGITAL[0] <= ev.duty <= DIGITAL[1]


def is_nominal(ev: Pilot | PilotSample) -> bool:
    """PWM that announces a current."""
    return has_pwm(ev) and NOMINAL[0] <= ev.duty <= NOMINAL[1]


def ampere(duty: float) -> float | None:
    """Current that a duty cycle (percent) announces, IEC 61851-1 Table A.7; None where it announces none."""
    if 8.0 <= duty < 10.0:
        return 6.0
    if 10.0 <= duty <= 85.0:
        return 0.6 * duty
    if 85.0 < duty <= 96.0:
        return 2.5 * (duty - 64.0)
    return 80.0 if 96.0 < duty <= 97.0 else None


def in_hlc(session: Session) -> bool:
    """Is a V2G session running: set up, not stopped, not ended?"""
    return session.setup_ok and session.session_stop_res is None and session.ended is None


def already_failed(session: Session) -> str:
    """What had gone wrong before, in words; empty if nothing had. What the pilot does then is a consequence."""
    if session.failed_response is not None:
        return f"{session.failed_response.name} {session.failed_response.code}"
    if session.evse_fault is not None:
        return session.evse_fault[0]
    if session.ev_error is not None:
        return session.ev_error[0]
    return "the connection was closed" if session.closes and session.setup_ok else ""
