"""Sessions and findings for a person at a terminal: what happened, who, why, what to do. Gives rich renderables; printing is the caller's."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderResult
from rich.text import Text

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding, Verdict
from plugtap.checks.health import words
from plugtap.checks.verdict import CREDIBLE
from plugtap.report.captures import CaptureReport
from plugtap.sessions.kpi import Kpi
from plugtap.sessions.records import PHASES, PhaseRecord

Shown = ConsoleRenderable

OUTCOME_STYLE = {
    "completed": ("✔", "bold green"),
    "paused": ("⏸", "bold green"),
    "stopped": ("■", "bold yellow"),
    "incomplete": ("…", "bold cyan"),
    "failed": ("✘", "bold red"),
    None: ("▶", "bold blue"),
}
SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}
SEVERITY_ORDER = {"error": 0, "warning": 1, "info": 2}
PROTOCOL = {"din": "DIN 70121", "iso2": "ISO 15118-2", "iso20": "ISO 15118-20", "iec61851": "IEC 61851 (pilot only)"}
SIDE = {"EVCC": "EV", "SECC": "EVSE", "line": "the line", "tap": "the tap", "authorization": "authorisation", "user": "the user"}
ENDED = {
    "session-stop": "SessionStop",
    "pause": "paused",
    "fin": "TCP FIN",
    "rst": "TCP RST",
    "silence": "silence",
    "unplug": "unplugged",
    "new-slac": "new SLAC",
    "capture-end": "capture ends",
}
MAX_FINDINGS = 12  # shown unless all are wanted
MAX_FREQUENT = 8
MAX_MEASURES = 4
GLUE = "\ue000"  # becomes a blank at which no line breaks (rich breaks at U+00A0 too)
LONG_PHASE_S = 1.0  # a phase at least this long is shown with its duration


class Hanging:
    """Text that wraps below itself: `first` stands before its first line, blanks of the same width before the others."""

    def __init__(self, text: Text, first: str = "", style: str = "") -> None:
        self.text = text
        self.first = first
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.text.wrap(console, max(8, options.max_width - len(self.first)))
        for i, line in enumerate(lines):
            line.plain = line.plain.replace(GLUE, " ")
            line.rstrip()
            shown = Text().append(self.first, self.style) if i == 0 else Text(" " * len(self.first))
            yield shown.append_text(line)


# -- captures ------------------------------------------------------------------------------------------------------


def capture(report: CaptureReport, *, all_findings: bool = False) -> Shown:
    """A capture file: its name, then its sessions; errors and warnings in full, the rest too with `all_findings`."""
    parts: list[ConsoleRenderable] = [_name(report), Hanging(_what(report), "  ")]
    for shown in report.sessions:
        parts += [Text(), session(shown, indent="  ", all_findings=all_findings)]
    parts += [Hanging(_finding(finding), "  ") for finding in report.findings]
    parts += [Hanging(Text(note, "dim"), "  note: ", "dim") for note in report.notes]
    return Group(*parts, Text())


def brief(report: CaptureReport) -> Shown:
    """A capture file with one line a session: outcome, how far, verdict."""
    parts: list[ConsoleRenderable] = [_name(report)]
    for shown in report.sessions:
        mark, style = OUTCOME_STYLE[shown.outcome]
        line = f"  {mark} {_outcome(shown):<11} {shown.reached or '':<13} "
        parts.append(Hanging(_verdict(shown.verdict), line, style))
    if not report.sessions:
        parts.append(Hanging(_what(report), "  "))
    return Group(*parts)


def summary(reports: Sequence[CaptureReport], unreadable: int = 0) -> Shown:
    """Over many captures: how many sessions ended how, and what was found in most of them."""
    sessions = [s for report in reports for s in report.sessions]
    counts = Counter(s.outcome for s in sessions)
    head = Text().append(f"{_count(len(reports), 'capture')}, {_count(len(sessions), 'session')}", "bold")
    shown = [(name, OUTCOME_STYLE[name]) for name in OUTCOME_STYLE if counts[name]]
    for i, (name, (mark, style)) in enumerate(shown):
        head.append(", " if i else ": ").append(f"{mark} {counts[name]} {name or 'in progress'}", style)
    if unreadable:
        head.append(f"; {unreadable} could not be read", "red")
    frequent: Counter[str] = Counter()
    for one in sessions:
        frequent.update({f.check for f in one.findings if f.severity != "info"})
    lines: list[ConsoleRenderable] = [Hanging(head)]
    figures = [s.kpi for s in sessions if s.state == "closed"]
    if known := [k for k in figures if k.power_started is not None]:
        lines.append(Hanging(Text(_rates(known, len(figures) - len(known))), "kpi: ", "dim"))
    if frequent:
        top = ", ".join(f"{check} {n}" for check, n in sorted(frequent.items(), key=lambda e: (-e[1], e[0]))[:MAX_FREQUENT])
        lines.append(Hanging(Text(top), "sessions with: ", "dim"))
    return Group(*lines)


def _rates(known: Sequence[Kpi], unknown: int) -> str:
    """Charge start and end success over sessions of which they are known; the others are counted apart."""
    powered = [k for k in known if k.power_started]
    ended = [k for k in powered if k.ended_ok is not None]
    text = f"power started in {len(powered)} of {len(known)} sessions"
    if ended:
        text += f", {sum(k.ended_ok is True for k in ended)} of {len(ended)} ended well"
    if len(powered) > len(ended):
        text += f" ({len(powered) - len(ended)} not seen to end)"
    return text + (f"; not known of {unknown}" if unknown else "")


def _name(report: CaptureReport) -> Text:
    """The file on one line whatever its length, so that it can be copied."""
    return Text(report.file, "bold", no_wrap=True, overflow="ignore")


def _what(report: CaptureReport) -> Text:
    """How many sessions and frames, when, how long."""
    what = Text()
    if report.sessions:
        what.append(f"{_count(len(report.sessions), 'session')} in {_count(report.frames, 'frame')}")
    else:
        what.append(f"no charging communication in {_count(report.frames, 'frame')}", "yellow")
    if report.start is not None and report.end is not None:
        if report.coverage.get("clock") == "relative":
            what.append(" · clock not set", "dim")
        else:
            what.append(f" · {report.start[:10]} {report.start[11:19]} UTC", "dim")
        what.append(f" · {_span(seconds_between(report.start, report.end))}", "dim")
    if report.coverage.get("undecodable"):
        what.append(f" · {report.coverage['undecodable']} frames undecodable", "dim")
    return what


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def seconds_between(start: str, end: str) -> float:
    """Seconds between two RFC 3339 times of ours (UTC, nine decimals); microseconds precise."""
    first, last = (datetime.datetime.fromisoformat(text[:26]) for text in (start, end))
    return (last - first).total_seconds()


def _span(seconds: float) -> str:
    """``4.2 s``, ``48 s``, ``12 min``, ``3.5 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# -- a session -----------------------------------------------------------------------------------------------------


def session(report: SessionReport, *, indent: str = "", all_findings: bool = False) -> Shown:
    """One session: outcome, who and what, why, what to do; the way there, what was seen, findings."""
    mark, style = OUTCOME_STYLE[report.outcome]
    head = Text().append(_outcome(report).upper(), style)
    head.append(f"  reached {report.reached or 'nothing'}", "bold")
    for fact in _facts(report):
        head.append(" · ").append(glued(fact))
    head.append(f" · {report.id}", "dim")
    inner = indent + "  "
    lines: list[ConsoleRenderable] = [Hanging(head, f"{indent}{mark} ", style), Hanging(_verdict(report.verdict), inner)]
    root = _root(report)
    if root is not None and root.cause and root.cause not in report.verdict.summary:
        lines.append(Hanging(Text(root.cause), inner + "why: ", "dim"))
    if report.verdict.suggestion:
        lines.append(Hanging(Text(report.verdict.suggestion, "italic"), inner + "→ ", "bold"))
    way = _way(report)
    if way.plain:
        lines.append(Hanging(way, inner))
    figures = _figures(report)
    if figures:
        lines.append(Hanging(Text(figures, "dim"), inner + "kpi:  ", "dim"))
    room = _room(report, all_measures=all_findings)
    if room:
        lines.append(Hanging(Text(room, "dim"), inner + "room: ", "dim"))
    lines.append(Hanging(Text(_coverage(report), "dim"), inner + "seen: ", "dim"))
    return Group(*lines, *_findings(report, root, inner, all_findings))


def _outcome(report: SessionReport) -> str:
    return report.outcome or "in progress"


def _verdict(verdict: Verdict) -> Text:
    """Who, and what happened."""
    text = Text()
    if verdict.side not in ("none", "unknown"):
        text.append(f"{SIDE.get(verdict.side, verdict.side)}: ", "bold")
    text.append(verdict.summary)
    if verdict.certainty != "sure":
        text.append(f" ({verdict.certainty})", "dim")
    if verdict.check is not None:
        text.append(f" [{verdict.check}]", "dim")
    return text


def _root(report: SessionReport) -> Finding | None:
    """The finding that the verdict is about."""
    same = [f for f in report.findings if f.check == report.verdict.check and f.detail == report.verdict.summary]
    return same[0] if same else None


def _facts(report: SessionReport) -> Iterable[str]:
    if report.protocol:
        energy = f" {report.energy.upper()}" if report.energy else ""
        yield PROTOCOL.get(report.protocol, report.protocol) + energy
    if report.pair == "foreign":
        yield "a neighbour's session"
    el = report.electrical
    if el.get("energy_wh") and not any(m.name == "highest current" and m.ratio > CREDIBLE for m in report.health):
        yield f"{el['energy_wh'] / 1000:.2f} kWh"
    if "soc_start" in el and "soc_end" in el:
        yield f"SOC {el['soc_start']}→{el['soc_end']} %"
    if report.attempts > 1:
        yield f"{report.attempts} attempts"
    if report.coverage.clock == "absolute":
        yield f"{report.start[11:23]}"
    yield f"frames {report.first_frame}–{report.last_frame}"


def _way(report: SessionReport) -> Text:
    """The phases as a path: those entered, how long the long ones took, and where and how it ended."""
    entered = {p.name: p for p in report.phases}
    text = Text()
    for i, name in enumerate(p for p in PHASES if p in entered):
        if i:
            text.append(f"{GLUE}→ ", "dim")
        text.append(name, OUTCOME_STYLE[report.outcome][1] if name == report.reached else "")
        took = _took(entered[name])
        if took >= LONG_PHASE_S:
            text.append(glued(f" {_span(took)}"), "dim")
    if report.ended is not None:
        by = f" by {SIDE[report.ended.by]}" if report.ended.by in ("EVCC", "SECC") else ""
        text.append("  ").append(glued(f"({ENDED.get(report.ended.how, report.ended.how)}{by}, frame {report.ended.frame})"), "dim")
    return text


def glued(words: str) -> str:
    """Words that stay on one line."""
    return words.replace(" ", GLUE)


def _took(phase: PhaseRecord) -> float:
    return seconds_between(phase.start, phase.end) if phase.end is not None else 0.0


def _figures(report: SessionReport) -> str:
    """The key figures in words; nothing while the session is open."""
    k = report.kpi
    if report.state == "open":
        return ""
    if k.power_started is None:
        return f"unknown ({k.unknown})"
    if not k.power_started:
        return "power not started"
    parts = ["power started" + (f" after {k.charge_start_s:.1f} s" if k.charge_start_s is not None else "")]
    parts.append(f"end unknown ({k.unknown})" if k.ended_ok is None else "ended well" if k.ended_ok else "did not end well")
    return ", ".join(parts)


def _room(report: SessionReport, *, all_measures: bool) -> str:
    """What was measured beside its limit, nearest first; the first few unless all are wanted."""
    shown = sorted(report.health, key=lambda m: -m.ratio if not m.at_least else m.ratio - 1)
    shown = shown if all_measures else [m for m in shown if m.unit in ("s", "dB")][:MAX_MEASURES]
    return ", ".join(words(m) for m in shown)


def _coverage(report: SessionReport) -> str:
    c = report.coverage
    words = {"both": "both sides", "evcc": "EV side only", "secc": "EVSE side only", "none": "nothing"}
    parts = [f"SLAC {words[c.slac]}", f"V2G {words[c.unicast]}", f"pilot {c.pilot.replace('none', 'nothing')}"]
    if c.tls != "none":
        parts.append(f"TLS {c.tls}")
    if c.start == "late":
        parts.append("joined late")
    if c.end == "cut":
        parts.append("end not in the capture")
    if c.lost["frames"] or c.lost["bytes"]:
        parts.append(f"lost {c.lost['frames']} frames, {c.lost['bytes']} bytes")
    return ", ".join(parts)


# -- findings ------------------------------------------------------------------------------------------------------


def _findings(report: SessionReport, root: Finding | None, indent: str, everything: bool) -> list[ConsoleRenderable]:
    """The findings beside the one the verdict has told: the grave ones first, consequences below their root."""
    ordered = sorted((f for f in report.findings if f is not root), key=lambda f: (SEVERITY_ORDER[f.severity], f.time, f.check))
    shown = ordered if everything else [f for f in ordered if f.severity != "info"][:MAX_FINDINGS]
    lines: list[ConsoleRenderable] = []
    for finding in _below_roots(shown):
        first = f"{indent}{'  ↳ ' if finding.root is not None else ''}{finding.severity:<8} "
        lines.append(Hanging(_finding(finding), first, SEVERITY_STYLE[finding.severity]))
        if finding.severity != "info" and finding.root is None and finding.fix:
            lines.append(Hanging(Text(finding.fix, "italic"), indent + " " * 9 + "→ "))
    left: Counter[str] = Counter()
    for finding in ordered[len(shown) :]:
        left[finding.check] += finding.count
    if left:
        names = ", ".join(glued(f"{check} ×{n}") if n > 1 else check for check, n in left.items())
        lines.append(Hanging(Text(names, "dim"), f"{indent}also: ", "dim"))
    return lines


def _below_roots(findings: Sequence[Finding]) -> list[Finding]:
    """Each consequence after its root, where that is shown too."""
    known = {f.id for f in findings}
    out: list[Finding] = []
    for finding in findings:
        if finding.root in known:
            continue
        out.append(finding)
        out += [f for f in findings if f.root == finding.id]
    return out


def _finding(finding: Finding) -> Text:
    """What was found, and where."""
    times = f" ×{finding.count}" if finding.count > 1 else ""
    text = Text().append(f"{finding.check}{times}: ", SEVERITY_STYLE[finding.severity] if finding.severity != "info" else "")
    text.append(finding.detail)
    return text.append(" ").append(glued(f"({finding.t:.3f} s, frame {finding.frame})"), "dim")


def fact_rows(values: dict[str, Any]) -> list[str]:
    """``name value unit (limit op)`` of a finding's values, for explanations."""
    rows = []
    for name, value in values.items():
        limit = f" ({value.op} {value.limit} {value.unit})" if value.limit is not None else ""
        rows.append(f"{name} {value.value} {value.unit}{limit}")
    return rows
