"""`plugtap config`: check a settings file, or print the commented default."""

from __future__ import annotations

import argparse
import pathlib

from plugtap.cli import plugins
from plugtap.config.errors import ConfigError
from plugtap.config.load import default_toml, parse_settings
from plugtap.config.settings import Settings

EXAMPLES = """examples:
  plugtap config default > plugtap.toml    every setting with its meaning and default
  plugtap config check plugtap.toml        is it right? says what to write instead where it is not"""

DEFAULT_PATH = "/etc/plugtap/plugtap.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`config check [FILE]` and `config default`."""
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say what is wrong with a settings file (exit code 2), or that nothing is")
    check.add_argument("file", nargs="?", default=DEFAULT_PATH, help=f"default: {DEFAULT_PATH}")
    actions.add_parser("default", help="print the commented default file")


def load_file(path: str) -> Settings:
    """Read and check the settings file at `path`. Raises ConfigError."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        remedy = "`plugtap config default` prints one to start from"
        raise ConfigError("", f"{path} can't be read: {error.strerror}", remedy) from None
    except UnicodeDecodeError as error:
        raise ConfigError("", f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    settings = parse_settings(text)
    plugins.hold(settings.analysis.checks)
    for name, tap in settings.tap.items():
        plugins.hold(tap.checks, f"tap.{name}.checks")
    return settings


def run(args: argparse.Namespace) -> int:
    """Exit code 0; wrong settings leave as ConfigError."""
    if args.action == "default":
        print(default_toml(), end="")
        return 0
    settings = load_file(args.file)
    taps = ", ".join(f"{name} ({' and '.join(settings.sources_of(name))})" for name in settings.tap)
    print(f"{args.file} is fine: site {settings.site.name}, taps {taps}")
    return 0
