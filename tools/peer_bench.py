"""Where the pair of tools/peer_pair runs: its package, its certificates, two network namespaces, child processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "iso15118==0.31.2"
# The wheel imports aiofile without asking for it.
REQUIREMENTS = (PACKAGE, "aiofile>=3.8,<4")
CACHE = ROOT / "build" / ("peer-" + PACKAGE.replace("==", "-"))
PEER_PYTHON = CACHE / "bin" / "python"


class CannotRunError(Exception):
    """Something this needs is not here; the message says what."""


def namespace_prefix() -> list[str]:
    """Command that runs another in a new network namespace, with all rights there. Raises CannotRunError."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            raise CannotRunError(f"{tool} is not installed")
    refusal = ""
    for prefix in (["unshare", "-n"], ["unshare", "-Urn"]):
        done = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return prefix
        refusal = done.stderr.strip()
    raise CannotRunError(f"no network namespace can be made here: {refusal}")


def install_package() -> None:
    """The simulators' package in a virtual environment of its own, if it is not there yet. Raises CannotRunError."""
    for tool, package in (("java", "openjdk-17-jre-headless"), ("openssl", "openssl")):
        if shutil.which(tool) is None:
            raise CannotRunError(f"{tool} is not installed; the simulators need it (Debian: {package})")
    stamp = CACHE / ".installed"
    if stamp.exists() and stamp.read_text() == "\n".join(REQUIREMENTS):
        return
    print(f"installing {PACKAGE} into {CACHE.relative_to(ROOT)}", file=sys.stderr)
    install = [str(PEER_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    for command in ([sys.executable, "-m", "venv", "--clear", str(CACHE)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise CannotRunError(f"{PACKAGE} can't be installed: {lines[-1] if lines else done.returncode}")
    stamp.write_text("\n".join(REQUIREMENTS))


def package_folder() -> pathlib.Path:
    """Where the package lies in its environment."""
    (folder,) = CACHE.glob("lib/python3*/site-packages/iso15118")
    return folder


def make_certificates(pki: pathlib.Path) -> None:
    """Fresh certificates in `pki` by the package's own script (its leaves last 60 days). Raises CannotRunError."""
    shutil.copytree(package_folder() / "shared" / "pki", pki)
    done = subprocess.run(["bash", "create_certs.sh", "-v", "iso-2"], cwd=pki, capture_output=True, text=True, check=False)
    if not (pki / "iso15118_2" / "certs" / "oemCertChain.pem").exists():
        raise CannotRunError(f"create_certs.sh failed: {done.stderr[-300:]}")


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    """The condition's value as soon as it is true; what it last was after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


class Program:
    """A child process with its output in a file."""

    def __init__(self, command: list[str], log: pathlib.Path, environment: dict[str, str] | None = None) -> None:
        self._log = log
        with log.open("wb") as file:
            # A session of its own: Ctrl-C at the terminal is for us, and we end the children in order.
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=log.parent,
                env={**os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """It has ended, by itself or stopped."""
        return self._process.poll() is not None

    def wait_for(self, texts: tuple[str, ...], seconds: float) -> bool:
        """True when its output has one of `texts`; False when it ended without, or time is up."""

        def said() -> bool:
            output = self.text
            return any(text in output for text in texts)

        wait_until(lambda: said() or self.ended, seconds)
        return said()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15.0) -> int:
        """End it, by force after `seconds`; its exit code."""
        if not self.ended:
            self._process.send_signal(number)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextlib.contextmanager
def network() -> Iterator[list[str]]:
    """secc0 here, evcc0 in a second namespace; the command that runs another one there. Needs a namespace of its own."""
    holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE)
    there = ["nsenter", "-t", str(holder.pid), "-n"]

    def ip(*arguments: str, prefix: tuple[str, ...] = ()) -> str:
        return subprocess.run([*prefix, "ip", *arguments], check=True, capture_output=True, text=True).stdout

    def settled(name: str, prefix: tuple[str, ...]) -> bool:
        """Has its link-local address, and duplicate address detection (a second or two) is over."""
        return "fe80" in ip("-6", "addr", "show", "dev", name, "scope", "link", "-tentative", prefix=prefix)

    try:
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, 5)
        ip("link", "add", "secc0", "type", "veth", "peer", "name", "evcc0")
        ip("link", "set", "evcc0", "netns", str(holder.pid))
        ends: tuple[tuple[tuple[str, ...], str], ...] = (((), "secc0"), (tuple(there), "evcc0"))
        for prefix, name in ends:
            ip("link", "set", "lo", "up", prefix=prefix)
            # The kernel looks for routers for minutes, and each frame of a host keeps its session going.
            quiet = f"echo 0 > /proc/sys/net/ipv6/conf/{name}/router_solicitations"
            subprocess.run([*prefix, "sh", "-c", quiet], stderr=subprocess.DEVNULL, check=False)
            ip("link", "set", name, "up", prefix=prefix)
        for prefix, name in ends:
            wait_until(lambda name=name, prefix=prefix: settled(name, prefix), 10)
        yield there
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait()
