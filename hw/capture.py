"""Live capture of one network interface by AF_PACKET (packet(7)), on the standard library.

The socket only ever receives: it is opened with protocol 0 (so nothing comes in before the filter is set), filtered,
bound, and nothing here sends. Frames have the kernel's nanosecond time stamps and their direction; the kernel counts
what it dropped between them. VLAN tags, which the kernel takes off, are put back.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import AsyncGenerator

from plugtap.hw.errors import SourceError
from plugtap.hw.link import LinkWatch, carrier
from plugtap.hw.source import Backoff, Clock, SourceItem, readable, waiting, wall_clock
from plugtap.protocols.items import Frame, TapEvent

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_AUXDATA = 1, 6, 8
PACKET_MR_PROMISC = 1
PACKET_OUTGOING = 4
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS, SO_RXQ_OVFL, SO_TIMESTAMPNS_NEW = 26, 33, 35, 40, 64
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
_AUXDATA = struct.Struct("=IIIHHHH")  # tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid

MAX_FRAME = 65535
BATCH = 256  # frames read before others get their turn
STATISTICS_SECONDS = 0.5
STAMP_TO_QUEUE = 1_000_000  # ns; microseconds in fact

# BPF, as (code, jump if true, jump if false, value): HomePlug or IPv6, also behind one VLAN tag that is still in place.
_CCS_FILTER = (
    (0x28, 0, 0, 12),  # ldh [12]
    (0x15, 6, 0, 0x88E1),
    (0x15, 5, 0, 0x86DD),
    (0x15, 1, 0, 0x8100),
    (0x15, 0, 4, 0x88A8),
    (0x28, 0, 0, 16),  # ldh [16]
    (0x15, 1, 0, 0x88E1),
    (0x15, 0, 1, 0x86DD),
    (0x06, 0, 0, 0x40000),  # ret: all of it
    (0x06, 0, 0, 0),  # ret: nothing
)


def ccs_filter() -> bytes:
    """The filter as the kernel's sock_filter array."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _CCS_FILTER)


class InterfaceSource:
    """Frames of one interface, for ever: carrier loss and a vanished interface become tap events, and it comes back
    by itself.

    counters: frames, bytes, dropped (by the kernel), opened, errors.
    """

    def __init__(
        self,
        interface: str,
        *,
        name: str = "plc",
        filter_ccs: bool = True,
        promiscuous: bool = True,
        buffer_bytes: int = 4_000_000,
        clock: Clock = wall_clock,
    ) -> None:
        self.name = name
        self.detail = interface
        self.counters: collections.Counter[str] = collections.Counter(frames=0, bytes=0, dropped=0, opened=0, errors=0)
        self.up = False
        self._filter = filter_ccs
        self._promiscuous = promiscuous
        self._buffer = buffer_bytes
        self._clock = clock
        self._socket: socket.socket | None = None
        self._waits = True  # nothing read is on its way to the consumer
        self._overflow = 0  # the kernel's running count, as of the last frame
        self._dropped = 0  # dropped frames already told of, on the present socket
        self._counted = 0  # dropped frames by PACKET_STATISTICS, on the present socket

    def open(self) -> socket.socket:
        """The capture socket. Raises SourceError: no permission (never gets better), or OSError: no interface (may
        come)."""
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            remedy = "run it by the systemd unit, or as root: capturing needs CAP_NET_RAW"
            raise SourceError(self.detail, "capturing is not permitted", remedy) from None
        try:
            self._configure(sock)
        except OSError:
            sock.close()
            raise
        return sock

    def _configure(self, sock: socket.socket) -> None:
        if self._filter:
            # The kernel copies the program from where sock_fprog points.
            program = ctypes.create_string_buffer(ccs_filter())
            fprog = struct.pack("HL", len(_CCS_FILTER), ctypes.addressof(program))
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, self._buffer)
        except PermissionError:  # needs CAP_NET_ADMIN; without, as much as net.core.rmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
        except OSError:  # before Linux 5.1
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        if self._promiscuous:
            index = socket.if_nametoindex(self.detail)
            membership = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
        sock.bind((self.detail, ETH_P_ALL))

    async def __aiter__(self) -> AsyncGenerator[SourceItem, None]:
        backoff = Backoff(longest=2.0)
        told = False
        while True:
            watch: LinkWatch | None = None
            try:
                # Watch first: an interface that appears between looking and watching would be missed.
                watch = LinkWatch(0)
                self._socket = self.open()
                index = socket.if_nametoindex(self.detail)
                watch.close()
                watch = LinkWatch(index)
                self.counters["opened"] += 1
                self._overflow = self._dropped = self._counted = 0
                self.up = carrier(self._socket, self.detail)
                yield self._event("start", self.detail)
                if not self.up:
                    yield self._event("carrier-down")
                told = False
                async with contextlib.aclosing(self._read(self._socket, watch)) as items:
                    async for item in items:
                        backoff.reset()
                        yield item
            except OSError as error:
                self.counters["errors"] += 1
                self.up = False
                self._waits = True
                if not told:
                    told = True
                    reason = "no such interface" if error.errno == errno.ENODEV else (error.strerror or str(error))
                    yield self._event("link-lost", f"{self.detail}: {reason}")
                if watch is not None:
                    await readable(watch.fileno(), timeout=backoff.pause())
                    watch.changes()
                else:
                    await asyncio.sleep(backoff.pause())
            finally:
                self.up = False
                self._waits = True
                if watch is not None:
                    watch.close()
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None

    async def _read(self, sock: socket.socket, watch: LinkWatch) -> AsyncGenerator[SourceItem, None]:
        """Frames, carrier changes and drops until the interface fails (OSError)."""
        while True:
            self._waits = True
            await readable(sock.fileno(), watch.fileno(), timeout=STATISTICS_SECONDS)
            self._waits = False
            for _ in range(BATCH):
                frame = self._receive(sock)
                if frame is None:
                    break
                yield frame
            for up in watch.changes():
                if up != self.up:
                    self.up = up
                    yield self._event("carrier-up" if up else "carrier-down")
            lost = self._unreported(sock)
            if lost:
                yield self._event("drop", values={"frames": lost})

    def _receive(self, sock: socket.socket) -> Frame | None:
        """The next frame; None when none waits. Raises OSError (ENETDOWN) when the interface is down or gone."""
        try:
            data, ancillary, _flags, address = sock.recvmsg(MAX_FRAME, 256)
        except (BlockingIOError, InterruptedError):
            return None
        t = 0
        wire_len = 0
        lost = 0
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET:
                if kind in (SO_TIMESTAMPNS, SO_TIMESTAMPNS_NEW):
                    seconds, nanos = struct.unpack("=qq" if len(value) == 16 else "=ll", value)
                    t = seconds * 1_000_000_000 + nanos
                elif kind == SO_RXQ_OVFL:
                    overflow = struct.unpack("=I", value[:4])[0]
                    lost = (overflow - self._overflow) & 0xFFFFFFFF
                    self._overflow = overflow
            elif level == SOL_PACKET and kind == PACKET_AUXDATA and len(value) >= _AUXDATA.size:
                status, wire_len, _snap, _mac, _net, tci, tpid = _AUXDATA.unpack_from(value)
                if status & TP_STATUS_VLAN_VALID:
                    if not status & TP_STATUS_VLAN_TPID_VALID:
                        tpid = 0x8100
                    data = data[:12] + struct.pack(">HH", tpid, tci) + data[12:]
                    wire_len += 4
        # Of what this frame says was lost before it, a tap event may have told already.
        told = min(lost, max(0, self._dropped - (self._overflow - lost)))
        lost -= told
        self._dropped += lost
        self.counters["frames"] += 1
        self.counters["bytes"] += len(data)
        self.counters["dropped"] += lost
        return Frame(
            t=t or self._clock(),
            number=0,
            data=data,
            wire_len=wire_len,
            source=self.name,
            direction="out" if address[2] == PACKET_OUTGOING else "in",
            lost=lost,
        )

    def _unreported(self, sock: socket.socket) -> int:
        """Frames dropped that no frame has told of, when nothing waits (else the next frame will tell)."""
        if waiting(sock.fileno()):
            return 0
        _packets, drops = struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))  # reset by reading
        self._counted += drops
        lost = max(0, self._counted - self._dropped)
        self._dropped += lost
        self.counters["dropped"] += lost
        return lost

    def silent(self, now: int) -> int | None:
        """See `Source`. The kernel stamps and queues a frame in one go: an empty queue proves silence until just
        before now."""
        if not self._waits or (self._socket is not None and waiting(self._socket.fileno())):
            return None
        return now - STAMP_TO_QUEUE

    def _event(self, kind: str, detail: str = "", values: dict[str, int | str] | None = None) -> TapEvent:
        return TapEvent(t=self._clock(), number=0, source=self.name, kind=kind, detail=detail, values=values or {})
