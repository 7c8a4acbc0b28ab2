"""Where a bench that is played live goes: a virtual cable (veth), a pseudo terminal, or pipes.

Frames go out as they would pass a tap; the pilot goes out as its ADC would send it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from plugtap import __version__
from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.items import LINKTYPE_ETHERNET, CpRecord, Frame
from plugtap.protocols.pcapng_writer import PcapngWriter
from plugtap.sim.adc import Adc


class LiveError(Exception):
    """The virtual devices can't be made here; the message says why."""


class FrameSink(Protocol):
    """Where frames go."""

    def frame(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class Veth:
    """A virtual cable: frames are sent into one end, and the daemon listens at `tap`, the other."""

    def __init__(self, number: int) -> None:
        self.bench_end = f"ptbench{os.getpid() % 10000}-{number}"[:15]
        self.tap = f"pttap{os.getpid() % 10000}-{number}"[:15]
        self._socket: socket.socket | None = None
        try:
            _ip("link", "add", self.bench_end, "type", "veth", "peer", "name", self.tap)
        except (OSError, subprocess.SubprocessError) as error:
            raise LiveError(f"a virtual cable (veth) can't be made: {error}") from None
        try:
            for name in (self.bench_end, self.tap):
                # Without an address of its own the kernel stays silent on the cable, as on a real tap.
                with contextlib.suppress(OSError):
                    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
                _ip("link", "set", name, "up", "arp", "off")
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.bind((self.bench_end, 0))
        except (OSError, subprocess.SubprocessError) as error:
            self.close()
            raise LiveError(f"a virtual cable (veth) can't be used: {error}") from None

    def frame(self, frame: Frame) -> None:
        """Send one frame."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(frame.data)

    def close(self) -> None:
        """Take the cable away."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _ip("link", "del", self.bench_end)


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        raise subprocess.SubprocessError("the command ip is missing (Debian package iproute2)") from None
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr.strip() or f"ip {' '.join(arguments)} failed")


class _PipeWriter:
    """Writes to a FIFO that a reader may open late or leave: what it can't take is dropped and counted."""

    def __init__(self, path: Path, greeting: Callable[[], bytes]) -> None:
        self.path = path
        self.dropped = 0
        self._greeting = greeting
        self._fd = -1
        self._held = bytearray()
        if path.is_fifo():
            path.unlink()  # left over by a run that was killed
        os.mkfifo(path, 0o600)

    def ready(self) -> bool:
        """Whether somebody reads; opens the pipe (and greets) when somebody has come."""
        if self._fd < 0:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                self.dropped += 1
                return False
            self._held = bytearray(self._greeting())
        return True

    def write(self, data: bytes) -> None:
        """Write to the reader there is (see `ready`)."""
        self._held += data
        try:
            del self._held[: os.write(self._fd, self._held)]
        except BlockingIOError:
            if len(self._held) > 4_000_000:
                self.dropped += 1
                self._reset()
        except OSError:
            self._reset()

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1
        self._held.clear()

    def close(self) -> None:
        if self._fd >= 0:
            self._reset()
        with contextlib.suppress(OSError):
            self.path.unlink()


class CapturePipe:
    """Frames as a pcapng stream in a FIFO: the pipe twin of the cable."""

    def __init__(self, path: Path) -> None:
        self._writer = PcapngWriter()
        self._pipe = _PipeWriter(path, self._header)

    def _header(self) -> bytes:
        self._writer = PcapngWriter()
        return self._writer.section(application="plugtap bench") + self._writer.interface(LINKTYPE_ETHERNET, "plc")

    def frame(self, frame: Frame) -> None:
        """Write one frame."""
        if self._pipe.ready():  # a new reader gets a new section, and the packet belongs to it
            self._pipe.write(self._writer.packet(0, frame.t, frame.data))

    def close(self) -> None:
        """Close and remove the FIFO."""
        self._pipe.close()


class SessionPipe:
    """Frames and pilot records of one clock in a FIFO, as an archive: what a plugtap elsewhere would send.

    For other speeds than real time: an ADC whose clock runs at eight times the speed is none, so the pilot goes with the frames."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._number = 0
        self._encoder = self._new()
        self._pipe = _PipeWriter(path, self._header)

    def _new(self) -> ArchiveEncoder:
        return ArchiveEncoder(ArchiveHeader(site="bench", tap=self._name[:32], run="live", plugtap=__version__))

    def _header(self) -> bytes:
        self._encoder, self._number = self._new(), 0
        return self._encoder.start()

    def frame(self, frame: Frame) -> None:
        """Write one frame."""
        self._item(frame)

    def record(self, record: CpRecord) -> None:
        """Write one record of the pilot."""
        self._item(record)

    def _item(self, item: Frame | CpRecord) -> None:
        if self._pipe.ready():  # a new reader gets a new section, and the item belongs to it
            self._number += 1
            self._pipe.write(self._encoder.encode(msgspec.structs.replace(item, number=self._number))[1])

    def close(self) -> None:
        """Close and remove the FIFO."""
        self._pipe.close()


class PilotPort:
    """The pilot ADC on a pseudo terminal: `device` is what the daemon opens as a serial port."""

    def __init__(self, form: str, boot: int) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.device = os.ttyname(slave)
        self._slave = slave  # kept open, so that the line is not hung up while nobody reads
        os.set_blocking(self._master, False)
        self._adc = Adc(form, boot)
        self.dropped = 0

    def record(self, record: CpRecord) -> None:
        """Send what the device says about one record; when nobody reads, it is lost, as on a wire."""
        try:
            os.write(self._master, self._adc.encode(record))
        except BlockingIOError:
            self.dropped += 1

    def close(self) -> None:
        """Unplug the device."""
        os.close(self._master)
        os.close(self._slave)


class PilotPipe:
    """The pilot ADC's bytes in a FIFO."""

    def __init__(self, path: Path, form: str, boot: int) -> None:
        self._pipe = _PipeWriter(path, bytes)
        self._adc = Adc(form, boot)

    def record(self, record: CpRecord) -> None:
        """Write what the device says about one record."""
        data = self._adc.encode(record)
        if self._pipe.ready():
            self._pipe.write(data)

    def close(self) -> None:
        """Close and remove the FIFO."""
        self._pipe.close()


PilotSink = PilotPort | PilotPipe | SessionPipe
