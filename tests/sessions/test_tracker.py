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
