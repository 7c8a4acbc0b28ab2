"""How sessions end: who left, without what, and what the tap did not see."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import limits, where
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded
from plugtap.sessions.session import Said

ENDED_BY_LINE = ("fin", "rst")
FROM_START = ("supportedAppProtocolReq", "supportedAppProtocolRes", "SessionSetupReq")
HOW = {
    "fin": "closed the TCP connection", "rst": "reset the TCP connection", "unplug": "was unplugged", "session-stop": "sent SessionStop",
    "pause": "paused", "new-slac": "started SLAC again", "silence": "fell silent",
}  # fmt: skip


class _End(Check):
    """Base: what was said last by each side."""

    def last(self) -> Said | None:
        """The last message of the session."""
        history = self.session.history
        return history[-1] if history else None

    def started(self) -> bool:
        """Was power delivery started?"""
        return self.session.reached_at_least("charging") or self.session.delivering or self.session.energy_moved

    def tail(self) -> str:
        """The last message, as part of a sentence."""
        last = self.last()
        if last is None:
            return "no message was seen"
        return f"the last message was {last.name}" + (f" ({last.code})" if last.code else "")


@register
class TerminatedBySecc(_End):
    """A consequence as a rule: what the EVSE saw before it left is the cause, and other checks may know it."""

    meta = Meta(
        id="sess-terminated-by-secc",
        title="EVSE ended the session before energy",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="SECC",
        certainty="likely",
        trigger="the EVSE closes or resets TCP before power delivery was started, without SessionStop",
        cause="A fault of the EVSE, a refusal by its backend, or a time-out on its side.",
        fix="Read the EVSE's log at the time of the last message named here.",
        refs=("V2G2-735",),
        uec="TCPUnexpectedClose",
        priority=88,
        example="supportedAppProtocolReq, and FIN from the EVSE 0.4 ms later without an answer.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self.arm()
        if ev.by != "SECC" or ev.how not in ENDED_BY_LINE or self.started() or self.session.session_stop_req is not None:
            self.evaluated()
            return
        last = self.last()
        frames = [f for f in (last.frame if last else 0, ev.frame) if f]
        self.fire(
            None, f"The EVSE {HOW[ev.how]} {where(self.session)}; {self.tail()}.", frames=frames, since=last.t if last else ev.t, t=ev.t,
            values={"reached": Value(self.session.reached), "last_message": Value(last.name if last else None)},
        )  # fmt: skip


@register
class TerminatedByEvcc(_End):
    """SessionStop, close or unplugging by the EV before power delivery."""

    meta = Meta(
        id="sess-terminated-by-evcc",
        title="EV ended the session before energy",
        severity="warning",
        class_="heuristic",
        effect="stops-charging",
        side="EVCC",
        certainty="likely",
        trigger="the EV stops, closes, resets or unplugs before power delivery was started",
        cause="Something the EVSE offered or reported does not suit the EV, or the driver changed their mind.",
        fix="Look at the last responses before the end: energy transfer modes, limits, status codes, isolation.",
        refs=("V2G2-737", "V2G2-728"),
        uec="TCPUnexpectedClose",
        priority=86,
        example="AuthorizationRes Finished, then FIN from the EV: the EV does not support the offered AC modes.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self.arm()
        if ev.by != "EVCC" or ev.how not in (*ENDED_BY_LINE, "unplug", "session-stop", "new-slac") or self.started() or not self.session.messages:
            self.evaluated()
            return
        if self.session.stop_asked_by == "SECC" or self.session.failed_negotiation is not None:
            self.evaluated()
            return
        last = self.last()
        frames = [f for f in (last.frame if last else 0, ev.frame) if f]
        orderly = ev.how == "session-stop"
        self.fire(
            None, f"The EV {HOW[ev.how]} {where(self.session)}; {self.tail()}.", frames=frames, since=last.t if last else ev.t, t=ev.t,
            severity="info" if orderly else None, values={"reached": Value(self.session.reached), "last_message": Value(last.name if last else None)},
        )  # fmt: skip


@register
class NoSessionStop(_End):
    """Never an alarm by itself: half of such sessions in a large study were only truncated captures."""

    meta = Meta(
        id="sess-no-sessionstop",
        title="Session ended without SessionStop",
        severity="info",
        class_="heuristic",
        effect="unknown",
        side="unknown",
        certainty="likely",
        trigger="the session ended by TCP close, reset, silence, unplugging or a new SLAC, and no SessionStopReq was seen after set-up",
        cause="One side left in the middle; other findings of this session may say why.",
        fix="Look at what happened right before the end.",
        refs=("V2G2-570",),
        uec="TCPUnexpectedClose",
        example="CurrentDemandRes, RST from the EV.",
    )

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if not self.session.setup_ok:
            return
        self.arm()
        if ev.how in ("session-stop", "pause", "capture-end") or self.session.session_stop_req is not None:
            self.evaluated()
            return
        last = self.last()
        side = ev.by if ev.by in ("EVCC", "SECC") else None
        who = {"EVCC": "The EV", "SECC": "The EVSE"}.get(ev.by, "One side")
        self.fire(
            None, f"{who} {HOW.get(ev.how, ev.how)} {where(self.session)} without SessionStop; {self.tail()}.",
            frames=[f for f in (last.frame if last else 0, ev.frame) if f], since=last.t if last else ev.t, t=ev.t, side=side,
            values={"how": Value(ev.how)},
        )  # fmt: skip


@register
class CaptureTruncated(Check):
    """Whatever came before was not recorded: absence proves nothing in this session."""

    meta = Meta(
        id="sess-capture-truncated",
        title="Capture begins in the middle of the session",
        severity="info",
        class_="info",
        effect="none",
        side="tap",
        trigger="the first V2G message is neither supportedAppProtocol nor SessionSetupReq",
        cause="Recording began late, or the first frames were lost.",
        fix="Start recording before plugging in.",
        refs=(),
        gap="proceed",
        example="The first message of the capture is CurrentDemandReq.",
    )

    @on(V2gMessage, once=True)
    def message(self, ev: V2gMessage) -> None:
        self.arm()
        if ev.message in FROM_START or "negotiated" in self.session.phases:
            self.evaluated()
            return
        name = ev.message or f"an undecodable message ({ev.schema or 'unknown schema'})"
        self.fire(ev, f"The first message is {name}.", values={"first_message": Value(ev.message)})


@register
class ShortSession(Check):
    """Charging began and stopped at once."""

    meta = Meta(
        id="sess-short",
        title="Charging stopped soon after it began",
        severity="info",
        class_="heuristic",
        effect="unknown",
        side="unknown",
        certainty="possible",
        trigger="less than {short_session} from the first message of the charge loop to the end, and less than {short_energy}",
        cause="Regulation of the output, a fault of either side, or a test.",
        fix="Look at voltages, currents and status codes of the charge loop.",
        refs=(),
        limits=limits("short_session", "short_energy"),
        modes=("dc",),
        uec="V2GParameterInvalid",
        example="Two CurrentDemand, then the EV leaves.",
    )

    def start(self) -> None:
        self.first: V2gMessage | None = None

    @on(V2gMessage, "CurrentDemandReq", "DC_ChargeLoopReq", once=True)
    def loop(self, ev: V2gMessage) -> None:
        if self.first is None:
            self.first = ev
            self.arm()

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if self.first is None or ev.how == "capture-end":
            return
        span, energy = ev.t - self.first.t, self.session.electrical.energy_ws / 3600
        limit, least = self.limit("short_session"), self.limit("short_energy")
        if span >= limit * 1e9 or energy >= least:
            self.evaluated()
            return
        self.fire(
            self.first, f"The charge loop lasted {span / 1e9:.1f} s and moved {energy:.0f} Wh.", frames=[ev.frame], since=self.first.t, t=ev.t,
            values={"duration": Value(round(span / 1e9, 3), "s", limit, "<"), "energy": Value(round(energy, 1), "Wh", least, "<")},
        )  # fmt: skip
