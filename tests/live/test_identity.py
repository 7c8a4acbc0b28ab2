"""The promise: what the daemon says live is what its archive says again, times and ids included."""

from __future__ import annotations

import os
import pathlib

import pytest
from live_tools import Broker
from namespace import run_script

SCRIPT = pathlib.Path(__file__).with_name("identity_script.py")


@pytest.mark.parametrize("unprivileged", [False, True], ids=["as-is", "unprivileged"])
def test_live_run_and_replay_of_its_archive_are_identical(unprivileged: bool) -> None:
    if Broker.installed() is None:
        pytest.skip("mosquitto is not installed")
    if not unprivileged and os.geteuid() != 0:
        pytest.skip("not root: the unprivileged run is this one")
    seen = run_script(SCRIPT, unprivileged=unprivileged, timeout=120)
    # The same objects on all ways out, and out of the archive.
    assert len(seen["replayed"]) == 2
    assert seen["log"] == seen["replayed"]
    assert seen["mqtt"] == seen["replayed"]
    assert seen["mqtt findings"] == seen["log findings"]
    in_sessions = {f["id"]: f for session in seen["replayed"].values() for f in session["findings"]}
    assert in_sessions == seen["log findings"]
    first, second = sorted(seen["replayed"].values(), key=lambda session: session["start"])
    assert first["outcome"] == "completed" and first["reached"] == "charging"
    # The second's last act was a request without an answer: only the ticks in the archive prove that none came.
    assert second["reached"] == "pre-charge" and second["state"] == "closed"
    assert second["outcome"] == "failed", second["verdict"]
    assert any(finding["class"] == "timeout" for finding in second["findings"]), [f["check"] for f in second["findings"]]
    assert first["coverage"]["pilot"] != "none" and first["coverage"]["unicast"] == "both"
    # The archive.
    assert seen["archive"]["mode"] == 0o640
    assert seen["archive"]["name"].startswith("garage-") and seen["archive"]["name"].endswith("Z.pcapng")
    assert seen["archive ids"] == [seen["archive"]["name"].removesuffix(".pcapng")]
    if seen["tshark"] is not None:
        assert seen["tshark"]["code"] == 0
        assert seen["tshark"]["packets"] == seen["frames in archive"]
        assert {"plc", "cp", "tap"} <= set(seen["tshark"]["interfaces"])
    # The daemon itself.
    assert seen["sent by daemon"] == 0, "a passive tap puts nothing on the power line"
    assert seen["exit"] == 0 and seen["seconds"] < 5
    assert seen["health"]["status"] == "ok", seen["health"]
    assert seen["tap health"]["sources"]["plc"]["frames"] == seen["frames sent"]
    assert [s for s in ("A1", "B1", "B2", "C2") if s not in seen["pilot states"]] == []
    metrics = seen["metrics"]
    assert f'plugtap_frames_total{{source="plc",tap="garage"}} {float(seen["frames sent"])}' in metrics
    assert 'plugtap_sessions_total{outcome="completed",pair="own",protocol="din",tap="garage"} 1.0' in metrics
    assert 'plugtap_source_up{source="cp",tap="garage"} 1.0' in metrics
    assert 'plugtap_archive_items_lost_total{tap="garage"} 0.0' in metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "speed"),
    [
        ("tux-evse__iso15118-simulator-rs/2024-03-28_din_ac3ph_6_2.7amp.pcapng", "20"),
        ("tux-evse__iso15118-simulator-rs/abb-normal-din.pcap", "20"),
    ],
)
def test_real_captures_played_live(captures: pathlib.Path, name: str, speed: str) -> None:
    """Frames of real cars and chargers through a real interface: again the archive says what the daemon said."""
    if Broker.installed() is None:
        pytest.skip("mosquitto is not installed")
    path = captures / "files" / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    seen = run_script(SCRIPT, str(path), speed, timeout=150)
    assert seen["log"] == seen["mqtt"] == seen["replayed"] != {}
    assert seen["mqtt findings"] == seen["log findings"]
    assert seen["sent by daemon"] == 0
