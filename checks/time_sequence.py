"""Silence of the EV after an answer: sequence time-out and performance time (V2G2-443, V2G2-485, V2G-DC-432)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.guards import never
from plugtap.checks.meta import Meta
from plugtap.checks.patience import Patience
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import is_request, limits, ns, seconds, took
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.session import Session


SAYS_NOTHING = ("SessionStopRes", "supportedAppProtocolRes")  # responses after which no pause is measured


def waits(message: V2gMessage) -> bool:
    """Is it a response that the EV is to go on after?"""
    return message.message is not None and not is_request(message.message) and message.message not in SAYS_NOTHING


def answer_before(session: Session) -> V2gMessage | None:
    """The response right before the message being handled, if that response waited for it."""
    before = session.message_before
    return before if before is not None and waits(before) else None


@register
class SequenceTimeout(Patience):
    """60 s in every state; the 0.5 s of the ISO 15118-20 charge loop are in time-chargeloop-iso20, for no SECC in the field cuts there."""

    meta = Meta(
        id="time-secc-sequence-timeout",
        title="EV sent no next request within the sequence time-out",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger="no request for {sequence_timeout} after a response, on a tap that hears the EV",
        cause="The EV's controller has stopped or waits for something outside the protocol.",
        fix="Look at the last response: what did it tell the EV? Check lock, proximity and the control pilot at that time.",
        refs=("V2G2-443", "V2G-DC-432", "V2G20-443", "ISO 15118-2 Table 109"),
        needs=("hears-unicast-evcc",),
        limits=limits("sequence_timeout"),
        uec="V2GTimeout",
        priority=56,
        example="AuthorizationRes with EVSEProcessing Finished, then nothing from the EV for 60 s.",
    )

    def start(self) -> None:
        super().start()
        self.limit_s = self.limit("sequence_timeout")
        self.least = ns(self.limit_s)

    @on(V2gMessage, "*Res", only=never, quiet=("armed",))
    def response(self, ev: V2gMessage) -> None:
        self.arm()

    @on(V2gMessage, "*Req", only=never, quiet=("evaluated",))
    def request(self, ev: V2gMessage) -> None:
        self.evaluated()

    def span(self, latest: V2gMessage) -> int | None:
        return self.least if waits(latest) else None

    def over(self, latest: V2gMessage, t: int) -> None:
        self.silent(latest)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        last = self.waiting
        super().ended(ev)
        if ev.how == "silence" and ev.by == "EVCC" and last is not None and waits(last):
            self.silent(last)

    def silent(self, response: V2gMessage) -> None:
        limit = self.limit_s
        self.fire(
            response, f"After {response.message} the EV sent no further request for {limit:g} s.",
            since=response.t, t=response.t + ns(limit), values={"pause": took(ns(limit), limit, ">=")},
        )  # fmt: skip


@register
class SlowBetween(Check):
    """40 s is what the EVCC should keep; the SECC waits 60 s."""

    meta = Meta(
        id="time-ev-slow-between",
        title="EV takes long between two messages",
        severity="info",
        class_="performance",
        effect="none",
        side="EVCC",
        trigger="next request more than {sequence_performance} after the response",
        cause="The EV waits for the driver or its battery system.",
        fix="Nothing: the EVSE waits 60 s.",
        refs=("V2G2-485", "ISO 15118-2 Table 109"),
        limits=limits("sequence_performance"),
        protocols=("iso2", "iso20"),
        uec="V2GPerformanceTime",
        example="PowerDeliveryReq 43 s after PreChargeRes.",
    )

    def start(self) -> None:
        self.limit_s = self.limit("sequence_performance")
        self.limit_ns = ns(self.limit_s)

    @on(V2gMessage, "*Req")
    def request(self, ev: V2gMessage) -> None:
        response = answer_before(self.session)
        if response is None or self.session.protocol == "din":
            return
        self.arm()
        pause = ev.t - response.t
        if pause <= self.limit_ns:
            self.evaluated()
            return
        self.fire(
            [response, ev], f"{ev.message} came {seconds(pause):.1f} s after {response.message}.",
            since=response.t, values={"pause": took(pause, self.limit_s)},
        )  # fmt: skip
