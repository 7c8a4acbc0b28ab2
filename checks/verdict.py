"""The one-sentence judgement of every session, with what to do (DESIGN section 5, VERDICT)."""

from __future__ import annotations

from collections.abc import Mapping

from plugtap.checks.base import Check
from plugtap.checks.finding import Finding, Verdict
from plugtap.sessions.outcome import why
from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session

# Last phase -> what was going on, for sentences.
DOING = {
    None: "before anything was exchanged",
    "plugged": "after plugging in",
    "slac": "during SLAC",
    "matched": "after the SLAC match",
    "linked": "after the link came up",
    "sdp": "during SECC discovery",
    "tcp": "while the protocol was negotiated",
    "tls": "inside TLS",
    "negotiated": "after the protocol was agreed",
    "setup": "during session set-up",
    "authorization": "during authorisation",
    "parameters": "after the charge parameters were exchanged",
    "cable-check": "during CableCheck",
    "pre-charge": "during PreCharge",
    "charging": "while charging",
}

# How the session ended -> words for who did what.
HOW = {
    "session-stop": "ended with SessionStop",
    "pause": "paused",
    "fin": "closed the TCP connection",
    "rst": "reset the TCP connection",
    "silence": "fell silent",
    "unplug": "was unplugged",
    "new-slac": "started SLAC again",
    "capture-end": "was still going on when the capture ended",
}


PARTY = {"EVCC": "EV", "SECC": "EVSE"}  # in sentences for people


def verdict(session: Session, outcome: str | None, root: Finding | None, checks: Mapping[str, type[Check]]) -> Verdict:
    """The verdict of a session; `outcome` None while it is open."""
    if outcome is None:
        return Verdict(side="none", certainty="possible", summary=f"In progress: {_progress(session)}.")
    if root is not None:
        meta = checks[root.check].meta
        return Verdict(
            check=root.check, side=root.side, certainty="possible" if outcome == "incomplete" else root.certainty,
            summary=root.detail, suggestion=root.fix, uec=meta.uec, possible_mrec=meta.mrec,
        )  # fmt: skip
    if outcome in ("completed", "paused"):
        return Verdict(side="none", certainty="sure", summary=_health(session, outcome))
    if outcome == "stopped":
        return _stopped(session)
    if outcome == "incomplete":
        return _incomplete(session)
    return _failed(session)


def _progress(session: Session) -> str:
    return f"reached {session.reached}" if session.reached else "nothing decoded yet"


def duration_s(session: Session) -> float:
    """From the session's start to its end, seconds."""
    return ((session.end_t if session.end_t is not None else session.last_t) - session.start) / SECOND


def _health(session: Session, outcome: str) -> str:
    el = session.electrical
    parts = []
    if session.protocol == "iec61851":
        parts.append(f"Charged by control pilot alone (IEC 61851) for {_span(duration_s(session))}")
    elif _not_credible(session):
        parts.append(
            f"Charged for {_span(duration_s(session))}; the energy is not known, because the reported current is not credible "
            f"({el.i_max:.0f} A, at most {el.target_i_max:.0f} A were asked for)"
        )
    elif el.energy_ws >= 3600:
        parts.append(f"Charged {_energy(el.energy_ws)} in {_span(duration_s(session))}")
    else:
        parts.append(f"Charged for {_span(duration_s(session))}")
    if el.soc_start is not None and el.soc_end is not None:
        parts.append(f"SOC {el.soc_start} to {el.soc_end} %")
    if outcome == "paused":
        parts.append("paused by the EV")
    elif session.stop_asked_by is not None and session.protocol != "iec61851":
        asked = "EV" if session.stop_asked_by == "EVCC" else "EVSE"
        parts.append(f"ended in order, stop asked by the {asked}")
    return ", ".join(parts) + "."


CREDIBLE = 5.0  # a reported current this many times the highest target is an error of scale


def _not_credible(session: Session) -> bool:
    el = session.electrical
    return el.i_max is not None and el.target_i_max is not None and el.i_max > CREDIBLE * max(el.target_i_max, 1.0)


def _energy(watt_seconds: float) -> str:
    wh = watt_seconds / 3600
    return f"{wh / 1000:.2f} kWh" if wh >= 100 else f"{wh:.0f} Wh"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


ASKED_A = 1.0  # an EV that asked for more than this wanted to charge


def _without_current(session: Session) -> str:
    """What a charge loop without current was like; nothing where the EV never asked for one, or there was no loop."""
    el = session.electrical
    if el.loop_first is None or el.loop_last is None or (el.target_i_max or 0.0) < ASKED_A or el.i_max is None:
        return ""
    span = (el.loop_last - el.loop_first) / SECOND
    return f" In {span:.1f} s of the charge loop the EVSE reported {el.i_max:.1f} A at most, the EV asked for up to {el.target_i_max:.1f} A."


def _stopped(session: Session) -> Verdict:
    by = session.stop_asked_by or (session.ended.by if session.ended is not None else "unknown")
    where = DOING.get(session.reached, "")
    if session.protocol is None and not session.messages:
        return Verdict(side="none", certainty="possible", summary=f"Plugged in for {_span(duration_s(session))}, no communication {where}.")
    dry = _without_current(session)
    if by == "SECC" and session.stop_asked is not None:
        return Verdict(
            side="SECC", certainty="likely",
            summary=f"The EVSE announced its stop in {session.stop_asked.name} (frame {session.stop_asked.frame}) {where}, before energy flowed.{dry}",
            suggestion="Ask what the operator or the driver did at the EVSE; if nobody stopped it, read its log for the reason of the stop"
            + (" and why it gave no current." if dry else "."),
        )  # fmt: skip
    if dry:
        return Verdict(
            side="SECC", certainty="possible", summary=f"The EV ended the session in order, as no current had flowed.{dry}",
            suggestion="Find out why the EVSE gave no current: power unit, output contactor, limits of its energy management, a simulated output.",
        )  # fmt: skip
    return Verdict(
        side=by if by in ("EVCC", "SECC") else "unknown",
        certainty="likely",
        summary=f"The {PARTY.get(by, by)} ended the session in order {where}, before energy flowed.",
        suggestion="Ask what the driver or the operator did; if nobody stopped it, compare the limits both sides announced.",
    )


def _incomplete(session: Session) -> Verdict:
    if session.tls_data and not session.messages:
        return Verdict(
            side="tap", certainty="sure", summary="The messages were encrypted (TLS): how the session went is not observable.",
            suggestion="Read the logs of the EVSE or the EV: plugtap does not decrypt TLS.",
        )  # fmt: skip
    if session.sees("slac-secc") and not session.sees("slac-evcc") and not session.messages:
        return Verdict(
            side="tap", certainty="sure",
            summary="Only the EVSE's side of SLAC and broadcasts could be heard: what the EV sent is not observable with this tap.",
            suggestion="Use a host tap, a mirror port or a sniffer that hears unicast of both stations.",
        )  # fmt: skip
    if session.sees("slac-evcc") and not session.sees("slac-secc") and not session.messages:
        return Verdict(
            side="tap", certainty="likely",
            summary="Only the EV's side of SLAC could be heard: what the EVSE answered is not observable with this tap, or it did not answer.",
            suggestion="Check with a host tap whether the EVSE's messages reach this tap.",
        )  # fmt: skip
    where = DOING.get(session.reached, "")
    end = session.ended
    if end is not None and end.how in ("fin", "rst"):
        return Verdict(
            side="tap", certainty="sure",
            summary=f"The {PARTY.get(end.by, 'pair')} {HOW[end.how]} {where}; this tap heard one side's messages only, so why is not observable.",
            suggestion="Use a host tap, a mirror port or a sniffer that hears unicast of both stations.",
        )  # fmt: skip
    if end is not None and end.how in ("silence", "new-slac") and session.sees("unicast-both") and session.history:
        last = session.history[-1]
        return Verdict(
            side="tap", certainty="likely",
            summary=f"After {last.name} (frame {last.frame}) nothing was recorded for {(end.t - last.t) / SECOND:.0f} s, although power delivery had "
            "been started: how the session went on is not shown.",
            suggestion="Record without a pause if the charge loop matters.",
        )  # fmt: skip
    if session.ended is not None and session.ended.how != "capture-end":
        return Verdict(
            side="tap", certainty="sure",
            summary=f"Nothing more was heard {where}; this tap does not hear both sides, so that says nothing about them.",
            suggestion="Use a host tap, a mirror port or a sniffer that hears unicast of both stations.",
        )  # fmt: skip
    return Verdict(side="none", certainty="sure", summary=f"The capture ends {where}; until then nothing shows a failure.")


def _failed(session: Session) -> Verdict:
    end = session.ended
    where = DOING.get(session.reached, "")
    if end is None:
        return Verdict(side="unknown", certainty="possible", summary=f"Failed {where}: {why(session)}.")
    who = f"The {PARTY[end.by]}" if end.by in PARTY else "One side"
    summary = f"{who} {HOW[end.how]} {where}."
    side = end.by if end.by in ("EVCC", "SECC") else "unknown"
    pending = session.pending
    if pending is not None and pending.message is not None:
        summary = f"{who} {HOW[end.how]} {where}, with {pending.message} (frame {pending.frame}) not answered."
    return Verdict(
        side=side, certainty="possible", summary=summary,
        suggestion="Read the last messages before the end in the archive; the cause is not visible in any rule known to plugtap.",
    )  # fmt: skip
