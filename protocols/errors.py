"""The one error that decoding may raise."""

from __future__ import annotations


class DecodeError(Exception):
    """Bytes from the wire, the serial line or a file that cannot be what they claim to be.

    `layer` names the decoder (``homeplug``, ``ipv6``, ``exi`` …), `offset` is the position of the
    first wrong byte in that layer's input (for EXI: the bit), `reason` is one line for a person.
    `path` and `partial` are filled by the EXI decoder: elements entered so far, and the tree built so far.
    """

    def __init__(self, layer: str, offset: int, reason: str, *, path: str = "", partial: object = None) -> None:
        super().__init__(f"{layer} at {offset}: {reason}")
        self.layer = layer
        self.offset = offset
        self.reason = reason
        self.path = path
        self.partial = partial
