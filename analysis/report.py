"""A Session and its findings as the SESSION object consumers see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding, Verdict
from plugtap.checks.health import measures
from plugtap.config.analysis import AnalysisSettings
from plugtap.sessions.kpi import kpi
from plugtap.sessions.records import SECOND, Coverage, Ended, PhaseRecord, rfc3339
from plugtap.sessions.session import Session
from plugtap.sessions.values import ip_text, mac_text

MAX_SHOWN_GAPS = 20


def build_report(
    session: Session,
    findings: Sequence[Finding],
    judgement: Verdict,
    outcome: str | None,
    *,
    state: str,
    settings: AnalysisSettings,
    relative: bool,
) -> SessionReport:
    """The SESSION object as the session stands now."""
    ended = session.ended
    return SessionReport(
        id=session.id, rev=session.rev, plug=session.plug, resumes=session.resumes, attempts=session.attempts, state=state, pair=session.pair,
        start=rfc3339(session.start), end=rfc3339(session.end_t) if session.end_t is not None and state == "closed" else None,
        first_frame=session.first_frame, last_frame=session.last_frame,
        evcc={"mac": mac_text(session.evcc_mac), "ip": ip_text(session.evcc_ip), "evccid": session.evccid, "vendor": None},
        secc={"mac": mac_text(session.secc_mac), "ip": ip_text(session.secc_ip), "evseid": session.evseid, "vendor": None},
        protocol=session.protocol, energy=session.energy, payment=session.payment or default_payment(session), reached=session.reached,
        phases=phases(session), ended=Ended(ended.by, ended.how, ended.frame, rfc3339(ended.t)) if ended is not None else None,
        outcome=outcome, verdict=judgement, coverage=coverage(session, settings, relative), electrical=electrical(session),
        health=measures(session), kpi=kpi(session, outcome), slac=slac(session), tls=session.tls, messages=dict(sorted(session.messages.items())),
        findings=tuple(sorted(findings, key=lambda f: (f.time, f.check, f.id))),
    )  # fmt: skip


def default_payment(session: Session) -> str | None:
    """DIN SPEC 70121 knows external payment only."""
    return "eim" if session.protocol == "din" else None


def phases(session: Session) -> tuple[PhaseRecord, ...]:
    """Phases in the order of entry; each ends where the next begins, the last with the session."""
    entered = sorted(session.phases.items(), key=lambda item: item[1][0])
    out = []
    for i, (name, (t, _)) in enumerate(entered):
        end = entered[i + 1][1][0] if i + 1 < len(entered) else session.end_t
        out.append(PhaseRecord(name, rfc3339(t), rfc3339(end) if end is not None else None))
    return tuple(out)


def coverage(session: Session, settings: AnalysisSettings, relative: bool) -> Coverage:
    """What could be seen of the session."""

    def sides(layer: str) -> str:
        seen = [side for side in ("evcc", "secc") if f"{layer}-{side}" in session.seen]
        return "both" if len(seen) == 2 else seen[0] if seen else "none"

    pilot = "cycles" if "pilot-cycles" in session.seen else "states" if "pilot-states" in session.seen else "none"
    return Coverage(
        vantage=settings.vantage, slac=sides("slac"), unicast=sides("unicast"), broadcast="broadcast" in session.seen, pilot=pilot,
        tls="none" if session.tls is None else "decrypted" if session.messages else "metadata",
        start="late" if session.start_late else "seen", end="cut" if session.end_cut else "seen",
        clock="relative" if relative else "absolute", lost={"frames": session.lost_frames, "bytes": session.lost_bytes},
        gaps=tuple(_gap(session, gap) for gap in session.gaps[:MAX_SHOWN_GAPS]),
    )  # fmt: skip


def _gap(session: Session, gap: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": gap.kind, "t": round((gap.t - session.start) / SECOND, 6), "frame": gap.frame}
    if gap.until:
        shown["until"] = round((gap.until - session.start) / SECOND, 6)
    if gap.frames:
        shown["frames"] = gap.frames
    if gap.length:
        shown["bytes"] = gap.length
    return shown


def _seconds(first: int | None, last: int | None) -> float | None:
    return None if first is None or last is None else round((last - first) / SECOND, 3)


def electrical(session: Session) -> dict[str, Any]:
    """Numbers of the session: percent, Wh, V, A, s. Only what was seen."""
    el = session.electrical
    facts = {
        "soc_start": el.soc_start, "soc_end": el.soc_end,
        "energy_wh": round(el.energy_ws / 3600, 1) if el.loops and not el.ac_charging else None,
        "v_max": el.v_max, "i_max": el.i_max, "loops": el.loops or None,
        "precharge_s": _seconds(el.precharge_first, el.precharge_last), "precharge_target_v": el.precharge_target, "precharge_v": el.precharge_v,
        "cable_check_s": _seconds(el.cable_check_first, el.cable_check_last),
        "power_started_s": _seconds(session.start, el.power_started),
    }  # fmt: skip
    return {name: value for name, value in facts.items() if value is not None}


def slac(session: Session) -> dict[str, Any]:
    """Facts of SLAC: counts, dB, ms."""
    facts = session.slac
    shown: dict[str, Any] = {
        "parm_requests": facts.parm_reqs or None, "sounds": facts.sounds_counted, "sounds_heard": facts.sounds_heard or None,
        "attenuation_db": facts.attenuation_db, "evses": len(facts.evses) or None,
        "match_ms": round((facts.match_cnf - facts.match_req) / 1e6, 3) if facts.match_cnf is not None and facts.match_req is not None else None,
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value is not None}
