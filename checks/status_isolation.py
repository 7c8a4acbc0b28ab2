"""Isolation: EVSEIsolationStatus and the course of CableCheck (IEC 61851-23 CC, DIN SPEC 70121 Table 97)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, evse_not_well
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import dc_status, processing, where
from plugtap.protocols.events import V2gMessage

CHECKED = ("PreChargeRes", "CurrentDemandRes")
ALL = ("ChargeParameterDiscoveryRes", "CableCheckRes", "PreChargeRes", "PowerDeliveryRes", "CurrentDemandRes", "WeldingDetectionRes")


@register
class IsolationInvalid(Check):
    """Invalid means: not tested. After CableCheck it should be Valid."""

    meta = Meta(
        id="status-isolation-invalid",
        title="Isolation still not tested after CableCheck",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="EVSEIsolationStatus Invalid in PreChargeRes or CurrentDemandRes",
        cause="The EVSE did not run or did not finish the isolation test, or does not update the status.",
        fix="EVSE: set EVSEIsolationStatus Valid when CableCheck is Finished; some EVs leave otherwise.",
        refs=("DIN SPEC 70121 Table 97", "V2G-DC-499"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="InsulationFault",
        mrec="CX022",
        priority=58,
        gap="proceed",
        example="PreChargeRes with EVSEIsolationStatus Invalid, the EV leaves C.",
    )

    @on(V2gMessage, *CHECKED, only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        status = dc_status(ev).get("EVSEIsolationStatus")
        if status is None:
            return
        self.arm()
        if status == "Invalid":
            self.fire(
                ev,
                f"{ev.message} says EVSEIsolationStatus Invalid.",
                key=str(ev.message),
                values={"EVSEIsolationStatus": Value(status, "", "Valid", "!=")},
            )
        else:
            self.evaluated()


@register
class IsolationFault(Check):
    """Fault is a fault. Warning is seen for a moment in healthy sessions, and for a whole one in others."""

    meta = Meta(
        id="status-isolation-fault",
        title="Isolation fault",
        severity="error",
        class_="normative",
        effect="unsafe",
        side="SECC",
        certainty="likely",
        trigger="EVSEIsolationStatus Fault; Warning is a warning",
        cause="Moisture or damage in cable, connector or inlet, a defect in the EV or the EVSE, or two isolation monitors that disturb each other.",
        fix="Inspect connector and inlet for moisture; try another EV and another outlet to tell EV from EVSE; measure the isolation.",
        refs=("IEC 61851-23:2023 6.3.1.105", "ISO 15118-2 8.5.4.1"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="InsulationFault",
        mrec="CX022",
        priority=24,
        gap="proceed",
        example="CableCheckRes with EVSEIsolationStatus Fault.",
    )

    @on(V2gMessage, *ALL, only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        status = dc_status(ev).get("EVSEIsolationStatus")
        if status is None:
            return
        self.arm()
        if status not in ("Fault", "Warning"):
            self.evaluated()
            return
        mild = status == "Warning"
        self.fire(
            ev, f"{ev.message} says EVSEIsolationStatus {status} {where(self.session)}.", key=str(status), severity="warning" if mild else None,
            effect="degrades" if mild else None, values={"EVSEIsolationStatus": Value(status), "EVSEStatusCode": Value(dc_status(ev).get("EVSEStatusCode"))},
        )  # fmt: skip


@register
class NoMonitor(Check):
    """The EVSE has no isolation monitor, or says so."""

    meta = Meta(
        id="status-isolation-noimd",
        title="EVSE has no isolation monitor",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="EVSEIsolationStatus No_IMD",
        cause="An EVSE without isolation monitoring, as in a laboratory.",
        fix="Do not use it for vehicles of the public; configure the isolation monitor.",
        refs=("ISO 15118-2 8.5.4.1",),
        protocols=("iso2",),
        modes=("dc",),
        uec="InsulationFault",
        gap="proceed",
        example="CableCheckRes with EVSEIsolationStatus No_IMD.",
    )

    @on(V2gMessage, *ALL, only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        status = dc_status(ev).get("EVSEIsolationStatus")
        if status is None:
            return
        self.arm()
        if status == "No_IMD":
            self.fire(ev, f"{ev.message} says No_IMD.", values={"EVSEIsolationStatus": Value(status)})
        else:
            self.evaluated()


@register
class IsolationSequence(Check):
    """The test should be seen while it runs. Half of all real EVSEs do not show it, and many say Valid from the start."""

    meta = Meta(
        id="status-isolation-sequence",
        title="Isolation test is not visible",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="CableCheckRes Finished without EVSE_IsolationMonitoringActive seen before,",
        cause="The EVSE does not report the running test, or does not run one.",
        fix="EVSE: report EVSE_IsolationMonitoringActive during the test and Valid with Finished.",
        refs=("DIN SPEC 70121 Table 97", "ISO 15118-4 CableCheck"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GParameterInvalid",
        mrec="CX011",
        example="Three CableCheckRes EVSE_Ready Ongoing, then Finished.",
    )

    def start(self) -> None:
        self.active = False
        self.first: V2gMessage | None = None

    @on(V2gMessage, "ChargeParameterDiscoveryRes", "CableCheckRes")
    def message(self, ev: V2gMessage) -> None:
        status = dc_status(ev)
        self.active = self.active or status.get("EVSEStatusCode") == "EVSE_IsolationMonitoringActive"
        if ev.message != "CableCheckRes" or not status:
            return
        self.arm()
        self.first = self.first or ev
        state = processing(ev)
        if state == "Finished" and not self.active:
            self.fire(
                [self.first, ev], "CableCheck is Finished; EVSE_IsolationMonitoringActive was never reported.", since=self.first.t,
                values={"EVSEStatusCode": Value(status.get("EVSEStatusCode"))},
            )  # fmt: skip
        else:
            self.evaluated()
