"""Classic pcap: every magic, odd lengths, old versions, cut and damaged files."""

from __future__ import annotations

import struct

import pytest
from capture_lab import ETHERNET, packets, pcap, read

from plugtap.protocols.capture_blocks import Interface, Packet, Section, Truncated
from plugtap.protocols.capture_reader import CaptureReader, is_capture
from plugtap.protocols.errors import DecodeError


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "fraction", "t"),
    [
        (0xA1B2C3D4, 123_456, 1_700_000_000_123_456_000),
        (0xA1B23C4D, 123_456_789, 1_700_000_000_123_456_789),
        (0xA1B2CD34, 123_456, 1_700_000_000_123_456_000),
    ],
)
def test_every_magic_in_both_byte_orders(order: str, magic: int, fraction: int, t: int) -> None:
    data = pcap([(1_700_000_000, fraction, ETHERNET), (1_700_000_001, 0, b"\x01\x02\x03")], magic, order)
    assert is_capture(data)
    blocks, error = read(data)
    assert error is None
    assert blocks == [
        Section("pcap", "little" if order == "<" else "big", (2, 4)),
        Interface(0, 1, 65535, units_per_second=1_000_000_000 if magic == 0xA1B23C4D else 1_000_000),
        Packet(1, t, 0, 1, ETHERNET, 60),
        Packet(2, 1_700_000_001_000_000_000, 0, 1, b"\x01\x02\x03", 3),
    ]
    assert read(data, piece=1) == (blocks, None)


def test_the_upper_bits_of_the_link_type_are_about_the_frame_check_sequence() -> None:
    assert packets(pcap([(1, 0, b"x")], link=0x24000071))[0].link == 0x71


def test_versions_before_2_3_have_the_two_lengths_swapped() -> None:
    record = struct.pack("<IIII", 5, 0, 60, 4) + b"abcd"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 2, 0, 0, 65535, 1)
    assert [(one.data, one.wire_len) for one in packets(header + record)] == [(b"abcd", 60)]


def test_a_packet_cut_by_the_snap_length_keeps_its_length_on_the_wire() -> None:
    data = bytearray(pcap([(1, 0, ETHERNET)]))
    struct.pack_into("<I", data, 24 + 12, 1500)
    assert (packets(bytes(data))[0].wire_len, len(packets(bytes(data))[0].data)) == (1500, 60)


@pytest.mark.parametrize("left", [1, 15, 16, 17, 75])
def test_a_file_that_ends_within_a_record_gives_all_before_and_says_where(left: int) -> None:
    whole = pcap([(1, 0, ETHERNET)])
    data = whole + pcap([(2, 0, ETHERNET)])[24 : 24 + left]
    blocks, error = read(data)
    assert error is None
    assert [one.number for one in blocks if isinstance(one, Packet)] == [1]
    assert blocks[-1] == Truncated(len(whole), "packet record", left, 16 if left < 16 else 76)


def test_a_file_that_ends_within_its_header_is_truncated_too() -> None:
    assert read(pcap([])[:10]) == ([Truncated(0, "pcap file header", 10, 24)], None)


def test_an_impossible_length_is_damage_and_what_stands_before_is_delivered() -> None:
    good = pcap([(1, 0, ETHERNET), (2, 0, ETHERNET)])
    bad = good + struct.pack("<IIII", 3, 0, 0x7FFFFFFF, 0x7FFFFFFF) + b"rest"
    for piece in (0, 1, 7):
        reader = CaptureReader()
        blocks, error = read(bad, piece, reader)
        assert [one.number for one in blocks if isinstance(one, Packet)] == [1, 2]
        assert error is not None
        assert (error.layer, error.offset) == ("pcap", len(good) + 8)
        assert reader.offset == len(good)


def test_after_damage_feeding_raises_again_and_closing_is_quiet() -> None:
    reader = CaptureReader()
    bad = pcap([(1, 0, b"x")]) + struct.pack("<IIII", 3, 0, 1 << 31, 1 << 31)
    assert len(reader.feed(bad)) == 3  # section, interface, packet: the error waits for the next call
    with pytest.raises(DecodeError, match="packet length"):
        reader.feed(b"")
    with pytest.raises(DecodeError, match="packet length"):
        reader.feed(b"more")
    assert reader.close() == []


def test_closing_raises_an_error_that_still_waits() -> None:
    reader = CaptureReader()
    reader.feed(pcap([(1, 0, b"x")]) + struct.pack("<IIII", 3, 0, 1 << 31, 1 << 31))
    with pytest.raises(DecodeError, match="packet length"):
        reader.close()


@pytest.mark.parametrize("start", [b"", b"\xd4", b"\xd4\xc3\xb2", b"PK\x03\x04", b"<html>", bytes(64)])
def test_what_is_no_capture_is_said_to_be_none(start: bytes) -> None:
    assert not is_capture(start)
    blocks, error = read(start)
    assert blocks == []
    assert error is not None
    assert (error.layer, error.offset) == ("capture", 0)


def test_a_version_that_does_not_exist_is_damage() -> None:
    data = bytearray(pcap([(1, 0, b"x")]))
    struct.pack_into("<H", data, 4, 9)
    blocks, error = read(bytes(data))
    assert blocks == []
    assert error is not None
    assert (error.layer, error.offset) == ("pcap", 4)


def test_the_cap_on_packets_is_a_parameter() -> None:
    data = pcap([(1, 0, b"x" * 101)])
    assert read(data, reader=CaptureReader(max_packet=100))[1] is not None
    assert read(data, reader=CaptureReader(max_packet=101))[1] is None
