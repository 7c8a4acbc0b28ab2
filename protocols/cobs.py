"""Consistent Overhead Byte Stuffing: bytes without zeros, so that a zero can end a frame. Cheshire and Baker, 1999."""

from __future__ import annotations

_MAX_RUN = 254
_CODES = [bytes([length + 1]) for length in range(_MAX_RUN)]  # what stands before a piece of so many bytes


def encode(data: bytes) -> bytes:
    """`data` without zeros; at most one byte in 254 longer, plus one. The closing zero is the caller's."""
    pieces = data.split(b"\0")
    if len(data) < _MAX_RUN:
        return b"".join([_CODES[len(piece)] + piece for piece in pieces])
    out = bytearray()
    last = len(pieces) - 1
    for i, piece in enumerate(pieces):
        while len(piece) > _MAX_RUN or (len(piece) == _MAX_RUN and i != last):
            out.append(0xFF)
            out += piece[:_MAX_RUN]
            piece = piece[_MAX_RUN:]
        if len(piece) == _MAX_RUN:  # the end of the data needs no zero behind it
            out.append(0xFF)
            out += piece
        else:
            out.append(len(piece) + 1)
            out += piece
    return bytes(out)


def decode(data: bytes) -> bytes | None:
    """What was encoded; None when `data` (without the closing zero) is no COBS."""
    if not data or 0 in data:
        return None
    # Every code byte but the first stands where a zero was, or (after 0xFF) where nothing was.
    out = bytearray(data)
    full: list[int] = []
    at, code, size = 0, 0xFF, len(data)
    while at < size:
        if code == 0xFF:
            full.append(at)
        else:
            out[at] = 0
        code = data[at]
        at += code
    if at != size:
        return None
    for position in reversed(full):
        del out[position]
    return bytes(out)
