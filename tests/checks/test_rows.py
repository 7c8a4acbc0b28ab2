"""Rows of the tables in behaviour: bytes made from what pinned.tsv believes, and what the checks say of them just within and just beyond.

A row that is moved, or loses its side or unit, then changes what is said here, not only its double entry (test_limits.py).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from casebook import Lab, Step
from lab_good import ampere, rational, value
from plugtap.checks.catalogue import load
from plugtap.config.analysis import AnalysisSettings, CheckSettings
from plugtap.protocols.exi.encoder import EncodeError
from plugtap.protocols.items import Frame
from steps import pinned, step

LABS = ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac")


# --- codes --------------------------------------------------------------------------------------------------------

CODES = {"response": ("ServiceDiscoveryRes", "ResponseCode"), "ev-error": ("PreChargeReq", "DC_EVStatus.EVErrorCode"),
         "evse-status": ("PreChargeRes", "DC_EVSEStatus.EVSEStatusCode")}  # fmt: skip
SAID_BY = {"FAILED_SequenceError": "seq-failed-sequenceerror", "FAILED_ContactorError": "sess-contactor-error", "ev-error": "status-everrorcode",
           "evse-status": "status-evse-malfunction", "FAILED": "sess-resp-failed", "WARNING": "sess-resp-warning-20"}  # fmt: skip


def scene_of(kind: str, code: str) -> Lab:
    """A good session in which somebody says this code; of the first protocol that has it."""
    message, path = CODES[kind]
    for name in LABS:
        lab = Lab.good(name)
        if code == "FAILED_ContactorError":
            message = "PowerDeliveryRes"
        if not any(step.name == message for step in lab.steps):
            continue
        lab.replace(message, 0, {path: code})
        try:
            lab.items(ticks=None)
        except EncodeError:
            continue
        return lab
    raise AssertionError(f"no protocol has {code}")


def check_of(kind: str, code: str) -> str:
    return SAID_BY.get(code) or SAID_BY.get(kind) or SAID_BY[code.split("_", maxsplit=1)[0]]


@pytest.mark.parametrize("row", [*pinned("codes")], ids=lambda row: row["code"])
def test_a_code_names_its_side(row: dict[str, str]) -> None:
    check = check_of(row["kind"], row["code"])
    found = scene_of(row["kind"], row["code"]).run().of(check)
    assert [f.side for f in found] == [row["side"]]
    assert row["code"] in found[0].detail


# --- ranges -------------------------------------------------------------------------------------------------------

WIDE = AnalysisSettings(site="lab", tap="lab", checks={
    "value-multiplier-extreme": CheckSettings(limits={"max_voltage": 1e9, "max_current": 1e9, "max_power": 1e9}),
})  # fmt: skip
OTHER_UNIT = {"V": "A", "A": "W", "W": "V", "Wh": "V", "s": "A"}


def nodes(tree: Any, element: str) -> Iterator[dict[str, Any]]:
    """The physical values of this name in a message's content."""
    if isinstance(tree, dict):
        for name, child in tree.items():
            if name == element and isinstance(child, dict) and "Value" in child:
                yield child
            yield from nodes(child, element)
    elif isinstance(tree, list):
        for child in tree:
            yield from nodes(child, element)


def rich(name: str) -> Lab:
    """A good session with the optional elements, and those of bidirectional charging, that a healthy pair need not send."""
    lab = Lab.good(name)
    if name in ("din-dc", "iso2-dc"):
        ask, answer = "DC_EVChargeParameter", "DC_EVSEChargeParameter"
        lab.replace("ChargeParameterDiscoveryReq", 0, {f"{ask}.EVEnergyCapacity": value(60_000, "Wh"), f"{ask}.EVEnergyRequest": value(20_000, "Wh")})
        lab.replace(
            "ChargeParameterDiscoveryRes", 0, {f"{answer}.EVSECurrentRegulationTolerance": ampere(1), f"{answer}.EVSEEnergyToBeDelivered": value(20_000, "Wh")}
        )
    elif name == "iso20-dc":
        for end, side in (("Req", "EV"), ("Res", "EVSE")):
            step = lab.find(f"DC_ChargeParameterDiscovery{end}", 0)[0]
            parameters = step.fields.pop(f"DC_CPD{end}EnergyTransferMode")
            for edge in ("Maximum", "Minimum"):
                parameters |= {f"{side}{edge}DischargePower": rational(1_000), f"{side}{edge}DischargeCurrent": rational(10)}
            step.fields[f"BPT_DC_CPD{end}EnergyTransferMode"] = parameters
    elif name == "iso20-ac":
        lab.replace("AC_ChargeLoopRes", 0, {"Scheduled_AC_CLResControlMode.EVSETargetActivePower": rational(11_000)})
    return lab


@functools.cache
def home(protocol: str, element: str) -> tuple[str, str] | None:
    """The laboratory's session and message in which the element comes first."""
    for name in LABS:
        if name.startswith(protocol):
            for step in rich(name).steps:
                if step.kind == "v2g" and next(nodes(step.fields, element), None) is not None:
                    return name, step.name
    return None


def value_rows() -> Iterator[tuple[str, str, str, str | None]]:
    """(protocol, element, unit, high) of each row and protocol."""
    for row in pinned("ranges"):
        for protocol in row["protocol"].split():
            yield protocol, row["element"], row["unit"], row["high"] or None


HAVE = [row for row in value_rows() if home(row[0], row[1]) is not None]
# Elements of DIN's AC, which nobody built, and PMax, which is a plain number there: for them the double entry stands alone.
ABSENT = {
    *(f"din {name}" for name in ("EAmount", "EVMaxCurrent", "EVMaxVoltage", "EVMinCurrent", "EVSEMaxCurrent", "EVSENominalVoltage", "PMax")),
}  # fmt: skip


def test_the_elements_without_a_scene_are_known() -> None:
    assert {f"{protocol} {element}" for protocol, element, *_ in value_rows()} - {f"{protocol} {element}" for protocol, element, *_ in HAVE} == ABSENT


def with_value(protocol: str, element: str, number: int, unit: str | None) -> Lab:
    """The first message with the element has this number there, as exactly as the wire can say it."""
    where = home(protocol, element)
    assert where is not None
    lab = rich(where[0])
    node = next(nodes(lab.find(where[1])[0].fields, element))
    exponent = 0
    while abs(number) > 32_767:
        number, exponent = -(-number // 10), exponent + 1
    scale = "Exponent" if "Exponent" in node else "Multiplier"
    node.clear()
    node |= {scale: exponent, "Value": number} | ({"Unit": unit} if unit is not None and scale == "Multiplier" else {})
    return lab


@pytest.mark.parametrize(("protocol", "element", "unit", "high"), [row for row in HAVE if row[3] is not None], ids=lambda v: str(v))
def test_a_value_is_plausible_up_to_its_row(protocol: str, element: str, unit: str, high: str) -> None:
    top = round(float(high))
    for number, speaks in ((top, False), (top + round(step(high)), True)):
        found = [f for f in with_value(protocol, element, number, unit).run(WIDE).of("value-multiplier-extreme") if element in f.values]
        assert bool(found) is speaks, number
        assert {f.values[element].unit for f in found} <= {unit}


@pytest.mark.parametrize(("protocol", "element", "unit", "high"), [row for row in HAVE if row[0] != "iso20"], ids=lambda v: str(v))
def test_a_value_has_the_unit_of_its_row(protocol: str, element: str, unit: str, high: str | None) -> None:
    for given, speaks in ((unit, False), (OTHER_UNIT[unit], True)):
        found = [f for f in with_value(protocol, element, 10, given).run(WIDE).of("value-unit-mismatch") if element in f.values]
        assert bool(found) is speaks, given


# --- order --------------------------------------------------------------------------------------------------------

# How an exchange comes to its state: (message, field, content) by what stands behind the colon.
STATES: dict[str, tuple[str, str, Any]] = {
    "Ongoing": ("Res", "EVSEProcessing", "Ongoing"), "Finished": ("Res", "EVSEProcessing", "Finished"),
    "Ongoing_WaitingForCustomerInteraction": ("Res", "EVSEProcessing", "Ongoing_WaitingForCustomerInteraction"),
    "receipt": ("Res", "ReceiptRequired", True), "failed": ("Res", "ResponseCode", "Failed_NoNegotiation"),
    "OK_OldSessionJoined": ("Res", "ResponseCode", "OK_OldSessionJoined"),
    "ExternalPayment": ("Req", "SelectedPaymentOption", "ExternalPayment"), "Contract": ("Req", "SelectedPaymentOption", "Contract"),
}  # fmt: skip
BY_EV = ("DC_PreCharge", "DC_WeldingDetection")
SPEAK = {ident for ident in load() if ident.startswith("seq-")} | {"pres-paymentdetails-in-eim", "pres-iso2-ac-in-dc-session"}
# Told beside the order, which allows them: a renegotiation without CableCheck, a receipt that nobody asked for.
BESIDE = {"seq-renegotiation-skips-cablecheck", "seq-meteringreceipt-without-request", "seq-renegotiate-before-start", "seq-powerdelivery-failed-continues"}
# Told where the order tolerates them and no more: SessionStop at once.
BESIDE_TOLERATED = BESIDE | {"seq-sessionstop-early", "seq-sessionstop-from-loop", "seq-welding-ongoing-then-stop"}
NEVER_NEXT = ("PowerDelivery", "ServiceDiscovery", "CableCheck", "DC_CableCheck", "WeldingDetection")  # tried where the row does not name them


def labs_of(protocol: str, mode: str) -> list[Lab]:
    modes = ("dc", "ac") if mode == "any" else (mode,)
    return [Lab.good(name, pilot=False, slac=False) for name in LABS if name.split("-")[0] == protocol and name.split("-")[1] in modes]


def brought_to(protocol: str, mode: str, after: str) -> Lab | None:
    """A session that ends with the exchange after which the row stands."""
    base, _, state = after.partition(":")
    for lab in labs_of(protocol, mode):
        requests = lab.find_or_none(f"{base}Req")
        if not requests:
            continue
        nth = 0
        if base == "PowerDelivery":
            kinds = [step.fields.get("ChargeProgress") or ("Start" if step.fields.get("ReadyToChargeState") else "Stop") for step in requests]
            nth = kinds.index(state) if state in kinds else 0
            if state not in kinds:
                lab.replace("PowerDeliveryReq", 0, ChargeProgress=state)
        elif state and base in BY_EV:
            lab.replace(f"{base}Req", 0, EVProcessing=state)
        elif state:
            end, field, content = STATES[state]
            lab.replace(f"{base}{end}", 0, {field: content})
        return lab.stop_after(f"{base}Res", nth)
    return None


def asking(protocol: str, name: str) -> Step | None:
    """A request of this name from any session of the protocol."""
    for lab in labs_of(protocol, "any"):
        found = lab.find_or_none(f"{name}Req")
        if found:
            return copy.deepcopy(found[0])
    return None


def told(protocol: str, mode: str, after: str, name: str) -> set[str] | None:
    """What the checks of the order say of a request at this place; None where the laboratory has no such place or request."""
    lab, request = brought_to(protocol, mode, after), asking(protocol, name)
    if lab is None or request is None:
        return None
    request.gap = 0.05
    lab.steps.append(request)
    frame_of_it = max(item.number for item in lab.items() if isinstance(item, Frame))
    findings = lab.run().findings
    return {f.check for f in findings if f.check in SPEAK and any(frame >= frame_of_it - 1 for frame in f.frames)}


ORDER = [row for row in pinned("order") if brought_to(row["protocol"], row["mode"], row["after"]) is not None]


@pytest.mark.parametrize("row", ORDER, ids=lambda row: f"{row['protocol']} {row['mode']} {row['after']}")
def test_what_may_follow(row: dict[str, str]) -> None:
    place = row["protocol"], row["mode"], row["after"]
    allowed, tolerated = row["next"].split(), row["tolerated"].split()
    for names, beside in ((allowed, BESIDE), (tolerated, BESIDE_TOLERATED)):
        for name in names:
            said = told(*place, name)
            assert said is None or not said - beside, f"{name} may follow, and is told as {said}"
    for name in () if row["after"] == "SessionStop" else NEVER_NEXT:  # what comes after the end belongs to no session
        if name not in allowed and name not in tolerated:
            said = told(*place, name)
            assert said is None or said - BESIDE, f"{name} may not follow, and nothing is said"
