"""Borders of slac.tsv: for each row a SLAC in which what the limit is held against has a given amount."""

from __future__ import annotations

import copy
import math

from casebook import Step, mme
from lab import Lab
from steps_limits import Border, apart, is_warning, pause
from test_slac_checks import OTHER_RUN, amp_map, lab, late_slac, restart, rival, set_key, slac_only, solicitation, two_evses

PARM, START, SOUND, REPORT = "CM_SLAC_PARM.REQ", "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND", "CM_ATTEN_CHAR.IND"
MATCH = "CM_SLAC_MATCH"
BATCH_TOLERANCE = 0.015  # s


def asked(times: float) -> Lab:
    """So many requests in a row, none answered."""
    made = lab().drop("CM_SLAC_PARM.CNF")
    if times > 1:
        made.repeat(PARM, 0, int(times) - 1, every=0.2)
    return made.stop_after(PARM)


def started(count: float) -> Lab:
    """So many CM_START_ATTEN_CHAR.IND."""
    made = lab().drop(START, 1).drop(START, 1)
    return made.repeat(START, 0, int(count) - 1)


def profile(mean: float) -> bytes:
    """A profile with this mean; half a decibel by half of the groups."""
    low = math.floor(mean)
    return bytes([low + (i % 2 if mean != low else 0) for i in range(58)])


def heard(decibels: float) -> Lab:
    """A report with this mean attenuation."""
    return lab().replace(REPORT, aag=profile(decibels))


def standing_out(decibels: float) -> Lab:
    """One group so much above the median."""
    groups = bytearray(30 + i % 3 - 1 for i in range(58))
    groups[20] = 30 + int(decibels)
    return lab().replace(REPORT, aag=bytes(groups))


def farther(decibels: float) -> Lab:
    """The EVSE that is chosen is so much farther away than another one that reports."""
    made = two_evses()
    for step in made.find(REPORT):
        step.fields["aag"] = profile(30.0 if "src" in step.fields else 30.0 + decibels)
    return made


def vain(times: float) -> Lab:
    """A request that TCP repeats so often in vain, then SLAC."""
    made = lab().stop_after("CurrentDemandReq", 3)
    last = made.steps[-1]
    last.header["acked"] = False
    for _ in range(int(times)):
        again = copy.deepcopy(last)
        again.header["again"], again.gap = True, 0.5
        made.append(again)
    return made.append(mme(PARM, "EVCC", 12.0, run_id=OTHER_RUN))


def restarted(seconds: float) -> Lab:
    """A run that breaks off, and the first request of the next one so long after its own."""
    return apart(restart(REPORT), (PARM, 0), (PARM, 1), seconds)


def storm(restarts: float) -> Lab:
    """So many runs that break off, and one more that begins."""
    made = slac_only(REPORT, 0)
    run = [s for s in made.steps if s.kind == "mme"]
    for _ in range(int(restarts)):
        again = copy.deepcopy(run)
        again[0].gap = 2.0
        made.append(*again)
    return made


def discovered(seconds: float) -> Lab:
    """The EV's IPv6 is heard after the match, its discovery request so long after it."""
    made = lab().insert_after(f"{MATCH}.CNF", 0, solicitation(1.0))
    return apart(made, (f"{MATCH}.CNF", 0), ("SDP.REQ", 0), seconds)


def keyed(seconds: float) -> Lab:
    """The modem confirms its key so late, and nothing comes of it."""
    made = set_key(True)
    assert isinstance(made.steps[-1], Step)
    made.steps[-1].gap = seconds
    return made


SLAC: dict[str, Border] = {
    "TT_match_response": Border("slac-first-parm-before-evse-ready", lambda x: pause(late_slac(0.05), "CM_SLAC_PARM.CNF", 0, x)),
    "TT_match_sequence": Border("slac-start-atten-late", lambda x: pause(lab(), START, 0, x)),
    "C_EV_match_retry": Border("slac-parm-no-cnf", asked, at=False),
    "C_EV_start_atten_char_inds": Border("slac-start-atten-count", started, at=False),
    "C_EV_match_MNBC": Border("slac-parm-fields", lambda x: lab().replace("CM_SLAC_PARM.CNF", num_sounds=int(x)), at=False),
    "Time_Out_field": Border("slac-parm-fields", lambda x: lab().replace("CM_SLAC_PARM.CNF", time_out=int(x)), at=False),
    "NumGroups": Border("slac-atten-groups", lambda x: lab().replace(REPORT, aag=profile(30)[:1] * int(x)), at=False),
    "TP_EV_batch_msg_interval_min": Border("slac-batch-interval", lambda x: pause(lab(), START, 1, x - BATCH_TOLERANCE), under=True),
    "TP_EV_batch_msg_interval_max": Border("slac-batch-interval", lambda x: pause(lab(), START, 1, x + BATCH_TOLERANCE)),
    "batch_tolerance": Border("slac-batch-interval", lambda x: pause(lab(), START, 1, 0.05 + x)),
    "TT_EVSE_match_MNBC": Border("slac-sound-window", lambda x: apart(lab(), (START, 0), (SOUND, -1), x)),
    "TT_EV_atten_results": Border("slac-atten-char-late", lambda x: apart(lab(), (START, 0), (REPORT, 0), x)),
    "TT_EVSE_match_session": Border("slac-match-req-missing", lambda x: pause(lab(), f"{MATCH}.REQ", 0, x)),
    "TT_EVSE_SLAC_init": Border("slac-no-parm-req", lambda x: pause(lab(), PARM, 0, x)),
    "TP_EV_SLAC_init": Border("slac-parm-late", lambda x: pause(lab(), PARM, 0, x)),
    "TT_match_join": Border("slac-link-not-up", lambda x: pause(lab(), "SDP.REQ", 0, x)),
    "TT_amp_map_exchange": Border("slac-amp-map", lambda x: pause(amp_map(True), "CM_AMP_MAP.CNF", 0, x)),
    "communication_setup": Border("slac-no-sdp-after-match", discovered),
    "MVFLength_REQ": Border("slac-match-mvf-length", lambda x: lab().replace(f"{MATCH}.REQ", mvf_length=int(x)), at=False),
    "MVFLength_CNF": Border("slac-match-mvf-length", lambda x: lab().replace(f"{MATCH}.CNF", mvf_length=int(x)), at=False),
    "match_wait": Border("slac-match-no-cnf", lambda x: pause(lab(), f"{MATCH}.CNF", 0, x)),
    "set_key_wait": Border("slac-setkey-fail", keyed),
    "restart_window": Border("slac-restart", restarted, under=True, idle=200.0),
    "slow_slac": Border("slac-duration", lambda x: apart(lab(), (PARM, 0), (f"{MATCH}.CNF", 0), x)),
    "fast_ev": Border("slac-first-parm-before-evse-ready", lambda x: pause(late_slac(x), "CM_SLAC_PARM.CNF", 0, 0.5), under=True),
    "late_ef_min": Border("slac-late-after-ef", lambda x: late_slac(x, "F")),
    "late_ef_max": Border("slac-late-after-ef", lambda x: late_slac(x, "F"), under=True),
    "attenuation_info": Border("slac-atten-high", heard),
    "attenuation_warning": Border("slac-atten-high", heard, heard=is_warning),
    "attenuation_low": Border("slac-atten-low", heard, under=True),
    "outlier": Border("slac-atten-group-outlier", standing_out, at=False),
    "better_by": Border("slac-wrong-evse-selected", farther),
    "rival_by": Border("slac-wrong-evse-selected", lambda x: rival(44 + int(x), 44, before=True), at=False),
    "few_sounds": Border("slac-sounds-missing", lambda x: lab().replace(REPORT, num_sounds=int(x)), under=True, at=False, heard=is_warning),
    "vain_repeats": Border("slac-link-lost", vain, at=True),
    "storm": Border("slac-restart-storm", storm, at=True),
}  # fmt: skip
