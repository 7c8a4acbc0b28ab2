"""Silence of the EV after an answer: sequence time-out and performance time (V2G2-443, V2G2-485, V2G-DC-432)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import is_request, limits, ns, seconds, took
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded


class _Pause(Check):
    """Base: the response that waits for the EV's next request. SessionStopRes waits for nothing."""

    def start(self) -> None:
        self.last: V2gMessage | None = None

    @on(V2gMessage)
    def message(self, ev: V2gMessage) -> None:
        before = self.last
        if before is not None:
            self.last = None
            self.cancel()
        if ev.message is None:
            return
        if is_request(ev.message):
            if before is not None:
                self.asked(before, ev)
        elif ev.message not in ("SessionStopRes", "supportedAppProtocolRes"):
            self.last = ev
            self.waits(ev)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self.cancel()
        if ev.how == "silence" and ev.by == "EVCC" and self.last is not None:
            self.silent(self.last)
        self.last = None

    def asked(self, response: V2gMessage, request: V2gMessage) -> None:
        """The next request came."""

    def waits(self, response: V2gMessage) -> None:
        """A response is out; the EV is to go on."""

    def silent(self, response: V2gMessage) -> None:
        """The session ended in silence after this response."""


@register
class SequenceTimeout(_Pause):
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

    def waits(self, response: V2gMessage) -> None:
        self.arm()
        self.at(response.t + ns(self.limit("sequence_timeout")), lambda t: self.silent(response))

    def asked(self, response: V2gMessage, request: V2gMessage) -> None:
        self.evaluated()

    def silent(self, response: V2gMessage) -> None:
        limit = self.limit("sequence_timeout")
        self.last = None
        self.fire(
            response, f"After {response.message} the EV sent no further request for {limit:g} s.",
            since=response.t, t=response.t + ns(limit), values={"pause": took(ns(limit), limit, ">=")},
        )  # fmt: skip


@register
class SlowBetween(_Pause):
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

    def asked(self, response: V2gMessage, request: V2gMessage) -> None:
        if self.session.protocol == "din":
            return
        self.arm()
        limit, pause = self.limit("sequence_performance"), request.t - response.t
        if pause <= ns(limit):
            self.evaluated()
            return
        self.fire(
            [response, request], f"{request.message} came {seconds(pause):.1f} s after {response.message}.",
            since=response.t, values={"pause": took(pause, limit)},
        )  # fmt: skip
