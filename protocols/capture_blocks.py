"""What capture files consist of: one typed value for each block of a pcapng file, or record of a pcap file.

Sources: the pcapng specification (draft-ietf-opsawg-pcapng), the pcap specification (draft-ietf-opsawg-pcap).
Interface indices count from 0 within their section. Times are integer nanoseconds since the Unix epoch, sub-nanosecond
parts cut off; a time before 1970 or after 2262 (what 63 bits hold) is no time and given as None.
"""

from __future__ import annotations

import msgspec

BYTE_ORDER_MAGIC = 0x1A2B3C4D

# Block types (pcapng section 11.1).
SHB = 0x0A0D0D0A
IDB = 0x00000001
PACKET = 0x00000002  # obsolete Packet Block
SPB = 0x00000003
NRB = 0x00000004
ISB = 0x00000005
EPB = 0x00000006
DSB = 0x0000000A
CUSTOM = 0x00000BAD
CUSTOM_NO_COPY = 0x40000BAD

# Blocks that are no packets and yet get a frame number from Wireshark (measured with tshark 4.0.17), beside the custom
# blocks: systemd journal export, sysdig events.
NUMBERED_BLOCKS = frozenset({0x00000009, 0x00000204, 0x00000216, 0x00000221})

# Option codes (pcapng sections 3.5 and 4).
OPT_END = 0
OPT_COMMENT = 1
OPT_CUSTOM_TEXT = 2988
OPT_CUSTOM_BINARY = 2989
OPT_CUSTOM_TEXT_NO_COPY = 19372
OPT_CUSTOM_BINARY_NO_COPY = 19373
CUSTOM_OPTIONS = frozenset({OPT_CUSTOM_TEXT, OPT_CUSTOM_BINARY, OPT_CUSTOM_TEXT_NO_COPY, OPT_CUSTOM_BINARY_NO_COPY})
SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 2, 3, 4
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_FILTER, IF_OS, IF_TSOFFSET, IF_HARDWARE = 2, 3, 9, 11, 12, 14, 15
EPB_FLAGS, EPB_DROPCOUNT = 2, 4
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP, ISB_FILTERACCEPT, ISB_OSDROP, ISB_USRDELIV = 2, 3, 4, 5, 6, 7, 8

SECRETS_TLS_KEYLOG = 0x544C534B

MAX_BLOCK = 16 << 20  # Wireshark refuses larger blocks
MAX_PACKET = 262144  # and, for most link types, larger packets
MAX_TIME = (1 << 63) - 1  # ns: April 2262


class Section(msgspec.Struct, frozen=True):
    """A section header block, or the file header of a pcap file (`format` tells them apart)."""

    format: str  # "pcapng" or "pcap"
    byte_order: str  # "little" or "big"
    version: tuple[int, int]
    hardware: str = ""
    os: str = ""
    application: str = ""
    comments: tuple[str, ...] = ()
    custom: tuple[tuple[int, int, bytes], ...] = ()  # custom options: option code, private enterprise number, value


class Interface(msgspec.Struct, frozen=True):
    """An interface description block; a pcap file has one interface, made from its header."""

    index: int
    link: int  # LINKTYPE_* (https://www.tcpdump.org/linktypes.html)
    snaplen: int = 0  # 0: unlimited
    name: str = ""
    description: str = ""
    hardware: str = ""
    os: str = ""
    filter: str = ""
    units_per_second: int = 1_000_000  # of the time stamps in the file (if_tsresol)
    offset_seconds: int = 0  # if_tsoffset
    comments: tuple[str, ...] = ()


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One captured packet. `number` counts from 1 over all interfaces and sections, as Wireshark counts frames."""

    number: int
    t: int | None  # None: the block has no time (Simple Packet Block) or an impossible one
    interface: int
    link: int
    data: bytes
    wire_len: int
    direction: str = ""  # "in", "out" or unknown
    dropped: int = 0  # packets the capture lost between this one and the one before on the same interface
    comments: tuple[str, ...] = ()


class InterfaceStats(msgspec.Struct, frozen=True):
    """An interface statistics block at time `t`; counters that were not given are None."""

    interface: int
    t: int | None
    start: int | None = None
    end: int | None = None
    received: int | None = None
    dropped: int | None = None
    accepted: int | None = None
    os_dropped: int | None = None
    delivered: int | None = None
    comments: tuple[str, ...] = ()


class Secrets(msgspec.Struct, frozen=True):
    """A decryption secrets block; `kind` is SECRETS_TLS_KEYLOG for the text of a TLS key log file."""

    kind: int
    data: bytes


class Custom(msgspec.Struct, frozen=True):
    """A custom block. `data` is all that follows the enterprise number: payload, its padding, options if any.

    Wireshark gives custom blocks a frame number, so they have one here and later packets count on.
    """

    number: int
    pen: int  # IANA private enterprise number
    data: bytes
    copy: bool = True  # whether programs that change the file may copy the block


class Skipped(msgspec.Struct, frozen=True):
    """A block of a type that is not read (name resolution, local use, unknown).

    `number` is 0 where Wireshark counts none.
    """

    type: int
    length: int  # bytes, whole block
    number: int = 0


class Truncated(msgspec.Struct, frozen=True):
    """The file ends within a block: `have` bytes of it are there, from byte `offset` of the file on.

    `need` is how many the block (or, too short to tell, its header) needs.
    """

    offset: int
    what: str
    have: int
    need: int


Block = Section | Interface | Packet | InterfaceStats | Secrets | Custom | Skipped | Truncated
