"""`plugtap`: find the sub-command, hand over, turn errors into one clear line."""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from plugtap import __version__

if os.environ.get("PLUGTAP_PURE") == "1":  # plain Python, even where the EXI codec is compiled
    sys.modules["plugtap.protocols.exi._engine_c"] = None  # type: ignore[assignment]

# name -> (module, one line for `plugtap --help`). A module has `add_arguments(parser)` and `run(args) -> exit code`.
COMMANDS: dict[str, tuple[str, str]] = {
    "analyze": ("plugtap.cli.analyze", "say what happened in capture files: sessions, findings, verdicts"),
    "decode": ("plugtap.cli.decode", "print every message of a capture file as JSON lines"),
    "encode": ("plugtap.cli.encode", "turn a V2G message (JSON) into EXI hex"),
    "run": ("plugtap.cli.run", "the daemon: listen to taps, archive, analyse, publish"),
    "demo": ("plugtap.cli.demo", "watch the daemon at work on a virtual EV and EVSE"),
    "simulate": ("plugtap.cli.simulate", "write captures of virtual charging sessions, good and bad"),
    "config": ("plugtap.cli.config", "check a settings file, or print the commented default"),
    "checks": ("plugtap.cli.checks", "list and explain the checks"),
}

EPILOG = """exit codes: 0 fine; 1 a finding at or above --fail-on; 2 wrong usage or settings; 3 some input unreadable;
130 interrupted (what was found until then is printed).  `plugtap COMMAND --help` explains each command."""


class UsageError(Exception):
    """Something the user wrote can't be done as written; the message says what to change. Exit code 2."""


def _available() -> dict[str, tuple[str, str]]:
    """Commands whose module is there (a build may leave some out)."""
    return {name: entry for name, entry in COMMANDS.items() if importlib.util.find_spec(entry[0]) is not None}


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser, with the options of one command: imports are what start-up time goes into."""
    parser = argparse.ArgumentParser(
        prog="plugtap",
        description="Listens to CCS charging sessions from outside and says who broke them, why, and how to fix it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_line())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, line) in _available().items():
        sub = commands.add_parser(name, help=line, description=line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            importlib.import_module(module).add_arguments(sub)
    return parser


def version_line() -> str:
    """`plugtap 0.1.0 (EXI codec: compiled)`."""
    try:
        from plugtap.protocols.exi import BUILD
    except ImportError:
        return f"plugtap {__version__}"
    return f"plugtap {__version__} (EXI codec: {BUILD})"


YOUNG = 50_000  # objects made before Python looks for cycles


def collect_seldom() -> None:
    """Messages are trees, not cycles, and die by themselves: looking for cycles every 700 objects costs a fifth of the time of analysis."""
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def finite(text: str) -> float:
    """Type of an argument that is a number: neither nan nor inf, nor too large to count nanoseconds with."""
    value = float(text)
    if not abs(value) <= 1e10:
        raise argparse.ArgumentTypeError(f"{text!r} is no number that can be meant")
    return value


def mend_output() -> None:
    """Standard output that is closed, or can't show every character, is no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    mend_output()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(next((a for a in arguments if a in COMMANDS), ""))
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 2
    module = importlib.import_module(COMMANDS[args.command][0])
    if argv is None:  # a process of its own
        collect_seldom()
    from plugtap.config.errors import ConfigError
    from plugtap.hw.errors import SourceError

    try:
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except (UsageError, ConfigError) as error:
        print(f"plugtap {args.command}: {error}", file=sys.stderr)
        return 2
    except SourceError as error:
        print(f"plugtap {args.command}: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing more to say, and nothing to complain about.
        _give_up_output()
        return 0
    except OSError as error:
        print(f"plugtap {args.command}: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        _give_up_output()
        return 3


def _give_up_output() -> None:
    """What is still buffered can't be written, and would be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
