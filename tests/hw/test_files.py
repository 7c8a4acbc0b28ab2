"""Captures from files, folders, gzip and pipes: everything readable is delivered, every failure names file, reason,
remedy."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import sys
import threading
from pathlib import Path

import pytest

from plugtap.hw.errors import SourceError
from plugtap.hw.files import CHUNK, CaptureStream, ItemReader, find_captures, open_capture, read_items
from plugtap.protocols.items import Frame, Item

FRAME = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01\x88\xe1" + bytes(46)


def pcap(count: int, size: int = 60) -> bytes:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for n in range(count):
        parts.append(struct.pack("<IIII", 1_700_000_000 + n, 0, size, size) + FRAME + bytes(size - 60))
    return b"".join(parts)


def numbers(items: list[Item]) -> list[int]:
    return [one.number for one in items if isinstance(one, Frame)]


def read_all(path: str) -> tuple[list[Item], ItemReader, SourceError | None]:
    """Items until the end or the error."""
    reader = read_items(path)
    found: list[Item] = []
    try:
        for item in reader:
            found.append(item)
    except SourceError as error:
        return found, reader, error
    return found, reader, None


def test_a_file_of_any_name_gives_its_items_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(pcap(3))
    found, reader, error = read_all(str(path))
    assert error is None
    assert numbers(found) == [1, 2, 3]
    assert (reader.facts.format, reader.facts.frames, reader.facts.ours) == ("pcap", 3, False)
    assert reader.offset == path.stat().st_size


def test_gzip_is_recognised_by_content_in_one_or_several_members(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcap"
    whole = pcap(5000, 200)
    middle = len(whole) // 2
    for data in (
        gzip.compress(whole),
        gzip.compress(whole[:middle]) + gzip.compress(whole[middle:]),
        gzip.compress(whole[:middle]) + bytes(700) + gzip.compress(whole[middle:]) + bytes(5),
        gzip.compress(whole) + b"trailing garbage",
    ):
        path.write_bytes(data)
        found, reader, error = read_all(str(path))
        assert error is None
        assert len(found) == 5000
        assert reader.facts.notes == ()


def test_unpacked_pieces_stay_small_however_well_a_file_was_packed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pcap.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    sizes = [len(piece) for piece in open_capture(str(path))]
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= CHUNK


def test_a_cut_gzip_file_gives_what_is_there_and_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap.gz"
    packed = gzip.compress(pcap(5000) + os.urandom(0), 1)
    path.write_bytes(packed[: len(packed) * 9 // 10])
    found, reader, error = read_all(str(path))
    assert error is None
    assert 4000 < len(found) < 5000
    assert reader.facts.truncated is not None
    path.write_bytes(packed[:-4])  # all of the capture, and the end of gzip missing
    found, reader, error = read_all(str(path))
    assert error is None
    assert len(found) == 5000
    assert reader.facts.truncated is not None
    assert "gzip stream" in reader.facts.notes[0]


def test_damaged_gzip_gives_what_stands_before_and_then_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap.gz"
    packed = bytearray(gzip.compress(pcap(20_000, 61) + os.urandom(200_000)))
    packed[-4000:-3900] = bytes(100)
    path.write_bytes(packed[:-8] + bytes(8))
    _, _, error = read_all(str(path))
    assert error is not None
    assert error.name == str(path)
    path.write_bytes(gzip.compress(pcap(20_000))[:-8] + b"\1\2\3\4\5\6\7\x08")  # wrong checksum
    found, _, error = read_all(str(path))
    assert len(found) == 20_000
    assert error is not None
    assert "gzip data is damaged" in error.reason


def test_damage_comes_after_the_items_before_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap"
    good = pcap(4)
    path.write_bytes(good + struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30))
    found, reader, error = read_all(str(path))
    assert numbers(found) == [1, 2, 3, 4]
    assert error is not None
    assert error.name == str(path)
    assert error.reason.startswith(f"damaged at byte {len(good) + 8}: ")
    assert error.remedy
    assert reader.facts.frames == 4


def test_a_cut_capture_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap(4)[:-1])
    found, reader, error = read_all(str(path))
    assert error is None
    assert numbers(found) == [1, 2, 3]
    assert reader.facts.truncated is not None
    assert reader.offset == reader.facts.truncated.offset


@pytest.mark.parametrize(
    ("content", "reason", "remedy"),
    [
        (b"", "empty", "pcap or pcapng"),
        (b"\xd4\xc3", "too short", "pcap or pcapng"),
        (b"<html></html>", "neither pcap nor pcapng", "pcap or pcapng"),
        (b"\x28\xb5\x2f\xfd....", "packed with zstd", "zstd -d"),
        (b"\xfd7zXZ\x00..", "packed with xz", "xz -d"),
        (b"BZh91AY", "packed with bzip2", "bzip2 -d"),
        (b"PK\x03\x04....", "packed with zip", "unzip"),
        (gzip.compress(b"hello world"), "neither pcap nor pcapng", "pcap or pcapng"),
    ],
)
def test_what_is_no_capture_is_an_error_with_a_remedy(tmp_path: Path, content: bytes, reason: str, remedy: str) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(content)
    found, _, error = read_all(str(path))
    assert found == []
    assert error is not None
    assert error.name == str(path)
    assert reason in error.reason
    assert remedy in error.remedy


def test_files_that_cannot_be_opened_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="there is no such file"):
        open_capture(str(tmp_path / "absent.pcap"))
    with pytest.raises(SourceError, match="is a folder"):
        open_capture(str(tmp_path))
    for code, reason in ((errno.EACCES, "may not be read"), (errno.EMFILE, "Too many open files")):

        def refuse(path: str, code: int = code) -> io.FileIO:
            raise OSError(code, os.strerror(code), path)

        monkeypatch.setattr("plugtap.hw.files.io.FileIO", refuse)
        with pytest.raises(SourceError, match=reason):
            open_capture(str(tmp_path / "x.pcap"))


class Failing(io.BytesIO):
    """A file whose disk breaks after the bytes it has."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


def test_a_read_error_comes_after_the_items_before_it() -> None:
    source = Failing(pcap(3))
    found = []
    with pytest.raises(SourceError, match="reading failed after 252 bytes"):
        for item in ItemReader(CaptureStream("disk.pcap", source, None, None)):
            found.append(item)
    assert numbers(found) == [1, 2, 3]
    assert source.closed


def test_progress_counts_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.pcap.gz"
    path.write_bytes(gzip.compress(pcap(10_000) + os.urandom(3 * CHUNK)))
    seen: list[tuple[int, int | None]] = []
    for _ in open_capture(str(path), lambda done, total: seen.append((done, total))):
        pass
    size = path.stat().st_size
    assert [total for _, total in seen] == [size] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == size
    assert len(seen) > 3


def test_closing_early_closes_the_file(tmp_path: Path) -> None:
    source = io.BytesIO(pcap(10))
    reader = ItemReader(CaptureStream("x", source, None, None))
    assert isinstance(next(iter(reader)), Frame)
    reader.close()
    assert source.closed
    assert list(reader) == []
    unread = ItemReader(CaptureStream("y", untouched := io.BytesIO(b""), None, None))
    unread.close()
    assert untouched.closed


def test_standard_input_gives_items_as_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    data = pcap(2)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(writing, data[:1])  # not even a magic

        def rest() -> None:
            os.write(writing, data[1:100])

        thread = threading.Thread(target=rest)
        thread.start()
        reader = read_items("-")
        items = iter(reader)
        first = next(items)  # while the pipe is open, and the second packet has not been sent
        thread.join()
        os.write(writing, data[100:])
        os.close(writing)
        assert numbers([first, *items]) == [1, 2]
        assert reader.stream.total is None
        assert not stdin.closed


def test_standard_input_must_not_be_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO()))
    with pytest.raises(SourceError, match="is a terminal"):
        open_capture("-")


def test_folders_are_searched_for_captures_by_suffix_and_content(tmp_path: Path) -> None:
    wanted = {
        "a.pcap": b"",
        "b.pcapng": b"",
        "c.cap": b"",
        "d.DUMP": b"",
        "sub/e.pcap.gz": b"",
        "sub/f.pcapng.gz": b"",
        "sub/deep/no-suffix": pcap(1),
        "sub/deep/ring.pcapng.part": b"\x0a\x0d\x0d\x0a",
        "sub/old.gz": gzip.compress(pcap(1)),
    }
    others = {"readme.txt": b"hello", "log.gz": gzip.compress(b"hello"), "broken.gz": b"\x1f\x8b\x08broken", "empty": b""}
    for name, content in {**wanted, **others}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    os.mkfifo(tmp_path / "pipe.pcap")
    (tmp_path / "dangling.pcap").symlink_to(tmp_path / "absent")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    found = find_captures([str(tmp_path)])
    assert sorted(found) == sorted(str(tmp_path / name) for name in wanted)
    assert found == find_captures([str(tmp_path)])


def test_files_named_are_taken_as_they_are_and_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"hello")
    (tmp_path / "a.pcap").write_bytes(pcap(1))
    notes, one, absent = str(tmp_path / "notes.txt"), str(tmp_path / "a.pcap"), str(tmp_path / "absent")
    again = os.path.join(str(tmp_path), ".", "a.pcap")
    assert find_captures([notes, "-", one, str(tmp_path), again, absent]) == [notes, "-", one, absent]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.pcap").write_bytes(pcap(1))
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_captures([str(tmp_path)]) == [str(tmp_path / "a.pcap"), str(tmp_path / "locked")]


def test_every_real_capture_is_found_and_read_to_its_end(captures: Path) -> None:
    paths = find_captures([str(captures / "files")])
    assert len(paths) >= 100
    for path in paths[::10]:
        found, reader, error = read_all(path)
        assert error is None
        assert len(found) == reader.facts.frames > 0
        assert reader.facts.skipped == {}
