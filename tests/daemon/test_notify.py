"""sd_notify, with a socket of our own in systemd's place."""

from __future__ import annotations

import os
import pathlib
import socket

import pytest

from plugtap.daemon.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_arrive(tmp_path: pathlib.Path, abstract: bool) -> None:
    name = f"@plugtap-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(2)
        Notifier({"NOTIFY_SOCKET": name}).send(READY="1", STATUS="listening")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=listening"


def test_without_systemd_nothing_happens(tmp_path: pathlib.Path) -> None:
    Notifier({}).send(READY="1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send(READY="1")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog == seconds
