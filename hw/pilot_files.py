"""Control pilot records from a file beside a capture (`plugtap analyze --cp FILE`). What it is shows in its content:
protocols/cp_log.py."""

from __future__ import annotations

import msgspec

from plugtap.hw.errors import SourceError
from plugtap.hw.files import open_capture
from plugtap.protocols.cp_log import ABSOLUTE, PilotLog, PilotLogParser
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import CpRecord

FORMS = "it may be CPF1, CP text lines, JSON Lines with time (or t) and state (or hi, lo, duty, freq), or an EVerest event log; gzip or not"


class PilotFile:
    """The records of one file; `log` is as the file tells them."""

    def __init__(self, name: str, log: PilotLog) -> None:
        self.name = name
        self.log = log

    def records(self, start: int = 0, offset_ns: int = 0) -> list[CpRecord]:
        """The records in a capture's time, `offset_ns` later. `start` (ns) is when the capture began: relative times
        count from there."""
        shift = offset_ns + (0 if self.log.clock == ABSOLUTE else start)
        return [msgspec.structs.replace(record, t=record.t + shift) for record in self.log.records]

    def notes(self) -> tuple[str, ...]:
        """What could not be used, for people."""
        log, notes = self.log, []
        if log.bad:
            where = f", the first is line {log.first_bad}" if log.first_bad else ""
            notes.append(f"{self.name}: {log.bad} {'lines' if log.first_bad else 'frames'} could not be read{where}")
        if log.untimed:
            notes.append(f"{self.name}: {log.untimed} readings have no time on the clock of the first one and were left out")
        if log.dropped:
            notes.append(f"{self.name}: the last {log.dropped} readings were left out; {len(log.records)} are the limit")
        return tuple(notes)


def open_pilot_file(path: str) -> PilotFile:
    """Read a pilot file. Raises SourceError, naming file, line and remedy."""
    stream = open_capture(path)
    parser = PilotLogParser()
    try:
        for chunk in stream:
            parser.feed(chunk)
        return PilotFile(stream.name, parser.close())
    except DecodeError as error:
        raise SourceError(stream.name, error.reason, FORMS) from None
    finally:
        stream.close()


def read_pilot_file(path: str, offset_ns: int = 0, start: int = 0) -> list[CpRecord]:
    """The records of a pilot file in a capture's time. Raises SourceError, naming file, line and remedy."""
    return open_pilot_file(path).records(start, offset_ns)
