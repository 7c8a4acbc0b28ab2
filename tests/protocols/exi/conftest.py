"""Fixtures of the EXI tests: both builds of the engine, and the vectors beside the captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plugtap.protocols.exi import build, tables


@pytest.fixture(params=["plain", "compiled"], scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Makes the codec run on one build of the engine; tests of the compiled one are skipped where it was not built."""
    module = build.plain if request.param == "plain" else build.compiled
    if module is None:
        pytest.skip(build.WHY_PLAIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "engine", lambda: module)
        tables.loaded.clear()
        yield request.param
    tables.loaded.clear()


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder with EXI test vectors; tests that use it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "exi-vectors"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/exi-vectors with test vectors")
    return folder
