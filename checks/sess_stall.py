"""The EV had its answer and does not go on."""

from __future__ import annotations

from plugtap.checks.base import on
from plugtap.checks.guards import never
from plugtap.checks.meta import Meta
from plugtap.checks.patience import Patience
from plugtap.checks.registry import register
from plugtap.checks.time_sequence import waits
from plugtap.checks.v2g_common import dc_status, failed, limits, ns, processing, response_code, seconds, took
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.session import Session

LONG = 3  # times the limit: then a stall is said while it goes on
STOPPED = ("Stop", "Standby")
AUTHORIZED = ("AuthorizationRes", "ContractAuthenticationRes")
PARAMETERS = ("ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes", "ScheduleExchangeRes")
SETUP_ANSWERS = frozenset({*AUTHORIZED, *PARAMETERS})


def after_setup(session: Session, ev: V2gMessage) -> bool:
    """Right after an answer to authorization or to the charge parameters."""
    before = session.message_before
    return before is not None and before.message in SETUP_ANSWERS


class _Stall(Patience):
    """Base: a stall in which the session ends, or that goes on, is a warning; one after which the EV goes on is information."""

    limit_name = "stall"

    def start(self) -> None:
        super().start()
        self.limit_s = self.limit(self.limit_name)
        self.limit_ns = ns(self.limit_s)
        self.least = ns(self.limit_s * LONG)

    def mine(self, response: V2gMessage) -> bool:
        """Is a stall after this response a matter of this check?"""
        raise NotImplementedError

    def stalls(self, response: V2gMessage, delivery: str | None) -> bool:
        """Is the EV to go on after this message, and is it of this check's?"""
        return delivery not in STOPPED and waits(response) and self.mine(response) and not failed(response_code(response))

    def span(self, latest: V2gMessage) -> int | None:
        return self.least if self.stalls(latest, self.session.delivery) else None

    def over(self, latest: V2gMessage, t: int) -> None:
        # The limit has passed long ago. Where nothing at all was heard meanwhile, recording may have stopped: wait for the end.
        if self.session.hushed(latest.t, t):
            self.judged, self.unproven = None, latest
        else:
            self.say(latest, t)

    def asked(self, request: V2gMessage) -> None:
        """The next request came."""
        session = self.session
        response = session.message_before
        if response is None or response is self.judged or not self.mine(response):
            return
        if request.t - response.t <= self.limit_ns or session.hushed(response.t, request.t):
            self.evaluated()
            return
        # The request may be the one that asks to stop: what was asked for before it counts.
        delivery = session.delivery_before if request.message == "PowerDeliveryReq" else session.delivery
        if self.stalls(response, delivery):
            self.say(response, request.t, request)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        last = self.waiting
        super().ended(ev)
        if last is None or not self.stalls(last, self.session.delivery):
            return
        # A close on the same connection with nothing missing in its sequence numbers proves the silence before it.
        closed = ev.how in ("fin", "rst") and ev.t - last.t >= self.limit_ns
        if closed or (ev.how == "silence" and ev.by == "EVCC"):
            self.say(last, max(ev.t, last.t + self.limit_ns))

    def say(self, response: V2gMessage, t: int, request: V2gMessage | None = None) -> None:
        """Fire: the EV went on with `request`, or (None) did not until `t`."""
        limit = self.limit_s
        status = dc_status(response)
        told = ", ".join(str(status[k]) for k in ("EVSEStatusCode", "EVSEIsolationStatus", "EVSENotification") if k in status)
        state = processing(response)
        said = "; ".join(x for x in (f"EVSEProcessing {state}" if state else "", told) if x)
        text = f"The EV got {response.message} and sent nothing for {seconds(t - response.t):.0f} s" + (f" ({said})" if said else "")
        self.fire(
            [response, request] if request is not None else response,
            text + (f", then {request.message}." if request is not None else "."),
            key=f"{response.message} {request is not None}", since=response.t, t=response.t + ns(limit),
            values={"pause": took(t - response.t, limit, ">=")},
            severity="info" if request is not None else None, effect="none" if request is not None else None,
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

    @on(V2gMessage, "*Res", only=never, quiet=("armed",))
    def response(self, ev: V2gMessage) -> None:
        self.arm()

    @on(V2gMessage, "*Req")
    def request(self, ev: V2gMessage) -> None:
        response = self.session.message_before
        if response is not None and ev.t - response.t <= self.limit_ns:
            self.evaluated()
        else:
            self.asked(ev)

    def mine(self, response: V2gMessage) -> bool:
        return response.message not in SETUP_ANSWERS or processing(response) != "Finished"


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

    @on(V2gMessage, *AUTHORIZED)
    def response(self, ev: V2gMessage) -> None:
        if self.mine(ev):
            self.arm()

    @on(V2gMessage, "*Req", only=after_setup)
    def request(self, ev: V2gMessage) -> None:
        self.asked(ev)

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

    @on(V2gMessage, *PARAMETERS)
    def response(self, ev: V2gMessage) -> None:
        if self.mine(ev):
            self.arm()

    @on(V2gMessage, "*Req", only=after_setup)
    def request(self, ev: V2gMessage) -> None:
        self.asked(ev)

    def mine(self, response: V2gMessage) -> bool:
        return response.message in PARAMETERS and processing(response) in ("Finished", None)
