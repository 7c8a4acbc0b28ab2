"""Network and mount namespaces for tests: a script runs in fresh ones, as root there, and prints JSON.

As root they are made directly; as anyone else, and for tests that prove the unprivileged way, by `unshare -Urnm`.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

TESTS = pathlib.Path(__file__).resolve().parent


def _prefix(unprivileged: bool) -> list[str]:
    if os.geteuid() != 0:
        return ["unshare", "-Urnm"]
    if unprivileged:
        # Without capabilities root is a user like any other (who can read where Python is installed). CAP_SETFCAP is
        # what mapping user 0 takes since Linux 5.12; a user other than 0 needs none.
        drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap", "--no-new-privs"]
        return [*drop, "unshare", "-Urnm"]
    return ["unshare", "-nm"]


@functools.cache
def _refusal(unprivileged: bool) -> str:
    """Why no namespace can be made here; "" when it can."""
    for tool in ("unshare", "ip", "setpriv"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    probe = [*_prefix(unprivileged), sys.executable, "-c", "import plugtap.protocols.items"]
    done = subprocess.run(probe, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        return f"no network namespace here: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return ""


def run_script(script: pathlib.Path, *arguments: str, unprivileged: bool = False, timeout: float = 60.0) -> dict[str, Any]:
    """Run a Python script in a new network namespace; what it prints last is JSON. Skips the test where none can be
    made."""
    refusal = _refusal(unprivileged)
    if refusal:
        pytest.skip(refusal)
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*_prefix(unprivileged), sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd="/", check=False)
    assert done.returncode == 0, f"{script.name}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
