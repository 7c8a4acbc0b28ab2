"""What the writer writes, the reader reads back: any content, either byte order, whole or byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
from capture_lab import T, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugtap.protocols import capture_blocks as cb
from plugtap.protocols.capture_blocks import Block, Custom, Interface, InterfaceStats, Packet, Secrets, Section
from plugtap.protocols.pcapng_writer import PcapngWriter

times = st.integers(0, cb.MAX_TIME)
counters = st.integers(0, (1 << 64) - 1)
# Readers strip terminating zeros from texts: some writers put them there.
texts = st.text(max_size=20).map(lambda text: text.rstrip("\0"))
comments = st.lists(st.text(max_size=20), max_size=3).map(tuple)
custom_options = st.lists(
    st.tuples(st.sampled_from(sorted(cb.CUSTOM_OPTIONS)), st.integers(0, (1 << 32) - 1), st.binary(max_size=30)),
    max_size=3,
).map(tuple)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[Block]]:
    """A pcapng file, and the blocks it consists of."""
    parts: list[bytes] = []
    expected: list[Block] = []
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.sampled_from(["little", "big"]))
        writer = PcapngWriter(order)
        facts: dict[str, Any] = {
            "application": draw(texts),
            "hardware": draw(texts),
            "os": draw(texts),
            "comments": draw(comments),
            "custom": draw(custom_options),
        }
        parts.append(writer.section(**facts))
        expected.append(Section("pcapng", order, (1, 0), **facts))
        links: list[int] = []
        for _ in range(draw(st.integers(0, 8))):
            kind = draw(st.sampled_from(["interface", "packet", "stats", "secrets", "custom"]))
            if kind == "interface" or (kind in ("packet", "stats") and not links):
                about: dict[str, Any] = {name: draw(texts) for name in ("name", "description", "hardware", "os")}
                link, snaplen, wanted = draw(st.integers(0, 65535)), draw(st.integers(0, (1 << 32) - 1)), draw(texts)
                remarks = draw(comments)
                expected.append(
                    Interface(
                        len(links),
                        link,
                        snaplen,
                        filter=wanted,
                        units_per_second=1_000_000_000,
                        comments=remarks,
                        **about,
                    )
                )
                parts.append(writer.interface(link, snaplen=snaplen, capture_filter=wanted, comments=remarks, **about))
                links.append(link)
            elif kind == "packet":
                number += 1
                index, t, data = draw(st.integers(0, len(links) - 1)), draw(times), draw(st.binary(max_size=70))
                extra: dict[str, Any] = {
                    "wire_len": draw(st.integers(0, (1 << 32) - 1)),
                    "direction": draw(st.sampled_from(["", "in", "out"])),
                    "dropped": draw(counters),
                    "comments": draw(comments),
                }
                parts.append(writer.packet(index, t, data, **extra))
                expected.append(Packet(number, t, index, links[index], data, **extra))
            elif kind == "stats":
                index, t = draw(st.integers(0, len(links) - 1)), draw(times)
                extra = {name: draw(st.none() | times) for name in ("start", "end")}
                extra |= {name: draw(st.none() | counters) for name in ("received", "dropped")}
                extra["comments"] = draw(comments)
                parts.append(writer.stats(index, t, **extra))
                expected.append(InterfaceStats(index, t, **extra))
            elif kind == "secrets":
                secret, data = draw(st.integers(0, (1 << 32) - 1)), draw(st.binary(max_size=30))
                parts.append(writer.secrets(secret, data))
                expected.append(Secrets(secret, data))
            else:
                number += 1
                pen, data, copy = draw(st.integers(0, (1 << 32) - 1)), draw(st.binary(max_size=30)), draw(st.booleans())
                parts.append(writer.custom(pen, data, copy=copy))
                expected.append(Custom(number, pen, data + bytes(-len(data) % 4), copy))
    return b"".join(parts), expected


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(files())
def test_what_was_written_is_read_back(file: tuple[bytes, list[Block]]) -> None:
    data, expected = file
    assert read(data) == (expected, None)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(files(), st.integers(1, 40))
def test_the_pieces_a_file_arrives_in_make_no_difference(file: tuple[bytes, list[Block]], piece: int) -> None:
    data, expected = file
    assert read(data, piece) == (expected, None)
    assert read(data, 1) == (expected, None)


def started(order: str = "little") -> PcapngWriter:
    writer = PcapngWriter(order)
    writer.section()
    writer.interface(1, "plc")
    return writer


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ((0, -1, b""), {}),
        ((0, 1 << 63, b""), {}),
        ((1, T, b""), {}),
        ((-1, T, b""), {}),
        ((0, T, bytes(262145)), {}),
        ((0, T, b""), {"wire_len": -1}),
        ((0, T, b""), {"wire_len": 1 << 32}),
        ((0, T, b""), {"dropped": -1}),
        ((0, T, b""), {"dropped": 1 << 64}),
        ((0, T, b""), {"direction": "up"}),
        ((0, T, b""), {"comments": ["x" * 65536]}),
        ((0, T, b""), {"comments": ["\ud800"]}),
        ((0, T, b""), {"comments": ["x" * 65535] * 256}),
    ],
)
def test_packets_the_format_cannot_hold_are_refused(arguments: tuple[int, int, bytes], extra: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        started().packet(*arguments, **extra)


def test_other_things_the_format_cannot_hold_are_refused() -> None:
    writer = started()
    with pytest.raises(ValueError, match="above"):
        writer.custom(1, bytes(16 << 20))
    with pytest.raises(ValueError, match="link type"):
        writer.interface(65536)
    with pytest.raises(ValueError, match="custom option"):
        writer.section(custom=[(2, 1, b"")])
    with pytest.raises(ValueError, match="interface 1"):
        writer.stats(1, T)
    assert writer.interfaces == 1


def test_a_file_starts_with_a_section_and_each_section_describes_its_interfaces() -> None:
    fresh = PcapngWriter()
    for call in (lambda: fresh.interface(1), lambda: fresh.custom(1, b""), lambda: fresh.secrets(1, b"")):
        with pytest.raises(ValueError, match="starts with a section"):
            call()
    writer = started()
    writer.section()
    with pytest.raises(ValueError, match="not described"):
        writer.packet(0, T, b"")
