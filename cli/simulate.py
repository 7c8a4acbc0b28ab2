"""`plugtap simulate`: captures of virtual charging sessions, good and bad."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plugtap.cli.main import UsageError
from plugtap.hw.errors import SourceError
from plugtap.sim import scenario as scenarios
from plugtap.sim.record import pcapng
from plugtap.sim.scenario import Scenario, ScenarioError

EXAMPLES = """examples:
  plugtap simulate --list                              what there is: good sessions and named faults
  plugtap simulate precharge-stalled -o bad.pcapng     one scenario as a capture, pilot included
  plugtap analyze bad.pcapng                           … and what plugtap says about it
  plugtap simulate my.toml -o mine.pcapng --seed 7     your own scenario file
  plugtap simulate din-dc --show                       the scenario as a file to start from

The same scenario and seed give the same bytes. How to write scenarios: docs/bench.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap simulate`."""
    parser.epilog = EXAMPLES
    parser.add_argument("scenario", nargs="*", metavar="NAME", help="a scenario's name, or the path of a scenario file")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--show", action="store_true", help="print the scenario file instead of running it")
    parser.add_argument("-o", "--output", metavar="FILE", help="the capture to write; a folder for several scenarios; - for standard output")
    parser.add_argument("--seed", type=int, metavar="N", help="another roll of the dice (default: the scenario's own)")


def run(args: argparse.Namespace) -> int:
    """List, show or write scenarios."""
    try:
        if args.list:
            return _list()
        if not args.scenario:
            raise UsageError("which scenario? `plugtap simulate --list` shows them")
        chosen = [(name, _load(name)) for name in args.scenario]
        if args.show:
            return _show(args.scenario)
        if not args.output:
            raise UsageError("say where to write the capture: -o FILE")
        return _write(chosen, args)
    except ScenarioError as error:
        raise UsageError(str(error)) from None


def _load(name: str) -> Scenario:
    path = Path(name)
    if path.suffix == ".toml" or path.parent != Path():
        try:
            return scenarios.parse(path.read_text(encoding="utf-8"), path.stem)
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(name, str(error)) from None
    return scenarios.load(name)


def _list() -> int:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("group", "scenario", "what happens", "expected"):
        table.add_column(column, overflow="fold")
    found = scenarios.library()
    for name, item in found.items():
        expect = item.expect
        parts = [expect.outcome, expect.side if expect.side not in ("", "none") else "", ", ".join(expect.checks)]
        table.add_row(item.group, name, item.title, " · ".join(part for part in parts if part))
    console.print(table)
    healthy = sum(item.healthy for item in found.values())
    console.print(f"\n{len(found)} scenarios: {healthy} healthy, {len(found) - healthy} with a fault.  plugtap simulate NAME -o FILE")
    return 0


def _show(names: list[str]) -> int:
    for name in names:
        path = Path(name)
        sys.stdout.write(path.read_text(encoding="utf-8") if path.suffix == ".toml" else scenarios.text(name))
    return 0


def _write(chosen: list[tuple[str, Scenario]], args: argparse.Namespace) -> int:
    if args.output == "-":
        if len(chosen) > 1:
            raise UsageError("one scenario at a time to standard output")
        sys.stdout.buffer.write(pcapng(chosen[0][1], seed=args.seed).data)
        return 0
    target = Path(args.output)
    folder = len(chosen) > 1 or target.is_dir()
    console = Console(highlight=False)
    for _, item in chosen:
        path = target / f"{item.name}.pcapng" if folder else target
        made = pcapng(item, seed=args.seed)
        try:
            if folder:
                target.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.data)
        except OSError as error:
            raise SourceError(str(path), str(error)) from None
        console.print(f"{path}: {item.title}: {made.frames} frames, {made.records} pilot records, {made.seconds:.1f} s")
    return 0
