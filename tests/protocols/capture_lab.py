"""Capture bytes made by hand, independent of plugtap's writer, and tshark as the judge of both."""

from __future__ import annotations

import shutil
import struct
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from plugtap.protocols.capture_blocks import Block, Packet
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.errors import DecodeError

T = 1_700_000_000_123_456_789  # 2023-11-14
ETHERNET = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x88\xe1" + b"\x01" * 46
PEN = struct.pack("<I", 32473)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(options: bytes = b"", order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(ticks: int, data: bytes = ETHERNET, index: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def pcap(records: list[tuple[int, int, bytes]], magic: int = 0xA1B2C3D4, order: str = "<", link: int = 1) -> bytes:
    """A pcap file; `records` are (seconds, fraction, data)."""
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for seconds, fraction, data in records:
        parts += [struct.pack(order + "IIII", seconds, fraction, len(data), len(data))]
        if magic == 0xA1B2CD34:  # interface index, protocol, packet type, padding
            parts += [struct.pack(order + "IHBB", 1, 0x88E1, 0, 0)]
        parts += [data]
    return b"".join(parts)


def read(data: bytes, piece: int = 0, reader: CaptureReader | None = None) -> tuple[list[Block], DecodeError | None]:
    """All blocks of a file, fed whole or in pieces, and the error that ended it."""
    reader = reader or CaptureReader()
    found: list[Block] = []
    try:
        for begin in range(0, len(data), piece or max(len(data), 1)):
            found += reader.feed(data[begin : begin + (piece or len(data))])
        found += reader.close()
    except DecodeError as error:
        return found, error
    return found, None


def packets(data: bytes) -> list[Packet]:
    """The packets of an undamaged file."""
    blocks, error = read(data)
    assert error is None
    return [one for one in blocks if isinstance(one, Packet)]


def tool(name: str) -> str:
    """Path of a Wireshark program; skips the test when it is absent."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (make setup installs it)")
    return path


def run(name: str, *arguments: str | Path) -> str:
    """Output of a Wireshark program that must succeed."""
    done = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Seen(NamedTuple):
    """A frame as tshark sees it."""

    number: int
    t: int | None
    wire_len: int
    length: int
    md5: str


def tshark_frames(path: Path) -> list[Seen]:
    """The frames tshark reads; a file cut within a frame is no error."""
    command = [tool("tshark"), "-r", str(path), "-o", "frame.generate_md5_hash:TRUE", "--disable-protocol", "eth"]
    # (What is in the frames does not matter here, and without dissection tshark is thrice as fast.)
    command += ["-T", "fields", "-E", "separator=|"]
    for name in ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.md5_hash"):
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    frames = []
    for line in done.stdout.splitlines():
        number, time, wire_len, length, md5 = line.split("|")
        t = int(Decimal(time) * 1_000_000_000) if time else None
        frames.append(Seen(int(number), t, int(wire_len), int(length), md5))
    return frames
