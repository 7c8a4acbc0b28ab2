"""V2GTP payloads to V2G messages: which schema, which side, and the EXI decoding.

The schema of payload type 0x8001 is what supportedAppProtocol chose on the same TCP connection. Joined in the middle, it is guessed from the first
bytes and the messages before, and marked as guessed. Once negotiated, no other schema is ever tried (ISO 15118-2 8.4.1.4; DIN SPEC 70121 9.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event, Tcp, Tls, V2gMessage, message_parts
from plugtap.protocols.net import RawV2g

MAX_STREAMS = 1024
SCHEMA_OF_NAMESPACE = (
    ("urn:din:70121:", "din"),
    ("urn:iso:15118:2:", "iso2"),
    ("urn:iso:std:iso:15118:-20:", "iso20"),
)
MAIN_STREAM = range(0x8001, 0x8007)  # payload types of the V2G dialogue (ISO 15118-20 table 13); beyond are multiplexed and makers' own
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

    __slots__ = ("chosen", "guess", "offers", "opener_is_evcc", "tls")

    def __init__(self) -> None:
        self.offers: dict[int, str | None] = {}
        self.chosen: str | None = None
        self.guess: str | None = None
        self.opener_is_evcc: bool | None = None
        self.tls = False


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
        """One payload. Always one V2gMessage, with `error` where it could not be decoded."""
        stream = self._stream(raw.stream)
        schema, guessed = self._schema(stream, raw)
        message: str | None = None
        content: dict[str, Any] | None = None
        error: dict[str, Any] | None = None
        notes: tuple[str, ...] = ()
        variant = ""
        if schema is None:
            error = {"layer": "v2gtp", "offset": 0, "path": "", "reason": f"no schema known for payload type 0x{raw.payload_type:04x}"}
        else:
            try:
                schema, decoded = self._decode(schema, raw.payload)
                message, content, notes, variant = decoded.message, decoded.content, decoded.notes, decoded.variant
                if message is None:
                    error = {"layer": "exi", "offset": 0, "path": "", "reason": "the document holds no message"}
            except DecodeError as wrong:
                error = {"layer": wrong.layer, "offset": wrong.offset, "path": wrong.path, "reason": wrong.reason}
        if message is not None:
            self._learn(stream, schema, message, content)
            if guessed:
                stream.guess = schema
        body, header = message_parts(content, message)
        return [
            V2gMessage(
                t=raw.t, frame=raw.frame, source=raw.source, index=raw.index, stream=raw.stream, src=raw.src, dst=raw.dst,
                side=self._side(stream, raw, message), payload_type=raw.payload_type, schema=schema, message=message, content=content,
                exi=raw.payload, tls=stream.tls, guessed=guessed, error=error, notes=notes, first_frame=raw.first_frame, first_t=raw.first_t,
                body=body, header=header, variant=variant,
            )
        ]  # fmt: skip

    def _schema(self, stream: _Stream, raw: RawV2g) -> tuple[str | None, bool]:
        if stream.chosen in ("din", "iso2") and raw.payload_type in MAIN_STREAM:
            # Whatever payload type the header says: what was agreed is spoken (the wrong type is a finding of its own).
            return stream.chosen, False
        if raw.payload_type != 0x8001:
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

    def _side(self, stream: _Stream, raw: RawV2g, message: str | None) -> str:
        if message is not None and message.endswith(("Req", "Res")):
            side = "EVCC" if message.endswith("Req") else "SECC"
            if stream.opener_is_evcc is None:
                stream.opener_is_evcc = (side == "EVCC") == raw.from_a
            return side
        if stream.opener_is_evcc is None:
            return "unknown"
        return "EVCC" if stream.opener_is_evcc == raw.from_a else "SECC"
