"""Hostile input, made from good conversations by dice, and what must hold of it. For tests/protocols/test_hostile.py and
tools/fuzz.

A case is bytes as they stand in a file, so that what breaks something can be kept, shown and tried again:
`plugtap analyze` takes the files of the targets ``stack`` and ``analysis``.
"""

from __future__ import annotations

import functools
import io
import random
import struct
from collections.abc import Callable, Sequence

import msgspec
from lab import Lab
from plugtap.analysis.analysis import Analysis
from plugtap.protocols import cpf1
from plugtap.protocols.archive import ArchiveEncoder, ArchiveHeader
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.cp_assembler import CpAssembler
from plugtap.protocols.cp_log import PilotLogParser
from plugtap.protocols.cp_text import CpTextParser
from plugtap.protocols.cpf1 import Cpf1Parser
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event
from plugtap.protocols.item_decoder import ItemDecoder
from plugtap.protocols.items import CpRecord, Frame, Item, TapEvent, Tick
from plugtap.protocols.stack import Stack
from plugtap.report import text
from plugtap.report.captures import CaptureReport
from plugtap.report.decode_lines import event_line
from plugtap.report.redact import Redactor
from rich.console import Console

KINDS = ("din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac")
MAX_EVENTS = 20_000  # of one item: more means that something grows without bound
INTERESTING = (b"\0", b"\1", b"\x7f", b"\x80", b"\xfe", b"\xff", b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
# Where lengths, types, flags and checksums stand in the frames of the corpus.
HEADS = (12, 14, 15, 16, 17, 18, 20, 54, 56, 58, 60, 62, 66, 67, 70, 74, 75, 76, 78, 80, 82)
V2GTP_AT = 74  # Ethernet, IPv6 and TCP without options
SECOND = 1_000_000_000


@functools.cache
def corpus(kind: str) -> tuple[Item, ...]:
    """A good conversation of this kind, pilot and ticks included."""
    return tuple(Lab.good(kind).items(tail=5.0))


def frames() -> list[bytes]:
    """All frames of all conversations."""
    return [item.data for kind in KINDS for item in corpus(kind) if isinstance(item, Frame)]


# -- mutation ------------------------------------------------------------------------------------------------------


def mutated_bytes(dice: random.Random, data: bytes, others: Sequence[bytes], times: int) -> bytes:
    """Bit flips, cuts, insertions, splices, and numbers that hurt."""
    out = bytearray(data)
    for _ in range(times):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(8):
            case 0 if out:
                out[at % len(out)] ^= 1 << dice.randrange(8)
            case 1:
                del out[at:]
            case 2:
                del out[at : at + dice.randrange(1, 16)]
            case 3:
                out[at:at] = dice.randbytes(dice.choice((1, 2, 4, 8, 200)))
            case 4:
                other = dice.choice(others)
                out[at:] = other[dice.randrange(len(other) + 1) :]
            case 5:
                number = dice.choice(INTERESTING)
                out[at : at + len(number)] = number
            case 6:
                begin = dice.randrange(len(out) + 1)
                out[at:at] = out[begin : begin + dice.randrange(1, 64)] * dice.choice((1, 2, 30))
            case _:
                at = dice.choice(HEADS)
                out[at : at + 1] = bytes((dice.randrange(256),))
    return bytes(out[:60_000])


def mutated_items(dice: random.Random, items: Sequence[Item], share: float) -> list[Item]:
    """A stream in which about this share of the items was changed, lost, repeated, moved or made up."""
    known = frames()
    out: list[Item] = []
    shift = 0
    for item in items:
        item = msgspec.structs.replace(item, t=item.t + shift)
        if dice.random() >= share:
            out.append(item)
            continue
        match dice.randrange(10):
            case 0:
                continue
            case 1:
                out += [item] * dice.randrange(2, 5)
            case 2:
                shift += dice.choice((1, -1, 10**6, -(10**6), SECOND, -SECOND, 40 * SECOND, -3600 * SECOND, 86400 * SECOND))
                out.append(item)
            case 3:
                out.insert(dice.randrange(max(0, len(out) - 20), len(out) + 1), item)
            case 4:
                out.append(Frame(item.t, 0, dice.randbytes(dice.randrange(120)), dice.choice((1, 1, 113, 276))))
                out.append(item)
            case 5:
                out.append(TapEvent(item.t, 0, dice.choice(("plc", "cp")), dice.choice(("drop", "rekey", "clock-jump", "overload", "carrier-down")), "x", {"frames": dice.randrange(10**6)}))
                out.append(item)
            case 6:
                out.append(_pilot(dice, item.t))
                out.append(item)
            case 7 | 8 if isinstance(item, Frame) and len(item.data) > V2GTP_AT:
                # In the message itself: headers stay whole, so that the decoders above TCP get it.
                out.append(msgspec.structs.replace(item, data=item.data[:V2GTP_AT] + _flipped(dice, item.data[V2GTP_AT:])))
            case _ if isinstance(item, Frame):
                data = mutated_bytes(dice, item.data, known, dice.choice((1, 1, 2, 8)))
                lost = dice.choice((0, 0, 0, 1, 500))
                wire = len(data) + dice.choice((0, 0, 0, 7, 4000))
                out.append(msgspec.structs.replace(item, data=data, lost=lost, wire_len=wire, link=dice.choice((1, 1, 1, 1, 113, 276))))
            case _ if isinstance(item, CpRecord):
                out.append(_pilot(dice, item.t))
            case _:
                out.append(item)
    return out


def _flipped(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def _pilot(dice: random.Random, t: int) -> CpRecord:
    """Any pilot record that the archive's format can hold."""
    edge = (0, 1, -1, 9000, -12000, 2**31 - 1, -(2**31))
    return CpRecord(
        t, 0, dice.choice(edge), dice.choice(edge), dice.choice((0, 500, 10_000, 2**32 - 1)), dice.choice((0, 10_000, 2**32 - 1)),
        span=dice.choice((0, 10**6, 10**12)), cycles=dice.choice((0, 1, 2**32 - 1)), noise_mv=dice.choice((0, 2**32 - 1)), flags=dice.randrange(2**16),
        pp_mv=dice.choice((None, 0, -(2**31))), pp_ohm=dice.choice((None, 0, 2**32 - 1)),
    )  # fmt: skip


def to_archive(items: Sequence[Item]) -> bytes:
    """The stream as an archive; what the format cannot hold (times before 1970) is left out."""
    encoder = ArchiveEncoder(ArchiveHeader("lab", "lab", "run"))
    parts = [encoder.start()]
    for item in items:
        try:
            parts.append(encoder.encode(item if isinstance(item, Tick) else msgspec.structs.replace(item, number=0))[1])
        except ValueError:
            continue
    return b"".join([*parts, encoder.seal(b"{}")])


def from_archive(data: bytes) -> list[Item]:
    """Items of a capture file; what stands before damage."""
    reader, decoder = CaptureReader(), ItemDecoder()
    items = decoder.decode(reader.feed(data))
    return items + decoder.decode(reader.close())


# -- targets -------------------------------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True):
    """`make` rolls a case; `check` raises if anything happens that must not."""

    make: Callable[[random.Random], bytes]
    check: Callable[[bytes], None]
    suffix: str


def make_stream(dice: random.Random) -> bytes:
    """A conversation, damaged a little or a lot, sometimes two in a row."""
    items = list(corpus(dice.choice(KINDS)))
    if dice.random() < 0.2:
        items += corpus(dice.choice(KINDS))
    if dice.random() < 0.3:
        del items[: dice.randrange(len(items))]
    return to_archive(mutated_items(dice, items, dice.choice((0.003, 0.02, 0.1, 0.5))))


def check_stack(data: bytes) -> None:
    """The decoders give events, never an exception, and `plugtap decode` can print all of them."""
    stack = Stack()
    t = number = 0
    for item in from_archive(data):
        t, number = max(t, item.t), max(number, getattr(item, "number", 0))
        _printable(stack.feed(item))
    _printable(stack.finish(t, number))


def _printable(events: list[Event]) -> None:
    assert len(events) <= MAX_EVENTS, f"{len(events)} events of one item"
    for event in events:
        msgspec.json.encode(event_line(event, None, 0))


def check_analysis(data: bytes) -> None:
    """Sessions and findings, no check that raises, and every report can be encoded, redacted and shown."""
    items = from_archive(data)
    analysis = Analysis(foreign=len(data) % 2 == 0)
    for item in items:
        for output in analysis.feed(item):
            msgspec.json.encode(output)
    for output in analysis.finish():
        msgspec.json.encode(output)
    if analysis.engine.failures:
        check, (times, trace) = next(iter(analysis.engine.failures.items()))
        raise AssertionError(f"check {check} raised {times} times:\n{trace}")
    report = CaptureReport(
        file="x", frames=len(items), start=None, end=None, coverage={"clock": "relative" if analysis.relative_clock else "absolute"},
        sessions=tuple(analysis.reports()),
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=60)
    for shown in (report, Redactor(b"k" * 32).struct(report)):
        assert msgspec.json.decode(msgspec.json.encode(shown), type=CaptureReport) == shown
        console.print(text.capture(shown, all_findings=True))
        console.print(text.brief(shown))


def make_capture(dice: random.Random) -> bytes:
    """The bytes of a capture file, damaged."""
    seeds = _captures()
    return mutated_bytes(dice, dice.choice(seeds), seeds, dice.choice((1, 2, 4, 16)))


@functools.cache
def _captures() -> tuple[bytes, ...]:
    items = corpus("din-dc")[:60]
    classic = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    for item in items:
        if isinstance(item, Frame):
            classic += struct.pack("<IIII", item.t // SECOND, 7, len(item.data), len(item.data)) + item.data
    return to_archive(items), classic


def check_capture(data: bytes) -> None:
    """Reading gives items or DecodeError, the same in one piece and in many."""
    whole = _read(data, len(data) or 1)
    assert whole == _read(data, 37)


def _read(data: bytes, size: int) -> tuple[list[Item], str]:
    reader, decoder = CaptureReader(), ItemDecoder()
    items: list[Item] = []
    try:
        for at in range(0, len(data), size):
            items += decoder.decode(reader.feed(data[at : at + size]))
        items += decoder.decode(reader.close())
    except DecodeError as error:
        return items, f"{error.layer}: {error.reason}"
    return items, ""


def make_pilot(dice: random.Random) -> bytes:
    """A pilot file or what a pilot's serial line carries, damaged."""
    seeds = _pilots()
    return mutated_bytes(dice, dice.choice(seeds), seeds, dice.choice((1, 2, 4, 16)))


@functools.cache
def _pilots() -> tuple[bytes, ...]:
    cycles = tuple(cpf1.Cycle(dt=100 * i, hi_mv=9000, lo_mv=-12_000, duty=500, freq=10_000) for i in range(20))
    hello = cpf1.Hello(rate_hz=50_000, uv_per_lsb=1000, boot_id=1, device="adc")
    wave = b"".join((9000 if i % 50 < 3 else -12_000).to_bytes(2, "little", signed=True) for i in range(900))
    stream = b"".join(
        cpf1.encode(message)
        for message in (
            hello,
            *(cpf1.Cycles(cycles=cycles, t_us=20_000 * i, seq=i + 1) for i in range(5)),
            *(cpf1.Raw(rate_hz=50_000, n=900, data=wave, t_us=100_000 + 18_000 * i, seq=6 + i) for i in range(5)),
            cpf1.Level(mean_mv=12_000, min_mv=11_900, max_mv=12_100, n=10, t_us=200_000, seq=11),
            cpf1.Pp(pp_mv=1500, pp_ohm=1500, t_us=210_000, seq=12),
            cpf1.Time(host_cookie=1, t_us_now=220_000, t_us=220_000, seq=13),
        )
    )
    lines = b"CP,100,9000,-12000,50,10000,1500\nCP,200,9000,-12000,50,10000\nhi=8.97 lo=-11.93 duty=5 freq=1000 t=0.3\n"
    rows = b'{"t": 1.5, "hi": 8.97, "lo": -11.93, "duty": 5}\n{"t": 2, "state": "B2"}\n$AT 03 03 16 0000\n-11.93 8.97\n'
    events = b'{"time": 100.5, "event": "Session Started: EVConnected"}\n{"time": 101, "event": "Set PWM On (5.0%)"}\n'
    carried = b'{"time": 100, "data": {"state": "B", "duty_pct": 5, "freq_hz": 1000, "cp_mv": 8859}}\n'
    return stream, lines, rows, events, carried


def check_pilot(data: bytes) -> None:
    """A pilot file gives records or DecodeError; the live parsers never raise, whatever the line carries."""
    parser = PilotLogParser(max_records=10_000)
    try:
        parser.feed(data)
        log = parser.close()
    except DecodeError as error:
        assert error.layer == "pilot file"
    else:
        assert [r.t for r in log.records] == sorted(r.t for r in log.records)
    frames, lines, assembler = Cpf1Parser(), CpTextParser(), CpAssembler()
    for at in range(0, len(data), 100):
        piece, t = data[at : at + 100], 10**18 + at * 10**6
        for message in (*frames.feed(piece), *lines.feed(piece)):
            to_archive(assembler.feed(t, message))
    to_archive(assembler.flush())


TARGETS = {
    "stack": Target(make_stream, check_stack, ".pcapng"),
    "analysis": Target(make_stream, check_analysis, ".pcapng"),
    "capture": Target(make_capture, check_capture, ".capture"),
    "pilot": Target(make_pilot, check_pilot, ".pilot"),
}


def case(name: str, seed: int, number: int) -> bytes:
    """The case of these dice; always the same bytes."""
    return TARGETS[name].make(random.Random(f"{name}:{seed}:{number}"))
