"""`plugtap run`: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from plugtap.cli import plugins
from plugtap.cli.config import DEFAULT_PATH, load_file
from plugtap.daemon.service import Service

EXAMPLES = """examples:
  plugtap config default > plugtap.toml       a settings file to start from
  plugtap config check plugtap.toml           is it right?
  plugtap run -c plugtap.toml                 listen, archive, analyse, publish; Ctrl-C or SIGTERM ends it

What each setting, topic and metric means: docs/running.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap run`."""
    parser.epilog = EXAMPLES
    parser.add_argument("-c", "--config", default=DEFAULT_PATH, metavar="FILE", help=f"settings (default: {DEFAULT_PATH})")


def run(args: argparse.Namespace) -> int:
    """Run until stopped. Exit code 0 after SIGTERM or Ctrl-C; wrong settings leave as ConfigError, a source that
    can't work as SourceError."""
    settings = load_file(args.config)
    plugins.enable(settings.analysis.checks, *(tap.checks for tap in settings.tap.values()))
    logging.basicConfig(
        level=settings.log.level.upper(),
        stream=sys.stderr,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
        force=True,
    )

    async def serve() -> None:
        await Service(settings).run()

    try:
        asyncio.run(serve())
    except asyncio.CancelledError:
        return 130
    return 0
