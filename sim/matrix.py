"""The matrix: every scenario run through Analysis, and what it says held against what the scenario expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.catalogue import load as load_checks
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import Item
from plugtap.sim import scenario as scenarios
from plugtap.sim.bench import Bench
from plugtap.sim.scenario import Scenario
from plugtap.sim.taps import VANTAGE, TapSettings
from plugtap.sim.v2g import Codec


class Judged(msgspec.Struct, frozen=True):
    """One scenario's result. `wrong` are the expectations that do not hold, `later` the checks that do not exist yet."""

    name: str
    sessions: tuple[SessionReport, ...]
    findings: tuple[Finding, ...]  # all: of the sessions and outside them
    wrong: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def cut(self) -> bool:
        """Whether nothing but the end of the listening ended the last session."""
        end = self.sessions[-1].ended if self.sessions else None
        return end is not None and end.how == "capture-end"

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


class Post(msgspec.Struct, frozen=True):
    """A tap of the matrix: what of a scenario's own tap is different, and what it hears (see `hearing`)."""

    settings: dict[str, Any]
    hears: frozenset[str]
    lossy: bool = False


def _post(hears: str, *, lossy: bool = False, **settings: Any) -> Post:
    return Post(settings, frozenset(hears.split()), lossy)


# Every kind of tap, on the same session. `air`: what the power line carries, not only what arrives at one end.
POSTS: dict[str, Post] = {
    "sniffer": _post("pilot slac-evcc slac-secc v2g air", kind="passive"),
    "host": _post("pilot slac-evcc slac-secc v2g host", kind="host"),
    "host-ev": _post("pilot slac-evcc slac-secc v2g host-ev", kind="host-ev"),
    "bridge": _post("pilot slac-evcc slac-secc v2g", kind="bridge"),
    "evse-side": _post("pilot slac-secc", kind="evse-side"),
    "ev-side": _post("pilot slac-evcc", kind="ev-side"),
    "broadcast": _post("pilot slac-secc", kind="broadcast"),
    "lossy": _post("pilot slac-evcc slac-secc v2g air", lossy=True, kind="passive", miss=0.08),
    "no-pilot": _post("slac-evcc slac-secc v2g air", kind="passive", pilot=False),
}
SLAC = {"slac-evcc", "slac-secc"}
# What must be heard for a check to find something, where one source is enough.
SHOWN_BY: dict[str, tuple[str, ...]] = {
    "pilot": (
        "cp-bcb-pulse-duration", "cp-c-flap", "cp-c1-not-released", "cp-digital-to-nominal-wrong-path", "cp-diode-missing", "cp-duty-update-too-fast",
        "cp-ef-duration-short", "cp-frequency-out-of-range", "cp-gap-voltage-noise", "cp-level-out-of-band", "cp-negative-rail-missing",
        "cp-plug-no-response", "cp-state-d-unexpected", "cp-step-x1-short", "pp-button-pressed", "pp-lost", "pp-noise", "pp-resistor-unknown",
    ),
    "slac-secc": (
        "slac-atten-all-zero", "slac-atten-group-outlier", "slac-atten-groups", "slac-atten-high", "slac-atten-low", "slac-mac-mismatch",
        "slac-nid-nmk-invalid", "slac-parm-fields",
    ),
    "slac-evcc": (
        "slac-atten-char-result", "slac-batch-interval", "slac-match-mvf-length", "slac-match-req-missing", "slac-runid-changed", "slac-sound-countdown",
        "slac-sound-window", "slac-sounds-missing", "slac-start-atten-timeout-field",
    ),
}  # fmt: skip
ONE_SOURCE = {check: source for source, checks in SHOWN_BY.items() for check in checks}
# Others hold the pilot against messages, or messages of both sides against each other.
PILOT_FAMILIES = ("cp", "pp", "cross")
WITH_PILOT = ("slac-without-digital-duty", "slac-parm-late", "slac-then-no-hlc", "slac-runid-echo", "time-comm-setup", "time-ev-slow-between")
# Of a scenario's own tap only these may be replaced: what else it sets is the fault.
REPLACED = {"kind", "late_start", "stop_at"}


class Heard(msgspec.Struct, frozen=True):
    """What plugtap said of a scenario under one of the posts: whether that sees all of it, what is wrong, how many of the named checks
    had to fire, and which did not (a lossy tap may miss the one frame that shows the fault)."""

    post: str
    sees: bool
    wrong: tuple[str, ...]
    due: int
    missed: tuple[str, ...]


def has_posts(scenario: Scenario) -> bool:
    """Whether the scenario makes sense under other taps than its own."""
    about_the_tap = scenario.group in ("healthy", "coverage") and "kind" in scenario.tap
    return not about_the_tap and not set(scenario.tap) - REPLACED


def hearing(check: str) -> set[str]:
    """What a tap must hear for the check to find something: one source (SHOWN_BY), or the pilot, both sides of SLAC and the dialogue."""
    if check in ONE_SOURCE:
        return {ONE_SOURCE[check]}
    pilot = {"pilot"} if check in WITH_PILOT or check.split("-", 1)[0] in PILOT_FAMILIES else set()
    return pilot | (SLAC if check.startswith("slac-") else {*SLAC, "v2g"})


def shown(scenario: Scenario, name: str) -> tuple[str, ...]:
    """The checks the scenario names that must fire under this post.

    A scenario that names its own kind of tap needs what only that one hears: messages between a host and its modem, or proof of silence."""
    expect, kind, hears = scenario.expect, scenario.tap.get("kind"), POSTS[name].hears
    if expect.taps:
        return expect.checks if name in expect.taps else ()
    if kind in ("host", "host-ev"):
        return expect.checks if kind in hears else ()
    return tuple(check for check in expect.checks if hearing(check) <= hears)


def sees(scenario: Scenario, name: str) -> bool:
    """Whether the post sees all of it: every check that is named, and how the session went."""
    return shown(scenario, name) == scenario.expect.checks and ({*SLAC, "v2g"} <= POSTS[name].hears)


def judge(scenario: Scenario, *, seed: int | None = None, codec: Codec | None = None) -> Judged:
    """Run a scenario and compare."""
    bench = scenarios.bench(scenario, seed=seed, codec=codec)
    return _judged(scenario, bench, bench.run(), bench.settings.tap)


def judge_posts(
    scenario: Scenario, posts: Sequence[str] = tuple(POSTS), *, seed: int | None = None, codec: Codec | None = None
) -> tuple[Judged, list[Heard]]:
    """Run a scenario once, with several taps listening: what was said of its own, and of each post.

    A post that sees the whole of it must say what is expected. Of one that doesn't, the checks that it can hear must fire; and it, like a
    lossy one, must say nothing false: an error is one that the scenario names or that its own tap found too, and whoever is blamed is to blame."""
    own = scenarios.build(scenario).tap
    taps = [msgspec.structs.replace(own, **POSTS[name].settings) for name in posts]
    bench = scenarios.bench(scenario, seed=seed, codec=codec, others=taps)
    items, *others = bench.run_all()
    truth = _judged(scenario, bench, items, own)
    heard = []
    for name, tap, listened in zip(posts, taps, others, strict=True):
        judged = _judged(scenario, bench, listened, tap)
        seen, due = sees(scenario, name), shown(scenario, name)
        fired = {finding.check for finding in judged.findings}
        missed = tuple(check for check in due if check not in fired and check not in judged.later)
        if seen and not POSTS[name].lossy:
            wrong = [text for text in judged.wrong if not (text in _CUT and not tap.pilot and judged.cut)]
        else:
            wrong = _false(scenario, judged, truth, doubtful=not tap.pilot)
            wrong += [] if POSTS[name].lossy else [f"{check} did not fire" for check in missed]
        heard.append(Heard(name, seen, tuple(wrong), len(due), missed))
    return truth, heard


# Without the pilot nobody sees the plug come out: a session that nothing else ended has no end.
_CUT = tuple(f"outcome incomplete, not {outcome}" for outcome in ("failed", "stopped", "completed"))


def _judged(scenario: Scenario, bench: Bench, items: list[Item], tap: TapSettings) -> Judged:
    own = bench.pairs[0]
    known = load_checks()
    wanted = tuple(check for check in scenario.expect.checks if check in known)
    reports, findings = analyse(items, vantage=VANTAGE.get(tap.kind, "passive"), own_macs=(own.settings.evse.mac,), enable=wanted)
    mac = own.settings.ev.mac
    sessions = [r for r in reports if r.evcc.get("mac") in (mac, None)]
    wrong, later = _compare(scenario, sessions, findings)
    return Judged(scenario.name, tuple(sessions), tuple(findings), tuple(wrong), tuple(later))


def _named(scenario: Scenario) -> set[str]:
    expect = scenario.expect
    return {*expect.checks, expect.verdict, *expect.also, *expect.allow}


def _false(scenario: Scenario, judged: Judged, truth: Judged, *, doubtful: bool) -> list[str]:
    """What a tap that cannot know says all the same, and wrongly. `doubtful`: it may name somebody as a possibility."""
    named, expect = _named(scenario), scenario.expect
    true = {(finding.check, finding.side) for finding in truth.findings}
    sides = {session.verdict.side for session in truth.sessions} | {expect.side, *expect.sides}
    wrong = [
        f"error that isn't: {finding.check} ({finding.side}, {finding.certainty}): {finding.detail}"
        for finding in judged.findings
        if finding.severity == "error" and finding.check not in named and (finding.check, finding.side) not in true
    ]
    for session in judged.sessions:
        said = session.verdict
        if said.side not in ("EVCC", "SECC") or said.side in sides or said.check in named or (said.check, said.side) in true:
            continue
        if not (doubtful and said.certainty == "possible"):
            wrong.append(f"{said.side} blamed ({said.check}, {said.certainty}): {said.summary}")
    return wrong


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
    named = _named(scenario)
    wrong += [
        f"error beyond what is expected: {finding.check} ({finding.side}, {finding.certainty}): {finding.detail}"
        for finding in findings
        if finding.severity == "error" and finding.check not in named
    ]
    if scenario.healthy:
        for finding in findings:
            if finding.severity != "info" and finding.check not in expect.allow:
                wrong.append(f"{finding.severity} in a healthy session: {finding.check} at {finding.t:.3f} s: {finding.detail}")
    return wrong, later
