"""`plugtap analyze`: what happened in capture files."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import os
import sys

import msgspec
from rich.console import Console

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import Output, SessionReport
from plugtap.checks import catalogue
from plugtap.checks.base import Check
from plugtap.checks.finding import SEVERITIES
from plugtap.cli import plugins
from plugtap.cli.inputs import CaptureItems, settings_for
from plugtap.cli.interrupt import Stop
from plugtap.cli.main import UsageError, finite
from plugtap.cli.meter import Meter
from plugtap.hw.errors import SourceError
from plugtap.hw.files import find_captures
from plugtap.hw.pilot_files import PilotFile, open_pilot_file
from plugtap.report import captures, text
from plugtap.report.captures import CaptureLine, CaptureReport
from plugtap.report.redact import KEY_BYTES, Redactor
from plugtap.sessions.records import rfc3339

FAIL_ON = ("error", "warning", "failed", "never")
MAX_FAILURES = 5  # of checks, named
FILE_WIDTH = 160  # of text that goes into a file or pipe: no narrow wrapping, so that it can be searched

EXAMPLES = """examples:
  plugtap analyze charge.pcapng                      what happened, who, why, what to do
  plugtap analyze captures/ --brief                  a folder, one line a session
  plugtap analyze captures/ --format json > all.json … for machines
  plugtap analyze charge.pcap --only 'slac-*,link-*' only the checks of these families
  plugtap analyze archive.pcapng --as-recorded       exactly what the daemon said
  plugtap analyze charge.pcap --cp pilot.jsonl       with a control-pilot record beside it
  plugtap analyze --join ring/*.pcapng               ring files as one capture
  tcpdump -i eth1 -w - | plugtap analyze -           from a pipe

--cp: CPF1, CP text lines, JSON Lines {"t" or "time", "state" or "hi","lo","duty","freq"}, EVerest event logs; what it is shows in the content.
"time" is the capture's clock, "t" counts from its first packet; a device's own clock is put so that its first reading is there.
--cp-offset moves either.

exit codes: 0 fine; 1 a finding at or above --fail-on, or a failed session; 2 usage; 3 some input unreadable (the rest still runs);
130, 143 interrupted (what was found until then is printed)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap analyze`."""
    parser.epilog = EXAMPLES
    parser.add_argument("paths", nargs="+", metavar="PATH", help="capture files or folders; - for standard input")
    parser.add_argument("--format", choices=("text", "json", "jsonl"), default="text", help="output (default: text)")
    parser.add_argument("--cp", metavar="FILE", help="control-pilot record beside the capture")
    parser.add_argument("--cp-offset", type=finite, default=0.0, metavar="S", help="seconds to add to the pilot record's times")
    parser.add_argument("--join", action="store_true", help="read the files as one stream, in the order of their first packets (ring files)")
    parser.add_argument("--as-recorded", action="store_true", help="take the settings from the archive, as the daemon ran")
    parser.add_argument("-c", "--config", metavar="FILE", help="settings file; its [analysis] applies, and the checks of its tap")
    parser.add_argument("--only", action="append", metavar="ID", help="only these checks (ids or patterns, separated by commas; may be given again)")
    parser.add_argument("--skip", action="append", metavar="ID", help="all checks but these")
    parser.add_argument("--max-findings", type=int, metavar="N", help="no more findings than this of one session")
    parser.add_argument("--fail-on", choices=FAIL_ON, default="error", help="exit code 1 from this severity on, or for any failed session (default: error)")
    parser.add_argument("--brief", action="store_true", help="text: one line a session")
    parser.add_argument("-v", "--verbose", action="store_true", help="text: every finding in full (default: errors and warnings; others by name)")
    parser.add_argument("--redact", action="store_true", help="replace MACs, addresses and identities by keyed hashes")


def run(args: argparse.Namespace) -> int:
    """Analyse each capture; the exit code says what was found."""
    if args.max_findings is not None and args.max_findings < 1:
        raise UsageError("--max-findings is a number from 1 on")
    chosen_checks(args.only, args.skip)  # complain before any file is read
    if args.as_recorded and args.config:
        raise UsageError("--as-recorded and -c both say which settings to take; leave one out")
    return Run(args).all()


def chosen_checks(only: list[str] | None, skip: list[str] | None) -> dict[str, type[Check]]:
    """The checks that --only and --skip leave. Raises UsageError where a pattern fits no check, or none is left."""
    checks = catalogue.load()
    names = {*checks, *plugins.offered()}  # those of third parties may be switched on by a settings file that is read later
    kept = dict(checks)
    for option, values in (("--only", only), ("--skip", skip)):
        patterns = [p.strip() for value in values or () for p in value.split(",") if p.strip()]
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                near = difflib.get_close_matches(pattern, names, 1)
                raise UsageError(f"{option} {pattern}: there is no such check" + (f"; did you mean {near[0]}?" if near else "; `plugtap checks` lists all"))
        if patterns:
            named = {i for i in checks if any(fnmatch.fnmatchcase(i, p) for p in patterns)}
            kept = {i: c for i, c in kept.items() if (i in named) == (option == "--only")}
    return kept


class Run:
    """One call of the command."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.done: list[CaptureReport] = []
        self.unreadable = 0
        self.failed = False  # a session that --fail-on means
        self.stop = Stop()
        self.pilot: PilotFile | None = None
        # One key a run, thrown away with it: the same identity has the same hash within one output, and nobody can
        # find out a MAC by trying them all.
        self.redactor = Redactor(os.urandom(KEY_BYTES)) if args.redact else None
        found = find_captures(args.paths)
        self.groups = [found] if args.join and found else [[path] for path in found]
        self.meter = Meter(len(self.groups))

    def all(self) -> int:
        """Analyse and print; returns the exit code."""
        if not self.groups:
            self._complain(SourceError(", ".join(self.args.paths), "no captures in there", "captures are pcap or pcapng files, gzip or not"))
        if self.args.cp is not None:
            try:
                self.pilot = open_pilot_file(self.args.cp)
            except SourceError as error:
                self._complain(error)
        with self.stop:
            for group in self.groups:
                if self.stop.code:
                    break
                try:
                    report = self._analyze(group)
                except SourceError as error:
                    self._complain(error)
                    continue
                finally:
                    self.meter.hide()
                self._take(report)
        if self.stop.code:
            print("plugtap analyze: interrupted; what was found until then is printed", file=sys.stderr)
        if self.args.format == "json":
            sys.stdout.buffer.write(captures.document(self.done) + b"\n")
        elif self.args.format == "text" and len(self.groups) > 1:
            self._print(text.summary(self.done, self.unreadable))
        sys.stdout.flush()
        return self.stop.code or (3 if self.unreadable else int(self.failed))

    def _analyze(self, paths: list[str]) -> CaptureReport:
        """One capture (or ring files as one) to its report. Raises SourceError where nothing could be read."""
        self.meter.begin(paths[0])
        source = CaptureItems(paths, pilot=self.pilot, pilot_offset=self.args.cp_offset, progress=self.meter.read)
        with contextlib.closing(source):
            settings = settings_for(self.args, source)
            plugins.enable(settings.checks)
            if self.args.max_findings is not None:
                settings = msgspec.structs.replace(settings, max_findings=self.args.max_findings)
            analysis = Analysis(settings, sources=source.sources(), foreign=not source.ours, checks=chosen_checks(self.args.only, self.args.skip))
            for item in self.stop.reading(source.items()):
                self._heard(analysis.feed(item))
        # Our own archives prove silence up to their last tick; what comes after a foreign file's last packet is unknown.
        self._heard(analysis.finish())
        for error in source.errors:
            self._complain(error)
        return self._report(source, analysis)

    def _heard(self, outputs: list[Output]) -> None:
        """Sessions as they end: what they mean for the exit code, and their lines in jsonl."""
        for output in outputs:
            if isinstance(output, SessionReport) and output.state == "closed":
                self.failed = self.failed or fails(output, self.args.fail_on)
                if self.args.format == "jsonl":
                    self._line(output)

    def _line(self, output: CaptureLine | Output) -> None:
        sys.stdout.buffer.write(captures.line(output if self.redactor is None else self.redactor.struct(output)))
        sys.stdout.flush()

    def _report(self, source: CaptureItems, analysis: Analysis) -> CaptureReport:
        facts = source.facts()
        notes = source.notes()
        if self.stop.code:
            notes = (*notes, f"interrupted after frame {facts.frames}; what follows was not read")
        if analysis.capped_reports:
            notes = (*notes, f"more sessions than can be kept: the first {analysis.capped_reports} are left out")
        notes = (*notes, *_failures(analysis))
        return CaptureReport(
            file=source.name, frames=facts.frames, start=rfc3339(facts.start) if facts.start is not None else None,
            end=rfc3339(facts.end) if facts.end is not None else None,
            coverage={"clock": "relative" if analysis.relative_clock else "absolute", "ours": facts.ours, "undecodable": analysis.undecodable},
            sessions=tuple(analysis.reports()), notes=notes,
        )  # fmt: skip

    def _take(self, report: CaptureReport) -> None:
        """Print what is printed at once, keep what is needed at the end."""
        if self.redactor is not None:
            report = self.redactor.struct(report)
        self.done.append(report)
        if self.args.format == "text":
            self._print(text.brief(report) if self.args.brief else text.capture(report, all_findings=self.args.verbose))
        elif self.args.format == "jsonl":
            self._line(captures.head(report))
            for finding in report.findings:
                self._line(finding)

    def _print(self, shown: text.Shown) -> None:
        # By way of a string: rich answers a closed pipe with an exit code of its own.
        wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        console = Console(highlight=False, width=FILE_WIDTH if wide else None)
        with console.capture() as said:
            console.print(shown, crop=False)
        sys.stdout.write(said.get())
        sys.stdout.flush()

    def _complain(self, error: SourceError) -> None:
        self.unreadable += 1
        self.meter.hide()
        Console(stderr=True, highlight=False).print(f"plugtap analyze: {error}", style="red", soft_wrap=True, markup=False)


def _failures(analysis: Analysis) -> list[str]:
    """Checks that raised: a mistake in plugtap, which must not look like a good session."""
    failed = analysis.engine.failures
    notes = [f"the check {check} failed {_times(n)} ({reason}); please report it" for check, (n, reason) in list(failed.items())[:MAX_FAILURES]]
    return notes + ([f"{len(failed) - MAX_FAILURES} more checks failed"] if len(failed) > MAX_FAILURES else [])


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def fails(session: SessionReport, fail_on: str) -> bool:
    """Whether --fail-on means this session. Those of neighbours do not count."""
    if fail_on == "never" or session.pair == "foreign":
        return False
    if session.outcome == "failed":
        return True
    return fail_on != "failed" and any(SEVERITIES.index(f.severity) >= SEVERITIES.index(fail_on) for f in session.findings)
