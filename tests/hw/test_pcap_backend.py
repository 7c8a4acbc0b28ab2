"""Capture by python-libpcap in a child process; skipped where that extra is not installed."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest
from namespace import run_script
from stream_rig import collecting

from plugtap.hw.errors import SourceError
from plugtap.hw.pcap_backend import libpcap_source

INSTALLED = importlib.util.find_spec("pylibpcap") is not None
SCRIPT = pathlib.Path(__file__).with_name("pcap_backend_script.py")


@pytest.mark.skipif(not INSTALLED, reason="python-libpcap (extra pcap) is not installed")
def test_live_capture_by_libpcap() -> None:
    seen = run_script(SCRIPT)
    assert seen["frames"] == [True, True], "HomePlug and IPv6, not IPv4"
    assert seen["close in time"] and seen["child ended"]


async def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    async with collecting(libpcap_source("lo")) as heard:
        await heard.until(lambda: heard.ended, "hopeless")
        assert isinstance(heard.error, SourceError) and "plugtap[pcap]" in str(heard.error)
