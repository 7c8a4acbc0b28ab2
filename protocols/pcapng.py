"""pcapng files, block by block (draft-ietf-opsawg-pcapng): sections of either byte order, interfaces, packets …"""

from __future__ import annotations

import struct
from collections.abc import Callable

from plugtap.protocols import capture_blocks as cb
from plugtap.protocols.capture_blocks import Block
from plugtap.protocols.errors import DecodeError

MAGIC = b"\x0a\x0d\x0d\x0a"

MAX_OPTIONS = 1000  # of one block; what follows is ignored and counted
MAX_INTERFACES = 1024  # of one section

_DIRECTIONS = ("", "in", "out", "")  # epb_flags, bits 0 and 1
_NO_OPTIONS: list[tuple[int, bytes]] = []


class _Timing:
    """What reading its packets needs to know of an interface: time resolution and offset, link type, snap length."""

    __slots__ = ("divide", "link", "multiply", "offset", "snaplen")

    def __init__(self, units: int, offset_seconds: int, link: int, snaplen: int) -> None:
        # Exact for whole nanoseconds; finer resolutions, and powers of two, are cut to whole nanoseconds.
        whole, rest = divmod(1_000_000_000, units)
        self.multiply, self.divide = (1_000_000_000, units) if rest else (whole, 1)
        self.offset = offset_seconds * 1_000_000_000
        self.link = link
        self.snaplen = snaplen

    def ns(self, high: int, low: int) -> int | None:
        ticks = (high << 32) | low
        t = ticks * self.multiply // self.divide + self.offset
        return t if 0 <= t <= cb.MAX_TIME else None


class PcapngParser:
    """Blocks of one pcapng file. `CaptureReader` owns the buffer; this knows only what the bytes mean.

    After `parse`, `used` is how many of its bytes were whole blocks, and `need` how many bytes the next one needs.
    `damaged_options` counts blocks whose option list runs over its end or past the cap: the options before are used.
    """

    def __init__(
        self,
        *,
        max_block: int = cb.MAX_BLOCK,
        max_packet: int = cb.MAX_PACKET,
        max_interfaces: int = MAX_INTERFACES,
        max_options: int = MAX_OPTIONS,
    ) -> None:
        self._max_block = max_block
        self._max_packet = max_packet
        self._max_interfaces = max_interfaces
        self._max_options = max_options
        self._number = 0
        self._interfaces: list[_Timing] = []
        self._order = "<"
        self._set_order("<")
        self._in_section = False
        self.damaged_options = 0
        self.used = 0
        self.need = 12
        self._blocks: dict[int, Callable[[bytes, int, int, int], Block]] = {
            cb.SHB: self._section,
            cb.IDB: self._interface,
            cb.PACKET: self._old_packet,
            cb.SPB: self._simple_packet,
            cb.ISB: self._statistics,
            cb.EPB: self._enhanced_packet,
            cb.DSB: self._secrets,
            cb.CUSTOM: self._custom,
            cb.CUSTOM_NO_COPY: self._custom,
        }

    def parse(self, data: bytes, base: int, out: list[Block]) -> None:
        """Append the whole blocks at the start of `data` to `out`.

        `base` is the position of `data` in the file. Raises DecodeError("pcapng") at a block that cannot be one; what
        stands before it is in `out`.
        """
        pos = 0
        size = len(data)
        blocks = self._blocks
        self.used = 0
        self.need = 12
        while (left := size - pos) >= 12:
            kind, length = self._two_words(data, pos)
            if kind == cb.SHB:  # a palindrome, the same in both byte orders
                self._enter_section(data, pos, base)
                length = self._word(data, pos + 4)[0]
            if length < 12 or length & 3 or length > self._max_block:
                raise DecodeError("pcapng", base + pos + 4, f"block type 0x{kind:08X} claims a length of {length}")
            if not self._in_section:
                raise DecodeError("pcapng", base + pos, "block outside a section")
            if left < length:
                self.need = length
                return
            end = pos + length - 4
            if self._word(data, end)[0] != length:
                raise DecodeError("pcapng", base + end, f"the two lengths of block type 0x{kind:08X} differ")
            read = blocks.get(kind)
            out.append(self._skipped(kind, length) if read is None else read(data, pos + 8, end, base))
            pos += length
            self.used = pos

    def describe(self, data: bytes) -> str:
        """What `data`, the start of an incomplete block, is."""
        if len(data) < 4:
            return "block"
        return f"block type 0x{self._word(data, 0)[0]:08X}"

    def _set_order(self, order: str) -> None:
        self._order = order
        self._word = struct.Struct(order + "I").unpack_from
        self._two_words = struct.Struct(order + "II").unpack_from
        self._option_head = struct.Struct(order + "HH").unpack_from
        self._packet_head = struct.Struct(order + "IIIII").unpack_from

    def _enter_section(self, data: bytes, pos: int, base: int) -> None:
        """Take the byte order from the section header at `pos`, of which at least 12 bytes are there."""
        magic = data[pos + 8 : pos + 12]
        if magic == b"\x4d\x3c\x2b\x1a":
            self._set_order("<")
        elif magic == b"\x1a\x2b\x3c\x4d":
            self._set_order(">")
        else:
            raise DecodeError("pcapng", base + pos + 8, f"byte-order magic is {magic.hex()}")
        self._in_section = True

    def _options(self, data: bytes, pos: int, end: int) -> list[tuple[int, bytes]]:
        """Options between `pos` and `end`. A damaged list gives what stands before the damage: a packet is worth more
        than its comment."""
        if end - pos < 4:
            return _NO_OPTIONS
        found: list[tuple[int, bytes]] = []
        while end - pos >= 4:
            code, length = self._option_head(data, pos)
            if code == cb.OPT_END:
                break
            stop = pos + 4 + length
            if stop > end or len(found) == self._max_options:
                self.damaged_options += 1
                break
            found.append((code, data[pos + 4 : stop]))
            pos = stop + (-length & 3)
        return found

    def _skipped(self, kind: int, length: int) -> Block:
        number = 0
        if kind in cb.NUMBERED_BLOCKS:
            self._number += 1
            number = self._number
        return cb.Skipped(type=kind, length=length, number=number)

    def _section(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 16:
            raise DecodeError("pcapng", base + pos, "section header is too short")
        major, minor = self._option_head(data, pos + 4)
        if major != 1:
            raise DecodeError("pcapng", base + pos + 4, f"section version {major}.{minor} is not 1.x")
        self._interfaces = []
        options = self._options(data, pos + 16, end)
        texts = _texts(options)
        custom = tuple(
            (code, self._word(value, 0)[0], value[4:])
            for code, value in options
            if code in cb.CUSTOM_OPTIONS and len(value) >= 4
        )
        return cb.Section(
            format="pcapng",
            byte_order="little" if self._order == "<" else "big",
            version=(major, minor),
            hardware=texts.get(cb.SHB_HARDWARE, ""),
            os=texts.get(cb.SHB_OS, ""),
            application=texts.get(cb.SHB_USERAPPL, ""),
            comments=_comments(options),
            custom=custom,
        )

    def _interface(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 8:
            raise DecodeError("pcapng", base + pos, "interface description is too short")
        if len(self._interfaces) >= self._max_interfaces:
            raise DecodeError("pcapng", base + pos, f"more than {self._max_interfaces} interfaces in one section")
        link = self._option_head(data, pos)[0]
        snaplen = self._word(data, pos + 4)[0]
        options = self._options(data, pos + 8, end)
        units = 1_000_000
        offset = 0
        capture_filter = ""
        for code, value in options:
            if code == cb.IF_TSRESOL and len(value) == 1:
                units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == cb.IF_TSOFFSET and len(value) == 8:
                offset = int(struct.unpack(self._order + "q", value)[0])
            elif code == cb.IF_FILTER and value[:1] == b"\0":  # 0: the text of a filter, 1: its byte code
                capture_filter = value[1:].decode("utf-8", "replace")
        texts = _texts(options)
        index = len(self._interfaces)
        self._interfaces.append(_Timing(units, offset, link, snaplen))
        return cb.Interface(
            index=index,
            link=link,
            snaplen=snaplen,
            name=texts.get(cb.IF_NAME, ""),
            description=texts.get(cb.IF_DESCRIPTION, ""),
            hardware=texts.get(cb.IF_HARDWARE, ""),
            os=texts.get(cb.IF_OS, ""),
            filter=capture_filter,
            units_per_second=units,
            offset_seconds=offset,
            comments=_comments(options),
        )

    def _enhanced_packet(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 20:
            raise DecodeError("pcapng", base + pos, "enhanced packet block is too short")
        index, high, low, length, wire_len = self._packet_head(data, pos)
        return self._packet(data, pos, end, base, index, high, low, length, wire_len, 0)

    def _old_packet(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 20:
            raise DecodeError("pcapng", base + pos, "packet block is too short")
        _, high, low, length, wire_len = self._packet_head(data, pos)
        index, dropped = self._option_head(data, pos)
        if dropped == 0xFFFF:  # not known
            dropped = 0
        return self._packet(data, pos, end, base, index, high, low, length, wire_len, dropped)

    def _packet(
        self,
        data: bytes,
        pos: int,
        end: int,
        base: int,
        index: int,
        high: int,
        low: int,
        length: int,
        wire_len: int,
        dropped: int,
    ) -> Block:
        if index >= len(self._interfaces):
            raise DecodeError("pcapng", base + pos, f"packet of interface {index}, which is not described")
        start = pos + 20
        stop = start + length
        if stop > end or length > self._max_packet:
            raise DecodeError("pcapng", base + pos + 12, f"packet length {length} does not fit its block")
        interface = self._interfaces[index]
        self._number += 1
        payload = data[start:stop]
        ns = ((high << 32) | low) * interface.multiply // interface.divide + interface.offset
        t = ns if 0 <= ns <= cb.MAX_TIME else None
        after = stop + (-length & 3)
        if end - after < 4:
            return cb.Packet(self._number, t, index, interface.link, payload, wire_len, "", dropped)
        direction = ""
        options = self._options(data, after, end)
        for code, value in options:
            if code == cb.EPB_FLAGS and len(value) == 4:
                direction = _DIRECTIONS[self._word(value, 0)[0] & 3]
            elif code == cb.EPB_DROPCOUNT and len(value) == 8:
                dropped = self._counter(value)
        return cb.Packet(
            self._number, t, index, interface.link, payload, wire_len, direction, dropped, _comments(options)
        )

    def _simple_packet(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if not self._interfaces:
            raise DecodeError("pcapng", base + pos, "simple packet block without an interface")
        if end - pos < 4:
            raise DecodeError("pcapng", base + pos, "simple packet block is too short")
        interface = self._interfaces[0]
        wire_len = self._word(data, pos)[0]
        length = min(wire_len, interface.snaplen) if interface.snaplen else wire_len
        start = pos + 4
        if length > end - start or length > self._max_packet:
            raise DecodeError("pcapng", base + pos, f"packet length {length} does not fit its block")
        self._number += 1
        return cb.Packet(self._number, None, 0, interface.link, data[start : start + length], wire_len)

    def _statistics(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 12:
            raise DecodeError("pcapng", base + pos, "interface statistics block is too short")
        index = self._word(data, pos)[0]
        high, low = self._two_words(data, pos + 4)
        # Wireshark accepts statistics of an interface nobody described; without one their time has no unit.
        interface = self._interfaces[index] if index < len(self._interfaces) else None
        options = self._options(data, pos + 12, end)
        counters: dict[int, int] = {}
        times: dict[int, int | None] = {}
        for code, value in options:
            if len(value) != 8:
                continue
            if code in (cb.ISB_STARTTIME, cb.ISB_ENDTIME):
                times[code] = interface.ns(*self._two_words(value, 0)) if interface else None
            elif cb.ISB_IFRECV <= code <= cb.ISB_USRDELIV:
                counters[code] = self._counter(value)
        return cb.InterfaceStats(
            interface=index,
            t=interface.ns(high, low) if interface else None,
            start=times.get(cb.ISB_STARTTIME),
            end=times.get(cb.ISB_ENDTIME),
            received=counters.get(cb.ISB_IFRECV),
            dropped=counters.get(cb.ISB_IFDROP),
            accepted=counters.get(cb.ISB_FILTERACCEPT),
            os_dropped=counters.get(cb.ISB_OSDROP),
            delivered=counters.get(cb.ISB_USRDELIV),
            comments=_comments(options),
        )

    def _secrets(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 8:
            raise DecodeError("pcapng", base + pos, "decryption secrets block is too short")
        kind, length = self._two_words(data, pos)
        if length > end - pos - 8:
            raise DecodeError("pcapng", base + pos + 4, f"secrets of {length} bytes do not fit their block")
        return cb.Secrets(kind=kind, data=data[pos + 8 : pos + 8 + length])

    def _custom(self, data: bytes, pos: int, end: int, base: int) -> Block:
        if end - pos < 4:
            raise DecodeError("pcapng", base + pos, "custom block is too short")
        self._number += 1
        copy = self._word(data, pos - 8)[0] == cb.CUSTOM
        return cb.Custom(number=self._number, pen=self._word(data, pos)[0], data=data[pos + 4 : end], copy=copy)

    def _counter(self, value: bytes) -> int:
        return int.from_bytes(value, "little" if self._order == "<" else "big")


def _comments(options: list[tuple[int, bytes]]) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for code, value in options if code == cb.OPT_COMMENT)


def _texts(options: list[tuple[int, bytes]]) -> dict[int, str]:
    """Text options by code, the first of each code (readers meet terminating zeros that should not be there)."""
    found: dict[int, str] = {}
    for code, value in options:
        if code not in found and code not in cb.CUSTOM_OPTIONS:
            found[code] = value.rstrip(b"\0").decode("utf-8", "replace")
    return found
