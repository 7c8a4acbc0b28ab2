"""How fast answers come: message time-outs and performance times (ISO 15118-2 Table 109, DIN Table 75, ISO 15118-20 Tables 215 to 217)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.guards import never
from plugtap.checks.meta import Meta
from plugtap.checks.patience import Patience
from plugtap.checks.registry import register
from plugtap.checks.tables import timeout_limits
from plugtap.checks.v2g_common import is_request, limits, ns, row_of, seconds, stem, took
from plugtap.protocols.events import Tcp, V2gMessage
from plugtap.sessions.notices import Exchange, NewAttempt, SessionEnded
from plugtap.sessions.session import Session

GRACE_NS = 1_000_000_000  # an answer that comes this late is late, one that is later still is missing
TABLES = ("ISO 15118-2 Table 109", "DIN SPEC 70121:2014 Table 75", "ISO 15118-20 Tables 215 to 217")
CURRENT_DEMAND = "CurrentDemand"
HARMLESS = ("SessionStop", "WeldingDetection", "DC_WeldingDetection")


def not_current_demand(session: Session, ev: Exchange) -> bool:
    """Anything but the charge loop of DIN and ISO 15118-2."""
    return ev.name != CURRENT_DEMAND


@register
class MessageTimeout(Patience):
    """A request without an answer within the EVCC's message time-out.

    An answer that comes late while the EV still waits is a warning; one that never comes stops the session.
    """

    meta = Meta(
        id="time-msg-timeout",
        title="Request not answered in time",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger="no response within the message time-out of its row in timeouts.tsv, on a tap that hears the EVSE",
        cause="The EVSE's controller is overloaded or waits for a backend or a power unit; or its PLC link is bad.",
        fix="Read the EVSE's log at this time; show its maker the request in the named frame. Check the PLC link if TCP repeats segments.",
        refs=TABLES,
        needs=("hears-unicast-secc",),
        limits=timeout_limits("fails", ("sap", "din", "iso2", "iso20")),
        uec="V2GTimeout",
        priority=40,
        example="CableCheckReq, acknowledged by TCP, and no CableCheckRes for more than 2 s.",
    )

    def start(self) -> None:
        super().start()
        self.known: dict[tuple[str | None, str | None], tuple[float, int] | None] = {}  # schema and message -> limit in s, in ns
        self.shortest = ns(min(self.limit(name) for name in self.meta.limits))
        self.least = self.shortest + GRACE_NS
        self.said = -1  # frame of the request reported last

    def allowed(self, request: V2gMessage) -> tuple[float, int] | None:
        """(limit in s, in ns) of a request."""
        key = request.schema, request.message
        if key not in self.known:
            name = row_of(self.session, request)
            self.known[key] = (self.limit(name), ns(self.limit(name))) if name in self.meta.limits else None
        return self.known[key]

    def span(self, latest: V2gMessage) -> int | None:
        if latest.message is None or not is_request(latest.message):
            return None
        limit = self.allowed(latest)
        return None if limit is None else limit[1] + GRACE_NS

    def over(self, latest: V2gMessage, t: int) -> None:
        self.overdue(latest, t)

    def late(self, t: int) -> V2gMessage | None:
        """The request that nothing came after, if its time is over at `t`."""
        request = self.waiting
        allowed = None if request is None or self.span(request) is None else self.allowed(request)
        return request if request is not None and allowed is not None and t - request.t > allowed[1] else None

    @on(V2gMessage, "*Req", only=never, quiet=("armed",))
    def request(self, ev: V2gMessage) -> None:
        self.arm()

    @on(Exchange)
    def answered(self, ev: Exchange) -> None:
        if ev.latency <= self.shortest:
            self.evaluated()
            return
        allowed = self.allowed(ev.request)
        if allowed is None or ev.request.frame == self.said:
            return
        limit, limit_ns = allowed
        if ev.latency <= limit_ns:
            self.evaluated()
            return
        self.said = ev.request.frame
        self.fire(
            [ev.request, ev.response],
            f"{ev.response.message} came {seconds(ev.latency):.2f} s after its request; the EV need not wait longer than {limit:g} s.",
            key=ev.name, severity="warning", since=ev.request.t, t=ev.request.t + limit_ns, values={"response_time": took(ev.latency, limit)},
        )  # fmt: skip

    @on(Tcp, "fin", "rst")
    def closing(self, ev: Tcp) -> None:
        request = self.waiting
        if request is None or ev.stream != request.stream:
            return
        if self.late(ev.t) is not None:
            self.overdue(request, ev.t)
        # Who hangs up on a pending request in time is another question: time-ev-gave-up-early, sess-terminated-by-secc.
        self.judged = request

    @on(NewAttempt)
    def again(self, ev: NewAttempt) -> None:
        request = self.late(ev.t)
        if request is not None:
            self.overdue(request, ev.t)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        request = self.late(ev.t)
        if request is None or ev.how != "new-slac":
            return  # the frame that closes the connection is still to come
        losses = [g for g in self.session.gaps if max(g.t, g.until) >= request.t]
        if losses and all(g.kind == "silence" for g in losses):
            # Nothing at all was heard after the request until the EV began anew: it waited in vain, or nobody listened.
            self.overdue(request, ev.t, certainty="likely", proven=False)
        else:
            self.overdue(request, ev.t)

    def overdue(self, request: V2gMessage, t: int, certainty: str | None = None, proven: bool = True) -> None:
        allowed = self.allowed(request)
        if allowed is None or request.message is None or request.frame == self.said:
            return
        self.said = request.frame
        name, (limit, limit_ns) = stem(request.message), allowed
        harmless = name in HARMLESS
        self.fire(
            request,
            f"{request.message} was not answered within {limit:g} s.",
            key=name, since=request.t if proven else None, t=request.t + limit_ns, certainty=certainty,
            values={"response_time": took(t - request.t, limit)},
            severity="warning" if harmless else None, effect="none" if harmless else None,
        )  # fmt: skip


@register
class PerformanceMissed(Check):
    """Slower than the performance time, within the time-out. The charge loop is left out: real chargers miss 25 ms as a rule, see
    time-currentdemand."""

    meta = Meta(
        id="time-perf-missed",
        title="EVSE answers slower than its performance time",
        severity="info",
        class_="performance",
        effect="none",
        side="SECC",
        trigger="response time above the SECC performance time of timeouts.tsv and within the message time-out; CurrentDemand has its own check",
        cause="The EVSE's controller is slow here, often because it waits for a backend or a power unit.",
        fix="Nothing by itself: the EV waits longer. Worth a look when the time grows from session to session.",
        refs=TABLES,
        limits=timeout_limits("performance", ("sap", "din", "iso2", "iso20")),
        uec="V2GPerformanceTime",
        example="ChargeParameterDiscoveryRes 1.6 s after its request.",
    )

    @on(Exchange, only=not_current_demand)
    def answered(self, ev: Exchange) -> None:
        name = row_of(self.session, ev.request)
        if name not in self.meta.limits:
            return
        self.arm()
        limit = self.limit(name)
        if ev.latency <= ns(limit):
            self.evaluated()
            return
        self.fire(
            [ev.request, ev.response], f"{ev.response.message} took {seconds(ev.latency):.2f} s, the EVSE should need {limit:g} s at most.",
            key=ev.name, since=ev.request.t, values={"response_time": took(ev.latency, limit)},
        )  # fmt: skip


@register
class SlowCurrentDemand(Check):
    """The standard's 0.25 s is information, 0.5 s (what EVs tolerate) a deviation; above 2 s time-msg-timeout speaks."""

    meta = Meta(
        id="time-currentdemand",
        title="CurrentDemand answered slowly",
        severity="info",
        class_="timeout",
        effect="degrades",
        side="SECC",
        trigger="CurrentDemandRes more than {loop_slow} after CurrentDemandReq; a warning above {loop_late}",
        cause="The EVSE reads its power unit too slowly, or the PLC link repeats segments.",
        fix="EVSE: answer from the last known values instead of waiting for the power unit. Compare with TCP retransmissions.",
        refs=("ISO 15118-2 Table 109", "DIN SPEC 70121:2014 Table 75"),
        limits=limits("loop_slow", "loop_late"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GTimeout",
        priority=45,
        example="CurrentDemandRes 0.31 s after its request.",
    )

    def start(self) -> None:
        self.last_late: Exchange | None = None  # answered late, and nothing asked since
        self.borne = 0  # the latest answer this EV went on after, ns
        self.quick_ns = ns(min(self.limit("loop_slow"), self.limit("loop_late")))

    @on(V2gMessage, only=never)
    def message(self, ev: V2gMessage) -> None:
        if ev.side == "EVCC" and self.last_late is not None:
            self.borne = max(self.borne, self.last_late.latency)
            self.last_late = None
            self.sleep()

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        late = self.last_late
        if late is None or ev.by != "EVCC" or ev.how not in ("fin", "rst") or late.latency < 1.2 * self.borne:
            return
        limit = self.limit("loop_slow")
        self.fire(
            [late.request, late.response],
            f"CurrentDemandRes came after {seconds(late.latency):.3f} s; the EV, which need not wait longer than {limit:g} s, asked nothing more and closed the connection.",
            key="left", effect="stops-charging", severity="error", certainty="likely", since=late.request.t, t=ev.t,
            values={"response_time": took(late.latency, limit)},
        )  # fmt: skip

    @on(Exchange, "CurrentDemand")
    def answered(self, ev: Exchange) -> None:
        self.arm()
        if ev.latency <= self.quick_ns:
            self.last_late = None
            self.evaluated()
            return
        slow, late = self.limit("loop_slow"), self.limit("loop_late")
        over = ev.latency > ns(late)
        self.last_late = ev if over else None
        if over:
            self.wake()
        if ev.latency <= ns(slow):
            self.evaluated()
            return
        limit = late if over else slow
        self.fire(
            [ev.request, ev.response], f"CurrentDemandRes took {seconds(ev.latency):.3f} s, limit {limit:g} s.",
            key="late" if over else "slow", severity="warning" if over else None, since=ev.request.t, values={"response_time": took(ev.latency, limit)},
        )  # fmt: skip


@register
class ChargeLoopPace(Check):
    """The -20 charge loop: the EV should ask every 0.25 s; SECCs may give up after 0.5 s, though in the field they wait 60 s."""

    meta = Meta(
        id="time-chargeloop-iso20",
        title="EV asks too slowly in the charge loop",
        severity="info",
        class_="performance",
        effect="degrades",
        side="EVCC",
        trigger="next …ChargeLoopReq more than {chargeloop_performance} after the response; a warning above {chargeloop_sequence}",
        cause="The EV's controller is slow.",
        fix="EV: send the next request within 0.25 s. EVSE: do not cut the session at 0.5 s.",
        refs=("V2G20-1499", "V2G20-1500", "V2G20-1501", "V2G20-1502", "ISO 15118-20 Tables 216, 217"),
        limits=limits("chargeloop_performance", "chargeloop_sequence"),
        protocols=("iso20",),
        uec="V2GPerformanceTime",
        example="DC_ChargeLoopReq 0.53 s after the response before it.",
    )

    def start(self) -> None:
        self.answered: V2gMessage | None = None

    @on(V2gMessage, "DC_ChargeLoopRes", "AC_ChargeLoopRes")
    def response(self, ev: V2gMessage) -> None:
        self.answered = ev

    @on(V2gMessage, "DC_ChargeLoopReq", "AC_ChargeLoopReq")
    def request(self, ev: V2gMessage) -> None:
        before, self.answered = self.answered, None
        if before is None:
            return
        self.arm()
        pause = ev.t - before.t
        fast, limit = self.limit("chargeloop_performance"), self.limit("chargeloop_sequence")
        if pause <= ns(fast):
            self.evaluated()
            return
        over = pause > ns(limit)
        bound = limit if over else fast
        self.fire(
            [before, ev], f"{ev.message} came {seconds(pause):.3f} s after the response, limit {bound:g} s.",
            key="late" if over else "slow", severity="warning" if over else None, since=before.t, values={"pause": took(pause, bound)},
        )  # fmt: skip

    @on(V2gMessage, "PowerDeliveryReq")
    def leave(self, ev: V2gMessage) -> None:
        self.answered = None


@register
class GaveUpEarly(Check):
    """The EV closes TCP while the EVSE may still answer. One that closes right behind its request left for another reason."""

    meta = Meta(
        id="time-ev-gave-up-early",
        title="EV did not wait for the answer",
        severity="warning",
        class_="implementation",
        effect="stops-charging",
        side="EVCC",
        trigger="the EV closes or resets TCP with a request pending, {left_at_once} or more after it and before its message time-out in timeouts.tsv",
        cause="The EV's own time-out is shorter than the standard's.",
        fix="EVSE: answer faster (EVSEProcessing Ongoing is an answer). EV: wait as long as the standard allows.",
        refs=TABLES,
        limits=timeout_limits("timeout", ("sap", "din", "iso2", "iso20")) | limits("cable_check", "precharge", "left_at_once"),
        needs=("hears-unicast-secc",),
        uec="V2GTimeout",
        priority=42,
        example="ChargeParameterDiscoveryReq, FIN from the EV 0.4 s later; the EVSE had 2 s.",
    )

    def start(self) -> None:
        self.judged: V2gMessage | None = None  # the request whose connection was closed already

    @on(V2gMessage, "*Req", only=never, quiet=("armed",))
    def message(self, ev: V2gMessage) -> None:
        self.arm()

    @on(Tcp, "fin", "rst")
    def closing(self, ev: Tcp) -> None:
        request, before = self.session.latest, self.judged
        self.judged = request
        closes = self.session.closes
        if (
            request is None
            or request is before
            or request.message is None
            or not is_request(request.message)
            or request.stream != ev.stream
            or not closes
        ):
            return
        if closes[-1][1] != "EVCC" or closes[-1][3] != ev.frame or stem(request.message) in HARMLESS:
            return
        name = row_of(self.session, request)
        if name not in self.meta.limits:
            return
        limit, waited = self.limit(name), ev.t - request.t
        if waited >= ns(limit) or waited < ns(self.limit("left_at_once")) or self._process_over(request):
            self.evaluated()
            return
        how = "reset" if ev.kind == "rst" else "closed"
        self.fire(
            [request, ev], f"The EV {how} the connection {seconds(waited):.2f} s after {request.message}; the EVSE had {limit:g} s to answer.",
            since=request.t, values={"waited": took(waited, limit, "<")},
        )  # fmt: skip

    def _process_over(self, request: V2gMessage) -> bool:
        """Had the EV's time for CableCheck or PreCharge run out, so that it left for that reason?"""
        el = self.session.electrical
        first = {"CableCheck": el.cable_check_first, "PreCharge": el.precharge_first}.get(stem(str(request.message)).removeprefix("DC_"))
        limit = self.limit("cable_check" if "CableCheck" in str(request.message) else "precharge")
        return first is not None and request.t - first > ns(limit) - GRACE_NS

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if ev.how not in ("fin", "rst"):
            self.judged = self.session.latest
