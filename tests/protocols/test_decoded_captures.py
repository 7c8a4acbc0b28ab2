"""Every message of every real capture against an independent codec's decode of it (EXIficient, ../shared/captures/decoded).

Compared are the messages of a capture as a multiset, in the canonical form of ../shared/tools/canon.py: the reference numbers frames otherwise
after a hole in a TCP stream. Each difference there is has its cause here.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugtap.hw.files import read_items
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.stack import Stack

Messages = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """How many messages of which name only the reference has, and only we have."""

    cause: str
    theirs: dict[str, int] = field(default_factory=dict)
    ours: dict[str, int] = field(default_factory=dict)


NO_SCHEMA_ID = "the reference went through Java objects, which make SchemaID 0 of one that is not on the wire"
NUL = "64 NUL characters in ServiceScope: the reference fails, because XML cannot hold them"
OTHER_SCHEMA = "the reference decoded with ISO 15118-2 what was sent, and negotiated, as DIN 70121"
DAMAGED = (
    "the log has bit-damaged TCP headers and payloads: we take the segments that are whole where they stand (all of the messages that only we have stand in one "
    "segment each), the reference's reassembly loses them; and it leaves out an empty EVSENotification, and decodes one damaged DIN message with -2"
)
DIFFERENCES = {
    "EQC/iso-15118-2-DC/2023-04-12T09-01-48.230Z": Difference(NO_SCHEMA_ID, {"supportedAppProtocolRes": 2}, {"supportedAppProtocolRes": 2}),
    "iso15118-2/2023-03-30T11-11-20.331Z-tesla_y": Difference(NO_SCHEMA_ID, {"supportedAppProtocolRes": 1}, {"supportedAppProtocolRes": 1}),
    "2023-03-30T06-36-03.571Z_car_stops_soc": Difference(NUL, {}, {"ServiceDiscoveryReq": 1}),
    "2023-03-30T06-29-19.281Z_iso2": Difference(NUL, {}, {"ServiceDiscoveryReq": 1}),
    "2023-04-16_at_home_Ioniq": Difference(OTHER_SCHEMA, {"WeldingDetectionReq": 1}, {"ChargeParameterDiscoveryRes": 1}),
    "2023-04-24_atHome_Ioniq": Difference(OTHER_SCHEMA, {"WeldingDetectionReq": 2}, {"ChargeParameterDiscoveryRes": 2}),
    "2024-05-09_clara_Qingdao": Difference(DAMAGED, {"PreChargeRes": 1, "WeldingDetectionReq": 1}, {"PreChargeReq": 5, "PreChargeRes": 7}),
}


@pytest.fixture(scope="module")
def canon(captures: Path) -> Callable[[Any], Any]:
    spec = importlib.util.spec_from_file_location("canon", captures.parent / "tools" / "canon.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Any], Any] = module.canon
    return function


def names(messages: Messages) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (name, _), count in messages.items():
        found[name] += count
    return dict(found)


def decoded(path: Path, canon: Callable[[Any], Any]) -> tuple[Messages, dict[tuple[str, str], bytes]]:
    """Our messages, and the payload of each."""
    messages: Messages = Counter()
    payloads = {}
    stack = Stack()
    t = frame = 0
    events: list[Any] = []
    for item in read_items(str(path)):
        t, frame = max(t, item.t), max(frame, getattr(item, "number", 0))
        events += stack.feed(item)
    for event in [*events, *stack.finish(t, frame)]:
        if isinstance(event, V2gMessage) and event.message is not None:
            key = event.message, json.dumps(canon(event.content))
            messages[key] += 1
            payloads[key] = event.exi
    return messages, payloads


def reference(path: Path, canon: Callable[[Any], Any]) -> Messages:
    messages: Messages = Counter()
    if path.exists():
        with gzip.open(path, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                if row["msg"] is not None:
                    messages[row["msg"], json.dumps(canon(row["d"]))] += 1
    return messages


@pytest.mark.slow
def test_every_message_of_every_capture(captures: Path, canon: Callable[[Any], Any]) -> None:
    files = captures / "files"
    wrong, met = [], set()
    total = equal = 0
    for path in sorted(p for p in files.rglob("*") if p.is_file()):
        name = str(path.relative_to(files))
        theirs = reference(captures / "decoded" / f"{name.replace('/', '__')}.jsonl.gz", canon)
        ours, payloads = decoded(path, canon)
        total += theirs.total()
        equal += (theirs & ours).total()
        key = next((key for key in DIFFERENCES if key in name), "")
        known = DIFFERENCES[key] if key else Difference("")
        met.add(key)
        only_theirs, only_ours = theirs - ours, ours - theirs
        if names(only_theirs) != known.theirs or names(only_ours) != known.ours:
            wrong.append(f"{name}: only the reference has {names(only_theirs)}, only we have {names(only_ours)}; known: {known}")
        if known.cause == NO_SCHEMA_ID:
            assert {text.replace(', "SchemaID": "0"', "") for _, text in only_theirs} == {text for _, text in only_ours}
        if known.cause == DAMAGED:
            raw = path.read_bytes()
            assert all(payloads[key] in raw for key in only_ours)
    assert not wrong, "\n".join(wrong)
    assert met - {""} == set(DIFFERENCES)
    assert total > 70_000
    assert total - equal == sum(sum(d.theirs.values()) for d in DIFFERENCES.values())
