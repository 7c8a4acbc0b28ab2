"""EXI payloads: what could not be decoded, and values the schema forbids (ISO 15118-2 7.9)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, EXI_HEADER, oddly_coded
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Redecoded, V2gMessage
from plugtap.sessions.notices import SessionClosing

MAX_UNSURE = 16


@register
class DecodeFailed(Check):
    """Only where the schema is known from the handshake; a guess may be wrong. Response codes outside their enumeration end here, too.

    A message that only decodes by the tables of a codec that deviates from the schema is told as information: it was understood here, and
    will be by a peer with that codec.
    """

    meta = Meta(
        id="exi-decode-error",
        title="Message cannot be decoded by its schema",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        certainty="likely",
        trigger="an EXI payload that the negotiated schema cannot decode; information where the schema is a guess or a known codec's own tables fit",
        cause="An encoder with another schema version, or bytes damaged on the way or by the recording.",
        fix="Keep the raw bytes (they are in the archive); show them to the sender's maker with the position named here.",
        refs=("ISO 15118-2 7.9",),
        uec="EXIDecodingError",
        priority=32,
        gap="proceed",
        example="DIN was negotiated, the payload breaks off in V2G_Message/Body/PreChargeReq.",
    )

    def start(self) -> None:
        self.unsure: list[V2gMessage] = []  # read by a guess, in vain: the schema may become known yet

    @on(V2gMessage, only=oddly_coded, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        self.arm()
        if self.unsure and ev.schema != "sap" and (ev.proven or not ev.guessed):
            # What was decoded again has been told: the schema of the others was right from the beginning.
            self._tell()
        error = ev.error
        if ev.variant:
            self.fire(
                ev, f"{ev.message} from the {ev.side} follows the tables of {ev.variant}, which are not what the schema gives; a codec that keeps to the schema "
                "cannot read it.",
                key=f"{ev.variant} {ev.message}", side=ev.side if ev.side in ("EVCC", "SECC") else None, severity="info", effect="unknown",
                values={"schema": Value(ev.schema), "codec": Value(ev.variant)}, cause=f"The sender's codec is {ev.variant} (EVerest and what is built on it).",
                fix=f"Use the same codec on both sides, or a {ev.variant} whose tables for this message are those of the schema.",
            )  # fmt: skip
            return
        if ev.message is not None or error is None or error.get("layer") != "exi":
            self.evaluated()
            return
        if not ev.guessed or ev.proven:
            self.say(ev)
            return
        self.unsure.append(ev)
        self.wake()
        if len(self.unsure) > MAX_UNSURE:
            oldest = self.unsure.pop(0)
            self.say(oldest, oldest.t)

    @on(Redecoded)
    def again(self, ev: Redecoded) -> None:
        new = ev.message
        self.unsure = [old for old in self.unsure if (old.stream, old.frame, old.index) != (new.stream, new.frame, new.index)]
        if new.message is None and new.error is not None and new.error.get("layer") == "exi":
            self.say(new, new.t)

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        self._tell()

    def _tell(self) -> None:
        for message in self.unsure:
            self.say(message, message.t)
        self.unsure = []
        self.sleep()

    def say(self, ev: V2gMessage, t: int | None = None) -> None:
        """This message cannot be decoded. `t`: when it came, if that was a while ago."""
        error = ev.error or {}
        path = error.get("path") or "the document root"
        self.fire(
            ev, f"A message from the {ev.side} ({len(ev.exi)} bytes, schema {ev.schema}) cannot be decoded at bit {error.get('offset')}, {path}: {error.get('reason')}.",
            key=ev.side, side=ev.side if ev.side in ("EVCC", "SECC") else None, severity="info" if ev.guessed else None, effect="unknown" if ev.guessed else None,
            values={"schema": Value(ev.schema), "offset": Value(error.get("offset"), "bit")}, t=t,
        )  # fmt: skip


@register
class HeaderOptions(Check):
    """The standards' profile has one header byte, 0x80."""

    meta = Meta(
        id="exi-header-cookie",
        title="EXI header is not the standard's",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="the first byte of an EXI payload is not 0x80 (no cookie, no options)",
        cause="An encoder that writes a cookie or an options document.",
        fix="Switch off cookie and options in the EXI encoder.",
        refs=("V2G2-099", "V2G2-600"),
        uec="EXIDecodingError",
        priority=31,
        gap="proceed",
        example="The payload begins with 24 45 58 49 ($EXI).",
    )

    @on(V2gMessage, only=oddly_coded, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        if not ev.exi or ev.schema is None:
            return
        self.arm()
        if ev.exi[0] != EXI_HEADER:
            self.fire(ev, f"The EXI payload begins with 0x{ev.exi[0]:02x}.", side=ev.side if ev.side in ("EVCC", "SECC") else None,
                      values={"header": Value(f"0x{ev.exi[0]:02x}", "", "0x80", "!=")})  # fmt: skip
        else:
            self.evaluated()


@register
class SchemaViolation(Check):
    """Decoded all the same: the coding of these facets is not affected."""

    meta = Meta(
        id="exi-schema-violation",
        title="Value outside what the schema allows",
        severity="info",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger="a decoded value breaks a facet of its type: length, range, characters, an element that is empty or missing",
        cause="An encoder that does not check its values.",
        fix="Correct the named value; a strict receiver refuses the message.",
        refs=("ISO 15118-2 Annex C", "ISO 15118-2 Table 68"),
        uec="V2GParameterInvalid",
        gap="proceed",
        example="MeterID of 40 characters, 32 allowed.",
    )

    @on(V2gMessage, only=oddly_coded, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        if ev.message is None:
            return
        self.arm()
        facets = [n for n in ev.notes if not n.endswith("after the end of the document")]
        for note in facets[:8]:
            self.fire(
                ev, f"{ev.message}: {note}.", key=f"{ev.message} {note.partition(':')[0]}", side=ev.side if ev.side in ("EVCC", "SECC") else None
            )
        if not facets:
            self.evaluated()


@register
class TrailingBytes(Check):
    """Real EVs append one zero byte after ContractAuthenticationReq: harmless."""

    meta = Meta(
        id="v2gtp-trailing-bytes",
        title="Bytes after the end of the message",
        severity="info",
        class_="heuristic",
        effect="none",
        side="unknown",
        trigger="the EXI document ends before the payload does",
        cause="A payload length that is too large by a constant.",
        fix="Set the V2GTP payload length to the length of the EXI document.",
        refs=("ISO 15118-2 7.8.3",),
        confidence="unconfirmed",
        uec="V2GTPPayloadLengthInvalid",
        gap="proceed",
        example="ContractAuthenticationReq with one more byte 0x00.",
    )

    @on(V2gMessage, only=oddly_coded, quiet=COUNTED)
    def message(self, ev: V2gMessage) -> None:
        if ev.message is None:
            return
        self.arm()
        extra = next((n for n in ev.notes if n.endswith("after the end of the document")), None)
        if extra is None:
            self.evaluated()
            return
        self.fire(ev, f"{ev.message}: {extra}.", key=str(ev.message), side=ev.side if ev.side in ("EVCC", "SECC") else None)
