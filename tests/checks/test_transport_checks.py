"""Checks of IPv6, discovery, TCP, and over several streams, from bytes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from casebook import Case, Lab, Step, assert_fires, assert_gap, assert_quiet, book
from lab_good import value
from lab_wire import ACK, ALL_NODES, EV_MAC, EVSE_MAC, RST, SYN, Connection, Host, ethernet, icmpv6, ipv6, neighbor, udp

from plugtap.config.analysis import AnalysisSettings, CheckSettings

OTHER_MAC = bytes.fromhex("020000000777")
OTHER = Host(OTHER_MAC, 61341)
EV = Host(EV_MAC, 49200)
SECC = Host(EVSE_MAC, 61341)
UNSPECIFIED = bytes(16)


def on(check: str) -> AnalysisSettings:
    """Settings that switch a check on which is off by default."""
    return AnalysisSettings(site="lab", tap="lab", vantage="host", checks={check: CheckSettings(enabled=True)})


def dc() -> Lab:
    return Lab.good("din-dc")


def linked(*after: Step) -> Lab:
    """SLAC, then `after`."""
    return dc().stop_after("CM_SLAC_MATCH.CNF").append(*after)


def raw(data: bytes, gap: float = 0.01) -> Step:
    return Step("frame", "FRAME", gap=gap, raw=data)


def probe(src: Host, gap: float = 0.01) -> Step:
    """A duplicate address probe for the EV's address."""
    nobody = Host(src.mac, ip=UNSPECIFIED)
    return raw(neighbor(nobody, EV, True, EV.ip), gap)


def router(src: Host) -> bytes:
    return icmpv6(src, ALL_NODES, 134, bytes(12))


def fragment(src: Host, dst: Host) -> bytes:
    """A first fragment (next header 44)."""
    head = bytes([17, 0]) + (1).to_bytes(2, "big") + bytes([0, 0, 0, 7])
    return ethernet(dst.mac, src.mac, 0x86DD, ipv6(src.ip, dst.ip, 44, head + bytes(64)))


def discoveries(count: int, every: float = 0.3, answered: bool = True) -> Lab:
    made = dc().delay("SDP.REQ", 0, 0.0).repeat("SDP.REQ", 0, count - 1, every=every)
    return made if answered else made.stop_after("SDP.REQ", -1)


def second_responder() -> Lab:
    answer = Step("sdp", "SDP.RES", "SECC", 0.003, {"src": OTHER, "ip": OTHER.ip})
    return dc().insert_after("SDP.RES", 0, answer)


def mismatch() -> Lab:
    """TLS answered to a request without, and the EV asks again."""
    made = dc().replace("SDP.RES", 0, security=0x00)
    return made.insert_after("SDP.RES", 0, Step("sdp", "SDP.REQ", "EVCC", 0.4))


def connecting(*steps: Step) -> Lab:
    """Discovery done, then these TCP steps, then nothing."""
    return dc().stop_after("NA").append(*steps)


def tcp(name: str, side: str = "EVCC", gap: float = 0.01, **fields: Any) -> Step:
    return Step("tcp", name, side, gap, fields)


def never_answered() -> Lab:
    return connecting(*(tcp("SYN", gap=1.2, port=49300 + i) for i in range(3)))


def repeated_synack() -> Lab:
    made = dc()
    synack = made.find("SYNACK", 0)[0]
    again = []
    for _ in range(3):
        step = copy.deepcopy(synack)
        step.gap, step.fields = 0.2, {"seq": 5000}
        again.append(step)
    return made.insert_after("ACK", 0, *again)


def resent(name: str, count: int, gap: float = 0.05) -> Lab:
    """The first `count` messages of a name are sent again `gap` later."""
    made = dc()
    for step in reversed(made.find(name)[:count]):
        again = copy.deepcopy(step)
        again.header["again"], again.gap = True, gap
        i = next(i for i, s in enumerate(made.steps) if s is step)
        made.steps.insert(i + 1, again)
    return made


def delayed_by_repeat() -> Lab:
    """A CurrentDemandReq that is sent again 300 ms later, and answered then."""
    made = dc()
    step = made.find("CurrentDemandReq", 4)[0]
    again = copy.deepcopy(step)
    again.header["again"], again.gap = True, 0.3
    return made.insert_after("CurrentDemandReq", 4, again)


def full() -> Lab:
    """The SECC's window stays closed for half a second."""
    closed = [tcp("ACK", "SECC", gap, window=0) for gap in (0.05, 0.5)]
    return dc().insert_before("CurrentDemandReq", 5, *closed)


def never_in_c() -> Lab:
    """A capture that begins in PreCharge, the pilot in B throughout."""
    made = Lab.good("din-dc", slac=False)
    first = next(i for i, s in enumerate(made.steps) if s.name == "PreChargeReq")
    made.steps = [s for s in made.steps[:first] if s.kind in ("cp", "tcp")][:6] + made.steps[first:]
    for step in made.steps:
        if step.kind == "cp" and step.fields["state"].startswith("C"):
            step.fields["state"] = "B2"
    return made


def cross_talk() -> Lab:
    """Another outlet's car: this pilot stays in A."""
    made = dc()
    made.steps = [s for s in made.steps if s.kind != "cp" or s.fields["state"] == "A1"]
    return made


def renegotiation(drops: bool) -> Lab:
    made = Lab.good("iso2-dc")
    ask = copy.deepcopy(made.find("PowerDeliveryReq", 0)[0])
    ask.fields["ChargeProgress"], ask.gap = "Renegotiate", 0.1
    answer = copy.deepcopy(made.find("PowerDeliveryRes", 0)[0])
    edge = [Step("cp", "CP", gap=0.3, fields={"state": s}) for s in ("B2", "C2")] if drops else []
    return made.insert_after("CurrentDemandRes", 5, ask, answer, *edge)


def current_gone(status: str = "EVSE_Ready") -> Lab:
    made = dc().repeat("CurrentDemand", -1, 8, every=0.4)
    for nth in range(12, 20):
        made.replace("CurrentDemandRes", nth, {"DC_EVSEStatus.EVSEStatusCode": status}, EVSEPresentCurrent=value(0, "A"))
    return made


def waiting(count: int) -> Lab:
    return dc().repeat("ContractAuthentication", 1, count, every=0.5)


def case(check: str, fires: Any, loss: tuple[str, int], side: str, says: str, values: dict[str, Any] | None = None, **more: Any) -> Case:
    return Case(check, fires, loss, side, says, values or {}, **more)


CASES = book(
    case(
        "link-no-ipv6-lla",
        linked,
        ("CM_SLAC_MATCH.CNF", 0),
        "EVCC",
        "8 s after the match",
        {"waited": 8.0},
        evidence=("CM_SLAC_MATCH.CNF",),
        severity="info",
    ),
    case(
        "link-dad-conflict",
        lambda: dc().insert_before("SDP.REQ", 0, probe(EV), raw(neighbor(OTHER, ALL_NODES, False, EV.ip), 0.2)),
        ("FRAME", 0),
        "unknown",
        "claimed by 02:00:00:00:07:77",
        {"second": OTHER_MAC.hex(":")},
        evidence=("NS", "NA"),
        quiet=lambda: dc().insert_before("SDP.REQ", 0, probe(EV)),
    ),
    case(
        "link-nd-no-answer",
        lambda: dc().repeat("NS", 0, 2, every=0.9).stop_after("NS"),
        ("NS", 1),
        "SECC",
        "3 neighbour solicitations",
        {"solicitations": 3},
        evidence=("NS",),
        severity="error",
    ),
    case(
        "link-nd-wrong-mac",
        lambda: dc().replace("NA", 0, lladdr=OTHER_MAC),
        ("NS", 0),
        "SECC",
        OTHER_MAC.hex(":"),
        evidence=("NA", "SDP.RES"),
        severity="info",
    ),
    case(
        "link-ra-dhcp",
        lambda: dc().insert_after("SDP.RES", 0, raw(router(SECC))),
        ("SDP.RES", 0),
        "SECC",
        "router advertisement",
        evidence=("RA",),
        severity="info",
    ),
    case(
        "link-foreign-traffic",
        lambda: dc().insert_after("SDP.RES", 0, *(raw(udp(SECC, ALL_NODES, 5353, 5353, bytes(20))) for _ in range(25))),
        ("SDP.RES", 0),
        "SECC",
        "mdns",
        {"frames": 20},
        evidence=("mdns",),
        severity="info",
    ),
    case(
        "link-mtu-frag",
        lambda: dc().insert_after("SDP.RES", 0, raw(fragment(SECC, EV))),
        ("SDP.RES", 0),
        "SECC",
        "fragment",
        evidence=("ipv6-fragment",),
        severity="info",
    ),
    case("sdp-retries", lambda: discoveries(6), ("SDP.REQ", 2), "SECC", "6 discovery requests were answered", {"requests": 6}, evidence=("SDP.REQ",)),
    case(
        "sdp-no-response",
        lambda: discoveries(10, answered=False),
        ("SDP.REQ", 3),
        "SECC",
        "no response",
        {"requests": 10},
        evidence=("SDP.REQ",),
        severity="error",
    ),
    case(
        "sdp-wrong-dst",
        lambda: dc().replace("SDP.REQ", 0, dst=SECC),
        ("SDP.REQ", 0),
        "EVCC",
        ":15118",
        {"destination": "[fe80::ff:fe00:501]:15118"},
        evidence=("SDP.REQ",),
    ),
    case(
        "sdp-len",
        lambda: dc().insert_before("SDP.REQ", 0, Step("sdp", "SDP.REQ", "EVCC", 1.0, {"payload": bytes([0x10, 0, 0])})),
        ("CM_SLAC_MATCH.CNF", 0),
        "EVCC",
        "3 bytes",
        evidence=("damaged",),
    ),
    case(
        "sdp-multiple-responders",
        second_responder,
        ("SDP.REQ", 0),
        "line",
        "2 SECC addresses",
        {"responders": 2},
        evidence=("SDP.RES",),
        severity="info",
    ),
    case(
        "sdp-security-value",
        lambda: dc().replace("SDP.REQ", 0, security=0x01),
        ("SDP.REQ", 0),
        "EVCC",
        "0x01",
        {"Security": "0x01"},
        evidence=("SDP.REQ",),
    ),
    case(
        "sdp-security-downgrade",
        lambda: dc().replace("SDP.REQ", 0, security=0x00),
        ("SDP.REQ", 0),
        "SECC",
        "no TLS",
        evidence=("SDP.REQ", "SDP.RES"),
        severity="info",
    ),
    case("sdp-security-mismatch", mismatch, ("SDP.RES", 0), "unknown", "asks again", evidence=("SDP.REQ", "SDP.RES")),
    case("sdp-port-range", lambda: dc().replace("SDP.RES", 0, port=15118), ("SDP.REQ", 0), "SECC", "15118", {"port": 15118}, evidence=("SDP.RES",)),
    case(
        "sdp-port-ignored",
        lambda: dc().replace("SYN", 0, to_port=15118),
        ("SDP.RES", 0),
        "EVCC",
        "announced was",
        {"port": 15118},
        evidence=("SDP.RES", "syn"),
    ),
    case(
        "sdp-lla-not-linklocal",
        lambda: dc().replace("SDP.RES", 0, ip=bytes.fromhex("20010db8") + bytes(12)),
        ("SDP.REQ", 0),
        "SECC",
        "2001:db8::",
        {"address": "2001:db8::"},
        evidence=("SDP.RES",),
    ),
    case(
        "tcp-syn-rst",
        lambda: connecting(tcp("SYN"), tcp("RSTACK", "SECC")),
        ("SYN", 0),
        "SECC",
        "answered by RST",
        {"port": 61341},
        evidence=("syn", "rst"),
        count=2,
    ),
    case("tcp-syn-timeout", never_answered, ("SYN", 1), "SECC", "3 SYN", {"tries": 3}, evidence=("syn",)),
    case("tcp-synack-loop", repeated_synack, ("SYNACK", 2), "SECC", "3 times", {"repeats": 3}, evidence=("synack",), severity="info"),
    case(
        "tcp-rst-mid-session",
        lambda: dc().stop_after("CableCheckReq", 1).close("rst", gap=2.0),
        ("CableCheckReq", 1),
        "EVCC",
        "after CableCheckReq, which was not answered",
        evidence=("CableCheckReq", "rst"),
        severity="error",
    ),
    case(
        "tcp-fin-early",
        lambda: dc().stop_after("PreChargeRes", 1).close("fin", side="SECC"),
        ("PreChargeRes", 1),
        "SECC",
        "after PreChargeRes",
        evidence=("fin",),
        severity="error",
    ),
    case(
        "tcp-close-order",
        lambda: dc().stop_after("SessionStopRes").close("fin", side="SECC"),
        ("SessionStopRes", 0),
        "SECC",
        "50.0 ms",
        evidence=("SessionStopRes", "fin"),
        severity="info",
    ),
    case(
        "tcp-close-late",
        lambda: dc().stop_after("SessionStopRes"),
        ("SessionStopRes", 0),
        "SECC",
        "5 s after",
        {"waited": 5.0},
        evidence=("SessionStopRes",),
        severity="info",
    ),
    case(
        "tcp-retransmission-rate",
        lambda: resent("CurrentDemandReq", 10),
        ("CurrentDemandReq", 4),
        "line",
        "were sent again",
        {"share": 10.4},
        count=2,
        evidence=("retransmission",),
    ),
    case(
        "tcp-rto-vs-msgtimeout",
        delayed_by_repeat,
        ("CurrentDemandReq", 4),
        "line",
        "CurrentDemand took 312 ms",
        {"latency": 0.312},
        evidence=("retransmission", "CurrentDemandRes"),
        severity="info",
    ),
    case("tcp-zero-window", full, ("ACK", 1), "SECC", "0.50 s", {"closed": 0.5}, evidence=("zero-window",), severity="info"),
    case(
        "tcp-split-v2gtp",
        lambda: dc().header("ServiceDiscoveryRes", 0, pieces=3),
        ("ServiceDiscoveryReq", 0),
        "SECC",
        "ServiceDiscoveryRes",
        evidence=("ServiceDiscoveryRes",),
        settings=on("tcp-split-v2gtp"),
    ),
    case(
        "cross-cp-state-vs-message",
        never_in_c,
        ("CurrentDemandRes", 1),
        "EVCC",
        "while the pilot is in B2",
        {"actualValue": "B2"},
        evidence=("CurrentDemandReq",),
        quiet=lambda: never_in_c().stop_after("PreChargeRes", 1),
    ),
    case(
        "cross-match-no-tcp",
        lambda: dc().stop_after("SDP.RES"),
        ("SDP.RES", 0),
        "EVCC",
        "No TCP connection",
        {"waited": 20.0},
        evidence=("SDP.RES",),
        severity="error",
    ),
    case("cross-sdp-no-cp", cross_talk, ("SDP.REQ", 0), "line", "pilot is in A", {"actualValue": "A1"}, evidence=("CM_SLAC_PARM.REQ",)),
    case(
        "cross-renegotiation-cp",
        lambda: renegotiation(True),
        ("PowerDeliveryReq", 1),
        "EVCC",
        "after PowerDeliveryReq(Renegotiate)",
        evidence=("PowerDeliveryReq", "CP"),
        severity="info",
        quiet=lambda: renegotiation(False),
    ),
    case(
        "cross-emergency-order",
        current_gone,
        ("CurrentDemandRes", 13),
        "SECC",
        "from 50 A to 0 A",
        {"EVSEPresentCurrent": 0.0},
        evidence=("CurrentDemandRes",),
        settings=on("cross-emergency-order"),
        quiet=lambda: current_gone("EVSE_Shutdown"),
    ),
    case(
        "cross-sniffer-loss",
        lambda: dc().lose("CurrentDemandReq", 5, declared=False),
        ("CurrentDemandReq", 3),
        "tap",
        "bytes of stream 0",
        {"bytes": 60},
        evidence=("ack-unseen",),
        severity="info",
        count=2,
    ),
    case(
        "cross-authorization-loop",
        lambda: waiting(220),
        ("ContractAuthenticationRes", 30),
        "authorization",
        "authorisation requests",
        {"requests": 201},
        evidence=("ContractAuthenticationReq",),
    ),
)


@pytest.mark.parametrize("case", CASES)
def test_fires(case: Case) -> None:
    assert_fires(case)


@pytest.mark.parametrize("case", CASES)
def test_quiet(case: Case) -> None:
    assert_quiet(case)


@pytest.mark.parametrize("case", CASES)
def test_gap(case: Case) -> None:
    assert_gap(case)


def test_a_tap_that_hears_no_unicast_says_so() -> None:
    """Principle 2: silence of the SECC on such a tap is a statement about the tap."""
    made = Lab.good("din-dc", pilot=False, slac=False)
    made.steps = [s for s in made.steps if s.name == "SDP.REQ"]
    finding = made.repeat("SDP.REQ", 0, 5, every=0.5).run().one("sdp-no-response")
    assert (finding.side, finding.severity, finding.certainty) == ("tap", "info", "possible")


def test_probes_of_another_port_are_no_refused_connection() -> None:
    """Some cars try another port once a second during the session: nothing to say."""
    steps = [s for i in range(4) for s in (raw(segment(50000 + i, SYN), 0.02), raw(segment(50000 + i, RST | ACK, back=True), 0.001))]
    result = dc().insert_after("CurrentDemandRes", 5, *steps).run()
    assert result.session.outcome == "completed"
    assert not result.ids() & {"tcp-syn-rst", "sdp-port-ignored", "tcp-rst-mid-session"}


def segment(port: int, flags: int, back: bool = False) -> bytes:
    """A bare segment between the EV's `port` and port 60918 of the SECC."""
    connection = Connection(Host(EV_MAC, port), Host(EVSE_MAC, 60918), {"EVCC": 1, "SECC": 1})
    return connection.segment("SECC" if back else "EVCC", flags)


def test_reset_after_the_request_to_stop_is_impatience() -> None:
    """The EV resets 20 ms after SessionStopReq: said, and not called an abort."""
    finding = dc().stop_after("SessionStopReq").close("rst", gap=0.02).run().one("tcp-rst-mid-session")
    assert (finding.severity, finding.effect) == ("info", "none")


def test_a_wrong_mac_in_the_advertisement_is_the_root_where_no_connection_came_up() -> None:
    made = dc().replace("NA", 0, lladdr=OTHER_MAC).stop_after("NA", 0)
    made.pilot("B1", 25.0).pilot("A1", 1.0)
    session = made.run().session
    assert session.verdict.check == "link-nd-wrong-mac"
    assert session.verdict.side == "SECC"
    assert session.outcome == "failed"


@pytest.mark.parametrize(("how", "check"), [("rst", "tcp-rst-mid-session"), ("fin", "tcp-fin-early")])
def test_an_evse_that_closes_after_its_announced_stop_does_no_harm(how: str, check: str) -> None:
    """The EV did not obey: the close only ends what had been announced."""
    lab = dc().replace("CurrentDemandRes", 2, {"DC_EVSEStatus.EVSEStatusCode": "EVSE_Shutdown"}).stop_after("CurrentDemandReq", 6)
    finding = lab.close(how, "SECC", gap=0.01).run().one(check)
    assert (finding.severity, finding.effect) == ("info", "none")
    assert "it had announced its stop in frame" in finding.detail


def test_an_ev_that_leaves_before_its_parameters_is_told_what_was_offered() -> None:
    early = Lab.good("iso2-ac").stop_after("PaymentServiceSelectionReq").close("fin", "EVCC").run().one("tcp-fin-early")
    assert "; the EVSE offers AC_three_phase_core, AC_single_phase_core, which this EV may not support." in early.detail
    later = Lab.good("iso2-ac").stop_after("ChargingStatusRes", 1).close("fin", "EVCC").run().one("tcp-fin-early")
    assert "the EVSE offers" not in later.detail


def test_a_close_instead_of_an_answer_to_the_offer_says_what_was_offered() -> None:
    finding = dc().stop_after("supportedAppProtocolReq").close("fin", "SECC", gap=0.0004).run().one("tcp-fin-early")
    assert "0.4 ms after supportedAppProtocolReq" in finding.detail
    assert "The EV offers urn:din:70121:2012:MsgDef" in finding.detail
