"""The control pilot's ADC: CPF1 frames or text lines from a serial port, a TCP bridge or a pipe. Nothing is ever
written to it."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable, Iterator

import serial  # type: ignore[import-untyped]

from plugtap.hw.pipe import open_path
from plugtap.hw.source import Clock, SourceItem, wall_clock
from plugtap.hw.stream import Connection, FdConnection, StreamSource
from plugtap.hw.tcp import open_tcp
from plugtap.protocols.cp_assembler import CpAssembler
from plugtap.protocols.cp_text import CpTextParser
from plugtap.protocols.cpf1 import Cpf1Parser
from plugtap.protocols.items import CpRecord, TapEvent

FLUSH_SECONDS = 0.2  # a silent device leaves nothing unsaid for longer
UNDERSTOOD_AFTER = 20  # damaged frames or lines: a device that was not understood by then has the wrong speed or format
DAMAGE_EVENT_NS = 10_000_000_000  # at most one event of damage in this time


class PilotDecoder:
    """Bytes of the ADC to pilot records. With format ``auto`` the first sound frame or line decides what the device
    speaks.

    counters: gaps (frames missing by their sequence numbers), damaged (frames or lines that could not be read),
    records.
    """

    def __init__(self, counters: collections.Counter[str], name: str, form: str = "auto") -> None:
        self._counters = counters
        self._name = name
        self._cpf1 = Cpf1Parser() if form in ("auto", "cpf1") else None
        self._text = CpTextParser() if form in ("auto", "text") else None
        self._assembler = CpAssembler(name)
        self._last = 0  # end of the last record, ns
        self._gaps = 0
        self._bad = 0
        self._bad_told = 0
        self._bad_time = 0

    def feed(self, data: bytes, arrival: int) -> Iterator[SourceItem]:
        """See `Decoder`. Damage and missing frames become counters and, sparingly, tap events."""
        if self._cpf1 is not None:
            for message in self._cpf1.feed(data):
                self._decide("cpf1")
                yield from self._records(self._assembler.feed(arrival, message))
        if self._text is not None:
            for reading in self._text.feed(data):
                self._decide("text")
                yield from self._records(self._assembler.feed(arrival, reading))
        yield from self._damage(arrival)

    def _decide(self, form: str) -> None:
        """The device speaks `form`; what the other parser made of it is no damage."""
        if self._cpf1 is None or self._text is None:
            return
        self._bad = self._bad_told = self._gaps = 0
        if form == "cpf1":
            self._text = None
            c = self._cpf1.counters
            self._bad = self._bad_told = c.bad_cobs + c.bad_crc + c.bad_length + c.oversize
        else:
            self._cpf1 = None
            self._bad = self._bad_told = self._text.counters.bad + self._text.counters.oversize

    def flush(self, now: int) -> Iterator[SourceItem]:
        """See `Decoder`."""
        yield from self._records(self._assembler.flush())

    def _records(self, records: list[CpRecord]) -> Iterator[SourceItem]:
        for record in records:
            self._counters["records"] += 1
            self._last = record.t + record.span
            yield record

    def _damage(self, arrival: int) -> Iterator[SourceItem]:
        gaps = bad = 0
        if self._cpf1 is not None:
            c = self._cpf1.counters
            gaps, bad = c.lost, c.bad_cobs + c.bad_crc + c.bad_length + c.oversize
        if self._text is not None:
            bad = max(bad, self._text.counters.bad + self._text.counters.oversize)
        t = self._last or arrival  # not ahead of records that are still to come
        if gaps > self._gaps:
            self._counters["gaps"] += gaps - self._gaps
            missing: dict[str, int | str] = {"frames": gaps - self._gaps}
            yield TapEvent(t, 0, self._name, "drop", "frames of the pilot device are missing", missing)
            self._gaps = gaps
        if not self._counters["records"] and bad < UNDERSTOOD_AFTER:
            self._bad = self._bad_told = bad  # it was opened in the middle of a frame, or speaks the other format
        if bad > self._bad:
            self._counters["damaged"] += bad - self._bad
            self._bad = bad
            if arrival - self._bad_time >= DAMAGE_EVENT_NS:
                self._bad_time = arrival
                damaged: dict[str, int | str] = {"frames": bad - self._bad_told}
                yield TapEvent(t, 0, self._name, "damaged", "what the pilot device sends can't be read", damaged)
                self._bad_told = bad


class SerialConnection(FdConnection):
    """An open serial port. One that can be read and gives nothing was unplugged."""

    def __init__(self, port: serial.Serial) -> None:
        super().__init__(port.fileno())
        self._port = port

    def close(self) -> None:
        """Close the port (its descriptor with it)."""
        self._port.close()


async def open_serial(device: str, baud: int) -> Connection:
    """Open a serial port for this process alone. Raises OSError (SerialException is one)."""
    port = serial.Serial(device, baud, timeout=0, exclusive=True)
    port.reset_input_buffer()  # what waited here is older than we can tell
    return SerialConnection(port)


def _pilot(name: str, detail: str, connect: Callable[[], Awaitable[Connection]], form: str, clock: Clock) -> StreamSource:
    return StreamSource(
        name,
        detail,
        connect,
        lambda counters: PilotDecoder(counters, name, form),
        flush_seconds=FLUSH_SECONDS,
        counters=("records", "gaps"),
        clock=clock,
    )


def serial_pilot(device: str, *, baud: int = 115_200, form: str = "auto", name: str = "cp", clock: Clock = wall_clock) -> StreamSource:
    """Pilot records from a serial port or pseudo terminal."""
    return _pilot(name, device, lambda: open_serial(device, baud), form, clock)


def tcp_pilot(host: str, port: int, *, form: str = "auto", name: str = "cp", clock: Clock = wall_clock) -> StreamSource:
    """Pilot records from a serial-to-TCP bridge."""
    return _pilot(name, f"{host}:{port}", lambda: open_tcp(host, port), form, clock)


def pipe_pilot(path: str, *, form: str = "auto", name: str = "cp", clock: Clock = wall_clock) -> StreamSource:
    """Pilot records from a FIFO or Unix socket."""
    return _pilot(name, path, lambda: open_path(path), form, clock)
