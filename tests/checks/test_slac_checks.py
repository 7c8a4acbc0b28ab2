"""SLAC checks from bytes."""

from __future__ import annotations

import copy

import pytest
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from casebook import Case, Lab, Step, assert_fires, assert_gap, assert_quiet, book, good, mme
from lab_wire import EVSE_MAC, MMTYPES, slac_payload
from lab_wire import mme as wire_mme

SECOND_EVSE = bytes.fromhex("020000000502")
OTHER_RUN = bytes.fromhex("1112131415161718")
MEASURED = bytes([30 + i % 5 for i in range(58)])


def lab() -> Lab:
    """A good DIN session whose attenuation profile looks measured."""
    return Lab.good("din-dc").replace("CM_ATTEN_CHAR.IND", aag=MEASURED)


def slac_only(until: str, nth: int = -1) -> Lab:
    """Plug-in and SLAC up to a message, then silence."""
    return lab().stop_after(until, nth)


def no_answer() -> Lab:
    made = lab().drop("CM_SLAC_PARM.CNF")
    return made.repeat("CM_SLAC_PARM.REQ", 0, 3, every=0.2).stop_after("CM_SLAC_PARM.REQ")


def retried() -> Lab:
    return lab().repeat("CM_SLAC_PARM.REQ", 0, 2, every=0.3)


def restart(stage: str) -> Lab:
    """A first run that breaks off after `stage`, 2 s later the good one."""
    first = slac_only(stage, 0)
    again = [s for s in lab().steps if s.kind != "cp" or s.fields["state"] not in ("A1", "B1")][1:]
    again[0].gap = 2.0
    return first.append(*again)


def storm() -> Lab:
    """Three runs that break off, a fourth begins and matches."""
    made = restart("CM_ATTEN_CHAR.IND")
    end = max(i for i, s in enumerate(made.steps) if s.name == "CM_SLAC_PARM.REQ")
    run = [s for s in made.steps[:end] if s.kind == "mme"]
    for _ in range(2):
        again = copy.deepcopy(run)
        again[0].gap = 2.0
        made.steps[end:end] = again
    return made


def validated() -> Lab:
    return lab().insert_before("CM_SLAC_MATCH.REQ", 0, *validate(1, 2))


def validate(first: int, second: int) -> list[Step]:
    """Both exchanges of CM_VALIDATE, and one toggle in between."""
    toggle = [Step("cp", "CP", gap=0.1, fields={"state": s}) for s in ("C2", "B2")]
    toggle[1].gap = 0.3
    return [
        mme("CM_VALIDATE.REQ", "EVCC"),
        mme("CM_VALIDATE.CNF", "SECC", result=first),
        mme("CM_VALIDATE.REQ", "EVCC", 0.2, timer=2),
        *toggle,
        mme("CM_VALIDATE.CNF", "SECC", 0.4, result=second, toggle_num=1),
    ]


def two_evses(other_db: int = 20) -> Lab:
    """A second EVSE answers too, with another attenuation."""
    made = lab()
    made.insert_after("CM_SLAC_PARM.CNF", 0, mme("CM_SLAC_PARM.CNF", "SECC", src=SECOND_EVSE))
    report = mme("CM_ATTEN_CHAR.IND", "SECC", src=SECOND_EVSE, aag=bytes([other_db + i % 5 for i in range(58)]))
    return made.insert_before("CM_ATTEN_CHAR.IND", 0, report)


def amp_map(answered: bool) -> Lab:
    exchange = [mme("CM_AMP_MAP.REQ", "SECC", 0.1, raw=b"\x02\x00\x0f")]
    exchange += [mme("CM_AMP_MAP.CNF", "EVCC", 0.05, raw=b"\x00")] if answered else []
    return lab().insert_after("CM_SLAC_MATCH.CNF", 0, *exchange)


def set_key(answered: bool) -> Lab:
    made = slac_only("CM_SLAC_MATCH.CNF").append(mme("CM_SET_KEY.REQ", "EVCC", 0.1, dst=bytes.fromhex("00b052000001")))
    return made.append(mme("CM_SET_KEY.CNF", "SECC", 0.1)) if answered else made


def mid_session() -> Lab:
    """The EV starts SLAC again in the middle of the charge loop."""
    return lab().stop_after("CurrentDemandRes", 3).append(mme("CM_SLAC_PARM.REQ", "EVCC", 3.0, run_id=OTHER_RUN))


def line_gone() -> Lab:
    """A request repeated by TCP in vain, then SLAC."""
    made = lab().stop_after("CurrentDemandReq", 3)
    last = made.steps[-1]
    last.header["acked"] = False
    for gap in (0.3, 0.6, 1.2):
        again = copy.deepcopy(last)
        again.header["again"], again.gap = True, gap
        made.append(again)
    return made.append(mme("CM_SLAC_PARM.REQ", "EVCC", 12.0, run_id=OTHER_RUN))


def late_slac(gap: float, step: str | None = None) -> Lab:
    """SLAC `gap` seconds after 5 % PWM, after a step of the pilot if one is named."""
    made = lab().delay("CM_SLAC_PARM.REQ", 0, gap - 0.6)
    if step is not None:
        made.insert_after("CP", 2, made.cp(step, 8.0), made.cp("B2", 4.2))
    return made


def matched_only(*after: Step) -> Lab:
    return slac_only("CM_SLAC_MATCH.CNF").append(*after)


def solicitation(gap: float) -> Step:
    return Step("nd", "NS", "EVCC", gap)


def basic_after_match() -> Lab:
    made = matched_only()
    return made.append(made.cp("B1", 1.0), made.cp("B2", 3.2, duty=2667), made.cp("C2", 1.0, duty=2667))


def derived() -> Lab:
    """A network whose id follows from its key."""
    from plugtap.protocols.cm_mme import nid_from_nmk

    key = bytes(range(3, 19))
    return lab().replace("CM_SLAC_MATCH.CNF", nmk=key, nid=nid_from_nmk(key))


CASES = book(
    Case(
        "slac-parm-no-cnf",
        no_answer,
        ("CM_SLAC_PARM.REQ", 1),
        "SECC",
        "without CM_SLAC_PARM.CNF",
        {"requests": 4},
        ("CM_SLAC_PARM.REQ",),
    ),
    Case("slac-parm-retry", retried, ("CM_SLAC_PARM.REQ", 1), "unknown", "nothing had answered", {"repeats": 1}, ("CM_SLAC_PARM.REQ",), "info"),
    Case(
        "slac-parm-fields",
        lambda: lab().replace("CM_SLAC_PARM.CNF", time_out=10),
        ("CM_SLAC_PARM.CNF", 0),
        "SECC",
        "Time_Out is 10",
        {"Time_Out": 10},
        ("CM_SLAC_PARM.CNF",),
    ),
    Case(
        "slac-runid-echo",
        lambda: lab().replace("CM_SLAC_PARM.CNF", run_id=OTHER_RUN),
        ("CM_SLAC_PARM.REQ", 0),
        "SECC",
        OTHER_RUN.hex(),
        {"RunID": OTHER_RUN.hex()},
        ("CM_SLAC_PARM.CNF",),
        "warning",
    ),
    Case(
        "slac-runid-changed",
        lambda: lab().replace("CM_SLAC_MATCH.REQ", run_id=OTHER_RUN),
        ("CM_SLAC_PARM.REQ", 0),
        "EVCC",
        "CM_SLAC_MATCH.REQ carries",
        {"RunID": OTHER_RUN.hex()},
        ("CM_SLAC_MATCH.REQ",),
    ),
    Case(
        "slac-mac-mismatch",
        lambda: lab().replace("CM_SLAC_MATCH.REQ", evse_mac=SECOND_EVSE),
        ("CM_SLAC_MATCH.REQ", 0),
        "EVCC",
        "EVSE_MAC",
        {"EVSE_MAC": SECOND_EVSE.hex(":")},
        ("CM_SLAC_MATCH.REQ",),
    ),
    Case("slac-no-parm-req", lambda: lab().stop_after("CP", 2), ("CP", 2), "EVCC", "no CM_SLAC_PARM.REQ", {"waited": 50.0}, ("CP",)),
    Case("slac-parm-late", lambda: late_slac(14.0), ("CP", 2), "EVCC", "14.0 s after 5 % PWM", {"delay": 14.0}, ("CP", "CM_SLAC_PARM.REQ"), "info"),
    Case(
        "slac-late-after-ef",
        lambda: late_slac(15.0, "F"),
        ("CP", 4),
        "EVCC",
        "came back from F",
        {"delay": 15.0},
        ("CP", "CM_SLAC_PARM.REQ"),
        quiet=lambda: late_slac(1.0, "F"),
    ),
    Case("cp-wakeup-needed", lambda: late_slac(1.0, "F"), ("CP", 4), "EVCC", "only after the pilot had gone to F", {}, ("CP", "CM_SLAC_PARM.REQ")),
    Case(
        "slac-first-parm-before-evse-ready",
        lambda: late_slac(0.05).delay("CM_SLAC_PARM.CNF", 0, 0.5),
        ("CM_SLAC_PARM.REQ", 0),
        "SECC",
        "was not answered",
        {"delay": 0.05},
        ("CM_SLAC_PARM.REQ",),
        "info",
    ),
    Case(
        "slac-without-digital-duty",
        lambda: lab().replace("CP", 2, state="F"),
        ("CP", 2),
        "EVCC",
        "while the pilot is in F",
        {"state": "F"},
        ("CM_SLAC_PARM.REQ",),
    ),
    Case(
        "slac-start-atten-late",
        lambda: slac_only("CM_SLAC_PARM.CNF"),
        ("CM_SLAC_PARM.CNF", 0),
        "EVCC",
        "within 0.4 s",
        {"waited": 0.4},
        ("CM_SLAC_PARM.CNF",),
        "error",
    ),
    Case(
        "slac-start-atten-count",
        lambda: lab().drop("CM_START_ATTEN_CHAR.IND", 1),
        ("CM_START_ATTEN_CHAR.IND", 1),
        "EVCC",
        "2 CM_START_ATTEN_CHAR.IND",
        {"messages": 2},
        ("CM_START_ATTEN_CHAR.IND",),
        "info",
    ),
    Case(
        "slac-start-atten-timeout-field",
        lambda: lab().replace("CM_START_ATTEN_CHAR.IND", time_out=10),
        ("CM_START_ATTEN_CHAR.IND", 0),
        "EVCC",
        "1000 ms",
        {"Time_Out": 10},
        ("CM_START_ATTEN_CHAR.IND",),
        "warning",
    ),
    Case(
        "slac-batch-interval",
        lambda: lab().delay("CM_MNBC_SOUND.IND", 4, 0.08),
        ("CM_MNBC_SOUND.IND", 3),
        "EVCC",
        "112 ms",
        {"pause": 0.112},
        ("CM_MNBC_SOUND.IND",),
        "info",
    ),
    Case(
        "slac-sounds-missing",
        lambda: lab().replace("CM_ATTEN_CHAR.IND", num_sounds=2),
        ("CM_MNBC_SOUND.IND", 4),
        "line",
        "counted 2 sounds",
        {"sounds": 2},
        ("CM_ATTEN_CHAR.IND",),
        "warning",
    ),
    Case(
        "slac-sound-countdown",
        lambda: lab().replace("CM_MNBC_SOUND.IND", cnt=0),
        ("CM_MNBC_SOUND.IND", 4),
        "EVCC",
        "0, 0, 0",
        {"first": 0},
        ("CM_MNBC_SOUND.IND",),
        "info",
    ),
    Case(
        "slac-sound-window",
        lambda: lab().delay("CM_MNBC_SOUND.IND", 9, 0.4),
        ("CM_MNBC_SOUND.IND", 4),
        "EVCC",
        "after the first",
        {"sounding": 0.778},
        ("CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND"),
    ),
    Case(
        "slac-atten-groups",
        lambda: lab().replace("CM_ATTEN_CHAR.IND", aag=MEASURED[:40]),
        ("CM_ATTEN_CHAR.IND", 0),
        "SECC",
        "40 groups",
        {"NumGroups": 40},
        ("CM_ATTEN_CHAR.IND",),
    ),
    Case(
        "slac-atten-char-late",
        lambda: slac_only("CM_ATTEN_PROFILE.IND"),
        ("CM_MNBC_SOUND.IND", 4),
        "SECC",
        "10 sounds heard",
        {"waited": 1.2, "sounds": 10},
        ("CM_START_ATTEN_CHAR.IND",),
        "error",
    ),
    Case(
        "slac-atten-char-no-rsp",
        lambda: slac_only("CM_ATTEN_CHAR.IND").repeat("CM_ATTEN_CHAR.IND", 0, 2, every=0.2),
        ("CM_ATTEN_CHAR.IND", 1),
        "EVCC",
        "sent 3 times",
        {"reports": 3},
        ("CM_ATTEN_CHAR.IND",),
        "error",
    ),
    Case(
        "slac-atten-char-result",
        lambda: lab().replace("CM_ATTEN_CHAR.RSP", result=1),
        ("CM_ATTEN_CHAR.RSP", 0),
        "EVCC",
        "RESULT 1",
        {"RESULT": 1},
        ("CM_ATTEN_CHAR.RSP",),
        "warning",
    ),
    Case(
        "slac-atten-all-zero",
        good(),
        ("CM_ATTEN_CHAR.IND", 0),
        "SECC",
        "All groups report 30 dB",
        {"attenuation": 30},
        ("CM_ATTEN_CHAR.IND",),
        "info",
        quiet=lab,
    ),
    Case(
        "slac-atten-high",
        lambda: lab().replace("CM_ATTEN_CHAR.IND", aag=bytes([50] * 58)),
        ("CM_ATTEN_CHAR.IND", 0),
        "line",
        "50.0 dB",
        {"attenuation": 50.0},
        ("CM_ATTEN_CHAR.IND",),
        "warning",
    ),
    Case(
        "slac-atten-low",
        lambda: lab().replace("CM_ATTEN_CHAR.IND", aag=bytes([2] * 58)),
        ("CM_ATTEN_CHAR.IND", 0),
        "line",
        "2.0 dB",
        {"attenuation": 2.0},
        ("CM_ATTEN_CHAR.IND",),
        "info",
    ),
    Case(
        "slac-atten-group-outlier",
        lambda: lab().replace("CM_ATTEN_CHAR.IND", aag=MEASURED[:20] + b"\x46" + MEASURED[21:]),
        ("CM_ATTEN_CHAR.IND", 0),
        "line",
        "Group 20 has 70 dB",
        {"above_median": 38.0},
        ("CM_ATTEN_CHAR.IND",),
        "info",
    ),
    Case("slac-multi-evse-response", two_evses, ("CM_SLAC_PARM.CNF", 0), "line", "2 EVSEs answered", {"evses": 2}, ("CM_SLAC_PARM.CNF",), "warning"),
    Case(
        "slac-wrong-evse-selected",
        two_evses,
        ("CM_ATTEN_CHAR.IND", 0),
        "EVCC",
        "is closer",
        {"difference": 10.0},
        ("CM_ATTEN_CHAR.IND", "CM_SLAC_MATCH.REQ"),
        quiet=lambda: two_evses(40),
    ),
    Case(
        "slac-validate-used",
        validated,
        ("CM_VALIDATE.REQ", 0),
        "none",
        "CM_VALIDATE.REQ",
        {},
        ("CM_VALIDATE.REQ",),
        "info",
    ),
    Case(
        "slac-validate-failed",
        lambda: lab().insert_before("CM_SLAC_MATCH.REQ", 0, *validate(1, 3)),
        ("CM_VALIDATE.REQ", 1),
        "SECC",
        "says failure in step 2",
        {"result": 3},
        ("CM_VALIDATE.CNF",),
        "info",
        quiet=validated,
    ),
    Case(
        "slac-match-req-missing",
        lambda: slac_only("CM_ATTEN_CHAR.RSP"),
        ("CM_ATTEN_CHAR.RSP", 0),
        "EVCC",
        "for 10 s",
        {"waited": 10.0},
        ("CM_ATTEN_CHAR.RSP",),
        "error",
    ),
    Case(
        "slac-match-no-cnf",
        lambda: slac_only("CM_SLAC_MATCH.REQ").repeat("CM_SLAC_MATCH.REQ", 0, 2, every=0.2),
        ("CM_SLAC_MATCH.REQ", 1),
        "SECC",
        "not answered for 10.0 s",
        {"waited": 10.0, "requests": 3},
        ("CM_SLAC_MATCH.REQ",),
        "error",
    ),
    Case(
        "slac-match-mvf-length",
        lambda: lab().replace("CM_SLAC_MATCH.REQ", mvf_length=0),
        ("CM_SLAC_MATCH.REQ", 0),
        "EVCC",
        "MVFLength is 0",
        {"MVFLength": 0},
        ("CM_SLAC_MATCH.REQ",),
        "warning",
    ),
    Case("slac-nid-nmk-invalid", lab, ("CM_SLAC_MATCH.CNF", 0), "SECC", "does not follow", {}, ("CM_SLAC_MATCH.CNF",), "info", quiet=derived),
    Case(
        "slac-setkey-fail",
        lambda: set_key(False),
        ("CM_SET_KEY.REQ", 0),
        "EVCC",
        "not confirmed",
        {"waited": 20.0},
        ("CM_SET_KEY.REQ",),
        quiet=lambda: set_key(True),
    ),
    Case(
        "slac-amp-map",
        lambda: amp_map(False),
        ("CM_AMP_MAP.REQ", 0),
        "EVCC",
        "not answered",
        {"waited": 0.2},
        ("CM_AMP_MAP.REQ",),
        "info",
        quiet=lambda: amp_map(True),
    ),
    Case(
        "slac-restart",
        lambda: restart("CM_ATTEN_CHAR.IND"),
        ("CM_ATTEN_CHAR.IND", 0),
        "unknown",
        "had come to CM_ATTEN_CHAR.IND",
        {"attempt": 2},
        ("CM_SLAC_PARM.REQ",),
        "info",
    ),
    Case(
        "slac-restart-storm",
        storm,
        ("CM_ATTEN_CHAR.IND", 1),
        "unknown",
        "3 restarts of SLAC",
        {"restarts": 3},
        ("CM_SLAC_PARM.REQ",),
        "warning",
    ),
    Case("slac-in-matched", mid_session, ("CurrentDemandRes", 3), "EVCC", "3.0 s after", {"pause": 3.0}, ("CM_SLAC_PARM.REQ",)),
    Case("slac-link-lost", line_gone, ("CurrentDemandReq", 5), "unknown", "3 times more", {"repeats": 3}, ("retransmission",)),
    Case(
        "slac-duration",
        lambda: lab().delay("CM_SLAC_MATCH.REQ", 0, 11.0),
        ("CM_ATTEN_CHAR.RSP", 0),
        "unknown",
        "to the match",
        {"duration": 11.667},
        ("CM_SLAC_MATCH.CNF",),
        "info",
    ),
    Case("slac-link-not-up", matched_only, ("CM_SLAC_MATCH.CNF", 0), "unknown", "for 12 s", {"waited": 12.0}, ("CM_SLAC_MATCH.CNF",), "error"),
    Case(
        "slac-no-sdp-after-match",
        lambda: matched_only(solicitation(4.0)),
        ("CM_SLAC_MATCH.CNF", 0),
        "EVCC",
        "for 20 s",
        {"waited": 20.0},
        ("CM_SLAC_MATCH.CNF",),
        "error",
    ),
    Case("slac-then-no-hlc", basic_after_match, ("CM_SLAC_MATCH.CNF", 0), "EVCC", "control pilot", {"waited": 20.0}, ("CM_SLAC_MATCH.CNF",), "info"),
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


def test_one_sided_tap_blames_nobody() -> None:
    """A third modem that hears the EVSE's side only: no rule about missing messages of the EV speaks."""
    heard = {"CM_SLAC_PARM.CNF", "CM_ATTEN_CHAR.IND", "CM_SLAC_MATCH.CNF"}
    made = Lab.good("din-dc", pilot=False)
    made.steps = [s for s in made.steps if s.name in heard]
    result = made.run()
    assert result.ids("warning", "error") == set()
    assert EVSE_MAC.hex(":") == result.session.secc["mac"]


def test_runid_not_echoed_explains_why_the_ev_stops() -> None:
    """The EVSE fills RunID with the MAC: the EV never sounds, and the finding says whose software to correct."""
    made = slac_only("CM_SLAC_PARM.CNF").replace("CM_SLAC_PARM.CNF", run_id=OTHER_RUN)
    finding = made.run().one("slac-start-atten-late")
    assert OTHER_RUN.hex() in finding.detail
    assert "RunID" in finding.fix


# --- cross-talk: one EVSE, two EVs --------------------------------------------------------------------------------

OTHER_EV = bytes.fromhex("020000000e77")


def rival(own_db: int, other_db: int, *, before: bool) -> Lab:
    """The EVSE that the EV matches with reports to another EV too, before or after the match was asked for."""
    payload = slac_payload("CM_ATTEN_CHAR.IND", {"pev_mac": OTHER_EV, "run_id": b"\x07" * 8, "aag": bytes([other_db]) * 58})
    report = Step("frame", "OTHER", gap=0.02, raw=wire_mme(EVSE_MAC, OTHER_EV, MMTYPES["CM_ATTEN_CHAR.IND"], payload))
    it = lab().replace("CM_ATTEN_CHAR.IND", aag=bytes([own_db]) * 58)
    return it.insert_before("CM_SLAC_MATCH.REQ", 0, report) if before else it.insert_after("CM_SLAC_MATCH.REQ", 0, report)


@pytest.mark.parametrize("before", [True, False])
def test_an_evse_that_is_closer_to_another_ev_is_the_neighbours(before: bool) -> None:
    finding = rival(60, 44, before=before).run().one("slac-wrong-evse-selected")
    assert finding.side == "line"
    assert "60.0 dB, to which another EV is closer at the same time (44.0 dB)" in finding.detail
    assert finding.values["difference"].value == 16.0
    assert len(finding.frames) == 3


def test_two_evs_at_one_evse_are_no_cross_talk_when_both_are_near() -> None:
    """The limit itself is allowed."""
    assert rival(54, 44, before=True).run().of("slac-wrong-evse-selected") == []
    assert rival(55, 44, before=True).run().of("slac-wrong-evse-selected") != []
    assert rival(44, 60, before=True).run().of("slac-wrong-evse-selected") == []


HOST = AnalysisSettings(site="lab", tap="lab", vantage="host")


def late_answer(pilot: bool) -> Lab:
    """Six requests a second apart; the EVSE answers the last one, and all goes well."""
    return Lab.good("din-dc", pilot=pilot).repeat("CM_SLAC_PARM.REQ", 0, 5, every=1.0)


def test_an_evse_that_answers_at_last_was_starting() -> None:
    result = late_answer(pilot=False).run(HOST)
    assert result.session.outcome == "completed"
    found = result.one("slac-parm-no-cnf")
    assert (found.severity, found.effect) == ("info", "none")
    assert found.detail == "5 CM_SLAC_PARM.REQ in a row without CM_SLAC_PARM.CNF. The answer came 5.0 s after the first of them."
    told = [o for o in result.outputs if isinstance(o, Finding) and o.check == "slac-parm-no-cnf"]
    assert [f.severity for f in told][:1] == ["warning"], "it may have been one as long as nothing came"
    assert told[-1].severity == "info" and len({f.rev for f in told}) == len(told)


def test_an_evse_that_had_called_with_its_pilot_was_not_ready() -> None:
    result = late_answer(pilot=True).run(HOST)
    assert result.session.outcome == "completed"
    assert (result.one("slac-parm-no-cnf").severity, result.one("slac-parm-no-cnf").effect) == ("warning", "degrades")


def test_no_answer_at_all_stays_a_failure() -> None:
    made = no_answer()
    made.steps = [s for s in made.steps if s.kind != "cp"]
    assert made.run(HOST).one("slac-parm-no-cnf").severity == "error"


def test_a_key_confirmed_too_late_counts_where_nothing_comes_of_it() -> None:
    late = set_key(True)
    late.steps[-1].gap = 4.0
    assert "was confirmed after 4.0 s only" in late.run(HOST).one("slac-setkey-fail").detail
    assert not set_key(True).run(HOST).of("slac-setkey-fail")
