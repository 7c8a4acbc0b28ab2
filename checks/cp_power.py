"""The pilot around PowerDelivery: C in time, the AC contactor, B in time (ISO 15118-2 8.7.2, DIN SPEC 70121)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import letter, ns, pilot, seconds, timed
from plugtap.checks.cp_hlc import is_ac
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot, V2gMessage
from plugtap.sessions.notices import Exchange
from plugtap.sessions.v2g_facts import delivery_kind

START = ("Start",)
STOP = ("Stop", "Standby")


@register
class CLatePowerDelivery(Check):
    """AC: C follows PowerDeliveryReq(Start). In DC the EV has been in C since CableCheck."""

    meta = Meta(
        id="cp-c-late-powerdelivery",
        title="The EV goes to C late after PowerDeliveryReq(Start)",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="more than {state_c_after_power} from PowerDeliveryReq(Start) of an AC session to C or D",
        cause="A slow body controller in the EV, or the EV waits for something.",
        fix="EV software: C within 250 ms. EVSE: tolerate more.",
        refs=("V2G2-847", "V2G20-847"),
        certainty="likely",
        needs=("pilot",),
        modes=("ac",),
        protocols=("iso2", "iso20"),
        limits=pilot("state_c_after_power"),
        uec="ControlPilotStateUnexpected",
        priority=80,
        example="C 1.3 s after the request.",
    )

    def start(self) -> None:
        self.asked: V2gMessage | None = None

    @on(V2gMessage, "PowerDeliveryReq")
    def request(self, ev: V2gMessage) -> None:
        held = self.session.pilot
        ready = held is not None and letter(held.state) in "CD"
        self.asked = ev if delivery_kind(ev.body) in START and is_ac(self.session) and not ready else None
        if self.asked is not None:
            self.arm()

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        asked = self.asked
        if asked is None or letter(ev.state) not in "CD":
            return
        self.asked = None
        delay = ev.t - asked.t
        if timed(ev) and delay > ns(self.limit("state_c_after_power")):
            self.fire(
                [asked, ev],
                f"The EV went to {ev.state} {seconds(delay):.2f} s after PowerDeliveryReq(Start).",
                values={"delay": Value(seconds(delay), "s", self.limit("state_c_after_power"), ">")},
                since=asked.t,
            )
        else:
            self.evaluated()


@register
class BLateAfterStop(Check):
    """Late is information; later than the EVSE's detection time is a warning."""

    meta = Meta(
        id="cp-b-late-after-stop",
        title="The EV leaves C late after PowerDelivery stop",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger=("more than {state_b_after_stop} (info) or {state_b_detection} (warning) from PowerDeliveryRes(Stop) to B"),
        cause="The EV opens its switch late, or its contactor is welded.",
        fix="EV software: go to B first, then WeldingDetection or SessionStop; check the contactor if it never does.",
        refs=("V2G2-848, V2G2-913, V2G2-920..922", "V2G-DC-556, V2G-DC-988", "V2G20-1617"),
        certainty="likely",
        needs=("pilot",),
        limits=pilot("state_b_after_stop", "state_b_detection"),
        uec="ControlPilotStateUnexpected",
        priority=80,
        example="B 2.1 s after the response.",
    )

    def start(self) -> None:
        self.stopped: V2gMessage | None = None

    @on(Exchange, "PowerDelivery")
    def stop(self, ev: Exchange) -> None:
        held = self.session.pilot
        still = held is not None and letter(held.state) in "CD"
        if delivery_kind(ev.request.body) in STOP and still:
            self.arm()
            self.stopped = ev.response
            self.at(ev.t + ns(self.limit("state_b_detection")), self.overdue)
        else:
            self.stopped = None
            self.cancel()

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        stopped = self.stopped
        if stopped is None or letter(ev.state) in "CD":
            return
        self.stopped = None
        self.cancel()
        delay = ev.t - stopped.t
        if letter(ev.state) in "AB" and timed(ev) and delay > ns(self.limit("state_b_after_stop")):
            self._late(stopped, delay, "state_b_after_stop", ev.t, [stopped, ev])
        else:
            self.evaluated()

    def overdue(self, t: int) -> None:
        if self.stopped is not None:
            stopped, self.stopped = self.stopped, None
            self._late(stopped, t - stopped.t, "state_b_detection", t, [stopped])

    def _late(self, stopped: V2gMessage, delay: int, limit: str, t: int, frames: list[Pilot | V2gMessage]) -> None:
        still = limit == "state_b_detection"
        self.fire(
            frames,
            f"The EV {'is still in C' if still else 'went to B'} {seconds(delay):.2f} s after PowerDeliveryRes(Stop).",
            values={"delay": Value(seconds(delay), "s", self.limit(limit), ">=" if still else ">")},
            since=stopped.t,
            t=t,
            severity="warning" if still else None,
        )


@register
class ContactorLateAc(Check):
    """The message time-out itself is time-msg-timeout's; FAILED_ContactorError is a response code."""

    meta = Meta(
        id="cp-contactor-late-ac",
        title="The AC contactor closes late",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=("PowerDeliveryRes to PowerDeliveryReq(Start) of an AC session later than {contactor} though the EV was in C or D"),
        cause="The relay or its feedback fails, or the EVSE did not see C.",
        fix="Check the contactor and its feedback contact.",
        refs=("V2G2-860, V2G2-862, V2G2-865",),
        needs=("pilot",),
        protocols=("iso2", "iso20"),
        modes=("ac",),
        limits=pilot("contactor"),
        uec="ContactorFault",
        mrec="CX017",
        priority=50,
        example="3.8 s.",
    )

    def start(self) -> None:
        self.ready: Pilot | None = None

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if letter(ev.state) in "CD":
            self.ready = self.ready or ev
        else:
            self.ready = None

    @on(Exchange, "PowerDelivery")
    def answer(self, ev: Exchange) -> None:
        if delivery_kind(ev.request.body) not in START or not is_ac(self.session) or self.ready is None:
            return
        self.arm()
        waited = ev.response.first_t - max(ev.request.t, self.ready.t)
        if waited > ns(self.limit("contactor")):
            self.fire(
                [ev.request, self.ready, ev.response],
                f"PowerDeliveryRes came {seconds(waited):.1f} s after request and state C.",
                values={"latency": Value(seconds(waited), "s", self.limit("contactor"), ">")},
                since=ev.request.t,
            )
