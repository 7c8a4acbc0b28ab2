"""What the checks of the V2G layer share: limits, times, evidence, and words for what was going on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from plugtap.checks.finding import Value
from plugtap.checks.meta import Limit
from plugtap.checks.tables import limits_of
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.session import Session
from plugtap.sessions.tables import LOOP_MESSAGES
from plugtap.sessions.v2g_facts import failed, is_request, response_code, stem
from plugtap.sessions.values import dig, physical

SECOND = 1_000_000_000

__all__ = [
    "LOOP_MESSAGES", "SECOND", "dc_status", "dig", "failed", "is_request", "limits", "memo", "memo_in_session", "ns", "physical", "processing", "protocol_of",
    "quantity", "response_code", "row_of", "seconds", "stem", "took", "where",
]  # fmt: skip


T = TypeVar("T")


def memo(function: Callable[[V2gMessage], T]) -> Callable[[V2gMessage], T]:
    """Remember the result for the message asked about last: the checks of one message ask the same, one after the other."""
    last: list[Any] = [None, None]

    @functools.wraps(function)
    def asked(message: V2gMessage) -> T:
        if last[0] is not message:
            last[0], last[1] = message, function(message)
        result: T = last[1]
        return result

    return asked


def memo_in_session(function: Callable[[Session, V2gMessage], T]) -> Callable[[Session, V2gMessage], T]:
    """As `memo`, for what depends on the session as well, as it is while the message is handled."""
    last: list[Any] = [None, None, None]

    @functools.wraps(function)
    def asked(session: Session, message: V2gMessage) -> T:
        if last[0] is not message or last[1] is not session:
            last[:] = message, session, function(session, message)
        result: T = last[2]
        return result

    return asked


def limits(*names: str) -> dict[str, Limit]:
    """Rows of v2g.tsv by name."""
    return limits_of("v2g", *names)


def ns(value: float) -> int:
    """Seconds as nanoseconds."""
    return round(value * SECOND)


def seconds(span: int) -> float:
    """Nanoseconds as seconds, microseconds precise."""
    return round(span / SECOND, 6)


def took(span: int, limit: float, op: str = ">") -> Value:
    """A duration in ns beside its limit in s."""
    return Value(seconds(span), "s", limit, op)


def quantity(value: float | None, unit: str, limit: float | None = None, op: str = "") -> Value:
    """A physical value as people read it: two decimals."""
    return Value(None if value is None else round(value, 2), unit, None if limit is None else round(limit, 2), op)


def protocol_of(session: Session, message: V2gMessage) -> str:
    """``sap``, ``din``, ``iso2``, ``iso20``: the protocol a message belongs to."""
    schema = message.schema
    if schema is None:
        return session.protocol or ""
    return "iso20" if schema.startswith("iso20") else schema


@functools.lru_cache(maxsize=1024)
def _row(schema: str, message: str) -> str:
    return f"{'iso20' if schema.startswith('iso20') else schema}.{stem(message)}"


def row_of(session: Session, message: V2gMessage) -> str:
    """The row of a request or response in the tables of times: ``din.CableCheck``."""
    name = str(message.message)
    return f"{protocol_of(session, message)}.{stem(name)}" if message.schema is None else _row(message.schema, name)


def processing(message: V2gMessage) -> str | None:
    """EVSEProcessing of a response: Ongoing, Ongoing_WaitingForCustomerInteraction, Finished; None where absent."""
    value = message.body.get("EVSEProcessing")
    return value if isinstance(value, str) else None


@memo
def dc_status(message: V2gMessage) -> dict[str, Any]:
    """DC_EVSEStatus of a response, wherever the message holds it; {} where there is none."""
    node = message.body.get("DC_EVSEStatus")
    if not isinstance(node, dict):
        node = dig(message.body, "DC_EVSEChargeParameter", "DC_EVSEStatus")
    return node if isinstance(node, dict) else {}


# Last phase -> words for it within a sentence.
_WHERE = {
    None: "before any message",
    "negotiated": "before SessionSetup",
    "setup": "during set-up",
    "authorization": "after authorization began",
    "parameters": "after ChargeParameterDiscovery",
    "cable-check": "during CableCheck",
    "pre-charge": "during PreCharge",
    "charging": "in the charge loop",
}


def where(session: Session) -> str:
    """How far the session had come, as part of a sentence."""
    return _WHERE.get(session.reached, f"in the phase {session.reached}")
