"""Control pilot records out of a file that was written beside a capture. What a file is shows in its content:

===================  ===============================================================  ====================================
content              example                                                          times
===================  ===============================================================  ====================================
CPF1                 what the ADC sent over the serial line, byte by byte             device clock
lines of a device    ``CP,123456,9012,-11987,50,10001*1C``, ``hi=8.97 … t=1.5``       device clock
JSON Lines           ``{"time": "2026-01-01T12:00:00Z", "hi": 9, "lo": -12, …}``      `time`: absolute
..                   ``{"t": 1.5, "state": "B2"}``                                    `t`: seconds since the capture began
values out of MMEs   ``{"time": …, "data": {"state": "B", "duty_pct": 5, …}}``        absolute
EVerest event log    ``{"time": …, "event": "Set PWM On (5%)"}``, or a CSV line with  absolute
..                   its time first
===================  ===============================================================  ====================================

A device clock starts anywhere: its first reading is put where the capture begins.

Lines of a device cover the time since the line before, as they do live. Anything else holds from its own time on until
the next: a state for as long as that takes, measured levels for a second at most. A state without levels gets the
nominal ones of its letter; a running PWM whose negative plateau nobody tells gets -12 V. Both are marked `CP_NOMINAL`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from plugtap.protocols.cp_assembler import CpAssembler
from plugtap.protocols.cp_clock import DeviceClock
from plugtap.protocols.cp_text import TextReading, parse_line, parse_time, text_record
from plugtap.protocols.cpf1 import Cpf1Parser
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.everest_log import EverestPilot
from plugtap.protocols.items import CP_GLITCH, CpRecord
from plugtap.protocols.pilot import letter_of

MS = 1_000_000
SECOND = 1_000_000_000
MAX_LINE = 16_384
MAX_RECORDS = 1_000_000
_HEAD = 4096  # so many bytes decide between binary and text; a frame of CPF1 is shorter
_HOLD = SECOND

ABSOLUTE, CAPTURE, DEVICE = "absolute", "capture", "device"

_CSV_TIME = re.compile(r'^"?(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d[^",;]{0,20})"?[,;](.*)$')


class PilotLog(msgspec.Struct):
    """What a file holds. `clock`: ``absolute`` (ns since the epoch), ``capture`` (since the capture began) or
    ``device`` (since the first record)."""

    form: str  # for people
    clock: str
    records: list[CpRecord]
    bad: int = 0  # lines or frames that could not be read
    first_bad: int = 0  # number of the first bad line, 0 for CPF1
    untimed: int = 0  # readings without a time, or with one of another clock than the first reading
    dropped: int = 0  # records above `max_records`


class FileClock(DeviceClock):
    """The device's clock as it is: in a file nothing says when a reading arrived. After a restart of the device its
    time goes on where it was, for how long it was off is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self._base = 0
        self._newest = 0  # host time
        self._again = False

    @property
    def uncertain(self) -> bool:
        """Always: where the capture began on this clock is a guess."""
        return True

    def restart(self) -> None:
        """The device has started anew."""
        self._again = True

    def observe(self, t_dev: int, t_rx: int) -> None:
        """Takes note of a frame's end."""
        if self._again:
            self._base = self._newest - t_dev
            self._again = False
        self._newest = max(self._newest, self.to_host(t_dev))

    def to_host(self, t_dev: int) -> int:
        """Time since the device's first start, ns."""
        return t_dev + self._base


class PilotLogParser:
    """Push parser: `feed` the file in any pieces, then `close`. Raises DecodeError("pilot file") when there is no
    reading in it; `offset` is then the line (0: binary)."""

    def __init__(self, source: str = "cp", *, max_records: int = MAX_RECORDS) -> None:
        self._source = source
        self._max = max_records
        self._head = b""
        self._cpf1: Cpf1Parser | None = None
        self._decided = False
        self._buffer = bytearray()
        self._skipping = False
        self._line = 0
        self._bad = 0
        self._first_bad = 0
        self._untimed = 0
        self._first_untimed = 0
        self._dropped = 0
        self._form = ""
        self._clock = ""
        self._records: list[CpRecord] = []
        self._assembler = CpAssembler(source, clock=FileClock())
        self._everest = EverestPilot()
        self._last: tuple[int, TextReading] | None = None  # a reading that holds until the next
        self._until = 0  # … or until the log ends
        self._digit = "1"
        self._cr = False  # the piece before ended with a carriage return

    def feed(self, data: bytes) -> None:
        """Take the next piece of the file."""
        if not self._decided:
            self._head += data
            if len(self._head) < _HEAD:
                return
            data = self._decide()
        self._take(data)

    def close(self) -> PilotLog:
        """The file has ended. Times are rising."""
        if not self._decided:
            self._take(self._decide())
        if self._cpf1 is None:
            self._take(b"\n")
            self._hold(self._until)
        self._keep(self._assembler.flush())
        records = self._records
        if not records:
            raise self._nothing()
        records.sort(key=lambda record: record.t)
        if self._clock == DEVICE:
            first = records[0].t
            records = [msgspec.structs.replace(record, t=record.t - first) for record in records]
        if self._cpf1 is not None:
            c = self._cpf1.counters
            self._bad = c.bad_cobs + c.bad_crc + c.bad_length + c.oversize
        return PilotLog(
            self._form, self._clock, records, bad=self._bad, first_bad=self._first_bad, untimed=self._untimed, dropped=self._dropped
        )

    def _decide(self) -> bytes:
        """Binary or text? Returns what has come so far."""
        head, self._head, self._decided = self._head, b"", True
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DecodeError("pilot file", 1, "is UTF-16 text; save it as UTF-8")
        if b"\0" in head:  # ends every frame of CPF1, and is in no text
            self._cpf1, self._form, self._clock = Cpf1Parser(), "CPF1", DEVICE
        return head.removeprefix(b"\xef\xbb\xbf")

    def _nothing(self) -> DecodeError:
        if self._cpf1 is not None:
            return DecodeError("pilot file", 0, "is binary, but holds no CPF1 frame with a reading of the pilot")
        if self._untimed:
            return DecodeError("pilot file", self._first_untimed, f"line {self._first_untimed} has no time, so it can't be put beside the capture")
        if self._bad:
            return DecodeError("pilot file", self._first_bad, f"line {self._first_bad} is in no known form")
        return DecodeError("pilot file", 0, "says nothing about the pilot")

    def _take(self, data: bytes) -> None:
        if self._cpf1 is not None:
            for message in self._cpf1.feed(data):
                self._keep(self._assembler.feed(0, message))
            return
        if self._cr:
            data = data.removeprefix(b"\n")
        self._cr = data.endswith(b"\r")
        pieces = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for i, piece in enumerate(pieces):
            if not self._skipping:
                self._buffer += piece
                self._skipping = len(self._buffer) > MAX_LINE
            if i == len(pieces) - 1:
                if self._skipping:
                    self._buffer.clear()
                return
            self._line += 1
            text = self._buffer.decode("utf-8", "replace").strip()
            if self._skipping:
                self._refuse()
            elif text and not text.startswith("#"):
                self._text(text)
            self._buffer.clear()
            self._skipping = False

    def _keep(self, records: list[CpRecord]) -> None:
        room = self._max - len(self._records)
        self._records += records[:room]
        self._dropped += max(0, len(records) - room)

    def _refuse(self) -> None:
        self._bad += 1
        self._first_bad = self._first_bad or self._line

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        if text.startswith("{"):
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                self._row(row, text)
                return
        csv = _CSV_TIME.match(text)
        if csv is not None:
            self._csv(csv[1], csv[2])
            return
        reading = parse_line(text)
        if reading is None:
            self._refuse()
        elif reading.time_ns is not None:
            self._holding(reading.time_ns, reading, ABSOLUTE, "lines with time")
        elif self._timed(DEVICE if reading.t_ms is not None else "", "lines of a device"):
            self._keep(self._assembler.feed(0, reading))

    def _row(self, row: dict[str, Any], text: str) -> None:
        """A JSON object: of an event log, of values out of MMEs, or a reading."""
        time = parse_time(row.get("time"))
        if isinstance(row.get("event"), str):
            self._event(time, row["event"])
        elif isinstance(row.get("data"), dict):
            self._carried(time, row["data"])
        else:
            reading = parse_line(text)
            if reading is None:
                self._refuse()
            elif reading.time_ns is not None:
                self._holding(reading.time_ns, reading, ABSOLUTE, "JSON Lines")
            else:
                t = round(reading.t_ms * MS) if reading.t_ms is not None else 0
                self._holding(t, reading, CAPTURE if reading.t_ms is not None else "", "JSON Lines")

    def _csv(self, time: str, rest: str) -> None:
        """A line of an event log as CSV: the event is whichever field is one."""
        for field in re.split(r'"?[,;]"?', rest.strip('"')):
            self._event(parse_time(time), field)

    def _event(self, time: int | None, event: str) -> None:
        readings = self._everest.feed(event)
        for before, reading in zip(range(len(readings) - 1, -1, -1), readings, strict=True):
            self._holding((time or 0) - before * MS, reading, ABSOLUTE if time is not None else "", "EVerest event log")
        if time is not None:
            self._until = max(self._until, time)  # while the log goes on, so does the state

    def _carried(self, time: int | None, data: dict[str, Any]) -> None:
        """What a vendor's MME carried: the positive plateau only, sometimes the duty cycle."""
        if "state" not in data:
            return  # diagnostics beside it lag behind
        names = {"state": "state", "duty_pct": "duty_pct", "freq_hz": "freq_hz", "cp_mv": "hi_mv"}
        known = {new: data[old] for old, new in names.items() if old in data}
        reading = parse_line(json.dumps(known))
        if reading is None:
            self._refuse()
        else:
            self._holding(time or 0, reading, ABSOLUTE if time is not None else "", "values out of MMEs")

    # -- readings ------------------------------------------------------------------------------------------------------

    def _timed(self, clock: str, form: str) -> bool:
        """Whether a reading is on the file's clock, which is that of its first reading."""
        if clock and not self._clock:
            self._clock, self._form = clock, form
        if not clock or clock != self._clock:
            self._untimed += 1
            self._first_untimed = self._first_untimed or self._line
            return False
        return True

    def _holding(self, t: int, reading: TextReading, clock: str, form: str) -> None:
        """A reading that holds from `t` on until the next one."""
        if self._timed(clock, form):
            self._hold(t)
            self._last = (t, reading)

    def _hold(self, until: int) -> None:
        """Make the record of the last reading: it held until `until`."""
        if self._last is None:
            return
        t, reading = self._last
        self._last = None
        longest = _HOLD if reading.hi_mv is not None else until - t
        record = self._record(t, reading, max(0, min(until - t, longest)))
        if record is not None:
            self._keep([record])

    def _record(self, t: int, reading: TextReading, span: int) -> CpRecord | None:
        if reading.state is not None and reading.state[1:]:
            self._digit = reading.state[1:]
        record = text_record(reading, t, span, self._source, self._digit)
        if record is None:
            return None
        if reading.state is not None and reading.hi_mv is not None and letter_of(reading.hi_mv) != reading.state[0]:
            # level and letter are not of the same moment
            return msgspec.structs.replace(record, flags=record.flags | CP_GLITCH)
        return record
