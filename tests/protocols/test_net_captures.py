"""Real captures: V2GTP messages are where an independent decoder found them, and streams and repetitions are tshark's."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugtap.hw.files import read_items
from plugtap.protocols import ethernet, events
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import Frame
from plugtap.protocols.net import NetDecoder, Output, RawV2g

# Captures whose reference cannot be met to the frame, with what differs and why.
SAME_COUNT = {
    "2024-10-14_clara_parallelcharging_hiro": "one end heard, 47 holes: the reference names the frame where it gave a hole up",
    "2024-02-13_clara_tesla_timeout": "the reference counts a SYN repeated with the same number as a new stream; tshark does not",
}
DAMAGED = {"2024-05-09_clara_Qingdao": "bits flipped all over: the reference loses messages behind wrong sequence numbers"}

QUICK = ("hiro", "Qingdao", "2024-02-13", "SuC_without", "Opel/Ampera", "Solterra", "ISO-2_DC_PnC_TLS_Contract", "v2g_din_session", "2nd_udp")


def every_capture(captures: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((captures / "files").rglob("*")):
        if path.is_file():
            yield str(path.relative_to(captures / "files")), path


def decode(path: Path) -> tuple[list[Output], NetDecoder]:
    decoder = NetDecoder()
    out: list[Output] = []
    last = None
    for item in read_items(str(path)):
        if isinstance(item, Frame):
            last = item
            try:
                link = ethernet.parse(item)
            except DecodeError:
                continue
            out += decoder.feed(item, link)
    if last is not None:
        out += decoder.finish(last.t, last.number)
    return out, decoder


def reference(captures: Path, name: str) -> Counter[tuple[int, int]]:
    path = captures / "decoded" / (name.replace("/", "__") + ".jsonl.gz")
    if not path.exists():
        return Counter()
    with gzip.open(path, "rt") as lines:
        return Counter((row["frame"], row["stream"]) for row in map(json.loads, lines))


def compare(captures: Path, names: tuple[str, ...]) -> int:
    total = 0
    for name, path in every_capture(captures):
        if names and not any(part in name for part in names):
            continue
        out, _ = decode(path)
        found = Counter((e.frame, e.stream) for e in out if isinstance(e, RawV2g))
        wanted = reference(captures, name)
        if any(part in name for part in DAMAGED):
            assert found.total() > wanted.total(), name
        elif any(part in name for part in SAME_COUNT):
            assert found.total() == wanted.total(), name
        else:
            assert found == wanted, name
        total += found.total()
        keys = [(e.frame, e.index) for e in out if isinstance(e, RawV2g)]
        assert len(keys) == len(set(keys)), name
    return total


def test_messages_of_some_captures(captures: Path) -> None:
    assert compare(captures, QUICK) == 3812


@pytest.mark.slow
def test_messages_of_all_captures(captures: Path) -> None:
    assert compare(captures, ()) == 70_392


def test_what_the_stories_say(captures: Path) -> None:
    files = captures / "files"
    out, _ = decode(files / "uhi22__clara-logs/2024-02-14_SuC_without_authorization.claralog.pcap")
    assert [(e.frame, e.kind) for e in out if isinstance(e, events.V2gtpOddity)] == [(100, "payload-type")]
    out, decoder = decode(files / "uhi22__clara-logs/2024-10-14_clara_parallelcharging_hiro_LOG-2nd_charger.claralog.pcap")
    assert len([e for e in out if isinstance(e, events.Tcp) and e.kind == "gap"]) == 47
    assert decoder.counts["stream_gap_bytes"] == 51 * 49
    out, _ = decode(files / "uhi22__clara-logs/2024-05-09_clara_QingdaoPenodato_serh270_precharge.claralog.pcap")
    assert len([e for e in out if isinstance(e, events.Tcp) and e.kind == "bad-checksum"]) == 29
    assert len([e for e in out if isinstance(e, events.Undecodable)]) == 5


def test_tls_of_the_captures(captures: Path) -> None:
    folder = captures / "files" / "dspace-group__dsV2Gshark"
    suites = {}
    for path in sorted(folder.glob("*TLS*")):
        out, _ = decode(path)
        found = [e for e in out if isinstance(e, events.Tls)]
        [hello] = [e for e in found if e.kind == "server-hello"]
        suites[path.name] = (hello.version, hello.values["suite"], len([e for e in found if e.kind == "certificate"]))
        assert len([e for e in out if isinstance(e, events.KeyLog)]) >= 1
    assert suites == {
        "ISO-20_TLS13_DC_DS5366_Josev.pcapng": (0x0304, 0x1302, 0),
        "ISO-2_AC_PnC_TLS_Contract_MeteringReceipt_DS5366_RiseV2G.pcapng": (0x0303, 0xC023, 1),
        "ISO-2_DC_PnC_TLS_CertInstallation_DS5366_RiseV2G.pcapng": (0x0303, 0xC023, 1),
        "ISO-2_DC_PnC_TLS_Contract_DS5366_RiseV2G.pcapng": (0x0303, 0xC023, 1),
    }


# --- tshark -------------------------------------------------------------------------------------------------------

MARKS = ("retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order")


def tshark(path: Path) -> tuple[dict[int, int], set[int]]:
    """Stream of each TCP frame, and the frames marked as repetitions."""
    command = ["tshark", "-r", str(path), "-Y", "tcp", "-T", "fields", "-e", "frame.number", "-e", "tcp.stream"]
    for mark in MARKS:
        command += ["-e", f"tcp.analysis.{mark}"]
    # Exit status 2 says that the last packet is cut; the rest is there.
    rows = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    streams: dict[int, int] = {}
    repeated: set[int] = set()
    for row in rows:
        number, stream, *marks = row.split("\t")
        streams[int(number)] = int(stream)
        if any(marks):
            repeated.add(int(number))
    return streams, repeated


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_streams_and_repetitions_are_those_of_tshark(captures: Path) -> None:
    agreed = differed = 0
    for name, path in every_capture(captures):
        if any(part in name for part in DAMAGED):
            continue
        streams, repeated = tshark(path)
        found = [e for e in decode(path)[0] if isinstance(e, events.Tcp)]
        shakes = {e.frame for e in found if e.kind in ("syn", "synack", "fin")}
        mine = {e.frame for e in found if e.kind == "retransmission" or (e.kind == "duplicate" and e.length)}
        waiting = {e.frame for e in found if e.kind == "gap"}
        assert all(streams[e.frame] == e.stream for e in found if e.kind not in ("gap", "data") or e.frame not in waiting), name
        difference = (repeated ^ mine) - shakes
        agreed += len(repeated & mine)
        differed += len(difference)
    assert agreed > 700
    assert differed < 20
