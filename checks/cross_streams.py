"""Rules over several streams: pilot and messages, match and TCP, and what the capture itself lost."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import in_hlc, letter, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.tables import limits_of
from plugtap.checks.guards import never, with_pilot
from plugtap.checks.meta import Limit, Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Loss, Mme, Pilot, Sdp, Tcp, V2gMessage
from plugtap.sessions.notices import Exchange, SessionClosing
from plugtap.sessions.v2g_facts import delivery_kind
from plugtap.sessions.values import dig, physical

NEED_C = (
    "PreChargeReq", "DC_PreChargeReq", "CurrentDemandReq", "DC_ChargeLoopReq", "ChargingStatusReq", "AC_ChargeLoopReq",
)  # fmt: skip


@register
class CpStateVsMessage(Check):
    """CableCheck in B is cp-c-missing-cablecheck, a drop from C is cp-c-to-b-mid-charge: this is what is left, an EV that never was in C."""

    meta = Meta(
        id="cross-cp-state-vs-message",
        title="Messages of the charge phase while the pilot is in B",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger=(
            "PreCharge or charge loop messages for {state_b_detection} while the pilot stays in B and was not in C or D since the session's start"
        ),
        cause=("The pilot wire of this tap is not this car's, the EV's switch does not act, or the EVSE does not watch the pilot."),
        fix="Check that pilot and power line of this tap belong to the same outlet; then see the cp checks.",
        refs=("V2G2-913, V2G2-916..922", "V2G-DC-547, V2G-DC-556"),
        gap="proceed",
        certainty="likely",
        needs=("pilot",),
        limits=pilot("state_b_detection"),
        uec="ControlPilotStateUnexpected",
        priority=60,
        example="CurrentDemand for minutes, the pilot at 9 V.",
    )

    def start(self) -> None:
        self.was_ready = False
        self.cable_check = False
        self.first: V2gMessage | None = None

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if letter(ev.state) in "CD" or letter(ev.before) in "CD":
            self.was_ready = True
        self.first = None

    @on(V2gMessage, "CableCheckReq", "DC_CableCheckReq")
    def checked(self, ev: V2gMessage) -> None:
        self.cable_check = True

    @on(V2gMessage, *NEED_C, only=with_pilot)
    def message(self, ev: V2gMessage) -> None:
        held = self.session.pilot
        if held is None or letter(held.state) != "B" or self.was_ready or self.cable_check:
            return
        self.arm()
        self.first = self.first or ev
        if ev.t - self.first.t >= ns(self.limit("state_b_detection")):
            self.fire(
                [held, self.first, ev],
                f"{ev.message} flows while the pilot is in {held.state}.",
                values={"actualValue": Value(held.state), "expectedValue": Value("C2")},
                since=self.first.t,
            )


@register
class MatchNoTcp(Check):
    """From the first answer of the SECC; no answer at all is sdp-no-response."""

    meta = Meta(
        id="cross-match-no-tcp",
        title="The EV found the SECC but does not connect",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger=("no TCP SYN within {communication_setup} of the first SECC discovery response, on a tap that hears the EV's unicast"),
        cause="The EV's IP stack, or it does not accept the announced address, port or security.",
        fix=("Compare the response's address, port and security with what the EV asked for (sdp checks); read the EV's log."),
        refs=("V2G2-446, V2G2-716",),
        needs=("hears-unicast-evcc",),
        limits=limits_of("slac", "communication_setup"),
        uec="PLCLinkDetectionTimeout",
        priority=40,
        example="Ten discovery exchanges, no SYN.",
    )

    def start(self) -> None:
        self.waits = False
        self.answer: Sdp | None = None

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        if not ev.request and self.answer is None and not self.session.streams:
            self.answer = ev
            self.arm()
            self.waits = True
            self.wake()
            self.at(ev.t + ns(self.limit("communication_setup")), self.overdue)

    @on(Tcp, only=never)
    def connection(self, ev: Tcp) -> None:
        if self.waits:
            self.waits = False
            self.evaluated()
            self.cancel()
            self.sleep()

    def overdue(self, t: int) -> None:
        if self.answer is not None and not self.session.messages and self.session.ended is None:
            self.fire(
                self.answer,
                f"No TCP connection {self.limit('communication_setup'):g} s after the discovery response.",
                values={"waited": Value(seconds(t - self.answer.t), "s", self.limit("communication_setup"), ">=")},
                since=self.answer.t,
                t=t,
            )


@register
class SdpNoCp(Check):
    """Traffic of a car that is not plugged in here."""

    meta = Meta(
        id="cross-sdp-no-cp",
        title="Traffic of an EV while nothing is plugged in here",
        severity="info",
        class_="heuristic",
        effect="none",
        side="line",
        trigger="SLAC, discovery or V2G messages while this connector's pilot is in A",
        cause="The signal of a neighbouring outlet leaks over.",
        fix="Attribute the session to the other connector; check shielding and routing; set own_macs of the tap.",
        refs=("practice",),
        gap="proceed",
        certainty="likely",
        pairs="any",
        needs=("pilot",),
        priority=75,
        example="CM_SLAC_MATCH.CNF while the pilot reads 12 V.",
    )

    @on(Mme, "CM_SLAC_PARM.REQ", "CM_SLAC_MATCH.CNF")
    def slac(self, ev: Mme) -> None:
        self._look(ev)

    @on(Sdp)
    def discovery(self, ev: Sdp) -> None:
        self._look(ev)

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev: V2gMessage) -> None:
        self._look(ev)

    def _look(self, ev: Mme | Sdp | V2gMessage) -> None:
        held = self.session.pilot
        if held is None:
            return
        self.arm()
        if letter(held.state) == "A":
            self.fire([held, ev], "An EV speaks while this connector's pilot is in A.", values={"actualValue": Value(held.state)})


@register
class RenegotiationCp(Check):
    """Cars differ here: information."""

    meta = Meta(
        id="cross-renegotiation-cp",
        title="The EV drops to B during renegotiation",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="C or D to B between PowerDeliveryReq(Renegotiate) and PowerDeliveryReq(Start)",
        cause="The EV opens its contactor for the renegotiation; the standard keeps it closed.",
        fix="EVSE: tolerate both.",
        refs=("V2G2-842",),
        gap="proceed",
        needs=("pilot",),
        protocols=("iso2",),
        modes=("dc",),
        uec="ControlPilotStateUnexpected",
        priority=90,
        example="B for 2 s, then CableCheck.",
    )

    def start(self) -> None:
        self.asked: V2gMessage | None = None

    @on(V2gMessage, "PowerDeliveryReq")
    def request(self, ev: V2gMessage) -> None:
        self.asked = ev if delivery_kind(ev.body) in ("Renegotiate", "ScheduleRenegotiation") else None
        if self.asked is not None:
            self.arm()

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if self.asked is not None and letter(ev.before) in "CD" and letter(ev.state) == "B" and in_hlc(self.session):
            self.fire([self.asked, ev], f"The pilot went to {ev.state} after PowerDeliveryReq(Renegotiate).", since=self.asked.t)


EMERGENCY = {
    "from": Limit(5, "A", "current that flowed before"),
    "to": Limit(1, "A", "current that counts as none"),
    "notice": Limit(1, "s", "time the EVSE has to say why"),
}


@register
class EmergencyOrder(Check):
    """Unconfirmed: the order that IEC 61851-23 wants was not found in public text."""

    meta = Meta(
        id="cross-emergency-order",
        title="The current stops without a word of the EVSE",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        trigger=(
            "EVSEPresentCurrent falls from above {from} to below {to} while the EV still asks for more than {from}, "
            "and no status or notification changes within {notice}"
        ),
        cause="The EVSE cut the power first, or its measurement failed.",
        fix="Read the EVSE's log at this time.",
        refs=("IEC 61851-23",),
        confidence="unconfirmed",
        certainty="possible",
        protocols=("din", "iso2"),
        modes=("dc",),
        limits=EMERGENCY,
        priority=85,
        enabled=False,
        example="80 A, 0 A, EVSE_Ready for three seconds.",
    )

    def start(self) -> None:
        self.last: float | None = None
        self.dropped: Exchange | None = None
        self.before = 0.0

    @on(Exchange, "CurrentDemand")
    def loop(self, ev: Exchange) -> None:
        current = physical(ev.response.body.get("EVSEPresentCurrent"))
        wanted = physical(ev.request.body.get("EVTargetCurrent"))
        status = dig(ev.response.body, "DC_EVSEStatus", "EVSEStatusCode")
        notice = dig(ev.response.body, "DC_EVSEStatus", "EVSENotification")
        last, self.last = self.last, current
        if current is None or wanted is None:
            return
        silent = status == "EVSE_Ready" and notice in (None, "None")
        if not silent or wanted <= self.limit("from") or current >= self.limit("to"):
            self.dropped = None
            if last is not None and last > self.limit("from"):
                self.arm()
            return
        if self.dropped is None and last is not None and last > self.limit("from"):
            self.dropped, self.before = ev, last
        elif self.dropped is not None and ev.t - self.dropped.t >= ns(self.limit("notice")):
            self.fire(
                [self.dropped, ev],
                f"The current fell from {self.before:g} A to {current:g} A at a target of {wanted:g} A; the EVSE still reports {status}.",
                values={"EVSEPresentCurrent": Value(current, "A", self.limit("to"), "<"), "EVTargetCurrent": Value(wanted, "A")},
                since=self.dropped.t,
            )
            self.dropped = None


@register
class SnifferLoss(Check):
    """A statement about the tap: what is missing in the capture but was received by the peer."""

    meta = Meta(
        id="cross-sniffer-loss",
        title="The capture has holes",
        severity="info",
        class_="info",
        effect="none",
        side="tap",
        trigger=(
            "a peer acknowledges TCP bytes the capture does not have, bytes of a stream are missing for good, the capture reports dropped frames, or only one direction of the dialogue was heard"
        ),
        cause=(
            "The tap does not hear everything: power line signal of one side too weak here, host too slow, or a "
            "third modem that gets one direction only."
        ),
        fix=("Rules about missing messages are silent for this time. Place the tap at a host or between two modems; raise its buffer."),
        refs=("self-check",),
        gap="proceed",
        pairs="any",
        priority=95,
        example="Acknowledgement of 49 bytes nobody has seen.",
    )

    def start(self) -> None:
        self.bytes = 0
        self.frames = 0

    @on(Tcp, "open")
    def opened(self, ev: Tcp) -> None:
        self.arm()

    @on(Tcp, "ack-unseen", "gap")
    def stream(self, ev: Tcp) -> None:
        self.bytes += ev.length
        what = "acknowledged but not captured" if ev.kind == "ack-unseen" else "missing for good"
        self.fire(ev, f"{ev.length} bytes of stream {ev.stream} are {what}.", key=ev.kind, values={"bytes": Value(self.bytes)})

    @on(Loss)
    def loss(self, ev: Loss) -> None:
        if ev.kind == "drop" and ev.frames:
            self.frames += ev.frames
            self.fire(ev, f"The capture lost {ev.frames} frames.", key="drop", values={"frames": Value(self.frames)})

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        heard = [side for side in ("EVCC", "SECC") if self.session.sees(f"unicast-{side.lower()}")]
        if len(self.session.history) >= 3 and len(heard) == 1 and len({s.side for s in self.session.history}) == 1:
            self.fire(None, f"Only the {heard[0]}'s messages were heard.", key="one side", frames=(self.session.history[0].frame,))


AUTHORIZATION = {
    "requests": Limit(200, "", "requests without an end"),
    "time": Limit(300, "s", "authorisation without an end"),
}


@register
class AuthorizationLoop(Check):
    """Waiting for a driver is normal; this long it deserves a look."""

    meta = Meta(
        id="cross-authorization-loop",
        title="Authorisation goes on and on",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="authorization",
        trigger=("more than {requests} Authorization (ContractAuthentication) requests, or {time} of them, without EVSEProcessing Finished"),
        cause="Nobody authorised, or the EVSE's backend does not answer.",
        fix="Ask whether somebody paid or showed a card; check the EVSE's connection to its backend.",
        refs=("V2G2-854", "V2G20-2230"),
        gap="proceed",
        certainty="likely",
        limits=AUTHORIZATION,
        uec="AuthorizationTimeoutUser",
        mrec="CX009",
        priority=60,
        example="240 requests in 4 minutes.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None
        self.count = 0

    @on(V2gMessage, "AuthorizationReq", "ContractAuthenticationReq")
    def request(self, ev: V2gMessage) -> None:
        if self.first is None:
            self.first = ev
            self.arm()
        self.count += 1
        lasted = ev.t - self.first.t
        many, long = self.count > self.limit("requests"), lasted > ns(self.limit("time"))
        if many or long:
            self.fire(
                [self.first, ev],
                f"{self.count} authorisation requests in {seconds(lasted):.0f} s without an end.",
                values={
                    "requests": Value(self.count, "", self.limit("requests"), ">" if many else "<="),
                    "duration": Value(seconds(lasted), "s", self.limit("time"), ">" if long else "<="),
                },
            )

    @on(V2gMessage, "AuthorizationRes", "ContractAuthenticationRes")
    def response(self, ev: V2gMessage) -> None:
        if ev.body.get("EVSEProcessing") == "Finished":
            self.first, self.count = None, 0
