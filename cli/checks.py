"""`plugtap checks`: list the checks, explain one, count how they did over captures."""

from __future__ import annotations

import argparse
import collections
import contextlib
import difflib
import fnmatch
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from plugtap.analysis.analysis import Analysis
from plugtap.checks import explain
from plugtap.checks.base import Check
from plugtap.checks.catalogue import load
from plugtap.checks.finding import CLASSES, SEVERITIES
from plugtap.checks.meta import Meta
from plugtap.checks.planned import PLANNED, STATUS
from plugtap.cli import plugins
from plugtap.cli.inputs import CaptureItems, load_settings
from plugtap.cli.main import UsageError
from plugtap.cli.meter import Meter
from plugtap.config.analysis import AnalysisSettings
from plugtap.hw.errors import SourceError
from plugtap.hw.files import find_captures

COUNTED = ("armed", "evaluated", "fired", "suppressed", "failed")
WIDTH = 110

EXAMPLES = """examples:
  plugtap checks                             all checks, one a line
  plugtap checks 'slac-*' --severity error   those of a family that start as error
  plugtap checks slac-match-no-cnf           one in full: trigger with its numbers, cause, remedy, limits
  plugtap checks --find attenuation          those that mention it
  plugtap checks --stats captures/           how often each was armed, evaluated, fired and suppressed there
  plugtap checks 'slac-*' --stats a.pcapng   the same for a family"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap checks`."""
    parser.epilog = EXAMPLES
    parser.add_argument("ids", nargs="*", metavar="ID", help="ids or patterns (slac-*); one id alone is explained in full")
    parser.add_argument("--family", metavar="NAME", help="only this family: slac, link, sdp, tcp, sap, seq, time, cp …")
    parser.add_argument("--severity", choices=SEVERITIES, help="only checks that start with this severity")
    parser.add_argument("--protocol", choices=("din", "iso2", "iso20"), help="only checks for this protocol")
    parser.add_argument("--class", dest="class_", choices=CLASSES, help="only checks that rest on this")
    parser.add_argument("--find", metavar="TEXT", help="only checks whose text contains this")
    parser.add_argument("--planned", action="store_true", help="also the ids that are no checks of their own, and why")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("-c", "--config", metavar="FILE", help="settings file: limits as this site has set them, checks of third parties")
    parser.add_argument("--stats", nargs="+", metavar="PATH", help="count over these captures or folders")


def run(args: argparse.Namespace) -> int:
    """List, explain or count. Raises UsageError for ids that are not there."""
    settings = _settings(args)
    plugins.enable(settings.checks)
    chosen = _chosen(args, load())
    if args.stats:
        return _stats(args, settings, chosen)
    planned = {i: p for i, p in PLANNED.items() if _planned_matches(args, i)} if args.planned or len(args.ids) == 1 else {}
    if not chosen and not planned:
        raise UsageError(_nothing(args))
    if args.json:
        rows = [as_json(_with_site(check.meta, settings)) for check in chosen.values()]
        rows += [{"id": i, "title": p.title, "status": p.status, "why": p.why, "into": list(p.into)} for i, p in planned.items()]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    elif len(args.ids) == 1 and len(chosen) + len(planned) == 1:
        for check in chosen.values():
            print(explained(_with_site(check.meta, settings)))
        for ident, why in planned.items():
            print(f"{ident}: {why.title}\n  {STATUS[why.status]}: {why.why}" + (f" (see {', '.join(why.into)})" if why.into else ""))
    else:
        print(listed([check.meta for check in chosen.values()]))
        for ident, why in planned.items():
            print(f"{ident:<36} {STATUS[why.status]}: {why.why}" + (f" ({', '.join(why.into)})" if why.into else ""))
    return 0


# --- choosing -----------------------------------------------------------------------------------------------------


def _settings(args: argparse.Namespace) -> AnalysisSettings:
    return load_settings(args.config) if args.config else AnalysisSettings()


def _chosen(args: argparse.Namespace, checks: Mapping[str, type[Check]]) -> dict[str, type[Check]]:
    return {ident: check for ident, check in sorted(checks.items()) if _matches(args, check.meta)}


def _matches(args: argparse.Namespace, meta: Meta) -> bool:
    text = " ".join((meta.id, meta.title, meta.trigger, meta.cause, meta.fix, *meta.refs)).lower()
    return all(
        (
            not args.ids or any(fnmatch.fnmatchcase(meta.id, pattern) for pattern in args.ids),
            args.family in (None, meta.family),
            args.severity in (None, meta.severity),
            args.protocol is None or args.protocol in meta.protocols,
            args.class_ in (None, meta.class_),
            args.find is None or args.find.lower() in text,
        )
    )


def _planned_matches(args: argparse.Namespace, ident: str) -> bool:
    named = not args.ids or any(fnmatch.fnmatchcase(ident, pattern) for pattern in args.ids)
    return named and args.family in (None, ident.split("-", 1)[0]) and (args.find is None or args.find.lower() in ident)


def _nothing(args: argparse.Namespace) -> str:
    near = difflib.get_close_matches(args.ids[0], [*load(), *PLANNED], 1) if args.ids else []
    return "no check fits" + (f"; did you mean {near[0]}?" if near else "; `plugtap checks` lists all")


def _with_site(meta: Meta, settings: AnalysisSettings) -> Meta:
    """The metadata with the limits this site has set."""
    limits = dict(meta.limits)
    for key in (f"{meta.family}-*", meta.id):
        setting = settings.checks.get(key)
        for name, value in (setting.limits if setting is not None else {}).items():
            if name in limits:
                limits[name] = msgspec.structs.replace(limits[name], value=value, why=f"{limits[name].why}; set by this site")
    return msgspec.structs.replace(meta, limits=limits)


# --- showing ------------------------------------------------------------------------------------------------------


def listed(metas: Sequence[Meta]) -> str:
    """One line a check: id, severity it starts with, class, side, title."""
    lines = [f"{'check':<36} {'starts as':<9} {'rests on':<14} {'side':<13} what"]
    lines += [f"{m.id:<36} {m.severity:<9} {m.class_:<14} {m.side:<13} {m.title}{'' if m.enabled else ' (off)'}" for m in metas]
    lines.append(f"{len(metas)} checks; `plugtap checks ID` explains one")
    return "\n".join(lines)


def explained(meta: Meta) -> str:
    """One check in full, for a terminal."""
    lines = [
        f"{meta.id}: {meta.title}",
        f"  starts as {meta.severity}; rests on: {meta.class_}; effect: {meta.effect}; side: {meta.side}; certainty: {meta.certainty}",
    ]
    for heading, text in explain.sections(meta):
        lead = f"{heading}: " if heading else ""
        lines += textwrap.wrap(lead + text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    return "\n".join(lines)


def as_json(meta: Meta) -> dict[str, Any]:
    """The metadata as an object; `condition` is the trigger with its numbers."""
    row: dict[str, Any] = {name: getattr(meta, name) for name in meta.__struct_fields__}
    row["class"] = row.pop("class_")
    row["limits"] = {name: msgspec.to_builtins(limit) for name, limit in meta.limits.items()}
    return {"id": row.pop("id"), "family": meta.family, "condition": explain.trigger(meta), **row}


# --- counting -----------------------------------------------------------------------------------------------------


class Tally:
    """How the checks did over some captures."""

    def __init__(self) -> None:
        self.counters: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.captures = 0
        self.sessions = 0
        self.reasons: dict[str, str] = {}

    def add(self, analysis: Analysis) -> None:
        """Take over what one finished analysis counted."""
        self.captures += 1
        for ident, counted in analysis.engine.counters.by_check.items():
            self.counters[ident].update(counted)
        for ident, (_, reason) in analysis.engine.failures.items():
            self.reasons.setdefault(ident, reason)
        for session in analysis.reports():
            self.sessions += 1
            seen = set()
            for finding in session.findings:
                self.counters[finding.check][finding.severity] += 1
                seen.add(finding.check)
            for ident in seen:
                self.counters[ident]["sessions"] += 1

    def rows(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """One row a check: counters, findings by settled severity, sessions with a finding."""
        names = (*COUNTED, *SEVERITIES, "sessions")
        return [{"id": i} | {name: self.counters[i][name] for name in names} for i in ids]


def _stats(args: argparse.Namespace, settings: AnalysisSettings, chosen: Mapping[str, type[Check]]) -> int:
    tally, unreadable = Tally(), 0
    paths = find_captures(args.stats)
    if not paths:
        raise SourceError(", ".join(args.stats), "no captures in there", "captures are pcap or pcapng files, gzip or not")
    meter = Meter(len(paths))
    for path in paths:
        meter.begin(path)
        try:
            source = CaptureItems([path], progress=meter.read)
            with contextlib.closing(source):
                analysis = Analysis(settings, sources=source.sources(), foreign=not source.ours)
                for item in source.items():
                    analysis.feed(item)
            analysis.finish()
            tally.add(analysis)
            errors = source.errors
        except SourceError as error:
            errors = [error]
        if errors:
            unreadable += 1
            meter.hide()
            print("\n".join(f"plugtap checks: {error}" for error in errors), file=sys.stderr)
    meter.hide()
    rows = tally.rows(chosen)
    if args.json:
        head = {"captures": tally.captures, "sessions": tally.sessions, "unreadable": unreadable}
        print(json.dumps(head | {"checks": rows, "raised": tally.reasons}, indent=1))
    else:
        print(table(rows, tally, unreadable))
    return 3 if unreadable else 0


def table(rows: Sequence[Mapping[str, Any]], tally: Tally, unreadable: int) -> str:
    """The counts as text; checks that never had anything to look at are only counted."""
    names = ("armed", "evaluated", "fired", "suppressed", "info", "warning", "error", "sessions")
    lines = [f"{'check':<36}" + "".join(f"{name:>11}" for name in names)]
    shown = [row for row in rows if any(row[name] for name in COUNTED)]
    for row in shown:
        raised = f"  raised {row['failed']}: {tally.reasons.get(row['id'], '')}" if row["failed"] else ""
        lines.append(f"{row['id']:<36}" + "".join(f"{row[name]:>11}" for name in names) + raised)
    never = len(rows) - len(shown)
    lines.append(
        f"{tally.captures} captures, {tally.sessions} sessions; {len(shown)} checks armed, {never} never had anything to look at"
        + (f"; {unreadable} captures unreadable in whole or in part" if unreadable else "")
    )
    lines.append("fired counts repeats; info, warning and error count findings as they stand at the session's end")
    return "\n".join(lines)
