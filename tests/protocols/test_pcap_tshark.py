"""Wireshark is the judge: it reads what we write, and we read what it writes as it does."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from capture_lab import (
    ETHERNET,
    PEN,
    Seen,
    T,
    block,
    enhanced,
    interface,
    option,
    packets,
    pcap,
    read,
    run,
    section,
    tshark_frames,
)

from plugtap.protocols.capture_blocks import Interface, Packet, Section
from plugtap.protocols.pcapng_writer import PcapngWriter


def ours(data: bytes) -> list[Seen]:
    return [
        Seen(one.number, one.t, one.wire_len, len(one.data), hashlib.md5(one.data).hexdigest())
        for one in read(data)[0]
        if isinstance(one, Packet)
    ]


def written() -> bytes:
    writer = PcapngWriter()
    return b"".join(
        [
            writer.section(application="plugtap 1.2", hardware="Pi", os="Linux", comments=["a site", "second"]),
            writer.interface(1, "plc", description="modem"),
            writer.interface(147, "cp"),
            writer.packet(0, T, ETHERNET, direction="in", comments=["first", "ünd"]),
            writer.stats(0, T + 1),
            writer.packet(1, T + 2, b"\1\2\3", wire_len=9, direction="out", dropped=7),
            writer.stats(0, T + 3, start=T, end=T + 3, received=10, dropped=7),
            writer.packet(0, T + 4, ETHERNET),
        ]
    )


def test_tshark_reads_our_times_comments_names_directions_and_drop_counts(tmp_path: Path) -> None:
    path = tmp_path / "ours.pcapng"
    path.write_bytes(written())
    names = ["number", "time_epoch", "interface_name", "comment", "packet_flags_direction", "drop_count", "len"]
    arguments = ["-r", path, "-T", "fields", "-E", "separator=|"]
    for name in names:
        arguments += ["-e", f"frame.{name}"]
    assert run("tshark", *arguments).splitlines() == [
        "1|1700000000.123456789|plc|first,ünd|0x00000001||60",
        "2|1700000000.123456791|cp||0x00000002|7|9",
        "3|1700000000.123456793|plc||||60",
    ]


def test_capinfos_reads_our_sections_interfaces_and_statistics(tmp_path: Path) -> None:
    path = tmp_path / "ours.pcapng"
    path.write_bytes(written())
    text = run("capinfos", path)
    for expected in (
        "Capture application: plugtap 1.2",
        "Capture hardware:    Pi",
        "Capture oper-sys:    Linux",
        "Capture comment:     a site",
        "Capture comment:     second",
        "Number of interfaces in file: 2",
        "Name = plc",
        "Time resolution = 0x09",
        "Number of stat entries = 2",
        "Number of packets:   3",
        "nanoseconds (9)",
    ):
        assert expected in text


@pytest.mark.parametrize("order", ["little", "big"])
def test_tshark_exports_our_tls_secrets(tmp_path: Path, order: str) -> None:
    line = b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n"
    writer = PcapngWriter(order)
    parts = [writer.section(), writer.interface(1), writer.secrets(0x544C534B, line), writer.packet(0, T, ETHERNET)]
    path, keys = tmp_path / "secrets.pcapng", tmp_path / "keys"
    path.write_bytes(b"".join(parts))
    # tshark exports what it needed; that it reads on behind the block shows in the frame count.
    assert [one.t for one in tshark_frames(path)] == [T]
    run("editcap", "--discard-all-secrets", path, keys)
    assert line not in keys.read_bytes()
    run("editcap", path, keys)
    assert line in keys.read_bytes()


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng", "modpcap"])
def test_we_read_what_editcap_writes(tmp_path: Path, kind: str) -> None:
    source, path = tmp_path / "source.pcap", tmp_path / "file"
    source.write_bytes(pcap([(1_700_000_000 + n, n * 1001, ETHERNET[: 14 + n]) for n in range(40)]))
    run("editcap", "-F", kind, source, path)
    seen = tshark_frames(path)
    assert len(seen) == 40
    assert ours(path.read_bytes()) == seen


def test_we_read_snapped_and_commented_packets_of_editcap(tmp_path: Path) -> None:
    source, path = tmp_path / "source.pcap", tmp_path / "file.pcapng"
    source.write_bytes(pcap([(1_700_000_000, 5, ETHERNET)] * 3))
    run("editcap", "-s", "20", "-a", "2:so it is", "--capture-comment", "all of it", source, path)
    assert ours(path.read_bytes()) == tshark_frames(path)
    found = packets(path.read_bytes())
    assert [(len(one.data), one.wire_len, one.comments) for one in found] == [
        (20, 60, ()),
        (20, 60, ("so it is",)),
        (20, 60, ()),
    ]
    head = read(path.read_bytes())[0][0]
    assert isinstance(head, Section)
    assert head.comments == ("all of it",)


def test_we_read_what_mergecap_makes_of_several_files(tmp_path: Path) -> None:
    first, second, path = tmp_path / "1.pcapng", tmp_path / "2.pcap", tmp_path / "both.pcapng"
    first.write_bytes(written())
    second.write_bytes(pcap([(1_700_000_000, 123_000, b"sll" * 9)] * 2, 0xA1B23C4D, ">", 113))
    run("mergecap", "-w", path, first, second)
    assert ours(path.read_bytes()) == tshark_frames(path)
    blocks = read(path.read_bytes())[0]
    assert [one.link for one in blocks if isinstance(one, Interface)] == [1, 147, 113]
    run("mergecap", "-a", "-F", "pcapng", "-w", path, second, second)
    assert ours(path.read_bytes()) == tshark_frames(path)


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_we_read_what_text2pcap_writes(tmp_path: Path, kind: str) -> None:
    text, path = tmp_path / "hex.txt", tmp_path / "file"
    text.write_text("".join(f"2023-11-14 22:13:2{n}.123456789\n000000 {ETHERNET.hex(' ')}\n" for n in range(3)))
    run("text2pcap", "-q", "-F", kind, "-t", "%Y-%m-%d %H:%M:%S.%f", text, path)
    seen = tshark_frames(path)
    assert len(seen) == 3
    assert ours(path.read_bytes()) == seen


def test_tshark_and_we_agree_on_files_made_by_hand(tmp_path: Path) -> None:
    options = option(9, b"\x09")
    big = section(order=">") + interface(1, option(9, b"\x09", ">"), ">") + enhanced(T, order=">")
    files = {
        "big": big,
        "pcap-big": pcap([(1_700_000_000, 123_456, ETHERNET)], order=">"),
        "pcap-ns-big": pcap([(1_700_000_000, 123_456_789, ETHERNET)], 0xA1B23C4D, ">"),
        "modified": pcap([(1_700_000_000, 123_456, ETHERNET)], 0xA1B2CD34),
        "sections": section() + interface(1, options) + enhanced(T) + big + section() + interface() + enhanced(1),
        "binary": section() + interface(1, option(9, b"\x9e")) + enhanced((1_700_000_000 << 30) | 12345),
        "pico": section() + interface(1, option(9, b"\x0c")) + enhanced(1_700_000_000_000_123_456),
        "offset": section() + interface(1, options + option(14, struct.pack("<q", 100))) + enhanced(T),
        "old": section() + interface() + block(2, struct.pack("<HHIIII", 0, 1, 0, 5, 3, 9) + b"abc\0"),
        "simple": section() + interface() + block(3, struct.pack("<I", 3) + b"abc\0") + enhanced(5),
        "cut": section() + interface() + enhanced(5) + enhanced(6)[:-1],
    }
    agree(tmp_path, files)


def test_we_number_frames_as_tshark_does(tmp_path: Path) -> None:
    """Blocks that are no packets and get a number all the same, and others that get none."""
    if " 4.0." not in run("tshark", "--version").splitlines()[0]:
        pytest.skip("which blocks are numbered was measured with tshark 4.0")
    sysdig = struct.pack("<HQQIH", 0, T, 1, 22, 1)
    blocks = [
        (0xBAD, PEN + b"hello"),
        (0x40000BAD, PEN),
        (9, b"__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=x\n\n"),
        (0x204, sysdig),
        (0x208, struct.pack("<HQQIHI", 0, T, 1, 26, 1, 0)),
        (0x216, struct.pack("<HQQIHI", 0, T, 1, 26, 1, 0)),
        (0x217, struct.pack("<HQQIHII", 0, T, 1, 30, 1, 0, 0)),
        (0x221, struct.pack("<HQQIHI", 0, T, 1, 26, 1, 0)),
        (0x222, struct.pack("<HQQIHII", 0, T, 1, 30, 1, 0, 0)),
        (0x80000001, b"abcd"),
        (0x7777, b"abcd"),
        (4, bytes(4)),
        (5, struct.pack("<III", 0, 0, 1)),
        (0x101, b"abcdefgh"),
    ]
    # A section each, all in one file: starting tshark is what takes long. The packet behind a block tells which one was counted wrongly.
    parts = [section() + interface() + enhanced(1000 + n) + block(kind, body) + enhanced(2000 + n) for n, (kind, body) in enumerate(blocks)]
    agree(tmp_path, {"blocks": b"".join(parts)})


def agree(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.write_bytes(data)
        seen = tshark_frames(path)
        read_by_us = ours(data)
        assert seen[-1].number == read_by_us[-1].number, name
        numbers = {one.number for one in read_by_us}
        assert [one for one in seen if one.number in numbers] == read_by_us, name


def all_captures(captures: Path) -> list[Path]:
    return sorted(path for path in (captures / "files").rglob("*") if path.is_file())


def test_real_captures_read_as_tshark_reads_them(captures: Path) -> None:
    for path in all_captures(captures)[::20]:
        assert ours(path.read_bytes()) == tshark_frames(path), path


@pytest.mark.slow
def test_all_real_captures_read_as_tshark_reads_them(captures: Path) -> None:
    paths = all_captures(captures)
    assert len(paths) > 100
    for path in paths:
        assert ours(path.read_bytes()) == tshark_frames(path), path
