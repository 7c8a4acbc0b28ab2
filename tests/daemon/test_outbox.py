"""Messages that wait for the broker: durable, bounded, newest revision only, and alive on a failing disk."""

from __future__ import annotations

import pathlib
import sqlite3

import pytest

from plugtap.daemon.outbox import Message, Outbox


def message(key: str, payload: bytes = b"x", topic: str = "t") -> Message:
    return Message(key=key, topic=topic, payload=payload)


def outbox(folder: pathlib.Path, messages: int = 100, size: int = 10_000) -> Outbox:
    return Outbox(str(folder / "outbox.sqlite"), max_messages=messages, max_bytes=size)


async def drain(box: Outbox) -> list[tuple[str, bytes]]:
    found = []
    while waiting := await box.first(3):
        for entry in waiting:
            found.append((entry.key, entry.payload))
            await box.remove(entry)
    return found


async def test_order_and_survival(tmp_path: pathlib.Path) -> None:
    first = outbox(tmp_path)
    for n in range(5):
        first.add(message(f"k{n}", b"%d" % n))
    assert first.backlog == 5
    await first.close()
    second = outbox(tmp_path)
    second.add(message("k5", b"5"))
    assert await drain(second) == [(f"k{n}", b"%d" % n) for n in range(6)]
    assert second.backlog == 0 and second.bytes == 0
    await second.close()
    assert (tmp_path / "outbox.sqlite").stat().st_mode & 0o777 == 0o640


async def test_a_newer_revision_takes_the_place_of_one_that_waits(tmp_path: pathlib.Path) -> None:
    box = outbox(tmp_path)
    box.add(message("a", b"1"))
    box.add(message("b", b"1"))
    await box.flush()
    box.add(message("a", b"2"))
    box.add(message("a", b"3"))
    assert await drain(box) == [("b", b"1"), ("a", b"3")]
    assert box.counters["replaced"] == 2
    await box.close()


async def test_a_revision_that_comes_while_the_older_is_sent_is_not_lost(tmp_path: pathlib.Path) -> None:
    box = outbox(tmp_path)
    box.add(message("a", b"1"))
    (sending,) = await box.first(10)
    box.add(message("a", b"2"))
    await box.flush()
    await box.remove(sending)
    assert await drain(box) == [("a", b"2")]
    await box.close()


async def test_caps_drop_the_oldest(tmp_path: pathlib.Path) -> None:
    box = outbox(tmp_path, messages=3)
    for n in range(5):
        box.add(message(f"k{n}"))
        await box.flush()
    assert box.counters["dropped"] == 2
    assert [key for key, _ in await drain(box)] == ["k2", "k3", "k4"]
    big = outbox(tmp_path, size=25)
    for n in range(4):
        big.add(message(f"b{n}", b"0123456789"))
    assert [key for key, _ in await drain(big)] == ["b2", "b3"]
    unstored = outbox(tmp_path, messages=2)
    for n in range(3):
        unstored.add(message(f"u{n}"))
    assert unstored.backlog == 2, "what is not stored yet is bounded too"
    await box.close()
    await big.close()
    await unstored.close()


async def test_a_damaged_file_is_set_aside(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"this was never a database, and is long enough to be seen as none" * 20)
    box = outbox(tmp_path)
    box.add(message("a"))
    assert [entry.key for entry in await box.first(5)] == ["a"], "from memory"
    assert box.problem
    box.add(message("a2"))
    assert await drain(box) == [("a", b"x"), ("a2", b"x")]
    assert not box.problem and (tmp_path / "outbox.sqlite.damaged").exists()
    box.add(message("b"))
    await box.close()
    again = outbox(tmp_path)
    assert await drain(again) == [("b", b"x")]
    await again.close()


async def test_a_disk_that_fails_leaves_memory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(tmp_path)

    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(box, "_store", full)
    box.add(message("a", b"1"))
    box.add(message("b", b"1"))
    assert await drain(box) == [("a", b"1"), ("b", b"1")]
    assert box.counters["errors"] >= 1
    monkeypatch.undo()
    box.add(message("c"))
    assert await drain(box) == [("c", b"x")] and not box.problem
    await box.close()
