"""Hostile files: any damage gives blocks or DecodeError and nothing else, in bounded memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from capture_lab import ETHERNET, PEN, T, block, enhanced, interface, option, pcap, read, section
from hypothesis import given, settings
from hypothesis import strategies as st

from plugtap.protocols import archive
from plugtap.protocols.capture_blocks import Packet
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.item_decoder import ItemDecoder
from plugtap.protocols.items import CpRecord, Frame, TapEvent, Tick


def _archive() -> bytes:
    encoder = archive.ArchiveEncoder(archive.ArchiveHeader("s", "t", "r", settings=b'{"a":1}'))
    parts = [encoder.start()]
    for item in (
        Frame(T, 0, ETHERNET, lost=3),
        CpRecord(T, 0, 9000, -12000, 500, 10000, pp_mv=1),
        TapEvent(T, 0, "plc", "drop", values={"frames": 3}),
        Tick(T + 1),
    ):
        parts.append(encoder.encode(item)[1])
    return b"".join([*parts, encoder.seal(b"{}")])


def _everything() -> bytes:
    data = section(option(1, b"note") + option(2988, PEN + b"x") + option(0, b""))
    data += interface(1, option(2, b"plc") + option(9, b"\x09")) + interface(147, option(2, b"cp"))
    data += enhanced(T, options=option(2, b"\1\0\0\0") + option(4, bytes(8)) + option(1, b"hi"))
    data += block(3, struct.pack("<I", 4) + b"abcd") + block(2, struct.pack("<HHIIII", 0, 1, 0, 5, 3, 3) + b"abc")
    data += block(5, struct.pack("<III", 0, 1, 2) + option(4, bytes(8)) + option(2, bytes(8)))
    data += block(10, struct.pack("<II", 1, 4) + b"abcd") + block(0xBAD, PEN + b"hello") + block(4, bytes(4))
    big = section(option(4, b"big", ">"), ">") + interface(113, option(14, bytes(8), ">"), ">")
    return data + big + enhanced(7, order=">")


SEEDS = [
    _archive(),
    _everything(),
    pcap([(1, 2, ETHERNET), (3, 4, b""), (5, 6, b"abc")]),
    pcap([(1, 2, ETHERNET)], 0xA1B2CD34, ">"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "byte", "word", "cut", "insert", "remove", "zero"]))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "word":
            data[at : at + 4] = struct.pack("<I", draw(st.sampled_from([0, 4, 11, 12, 16, 0xFFFFFFFF, 1 << 24, 6])))
        elif how == "cut":
            del data[at:]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif how == "remove":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "zero":
            data[at : at + 16] = bytes(len(data[at : at + 16]))
    return bytes(data)


def check(data: bytes) -> None:
    """Reading must end in blocks or DecodeError, the same however the bytes come, and the blocks must make items."""
    blocks, error = read(data)
    again, same = read(data, 1)
    assert again == blocks
    assert (error is None) == (same is None)
    if error is not None and same is not None:
        assert (error.layer, error.offset, error.reason) == (same.layer, same.offset, same.reason)
        assert 0 <= error.offset <= len(data)
    decoder = ItemDecoder()
    items = decoder.decode(blocks)
    numbers = [item.number for item in items if not isinstance(item, Tick)]
    assert numbers == sorted(set(numbers))
    assert decoder.facts.frames >= len(numbers)


@settings(max_examples=400)
@given(damaged())
def test_damage_gives_blocks_or_decode_error(data: bytes) -> None:
    check(data)


@given(st.binary(max_size=300), st.sampled_from([b"", *(seed[:28] for seed in SEEDS)]))
def test_any_bytes_give_blocks_or_decode_error(data: bytes, start: bytes) -> None:
    check(start + data)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(damaged())
def test_much_damage_gives_blocks_or_decode_error(data: bytes) -> None:
    check(data)


def test_every_cut_of_an_archive_keeps_the_items_before_it() -> None:
    whole = _archive()
    all_items = ItemDecoder().decode(read(whole)[0])
    for end in range(4, len(whole)):
        blocks, error = read(whole[:end])
        assert error is None
        items = ItemDecoder().decode(blocks)
        assert items == all_items[: len(items)]


def peak(data: bytes, times: int) -> int:
    """Most bytes allocated while `data` is fed `times` times and the blocks are dropped."""
    reader = CaptureReader()
    tracemalloc.start()
    try:
        for _ in range(times):
            reader.feed(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    piece = section() + interface() + enhanced(1, bytes(1000)) * 50
    assert peak(piece, 200) < 2 * peak(piece, 2) + 10_000


def test_a_claimed_length_allocates_nothing() -> None:
    claims = section() + interface() + struct.pack("<II", 6, 16 << 20) + bytes(100)
    assert peak(claims, 1) < 100_000
    giant = pcap([]) + struct.pack("<IIII", 0, 0, 262144, 262144)
    assert peak(giant, 1) < 100_000


def test_a_block_of_options_only_stays_small() -> None:
    """Four million empty options fit a block of 16 MiB: far more objects than bytes."""
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, b"") * 1_000_000
    data = block(0x0A0D0D0A, body)
    assert peak(data, 1) < 3 * len(data)


@pytest.mark.slow
def test_real_captures_with_damage_give_blocks_or_decode_error(captures: Path) -> None:
    for path in sorted((captures / "files").rglob("*"))[::7]:
        if path.is_file() and path.stat().st_size < 200_000:
            data = path.read_bytes()
            for at in range(0, len(data), max(len(data) // 40, 1)):
                blocks, error = read(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
                assert error is None or error.layer in ("pcap", "pcapng", "capture")
                assert all(isinstance(item, Packet) or item is not None for item in blocks)
                ItemDecoder().decode(blocks)
