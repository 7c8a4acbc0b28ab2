"""Capture by libpcap (extra ``pcap``: PyPI python-libpcap), for where AF_PACKET is not to be had.

python-libpcap has no file descriptor, gives microseconds as a float, does not tell a frame's length on the wire, and
can't be stopped on an idle link. So it runs in a child process (this module as a program) that writes a pcap stream
to a pipe; the stream is read like any other, and the child is ended from outside.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import struct
import subprocess
import sys
from typing import Any

from plugtap.hw.errors import SourceError
from plugtap.hw.pipe import capture_stream
from plugtap.hw.source import Clock, wall_clock
from plugtap.hw.stream import Connection, FdConnection, StreamSource

SNAPLEN = 262_144
MICROSECOND_MAGIC = 0xA1B2C3D4
ETHERNET = 1
END_SECONDS = 1.0
CCS_FILTER = "ether proto 0x88e1 or ip6 or (vlan and (ether proto 0x88e1 or ip6))"


class ChildConnection(FdConnection):
    """The child's standard output. Closing it ends the child."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        super().__init__(child.stdout.fileno())
        self._child = child

    def close(self) -> None:
        """Kill: the binding can't be stopped otherwise while nothing is captured."""
        self._child.kill()
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._child.wait(END_SECONDS)


async def open_child(interface: str, *, filter_ccs: bool, promiscuous: bool) -> Connection:
    """Start the capturing child. Raises SourceError when python-libpcap is not installed."""
    if importlib.util.find_spec("pylibpcap") is None:
        raise SourceError(interface, "python-libpcap is not installed", "pip install 'plugtap[pcap]' (needs libpcap-dev)")
    command = [sys.executable, "-m", "plugtap.hw.pcap_backend", interface, "ccs" if filter_ccs else "all", str(int(promiscuous))]
    return ChildConnection(await asyncio.to_thread(subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))


def libpcap_source(
    interface: str, *, name: str = "plc", filter_ccs: bool = True, promiscuous: bool = True, clock: Clock = wall_clock
) -> StreamSource:
    """Frames of an interface by libpcap. Their direction is not known."""
    return capture_stream(
        name,
        interface,
        lambda: open_child(interface, filter_ccs=filter_ccs, promiscuous=promiscuous),
        slack=0.05,
        clock=clock,
    )


def main(interface: str, form: str, promiscuous: str) -> None:
    """The child: capture until killed, or until the parent has closed the pipe."""
    base: Any = importlib.import_module("pylibpcap.base")
    out = sys.stdout.fileno()
    os.write(out, struct.pack("=IHHiIII", MICROSECOND_MAGIC, 2, 4, 0, 0, SNAPLEN, ETHERNET))
    sniff = base.Sniff(
        interface,
        promisc=int(promiscuous),
        snaplen=SNAPLEN,
        timeout=20,
        filters=CCS_FILTER if form == "ccs" else "",
        immediate_mode=1,
    )
    for length, stamp, data in sniff.capture():
        micros = round(stamp * 1e6)
        header = struct.pack("=IIII", micros // 1_000_000, micros % 1_000_000, len(data), max(length, len(data)))
        try:
            os.write(out, header + data)
        except BrokenPipeError:
            os._exit(0)  # the interpreter's own end would wait for libpcap


if __name__ == "__main__":
    main(*sys.argv[1:])
