"""The matrix: every scenario run through Analysis, and what it says held against what the scenario expects."""

from __future__ import annotations

import msgspec

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.catalogue import load as load_checks
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Item
from plugtap.sim import scenario as scenarios
from plugtap.sim.scenario import Scenario
from plugtap.sim.taps import VANTAGE
from plugtap.sim.v2g import Codec


class Judged(msgspec.Struct, frozen=True):
    """One scenario's result. `wrong` are the expectations that do not hold, `later` the checks that do not exist yet."""

    name: str
    sessions: tuple[SessionReport, ...]
    findings: tuple[Finding, ...]  # all: of the sessions and outside them
    wrong: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether everything that can be asked already is as expected."""
        return not self.wrong


def analyse(
    items: list[Item], *, vantage: str = "unknown", own_macs: tuple[str, ...] = (), enable: tuple[str, ...] = ()
) -> tuple[list[SessionReport], list[Finding]]:
    """Sessions and findings of items, as the analyser gives them. The last item's time is where proven silence ends.

    `enable`: checks to switch on that are off unless asked for."""
    raw = {"site": "bench", "tap": "bench", "vantage": vantage, "own_macs": own_macs, "checks": {name: {"enabled": True} for name in enable}}
    settings = msgspec.convert(raw, AnalysisSettings)
    analysis = Analysis(settings, sources=("plc", "cp"))
    found: dict[str, Finding] = {}
    end = items[-1].t if items else 0
    for item in items:
        for output in analysis.feed(item):
            if isinstance(output, Finding):
                found[output.id] = output
    for output in analysis.finish(end):
        if isinstance(output, Finding):
            found[output.id] = output
    reports = analysis.reports()
    for report in reports:
        found.update({finding.id: finding for finding in report.findings})
    return reports, list(found.values())


def judge(scenario: Scenario, *, seed: int | None = None, codec: Codec | None = None) -> Judged:
    """Run a scenario and compare."""
    bench = scenarios.bench(scenario, seed=seed, codec=codec)
    items = bench.run()
    kind = bench.settings.tap.kind
    own = bench.pairs[0]
    known = load_checks()
    wanted = tuple(check for check in scenario.expect.checks if check in known)
    reports, findings = analyse(items, vantage=VANTAGE.get(kind, "passive"), own_macs=(own.settings.evse.mac,), enable=wanted)
    mac = own.settings.ev.mac
    sessions = [r for r in reports if r.evcc.get("mac") in (mac, None)]
    wrong, later = _compare(scenario, sessions, findings)
    return Judged(scenario.name, tuple(sessions), tuple(findings), tuple(wrong), tuple(later))


def _compare(scenario: Scenario, sessions: list[SessionReport], findings: list[Finding]) -> tuple[list[str], list[str]]:
    expect = scenario.expect
    known = set(load_checks())
    wrong: list[str] = []
    fired = {finding.check for finding in findings}
    later = [check for check in (*expect.checks, *((expect.verdict,) if expect.verdict else ())) if check not in known]
    wrong += [f"{check} did not fire" for check in expect.checks if check in known and check not in fired]
    wrong += [f"{check} fired" for check in expect.never if check in fired]
    if expect.sessions >= 0 and len(sessions) != expect.sessions:
        wrong.append(f"{len(sessions)} sessions, not {expect.sessions}")
    if expect.outcomes:
        outcomes = tuple(str(session.outcome) for session in sessions)
        if outcomes != expect.outcomes:
            wrong.append(f"outcomes {', '.join(outcomes) or 'none'}, not {', '.join(expect.outcomes)}")
    last = sessions[-1] if sessions else None
    if expect.outcome and not later and (last is None or last.outcome != expect.outcome):
        wrong.append(f"outcome {last.outcome if last else 'none'}, not {expect.outcome}")
    if expect.protocol and (last is None or last.protocol != expect.protocol):
        wrong.append(f"protocol {last.protocol if last else 'none'}, not {expect.protocol}")
    if last is not None and not later:
        # A session that went well in spite of a fault has no culprit; then the findings must name the side.
        sides = {f.side for f in findings if f.check in expect.checks} if last.verdict.check is None and expect.side != "none" else {last.verdict.side}
        if expect.side and expect.side not in (sides or {last.verdict.side}):
            wrong.append(f"{' and '.join(sorted(sides))} blamed ({last.verdict.check}), not {expect.side}")
        if expect.verdict and last.verdict.check != expect.verdict:
            wrong.append(f"verdict names {last.verdict.check}, not {expect.verdict}")
    if scenario.healthy:
        for finding in findings:
            if finding.severity != "info" and finding.check not in expect.allow:
                wrong.append(f"{finding.severity} in a healthy session: {finding.check} at {finding.t:.3f} s: {finding.detail}")
    return wrong, later
