"""A pair of simulators that nobody here wrote (tools/peer_pair), and the comparison with their logs itself."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
SECONDS = 1500

# What must be among the sessions, with the least number of messages that plugtap reads of it.
PLAIN = {"din-dc": 40, "iso2-dc": 40, "iso2-ac": 30, "iso20-dc": 50, "iso20-ac": 40, "iso20-dc-bpt": 50, "iso20-ac-bpt": 40}
ENCRYPTED = {"iso2-ac-pnc-tls": 0x0303, "iso20-dc-tls": 0x0304}
FAULTY = ("din-slow-secc", "iso2-no-protocol", "iso2-other-root", "iso2-tls-refused")


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """All sessions, run once."""
    command = [sys.executable, str(TOOLS / "peer_pair"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode in (0, 1), done.stderr
    tree: dict[str, Any] = json.loads(done.stdout)
    return tree


@pytest.fixture(scope="module")
def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["case"]: row for row in result["rows"]}


@pytest.mark.slow
def test_the_daemon_said_what_its_archive_says(result: dict[str, Any]) -> None:
    assert result["replay"] == []
    assert result["daemon_exit"] == 0
    assert result["daemon_complaints"] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [*PLAIN, *ENCRYPTED, *FAULTY])
def test_plugtap_and_the_logs_agree(rows: dict[str, dict[str, Any]], case: str) -> None:
    row = rows[case]
    assert row["differences"] == []
    assert row["simulator_errors"] == [] or case in FAULTY or case.startswith("iso20-ac")
    if case not in FAULTY:
        assert row["logs"] == "completed" and row["known"] == []
        assert row["payloads"] == row["messages"]["secc"] == row["messages"]["evcc"]


@pytest.mark.slow
@pytest.mark.parametrize("case", PLAIN)
def test_sessions_in_the_clear_are_completed(rows: dict[str, dict[str, Any]], case: str) -> None:
    row = rows[case]
    assert row["outcome"] == "completed" and row["reached"] == "charging"
    assert row["messages"]["plugtap"] >= PLAIN[case]
    assert row["energy"] == case.partition("-")[2]


@pytest.mark.slow
@pytest.mark.parametrize("case", ENCRYPTED)
def test_tls_is_recognised(rows: dict[str, dict[str, Any]], case: str) -> None:
    row = rows[case]
    assert row["tls"]["version"] == ENCRYPTED[case]
    assert row["messages"]["secc"] >= 30
    assert [f for f in row["findings"] if f["severity"] == "error"] == []


# --- the comparison finds what differs --------------------------------------------------------------------------------

LOG = """\
INFO    2026-01-01 00:00:00,000 - iso15118.shared.exi_codec (248): Message to encode (ns=Namespace.SAP): {"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}}
DEBUG    2026-01-01 00:00:00,000 - iso15118.shared.exi_codec (261): EXI-encoded message: 80400040
INFO    2026-01-01 00:00:00,000 - iso15118.shared.comm_session (431): Sent supportedAppProtocolRes
DEBUG    2026-01-01 00:00:00,000 - iso15118.shared.exi_codec (285): EXI-encoded message (ns=Namespace.DIN_MSG_DEF): 809a004011d01a08b7774e558000
INFO    2026-01-01 00:00:00,000 - iso15118.shared.exi_codec (302): Decoded message (ns=Namespace.DIN_MSG_DEF): {"V2G_Message":{"Header":{"SessionID":"00"},"Body":{"SessionSetupReq":{"EVCCID":"822DDDD39560"}}}}
INFO    2026-01-01 00:00:00,000 - iso15118.shared.comm_session (235): SessionSetupReq received
INFO    2026-01-01 00:00:00,000 - iso15118.shared.exi_codec (248): Message to encode (ns=Namespace.XML_DSIG): {"SignedInfo": {}}
INFO    2026-01-01 00:00:00,000 - iso15118.shared.comm_session (399): Reason: Communication session stopped successfully
"""


@pytest.fixture
def peer_logs() -> Iterator[ModuleType]:
    """tools/peer_logs.py, which is no package."""
    sys.path.insert(0, str(TOOLS))
    import peer_logs  # type: ignore[import-not-found,unused-ignore]

    yield peer_logs
    sys.path.remove(str(TOOLS))


def line(side: str, message: str, content: Any) -> dict[str, Any]:
    return {"frame": 7, "side": side, "message": message, "content": content}


def test_a_log_is_read_in_order(peer_logs: ModuleType) -> None:
    log = peer_logs.read_log(LOG, "SECC")
    assert log.names == ["SECC supportedAppProtocolRes", "EVCC SessionSetupReq"]
    assert [m.received for m in log.messages] == [False, True]
    assert log.messages[1].schema == "din" and log.messages[1].exi.hex() == "809a004011d01a08b7774e558000"
    assert log.success and log.errors == []
    assert peer_logs.compare_payloads(log, peer_logs.Log()) == (1, [])


def test_a_payload_that_decodes_to_something_else_is_found(peer_logs: ModuleType) -> None:
    log = peer_logs.read_log(LOG.replace('"EVCCID":"822D', '"EVCCID":"822E'), "SECC")
    count, found = peer_logs.compare_payloads(log, peer_logs.Log())
    assert count == 1 and len(found) == 1 and "/EVCCID" in found[0]
    cut = peer_logs.read_log(LOG.replace("809a004011d0", "809a00"), "SECC")
    assert len(peer_logs.compare_payloads(cut, peer_logs.Log())[1]) == 1


def test_differences_in_order_and_content_are_found(peer_logs: ModuleType) -> None:
    log = peer_logs.read_log(LOG, "SECC")
    setup = log.messages[1].content
    good = [line("SECC", "supportedAppProtocolRes", {}), line("EVCC", "SessionSetupReq", setup)]
    same = peer_logs.Log(messages=[*log.messages])
    assert peer_logs.compare_messages(same, log, good) == []
    assert "2 messages, plugtap 1" in peer_logs.compare_messages(same, log, good[:1])[0]
    assert "message 1: log SECC supportedAppProtocolRes, plugtap EVCC SessionSetupReq" in peer_logs.compare_messages(same, log, good[::-1])[0]
    other = {"V2G_Message": {"Header": {"SessionID": "00"}, "Body": {"SessionSetupReq": {"EVCCID": "822DDDD39561"}}}}
    (found, again) = peer_logs.compare_messages(same, log, [good[0], line("EVCC", "SessionSetupReq", other)])
    assert found == again and "'822DDDD39560', plugtap '822DDDD39561'" in found
    # One that gave up logs less.
    short = peer_logs.Log(messages=log.messages[:1])
    assert peer_logs.compare_messages(short, log, good, gave_up=True) == []
    assert len(peer_logs.compare_messages(short, log, good)) == 1


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ({"a": {"Id": "x", "value": "t"}}, {"a": {"@Id": "x", "#text": "t"}}, True),
        ({"a": "AQI="}, {"a": "0102"}, True),
        ({"a": "AQI="}, {"a": "0103"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": 1}, False),
        ({"a": {}}, {"a": {}}, True),
        ({"a": {}}, {}, False),
    ],
)
def test_trees_are_compared_value_by_value(peer_logs: ModuleType, theirs: Any, ours: Any, same: bool) -> None:
    assert (peer_logs.content_differences(theirs, ours) == []) is same
