"""How a session came out: a table of conditions, the first that holds decides (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Callable

from plugtap.sessions.session import Session


def _not_shown(s: Session) -> bool:
    return (s.ended is None or s.ended.how == "capture-end") and not _proven_failure(s)


def _encrypted(s: Session) -> bool:
    # TLS without keys: the messages were there, nobody could read them.
    return s.tls_data > 0 and not s.messages


def _one_sided(s: Session) -> bool:
    # One side of SLAC and nothing after it: whether the pair talked until the plug came out is not known, unless the pilot shows that it charged.
    heard = {"slac-evcc", "slac-secc"} & s.seen
    return len(heard) == 1 and not s.sees("host") and not s.messages and s.tls is None and not s.energy_moved


def _answer_missed(s: Session) -> bool:
    # An EV without an answer asks again within TT_match_response: one that asked once may have had it, unless the tap hears all its host does.
    return s.reached == "slac" and s.slac.match_reqs == 1 and not s.sees("host") and s.ended is not None and s.ended.how != "new-slac"


def _blind(s: Session) -> bool:
    # Silence is proof only where both sides were heard: of SLAC until the match, of the unicast dialogue after it. After the match the
    # EV's SDP request is multicast: a tap that heard both sides of SLAC would have heard it.
    if s.ended is not None and _answer_missed(s):
        return True
    if s.ended is not None and s.ended.how == "unplug":
        return _one_sided(s)
    if s.ended is None or s.sees("unicast-both") or s.sees("host"):
        return False
    if s.ended.how in ("fin", "rst"):
        # Who closed is known. Why is not: whatever the other side said or asked for was not heard.
        return bool(s.messages) and s.session_stop_res is None and not _proven_failure(s)
    if s.ended.how not in ("silence", "new-slac"):
        return False
    return not s.sees("slac-both") or s.reached_at_least("sdp")


def _not_recorded(s: Session) -> bool:
    # Power delivery was running and then there is nothing from anyone, no request, no answer, no repeat, until SLAC begins anew: a charge
    # loop does not fall silent on both sides at once. Somebody stopped recording; how the session went on is not shown.
    if s.ended is None or s.ended.how not in ("silence", "new-slac") or not s.delivering or s.pending is not None:
        return False
    return bool(s.history) and s.hushed(s.history[-1].t, s.ended.t) and not _proven_failure(s)


def _paused(s: Session) -> bool:
    return s.paused and s.session_stop_res is not None and s.failed_response is None


def _proven_failure(s: Session) -> bool:
    return any(
        (
            s.failed_negotiation is not None and not s.setup_ok,
            s.failed_response is not None,
            s.evse_fault is not None,
            s.ev_error is not None,
            s.cp_lost is not None,
        )
    )


def _stop_agreed(s: Session) -> bool:
    # PowerDelivery(Stop) was accepted and SessionStop asked, or missed by the tap: a missing SessionStopRes alone is no failure.
    stop, last = s.delivery_stopped, s.last_response
    accepted = stop is not None and last is not None and last.t >= stop.t
    return accepted and (s.session_stop_req is not None or s.gap_since(s.said_last))


def _evse_closed_its_stop(s: Session) -> bool:
    # The EVSE had announced its stop, the EV went on asking for current, the EVSE closed.
    return s.stop_asked_by == "SECC" and s.ended is not None and s.ended.by == "SECC"


def _failed_end(s: Session) -> bool:
    end = s.ended
    if end is None:
        return False
    if end.how in ("rst", "fin") and (_stop_agreed(s) or _evse_closed_its_stop(s)):
        return False
    if end.how == "unplug" and _stop_agreed(s):
        return False
    if end.how == "rst" or (s.tls is not None and not s.tls_data and not s.messages):
        return True  # the second: the TLS handshake never came to its end, and no plain connection took its place
    if end.how == "fin":
        return s.pending is not None or s.setup_ok
    if end.how in ("silence", "new-slac"):
        # silence is only called so where it is proven; orderly ends have been told apart before
        return True
    return end.how == "unplug" and (s.delivering or (s.setup_ok and s.session_stop_res is None))


def _no_match(s: Session) -> bool:
    if s.slac.rivals and s.slac.match_req is None:
        return False  # it may well have matched elsewhere
    return s.reached == "slac" and s.ended is not None and s.ended.how != "capture-end" and s.sees("slac-both")


def _energy(s: Session) -> bool:
    return s.energy_moved


# outcome, condition in words, test
OUTCOMES: tuple[tuple[str, str, Callable[[Session], bool]], ...] = (
    ("incomplete", "the end is not shown and nothing before it proves a failure", _not_shown),
    ("incomplete", "the messages were inside TLS and no key was given", _encrypted),
    ("incomplete", "silence, a close, or the plug taken out, on a tap that did not hear both sides", _blind),
    ("incomplete", "nothing was recorded between power delivery and the next SLAC", _not_recorded),
    ("paused", "SessionStop(Pause) was acknowledged", _paused),
    ("failed", "a FAILED response, failed negotiation, EVSE fault, EV error code, or the pilot left C, ended it", _proven_failure),
    ("failed", "closed by reset, by FIN without SessionStop, by silence or by unplugging under power", _failed_end),
    ("failed", "SLAC never matched, both sides in view", _no_match),
    ("completed", "energy was transferred and the end was orderly", _energy),
    ("stopped", "an orderly end without energy", lambda s: True),
)


def outcome(session: Session) -> str:
    """The session's outcome: completed, paused, failed, stopped or incomplete."""
    return next(name for name, _, holds in OUTCOMES if holds(session))


CONSEQUENCE = 80  # priority from which a finding tells how the end came, not why (checks.meta.Meta.priority)


def with_root(session: Session, result: str, *, root_class: str, severity: str, effect: str, priority: int) -> str:
    """The outcome once the checks have named a root: what looked like an orderly stop without energy may be a failure.

    It is one where a time-out or a proven fault led to it. Before set-up there is no order to end in: whoever leaves after something that
    keeps a session from coming up (no answer to SYN, to neighbour discovery …) leaves because of it.
    """
    if result != "stopped":
        return result
    if root_class == "timeout" or severity == "error":
        return "failed"
    kept_from_it = not session.setup_ok and effect in ("stops-charging", "unsafe") and priority < CONSEQUENCE
    return "failed" if kept_from_it else result


def why(session: Session) -> str:
    """The condition that decided, in words."""
    return next(words for _, words, holds in OUTCOMES if holds(session))
