"""Text for people: what is shown first, what below what, what is left to a list of names."""

from __future__ import annotations

import io

import msgspec
import pytest
from lab import Lab
from rich.console import Console

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding, Verdict
from plugtap.report import text
from plugtap.report.captures import CaptureReport
from plugtap.sessions.kpi import Kpi


def printed(shown: text.Shown, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(shown, crop=False)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


@pytest.fixture(scope="module")
def session() -> SessionReport:
    return Lab.good("din-dc").run().session


def finding(check: str, severity: str = "warning", *, t: float = 1.0, root: str | None = None, count: int = 1, fix: str = "Do it.") -> Finding:
    return Finding(
        id=f"f-{check}", session="s", check=check, severity=severity, class_="normative", effect="none", side="EVCC", certainty="sure",
        time=f"2026-01-01T00:00:{t:012.9f}Z", t=t, frame=7, frames=(7,), count=count, last_time="", root=root, title=check,
        detail=f"Detail of {check}.", cause="Cause.", fix=fix,
    )  # fmt: skip


def capture(*sessions: SessionReport, file: str = "x.pcap") -> CaptureReport:
    return CaptureReport(
        file=file, frames=9, start="2026-01-01T00:00:00.000000000Z", end="2026-01-01T01:30:00.000000000Z", coverage={"clock": "absolute"}, sessions=sessions
    )


def test_a_good_session(session: SessionReport) -> None:
    head, verdict, *rest = printed(text.session(session))
    assert head.startswith("✔ COMPLETED  reached charging · DIN 70121 DC · ")
    assert verdict.startswith("  Charged ")
    rest = rest[next(i for i, line in enumerate(rest) if line.startswith("  plugged")) :]  # the verdict may take two lines
    assert rest[0].startswith("  plugged 1.1 s → slac → matched 3.0 s → linked → sdp → tcp → negotiated → ")
    assert "  seen: SLAC both sides, V2G both sides, pilot cycles" in rest


def test_the_verdict_has_its_cause_and_is_not_told_twice(session: SessionReport) -> None:
    root = finding("time-precharge", "error")
    failed = msgspec.structs.replace(
        session, outcome="failed", findings=(root, finding("tcp-x", root=root.id)),
        verdict=Verdict(check="time-precharge", side="SECC", certainty="likely", summary=root.detail, suggestion="Do it."),
    )  # fmt: skip
    lines = printed(text.session(failed))
    assert lines[1:4] == ["  EVSE: Detail of time-precharge. (likely) [time-precharge]", "  why: Cause.", "  → Do it."]
    assert sum("Detail of time-precharge" in line for line in lines) == 1
    assert lines[-1] == "    ↳ warning  tcp-x: Detail of tcp-x. (1.000 s, frame 7)", "what follows from the verdict needs no remedy of its own"


def test_grave_findings_first_consequences_below_their_root(session: SessionReport) -> None:
    root = finding("b-root", "warning", t=2.0)
    shown = msgspec.structs.replace(session, findings=(finding("z-info", "info"), finding("c-child", "warning", t=1.0, root=root.id), root, finding("a-error", "error", t=3.0)))
    lines = printed(text.session(shown))
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith("  seen:")) + 1 :]
    assert lines == [
        "  error    a-error: Detail of a-error. (3.000 s, frame 7)",
        "           → Do it.",
        "  warning  b-root: Detail of b-root. (2.000 s, frame 7)",
        "           → Do it.",
        "    ↳ warning  c-child: Detail of c-child. (1.000 s, frame 7)",
        "  also: z-info",
    ]
    full = printed(text.session(shown, all_findings=True))
    assert full[-1] == "  info     z-info: Detail of z-info. (1.000 s, frame 7)"


def test_many_findings_are_named_not_listed(session: SessionReport) -> None:
    many = tuple(finding(f"c{i:02d}", count=i + 1) for i in range(20))
    lines = printed(text.session(msgspec.structs.replace(session, findings=many)))
    assert sum("Detail" in line for line in lines) == text.MAX_FINDINGS
    assert lines[-1].startswith("  also: c12 ×13, c13 ×14, ")
    assert "c19 ×20" in lines[-1]


@pytest.mark.parametrize("width", [30, 60, 100])
def test_nothing_is_wider_than_the_terminal(session: SessionReport, width: int) -> None:
    lines = printed(text.capture(capture(msgspec.structs.replace(session, findings=(finding("long", fix="word " * 60),)))), width)
    assert max(map(len, lines)) <= width
    assert not any(text.GLUE in line or line != line.rstrip() for line in lines)
    assert " ".join(" ".join(lines).split()).count("word") == 60


def test_head_of_a_capture(session: SessionReport) -> None:
    lines = printed(text.capture(capture(session)))
    assert lines[:2] == ["x.pcap", "  1 session in 9 frames · 2026-01-01 00:00:00 UTC · 90 min"]
    unset = msgspec.structs.replace(capture(), coverage={"clock": "relative", "undecodable": 3}, notes=("cut at byte 7",))
    assert printed(text.capture(unset)) == [
        "x.pcap", "  no charging communication in 9 frames · clock not set · 90 min · 3 frames undecodable", "  note: cut at byte 7", "",
    ]  # fmt: skip


def test_summary_counts_outcomes_and_what_was_found_most(session: SessionReport) -> None:
    bad = msgspec.structs.replace(session, outcome="failed", findings=(finding("b"), finding("a", "error"), finding("i", "info")))
    worse = msgspec.structs.replace(session, outcome="failed", findings=(finding("b"),))
    lines = printed(text.summary([capture(session, bad), capture(worse)], unreadable=2))
    assert lines == [
        "2 captures, 3 sessions: ✔ 1 completed, ✘ 2 failed; 2 could not be read",
        "kpi: power started in 3 of 3 sessions, 3 of 3 ended well",
        "sessions with: b 2, a 1",
    ]


def test_names_in_brackets_are_no_markup(session: SessionReport) -> None:
    odd = msgspec.structs.replace(session, verdict=Verdict(summary="[red]A[/red] [b"))
    assert any("[red]A[/red] [b" in line for line in printed(text.session(odd)))
    assert printed(text.brief(capture(odd, file="[bold]x[/bold].pcap")))[0] == "[bold]x[/bold].pcap"


@pytest.mark.parametrize(("seconds", "shown"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (48.2, "48 s"), (119, "119 s"), (3600, "60 min"), (9000, "2.5 h")])
def test_spans(seconds: float, shown: str) -> None:
    assert text._span(seconds) == shown


def test_key_figures_and_the_room_to_the_limits(session: SessionReport) -> None:
    shown = "\n".join(printed(text.capture(capture(session)), 200))
    assert "kpi:  power started after" in shown
    assert ", ended well" in shown
    assert "room: " in shown
    assert " s (" in shown
    unknown = msgspec.structs.replace(session, kpi=Kpi(unknown="the start was not recorded"))
    assert "kpi:  unknown (the start was not recorded)" in "\n".join(printed(text.capture(capture(unknown)), 200))
    assert "1 sessions; not known of 1" in "\n".join(printed(text.summary([capture(session), capture(unknown)]), 200)).replace("1 of 1 sessions, 1 of 1 ended well", "1 sessions")
