"""The EV had its answer and does not go on."""

from __future__ import annotations

from plugtap.checks.base import on
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.time_sequence import _Pause
from plugtap.checks.v2g_common import dc_status, failed, limits, ns, processing, response_code, seconds, took
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded

AUTHORIZED = ("AuthorizationRes", "ContractAuthenticationRes")
PARAMETERS = ("ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes", "ScheduleExchangeRes")


class _Stall(_Pause):
    """Base: says a stall when the session ends in it or it outlasts the limit; a stall that ends well is information."""

    limit_name = "stall"

    def mine(self, response: V2gMessage) -> bool:
        """Is a stall after this response a matter of this check?"""
        raise NotImplementedError

    def waits(self, response: V2gMessage) -> None:
        if failed(response_code(response)) or not self.mine(response):
            self.last = None
            return
        self.arm()
        limit = self.limit(self.limit_name)
        self.at(response.t + ns(limit), lambda t: self.stalled(response, t))

    def asked(self, response: V2gMessage, request: V2gMessage) -> None:
        self.evaluated()

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        last, self.last = self.last, None
        self.cancel()
        if last is not None and ev.how == "silence" and ev.by == "EVCC":
            self.stalled(last, last.t + ns(self.limit(self.limit_name)))

    def stalled(self, response: V2gMessage, t: int) -> None:
        """The limit has passed."""
        limit = self.limit(self.limit_name)
        status = dc_status(response)
        told = ", ".join(str(status[k]) for k in ("EVSEStatusCode", "EVSEIsolationStatus", "EVSENotification") if k in status)
        state = processing(response)
        said = "; ".join(x for x in (f"EVSEProcessing {state}" if state else "", told) if x)
        self.fire(
            response, f"The EV got {response.message} and sent nothing for {seconds(t - response.t):.0f} s" + (f" ({said})." if said else "."),
            key=str(response.message), since=response.t, t=t, values={"pause": took(t - response.t, limit, ">=")},
        )  # fmt: skip


@register
class EvStall(_Stall):
    """Any state; after authorization and after the charge parameters more patience is usual, see the two checks below."""

    meta = Meta(
        id="sess-ev-stall",
        title="EV stops sending requests",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="no request for {stall} after a positive response, on a tap that hears the EV",
        cause="The EV waits for something outside the protocol (lock, isolation, voltage at the inlet, user), or its state machine hangs.",
        fix="Look at what the last response told the EV, and at the control pilot at that moment.",
        refs=("V2G2-485",),
        needs=("hears-unicast-evcc",),
        limits=limits("stall"),
        uec="V2GTimeout",
        priority=54,
        example="CableCheckRes Ongoing, then nothing from the EV for 10 s; 13 s later the control pilot is back at B.",
    )

    def mine(self, response: V2gMessage) -> bool:
        done = processing(response) == "Finished"
        return not (done and (response.message in AUTHORIZED or response.message in PARAMETERS))


@register
class StallAfterAuthorization(_Stall):
    """Seen with EVs that wait for lock or proximity."""

    limit_name = "stall_authorization"
    meta = Meta(
        id="sess-ev-stall-after-authorization",
        title="EV does not go on after authorization",
        severity="warning",
        class_="implementation",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="no request for {stall_authorization} after authorization was Finished",
        cause="The EV waits for a hardware condition: proximity resistor, connector lock, contactor feedback.",
        fix="Check the proximity resistor (1.5 kΩ) and the connector lock.",
        refs=("V2G2-485",),
        needs=("hears-unicast-evcc",),
        limits=limits("stall_authorization"),
        uec="V2GTimeout",
        priority=53,
        example="ContractAuthenticationRes Finished, no ChargeParameterDiscoveryReq for a minute, FIN by the EV.",
    )

    def mine(self, response: V2gMessage) -> bool:
        return response.message in AUTHORIZED and processing(response) == "Finished"


@register
class StallBeforeCableCheck(_Stall):
    """The EV acknowledges the charge parameters and stays silent."""

    limit_name = "stall_cablecheck"
    meta = Meta(
        id="sess-ev-stall-before-cablecheck",
        title="EV does not begin CableCheck",
        severity="warning",
        class_="implementation",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="no request for {stall_cablecheck} after ChargeParameterDiscovery (ScheduleExchange) was Finished",
        cause="The EV waits for a hardware condition, or the EVSE's answer reached only its modem.",
        fix="Compare a good and a bad session of the same pair; check lock, proximity and the PLC attenuation.",
        refs=("V2G2-485",),
        needs=("hears-unicast-evcc",),
        limits=limits("stall_cablecheck"),
        uec="V2GTimeout",
        priority=53,
        example="ChargeParameterDiscoveryRes Finished, acknowledged by TCP, no CableCheckReq for 40 s.",
    )

    def mine(self, response: V2gMessage) -> bool:
        return response.message in PARAMETERS and processing(response) in ("Finished", None)
