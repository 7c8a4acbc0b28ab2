"""MQTT over TLS with a password and protocol 5, by a real mosquitto with a certificate of our own making."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import subprocess

import pytest
from live_tools import Broker, Daemon, Subscriber, free_port

SETTINGS = """
[site]
state = "{folder}/state"
[mqtt]
enabled = true
host = "localhost"
port = {port}
protocol = "5"
base = "chargers/depot"
username = "plugtap"
password_file = "{folder}/password"
tls = true
ca_file = "{ca}"
[metrics]
enabled = false
[tap.garage.capture]
type = "pipe"
path = "{folder}/fifo"
"""


class SecureBroker(Broker):
    """Listens with TLS and password on one port, openly on another."""

    def __init__(self, folder: pathlib.Path, port: int, secure: int) -> None:
        super().__init__(folder, port)
        self.secure = secure

    def options(self) -> str:
        folder = self.folder
        return (
            f"listener {self.secure} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {folder}/users\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
        )


def certificates(folder: pathlib.Path) -> None:
    """An authority, and a certificate of it for localhost."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN=plugtap test {name}", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2",
            "-extfile", "extensions")  # fmt: skip
    subprocess.run(["mosquitto_passwd", "-b", "-c", "users", "plugtap", "secret"], check=True, cwd=folder, capture_output=True)
    (folder / "password").write_text("secret\n")


async def test_tls_and_password(tmp_path: pathlib.Path) -> None:
    if Broker.installed() is None:
        pytest.skip("mosquitto is not installed")
    for tool in ("openssl", "mosquitto_passwd"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    certificates(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    broker = SecureBroker(tmp_path, free_port(), free_port())
    broker.start()
    heard = Subscriber(broker.port, "chargers/depot")
    listening = asyncio.create_task(heard.run())
    try:
        await heard.ready.wait()
        # An authority that did not sign the broker's certificate: no connection, and the log says why.
        wrong = Daemon(SETTINGS.format(folder=tmp_path, port=broker.secure, ca=tmp_path / "other.pem"), tmp_path)
        wrong.start()
        for _ in range(100):
            if "CERTIFICATE_VERIFY_FAILED" in wrong.log:
                break
            await asyncio.sleep(0.1)
        assert "CERTIFICATE_VERIFY_FAILED" in wrong.log
        await wrong.stop()
        assert heard.last("status") is None
        right = Daemon(SETTINGS.format(folder=tmp_path, port=broker.secure, ca=tmp_path / "ca.pem"), tmp_path)
        right.start()
        await heard.until(lambda: heard.last("status") == b"online", "online")
        await heard.until(lambda: bool(heard.of("health")), "health")
        code, seconds = await right.stop()
        assert code == 0 and seconds < 5
        await heard.until(lambda: heard.last("status") == b"offline", "offline")
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        broker.stop()
