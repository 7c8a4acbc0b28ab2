"""Captures from files, folders and standard input; gzip is recognised by content."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol

from plugtap.hw.errors import SourceError
from plugtap.protocols.capture_blocks import Truncated
from plugtap.protocols.capture_reader import CaptureReader, is_capture
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.item_decoder import CaptureFacts, ItemDecoder
from plugtap.protocols.items import Item

Progress = Callable[[int, int | None], None]
"""Called with the bytes read from the file so far and its size (None: not known, as of a pipe)."""

CHUNK = 1 << 18
SUFFIXES = (".pcap", ".pcapng", ".cap", ".dump", ".pcap.gz", ".pcapng.gz")

_GZIP = b"\x1f\x8b\x08"
# Other packed files, and the command that unpacks them.
_PACKED = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"\xfd7zXZ\x00": ("xz", "xz -d"),
    b"BZh": ("bzip2", "bzip2 -d"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7z", "7z x"),
}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...

    def close(self) -> None: ...


class _Standard:
    """Standard input, giving what is there without waiting for a full chunk. Not closed: it is not ours."""

    def read(self, size: int, /) -> bytes:
        stream = sys.stdin.buffer
        data: bytes = getattr(stream, "read1", stream.read)(size)
        return data

    def close(self) -> None:
        pass


class CaptureStream:
    """The bytes of a capture, unpacked, in chunks of about `CHUNK`; iterate once. Raises SourceError.

    `cut` is set when a gzip file ends before its end. Iterating to the end, an error, or `close` closes the file.
    """

    def __init__(self, name: str, source: _Readable, total: int | None, progress: Progress | None) -> None:
        self.name = name
        self.total = total
        self.bytes_read = 0
        self.cut = False
        self._source = source
        self._progress = progress
        self._chunks = self._unpacked()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Close the file; nothing comes after."""
        self._chunks.close()
        self._source.close()

    def _read(self) -> bytes:
        try:
            data = self._source.read(CHUNK) or b""
        except OSError as error:
            reason = f"reading failed after {self.bytes_read} bytes: {error.strerror}"
            raise SourceError(self.name, reason, "what stands before was read") from error
        self.bytes_read += len(data)
        if data and self._progress is not None:
            self._progress(self.bytes_read, self.total)
        return data

    def _unpacked(self) -> Generator[bytes]:
        try:
            first = self._read()
            while first and len(first) < 6 and (more := self._read()):  # a pipe may begin with a single byte
                first += more
            for magic, (what, command) in _PACKED.items():
                if first.startswith(magic):
                    raise SourceError(self.name, f"is packed with {what}", f"unpack it first: {command}")
            if first.startswith(_GZIP):
                yield from self._gunzip(first)
                return
            while first:
                yield first
                first = self._read()
        finally:
            self._source.close()

    def _gunzip(self, data: bytes) -> Generator[bytes]:
        """Members of a gzip file, one after the other, never more than `CHUNK` unpacked bytes at a time."""
        member = zlib.decompressobj(wbits=31)
        while True:
            before = member.copy()
            try:
                piece = member.decompress(data, CHUNK)
            except zlib.error as error:
                yield from _before_damage(before, data)
                reason = f"gzip data is damaged before byte {self.bytes_read}: {error}"
                raise SourceError(self.name, reason, "what stands before the damage was read") from None
            if piece:
                yield piece
            data = member.unconsumed_tail
            if member.eof:
                data = self._next_member(member.unused_data)
                if not data:
                    return
                member = zlib.decompressobj(wbits=31)
            elif not data:
                data = self._read()
                if not data and not piece:
                    self.cut = True
                    return

    def _next_member(self, rest: bytes) -> bytes:
        """What begins the next gzip member, after `rest` and zeros of padding; nothing if no member follows."""
        while len(rest := rest.lstrip(b"\0")) < len(_GZIP) and (more := self._read()):
            rest += more
        return rest if rest.startswith(_GZIP) else b""


def _before_damage(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What can still be unpacked of `data`, byte by byte up to the damage: zlib gives nothing of a call that fails."""
    with contextlib.suppress(zlib.error):
        for at in range(len(data)):
            if piece := member.decompress(data[at : at + 1]):
                yield piece


def open_capture(path: str, progress: Progress | None = None) -> CaptureStream:
    """Open a capture file, or standard input for ``-``. Raises SourceError if that cannot be."""
    if path == "-":
        if sys.stdin is None:
            raise SourceError("standard input", "is closed", "pipe a capture into it, as tcpdump -w - does")
        if sys.stdin.isatty():
            raise SourceError("standard input", "is a terminal", "pipe a capture into it, as tcpdump -w - does")
        return CaptureStream("standard input", _Standard(), None, progress)
    try:
        source = io.FileIO(path)
    except FileNotFoundError:
        raise SourceError(path, "there is no such file") from None
    except IsADirectoryError:
        raise SourceError(path, "is a folder") from None
    except PermissionError:
        raise SourceError(path, "may not be read", "archives are readable for their owner and group") from None
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    status = os.fstat(source.fileno())
    return CaptureStream(path, source, status.st_size if stat.S_ISREG(status.st_mode) else None, progress)


class ItemReader:
    """Items of a capture, and its facts so far. Iterate once.

    What can be read is delivered first; then damage, or a file that is no capture, raises SourceError. A file that ends
    within a block is no error: `facts.truncated` tells it.
    """

    def __init__(self, stream: CaptureStream, reader: CaptureReader | None = None) -> None:
        self.stream = stream
        self._reader = reader or CaptureReader()
        self._decoder = ItemDecoder()
        self._items = self._read()

    def __iter__(self) -> Iterator[Item]:
        return self._items

    @property
    def facts(self) -> CaptureFacts:
        """What the capture says beside its items, as far as it was read."""
        return self._decoder.facts

    @property
    def offset(self) -> int:
        """Bytes of the (unpacked) file that complete blocks cover, as far as it was read."""
        return self._reader.offset

    def close(self) -> None:
        """Close the file; no items come after."""
        self._items.close()
        self.stream.close()

    def _read(self) -> Generator[Item]:
        try:
            for chunk in self.stream:
                yield from self._decoder.decode(self._reader.feed(chunk))
            yield from self._decoder.decode(self._reader.close())
        except DecodeError as error:
            if error.layer == "capture":
                raise SourceError(self.stream.name, error.reason, "captures are pcap or pcapng files") from None
            raise SourceError(
                self.stream.name,
                f"damaged at byte {error.offset}: {error.reason}",
                "what stands before the damage was read",
            ) from None
        finally:
            self.stream.close()
        if self.stream.cut and self.facts.truncated is None:
            self._decoder.decode([Truncated(self._reader.offset, "gzip stream", 0, 1)])


def read_items(path: str, progress: Progress | None = None) -> ItemReader:
    """Items of the capture at `path` (``-``: standard input). Raises SourceError, here or while iterating."""
    return ItemReader(open_capture(path, progress))


def find_captures(paths: Iterable[str]) -> list[str]:
    """The captures that `paths` name: files (and ``-``) as they are, folders searched with everything below them.

    In folders a capture is what has one of `SUFFIXES` or begins as one, gzip included; they come sorted by path. A file
    named twice comes once. What is missing or may not be read stays in the list, for opening it to say why.
    """
    found: list[str] = []
    seen: set[str] = set()
    for path in paths:
        for candidate in _walk(path) if os.path.isdir(path) else (path,):
            key = candidate if candidate == "-" else os.path.realpath(candidate)
            if key not in seen:
                seen.add(key)
                found.append(candidate)
    return found


def _walk(folder: str) -> Iterator[str]:
    unreadable: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(str(error.filename))):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(parent, name)
            if _looks_like_capture(path):
                yield path
    yield from unreadable


def _looks_like_capture(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would wait for its writer
            return False
        if path.lower().endswith(SUFFIXES):
            return True
        with open(path, "rb", buffering=0) as source:
            start = source.read(512)
    except OSError:
        return False
    if start.startswith(_GZIP):
        with contextlib.suppress(zlib.error):
            start = zlib.decompressobj(wbits=31).decompress(start, 4)
    return is_capture(start)
