"""Messages of a control pilot ADC to `CpRecord`s: device time to host time, waveforms to cycles, steady stretches to
one record.

Every cycle would be 1000 records a second that say the same. A stretch in which nothing moves becomes one record of
at most `max_span`; whatever moves ends the record at once, and the first record of the new state comes as soon as it
is sure (`sure_cycles`).
"""

from __future__ import annotations

import msgspec
import numpy as np

from plugtap.protocols import cpf1, waveform
from plugtap.protocols.cp_clock import DeviceClock
from plugtap.protocols.cp_text import TextReading, text_record
from plugtap.protocols.items import (
    CP_CLIPPED,
    CP_DIODE_SUSPECT,
    CP_GLITCH,
    CP_NO_PWM,
    CP_OVERRUN,
    CP_TIME_UNCERTAIN,
    CpRecord,
)
from plugtap.protocols.pilot import BAND

MS = 1_000_000
SECOND = 1_000_000_000
_CYCLE_NS = MS
_E_TOP_MV = BAND["E"].high_mv
_STEP_MV = 2_000  # a level that moved so far has a mean that means nothing


class AssemblerSettings(msgspec.Struct, frozen=True):
    """What counts as steady, and how long a record may get."""

    max_span: int = 100 * MS
    sure_cycles: int = 3
    hi_mv: int = 300  # the values of one record lie within this range
    lo_mv: int = 600
    duty: int = 30  # 0.01 %
    freq: int = 50  # 0.1 Hz
    block: int = 50 * MS  # a waveform is read in blocks of this length
    pp_valid: int = 5_000 * MS  # after that without a PP message proximity is unknown


class _Cell(msgspec.Struct):
    """A cycle, or a short stretch without PWM, in device time. `step`: the resolution of duty (0.01 %) and, tenfold,
    of the period.
    """

    t: int
    span: int
    cycles: int
    hi: int
    lo: int
    duty: int
    freq: int
    noise: int
    flags: int
    step: int = 0


class _Run:
    """Cells that are alike, being gathered into one record. `t_host` is its start in host time, `mark` a flag of its
    start only.
    """

    def __init__(self, cell: _Cell, t_host: int, fresh: bool, mark: int) -> None:
        self.t, self.end = cell.t, cell.t + cell.span
        self.t_host = t_host
        self.flags = cell.flags
        self.mark = mark
        self.fresh = fresh  # the first record of a new state: do not keep it waiting
        self.cycles = cell.cycles
        self.noise = cell.noise
        self.least = [cell.hi, cell.lo, cell.duty, cell.freq]
        self.most = list(self.least)
        self.sums = [value * cell.cycles for value in self.least]

    def like(self, cell: _Cell, s: AssemblerSettings) -> bool:
        """Does the cell follow at once, and does nothing move?"""
        if cell.flags != self.flags or not -_CYCLE_NS <= cell.t - self.end <= 2 * _CYCLE_NS:
            return False
        # a sampled waveform moves each edge by up to one sample: duty by one step, frequency by two
        duty, freq = max(s.duty, 3 * cell.step), max(s.freq, 3 * cell.step)
        least, most = self.least, self.most
        return (
            max(most[0], cell.hi) - min(least[0], cell.hi) <= s.hi_mv
            and max(most[1], cell.lo) - min(least[1], cell.lo) <= s.lo_mv
            and max(most[2], cell.duty) - min(least[2], cell.duty) <= duty
            and max(most[3], cell.freq) - min(least[3], cell.freq) <= freq
        )

    def add(self, cell: _Cell) -> None:
        """Continue the stretch."""
        self.end = cell.t + cell.span
        self.cycles += cell.cycles
        self.noise = max(self.noise, cell.noise)
        for i, value in enumerate((cell.hi, cell.lo, cell.duty, cell.freq)):
            self.least[i] = min(self.least[i], value)
            self.most[i] = max(self.most[i], value)
            self.sums[i] += value * cell.cycles


class AssemblerCounters(msgspec.Struct):
    """What came and what could not be used, since the start."""

    records: int = 0
    restarts: int = 0  # of the device
    uncalibrated: int = 0  # waveforms before the HELLO that tells their scale
    gaps: int = 0  # breaks in the device's time


class CpAssembler:
    """CPF1 messages (`Cpf1Parser`) and text readings (`CpTextParser`) in, records out. Both in the order of their
    arrival.

    `feed(t_rx, message)` wants the host time (ns) at which the message was received; the records' times are in that
    clock. `number` of the records is 0: who puts them into a stream numbers them. Call `flush` when the device has
    been silent, and at the end.
    """

    def __init__(
        self, source: str = "cp", settings: AssemblerSettings | None = None, clock: DeviceClock | None = None
    ) -> None:
        self.counters = AssemblerCounters()
        self.clock = clock or DeviceClock()
        self._source = source
        self._settings = settings or AssemblerSettings()
        self._run: _Run | None = None
        self._previous: _Run | None = None  # the last one that became a record
        self._last_t = 0  # host time of the last record
        self._latest = 0  # device time
        self._hello: cpf1.Hello | None = None
        self._overrun = False
        self._pp: tuple[int | None, int | None] = (None, None)
        self._pp_t = 0
        self._wave: list[waveform.Samples] = []
        self._wave_t = 0  # device time of the first sample in `_wave`, ns
        self._wave_rate = 0
        self._wave_flags = 0
        self._text_t: int | None = None
        self._text_state = "1"  # digit of the last state that had one

    def feed(self, t_rx: int, message: cpf1.Message | TextReading) -> list[CpRecord]:
        """The records that a message completes."""
        if isinstance(message, TextReading):
            return self._text(t_rx, message)
        out: list[CpRecord] = []
        t_dev = message.t_us * 1000
        self._overrun = self._overrun or bool(message.flags & cpf1.FLAG_OVERRUN)
        match message:
            case cpf1.Cycles(cycles=cycles) if cycles:
                cells = self._cells(message)
                self._observe(cells[-1].t + cells[-1].span, t_rx, out)
                for cell in cells:
                    self._add(cell, out)
            case cpf1.Level():
                span = 10 * MS
                self._observe(t_dev + span, t_rx, out)
                flags = CP_NO_PWM | (CP_CLIPPED if message.flags & cpf1.FLAG_CLIPPED else 0)
                noise = message.max_mv - message.min_mv
                self._add(_level_cell(t_dev, span, message.mean_mv, max(0, noise), flags), out)
            case cpf1.Raw():
                self._observe(t_dev + message.n * 1_000_000_000 // message.rate_hz, t_rx, out)
                self._raw(message, out)
            case cpf1.Hello():
                if self._hello is not None and message.boot_id != self._hello.boot_id:
                    self._restart(out)
                self._hello = message
                self._observe(t_dev, t_rx, out)
            case cpf1.Time():
                self._observe(message.t_us_now * 1000, t_rx, out)
            case cpf1.Pp():
                self._set_pp(t_dev, message, out)
        return out

    def flush(self) -> list[CpRecord]:
        """What is still being gathered."""
        out: list[CpRecord] = []
        self._close_wave(out)
        self._emit(out)
        return out

    # --- from the device ----------------------------------------------------------------------------------------

    def _observe(self, t_dev: int, t_rx: int, out: list[CpRecord]) -> None:
        """Tells the clock of a frame whose last sample was taken at `t_dev`."""
        if t_dev < self._latest - SECOND:
            self._restart(out)  # before the clock hears of it: what was gathered belongs to the time before
        self._latest = max(self._latest, t_dev)
        before = self.clock.restarts
        self.clock.observe(t_dev, t_rx)
        if self.clock.restarts != before:
            self._emit(out)
            self._last_t = 0  # the host's clock may have been set back

    def _restart(self, out: list[CpRecord]) -> None:
        """The device has started anew: its clock, and what it said of proximity, are void."""
        self.counters.restarts += 1
        self._close_wave(out)
        self._emit(out)
        self.clock.restart()
        self._previous = None
        self._latest = 0
        self._last_t = 0
        self._pp = (None, None)

    @staticmethod
    def _cells(message: cpf1.Cycles) -> list[_Cell]:
        clipped = CP_CLIPPED if message.flags & cpf1.FLAG_CLIPPED else 0
        cells = []
        for c in message.cycles:
            flags = c.flags & (CP_NO_PWM | CP_DIODE_SUSPECT | CP_GLITCH) | clipped
            span = 10_000_000_000 // c.freq if c.freq >= 1000 else _CYCLE_NS
            t = message.t_us * 1000 + c.dt * 10_000
            cells.append(_Cell(t, span, 1, c.hi_mv, c.lo_mv, c.duty, c.freq, 10 * c.noise, flags))
        return cells

    def _raw(self, message: cpf1.Raw, out: list[CpRecord]) -> None:
        """Gathers samples until there is a block of them. Gaps, another rate or channel begin a new waveform."""
        hello = self._hello
        if hello is None or hello.uv_per_lsb == 0 or message.n == 0:
            self.counters.uncalibrated += 1
            return
        t = message.t_us * 1000
        have = sum(len(part) for part in self._wave)
        if have:
            expected = self._wave_t + have * 1_000_000_000 // self._wave_rate
            if message.rate_hz != self._wave_rate or abs(t - expected) > _CYCLE_NS // 10:
                self._close_wave(out)
                have = 0
            else:
                self._wave_t += t - expected  # the rate is nominal, the time stamps are not
        if not have:
            self._wave, self._wave_t, self._wave_rate = [], t, message.rate_hz
        if message.flags & cpf1.FLAG_CLIPPED:
            self._wave_flags |= CP_CLIPPED
        counts = waveform.unpack(message.data, message.n, message.bits)
        self._wave.append(waveform.to_mv(counts, hello.uv_per_lsb, hello.offset_uv))
        if (have + message.n) * 1_000_000_000 // self._wave_rate >= self._settings.block:
            self._read_wave(out)

    def _close_wave(self, out: list[CpRecord]) -> None:
        if self._wave:
            self._read_wave(out)
            self._wave = []

    def _read_wave(self, out: list[CpRecord]) -> None:
        """Reads the cycles in the gathered samples and keeps what belongs to the next."""
        x = np.concatenate(self._wave)
        rate = self._wave_rate
        found, used = waveform.pieces(x, rate)
        flags = self._wave_flags
        self._wave_flags = 0
        for piece in found:
            t = self._wave_t + round(piece.start * 1e9 / rate)
            span = round(piece.length * 1e9 / rate)
            if piece.duty is None:
                self._add(_level_cell(t, span, round(piece.hi_mv), round(piece.noise_mv), flags | CP_NO_PWM), out)
                continue
            hi, lo = round(piece.hi_mv), round(piece.lo_mv)
            own = flags | (CP_GLITCH if piece.glitch else 0)
            # with an EV plugged in the negative half stays at -12 V, unless its diode is missing
            own |= CP_DIODE_SUSPECT if abs(hi + lo) < 1100 and hi < BAND["B"].high_mv else 0
            step = round(10_000 / piece.length)
            freq = min(0xFFFF, round(10 * rate / piece.length))
            cell = _Cell(t, span, 1, hi, lo, round(10_000 * piece.duty), freq, round(piece.noise_mv), own, step)
            self._add(cell, out)
        self._wave_t += used * 1_000_000_000 // rate
        rest = x[used:]
        # no edge and no steady stretch in all of that: not a pilot; do not gather for ever
        self._wave = [rest] if 0 < len(rest) * 1_000_000_000 // rate <= 2 * self._settings.block else []

    def _set_pp(self, t_dev: int, message: cpf1.Pp, out: list[CpRecord]) -> None:
        new = (message.pp_mv, message.pp_ohm if message.pp_ohm != 0xFFFF else None)
        if _pp_moved(self._pp, new):
            self._emit(out)
        self._pp, self._pp_t = new, t_dev

    # --- runs ---------------------------------------------------------------------------------------------------

    def _add(self, cell: _Cell, out: list[CpRecord]) -> None:
        """Puts a cell into the run it continues, or ends the run and begins another."""
        s = self._settings
        run, previous = self._run, self._run or self._previous
        alike = previous is not None and not self._overrun and previous.like(cell, s)
        if run is not None and alike and cell.t + cell.span - run.t <= s.max_span:
            run.add(cell)
        else:
            self._emit(out)
            if previous is not None and cell.t - previous.end > 20 * MS:
                self.counters.gaps += 1
            mark = CP_OVERRUN if self._overrun else 0
            self._overrun = False
            run = self._run = _Run(cell, self.clock.to_host(cell.t), not alike, mark)
        if run.end - run.t >= s.max_span or (run.fresh and run.cycles >= s.sure_cycles):
            self._emit(out)

    def _emit(self, out: list[CpRecord]) -> None:
        """Makes the record of the present run."""
        run = self._run
        if run is None:
            return
        self._run, self._previous = None, run
        hi, lo, duty, freq = (round(total / run.cycles) for total in run.sums)
        # a new fit of the clock may move its times by some microseconds, but never before the record before
        self._last_t = max(run.t_host, self._last_t)
        pp = self._pp if abs(run.end - self._pp_t) <= self._settings.pp_valid else (None, None)
        self.counters.records += 1
        out.append(
            CpRecord(
                t=self._last_t,
                number=0,
                hi_mv=hi,
                lo_mv=hi if run.flags & CP_NO_PWM else lo,
                duty=duty,
                freq=freq,
                span=run.end - run.t,
                cycles=run.cycles,
                noise_mv=max(run.noise, run.most[0] - run.least[0]),
                flags=run.flags | run.mark | (CP_TIME_UNCERTAIN if self.clock.uncertain else 0),
                pp_mv=pp[0],
                pp_ohm=pp[1],
                source=self._source,
            )
        )

    # --- text ---------------------------------------------------------------------------------------------------

    def _text(self, t_rx: int, reading: TextReading) -> list[CpRecord]:
        """A line is one record: the device has averaged already, over the time since its line before."""
        out: list[CpRecord] = []
        if reading.time_ns is not None:
            t, uncertain = reading.time_ns, False
        elif reading.t_ms is not None:
            t_dev = round(reading.t_ms * MS)
            self._observe(t_dev, t_rx, out)
            t, uncertain = self.clock.to_host(t_dev), self.clock.uncertain
        else:
            t, uncertain = t_rx, True
        before, self._text_t = self._text_t, t
        span = t - before if before is not None and 0 < t - before <= 10 * self._settings.max_span else 0
        if reading.state is not None and reading.state[1:]:
            self._text_state = reading.state[1:]
        record = text_record(reading, t - span, span, self._source, self._text_state)
        if record is not None:
            if uncertain:
                record = msgspec.structs.replace(record, flags=record.flags | CP_TIME_UNCERTAIN)
            self.counters.records += 1
            out.append(record)
        return out


def _level_cell(t: int, span: int, mean_mv: int, noise_mv: int, flags: int) -> _Cell:
    """A stretch without PWM. One with a step in it counts as a single cycle, so that its mean alone makes no state."""
    duty = 10_000 if mean_mv > _E_TOP_MV else 0
    cycles = max(1, span // _CYCLE_NS) if noise_mv < _STEP_MV else 1
    return _Cell(t, span, cycles, mean_mv, mean_mv, duty, 0, noise_mv, flags)


def _pp_moved(old: tuple[int | None, int | None], new: tuple[int | None, int | None]) -> bool:
    """Did proximity change by more than noise (200 mV, a tenth of the resistance)?"""
    (old_mv, old_ohm), (new_mv, new_ohm) = old, new
    if old_mv is None or new_mv is None or (old_ohm is None) != (new_ohm is None):
        return old != new
    return abs(new_mv - old_mv) > 200 or (
        old_ohm is not None and new_ohm is not None and abs(new_ohm - old_ohm) > max(20, old_ohm // 10)
    )
