"""supportedAppProtocolRes: what the SECC chose, and whether it may (ISO 15118-2 8.2.4)."""

from __future__ import annotations

from typing import Any

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import failed, response_code
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.tables import NAMESPACES

KNOWN = dict(NAMESPACES)


def offer_text(offers: list[dict[str, Any]]) -> str:
    """The offered protocols by priority: ``urn:din:70121:2012:MsgDef 2.0 (priority 1)``."""
    ordered = sorted(offers, key=lambda o: (str(o.get("Priority")).zfill(3), str(o.get("SchemaID"))))
    return ", ".join(
        f"{o.get('ProtocolNamespace')} {o.get('VersionNumberMajor')}.{o.get('VersionNumberMinor')} (priority {o.get('Priority')})"
        for o in ordered[:20]
    )


def offers_of(ev: V2gMessage) -> list[dict[str, Any]]:
    """The AppProtocol entries of a supportedAppProtocolReq; [] where the message is odd."""
    entries = ev.body.get("AppProtocol")
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


class _Answer(Check):
    """Base: keeps the request, so that the answer can be held against it."""

    def start(self) -> None:
        self.asked: V2gMessage | None = None

    @on(V2gMessage, "supportedAppProtocolReq")
    def request(self, ev: V2gMessage) -> None:
        self.asked = ev

    def evidence(self, answer: V2gMessage) -> list[V2gMessage]:
        """Request and response, as far as they were seen."""
        return [self.asked, answer] if self.asked is not None else [answer]

    def offers(self) -> list[dict[str, Any]]:
        """What the EV offered in this handshake."""
        return offers_of(self.asked) if self.asked is not None else []


@register
class NoCommonProtocol(_Answer):
    """Failed_NoNegotiation. Who has to move depends on what was offered: DIN or ISO 15118-2 every charger should know."""

    meta = Meta(
        id="sap-failed-nonegotiation",
        title="EV and EVSE have no protocol in common",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        certainty="possible",
        trigger="supportedAppProtocolRes with ResponseCode Failed_NoNegotiation",
        cause="The EVSE is set to a protocol the EV does not offer, for example ISO 15118-2 only for an EV that speaks DIN 70121 only.",
        fix="Compare the offered protocols in this finding with the EVSE's configuration; switch on DIN SPEC 70121 for DC.",
        refs=("V2G2-172", "ISO 15118-2 8.2.4"),
        uec="V2GParameterNotSupported",
        priority=10,
        gap="proceed",
        example="The EV offers urn:din:70121:2012:MsgDef only, the EVSE is configured for ISO 15118-2: it answers Failed_NoNegotiation.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        self.arm()
        if not failed(response_code(ev)):
            self.evaluated()
            return
        offers = self.offers()
        standard = [o for o in offers if KNOWN.get(str(o.get("ProtocolNamespace"))) in ("din", "iso2")]
        side = "SECC" if standard or not offers else "EVCC"
        text = f"The EVSE accepts none of the protocols the EV offers: {offer_text(offers)}." if offers else "The EVSE refused the EV's protocols."
        self.fire(self.evidence(ev), text, side=side, values={"ResponseCode": Value(response_code(ev)), "offers": Value(len(offers))})


@register
class RefusedWithSchema(Check):
    """The SchemaID element says which offer was taken; nothing was."""

    meta = Meta(
        id="sap-failed-nonegotiation-with-schemaid",
        title="Failed_NoNegotiation carries a SchemaID",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="supportedAppProtocolRes with ResponseCode Failed_NoNegotiation and an element SchemaID",
        cause="The SECC's encoder writes SchemaID always, with 0 where nothing was agreed.",
        fix="SECC: leave SchemaID out when negotiation failed; an EV may take the number for an agreement.",
        refs=("V2G2-172", "V2G2-173"),
        uec="V2GParameterNotAllowed",
        priority=30,
        gap="proceed",
        example="ResponseCode Failed_NoNegotiation with SchemaID 0.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        if not failed(response_code(ev)):
            return
        self.arm()
        if "SchemaID" in ev.body:
            self.fire(
                ev, f"Negotiation failed, and yet the answer names SchemaID {ev.body['SchemaID']}.", values={"SchemaID": Value(ev.body["SchemaID"])}
            )
        else:
            self.evaluated()


@register
class AgreedWithoutSchema(_Answer):
    """Without SchemaID the EV cannot know which protocol was chosen."""

    meta = Meta(
        id="sap-ok-without-schemaid",
        title="Protocol accepted without saying which",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="supportedAppProtocolRes with OK_SuccessfulNegotiation… and no element SchemaID",
        cause="The SECC's encoder leaves SchemaID out.",
        fix="SECC: return the SchemaID of the chosen AppProtocol entry.",
        refs=("V2G2-170",),
        uec="V2GParameterInvalid",
        priority=12,
        gap="proceed",
        example="ResponseCode OK_SuccessfulNegotiation and nothing else; the EV closes the connection.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        code = response_code(ev)
        if code is None or failed(code):
            return
        self.arm()
        if "SchemaID" in ev.body:
            self.evaluated()
            return
        offers = self.offers()
        # With one offer there is nothing to confuse: EVs go on.
        severity = "warning" if len(offers) == 1 else None
        self.fire(
            self.evidence(ev),
            f"{code} without SchemaID; {len(offers)} protocols were offered.",
            severity=severity,
            values={"offers": Value(len(offers))},
        )


@register
class SchemaNotOffered(_Answer):
    """The SECC answers with a SchemaID that is in no entry of the EV's list."""

    meta = Meta(
        id="sap-schemaid-not-offered",
        title="SchemaID was not offered",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="supportedAppProtocolRes with a SchemaID that no AppProtocol entry of the request has",
        cause="The SECC returns a fixed number instead of the chosen entry's SchemaID.",
        fix="SECC: copy SchemaID from the chosen AppProtocol entry.",
        refs=("V2G2-170",),
        uec="V2GParameterInvalid",
        priority=12,
        example="The EV offers SchemaID 10 and 20, the SECC answers OK_SuccessfulNegotiation with SchemaID 1.",
    )

    @on(V2gMessage, "supportedAppProtocolRes")
    def response(self, ev: V2gMessage) -> None:
        chosen, code = ev.body.get("SchemaID"), response_code(ev)
        if self.asked is None or chosen is None or code is None or failed(code):
            return
        self.arm()
        offered = [o.get("SchemaID") for o in self.offers()]
        if chosen in offered:
            self.evaluated()
            return
        text = f"The SECC chose SchemaID {chosen}; offered were {', '.join(map(str, offered)) or 'none'}."
        self.fire(self.evidence(ev), text, since=self.asked.t, values={"SchemaID": Value(chosen, "", offered, "not in")})
