"""TLS records on a TCP byte stream, and what can be read of a handshake without keys.

Sources: RFC 5246 (TLS 1.2: record layer 6.2, handshake 7.4), RFC 8446 (TLS 1.3: 4, 5), RFC 6066 (server name, trusted
CA keys, certificate status), RFC 8422 (named curve). The bodies of the handshake messages are read in
tls_handshake.py.

In TLS 1.2 all handshake messages but Finished are in the clear, certificates included; in TLS 1.3 only the two hellos
are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap.protocols import tls_handshake
from plugtap.protocols.errors import DecodeError

RECORD_HEADER = 5
MAX_RECORD = 16384 + 2048  # RFC 5246 6.2.3: the longest ciphertext
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
CONTENT_TYPES = frozenset({CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT})

# RFC 5246 7.2, RFC 8446 6, RFC 6066, RFC 7301
ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


class Fact(msgspec.Struct, frozen=True):
    """A TLS record, or a handshake message in the clear; fields and kinds as in events.Tls."""

    kind: str
    version: int
    length: int
    values: dict[str, Any]
    t: int
    frame: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as on the wire; `t` and `frame` are those of the packet that completes it."""

    content_type: int
    version: int
    fragment: bytes
    t: int
    frame: int


def plausible(data: bytes) -> bool:
    """Whether `data` (5 bytes are looked at) may start a TLS record."""
    if len(data) < RECORD_HEADER or data[0] not in CONTENT_TYPES or data[1] != 3 or data[2] > 4:
        return False
    length = int.from_bytes(data[3:5], "big")
    return length <= MAX_RECORD and (length > 0 or data[0] == APPLICATION_DATA)


class RecordReader:
    """TLS records of one direction. After a loss, or on bytes that are no record, it waits for a piece that starts one.

    Holds at most one record (18 KiB). `skipped` counts bytes that belonged to no record.
    """

    def __init__(self, lost: bool = False) -> None:
        self._buffer = bytearray()
        self._lost = lost
        self._drop = 0
        self.skipped = 0

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    def feed(self, data: bytes, t: int, frame: int) -> list[Record]:
        """Take the next bytes; returns the records they complete."""
        if self._drop:
            dropped = min(self._drop, len(data))
            self._drop -= dropped
            data = data[dropped:]
        if self._lost:
            # Records nearly always start where segments start; a search inside encrypted bytes would find false ones.
            if not plausible(data[:RECORD_HEADER]):
                self.skipped += len(data)
                return []
            self._lost = False
        self._buffer += data
        out: list[Record] = []
        at = 0
        buffer = self._buffer
        while len(buffer) - at >= RECORD_HEADER:
            if not plausible(bytes(buffer[at : at + RECORD_HEADER])):
                self._lost = True
                self.skipped += len(buffer) - at
                buffer.clear()
                return out
            end = at + RECORD_HEADER + int.from_bytes(buffer[at + 3 : at + 5], "big")
            if len(buffer) < end:
                break
            version = int.from_bytes(buffer[at + 1 : at + 3], "big")
            out.append(Record(buffer[at], version, bytes(buffer[at + RECORD_HEADER : end]), t, frame))
            at = end
        del buffer[:at]
        return out

    def hole(self, length: int) -> None:
        """`length` bytes are missing here; where the record they cut ends is known, reading goes on there."""
        have = len(self._buffer)
        if self._lost:
            return
        if self._drop:
            need = self._drop
        elif have >= RECORD_HEADER:
            need = RECORD_HEADER + int.from_bytes(self._buffer[3:5], "big") - have
        else:
            need = -1
        self._buffer.clear()
        self._drop = max(0, need - length)
        self._lost = need < length


class Reader:
    """What the TLS records of one direction say: a Fact for each record, or for each handshake message in the clear.

    `max_handshake` bounds the one handshake message that is put together from several records.
    """

    def __init__(self, max_handshake: int = 65536, lost: bool = False) -> None:
        self._records = RecordReader(lost)
        self._max = max_handshake
        self._handshake = bytearray()
        self._ciphered = lost  # after ChangeCipherSpec, or joined in the middle: handshake records cannot be read

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return self._records.buffered + len(self._handshake)

    @property
    def skipped(self) -> int:
        """Bytes that belonged to no record."""
        return self._records.skipped

    def feed(self, data: bytes, t: int, frame: int) -> list[Fact]:
        """Take the next bytes of the stream. Nothing is raised whatever comes."""
        out: list[Fact] = []
        for record in self._records.feed(data, t, frame):
            self._record(record, out)
        return out

    def hole(self, length: int) -> None:
        """`length` bytes are missing here; the handshake message they cut is lost."""
        self._records.hole(length)
        self._handshake.clear()
        self._ciphered = True  # a change of cipher may have been in it, and where the next message starts is not known

    def _record(self, record: Record, out: list[Fact]) -> None:
        kind, length = record.content_type, len(record.fragment)
        if kind == HANDSHAKE and not self._starts_handshake(record.fragment):
            out.append(self._fact("encrypted", record, length, {}))
        elif kind == HANDSHAKE:
            self._messages(record, out)
        elif kind == ALERT:
            values: dict[str, Any] = {}
            if length == 2:
                level, description = record.fragment
                values = {"level": level, "description": description, "name": ALERTS.get(description, str(description))}
            out.append(self._fact("alert", record, length, values))
        elif kind == CHANGE_CIPHER_SPEC:
            self._ciphered = True
            self._handshake.clear()
            out.append(self._fact("change-cipher-spec", record, length, {}))
        elif kind == APPLICATION_DATA:
            out.append(self._fact("application-data", record, length, {}))
        else:
            out.append(self._fact("encrypted", record, length, {"content_type": kind}))

    def _starts_handshake(self, fragment: bytes) -> bool:
        """Whether a handshake record is in the clear. After a change of cipher only a hello that fits its record is."""
        if not self._ciphered:
            return True
        clear = (
            len(fragment) >= 4
            and fragment[0] in (tls_handshake.CLIENT_HELLO, tls_handshake.SERVER_HELLO)
            and int.from_bytes(fragment[1:4], "big") == len(fragment) - 4
        )
        if clear:
            self._ciphered = False
        return clear

    def _messages(self, record: Record, out: list[Fact]) -> None:
        buffer = self._handshake
        buffer += record.fragment
        while len(buffer) >= 4:
            size = 4 + int.from_bytes(buffer[1:4], "big")
            if size > self._max:
                error = f"message of {size} bytes, more than {self._max}"
                out.append(self._fact("handshake", record, size, {"error": error}))
                buffer.clear()
                self._ciphered = True  # where the next message starts is not known
                return
            if len(buffer) < size:
                return
            body = bytes(buffer[4:size])
            kind, version, values = self._message(buffer[0], body, record.version)
            out.append(Fact(kind, version, len(body), values, record.t, record.frame))
            del buffer[:size]

    @staticmethod
    def _message(kind: int, body: bytes, version: int) -> tuple[str, int, dict[str, Any]]:
        try:
            return tls_handshake.parse(kind, body, version)
        except DecodeError as error:
            values = {"type": kind, "name": tls_handshake.NAMES.get(kind, str(kind)), "error": str(error)}
            return tls_handshake.KINDS.get(kind, "handshake"), version, values

    @staticmethod
    def _fact(kind: str, record: Record, length: int, values: dict[str, Any]) -> Fact:
        return Fact(kind, record.version, length, values, record.t, record.frame)
