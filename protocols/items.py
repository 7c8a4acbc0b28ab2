"""What sources yield. Analysis eats items and nothing else, so whatever it knows can be replayed.

Times are integer nanoseconds since the Unix epoch and come from the source, never from a clock read here.
`number` counts the packets of the stream, over all its interfaces, from 1: Wireshark's frame number.
"""

from __future__ import annotations

import msgspec

# Link types (https://www.tcpdump.org/linktypes.html) that a Frame may carry.
LINKTYPE_ETHERNET = 1
LINKTYPE_LINUX_SLL = 113
LINKTYPE_USER0 = 147  # plugtap's own CP records in an archive
LINKTYPE_LINUX_SLL2 = 276


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One packet as captured. `data` may be cut by the snap length: `wire_len` is its length on the wire."""

    t: int
    number: int
    data: bytes
    link: int = LINKTYPE_ETHERNET
    wire_len: int = 0  # 0: the same as len(data)
    source: str = "plc"
    direction: str = ""  # "in", "out" or unknown
    lost: int = 0  # frames the capture lost between the packet before on this source and this one


# flags of a CpRecord
CP_NO_PWM = 1
CP_DIODE_SUSPECT = 2
CP_GLITCH = 4
CP_OVERRUN = 8
CP_CLIPPED = 16
CP_TIME_UNCERTAIN = 32


class CpRecord(msgspec.Struct, frozen=True, gc=False):
    """Control pilot (and proximity) over `span` ns starting at `t`: plateaus, duty and frequency of the 1 kHz PWM.

    Without PWM `lo_mv` equals `hi_mv`, and `duty` is 10000 for a steady positive level, 0 for E and F.
    A steady stretch of many cycles may be one record: `span` covers it, `cycles` counts it.
    """

    t: int
    number: int
    hi_mv: int
    lo_mv: int
    duty: int  # 0.01 %
    freq: int  # 0.1 Hz
    span: int = 0  # ns
    cycles: int = 1
    noise_mv: int = 0  # peak to peak
    flags: int = 0
    pp_mv: int | None = None
    pp_ohm: int | None = None
    source: str = "cp"


class TapEvent(msgspec.Struct, frozen=True):
    """Something that happened to the tap itself: carrier, drop, re-key, overload, clock jump, CRC errors …

    `kind` is one of `TAP_EVENTS`; `values` are small facts (``{"frames": 12}``).
    """

    t: int
    number: int
    source: str
    kind: str
    detail: str = ""
    values: dict[str, int | str] = msgspec.field(default_factory=dict)


TAP_EVENTS = frozenset(
    {"start", "stop", "carrier-up", "carrier-down", "drop", "rekey", "overload", "clock-jump", "damaged", "link-lost", "note"}
)


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Proof of silence: at time `t` nothing else was waiting to be read from any source of the tap."""

    t: int


Item = Frame | CpRecord | TapEvent | Tick
