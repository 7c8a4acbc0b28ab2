"""supportedAppProtocolReq: what the EV offers, and how the SECC follows its priorities (ISO 15118-2 8.2.4)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.sap_negotiation import KNOWN, _Answer, offer_text, offers_of
from plugtap.checks.v2g_common import failed, response_code
from plugtap.protocols.events import Tls, V2gMessage

# Major version the SECC compares, by protocol (DIN SPEC 70121, ISO 15118-2, ISO 15118-20).
MAJOR = {"din": 2, "iso2": 2, "iso20": 1}
TLS_1_3 = 0x0304


@register
class WrongPriority(_Answer):
    """Whether the SECC speaks the preferred protocol is not on the wire: this is a hint, not a verdict."""

    meta = Meta(
        id="sap-wrong-priority",
        title="EVSE did not take the protocol the EV prefers",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="the chosen entry has not the lowest Priority among the standard protocols offered",
        cause="The SECC does not support the preferred protocol, or it ignores Priority.",
        fix="If the EVSE supports the preferred protocol, correct its selection: the lowest Priority number it supports wins.",
        refs=("V2G2-167", "V2G2-169", "V2G20-169"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="ISO 15118-2 at priority 1, DIN at priority 2; the SECC takes DIN.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        if self.asked is None or failed(response_code(ev)):
            return
        offers = [o for o in self.offers() if o.get("ProtocolNamespace") in KNOWN and isinstance(o.get("Priority"), int)]
        chosen = next((o for o in offers if o.get("SchemaID") == ev.body.get("SchemaID")), None)
        if chosen is None or len(offers) < 2:
            return
        self.arm()
        best = min(offers, key=lambda o: int(o["Priority"]))
        if chosen["Priority"] <= best["Priority"]:
            self.evaluated()
            return
        text = f"The EV prefers {best['ProtocolNamespace']}, the EVSE chose {chosen['ProtocolNamespace']} (priority {chosen['Priority']})."
        self.fire(self.evidence(ev), text, values={"Priority": Value(chosen["Priority"], "", best["Priority"], ">")})


@register
class MinorDeviation(_Answer):
    """OK_SuccessfulNegotiationWithMinorDeviation, with a hint where the versions were plainly equal."""

    meta = Meta(
        id="sap-minor-deviation",
        title="Protocol accepted with another minor version",
        severity="info",
        class_="info",
        effect="none",
        side="SECC",
        trigger="supportedAppProtocolRes with OK_SuccessfulNegotiationWithMinorDeviation",
        cause="EV and EVSE implement different editions of the protocol, or the EVSE answers so always.",
        fix="Nothing, as long as charging works. EVSE: answer OK_SuccessfulNegotiation when the versions are equal.",
        refs=("ISO 15118-2 8.2.4.2",),
        gap="proceed",
        example="The EV offers version 2.0, the EVSE answers OK_SuccessfulNegotiationWithMinorDeviation.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        self.arm()
        if response_code(ev) != "OK_SuccessfulNegotiationWithMinorDeviation":
            self.evaluated()
            return
        chosen = next((o for o in self.offers() if o.get("SchemaID") == ev.body.get("SchemaID")), {})
        version = f"{chosen.get('VersionNumberMajor', '?')}.{chosen.get('VersionNumberMinor', '?')}"
        self.fire(self.evidence(ev), f"The EVSE accepts {chosen.get('ProtocolNamespace', 'the protocol')} {version} with minor deviation.")


@register
class MajorMismatch(Check):
    """The SECC compares namespace and major version; a wrong one makes it refuse a protocol it speaks."""

    meta = Meta(
        id="sap-major-mismatch",
        title="Known protocol with another major version",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="an AppProtocol entry with a known namespace and another VersionNumberMajor than DIN 2, ISO 15118-2 2, ISO 15118-20 1",
        cause="An early or wrongly configured protocol stack in the EV.",
        fix="EV: send the major version of the standard. EVSE: accept it only if both stacks are known to agree.",
        refs=("ISO 15118-2 8.2.4",),
        uec="V2GParameterInvalid",
        priority=20,
        gap="proceed",
        example="urn:din:70121:2012:MsgDef with VersionNumberMajor 1.",
    )

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        for offer in offers_of(ev):
            protocol = KNOWN.get(str(offer.get("ProtocolNamespace")))
            major = offer.get("VersionNumberMajor")
            if protocol is None or major == MAJOR[protocol]:
                continue
            text = f"{offer['ProtocolNamespace']} is offered as version {major}, expected is {MAJOR[protocol]}."
            self.fire(ev, text, key=protocol, values={"VersionNumberMajor": Value(major, "", MAJOR[protocol], "!=")})
        self.evaluated()


@register
class DuplicateEntries(Check):
    """SchemaID and Priority identify an entry: twice the same is ambiguous."""

    meta = Meta(
        id="sap-duplicate-schemaid",
        title="Protocol offers are ambiguous",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="two AppProtocol entries share SchemaID or Priority",
        cause="The EV's list of protocols is configured wrongly.",
        fix="EV: give each entry its own SchemaID and Priority.",
        refs=("V2G2-167",),
        uec="V2GParameterInvalid",
        priority=20,
        gap="proceed",
        example="DIN and ISO 15118-2, both with SchemaID 1.",
    )

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        offers = offers_of(ev)
        for name in ("SchemaID", "Priority"):
            numbers = [o.get(name) for o in offers]
            if double := sorted({str(n) for n in numbers if numbers.count(n) > 1}):
                self.fire(ev, f"Several entries have {name} {', '.join(double)}: {offer_text(offers)}.", key=name, values={name: Value(double)})
        self.evaluated()


@register
class Iso20OnPlain(Check):
    """ISO 15118-20 wants TLS 1.3; plain TCP or an older TLS under it is a deviation."""

    meta = Meta(
        id="sap-iso20-on-plain",
        title="ISO 15118-20 without TLS 1.3",
        severity="warning",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="the ISO 15118-20 namespace in supportedAppProtocolReq on plain TCP or TLS below 1.3",
        cause="EV and EVSE run without certificates, as in a laboratory.",
        fix="Use TLS 1.3 for ISO 15118-20, or leave ISO 15118-20 out of the offer.",
        refs=("V2G20-1237",),
        uec="V2GParameterInvalid",
        protocols=("iso20",),
        gap="proceed",
        example="SDP says no transport security, the EV offers urn:iso:std:iso:15118:-20:DC.",
    )

    def start(self) -> None:
        self.version: int | None = None

    @on(Tls)
    def hello(self, ev: Tls) -> None:
        if ev.kind == "server-hello":
            self.version = ev.version

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        if not any(KNOWN.get(str(o.get("ProtocolNamespace"))) == "iso20" for o in offers_of(ev)):
            self.evaluated()
        elif not ev.tls:
            self.fire(ev, "The EV offers ISO 15118-20 on a connection without TLS.", values={"TLS": Value("none", "", "1.3", "<")})
        elif self.version is not None and self.version < TLS_1_3:
            self.fire(
                ev, "The EV offers ISO 15118-20 over a TLS version below 1.3.", values={"TLS": Value(f"{self.version:#06x}", "", "0x0304", "<")}
            )
        else:
            self.evaluated()


@register
class OnlyPrivate(Check):
    """Nothing a standard EVSE could accept."""

    meta = Meta(
        id="sap-only-private",
        title="EV offers no standard protocol",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="no AppProtocol entry has a namespace of DIN SPEC 70121, ISO 15118-2 or ISO 15118-20",
        cause="The EV is set to a maker's own protocol, or the namespace is misspelt.",
        fix="EV: offer DIN SPEC 70121 or ISO 15118-2 besides the maker's protocol.",
        refs=("ISO 15118-2 8.2.4",),
        uec="V2GParameterInvalid",
        priority=9,
        gap="proceed",
        example="The only entry is urn:tesla:din:2018:MsgDef.",
    )

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        offers = offers_of(ev)
        if not offers or any(o.get("ProtocolNamespace") in KNOWN for o in offers):
            self.evaluated()
            return
        self.fire(ev, f"Only unknown protocols are offered: {offer_text(offers)}.", values={"offers": Value(len(offers))})


@register
class VendorFirst(Check):
    """A maker's namespace at the highest priority: harmless, but worth to be named."""

    meta = Meta(
        id="sap-vendor-protocol-first",
        title="EV prefers a maker's own protocol",
        severity="info",
        class_="implementation",
        effect="none",
        side="EVCC",
        trigger="the AppProtocol entry with the lowest Priority has a namespace of no standard, and standard ones follow",
        cause="The EV's maker has a protocol of its own for its own chargers.",
        fix="EVSE: take the next offered protocol you support.",
        refs=("V2G2-167",),
        gap="proceed",
        example="urn:tesla:din:2018:MsgDef at priority 1, urn:din:70121:2012:MsgDef at priority 2.",
    )

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        offers = [o for o in offers_of(ev) if isinstance(o.get("Priority"), int)]
        if not offers:
            return
        self.arm()
        first = min(offers, key=lambda o: int(o["Priority"]))
        if first.get("ProtocolNamespace") in KNOWN or all(o.get("ProtocolNamespace") not in KNOWN for o in offers):
            self.evaluated()
            return
        self.fire(
            ev,
            f"{first.get('ProtocolNamespace')} has priority {first['Priority']}.",
            values={"ProtocolNamespace": Value(first.get("ProtocolNamespace"))},
        )


@register
class Repeated(Check):
    """A second handshake on one connection: the dialogue before it was given up without closing TCP."""

    meta = Meta(
        id="sap-repeated",
        title="Protocol negotiated again on the same connection",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="a second supportedAppProtocolReq on one TCP connection before SessionStop",
        cause="The EV gave the dialogue up and starts over without closing the TCP connection.",
        fix="Look at what came right before the second handshake: that is where the first dialogue failed.",
        refs=("ISO 15118-2 8.8.1",),
        confidence="corrected",
        uec="V2GParameterInvalid",
        priority=75,
        example="supportedAppProtocolReq, SessionSetupReq …, and supportedAppProtocolReq again on the same ports.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.arm()
        first, self.first = self.first, ev
        if first is not None and first.stream == ev.stream and self.session.session_stop_res is None:
            self.fire([first, ev], f"The EV negotiates again {(ev.t - first.t) / 1e9:.1f} s after the first time.", since=first.t)
        else:
            self.evaluated()
