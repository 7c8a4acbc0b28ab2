"""One session as it grows. Mutable state for the tracker and the checks; consumers get SessionReport instead."""

from __future__ import annotations

from typing import Any

from plugtap.protocols.events import Loss, Pilot, Tcp, V2gMessage
from plugtap.protocols.pilot import IEC_61851, DutyRow
from plugtap.sessions.records import PHASES

MAX_GAPS = 50
MAX_HISTORY = 400


class Said:
    """A message in short: what checks and verdicts want to know of the past without keeping trees."""

    __slots__ = ("code", "frame", "name", "side", "t")

    def __init__(self, t: int, frame: int, name: str, side: str, code: str | None) -> None:
        self.t = t
        self.frame = frame
        self.name = name
        self.side = side
        self.code = code


class End:
    """How the session ended. `sure` is False where the end is inferred from silence."""

    __slots__ = ("by", "frame", "how", "t")

    def __init__(self, by: str, how: str, frame: int, t: int) -> None:
        self.by = by
        self.how = how
        self.frame = frame
        self.t = t


class SlacFacts:
    """What SLAC showed. Counts are of the current attempt unless said otherwise."""

    def __init__(self) -> None:
        self.run_ids: list[bytes] = []
        self.parm_reqs = 0  # all attempts
        self.parm_cnfs = 0
        self.first_parm_req: int | None = None
        self.last_parm_req: int | None = None
        self.last_parm_cnf: int | None = None
        self.start_attens = 0
        self.first_start_atten: int | None = None
        self.sounds_heard = 0  # CM_MNBC_SOUND.IND in the capture
        self.sounds_counted: int | None = None  # NUM_SOUNDS of CM_ATTEN_CHAR.IND
        self.atten_profile: bytes | None = None  # AAG per group, dB
        self.atten_char: int | None = None
        self.atten_rsp: int | None = None
        self.match_req: int | None = None
        self.match_reqs = 0
        self.match_cnf: int | None = None
        self.set_key: int | None = None
        self.evses: set[bytes] = set()  # all that answered SLAC_PARM.REQ
        self.rivals = False  # another EV was in SLAC at the same time: at most one of them is plugged in here

    @property
    def attenuation_db(self) -> float | None:
        """Mean of the profile CM_ATTEN_CHAR.IND reported, in dB."""
        if not self.atten_profile:
            return None
        return round(sum(self.atten_profile) / len(self.atten_profile), 2)


class Electrical:
    """Numbers of the session from its messages: V, A, Wh, percent, seconds. None until seen."""

    def __init__(self) -> None:
        self.soc_start: int | None = None
        self.soc_end: int | None = None
        self.energy_ws: float = 0.0
        self.v_max: float | None = None
        self.i_max: float | None = None
        self.v_last: float | None = None
        self.i_last: float | None = None
        self.t_last: int | None = None  # of v_last, i_last within the loop
        self.target_v: float | None = None
        self.target_i: float | None = None
        self.target_i_max: float | None = None  # the most it asked for in the loop
        self.loop_first: int | None = None
        self.loop_last: int | None = None
        # Limits both sides announced, the newest: V, A, W.
        self.ev_max_v: float | None = None
        self.ev_max_i: float | None = None
        self.ev_max_p: float | None = None
        self.evse_max_v: float | None = None
        self.evse_max_i: float | None = None
        self.evse_max_p: float | None = None
        self.evse_min_v: float | None = None
        self.evse_min_i: float | None = None
        self.precharge_first: int | None = None
        self.precharge_last: int | None = None
        self.precharge_v: float | None = None  # last EVSEPresentVoltage in PreChargeRes
        self.precharge_target: float | None = None
        self.cable_check_first: int | None = None
        self.cable_check_last: int | None = None
        self.loop_answered: int | None = None  # when the first response of the charge loop came
        self.loops = 0
        self.present_v: float | None = None  # EVSEPresentVoltage and EVSEPresentCurrent of the latest response of a DC charge loop; None
        self.present_i: float | None = None  # … where it has none
        self.power_started: int | None = None
        self.ac_charging = False
        self.ac_started: int | None = None


class Session:
    """One communication run of one EV/EVSE pair (DESIGN section 2)."""

    def __init__(self, ident: str, t: int, frame: int) -> None:
        self.id = ident
        self.rev = 0
        self.start = t
        self.first_frame = frame
        self.last_t = t
        self.last_frame = frame
        self.plug: str | None = None
        self.resumes: str | None = None
        self.attempts = 1
        self.pair = "unknown"
        self.closed = False
        self.end_t: int | None = None
        # parties
        self.evcc_mac: bytes | None = None
        self.secc_mac: bytes | None = None
        self.evcc_ip: bytes | None = None
        self.secc_ip: bytes | None = None
        self.evccid: str | None = None
        self.evseid: str | None = None
        self.secc_port: int | None = None
        # what is spoken
        self.protocol: str | None = None
        self.energy: str | None = None
        self.payment: str | None = None
        self.session_id: str | None = None  # header SessionID the SECC assigned
        self.given_id: str | None = None  # … as it stands in the last SessionSetupRes, if that was positive and the id not all zero
        self.id_before: str | None = None  # the session of this tap that had the same SessionID before
        self.sap_offer: list[dict[str, Any]] = []
        self.sap_code: str | None = None
        self.modes_offered: tuple[str, ...] = ()  # energy transfer modes of ServiceDiscoveryRes
        # progress
        self.phases: dict[str, tuple[int, int]] = {}  # name -> (t, frame)
        self.reached: str | None = None
        self.streams: list[int] = []
        self.messages: dict[str, int] = {}
        self.history: list[Said] = []
        self.pending: V2gMessage | None = None  # request without a response so far
        self.last_request: V2gMessage | None = None
        self.request_before: V2gMessage | None = None  # the request before last_request
        self.last_response: V2gMessage | None = None
        self.response_before: V2gMessage | None = None  # the response before last_response
        self.latest: V2gMessage | None = None  # the last message, readable or not
        self.message_before: V2gMessage | None = None  # … and the one before it
        self.in_turn = False  # is `latest` a request after an answer (or the first message), or the answer to the open request?
        self.last_segment: Tcp | None = None  # whatever TCP said last
        self.repeats: list[Tcp] = []  # segments sent again and again (the latest), without a sign of the peer
        self.data_frames: dict[bool, int] = {}  # Tcp.from_a -> frame of the last data that way
        # What checks found fine in this session, so that the same again needs no look (checks/guards.py):
        self.usual_values: dict[tuple[str | None, str | None], dict[str, tuple[Any, Any, int]]] = {}  # schema, message -> element -> unit, multiplier, largest
        self.setup_ok = False
        self.delivery: str | None = None  # what the last PowerDeliveryReq asked for: Start, Stop, Renegotiate, Standby …
        self.delivery_before: str | None = None  # … and what the one before it had asked for
        self.delivering = False  # between PowerDelivery start (accepted) and stop (asked)
        self.delivery_stopped: Said | None = None  # the PowerDeliveryReq that asked to stop
        self.stop_asked_by: str | None = None  # who wanted the end first: EVCC, SECC
        self.stop_asked: Said | None = None
        self.stopping = False  # somebody has asked for the end, or PowerDelivery for a stop: targets mean little from then on
        self.failed_response: Said | None = None
        self.failed_negotiation: Said | None = None
        self.evse_fault: tuple[str, Said] | None = None
        self.ev_error: tuple[str, Said] | None = None
        self.isolation_fault: Said | None = None
        self.authorized: int | None = None  # when authorization was Finished
        self.slowest: dict[str, tuple[int, int]] = {}  # exchange without Req/Res -> longest response time (ns), frame of the response
        self.session_stop_req: V2gMessage | None = None
        self.session_stop_res: V2gMessage | None = None
        self.paused = False
        self.cp_lost: tuple[str, int, int] | None = None  # state, t, frame: C -> B, E or F while power was asked for
        self.closes: list[tuple[str, str, int, int, bool]] = []  # kind fin|rst, side, t, frame, was a request pending
        self.ended: End | None = None
        self.pilot: Pilot | None = None
        self.duty_table: tuple[DutyRow, ...] = IEC_61851  # what a duty cycle means at this site
        self.slac = SlacFacts()
        self.electrical = Electrical()
        self.sdp_requests = 0
        self.sdp_responses = 0
        self.tls: dict[str, Any] | None = None
        self.tls_data = 0
        # coverage
        self.seen: set[str] = set()  # slac-evcc, slac-secc, unicast-evcc, unicast-secc, broadcast, pilot-states, pilot-cycles, setup-from-start, host
        self.lost_frames = 0
        self.lost_bytes = 0
        self.gaps: list[Loss] = []  # the first and the latest, at most MAX_GAPS
        self.gap_until = -1  # when the latest loss of all ended
        self.hushes: list[tuple[int, int]] = []  # stretches of 5 s or more without anything from any source
        self.end_cut = False
        self.start_late = True
        self.frames_after = 0  # events of the capture after the pair's last one

    def enter(self, phase: str, t: int, frame: int) -> bool:
        """Note that `phase` was entered; True if it is new."""
        if phase in self.phases:
            return False
        self.phases[phase] = (t, frame)
        if self.reached is None or PHASES.index(phase) > PHASES.index(self.reached):
            self.reached = phase
        return True

    def reached_at_least(self, phase: str) -> bool:
        """Has the session come at least as far as `phase`?"""
        return self.reached is not None and PHASES.index(self.reached) >= PHASES.index(phase)

    def add_gap(self, loss: Loss) -> None:
        """Keep a loss (bounded) and count what it took."""
        self.lost_frames += loss.frames
        self.lost_bytes += loss.length
        self.gap_until = max(self.gap_until, loss.t, loss.until)
        if len(self.gaps) >= MAX_GAPS:
            del self.gaps[MAX_GAPS // 2]
        self.gaps.append(loss)
        if self.cp_lost is not None and self.cp_lost[0].startswith("B") and self.cp_lost[1] >= self.said_last:
            self.cp_lost = None  # the request to stop may be in what was lost

    def gap_since(self, t: int) -> bool:
        """Was anything lost at or after `t`?"""
        return self.gap_until >= t

    @property
    def said_last(self) -> int:
        """When the last V2G message ended, ns; the session's start before any."""
        return max((ev.t for ev in (self.last_request, self.last_response) if ev is not None), default=self.start)

    def hushed(self, since: int, until: int) -> bool:
        """Was there a stretch within the time in which nothing was heard from anyone? Then silence is a weak proof."""
        return any(start < until and end > since for start, end in self.hushes)

    def remember(self, said: Said) -> None:
        """Keep the message in short; the oldest of the middle go first, so that start and end stay."""
        if len(self.history) >= MAX_HISTORY:
            del self.history[MAX_HISTORY // 4]
        self.history.append(said)

    def sees(self, what: str) -> bool:
        """Coverage in one word: ``slac-both``, ``unicast-both``, ``pilot`` or one of the marks in `seen`.

        ``hears-evcc`` and ``hears-secc``: a message of that side would have been seen, because one was, or because the tap sits
        on the link between a host and its modem (mark ``host``).
        """
        if what in ("hears-evcc", "hears-secc"):
            side = what.removeprefix("hears-")
            return "host" in self.seen or f"slac-{side}" in self.seen
        if what in ("hears-unicast-evcc", "hears-unicast-secc"):
            return "host" in self.seen or what.removeprefix("hears-") in self.seen
        if what == "slac-both":
            return {"slac-evcc", "slac-secc"} <= self.seen
        if what == "unicast-both":
            return {"unicast-evcc", "unicast-secc"} <= self.seen
        if what == "pilot":
            return bool({"pilot-states", "pilot-cycles"} & self.seen)
        return what in self.seen

    @property
    def energy_moved(self) -> bool:
        """Did current flow (DC: 1 A or more reported; AC: the charge loop ran)?"""
        return self.electrical.power_started is not None or self.electrical.ac_charging
