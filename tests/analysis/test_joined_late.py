"""A session joined after its handshake: what was read by a wrong guess is put right once the schema is known."""

from __future__ import annotations

import pytest
from casebook import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.protocols import exi
from plugtap.protocols.events import Redecoded
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


def test_a_message_read_by_the_wrong_schema_no_longer_counts() -> None:
    lab = raw(late(), "CableCheckReq", OTHER)
    result = lab.run()
    assert "SessionStopReq" in late().run().session.messages
    assert result.session.messages["SessionStopReq"] == late().run().session.messages["SessionStopReq"]
    assert result.session.protocol == "din"
    [found] = result.of("exi-decode-error")
    assert (found.severity, found.effect, found.side) == ("info", "unknown", "EVCC")
    assert "schema din" in found.detail


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
