"""V2GTP payloads to V2G messages: which schema, which side, and the EXI decoding.

The schema of payload type 0x8001 is what supportedAppProtocol chose on the same TCP connection. Joined in the middle, it is guessed from the first
bytes and the messages before, and marked as guessed; once it is known, what had been read otherwise is decoded again (Redecoded). Once negotiated, no
other schema is ever tried (ISO 15118-2 8.4.1.4; DIN SPEC 70121 9.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event, Redecoded, Tcp, Tls, V2gMessage, message_parts
from plugtap.protocols.net import RawV2g

MAX_STREAMS = 1024
SCHEMA_OF_NAMESPACE = (
    ("urn:din:70121:", "din"),
    ("urn:iso:15118:2:", "iso2"),
    ("urn:iso:std:iso:15118:-20:", "iso20"),
)
MAIN_STREAM = range(0x8001, 0x8007)  # payload types of the V2G dialogue (ISO 15118-20 table 13); beyond are multiplexed and makers' own
GUESSABLE = ("din", "iso2")
PROOF = 3  # messages whose own first bytes name a schema and that decode by it without rest: the connection speaks it
MAX_BACKLOG = 16  # messages kept until the schema is known
MAX_BACKLOG_BYTES = 16 * 1024
SAP_TOP = 0x80  # second byte of a SAP document is below; V2G_Message of DIN and ISO 15118-2 is above


def schema_of_namespace(namespace: object) -> str | None:
    """din, iso2, iso20, or None for a vendor's own protocol."""
    return next((s for prefix, s in SCHEMA_OF_NAMESPACE if isinstance(namespace, str) and namespace.startswith(prefix)), None)


def _offers(entries: Sequence[dict[str, Any]]) -> dict[int, str | None]:
    """SchemaID -> schema; None for a vendor's own, and where one SchemaID stands for several: then nobody knows what was agreed."""
    offers: dict[int, str | None] = {}
    for entry in entries:
        if "SchemaID" in entry:
            number, schema = entry["SchemaID"], schema_of_namespace(entry.get("ProtocolNamespace"))
            offers[number] = schema if offers.get(number, schema) == schema else None
    return offers


class _Stream:
    """What is known about one TCP connection."""

    __slots__ = ("backlog", "chosen", "guess", "offers", "opener_is_evcc", "proofs", "proven", "tls")

    def __init__(self) -> None:
        self.backlog: list[V2gMessage] | None = []  # what was read while the schema was not known; None: it is
        self.proven: str | None = None  # without a handshake: the schema that enough messages spoke for
        self.proofs: dict[str, int] = {}  # schema -> messages that speak for it
        self.offers: dict[int, str | None] = {}
        self.chosen: str | None = None
        self.guess: str | None = None
        self.opener_is_evcc: bool | None = None
        self.tls = False


class _Read(NamedTuple):
    """A payload as one schema has it."""

    schema: str | None
    message: str | None = None
    content: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    variant: str = ""


class V2gDecoder:
    """RawV2g to V2gMessage. `watch` sees the other events of the connections."""

    def __init__(self, max_streams: int = MAX_STREAMS) -> None:
        self._streams: dict[int, _Stream] = {}
        self._max = max_streams

    def watch(self, event: Event) -> Sequence[Event]:
        """Learn from TCP and TLS events; gives them back unchanged."""
        if isinstance(event, Tcp) and event.kind == "syn":
            self._stream(event.stream).opener_is_evcc = event.from_a
        elif isinstance(event, Tls):
            self._stream(event.stream).tls = True
        return (event,)

    def _stream(self, number: int) -> _Stream:
        stream = self._streams.get(number)
        if stream is None:
            if len(self._streams) >= self._max:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[number] = _Stream()
        return stream

    def feed(self, raw: RawV2g) -> list[Event]:
        """One payload: one V2gMessage, with `error` where it could not be decoded, and what is decoded again since it came."""
        stream = self._stream(raw.stream)
        schema, guessed = self._schema(stream, raw)
        read = self._read(schema, raw.payload, raw.payload_type)
        if read.message is not None:
            self._learn(stream, read.schema, read.message, read.content)
            if guessed:
                stream.guess = read.schema
        body, header = message_parts(read.content, read.message)
        message = V2gMessage(
            t=raw.t, frame=raw.frame, source=raw.source, index=raw.index, stream=raw.stream, src=raw.src, dst=raw.dst,
            side=self._side(stream, raw.from_a, read.message), payload_type=raw.payload_type, schema=read.schema, message=read.message,
            content=read.content, exi=raw.payload, tls=stream.tls, guessed=guessed, proven=guessed and read.schema is not None and read.schema == stream.proven, error=read.error, notes=read.notes, first_frame=raw.first_frame,
            first_t=raw.first_t, body=body, header=header, variant=read.variant,
        )  # fmt: skip
        if stream.backlog is None:
            return [message]
        return [message, *self._look_back(stream, message)]

    def _read(self, schema: str | None, payload: bytes, payload_type: int) -> _Read:
        """Decode by a schema (None: none is known)."""
        if schema is None:
            reason = f"no schema known for payload type 0x{payload_type:04x}"
            return _Read(None, error={"layer": "v2gtp", "offset": 0, "path": "", "reason": reason})
        try:
            schema, decoded = self._decode(schema, payload)
        except DecodeError as wrong:
            return _Read(schema, error={"layer": wrong.layer, "offset": wrong.offset, "path": wrong.path, "reason": wrong.reason})
        error = None
        if decoded.message is None:
            error = {"layer": "exi", "offset": 0, "path": "", "reason": "the document holds no message"}
        return _Read(schema, decoded.message, decoded.content, error, decoded.notes, decoded.variant)

    # -- what is decoded again ---------------------------------------------------------------------------------------

    def _look_back(self, stream: _Stream, message: V2gMessage) -> list[Event]:
        """Keep the message until the schema is known; and if it is known by now, decode again what was read otherwise."""
        if stream.backlog is None:
            return []
        known = stream.chosen
        if known is None and message.guessed and message.schema in GUESSABLE and exi.guess(message.exi) == message.schema and _clean(message):
            proofs = stream.proofs[message.schema] = stream.proofs.get(message.schema, 0) + 1
            known = stream.proven = message.schema if proofs >= PROOF else None
        if known is None and (message.guessed or not _clean(message)) and message.payload_type in MAIN_STREAM:
            stream.backlog.append(message)
            while len(stream.backlog) > MAX_BACKLOG or sum(len(kept.exi) for kept in stream.backlog) > MAX_BACKLOG_BYTES:
                del stream.backlog[0]
        if known is None:
            return []
        backlog, stream.backlog = stream.backlog, None
        # ISO 15118-20 has payload types of its own, which say what they hold; what came as 0x8001 is left as it is.
        return [] if known not in GUESSABLE else [found for old in backlog if (found := self._again(stream, known, old, message)) is not None]

    def _again(self, stream: _Stream, schema: str, old: V2gMessage, now: V2gMessage) -> Redecoded | None:
        """An earlier message by the schema that is known now; None where it says the same."""
        if old.schema == schema:
            return None
        read = self._read(schema, old.exi, old.payload_type)
        if (read.message, read.content, read.error) == (old.message, old.content, old.error):
            return None
        if read.error is not None and _clean(old) and exi.guess(old.exi) == old.schema:
            # Whole, and what its own bytes say: it belongs to an older connection on the same ports, whose end was not heard.
            return None
        body, header = message_parts(read.content, read.message)
        message = msgspec.structs.replace(
            old, schema=read.schema, message=read.message, content=read.content, error=read.error, notes=read.notes, variant=read.variant,
            body=body, header=header, guessed=stream.chosen is None, side=_side_of(read.message) or old.side,
        )  # fmt: skip
        return Redecoded(t=now.t, frame=now.frame, source=now.source, message=message, schema_before=old.schema, message_before=old.message)

    # -- which schema --------------------------------------------------------------------------------------------------

    def _schema(self, stream: _Stream, raw: RawV2g) -> tuple[str | None, bool]:
        if stream.chosen in ("din", "iso2") and raw.payload_type in MAIN_STREAM:
            # Whatever payload type the header says: what was agreed is spoken (the wrong type is a finding of its own).
            return stream.chosen, False
        if raw.payload_type != 0x8001:
            if stream.proven is not None and raw.payload_type in MAIN_STREAM and exi.guess(raw.payload) == stream.proven:
                return stream.proven, True  # the wrong type, as above
            sets = exi.PAYLOAD_TYPES.get(raw.payload_type)
            return (sets[0] if sets else None), False
        if len(raw.payload) > 1 and raw.payload[1] < SAP_TOP:
            return "sap", False
        if stream.chosen is not None:
            return None, False  # ISO 15118-20 was agreed, which has payload types of its own: no message of another schema is looked for
        return self._guess(stream.guess, raw.payload), True

    def _guess(self, before: str | None, payload: bytes) -> str | None:
        """Without a handshake: what fitted the stream's messages so far, unless this one fits what its own first bytes say better.

        One damaged message may decode by chance with another schema; it must not bind those that follow.
        """
        own = exi.guess(payload)
        if before is None or own is None or own == before:
            return before or own
        try:
            exi.decode_message(own, payload)
        except DecodeError:
            return before
        return own

    def _decode(self, schema: str, payload: bytes) -> tuple[str, exi.Decoded]:
        """Decode; a handshake repeated on a connection that has its schema is still read as a handshake."""
        try:
            return schema, exi.decode_message(schema, payload)
        except DecodeError:
            if schema == "sap" or len(payload) < 2 or payload[1] >= SAP_TOP:
                raise
            try:
                return "sap", exi.decode_message("sap", payload)
            except DecodeError:
                pass
            raise

    def _learn(self, stream: _Stream, schema: str | None, message: str, content: dict[str, Any] | None) -> None:
        if schema != "sap" or content is None:
            return
        body = content.get(message, {})
        if message == "supportedAppProtocolReq":
            offers = body.get("AppProtocol", ())
            stream.offers = _offers(offers)
        elif message == "supportedAppProtocolRes" and str(body.get("ResponseCode", "")).startswith("OK"):
            chosen = body.get("SchemaID")
            if isinstance(chosen, int):
                stream.chosen = stream.offers.get(chosen)
            elif len(stream.offers) == 1:
                # Some SECCs leave the SchemaID out when only one protocol was offered.
                stream.chosen = next(iter(stream.offers.values()))

    def _side(self, stream: _Stream, from_a: bool, message: str | None) -> str:
        side = _side_of(message)
        if side is not None:
            if stream.opener_is_evcc is None:
                stream.opener_is_evcc = (side == "EVCC") == from_a
            return side
        if stream.opener_is_evcc is None:
            return "unknown"
        return "EVCC" if stream.opener_is_evcc == from_a else "SECC"


def _side_of(message: str | None) -> str | None:
    """Who sends it, by its name."""
    if message is None or not message.endswith(("Req", "Res")):
        return None
    return "EVCC" if message.endswith("Req") else "SECC"


def _clean(message: V2gMessage) -> bool:
    """Decoded by the schema without anything odd."""
    return message.error is None and not message.notes and not message.variant
