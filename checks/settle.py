"""At a session's end: which finding is the root, which are consequences, and what the severities are now that the outcome is known.

Failure and deviation are two things. While a session runs, a finding says what it *can* do; now it is known what it *did*:

* failed: the root is an error that stopped charging; the other candidates point to it.
* stopped (orderly, no energy): the root keeps its severity and is named as what stopped charging.
* completed, paused: nothing stopped charging, so no such finding stays above warning.
* incomplete: the end was not shown; what looked like a stop is a warning, and named as a possible reason if both sides were heard.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import msgspec

from plugtap.checks.base import Check
from plugtap.checks.finding import Finding
from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session

NEAR_END_S = 65.0  # a candidate whose last sign is older than this before the end did not end the session


def root_of(session: Session, outcome: str, findings: Sequence[Finding], checks: Mapping[str, type[Check]]) -> Finding | None:
    """The finding that explains why the session did not go well; None where it went well, was not shown to its end, or nothing explains it."""
    if outcome in ("completed", "paused") or (outcome == "incomplete" and not _heard_both(session)):
        return None
    end_s = ((session.ended.t if session.ended is not None else session.last_t) - session.start) / SECOND
    candidates = []
    for finding in findings:
        check = checks.get(finding.check)
        if check is None or finding.effect == "none" or not {finding.effect, check.meta.effect} & {"stops-charging", "unsafe"} or finding.severity == "info":
            continue
        if end_s - last_t(session, finding) > NEAR_END_S:
            continue
        if _overcome(session, finding):
            continue
        candidates.append((check.meta.priority, finding.t, finding.id, finding))
    return min(candidates)[-1] if candidates else None


# Families of what comes before the dialogue -> the phase that proves their trouble overcome.
OVERCOME_BY = {"slac": "matched", "link": "setup", "sdp": "setup", "tcp": "setup", "sap": "setup", "tls": "setup"}
# Families of the dialogue: whatever they tell is overcome by any phase entered after it. Not so value: a voltage difference at
# PowerDelivery shows what it did only in the charge loop.
OF_DIALOGUE = ("time", "seq", "pres", "sess", "status", "exi", "v2gtp")


def _overcome(session: Session, finding: Finding) -> bool:
    """Did the session get past what the finding is about, after its last sign?"""
    family = finding.check.split("-", 1)[0]
    if family in OF_DIALOGUE and finding.frames:
        # By frames, not by times: the capture's clock may have been set back.
        return any(frame > max(finding.frames) for _, frame in session.phases.values())
    phase = OVERCOME_BY.get(family)
    if phase is None or phase not in session.phases:
        return False
    return (session.phases[phase][0] - session.start) / SECOND > last_t(session, finding)


def _heard_both(session: Session) -> bool:
    if session.tls_data and not session.messages:
        return False  # heard, but encrypted
    return session.sees("unicast-both" if session.messages else "slac-both")


def last_t(session: Session, finding: Finding) -> float:
    """Seconds from the session's start to the finding's last repeat."""
    return _seconds(finding.last_time) - session.start / SECOND


def _seconds(text: str) -> float:
    moment = datetime.datetime.fromisoformat(text[:19]).replace(tzinfo=datetime.UTC)
    return moment.timestamp() + int(text[20:29]) / SECOND


def settle(session: Session, outcome: str, findings: Sequence[Finding], checks: Mapping[str, type[Check]]) -> tuple[list[Finding], Finding | None]:
    """The findings as they stand now, and the root among them."""
    root = root_of(session, outcome, findings, checks)
    settled = [_settled(f, outcome, root) for f in findings]
    return settled, next((f for f in settled if root is not None and f.id == root.id), None)


def _settled(finding: Finding, outcome: str, root: Finding | None) -> Finding:
    severity, effect, points_to = finding.severity, finding.effect, finding.root
    if root is not None and finding.id == root.id:
        effect = "unsafe" if effect == "unsafe" else "stops-charging"
        severity = "error" if outcome == "failed" else severity
    elif effect == "stops-charging":
        if root is not None:
            points_to = root.id
        effect = "unknown" if outcome in ("failed", "incomplete") else "degrades"
        severity = "warning" if severity == "error" else severity
    if outcome == "incomplete" and effect == "stops-charging":
        severity, effect = ("warning" if severity == "error" else severity), "unknown"
    if (severity, effect, points_to) == (finding.severity, finding.effect, finding.root):
        return finding
    return msgspec.structs.replace(finding, rev=finding.rev + 1, severity=severity, effect=effect, root=points_to)
