"""Bytes of a capture file to blocks, whatever its format and however the bytes arrive."""

from __future__ import annotations

from plugtap.protocols import pcap, pcapng
from plugtap.protocols.capture_blocks import MAX_BLOCK, MAX_PACKET, Block, Truncated
from plugtap.protocols.errors import DecodeError


def is_capture(start: bytes) -> bool:
    """Whether `start` (four bytes or more) begins a capture that `CaptureReader` reads."""
    return start[:4] == pcapng.MAGIC or start[:4] in pcap.MAGICS


class CaptureReader:
    """Push parser for pcap and pcapng, told apart by their first bytes.

    `feed` any pieces of the file and `close` at its end; both return the blocks that became complete. Damage raises
    DecodeError (layer ``pcap``, ``pcapng`` or, when it is neither, ``capture``; the offset is that in the file), always
    after the blocks before it were returned: if there are any, by the next call. From then on every `feed` raises.
    A file that ends within a block gives `Truncated` from `close`.

    Memory stays below a small multiple of `max_block` bytes and the piece fed, whatever the file claims.
    """

    def __init__(
        self,
        *,
        max_block: int = MAX_BLOCK,
        max_packet: int = MAX_PACKET,
        max_interfaces: int = pcapng.MAX_INTERFACES,
        max_options: int = pcapng.MAX_OPTIONS,
    ) -> None:
        """Caps: bytes of a block, bytes of a packet, interfaces of a section, options of a block."""
        self._max_block = max_block
        self._max_packet = max_packet
        self._max_interfaces = max_interfaces
        self._max_options = max_options
        self._parser: pcap.PcapParser | pcapng.PcapngParser | None = None
        self._buffer = bytearray()
        self._need = 4
        self._error: DecodeError | None = None
        self._raised = False
        self.offset = 0

    # `offset`: bytes of the file that complete blocks cover; where an interrupted file can be cut and written on.

    @property
    def damaged_options(self) -> int:
        """Blocks that had a damaged list of options, or too many."""
        return self._parser.damaged_options if isinstance(self._parser, pcapng.PcapngParser) else 0

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that `data`, the next bytes of the file, completes. Raises DecodeError."""
        if self._error is not None:
            raise self._failure(self._error)
        self._buffer += data
        if len(self._buffer) < self._need:
            return []
        found: list[Block] = []
        piece = bytes(self._buffer)
        try:
            if self._parser is None:
                self._parser = self._detect(piece)
            self._parser.parse(piece, self.offset, found)
        except DecodeError as error:
            self._error = error
            self._buffer = bytearray()
            self.offset += self._parser.used if self._parser else 0
            if not found:
                raise self._failure(error) from None
            return found
        self._need = self._parser.need
        self.offset += self._parser.used
        del self._buffer[: self._parser.used]
        return found

    def close(self) -> list[Block]:
        """End of the file: `Truncated` if it ends within a block. Raises DecodeError that was not raised yet, or when
        the file is empty or too short to tell what it is."""
        if self._error is not None:
            if self._raised:
                return []
            raise self._failure(self._error)
        if self._parser is None:
            reason = f"too short to be a capture ({len(self._buffer)} bytes)" if self._buffer else "empty"
            raise self._failure(DecodeError("capture", 0, reason))
        if not self._buffer:
            return []
        rest = bytes(self._buffer)
        self._buffer = bytearray()
        return [Truncated(offset=self.offset, what=self._parser.describe(rest), have=len(rest), need=self._need)]

    def _detect(self, start: bytes) -> pcap.PcapParser | pcapng.PcapngParser:
        if start[:4] == pcapng.MAGIC:
            return pcapng.PcapngParser(
                max_block=self._max_block,
                max_packet=self._max_packet,
                max_interfaces=self._max_interfaces,
                max_options=self._max_options,
            )
        if start[:4] in pcap.MAGICS:
            return pcap.PcapParser(start[:4], max_packet=self._max_packet)
        raise DecodeError("capture", 0, f"neither pcap nor pcapng (starts with {start[:4].hex()})")

    def _failure(self, error: DecodeError) -> DecodeError:
        """A fresh exception of the same content, for an exception that is raised twice collects tracebacks."""
        self._raised = True
        if self._error is None:
            self._error = error
        return DecodeError(error.layer, error.offset, error.reason)
