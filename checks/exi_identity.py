"""Identities on the wire: EVSEID, EVCCID, eMAID, namespaces (ISO 15118-2 Annex H, DIN SPEC 70121 Table 30). Texts name their form, not the identity."""

from __future__ import annotations

import re

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.sap_negotiation import KNOWN, offers_of
from plugtap.protocols.events import V2gMessage

# ISO 15118-2 Annex H: country, operator, E, outlet; ZZ00000 where the EVSE has none.
EVSEID = re.compile(r"[A-Za-z]{2}\*?[A-Za-z0-9]{3}\*?[Ee][A-Za-z0-9][A-Za-z0-9*]{0,30}\Z")
NO_EVSEID = "ZZ00000"
EMAID = re.compile(r"[A-Za-z]{2}-?[A-Za-z0-9]{3}-?[A-Za-z0-9]{9}(-?[A-Za-z0-9])?\Z")


def printable(text: str) -> str:
    """The form of an identity: letters as A, digits as 9."""
    return re.sub(r"[0-9]", "9", re.sub(r"[A-Za-z]", "A", text))[:40]


@register
class EvseidFormat(Check):
    """DIN carries bytes, of which 00 means none."""

    meta = Meta(
        id="exi-evseid-format",
        title="EVSEID has not the standard's form",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="EVSEID is not country, operator, E and outlet (ZZ00000: none) in ISO 15118; longer than 32 bytes or empty in DIN",
        cause="The EVSE was not provisioned.",
        fix="Set the EVSEID the operator has registered.",
        refs=("ISO 15118-2 Annex H", "DIN SPEC 70121 Table 30"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="EVSEID 'DE*PNX*123' without E.",
    )

    @on(V2gMessage, "SessionSetupRes", "ChargingStatusRes", "CurrentDemandRes")
    def message(self, ev: V2gMessage) -> None:
        value = ev.body.get("EVSEID")
        if not isinstance(value, str):
            return
        self.arm()
        if ev.schema == "din":
            size = len(value) // 2
            if 1 <= size <= 32:
                self.evaluated()
            else:
                self.fire(ev, f"EVSEID has {size} bytes.", values={"length": Value(size, "bytes", 32 if size else 1, ">" if size else "<")})
        elif value == NO_EVSEID or (7 <= len(value) <= 37 and EVSEID.match(value)):
            self.evaluated()
        else:
            self.fire(
                ev,
                f"EVSEID has the form {printable(value)} ({len(value)} characters).",
                values={"form": Value(printable(value), "", "AA*AAA*E…", "!=")},
            )


@register
class EvccidLength(Check):
    """DIN: 6 bytes, or 8 in some EVs. ISO 15118-2: 6. ISO 15118-20: text."""

    meta = Meta(
        id="exi-evccid-length",
        title="EVCCID has an unusual length",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="EVCCID has not 6 bytes in ISO 15118-2, neither 6 nor 8 in DIN",
        cause="The EV leaves it out or writes another identity.",
        fix="EV: send the MAC address; some EVSEs end the session without it.",
        refs=("ISO 15118-2 8.4.3.2",),
        protocols=("din", "iso2"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="SessionSetupReq with an empty EVCCID.",
    )

    @on(V2gMessage, "SessionSetupReq")
    def message(self, ev: V2gMessage) -> None:
        value = ev.body.get("EVCCID")
        if ev.schema not in ("din", "iso2"):
            return
        self.arm()
        size = len(value) // 2 if isinstance(value, str) else 0
        if size == 6 or (ev.schema == "din" and size == 8):
            self.evaluated()
        else:
            self.fire(ev, f"EVCCID has {size} bytes.", values={"length": Value(size, "bytes", 6, "!=")})


@register
class EmaidSyntax(Check):
    """Form only; the check digit is not looked at."""

    meta = Meta(
        id="exi-emaid-syntax",
        title="eMAID has not the standard's form",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="eMAID is not country, provider, nine characters and an optional check digit (14 or 15 characters without hyphens)",
        cause="The contract was provisioned with another identity.",
        fix="Ask the mobility operator for the contract's identity.",
        refs=("ISO 15118-2 Annex H",),
        protocols=("iso2",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="eMAID of 10 characters.",
    )

    @on(V2gMessage, "PaymentDetailsReq", "CertificateUpdateReq")
    def message(self, ev: V2gMessage) -> None:
        value = ev.body.get("eMAID")
        if isinstance(value, dict):
            value = value.get("#text")
        if not isinstance(value, str):
            return
        self.arm()
        if EMAID.match(value):
            self.evaluated()
        else:
            self.fire(ev, f"The eMAID has the form {printable(value)} ({len(value)} characters).", values={"length": Value(len(value), "characters")})


@register
class VendorNamespace(Check):
    """Named, not blamed. Where it has the first priority, sap-vendor-protocol-first says it."""

    meta = Meta(
        id="exi-namespace-vendor",
        title="EV offers a maker's own protocol",
        severity="info",
        class_="info",
        effect="none",
        side="EVCC",
        trigger="an AppProtocol entry below the first priority with a namespace of no standard",
        cause="The EV's maker has a protocol of its own.",
        fix="Nothing.",
        refs=(),
        gap="proceed",
        example="urn:tesla:din:2018:MsgDef at priority 3.",
    )

    @on(V2gMessage, "supportedAppProtocolReq")
    def message(self, ev: V2gMessage) -> None:
        offers = [o for o in offers_of(ev) if isinstance(o.get("Priority"), int)]
        if not offers:
            return
        self.arm()
        first = min(int(o["Priority"]) for o in offers)
        strange = [str(o.get("ProtocolNamespace"))[:80] for o in offers if o.get("ProtocolNamespace") not in KNOWN and o["Priority"] != first]
        if strange:
            self.fire(ev, f"The EV also offers {', '.join(strange)}.", values={"ProtocolNamespace": Value(strange)})
        else:
            self.evaluated()
