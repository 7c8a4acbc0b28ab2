"""The command itself: help, version, what it does when it is called wrongly."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from cli_lab import command, environment, plugtap

from plugtap import __version__
from plugtap.cli import main as cli
from plugtap.cli.main import main

COMMANDS = sorted(cli._available())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: plugtap {name}")
    assert cli.COMMANDS[name][1].split(":")[0] in " ".join(said.split())
    assert re.search(rf"examples:\n.*plugtap {name}", said, re.DOTALL), "help without an example"


def test_help_lists_the_commands() -> None:
    done = plugtap("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"^    {name} +\S", done.stdout.decode(), re.MULTILINE)


def test_module_and_command_are_the_same() -> None:
    first = plugtap("--version")
    assert (first.returncode, first.stderr) == (0, b"")
    assert re.fullmatch(rf"plugtap {re.escape(__version__)} \(EXI codec: \w+\)\n", first.stdout.decode())
    python = command()[0].rsplit("/", 1)[0] + "/python"
    second = subprocess.run([python, "-m", "plugtap", "--version"], capture_output=True, env=environment(), check=False)
    assert second.stdout == first.stdout


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert capsys.readouterr().out.startswith("usage: plugtap")


@pytest.mark.parametrize("args", [["analyse", "x.pcap"], ["analyze"], ["analyze", "x", "--format", "xml"], ["--what"]])
def test_wrong_usage_is_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(args)
    assert left.value.code == 2
    assert "usage: plugtap" in capsys.readouterr().err


def test_version_and_help_load_no_command() -> None:
    """What they say must not wait for numpy and asyncio."""
    code = "import sys; from plugtap.cli.main import build_parser; build_parser(); sys.exit('numpy' in sys.modules or 'asyncio' in sys.modules)"
    python = command()[0].rsplit("/", 1)[0] + "/python"
    assert subprocess.run([python, "-c", code], env=environment(), check=False).returncode == 0


@pytest.mark.parametrize("offset", ["nan", "1e400", "x"])
def test_numbers_that_cannot_be_meant_are_wrong_usage(offset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["analyze", "x.pcap", "--cp-offset", offset])
    assert caught.value.code == 2
    assert "--cp-offset" in capsys.readouterr().err


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["config", "default"], ["checks"], ["checks", "time-precharge"]])
def test_a_full_disk_behind_standard_output_is_one_line(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "plugtap", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == f"plugtap {command[0]}: No space left on device\n"


@pytest.mark.parametrize("command", ["config default", "checks time-precharge"])
def test_output_that_is_closed_or_knows_no_umlauts(command: str) -> None:
    plugtap = f"{sys.executable} -m plugtap"
    done = subprocess.run(f"{plugtap} {command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    narrow = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(f"{plugtap} {command}", shell=True, capture_output=True, text=True, check=False, env=narrow)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout


def test_input_that_is_closed_is_named() -> None:
    done = subprocess.run(f"{sys.executable} -m plugtap decode - <&-", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "plugtap decode: standard input: is closed (pipe a capture into it, as tcpdump -w - does)\n"
