"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is says nothing about plugtap. Where CI is set, Hypothesis's own profile goes further: the same
# examples each time.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
if settings.get_current_profile_name() != "ci":
    settings.load_profile("patient")

if os.environ.get("PLUGTAP_PURE") == "1":  # the whole suite on the plain build, as the command does it (cli/main.py)
    sys.modules["plugtap.protocols.exi._engine_c"] = None  # type: ignore[assignment]


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder with real captures beside the repository; tests that use it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "captures"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/captures with real captures")
    return folder
