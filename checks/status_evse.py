"""What the EVSE says about itself: EVSEStatusCode, EVSENotification, RCD (ISO 15118-2 8.5.4.1)."""

from __future__ import annotations

from typing import Any

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, evse_not_well, never
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import codes
from plugtap.checks.v2g_common import dc_status, dig, limits, memo, ns, seconds, took, where
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.tables import EVSE_FAULT_STATUS

DC_RESPONSES = (
    "ChargeParameterDiscoveryRes", "CableCheckRes", "PreChargeRes", "PowerDeliveryRes", "CurrentDemandRes", "WeldingDetectionRes",
)  # fmt: skip
AC_RESPONSES = ("ChargeParameterDiscoveryRes", "PowerDeliveryRes", "ChargingStatusRes", "MeteringReceiptRes")


@memo
def any_status(ev: V2gMessage) -> dict[str, Any]:
    """DC_EVSEStatus or AC_EVSEStatus of a response; {} where there is none."""
    node = ev.body.get("AC_EVSEStatus")
    if not isinstance(node, dict) and "AC_EVSEChargeParameter" in ev.body:
        node = dig(ev.body, "AC_EVSEChargeParameter", "AC_EVSEStatus")
    return node if isinstance(node, dict) else dc_status(ev)


@register
class EvseFault(Check):
    """The EVSE's own word for a fault. After the stop was asked it harms nobody any more."""

    meta = Meta(
        id="status-evse-malfunction",
        title="EVSE reports a fault",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="EVSEStatusCode EVSE_Malfunction, EVSE_EmergencyShutdown or EVSE_UtilityInterruptEvent",
        cause="A fault of the EVSE, its emergency stop, its isolation or over-voltage protection, or the grid.",
        fix="Check the emergency stop, then read the EVSE's fault memory at this time.",
        refs=("ISO 15118-2 8.5.4.1", "IEC 61851-23 CC"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="PowerModuleFault",
        mrec="CX008",
        priority=28,
        gap="proceed",
        example="PreChargeRes with EVSE_EmergencyShutdown, four times.",
    )

    @on(V2gMessage, *DC_RESPONSES, only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        code = dc_status(ev).get("EVSEStatusCode")
        if code is None:
            return
        self.arm()
        if code not in EVSE_FAULT_STATUS:
            self.evaluated()
            return
        session = self.session
        over = session.delivery == "Stop" and session.energy_moved
        known = codes("evse-status").get(str(code))
        volts = session.electrical.v_last if session.electrical.v_last is not None else session.electrical.precharge_v
        self.fire(
            ev, f"{ev.message} says {code} {where(session)}." + (f" {known.meaning}" if known else ""), key=str(code),
            side=known.side if known else None, severity="warning" if over else None, effect="none" if over else None, cause=known.meaning if known else None, fix=known.fix if known else None,
            values={"EVSEStatusCode": Value(code), "EVSEPresentVoltage": Value(volts, "V")},
        )  # fmt: skip


@register
class EvseShutdown(Check):
    """The ordinary stop by the EVSE is information. An EV that goes on asking for current is more."""

    meta = Meta(
        id="status-evse-shutdown",
        title="EVSE announces its stop",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="EVSEStatusCode EVSE_Shutdown or EVSENotification StopCharging; a warning where the EV asks for current {shutdown_ignored} after it, or after a fault code, still",
        cause="Somebody pressed stop, the tariff ended, or the operator ended the session.",
        fix="Nothing, where the EV obeys. EV: send PowerDeliveryReq(Stop) when the EVSE announces its stop.",
        refs=("ISO 15118-2 8.5.4.1", "IEC 61851-23 CC.7.5.19"),
        protocols=("din", "iso2"),
        limits=limits("shutdown_ignored"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="CurrentDemandRes with EVSE_Shutdown and StopCharging, PowerDeliveryReq(Stop) two loops later.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None
        self.told = False

    @on(V2gMessage, *DC_RESPONSES, "ChargingStatusRes", only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        status = any_status(ev)
        self.arm()
        if not status or self.session.delivery == "Stop":
            self.evaluated()
            return
        code, notification = status.get("EVSEStatusCode"), status.get("EVSENotification")
        if code in EVSE_FAULT_STATUS:
            self.first = self.first or ev  # told by status-evse-malfunction; that the EV goes on is told here
            self.wake()
            return
        if code != "EVSE_Shutdown" and notification != "StopCharging":
            self.first = None
            self.sleep()
            self.evaluated()
            return
        self.wake()
        if self.first is None:
            self.first = ev
            said = " and ".join(
                str(x) for x in (code if code == "EVSE_Shutdown" else None, notification if notification == "StopCharging" else None) if x
            )
            self.fire(
                ev,
                f"{ev.message} says {said} {where(self.session)}.",
                values={"EVSEStatusCode": Value(code), "EVSENotification": Value(notification)},
            )

    @on(V2gMessage, "CurrentDemandReq", only=never)
    def still(self, ev: V2gMessage) -> None:
        first, limit = self.first, self.limit("shutdown_ignored")
        if first is None or self.told or ev.t - first.t <= ns(limit):
            return
        self.told = True
        self.fire(
            [first, ev], f"The EV still asks for current {seconds(ev.t - first.t):.1f} s after the EVSE announced its stop or a fault.", key="ignored", side="EVCC",
            severity="warning", effect="degrades", since=first.t, values={"waited": took(ev.t - first.t, limit)},
        )  # fmt: skip


@register
class EvseNotReady(Check):
    """Some EVs stop silently; others charge all the same. One or two responses while the EVSE switches over are usual."""

    meta = Meta(
        id="status-evse-notready",
        title="EVSE says it is not ready",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        certainty="possible",
        trigger="EVSE_NotReady in {notready_min} or more PreChargeRes or CurrentDemandRes in a row",
        cause="The EVSE leaves its status at EVSE_NotReady during set-up, or its power unit is not ready.",
        fix="EVSE: report EVSE_Ready from CableCheck Finished on.",
        refs=("V2G2-880", "ISO 15118-2 8.5.4.1"),
        protocols=("din", "iso2"),
        modes=("dc",),
        limits=limits("notready_min"),
        uec="V2GParameterInvalid",
        priority=50,
        gap="proceed",
        example="119 PreChargeRes with EVSE_NotReady, then the EV sends SessionStop.",
    )

    def start(self) -> None:
        self.run: list[V2gMessage] = []
        self.count = 0

    @on(V2gMessage, "PreChargeRes", "CurrentDemandRes", only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        code = dc_status(ev).get("EVSEStatusCode")
        self.arm()
        if code != "EVSE_NotReady":
            if code is not None:
                self._say()
            self.evaluated()
            return
        self.count += 1
        self.wake()
        self.run = [*self.run[:2], ev]

    @on(V2gMessage, "PowerDeliveryReq", "SessionStopReq")
    def leave(self, ev: V2gMessage) -> None:
        self._say()

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self._say()

    def _say(self) -> None:
        run, count = self.run, self.count
        self.run, self.count = [], 0
        self.sleep()
        least = self.limit("notready_min")
        if count < least or not run:
            return
        self.fire(
            run, f"{count} {run[-1].message} in a row say EVSE_NotReady.", key=str(run[-1].message),
            values={"responses": Value(count, "", least, ">=")},
        )  # fmt: skip


@register
class RenegotiationAsked(Check):
    """The EVSE wants new parameters."""

    meta = Meta(
        id="status-notification-renegotiation",
        title="EVSE asks for renegotiation",
        severity="info",
        class_="info",
        effect="none",
        side="SECC",
        trigger="EVSENotification ReNegotiation",
        cause="The EVSE's energy management has a new schedule or new limits.",
        fix="Nothing.",
        refs=("V2G2-680", "V2G2-841"),
        protocols=("iso2",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="ChargingStatusRes with EVSENotification ReNegotiation.",
    )

    @on(V2gMessage, *AC_RESPONSES, "CurrentDemandRes", only=evse_not_well, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        status = any_status(ev)
        if "EVSENotification" not in status:
            return
        self.arm()
        if status["EVSENotification"] == "ReNegotiation":
            self.fire(ev, f"{ev.message} asks for renegotiation.", values={"EVSENotification": Value("ReNegotiation")})
        else:
            self.evaluated()


@register
class RenegotiationIgnored(Check):
    """Some EVs want the optional limits in the responses before they renegotiate."""

    meta = Meta(
        id="status-renegotiation-ignored",
        title="EV does not follow the request to renegotiate",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="EVCC",
        certainty="likely",
        trigger="EVSENotification ReNegotiation repeated for {renegotiation_ignored} without PowerDeliveryReq(Renegotiate)",
        cause="The EV does not implement renegotiation, or misses EVSEMaximumVoltageLimit, EVSEMaximumCurrentLimit and EVSEMaximumPowerLimit.",
        fix="EVSE: include the three limits in CurrentDemandRes.",
        refs=("V2G2-680",),
        protocols=("iso2",),
        modes=("dc",),
        limits=limits("renegotiation_ignored"),
        example="CurrentDemandRes with ReNegotiation for 70 s, the EV goes on with CurrentDemandReq.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None

    @on(V2gMessage, "CurrentDemandRes")
    def message(self, ev: V2gMessage) -> None:
        if any_status(ev).get("EVSENotification") != "ReNegotiation":
            self.first = None
            return
        if self.first is None:
            self.first = ev
            self.arm()
            return
        limit, waited = self.limit("renegotiation_ignored"), ev.t - self.first.t
        if waited <= ns(limit):
            self.evaluated()
            return
        first, self.first = self.first, ev
        missing = [n for n in ("EVSEMaximumVoltageLimit", "EVSEMaximumCurrentLimit", "EVSEMaximumPowerLimit") if n not in ev.body]
        self.fire(
            [first, ev], f"The EVSE asks for renegotiation since {seconds(waited):.0f} s." + (f" Its responses lack {', '.join(missing)}." if missing else ""),
            since=first.t, values={"waited": took(waited, limit)},
        )  # fmt: skip

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        self.first = None


@register
class NotificationDelay(Check):
    """How long the EV has to react; 0 means at once."""

    meta = Meta(
        id="status-evsenotification-maxdelay",
        title="NotificationMaxDelay makes no sense",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="NotificationMaxDelay above {notification_delay} together with an EVSENotification",
        cause="The EVSE puts a date or a constant into NotificationMaxDelay.",
        fix="EVSE: send the seconds within which the EV has to react.",
        refs=("ISO 15118-2 8.5.4.1",),
        protocols=("din", "iso2"),
        limits=limits("notification_delay"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="StopCharging with NotificationMaxDelay 65535.",
    )

    @on(V2gMessage, *DC_RESPONSES, "ChargingStatusRes", only=evse_not_well)
    def message(self, ev: V2gMessage) -> None:
        status = any_status(ev)
        delay, notification = status.get("NotificationMaxDelay"), status.get("EVSENotification")
        if not isinstance(delay, int) or notification in (None, "None"):
            return
        self.arm()
        limit = self.limit("notification_delay")
        if delay > limit:
            self.fire(
                ev, f"{ev.message} gives the EV {delay} s to react to {notification}.", values={"NotificationMaxDelay": Value(delay, "s", limit, ">")}
            )
        else:
            self.evaluated()


@register
class RcdTripped(Check):
    """AC only."""

    meta = Meta(
        id="status-ac-rcd",
        title="Residual current device tripped",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="AC_EVSEStatus with RCD true",
        cause="Leakage current in cable, EVSE or EV.",
        fix="Reset the residual current device once; if it trips again, check cable, EVSE and EV for leakage.",
        refs=("ISO 15118-2 8.5.3.1",),
        protocols=("iso2",),
        modes=("ac",),
        uec="InsulationFault",
        mrec="CX002",
        priority=28,
        gap="proceed",
        example="ChargingStatusRes with RCD true.",
    )

    @on(V2gMessage, *AC_RESPONSES)
    def message(self, ev: V2gMessage) -> None:
        rcd = any_status(ev).get("RCD")
        if rcd is None:
            return
        self.arm()
        if rcd is True:
            self.fire(ev, f"{ev.message} says that the residual current device has tripped.", values={"RCD": Value(True, "", False, "!=")})
        else:
            self.evaluated()
