"""Guards: whether an event can be of interest to a handler at all, asked once for all handlers that share one (`on(..., only=…)`).

A guard may say yes where the handler then finds nothing; it must not say no where the handler would have done more than to count.
"""

from __future__ import annotations

from typing import Any

from plugtap.protocols.events import Event, V2gMessage
from plugtap.sessions.notices import Exchange
from plugtap.sessions.session import Session

EXI_HEADER = 0x80  # distinguishing bits 10, no options, version 1
LOOP_REQUESTS = frozenset({"CurrentDemandReq", "ChargingStatusReq", "DC_ChargeLoopReq", "AC_ChargeLoopReq"})
FIRST_LOOPS = 20  # the loop comes a thousand times an hour: what is missing in its first messages is missing in all
VALUELESS = frozenset({"DC_EVSEStatus", "AC_EVSEStatus", "EVSEStatus", "DC_EVStatus", "EVStatus"})  # elements that by the schemas hold no physical value
NO_VALUE: tuple[Any, Any, int] = (None, None, 0)  # an element like MeterInfo: plain content only
COUNTED = ("armed", "evaluated")  # `quiet` of a check that looks at every message and finds nothing


def never(session: Session, ev: Event) -> bool:
    """For handlers that only count, and for those that act only while their check is awake."""
    return False


def oddly_coded(session: Session, ev: V2gMessage) -> bool:
    """Anything but one well-formed EXI document of a known schema in one frame."""
    return bool(
        ev.notes or ev.variant or ev.message is None or ev.error is not None or ev.schema is None or not ev.exi or ev.exi[0] != EXI_HEADER
        or (ev.first_frame and ev.first_frame != ev.frame)
    )  # fmt: skip


def oddly_typed(session: Session, ev: V2gMessage) -> bool:
    """Anything but payload type 0x8001 with DIN or ISO 15118-2, or another one with ISO 15118-20, as negotiated."""
    schema = ev.schema
    return schema is None or ev.guessed or (ev.payload_type == 0x8001) is schema.startswith("iso20")


def out_of_turn(session: Session, ev: V2gMessage) -> bool:
    """Anything but a request after an answer, or the answer to the open request."""
    return not session.in_turn


def refused(session: Session, ev: V2gMessage) -> bool:
    """Anything but a response of a session with an OK code."""
    code = ev.body.get("ResponseCode")
    return not isinstance(code, str) or not code.startswith("OK") or ev.message == "supportedAppProtocolRes"


def refused_exchange(session: Session, ev: Exchange) -> bool:
    """Anything but an exchange whose response has an OK code."""
    code = ev.response.body.get("ResponseCode")
    return not isinstance(code, str) or not code.startswith("OK")


def not_looping(session: Session, ev: V2gMessage) -> bool:
    """A request that is no repetition of the charge loop's own."""
    before = session.request_before
    return before is None or before.message != ev.message or ev.message not in LOOP_REQUESTS


def with_pilot(session: Session, ev: Event) -> bool:
    """The control pilot is seen."""
    return session.pilot is not None


def unusual_values(session: Session, ev: V2gMessage) -> bool:
    """Anything but physical values with unit and multiplier as in a message judged fine before, none beyond what is plausible then."""
    usual = session.usual_values.get((ev.schema, ev.message))
    if usual is None:
        return True
    for name, node in ev.body.items():
        if type(node) is dict:
            known = usual.get(name)
            if known is None:
                if name in VALUELESS:
                    continue
                return True
            unit, exponent, top = known
            if exponent is None:  # NO_VALUE
                if "Value" in node or any(type(child) in (dict, list) for child in node.values()):
                    return True
            elif node.get("Multiplier") != exponent or node.get("Unit") != unit or not -top <= node["Value"] <= top:
                return True
        elif type(node) is list:
            return True
    return False


def first_loops(session: Session, ev: V2gMessage) -> bool:
    """One of the first messages of the charge loop."""
    return session.messages.get(str(ev.message), 0) <= FIRST_LOOPS


def evse_not_well(session: Session, ev: V2gMessage) -> bool:
    """Anything but a DC_EVSEStatus right below the message that says ready, isolation valid, nothing to notify."""
    status: Any = ev.body.get("DC_EVSEStatus")
    return (
        not isinstance(status, dict) or status.get("EVSEStatusCode") != "EVSE_Ready" or status.get("EVSEIsolationStatus") != "Valid"
        or status.get("EVSENotification") != "None" or "AC_EVSEStatus" in ev.body
    )  # fmt: skip


def ev_not_well(session: Session, ev: V2gMessage) -> bool:
    """Anything but a DC_EVStatus right below the message that says ready and no error."""
    status: Any = ev.body.get("DC_EVStatus")
    return not isinstance(status, dict) or status.get("EVErrorCode") != "NO_ERROR" or status.get("EVReady") is not True
