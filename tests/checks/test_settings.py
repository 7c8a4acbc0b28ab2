"""What a site may change about checks: rate limits, severity, expected findings, families, the pilot's table."""

from __future__ import annotations

from typing import Any

import pytest
from lab import Lab, Result

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings, CheckSettings


def site(**checks: CheckSettings) -> AnalysisSettings:
    return AnalysisSettings(site="lab", tap="lab", checks={name.replace("_", "-").replace("ANY", "*"): entry for name, entry in checks.items()})


def overheard(result: Result, check: str) -> list[Finding]:
    """The findings as consumers got them, revision by revision, before the session's last report."""
    return [o for o in result.outputs if isinstance(o, Finding) and o.check == check]


def noisy() -> Lab:
    """A charge loop of a minute in which every answer says NotReady late: a finding that repeats."""
    lab = Lab.good("din-dc").repeat("CurrentDemand", 4, 120, every=0.5)
    return lab.replace("CurrentDemandRes", None, {"DC_EVSEStatus.EVSEIsolationStatus": "Warning"})


def test_a_finding_that_repeats_is_told_as_often_as_the_site_wants() -> None:
    often = noisy().run()
    check = next(f.check for f in often.findings if f.count > 60)
    seldom = noisy().run(AnalysisSettings(site="lab", tap="lab", checks={check: CheckSettings(every=30.0)}))
    # 1st, 2nd, 4th, 8th … at once; with the limit the first, and what is due after it
    assert len(overheard(seldom, check)) < len(overheard(often, check))
    times = sorted({f.last_time for f in overheard(seldom, check)})
    assert len(times) >= 2
    # … and nothing is lost: the session's last report counts all
    assert seldom.one(check).count == often.one(check).count


def several() -> Lab:
    """Two messages of a kind that are each a finding of their own."""
    lab = Lab.good("din-dc")
    return lab.replace("CableCheckRes", 0, ResponseCode="FAILED").replace("PreChargeRes", 0, ResponseCode="FAILED")


def test_no_more_findings_of_a_check_than_the_site_wants() -> None:
    every = [f for f in several().run().findings if f.check == "sess-resp-failed"]
    assert len(every) > 1, "the scene must give several findings"
    limited = several().run(site(sess_resp_failed=CheckSettings(max_findings=1)))
    assert len(limited.of("sess-resp-failed")) == 1
    assert limited.analysis.engine.capped_findings >= 1
    assert limited.count("sess-resp-failed", "fired") >= len(every), "what was dropped is counted"


@pytest.mark.parametrize("name", ["sess-resp-failed", "sess-*"])
def test_a_check_or_its_family_can_be_switched_off(name: str) -> None:
    result = several().run(AnalysisSettings(site="lab", tap="lab", checks={name: CheckSettings(enabled=False)}))
    assert not result.of("sess-resp-failed")


def test_the_checks_own_setting_goes_before_the_familys() -> None:
    settings = AnalysisSettings(site="lab", tap="lab", checks={"sess-*": CheckSettings(enabled=False), "sess-resp-failed": CheckSettings(enabled=True)})
    assert several().run(settings).of("sess-resp-failed")


@pytest.mark.parametrize(("until", "severity"), [("2023-11-15", "info"), ("2023-11-14", "info"), ("2023-11-13", "error")])
def test_expected_findings_are_information_until_their_date(until: str, severity: str) -> None:
    """The laboratory's clock stands at 2023-11-14. The day named is the last."""
    lab = Lab.good("din-dc").stop_after("CableCheckReq", 1)
    session: SessionReport = lab.run(site(time_msg_timeout=CheckSettings(expected_until=until))).session
    (finding,) = [f for f in session.findings if f.check == "time-msg-timeout"]
    assert finding.severity == severity
    assert (session.verdict.check == "time-msg-timeout") == (severity == "error")


def duty(percent: float) -> Lab:
    """Charging by the pilot alone at a duty cycle."""
    d: Any = round(percent * 100)
    return Lab().pilot("A1").pilot("B1", 2.0).pilot("B2", 1.0, duty=d).pilot("C2", 1.0, duty=d).pilot("B1", 20.0).pilot("A1", 2.0)


@pytest.mark.parametrize(
    ("percent", "iec", "j1772"),
    [(9.0, True, False), (9.5, True, True), (50.0, True, True), (96.4, True, True), (96.8, True, False), (97.5, False, False)],
)
def test_the_site_says_whose_table_a_duty_cycle_is_read_by(percent: float, iec: bool, j1772: bool) -> None:
    for table, current in (("iec", iec), ("j1772", j1772)):
        session = duty(percent).run(AnalysisSettings(site="lab", tap="lab", pilot=table)).session  # type: ignore[arg-type]
        assert (session.protocol == "iec61851") is current, table


@pytest.mark.parametrize("key", ["time-msg-timeout", "time-*"])
@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_severity_that_the_site_has_set_stays(key: str, severity: str) -> None:
    """Also for the root of a failed session, which is an error otherwise."""
    lab = Lab.good("din-dc").stop_after("CableCheckReq", 1)
    before = lab.run()
    assert before.session.outcome == "failed" and before.one("time-msg-timeout").severity == "error"
    result = lab.run(AnalysisSettings(site="lab", tap="lab", checks={key: CheckSettings(severity=severity)}))
    assert result.one("time-msg-timeout").severity == severity
    assert result.session.outcome == "failed"
