"""The archive gives back exactly the items it was made of, and opens in Wireshark under the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from capture_lab import ETHERNET, T, read, run
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.capture_blocks import MAX_TIME, Custom, Packet
from plugtap.protocols.item_decoder import CaptureFacts, ItemDecoder
from plugtap.protocols.items import TAP_EVENTS, CpRecord, Frame, Item, TapEvent, Tick

HEADER = ArchiveHeader("garage", "left", "run-7", "2024.1", "0.1.0", b'{"idle":60.0}')

times = st.integers(0, MAX_TIME)
u32 = st.integers(0, (1 << 32) - 1)
i32 = st.integers(-(1 << 31), (1 << 31) - 1)
sources = st.sampled_from(["plc", "plc2", "cp", "x y", "ü" * 64])
frames = st.builds(
    Frame,
    t=times,
    number=st.just(0),
    data=st.binary(max_size=80),
    link=st.sampled_from([1, 113, 276]),
    wire_len=u32,
    source=sources,
    direction=st.sampled_from(["", "in", "out"]),
    lost=st.integers(0, (1 << 64) - 1),
)
records = st.builds(
    CpRecord,
    t=times,
    number=st.just(0),
    hi_mv=i32,
    lo_mv=i32,
    duty=u32,
    freq=u32,
    span=st.integers(0, (1 << 64) - 1),
    cycles=u32,
    noise_mv=u32,
    flags=st.integers(0, 0xFFFF),
    pp_mv=st.none() | i32,
    pp_ohm=st.none() | u32,
    source=sources,
)
events = st.builds(
    TapEvent,
    t=times,
    number=st.just(0),
    source=st.text(max_size=10),
    kind=st.sampled_from(sorted(TAP_EVENTS)),
    detail=st.text(max_size=20),
    values=st.dictionaries(
        st.text(max_size=8), st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=8), max_size=3
    ),
)
items_of_a_tap = st.lists(frames | records | events | st.builds(Tick, t=times), max_size=12)


def archive(items: list[Any], header: ArchiveHeader = HEADER, results: bytes | None = None) -> tuple[bytes, list[Item]]:
    """An archive of `items`, and the items as the encoder says they will be read."""
    encoder = ArchiveEncoder(header)
    parts = [encoder.start()]
    expected: list[Item] = []
    for item in items:
        done, data = encoder.encode(item)
        expected.append(done)
        parts.append(data)
    if results is not None:
        parts.append(encoder.seal(results))
    return b"".join(parts), expected


def decode(data: bytes) -> tuple[list[Item], CaptureFacts]:
    blocks, error = read(data)
    assert error is None
    decoder = ItemDecoder()
    return decoder.decode(blocks), decoder.facts


@given(items_of_a_tap)
def test_items_come_back_exactly(items: list[Item]) -> None:
    data, expected = archive(items, results=b"{}")
    found, facts = decode(data)
    assert found == expected
    assert facts.ours
    assert facts.sealed
    assert facts.skipped == {}
    assert facts.notes == ()
    packets = [item for item in expected if not isinstance(item, Tick)]
    assert [item.number for item in packets] == list(range(1, len(packets) + 1))
    for given_item, item in zip(items, expected, strict=True):
        assert item.t == given_item.t
        if isinstance(item, Frame) and isinstance(given_item, Frame):
            assert (item.wire_len or len(item.data)) == (given_item.wire_len or len(item.data))
        elif not isinstance(item, Tick):
            assert msgspec.structs.replace(item, number=0) == given_item


@given(items_of_a_tap)
def test_writing_what_was_read_gives_the_same_bytes(items: list[Item]) -> None:
    data, expected = archive(items)
    again, same = archive(decode(data)[0])
    assert again == data
    assert same == expected


@pytest.mark.parametrize("size", [0, 1, 65531, 65532, 200_000])
def test_header_settings_and_results_come_back_exactly(size: int) -> None:
    header = ArchiveHeader("s", "t", "ü", "c", "1.2.3", bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    data, _ = archive([Frame(T, 0, ETHERNET)], header, results=b'{"sessions":[],"findings":[]}')
    _, facts = decode(data)
    assert facts.header == header
    assert facts.settings == header.settings
    assert facts.results == b'{"sessions":[],"findings":[]}'
    assert (facts.format, facts.application, facts.sections, facts.clock) == ("pcapng", "plugtap 1.2.3", 1, "absolute")


def test_facts_name_the_sources_and_the_times() -> None:
    encoder = ArchiveEncoder(HEADER)
    parts = [encoder.start()]
    for item in (Frame(T, 0, ETHERNET), CpRecord(T - 5, 0, 1, 1, 10000, 0), Tick(T + 9), Frame(T + 1, 0, b"", 113)):
        parts.append(encoder.encode(item)[1])
    parts.append(encoder.statistics("plc", 1, T + 9, received=12, dropped=3))
    found, facts = decode(b"".join(parts))
    assert len(found) == 4  # statistics with counters are no tick
    assert (facts.start, facts.end, facts.frames) == (T, T + 9, 3)
    assert [(one.source, one.link, one.packets, one.received, one.dropped) for one in facts.sources] == [
        ("plc", 1, 1, 12, 3),
        ("cp", 147, 1, None, None),
        ("plc", 113, 1, None, None),
    ]


def test_numbers_are_assigned_or_must_be_the_next() -> None:
    encoder = ArchiveEncoder(HEADER)
    encoder.start()
    assert encoder.encode(Frame(T, 0, b"a"))[0] == Frame(T, 1, b"a")
    assert encoder.encode(Frame(T, 2, b"a", wire_len=1))[0] == Frame(T, 2, b"a")
    encoder.encode(Tick(T))
    assert encoder.next_number == 3
    for wrong in (1, 2, 4):
        with pytest.raises(ValueError, match="3 is due"):
            encoder.encode(TapEvent(T, wrong, "plc", "note"))


@pytest.mark.parametrize(
    "item",
    [
        Frame(-1, 0, b"", source="new"),
        Frame(T, 0, bytes(262145), source="new"),
        Frame(T, 0, b"", link=147),
        Frame(T, 0, b"", source=""),
        Frame(T, 0, b"", source="x" * 65),
        Frame(T, 0, b"", source="a\0"),
        Frame(T, 0, b"", lost=-1, source="new"),
        Frame(T, 0, b"", direction="up"),
        CpRecord(T, 0, 1 << 31, 0, 0, 0),
        CpRecord(T, 0, 0, 0, -1, 0, source="new"),
        TapEvent(T, 0, "plc", "note", values={"n": 1 << 63}),
        TapEvent(T, 0, "plc", "note", detail="\ud800"),
        Tick(-1),
    ],
)
def test_a_refused_item_leaves_the_archive_as_if_it_had_not_been(item: Item) -> None:
    encoder = ArchiveEncoder(HEADER)
    data = encoder.start()
    with pytest.raises(ValueError, match=r".+"):
        encoder.encode(item)
    expected = []
    for good in (Frame(T, 0, b"1", source="new"), CpRecord(T, 0, 1, 1, 1, 1, source="new"), Frame(T, 0, b"2", 113)):
        done, more = encoder.encode(good)
        expected.append(done)
        data += more
    assert decode(data)[0] == expected
    assert [one.number for one in expected if isinstance(one, Frame | CpRecord)] == [1, 2, 3]


def test_the_number_of_sources_has_a_cap() -> None:
    encoder = ArchiveEncoder(HEADER)
    encoder.start()
    with pytest.raises(ValueError, match="64 sources"):
        for n in range(100):
            encoder.encode(Frame(T, 0, b"", source=f"plc{n}"))


def test_nothing_goes_in_before_the_start_or_after_the_seal() -> None:
    encoder = ArchiveEncoder(HEADER)
    with pytest.raises(ValueError, match="not started"):
        encoder.encode(Tick(T))
    with pytest.raises(ValueError, match="not started"):
        encoder.seal(b"{}")
    encoder.start()
    with pytest.raises(ValueError, match="has started"):
        encoder.start()
    with pytest.raises(ValueError, match="above"):
        encoder.seal(bytes(16 << 20))
    encoder.seal(b"{}")
    for call in (lambda: encoder.encode(Tick(T)), lambda: encoder.seal(b"{}")):
        with pytest.raises(ValueError, match="sealed"):
            call()


def test_an_interrupted_archive_is_continued_by_another_section() -> None:
    data, expected = archive([Frame(T, 0, ETHERNET), Tick(T + 1), CpRecord(T, 0, 5, 5, 10000, 0)])
    cut = data + ArchiveEncoder(HEADER).start()[:50]
    blocks, _ = read(cut)
    decoder = ItemDecoder()
    assert decoder.decode(blocks) == expected
    truncated = decoder.facts.truncated
    assert truncated is not None
    assert truncated.offset == len(data)
    encoder = ArchiveEncoder(HEADER, next_number=decoder.facts.frames + 1)
    more = encoder.start()
    frame, block = encoder.encode(Frame(T + 2, 0, ETHERNET, lost=2))
    found, facts = decode(cut[: truncated.offset] + more + block + encoder.seal(b"{}"))
    assert found == [*expected, frame]
    assert facts.ours
    assert facts.sealed
    assert facts.sections == 2
    assert [(one.source, one.packets) for one in facts.sources] == [("plc", 2), ("cp", 1)]


def test_sections_with_different_settings_are_noted() -> None:
    data, _ = archive([Tick(T)])
    other, _ = archive([Tick(T)], ArchiveHeader("garage", "left", "run-8"))
    assert "different settings" in decode(data + other)[1].notes[0]


def test_comments_are_for_people_and_change_no_item() -> None:
    encoder = ArchiveEncoder(HEADER)
    data = encoder.start()
    expected = []
    for item in (Frame(T, 0, ETHERNET, lost=1), CpRecord(T, 0, 1, 1, 1, 1), TapEvent(T, 0, "plc", "drop"), Tick(T)):
        done, more = encoder.encode(item, comments=("the EVSE did not answer", "see finding 3"))
        expected.append(done)
        data += more
    assert decode(data)[0] == expected
    assert [one.comments for one in read(data)[0] if isinstance(one, Packet)] == [
        ("the EVSE did not answer", "see finding 3")
    ] * 3


def test_stored_records_are_as_documented() -> None:
    """The layout in the docstring of archive.py, byte by byte: files must stay readable."""
    data, _ = archive(
        [
            CpRecord(T, 0, 9012, -11987, 500, 10001, 100_000_000, 100, 40, 5, None, 1500),
            TapEvent(T, 0, "plc", "drop", "queue full", {"frames": 3}),
        ],
        results=b"{}",
    )
    stored = [one.data for one in read(data)[0] if isinstance(one, Packet)]
    assert stored[0].hex(" ", 4) == (
        "70740101 34230000 2dd1ffff f4010000 11270000 00e1f505 00000000 64000000 28000000 05000200 00000000 dc050000"
    )
    assert stored[1] == b'pt\x01\x02{"source":"plc","kind":"drop","detail":"queue full","values":{"frames":3}}'
    custom = [one for one in read(data)[0] if isinstance(one, Custom)]
    assert [(one.pen, one.data) for one in custom] == [(32473, b"plugtap\0\x01\0\x01\0\x02\0\0\0{}\0\0")]


def test_wireshark_opens_it_with_our_numbers_times_and_names(tmp_path: Path) -> None:
    data, expected = archive(
        [
            Tick(T),
            TapEvent(T, 0, "plc", "carrier-up"),
            Frame(T + 1, 0, ETHERNET, direction="in"),
            Tick(T + 2),
            CpRecord(T + 3, 0, 9000, -12000, 500, 10000),
            Frame(T + 4, 0, ETHERNET, lost=7, source="plc2"),
            Tick(T + 5),
        ],
        results=b'{"sessions":[]}',
    )
    path = tmp_path / "run.pcapng"
    path.write_bytes(data)
    fields = ["-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.drop_count"]
    lines = [line.split("\t") for line in run("tshark", "-r", path, "-T", "fields", *fields).splitlines()]
    names = ["tap", "plc", "cp", "plc2"]
    packets = [item for item in expected if not isinstance(item, Tick)]
    for line, item, name in zip(lines, packets, names, strict=False):
        seconds, fraction = divmod(item.t, 10**9)
        lost = str(item.lost) if isinstance(item, Frame) and item.lost else ""
        assert line == [str(item.number), f"{seconds}.{fraction:09}", name, lost]
    assert "site garage, tap left, run run-7" in run("capinfos", path)


def test_an_export_of_wireshark_is_still_ours(tmp_path: Path) -> None:
    """editcap rewrites the file; the header, the interfaces and the records survive, ticks lose their place."""
    items = [Tick(T), Frame(T, 0, ETHERNET, lost=2), CpRecord(T, 0, 1, 1, 1, 1), TapEvent(T, 0, "plc", "stop"), Tick(T)]
    data, expected = archive(items, results=b"{}")
    path, copy = tmp_path / "run.pcapng", tmp_path / "copy.pcapng"
    path.write_bytes(data)
    run("editcap", path, copy)
    found, facts = decode(copy.read_bytes())
    assert found == expected[1:4]
    assert facts.header == HEADER
    assert facts.skipped == {"tick after the end": 1}
