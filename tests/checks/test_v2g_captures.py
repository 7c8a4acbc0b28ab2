"""V2G checks on real captures: what must be told, and what must not be."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Lab

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.config.analysis import AnalysisSettings
from plugtap.hw.files import read_items

FAMILIES = ("seq", "time", "pres", "sess", "status", "value", "sap", "exi", "v2gtp")


def sessions_of(folder: Path, part: str) -> list[SessionReport]:
    """The sessions of the capture whose path contains `part`."""
    path = next(p for p in sorted(folder.joinpath("files").rglob("*")) if p.is_file() and part in str(p))
    analysis = Analysis(AnalysisSettings(), foreign=True)
    for item in read_items(str(path)):
        analysis.feed(item)
    analysis.finish(None)
    assert analysis.engine.failures == {}
    return analysis.reports()


# capture, check, severity as settled, part of the detail
TOLD = [
    ("EQC/iso-15118-2-DC", "sap-failed-nonegotiation", "error", "urn:din:70121:2012:MsgDef"),
    ("zelos-extension-v2g/v2g_din_session", "time-cablecheck", "error", "EVSE_IsolationMonitoringActive/Invalid"),
    ("2022-11-25_v0.2_ABB", "seq-contractauth-missing-din", "error", "follows ServicePaymentSelectionRes"),
    ("compleo_with_bulb", "status-evse-malfunction", "error", "EVSE_EmergencyShutdown during PreCharge"),
    ("2024-04-20_ModelY", "time-precharge", "warning", "119 responses"),
    ("2024-04-20_ModelY", "status-evse-notready", "warning", "119 PreChargeRes in a row"),
    ("PhiPhong", "time-msg-timeout", "error", "CableCheckReq was not answered"),
    ("SuC_without", "time-authorization-wait", "error", "waiting for authorization"),
    ("id.4_fw_3.5/2023-04-18T15-42", "seq-failed-sequenceerror", "error", "left out PowerDelivery(Stop)"),
    ("Mokka-E/din_spec_70121/2023-04-14T14-24", "value-precharge-delta", "error", "60 V too high"),
    ("Audi/Q4/dc-iso2", "value-present-exceeds-target", "warning", "50 times as much"),
    ("ampera_dc_din_3", "status-everrorcode", "error", "FAILED_EVRESSMalfunction"),
    ("makerspace", "status-isolation-fault", "warning", "EVSEIsolationStatus Warning"),
]


@pytest.mark.parametrize(("part", "check", "severity", "says"), TOLD, ids=[f"{c} {p[-20:]}" for p, c, _, _ in TOLD])
def test_told(captures: Path, part: str, check: str, severity: str, says: str) -> None:
    found = [f for s in sessions_of(captures, part) for f in s.findings if f.check == check]
    assert any(f.severity == severity and says in f.detail for f in found), [(f.severity, f.detail) for f in found]


# Good sessions of real cars at real chargers: nothing of the V2G layer above the named deviations.
CALM = [
    ("alpiHYC300_SWIsued", set()),
    ("alpiHYC300_LangenbruckTwoSessions", set()),
    ("alpiHYC150_Meitingen", set()),
    ("alpiHYC150_makerspace", {"status-isolation-fault"}),
    ("iX_fw_11_2022.64/din_spec", {"time-cablecheck"}),
    ("EV6/2023-04-25T07-33", set()),
    ("EQC/din_spec", set()),
    ("dsV2Gshark/ISO-2_DC_Pause", {"status-isolation-noimd"}),
    ("clara-logs/2024-02-18_clara_ABBtriple", set()),
    ("clara-logs/2024-02-18_clara_numbat", set()),
]


@pytest.mark.parametrize(("part", "allowed"), CALM, ids=[p for p, _ in CALM])
def test_calm(captures: Path, part: str, allowed: set[str]) -> None:
    loud = {f.check for s in sessions_of(captures, part) for f in s.findings if f.severity != "info" and f.check.split("-")[0] in FAMILIES}
    assert loud <= allowed


@pytest.mark.parametrize("name", ["din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac"])
def test_good_sessions_are_calm(name: str) -> None:
    result = Lab.good(name).run()
    assert result.session.outcome == "completed"
    expected = {"sap-iso20-on-plain"} if name.startswith("iso20") else set()
    assert {i for i in result.ids("warning", "error") if i.split("-")[0] in FAMILIES} == expected
