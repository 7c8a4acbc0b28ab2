"""Link layer: Ethernet II, VLAN tags, SNAP, Linux cooked captures."""

from __future__ import annotations

import struct

import pytest
from builders import EV, EVSE, ethernet
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols import ethernet as eth
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.items import LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_USER0, Frame


def parse(data: bytes, link: int = LINKTYPE_ETHERNET, direction: str = "") -> eth.Link:
    return eth.parse(Frame(t=1, number=1, data=data, link=link, direction=direction))


def test_ethernet_ii() -> None:
    link = parse(ethernet(b"payload"))
    assert link == eth.Link(EV.mac, EVSE.mac, 0x86DD, b"payload", None, None)


@pytest.mark.parametrize(("direction", "outgoing"), [("out", True), ("in", False), ("", None)])
@pytest.mark.parametrize("ethertype", [0x86DD, 0x0806])
def test_the_direction_of_the_capture_is_kept(direction: str, outgoing: bool | None, ethertype: int) -> None:
    assert parse(ethernet(b"", ethertype), direction=direction).outgoing is outgoing


@pytest.mark.parametrize(
    ("tags", "vlan"),
    [([(0x8100, 5)], 5), ([(0x88A8, 100), (0x8100, 7)], 100), ([(0x9100, 1), (0x8100, 2), (0x8100, 3)], 1), ([(0x8100, 0)], 0)],
)
def test_vlan_tags_are_stripped_and_the_outermost_is_named(tags: list[tuple[int, int]], vlan: int) -> None:
    inner = b"".join(struct.pack(">HH", kind, 0xE000 | number) for kind, number in tags) + b"\x88\xe1MME"
    link = parse(EVSE.mac + EV.mac + inner)
    assert (link.vlan, link.ethertype, link.payload) == (vlan, 0x88E1, b"MME")


def test_endless_tags_and_cut_tags_are_errors() -> None:
    with pytest.raises(DecodeError, match="more than 4 VLAN tags"):
        parse(EVSE.mac + EV.mac + b"\x81\x00\x00\x05" * 9 + b"\x86\xdd")
    with pytest.raises(DecodeError, match="cut in a VLAN tag"):
        parse(EVSE.mac + EV.mac + b"\x81\x00\x00")


def test_snap_and_llc() -> None:
    link = parse(EVSE.mac + EV.mac + struct.pack(">H", 11) + eth.SNAP + b"\x88\xe1abc")
    assert (link.ethertype, link.payload) == (0x88E1, b"abc")
    link = parse(EVSE.mac + EV.mac + struct.pack(">H", 3) + b"\x42\x42\x03")
    assert (link.ethertype, eth.label(link.ethertype)) == (3, "llc")


@pytest.mark.parametrize(("packet_type", "outgoing"), [(0, False), (4, True)])
def test_linux_cooked(packet_type: int, outgoing: bool) -> None:
    header = struct.pack(">HHH", packet_type, 1, 6) + EV.mac + b"\0\0"
    link = parse(header + struct.pack(">H", 0x86DD) + b"six", LINKTYPE_LINUX_SLL)
    assert link == eth.Link(EV.mac, b"\0" * 6, 0x86DD, b"six", None, outgoing)
    tagged = parse(header + b"\x81\x00\x00\x09\x86\xddsix", LINKTYPE_LINUX_SLL)
    assert (tagged.vlan, tagged.ethertype, tagged.payload) == (9, 0x86DD, b"six")


@pytest.mark.parametrize(("packet_type", "outgoing"), [(1, False), (4, True)])
def test_linux_cooked_version_2(packet_type: int, outgoing: bool) -> None:
    header = struct.pack(">HHIHBB", 0x86DD, 0, 3, 1, packet_type, 6) + EV.mac + b"\0\0"
    link = parse(header + b"six", LINKTYPE_LINUX_SLL2)
    assert link == eth.Link(EV.mac, b"\0" * 6, 0x86DD, b"six", None, outgoing)


def test_a_device_without_mac_has_zeros() -> None:
    header = struct.pack(">HHH", 0, 772, 0) + b"\xff" * 8 + struct.pack(">H", 0x86DD)
    assert parse(header, LINKTYPE_LINUX_SLL).src == eth.NO_MAC


@pytest.mark.parametrize(("link", "size"), [(LINKTYPE_ETHERNET, 13), (LINKTYPE_LINUX_SLL, 15), (LINKTYPE_LINUX_SLL2, 19)])
def test_too_short(link: int, size: int) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(bytes(size), link)
    assert (caught.value.layer, caught.value.offset) == ("ethernet", size)


def test_other_link_types() -> None:
    with pytest.raises(DecodeError, match="link type 147 is not Ethernet"):
        parse(bytes(60), LINKTYPE_USER0)


@given(st.binary(max_size=80), st.sampled_from([LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2]))
def test_any_bytes_give_a_link_or_a_decode_error(data: bytes, link: int) -> None:
    try:
        parsed = parse(data, link)
    except DecodeError as error:
        assert error.layer == "ethernet"
        return
    assert len(parsed.src) == len(parsed.dst) == 6
    assert data.endswith(parsed.payload)
    assert eth.label(parsed.ethertype)
