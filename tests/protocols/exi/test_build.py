"""The two builds of the engine, and which one runs."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from plugtap.protocols import exi
from plugtap.protocols.exi import build


def test_what_runs_is_said() -> None:
    assert exi.BUILD in ("compiled", "plain")
    assert (build.compiled is None) is (exi.BUILD == "plain") is bool(build.WHY_PLAIN)
    assert build.engine() is (build.plain if build.compiled is None else build.compiled)
    assert build.plain.COMPILED is False


def test_compiled_is_compiled() -> None:
    if build.compiled is None:
        pytest.skip(build.WHY_PLAIN)
    assert build.compiled.COMPILED is True
    assert build.source_digest() == build.compiled.SOURCE


@pytest.mark.parametrize(("digest", "why"), [("0" * 64, "the compiled engine belongs to other source: build it again"), (None, "")])
def test_twin_of_other_source_is_not_used(monkeypatch: pytest.MonkeyPatch, digest: str | None, why: str) -> None:
    twin = types.ModuleType("plugtap.protocols.exi._engine_c")
    twin.SOURCE = digest or build.source_digest()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, twin.__name__, twin)
    assert build._twin() == ((None if why else twin), why)


def test_without_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plugtap.protocols.exi._engine_c", None)
    assert build._twin() == (None, "there is no compiled engine")


def test_command_runs_plain_when_told_to() -> None:
    command = [sys.executable, "-m", "plugtap", "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PLUGTAP_PURE": "1"}).stdout
    assert said.endswith("(EXI codec: plain)\n")


def test_plain_needs_no_cython() -> None:
    """Where Cython is not installed the engine's `import cython` falls back to a stand-in."""
    program = (
        "import sys; sys.modules['cython'] = None; sys.modules['plugtap.protocols.exi._engine_c'] = None\n"
        "from plugtap.protocols import exi\n"
        "assert exi.BUILD == 'plain', exi.BUILD\n"
        "content = {'supportedAppProtocolRes': {'ResponseCode': 'Failed_NoNegotiation'}}\n"
        "assert exi.decode('sap', exi.encode('sap', content)) == content\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
