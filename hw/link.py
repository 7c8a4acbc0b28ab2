"""Whether a network interface is there and has carrier, told by the kernel at once (rtnetlink, rtnetlink(7))."""

from __future__ import annotations

import fcntl
import socket
import struct

RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK = 16, 17
SIOCGIFFLAGS = 0x8913
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
IFF_RUNNING = 0x40

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change


def carrier(sock: socket.socket, interface: str) -> bool:
    """Whether the interface is up and has carrier. Raises OSError (ENODEV) when there is no such interface."""
    request = struct.pack("16sH14x", interface.encode(), 0)
    flags: int = struct.unpack_from("H", fcntl.ioctl(sock.fileno(), SIOCGIFFLAGS, request), 16)[0]
    return bool(flags & IFF_UP) and bool(flags & IFF_RUNNING)


class LinkWatch:
    """Changes of one interface (by index; 0: any). `fileno` becomes readable when there is something to `changes`."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def changes(self) -> list[bool]:
        """Carrier after each change since the last call, in order; a removed interface has none."""
        found: list[bool] = []
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return found
            except OSError:
                # ENOBUFS: so many changes that some are lost; the state asked for afterwards is the truth.
                return found
            found += self._parse(data)

    def _parse(self, data: bytes) -> list[bool]:
        found: list[bool] = []
        position = 0
        while position + _HEADER.size + _LINK.size <= len(data):
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, position)
            if length < _HEADER.size:
                break
            if kind in (RTM_NEWLINK, RTM_DELLINK):
                _family, _type, index, flags, _change = _LINK.unpack_from(data, position + _HEADER.size)
                if self._index in (0, index):
                    found.append(kind == RTM_NEWLINK and bool(flags & IFF_UP) and bool(flags & IFF_LOWER_UP))
            position += (length + 3) & ~3
        return found
