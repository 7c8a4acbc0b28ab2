"""Streams over TCP: a capture program elsewhere, or a serial port behind a bridge."""

from __future__ import annotations

import asyncio
import socket

from plugtap.hw.pipe import SocketConnection, capture_stream
from plugtap.hw.source import Clock, wall_clock
from plugtap.hw.stream import Connection, StreamSource

CONNECT_SECONDS = 5.0
KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))  # a dead peer: 25 s


async def open_tcp(host: str, port: int) -> Connection:
    """Connect to the first address of `host` that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):  # TimeoutError is an OSError
        last: OSError | None = None
        for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                last = error
                continue
            except BaseException:
                sock.close()
                raise
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            return SocketConnection(sock)
    raise last or OSError(f"{host} has no address")


def tcp_source(
    host: str,
    port: int,
    *,
    name: str = "plc",
    local_clock: bool = False,
    slack: float = 1.0,
    clock: Clock = wall_clock,
) -> StreamSource:
    """Frames from a pcap or pcapng stream over TCP (`nc -l 7000 < fifo` at the other end)."""
    return capture_stream(name, f"{host}:{port}", lambda: open_tcp(host, port), local_clock=local_clock, slack=slack, clock=clock)
