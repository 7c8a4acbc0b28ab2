"""Link layer: Ethernet II, 802.1Q and QinQ tags, and the two "Linux cooked" headers of captures on the `any` device.

Sources: IEEE 802.3 clause 3, IEEE 802.1Q clause 9, https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html and
_SLL2.html.
"""

from __future__ import annotations

import msgspec

from plugtap.protocols import items
from plugtap.protocols.errors import DecodeError

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
ETH_HOMEPLUG_AV = 0x88E1
VLAN_TYPES = frozenset({0x8100, 0x88A8, 0x9100})

NO_MAC = b"\0" * 6
MAX_TAGS = 4
SNAP = b"\xaa\xaa\x03\x00\x00\x00"
CAUSE_OUTGOING = 4  # packet type of a cooked header: sent by the capturing host

OTHER_LABELS = {
    ETH_IPV4: "ipv4",
    ETH_ARP: "arp",
    0x887B: "homeplug-1.0",
    0x8863: "pppoe",
    0x8864: "pppoe",
    0x888E: "eapol",
    0x8892: "profinet",
    0x88A4: "ethercat",
    0x88CC: "lldp",
    0x88F7: "ptp",
}


class Link(msgspec.Struct, frozen=True, gc=False):
    """A frame without its link-layer header.

    `ethertype` below 0x0600 is an 802.3 length (LLC follows). `vlan` is the identifier of the outermost tag.
    `outgoing` is True when the capturing host sent the frame, None when the capture does not say. Cooked captures
    have no destination address: `dst` is then `NO_MAC`.
    """

    src: bytes  # 6 bytes
    dst: bytes  # 6 bytes
    ethertype: int
    payload: bytes
    vlan: int | None = None
    outgoing: bool | None = None


def parse(frame: items.Frame) -> Link:
    """The link-layer part of `frame`.

    Raises DecodeError("ethernet", …) for a frame too short for its header and for a link type that is not Ethernet or
    cooked.
    """
    if frame.link == items.LINKTYPE_ETHERNET:
        return _ethernet(frame)
    if frame.link == items.LINKTYPE_LINUX_SLL:
        return _sll(frame)
    if frame.link == items.LINKTYPE_LINUX_SLL2:
        return _sll2(frame)
    raise DecodeError("ethernet", 0, f"link type {frame.link} is not Ethernet")


def label(ethertype: int) -> str:
    """A short name out of a bounded set for an EtherType that plugtap does not read."""
    if ethertype < 0x0600:
        return "llc"
    return OTHER_LABELS.get(ethertype, "other")


def _ethernet(frame: items.Frame) -> Link:
    data = frame.data
    if len(data) < 14:
        raise DecodeError("ethernet", len(data), "shorter than an Ethernet header")
    outgoing = {"out": True, "in": False}.get(frame.direction)
    ethertype = int.from_bytes(data[12:14], "big")
    if ethertype in (ETH_IPV6, ETH_HOMEPLUG_AV):  # nearly every frame
        return Link(data[6:12], data[:6], ethertype, data[14:], None, outgoing)
    return _tagged(data, 14, ethertype, data[6:12], data[:6], outgoing)


def _sll(frame: items.Frame) -> Link:
    data = frame.data
    if len(data) < 16:
        raise DecodeError("ethernet", len(data), "shorter than a Linux cooked header")
    outgoing = int.from_bytes(data[0:2], "big") == CAUSE_OUTGOING
    length = int.from_bytes(data[4:6], "big")
    return _tagged(data, 16, int.from_bytes(data[14:16], "big"), _address(data[6:14], length), NO_MAC, outgoing)


def _sll2(frame: items.Frame) -> Link:
    data = frame.data
    if len(data) < 20:
        raise DecodeError("ethernet", len(data), "shorter than a Linux cooked header, version 2")
    outgoing = data[10] == CAUSE_OUTGOING
    return _tagged(data, 20, int.from_bytes(data[0:2], "big"), _address(data[12:20], data[11]), NO_MAC, outgoing)


def _address(field: bytes, length: int) -> bytes:
    """The 6-byte address in the 8-byte field of a cooked header; zeros when the device has no such address (loopback,
    tun).
    """
    return field[:6] if length == 6 else NO_MAC


def _tagged(data: bytes, at: int, ethertype: int, src: bytes, dst: bytes, outgoing: bool | None) -> Link:
    """Strip VLAN tags (at most MAX_TAGS) and a SNAP header."""
    vlan: int | None = None
    tags = 0
    while ethertype in VLAN_TYPES:
        if tags == MAX_TAGS:
            raise DecodeError("ethernet", at, f"more than {MAX_TAGS} VLAN tags")
        if len(data) < at + 4:
            raise DecodeError("ethernet", len(data), "cut in a VLAN tag")
        if vlan is None:
            vlan = int.from_bytes(data[at : at + 2], "big") & 0x0FFF
        ethertype = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
        tags += 1
    if ethertype < 0x0600 and data[at : at + 6] == SNAP and len(data) >= at + 8:
        ethertype = int.from_bytes(data[at + 6 : at + 8], "big")
        at += 8
    return Link(src, dst, ethertype, data[at:], vlan, outgoing)
