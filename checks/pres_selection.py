"""Services, payment and schedules: was what is selected offered before?"""

from __future__ import annotations

from typing import Any

from plugtap.checks.asked import Asked
from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.seq_common import OrderCheck, special
from plugtap.checks.v2g_common import dig, failed, physical, quantity, response_code, stem
from plugtap.checks.value_parameters import schedule_entries
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.v2g_facts import delivery_kind

TUPLE_ID = (1, 255)


def names(node: Any, *path: str) -> list[Any]:
    """A list at a path; a single value as a list of one; [] where there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, list) else [] if node is None else [node]


def offered_services(ev: V2gMessage) -> set[int]:
    """ServiceIDs of a ServiceDiscoveryRes."""
    body = ev.body
    found = [dig(body, "ChargeService", "ServiceID"), dig(body, "ChargeService", "ServiceTag", "ServiceID")]
    for path in (("ServiceList", "Service"), ("EnergyTransferServiceList", "Service"), ("VASList", "Service")):
        for entry in names(body, *path):
            found += [dig(entry, "ServiceID"), dig(entry, "ServiceTag", "ServiceID")]
    return {x for x in found if isinstance(x, int)}


@register
class ServiceNotOffered(Asked):
    """ServiceDetail and service selection may name only what ServiceDiscoveryRes lists."""

    meta = Meta(
        id="pres-servicelist-dup",
        title="EV asks for a service that was not offered",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="ServiceDetailReq, PaymentServiceSelectionReq or ServicePaymentSelectionReq with a ServiceID that is not in ServiceDiscoveryRes",
        cause="The EV uses fixed service ids.",
        fix="EV: use the ids of ServiceDiscoveryRes. EVSE: answer FAILED_ServiceIDInvalid.",
        refs=("V2G2-425", "V2G2-467", "V2G20-464"),
        uec="V2GServiceIdInvalid",
        priority=39,
        example="ServiceDetailReq for service 2, offered was 1.",
    )

    def start(self) -> None:
        self.offer: V2gMessage | None = None
        self.offered: set[int] = set()

    @on(V2gMessage, "ServiceDiscoveryRes")
    def discovery(self, ev: V2gMessage) -> None:
        if not failed(response_code(ev)):
            self.offer, self.offered = ev, offered_services(ev)

    @on(V2gMessage, "ServiceDetailReq", "PaymentServiceSelectionReq", "ServicePaymentSelectionReq")
    def selection(self, ev: V2gMessage) -> None:
        if self.offer is None or not self.offered:
            return
        self.arm()
        wanted = [ev.body.get("ServiceID")] if ev.message == "ServiceDetailReq" else [
            dig(e, "ServiceID") for e in names(ev.body, "SelectedServiceList", "SelectedService")
        ]  # fmt: skip
        strange = [w for w in wanted if isinstance(w, int) and w not in self.offered]
        if not strange:
            self.evaluated()
            return
        self.hold(ev, [self.offer, ev], f"{ev.message} names service {strange[0]}; offered were {sorted(self.offered)}.", since=self.offer.t,
                  values={"ServiceID": Value(strange[0], "", sorted(self.offered), "not in")})  # fmt: skip


@register
class Iso20ServiceNotOffered(Asked):
    """The service selection of ISO 15118-20."""

    meta = Meta(
        id="pres-iso20-service-not-offered",
        title="Selected energy service was not offered",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="ServiceSelectionReq with a ServiceID or ParameterSetID that was not offered",
        cause="The EV uses fixed service ids or parameter sets.",
        fix="EV: choose from ServiceDiscoveryRes and ServiceDetailRes.",
        refs=("V2G20-2209",),
        protocols=("iso20",),
        uec="V2GServiceSelectionInvalid",
        priority=39,
        example="Service 6 (DC bidirectional) selected, offered was 2.",
    )

    def start(self) -> None:
        self.offer: V2gMessage | None = None
        self.sets: dict[int, set[int]] = {}

    @on(V2gMessage, "ServiceDiscoveryRes")
    def discovery(self, ev: V2gMessage) -> None:
        if ev.schema == "iso20cm" and not failed(response_code(ev)):
            self.offer = ev

    @on(V2gMessage, "ServiceDetailRes")
    def detail(self, ev: V2gMessage) -> None:
        ident = ev.body.get("ServiceID")
        if isinstance(ident, int) and len(self.sets) < 64:
            found = {dig(p, "ParameterSetID") for p in names(ev.body, "ServiceParameterList", "ParameterSet")}
            self.sets[ident] = {x for x in found if isinstance(x, int)}

    @on(V2gMessage, "ServiceSelectionReq")
    def selection(self, ev: V2gMessage) -> None:
        if self.offer is None:
            return
        offered = offered_services(self.offer)
        self.arm()
        service = dig(ev.body, "SelectedEnergyTransferService", "ServiceID")
        chosen = dig(ev.body, "SelectedEnergyTransferService", "ParameterSetID")
        if service not in offered:
            self.hold(ev, [self.offer, ev], f"The EV selects service {service}; offered were {sorted(offered)}.", since=self.offer.t,
                      values={"ServiceID": Value(service, "", sorted(offered), "not in")})  # fmt: skip
        elif self.sets.get(service) and chosen not in self.sets[service]:
            self.hold(ev, [self.offer, ev], f"The EV selects parameter set {chosen} of service {service}; offered were {sorted(self.sets[service])}.", key="set",
                      since=self.offer.t, values={"ParameterSetID": Value(chosen, "", sorted(self.sets[service]), "not in")})  # fmt: skip
        else:
            self.evaluated()


@register
class PaymentMismatch(Asked):
    """Contract payment needs TLS, and either must have been offered."""

    meta = Meta(
        id="pres-payment-mismatch",
        title="Payment option was not offered",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="SelectedPaymentOption is not in PaymentOptionList, or Contract without TLS",
        cause="The EV's configuration of plug and charge.",
        fix="EV: select an offered option; use Contract only over TLS.",
        refs=("V2G2-465", "V2G2-634", "V2G2-635"),
        protocols=("din", "iso2"),
        uec="V2GPaymentSelectionInvalid",
        priority=39,
        example="Contract selected, offered was ExternalPayment.",
    )

    def start(self) -> None:
        self.offer: V2gMessage | None = None

    @on(V2gMessage, "ServiceDiscoveryRes")
    def discovery(self, ev: V2gMessage) -> None:
        if ev.schema in ("din", "iso2") and not failed(response_code(ev)):
            self.offer = ev

    @on(V2gMessage, "PaymentServiceSelectionReq", "ServicePaymentSelectionReq")
    def selection(self, ev: V2gMessage) -> None:
        chosen = ev.body.get("SelectedPaymentOption")
        if self.offer is None or chosen is None:
            return
        self.arm()
        offered = names(self.offer.body, "PaymentOptionList", "PaymentOption") or names(self.offer.body, "PaymentOptions", "PaymentOption")
        if offered and chosen not in offered:
            self.hold(ev, [self.offer, ev], f"The EV selects {chosen}; offered were {', '.join(map(str, offered))}.", since=self.offer.t,
                      values={"SelectedPaymentOption": Value(chosen, "", offered, "not in")})  # fmt: skip
        elif chosen == "Contract" and not ev.tls:
            self.hold(ev, ev, "The EV selects contract payment on a connection without TLS.", key="tls", values={"TLS": Value(False, "", True, "!=")})
        else:
            self.evaluated()


@register
class ContractOnPlain(Check):
    """An offer the EV must not take."""

    meta = Meta(
        id="pres-paymentoption-list-pnc-plain",
        title="Contract payment offered without TLS",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="Contract (ISO 15118-20: PnC) in the list of payment options on a connection without TLS",
        cause="The EVSE's list does not look at the connection.",
        fix="EVSE: offer Contract only over TLS.",
        refs=("V2G2-634",),
        protocols=("iso2", "iso20"),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="ServiceDiscoveryRes with Contract and ExternalPayment on plain TCP.",
    )

    @on(V2gMessage, "ServiceDiscoveryRes", "AuthorizationSetupRes")
    def message(self, ev: V2gMessage) -> None:
        options = names(ev.body, "PaymentOptionList", "PaymentOption") + names(ev.body, "AuthorizationServices")
        if not options:
            return
        self.arm()
        if {"Contract", "PnC"} & {str(o) for o in options} and not ev.tls:
            self.fire(ev, f"{ev.message} offers {', '.join(map(str, options))} without TLS.", values={"options": Value(options)})
        else:
            self.evaluated()


class _Ordered(OrderCheck):
    """Base: a special case of the message order that belongs to this family."""

    def look(self, ev: V2gMessage, detail: str) -> None:
        """Fire where the order names this check."""
        place = self.place(ev)
        if place is None:
            return
        self.arm()
        if stem(str(ev.message)) in place.rule.next or special(place, ev) != self.meta.id:
            self.evaluated()
            return
        self.hold(ev, [place.response, ev], detail.format(now=ev.message, before=place.response.message), since=place.before.t,
                  values={"request": Value(ev.message, "", sorted(place.rule.next), "not in")})  # fmt: skip


@register
class PaymentDetailsInEim(_Ordered):
    """Contract messages after external payment was selected."""

    meta = Meta(
        id="pres-paymentdetails-in-eim",
        title="PaymentDetails although payment is external",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="PaymentDetailsReq after SelectedPaymentOption ExternalPayment",
        cause="The EV's state machine.",
        fix="EV: send AuthorizationReq. EVSE: answer FAILED_SequenceError.",
        refs=("V2G2-559", "ISO 15118-2 Table 104"),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        priority=36,
        example="PaymentServiceSelectionRes with external payment, then PaymentDetailsReq.",
    )

    @on(V2gMessage, "PaymentDetailsReq")
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}, and the payment is external.")


@register
class WrongModeMessage(_Ordered):
    """AC messages in DC and the reverse."""

    meta = Meta(
        id="pres-iso2-ac-in-dc-session",
        title="Message of the other charging mode",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="ChargingStatusReq in a DC session, or a DC message in an AC session, where neither order allows it",
        cause="The EV's state machine.",
        fix="EV: send the messages of the selected energy transfer mode.",
        refs=("V2G2-538", "ISO 15118-2 Table 104"),
        uec="V2GParameterNotAllowed",
        priority=36,
        example="CurrentDemandRes, then ChargingStatusReq.",
    )

    @on(
        V2gMessage,
        "ChargingStatusReq",
        "CableCheckReq",
        "PreChargeReq",
        "WeldingDetectionReq",
        "AC_ChargeLoopReq",
        "DC_CableCheckReq",
        "DC_PreChargeReq",
    )
    def request(self, ev: V2gMessage) -> None:
        self.look(ev, "{now} follows {before}.")


@register
class GenChallenge(Asked):
    """Only the first request is signed and carries it."""

    meta = Meta(
        id="pres-genchallenge-missing",
        title="GenChallenge missing or wrong",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="the first AuthorizationReq of a contract session without GenChallenge, or with another one than PaymentDetailsRes gave",
        cause="The EV does not copy the challenge.",
        fix="EV: copy GenChallenge of PaymentDetailsRes. EVSE: answer FAILED_ChallengeInvalid.",
        refs=("V2G2-684", "V2G2-697", "V2G2-475"),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        priority=37,
        example="AuthorizationReq without GenChallenge after PaymentDetailsRes.",
    )

    def start(self) -> None:
        self.given: V2gMessage | None = None

    @on(V2gMessage, "PaymentDetailsRes")
    def details(self, ev: V2gMessage) -> None:
        self.given = None if failed(response_code(ev)) else ev

    @on(V2gMessage, "AuthorizationReq")
    def request(self, ev: V2gMessage) -> None:
        given, self.given = self.given, None
        if given is None or ev.schema != "iso2":
            return
        self.arm()
        challenge, expected = ev.body.get("GenChallenge"), given.body.get("GenChallenge")
        if challenge is None:
            self.hold(ev, [given, ev], "AuthorizationReq does not carry GenChallenge.", since=given.t)
        elif challenge != expected:
            self.hold(ev, [given, ev], "AuthorizationReq carries another GenChallenge than PaymentDetailsRes gave.", key="other", since=given.t)
        else:
            self.evaluated()


class _Schedule(Asked):
    """Base: the last SAScheduleList."""

    def start(self) -> None:
        self.offer: V2gMessage | None = None

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def parameters(self, ev: V2gMessage) -> None:
        if names(ev.body, "SAScheduleList", "SAScheduleTuple"):
            self.offer = ev
            self.offered(ev)

    def offered(self, ev: V2gMessage) -> None:
        """A new list."""

    def ids(self) -> list[Any]:
        """Its SAScheduleTupleIDs."""
        return [dig(t, "SAScheduleTupleID") for t in names(self.offer.body, "SAScheduleList", "SAScheduleTuple")] if self.offer is not None else []


@register
class TupleIdRange(_Schedule):
    """DIN allows any number, ISO 15118-2 1 to 255."""

    meta = Meta(
        id="pres-saschedule-tupleid-range",
        title="Schedule id out of range",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="SAScheduleTupleID 0 or above 255 in ISO 15118-2",
        cause="The EVSE counts from 0.",
        fix="EVSE: count from 1.",
        refs=("V2G2-773",),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="SAScheduleTupleID 256.",
    )

    def offered(self, ev: V2gMessage) -> None:
        if ev.schema != "iso2":
            return
        self.arm()
        wrong = [i for i in self.ids() if isinstance(i, int) and not TUPLE_ID[0] <= i <= TUPLE_ID[1]]
        if wrong:
            self.fire(ev, f"SAScheduleTupleID is {wrong[0]}.", values={"SAScheduleTupleID": Value(wrong[0], "", "1..255", "not in")})
        else:
            self.evaluated()


@register
class TupleMismatch(_Schedule):
    """The EV must take an offered schedule."""

    meta = Meta(
        id="pres-tupleid-mismatch",
        title="Selected schedule was not offered",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="SAScheduleTupleID of PowerDeliveryReq(Start) is not in the last SAScheduleList",
        cause="The EV uses a fixed id.",
        fix="EV: copy the id of an offered schedule. EVSE: answer FAILED_TariffSelectionInvalid.",
        refs=("V2G2-479",),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        priority=38,
        example="PowerDeliveryReq with SAScheduleTupleID 7, offered was 1.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        chosen = ev.body.get("SAScheduleTupleID")
        if self.offer is None or chosen is None or delivery_kind(ev.body) == "Stop":
            return
        self.arm()
        if chosen in self.ids():
            self.evaluated()
        else:
            self.hold(ev, [self.offer, ev], f"The EV selects schedule {chosen}; offered were {self.ids()}.", since=self.offer.t,
                      values={"SAScheduleTupleID": Value(chosen, "", self.ids(), "not in")})  # fmt: skip


@register
class ProfileAbovePmax(_Schedule):
    """Many EVs send a profile of 24 h against a shorter schedule: only powers are compared."""

    meta = Meta(
        id="pres-chargingprofile-exceeds-pmax",
        title="Charging profile exceeds the schedule",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="an entry of ChargingProfile has more power than PMax of the selected schedule at that time",
        cause="The EV plans with its own limit.",
        fix="EV: stay within PMax. EVSE: answer FAILED_ChargingProfileInvalid only if it matters.",
        refs=("V2G2-224", "V2G2-225", "V2G2-478"),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        example="ChargingProfileEntryMaxPower 22 kW, PMax 11 kW.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def delivery(self, ev: V2gMessage) -> None:
        entries = names(ev.body, "ChargingProfile", "ProfileEntry")
        if self.offer is None or not entries or self.offer.schema != "iso2":
            return
        self.arm()
        steps = sorted(
            (s, p)
            for ident, row in schedule_entries(self.offer)
            if ident == ev.body.get("SAScheduleTupleID")
            and isinstance(s := dig(row, "RelativeTimeInterval", "start"), int)
            and (p := physical(row.get("PMax"))) is not None
        )
        for entry in entries:
            begin, power = dig(entry, "ChargingProfileEntryStart"), physical(dig(entry, "ChargingProfileEntryMaxPower"))
            allowed = [p for s, p in steps if isinstance(begin, int) and s <= begin]
            if power is not None and allowed and power > allowed[-1] * 1.001:
                self.fire([self.offer, ev], f"The profile plans {power:g} W from {begin} s on, the schedule allows {allowed[-1]:g} W.", since=self.offer.t,
                          values={"power": quantity(power, "W", allowed[-1], ">")})  # fmt: skip
                return
        self.evaluated()


@register
class TariffInEim(_Schedule):
    """An EV without contract cannot verify a tariff."""

    meta = Meta(
        id="pres-salestariff-no-pnc",
        title="Sales tariff the EV cannot verify",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="SalesTariff in a session with external payment, or without a signature in the header",
        cause="The EVSE sends its tariff to every EV.",
        fix="Nothing; the EV may ignore it.",
        refs=("V2G2-293", "V2G2-905"),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="SalesTariff with ExternalPayment.",
    )

    def offered(self, ev: V2gMessage) -> None:
        if ev.schema != "iso2":
            return
        if not any(isinstance(t, dict) and "SalesTariff" in t for t in names(ev.body, "SAScheduleList", "SAScheduleTuple")):
            return
        self.arm()
        if self.session.payment == "eim":
            self.fire(ev, "ChargeParameterDiscoveryRes has a SalesTariff, and the payment is external.")
        elif "Signature" not in ev.header:
            self.fire(ev, "ChargeParameterDiscoveryRes has a SalesTariff and no signature.", key="unsigned")
        else:
            self.evaluated()
