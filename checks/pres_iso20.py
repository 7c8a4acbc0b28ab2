"""ISO 15118-20: control mode, service renegotiation, standby."""

from __future__ import annotations

from plugtap.checks.asked import Asked
from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.pres_selection import names
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import dig, failed, response_code
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import Exchange

# ControlMode of a parameter set (ISO 15118-20 8.4.3.2.3): 1 scheduled, 2 dynamic.
MODES = {1: "Scheduled", 2: "Dynamic"}


@register
class ControlMode(Asked):
    """The parameter set fixes scheduled or dynamic for the whole session."""

    meta = Meta(
        id="pres-iso20-control-mode",
        title="Control mode does not fit the selected service",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="the control mode element of ScheduleExchangeReq or …ChargeLoopReq is not the one of the selected parameter set",
        cause="The EV mixes scheduled and dynamic mode.",
        fix="EV: keep the control mode of the selected parameter set. EVSE: answer FAILED.",
        refs=("V2G20-2643", "ISO 15118-20 8.4.3.2.3"),
        protocols=("iso20",),
        uec="V2GParameterNotAllowed",
        priority=38,
        example="ControlMode 1 selected, Dynamic_DC_CLReqControlMode in the loop.",
    )

    def start(self) -> None:
        self.sets: dict[tuple[int, int], int] = {}
        self.selected: V2gMessage | None = None
        self.mode: str | None = None

    @on(V2gMessage, "ServiceDetailRes")
    def detail(self, ev: V2gMessage) -> None:
        service = ev.body.get("ServiceID")
        for entry in names(ev.body, "ServiceParameterList", "ParameterSet")[:32]:
            ident = dig(entry, "ParameterSetID")
            for parameter in names(entry, "Parameter"):
                if dig(parameter, "@Name") == "ControlMode" and isinstance(service, int) and isinstance(ident, int):
                    value = dig(parameter, "intValue")
                    if isinstance(value, int) and len(self.sets) < 256:
                        self.sets[service, ident] = value

    @on(V2gMessage, "ServiceSelectionReq")
    def selection(self, ev: V2gMessage) -> None:
        node = ev.body.get("SelectedEnergyTransferService")
        key = (dig(node, "ServiceID"), dig(node, "ParameterSetID"))
        self.selected, self.mode = ev, MODES.get(self.sets.get(key, 0))

    @on(V2gMessage, "ScheduleExchangeReq", "DC_ChargeLoopReq", "AC_ChargeLoopReq")
    def use(self, ev: V2gMessage) -> None:
        if self.mode is None or self.selected is None:
            return
        used = next((m for key in ev.body for m in ("Scheduled", "Dynamic") if m in key and "Mode" in key), None)
        if used is None:
            return
        self.arm()
        if used == self.mode:
            self.evaluated()
        else:
            self.hold(ev, [self.selected, ev], f"{ev.message} is {used.lower()}, selected was {self.mode.lower()}.", key=str(ev.message), since=self.selected.t,
                      values={"ControlMode": Value(used, "", self.mode, "!=")})  # fmt: skip


@register
class RenegotiationUnsupported(Asked):
    """ServiceRenegotiationSupported stands in ServiceDiscoveryRes."""

    meta = Meta(
        id="pres-iso20-renegotiation-unsupported",
        title="Service renegotiation was not offered",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="SessionStopReq with ServiceRenegotiation although ServiceRenegotiationSupported is false",
        cause="The EV does not read ServiceRenegotiationSupported.",
        fix="EV: end the session with Terminate instead.",
        refs=("V2G20-1477", "V2G20-1956"),
        protocols=("iso20",),
        uec="V2GParameterNotAllowed",
        priority=60,
        example="ServiceRenegotiationSupported false, SessionStopReq ServiceRenegotiation.",
    )

    def start(self) -> None:
        self.offer: V2gMessage | None = None

    @on(V2gMessage, "ServiceDiscoveryRes")
    def discovery(self, ev: V2gMessage) -> None:
        if ev.schema == "iso20cm":
            self.offer = ev

    @on(V2gMessage, "SessionStopReq")
    def stop(self, ev: V2gMessage) -> None:
        if self.offer is None or ev.schema != "iso20cm":
            return
        self.arm()
        if ev.body.get("ChargingSession") == "ServiceRenegotiation" and self.offer.body.get("ServiceRenegotiationSupported") is not True:
            self.hold(ev, [self.offer, ev], "The EV asks for service renegotiation, which the EVSE does not support.", since=self.offer.t,
                      values={"ServiceRenegotiationSupported": Value(False)})  # fmt: skip
        else:
            self.evaluated()


@register
class Standby(Check):
    """Whether the EVSE supports standby shows in its answer."""

    meta = Meta(
        id="pres-iso20-standby",
        title="Standby refused",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="PowerDeliveryReq with ChargeProgress Standby answered with WARNING_StandbyNotAllowed or a FAILED code",
        cause="The EV asks for standby where the EVSE does not support it.",
        fix="EV: stop power delivery instead.",
        refs=("ISO 15118-20 8.3.4.3.6",),
        protocols=("iso20",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="ChargeProgress Standby, PowerDeliveryRes WARNING_StandbyNotAllowed.",
    )

    @on(Exchange, "PowerDelivery")
    def answered(self, ev: Exchange) -> None:
        if ev.request.body.get("ChargeProgress") != "Standby":
            return
        self.arm()
        code = response_code(ev.response)
        if code == "WARNING_StandbyNotAllowed" or failed(code):
            self.fire([ev.request, ev.response], f"Standby was answered with {code}.", values={"ResponseCode": Value(code)})
        else:
            self.evaluated()
