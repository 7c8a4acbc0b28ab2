"""At a session's end: which finding is the root, which are consequences, and what the severities are now that the outcome is known.

Failure and deviation are two things. While a session runs, a finding says what it *can* do; now it is known what it *did*:

* failed: the root is an error that stopped charging; the other candidates point to it.
* stopped (orderly, no energy): the root keeps its severity and is named as what stopped charging.
* completed, paused: nothing stopped charging, so no such finding stays above warning.
* incomplete: the end was not shown; what looked like a stop is a warning, and a proven one (an error) is named as a possible reason if both
  sides were heard. A deviation is not: where the capture ends, nothing shows that it stopped anything.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence

import msgspec

from plugtap.checks.base import Check
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.sessions.records import SECOND
from plugtap.sessions.session import Session

NEAR_END_S = 65.0  # a candidate whose last sign is older than this before the end did not end the session
SHOWS_S = 5.0  # what a voltage or current does to the other side shows within this time of the charge loop


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
        if outcome == "incomplete" and finding.severity != "error":
            continue
        if end_s - last_t(session, finding) > NEAR_END_S:
            continue
        if _overcome(session, finding):
            continue
        candidates.append((check.meta.priority, finding.t, finding.id, finding))
    return min(candidates)[-1] if candidates else None


# Families of what comes before the dialogue: set-up proves their trouble overcome, that of SLAC a match.
BEFORE_DIALOGUE = ("slac", "link", "sdp", "tcp", "sap", "tls")
# Families of the dialogue: whatever they tell is overcome by any phase entered after it. Not so value: a voltage difference at
# PowerDelivery shows what it did only in the charge loop.
OF_DIALOGUE = ("time", "seq", "pres", "sess", "status", "exi", "v2gtp")
# Families about single damaged messages: a later request with its answer shows that both sides went on.
OF_MESSAGES = ("exi", "v2gtp")


def _overcome(session: Session, finding: Finding) -> bool:
    """Did the session get past what the finding is about, after its last sign?"""
    family = finding.check.split("-", 1)[0]
    if family in OF_DIALOGUE and finding.frames:
        # By frames, not by times: the capture's clock may have been set back.
        last = max(finding.frames)
        if family in OF_MESSAGES and _went_on(session, last):
            return True
        return any(frame > last for _, frame in session.phases.values())
    if family == "value":
        loop = session.electrical.loop_last
        return loop is not None and (loop - session.start) / SECOND > last_t(session, finding) + SHOWS_S
    if family not in BEFORE_DIALOGUE:
        return False
    # The match of the latest attempt: the phase was entered by the first one.
    passed = [session.phases[p][0] for p in ("setup",) if p in session.phases]
    if family == "slac" and (matched := session.slac.match_cnf or session.phases.get("matched", (None,))[0]) is not None:
        passed.append(matched)
    return any((t - session.start) / SECOND > last_t(session, finding) for t in passed)


def _went_on(session: Session, frame: int) -> bool:
    """Was a request after this frame answered?"""
    later = [said for said in session.history if said.frame > frame]
    return any(one.side == "EVCC" and other.side == "SECC" for one, other in itertools.pairwise(later))


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


def settle(
    session: Session, outcome: str, findings: Sequence[Finding], checks: Mapping[str, type[Check]], settings: AnalysisSettings | None = None,
) -> tuple[list[Finding], Finding | None]:  # fmt: skip
    """The findings as they stand now, and the root among them. A severity that the site has set for a check stays."""
    root = root_of(session, outcome, findings, checks)
    settled = [_settled(f, outcome, root, _set_by_site(f, settings)) for f in findings]
    return settled, next((f for f in settled if root is not None and f.id == root.id), None)


def _set_by_site(finding: Finding, settings: AnalysisSettings | None) -> bool:
    if settings is None or not settings.checks:
        return False
    family = finding.check.split("-", 1)[0]
    said = settings.checks.get(finding.check) or settings.checks.get(f"{family}-*")
    return said is not None and said.severity is not None


def _settled(finding: Finding, outcome: str, root: Finding | None, fixed: bool) -> Finding:
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
    if fixed:
        severity = finding.severity
    if (severity, effect, points_to) == (finding.severity, finding.effect, finding.root):
        return finding
    return msgspec.structs.replace(finding, rev=finding.rev + 1, severity=severity, effect=effect, root=points_to)
