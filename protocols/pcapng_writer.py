"""Writing pcapng (draft-ietf-opsawg-pcapng): each method returns the bytes of one block."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from plugtap.protocols import capture_blocks as cb

_DIRECTION_BITS = {"": 0, "in": 1, "out": 2}
MAX_OPTION = 0xFFFF  # bytes of one option


class PcapngWriter:
    """Blocks of one pcapng file, nanosecond time stamps throughout. Times are ns since the epoch, 0 to `MAX_TIME`.

    A file is the concatenation of what the methods return, `section` first. Every method raises ValueError for what
    the format cannot hold, and then nothing was counted.
    """

    def __init__(self, byte_order: str = "little", *, max_block: int = cb.MAX_BLOCK) -> None:
        """`byte_order`: "little" or "big". Blocks above `max_block` bytes are refused."""
        self._order = {"little": "<", "big": ">"}[byte_order]
        self._max_block = max_block
        self._head = struct.Struct(self._order + "II")
        self._word = struct.Struct(self._order + "I")
        self._packet_head = struct.Struct(self._order + "IIIIIII")
        self._option_head = struct.Struct(self._order + "HH")
        self._interfaces = 0
        self._in_section = False

    @property
    def interfaces(self) -> int:
        """How many interfaces the present section has."""
        return self._interfaces

    def section(
        self,
        *,
        application: str = "",
        hardware: str = "",
        os: str = "",
        comments: Iterable[str] = (),
        custom: Iterable[tuple[int, int, bytes]] = (),
    ) -> bytes:
        """Section header block. `custom`: custom options as (option code, enterprise number, value)."""
        options = self._comment_options(comments)
        for code, text in ((cb.SHB_HARDWARE, hardware), (cb.SHB_OS, os), (cb.SHB_USERAPPL, application)):
            if text:
                options.append((code, text.encode()))
        for code, pen, value in custom:
            if code not in cb.CUSTOM_OPTIONS:
                raise ValueError(f"{code} is not the code of a custom option")
            options.append((code, self._word.pack(pen) + value))
        body = struct.pack(self._order + "IHHq", cb.BYTE_ORDER_MAGIC, 1, 0, -1)
        block = self._block(cb.SHB, body + self._options(options))
        self._interfaces = 0
        self._in_section = True
        return block

    def interface(
        self,
        link: int,
        name: str = "",
        *,
        description: str = "",
        hardware: str = "",
        os: str = "",
        capture_filter: str = "",
        snaplen: int = cb.MAX_PACKET,
        comments: Iterable[str] = (),
    ) -> bytes:
        """Interface description block; its index is the value `interfaces` had before."""
        self._need_section()
        if not 0 <= link <= 0xFFFF or not 0 <= snaplen <= 0xFFFFFFFF:
            raise ValueError(f"link type {link} or snap length {snaplen} out of range")
        options = self._comment_options(comments)
        for code, text in (
            (cb.IF_NAME, name),
            (cb.IF_DESCRIPTION, description),
            (cb.IF_HARDWARE, hardware),
            (cb.IF_OS, os),
        ):
            if text:
                options.append((code, text.encode()))
        options.append((cb.IF_TSRESOL, b"\x09"))
        if capture_filter:
            options.append((cb.IF_FILTER, b"\0" + capture_filter.encode()))
        body = struct.pack(self._order + "HHI", link, 0, snaplen)
        block = self._block(cb.IDB, body + self._options(options))
        self._interfaces += 1
        return block

    def packet(
        self,
        interface: int,
        t: int,
        data: bytes,
        *,
        wire_len: int | None = None,
        direction: str = "",
        dropped: int = 0,
        comments: Iterable[str] = (),
    ) -> bytes:
        """Enhanced packet block. `wire_len` None: as long as `data`. `dropped`: packets lost since the one before."""
        self._need_interface(interface)
        _check_time(t)
        length = len(data)
        if length > cb.MAX_PACKET:
            raise ValueError(f"packet of {length} bytes is above {cb.MAX_PACKET}")
        if wire_len is None:
            wire_len = length
        options = self._comment_options(comments)
        if direction:
            options.append((cb.EPB_FLAGS, self._word.pack(_DIRECTION_BITS[_check_direction(direction)])))
        if dropped:
            options.append((cb.EPB_DROPCOUNT, self._counter(dropped)))
        tail = self._options(options) if options else b""
        padding = -length & 3
        total = 32 + length + padding + len(tail)
        if total > self._max_block or not 0 <= wire_len <= 0xFFFFFFFF:
            raise ValueError(f"packet block of {total} bytes, or length on the wire {wire_len}, out of range")
        head = self._packet_head.pack(cb.EPB, total, interface, t >> 32, t & 0xFFFFFFFF, length, wire_len)
        return b"".join((head, data, b"\0\0\0"[:padding], tail, self._word.pack(total)))

    def stats(
        self,
        interface: int,
        t: int,
        *,
        start: int | None = None,
        end: int | None = None,
        received: int | None = None,
        dropped: int | None = None,
        comments: Iterable[str] = (),
    ) -> bytes:
        """Interface statistics block. May stand anywhere and gets no frame number in Wireshark."""
        self._need_interface(interface)
        _check_time(t)
        options = self._comment_options(comments)
        for code, time in ((cb.ISB_STARTTIME, start), (cb.ISB_ENDTIME, end)):
            if time is not None:
                _check_time(time)
                options.append((code, self._head.pack(time >> 32, time & 0xFFFFFFFF)))
        for code, count in ((cb.ISB_IFRECV, received), (cb.ISB_IFDROP, dropped)):
            if count is not None:
                options.append((code, self._counter(count)))
        body = self._word.pack(interface) + self._head.pack(t >> 32, t & 0xFFFFFFFF)
        return self._block(cb.ISB, body + (self._options(options) if options else b""))

    def secrets(self, kind: int, data: bytes) -> bytes:
        """Decryption secrets block; it must stand before the packets it is for."""
        self._need_section()
        return self._block(cb.DSB, self._head.pack(kind, len(data)) + data)

    def custom(self, pen: int, data: bytes, *, copy: bool = True) -> bytes:
        """Custom block. Wireshark counts it as a frame, so before packets it shifts their numbers.

        Readers see `data` padded with zeros to a multiple of four: it has to tell its own length.
        """
        self._need_section()
        return self._block(cb.CUSTOM if copy else cb.CUSTOM_NO_COPY, self._word.pack(pen) + data)

    def _need_section(self) -> None:
        if not self._in_section:
            raise ValueError("a pcapng file starts with a section")

    def _need_interface(self, index: int) -> None:
        if not 0 <= index < self._interfaces:
            raise ValueError(f"interface {index} is not described in this section")

    def _block(self, kind: int, body: bytes) -> bytes:
        padding = -len(body) & 3
        total = 12 + len(body) + padding
        if total > self._max_block:
            raise ValueError(f"block of {total} bytes is above {self._max_block}")
        return b"".join((self._head.pack(kind, total), body, b"\0\0\0"[:padding], self._word.pack(total)))

    def _comment_options(self, comments: Iterable[str]) -> list[tuple[int, bytes]]:
        return [(cb.OPT_COMMENT, comment.encode()) for comment in comments]

    def _options(self, options: list[tuple[int, bytes]]) -> bytes:
        if not options:
            return b""
        parts: list[bytes] = []
        for code, value in options:
            if len(value) > MAX_OPTION:
                raise ValueError(f"option {code} of {len(value)} bytes is above {MAX_OPTION}")
            parts += (self._option_head.pack(code, len(value)), value, b"\0\0\0"[: -len(value) & 3])
        parts.append(b"\0\0\0\0")
        return b"".join(parts)

    def _counter(self, value: int) -> bytes:
        if not 0 <= value < 1 << 64:
            raise ValueError(f"counter {value} out of range")
        return struct.pack(self._order + "Q", value)


def _check_time(t: int) -> None:
    if not 0 <= t <= cb.MAX_TIME:
        raise ValueError(f"time {t} ns out of range")


def _check_direction(direction: str) -> str:
    if direction not in _DIRECTION_BITS:
        raise ValueError(f"direction {direction!r} is neither in nor out")
    return direction
