"""A peer whose codec has tables of its own is named as such, from its bytes to the finding."""

from __future__ import annotations

from typing import Any

import pytest
from casebook import SETTINGS, play
from lab import Lab

from plugtap.protocols import exi
from plugtap.protocols.exi import variants
from plugtap.protocols.exi.encoder import encode_with
from plugtap.protocols.exi.tables import grammar

HEADER = {"SessionID": "AD4A12C3F4D2A989", "TimeStamp": 1700000000}
CONNECT = {"ACDP_ConnectRes": {"Header": HEADER, "ResponseCode": "OK", "EVSEProcessing": "Finished", "EVSEElectricalChargingDeviceStatus": "State_C", "EVSEMechanicalChargingDeviceStatus": "EndPosition"}}
POSITION = {"WPT_FinePositioningReq": {"Header": HEADER, "EVProcessing": "Finished", "EVResultCode": "EVResultSuccess"}}


def session(schema: str, content: dict[str, Any], payload: bytes) -> Lab:
    """A session with one such message in it."""
    name = next(iter(content))
    lab = Lab.good("iso20-dc")
    return lab.insert_after("AuthorizationRes", 0, lab.message(name, raw=payload))


@pytest.mark.parametrize(("schema", "content"), [("iso20acdp", CONNECT), ("iso20wpt", POSITION)])
def test_named(schema: str, content: dict[str, Any]) -> None:
    name = next(iter(content))
    foreign = encode_with(grammar(schema, variants.LIBCBV2G), content)
    standard = exi.encode(schema, content)
    assert foreign != standard
    found = play(session(schema, content, foreign).items(), "exi-decode-error", SETTINGS).findings
    (finding,) = [f for f in found if f.check == "exi-decode-error"]
    assert finding.severity == "info"
    assert name in finding.detail and "libcbv2g" in finding.detail and "libcbv2g" in finding.cause
    assert finding.side == ("EVCC" if name.endswith("Req") else "SECC")
    quiet = play(session(schema, content, standard).items(), "exi-decode-error", SETTINGS).findings
    assert [f for f in quiet if f.check == "exi-decode-error"] == []
