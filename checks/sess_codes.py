"""ResponseCode: refusals and warnings of the EVSE."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, refused
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import codes
from plugtap.checks.v2g_common import failed, processing, response_code, where
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import Exchange

# Told by checks of their own.
OTHERS = ("FAILED_SequenceError", "FAILED_ContactorError")


@register
class FailedCode(Check):
    """Any FAILED code; what it means and who has to act stands in codes.tsv."""

    meta = Meta(
        id="sess-resp-failed",
        title="EVSE refuses a request",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="a response with a ResponseCode FAILED… (FAILED_SequenceError and FAILED_ContactorError have checks of their own)",
        cause="See the code.",
        fix="Read the EVSE's log at this time and compare it with the named request.",
        refs=("V2G2-735", "V2G2-736"),
        uec="V2GParameterInvalid",
        priority=60,
        gap="proceed",
        example="ChargeParameterDiscoveryRes FAILED_WrongChargeParameter.",
    )

    @on(V2gMessage, "*Res", only=refused, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        code = response_code(ev)
        if code is None or ev.message == "supportedAppProtocolRes":
            return
        self.arm()
        if not failed(code) or code in OTHERS:
            self.evaluated()
            return
        request = self.session.last_request
        known = codes("response").get(code)
        late = ev.message in ("SessionStopRes", "WeldingDetectionRes", "DC_WeldingDetectionRes")
        self.fire(
            [request, ev] if request is not None else ev,
            f"{ev.message} says {code} {where(self.session)}." + (f" {known.meaning}" if known else ""),
            key=f"{ev.message} {code}", side=known.side if known else None, cause=known.meaning if known else None, fix=known.fix if known else None,
            severity="warning" if late else None, effect="none" if late else None, values={"ResponseCode": Value(code)},
        )  # fmt: skip


@register
class ContactorError(Check):
    """The AC contactor of the EVSE."""

    meta = Meta(
        id="sess-contactor-error",
        title="EVSE's contactor failed",
        severity="error",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="a response with ResponseCode FAILED_ContactorError",
        cause="The EVSE's contactor did not close, did not open, or its feedback is missing.",
        fix="Check the EVSE's contactor and its auxiliary contact.",
        refs=("V2G2-860", "V2G2-862"),
        protocols=("iso2", "iso20"),
        uec="ContactorFault",
        mrec="CX017",
        priority=40,
        gap="proceed",
        example="PowerDeliveryRes FAILED_ContactorError.",
    )

    @on(V2gMessage, "PowerDeliveryRes", "ChargingStatusRes", "AC_ChargeLoopRes")
    def message(self, ev: V2gMessage) -> None:
        self.arm()
        if response_code(ev) == "FAILED_ContactorError":
            known = codes("response").get("FAILED_ContactorError")
            self.fire(ev, f"{ev.message} says FAILED_ContactorError.", side=known.side if known else None, values={"ResponseCode": Value("FAILED_ContactorError")})
        else:
            self.evaluated()


@register
class WarningCode(Check):
    """WARNING_… codes exist in ISO 15118-20 only; the session goes on."""

    meta = Meta(
        id="sess-resp-warning-20",
        title="EVSE warns",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="a response with a ResponseCode WARNING_…",
        cause="See the code.",
        fix="Read the EVSE's log at this time.",
        refs=("V2G20-2209", "V2G20-2219", "V2G20-2230"),
        protocols=("iso20",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="AuthorizationRes WARNING_EIMAuthorizationFailure.",
    )

    @on(V2gMessage)
    def message(self, ev: V2gMessage) -> None:
        code = response_code(ev)
        if code is None or ev.schema is None or not ev.schema.startswith("iso20"):
            return
        self.arm()
        if not code.startswith("WARNING"):
            self.evaluated()
            return
        known = codes("response").get(code)
        self.fire(
            ev, f"{ev.message} says {code}." + (f" {known.meaning}" if known else ""), key=code, side=known.side if known else None,
            cause=known.meaning if known else None, fix=known.fix if known else None, values={"ResponseCode": Value(code)},
        )  # fmt: skip


@register
class RejectedButOngoing(Check):
    """In ISO 15118-20 a refused driver is told at once: Finished with WARNING_EIMAuthorizationFailure."""

    meta = Meta(
        id="sess-eim-rejected-iso20-wrong",
        title="Authorization refused, and yet ongoing",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="AuthorizationRes with WARNING_EIMAuthorizationFailure and EVSEProcessing not Finished",
        cause="The EVSE uses the rule of ISO 15118-2, where it goes on waiting.",
        fix="EVSE: answer Finished with WARNING_EIMAuthorizationFailure.",
        refs=("V2G20-2230",),
        protocols=("iso20",),
        uec="V2GParameterInvalid",
        priority=50,
        gap="proceed",
        example="AuthorizationRes Ongoing with WARNING_EIMAuthorizationFailure.",
    )

    @on(V2gMessage, "AuthorizationRes")
    def message(self, ev: V2gMessage) -> None:
        if ev.schema != "iso20cm":
            return
        self.arm()
        if response_code(ev) == "WARNING_EIMAuthorizationFailure" and processing(ev) != "Finished":
            self.fire(
                ev,
                f"The driver was refused, but EVSEProcessing is {processing(ev)}.",
                values={"EVSEProcessing": Value(processing(ev), "", "Finished", "!=")},
            )
        else:
            self.evaluated()


@register
class ContinuedAfterFailed(Check):
    """In ISO 15118-20 every FAILED is fatal."""

    meta = Meta(
        id="sess-failed-without-close",
        title="Session went on after a FAILED code",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="a further request other than SessionStop is answered with an OK code after a FAILED response",
        cause="The stack treats ISO 15118-20 like ISO 15118-2, where a FAILED code may be followed by another try.",
        fix="EVSE: end the session after a FAILED code.",
        refs=("ISO 15118-20 8.6",),
        protocols=("iso20",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="ServiceDetailRes FAILED_ServiceIDInvalid, then ServiceSelectionRes OK.",
    )

    def start(self) -> None:
        self.refused: V2gMessage | None = None

    @on(Exchange)
    def answered(self, ev: Exchange) -> None:
        if ev.response.schema is None or not ev.response.schema.startswith("iso20"):
            return
        code = response_code(ev.response)
        if failed(code):
            self.arm()
            self.refused = ev.response
            return
        if self.refused is not None and ev.name != "SessionStop":
            refused, self.refused = self.refused, None
            self.fire(
                [refused, ev.response], f"After {refused.message} {response_code(refused)} the session goes on with {ev.response.message} {code}."
            )
