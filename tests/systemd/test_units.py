"""The shipped systemd, udev and networkd files are accepted without a word."""

from __future__ import annotations

import configparser
import pathlib
import re
import shutil
import subprocess

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "systemd"
UNIT = FOLDER / "plugtap.service"


def needs(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def root(folder: pathlib.Path) -> pathlib.Path:
    """A root of its own with the unit, the program it starts, and the units it names."""
    system = folder / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    shutil.copy(UNIT, system)
    for name in ("network.target", "time-sync.target", "multi-user.target", "sysinit.target", "basic.target", "shutdown.target"):
        (system / name).write_text(f"[Unit]\nDescription={name}\n")
    program = folder / "usr/bin/env"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return folder


def test_the_unit_is_accepted_without_a_word(tmp_path: pathlib.Path) -> None:
    """`systemd-analyze verify` exits 0 even when it complains: it must say nothing at all."""
    tool = needs("systemd-analyze")
    done = subprocess.run([tool, "verify", "--man=no", f"--root={root(tmp_path)}", "plugtap.service"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_accepted_where_it_lies() -> None:
    """The same without a root of its own, as a person would try it."""
    tool = needs("systemd-analyze")
    done = subprocess.run([tool, "verify", str(UNIT)], capture_output=True, text=True, check=False)
    if "Failed to" in done.stderr and "plugtap" not in done.stderr:
        pytest.skip(f"systemd-analyze verify does not work here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_have_complained(tmp_path: pathlib.Path) -> None:
    """The test above can fail: a misspelt key is reported."""
    tool = needs("systemd-analyze")
    folder = root(tmp_path)
    unit = folder / "usr/lib/systemd/system/plugtap.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSeconds="))
    done = subprocess.run([tool, "verify", "--man=no", f"--root={folder}", "plugtap.service"], capture_output=True, text=True, check=False)
    assert "WatchDogSeconds" in done.stdout + done.stderr


def test_the_unit_is_hardened() -> None:
    """Exposure 2.0 of 10 at most; above, the tool exits with 1."""
    tool = needs("systemd-analyze")
    command = [tool, "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def values(path: pathlib.Path, section: str) -> dict[str, list[str]]:
    """Keys of a section, each with all its values."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_grants_one_capability_and_serial_ports_only() -> None:
    service = values(UNIT, "Service")
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ["CAP_NET_RAW"]
    assert all(re.fullmatch("char-tty[A-Z]+ rw", device) for device in service["DeviceAllow"])
    assert service["DevicePolicy"] == ["closed"]
    assert "AF_PACKET" in service["RestrictAddressFamilies"][0] and "AF_NETLINK" in service["RestrictAddressFamilies"][0]
    assert float(service["TimeoutStopSec"][0]) > 5, "plugtap needs up to 5 s to drain"


def test_sysusers_and_tmpfiles(tmp_path: pathlib.Path) -> None:
    sysusers, tmpfiles = needs("systemd-sysusers"), needs("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("dialout:x:20:\n")
    (tmp_path / "etc/passwd").write_text("")
    done = subprocess.run(
        [sysusers, "--dry-run", f"--root={tmp_path}", str(FOLDER / "plugtap.sysusers")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "plugtap" in done.stdout + done.stderr, done.stderr
    entries = [line.split() for line in (FOLDER / "plugtap.tmpfiles").read_text().splitlines() if not line.startswith("#")]
    assert all(len(entry) == 6 and entry[0] in ("d", "z") and re.fullmatch("0[0-7]{3}", entry[2]) for entry in entries)
    # Taken as they are, but for owners that this machine does not have.
    own = tmp_path / "own.conf"
    own.write_text("".join(f"{e[0]} {tmp_path}{e[1]} {e[2]} - - -\n" for e in entries))
    done = subprocess.run([tmpfiles, "--create", str(own)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "var/lib/plugtap/archive").stat().st_mode & 0o777 == 0o750


def test_network_file_keeps_the_interface_quiet() -> None:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / "80-plugtap.network")
    network, link = parser["Network"], parser["Link"]
    for key in ("LinkLocalAddressing", "IPv6AcceptRA", "DHCP", "LLMNR", "MulticastDNS", "EmitLLDP"):
        assert network[key] == "no", key
    assert link["ARP"] == "no" and link["ActivationPolicy"] == "up"


def test_udev_rules_are_understood(tmp_path: pathlib.Path) -> None:
    tool = needs("udevadm")
    rules = FOLDER / "80-plugtap.rules"
    done = subprocess.run([tool, "verify", str(rules)], capture_output=True, text=True, check=False)
    if "Unknown command" in done.stderr or "Unknown" in done.stderr:
        pytest.skip("this udevadm has no verify (before systemd 254)")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_have_the_form_of_rules() -> None:
    """For machines whose udevadm cannot verify: every line is assignments and matches, separated by commas."""
    entry = r'[A-Z_]+(\{[A-Za-z_]+\})?(==|!=|=|\+=|:=)"[^"]*"'
    for line in (FOLDER / "80-plugtap.rules").read_text().splitlines():
        rule = line.removeprefix("#") if line.startswith("#SUBSYSTEM") else line
        if rule and not rule.startswith("#"):
            assert re.fullmatch(rf"{entry}(, {entry})*", rule), rule
