"""The state a session is in for the order of messages, and what the order says of the next request (order.tsv)."""

from __future__ import annotations

from plugtap.checks.asked import Asked
from plugtap.checks.tables import Order, order
from plugtap.checks.v2g_common import failed, memo_in_session, processing, protocol_of, response_code, stem
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.session import Session
from plugtap.sessions.v2g_facts import delivery_kind

BY_PROCESSING = (
    "ContractAuthentication", "Authorization", "ChargeParameterDiscovery", "CableCheck", "DC_CableCheck", "ScheduleExchange",
)  # fmt: skip
BY_EV_PROCESSING = ("DC_PreCharge", "DC_WeldingDetection")
LOOPS = ("CurrentDemand", "ChargingStatus", "DC_ChargeLoop", "AC_ChargeLoop")
AFTER_RESUME = "OK_OldSessionJoined"
AC_ONLY = ("ChargingStatus", "AC_ChargeLoop")
DC_ONLY = ("CableCheck", "PreCharge", "CurrentDemand", "WeldingDetection", "DC_CableCheck", "DC_PreCharge", "DC_ChargeLoop")
DC_STATES = ("CableCheck", "PreCharge", "CurrentDemand", "DC_")
AC_STATES = ("ChargingStatus", "AC_")


def state_after(request: V2gMessage, response: V2gMessage) -> str | None:
    """The state of order.tsv after an exchange; None where the order says nothing (failed, not of this exchange)."""
    if request.message is None or response.message is None or stem(request.message) != stem(response.message):
        return None
    code = response_code(response)
    name = stem(response.message)
    if failed(code):
        # A refused request may be followed by another try; a refused handshake by nothing (V2G2-173).
        return f"{name}:failed" if name == "supportedAppProtocol" else None
    if name in BY_PROCESSING and (state := processing(response)) is not None:
        return f"{name}:{state}"
    if name in BY_EV_PROCESSING:
        return f"{name}:{request.body.get('EVProcessing', 'Finished')}"
    if name == "PowerDelivery":
        return f"{name}:{delivery_kind(request.body)}"
    if name == "PaymentServiceSelection":
        return f"{name}:{request.body.get('SelectedPaymentOption')}"
    if name in LOOPS and response.body.get("ReceiptRequired") is True:
        return f"{name}:receipt"
    if name == "SessionSetup" and code == AFTER_RESUME and response.schema == "iso20cm":
        return f"{name}:{AFTER_RESUME}"
    return name


class Place:
    """Where a request stands: the exchange before it and what may follow it."""

    def __init__(self, before: V2gMessage, response: V2gMessage, after: str, rule: Order) -> None:
        self.before = before
        self.response = response
        self.after = after
        self.rule = rule


@memo_in_session
def _place(session: Session, ev: V2gMessage) -> Place | None:
    before, response = session.request_before, session.last_response
    if before is None or response is None or response.t < before.t or response.stream != ev.stream or before.stream != ev.stream:
        return None
    if response.frame < before.frame:
        return None
    after = state_after(before, response)
    if after is None:
        return None
    mode = "ac" if (session.energy or "dc").startswith("ac") else "dc"
    rule = order().get((protocol_of(session, ev), mode, after))
    return None if rule is None else Place(before, response, after, rule)


class OrderCheck(Asked):
    """Base of the checks of the order."""

    def place(self, ev: V2gMessage) -> Place | None:
        """What stood before this request; None where messages are missing or the order has no row for it."""
        return _place(self.session, ev)


def special(place: Place, ev: V2gMessage) -> str | None:
    """The check that tells this deviation from the order better than seq-unexpected-request; None where none does."""
    now, after = stem(str(ev.message)), place.after
    was = after.partition(":")[0]
    if now == "SessionStop":
        return (
            "seq-sessionstop-from-loop"
            if was == "CurrentDemand"
            else "seq-welding-ongoing-then-stop"
            if was == "DC_WeldingDetection"
            else "seq-sessionstop-early"
        )
    if now == "ChargeParameterDiscovery" and was in ("ServicePaymentSelection", "ContractAuthentication") and ev.schema == "din":
        return "seq-contractauth-missing-din"
    if (now in AC_ONLY and after.startswith(DC_STATES)) or (now in DC_ONLY and after.startswith(AC_STATES)):
        return "pres-iso2-ac-in-dc-session"
    if now == "PaymentDetails" and after == "PaymentServiceSelection:ExternalPayment":
        return "pres-paymentdetails-in-eim"
    if now == "MeteringReceipt":
        return "seq-meteringreceipt-without-request"
    if after == "DC_PreCharge:Ongoing" and now == "PowerDelivery":
        return "seq-precharge-to-pd-while-ongoing"
    if after.partition(":")[2].startswith("Ongoing") and was in BY_PROCESSING:
        return "seq-ongoing-not-repeated"
    if was in ("ChargeParameterDiscovery", "DC_ChargeParameterDiscovery") and now in ("PreCharge", "DC_PreCharge", "PowerDelivery", "CurrentDemand"):
        return "seq-skipped-cablecheck"
    if was == "ScheduleExchange" and now in ("DC_PreCharge", "DC_ChargeLoop"):
        return "seq-skipped-cablecheck"
    if was in ("CableCheck", "DC_CableCheck") and now in ("PowerDelivery", "CurrentDemand", "DC_ChargeLoop"):
        return "seq-skipped-precharge"
    return None
