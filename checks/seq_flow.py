"""Sequence errors on the wire, renegotiation, metering receipts and pauses."""

from __future__ import annotations

from plugtap.checks.asked import Asked
from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, refused_exchange
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import codes
from plugtap.checks.v2g_common import response_code
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import Exchange
from plugtap.sessions.v2g_facts import delivery_kind


@register
class SequenceErrorSeen(Check):
    """The SECC says so itself. The request before tells whether the EV or a too strict SECC is at fault."""

    meta = Meta(
        id="seq-failed-sequenceerror",
        title="EVSE answers FAILED_SequenceError",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="a response with ResponseCode FAILED_SequenceError",
        cause="The EV sent a request the EVSE does not allow in its state; some EVSEs are stricter than the standard with SessionStop.",
        fix="Compare the named request and the one before it with the order of the standard.",
        refs=("V2G2-539", "V2G-DC-666"),
        uec="V2GSequenceError",
        priority=70,
        gap="proceed",
        example="PowerDelivery was started, SessionStopReq without PowerDelivery(Stop), SessionStopRes FAILED_SequenceError.",
    )

    @on(Exchange, only=refused_exchange, quiet=COUNTED)
    def answered(self, ev: Exchange) -> None:
        before = self.session.response_before
        self.arm()
        if response_code(ev.response) != "FAILED_SequenceError":
            self.evaluated()
            return
        text = f"{ev.request.message} is answered with FAILED_SequenceError"
        if before is not None:
            text += f"; the message before was {before.message}"
        if ev.name == "SessionStop" and self.session.delivering:
            text += ". Power delivery was started and not stopped: the EV left out PowerDelivery(Stop)"
        known = codes("response").get("FAILED_SequenceError")
        self.fire(
            [e for e in (before, ev.request, ev.response) if e is not None], text + ".", side=known.side if known else None,
            values={"ResponseCode": Value("FAILED_SequenceError")},
        )  # fmt: skip


@register
class RenegotiationSkipsCableCheck(Check):
    """The DC state table keeps CableCheck and PreCharge after a renegotiation; EVs skip them, and many EVSEs let them."""

    meta = Meta(
        id="seq-renegotiation-skips-cablecheck",
        title="Renegotiation without CableCheck and PreCharge",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="PowerDelivery(Renegotiate), ChargeParameterDiscovery, PowerDelivery(Start) without CableCheck in between",
        cause="The standard is read differently: the cable has been checked in this session already.",
        fix="EVSE: accept it, or be ready for EVs that do so.",
        refs=("V2G2-582", "V2G2-813", "V2G2-842"),
        protocols=("iso2",),
        modes=("dc",),
        uec="V2GSequenceError",
        example="PowerDeliveryReq Renegotiate, ChargeParameterDiscovery, PowerDeliveryReq Start.",
    )

    def start(self) -> None:
        self.asked: V2gMessage | None = None
        self.checked = False

    @on(V2gMessage, "CableCheckReq")
    def cable_check(self, ev: V2gMessage) -> None:
        self.checked = True

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        kind = delivery_kind(ev.body)
        if kind == "Renegotiate":
            self.arm()
            self.asked, self.checked = ev, False
        elif kind == "Start" and self.asked is not None and self.session.energy == "dc":
            asked, self.asked = self.asked, None
            if self.checked:
                self.evaluated()
            else:
                self.fire([asked, ev], "After the renegotiation the EV starts power without CableCheck and PreCharge.", since=asked.t)


@register
class RenegotiateBeforeStart(Asked):
    """Nothing to renegotiate before power was started."""

    meta = Meta(
        id="seq-renegotiate-before-start",
        title="Renegotiation before the first start",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="PowerDeliveryReq with ChargeProgress Renegotiate before one with Start",
        cause="The EV's state machine.",
        fix="EV: send ChargeProgress Start first. EVSE: answer with a FAILED code.",
        refs=("V2G2-812",),
        protocols=("iso2",),
        uec="V2GSequenceError",
        priority=38,
        example="The first PowerDeliveryReq of the session says Renegotiate.",
    )

    def start(self) -> None:
        self.started = False

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        kind = delivery_kind(ev.body)
        self.arm()
        if kind == "Renegotiate" and not self.started and not self.session.start_late:
            self.hold(ev, ev, "The EV asks for renegotiation before it ever started power.", since=self.session.start)
        else:
            self.evaluated()
        self.started = self.started or kind == "Start"


@register
class ReceiptNotRequested(Check):
    """A metering receipt answers ReceiptRequired true, in a contract session."""

    meta = Meta(
        id="seq-meteringreceipt-without-request",
        title="Metering receipt nobody asked for",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="MeteringReceiptReq while the last response had ReceiptRequired false or absent, or with external payment",
        cause="The EV sends receipts in every loop.",
        fix="EV: send MeteringReceiptReq only after ReceiptRequired true.",
        refs=("V2G2-691", "V2G2-795"),
        protocols=("iso2",),
        uec="V2GSequenceError",
        example="ChargingStatusRes with ReceiptRequired false, then MeteringReceiptReq.",
    )

    def start(self) -> None:
        self.last: V2gMessage | None = None

    @on(V2gMessage, "ChargingStatusRes", "CurrentDemandRes")
    def loop(self, ev: V2gMessage) -> None:
        self.last = ev

    @on(V2gMessage, "MeteringReceiptReq")
    def receipt(self, ev: V2gMessage) -> None:
        if self.last is None:
            return
        self.arm()
        if self.session.payment == "eim":
            self.fire([self.last, ev], "The EV sends a metering receipt although payment is external.", key="eim", since=self.last.t)
        elif self.last.body.get("ReceiptRequired") is not True:
            self.fire([self.last, ev], f"The EV sends a metering receipt; {self.last.message} did not ask for one.", since=self.last.t)
        else:
            self.evaluated()


@register
class ReceiptInEim(Check):
    """External payment has no contract certificate to sign a receipt with."""

    meta = Meta(
        id="seq-receiptrequired-eim",
        title="EVSE asks for a receipt although payment is external",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="ReceiptRequired true in a session with ExternalPayment",
        cause="The EVSE's metering configuration does not look at the payment option.",
        fix="EVSE: set ReceiptRequired only in contract sessions.",
        refs=("V2G2-691",),
        protocols=("iso2",),
        uec="V2GSequenceError",
        gap="proceed",
        example="CurrentDemandRes ReceiptRequired true after SelectedPaymentOption ExternalPayment.",
    )

    @on(V2gMessage, "ChargingStatusRes", "CurrentDemandRes")
    def loop(self, ev: V2gMessage) -> None:
        if self.session.payment != "eim" or "ReceiptRequired" not in ev.body:
            return
        self.arm()
        if ev.body["ReceiptRequired"] is True:
            self.fire(ev, f"{ev.message} asks for a receipt, but the payment is external.", values={"ReceiptRequired": Value(True, "", False, "!=")})
        else:
            self.evaluated()
