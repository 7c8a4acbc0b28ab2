"""What the EV says about itself: EVErrorCode and EVReady (ISO 15118-2 8.5.4.2)."""

from __future__ import annotations

from typing import Any

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, ev_not_well
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import codes
from plugtap.checks.v2g_common import dig, memo, where
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.tables import EV_NO_ERROR
from plugtap.sessions.v2g_facts import delivery_kind

REQUESTS = (
    "ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq", "WeldingDetectionReq",
)  # fmt: skip


@memo
def ev_status(ev: V2gMessage) -> dict[str, Any]:
    """DC_EVStatus of a request; {} where there is none."""
    node = ev.body.get("DC_EVStatus")
    if isinstance(node, dict):
        return node
    for holder in ("DC_EVChargeParameter", "DC_EVPowerDeliveryParameter"):
        node = dig(ev.body, holder, "DC_EVStatus")
        if isinstance(node, dict):
            return node
    return {}


@register
class EvError(Check):
    """The EV's own word for a fault, with the voltages of that moment."""

    meta = Meta(
        id="status-everrorcode",
        title="EV reports an error",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="DC_EVStatus with an EVErrorCode other than NO_ERROR and NoData",
        cause="A fault in the EV, or something the EV measures and does not like.",
        fix="Read the EV's fault memory; compare voltage and current in the named frames with what the EV asked for.",
        refs=("ISO 15118-2 8.5.4.2", "V2G2-881"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="EVRESSMalfunction",
        priority=26,
        gap="proceed",
        example="PowerDeliveryReq with FAILED_EVRESSMalfunction.",
    )

    @on(V2gMessage, *REQUESTS, only=ev_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        code = ev_status(ev).get("EVErrorCode")
        if code is None:
            return
        self.arm()
        if code in EV_NO_ERROR:
            self.evaluated()
            return
        known, el = codes("ev-error").get(str(code)), self.session.electrical
        volts = el.v_last if el.v_last is not None else el.precharge_v
        target = el.target_v if el.target_v is not None else el.precharge_target
        before = self.session.last_response
        self.fire(
            [before, ev] if before is not None else ev, f"{ev.message} says {code} {where(self.session)}." + (f" {known.meaning}" if known else ""),
            key=str(code), side=known.side if known else None, cause=known.meaning if known else None, fix=known.fix if known else None,
            values={"EVErrorCode": Value(code), "EVSEPresentVoltage": Value(volts, "V"), "EVTargetVoltage": Value(target, "V")},
        )  # fmt: skip


@register
class EvNotReady(Check):
    """EVReady false while the EV asks for power contradicts itself."""

    meta = Meta(
        id="status-evready-false",
        title="EV asks for power and says it is not ready",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="EVReady false in PowerDeliveryReq(Start) or CurrentDemandReq",
        cause="The EV's software does not set the flag, or its contactors are open.",
        fix="EV: set EVReady true when power is wanted.",
        refs=("ISO 15118-2 8.5.4.2",),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="CurrentDemandReq with EVTargetCurrent 30 A and EVReady false.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        if delivery_kind(ev.body) == "Start":
            self.message(ev)

    @on(V2gMessage, "CurrentDemandReq", only=ev_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        ready = ev_status(ev).get("EVReady")
        if ready is None:
            return
        self.arm()
        if ready is False:
            self.fire(ev, f"{ev.message} with EVReady false.", key=str(ev.message), values={"EVReady": Value(False, "", True, "!=")})
        else:
            self.evaluated()
