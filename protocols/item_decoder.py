"""Blocks of a capture to items: the exact inverse of `archive` for plugtap's own files, a fair reading of others."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from plugtap.protocols import archive
from plugtap.protocols import capture_blocks as cb
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import LINKTYPE_USER0, Frame, Item, Tick

# A capture that begins before 1980 (ns) was not made by a clock that knew the date.
EARLIEST_REAL_TIME = 315_532_800 * 1_000_000_000

MAX_NOTES = 50
MAX_KINDS = 64  # of skipped things told apart
MAX_SECRETS = 4 << 20  # bytes


class SourceFacts(msgspec.Struct, frozen=True):
    """One interface that gave items. `received` and `dropped` are the counters of its last statistics block."""

    source: str
    interface: str  # its name in the file, may be empty
    link: int
    packets: int
    received: int | None = None
    dropped: int | None = None


class CaptureFacts(msgspec.Struct, frozen=True):
    """What a capture says beside its items.

    `ours`: it is an archive of plugtap (every section of it); `header` is then that of its first section, `sealed`
    whether it ends as a finished archive does, and `results` the JSON bytes of its sessions and findings. An excerpt
    that other programs made is still `ours`, but has lost its ticks.
    `frames` counts as Wireshark does; `skipped` says what became no item, `untimed` counts packets without a time (they
    got that of the packet before). `start` and `end` are the first and the latest time, ns.
    """

    ours: bool
    header: archive.ArchiveHeader | None
    sealed: bool
    results: bytes | None
    format: str  # "pcap", "pcapng", "" before the first block
    application: str
    sections: int
    clock: str  # "absolute" or "relative"
    start: int | None
    end: int | None
    frames: int
    sources: tuple[SourceFacts, ...]
    skipped: dict[str, int]
    untimed: int
    secrets: tuple[cb.Secrets, ...]
    truncated: cb.Truncated | None
    notes: tuple[str, ...]

    @property
    def settings(self) -> bytes | None:
        """The analysis settings the archive was written with, JSON bytes; None for other files."""
        return self.header.settings if self.header else None


class _Source:
    """A source of items and what was counted about it."""

    __slots__ = ("dropped", "interface", "link", "name", "packets", "received")

    def __init__(self, name: str, interface: str, link: int) -> None:
        self.name = name
        self.interface = interface
        self.link = link
        self.packets = 0
        self.received: int | None = None
        self.dropped: int | None = None


class ItemDecoder:
    """Feed it the blocks of one capture in order; it returns their items and collects facts. Never raises.

    In an archive every packet and tick becomes the item it was made of. In any other capture packets of Ethernet,
    LINUX_SLL and SLL2 interfaces become frames: the first interface that has packets is source ``plc``, the next
    ``plc2``, and so on; packets of other link types are counted. Records of plugtap are recognised there too (archives
    merged by other programs), while ticks are taken from archives only.
    """

    def __init__(self, *, max_sources: int = archive.MAX_SOURCES) -> None:
        """Packets of interfaces beyond `max_sources` are counted and skipped."""
        self._max_sources = max_sources
        self._interfaces: list[cb.Interface] = []  # of the present section
        self._by_index: dict[int, _Source | None] = {}  # of the present section; None: skip its packets
        self._sources: dict[tuple[str, int, int], _Source] = {}
        self._frame_sources = 0
        self._ours = False  # the present section
        self._foreign = False  # any section so far
        self._header: archive.ArchiveHeader | None = None
        self._results: bytes | None = None
        self._sealed = False
        self._format = ""
        self._application = ""
        self._sections = 0
        self._start: int | None = None
        self._end = 0
        self._last = 0
        self._frames = 0
        self._skipped: dict[str, int] = {}
        self._untimed = 0
        self._secrets: list[cb.Secrets] = []
        self._secret_bytes = 0
        self._truncated: cb.Truncated | None = None
        self._notes: list[str] = []

    def decode(self, blocks: Iterable[cb.Block]) -> list[Item]:
        """The items of the next blocks."""
        items: list[Item] = []
        for block in blocks:
            if type(block) is cb.Packet:
                item = self._packet(block)
                if item is not None:
                    items.append(item)
            elif isinstance(block, cb.InterfaceStats):
                tick = self._statistics(block)
                if tick is not None:
                    items.append(tick)
            else:
                self._other(block)
        return items

    @property
    def facts(self) -> CaptureFacts:
        """What is known so far."""
        ours = self._sections > 0 and not self._foreign
        relative = self._start is not None and self._start < EARLIEST_REAL_TIME
        return CaptureFacts(
            ours=ours,
            header=self._header if ours else None,
            sealed=ours and self._sealed,
            results=self._results if ours else None,
            format=self._format,
            application=self._application,
            sections=self._sections,
            clock="relative" if relative else "absolute",
            start=self._start,
            end=None if self._start is None else self._end,
            frames=self._frames,
            sources=tuple(
                SourceFacts(source.name, source.interface, source.link, source.packets, source.received, source.dropped)
                for source in self._sources.values()
            ),
            skipped=dict(self._skipped),
            untimed=self._untimed,
            secrets=tuple(self._secrets),
            truncated=self._truncated,
            notes=tuple(self._notes),
        )

    def _packet(self, packet: cb.Packet) -> Item | None:
        self._frames = packet.number
        self._sealed = False
        t = packet.t
        if t is None:
            t = self._last
            self._untimed += 1
        else:
            self._saw(t)
        try:
            source = self._by_index[packet.interface]
        except KeyError:
            source = self._source(packet)
            # A USER0 interface is decided packet by packet until one turns out to be a record.
            if source is not None or packet.link != LINKTYPE_USER0:
                self._by_index[packet.interface] = source
        if source is None:
            self._skip(f"link type {packet.link}")
            return None
        source.packets += 1
        data = packet.data
        if packet.link != LINKTYPE_USER0:
            wire_len = packet.wire_len
            if wire_len == len(data):
                wire_len = 0
            return Frame(t, packet.number, data, packet.link, wire_len, source.name, packet.direction, packet.dropped)
        try:
            return archive.read_record(t, packet.number, source.name, data)
        except DecodeError as error:
            self._skip("damaged record")
            self._note(f"frame {packet.number}: {error.reason}")
            return None

    def _saw(self, t: int) -> None:
        self._last = t
        if self._start is None:
            self._start = self._end = t
        elif t > self._end:
            self._end = t

    def _source(self, packet: cb.Packet) -> _Source | None:
        """The source of an interface that has its first packet in this section."""
        index = packet.interface
        interface = self._interfaces[index] if index < len(self._interfaces) else None
        name = interface.name[: archive.MAX_SOURCE_NAME] if interface else ""
        user = packet.link == LINKTYPE_USER0
        if user and not self._ours and not archive.is_record(packet.data):
            return None
        if not user and packet.link not in archive.FRAME_LINKS:
            return None
        # Sections of one file, or of several written one after the other, describe the same interfaces again.
        key = (name, packet.link, -1 if self._ours else index)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= self._max_sources:
                self._note(f"more than {self._max_sources} interfaces with packets; those of the others are skipped")
                return None
            source = _Source(self._source_name(name, user), name, packet.link)
            self._sources[key] = source
        return source

    def _source_name(self, interface: str, user: bool) -> str:
        if self._ours and interface:
            return interface
        if user:
            taken = {source.name for source in self._sources.values()}
            base = interface or "cp"
            return next(name for name in (base, *(f"{base}{n}" for n in range(2, 1000))) if name not in taken)
        self._frame_sources += 1
        return "plc" if self._frame_sources == 1 else f"plc{self._frame_sources}"

    def _statistics(self, stats: cb.InterfaceStats) -> Tick | None:
        if self._ours and stats.received is None and stats.dropped is None:
            if stats.t is None:
                self._skip("statistics without time")
                return None
            if self._sealed:
                # Nothing follows the end of an archive as it was written: Wireshark's programs collect statistics there.
                self._skip("tick after the end")
                return None
            self._saw(stats.t)
            return Tick(stats.t)
        source = self._by_index.get(stats.interface)
        if source is not None:
            source.received = stats.received
            source.dropped = stats.dropped
        return None

    def _other(self, block: cb.Block) -> None:
        if isinstance(block, cb.Section):
            self._section(block)
        elif isinstance(block, cb.Interface):
            self._interfaces.append(block)
        elif isinstance(block, cb.Custom):
            self._custom(block)
        elif isinstance(block, cb.Secrets):
            self._secret_bytes += len(block.data)
            if self._secret_bytes <= MAX_SECRETS:
                self._secrets.append(block)
            else:
                self._skip("decryption secrets")
        elif isinstance(block, cb.Skipped):
            self._frames = block.number or self._frames
            self._skip(f"block type 0x{block.type:08X}")
        elif isinstance(block, cb.Truncated):
            self._truncated = block
            self._note(f"cut at byte {block.offset}, within a {block.what}")

    def _section(self, section: cb.Section) -> None:
        self._sections += 1
        self._interfaces = []
        self._by_index = {}
        self._sealed = False
        if self._sections == 1:
            self._format = section.format
            self._application = section.application
        header = None
        try:
            header = archive.read_header(section)
        except DecodeError as error:
            self._note(f"damaged archive {error.reason}")
        self._ours = header is not None
        if header is None:
            self._foreign = True
        elif self._header is None:
            self._header = header
        elif header.settings != self._header.settings:
            self._note("the sections of the archive were written with different settings")

    def _custom(self, block: cb.Custom) -> None:
        self._frames = block.number
        try:
            results = archive.read_results(block)
        except DecodeError as error:
            self._note(f"frame {block.number}: {error.reason}")
            results = None
        if results is None:
            self._skip(f"custom block of {block.pen}")
        else:
            self._results = results
            self._sealed = True

    def _skip(self, what: str) -> None:
        if what not in self._skipped and len(self._skipped) >= MAX_KINDS:
            what = "others"
        self._skipped[what] = self._skipped.get(what, 0) + 1

    def _note(self, text: str) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes.append(text)
