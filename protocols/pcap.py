"""Classic pcap files (draft-ietf-opsawg-pcap): micro- and nanoseconds, both byte orders, Kuznetzov's variant."""

from __future__ import annotations

import struct

from plugtap.protocols.capture_blocks import MAX_PACKET, Block, Interface, Packet, Section
from plugtap.protocols.errors import DecodeError

# First four bytes -> byte order, time stamp units per second, length of a record header.
# Kuznetzov's patched libpcap of 1999 (magic a1b2cd34) appends interface, protocol and packet type to record headers.
MAGICS: dict[bytes, tuple[str, int, int]] = {
    b"\xd4\xc3\xb2\xa1": ("little", 1_000_000, 16),
    b"\xa1\xb2\xc3\xd4": ("big", 1_000_000, 16),
    b"\x4d\x3c\xb2\xa1": ("little", 1_000_000_000, 16),
    b"\xa1\xb2\x3c\x4d": ("big", 1_000_000_000, 16),
    b"\x34\xcd\xb2\xa1": ("little", 1_000_000, 24),
    b"\xa1\xb2\xcd\x34": ("big", 1_000_000, 24),
}

FILE_HEADER = 24


class PcapParser:
    """Records of one pcap file. `CaptureReader` owns the buffer; this knows only what the bytes mean.

    After `parse`, `used` is how many of its bytes were whole records, and `need` how many bytes the next one needs.
    """

    def __init__(self, magic: bytes, *, max_packet: int = MAX_PACKET) -> None:
        """`magic`: the first four bytes of the file, a key of `MAGICS`."""
        order, self._units, self._record = MAGICS[magic]
        self._order = order
        self._max_packet = max_packet
        self._header = struct.Struct(("<" if order == "little" else ">") + "IIII")
        self._minor = 0
        self._link = 0
        self._number = 0
        self._started = False
        self.used = 0
        self.need = FILE_HEADER

    def parse(self, data: bytes, base: int, out: list[Block]) -> None:
        """Append the whole records at the start of `data` to `out`.

        `base` is the position of `data` in the file. Raises DecodeError("pcap") at a record that cannot be one; what
        stands before it is in `out`.
        """
        pos = 0
        size = len(data)
        self.used = 0
        if not self._started:
            if size < FILE_HEADER:
                return
            self._file_header(data, out)
            pos = FILE_HEADER
        record = self._record
        limit = self._max_packet
        unpack = self._header.unpack_from
        nanos = 1_000_000_000 // self._units
        link = self._link
        number = self._number
        need = record
        try:
            while size - pos >= record:
                seconds, fraction, length, wire_len = unpack(data, pos)
                if self._minor < 3 or (self._minor == 3 and length > wire_len):
                    # libpcap before 0.4 (file versions below 2.3) had the two lengths the other way round
                    length, wire_len = wire_len, length
                if length > limit:
                    raise DecodeError("pcap", base + pos + 8, f"packet length {length} is above {limit}")
                start = pos + record
                end = start + length
                if end > size:
                    need = record + length
                    break
                number += 1
                t = seconds * 1_000_000_000 + fraction * nanos
                out.append(Packet(number, t, 0, link, data[start:end], wire_len))
                pos = end
        finally:
            self._number = number
            self.used = pos
            self.need = need

    def describe(self, data: bytes) -> str:
        """What `data`, the start of an incomplete record, is."""
        return "packet record" if self._started else "pcap file header"

    def _file_header(self, data: bytes, out: list[Block]) -> None:
        order = "<" if self._order == "little" else ">"
        major, minor, snaplen, link = struct.unpack_from(order + "4xHH8xII", data)
        if major != 2:
            raise DecodeError("pcap", 4, f"file version {major}.{minor} is not 2.x")
        self._minor = minor
        self._link = link & 0x03FFFFFF  # the bits above tell the length of a frame check sequence
        self._started = True
        out.append(Section(format="pcap", byte_order=self._order, version=(major, minor)))
        out.append(Interface(index=0, link=self._link, snaplen=snaplen, units_per_second=self._units))
