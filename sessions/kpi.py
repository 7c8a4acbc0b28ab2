"""Key figures of a session, as the ChargeX KPI working group defines them for OCPP logs, as far as a listener can tell (docs/analyze.md).

Each is yes, no or unknown. Unknown sessions belong in neither numerator nor denominator: count them apart.
"""

from __future__ import annotations

import msgspec

from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session
from plugtap.sessions.tables import POWER_STARTED_A


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """`power_started`: current flowed (charge start success, equation 1). `charge_start_s`: seconds from the later of plug-in and authorization to
    power (equation 9). `ended_ok`: a session with power ended as it should (equation 10); None without power. `success`: both (equation 12).
    `unknown`: why it cannot be told, empty where it can."""

    power_started: bool | None = None
    charge_start_s: float | None = None
    ended_ok: bool | None = None
    success: bool | None = None
    unknown: str = ""


def kpi(session: Session, outcome: str | None) -> Kpi:
    """The key figures of a closed session; all unknown while it is open (`outcome` None)."""
    reason = _unknown(session, outcome)
    if reason:
        return Kpi(unknown=reason)
    power = started(session)
    if power is None:
        # An end that is not shown says nothing of a session that had no power yet.
        return Kpi(unknown="the end is not shown") if outcome == "incomplete" else Kpi(power_started=False, success=False)
    ended = None if outcome == "incomplete" else _ended_ok(session, outcome)
    return Kpi(
        power_started=True, charge_start_s=_start_time(session, power), ended_ok=ended, success=ended,
        unknown="the end is not shown" if ended is None else "",
    )  # fmt: skip


def _unknown(session: Session, outcome: str | None) -> str:
    if outcome is None:
        return "in progress"
    if session.pair == "foreign":
        return "another pair's session"
    if session.tls_data and not session.messages:
        return "encrypted"
    # What began before the recording was no attempt that anybody counted.
    return "the start was not recorded" if session.start_late else ""


def started(session: Session) -> int | None:
    """When power began, ns; None where it did not.

    DC: the first response of the charge loop with 1 A or more. AC: the first ChargingStatusRes (AC_ChargeLoopRes), with the pilot in C or D where
    the pilot was seen; by the pilot alone: the first C or D with a current announced.
    """
    return session.electrical.power_started or session.electrical.ac_started


def _start_time(session: Session, power: int) -> float:
    plugged = session.phases["plugged"][0] if "plugged" in session.phases else session.start
    return round((power - max(plugged, session.authorized or plugged)) / SECOND, 3)


def _ended_ok(session: Session, outcome: str | None) -> bool:
    """Valid ends: in order, whoever asked; paused; announced by the EVSE; unplugged without current. No fault before any of them."""
    faults = (session.failed_response, session.ev_error, session.evse_fault, session.cp_lost, session.isolation_fault)
    if any(fault is not None for fault in faults):
        return False
    if outcome in ("completed", "paused"):
        return True
    end = session.ended
    dry = abs(session.electrical.i_last or 0.0) < POWER_STARTED_A
    return end is not None and end.how == "unplug" and not session.delivering and dry
