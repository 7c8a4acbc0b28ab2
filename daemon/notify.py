"""What systemd is told (sd_notify(3)): ready, alive, stopping. Silent when not started by systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to NOTIFY_SOCKET. `watchdog`: seconds within which systemd wants to hear WATCHDOG=1; None if it does
    not."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        own = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog = int(microseconds) / 1e6 if own and microseconds.isdigit() and int(microseconds) else None

    def send(self, **assignments: str) -> None:
        """``send(READY="1", STATUS="…")``. A systemd that does not listen is no reason to fail."""
        if not self._address:
            return
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        text = "\n".join(f"{name}={value}" for name, value in assignments.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode(), path)
        except OSError:
            return
