"""Set-up as a whole, clocks, and how steady the EVSE answers."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import SECOND, failed, limits, ns, quantity, response_code, seconds, took
from plugtap.protocols.events import Pilot, V2gMessage
from plugtap.sessions.notices import Exchange, SessionEnded

NO_CLOCK = 315_532_800 * SECOND  # a capture before 1980 has no clock
DIGITAL = (3.0, 7.0)  # duty of digital communication, percent
MICRO = 10**12  # a time stamp above this counts microseconds (milliseconds above 10^11)


@register
class CommunicationSetup(Check):
    """From the first digital duty cycle: before it the EVSE may wait for anything. An EV that was woken later is not blamed."""

    meta = Meta(
        id="time-comm-setup",
        title="Communication set-up took long",
        severity="info",
        class_="timeout",
        effect="degrades",
        side="unknown",
        trigger="more than {communication_setup} from 5 % duty in state B (or C) to SessionSetupRes",
        cause="Slow SLAC, several attempts, slow SDP, TCP or TLS: the phases of the session tell which.",
        fix="Look at the longest phase before set-up.",
        refs=("V2G2-446", "V2G2-448", "V2G2-716", "ISO 15118-2 Table 111"),
        limits=limits("communication_setup"),
        needs=("pilot",),
        uec="V2GTimeout",
        example="5 % duty at 0 s, CM_SLAC_PARM.REQ at 14 s, SessionSetupRes at 26 s.",
    )

    def start(self) -> None:
        self.begun: Pilot | None = None

    @on(Pilot)
    def pilot(self, ev: Pilot) -> None:
        digital = ev.state[0] in "BCD" and DIGITAL[0] <= ev.duty <= DIGITAL[1]
        if not digital:
            self.begun = None
        elif self.begun is None:
            self.begun = ev
            self.arm()

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev: V2gMessage) -> None:
        begun, self.begun = self.begun, None
        if begun is None or failed(response_code(ev)):
            return
        limit = self.limit("communication_setup")
        if ev.t - begun.t <= ns(limit):
            self.evaluated()
            return
        marks = ", ".join(
            f"{name} after {seconds(max(0, t - begun.t)):.1f} s" for name, (t, _) in self.session.phases.items() if name not in ("plugged", "setup")
        )
        self.fire([begun, ev], f"SessionSetupRes came {seconds(ev.t - begun.t):.1f} s after the digital duty cycle ({marks}).", since=begun.t,
                  values={"duration": took(ev.t - begun.t, limit)})  # fmt: skip


@register
class ClockDiffers(Check):
    """EVSETimeStamp (seconds), TimeStamp of the -20 header. The capture's clock may be the wrong one, too."""

    meta = Meta(
        id="time-clock-jump",
        title="Clocks differ",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="EVSETimeStamp, or TimeStamp of an ISO 15118-20 header, differs from the capture's clock by more than {timestamp}",
        cause="The EVSE's (or the EV's, or the tap's) clock is wrong.",
        fix="Check the time synchronisation of EVSE and tap; a wrong clock also breaks certificate checks.",
        refs=("ISO 15118-2 8.4.3.3",),
        confidence="unconfirmed",
        limits=limits("timestamp"),
        gap="proceed",
        example="EVSETimeStamp is one hour behind.",
    )

    def start(self) -> None:
        self.looked: set[str] = set()

    @on(V2gMessage, "SessionSetupRes", "PaymentDetailsRes", "SessionSetupReq", "AuthorizationSetupReq")
    def message(self, ev: V2gMessage) -> None:
        stamp = ev.body.get("EVSETimeStamp", ev.body.get("DateTimeNow", ev.header.get("TimeStamp")))
        if not isinstance(stamp, int) or stamp <= 0 or ev.t < NO_CLOCK or ev.side in self.looked:
            return
        self.looked.add(ev.side)
        self.arm()
        said = stamp / 1e6 if stamp > MICRO else float(stamp)
        difference, limit = said - ev.t / SECOND, self.limit("timestamp")
        if abs(difference) <= limit:
            self.evaluated()
            return
        word = "ahead of" if difference > 0 else "behind"
        self.fire(ev, f"The clock of the {ev.side} is {abs(difference):.0f} s {word} the capture's.", key=ev.side, side=ev.side,
                  values={"difference": quantity(abs(difference), "s", limit, ">")})  # fmt: skip


@register
class Jitter(Check):
    """No public number: off unless a site switches it on."""

    meta = Meta(
        id="time-response-jitter",
        title="EVSE's response time scatters",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="the 99th percentile of the charge loop's response times is more than {jitter} times their median, over at least 100 loops",
        cause="The EVSE's controller does other work in between, or the PLC link repeats segments.",
        fix="Compare with TCP retransmissions.",
        refs=(),
        confidence="unconfirmed",
        limits=limits("jitter"),
        enabled=False,
        gap="proceed",
        example="Median 20 ms, 99th percentile 300 ms.",
    )

    def start(self) -> None:
        self.times: list[int] = []
        self.last: V2gMessage | None = None

    @on(Exchange, "CurrentDemand", "DC_ChargeLoop", "AC_ChargeLoop", "ChargingStatus")
    def answered(self, ev: Exchange) -> None:
        if ev.late:
            return
        if not self.times:
            self.arm()
        if len(self.times) >= 2000:
            del self.times[:1000]
        self.times.append(ev.latency)
        self.last = ev.response

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        times = sorted(self.times)
        if len(times) < 100 or self.last is None:
            return
        middle, high = times[len(times) // 2], times[len(times) * 99 // 100]
        limit = self.limit("jitter")
        if middle <= 0 or high <= middle * limit:
            self.evaluated()
            return
        self.fire(self.last, f"Response times: median {middle / 1e6:.0f} ms, 99th percentile {high / 1e6:.0f} ms.",
                  values={"ratio": quantity(high / middle, "", limit, ">"), "median": Value(round(middle / 1e6, 1), "ms")})  # fmt: skip
