"""V2GTP on a TCP byte stream: messages out of bytes, with recovery after lost bytes and wrong headers.

Header of 8 bytes (ISO 15118-2 7.8.3, DIN SPEC 70121 8.5, ISO 15118-20 7.8.3): version 0x01, its inverse 0xFE, payload
type (16 bit), payload length (32 bit), all big endian.

The reader is in one of three states: between messages (the next byte starts a header), inside a message, or lost
(bytes are missing, or what stood in place of a header was none). Lost, it looks for the next plausible header and
counts what it skips.
"""

from __future__ import annotations

import msgspec

HEADER = 8
VERSION, INVERSE = 0x01, 0xFE
START = bytes((VERSION, INVERSE))

# Payload types: ISO 15118-2 Table 10, DIN SPEC 70121 Table 16, ISO 15118-20 Table 12.
EXI_TYPES = frozenset({0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8101, 0x8102, 0x8103, 0x8104})
SDP_TYPES = frozenset({0x9000, 0x9001, 0x9002, 0x9003})
VENDOR_TYPES = 0xA000  # and above
EXI_START = 0x80  # an EXI header without options is this one byte (EXI 1.0, 5)

MAX_MARKS = 256


class Message(msgspec.Struct, frozen=True, gc=False):
    """A whole V2GTP message. `frame` and `t` are those of the packet with its last byte, `first_…` of the one with
    its first.

    `after_hole`: bytes of this direction were lost between the message before and this one.
    """

    payload_type: int
    payload: bytes
    t: int
    frame: int
    first_t: int
    first_frame: int
    after_hole: bool


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something is not as it should be; `kind` as in events.V2gtpOddity."""

    kind: str
    length: int
    detail: str
    t: int
    frame: int


Output = Message | Note


def plausible(header: bytes, max_payload: int) -> bool:
    """Whether `header` (9 bytes if there are that many) may start a message that is worth resynchronising to."""
    if len(header) < HEADER or header[0] != VERSION or header[1] != INVERSE:
        return False
    kind = int.from_bytes(header[2:4], "big")
    length = int.from_bytes(header[4:8], "big")
    if kind in SDP_TYPES:
        return length in (2, 20)
    if kind not in EXI_TYPES or not 0 < length <= max_payload:
        return False
    return len(header) == HEADER or header[8] == EXI_START


class Reader:
    """V2GTP messages of one direction of a TCP connection. Push bytes with `feed`, lost bytes with `hole`, the end
    with `end`.

    `max_payload` bounds what is buffered; a header that announces more is an oddity of kind ``length`` and the reader
    looks for the next header. `lost`: it is not known that the stream starts with a header; `quiet`: what is skipped
    to the first one is no oddity (the capture joined in the middle). Nothing is raised whatever comes.
    """

    def __init__(self, max_payload: int = 65536, *, lost: bool = False, quiet: bool = False) -> None:
        self._max = max_payload
        self._buffer = bytearray()
        self._marks: list[tuple[int, int, int]] = []  # (end position in the buffer, t, frame) of each piece fed
        self._lost = lost  # looking for a header
        self._quiet = quiet
        self._found_one = not lost
        self._skipped = 0
        self._drop = 0  # bytes left of a message that lost some: skipped without being looked at
        self._after_hole = False

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    def feed(self, data: bytes, t: int, frame: int) -> list[Output]:
        """Take the next bytes of the stream; returns what they complete."""
        out: list[Output] = []
        if self._drop:
            dropped = min(self._drop, len(data))
            self._drop -= dropped
            data = data[dropped:]
        if not data:
            return out
        if self._buffer and not self._lost and self._starts_anew(data):
            have = len(self._buffer)
            reason = f"{have} bytes of a message that announced more, then a new header"
            out.append(Note("length", have, reason, t, frame))
            self._clear()
        self._buffer += data
        self._mark(t, frame)
        while self._step(t, frame, out):
            pass
        return out

    def hole(self, length: int, t: int, frame: int) -> list[Output]:
        """`length` bytes are missing here. The message they cut is lost; where its end is known, reading goes on
        there.
        """
        out: list[Output] = []
        self._after_hole = True
        if self._drop:
            left = self._drop - length
            self._drop = max(0, left)
            self._lost = self._lost or left < 0
            return out
        have = len(self._buffer)
        if self._lost:
            self._skipped += have
            self._clear()
            return out
        if have:
            left = self._announced() - have - length if have >= HEADER else -1
            reason = f"{length} bytes of the stream are missing after {have} of a message"
            out.append(Note("cut", have, reason, t, frame))
            self._clear()
            self._drop = max(0, left)
            self._lost = left < 0
        else:
            self._lost = True
        return out

    def end(self, t: int, frame: int, why: str) -> list[Output]:
        """The stream is over. A message that has begun is cut."""
        out: list[Output] = []
        have = len(self._buffer)
        if self._lost:
            self._skipped += have
            self._quiet = self._quiet or not self._found_one  # a stream that never was V2GTP
            self._found(t, frame, out, "no header in the rest of the stream")
        elif have or self._drop:
            out.append(Note("cut", have, f"{why} after {have} bytes of a message", t, frame))
        self._clear()
        self._drop = 0
        return out

    # --- inside ---------------------------------------------------------------------------------------------------

    def _step(self, t: int, frame: int, out: list[Output]) -> bool:
        """One move in the buffer; False when more bytes are needed."""
        if self._lost:
            return self._search(t, frame, out)
        buffer = self._buffer
        if len(buffer) < HEADER:
            if buffer and not self._may_be_header():
                self._lose()
                return True
            return False
        kind = int.from_bytes(buffer[2:4], "big")
        length = int.from_bytes(buffer[4:8], "big")
        wrong = self._version_note(kind, length)
        if wrong == "resync":
            self._lose()
            return True
        if length > self._max:
            out.append(Note("length", length, f"payload length {length}, more than {self._max}", t, frame))
            self._lose()
            return True
        if len(buffer) < HEADER + length:
            return False
        if wrong:
            out.append(Note(wrong, length, f"header {bytes(buffer[:2]).hex()}, not 01fe", t, frame))
        self._deliver(kind, length, t, frame, out)
        return True

    def _may_be_header(self) -> bool:
        """Whether fewer than 8 bytes may be the beginning of a header, right or with one of the two version bytes
        wrong.
        """
        buffer = self._buffer
        if len(buffer) >= 2 and not (buffer[0] == VERSION or buffer[1] == buffer[0] ^ 0xFF):
            return False
        return len(buffer) < 3 or buffer[2] & 0x80 != 0 or (buffer[0] == VERSION and buffer[1] == INVERSE)

    def _version_note(self, kind: int, length: int) -> str:
        """The oddity of the version bytes: "" if right, "resync" if this is no header at all."""
        first, second = self._buffer[0], self._buffer[1]
        if first == VERSION and second == INVERSE:
            return ""
        known = kind in EXI_TYPES and 0 < length <= self._max
        if known and first == VERSION:
            return "inverse"
        if known and second == first ^ 0xFF:
            return "version"
        return "resync"

    def _deliver(self, kind: int, length: int, t: int, frame: int, out: list[Output]) -> None:
        payload = bytes(self._buffer[HEADER : HEADER + length])
        first_t, first_frame = self._marks[0][1:]
        if kind in SDP_TYPES:
            out.append(Note("sdp-on-tcp", length, f"payload type 0x{kind:04X}: {payload[:32].hex()}", t, frame))
        elif kind not in EXI_TYPES:
            whose = "vendor" if kind >= VENDOR_TYPES else "reserved"
            out.append(Note("payload-type", length, f"payload type 0x{kind:04X} ({whose})", t, frame))
        if length == 0:
            out.append(Note("empty", 0, f"payload type 0x{kind:04X} with a payload of length 0", t, frame))
        else:
            out.append(Message(kind, payload, t, frame, first_t, first_frame, self._after_hole))
        self._after_hole = False
        self._consume(HEADER + length)

    def _search(self, t: int, frame: int, out: list[Output]) -> bool:
        """Skip to the next plausible header. True when found; else only what may be the start of one is kept."""
        buffer = self._buffer
        at = 0
        while True:
            at = buffer.find(START, at)
            if at < 0:
                at = len(buffer) - buffer.endswith(START[:1])
                break
            head = bytes(buffer[at : at + HEADER + 1])
            if len(head) <= HEADER and self._prefix(head):
                break
            if plausible(head, self._max):
                self._skipped += at
                self._consume(at)
                self._found(t, frame, out, "to the next header")
                return True
            at += len(START)
        self._skipped += at
        self._consume(at)
        return False

    def _prefix(self, head: bytes) -> bool:
        """Whether 2 to 8 bytes at the end of the buffer may begin a plausible header; the ninth byte decides."""
        if len(head) >= 3 and head[2] not in (0x80, 0x81, 0x90):
            return False
        return len(head) < HEADER or (plausible(head, self._max) and head[2] != 0x90)

    def _found(self, t: int, frame: int, out: list[Output], detail: str) -> None:
        if self._skipped and not self._quiet:
            out.append(Note("resync", self._skipped, f"{self._skipped} bytes skipped, {detail}", t, frame))
        self._lost = False
        self._quiet = False
        self._found_one = True
        self._skipped = 0

    def _lose(self) -> None:
        """What stands at the front of the buffer is no header: look for the next one behind its first byte."""
        self._lost = True
        self._skipped += 1
        self._consume(1)

    def _announced(self) -> int:
        """Size of the message in the buffer, header included, as its length field says."""
        return HEADER + int.from_bytes(self._buffer[4:8], "big")

    def _starts_anew(self, data: bytes) -> bool:
        """Whether `data` is a chain of whole messages although the one in the buffer is not complete.

        Then the length field before was wrong: that nine bytes of a continuation look like a header whose length fits
        the segment to the byte does not happen by chance, and a wrong length would swallow up to `max_payload` bytes
        of messages.
        """
        at = 0
        while plausible(data[at : at + HEADER + 1], self._max):
            at += HEADER + int.from_bytes(data[at + 4 : at + 8], "big")
            if at == len(data):
                return True
        return False

    def _mark(self, t: int, frame: int) -> None:
        self._marks.append((len(self._buffer), t, frame))
        if len(self._marks) > MAX_MARKS:  # only the start of the buffer must stay exact
            del self._marks[1 : MAX_MARKS // 2]

    def _consume(self, count: int) -> None:
        del self._buffer[:count]
        self._marks = [(end - count, t, frame) for end, t, frame in self._marks if end > count]

    def _clear(self) -> None:
        self._buffer.clear()
        self._marks.clear()
