"""pcapng by the specification: sections, interfaces, time stamps, options, all blocks, numbers as in Wireshark."""

from __future__ import annotations

import struct

import pytest
from capture_lab import ETHERNET, PEN, T, block, enhanced, interface, option, packets, read, section
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.capture_blocks import (
    Custom,
    Interface,
    InterfaceStats,
    Packet,
    Secrets,
    Section,
    Skipped,
    Truncated,
)
from plugtap.protocols.capture_reader import CaptureReader

NANO = option(9, b"\x09")


@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_interfaces_and_packets_in_both_byte_orders(order: str) -> None:
    end = option(0, b"", order)
    texts = option(1, b"first", order) + option(4, "plügtap".encode(), order) + option(3, b"Linux", order)
    texts += option(2, b"Pi", order) + option(1, b"second", order) + end
    about = option(2, b"plc\0", order) + option(3, b"modem", order) + option(9, b"\x09", order)
    about += option(11, b"\0ether proto 0x88e1", order) + option(12, b"Linux 6", order) + option(15, b"QCA7005", order)
    packet = option(1, b"note", order) + option(2, struct.pack(order + "I", 2), order)
    packet += option(4, struct.pack(order + "Q", 7), order) + end
    data = section(texts, order) + interface(1, about + end, order, 1600) + enhanced(T, b"12345", 0, packet, order)
    assert read(data) == (
        [
            Section(
                "pcapng",
                "little" if order == "<" else "big",
                (1, 0),
                hardware="Pi",
                os="Linux",
                application="plügtap",
                comments=("first", "second"),
            ),
            Interface(
                0,
                1,
                1600,
                name="plc",
                description="modem",
                hardware="QCA7005",
                os="Linux 6",
                filter="ether proto 0x88e1",
                units_per_second=1_000_000_000,
            ),
            Packet(1, T, 0, 1, b"12345", 5, "out", 7, ("note",)),
        ],
        None,
    )


def test_several_sections_of_either_byte_order_count_packets_on_and_interfaces_anew() -> None:
    little = section() + interface(1, NANO) + interface(113) + enhanced(T) + enhanced(T // 1000, b"sll", 1)
    big = section(order=">") + interface(276, option(9, b"\x03", ">"), ">") + enhanced(5, b"sll2", order=">")
    found = packets(little + big + little)
    assert [(one.number, one.interface, one.link, one.t) for one in found] == [
        (1, 0, 1, T),
        (2, 1, 113, T // 1000 * 1000),
        (3, 0, 276, 5_000_000),
        (4, 0, 1, T),
        (5, 1, 113, T // 1000 * 1000),
    ]


@pytest.mark.parametrize(
    ("resolution", "ticks", "t"),
    [
        (None, 1_700_000_000_123_456, 1_700_000_000_123_456_000),  # microseconds unless said otherwise
        (0, 1_700_000_000, 1_700_000_000_000_000_000),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (9, T, T),
        (10, 17_000_000_001_234_567_899, 1_700_000_000_123_456_789),
        (12, 1_700_000_999_999_999_999, 1_700_000_999_999_999),
        (0x80, 1_700_000_000, 1_700_000_000_000_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (0x80 | 10, 1_700_000_000 * 1024 + 1, 1_700_000_000_000_976_562),
        (0x80 | 30, (1_700_000_000 << 30) + (1 << 29), 1_700_000_000_500_000_000),
        (0x80 | 32, (1_700_000_000 << 32) + 1, 1_700_000_000_000_000_000),
        (0x80 | 63, (1 << 63) + (1 << 62), 1_500_000_000),
        (127, (1 << 64) - 1, 0),
    ],
)
def test_time_stamps_are_exact_in_every_resolution(resolution: int | None, ticks: int, t: int) -> None:
    options = b"" if resolution is None else option(9, bytes([resolution]))
    assert packets(section() + interface(1, options) + enhanced(ticks))[0].t == t


@given(st.integers(0, 255), st.integers(0, (1 << 64) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
def test_any_resolution_and_offset_gives_the_exact_time_or_none(resolution: int, ticks: int, offset: int) -> None:
    options = option(9, bytes([resolution])) + option(14, struct.pack("<q", offset))
    found = packets(section() + interface(1, options) + enhanced(ticks))[0].t
    units = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    exact = ticks * 10**9 // units + offset * 10**9
    assert found == (exact if 0 <= exact < 1 << 63 else None)


def test_the_time_offset_of_an_interface_is_added() -> None:
    options = NANO + option(14, struct.pack("<q", -100))
    assert packets(section() + interface(1, options) + enhanced(T))[0].t == T - 100 * 10**9


@pytest.mark.parametrize(("flags", "direction"), [(0, ""), (1, "in"), (2, "out"), (3, ""), (0xFFFFFFFD, "in")])
def test_direction_is_in_the_two_lowest_flags(flags: int, direction: str) -> None:
    options = option(2, struct.pack("<I", flags))
    assert packets(section() + interface() + enhanced(1, options=options))[0].direction == direction


def test_the_obsolete_packet_block_with_its_drop_count() -> None:
    def old(drops: int) -> bytes:
        return block(2, struct.pack("<HHIIII", 0, drops, 0, 5, 3, 99) + b"abc\0" + option(2, struct.pack("<I", 1)))

    found = packets(section() + interface() + old(4) + old(0xFFFF))  # 65535: not known
    assert found == [Packet(1, 5000, 0, 1, b"abc", 99, "in", 4), Packet(2, 5000, 0, 1, b"abc", 99, "in", 0)]


def test_simple_packets_have_no_time_and_are_cut_at_the_snap_length() -> None:
    whole = block(3, struct.pack("<I", 5) + b"12345")
    cut = block(3, struct.pack("<I", 500) + b"12345678")
    assert packets(section() + interface() + whole) == [Packet(1, None, 0, 1, b"12345", 5)]
    assert packets(section() + interface(snaplen=6) + cut) == [Packet(1, None, 0, 1, b"123456", 500)]
    assert read(section() + interface() + cut)[1] is not None


def test_interface_statistics_with_all_their_counters() -> None:
    counters = b"".join(option(code, struct.pack("<Q", code * 10)) for code in (4, 5, 6, 7, 8))
    times = option(2, struct.pack("<II", 0, 7)) + option(3, struct.pack("<II", 0, 9))
    body = struct.pack("<III", 0, T >> 32, T & 0xFFFFFFFF) + times + counters + option(1, b"end") + option(0, b"")
    blocks, _ = read(section() + interface(1, NANO) + block(5, body))
    assert blocks[2] == InterfaceStats(0, T, 7, 9, 40, 50, 60, 70, 80, ("end",))


def test_statistics_of_an_unknown_interface_have_no_time() -> None:
    blocks, error = read(section() + interface() + block(5, struct.pack("<III", 3, 0, 1)) + enhanced(1))
    assert error is None
    assert blocks[2] == InterfaceStats(3, None)


def test_decryption_secrets_without_their_padding() -> None:
    blocks, _ = read(section() + block(10, struct.pack("<II", 0x544C534B, 5) + b"CLIEN"))
    assert blocks[1] == Secrets(0x544C534B, b"CLIEN")


def test_custom_options_of_a_section() -> None:
    options = option(2988, PEN + b"text") + option(19373, PEN + b"\0\1") + option(2989, b"abc")
    blocks, _ = read(section(options))
    assert isinstance(blocks[0], Section)
    assert blocks[0].custom == ((2988, 32473, b"text"), (19373, 32473, b"\0\1"))


@pytest.mark.parametrize("kind", [4, 0x7777, 0x80000001, 0xDEADBEEF])
def test_unknown_blocks_are_skipped_and_get_no_number(kind: int) -> None:
    blocks, error = read(section() + interface() + block(kind, b"whatever") + enhanced(1))
    assert error is None
    assert blocks[2] == Skipped(kind, 20)
    assert isinstance(blocks[3], Packet)
    assert blocks[3].number == 1


def test_custom_and_journal_blocks_get_a_number_as_in_wireshark() -> None:
    data = section() + interface() + block(0xBAD, PEN + b"hello") + enhanced(1) + block(0x40000BAD, PEN)
    data += block(9, b"x" * 40) + enhanced(2)
    blocks, error = read(data)
    assert error is None
    assert blocks[2] == Custom(1, 32473, b"hello\0\0\0")
    assert blocks[4] == Custom(3, 32473, b"", copy=False)
    assert blocks[5] == Skipped(9, 52, 4)
    assert [one.number for one in blocks if isinstance(one, Packet)] == [2, 5]


def test_a_damaged_list_of_options_costs_the_options_behind_the_damage_only() -> None:
    options = option(1, b"kept") + struct.pack("<HH", 1, 5000) + b"lost"
    reader = CaptureReader()
    blocks, error = read(section() + interface() + enhanced(1, options=options) + enhanced(2), reader=reader)
    assert error is None
    assert [one.comments for one in blocks if isinstance(one, Packet)] == [("kept",), ()]
    assert reader.damaged_options == 1


def test_options_beyond_the_cap_are_ignored_and_counted() -> None:
    reader = CaptureReader(max_options=3)
    blocks, _ = read(section(option(1, b"c") * 4), reader=reader)
    assert isinstance(blocks[0], Section)
    assert blocks[0].comments == ("c",) * 3
    assert reader.damaged_options == 1


def test_text_that_is_not_utf8_does_not_raise() -> None:
    blocks, error = read(section(option(1, b"\xff\xfe") + option(4, b"\x80")))
    assert error is None
    assert isinstance(blocks[0], Section)
    assert blocks[0].comments == ("��",)


GOOD = section() + interface() + enhanced(1)


@pytest.mark.parametrize(
    ("name", "offset", "bad"),
    [
        ("length zero", 4, struct.pack("<III", 6, 0, 0)),
        ("zeros after a crash", 4, bytes(64)),
        ("length not a multiple of four", 4, struct.pack("<II", 6, 33) + bytes(25)),
        ("giant length", 4, struct.pack("<II", 6, 0xFFFFFFFC) + bytes(100)),
        ("length above the cap", 4, struct.pack("<II", 6, (16 << 20) + 4) + bytes(100)),
        ("lengths differ", 28, enhanced(1, b"")[:-4] + struct.pack("<I", 36)),
        ("packet longer than its block", 20, block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"abcd")),
        ("interface not described", 8, block(6, struct.pack("<IIIII", 1, 0, 0, 4, 4) + b"abcd")),
        ("packet block too short", 8, block(6, bytes(16))),
        ("old packet block too short", 8, block(2, bytes(16))),
        ("simple packet too short", 8, block(3, b"")),
        ("interface too short", 8, block(1, bytes(4))),
        ("statistics too short", 8, block(5, bytes(8))),
        ("secrets too short", 8, block(10, bytes(4))),
        ("secrets longer than their block", 12, block(10, struct.pack("<II", 1, 5) + b"abcd")),
        ("custom block too short", 8, block(0xBAD, b"")),
        ("byte-order magic", 8, block(0x0A0D0D0A, bytes(16))),
        ("section too short", 8, block(0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0))),
        ("section version", 12, section(version=(2, 0))),
    ],
)
def test_damage_says_where_and_keeps_what_stands_before(name: str, offset: int, bad: bytes) -> None:
    for piece in (0, 1, 13):
        reader = CaptureReader()
        blocks, error = read(GOOD + bad + enhanced(2), piece, reader)
        assert error is not None, name
        assert error.layer == "pcapng"
        assert error.offset == len(GOOD) + offset, name
        assert [type(one) for one in blocks] == [Section, Interface, Packet]
        assert reader.offset == len(GOOD)


def test_a_simple_packet_needs_an_interface() -> None:
    assert read(section() + block(3, struct.pack("<I", 4) + b"abcd"))[1] is not None


def test_the_number_of_interfaces_has_a_cap() -> None:
    assert read(section() + interface() * 5, reader=CaptureReader(max_interfaces=5))[1] is None
    _, error = read(section() + interface() * 6, reader=CaptureReader(max_interfaces=5))
    assert error is not None
    assert "5 interfaces" in error.reason


@pytest.mark.parametrize("left", [1, 3, 4, 11, 12, 50, 91])
def test_a_file_that_ends_within_a_block_gives_all_before_and_says_where(left: int) -> None:
    blocks, error = read(GOOD + enhanced(2)[:left])
    assert error is None
    assert [type(one) for one in blocks[:-1]] == [Section, Interface, Packet]
    what = "block" if left < 4 else "block type 0x00000006"
    assert blocks[-1] == Truncated(len(GOOD), what, left, 12 if left < 12 else len(enhanced(2)))


def test_reading_goes_on_after_a_cut_at_the_offset_that_is_told() -> None:
    """How the daemon continues an interrupted archive."""
    reader = CaptureReader()
    read(GOOD + enhanced(2)[:-1], reader=reader)
    healed = (GOOD + enhanced(2))[: reader.offset] + section(order=">") + interface(order=">") + enhanced(3, order=">")
    assert [one.number for one in packets(healed)] == [1, 2]
    assert packets(healed)[1].data == ETHERNET
