"""The service as a process: start, ready, watchdog, stop; and what it refuses to start with."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plugtap.config.errors import ConfigError
from plugtap.config.load import parse_settings
from plugtap.config.settings import Mqtt, Settings
from plugtap.daemon import service
from plugtap.daemon.mqtt import Publisher, read_password, tls_context
from plugtap.daemon.outbox import Outbox
from plugtap.daemon.service import Service, redaction_key


def settings(folder: pathlib.Path, more: str = "") -> Settings:
    return parse_settings(text(folder, more))


def text(folder: pathlib.Path, more: str = "") -> str:
    return f'[site]\nstate = "{folder / "state"}"\n[metrics]\nport = 0\n{more}\n[tap.garage.capture]\ntype = "pipe"\npath = "{folder / "fifo"}"\n'


class Systemd:
    """A NOTIFY_SOCKET of our own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(10)

    def until(self, word: str) -> list[str]:
        """Messages until one holds `word`."""
        found: list[str] = []
        while not found or word not in found[-1]:
            found.append(self._socket.recv(4096).decode())
        return found

    def close(self) -> None:
        self._socket.close()


def test_ready_watchdog_stop(tmp_path: pathlib.Path) -> None:
    """What systemd sees, and that SIGTERM ends it cleanly and soon."""
    os.mkfifo(tmp_path / "fifo")
    config = tmp_path / "plugtap.toml"
    config.write_text(text(tmp_path))
    systemd = Systemd(tmp_path)
    environment = {**os.environ, "NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "1500000"}
    environment.pop("WATCHDOG_PID", None)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "plugtap", "run", "-c", str(config)]
        daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        assert "listening to garage" in systemd.until("READY=1")[-1]
        begun = time.monotonic()
        heard = [message for _ in range(3) for message in systemd.until("WATCHDOG=1")]
        assert time.monotonic() - begun < 4.5
        assert any("degraded: garage: plc is away" in message for message in heard), heard
        url = next(line.split("url=")[1] for line in (tmp_path / "log").read_text().splitlines() if "url=" in line)
        with urllib.request.urlopen(url, timeout=5) as answer:
            families = {family.name for family in text_string_to_metric_families(answer.read().decode())}
        again = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert again.returncode == 2 and "used by another plugtap" in again.stderr
        begun = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        systemd.until("STOPPING=1")
        assert daemon.wait(10) == 0 and time.monotonic() - begun < 5
    finally:
        daemon.kill()
        systemd.close()
    assert {"plugtap_source_up", "plugtap_items", "plugtap_archive_writable", "process_cpu_seconds"} <= families
    (archive,) = (tmp_path / "state" / "archive" / "garage").iterdir()
    assert archive.suffix == ".pcapng"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_ctrl_c_twice_ends_at_once(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    config = tmp_path / "plugtap.toml"
    config.write_text(text(tmp_path))
    systemd = Systemd(tmp_path)
    command = [sys.executable, "-m", "plugtap", "run", "-c", str(config)]
    environment = {**os.environ, "NOTIFY_SOCKET": systemd.path}
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        systemd.until("READY=1")
        daemon.send_signal(signal.SIGINT)
        systemd.until("STOPPING=1")
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(5) in (0, 130)
    finally:
        daemon.kill()
        systemd.close()


def test_an_interface_without_permission_is_exit_code_3(tmp_path: pathlib.Path) -> None:
    """Where capturing is not permitted the daemon says so and ends; systemd shows it as failed."""
    config = tmp_path / "plugtap.toml"
    config.write_text(text(tmp_path).replace('type = "pipe"\npath', 'type = "interface"\ninterface').replace(str(tmp_path / "fifo"), "lo"))
    command = [sys.executable, "-m", "plugtap", "run", "-c", str(config)]
    if os.geteuid() == 0:
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if "Operation not permitted" in done.stderr and "setpriv" in done.stderr:
        pytest.skip("capabilities can't be dropped here")
    assert done.returncode == 3, done.stderr
    assert "plugtap run: lo: capturing is not permitted (run it by the systemd unit" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "can't be opened: No such file or directory"), (b"GET / HTTP/1.1\r\n\r\n" * 20, "nothing in it can be read: ")],
)
def test_a_capture_file_that_cannot_be_read_is_exit_code_3(tmp_path: pathlib.Path, content: bytes | None, said: str) -> None:
    capture = tmp_path / "charge.pcapng"
    if content is not None:
        capture.write_bytes(content)
    config = tmp_path / "plugtap.toml"
    config.write_text(text(tmp_path).replace('type = "pipe"', 'type = "file"').replace(str(tmp_path / "fifo"), str(capture)))
    done = subprocess.run([sys.executable, "-m", "plugtap", "run", "-c", str(config)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3, done.stderr
    assert f"plugtap run: {capture}: {said}" in done.stderr
    assert "Traceback" not in done.stderr


def test_redaction_key_is_made_once_and_private(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "key"
    key = redaction_key(str(path))
    assert len(key) == 32 and redaction_key(str(path)) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["not hex", "00", ""])
def test_a_bad_redaction_key_is_refused(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"privacy\.key_file"):
        redaction_key(str(path))


async def test_what_cannot_be_carried_out_names_its_key(tmp_path: pathlib.Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigError, match=r"site\.state"):
        Service(settings(tmp_path))
    (tmp_path / "state").unlink()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"metrics.listen.*can't be listened on"):
            Service(parse_settings(text(tmp_path).replace("port = 0", f"port = {port}")))


async def test_mqtt_settings_that_name_missing_files(tmp_path: pathlib.Path) -> None:
    box = Outbox(str(tmp_path / "o"), max_messages=10, max_bytes=100)
    with pytest.raises(ConfigError, match=r"mqtt\.password_file"):
        Publisher(Mqtt(username="u", password_file=str(tmp_path / "none")), "b", "s", box)
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file"):
        tls_context(Mqtt(tls=True, ca_file=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"mqtt\.cert_file"):
        tls_context(Mqtt(tls=True, cert_file=str(tmp_path / "a"), key_file=str(tmp_path / "b")))
    (tmp_path / "password").write_text("secret\nsecond line\n")
    assert read_password(Mqtt(username="u", password_file=str(tmp_path / "password"))) == "secret"
    assert read_password(Mqtt()) is None and tls_context(Mqtt()) is None
    await box.close()


async def test_publisher_bounds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Outbox(str(tmp_path / "o"), max_messages=10, max_bytes=10**6)
    publisher = Publisher(Mqtt(), "base", "site", box)
    publisher.send("k", "t", b"x" * 65_000)
    publisher.retain("t", b"x" * 65_000)
    assert publisher.counters["oversize"] == 2 and box.backlog == 0
    monkeypatch.setattr("plugtap.daemon.mqtt.MAX_RETAINED", 2)
    for n in range(3):
        publisher.retain(f"t{n}", b"x")
    assert publisher.counters["retained_dropped"] == 1
    publisher.send("k", "t", b"x")
    (message,) = await box.first(5)
    assert message.topic == "base/t"
    await box.close()


async def test_a_sink_that_fails_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugtap.daemon.service.SINK_PAUSE_SECONDS", 0.01)
    attempts = 0

    async def sink() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("a mistake of ours")

    await service._supervised(sink, "sink")
    assert attempts == 3
