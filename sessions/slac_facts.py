"""What one SLAC message adds to its session, and whose message it is."""

from __future__ import annotations

from typing import NamedTuple

from plugtap.protocols.cm_mme import CmSetKeyCnf, CmSetKeyReq
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import (
    CmAttenCharInd,
    CmAttenCharRsp,
    CmAttenProfileInd,
    CmMnbcSoundInd,
    CmSlacMatchCnf,
    CmSlacMatchReq,
    CmSlacParmCnf,
    CmSlacParmReq,
    CmStartAttenCharInd,
    CmValidateCnf,
    CmValidateReq,
)
from plugtap.sessions.session import Session

NEW_BURST_NS = 3_000_000_000  # SLAC_PARM.REQ after this much quiet begins a new attempt, whatever its RunID


class Who(NamedTuple):
    """The EV and EVSE a SLAC message is about, who sent it, and whether it may open a session."""

    ev: bytes | None
    evse: bytes | None
    side: str  # evcc, secc
    opens: bool


def _unicast(mac: bytes) -> bytes | None:
    """The address, unless it is broadcast, multicast or zero."""
    return mac if len(mac) == 6 and not mac[0] & 1 and any(mac) else None


def who(ev: Mme) -> Who | None:
    """Parties of a SLAC message (ISO 15118-3 A.9); None for other MMEs."""
    body, src, dst = ev.body, _unicast(ev.src), _unicast(ev.dst)
    match body:
        case CmSlacParmReq():
            return Who(src, None, "evcc", True)
        case CmSlacParmCnf():
            return Who(dst or _unicast(body.forwarding_sta), src, "secc", True)
        case CmStartAttenCharInd() | CmMnbcSoundInd():
            return Who(src, None, "evcc", True)
        case CmAttenProfileInd():
            return Who(_unicast(body.pev_mac), None, "local", False)
        case CmAttenCharInd():
            return Who(_unicast(body.source_address) or dst, src, "secc", True)
        case CmAttenCharRsp():
            return Who(src, dst, "evcc", True)
        case CmValidateReq():
            return Who(src, dst, "evcc", False)
        case CmValidateCnf():
            return Who(dst, src, "secc", False)
        case CmSlacMatchReq():
            return Who(src or _unicast(body.pev_mac), dst or _unicast(body.evse_mac), "evcc", True)
        case CmSlacMatchCnf():
            return Who(dst or _unicast(body.pev_mac), src or _unicast(body.evse_mac), "secc", True)
        case _:
            return None


def starts_attempt(session: Session, ev: Mme) -> bool:
    """Does this SLAC_PARM.REQ begin another attempt, rather than repeat the request of the current one?"""
    facts, body = session.slac, ev.body
    if not isinstance(body, CmSlacParmReq) or facts.last_parm_req is None:
        return False
    moved_on = facts.start_attens > 0 or facts.match_req is not None
    return moved_on or ev.t - facts.last_parm_req > NEW_BURST_NS


def new_attempt(session: Session) -> None:
    """Forget the current attempt's steps, keep what is of the whole session."""
    facts = session.slac
    facts.start_attens = facts.sounds_heard = facts.match_reqs = 0
    facts.first_start_atten = facts.atten_char = facts.atten_rsp = None
    facts.match_req = facts.match_cnf = facts.set_key = None
    facts.sounds_counted = facts.atten_profile = None
    facts.last_parm_cnf = None


def apply(session: Session, ev: Mme, parties: Who | None) -> None:
    """Take the message's facts into the session."""
    facts, body = session.slac, ev.body
    if parties is not None and parties.side != "local":
        session.seen.add(f"slac-{parties.side}")
    if not ev.dst[0] & 1 and isinstance(body, CmSetKeyReq | CmSetKeyCnf | CmAttenProfileInd):
        # Host and modem of this pair talk here: the tap sees whatever that host sends and receives.
        session.seen.add("host")
    match body:
        case CmSlacParmReq():
            facts.parm_reqs += 1
            facts.first_parm_req = facts.first_parm_req or ev.t
            facts.last_parm_req = ev.t
            if body.run_id not in facts.run_ids and len(facts.run_ids) < 16:
                facts.run_ids.append(body.run_id)
        case CmSlacParmCnf():
            facts.parm_cnfs += 1
            facts.last_parm_cnf = ev.t
            if len(facts.evses) < 16:
                facts.evses.add(ev.src)
        case CmStartAttenCharInd():
            facts.start_attens += 1
            facts.first_start_atten = facts.first_start_atten or ev.t
        case CmMnbcSoundInd():
            facts.sounds_heard += 1
        case CmAttenCharInd():
            if facts.match_cnf is None:
                facts.atten_char = ev.t
                facts.sounds_counted = body.num_sounds
                facts.atten_profile = body.aag or facts.atten_profile
            if len(facts.evses) < 16:
                facts.evses.add(ev.src)
        case CmAttenCharRsp():
            facts.atten_rsp = ev.t
        case CmSlacMatchReq():
            facts.match_req = facts.match_req or ev.t
            facts.match_reqs += 1
        case CmSlacMatchCnf():
            facts.match_cnf = facts.match_cnf or ev.t
            session.secc_mac = _unicast(ev.src) or session.secc_mac
        case CmSetKeyReq():
            facts.set_key = facts.set_key or ev.t
