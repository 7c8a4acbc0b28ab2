"""Reading back the archive file that a run left open, so that the next run can go on with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plugtap.protocols.capture_reader import CaptureReader
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.item_decoder import CaptureFacts, ItemDecoder
from plugtap.protocols.items import Item

CHUNK = 1 << 18


class ArchiveFiles:
    """One archive over one or more files, each beginning where the one before was split; numbers count on over all.

    Iterate over it for the items; afterwards `facts` says what it was and `good` how many bytes of the last file are
    whole blocks. A damaged or cut end is where reading stops: nothing is raised but OSError.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = list(paths)
        self._decoder = ItemDecoder()
        self.good = 0
        self.damage = ""

    @property
    def facts(self) -> CaptureFacts:
        return self._decoder.facts

    def __iter__(self) -> Iterator[Item]:
        reader = CaptureReader()
        for path in self._paths:
            begin = reader.offset
            self.good = 0
            with open(path, "rb") as file:
                while data := file.read(CHUNK):
                    try:
                        blocks = reader.feed(data)
                    except DecodeError as error:
                        self.damage = str(error)
                        return
                    self.good = reader.offset - begin
                    yield from self._decoder.decode(blocks)
                if self.good != file.tell() and path != self._paths[-1]:
                    # A split file is always whole: what follows can't be put behind it.
                    self.damage = f"{path} is cut"
                    return
