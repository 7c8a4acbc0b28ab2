"""Scenes the cases of the V2G checks share."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from casebook import Lab, Step
from lab import DROP
from lab_good import ampere, volt

CLOSE_GAP = 0.05


def ends(lab: Lab, name: str, nth: int = -1, *, by: str = "SECC", how: str = "fin", gap: float = CLOSE_GAP) -> Lab:
    """The conversation stops after a message, and somebody closes."""
    return lab.stop_after(name, nth).close(how, by, gap)


def each(lab: Lab, name: str, nths: Iterable[int], changes: dict[str, Any]) -> Lab:
    """The same change in several messages."""
    for nth in nths:
        lab.replace(name, nth, changes)
    return lab


def raw(lab: Lab, name: str, data: bytes, nth: int = 0) -> Lab:
    """A message whose EXI payload is these bytes."""
    lab.find(name, nth)[0].raw = data
    return lab


def header(lab: Lab, name: str, nth: int = 0, **options: Any) -> Lab:
    """Options of a message's V2GTP header (``version``, ``payload_type``, ``length``)."""
    lab.find(name, nth)[0].header |= options
    return lab


def again(lab: Lab, name: str, nth: int = 0, gap: float | None = None, **changes: Any) -> list[Step]:
    """Copies of the messages of an exchange, with changes in the first, to insert elsewhere."""
    made = [copy.deepcopy(s) for s in lab.find(name, nth)]
    for key, value in changes.items():
        if value is DROP:
            made[0].fields.pop(key, None)
        else:
            made[0].fields[key] = value
    if gap is not None:
        made[0].gap = gap
    return made


def stop_exchange(lab: Lab) -> list[Step]:
    """SessionStop and its answer."""
    return again(lab, "SessionStop", gap=0.1)


def loop(lab: Lab, times: int, every: float = 0.25) -> Lab:
    """A longer charge loop: its last exchange `times` more."""
    return lab.repeat("CurrentDemand", -1, times, every=every)


def loops(lab: Lab, first: int, volts: float | None = None, amps: float | None = None, count: int | None = None) -> Lab:
    """What CurrentDemandRes reports from the `first` on."""
    last = len(lab.find("CurrentDemandRes")) if count is None else first + count
    changes: dict[str, Any] = {}
    if volts is not None:
        changes["EVSEPresentVoltage"] = volt(volts)
    if amps is not None:
        changes["EVSEPresentCurrent"] = ampere(amps)
    return each(lab, "CurrentDemandRes", range(first, last), changes)


def precharge(lab: Lab, volts: float, times: int) -> Lab:
    """A PreCharge that stays at one voltage, after which the EV closes."""
    lab.repeat("PreCharge", 0, times, every=0.5).replace("PreChargeRes", None, EVSEPresentVoltage=volt(volts))
    return ends(lab, "PreChargeRes", by="EVCC")


def contract(lab: Lab, *, challenge: str | None, emaid: str = "DEABC123456789Y") -> Lab:
    """A contract session: PaymentDetails after the selection, GenChallenge in the first AuthorizationReq."""
    lab.replace("PaymentServiceSelectionReq", 0, SelectedPaymentOption="Contract")
    chain = {"eMAID": emaid, "ContractSignatureCertChain": {"Certificate": "AAAA"}}
    given = {"ResponseCode": "OK", "GenChallenge": "AAECAwQFBgcICQoLDA0ODw==", "EVSETimeStamp": 1_700_000_000}
    lab.insert_after("PaymentServiceSelectionRes", 0, lab.message("PaymentDetailsReq", chain), lab.message("PaymentDetailsRes", given))
    if challenge is not None:
        lab.replace("AuthorizationReq", 0, GenChallenge=challenge)
    return lab


SIGNATURE = {
    "SignedInfo": {
        "CanonicalizationMethod": {"@Algorithm": "http://www.w3.org/TR/canonical-exi/"},
        "SignatureMethod": {"@Algorithm": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"},
        "Reference": [
            {
                "@URI": "#id1",
                "Transforms": {"Transform": [{"@Algorithm": "http://www.w3.org/TR/canonical-exi/"}]},
                "DigestMethod": {"@Algorithm": "http://www.w3.org/2001/04/xmlenc#sha256"},
                "DigestValue": "AAAA",
            }
        ],
    },
    "SignatureValue": {"#text": "AAAA"},
}
TARIFF = {
    "SalesTariffID": 1,
    "NumEPriceLevels": 1,
    "SalesTariffEntry": [{"RelativeTimeInterval": {"start": 0}, "EPriceLevel": 1}],
}
