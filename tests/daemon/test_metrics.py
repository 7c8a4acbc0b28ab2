"""Metrics: names by Prometheus' rules, bounded labels, each output counted once."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import msgspec
import pytest
from lab import Lab
from prometheus_client import CollectorRegistry, generate_latest
from rig import FakeSource, Rig

from plugtap.config.settings import Mqtt
from plugtap.daemon import metrics
from plugtap.daemon.findings_log import FindingsLog
from plugtap.daemon.metrics import DaemonCollector, Tally
from plugtap.daemon.mqtt import Publisher
from plugtap.daemon.outbox import Outbox

RESULT = Lab.good("din-dc").stop_after("PreChargeReq", 1).run()


async def exposition(tmp_path: pathlib.Path) -> str:
    rig = Rig(tmp_path, sources=[FakeSource("plc"), FakeSource("cp")])
    rig.sources[0].counters.update(frames=3, bytes=180, dropped=1)
    rig.sources[1].counters.update(gaps=2, bytes=9)
    rig.tap.last_item["plc"] = 1_700_000_000_500_000_000
    tally = Tally()
    for output in RESULT.outputs:
        tally.add("tap", output)
    box = Outbox(str(tmp_path / "outbox.sqlite"), max_messages=10, max_bytes=1000)
    mqtt = Publisher(Mqtt(), "base", "site", box)
    log = FindingsLog(str(tmp_path / "f"), max_bytes=100, files=1)
    registry = CollectorRegistry()
    registry.register(DaemonCollector("depot", [rig.tap], tally, mqtt, log))
    text = generate_latest(registry).decode()
    await box.close()
    return text


async def test_values(tmp_path: pathlib.Path) -> None:
    text = await exposition(tmp_path)
    for line in (
        'plugtap_frames_total{source="plc",tap="tap"} 3.0',
        'plugtap_frames_dropped_total{source="plc",tap="tap"} 1.0',
        'plugtap_pilot_gaps_total{source="cp",tap="tap"} 2.0',
        'plugtap_last_item_timestamp_seconds{source="plc",tap="tap"} 1.7000000005e+09',
        'plugtap_sessions_total{outcome="failed",pair="own",protocol="din",tap="tap"} 1.0',
        'plugtap_archive_writable{tap="tap"} 1.0',
        "plugtap_mqtt_connected 0.0",
        'plugtap_source_up{source="cp",tap="tap"} 1.0',
    ):
        assert line in text.replace('tap="tap",source="plc"', 'source="plc",tap="tap"').replace(
            'tap="tap",source="cp"', 'source="cp",tap="tap"'
        ).replace('tap="tap",outcome="failed",protocol="din",pair="own"', 'outcome="failed",pair="own",protocol="din",tap="tap"'), line
    findings = sum(float(value) for value in re.findall(r"^plugtap_findings_total\{.*\} (.+)$", text, re.MULTILINE))
    assert findings == len({f.id for f in RESULT.findings}) > 0


async def test_names_units_and_help(tmp_path: pathlib.Path) -> None:
    text = await exposition(tmp_path)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert kinds.keys() == helps.keys() and len(kinds) > 30
    for name, kind in kinds.items():
        assert name.startswith("plugtap_")
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|milliseconds|kb|megabytes|percent)(_|$)", name), "base units"


async def test_every_metric_is_documented(tmp_path: pathlib.Path) -> None:
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "running.md").read_text()
    text = await exposition(tmp_path)
    missing = [name for name in re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE) if f"`{name}`" not in page]
    assert missing == []
    known = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    named = set(re.findall(r"^\| `(plugtap_[a-z_]+)`", page, re.MULTILINE))
    assert named <= known, "and the page names none that is not there"


async def test_promtool_agrees(tmp_path: pathlib.Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    text = await exposition(tmp_path)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_revisions_are_counted_once_and_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    finding = RESULT.findings[0]
    for rev in range(3):
        tally.add("tap", msgspec.structs.replace(finding, rev=rev))
    assert sum(tally.findings.values()) == 1
    monkeypatch.setattr(metrics, "MAX_SERIES", 5)
    for n in range(20):
        tally.add("tap", msgspec.structs.replace(finding, id=f"f-{n}", check=f"check-{n}"))
    assert len(tally.findings) <= 6 and tally.findings["tap", "other", "other"] == 16
    tally.add("tap", msgspec.structs.replace(finding, id="f-x", severity="02:00:00:00:0e:01"))
    assert not [labels for labels in tally.findings if "02:00:00:00:0e:01" in labels]
