"""Captures that plugtap did not write: sources, skipped link types, clocks, merged and damaged archives."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from capture_lab import ETHERNET, PEN, T, block, enhanced, interface, option, pcap, read, run, section

from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.capture_blocks import Block, Secrets
from plugtap.protocols.item_decoder import CaptureFacts, ItemDecoder
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick

NANO = option(9, b"\x09")


def decode(data: bytes, decoder: ItemDecoder | None = None) -> tuple[list[Item], CaptureFacts]:
    decoder = decoder or ItemDecoder()
    items = decoder.decode(read(data)[0])
    return items, decoder.facts


def test_a_pcap_is_one_source() -> None:
    items, facts = decode(pcap([(1_700_000_000, 5, ETHERNET), (1_700_000_001, 5, b"x")], link=113))
    assert items == [
        Frame(1_700_000_000_000_005_000, 1, ETHERNET, 113),
        Frame(1_700_000_001_000_005_000, 2, b"x", 113),
    ]
    assert (facts.ours, facts.header, facts.settings, facts.results) == (False, None, None, None)
    assert (facts.format, facts.clock, facts.frames) == ("pcap", "absolute", 2)
    assert [(one.source, one.interface, one.link, one.packets) for one in facts.sources] == [("plc", "", 113, 2)]


def test_interfaces_become_sources_in_the_order_of_their_first_packet() -> None:
    data = section() + interface(1, option(2, b"lo")) + interface(1, option(2, b"eth0")) + interface(113)
    data += interface(276) + enhanced(1, index=2) + enhanced(2, index=1) + enhanced(3, index=2) + enhanced(4, index=3)
    items, facts = decode(data)
    assert [(one.source, one.number) for one in items if isinstance(one, Frame)] == [
        ("plc", 1),
        ("plc2", 2),
        ("plc", 3),
        ("plc3", 4),
    ]
    assert [(one.source, one.interface) for one in facts.sources] == [("plc", ""), ("plc2", "eth0"), ("plc3", "")]


def test_sections_with_the_same_interface_are_one_source() -> None:
    part = section() + interface(1, option(2, b"eth0")) + enhanced(T // 1000)
    items, facts = decode(part * 3)
    assert [(one.source, one.number) for one in items if isinstance(one, Frame)] == [("plc", n) for n in (1, 2, 3)]
    assert facts.sections == 3


def test_other_link_types_are_counted_and_keep_their_numbers() -> None:
    data = section() + interface(189) + interface(1) + enhanced(1) + enhanced(2, index=1) + enhanced(3)
    items, facts = decode(data)
    assert [(one.source, one.number) for one in items if isinstance(one, Frame)] == [("plc", 2)]
    assert facts.skipped == {"link type 189": 2}
    assert facts.frames == 3


def test_lengths_directions_and_losses_become_part_of_the_frame() -> None:
    options = option(2, struct.pack("<I", 2)) + option(4, struct.pack("<Q", 9))
    packet = struct.pack("<IIIII", 0, 0, 7, 4, 1500) + b"abcd" + options
    items, _ = decode(section() + interface(1, NANO) + block(6, packet))
    assert items == [Frame(7, 1, b"abcd", 1, 1500, "plc", "out", 9)]


def test_statistics_of_foreign_files_are_no_ticks() -> None:
    stats = block(5, struct.pack("<III", 0, 0, 9) + option(4, struct.pack("<Q", 50)) + option(5, struct.pack("<Q", 2)))
    items, facts = decode(section() + interface() + enhanced(1) + block(5, struct.pack("<III", 0, 0, 8)) + stats)
    assert [type(one) for one in items] == [Frame]
    assert (facts.sources[0].received, facts.sources[0].dropped) == (50, 2)


@pytest.mark.parametrize(("seconds", "clock"), [(0, "relative"), (315_532_799, "relative"), (315_532_800, "absolute")])
def test_a_clock_that_starts_before_1980_is_relative(seconds: int, clock: str) -> None:
    assert decode(pcap([(seconds, 0, ETHERNET), (1_700_000_000, 0, ETHERNET)]))[1].clock == clock


def test_packets_without_a_time_get_that_of_the_packet_before() -> None:
    simple = block(3, struct.pack("<I", 4) + b"abcd")
    items, facts = decode(section() + interface(1, NANO) + simple + enhanced(T) + simple)
    assert [one.t for one in items] == [0, T, T]
    assert (facts.untimed, facts.start, facts.end) == (2, T, T)


def test_tls_secrets_are_kept_up_to_a_cap() -> None:
    def secret(size: int) -> Block:
        return Secrets(0x544C534B, bytes(size))

    decoder = ItemDecoder()
    decoder.decode([secret(100), secret(4 << 20), secret(5)])
    assert [len(one.data) for one in decoder.facts.secrets] == [100]
    assert decoder.facts.skipped == {"decryption secrets": 2}


def test_skipped_blocks_are_counted_by_kind_up_to_a_cap() -> None:
    data = section() + interface() + block(4, bytes(4)) * 2 + block(0xBAD, PEN + b"other") + block(9, b"x" * 30)
    _, facts = decode(data)
    assert facts.skipped == {"block type 0x00000004": 2, "custom block of 32473": 1, "block type 0x00000009": 1}
    assert facts.frames == 2
    _, facts = decode(section() + b"".join(block(0x1000 + n, b"") for n in range(500)))
    assert len(facts.skipped) == 65
    assert facts.skipped["others"] == 500 - 64


def test_the_number_of_sources_has_a_cap() -> None:
    data = section() + interface(1) * 5 + b"".join(enhanced(n, index=n) for n in range(5))
    items, facts = decode(data, ItemDecoder(max_sources=3))
    assert len(items) == len(facts.sources) == 3
    assert facts.skipped == {"link type 1": 2}
    assert "more than 3 interfaces" in facts.notes[0]


def test_a_cut_file_says_so() -> None:
    items, facts = decode(pcap([(1, 0, ETHERNET)]) + b"half")
    assert len(items) == 1
    assert facts.truncated is not None
    assert facts.notes == ("cut at byte 100, within a packet record",)


def _archive(tap: str = "left") -> bytes:
    encoder = ArchiveEncoder(ArchiveHeader("s", tap, "r", settings=b"{}" * 50))
    parts = [encoder.start()]
    for item in (Frame(T, 0, ETHERNET), CpRecord(T + 1, 0, 1, 1, 1, 1), TapEvent(T + 2, 0, "plc", "stop"), Tick(T + 3)):
        parts.append(encoder.encode(item)[1])
    return b"".join(parts)


def test_merged_archives_lose_their_ticks_and_keep_their_records(tmp_path: Path) -> None:
    first, second, both = tmp_path / "1", tmp_path / "2", tmp_path / "both"
    first.write_bytes(_archive())
    second.write_bytes(_archive("right"))
    run("mergecap", "-w", both, "-I", "none", first, second)
    items, facts = decode(both.read_bytes())
    assert not facts.ours
    assert facts.header is None
    assert sorted((type(one).__name__, one.source) for one in items if not isinstance(one, Tick)) == [
        ("CpRecord", "cp"),
        ("CpRecord", "cp2"),
        ("Frame", "plc"),
        ("Frame", "plc2"),
        ("TapEvent", "plc"),
        ("TapEvent", "plc"),
    ]


def test_user0_packets_of_others_are_no_records() -> None:
    data = section() + interface(147) + enhanced(1, b"pt\x02\x01" + bytes(44)) + enhanced(2, b"") + enhanced(3, b"abc")
    items, facts = decode(data)
    assert items == []
    assert facts.skipped == {"link type 147": 3}


def test_damaged_records_and_headers_are_noted_and_never_raise() -> None:
    good = _archive()
    bad_header = good.replace(b'"plugtap-archive":1', b'"plugtap-archive":x')
    items, facts = decode(bad_header)
    assert not facts.ours
    assert [type(one) for one in items] == [Frame, CpRecord, TapEvent]
    assert "damaged archive header" in facts.notes[0]
    newer, facts = decode(good.replace(b'"plugtap-archive":1', b'"plugtap-archive":9'))
    assert not facts.ours
    assert len(newer) == 3
    for before, after in (
        (b'"kind":"stop"', b'"kind":12345 '),
        (b'"detail":""', b'"detail":\xff\xff'),
        (b'"source":"plc"', b'"source":[[[[['),
    ):
        items, facts = decode(good.replace(before, after))
        assert [type(one) for one in items] == [Frame, CpRecord, Tick]
        assert facts.skipped == {"damaged record": 1}
        assert "frame 3: tap event" in facts.notes[0]


def test_a_tap_event_nested_without_end_does_not_raise() -> None:
    record = b'pt\x01\x02{"x":' + b"[" * 100_000
    items, facts = decode(section() + interface(147) + enhanced(1, record))
    assert items == []
    assert facts.skipped == {"damaged record": 1}


def test_lost_settings_make_the_header_damaged() -> None:
    header = b'{"plugtap-archive":1,"site":"s","tap":"t","run":"r","catalogue":"","plugtap":"","settings":7}'
    data = section(option(4, b"plugtap") + option(2988, PEN + header))
    _, facts = decode(data)
    assert not facts.ours
    assert "0 bytes of settings where 7" in facts.notes[0]
