"""plugtap's archive: a pcapng file that opens in stock Wireshark and gives back exactly the items it was made of.

How items are stored (format 1; `item_decoder` reads it back):

================  ====================================================================================================
`Frame`           enhanced packet block on the interface named by its source (``plc``, ``plc2``); `lost` is
                  epb_dropcount, `direction` epb_flags
`CpRecord`        enhanced packet block on the LINKTYPE_USER0 interface named by its source (``cp``); record below
`TapEvent`        enhanced packet block on the LINKTYPE_USER0 interface ``tap``; record below
`Tick`            interface statistics block without counters (Wireshark gives those no frame number)
site, tap, run …  section header: a custom text option (2988) of `PEN` with `ArchiveHeader` as JSON, and the settings
                  as custom binary options (2989) one after the other; a comment says the same to people
results           at sealing, one custom block of `PEN` at the end (Wireshark counts custom blocks as frames, so
                  before packets it would shift their numbers): ``"plugtap\\0"``, u16 version = 1, u16 kind = 1,
                  u32 length, and so many bytes of JSON
================  ====================================================================================================

A record on a USER0 interface begins with ``"pt" | u8 version=1 | u8 kind``, all numbers little-endian:

* kind 1, CpRecord: i32 hi_mv, i32 lo_mv, u32 duty (0.01 %), u32 freq (0.1 Hz), u64 span (ns), u32 cycles, u32 noise_mv,
  u16 flags, u16 present (bit 0: pp_mv, bit 1: pp_ohm), i32 pp_mv, u32 pp_ohm. Later versions may append fields.
* kind 2, TapEvent: JSON object with source, kind, detail, values.

An interrupted archive is continued by a new section. `PEN` is 32473, which RFC 5612 reserves for documentation: plugtap
has no number of its own, so everything under it starts with plugtap's name or magic as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

from plugtap.protocols import capture_blocks as cb
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import (
    LINKTYPE_ETHERNET,
    LINKTYPE_LINUX_SLL,
    LINKTYPE_LINUX_SLL2,
    LINKTYPE_USER0,
    CpRecord,
    Frame,
    Item,
    TapEvent,
    Tick,
)
from plugtap.protocols.pcapng_writer import MAX_OPTION, PcapngWriter

PEN = 32473
FORMAT = 1
FRAME_LINKS = frozenset({LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2})
TAP_INTERFACE = "tap"
MAX_SOURCES = 64
MAX_SOURCE_NAME = 64  # characters
MAX_RESULTS = cb.MAX_BLOCK - 64  # bytes

_APPLICATION = "plugtap"  # shb_userappl begins with it

RECORD_MAGIC = b"pt"
RECORD_VERSION = 1
KIND_CP = 1
KIND_TAP = 2
_RECORD = struct.Struct("<2sBB")
_CP = struct.Struct("<2sBBiiIIQIIHHiI")

_RESULTS = struct.Struct("<8sHHI")
_RESULTS_MAGIC = b"plugtap\0"

_SETTINGS_PIECE = MAX_OPTION - 4  # the enterprise number takes four bytes of an option


class ArchiveHeader(msgspec.Struct, frozen=True):
    """What a section of an archive says about itself. `settings`: the effective analysis settings, JSON bytes."""

    site: str
    tap: str
    run: str  # id of the run of the daemon
    catalogue: str = ""  # version of the check catalogue
    plugtap: str = ""  # version of plugtap that wrote it
    settings: bytes = b""


class _HeaderJson(msgspec.Struct, frozen=True, rename={"format": "plugtap-archive"}):
    """`ArchiveHeader` as stored; `settings` is the length of the bytes stored apart."""

    format: int
    site: str
    tap: str
    run: str
    catalogue: str
    plugtap: str
    settings: int


class _TapJson(msgspec.Struct, frozen=True):
    source: str
    kind: str
    detail: str
    values: dict[str, int | str]


_TAP_DECODER = msgspec.json.Decoder(_TapJson)


class ArchiveEncoder:
    """Items to the bytes of an archive. Append what `start`, then `encode` and at last `seal` return.

    Packets are numbered as Wireshark will number them. Raises ValueError for what the format cannot hold (a time before
    1970 or after 2262, a packet above 262144 bytes, a wrong number …); that item is not in the archive then, and the
    next can follow.
    """

    def __init__(
        self,
        header: ArchiveHeader,
        sources: Iterable[tuple[str, int]] = (("plc", LINKTYPE_ETHERNET), ("cp", LINKTYPE_USER0)),
        *,
        next_number: int = 1,
    ) -> None:
        """`sources`: (name, link type) of the interfaces to declare at the start; others are declared when they come.

        `next_number`: the number of the first packet, above 1 when the bytes continue an interrupted file.
        """
        self._header = header
        self._sources = tuple(dict.fromkeys((*sources, (TAP_INTERFACE, LINKTYPE_USER0))))
        self._next = next_number
        self._writer = PcapngWriter()
        self._interfaces: dict[tuple[str, int], int] = {}
        self._pending = b""
        self._started = False
        self._sealed = False

    @property
    def next_number(self) -> int:
        """The number the next packet will have."""
        return self._next

    def start(self) -> bytes:
        """Section header and interfaces."""
        if self._started:
            raise ValueError("the archive has started")
        parts = [self._section()]
        for name, link in self._sources:
            _check_source(name)
            self._interfaces[name, link] = self._writer.interfaces
            parts.append(self._writer.interface(link, name, description=_description(name, link)))
        self._started = True
        return b"".join(parts)

    def encode(self, item: Item, comments: Iterable[str] = ()) -> tuple[Item, bytes]:
        """One item as bytes, and the item as it will be read back: with its number (given as 0, it is assigned; else it
        must be the next one), and `wire_len` 0 where it equals the length of the data. `comments` show in Wireshark."""
        if not self._started or self._sealed:
            raise ValueError("the archive is sealed" if self._sealed else "the archive has not started")
        if isinstance(item, Tick):
            return item, self._writer.stats(0, item.t, comments=comments)
        number = item.number or self._next
        if number != self._next:
            raise ValueError(f"packet number {number} where {self._next} is due")
        if isinstance(item, Frame):
            done: Item = _canonical(item, number)
            block = self._frame(item, comments)
        elif isinstance(item, CpRecord):
            done = item if item.number else msgspec.structs.replace(item, number=number)
            block = self._record(item.source, item.t, cp_bytes(item), comments)
        else:
            done = item if item.number else msgspec.structs.replace(item, number=number)
            block = self._record(TAP_INTERFACE, item.t, tap_event_bytes(item), comments)
        self._next += 1
        return done, block

    def statistics(self, source: str, link: int, t: int, *, received: int | None, dropped: int | None) -> bytes:
        """Counters of a source up to `t` (not an item; for people who open the file)."""
        if received is None and dropped is None:
            raise ValueError("statistics without a counter would read as a tick")
        return self._writer.stats(self._interfaces[source, link], t, received=received, dropped=dropped)

    def seal(self, results: bytes) -> bytes:
        """The end: sessions and findings as JSON bytes. Nothing may follow."""
        if not self._started or self._sealed:
            raise ValueError("the archive is sealed" if self._sealed else "the archive has not started")
        if len(results) > MAX_RESULTS:
            raise ValueError(f"results of {len(results)} bytes are above {MAX_RESULTS}")
        block = self._writer.custom(PEN, _RESULTS.pack(_RESULTS_MAGIC, 1, 1, len(results)) + results)
        self._sealed = True
        return block

    def _section(self) -> bytes:
        header = self._header
        text = msgspec.json.encode(
            _HeaderJson(
                format=FORMAT,
                site=header.site,
                tap=header.tap,
                run=header.run,
                catalogue=header.catalogue,
                plugtap=header.plugtap,
                settings=len(header.settings),
            )
        )
        custom = [(cb.OPT_CUSTOM_TEXT, PEN, text)]
        for begin in range(0, len(header.settings), _SETTINGS_PIECE):
            custom.append((cb.OPT_CUSTOM_BINARY, PEN, header.settings[begin : begin + _SETTINGS_PIECE]))
        return self._writer.section(
            application=f"{_APPLICATION} {header.plugtap}".rstrip(),
            comments=[f"plugtap archive: site {header.site}, tap {header.tap}, run {header.run}"],
            custom=custom,
        )

    def _interface(self, name: str, link: int) -> int:
        """Index of an interface; a new one is described in front of the next packet."""
        index = self._interfaces.get((name, link))
        if index is None:
            _check_source(name)
            if len(self._interfaces) >= MAX_SOURCES:
                raise ValueError(f"more than {MAX_SOURCES} sources")
            index = self._writer.interfaces
            self._pending += self._writer.interface(link, name, description=_description(name, link))
            self._interfaces[name, link] = index
        return index

    def _frame(self, frame: Frame, comments: Iterable[str]) -> bytes:
        if frame.link not in FRAME_LINKS:
            raise ValueError(f"link type {frame.link} is not one of frames")
        return self._after_pending(
            self._writer.packet(
                self._interface(frame.source, frame.link),
                frame.t,
                frame.data,
                wire_len=frame.wire_len or None,
                direction=frame.direction,
                dropped=frame.lost,
                comments=comments,
            )
        )

    def _record(self, source: str, t: int, data: bytes, comments: Iterable[str]) -> bytes:
        interface = self._interface(source, LINKTYPE_USER0)
        return self._after_pending(self._writer.packet(interface, t, data, comments=comments))

    def _after_pending(self, block: bytes) -> bytes:
        if self._pending:
            block = self._pending + block
            self._pending = b""
        return block


def cp_bytes(record: CpRecord) -> bytes:
    """The stored form of a CP record, 48 bytes. Raises ValueError for a value that does not fit its field."""
    present = (record.pp_mv is not None) | (record.pp_ohm is not None) << 1
    try:
        return _CP.pack(
            RECORD_MAGIC,
            RECORD_VERSION,
            KIND_CP,
            record.hi_mv,
            record.lo_mv,
            record.duty,
            record.freq,
            record.span,
            record.cycles,
            record.noise_mv,
            record.flags,
            present,
            record.pp_mv or 0,
            record.pp_ohm or 0,
        )
    except struct.error as error:
        raise ValueError(f"CP record does not fit: {error}") from None


def tap_event_bytes(event: TapEvent) -> bytes:
    """The stored form of a tap event."""
    for value in event.values.values():
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"{value} in a tap event does not fit 64 bits")
    body = _TapJson(event.source, event.kind, event.detail, event.values)
    return _RECORD.pack(RECORD_MAGIC, RECORD_VERSION, KIND_TAP) + msgspec.json.encode(body)


def is_record(data: bytes) -> bool:
    """Whether the bytes of a USER0 packet are a record of plugtap, of a version this reads."""
    return len(data) >= _RECORD.size and data[:3] == b"pt\x01" and data[3] in (KIND_CP, KIND_TAP)


def read_record(t: int, number: int, source: str, data: bytes) -> CpRecord | TapEvent:
    """A record back from its stored form; `source` is the name of its interface. Raises DecodeError("archive")."""
    if not is_record(data):
        raise DecodeError("archive", 0, "not a record of plugtap")
    if data[3] == KIND_TAP:
        try:
            event = _TAP_DECODER.decode(data[_RECORD.size :])
        except (ValueError, RecursionError) as error:  # msgspec's own errors, bad UTF-8, nesting without end
            raise DecodeError("archive", _RECORD.size, f"tap event: {error}") from None
        return TapEvent(t, number, event.source, event.kind, event.detail, event.values)
    if len(data) < _CP.size:
        raise DecodeError("archive", len(data), "CP record is too short")
    _, _, _, hi, lo, duty, freq, span, cycles, noise, flags, present, pp_mv, pp_ohm = _CP.unpack_from(data)
    return CpRecord(
        t,
        number,
        hi,
        lo,
        duty,
        freq,
        span,
        cycles,
        noise,
        flags,
        pp_mv if present & 1 else None,
        pp_ohm if present & 2 else None,
        source,
    )


def read_header(section: cb.Section) -> ArchiveHeader | None:
    """The header of a section of an archive, None for a section of any other file or a later format.

    Wireshark's programs copy the header into what they make of an archive. An excerpt (editcap, tshark -w) still is one,
    a mixture of several (mergecap puts its own name as the application) is not.

    Raises DecodeError("archive") if it claims to be an archive and its header is damaged.
    """
    if not section.application.startswith(_APPLICATION):
        return None
    text = b""
    settings: list[bytes] = []
    for code, pen, value in section.custom:
        if pen == PEN and code == cb.OPT_CUSTOM_TEXT and value.startswith(b'{"plugtap-archive":'):
            text = value
        elif pen == PEN and code == cb.OPT_CUSTOM_BINARY:
            settings.append(value)
    if not text:
        return None
    try:
        stored = msgspec.json.decode(text, type=_HeaderJson)
    except (ValueError, RecursionError) as error:
        raise DecodeError("archive", 0, f"header: {error}") from None
    if stored.format != FORMAT:
        return None
    joined = b"".join(settings)
    if len(joined) != stored.settings:
        raise DecodeError("archive", 0, f"{len(joined)} bytes of settings where {stored.settings} were written")
    return ArchiveHeader(stored.site, stored.tap, stored.run, stored.catalogue, stored.plugtap, joined)


def read_results(block: cb.Custom) -> bytes | None:
    """The JSON bytes that `seal` was given, None if the block is another's.

    Raises DecodeError("archive") if they are cut.
    """
    if block.pen != PEN or block.data[:8] != _RESULTS_MAGIC or len(block.data) < _RESULTS.size:
        return None
    _, version, kind, length = _RESULTS.unpack_from(block.data)
    if version != 1 or kind != 1:
        return None
    results = block.data[_RESULTS.size : _RESULTS.size + length]
    if len(results) != length:
        raise DecodeError("archive", 12, f"results of {length} bytes do not fit their block")
    return results


def _canonical(frame: Frame, number: int) -> Frame:
    """The frame as it will be read back."""
    wire_len = 0 if frame.wire_len == len(frame.data) else frame.wire_len
    if frame.number == number and frame.wire_len == wire_len:
        return frame
    return msgspec.structs.replace(frame, number=number, wire_len=wire_len)


def _check_source(name: str) -> None:
    if not 0 < len(name) <= MAX_SOURCE_NAME or "\0" in name:
        raise ValueError(f"{name!r} is no name for a source")


def _description(name: str, link: int) -> str:
    if link != LINKTYPE_USER0:
        return "power line communication"
    return "events of the tap (plugtap)" if name == TAP_INTERFACE else "control pilot (plugtap)"
