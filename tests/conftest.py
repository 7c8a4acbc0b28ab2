"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder with real captures beside the repository; tests that use it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "captures"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/captures with real captures")
    return folder
