"""`plugtap demo`: the whole daemon at work on a virtual EV and EVSE."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from plugtap.cli.main import UsageError, finite
from plugtap.sim import lanes, stage

PLAN = [("left", "demo-good"), ("right", "demo-precharge")]

TRUTH = """What a tap can see comes first, because it decides what plugtap can say.

• A stock QCA7000-class modem as third station hears one side of SLAC and, once joined, only broadcast.
• Whole sessions are seen by a tap on the charger's own host, a mirror port, a bridge of two modems, a modem with sniffer firmware, or a remote \
capture pipe.
• The two virtual taps of this demo are full sniffers with a control-pilot ADC: they hear both sides, in plain text."""

EPILOG = """A virtual EV and EVSE hold DIN 70121 sessions at two connectors: a good one on the left, on the right one whose pre-charge never
reaches its target. The real daemon watches both (`plugtap run` as a child process) and says what it sees on MQTT, in its archive and in /metrics.

Without root: where virtual cables (veth) and AF_PACKET aren't permitted, the same frames go through the daemon's pipe source.

examples:
  plugtap demo                 sessions one after the other, until Ctrl-C
  plugtap demo --for 40        ends by itself, with a summary
  plugtap demo --keep demo/    keep archive, settings and log to look at afterwards"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap demo`."""
    parser.epilog = EPILOG
    parser.add_argument("--for", dest="seconds", type=finite, metavar="SECONDS", help="end by itself after so many seconds, with exit code 0")
    parser.add_argument("--keep", metavar="DIR", help="put archive, settings file and log there and leave them (default: a temporary folder)")
    parser.add_argument("--pipes", action="store_true", help="use the pipe source even where virtual cables are permitted")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="roll of the dice for the virtual parties (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Set the stage, play, sum up."""
    if args.seconds is not None and args.seconds < 5:
        raise UsageError("--for: five seconds at least; a session takes about half a minute")
    console = Console(highlight=False)
    try:
        return asyncio.run(_run(args, console))
    except (stage.StageError, lanes.PlayError) as error:
        raise UsageError(str(error)) from None


class Show:
    """What has come in so far, and how it is told."""

    def __init__(self, console: Console, begin: float) -> None:
        self.console = console
        self.begin = begin
        self.sessions: dict[str, dict[str, Any]] = {}
        self.findings: dict[str, dict[str, Any]] = {}
        self.online = asyncio.Event()
        self._said: set[tuple[str, str]] = set()

    def say(self, tap: str, text: str, style: str = "") -> None:
        """One line: seconds since the start, connector, what."""
        line = Text(f"{time.monotonic() - self.begin:6.1f} s  ", style="dim")
        line.append(f"{tap:<6} ", style="bold")
        line.append(text, style=style)
        self.console.print(line, soft_wrap=True)

    def message(self, topic: str, value: dict[str, Any]) -> None:
        """Something the daemon published."""
        parts = topic.split("/")
        if parts[-1] == "status" and value.get("value") == "online":
            self.online.set()
        if len(parts) < 5 or parts[2] != "tap":
            return
        tap, kind = parts[3], parts[4]
        if kind == "session":
            self._session(tap, value)
        elif kind == "finding":
            self._finding(tap, value)

    def _once(self, key: str, what: str) -> bool:
        if (key, what) in self._said:
            return False
        self._said.add((key, what))
        return True

    def _session(self, tap: str, value: dict[str, Any]) -> None:
        key = str(value.get("id"))
        known = self.sessions.get(key)
        if known is not None and known.get("rev", 0) >= value.get("rev", 0):
            return
        self.sessions[key] = {**value, "tap": tap}
        if self._once(key, "open"):
            self.say(tap, f"session {key} begins", "cyan")
        for phase in value.get("phases", []):
            if self._once(key, phase["name"]):
                self.say(tap, f"  → {phase['name']}")
        if value.get("state") == "closed" and self._once(key, "closed"):
            good = value.get("outcome") in ("completed", "paused", "stopped")
            verdict = value.get("verdict", {})
            self.say(tap, f"session ends: {value.get('outcome', '?').upper()}: {verdict.get('summary', '')}", "green" if good else "bold red")

    def _finding(self, tap: str, value: dict[str, Any]) -> None:
        key = str(value.get("id"))
        fresh = key not in self.findings
        self.findings[key] = {**value, "tap": tap}
        if fresh:
            follows = bool(value.get("root"))  # a consequence: its cause is a finding of its own
            style = "dim" if follows else {"error": "red", "warning": "yellow"}.get(str(value.get("severity")), "dim")
            said = "follows from it" if follows else value.get("severity")
            self.say(tap, f"  {said}: {value.get('title')} ({value.get('check')})", style)


async def _run(args: argparse.Namespace, console: Console) -> int:
    begin = time.monotonic()
    console.print(Panel(TRUTH, title="plugtap demo", title_align="left"))
    folder = Path(args.keep).absolute() if args.keep else Path(tempfile.mkdtemp(prefix="plugtap-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    bays, why = stage.make_bays(folder, PLAN, cable=not args.pipes)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if args.seconds:
        loop.call_later(args.seconds, stop.set)
    try:
        return await _watch(args, console, folder, bays, why, stop, begin)
    finally:
        stage.close(bays)
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _watch(
    args: argparse.Namespace, console: Console, folder: Path, bays: list[stage.Bay], why: str, stop: asyncio.Event, begin: float
) -> int:
    if why:
        console.print(f"{why[0].upper()}{why[1:]}: the same frames go through the daemon's pipe source.\n", style="yellow")
    for bay in bays:
        console.print(f"  {bay.name:<6} {bay.how}", style="dim")
    mqtt_port, metrics_port = stage.free_port(), stage.free_port()
    config = folder / "plugtap.toml"
    config.write_text(stage.settings_toml(folder, bays, mqtt_port, metrics_port), encoding="utf-8")
    console.print(f"  the daemon: plugtap run -c {config}\n", style="dim", soft_wrap=True)
    show = Show(console, begin)
    daemon = stage.Daemon(config, folder / "daemon.log")
    ready = asyncio.Event()
    async with stage.broker(mqtt_port):
        listener = asyncio.create_task(stage.listen(mqtt_port, show.message, ready))
        player: asyncio.Task[None] | None = None
        try:
            await asyncio.wait_for(ready.wait(), 5)
            await daemon.start()
            await _up(daemon, show, stop)
            player = asyncio.create_task(lanes.play([stage.lane(bay, seed=args.seed) for bay in bays], stop))
            await _until(stop, player, daemon)
            numbers = await stage.metrics(metrics_port)
        finally:
            if player is not None:
                player.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await player
            code = await daemon.stop()
            await asyncio.sleep(0.3)
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await listener
    if code not in (0, None):
        console.print(f"the daemon ended with exit code {code}:\n{daemon.last_words()}", style="red")
        return 3
    _summary(console, folder, show, numbers, metrics_port, bool(args.keep))
    return 0


async def _up(daemon: stage.Daemon, show: Show, stop: asyncio.Event) -> None:
    """Wait until the daemon has said it is online."""
    until = time.monotonic() + stage.START_SECONDS
    while not show.online.is_set():
        if daemon.ended:
            raise stage.StageError(f"the daemon didn't start:\n{daemon.last_words()}")
        if time.monotonic() > until:
            raise stage.StageError(f"the daemon isn't online after {stage.START_SECONDS:.0f} s:\n{daemon.last_words()}")
        if stop.is_set():
            return
        await asyncio.sleep(0.05)
    show.say("", "the daemon is online", "green")


async def _until(stop: asyncio.Event, player: asyncio.Task[None], daemon: stage.Daemon) -> None:
    """Until the user or the clock stops it, or something breaks."""
    waiting = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            await asyncio.wait({waiting, player}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            if player.done():
                player.result()
                return
            if daemon.ended:
                raise stage.StageError(f"the daemon ended:\n{daemon.last_words()}")
    finally:
        waiting.cancel()


def _summary(console: Console, folder: Path, show: Show, numbers: str, metrics_port: int, kept: bool) -> None:
    console.print()
    console.rule("what the daemon says", align="left")
    closed = [s for s in show.sessions.values() if s.get("state") == "closed"]
    for session in closed:
        verdict = session.get("verdict", {})
        good = session.get("outcome") in ("completed", "paused", "stopped")
        console.print(f"{session['tap']:<6} {str(session.get('outcome')).upper():<10} {verdict.get('summary', '')}", style="green" if good else "red")
        _cause(console, session, show)
    if not closed:
        console.print("no session has ended yet: let it run for 40 seconds (--for 40)", style="yellow")
    still = len(show.sessions) - len(closed)
    console.print(f"\n{len(closed)} sessions ended, {still} were under way, {len(show.findings)} findings.")
    console.rule("archive (.part: the daemon goes on with it at its next start)" if kept else "archive (removed now; --keep DIR keeps it)", align="left")
    for path in stage.archives(folder):
        console.print(f"  {path.stat().st_size:>9,} bytes  {path}", soft_wrap=True)
    console.rule(f"http://127.0.0.1:{metrics_port}/metrics", align="left")
    for line in _chosen(numbers):
        console.print(f"  {line}", soft_wrap=True)
    console.rule("next", align="left")
    if kept:
        console.print(f"  plugtap analyze {folder}/state/archive      the same, from the archive", soft_wrap=True)
        console.print("  wireshark FILE                  the archive opens there")
    else:
        console.print("  plugtap demo --keep demo/       keeps archive, settings and log")
        console.print("  plugtap simulate --list         more sessions, good and bad")


def _cause(console: Console, session: dict[str, Any], show: Show) -> None:
    """Cause and remedy of a session that did not go well."""
    verdict = session.get("verdict", {})
    named = next((f for f in show.findings.values() if f.get("check") == verdict.get("check") and f.get("session") == session.get("id")), None)
    if session.get("outcome") in ("completed", "paused", "stopped") and named is None:
        return
    indent = " " * 18
    console.print(f"{indent}side: {verdict.get('side')} ({verdict.get('certainty')})")
    if named is not None:
        console.print(f"{indent}cause: {named.get('cause')}", soft_wrap=True)
    if verdict.get("suggestion"):
        console.print(f"{indent}remedy: {verdict['suggestion']}", soft_wrap=True)


def _chosen(numbers: str) -> list[str]:
    """The lines of /metrics that say most, twelve at most."""
    lines = [line for line in numbers.splitlines() if line.startswith("plugtap_") and "_bucket" not in line and "_created" not in line]
    first = [line for line in lines if "session" in line or "finding" in line or "frames" in line]
    return (first or lines)[:12] or ["(no answer)"]
