"""All HomePlug MMEs of the real captures, decoded once a test run."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path
from typing import NamedTuple

from plugtap.protocols import ethernet
from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Mme
from plugtap.protocols.homeplug import ETHERTYPE, HomeplugDecoder
from plugtap.protocols.item_decoder import ItemDecoder
from plugtap.protocols.items import Frame


class Captured(NamedTuple):
    """What one capture holds. `raw`: frame number to everything after the EtherType."""

    mmes: list[Mme]
    raw: dict[int, bytes]
    errors: list[DecodeError]


def mmes_of(path: Path) -> Captured:
    """The MMEs of one capture file."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    reader, items, decoder = CaptureReader(), ItemDecoder(), HomeplugDecoder()
    found = Captured([], {}, [])
    for item in items.decode([*reader.feed(data), *reader.close()]):
        if not isinstance(item, Frame):
            continue
        try:
            link = ethernet.parse(item)
        except DecodeError:
            continue
        if link.ethertype != ETHERTYPE:
            continue
        found.raw[item.number] = link.payload
        try:
            for event in decoder.feed(item.t, item.number, item.source, link.src, link.dst, link.payload):
                assert isinstance(event, Mme)
                found.mmes.append(event)
        except DecodeError as error:
            found.errors.append(error)
    return found


@cache
def manifest(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of MANIFEST.tsv by file."""
    with (folder / "MANIFEST.tsv").open(encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)}


@cache
def all_mmes(folder: Path) -> dict[str, Captured]:
    """File (as in MANIFEST.tsv) to its MMEs."""
    return {file: mmes_of(folder / "files" / file) for file in manifest(folder)}
