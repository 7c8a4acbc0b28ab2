"""Wireshark as a witness: in good sessions it finds nothing malformed, no retransmission and no wrong checksum, and all SLAC messages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from plugtap.sim import scenario as scenarios
from plugtap.sim.record import pcapng

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")

CHECKSUMS = [option for name in ("tcp", "udp") for option in ("-o", f"{name}.check_checksum:TRUE")]
# tcp.analysis.flags marks retransmissions, lost segments, zero windows …; window updates are no fault.
BAD = (
    "_ws.malformed or (tcp.analysis.flags and not tcp.analysis.window_update) or tcp.checksum.status == 0 or udp.checksum.status == 0 "
    "or icmpv6.checksum.status == 0 or _ws.unreassembled"
)
# The whole-session scenarios whose line is clean and whose tap hears everything once.
SEEN_WHOLE = [
    name for name, item in scenarios.library().items()
    if item.healthy and not item.tap.get("miss") and item.tap.get("kind", "passive") != "bridge" and name != "tcp-probes"
]  # fmt: skip
FEW = ["din-dc", "iso2-ac", "iso20-dc-bpt", "tap-host"]


def tshark(path: Path, display: str, *fields: str) -> list[str]:
    command = [str(TSHARK), "-r", str(path), *CHECKSUMS, "-Y", display]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run([*command, "-T", "fields"] if fields else command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def look(name: str, folder: Path) -> None:
    path = folder / f"{name}.pcapng"
    path.write_bytes(pcapng(scenarios.load(name)).data)
    assert tshark(path, BAD) == []
    mmes = tshark(path, "homeplug-av", "homeplug_av.mmhdr.mmtype")
    for mmtype in ("0x6064", "0x6065", "0x606a", "0x6076", "0x606e", "0x606f", "0x607c", "0x607d"):
        assert mmtype in mmes, f"{mmtype} isn't a HomePlug message to Wireshark"
    assert tshark(path, "tcp.flags.fin == 1"), "an orderly end"


@pytest.mark.parametrize("name", FEW)
def test_wireshark_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    look(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEEN_WHOLE if name not in FEW])
def test_wireshark_finds_nothing_wrong_in_any_good_session(name: str, tmp_path: Path) -> None:
    look(name, tmp_path)


def test_wireshark_sees_what_a_bad_line_does(tmp_path: Path) -> None:
    """The witness isn't blind: on the lossy line it does mark retransmissions."""
    path = tmp_path / "loss.pcapng"
    path.write_bytes(pcapng(scenarios.load("tcp-loss")).data)
    assert tshark(path, "tcp.analysis.retransmission")
