"""SessionID: who assigns it, who echoes it, and what it looks like (V2G2-740 to V2G2-756, V2G-DC-391, V2G20-2608)."""

from __future__ import annotations

from plugtap.checks.asked import Asked
from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, never
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.v2g_common import failed, is_request, response_code
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import Exchange
from plugtap.sessions.session import Session

FULL = 8  # bytes of a SessionID


def ident(ev: V2gMessage) -> str | None:
    """SessionID of the header, upper-case hex."""
    value = ev.header.get("SessionID")
    return value.upper() if isinstance(value, str) else None


def zero(text: str) -> bool:
    """Empty or all zero: no session yet."""
    return not text.strip("0")


NO_ID_YET = ("SessionSetupReq", "supportedAppProtocolReq")


def other_id(session: Session, ev: V2gMessage) -> bool:
    """Anything but a request with the SessionID that the SECC gave."""
    value = ev.header.get("SessionID")
    return value is None or value != session.given_id or ev.message in NO_ID_YET


def other_id_asked(session: Session, ev: Exchange) -> bool:
    """Anything but such a request and an answer that is no refusal."""
    return other_id(session, ev.request) or failed(response_code(ev.response))


def form(text: str) -> str:
    """What a finding may tell of an id: its length."""
    return f"{len(text) // 2} bytes"


@register
class NotZeroFirst(Check):
    """A stored id asks to resume; whether there was a pause shows elsewhere."""

    meta = Meta(
        id="sess-id-zero-first",
        title="EV begins with a SessionID of its own",
        severity="info",
        class_="info",
        effect="none",
        side="EVCC",
        trigger="SessionSetupReq with a SessionID that is neither zero nor empty",
        cause="The EV wants to resume a paused session.",
        fix="EVSE: join the old session (OK_OldSessionJoined) or assign a new id (OK_NewSessionEstablished).",
        refs=("V2G2-750", "V2G2-753", "V2G2-754"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="SessionSetupReq with the SessionID of the session before.",
    )

    @on(V2gMessage, "SessionSetupReq")
    def request(self, ev: V2gMessage) -> None:
        value = ident(ev)
        if value is None:
            return
        self.arm()
        if zero(value):
            self.evaluated()
        else:
            self.fire(ev, f"SessionSetupReq carries a SessionID of {form(value)}.", values={"length": Value(len(value) // 2, "bytes")})


@register
class EmptyId(Check):
    """Legal in DIN; some EVSEs cannot read it."""

    meta = Meta(
        id="sess-id-empty",
        title="EV sends an empty SessionID",
        severity="info",
        class_="implementation",
        effect="none",
        side="EVCC",
        trigger="SessionSetupReq with a SessionID of zero length",
        cause="The EV encodes 'no session' as an empty value.",
        fix="EVSE: accept it.",
        refs=("V2G2-750",),
        protocols=("din", "iso2"),
        gap="proceed",
        example="SessionSetupReq with an empty SessionID.",
    )

    @on(V2gMessage, "SessionSetupReq")
    def request(self, ev: V2gMessage) -> None:
        value = ident(ev)
        if value is None:
            return
        self.arm()
        if value:
            self.evaluated()
        else:
            self.fire(ev, "SessionSetupReq carries an empty SessionID.", values={"length": Value(0, "bytes")})


@register
class ZeroAssigned(Asked):
    """Zero means: no session."""

    meta = Meta(
        id="sess-id-zero-assigned",
        title="EVSE assigns SessionID zero",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="SessionSetupRes with a SessionID of zero and an OK code",
        cause="The EVSE does not create an id.",
        fix="EVSE: create an id of 8 random bytes, not zero.",
        refs=("V2G2-750",),
        uec="V2GParameterInvalid",
        priority=37,
        gap="proceed",
        example="SessionSetupRes OK_NewSessionEstablished, SessionID 0000000000000000.",
    )

    @on(V2gMessage, "SessionSetupRes")
    def response(self, ev: V2gMessage) -> None:
        value = ident(ev)
        if value is None or failed(response_code(ev)):
            return
        self.arm()
        if zero(value):
            self.hold(ev, ev, "The EVSE assigns a SessionID of zero.", values={"SessionID": Value("zero")})
        else:
            self.evaluated()


@register
class ShortId(Check):
    """Seen with real chargers; EVs with a fixed length stumble over it."""

    meta = Meta(
        id="sess-id-short",
        title="EVSE assigns a short SessionID",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="SECC",
        trigger="SessionSetupRes with a SessionID shorter than 8 bytes",
        cause="The EVSE encodes fewer bytes.",
        fix="EV: return the id in the length the EVSE gave. EVSE: use 8 bytes.",
        refs=(),
        protocols=("din", "iso2"),
        gap="proceed",
        example="SessionID of 4 bytes.",
    )

    @on(V2gMessage, "SessionSetupRes")
    def response(self, ev: V2gMessage) -> None:
        value = ident(ev)
        if value is None or failed(response_code(ev)):
            return
        self.arm()
        if zero(value) or len(value) // 2 >= FULL:
            self.evaluated()
        else:
            self.fire(ev, f"The SessionID has {form(value)}.", values={"length": Value(len(value) // 2, "bytes", FULL, "<")})


@register
class IdMismatch(Check):
    """The EVSE answers FAILED_UnknownSession, or ought to."""

    meta = Meta(
        id="sess-id-mismatch",
        title="EV does not return the SessionID",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="a request whose SessionID is not the one of SessionSetupRes, answered with a FAILED code or not at all",
        cause="The EV uses a fixed id, or a fixed length.",
        fix="EV: return the SessionID of SessionSetupRes byte for byte.",
        refs=("V2G2-388", "V2G2-460", "V2G-DC-391", "V2G20-460"),
        uec="V2GParameterInvalid",
        priority=34,
        example="ServiceDiscoveryReq with SessionID zero, FAILED_UnknownSession.",
    )

    def start(self) -> None:
        self.given: V2gMessage | None = None
        self.odd: V2gMessage | None = None

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev: V2gMessage) -> None:
        self.given = None if failed(response_code(ev)) else ev

    @on(V2gMessage, "*Req", only=other_id, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        given = self.given
        if given is None or ev.message is None or not is_request(ev.message) or ev.message in ("SessionSetupReq", "supportedAppProtocolReq"):
            return
        self.sleep()
        if self.odd is not None:
            self._say(None)
        value, expected = ident(ev), ident(given)
        if value is None or expected is None or zero(expected):
            return
        self.arm()
        if value == expected:
            self.evaluated()
        else:
            self.odd = ev
            self.wake()

    @on(Exchange, only=never)
    def answered(self, ev: Exchange) -> None:
        odd = self.odd
        if odd is not None and odd.frame == ev.request.frame:
            if failed(response_code(ev.response)):
                self._say(ev.response)
            else:
                self.odd = None  # accepted: sess-id-not-checked

    def _say(self, answer: V2gMessage | None) -> None:
        odd, self.odd = self.odd, None
        if odd is None or self.given is None:
            return
        value, expected = ident(odd) or "", ident(self.given) or ""
        kind = "zero" if zero(value) else f"another one of {form(value)}"
        self.fire(
            [self.given, odd] + ([answer] if answer is not None else []), f"{odd.message} carries {kind}, not the SessionID of SessionSetupRes ({form(expected)}).",
            since=self.given.t, values={"length": Value(len(value) // 2, "bytes", len(expected) // 2, "!=")},
        )  # fmt: skip


@register
class NotChecked(Check):
    """The other half of the pair: a wrong id, and OK."""

    meta = Meta(
        id="sess-id-not-checked",
        title="EVSE accepts a foreign SessionID",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="a request with another SessionID than SessionSetupRes gave, answered with an OK code",
        cause="The EVSE does not compare the id.",
        fix="EVSE: answer FAILED_UnknownSession.",
        refs=("V2G2-460", "V2G20-460"),
        uec="V2GParameterInvalid",
        example="ServiceDiscoveryReq with SessionID zero, ServiceDiscoveryRes OK.",
    )

    def start(self) -> None:
        self.given: V2gMessage | None = None

    @on(V2gMessage, "SessionSetupRes")
    def setup(self, ev: V2gMessage) -> None:
        self.given = None if failed(response_code(ev)) else ev

    @on(Exchange, only=other_id_asked, quiet=COUNTED)
    def answered(self, ev: Exchange) -> None:
        given = self.given
        if given is None or ev.name in ("SessionSetup", "supportedAppProtocol") or failed(response_code(ev.response)):
            return
        value, expected = ident(ev.request), ident(given)
        if value is None or expected is None or zero(expected):
            return
        self.arm()
        if value == expected:
            self.evaluated()
        else:
            self.fire([given, ev.request, ev.response], f"{ev.request.message} carries another SessionID, and the EVSE answers {response_code(ev.response)}.",
                      since=given.t, values={"length": Value(len(value) // 2, "bytes")})  # fmt: skip


@register
class LowEntropy(Check):
    """One id alone shows it only where all bytes are digits; repeats are told by sess-id-reused."""

    meta = Meta(
        id="sess-id-entropy",
        title="SessionID is easy to guess",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="likely",
        trigger="all bytes of the assigned SessionID are ASCII digits, or all are equal",
        cause="The EVSE makes the id from a clock or a counter.",
        fix="EVSE: use random bytes.",
        refs=("V2G20-2621", "V2G2-835"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="SessionID 3732363233383539, the text 72623859.",
    )

    @on(V2gMessage, "SessionSetupRes")
    def response(self, ev: V2gMessage) -> None:
        value = ident(ev)
        if value is None or failed(response_code(ev)) or zero(value) or len(value) % 2:
            return
        self.arm()
        pairs = [value[i : i + 2] for i in range(0, len(value), 2)]
        digits = all(p[0] == "3" and p[1] in "0123456789" for p in pairs)
        if digits or len(set(pairs)) == 1:
            self.fire(
                ev,
                "The SessionID is a text of digits." if digits else "All bytes of the SessionID are equal.",
                values={"length": Value(len(pairs), "bytes")},
            )
        else:
            self.evaluated()


@register
class Reused(Check):
    """ISO 15118-20 wants each id used once; in ISO 15118-2 it is merely poor."""

    meta = Meta(
        id="sess-id-reused",
        title="SessionID used again",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="OK_NewSessionEstablished with the SessionID of an earlier session on this tap",
        cause="The EVSE has one fixed id, or counts.",
        fix="EVSE: use random bytes for each session.",
        refs=("V2G2-740", "V2G20-2608"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="Two sessions in a row with the same SessionID, both new.",
    )

    @on(V2gMessage, "SessionSetupRes")
    def response(self, ev: V2gMessage) -> None:
        if response_code(ev) != "OK_NewSessionEstablished":
            return
        self.arm()
        before = self.session.id_before
        if before is not None:
            self.fire(ev, f"The SessionID was that of session {before} already.", values={"session": Value(before)})
        else:
            self.evaluated()


@register
class JoinedWithoutPause(Check):
    """Certain only where the EV asked for a new session, or got another id than it asked for."""

    meta = Meta(
        id="sess-oldjoined-without-pause",
        title="EVSE joins a session nobody paused",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="OK_OldSessionJoined although SessionSetupReq carried zero or another SessionID",
        cause="The EVSE keeps the id of the session before.",
        fix="EVSE: assign a new id and answer OK_NewSessionEstablished.",
        refs=("V2G2-740", "V2G2-741", "V2G20-2545"),
        protocols=("iso2", "iso20"),
        uec="V2GParameterInvalid",
        priority=60,
        gap="proceed",
        example="SessionSetupReq with zero, SessionSetupRes OK_OldSessionJoined.",
    )

    @on(Exchange, "SessionSetup")
    def answered(self, ev: Exchange) -> None:
        self.arm()
        asked, given = ident(ev.request), ident(ev.response)
        if response_code(ev.response) != "OK_OldSessionJoined" or asked is None or given is None or (not zero(asked) and asked == given):
            self.evaluated()
            return
        what = "no SessionID" if zero(asked) else "another SessionID"
        self.fire(
            [ev.request, ev.response],
            f"The EV sent {what}, and the EVSE answers OK_OldSessionJoined.",
            values={"ResponseCode": Value("OK_OldSessionJoined")},
        )


@register
class NewNotSaid(Check):
    """The code tells the EV whether its stored id was taken."""

    meta = Meta(
        id="sess-id-new-not-indicated",
        title="New session not told as new",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="SessionSetupRes with plain OK",
        cause="The EVSE does not distinguish new and joined sessions.",
        fix="EVSE: answer OK_NewSessionEstablished.",
        refs=("V2G2-756",),
        protocols=("iso2",),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="SessionSetupRes OK.",
    )

    @on(Exchange, "SessionSetup")
    def answered(self, ev: Exchange) -> None:
        if ev.response.schema != "iso2":
            return
        self.arm()
        if response_code(ev.response) == "OK":
            self.fire([ev.request, ev.response], "SessionSetupRes says OK, not OK_NewSessionEstablished.", values={"ResponseCode": Value("OK")})
        else:
            self.evaluated()
