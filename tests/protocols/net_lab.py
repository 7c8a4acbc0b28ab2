"""Frames through link layer and NetDecoder, and the results in short forms that tests compare."""

from __future__ import annotations

from collections.abc import Iterable

from plugtap.protocols import ethernet, events
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import Frame
from plugtap.protocols.net import Limits, NetDecoder, Output, RawV2g


def run(frames: Iterable[Frame], limits: Limits | None = None, *, finish: bool = True) -> list[Output]:
    """All that comes out of `frames`; a frame whose link layer cannot be read yields nothing."""
    decoder = NetDecoder(limits)
    out: list[Output] = []
    last: Frame | None = None
    for last in frames:
        try:
            link = ethernet.parse(last)
        except DecodeError:
            continue
        out += decoder.feed(last, link)
    if finish and last is not None:
        out += decoder.finish(last.t, last.number)
    return out


def tcp_kinds(out: Iterable[Output], *, data: bool = True) -> list[str]:
    """Kinds of the TCP events in order, prefixed with who caused them: ``a.syn``."""
    return [
        f"{'a' if e.from_a else 'b'}.{e.kind}"
        for e in out
        if isinstance(e, events.Tcp) and (data or e.kind != "data")
    ]


def messages(out: Iterable[Output]) -> list[tuple[str, int]]:
    """Sender and number (of builders.exi) of each V2GTP message."""
    return [("a" if e.from_a else "b", int.from_bytes(e.payload[2:4], "big")) for e in out if isinstance(e, RawV2g)]


def raws(out: Iterable[Output]) -> list[RawV2g]:
    """The V2GTP messages."""
    return [e for e in out if isinstance(e, RawV2g)]


def oddities(out: Iterable[Output]) -> list[tuple[str, int]]:
    """Kind and length of each V2GTP oddity."""
    return [(e.kind, e.length) for e in out if isinstance(e, events.V2gtpOddity)]
