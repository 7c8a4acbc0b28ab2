"""Control pilot readings as lines of text, from simple sketches and from files. One reading a line, in one of these forms:

=====================================================  =================================================================
``CP,123456,9012,-11987,50,10001,1500*34``             plugtap's own: t in ms, high and low plateau in mV, duty in 0.1 %,
..                                                     frequency in 0.1 Hz, proximity in ohm (may be left out), XOR of all
..                                                     characters before the ``*`` as two hex digits (may be left out)
``-11.93 8.97``                                        least and greatest voltage (arduino-controlpilot-observer)
``hi=8.97 lo=-11.93 duty=5 freq=1000``                 key=value or key:value, separated by blanks or commas
``{"t": 1.5, "hi": 8.97, "lo": -11.93, "duty": 5}``    JSON
``{"time": "2026-01-01T00:00:00Z", "state": "B2"}``    JSON with a state instead of levels
``$AT 03 03 16 0000^36``                               OpenEVSE: EVSE state, pilot state (hex), ampere, flags
=====================================================  =================================================================

Keys: `KEYS`. Levels without a unit in their name are volts, duty is percent, freq hertz, t seconds; `time` is RFC 3339 or
seconds since 1970.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import msgspec

from plugtap.protocols.items import CP_NO_PWM, CpRecord
from plugtap.protocols.pilot import BAND, CP_NOMINAL

MAX_LINE = 512
_MAX_MV = 30_000
_MAX_OHM = 1_000_000


class TextReading(msgspec.Struct, frozen=True):
    """One line. None: the line does not say. `state` is a letter with 1, 2 or no digit; `duty` 0.01 %, `freq` 0.1 Hz
    as in CpRecord.
    """

    t_ms: float | None = None  # the device's clock
    time_ns: int | None = None  # since the epoch
    hi_mv: int | None = None
    lo_mv: int | None = None
    duty: int | None = None
    freq: int | None = None
    pp_mv: int | None = None
    pp_ohm: int | None = None
    state: str | None = None


# what a key means: field, factor to the field's unit
KEYS: dict[str, tuple[str, float]] = {
    "t": ("t_ms", 1000),
    "t_ms": ("t_ms", 1),
    "hi": ("hi_mv", 1000),
    "high": ("hi_mv", 1000),
    "cp_hi": ("hi_mv", 1000),
    "hi_mv": ("hi_mv", 1),
    "cp_voltage_hi": ("hi_mv", 1),
    "lo": ("lo_mv", 1000),
    "low": ("lo_mv", 1000),
    "cp_lo": ("lo_mv", 1000),
    "lo_mv": ("lo_mv", 1),
    "cp_voltage_lo": ("lo_mv", 1),
    "duty": ("duty", 100),
    "duty_pct": ("duty", 100),
    "pwm_dc": ("duty", 100),
    "freq": ("freq", 10),
    "freq_hz": ("freq", 10),
    "pp_v": ("pp_mv", 1000),
    "pp_mv": ("pp_mv", 1),
    "pp_ohm": ("pp_ohm", 1),
}

_LIMITS = {
    "t_ms": (0, 1e15),
    "hi_mv": (-_MAX_MV, _MAX_MV),
    "lo_mv": (-_MAX_MV, _MAX_MV),
    "duty": (0, 10_000),
    "freq": (0, 0xFFFF),
    "pp_mv": (-_MAX_MV, _MAX_MV),
    "pp_ohm": (0, _MAX_OHM),
}

_STATE = re.compile(r"^(?:State_)?([A-D][12]?|[EF][12]?)$")
_OBSERVER = re.compile(r"^(-?\d{1,3}(?:\.\d{1,6})?)[ \t]+(-?\d{1,3}(?:\.\d{1,6})?)$")
_PAIR = re.compile(r"""["']?([A-Za-z_]\w{0,31})["']?\s*[=:]\s*["']?([^\s,;"'{}]{1,40})""")
_OPENEVSE = re.compile(
    r"^\$AT ([0-9A-Fa-f]{1,2}) ([0-9A-Fa-f]{1,2}) (\d{1,3}) ([0-9A-Fa-f]{1,8})(?:\^([0-9A-Fa-f]{2}))?$"
)
_RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)?$")

_OPENEVSE_LETTERS = {1: "A", 2: "B", 3: "C", 4: "D"}

_Scalar = str | int | float | bool | None
_json = msgspec.json.Decoder(dict[str, _Scalar])


def parse_time(value: _Scalar) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 text (without zone: UTC) or of seconds; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < 9e9:  # nor NaN, nor an integer that no float can hold
            return None
        # a double holds the seconds of today to a quarter of a microsecond
        whole = int(value)
        return whole * 1_000_000_000 + round((value - whole) * 1e6) * 1_000
    match = _RFC3339.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in (None, 'Z', 'z') else zone}")
    except ValueError:
        return None
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = delta.days * 86_400 + delta.seconds
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0")) if seconds >= 0 else None


def parse_line(line: str) -> TextReading | None:
    """The reading in a line (without its end); None when it is in none of the known forms, or says nothing about the
    pilot.
    """
    line = line.strip()
    if line.startswith("CP,"):
        return _own(line)
    if line.startswith("$AT"):
        return _openevse(line)
    match = _OBSERVER.match(line)
    if match is not None:
        low, high = sorted((float(match[1]), float(match[2])))
        return _checked({"hi_mv": high * 1000, "lo_mv": low * 1000})
    if line.startswith("{"):
        try:
            return _keys(_json.decode(line))
        except (msgspec.MsgspecError, UnicodeError):
            pass  # some sketches write key=value in braces
    return _keys(dict(_PAIR.findall(line)))


def xor(text: str) -> int:
    """The checksum of the CP and the OpenEVSE line: all bytes XORed."""
    value = 0
    for byte in text.encode("ascii", "replace"):
        value ^= byte
    return value


def encode_line(reading: TextReading) -> bytes:
    """The ``CP,…`` line of a reading, checksum and newline included. Raises ValueError without levels."""
    if reading.hi_mv is None:
        raise ValueError("a CP line needs levels")
    lo = reading.hi_mv if reading.lo_mv is None else reading.lo_mv
    fields = ["CP", str(round(reading.t_ms or 0)), str(reading.hi_mv), str(lo)]
    fields += [str(round((reading.duty or 0) / 10)), str(reading.freq or 0)]
    if reading.pp_ohm is not None:
        fields.append(str(reading.pp_ohm))
    text = ",".join(fields)
    return f"{text}*{xor(text):02X}\n".encode("ascii")


def _own(line: str) -> TextReading | None:
    text, star, checksum = line.partition("*")
    if star and (not re.fullmatch(r"[0-9A-Fa-f]{2}", checksum) or int(checksum, 16) != xor(text)):
        return None
    fields = text.split(",")[1:]
    if len(fields) not in (5, 6) or not all(re.fullmatch(r"-?\d{1,15}", field) for field in fields):
        return None
    t_ms, hi, lo, duty, freq, *pp = map(int, fields)
    values: dict[str, float] = {"t_ms": t_ms, "hi_mv": hi, "lo_mv": lo, "duty": 10 * duty, "freq": freq}
    if pp:
        values["pp_ohm"] = pp[0]
    return _checked(values)


def _openevse(line: str) -> TextReading | None:
    """``$AT evsestate pilotstate currentcapacity vflags^xk``. OpenEVSE drives PWM in its states B, C and D only."""
    match = _OPENEVSE.match(line)
    if match is None or (match[5] is not None and int(match[5], 16) != xor(line.partition("^")[0])):
        return None
    letter = _OPENEVSE_LETTERS.get(int(match[2], 16))
    if letter is None:
        return None
    ampere = int(match[3])
    if int(match[1], 16) not in (2, 3, 4) or letter == "A" or not 6 <= ampere <= 80:
        return TextReading(state=letter + "1")
    duty = ampere / 0.6 if ampere <= 51 else ampere / 2.5 + 64
    return TextReading(state=letter + "2", duty=round(100 * duty))


def _keys(values: dict[str, _Scalar]) -> TextReading | None:
    numbers: dict[str, float] = {}
    state = None
    time_ns = None
    for key, value in values.items():
        name = key.lower()
        if name in ("state", "cp_state"):
            match = _STATE.match(value) if isinstance(value, str) else None
            if match is None:
                return None
            state = match[1] if match[1][0] not in "EF" else match[1][0]
        elif name == "time":
            time_ns = parse_time(value) if parse_time(value) is not None else parse_time(_number(value))
        elif name in KEYS:
            number = _number(value)
            if number is None:
                return None
            field, factor = KEYS[name]
            numbers[field] = number * factor
    return _checked(numbers, state, time_ns)


def _number(value: _Scalar) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _checked(values: dict[str, float], state: str | None = None, time_ns: int | None = None) -> TextReading | None:
    """The reading, if every value is within what the quantity can be and there is anything about the pilot in it."""
    if state is None and "hi_mv" not in values:
        return None
    for name, value in values.items():
        low, high = _LIMITS[name]
        if not low <= value <= high:
            return None
    rounded = {name: round(value) for name, value in values.items() if name != "t_ms"}
    return TextReading(**rounded, t_ms=values.get("t_ms"), state=state, time_ns=time_ns)


def text_record(
    reading: TextReading, t: int, span: int = 0, source: str = "cp", digit: str = "1"
) -> CpRecord | None:
    """The record of a line that covers `span` ns from `t`; None when the line has neither levels nor state.

    A state without levels gets the nominal ones of its letter, marked `CP_NOMINAL`; `digit` (1, 2) is that of a
    letter without one. Levels far apart without a duty cycle oscillate in a way nobody measured: duty and freq are 0.
    A duty cycle without frequency is taken as 1 kHz, one without a low plateau as -12 V, marked `CP_NOMINAL` too: no
    check may take it for measured.
    """
    flags = 0
    hi, lo, duty, freq = reading.hi_mv, reading.lo_mv, reading.duty, reading.freq
    if hi is None:
        if reading.state is None:
            return None
        band = BAND[reading.state[0]]
        pwm = band.letter in "ABCD" and (reading.state[1:] or digit) == "2"
        if duty is not None and 0 < duty < 10_000:
            pwm = band.letter in "ABCD"
        flags |= CP_NOMINAL
        hi, lo = band.nominal_mv, BAND["F"].nominal_mv if pwm else band.nominal_mv
        duty = duty if pwm else None
    if duty is not None and 0 < duty < 10_000:
        freq = 10_000 if freq is None else freq
        if lo is None:
            flags, lo = flags | CP_NOMINAL, BAND["F"].nominal_mv
    elif duty is None and lo is not None and hi - lo > 3_000:
        duty = freq = 0
    else:
        flags |= CP_NO_PWM
        lo, freq = hi, 0
        duty = 10_000 if hi > BAND["E"].high_mv else 0
    return CpRecord(
        t=t,
        number=0,
        hi_mv=hi,
        lo_mv=lo,
        duty=duty,
        freq=freq,
        span=span,
        # an average of the device, not a single cycle that might be a glitch
        cycles=max(3, span // 1_000_000),
        flags=flags,
        pp_mv=reading.pp_mv,
        pp_ohm=reading.pp_ohm,
        source=source,
    )


class CpTextCounters(msgspec.Struct):
    """What came and what was dropped, since the start."""

    lines: int = 0
    bad: int = 0  # in no known form, with a wrong checksum or impossible values
    oversize: int = 0


class CpTextParser:
    """Push parser: bytes in any pieces, readings out. Never raises; keeps at most one line. Empty lines and ``#``
    lines are skipped.
    """

    def __init__(self) -> None:
        self.counters = CpTextCounters()
        self._buffer = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[TextReading]:
        """The readings that `data` completes. A line ends with CR, LF or both."""
        out: list[TextReading] = []
        pieces = data.replace(b"\r", b"\n").split(b"\n")
        for i, piece in enumerate(pieces):
            if not self._skipping:
                self._buffer += piece
                if len(self._buffer) > MAX_LINE:
                    self.counters.oversize += 1
                    self._buffer.clear()
                    self._skipping = True
            if i == len(pieces) - 1:
                break
            reading = self._line(self._buffer.decode("utf-8", "replace").strip())
            if reading is not None:
                out.append(reading)
            self._buffer.clear()
            self._skipping = False
        return out

    def close(self) -> list[TextReading]:
        """The reading in a last line without an end."""
        return self.feed(b"\n")

    def _line(self, line: str) -> TextReading | None:
        if not line or line.startswith("#"):
            return None
        self.counters.lines += 1
        reading = parse_line(line)
        self.counters.bad += reading is None
        return reading
