"""Events to sessions: whose event is it, does it open, continue or end a session (DESIGN section 2).

The tracker gives every event that belongs to a session to `notify(session, event)`, its own notices too, and every closed session to
`closed(session)`. It asks for deadlines through `set_timer`; it never looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable

from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.events import (
    Event,
    IcmpError,
    Loss,
    Mme,
    Neighbor,
    OtherTraffic,
    Pilot,
    PilotSample,
    Redecoded,
    Sdp,
    Tcp,
    TcpPeer,
    Tls,
    Undecodable,
    V2gMessage,
    V2gtpOddity,
)
from plugtap.protocols.pilot import CP_NOMINAL, SAE_J1772, duty_current
from plugtap.protocols.slac import CmAttenCharInd
from plugtap.sessions import slac_facts, v2g_facts
from plugtap.sessions.notices import (
    Exchange,
    NewAttempt,
    PhaseEntered,
    ReportToOther,
    SessionClosing,
    SessionEnded,
    SessionOpened,
)
from plugtap.sessions.records import SECOND, stable_id
from plugtap.sessions.session import End, Session
from plugtap.sessions.tables import PHASE_OF_RESPONSE

LINGER_NS = 6 * SECOND  # after its end a session stays open this long for the frames of the close
PROOF_NS = 5 * SECOND  # a request is unanswered for good when this much of the capture follows it
MAX_REMEMBERED = 256
HANDSHAKE = ("supportedAppProtocolReq", "supportedAppProtocolRes", "SessionSetupReq", "SessionSetupRes")
MAX_HUSHES = 64
MAX_REPEATS = 8

Timer = Callable[[int], None]
TimerKey = tuple[str, str, str]


class SessionTracker:
    """Sessions of one tap."""

    def __init__(
        self,
        settings: AnalysisSettings,
        *,
        notify: Callable[[Session, Event], None],
        closed: Callable[[Session], None],
        set_timer: Callable[[TimerKey, int, Timer], None],
        cancel_timer: Callable[[TimerKey], None],
    ) -> None:
        self.settings = settings
        self._notify = notify
        self._closed = closed
        self._set_timer = set_timer
        self._cancel_timer = cancel_timer
        self.open: dict[str, Session] = {}
        self._by_ev: dict[bytes, Session] = {}
        self._by_stream: dict[int, Session] = {}
        self._macs_of_stream: dict[int, tuple[bytes, bytes]] = {}  # TLS events don't name their peers
        self._idents: dict[str, None] = {}  # of the latest sessions
        self._resumable: dict[str, str] = {}  # SessionID -> id of the session that paused (or ended) with it
        self._ids_used: dict[str, str] = {}  # SessionID -> the last session that had it
        self._own_seccs: set[bytes] = {_mac(m) for m in settings.own_macs}
        self._configured = bool(settings.own_macs)
        self._plug: str | None = None
        self._plugged_t: tuple[int, int] | None = None
        self._pilot: Pilot | None = None
        self._idle_ns = int(settings.idle * SECOND)
        self.capped = 0

    # -- the door ------------------------------------------------------------------------------------------------

    def handle(self, ev: Event) -> None:
        """One event, in time order."""
        match ev:
            case V2gMessage():
                self._v2g(ev)
            case Tcp():
                self._tcp(ev)
            case Mme():
                self._mme(ev)
            case Pilot():
                self._pilot_change(ev)
            case Sdp():
                self._sdp(ev)
            case Neighbor() | IcmpError():
                self._neighbor(ev)
            case Tls():
                self._tls(ev)
            case V2gtpOddity():
                self._of_stream(ev, ev.stream)
            case Loss():
                self._loss(ev)
            case Redecoded():
                session = self._by_stream.get(ev.message.stream)
                # What nobody can read was no beginning (see _v2g), and is none now.
                if session is not None and (ev.message.message is not None or ev.message.t >= session.start):
                    v2g_facts.correct(session, ev)
                    self._notify(session, ev)
            case PilotSample():
                for session in list(self.open.values()):
                    # levels that nobody measured tell the state, not the cycles
                    session.seen.add("pilot-cycles" if ev.origin == "adc" and not ev.flags & CP_NOMINAL else "pilot-states")
                    self._notify(session, ev)
            case OtherTraffic() | Undecodable():
                for session in list(self.open.values()):
                    self._notify(session, ev)

    def hush(self, start: int, end: int) -> None:
        """No source gave anything from `start` to `end`, not even a tick."""
        for session in self.open.values():
            if len(session.hushes) < MAX_HUSHES:
                session.hushes.append((start, end))

    def finish(self, t: int, frame: int) -> None:
        """The items have ended: close what is open. What was not seen to end is cut."""
        for session in sorted(self.open.values(), key=lambda s: (s.start, s.id)):
            self._conclude(session, t, frame)
            if session.ended is None:
                session.end_cut = True
                self._end(session, "unknown", "capture-end", t, session.last_frame)
            self._close(session, t)

    # -- life of a session ---------------------------------------------------------------------------------------

    def _open(self, ev: Event, evcc: bytes | None, *, from_start: bool) -> Session:
        if len(self.open) >= self.settings.max_sessions:
            oldest = min(self.open.values(), key=lambda s: s.last_t)
            self.capped += 1
            oldest.end_cut = True
            self._end(oldest, "unknown", "capture-end", ev.t, ev.frame)
            self._close(oldest, ev.t)
        ident = stable_id("s", self.settings.site, self.settings.tap, ev.t, (evcc or b"").hex())
        while ident in self._idents:  # two pairs in the same nanosecond, or a clock that was set back
            ident = stable_id("s", ident)
        if len(self._idents) >= MAX_REMEMBERED + self.settings.max_sessions:
            del self._idents[next(i for i in self._idents if i not in self.open)]
        self._idents[ident] = None
        session = Session(ident, ev.t, ev.frame)
        session.start_late = not from_start
        session.plug = self._plug
        if self.settings.pilot == "j1772":
            session.duty_table = SAE_J1772
        if self.settings.vantage in ("host", "bridge"):
            session.seen.add("host")
        self.open[ident] = session
        if evcc is not None:
            session.evcc_mac = evcc
            self._by_ev[evcc] = session
        if self._pilot is not None:
            session.pilot = self._pilot
            session.seen.add("pilot-states")
        if self._plugged_t is not None and self._plug is not None:
            session.enter("plugged", *self._plugged_t)
        self.watch(session, ev.t)
        self._notify(session, SessionOpened(t=ev.t, frame=ev.frame, source=ev.source))
        return session

    def watch(self, session: Session, t: int) -> None:
        """Set the session's own deadlines: idle, or the rest of its lingering."""
        if session.ended is None:
            self._set_timer(("session", session.id, "idle"), t + self._idle_ns, lambda now: self._idle(session, now))
        else:
            self._set_timer(("session", session.id, "linger"), t + LINGER_NS, lambda now: self._close(session, now))

    def _touch(self, session: Session, ev: Event) -> None:
        session.last_t = max(session.last_t, ev.t)
        session.last_frame = max(session.last_frame, ev.frame)

    def _enter(self, session: Session, phase: str, ev: Event) -> None:
        if session.enter(phase, ev.t, ev.frame):
            self._notify(session, PhaseEntered(t=ev.t, frame=ev.frame, source=ev.source, phase=phase))

    def _attempt(self, session: Session, what: str, ev: Event) -> None:
        session.attempts += 1
        session.pending = None
        session.failed_negotiation = None
        self._notify(session, NewAttempt(t=ev.t, frame=ev.frame, source=ev.source, what=what, number=session.attempts))

    def _end(self, session: Session, by: str, how: str, t: int, frame: int) -> None:
        if session.ended is not None:
            return
        session.ended = End(by, how, frame, t)
        session.end_t = t
        if session.session_id and how in ("pause", "session-stop"):
            if len(self._resumable) >= MAX_REMEMBERED:
                del self._resumable[next(iter(self._resumable))]
            self._resumable[session.session_id] = session.id
        self._notify(session, SessionEnded(t=t, frame=frame, by=by, how=how))
        if session.id in self.open:
            self.watch(session, t)

    def _close(self, session: Session, t: int) -> None:
        if session.closed:
            return
        session.closed = True
        session.end_t = session.ended.t if session.ended is not None else t
        self._decide_pair(session)
        self._notify(session, SessionClosing(t=max(session.last_t, session.end_t), frame=session.last_frame))
        for name in ("idle", "linger"):
            self._cancel_timer(("session", session.id, name))
        self.open.pop(session.id, None)
        if session.evcc_mac is not None and self._by_ev.get(session.evcc_mac) is session:
            del self._by_ev[session.evcc_mac]
        for stream in session.streams:
            if self._by_stream.get(stream) is session:
                del self._by_stream[stream]
        self._closed(session)

    def _idle(self, session: Session, t: int) -> None:
        due = session.last_t + self._idle_ns
        if due > t:
            self._set_timer(("session", session.id, "idle"), due, lambda now: self._idle(session, now))
            return
        self._conclude(session, t, session.last_frame)
        if session.ended is None and session.setup_ok:
            by = "SECC" if session.pending is not None else "EVCC"
            self._end(session, by if session.sees("unicast-both") else "unknown", "silence", session.last_t, session.last_frame)
        elif session.ended is None:
            self._end(session, "unknown", "silence", session.last_t, session.last_frame)
        self._close(session, t)

    def _conclude(self, session: Session, t: int, frame: int) -> None:
        """Nothing more comes: what closed the session before set-up, or proves that it stopped answering?"""
        if session.ended is not None:
            return
        if session.closes and (session.messages or session.tls is not None):
            # Who closed first after the last message; what the other side does then is an answer.
            said = session.history[-1].t if session.history else session.start
            kind, side, when, at, _ = next((c for c in session.closes if c[2] >= said), session.closes[-1])
            self._end(session, side, kind, when, at)
        elif session.failed_negotiation is not None:
            self._end(session, "SECC", "fin", session.failed_negotiation.t, session.failed_negotiation.frame)
        elif (
            session.pending is not None
            and t - session.pending.t >= PROOF_NS
            and session.sees("unicast-both")
            and not session.gap_since(session.pending.t)
        ):
            self._end(session, "SECC", "silence", session.last_t, session.last_frame)

    def _decide_pair(self, session: Session) -> None:
        if session.pair != "unknown" or not self._own_seccs:
            return
        macs = {session.secc_mac, *session.slac.evses} - {None}
        if macs:
            session.pair = "own" if macs & self._own_seccs else "foreign"

    # -- finding the session ---------------------------------------------------------------------------------------

    def _of_mac(self, *macs: bytes | None) -> Session | None:
        for mac in macs:
            if mac is not None and mac in self._by_ev:
                return self._by_ev[mac]
        for mac in macs:
            if mac is not None and not mac[0] & 1:
                for session in reversed(self.open.values()):
                    if session.secc_mac == mac:
                        return session
        return None

    def _claim(self, session: Session, evcc: bytes | None) -> None:
        """A session opened by the pilot alone learns its EV."""
        if evcc is not None and session.evcc_mac is None:
            session.evcc_mac = evcc
            self._by_ev[evcc] = session

    def _waiting_plug(self) -> Session | None:
        """The session that the pilot opened and nobody has spoken in yet."""
        return next((s for s in self.open.values() if s.evcc_mac is None and s.ended is None and s.phases.keys() <= {"plugged"}), None)

    def _nameless(self, evse: bytes | None) -> Session | None:
        """An open session in which nobody has said who the EV is: messages that don't either go on with it, unless of another EVSE."""
        nameless = (s for s in self.open.values() if s.evcc_mac is None and s.ended is None)
        return next((s for s in nameless if evse is None or s.secc_mac in (None, evse)), None)

    def _of_stream(self, ev: Event, stream: int) -> Session | None:
        session = self._by_stream.get(stream)
        if session is not None:
            self._touch(session, ev)
            self._notify(session, ev)
        return session

    def _start(self, ev: Event, evcc: bytes | None, evse: bytes | None = None, *, from_start: bool = True) -> Session:
        """The open session of this EV, the one that waits for its first message, or a new one."""
        session = self._by_ev.get(evcc) if evcc is not None else self._nameless(evse)
        if session is None:
            session = self._waiting_plug()
            if session is not None:
                self._claim(session, evcc)
                session.start_late = session.start_late and not from_start
        return session or self._open(ev, evcc, from_start=from_start)

    # -- HomePlug ------------------------------------------------------------------------------------------------

    def _mme(self, ev: Mme) -> None:
        parties = slac_facts.who(ev)
        if parties is None:
            session = self._of_mac(ev.src, ev.dst)
            if session is not None:
                self._touch(session, ev)
                slac_facts.apply(session, ev, None)
                self._notify(session, ev)
            return
        # A message that names no EV (both addresses broadcast) belongs to the session its EVSE is in, if there is one.
        session = self._by_ev.get(parties.ev) if parties.ev is not None else self._of_mac(parties.evse)
        is_parm_req = ev.name == "CM_SLAC_PARM.REQ"
        if session is not None and is_parm_req and (session.ended is not None or session.setup_ok):
            self._conclude(session, ev.t, ev.frame)
            self._end(session, "EVCC", "new-slac", ev.t, ev.frame)
            self._close(session, ev.t)
            session = None
        if session is None and not parties.opens:
            return
        if session is None:
            session = self._start(ev, parties.ev, parties.evse, from_start=parties.opens)
            self._meet_rivals(session)
        elif is_parm_req and slac_facts.starts_attempt(session, ev):
            slac_facts.new_attempt(session)
            self._attempt(session, "slac", ev)
        if parties.evse is not None and session.slac.match_cnf is None:
            session.secc_mac = parties.evse
        self._touch(session, ev)
        slac_facts.apply(session, ev, parties)
        self._enter(session, "slac", ev)
        if ev.name == "CM_SLAC_MATCH.CNF":
            self._enter(session, "matched", ev)
        self._notify(session, ev)
        if isinstance(ev.body, CmAttenCharInd) and parties.ev is not None and parties.evse is not None:
            self._tell_rivals(session, ev, parties.ev, parties.evse, ev.body.average)

    def _tell_rivals(self, session: Session, ev: Mme, car: bytes, evse: bytes, average: float | None) -> None:
        """Several EVs may be at SLAC with one EVSE: those that have no dialogue yet hear of the report to another."""
        for other in list(self.open.values()):
            if other is not session and other.ended is None and not other.setup_ok and evse in other.slac.evses:
                self._notify(other, ReportToOther(t=ev.t, frame=ev.frame, source=ev.source, evse=evse, ev=car, average=average))

    def _meet_rivals(self, session: Session) -> None:
        for other in self.open.values():
            if other is not session and other.ended is None and other.reached == "slac" and other.evcc_mac not in (None, session.evcc_mac):
                other.slac.rivals = session.slac.rivals = True

    # -- IPv6, SDP -----------------------------------------------------------------------------------------------

    def _neighbor(self, ev: Neighbor | IcmpError) -> None:
        session = self._of_mac(ev.src_mac, ev.dst_mac)
        if session is None:
            for bystander in list(self.open.values()):
                self._notify(bystander, ev)  # a third station on the link: it may want an address of the pair
            return
        if not session.messages and session.tls is None:
            # Later the kernel of a dead controller goes on soliciting routers: that is no sign of the session's life.
            self._touch(session, ev)
        if ev.dst_mac[:1] and ev.dst_mac[0] & 1:
            session.seen.add("broadcast")
        if "matched" in session.phases:
            self._enter(session, "linked", ev)
        self._notify(session, ev)

    def _sdp(self, ev: Sdp) -> None:
        evcc, secc = (ev.src_mac, ev.dst_mac) if ev.request else (ev.dst_mac, ev.src_mac)
        if evcc[0] & 1 or not any(evcc):  # a multicast answer, or a capture without addresses
            known = self._of_mac(secc)
            session = known or self._start(ev, None, secc if any(secc) and not secc[0] & 1 else None)
        else:
            session = self._by_ev.get(evcc) or self._start(ev, evcc)
        if session.ended is not None:
            self._close(session, ev.t)
            session = self._start(ev, evcc if any(evcc) and not evcc[0] & 1 else None)
        self._touch(session, ev)
        if "matched" in session.phases:
            self._enter(session, "linked", ev)
        self._enter(session, "sdp", ev)
        if ev.request:
            session.sdp_requests += 1
            session.seen.add("broadcast")
            session.evcc_ip = ev.src
        else:
            session.sdp_responses += 1
            session.secc_ip, session.secc_port = ev.ip, ev.port
            if any(secc) and not secc[0] & 1 and session.secc_mac is None:
                session.secc_mac = secc
            session.seen.add("unicast-secc")
        self._notify(session, ev)

    # -- TCP, TLS ------------------------------------------------------------------------------------------------

    def _session_of_peers(self, a: TcpPeer, b: TcpPeer) -> Session | None:
        return self._of_mac(a.mac, b.mac)

    def _tcp(self, ev: Tcp) -> None:
        if ev.stream not in self._macs_of_stream:
            if len(self._macs_of_stream) >= 4 * MAX_REMEMBERED:
                del self._macs_of_stream[next(iter(self._macs_of_stream))]
            self._macs_of_stream[ev.stream] = ev.a.mac, ev.b.mac
        session = self._by_stream.get(ev.stream) or self._session_of_peers(ev.a, ev.b)
        if session is None:
            return
        self._touch(session, ev)
        mine = not session.streams or ev.stream == session.streams[-1]
        if ev.kind == "synack" or (mine and ev.kind in ("data", "fin")):  # a SYN-ACK comes before its connection has said a word
            side = self._side(session, ev)
            if side != "unknown":
                session.seen.add(f"unicast-{side.lower()}")
        if ev.kind == "open" and ev.opener_seen and not session.setup_ok:
            self._enter(session, "tcp", ev)
        if ev.kind == "gap":
            # A hole in the stream: the capture lost bytes that the peers have.
            session.add_gap(Loss(t=ev.t, frame=ev.frame, source=ev.source, kind="stream-gap", length=ev.length, stream=ev.stream))
        if ev.kind in ("fin", "rst") and session.streams and mine:
            side = self._side(session, ev)
            session.closes.append((ev.kind, side, ev.t, ev.frame, session.pending is not None))
            del session.closes[:-8]
            if session.setup_ok or session.tls_data:
                self._end(session, side, ev.kind, ev.t, ev.frame)
        session.last_segment = ev
        if ev.kind == "data":
            session.data_frames[ev.from_a] = ev.frame
            if session.repeats:
                session.repeats = []
        elif ev.kind == "retransmission":
            # Both may repeat: a tap between them hears what they no longer do.
            if not session.repeats or ev.from_a == session.repeats[0].from_a:
                session.repeats = [*session.repeats[-MAX_REPEATS:], ev]
        elif session.repeats and ev.from_a != session.repeats[0].from_a:
            session.repeats = []  # the peer is there, whatever it says
        self._notify(session, ev)

    def _side(self, session: Session, ev: Tcp) -> str:
        sender = ev.a if ev.from_a else ev.b
        if sender.mac == session.evcc_mac and session.evcc_mac != session.secc_mac:
            return "EVCC"
        if sender.mac == session.secc_mac:
            return "SECC"
        if sender.ip == session.evcc_ip:
            return "EVCC"
        return "SECC" if sender.ip == session.secc_ip else "unknown"

    def _tls(self, ev: Tls) -> None:
        session = self._by_stream.get(ev.stream)
        if session is None and ev.kind == "client-hello":
            session = self._of_mac(*self._macs_of_stream.get(ev.stream, ())) or self._nameless(None)
            if session is not None and (session.ended is not None or "sdp" not in session.phases):
                session = None
            if session is not None:
                self._join_stream(session, ev.stream)
        if session is None:
            return
        self._touch(session, ev)
        if session.tls is None:
            session.tls = {}
        if ev.kind in ("client-hello", "server-hello"):
            self._enter(session, "tcp", ev)
        if ev.kind == "server-hello":
            session.tls.update(version=ev.version, **{k: v for k, v in ev.values.items() if k in ("suite", "cipher_suite", "group")})
        if ev.kind == "application-data":
            session.tls_data += ev.length
            self._enter(session, "tls", ev)
        self._notify(session, ev)

    def _join_stream(self, session: Session, stream: int) -> None:
        if stream not in session.streams:
            session.streams.append(stream)
            del session.streams[:-32]
        self._by_stream[stream] = session
        if len(self._by_stream) > 4 * MAX_REMEMBERED:
            del self._by_stream[next(iter(self._by_stream))]

    # -- V2G -----------------------------------------------------------------------------------------------------

    def _v2g(self, ev: V2gMessage) -> None:
        if ev.side == "SECC":
            evcc, secc = ev.dst, ev.src
        else:
            evcc, secc = ev.src, ev.dst
        session = self._by_stream.get(ev.stream)
        fresh = session is None
        if session is None:
            session = self._of_mac(evcc.mac, secc.mac)
            if session is None and ev.message is None:
                return  # bytes nobody can read are no beginning
            if session is not None and session.setup_ok and session.ended is None and ev.message not in HANDSHAKE:
                return  # the tail of an older connection (a segment repeated after its FIN), while this session goes on
            if session is not None and session.streams and (session.setup_ok or session.ended is not None):
                # A new connection with messages after set-up: the session before it is over, seen or not.
                self._conclude(session, ev.t, ev.frame)
                self._end(session, "unknown", "silence", session.last_t, session.last_frame)
                self._close(session, ev.t)
                session = None
            if session is None:
                early = ev.message in ("supportedAppProtocolReq", "SessionSetupReq")
                session = self._start(ev, evcc.mac if any(evcc.mac) else None, from_start=early)
            elif session.streams:
                self._attempt(session, "sap", ev)
            self._join_stream(session, ev.stream)
        elif ev.message == "supportedAppProtocolReq" and session.session_stop_res is not None and session.ended is not None:
            self._close(session, ev.t)
            session = self._start(ev, evcc.mac)
            self._join_stream(session, ev.stream)
        self._meet(session, ev, evcc, secc)
        self._touch(session, ev)
        if fresh and session.tls is None:
            self._enter(session, "tcp", ev)
        exchange = self._pair_up(session, ev)
        before = session.message_before = session.latest
        session.latest = ev
        session.in_turn = exchange is not None or (
            ev.message is not None and v2g_facts.is_request(ev.message)
            and (before is None or (before.message is not None and not v2g_facts.is_request(before.message)))
        )  # fmt: skip
        v2g_facts.apply(session, ev)
        if ev.message is not None:
            if v2g_facts.is_request(ev.message):
                session.request_before, session.last_request = session.last_request, ev
            else:
                session.response_before, session.last_response = session.last_response, ev
        self._progress(session, ev)
        self._notify(session, ev)
        if exchange is not None:
            self._notify(session, exchange)
        if ev.message == "SessionStopRes" and session.setup_ok | (session.last_request is not None):
            failed = v2g_facts.failed(v2g_facts.response_code(ev))
            how = "pause" if session.paused and not failed else "session-stop"
            self._end(session, "SECC" if failed else session.stop_asked_by or "EVCC", how, ev.t, ev.frame)

    def _meet(self, session: Session, ev: V2gMessage, evcc: TcpPeer, secc: TcpPeer) -> None:
        session.seen.add("unicast-evcc" if ev.side == "EVCC" else "unicast-secc")
        session.evcc_ip, session.secc_ip = evcc.ip, secc.ip
        if any(secc.mac):
            session.secc_mac = secc.mac
        self._claim(session, evcc.mac if any(evcc.mac) else None)
        if session.pair == "unknown":
            if not self._configured:
                self._own_seccs.add(secc.mac)
                session.pair = "own"
            else:
                session.pair = "own" if {secc.mac, evcc.mac} & self._own_seccs else "foreign"

    def _pair_up(self, session: Session, ev: V2gMessage) -> Exchange | None:
        if ev.message is None:
            return None
        if v2g_facts.is_request(ev.message):
            session.pending = ev
            return None
        request = session.pending
        if request is None or request.message is None or v2g_facts.stem(request.message) != v2g_facts.stem(ev.message):
            return None
        session.pending = None
        name, latency, late = v2g_facts.stem(ev.message), max(0, ev.first_t - request.t), session.gap_since(request.t)
        if not late and latency >= session.slowest.get(name, (0, 0))[0]:
            session.slowest[name] = latency, ev.frame
        return Exchange(
            t=ev.t, frame=ev.frame, source=ev.source, name=name, request=request, response=ev, latency=latency, late=late,
        )  # fmt: skip

    def _note_id(self, session: Session) -> None:
        """Remember who had this SessionID, and that somebody had it before."""
        if session.session_id is None:
            return
        before = self._ids_used.get(session.session_id)
        session.id_before = before if before != session.id else session.id_before
        if before is None and len(self._ids_used) >= MAX_REMEMBERED:
            del self._ids_used[next(iter(self._ids_used))]
        self._ids_used[session.session_id] = session.id

    def _progress(self, session: Session, ev: V2gMessage) -> None:
        if ev.message == "SessionSetupRes":
            self._note_id(session)
        if ev.message == "supportedAppProtocolRes" and not v2g_facts.failed(v2g_facts.response_code(ev)):
            self._enter(session, "negotiated", ev)
        elif ev.message == "SessionSetupRes" and v2g_facts.response_code(ev) == "OK_OldSessionJoined" and session.session_id:
            session.resumes = self._resumable.get(session.session_id)
        if ev.message in PHASE_OF_RESPONSE:
            self._enter(session, PHASE_OF_RESPONSE[ev.message], ev)

    # -- pilot ---------------------------------------------------------------------------------------------------

    def _pilot_change(self, ev: Pilot) -> None:
        before, self._pilot = self._pilot, ev
        letter, old = ev.state[0], before.state[0] if before is not None else None
        if letter in "BCD" and old not in ("B", "C", "D", "E", "F"):
            self._plug = stable_id("p", self.settings.site, self.settings.tap, ev.t)
            self._plugged_t = (ev.t, ev.frame)
            session = self._waiting_plug()
            if session is None and not any(s.ended is None for s in self.open.values()):
                session = self._open(ev, None, from_start=old is not None)
        for session in list(self.open.values()):
            self._pilot_of(session, ev, old, letter)
        if letter == "A":
            self._plug = self._plugged_t = None

    def _pilot_of(self, session: Session, ev: Pilot, old: str | None, letter: str) -> None:
        session.seen.add("pilot-states")
        session.pilot = ev
        self._touch(session, ev)
        if letter in "BCD":
            session.plug = session.plug or self._plug
            self._enter(session, "plugged", ev)
        basic = not session.messages and session.tls is None
        if letter in "CD" and basic and duty_current(ev.duty, session.duty_table).meaning == "current":
            session.protocol, session.energy = "iec61851", "ac"
            session.electrical.ac_charging = True
            session.electrical.ac_started = session.electrical.ac_started or ev.t
            self._enter(session, "charging", ev)
        dropped = ev.before in ("C2", "D2") and letter == "B" and not session.gap_since(session.said_last)  # else the stop may have been missed
        if session.delivering and session.ended is None and (letter in "EF" or dropped):
            session.cp_lost = session.cp_lost or (ev.state, ev.t, ev.frame)
        self._notify(session, ev)
        if letter == "A":
            if not session.setup_ok:
                self._conclude(session, ev.t, ev.frame)  # unplugging what had been closed before is no end of its own
            self._end(session, "EVCC" if not session.delivering else "line", "unplug", ev.t, ev.frame)
            self._close(session, ev.t)

    # -- loss ----------------------------------------------------------------------------------------------------

    def _loss(self, ev: Loss) -> None:
        if ev.stream is not None:
            return  # told with the stream's own event, to the session it belongs to
        for session in list(self.open.values()):
            session.add_gap(ev)
            self._notify(session, ev)
            if ev.kind == "silence" and ev.until - session.last_t >= self._idle_ns:
                # Nobody listened for longer than a pause between frames may be: how it ended is unknown.
                self._conclude(session, ev.t, ev.frame)
                if session.ended is None:
                    session.end_cut = True
                    self._end(session, "unknown", "capture-end", session.last_t, session.last_frame)
                self._close(session, ev.t)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace("-", ""))
