"""Requests that the order of messages does not allow (order.tsv)."""

from __future__ import annotations

from plugtap.checks.base import on
from plugtap.checks.finding import Value
from plugtap.checks.guards import never, not_looping
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.seq_common import LOOPS, OrderCheck, Place, special
from plugtap.checks.v2g_common import failed, is_request, response_code, stem, where
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import Exchange


def evidence(place: Place, ev: V2gMessage) -> list[V2gMessage]:
    """The response before and the request that should not be."""
    return [place.response, ev]


def expected(place: Place, ev: V2gMessage) -> dict[str, Value]:
    """What came beside what may come."""
    return {"request": Value(ev.message, "", sorted(place.rule.next), "not in"), "after": Value(place.response.message)}


@register
class UnexpectedRequest(OrderCheck):
    """What no special check tells better and no healthy EV does."""

    meta = Meta(
        id="seq-unexpected-request",
        title="Request not allowed here",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="a request that order.tsv allows neither strictly nor as tolerated after the response before it",
        cause="The EV's state machine differs from the standard, or a message between the two is missing on the wire.",
        fix="Compare the named request with the allowed ones; a SECC answers FAILED_SequenceError here.",
        refs=("V2G2-538", "V2G2-459", "V2G-DC-390", "V2G20-460"),
        uec="V2GSequenceError",
        priority=35,
        example="PreChargeReq right after AuthorizationRes.",
    )

    @on(V2gMessage, "*Req", only=not_looping)
    def message(self, ev: V2gMessage) -> None:
        if ev.message is None or not is_request(ev.message) or (stem(ev.message) in LOOPS and self._same(ev)):
            return
        place = self.place(ev)
        if place is None:
            return
        self.arm()
        now = stem(ev.message)
        if now in place.rule.next or now in place.rule.tolerated or special(place, ev) is not None:
            self.evaluated()
            return
        allowed = ", ".join(f"{n}Req" for n in sorted(place.rule.next)) or "nothing"
        self.hold(
            ev, evidence(place, ev), f"{ev.message} after {place.response.message}; allowed is {allowed}.", key=f"{place.after} {now}",
            since=place.before.t, values=expected(place, ev),
        )  # fmt: skip

    def _same(self, ev: V2gMessage) -> bool:
        before = self.session.request_before
        return before is not None and before.message == ev.message


class _Special(OrderCheck):
    """Base: fires where `special` names this check. Subclasses mark `request` with the messages it concerns."""

    def look(self, ev: V2gMessage, detail: str) -> None:
        """Judge a request that this check is about."""
        place = self.place(ev)
        if place is None:
            return
        self.arm()
        now = stem(str(ev.message))
        if now in place.rule.next or now in place.rule.tolerated or special(place, ev) != self.meta.id:
            self.evaluated()
            return
        detail = detail.format(now=ev.message, before=place.response.message, where=where(self.session))
        if self.meta.effect == "stops-charging":
            self.hold(ev, evidence(place, ev), detail, since=place.before.t, values=expected(place, ev))
        else:
            self.fire(evidence(place, ev), detail, since=place.before.t, values=expected(place, ev))


@register
class ContractAuthMissing(_Special):
    """The ISO 15118-2 habit of other names does not exist in DIN: ContractAuthentication must come, also with external payment."""

    meta = Meta(
        id="seq-contractauth-missing-din",
        title="ContractAuthentication left out",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="ChargeParameterDiscoveryReq before a ContractAuthenticationRes with EVSEProcessing Finished",
        cause="The EV skips authorization, as with external payment nothing seems left to authenticate.",
        fix="EV: send ContractAuthenticationReq until the EVSE says Finished.",
        refs=("V2G-DC-444", "V2G-DC-497", "V2G-DC-498"),
        protocols=("din",),
        modes=("dc",),
        uec="V2GSequenceError",
        priority=30,
        example="ServicePaymentSelectionRes, then ChargeParameterDiscoveryReq; the EVSE never answers.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryReq")
    def request(self, ev: V2gMessage) -> None:
        if ev.schema == "din":
            self.look(ev, "{now} follows {before}: the EV did not wait for authorization.")


@register
class SessionStopEarly(_Special):
    """By the strict reading of ISO 15118-2 a session may be stopped only after PowerDelivery(Stop); many EVs leave so all the same."""

    meta = Meta(
        id="seq-sessionstop-early",
        title="SessionStop before PowerDelivery was stopped",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="SessionStopReq where order.tsv does not allow it, outside CurrentDemand",
        cause="The EV ends the session; the standards disagree on where it may.",
        fix="EVSE: answer OK and shut down. EV: send PowerDeliveryReq(Stop) first once power was started.",
        refs=("V2G2-538", "V2G2-570"),
        uec="V2GSequenceError",
        example="SessionStopReq right after PowerDeliveryRes(Start).",
    )

    @on(V2gMessage, "SessionStopReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before} {where}.")


@register
class SessionStopFromLoop(_Special):
    """Common in the field, and most EVSEs answer OK."""

    meta = Meta(
        id="seq-sessionstop-from-loop",
        title="SessionStop straight from the charge loop",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="SessionStopReq after CurrentDemandRes, without PowerDeliveryReq(Stop) in between",
        cause="The EV leaves out PowerDelivery(Stop), so that the current is not ramped down in order.",
        fix="EV: send PowerDeliveryReq(Stop) first.",
        refs=("V2G2-593", "V2G-DC-462", "V2G-DC-465"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GSequenceError",
        example="CurrentDemandRes, SessionStopReq; the EVSE answers OK.",
    )

    @on(V2gMessage, "SessionStopReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}: the current was not asked to stop.")


@register
class WeldingOngoing(_Special):
    """EVProcessing says that the EV is not finished with WeldingDetection."""

    meta = Meta(
        id="seq-welding-ongoing-then-stop",
        title="SessionStop while WeldingDetection is ongoing",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="SessionStopReq after DC_WeldingDetectionReq with EVProcessing Ongoing",
        cause="The EV's state machine leaves WeldingDetection without saying Finished.",
        fix="EV: send DC_WeldingDetectionReq with EVProcessing Finished before SessionStopReq.",
        refs=("V2G20-1630", "V2G20-1631"),
        protocols=("iso20",),
        modes=("dc",),
        uec="V2GSequenceError",
        example="DC_WeldingDetectionReq Ongoing, then SessionStopReq.",
    )

    @on(V2gMessage, "SessionStopReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}, and the EV had said EVProcessing Ongoing.")


@register
class PreChargeOngoing(_Special):
    """The EV says it is not ready and closes its contactors."""

    meta = Meta(
        id="seq-precharge-to-pd-while-ongoing",
        title="PowerDelivery while PreCharge is ongoing",
        severity="warning",
        class_="normative",
        effect="unsafe",
        side="EVCC",
        trigger="PowerDeliveryReq after DC_PreChargeReq with EVProcessing Ongoing",
        cause="The EV's state machine leaves DC_PreCharge without saying Finished.",
        fix="EV: send EVProcessing Finished once the voltage is met. EVSE: answer FAILED_SequenceError.",
        refs=("V2G20-2005", "V2G20-2006"),
        protocols=("iso20",),
        modes=("dc",),
        uec="V2GSequenceError",
        priority=48,
        example="DC_PreChargeReq Ongoing, then PowerDeliveryReq Start.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}, and the EV had said EVProcessing Ongoing.")


@register
class OngoingNotRepeated(_Special):
    """SessionStop is exempt: EVs end good sessions so."""

    meta = Meta(
        id="seq-ongoing-not-repeated",
        title="EV did not repeat a request that is ongoing",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="EVSEProcessing Ongoing answered with another request than the same one or SessionStop",
        cause="The EV does not read EVSEProcessing.",
        fix="EV: repeat the request until the EVSE says Finished.",
        refs=("V2G2-504", "V2G2-506", "V2G2-617", "V2G20-2221"),
        uec="V2GSequenceError",
        priority=34,
        example="CableCheckRes Ongoing, then PreChargeReq.",
    )

    @on(V2gMessage, "*Req", only=not_looping)
    def request(self, ev: V2gMessage) -> None:
        if not not_looping(self.session, ev):
            return
        self.look(ev, "{before} said Ongoing, {now} follows.")


@register
class SkippedCableCheck(_Special):
    """After a renegotiation EVs leave CableCheck out: that is seq-renegotiation-skips-cablecheck."""

    meta = Meta(
        id="seq-skipped-cablecheck",
        title="CableCheck left out",
        severity="warning",
        class_="normative",
        effect="unsafe",
        side="EVCC",
        trigger="PreCharge, PowerDelivery or the charge loop after the charge parameters, without CableCheck in this session",
        cause="The EV's state machine goes on without the isolation test.",
        fix="EV: send CableCheckReq until Finished. EVSE: answer FAILED_SequenceError and do not apply voltage.",
        refs=("V2G2-582", "V2G2-621", "V2G-DC-453", "V2G-DC-455"),
        modes=("dc",),
        uec="V2GSequenceError",
        priority=36,
        example="ChargeParameterDiscoveryRes Finished, then PreChargeReq.",
    )

    @on(V2gMessage, "PreChargeReq", "PowerDeliveryReq", "DC_PreChargeReq")
    def request(self, ev: V2gMessage) -> None:
        if (self.session.energy or "").startswith("ac"):
            return
        if {"CableCheckRes", "DC_CableCheckRes"} & self.session.messages.keys():
            self.arm()
            self.evaluated()
            return
        self.look(ev, "{now} follows {before}: no isolation test in this session.")


@register
class SkippedPreCharge(_Special):
    """Contactors close on whatever voltage there is."""

    meta = Meta(
        id="seq-skipped-precharge",
        title="PreCharge left out",
        severity="warning",
        class_="normative",
        effect="unsafe",
        side="EVCC",
        trigger="PowerDelivery or the charge loop right after CableCheck",
        cause="The EV's state machine goes on without matching voltages.",
        fix="EV: send PreChargeReq until EVSEPresentVoltage meets the target. EVSE: answer FAILED_SequenceError.",
        refs=("V2G2-584", "V2G2-587", "V2G-DC-455", "V2G-DC-458"),
        modes=("dc",),
        uec="V2GSequenceError",
        priority=36,
        example="CableCheckRes Finished, then PowerDeliveryReq.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}: voltages were not matched.")


@register
class NotRaised(OrderCheck):
    """What the SECC should have refused and did not. Said only for what seq-unexpected-request and its special cases would say."""

    meta = Meta(
        id="seq-sequenceerror-not-raised",
        title="EVSE accepted a request out of order",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="a request that order.tsv does not allow answered with an OK code",
        cause="The EVSE's state machine is lenient; often on purpose, to charge with such EVs.",
        fix="Nothing as long as it is on purpose.",
        refs=("V2G2-538", "V2G-DC-390", "V2G20-2005"),
        uec="V2GSequenceError",
        example="PowerDeliveryReq while PreCharge is ongoing, PowerDeliveryRes OK.",
    )

    def start(self) -> None:
        self.odd: V2gMessage | None = None
        self.after = ""

    @on(V2gMessage, "*Req", only=not_looping)
    def message(self, ev: V2gMessage) -> None:
        if ev.message is None or not is_request(ev.message):
            return
        self.odd = None
        before = self.session.request_before
        if before is not None and before.message == ev.message:
            return
        place = self.place(ev)
        if place is None:
            return
        self.arm()
        now = stem(ev.message)
        if now not in place.rule.next and now not in place.rule.tolerated and now != "SessionStop":
            self.odd, self.after = ev, str(place.response.message)
            self.wake()
        else:
            self.evaluated()

    @on(Exchange, only=never)
    def answered(self, ev: Exchange) -> None:
        odd, self.odd = self.odd, None
        self.sleep()
        if odd is None or odd is not ev.request or failed(response_code(ev.response)):
            return
        self.fire(
            [odd, ev.response], f"{odd.message} came after {self.after}, and the EVSE answered {response_code(ev.response)}.", key=str(odd.message),
            since=odd.t, values={"ResponseCode": Value(response_code(ev.response), "", "FAILED_SequenceError", "!=")},
        )  # fmt: skip
