"""Messages that wait for the broker, on disk, so that they outlive an outage and a restart (SQLite, one thread)."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import logging
import os
import sqlite3

import msgspec

log = logging.getLogger("plugtap.outbox")

FILE_MODE = 0o640
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, topic TEXT NOT NULL, payload
BLOB NOT NULL);
"""


class Message(msgspec.Struct, frozen=True):
    """One message. A later message with the same `key` takes the place of one that still waits (a newer revision)."""

    key: str
    topic: str
    payload: bytes
    id: int = 0


class Outbox:
    """First in, first out, bounded by messages and bytes: the oldest go first. counters: added, replaced, dropped,
    errors.

    When the disk fails, messages wait in memory, bounded by the same number.
    """

    def __init__(self, path: str, *, max_messages: int, max_bytes: int) -> None:
        self.path = path
        self.counters: collections.Counter[str] = collections.Counter()
        self.waiting = 0
        self.bytes = 0
        self.problem = ""
        self.changed = asyncio.Event()
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._new: collections.OrderedDict[str, Message] = collections.OrderedDict()  # not yet on disk
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._db: sqlite3.Connection | None = None

    def add(self, message: Message) -> None:
        """Take a message; it is stored with the next `first`, `flush` or `close`."""
        if self._new.pop(message.key, None) is not None:
            self.counters["replaced"] += 1
        elif len(self._new) >= self._max_messages:
            self._new.popitem(last=False)
            self.counters["dropped"] += 1
        self._new[message.key] = message
        self.counters["added"] += 1
        self.changed.set()

    async def flush(self) -> None:
        """Store what was added."""
        if self._new:
            messages = list(self._new.values())
            if await self._run(self._store, messages):
                for message in messages:
                    if self._new.get(message.key) is message:
                        del self._new[message.key]
                if self.problem:
                    log.warning("outbox can be used again path=%s", self.path)
                    self.problem = ""

    async def first(self, most: int) -> list[Message]:
        """The oldest messages that wait."""
        await self.flush()
        found: list[Message] = []
        await self._run(self._load, most, found)
        # What the disk does not take can still go out from memory.
        return [*found, *self._new.values()][:most]

    async def remove(self, message: Message) -> None:
        """The broker has it."""
        if message.id:
            await self._run(self._delete, message.id)
        elif self._new.get(message.key) is message:
            del self._new[message.key]

    async def close(self) -> None:
        """Store what was added, and let go of the file."""
        await self.flush()
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    @property
    def backlog(self) -> int:
        """Messages that wait, on disk and in memory."""
        return self.waiting + len(self._new)

    # -- in the thread -----------------------------------------------------------------------------------------------

    async def _run(self, work: object, *arguments: object) -> bool:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)  # type: ignore[arg-type]
        except (sqlite3.Error, OSError) as error:
            self.counters["errors"] += 1
            if not self.problem:
                log.error("outbox can't be used path=%s reason=%r; messages wait in memory", self.path, str(error))
            self.problem = str(error)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._set_aside)
            return False
        return True

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
            db = sqlite3.connect(self.path, timeout=2.0, check_same_thread=False)
            try:
                db.executescript(_SCHEMA)
                self._count(db)
            except sqlite3.Error:
                db.close()
                raise
            self._db = db
        return self._db

    def _count(self, db: sqlite3.Connection) -> None:
        count, size = db.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox").fetchone()
        self.waiting, self.bytes = int(count), int(size)

    def _store(self, messages: list[Message]) -> None:
        db = self._open()
        with db:
            for message in messages:
                gone = db.execute("DELETE FROM outbox WHERE key = ? RETURNING length(payload)", (message.key,)).fetchall()
                self.counters["replaced"] += len(gone)
                db.execute("INSERT INTO outbox (key, topic, payload) VALUES (?, ?, ?)", (message.key, message.topic, message.payload))
                self.waiting += 1 - len(gone)
                self.bytes += len(message.payload) - sum(int(row[0]) for row in gone)
            while self.waiting > 1 and (self.waiting > self._max_messages or self.bytes > self._max_bytes):
                oldest = db.execute("SELECT id, length(payload) FROM outbox ORDER BY id LIMIT 1").fetchone()
                db.execute("DELETE FROM outbox WHERE id = ?", (oldest[0],))
                self.waiting -= 1
                self.bytes -= int(oldest[1])
                self.counters["dropped"] += 1

    def _load(self, most: int, found: list[Message]) -> None:
        rows = self._open().execute("SELECT id, key, topic, payload FROM outbox ORDER BY id LIMIT ?", (most,))
        found += [Message(key=key, topic=topic, payload=payload, id=number) for number, key, topic, payload in rows]

    def _delete(self, number: int) -> None:
        db = self._open()
        with db:
            gone = db.execute("DELETE FROM outbox WHERE id = ? RETURNING length(payload)", (number,)).fetchall()
        self.waiting -= len(gone)
        self.bytes -= sum(int(row[0]) for row in gone)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _set_aside(self) -> None:
        """A file that is no database any more: keep it under another name, and begin anew."""
        with contextlib.suppress(sqlite3.Error):
            self._close()
        with contextlib.suppress(OSError):
            os.replace(self.path, self.path + ".damaged")
        for end in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(self.path + end)
        self.waiting = self.bytes = 0
