"""The virtual pilot ADC: turns pilot records into what a device sends over its serial line: CPF1 cycles, CPF1 raw samples, or text lines."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import xor

from plugtap.protocols import cpf1
from plugtap.protocols.items import CP_DIODE_SUSPECT, CP_GLITCH, CP_NO_PWM, CpRecord
from plugtap.sim.waveform import Waveform

CYCLE_EVERY = 10_000_000  # ns: the device reports every tenth cycle (1.4 kB/s)
HELLO_EVERY = 5_000_000  # µs
PP_EVERY = 1_000_000
RAW_RATE = 100_000  # samples a second
UV_PER_LSB = 500  # 16 bit cover ±16 V
RAW_SAMPLES = 1000  # of one frame
MS = 1_000_000
_FLAGS = ((CP_NO_PWM, 1), (CP_DIODE_SUSPECT, 2), (CP_GLITCH, 4))  # in a record, on the wire


class Adc:
    """One device. `form` is cpf1 (cycles), raw (CPF1 waveform) or text; `boot` is the moment (ns) at which its clock stood at zero."""

    def __init__(self, form: str, boot: int, boot_id: int = 1, device: str = "plugtap-bench") -> None:
        if form not in ("cpf1", "raw", "text"):
            raise ValueError(f"no such format: {form}")
        self._form = form
        self._boot = boot
        self._boot_id = boot_id
        self._device = device
        self._seq = 0
        self._hello_at = 0
        self._pp_at = 0
        self._wave = Waveform(RAW_RATE)

    def encode(self, record: CpRecord) -> bytes:
        """The bytes the device sends about one record, at the record's end."""
        if self._form == "text":
            return self._lines(record)
        return b"".join(self._frames(record))

    def _next(self) -> int:
        self._seq = (self._seq + 1) & 0xFFFF
        return self._seq

    def _frames(self, record: CpRecord) -> Iterator[bytes]:
        t_us = max(0, (record.t - self._boot) // 1000)
        if t_us >= self._hello_at:
            self._hello_at = t_us + HELLO_EVERY
            hello = cpf1.Hello(
                seq=self._next(), t_us=t_us, modes=1 << cpf1.MODE_CYCLES | 1 << cpf1.MODE_RAW, fw=1, rate_hz=RAW_RATE, uv_per_lsb=UV_PER_LSB,
                boot_id=self._boot_id, device=self._device,
            )  # fmt: skip
            yield cpf1.encode(hello)
        if self._form == "raw":
            yield from self._samples(record, t_us)
        else:
            yield self._cycles(record, t_us)
        if record.pp_mv is not None and t_us >= self._pp_at:
            self._pp_at = t_us + PP_EVERY
            ohm = 0xFFFF if record.pp_ohm is None else min(record.pp_ohm, 0xFFFE)
            yield cpf1.encode(cpf1.Pp(seq=self._next(), t_us=t_us, pp_mv=record.pp_mv, pp_ohm=ohm))

    def _samples(self, record: CpRecord, t_us: int) -> Iterator[bytes]:
        counts = (self._wave.samples(record) * 1000 / UV_PER_LSB).round().clip(-32768, 32767).astype("<i2")
        for begin in range(0, len(counts), RAW_SAMPLES):
            part = counts[begin : begin + RAW_SAMPLES]
            at = t_us + begin * 1_000_000 // RAW_RATE
            yield cpf1.encode(cpf1.Raw(seq=self._next(), t_us=at, flags=cpf1.FLAG_CALIBRATED, rate_hz=RAW_RATE, n=len(part), data=part.tobytes()))

    def _cycles(self, record: CpRecord, t_us: int) -> bytes:
        flags = sum(wire for own, wire in _FLAGS if record.flags & own)
        hi_mv, lo_mv, noise = _i16(record.hi_mv), _i16(record.lo_mv), min(255, record.noise_mv // 10)
        cycles = tuple(
            cpf1.Cycle(offset // 10_000, hi_mv, lo_mv, record.duty, record.freq, noise, flags)
            for offset in range(0, max(1, record.span), CYCLE_EVERY)
        )
        return cpf1.encode(cpf1.Cycles(seq=self._next(), t_us=t_us, flags=cpf1.FLAG_CALIBRATED, cycles=cycles))

    def _lines(self, record: CpRecord) -> bytes:
        """All lines of a record: they differ in their time, and therefore in their checksum."""
        rest = f",{record.hi_mv},{record.lo_mv},{round(record.duty / 10)},{record.freq}"
        if record.pp_ohm is not None:
            rest += f",{record.pp_ohm}"
        same = reduce(xor, b"CP," + rest.encode())
        first = record.t - self._boot
        lines = []
        for offset in range(0, max(1, record.span), CYCLE_EVERY):
            time = str(max(0, (first + offset) // MS))
            lines.append(f"CP,{time}{rest}*{reduce(xor, time.encode(), same):02X}\n")
        return "".join(lines).encode()


def _i16(value: int) -> int:
    return max(-32768, min(32767, value))
