"""Borders of transport.tsv: for each row discovery, addresses or segments in which what the limit is held against has a given amount."""

from __future__ import annotations

import copy

from lab import Lab
from lab_wire import ALL_NODES, udp
from steps_limits import Border, apart, is_warning, pause
from test_transport_checks import SECC, connecting, dc, delayed_by_repeat, discoveries, raw, repeated_synack, tcp

SPACING, SPACING_TOLERANCE = 0.25, 0.02  # s
LAST = "CurrentDemandRes"


def solicited(times: float, every: float = 0.9) -> Lab:
    """So many neighbour solicitations."""
    lab = dc()
    return lab.repeat("NS", 0, int(times) - 1, every=every) if times > 1 else lab


def resolved(seconds: float) -> Lab:
    """Three solicitations, and an advertisement so long after the first."""
    return apart(solicited(3, 0.7), ("NS", 0), ("NA", 0), seconds)


def opened(times: float, wait: float = 3.0) -> Lab:
    """So many SYN, an answer so long after the last."""
    return connecting(*(tcp("SYN", gap=0.3, port=49300 + i) for i in range(int(times))), tcp("SYNACK", "SECC", wait))


def resent(times: float, segments: float = 0.0) -> Lab:
    """The last answer of the loop is sent so often again; `segments`: of all that carry data, with these, in a longer loop."""
    lab = dc().stop_after(LAST)
    more = round((segments - times - sum(step.kind == "v2g" for step in lab.steps)) / 2)
    if more > 0:
        lab.repeat("CurrentDemand", -1, more, every=0.05)
    for _ in range(int(times)):
        again = copy.deepcopy(lab.find(LAST, -1)[0])
        again.header["again"], again.gap = True, 0.01
        lab.append(again)
    return lab.close("fin")


def within(seconds: float) -> Lab:
    """Five segments are sent again, the last of them so long after the first segment."""
    lab = dc()
    names = ("supportedAppProtocolReq", "SessionSetupReq", "ServiceDiscoveryReq", "ServicePaymentSelectionReq", "ContractAuthenticationReq")
    for name in names:
        again = copy.deepcopy(lab.find(name, 0)[0])
        again.header["again"], again.gap = True, 0.005
        lab.insert_after(name, 0, again)
    return apart(lab, (names[0], 0), (names[-1], 1), seconds, (names[-1], 0))


def chatting(frames: float) -> Lab:
    """So many mDNS frames of the EVSE."""
    return dc().insert_after("SDP.RES", 0, *(raw(udp(SECC, ALL_NODES, 5353, 5353, bytes(20))) for _ in range(int(frames))))


def synacks(times: float) -> Lab:
    """SYN-ACK is repeated so often."""
    lab = repeated_synack()
    return lab.drop("SYNACK", -1) if times < 3 else lab


def full(seconds: float) -> Lab:
    """The SECC's window stays closed for so long."""
    return dc().insert_before("CurrentDemandReq", 5, tcp("ACK", "SECC", 0.05, window=0), tcp("ACK", "SECC", seconds, window=0))


ONE_WINDOW = (("retransmission_window", 1000.0),)
TRANSPORT: dict[str, Border] = {
    "sdp_retries": Border("sdp-retries", lambda x: discoveries(int(x)), at=False),
    "sdp_max": Border("sdp-retries", lambda x: discoveries(int(x)), at=True, heard=is_warning),
    "sdp_spacing": Border("sdp-retries", lambda x: discoveries(2, x - SPACING_TOLERANCE), under=True),
    "sdp_spacing_tolerance": Border("sdp-retries", lambda x: discoveries(2, SPACING - x)),
    "communication_setup": Border("sdp-no-response", lambda x: pause(dc(), "SDP.RES", 0, x)),
    "T_conn_max_comm": Border("link-no-ipv6-lla", lambda x: pause(dc(), "SDP.REQ", 0, x)),
    "port_low": Border("sdp-port-range", lambda x: dc().replace("SDP.RES", 0, port=int(x)), under=True, at=False),
    "nd_solicitations": Border("link-nd-no-answer", lambda x: solicited(x).stop_after("NS"), at=True),
    "nd_wait": Border("link-nd-no-answer", resolved),
    "syn_tries": Border("tcp-syn-timeout", opened, at=True),
    "syn_wait": Border("tcp-syn-timeout", lambda x: opened(3, x)),
    "synack_repeats": Border("tcp-synack-loop", synacks, at=True),
    "retransmission_window": Border("tcp-retransmission-rate", within, under=True),
    "retransmission_info": Border("tcp-retransmission-rate", lambda x: resent(5, 500 / x), others=ONE_WINDOW),
    "retransmission_warning": Border("tcp-retransmission-rate", lambda x: resent(10, 1000 / x), heard=is_warning, others=ONE_WINDOW),
    "retransmission_least": Border("tcp-retransmission-rate", resent, at=True, others=ONE_WINDOW),
    "retransmission_many": Border("tcp-retransmission-rate", resent, at=True, heard=is_warning, others=ONE_WINDOW),
    "foreign_frames": Border("link-foreign-traffic", chatting, at=True),
    "rto": Border("tcp-rto-vs-msgtimeout", lambda x: apart(delayed_by_repeat(), ("CurrentDemandReq", 4), (LAST, 4), x, ("CurrentDemandReq", 5))),
    "zero_window": Border("tcp-zero-window", full),
    "close_wait": Border("tcp-close-late", lambda x: pause(dc(), "FIN", 0, x)),
}  # fmt: skip
