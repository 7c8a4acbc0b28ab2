"""Damaged and random input gives a value or a DecodeError, the same in both builds, and in bounded time."""

from __future__ import annotations

import time
from functools import cache
from random import Random
from typing import Any

import pytest
from exi_bare import bare
from exi_contents import Maker, messages
from hypothesis import given, settings
from hypothesis import strategies as st

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi import build, tables
from plugtap.protocols.exi.decoder import MAX_DEPTH, MAX_ENTRIES
from plugtap.protocols.exi.result import Decoded
import contextlib

PLACES = [(schema, name) for schema in exi.SCHEMAS for name in messages(schema)]


@cache
def grammars(schema: str) -> list[Any]:
    return [tables.load(schema, engine) for engine in (bare(), build.plain, build.compiled) if engine is not None]


def outcome(grammar: Any, data: bytes) -> tuple[Any, ...]:
    try:
        decoded = grammar.decode(data, MAX_DEPTH, MAX_ENTRIES)
    except DecodeError as error:
        assert error.layer == "exi"
        assert 0 <= error.offset <= 8 * len(data)
        return error.offset, error.path, error.reason, error.partial
    assert isinstance(decoded, Decoded)
    return decoded.content, decoded.message, decoded.notes, decoded.trailing


def check(schema: str, data: bytes) -> None:
    first, *others = [outcome(grammar, data) for grammar in grammars(schema)]
    for other in others:
        assert other == first


def check_all_ways(schema: str, data: bytes) -> None:
    check(schema, data)
    for decode in (exi.decode, exi.decode_fragment):
        with contextlib.suppress(DecodeError):
            decode(schema, data)
    exi.guess(data)


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), seed=st.integers(0, 1 << 30), flips=st.lists(st.integers(0, 1 << 20), min_size=1, max_size=4))
def test_flipped_bits(place: tuple[str, str], seed: int, flips: list[int]) -> None:
    data = bytearray(exi.encode(place[0], Maker(place[0], Random(seed)).message(place[1])))
    for flip in flips:
        bit = 8 + flip % (8 * len(data) - 8) if len(data) > 1 else 0
        data[bit >> 3] ^= 128 >> (bit & 7)
    check_all_ways(place[0], bytes(data))


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(PLACES), seed=st.integers(0, 1 << 30), cut=st.floats(0, 1))
def test_cut_anywhere(place: tuple[str, str], seed: int, cut: float) -> None:
    data = exi.encode(place[0], Maker(place[0], Random(seed)).message(place[1]))
    check_all_ways(place[0], data[: int(cut * len(data))])


@settings(max_examples=150, deadline=None)
@given(schema=st.sampled_from(exi.SCHEMAS), data=st.binary(max_size=200))
def test_random_bytes(schema: str, data: bytes) -> None:
    check_all_ways(schema, data)
    check_all_ways(schema, b"\x80" + data)


@pytest.mark.parametrize("schema", exi.FRAGMENT_SCHEMAS)
def test_every_root_with_random_content(schema: str) -> None:
    """The event code of each root in turn, so that no type is left out by chance."""
    random = Random(schema)
    roots = len(tables.read(schema).roots)
    width = roots.bit_length()
    for root in range(1 << width):
        for _ in range(4):
            bits = (0x80 << width | root) << 400 | random.getrandbits(400 - random.choice([0, 200, 380]))
            check(schema, (bits << (-(8 + width)) % 8).to_bytes((8 + width + 400 + 7) // 8, "big"))


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x55", b"\xaa", b"\x80", b"\x01"])
def test_long_input_ends_in_time(fill: bytes) -> None:
    """64 KiB of one pattern: no quadratic work, and no more entries than allowed."""
    for schema in exi.SCHEMAS:
        for start in range(0, 256, 3):
            data = bytes((0x80, start)) + fill * 65_534
            before = time.process_time()
            for grammar in grammars(schema)[-1:]:
                outcome(grammar, data)
            assert time.process_time() - before < 2


def test_string_table_hits_are_not_searched() -> None:
    """Thousands of literals, then thousands of hits: the partitions are looked up, not searched."""
    count = 5000
    root = next(i for i, (local, _) in enumerate(tables.read("din").elements) if local == "ListOfRootCertificateIDs")
    parts = [(0x80, 8), (root, 8)]
    for index in range(2 * count):
        parts += [(0, 1 if index == 0 else 2), (0, 1)]
        if index < count:
            parts += [(4, 8), (32 + index % 90, 8), (32 + index // 90, 8)]
        else:
            parts += [(0, 8), (index - count, (count - 1).bit_length())]
        parts += [(0, 1)]
    parts += [(1, 2), (246, 8)]
    bits = "".join(format(value, f"0{width}b") for value, width in parts)
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    for grammar in grammars("din"):
        before = time.process_time()
        found = grammar.decode_fragment(data, MAX_DEPTH, MAX_ENTRIES)["ListOfRootCertificateIDs"]["RootCertificateID"]
        assert found[:count] == found[count:] == [chr(32 + i % 90) + chr(32 + i // 90) for i in range(count)]
        assert time.process_time() - before < 1
