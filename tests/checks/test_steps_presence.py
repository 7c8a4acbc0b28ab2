"""Each row of presence.tsv is heard: the message with its element and without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from casebook import Lab
from lab import DROP
from steps import Row, Run, each_row, run_all, said

CPDQ, CPDS = "ChargeParameterDiscoveryReq", "ChargeParameterDiscoveryRes"
# Elements that stand in one another's place, and what is in that place where neither is: the schemas want something there.
OTHER = {
    "AC_EVChargeParameter": "DC_EVChargeParameter", "DC_EVChargeParameter": "AC_EVChargeParameter",
    "AC_EVSEChargeParameter": "DC_EVSEChargeParameter", "DC_EVSEChargeParameter": "AC_EVSEChargeParameter",
}  # fmt: skip
STRANGE: dict[str, Any] = {"ServiceScope": "here", "ServiceName": "charging", "GenChallenge": "AAAA"}  # what a forbidden element holds


def good(protocol: str, mode: str) -> Lab:
    """DIN knows DC only."""
    return Lab.good(f"{protocol}-{'dc' if mode == 'any' else mode}", pilot=False, slac=False)


def parameters(protocol: str, message: str, element: str) -> Any:
    """The charge parameters of either mode, as a good session has them. DIN's for AC differ from those of ISO 15118-2."""
    lab = good(protocol if element.startswith("DC") else "iso2", element[:2].lower())
    fields = lab.find(message, 0)[0].fields[element]
    if protocol == "iso2" or element.startswith("DC"):
        return fields
    if element == "AC_EVChargeParameter":
        return {"DepartureTime": 3600} | fields
    amps = {"Multiplier": 0, "Unit": "A", "Value": 6}
    status = {"PowerSwitchClosed": False, "RCD": False, "NotificationMaxDelay": 0, "EVSENotification": "None"}
    return {"AC_EVSEStatus": status, "EVSEMaxVoltage": {"Multiplier": 0, "Unit": "V", "Value": 230}, "EVSEMaxCurrent": amps, "EVSEMinCurrent": amps}


def wrong(row: Row, protocol: str) -> Lab:
    """The message with what the row forbids, or without what it requires."""
    lab, message = good(protocol, row["mode"]), row["message"]
    path = row["element"].replace("/", ".")
    name = path.rpartition(".")[2]
    if name in OTHER:
        if row["rule"] == "required":
            return lab.replace(message, 0, {name: DROP, name.partition("_")[2]: {}})
        return lab.replace(message, 0, {OTHER[name]: DROP, name: parameters(protocol, message, name)})
    return lab.replace(message, 0, {path: DROP if row["rule"] == "required" else STRANGE[name]})


def heard(row: Row, lab: Lab) -> set[str]:
    """What the check says of the row's element."""
    element = row["element"].rpartition("/")[2]
    return {str(f.values[element].value) for f in said(lab.close("fin"), row["check"], tail=5.0).of(row["check"]) if element in f.values}


def quiet(row: Row, protocol: str) -> None:
    assert heard(row, good(protocol, row["mode"])) == set()


def spoken(row: Row, protocol: str) -> None:
    lab = wrong(row, protocol)
    assert heard(row, lab.stop_after(row["message"], 0)) == {row["rule"]}


def of_row(row: Row, table: str = "presence") -> Iterator[Run]:
    """As it should be, and not."""
    for protocol in row["protocol"].split():
        yield lambda p=protocol: quiet(row, p)  # type: ignore[misc]
        yield lambda p=protocol: spoken(row, p)  # type: ignore[misc]


@each_row("presence")
def test_the_element_decides(row: Row) -> None:
    run_all(of_row(row))
