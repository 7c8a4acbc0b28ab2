"""CPF1: what a control pilot ADC sends over a serial line, and what the host may send back.

A frame is ``COBS(body + CRC-32 of body, little endian) 00``; CRC-32 as in zlib. A body is a header of 12 bytes
(type, flags, seq, t_us) and a payload by type, all little endian, 2048 bytes at most. `seq` counts all frames; `t_us`
is the device's microseconds since boot at the frame's first sample or cycle. Anything damaged is counted and dropped;
a zero byte resynchronises.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from plugtap.protocols import cobs

MAX_BODY = 2048
_MAX_ENCODED = MAX_BODY + 4 + (MAX_BODY + 4) // 254 + 1

FLAG_OVERRUN = 1  # the device lost samples since the frame before
FLAG_CLIPPED = 2
FLAG_CALIBRATED = 4

HELLO, TIME, RAW16, RAW12, CYCLES, LEVEL, PP, LOG = 0x01, 0x02, 0x10, 0x11, 0x20, 0x21, 0x30, 0x7F
SET_MODE, SYNC, GET_HELLO = 0x81, 0x82, 0x83

MODE_OFF, MODE_CYCLES, MODE_RAW, MODE_TRIGGERED = range(4)


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What every frame has."""

    seq: int = 0  # 16 bit
    t_us: int = 0  # 64 bit
    flags: int = 0


class Hello(_Frame, frozen=True, kw_only=True):
    """At boot and every 5 s. A sample of n counts is (n x uv_per_lsb + offset_uv) microvolts at the pilot.

    `boot_id` is random, so that a restart shows; `device` is ASCII, 16 bytes at most.
    """

    proto: int = 1
    modes: int = 0
    fw: int = 0
    rate_hz: int = 0
    uv_per_lsb: int = 0
    offset_uv: int = 0
    boot_id: int = 0
    device: str = ""
    dropped_frames: int = 0


class Time(_Frame, frozen=True, kw_only=True):
    """Every second: the device's clock now. `host_cookie` echoes a SYNC, or is 0."""

    host_cookie: int = 0
    t_us_now: int = 0
    mcu_freq_hz: int = 0


class Raw(_Frame, frozen=True, kw_only=True):
    """A waveform: `n` samples as they came, little endian; `bits` 16 (signed) or 12 (unsigned, two in three bytes)."""

    rate_hz: int
    n: int
    data: bytes
    bits: int = 16
    channel: int = 0


class Cycle(msgspec.Struct, frozen=True):
    """One PWM cycle (or a millisecond without PWM), `dt` x 10 µs after the frame's t_us. Units as in CpRecord, noise
    in 10 mV.
    """

    dt: int
    hi_mv: int
    lo_mv: int
    duty: int  # 0.01 %
    freq: int  # 0.1 Hz
    noise: int = 0  # 10 mV peak to peak
    flags: int = 0  # 1 no PWM, 2 diode suspect, 4 glitch


class Cycles(_Frame, frozen=True, kw_only=True):
    """Measured cycles, the oldest first."""

    cycles: tuple[Cycle, ...] = ()


class Level(_Frame, frozen=True, kw_only=True):
    """No PWM: mean, least and greatest of `n` samples over 10 ms."""

    mean_mv: int
    min_mv: int
    max_mv: int
    n: int = 0


class Pp(_Frame, frozen=True, kw_only=True):
    """Proximity. `pp_ohm` 0xFFFF: open."""

    pp_mv: int
    pp_ohm: int


class Log(_Frame, frozen=True, kw_only=True):
    """A text of the device for people."""

    text: str


class SetMode(_Frame, frozen=True, kw_only=True):
    """Host to device: 0 off, 1 cycles, 2 raw, 3 cycles and raw when something happens."""

    mode: int
    rate_hz: int = 0


class Sync(_Frame, frozen=True, kw_only=True):
    """Host to device: answer with a TIME that echoes `cookie`."""

    cookie: int


class GetHello(_Frame, frozen=True, kw_only=True):
    """Host to device: say hello."""


class Unknown(_Frame, frozen=True, kw_only=True):
    """A sound frame of a type that is not known here (a newer device)."""

    type: int
    payload: bytes


Message = Hello | Time | Raw | Cycles | Level | Pp | Log | SetMode | Sync | GetHello | Unknown

_HEADER = struct.Struct("<BBHQ")
_HELLO = struct.Struct("<BBHIiiI16sI")
_TIME = struct.Struct("<IQI")
_RAW = struct.Struct("<IHBB")
_CYCLES = struct.Struct("<HBB")
_CYCLE = struct.Struct("<HhhHHBB")
_LEVEL = struct.Struct("<hhhH")
_PP = struct.Struct("<HH")
_SET_MODE = struct.Struct("<BI")
_SYNC = struct.Struct("<I")


def _raw_bytes(n: int, bits: int) -> int:
    return 2 * n if bits == 16 else (3 * n + 1) // 2


def _read(kind: int, frame: dict[str, int], payload: bytes) -> Message | None:
    """The message in a body; None when the payload is not as long as its type wants."""
    try:
        if kind == CYCLES:
            count = _CYCLES.unpack_from(payload)[0]
            rest = payload[_CYCLES.size :]
            if len(rest) != count * _CYCLE.size:
                return None
            return Cycles(cycles=tuple(Cycle(*row) for row in _CYCLE.iter_unpack(rest)), **frame)
        if kind in (RAW16, RAW12):
            rate, n, channel, fmt = _RAW.unpack_from(payload)
            data = payload[_RAW.size :]
            bits = 16 if kind == RAW16 else 12
            if len(data) != _raw_bytes(n, bits) or rate == 0 or fmt != (kind == RAW12):
                return None
            return Raw(rate_hz=rate, n=n, data=data, bits=bits, channel=channel, **frame)
        if kind == LEVEL:
            mean, low, high, n = _LEVEL.unpack(payload)
            return Level(mean_mv=mean, min_mv=low, max_mv=high, n=n, **frame)
        if kind == HELLO:
            proto, modes, fw, rate, scale, offset, boot, name, dropped = _HELLO.unpack(payload)
            return Hello(
                proto=proto,
                modes=modes,
                fw=fw,
                rate_hz=rate,
                uv_per_lsb=scale,
                offset_uv=offset,
                boot_id=boot,
                device=name.rstrip(b"\0").decode("ascii", "replace"),
                dropped_frames=dropped,
                **frame,
            )
        if kind == TIME:
            cookie, now, mcu = _TIME.unpack(payload)
            return Time(host_cookie=cookie, t_us_now=now, mcu_freq_hz=mcu, **frame)
        if kind == PP:
            mv, ohm = _PP.unpack(payload)
            return Pp(pp_mv=mv, pp_ohm=ohm, **frame)
        if kind == LOG:
            return Log(text=payload.decode("utf-8", "replace"), **frame)
        if kind == SET_MODE:
            mode, rate = _SET_MODE.unpack(payload)
            return SetMode(mode=mode, rate_hz=rate, **frame)
        if kind == SYNC:
            return Sync(cookie=_SYNC.unpack(payload)[0], **frame)
        if kind == GET_HELLO:
            return GetHello(**frame) if not payload else None
    except struct.error:
        return None
    return Unknown(type=kind, payload=payload, **frame)


def _write(message: Message) -> tuple[int, bytes]:
    """Type and payload of a message."""
    match message:
        case Cycles(cycles=cycles):
            rows = (_CYCLE.pack(c.dt, c.hi_mv, c.lo_mv, c.duty, c.freq, c.noise, c.flags) for c in cycles)
            return CYCLES, _CYCLES.pack(len(cycles), 0, 0) + b"".join(rows)
        case Raw(rate_hz=rate, n=n, data=data, bits=bits, channel=channel):
            if bits not in (12, 16) or len(data) != _raw_bytes(n, bits):
                raise ValueError(f"{n} samples of {bits} bits are not {len(data)} bytes")
            return (RAW16 if bits == 16 else RAW12), _RAW.pack(rate, n, channel, int(bits == 12)) + data
        case Level():
            return LEVEL, _LEVEL.pack(message.mean_mv, message.min_mv, message.max_mv, message.n)
        case Hello():
            name = message.device.encode("ascii", "replace")
            if len(name) > 16:
                raise ValueError(f"device: at most 16 bytes, {len(name)} given")
            return HELLO, _HELLO.pack(
                message.proto,
                message.modes,
                message.fw,
                message.rate_hz,
                message.uv_per_lsb,
                message.offset_uv,
                message.boot_id,
                name,
                message.dropped_frames,
            )
        case Time():
            return TIME, _TIME.pack(message.host_cookie, message.t_us_now, message.mcu_freq_hz)
        case Pp():
            return PP, _PP.pack(message.pp_mv, message.pp_ohm)
        case Log():
            return LOG, message.text.encode()
        case SetMode():
            return SET_MODE, _SET_MODE.pack(message.mode, message.rate_hz)
        case Sync():
            return SYNC, _SYNC.pack(message.cookie)
        case GetHello():
            return GET_HELLO, b""
        case Unknown():
            return message.type, message.payload


def encode(message: Message) -> bytes:
    """The frame of a message, closing zero included. Raises ValueError for what does not fit."""
    try:
        kind, payload = _write(message)
        body = _HEADER.pack(kind, message.flags, message.seq, message.t_us) + payload
    except struct.error as error:
        raise ValueError(f"{type(message).__name__}: {error}") from error
    if len(body) > MAX_BODY:
        raise ValueError(f"a body of {len(body)} bytes, at most {MAX_BODY} are allowed")
    return cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


class Cpf1Counters(msgspec.Struct):
    """What came and what was dropped, since the start."""

    frames: int = 0
    bad_cobs: int = 0
    bad_crc: int = 0
    bad_length: int = 0  # sound, but too short for a header or not as long as its type wants
    oversize: int = 0  # more than a frame without a zero
    unknown: int = 0  # sound frames of unknown type (handed on)
    lost: int = 0  # gaps in seq


class Cpf1Parser:
    """Push parser: bytes in any pieces, messages out. Never raises; keeps at most one frame (about 2 kB)."""

    def __init__(self) -> None:
        self.counters = Cpf1Counters()
        self._buffer = bytearray()
        self._skipping = False
        self._seq: int | None = None

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes."""
        out: list[Message] = []
        pieces = data.split(b"\0")
        for piece in pieces[:-1]:
            if not self._skipping:
                self._buffer += piece
                if len(self._buffer) > _MAX_ENCODED:
                    self.counters.oversize += 1
                elif self._buffer:  # zeros in a row are harmless
                    message = self._frame(bytes(self._buffer))
                    if message is not None:
                        out.append(message)
            self._buffer.clear()
            self._skipping = False
        if not self._skipping:
            self._buffer += pieces[-1]
            if len(self._buffer) > _MAX_ENCODED:
                self.counters.oversize += 1
                self._buffer.clear()
                self._skipping = True
        return out

    def _frame(self, encoded: bytes) -> Message | None:
        counters = self.counters
        body = cobs.decode(encoded)
        if body is None:
            counters.bad_cobs += 1
            return None
        if len(body) < _HEADER.size + 4 or len(body) > MAX_BODY + 4:
            counters.bad_length += 1
            return None
        if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            counters.bad_crc += 1
            return None
        kind, flags, seq, t_us = _HEADER.unpack_from(body)
        if self._seq is not None:
            missing = (seq - self._seq - 1) & 0xFFFF
            # a jump backwards is a restart of the device, not thousands of lost frames
            counters.lost += missing if missing < 0x8000 else 0
        self._seq = seq
        message = _read(kind, {"flags": flags, "seq": seq, "t_us": t_us}, body[_HEADER.size : -4])
        if message is None:
            counters.bad_length += 1
            return None
        counters.frames += 1
        counters.unknown += isinstance(message, Unknown)
        return message
