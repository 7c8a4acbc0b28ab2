"""`plugtap simulate`: captures of virtual charging sessions, good and bad."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plugtap.cli.main import UsageError, finite
from plugtap.hw.errors import SourceError
from plugtap.hw.files import read_items
from plugtap.sim import capture_scenario, crew, stage
from plugtap.sim import scenario as scenarios
from plugtap.sim.lanes import PlayError
from plugtap.sim.record import pcapng
from plugtap.sim.scenario import Scenario, ScenarioError

LIST_WIDTH = 250
MANY = 8  # from here on pipes, and no list of each

EXAMPLES = """examples:
  plugtap simulate --list                              what there is: good sessions and named faults
  plugtap simulate precharge-stalled -o bad.pcapng     one scenario as a capture, pilot included
  plugtap analyze bad.pcapng                           … and what plugtap says about it
  plugtap simulate my.toml -o mine.pcapng --seed 7     your own scenario file
  plugtap simulate din-dc --show                       the scenario as a file to start from
  plugtap simulate din-dc --live                       played in real time, for a daemon to listen to
  plugtap simulate iso2-dc tcp-loss --live --pairs 200 many connectors at once, spread over the cores
  plugtap simulate --from charge.pcapng -o mine.toml   a scenario made of a capture, to vary

The same scenario and seed give the same bytes. How to write scenarios: docs/bench.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap simulate`."""
    parser.epilog = EXAMPLES
    parser.add_argument("scenario", nargs="*", metavar="NAME", help="a scenario's name, or the path of a scenario file")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--show", action="store_true", help="print the scenario file instead of running it")
    parser.add_argument("-o", "--output", metavar="FILE", help="the capture to write; a folder for several scenarios; - for standard output")
    parser.add_argument("--from", dest="source", metavar="CAPTURE", help="make a scenario file of the first whole session in a capture; -o FILE.toml")
    live_options = parser.add_argument_group("playing live")
    live_options.add_argument("--live", action="store_true", help="play in real time through virtual cables and terminals, or pipes; Ctrl-C ends it")
    live_options.add_argument("--dir", metavar="DIR", default="plugtap-bench", help="where pipes and the settings file for `plugtap run` go")
    live_options.add_argument("--speed", type=finite, default=1.0, metavar="X", help="play X times as fast (pipes only: time stamps are the bench's)")
    live_options.add_argument("--pairs", type=int, default=0, metavar="N", help="so many connectors, taking the scenarios in turn (default: one each)")
    live_options.add_argument(
        "--processes", type=int, default=0, metavar="N", help="play them by N processes (default: one for each core, but only one for up to ten pairs)"
    )
    live_options.add_argument("--pipes", action="store_true", help="use pipes even where virtual cables are permitted")
    live_options.add_argument("--for", dest="seconds", type=finite, metavar="SECONDS", help="end after so many seconds")
    parser.add_argument("--seed", type=int, metavar="N", help="another roll of the dice (default: the scenario's own)")


def run(args: argparse.Namespace) -> int:
    """List, show or write scenarios."""
    try:
        if args.list:
            return _list()
        if args.source:
            return _from(args)
        if not args.scenario:
            raise UsageError("which scenario? `plugtap simulate --list` shows them")
        chosen = [(name, _load(name)) for name in args.scenario]
        if args.show:
            return _show(args.scenario)
        if args.live:
            return _live([item for _, item in chosen], args)
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
    # into a pipe one line a scenario, so that it can be searched
    console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LIST_WIDTH)
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("group", "scenario", "what happens", "expected"):
        table.add_column(column, overflow="fold", no_wrap=column in ("group", "scenario"))
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
        console.print(f"{path}: {item.title}: {made.frames} frames, {made.records} pilot records, {made.seconds:.1f} s", soft_wrap=True)
    return 0


def _live(chosen: list[Scenario], args: argparse.Namespace) -> int:
    """Play scenarios side by side until stopped."""
    if args.speed <= 0:
        raise UsageError("--speed: a number above 0")
    if args.processes < 0 or args.pairs < 0:
        raise UsageError("--processes, --pairs: a number above 0")
    count = args.pairs or len(chosen)
    console = Console(highlight=False)
    folder = Path(args.dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    plan = [(f"bay-{number + 1}", chosen[number % len(chosen)]) for number in range(count)]
    # A cable's frames are stamped when they are heard, so only real time makes sense there.
    cable = not args.pipes and args.speed == 1.0 and count <= MANY
    bays, why = stage.make_bays(folder, plan, cable=cable, terminals=not args.pipes and count <= MANY, real_time=args.speed == 1.0)
    try:
        settings = folder / "plugtap.toml"
        settings.write_text(stage.settings_toml(folder, bays, 0, 0, site="bench"), encoding="utf-8")
        if why and not args.pipes and count <= MANY:
            console.print(why, style="yellow")
        for bay in bays[:MANY]:
            console.print(f"  {bay.name:<8} {bay.scenario.name if isinstance(bay.scenario, Scenario) else bay.scenario}: {bay.how}", soft_wrap=True)
        if count > MANY:
            console.print(f"  … {count} connectors in all")
        console.print(f"listen with: plugtap run -c {settings}\nCtrl-C ends it", soft_wrap=True)
        seed = 1 if args.seed is None else args.seed
        orders = crew.Orders(seed=seed, speed=args.speed, processes=args.processes, seconds=args.seconds)
        _told(console, crew.perform(bays, orders))
    except PlayError as error:
        print(f"plugtap simulate: {error}", file=sys.stderr)
        return 1
    finally:
        stage.close(bays)
    return 0


def _told(console: Console, tally: crew.Tally) -> None:
    """What was played, how well, and what that took."""
    by = f" by {tally.processes} processes" if tally.processes > 1 else ""
    console.print(f"{tally.rounds} sessions begun, {tally.items} frames and pilot records{by}", soft_wrap=True)
    if tally.items:
        console.print(
            f"half of the deliveries within {tally.within(0.5)} ms, 99 % within {tally.within(0.99)} ms, all within {tally.within(1.0)} ms; "
            f"{tally.processor / 1e9:.2f} s of processor time for {tally.played / 1e9:.0f} s of sessions",
            soft_wrap=True,
        )


def _from(args: argparse.Namespace) -> int:
    """A scenario file out of a capture."""
    if args.scenario:
        raise UsageError("--from makes a scenario of a capture; name no scenario beside it")
    if not args.output or not args.output.endswith(".toml"):
        raise UsageError("say where to write the scenario: -o FILE.toml")
    text, what = capture_scenario.scenario_text(list(read_items(args.source)), Path(args.source).name)
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SourceError(args.output, str(error)) from None
    Console(highlight=False).print(f"{args.output}: {what}\nplugtap simulate {args.output} -o again.pcapng", soft_wrap=True)
    return 0
