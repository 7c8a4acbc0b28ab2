"""Checks of supportedAppProtocol, EXI and V2GTP from bytes."""

from __future__ import annotations

from typing import Any

import pytest
from casebook import SETTINGS, Case, Lab, assert_fires, assert_gap, assert_quiet, book, good, play
from lab import DROP
from lab_good import NAMESPACE, SESSION_ID
from v2g_scenes import contract, ends, header, raw

from plugtap.protocols.exi import encode

VENDOR = "urn:tesla:din:2018:MsgDef"
SAP = ("supportedAppProtocolReq", 0)
REQ, RES = "supportedAppProtocolReq", "supportedAppProtocolRes"


def offer(namespace: str, schema: int, priority: int, major: int = 2) -> dict[str, Any]:
    """An AppProtocol entry."""
    return {"ProtocolNamespace": namespace, "VersionNumberMajor": major, "VersionNumberMinor": 0, "SchemaID": schema, "Priority": priority}


def refused(**fields: Any) -> Lab:
    made = Lab.good("din-dc").replace(RES, 0, ResponseCode="Failed_NoNegotiation", **fields)
    return ends(made, RES)


def offering(*entries: dict[str, Any], schema: int = 0) -> Lab:
    return Lab.good("din-dc").sap(*entries).replace(RES, 0, SchemaID=schema)


def padded() -> Lab:
    body = {"V2G_Message": {"Header": {"SessionID": SESSION_ID}, "Body": {"ContractAuthenticationReq": {}}}}
    return raw(Lab.good("din-dc"), "ContractAuthenticationReq", encode("din", body) + b"\0\0")


def with_emaid(emaid: str) -> Lab:
    return contract(Lab.good("iso2-dc"), challenge="AAECAwQFBgcICQoLDA0ODw==", emaid=emaid)


CASES = book(
    Case(
        "sap-failed-nonegotiation", lambda: refused(SchemaID=DROP), SAP, "SECC", "accepts none of the protocols", {"offers": 1}, (REQ, RES), "error",
    ),
    Case(
        "sap-failed-nonegotiation-with-schemaid", refused, SAP, "SECC", "names SchemaID 0", {"SchemaID": 0}, (RES,), "warning",
        quiet=lambda: refused(SchemaID=DROP),
    ),
    Case(
        "sap-ok-without-schemaid", lambda: ends(Lab.good("iso2-dc").replace(RES, 0, SchemaID=DROP), RES, by="EVCC"), SAP, "SECC",
        "2 protocols were offered", {"offers": 2}, (REQ, RES), "error",
    ),
    Case(
        "sap-schemaid-not-offered", lambda: ends(Lab.good("iso2-dc").replace(RES, 0, SchemaID=9), RES, by="EVCC"), SAP, "SECC", "chose SchemaID 9",
        {"SchemaID": 9}, (REQ, RES), "error",
    ),
    Case(
        "sap-wrong-priority", lambda: ends(Lab.good("iso2-dc").replace(RES, 0, SchemaID=1), RES, by="EVCC"), SAP, "SECC",
        "chose urn:din:70121:2012:MsgDef (priority 2)", {"Priority": 2}, (REQ, RES), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "sap-minor-deviation", lambda: Lab.good("din-dc").replace(RES, 0, ResponseCode="OK_SuccessfulNegotiationWithMinorDeviation"), SAP, "SECC",
        "2.0 with minor deviation", {}, (RES,), "info",
    ),
    Case(
        "sap-major-mismatch", lambda: offering(offer(NAMESPACE["din"], 0, 1, major=1)), SAP, "EVCC", "offered as version 1, expected is 2",
        {"VersionNumberMajor": 1}, (REQ,), "warning",
    ),
    Case(
        "sap-duplicate-schemaid", lambda: offering(offer(NAMESPACE["din"], 3, 1), offer(NAMESPACE["iso2"], 3, 2), schema=3), SAP, "EVCC",
        "Several entries have SchemaID 3", {"SchemaID": ["3"]}, (REQ,), "warning",
    ),
    Case("sap-iso20-on-plain", good("iso20-dc"), SAP, "EVCC", "without TLS", {"TLS": "none"}, (REQ,), "warning"),
    Case(
        "sap-only-private", lambda: ends(offering(offer(VENDOR, 0, 1)), REQ), SAP, "EVCC", "Only unknown protocols", {"offers": 1}, (REQ,), "error",
    ),
    Case(
        "sap-vendor-protocol-first", lambda: offering(offer(VENDOR, 1, 1), offer(NAMESPACE["din"], 0, 2)), SAP, "EVCC", "has priority 1",
        {"ProtocolNamespace": VENDOR}, (REQ,), "info",
    ),
    Case(
        "sap-repeated",
        lambda: (made := Lab.good("din-dc")).insert_after(
            "SessionSetupRes", 0, made.message(REQ, {"AppProtocol": [offer(NAMESPACE["din"], 0, 1)]}), made.message(RES, {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 0})
        ),
        ("SessionSetupReq", 0), "EVCC", "negotiates again", {}, (REQ,),
    ),
    Case(
        "exi-decode-error", lambda: raw(Lab.good("din-dc"), "ServiceDiscoveryRes", bytes.fromhex("809a021084")), ("ServiceDiscoveryReq", 0), "SECC",
        "cannot be decoded", {"schema": "din"}, ("undecoded",),
    ),
    Case(
        "exi-header-cookie", lambda: raw(Lab.good("din-dc"), "ServiceDiscoveryReq", b"$EXI\x80\x9a\x02"), ("ServiceDiscoveryReq", 0), "EVCC",
        "begins with 0x24", {"header": "0x24"}, ("undecoded",),
    ),
    Case(
        "exi-schema-violation", lambda: Lab.good("iso2-dc").replace("CurrentDemandRes", 3, {"MeterInfo.MeterID": "M" * 40}), ("CurrentDemandRes", 2), "SECC",
        "length 40, at most 32", {}, ("CurrentDemandRes",), "info", quiet=good("iso2-dc"),
    ),
    Case("v2gtp-trailing-bytes", padded, ("ContractAuthenticationReq", 0), "EVCC", "bytes after the end", {}, ("ContractAuthenticationReq",), "info"),
    Case(
        "exi-evseid-format", lambda: Lab.good("iso2-dc").replace("SessionSetupRes", 0, EVSEID="DE*PNX*123"), ("SessionSetupReq", 0), "SECC", "AA*AAA*999",
        {"form": "AA*AAA*999"}, ("SessionSetupRes",), "info", quiet=good("iso2-dc"),
    ),
    Case(
        "exi-evccid-length", lambda: Lab.good("din-dc").replace("SessionSetupReq", 0, EVCCID="0200"), SAP, "EVCC", "has 2 bytes", {"length": 2},
        ("SessionSetupReq",), "info",
    ),
    Case(
        "exi-emaid-syntax", lambda: with_emaid("DE123"), ("SessionSetupReq", 0), "EVCC", "has the form AA999 (5 characters)", {"length": 5},
        ("PaymentDetailsReq",), "info", quiet=lambda: with_emaid("DEABC123456789Y"),
    ),
    Case(
        "exi-namespace-vendor", lambda: offering(offer(NAMESPACE["din"], 0, 1), offer(VENDOR, 1, 2)), SAP, "EVCC", f"also offers {VENDOR}",
        {"ProtocolNamespace": [VENDOR]}, (REQ,), "info",
    ),
    Case(
        "v2gtp-version", lambda: header(Lab.good("din-dc"), "ServiceDiscoveryReq", version=2), ("ServiceDiscoveryReq", 0), "EVCC", "bytes skipped", {},
        ("data",), None,
    ),
    Case(
        "v2gtp-payload-type", lambda: header(Lab.good("din-dc"), "ServiceDiscoveryReq", payload_type=0x9001), ("ServiceDiscoveryReq", 0), "EVCC",
        "0x9001", {}, ("data",), None,
    ),
    Case(
        "v2gtp-length-zero", lambda: raw(Lab.good("din-dc"), "ServiceDiscoveryReq", b""), ("ServiceDiscoveryReq", 0), "EVCC", "length 0", {}, ("data",), None,
    ),
    Case(
        "v2gtp-payload-type-vs-protocol", lambda: header(Lab.good("din-dc"), "ServiceDiscoveryReq", payload_type=0x8004), ("ServiceDiscoveryReq", 0), "EVCC",
        "din was chosen", {"payload_type": "0x8004"}, ("ServiceDiscoveryReq",), None,
    ),
    Case(
        "v2gtp-pipelined-requests", lambda: Lab.good("din-dc").drop("CableCheckRes", 0), ("CableCheckReq", 0), "EVCC",
        "CableCheckReq followed CableCheckReq", {}, ("CableCheckReq", "CableCheckRes"), "warning",
    ),
    Case(
        "v2gtp-unsolicited-response", lambda: Lab.good("din-dc").drop("CableCheckReq", 1), ("CableCheckRes", 0), "SECC",
        "CableCheckRes came after CableCheckRes", {}, ("CableCheckRes",), "warning",
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fires(case: Case) -> None:
    assert_fires(case)


@pytest.mark.parametrize("case", CASES)
def test_armed_and_quiet(case: Case) -> None:
    assert_quiet(case)


@pytest.mark.parametrize("case", CASES)
def test_gap(case: Case) -> None:
    assert_gap(case)


def surplus_answer(*, reads: bool) -> Lab:
    """CableCheckRes once too often; an EV that reads in order finds it as the answer to PreChargeReq, and closes. Another reads on."""
    made = Lab.good("din-dc").drop("CableCheckReq", -1)
    return made.stop_after("PreChargeReq" if reads else "PreChargeRes", 0).close("fin")


def test_a_surplus_answer_that_was_read_for_another_ended_the_session() -> None:
    check = "v2gtp-unsolicited-response"
    result = play(surplus_answer(reads=True).items(), check, SETTINGS)
    assert [(f.severity, f.effect) for f in result.of(check)] == [("warning", "degrades"), ("error", "stops-charging")]
    assert "as the answer to PreChargeReq" in result.of(check)[1].detail
    assert result.session.verdict.check == check and result.session.verdict.side == "SECC"


def test_a_surplus_answer_is_not_to_blame_where_the_next_request_was_answered() -> None:
    check = "v2gtp-unsolicited-response"
    result = play(surplus_answer(reads=False).items(), check, SETTINGS)
    assert [f.effect for f in result.of(check)] == ["degrades"]
    assert result.session.verdict.check is None
