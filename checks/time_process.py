"""How long the processes take: authorization, parameters, CableCheck, PreCharge, WeldingDetection (ISO 15118-2 Table 111)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import dc_status, limits, ns, physical, processing, quantity, seconds, stem, took
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import NewAttempt, SessionEnded

# Requests that leave a process; those of the charge loop come often and never first.
LEAVING = (
    "ChargeParameterDiscoveryReq", "DC_ChargeParameterDiscoveryReq", "AC_ChargeParameterDiscoveryReq", "ServiceDiscoveryReq", "ScheduleExchangeReq",
    "CableCheckReq", "DC_CableCheckReq", "PreChargeReq", "DC_PreChargeReq", "PowerDeliveryReq", "WeldingDetectionReq", "DC_WeldingDetectionReq",
    "SessionStopReq", "SessionSetupReq", "supportedAppProtocolReq",
)  # fmt: skip


class Process(Check):
    """Base: one process from its first request until the EV asks for something else or the session ends."""

    stems: tuple[str, ...] = ()

    def start(self) -> None:
        self.first: V2gMessage | None = None
        self.last: V2gMessage | None = None  # its last response

    def on_message(self, ev: V2gMessage) -> None:
        """Call from a handler of the process's own messages."""
        if ev.message is not None and ev.message.endswith("Req"):
            if self.first is None:
                self.first, self.last = ev, None
                self.arm()
                self.began(ev)
        elif self.first is not None:
            self.last = ev
            self.answered(ev)

    @on(V2gMessage, *LEAVING)
    def leaving(self, ev: V2gMessage) -> None:
        if self.first is not None and stem(str(ev.message)) not in self.stems:
            self._done(ev)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if self.first is not None:
            self._done(None)

    @on(NewAttempt)
    def again(self, ev: NewAttempt) -> None:
        if self.first is not None:
            self._done(None)

    def _done(self, by: V2gMessage | None) -> None:
        first = self.first
        self.cancel()
        if first is not None:
            self.left(first, self.last, by)
        self.first = self.last = None

    def began(self, request: V2gMessage) -> None:
        """The first request."""

    def answered(self, response: V2gMessage) -> None:
        """A response of the process."""

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        """The process is over: left by a request, or (None) by the session's end."""

    def evidence(self, first: V2gMessage) -> list[V2gMessage]:
        """First request and last response."""
        return [first, self.last] if self.last is not None else [first]


def finished(response: V2gMessage | None) -> bool:
    """Did the response say EVSEProcessing Finished?"""
    return response is not None and processing(response) == "Finished"


MET_V = 20.0  # a reported voltage this close to the target has met it (IEC 61851-23 CC.5.2)
AUTHORIZATION = ("ContractAuthenticationReq", "ContractAuthenticationRes", "AuthorizationReq", "AuthorizationRes")


@register
class AuthorizationWait(Process):
    """People look for their card: slow is information. Only a session that ends while still waiting is more."""

    stems = ("ContractAuthentication", "Authorization")
    meta = Meta(
        id="time-authorization-wait",
        title="Waiting for authorization",
        severity="info",
        class_="info",
        effect="stops-charging",
        side="authorization",
        certainty="likely",
        trigger="authorization not Finished {authorization_wait} after the first request; a warning where the session ends without it",
        cause="Nobody has authorized the session yet, or the backend does not answer.",
        fix="Present the card or start by app. If the driver did: look at the EVSE's backend connection at this time.",
        refs=("V2G2-854", "V2G2-856"),
        limits=limits("authorization_wait"),
        uec="AuthorizationTimeoutUser",
        mrec="CX009",
        priority=33,  # before the way the connection went: an EVSE that waited in vain may just switch itself off
        example="101 ContractAuthenticationReq in 90 s, each answered with Ongoing.",
    )

    @on(V2gMessage, *AUTHORIZATION)
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)
        if finished(ev):
            self.cancel()

    def began(self, request: V2gMessage) -> None:
        limit = self.limit("authorization_wait")
        self.at(request.t + ns(limit), lambda t: self.waits(request, t))

    def waits(self, first: V2gMessage, t: int) -> None:
        limit = self.limit("authorization_wait")
        self.fire(
            self.evidence(first), f"Authorization is not Finished {limit:g} s after the first {first.message}.", since=first.t, t=t, key="slow",
            effect="degrades", values={"waited": took(t - first.t, limit)},
        )  # fmt: skip

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        limit, waited = self.limit("authorization_wait"), (last or first).t - first.t
        if finished(last) or waited < ns(limit) or (by is not None and by.message not in ("SessionStopReq", "SessionSetupReq")):
            self.evaluated()
            return
        self.fire(
            self.evidence(first), f"The session ended after {seconds(waited):.0f} s of waiting for authorization.",
            severity="warning", since=first.t, key="never", values={"waited": took(waited, limit)},
        )  # fmt: skip


@register
class OngoingTimeout(Check):
    """EVSEProcessing stays Ongoing. Each message has its own clock; CableCheck has a check of its own."""

    meta = Meta(
        id="time-ongoing-timeout",
        title="EVSE stays in Ongoing too long",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger="EVSEProcessing Ongoing for {ongoing} since its first response; {ongoing_authorization} for authorization",
        cause="The EVSE waits for its backend, its power unit or a schedule that does not come.",
        fix="Look in the EVSE's log for what it waits for in this state.",
        refs=("V2G2-710", "V2G2-711", "V2G2-712", "V2G2-713", "ISO 15118-2 Table 109"),
        limits=limits("ongoing", "ongoing_authorization"),
        uec="V2GTimeout",
        priority=44,
        example="ChargeParameterDiscoveryRes says Ongoing for 61 s.",
    )

    def start(self) -> None:
        self.since: V2gMessage | None = None
        self.count = 0

    @on(
        V2gMessage, "AuthorizationRes", "ContractAuthenticationRes", "ChargeParameterDiscoveryRes", "ScheduleExchangeRes", "CertificateInstallationRes",
        "VehicleCheckInRes", "AC_ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryRes",
    )  # fmt: skip
    def response(self, ev: V2gMessage) -> None:
        state = processing(ev)
        if state is None:
            return
        self.arm()
        if state != "Ongoing":
            # Finished ends the clock; waiting for the customer has none.
            self._stop()
            return
        if self.since is not None and self.since.message == ev.message:
            self.count += 1
            return
        self.since, self.count = ev, 1
        waits = ev.message in ("AuthorizationRes", "ContractAuthenticationRes")
        limit = self.limit("ongoing_authorization" if waits else "ongoing")
        self.at(ev.t + ns(limit), lambda t: self.overdue(ev, t, limit, waits))

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self._stop()

    @on(NewAttempt)
    def again(self, ev: NewAttempt) -> None:
        self._stop()

    @on(V2gMessage, "SessionStopReq", "PowerDeliveryReq", "CableCheckReq", "DC_CableCheckReq", "ServiceDiscoveryReq")
    def left(self, ev: V2gMessage) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.since is not None:
            self.evaluated()
        self.since = None
        self.cancel()

    def overdue(self, first: V2gMessage, t: int, limit: float, waits: bool) -> None:
        if self.since is not first:
            return
        self.fire(
            first, f"{first.message} says Ongoing since {limit:g} s, {self.count} times so far.", key=str(first.message), since=first.t, t=t,
            side="authorization" if waits else None, values={"ongoing": took(t - first.t, limit), "responses": Value(self.count)},
        )  # fmt: skip


@register
class CableCheckTime(Process):
    """40 s is what an EV has to wait; many wait longer, so that a session which goes on keeps this as a deviation."""

    stems = ("CableCheck", "DC_CableCheck")
    meta = Meta(
        id="time-cablecheck",
        title="CableCheck takes too long",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger="CableCheck not Finished {cable_check} after its first request",
        cause="The isolation test does not come to an end: self-test of the monitor, test voltage not reached, isolation fault, a wrong proximity value.",
        fix="Read EVSEStatusCode and EVSEIsolationStatus of the named frames; check the isolation monitor, the DC output and the proximity resistor.",
        refs=("V2G2-700", "V2G2-703", "V2G-DC-380", "ISO 15118-2 Table 111"),
        limits=limits("cable_check"),
        modes=("dc",),
        uec="V2GTimeout",
        mrec="CX011",
        priority=44,
        example="61 CableCheckRes with Ongoing in 54 s, then the EV gives up.",
    )

    def start(self) -> None:
        super().start()
        self.codes: dict[str, int] = {}
        self.said = False

    @on(V2gMessage, "CableCheckReq", "CableCheckRes", "DC_CableCheckReq", "DC_CableCheckRes")
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)
        if finished(ev):
            self.cancel()

    def began(self, request: V2gMessage) -> None:
        self.codes, self.said = {}, False
        self.at(request.t + ns(self.limit("cable_check")), lambda t: self.overdue(request, t))

    def answered(self, response: V2gMessage) -> None:
        status = dc_status(response)
        words = f"{status.get('EVSEStatusCode', '')}/{status.get('EVSEIsolationStatus', '')}".strip("/")
        if words and (words in self.codes or len(self.codes) < 8):
            self.codes[words] = self.codes.get(words, 0) + 1

    def overdue(self, first: V2gMessage, t: int) -> None:
        if self.first is not first:
            return
        self.said = True
        limit = self.limit("cable_check")
        statuses = ", ".join(f"{name} {n} times" for name, n in self.codes.items())
        self.fire(
            self.evidence(first), f"CableCheck is not Finished {limit:g} s after its first request" + (f" ({statuses})." if statuses else "."),
            since=first.t, t=t, values={"duration": took(t - first.t, limit), "responses": Value(sum(self.codes.values()))},
        )  # fmt: skip

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        if not self.said:
            self.evaluated()


class _PreCharge(Process):
    """Base of the PreCharge times: what the voltage did goes with the finding as evidence."""

    stems = ("PreCharge", "DC_PreCharge")
    limit_name = "precharge"

    def start(self) -> None:
        super().start()
        self.target: float | None = None
        self.course: dict[int, float] = {}  # whole seconds since the first request -> V
        self.peak: float | None = None
        self.loops = 0

    def began(self, request: V2gMessage) -> None:
        self.course, self.peak, self.loops = {}, None, 0
        self.at(request.t + ns(max(self.limit("precharge_endless"), self.limit(self.limit_name))), lambda t: self.say(request, None, None, t))

    def step(self, ev: V2gMessage) -> None:
        """Take voltages out of a message."""
        if ev.message is not None and ev.message.endswith("Req"):
            target = physical(ev.body.get("EVTargetVoltage"))
            self.target = self.target if target is None else target
            return
        volts = physical(ev.body.get("EVSEPresentVoltage"))
        if volts is None or self.first is None:
            return
        self.loops += 1
        self.peak = volts if self.peak is None else max(self.peak, volts)
        second = int((ev.t - self.first.t) / 1e9)
        if second not in self.course and len(self.course) < 12:
            self.course[second] = round(volts, 1)

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        if last is None or last.t - first.t <= ns(self.limit(self.limit_name)):
            self.evaluated()
            return
        self.say(first, last, by, None)

    def say(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None, t: int | None) -> None:
        """Fire. Going on to PowerDelivery is success, late: a deviation. Anything else may be what ended the session."""
        limit = self.limit(self.limit_name)
        went_on = by is not None and by.message == "PowerDeliveryReq"
        took_ns = (t if last is None and t is not None else (last or first).t) - first.t
        end = physical(last.body.get("EVSEPresentVoltage")) if last is not None else next(reversed(self.course.values()), None)
        ramp = ", ".join(f"{v:g} V" for v in self.course.values())
        values = {"duration": took(took_ns, limit), "EVTargetVoltage": quantity(self.target, "V"), "EVSEPresentVoltage": quantity(end, "V"),
                  "highest": quantity(self.peak, "V"), "responses": Value(self.loops)}  # fmt: skip
        values |= {f"voltage at {s} s": Value(v, "V") for s, v in self.course.items()}
        target = "unknown" if self.target is None else f"{self.target:g} V"
        met = self.target is not None and end is not None and abs(end - self.target) <= MET_V
        how = "The EV waited and went on: a deviation only." if went_on else "The EV did not go on to PowerDelivery."
        if met and not went_on:
            how += " The reported voltage had met the target: the EV measures another one at its inlet, or waits for something else."
        self.fire(
            self.evidence(first) + ([by] if by is not None else []),
            f"PreCharge took {seconds(took_ns):.1f} s in {self.loops} responses (target {target}; EVSEPresentVoltage {ramp}). "
            + how,
            side="unknown" if met and not went_on else None, severity="info" if went_on else None, effect="degrades" if went_on else None, since=first.t, t=first.t + ns(limit),
            key=str(first.t), values=values,
        )  # fmt: skip


@register
class PreChargeTime(_PreCharge):
    """7 s by the standard. Healthy sessions take up to 19 s, so that this alone says nothing about a fault."""

    meta = Meta(
        id="time-precharge",
        title="PreCharge takes longer than the standard allows",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="first PreChargeReq to last PreChargeRes longer than {precharge}; information where the EV goes on to PowerDelivery",
        cause="The EVSE's output voltage rises slowly or never meets the target; or the EV measures another voltage than the EVSE reports.",
        fix="Compare the reported voltages with the target and with the voltage at the inlet; check the output contactor, the discharge resistor and the voltage measurement.",
        refs=("V2G2-704", "V2G2-705", "V2G2-706", "V2G2-707", "ISO 15118-2 Table 111", "DIN SPEC 70121:2014 Table 77"),
        limits=limits("precharge", "precharge_endless"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GTimeout",
        mrec="CX012",
        priority=52,
        example="119 PreCharge loops in 12 s, EVSEPresentVoltage 347 V for a target of 344 V, EVSE_NotReady all the time, SessionStop by the EV.",
    )

    @on(V2gMessage, "PreChargeReq", "PreChargeRes")
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)
        self.step(ev)


@register
class PreChargeTimeIso20(_PreCharge):
    """ISO 15118-20 gives 10 s (Table 223); the 60 s of Table 215 are the general limit of Ongoing."""

    limit_name = "precharge_iso20"
    meta = Meta(
        id="time-precharge-iso20",
        title="DC_PreCharge takes longer than the standard allows",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="first DC_PreChargeReq to last DC_PreChargeRes longer than {precharge_iso20}; information where the EV goes on to PowerDelivery",
        cause="The EVSE's output voltage rises slowly or never meets the target.",
        fix="Compare the reported voltages with the target; check the output contactor and the voltage measurement.",
        refs=("ISO 15118-20 Table 223",),
        limits=limits("precharge_iso20", "precharge_endless"),
        protocols=("iso20",),
        modes=("dc",),
        uec="V2GTimeout",
        mrec="CX012",
        priority=52,
        example="DC_PreChargeReq with EVProcessing Ongoing for 14 s.",
    )

    @on(V2gMessage, "DC_PreChargeReq", "DC_PreChargeRes")
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)
        self.step(ev)


@register
class WeldingTime(Process):
    """20 s are the limit of both sides in DIN."""

    stems = ("WeldingDetection", "DC_WeldingDetection")
    meta = Meta(
        id="time-welding-timeout",
        title="WeldingDetection takes too long",
        severity="warning",
        class_="timeout",
        effect="none",
        side="unknown",
        trigger="first WeldingDetectionReq to last WeldingDetectionRes longer than {welding}",
        cause="EVSEPresentVoltage does not fall, so that the EV goes on asking.",
        fix="Check whether the EVSE discharges its output and reports the voltage behind its contactor; check the EV's contactors.",
        refs=("V2G-DC-925", "V2G-DC-926"),
        limits=limits("welding"),
        modes=("dc",),
        uec="V2GTimeout",
        example="WeldingDetection for 24 s with 390 V all the time.",
    )

    @on(V2gMessage, "WeldingDetectionReq", "WeldingDetectionRes", "DC_WeldingDetectionReq", "DC_WeldingDetectionRes")
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        limit = self.limit("welding")
        if last is None or last.t - first.t <= ns(limit):
            self.evaluated()
            return
        volts = physical(last.body.get("EVSEPresentVoltage"))
        self.fire(
            [first, last], f"WeldingDetection took {seconds(last.t - first.t):.1f} s; the last EVSEPresentVoltage is {volts} V.", since=first.t,
            values={"duration": took(last.t - first.t, limit), "EVSEPresentVoltage": quantity(volts, "V")},
        )  # fmt: skip


@register
class CableCheckFast(Process):
    """No number in public sources; also said when the monitor was never reported active (status-isolation-sequence)."""

    stems = ("CableCheck", "DC_CableCheck")
    meta = Meta(
        id="time-cablecheck-fast",
        title="CableCheck is suspiciously fast",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="CableCheck Finished less than {cable_check_fast} after its first request",
        cause="The EVSE skips the isolation test, as simulators do, or did it before.",
        fix="Check the EVSE's configuration of the isolation test.",
        refs=("IEC 61851-23 CC.4",),
        confidence="unconfirmed",
        limits=limits("cable_check_fast"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GTimeout",
        example="CableCheckRes Finished 0.3 s after the first request.",
    )

    @on(V2gMessage, "CableCheckReq", "CableCheckRes")
    def message(self, ev: V2gMessage) -> None:
        self.on_message(ev)

    def left(self, first: V2gMessage, last: V2gMessage | None, by: V2gMessage | None) -> None:
        limit = self.limit("cable_check_fast")
        if last is None or not finished(last) or last.t - first.t >= ns(limit):
            self.evaluated()
            return
        self.fire(
            [first, last], f"CableCheck was Finished after {seconds(last.t - first.t):.2f} s.", since=first.t,
            values={"duration": took(last.t - first.t, limit, "<")},
        )  # fmt: skip
