"""HomePlug AV / Green PHY management messages on EtherType 0x88E1: header, fragments, and which body belongs to which
number.

Header (HomePlug AV 1.1, 11.1.2): MMV (1), MMTYPE (2, little endian) and, from MMV 1 on, FMI (2). Manufacturer and
vendor specific types (0x8000, 0xA000) go on with an OUI. Offsets in DecodeError count from the byte after the
EtherType.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from plugtap.protocols import cm_mme, cp_mme, slac, vendor_mme
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event, Mme
from plugtap.protocols.mme_codec import Codec
from plugtap.protocols.mme_names import OUI_NONE, mme_name

ETHERTYPE = 0x88E1
MIN_FRAME = 60  # Ethernet's minimum without FCS

_ALL_CODECS: tuple[Codec, ...] = slac.CODECS + cm_mme.CODECS + vendor_mme.CODECS + cp_mme.CODECS
_BY_TYPE = {(codec.mmtype, codec.oui): codec for codec in _ALL_CODECS}
_BY_CLASS = {codec.cls: codec for codec in _ALL_CODECS if codec.oui != OUI_NONE}

_MAX_MMV = 2
_VENDOR_CLASSES = (4, 5)  # the three high bits of MMTYPE: manufacturer specific, vendor specific


class HomeplugCounters(msgspec.Struct):
    """What reassembly had to give up, since the start."""

    expired: int = 0  # a fragment did not come in time
    evicted: int = 0  # more messages open at once than allowed
    oversize: int = 0  # longer than allowed


_Key = tuple[str, bytes, bytes, int, int]  # source, OSA, ODA, MMTYPE, FMSN


class _Open(msgspec.Struct):
    """A message of which some fragments have come."""

    started: int
    last: int  # number of the last fragment
    head: bytes  # MMV, MMTYPE, FMI
    parts: dict[int, bytes]
    size: int = 0


class HomeplugDecoder:
    """Frames in, `events.Mme` out. Keeps only unfinished fragmented messages: at most `max_open` of at most
    `max_size` bytes each, and none longer than `timeout` ns."""

    def __init__(self, max_open: int = 16, max_size: int = 24_000, timeout: int = 1_000_000_000) -> None:
        self.counters = HomeplugCounters()
        self._max_open = max_open
        self._max_size = max_size
        self._timeout = timeout
        self._open: OrderedDict[_Key, _Open] = OrderedDict()

    def feed(self, t: int, frame: int, source: str, src: bytes, dst: bytes, payload: bytes) -> list[Event]:
        """Decodes one frame. `src`, `dst`: 6 bytes; `payload`: everything after the EtherType, padding included.

        Gives the Mme, or nothing while fragments are missing. The number and time are those of the frame that
        completes it. Raises DecodeError("homeplug", …) for a header that is none and for a body shorter than its type.
        """
        if len(payload) < 3:
            raise DecodeError("homeplug", len(payload), f"cut in the header: 3 bytes wanted, {len(payload)} there")
        mmv = payload[0]
        if mmv > _MAX_MMV:
            raise DecodeError("homeplug", 0, f"unknown MMV {mmv}")
        mmtype = payload[1] | payload[2] << 8
        pos = 3
        if mmv > 0:
            if len(payload) < 5:
                raise DecodeError("homeplug", len(payload), "cut in FMI")
            pos = 5
            if payload[3] != 0:
                whole = self._fragment(t, (source, src, dst, mmtype, payload[4]), payload)
                if whole is None:
                    return []
                payload = whole
        oui = None
        if mmtype >> 13 in _VENDOR_CLASSES:
            oui = payload[pos : pos + 3]
            if len(oui) < 3:
                raise DecodeError("homeplug", len(payload), "cut in the OUI")
            pos += 3
        codec = _BY_TYPE.get((mmtype, oui))
        body = None if codec is None else codec.decode(payload, pos, mmv)
        return [
            Mme(
                t=t,
                frame=frame,
                source=source,
                src=src,
                dst=dst,
                mmv=mmv,
                mmtype=mmtype,
                name=mme_name(mmtype, oui),
                oui=oui,
                body=body,
                payload=payload[pos:],
            )
        ]

    def _fragment(self, t: int, key: _Key, payload: bytes) -> bytes | None:
        """Adds a fragment (FMI: high half count - 1, low half number, then FMSN). The whole message when it is the
        last missing one.

        Only the first fragment has an OUI; all have the header.
        """
        last, number = payload[3] >> 4, payload[3] & 0x0F
        if number > last:
            raise DecodeError("homeplug", 3, f"fragment {number} of {last + 1}")
        self._expire(t)
        message = self._open.get(key)
        if message is None or message.last != last:
            message = _Open(started=t, last=last, head=payload[:5], parts={})
            self._open[key] = message
            self._open.move_to_end(key)
            if len(self._open) > self._max_open:
                self._open.popitem(last=False)
                self.counters.evicted += 1
        if number not in message.parts:  # a repeated fragment says nothing new
            message.parts[number] = payload[5:]
            message.size += len(payload) - 5
        if message.size > self._max_size:
            del self._open[key]
            self.counters.oversize += 1
            return None
        if len(message.parts) <= last:
            return None
        del self._open[key]
        return message.head + b"".join(message.parts[i] for i in range(last + 1))

    def _expire(self, t: int) -> None:
        # a clock that jumped back makes a message as old as one that waited too long
        stale = [key for key, message in self._open.items() if abs(t - message.started) > self._timeout]
        for key in stale:
            del self._open[key]
            self.counters.expired += 1


def encode(body: Any, mmv: int | None = None) -> bytes:
    """The MME of a typed body: MMV, MMTYPE, FMI, OUI and content, without padding. `mmv` None: the version the type
    is sent with.

    Raises ValueError when a field does not fit, TypeError for a body that is not an MME.
    """
    codec = _BY_CLASS.get(type(body))
    if codec is None:
        raise TypeError(f"{type(body).__name__} is no MME body")
    version = codec.mmv if mmv is None else mmv
    head = bytes([version]) + codec.mmtype.to_bytes(2, "little")
    if version > 0:
        head += b"\0\0"
    return head + (codec.oui or b"") + codec.encode(body, version)


def to_frame(body: Any, src: bytes, dst: bytes, mmv: int | None = None) -> bytes:
    """The Ethernet frame (without FCS) of a typed body, padded with zeros to 60 bytes. `src`, `dst`: 6 bytes."""
    if len(src) != 6 or len(dst) != 6:
        raise ValueError("MACs are 6 bytes")
    return (dst + src + ETHERTYPE.to_bytes(2, "big") + encode(body, mmv)).ljust(MIN_FRAME, b"\0")


def mmtype_of(body: Any) -> int:
    """MMTYPE of a typed body. Raises TypeError for a body that is not an MME."""
    codec = _BY_CLASS.get(type(body))
    if codec is None:
        raise TypeError(f"{type(body).__name__} is no MME body")
    return codec.mmtype
