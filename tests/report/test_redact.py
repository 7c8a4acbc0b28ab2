
"""Redaction: no identity survives anywhere in a report, equal identities stay equal, nothing else changes."""

from __future__ import annotations

import ipaddress
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding, Value, Verdict
from plugtap.report.redact import MARK, Redactor
from plugtap.sessions.records import Coverage

REDACTOR = Redactor(b"k" * 32)
MAC = "02:00:00:12:34:56"


def report(detail: str) -> SessionReport:
    session = "s-0123456789abcdef"
    finding = Finding(
        id="f-00112233445566aa", session=session, check="slac-parm", severity="error", class_="timeout", effect="none", side="EVCC",
        certainty="sure", time="2026-11-22T10:33:00.123456789Z", t=1.0, frame=3, frames=(3,), last_time="2026-11-22T10:33:00.123456789Z",
        title="t", detail=detail, cause="c", fix="f", values={"id": Value("WMIV1234567890ABCDEX"), "u": Value(400.5, "V")},
    )  # fmt: skip
    return SessionReport(
        id=session, start="2026-11-22T10:33:00.000000000Z", first_frame=1, last_frame=3,
        evcc={"mac": MAC, "ip": "fe80::12ff:fe34:5678", "evccid": "WMIV1234567890ABCDEX", "vendor": "ACME"},
        secc={"mac": "02:00:00:aa:bb:cc", "ip": None, "evseid": "DE*ABC*E123456789012", "vendor": None},
        verdict=Verdict(summary=f"{MAC} stopped"), coverage=Coverage(), findings=(finding,),
    )  # fmt: skip


def test_a_report_holds_no_identity_afterwards() -> None:
    secrets = [
        MAC, "020000123456", "WMIV1234567890ABCDEX", "12ff:fe34:5678", "A1A2A3A4A5A6A7A8", "000102030405060708090a0b0c0d0e0f",
        "DE-8AA-C1234567-8", "1A2B3C4D", "02-00-00-12-34-56",
    ]  # fmt: skip
    detail = (
        f"{MAC}: sent SessionID 1A2B3C4D (RunID a1a2a3a4a5a6a7a8, NMK 000102030405060708090a0b0c0d0e0f) from [fe80::12ff:fe34:5678]:49152 "
        "as 020000123456 / 02-00-00-12-34-56, EVCCID WMIV1234567890ABCDEX, eMAID DE-8AA-C1234567-8, 0xA1A2A3A4A5A6A7A8"
    )
    before = report(detail)
    after = REDACTOR.struct(before)
    text = msgspec.json.encode(after).decode().lower()
    assert [secret for secret in secrets if secret.lower() in text] == []
    # What is no identity stays.
    assert after.id == before.id and after.findings[0].id == before.findings[0].id
    assert after.findings[0].session == before.id
    assert after.start == before.start and after.findings[0].time == before.findings[0].time
    assert after.secc["evseid"] == "DE*ABC*E123456789012" and after.evcc["vendor"] == "ACME"
    assert after.findings[0].values["u"] == Value(400.5, "V")
    # The same MAC has one hash, in its field and in every spelling.
    assert after.evcc["mac"] == REDACTOR.value("020000123456") == REDACTOR.value("02-00-00-12-34-56")
    assert after.verdict.summary == f"{after.evcc['mac']} stopped"
    assert after.evcc["ip"] == "fe80::" + REDACTOR.value("000012fffe345678")
    assert "[fe80::h:" in after.findings[0].detail and "]:49152" in after.findings[0].detail


def test_redacting_twice_changes_nothing_more() -> None:
    once = REDACTOR.struct(report(f"{MAC} fe80::1:2:3:4 SessionID 1A2B3C4D5E6F7788"))
    assert REDACTOR.struct(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "CM_SLAC_MATCH.CNF after 0.412 s (limit 0.2 s, TT_match_response)", "frame 337 at 2026-11-22T10:33:00.123456789Z",
        "s-0123456789abcdef resumed", "EVSEID DE*ABC*E123456*1", "ff:ff:ff:ff:ff:ff", "ff02::1", "[V2G2-440] 400 V, 125 A", "::",
        "SessionID is missing", "the SessionID of the answer is not that of the request", "RunID changed", "0x8001", "port 15118",
        "the NMK was not seen", "PowerDeliveryRes: FAILED_PowerDeliveryNotApplied", "DIN SPEC 70121:2014-12", "EVCCID of 6 bytes",
    ],
)  # fmt: skip
def test_texts_without_identity_stay(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_key_decides() -> None:
    assert Redactor(b"a" * 32).value(MAC) != Redactor(b"b" * 32).value(MAC)


def test_keys_of_a_tree_and_unknown_values() -> None:
    tree = {MAC: {"SessionID": "01020304", "other": [None, 3, MAC, True]}, "content": {"Body": {"EVCCID": "0200AA"}}}
    after = REDACTOR.tree(tree)
    (key,) = [key for key in after if key != "content"]
    assert key == REDACTOR.value(MAC)
    assert after[key] == {"SessionID": REDACTOR.value("01020304"), "other": [None, 3, key, True]}
    assert after["content"]["Body"]["EVCCID"].startswith(MARK)


WORDS = st.text(alphabet="abcxyz .,:;()[]=-/\"'", max_size=12)


@given(
    mac=st.binary(min_size=6, max_size=6).filter(lambda m: m not in (bytes(6), b"\xff" * 6)),
    before=WORDS,
    after=WORDS,
    sep=st.sampled_from([":", "-"]),
)
def test_no_mac_survives_in_any_text(mac: bytes, before: str, after: str, sep: str) -> None:
    text = f"{before} {mac.hex(sep)}{after}"
    assert mac.hex(sep) not in REDACTOR.text(text)


@given(
    address=st.integers(0, (1 << 128) - 1)
    .map(ipaddress.IPv6Address)
    .filter(lambda a: not (a.is_multicast or a.is_loopback) and int(a) & (1 << 64) - 1 > 0xFFFFFFFF),
    wrap=st.sampled_from(["{}", "[{}]:15118", "from {} to", "({})", "{}, x"]),
)
def test_no_interface_id_survives(address: ipaddress.IPv6Address, wrap: str) -> None:
    after = REDACTOR.text(wrap.format(address))
    assert str(address) not in after
    assert REDACTOR.value(f"{int(address) & (1 << 64) - 1:016x}") in after


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_tree_keeps_its_shape_and_is_stable(tree: object) -> None:
    after = REDACTOR.tree(tree)
    assert json.dumps(REDACTOR.tree(after)) == json.dumps(after)
