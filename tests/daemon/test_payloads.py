"""What leaves by MQTT and log: enriched, redacted, and never too large."""

from __future__ import annotations

import json

import msgspec
import pytest
from lab import Lab

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding
from plugtap.daemon.mqtt import MAX_PAYLOAD
from plugtap.daemon.payloads import Payloads, pilot_state
from plugtap.protocols.items import CpRecord
from plugtap.report.redact import Redactor

RESULT = Lab.good("din-dc").stop_after("PreChargeReq", 1).run()
SESSION = RESULT.session
FINDING = RESULT.findings[0]
SHOWN = Payloads("depot", None, max_bytes=MAX_PAYLOAD)
REDACTED = Payloads("depot", Redactor(b"k" * 32), max_bytes=MAX_PAYLOAD)


def test_objects_of_the_contract_with_site_tap_and_archive() -> None:
    tree = SHOWN.output("garage", "garage-x", SESSION)
    assert (tree["site"], tree["tap"], tree["format"], tree["type"]) == ("depot", "garage", 1, "session")
    assert tree["archive"] == {"id": "garage-x", "frames": [SESSION.first_frame, SESSION.last_frame]}
    assert tree["evcc"]["mac"] == "02:00:00:00:0e:01"
    finding = SHOWN.output("garage", "garage-x", FINDING)
    assert finding["type"] == "finding" and finding["archive"]["frames"] == list(FINDING.frames)
    assert SHOWN.bounded(tree) == msgspec.json.encode(tree), "what fits is not changed"


def test_identities_are_redacted_everywhere() -> None:
    payloads = [REDACTED.bounded(REDACTED.output("garage", "a", output)) for output in (SESSION, *RESULT.findings)]
    payloads.append(REDACTED.state("garage", SESSION))
    for payload in payloads:
        text = payload.decode().lower()
        assert not [s for s in ("02:00:00:00:0e:01", "02:00:00:00:05:01", "020000000e01", "fe80::ff:") if s in text]
    tree = json.loads(payloads[0])
    assert tree["evcc"]["mac"].startswith("h:") and tree["id"] == SESSION.id


def finding(text: str) -> Finding:
    return msgspec.structs.replace(FINDING, detail=text)


@pytest.mark.parametrize("count", [1, 50, 2000])
@pytest.mark.parametrize("length", [10, 2_000, 300_000])
def test_nothing_is_larger_than_a_broker_takes(count: int, length: int) -> None:
    session = msgspec.structs.replace(
        SESSION,
        findings=tuple(finding("x" * length) for _ in range(count if length < 10_000 else 3)),
        messages={f"Message{n}": n for n in range(count * 3)},
        slac={"attenuation_db": [1] * count * 50, "text": "y" * length},
    )
    payload = SHOWN.bounded(SHOWN.output("garage", "a", session))
    assert len(payload) <= MAX_PAYLOAD
    tree = json.loads(payload)
    assert tree["id"] == SESSION.id and tree["site"] == "depot" and tree["outcome"] == SESSION.outcome
    assert ("truncated" in tree) == (len(msgspec.json.encode(session)) > MAX_PAYLOAD - 200)
    alone = SHOWN.bounded(SHOWN.output("garage", "a", finding("z" * length)))
    assert len(alone) <= MAX_PAYLOAD and json.loads(alone)["id"] == FINDING.id


def test_state_is_small_and_says_what_is_going_on() -> None:
    assert json.loads(SHOWN.state("garage", None))["state"] == "idle"
    tree = json.loads(SHOWN.state("garage", SESSION))
    assert tree["session"]["id"] == SESSION.id and tree["session"]["reached"] == "pre-charge"
    still = msgspec.structs.replace(SESSION, state="open")
    assert json.loads(SHOWN.state("garage", still))["state"] == "session"
    assert isinstance(still, SessionReport)


@pytest.mark.parametrize(
    ("levels", "state"),
    [
        ((12000, 12000, 10000), "A1"), ((9000, 9000, 10000), "B1"), ((9000, -12000, 500), "B2"), ((6000, -12000, 500), "C2"),
        ((3000, -12000, 1000), "D2"), ((0, 0, 0), "E"), ((-12000, -12000, 0), "F"),
    ],
)  # fmt: skip
def test_pilot_states(levels: tuple[int, int, int], state: str) -> None:
    hi, lo, duty = levels
    record = CpRecord(10**18, 1, hi, lo, duty, 10000 if lo < hi else 0)
    assert pilot_state(record) == state
    tree = json.loads(SHOWN.pilot("garage", record))
    assert tree["state"] == state and tree["hi_v"] == hi / 1000 and tree["time"].endswith("Z")
