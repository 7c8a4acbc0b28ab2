"""A session joined after its handshake: what was read by a wrong guess is put right once the schema is known."""

from __future__ import annotations

import pytest
from casebook import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.checks.finding import Finding
from plugtap.protocols import exi
from plugtap.protocols.events import Redecoded
from plugtap.protocols.items import Frame
from plugtap.sessions.session import Session
from v2g_scenes import header, raw

HEADER = {"SessionID": "A1B2C3D4E5F60718"}
OTHER = exi.encode("iso2", {"V2G_Message": {"Header": HEADER, "Body": {"SessionStopReq": {"ChargingSession": "Terminate"}}}})


def late(name: str = "din-dc") -> Lab:
    """From the first CableCheckReq on."""
    lab = Lab.good(name, pilot=False)
    first = lab.find("CableCheckReq")[0]
    lab.steps = lab.steps[next(i for i, step in enumerate(lab.steps) if step is first) :]
    return lab


def typed(lab: Lab) -> Lab:
    """The first exchange in the payload type of ISO 15118-20."""
    for name in ("CableCheckReq", "CableCheckRes"):
        header(lab, name, 0, payload_type=0x8004)
    return lab


@pytest.mark.parametrize("name", ["din-dc", "iso2-dc"])
def test_messages_of_the_wrong_type_count_as_what_they_were(name: str) -> None:
    plain, odd = late(name).run(), typed(late(name)).run()
    assert odd.session.messages == plain.session.messages
    assert (odd.session.protocol, odd.session.outcome) == (plain.session.protocol, plain.session.outcome)


def test_a_whole_message_of_another_schema_is_no_damage() -> None:
    result = raw(late(), "CableCheckReq", OTHER).run()
    assert result.session.protocol == "din"
    assert result.of("exi-decode-error") == []


def test_another_connection_on_the_same_ports_is_no_damage() -> None:
    """Two messages of ISO 15118-2, whose end the tap missed, then a DIN handshake on the same ports: the first stay what they were."""
    lab = Lab.good("din-dc", pilot=False, slac=False)
    lab.steps = [step for step in lab.steps if step.kind == "v2g"]
    before = [lab.message("CableCheckReq", raw=OTHER), lab.message("CableCheckReq", raw=OTHER)]
    lab.steps = [*before, *lab.steps]
    result = lab.run()
    assert result.of("exi-decode-error") == []
    assert sum(session.messages.get("SessionStopReq", 0) for session in result.sessions) == 3


BROKEN = OTHER[:1] + bytes([77 << 1]) + bytes([255] * 6)  # says DIN and is none


def test_damage_is_told_as_soon_as_the_schema_is_proven() -> None:
    """Before, with the first message after three that spoke for it; from then on at once. Each at the time of the message."""
    lab = raw(raw(late(), "CableCheckReq", BROKEN, 1), "CurrentDemandReq", BROKEN, 5)
    items = lab.items()
    analysis = Analysis(sources=("plc",))
    told: list[tuple[int, int]] = []  # frame fed, count
    for item in items:
        told += [(item.number, o.count) for o in analysis.feed(item) if isinstance(o, Finding) and o.check == "exi-decode-error"]
    broken = [i.number for i in items if isinstance(i, Frame) and BROKEN in i.data]
    assert len(broken) == 2 and [count for _, count in told[:2]] == [1, 2]
    assert broken[0] < told[0][0] < broken[1] and told[1][0] - broken[1] <= 3
    assert not analysis.engine.failures


def test_ticks_change_nothing() -> None:
    """Live, where ticks come between, as from a file."""
    items = typed(raw(late(), "CurrentDemandReq", BROKEN, 1)).items()
    reports = []
    for extra in (0, 1, 50):
        analysis = Analysis(sources=("plc",))
        for item in items:
            analysis.feed(item)
            for _ in range(extra):
                analysis.tick(item.t)
        analysis.finish(items[-1].t)
        reports.append(analysis.reports())
    assert reports[0] == reports[1] == reports[2]


def test_a_guess_that_becomes_right_is_no_finding() -> None:
    """Neither while it lasts nor afterwards."""
    lab = typed(late())
    assert lab.run().of("exi-decode-error") == []


def test_checks_hear_of_it_once() -> None:
    items = typed(late()).items()
    analysis = Analysis(sources=("plc",))
    heard: list[tuple[str | None, str | None]] = []
    given = analysis._tracker._notify

    def notify(session: Session, event: object) -> None:
        if isinstance(event, Redecoded):
            heard.append((event.message_before, event.message.message))
        given(session, event)  # type: ignore[arg-type]

    analysis._tracker._notify = notify
    for item in items:
        analysis.feed(item)
    assert [new for _, new in heard] == ["CableCheckReq", "CableCheckRes"]
    assert not analysis.engine.failures
