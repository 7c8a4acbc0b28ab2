"""When sessions open, continue and end, who ended them and how: each case made of bytes."""

from __future__ import annotations

import msgspec
import pytest
from lab import Lab
from lab_wire import ACK, EV_MAC, EVSE_MAC, RST, SYN, Connection, Host

from plugtap.analysis.analysis import Analysis
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Frame


def test_phases_come_in_order_and_end_where_the_next_begins() -> None:
    session = Lab.good("din-dc").run().session
    names = [p.name for p in session.phases]
    assert names == [
        "plugged", "slac", "matched", "linked", "sdp", "tcp", "negotiated", "setup",
        "authorization", "parameters", "cable-check", "pre-charge", "charging",
    ]  # fmt: skip
    for one, other in zip(session.phases, session.phases[1:], strict=False):
        assert one.end == other.start
    assert session.phases[-1].end == session.end


def test_who_and_what() -> None:
    session = Lab.good("iso2-dc").run().session
    assert session.protocol == "iso2"
    assert session.energy == "dc"
    assert session.payment == "eim"
    assert session.evcc["mac"] == ":".join(f"{b:02x}" for b in EV_MAC)
    assert session.secc["evseid"]
    assert session.ended is not None
    assert (session.ended.by, session.ended.how) == ("EVCC", "session-stop")


@pytest.mark.parametrize("side", ["EVCC", "SECC"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_closing_after_setup_ends_the_session(side: str, how: str) -> None:
    session = Lab.good("din-dc").stop_after("CurrentDemandRes", 1).close(how, side).run().session
    assert session.ended is not None
    assert (session.ended.by, session.ended.how) == (side, how)
    assert session.outcome == "failed"


def test_silence_after_a_request_is_the_evses() -> None:
    session = Lab.good("din-dc").stop_after("CurrentDemandReq", 1).run().session
    assert session.outcome == "failed"
    assert session.ended is not None
    assert (session.ended.by, session.ended.how) == ("SECC", "silence")


def test_silence_after_a_response_is_the_evs() -> None:
    session = Lab.good("din-dc").stop_after("CurrentDemandRes", 1).run().session
    assert session.ended is not None
    assert (session.ended.by, session.ended.how) == ("EVCC", "silence")


def test_without_ticks_silence_at_the_end_proves_nothing() -> None:
    session = Lab.good("din-dc").stop_after("CurrentDemandReq", 1).run(ticks=None).session
    assert session.outcome == "incomplete"
    assert session.coverage.end == "cut"


def test_unplugging_under_power_is_a_failure() -> None:
    session = Lab.good("din-dc").stop_after("CurrentDemandRes", 1).pilot("A1", gap=0.2).run().session
    assert session.outcome == "failed"
    assert session.ended is not None
    assert session.ended.how == "unplug"


def test_pause_and_resume_are_two_sessions() -> None:
    paused = Lab.good("iso2-dc").replace("SessionStopReq", None, ChargingSession="Pause")
    resumed = Lab.good("iso2-dc").replace("SessionSetupRes", None, ResponseCode="OK_OldSessionJoined")
    first, second = paused.run(then=[resumed]).sessions
    assert first.outcome == "paused"
    assert first.ended is not None
    assert first.ended.how == "pause"
    assert second.resumes == first.id
    assert second.outcome == "completed"


def test_two_sessions_in_one_capture() -> None:
    sessions = Lab.good("din-dc").run(then=[Lab.good("din-dc")]).sessions
    assert [s.outcome for s in sessions] == ["completed", "completed"]
    assert sessions[0].id != sessions[1].id
    assert sessions[0].plug != sessions[1].plug


def test_slac_again_before_setup_is_an_attempt_of_the_same_session() -> None:
    start = Lab.good("din-dc").stop_after("CM_SLAC_PARM.CNF")
    again = Lab.good("din-dc")
    session = start.run(ticks=None, tail=0.0, then=[again]).sessions[-1]
    assert session.attempts >= 1
    repeated = Lab.good("din-dc")
    slac = [s for s in repeated.steps if s.kind == "mme"]
    repeated.insert_after("CM_MNBC_SOUND.IND", 9, *[s for s in slac if s.name.startswith("CM_SLAC_PARM")])
    assert repeated.run().session.attempts == 2


def test_slac_again_after_setup_is_a_new_session() -> None:
    cut = Lab.good("din-dc", pilot=False).stop_after("CurrentDemandRes", 1)
    first, second = cut.run(ticks=None, tail=0.0, then=[Lab.good("din-dc", pilot=False)]).sessions
    assert first.ended is not None
    assert (first.ended.by, first.ended.how) == ("EVCC", "new-slac")
    assert first.outcome == "failed"
    assert second.outcome == "completed"


def test_a_connection_without_a_v2gtp_byte_neither_opens_nor_splits() -> None:
    lab = Lab.good("din-dc")
    probe = Connection(Host(EV_MAC, 50001), Host(EVSE_MAC, 60918))
    lab.insert_after("CurrentDemandRes", 1, lab.frame(probe.segment("EVCC", SYN)), lab.frame(probe.segment("SECC", RST | ACK)))
    result = lab.run()
    assert len(result.sessions) == 1


def test_failed_negotiation() -> None:
    lab = Lab.good("din-dc").replace("supportedAppProtocolRes", None, {"ResponseCode": "Failed_NoNegotiation"})
    session = lab.stop_after("supportedAppProtocolRes").close("fin", "SECC").run().session
    assert session.outcome == "failed"
    assert session.reached == "tcp"


def test_pilot_alone_is_a_session_of_iec_61851() -> None:
    lab = Lab()
    lab.pilot("A1").pilot("B1", 2.0).pilot("B2", 1.0, duty=2670).pilot("C2", 1.0, duty=2670)
    session = lab.pilot("B2", 20.0, duty=2670).pilot("B1", 0.5).pilot("A1", 2.0).run().session
    assert session.protocol == "iec61851"
    assert session.energy == "ac"
    assert session.outcome == "completed"
    assert session.coverage.slac == "none"


def test_plugged_in_and_nothing_more() -> None:
    session = Lab().pilot("A1").pilot("B1", 2.0).pilot("A1", 30.0).run().session
    assert session.outcome == "stopped"
    assert session.reached == "plugged"
    assert session.protocol is None


def test_own_and_foreign_pairs_by_configuration() -> None:
    settings = AnalysisSettings(site="lab", tap="lab", own_macs=("02:00:00:00:99:99",))
    assert Lab.good("din-dc", pilot=False).run(settings).session.pair == "foreign"
    assert Lab.good("din-dc", pilot=False).run().session.pair == "own"


def test_evse_side_of_slac_only_is_a_statement_about_the_tap() -> None:
    lab = Lab.good("din-dc", pilot=False).stop_after("CM_SLAC_MATCH.CNF")
    # A stock modem as third station: nothing of the EV, nothing of the EVSE's own modem (CM_ATTEN_PROFILE.IND).
    items = [i for i in lab.items(ticks=1.0) if not isinstance(i, Frame) or (i.data[6:12] != EV_MAC and i.data[15:17] != b"\x86\x60")]
    analysis = Analysis(foreign=True)
    for item in items:
        analysis.feed(item)
    analysis.finish()
    (session,) = analysis.reports()
    assert session.coverage.slac == "secc"
    assert session.outcome == "incomplete"
    assert session.verdict.side == "tap"
    assert not [f for f in session.findings if f.severity != "info"]


def test_evse_announces_stop_and_the_ev_obeys() -> None:
    lab = Lab.good("din-dc").replace("CurrentDemandRes", -1, {"DC_EVSEStatus.EVSEStatusCode": "EVSE_Shutdown"})
    session = lab.run().session
    assert session.outcome == "completed"
    assert session.ended is not None
    assert session.ended.by == "SECC"


def test_energy_is_the_integral_of_volts_and_amperes() -> None:
    lab = Lab.good("din-dc").repeat("CurrentDemand", -1, 40, every=0.5)
    session = lab.run().session
    el = session.electrical
    assert el["energy_wh"] == pytest.approx(el["v_max"] * el["i_max"] * 20 / 3600, rel=0.2)


def test_sessions_are_capped() -> None:
    settings = AnalysisSettings(max_sessions=2)
    lab = Lab()
    slac = [s for s in Lab.good("din-dc", pilot=False).steps if s.name == "CM_SLAC_PARM.REQ"]
    lab.append(*slac)
    items = [i for i in lab.items(ticks=None, tail=0) if isinstance(i, Frame)]
    analysis = Analysis(settings, foreign=True)
    for n in range(6):
        data = bytearray(items[0].data)
        data[11] = n
        analysis.feed(msgspec.structs.replace(items[0], t=items[0].t + n * 1_000_000, number=n + 1, data=bytes(data)))
    assert sum(r.state == "open" for r in analysis.reports()) == 2


def test_sessions_of_the_same_moment_have_ids_of_their_own() -> None:
    """A clock that is set back may give the same moment twice."""
    items = [i for i in Lab.good("din-dc", pilot=False).items(ticks=None) if isinstance(i, Frame)]
    analysis = Analysis(foreign=True)
    for again in range(3):
        for item in items:
            analysis.feed(msgspec.structs.replace(item, number=item.number + again * len(items)))
    analysis.finish()
    ids = [r.id for r in analysis.reports()]
    assert len(ids) == len(set(ids)) == 3


# --- whose event is it --------------------------------------------------------------------------------------------

CLIENT_HELLO = bytes.fromhex("160301002f0100002b0303") + bytes(32) + bytes.fromhex("000004c0231302010000")
CLIENT_HELLO = CLIENT_HELLO[:3] + (len(CLIENT_HELLO) - 5).to_bytes(2, "big") + CLIENT_HELLO[5:6] + (len(CLIENT_HELLO) - 9).to_bytes(3, "big") + CLIENT_HELLO[9:]


def _fed(*labs: list[Frame]) -> Analysis:
    """An Analysis of a foreign file in which these conversations run at the same time."""
    frames = sorted((f for lab in labs for f in lab), key=lambda f: f.t)
    analysis = Analysis(foreign=True)
    for number, frame in enumerate(frames, 1):
        analysis.feed(msgspec.structs.replace(frame, number=number))
    analysis.finish()
    return analysis


def _frames(lab: Lab) -> list[Frame]:
    return [i for i in lab.items(ticks=None, tail=0) if isinstance(i, Frame)]


def test_tls_belongs_to_the_ev_that_speaks_it() -> None:
    """Two EVs have found their SECC; the one that came first starts TLS last."""
    first, second = Lab("din"), Lab("din").pair(7)
    for lab in (first, second):
        lab.append(*[s for s in Lab.good("din-dc", pilot=False).steps if s.kind in ("mme", "sdp", "nd")])
    connection = Connection(first.ev, first.secc)
    for data in (connection.segment("EVCC", SYN), connection.segment("SECC", SYN | ACK), connection.segment("EVCC", ACK)):
        first.append(first.frame(data))
    first.append(first.frame(connection.segment("EVCC", ACK, CLIENT_HELLO), gap=0.5))
    tls = {r.evcc["mac"]: r.tls for r in _fed(_frames(first), _frames(second)).reports()}
    assert tls[":".join(f"{b:02x}" for b in first.ev.mac)] is not None
    assert tls[":".join(f"{b:02x}" for b in second.ev.mac)] is None


def test_a_tls_connection_that_was_given_up_does_not_fail_the_plain_session_after_it() -> None:
    lab = Lab.good("iso2-dc", pilot=False)
    tls = Connection(Host(EV_MAC, 49199), Host(EVSE_MAC, 61341))
    steps = [lab.frame(tls.segment("EVCC", SYN)), lab.frame(tls.segment("SECC", SYN | ACK)), lab.frame(tls.segment("EVCC", ACK))]
    steps += [lab.frame(tls.segment("EVCC", ACK, CLIENT_HELLO)), lab.frame(tls.segment("EVCC", RST | ACK))]
    session = lab.insert_after("NA", 0, *steps).run().session
    assert session.tls is not None
    assert session.outcome == "completed"


def _anonymous(frames: list[Frame]) -> list[Frame]:
    """A capture whose frames have lost their addresses (a tunnel device, a cooked capture)."""
    return [msgspec.structs.replace(f, data=bytes(12) + f.data[12:]) for f in frames]


def test_messages_that_name_no_ev_go_on_with_the_nameless_session() -> None:
    frames = _anonymous([f for f in _frames(Lab.good("din-dc", pilot=False)) if f.data[12:14] == b"\x86\xdd"])
    (session,) = _fed(frames).reports()
    assert session.evcc["mac"] is None
    assert session.messages["SessionStopRes"] == 1
    assert session.phases[0].name == "sdp"
    assert session.outcome == "completed"


def test_a_nameless_report_belongs_to_the_session_of_its_evse() -> None:
    """An EVSE in a good session broadcasts CM_ATTEN_CHAR.IND that names no EV: no second session."""
    lab = Lab.good("din-dc", pilot=False)
    report = next(f for f in _frames(lab) if f.data[14:17] == b"\x01\x6e\x60")
    data = bytearray(report.data)
    data[0:6] = b"\xff" * 6
    data[21:27] = b"\xff" * 6  # SOURCE_ADDRESS
    result = lab.insert_after("PreChargeRes", 0, lab.frame(bytes(data))).run()
    assert len(result.sessions) == 1
    assert result.session.outcome == "completed"


def test_a_hole_in_a_stream_is_told_to_its_own_session_only() -> None:
    lossy = Lab.good("din-dc", pilot=False).pair(7).lose("ContractAuthenticationReq", 0, declared=False)
    whole, holed = sorted(_fed(_frames(Lab.good("din-dc", pilot=False)), _frames(lossy)).reports(), key=lambda r: r.coverage.lost["bytes"])
    assert whole.coverage.lost["bytes"] == 0
    assert holed.coverage.lost["bytes"] > 0
    assert holed.evcc["mac"] == ":".join(f"{b:02x}" for b in lossy.ev.mac)


# --- what the end shows -------------------------------------------------------------------------------------------


def test_a_close_on_a_tap_that_heard_one_side_is_no_failure() -> None:
    """Only the EVSE's unicast is heard, as by a third modem that shares the EV's address."""
    lab = Lab.good("din-dc", pilot=False, slac=False).stop_after("CableCheckRes").close("fin", "SECC")
    session = _fed([f for f in _frames(lab) if f.data[6:12] == EVSE_MAC]).reports()[0]
    assert session.coverage.unicast == "secc"
    assert session.outcome == "incomplete"
    assert session.verdict.side == "tap"
    assert "closed the TCP connection" in session.verdict.summary


def test_a_syn_ack_shows_that_the_evse_was_heard() -> None:
    """The EVSE accepts the connection and says nothing more: its silence is observed, and the EV's close a failure."""
    lab = Lab.good("din-dc", pilot=False, slac=False).stop_after("supportedAppProtocolReq").close("fin", "EVCC", gap=1.1)
    session = lab.run(ticks=None).session
    assert session.coverage.unicast == "both"
    assert session.outcome == "failed"


@pytest.mark.parametrize(("last", "outcome"), [("PowerDeliveryRes", "incomplete"), ("CableCheckRes", "failed")])
def test_a_pause_in_the_recording_after_power_delivery_hides_the_session(last: str, outcome: str) -> None:
    """Nothing from anyone for 12 s, then SLAC anew. While power is on nobody falls silent like that; before, the EV may have given up."""
    first, second = Lab.good("din-dc", pilot=False).stop_after(last, 0), Lab.good("din-dc", pilot=False).stop_after("CM_SLAC_PARM.CNF")
    second.steps[0].gap = 12.0
    first.append(*second.steps)
    session = first.run(ticks=None, tail=0.0).sessions[0]
    assert session.ended is not None
    assert session.ended.how == "new-slac"
    assert session.outcome == outcome
    assert session.verdict.side == ("tap" if outcome == "incomplete" else "EVCC")


def test_ticks_prove_the_silence_after_power_delivery() -> None:
    first, second = Lab.good("din-dc", pilot=False).stop_after("PowerDeliveryRes", 0), Lab.good("din-dc", pilot=False).stop_after("CM_SLAC_PARM.CNF")
    second.steps[0].gap = 12.0
    assert first.append(*second.steps).run(ticks=1.0).sessions[0].outcome == "failed"


def test_power_that_the_evse_never_gave() -> None:
    """An orderly stop of the EV after a charge loop without current."""
    lab = Lab.good("din-dc").replace("CurrentDemandRes", None, {"EVSEPresentCurrent.Value": 0}).repeat("CurrentDemand", 0, 60, every=0.5)
    session = lab.run().session
    assert session.outcome == "stopped"
    assert (session.verdict.side, session.verdict.certainty) == ("SECC", "possible")
    assert "reported 0.0 A at most" in session.verdict.summary


def test_a_stop_the_evse_announced_is_named_with_its_frame() -> None:
    lab = Lab.good("din-dc").replace("CurrentDemandRes", None, {"EVSEPresentCurrent.Value": 0})
    lab.replace("CurrentDemandRes", -1, {"DC_EVSEStatus.EVSEStatusCode": "EVSE_Shutdown"})
    session = lab.run().session
    assert session.outcome == "stopped"
    assert session.verdict.side == "SECC"
    assert session.verdict.summary.startswith("The EVSE announced its stop in CurrentDemandRes (frame ")


def test_energy_from_a_current_of_the_wrong_scale_is_not_told() -> None:
    lab = Lab.good("din-dc").replace("CurrentDemandRes", None, {"EVSEPresentCurrent.Value": 1500, "EVSEPresentCurrent.Multiplier": 0}).repeat("CurrentDemand", -1, 40, every=0.5)
    session = lab.run().session
    assert session.outcome == "completed"
    assert "not credible (1500 A" in session.verdict.summary
    assert "kWh" not in session.verdict.summary
