"""`plugtap analyze`: what happened in capture files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from plugtap.analysis.analysis import Analysis
from plugtap.checks.finding import SEVERITIES
from plugtap.cli.inputs import CaptureItems, settings_for
from plugtap.hw.errors import SourceError
from plugtap.hw.files import find_captures
from plugtap.report import captures, text
from plugtap.report.captures import CaptureReport
from plugtap.sessions.records import rfc3339

FAIL_ON = ("error", "warning", "failed", "never")
PROGRESS_FROM = 2_000_000  # bytes: smaller input is read before a bar could be seen

EXAMPLES = """examples:
  plugtap analyze charge.pcapng                      what happened, who, why, what to do
  plugtap analyze captures/ --format json > all.json a folder, for machines
  plugtap analyze archive.pcapng --as-recorded       exactly what the daemon said
  plugtap analyze charge.pcap --cp pilot.jsonl       with a control-pilot record beside it
  tcpdump -i eth1 -w - | plugtap analyze -           from a pipe

exit codes: 0 fine; 1 a finding at or above --fail-on, or a failed session; 2 usage; 3 some input unreadable (the rest still runs)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap analyze`."""
    parser.epilog = EXAMPLES
    parser.add_argument("paths", nargs="+", metavar="PATH", help="capture files or folders; - for standard input")
    parser.add_argument("--format", choices=("text", "json", "jsonl"), default="text", help="output (default: text)")
    parser.add_argument("--cp", metavar="FILE", help="control-pilot record beside the capture: CPF1, CP text lines, JSON Lines, EVerest event log")
    parser.add_argument("--cp-offset", type=float, default=0.0, metavar="S", help="seconds to add to the pilot record's times")
    parser.add_argument("--join", action="store_true", help="read the files as one stream, in the order of their first packets (ring files)")
    parser.add_argument("--as-recorded", action="store_true", help="take the settings from the archive, as the daemon ran")
    parser.add_argument("-c", "--config", metavar="FILE", help="settings file; its [checks] and [analysis] apply")
    parser.add_argument("--fail-on", choices=FAIL_ON, default="error", help="exit code 1 from this severity on, or for any failed session (default: error)")
    parser.add_argument("--brief", action="store_true", help="text: verdicts only")
    parser.add_argument("--redact", action="store_true", help="replace MACs, addresses and identities by keyed hashes")


def run(args: argparse.Namespace) -> int:
    """Analyse each capture; the exit code says what was found."""
    errors = Console(stderr=True, highlight=False)
    # Not a terminal: no wrapping at 80 columns, so that the output can be searched.
    console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
    groups = _groups(args)
    done: list[CaptureReport] = []
    unreadable = 0
    code = 0
    with _progress(args) as progress:
        for group in groups:
            try:
                report = analyze(group, args, progress)
            except SourceError as error:
                unreadable += 1
                errors.print(f"plugtap analyze: {error}", style="red", soft_wrap=True)
                continue
            except KeyboardInterrupt:
                errors.print("plugtap analyze: interrupted; what was found until here follows", style="yellow")
                code = 130
                partial = _PARTIAL.pop("report", None)
                if partial is not None:
                    done.append(partial())
                break
            done.append(report)
            if args.format == "text":
                console.print(text.capture(_shown(report, args), details=not args.brief), soft_wrap=False)
                console.print()
            elif args.format == "jsonl":
                sys.stdout.buffer.write(captures.lines(_shown(report, args)))
    if code == 130 and args.format == "text" and done:
        console.print(text.capture(_shown(done[-1], args), details=not args.brief))
    if args.format == "json":
        sys.stdout.buffer.write(captures.document([_shown(r, args) for r in done]) + b"\n")
    elif args.format == "text" and len(done) > 1:
        console.print(text.summary(done))
    sys.stdout.flush()
    return code or (3 if unreadable else exit_code(done, args.fail_on))


_KEY: dict[str, bytes] = {}
# What Ctrl-C in the middle of a file can still report.
_PARTIAL: dict[str, Callable[[], CaptureReport]] = {}


def _groups(args: argparse.Namespace) -> list[list[str]]:
    """The captures to analyse: one by one, or all as one stream."""
    found = find_captures(args.paths)
    return [found] if args.join and found else [[path] for path in found]


def _progress(args: argparse.Namespace) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip


def _shown(report: CaptureReport, args: argparse.Namespace) -> CaptureReport:
    if not args.redact:
        return report
    from plugtap.report.redact import KEY_BYTES, Redactor

    # One key a run, thrown away with it: the same identity has the same hash within one output, and nobody can count through all MACs.
    key = _KEY.setdefault("key", os.urandom(KEY_BYTES))
    return Redactor(key).struct(report)


def analyze(paths: list[str], args: argparse.Namespace, progress: Progress | None = None) -> CaptureReport:
    """One capture (or several ring files as one) to its report. Raises SourceError."""
    source = CaptureItems(paths, cp=args.cp, cp_offset=args.cp_offset, progress=_meter(progress, paths))
    settings = settings_for(args, source)
    foreign = not source.facts().ours
    analysis = Analysis(settings, sources=source.sources(), foreign=foreign)
    _PARTIAL["report"] = lambda: _report(paths, analysis, source)
    for item in source.items():
        analysis.feed(item)
    _PARTIAL.pop("report", None)
    return _report(paths, analysis, source)


def _report(paths: list[str], analysis: Analysis, source: CaptureItems) -> CaptureReport:
    facts = source.facts()
    # Our own archives prove silence up to their last tick; what comes after a foreign file's last packet is unknown.
    analysis.finish()
    reports = analysis.reports()
    return CaptureReport(
        file=paths[0] if len(paths) == 1 else f"{paths[0]} … {paths[-1]}",
        frames=facts.frames, start=rfc3339(facts.start) if facts.start is not None else None,
        end=rfc3339(facts.end) if facts.end is not None else None,
        coverage={"clock": "relative" if analysis.relative_clock else "absolute", "ours": facts.ours, "undecodable": analysis.undecodable},
        sessions=tuple(reports), notes=source.notes(),
    )  # fmt: skip


def _meter(progress: Progress | None, paths: list[str]) -> Callable[[int, int | None], None] | None:
    if progress is None or progress.disable:
        return None
    task = None

    def show(read: int, total: int | None) -> None:
        nonlocal task
        if total is not None and total < PROGRESS_FROM:
            return
        if task is None:
            task = progress.add_task(paths[0].rsplit("/", 1)[-1], total=total)
        progress.update(task, completed=read)
        if total is not None and read >= total:
            progress.remove_task(task)
            task = None

    return show


def exit_code(reports: list[CaptureReport], fail_on: str) -> int:
    """0, or 1 where --fail-on says so."""
    if fail_on == "never":
        return 0
    sessions = [s for r in reports for s in r.sessions if s.pair != "foreign"]
    if any(s.outcome == "failed" for s in sessions):
        return 1
    if fail_on == "failed":
        return 0
    wanted = SEVERITIES.index(fail_on)
    findings = [f for s in sessions for f in s.findings] + [f for r in reports for f in r.findings]
    return int(any(SEVERITIES.index(f.severity) >= wanted for f in findings))
