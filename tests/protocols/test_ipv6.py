"""IPv6 headers, fragments, checksums; ICMPv6; UDP and SDP."""

from __future__ import annotations

import struct

import msgspec
import pytest
from builders import ALL_NODES, EV, EVSE, Host, ethernet, extension, fragment, frames, icmpv6, ipv6, sdp_request, sdp_response, udp, v2gtp
from hypothesis import given
from hypothesis import strategies as st
from net_lab import run

from plugtap.protocols import events
from plugtap.protocols import ipv6 as ip6
from plugtap.protocols.errors import DecodeError

UNSPECIFIED = Host(EV.mac, bytes(16), 0)


def test_header() -> None:
    packet = ip6.parse(ipv6(b"payload", 17, hops=3) + b"padding of the link")
    assert packet == ip6.Packet(EV.ip, EVSE.ip, 17, b"payload", 0, 3)


@pytest.mark.parametrize(
    "chain", [(0,), (60,), (43,), (0, 60, 43, 60), (51,), (135,)], ids=["hop", "dest", "route", "four", "auth", "mobility"]
)
def test_extension_headers_are_walked(chain: tuple[int, ...]) -> None:
    payload = b""
    for kind, following in zip(chain, [*chain[1:], 6], strict=True):
        header = extension(following, 16)
        if kind == 43:
            header = bytes((following, 1, 0, 0)) + bytes(12)  # no segments left
        elif kind == 51:
            header = bytes((following, 2)) + bytes(14)  # its length counts 4-byte words
        payload += header
    packet = ip6.parse(ipv6(payload + b"upper", chain[0]))
    assert (packet.protocol, packet.payload, packet.routed) == (6, b"upper", False)


def test_a_route_with_segments_left_leaves_the_checksum_unknown() -> None:
    packet = ip6.parse(ipv6(bytes((17, 0, 0, 2)) + bytes(4) + bytes(8), 43))
    assert packet.routed
    assert ip6.verify(packet, 6) == ip6.CHECKSUM_UNKNOWN


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shorter than an IPv6 header"),
        (bytes(40), "version 0"),
        (ipv6(b"abc", 17)[:-1], "payload length 3"),
        (ipv6(extension(17)[:4], 0), "exceeds the packet"),
        (ipv6(bytes((17, 200)) + bytes(14), 60), "exceeds the packet"),
        (ipv6(b"".join(extension(60) for _ in range(20)), 60), "more than 16 extension headers"),
        (ipv6(b"\x11\0\0", 44), "cut in a fragment header"),
    ],
)
def test_what_cannot_be_ipv6(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        ip6.parse(data)
    assert caught.value.layer == "ipv6"


def test_a_cut_frame_says_what_is_missing() -> None:
    packet = ip6.parse(ipv6(b"0123456789", 17)[:44], cut=True)
    assert (packet.payload, packet.missing) == (b"0123", 6)
    assert ip6.verify(packet, 2) == ip6.CHECKSUM_UNKNOWN


# --- fragments ----------------------------------------------------------------------------------------------------


def pieces(payload: bytes, protocol: int, size: int, ident: int = 7) -> list[ip6.Packet]:
    """`payload` in fragments of `size` bytes."""
    out = []
    for at in range(0, len(payload), size):
        more = at + size < len(payload)
        out.append(ip6.parse(ipv6(fragment(protocol, at, more, ident) + payload[at : at + size], 44)))
    return out


@given(st.permutations(range(5)), st.integers(0, 4))
def test_fragments_in_any_order_with_one_repeated(order: list[int], again: int) -> None:
    payload = bytes(range(256)) * 8
    parts = pieces(payload, 17, 416)
    reassembler = ip6.Reassembler()
    results = [reassembler.feed(0, parts[i]) for i in [order[again], *order]]
    whole = [r for r in results if r is not None]
    assert [(w.payload, w.protocol, w.fragmented) for w in whole] == [(payload, 17, True)]


def test_headers_of_the_fragmentable_part_are_read_after_reassembly() -> None:
    parts = pieces(extension(17, 24) + b"datagram", 60, 16)
    reassembler = ip6.Reassembler()
    assert reassembler.feed(0, parts[0]) is None
    whole = reassembler.feed(0, parts[1])
    assert whole is not None
    assert (whole.protocol, whole.payload) == (17, b"datagram")


def test_an_atomic_fragment_is_whole() -> None:
    packet = ip6.parse(ipv6(fragment(17, 0, False) + b"datagram", 44))
    whole = ip6.Reassembler().feed(0, packet)
    assert whole is not None
    assert (whole.protocol, whole.payload) == (17, b"datagram")


def feed_fragment(reassembler: ip6.Reassembler, offset: int, more: bool, data: bytes, ident: int = 7, t: int = 0) -> ip6.Packet | None:
    return reassembler.feed(t, ip6.parse(ipv6(fragment(17, offset, more, ident) + data, 44)))


def test_a_fragment_that_the_capture_cut_is_of_no_use() -> None:
    packet = ip6.parse(ipv6(fragment(17, 0, True) + bytes(16), 44)[:-3], cut=True)
    with pytest.raises(DecodeError, match="cut by the snap length"):
        ip6.Reassembler().feed(0, packet)


@pytest.mark.parametrize("inner", [fragment(17, 0, False), extension(44) + fragment(17, 0, False)])
def test_a_fragment_inside_a_fragment_is_refused(inner: bytes) -> None:
    following = 44 if len(inner) == 8 else 60
    packet = ip6.parse(ipv6(fragment(following, 0, False) + inner + b"x", 44))
    with pytest.raises(DecodeError, match="inside reassembled fragments"):
        ip6.Reassembler().feed(0, packet)


def test_overlapping_fragments_drop_the_packet() -> None:
    reassembler = ip6.Reassembler()
    feed_fragment(reassembler, 0, True, bytes(16))
    with pytest.raises(DecodeError, match="overlapping"):
        feed_fragment(reassembler, 8, True, bytes(16))
    assert reassembler.dropped == 1
    assert feed_fragment(reassembler, 16, False, bytes(8)) is None  # of a packet that is gone


@pytest.mark.parametrize(
    ("offset", "more", "data", "reason"),
    [(0, True, bytes(9), "not the last"), (0, True, b"", "not the last"), (65528, False, bytes(16), "exceed 65535 bytes")],
)
def test_impossible_fragments(offset: int, more: bool, data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        feed_fragment(ip6.Reassembler(), offset, more, data)


def test_a_fragment_beyond_the_last_drops_the_packet() -> None:
    reassembler = ip6.Reassembler()
    feed_fragment(reassembler, 16, False, bytes(8))
    with pytest.raises(DecodeError, match="beyond the last one"):
        feed_fragment(reassembler, 32, True, bytes(8))


def test_pending_packets_are_bounded_in_number_and_age() -> None:
    reassembler = ip6.Reassembler(max_packets=3, timeout=1000)
    for ident in range(10):
        feed_fragment(reassembler, 0, True, bytes(8), ident)
    assert reassembler.dropped == 7
    assert feed_fragment(reassembler, 8, False, b"end", 9) is not None
    assert feed_fragment(reassembler, 8, False, b"end", 8, t=1001) is None  # the first half is too old
    assert reassembler.dropped == 8


@given(st.lists(st.tuples(st.integers(0, 80), st.booleans(), st.integers(0, 40)), max_size=30))
def test_any_fragments_raise_nothing_but_decode_errors(parts: list[tuple[int, bool, int]]) -> None:
    reassembler = ip6.Reassembler(max_packets=2, max_bytes=512)
    for offset, more, size in parts:
        try:
            whole = feed_fragment(reassembler, offset * 8, more, bytes(size))
        except DecodeError:
            continue
        assert whole is None or len(whole.payload) <= 512


# --- checksum -----------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=64))
def test_checksum_against_adding_words(payload: bytes) -> None:
    packet = ip6.parse(udp(payload)[14:])
    assert ip6.verify(packet, 6) == ip6.CHECKSUM_OK
    field = int.from_bytes(packet.payload[6:8], "big")
    zeroed = packet.payload[:6] + b"\0\0" + packet.payload[8:]
    assert ip6.checksum(packet.src, packet.dst, 17, zeroed) % 0xFFFF == field % 0xFFFF


def test_a_flipped_bit_is_seen_and_offload_is_told_apart() -> None:
    good = ip6.parse(udp(b"hello")[14:])
    flipped = ip6.Packet(good.src, good.dst, 17, good.payload[:-1] + bytes((good.payload[-1] ^ 1,)))
    assert ip6.verify(flipped, 6) == ip6.CHECKSUM_BAD
    partial = ip6.pseudo_sum(good.src, good.dst, len(good.payload), 17)
    offload = ip6.Packet(good.src, good.dst, 17, good.payload[:6] + partial.to_bytes(2, "big") + good.payload[8:])
    assert ip6.verify(offload, 6) == ip6.CHECKSUM_OFFLOAD


# --- ICMPv6 -------------------------------------------------------------------------------------------------------

TARGET = EVSE.ip


def discovery(kind: int, target: bytes, *options: bytes) -> bytes:
    fixed = 16 if kind == 134 else 8
    return bytes((kind, 0)) + bytes(fixed - 2) + target + b"".join(options)


@pytest.mark.parametrize(
    ("body", "kind", "target", "lladdr"),
    [
        (discovery(133, b""), "RS", None, None),
        (discovery(134, b"", b"\x05\x01" + bytes(6), b"\x01\x01" + EV.mac), "RA", None, EV.mac),
        (discovery(135, TARGET, b"\x01\x01" + EV.mac), "NS", TARGET, EV.mac),
        (discovery(136, TARGET, b"\x02\x01" + EVSE.mac), "NA", TARGET, EVSE.mac),
        (discovery(136, TARGET, b"\x01\x01" + EVSE.mac), "NA", TARGET, None),  # a source address has no business there
        (discovery(137, TARGET, EV.ip), "redirect", TARGET, None),
    ],
    ids=["RS", "RA", "NS", "NA", "NA-source", "redirect"],
)
def test_neighbour_discovery(body: bytes, kind: str, target: bytes | None, lladdr: bytes | None) -> None:
    [event] = run(frames([icmpv6(body)]))
    assert isinstance(event, events.Neighbor)
    assert (event.kind, event.target, event.lladdr, event.dad) == (kind, target, lladdr, False)
    assert (event.src_mac, event.dst_mac, event.src, event.dst) == (EV.mac, EVSE.mac, EV.ip, EVSE.ip)


def test_options_that_the_capture_cut_are_not_missed() -> None:
    data = icmpv6(discovery(135, TARGET, b"\x01\x01" + EV.mac))
    [frame] = frames([data[:-3]])
    [event] = run([msgspec.structs.replace(frame, wire_len=len(data))])
    assert isinstance(event, events.Neighbor)
    assert (event.kind, event.target, event.lladdr) == ("NS", TARGET, None)


def test_only_so_many_options_are_read() -> None:
    [event] = run(frames([icmpv6(discovery(135, TARGET, (b"\x0e\x01" + bytes(6)) * 50, b"\x01\x01" + EV.mac))]))
    assert isinstance(event, events.Neighbor)
    assert event.lladdr is None


def test_duplicate_address_detection() -> None:
    [event] = run(frames([icmpv6(discovery(135, TARGET), UNSPECIFIED)]))
    assert isinstance(event, events.Neighbor)
    assert event.dad


def test_an_error_names_the_packet_it_is_about() -> None:
    inner = ipv6(b"\0" * 8, 6)
    [event] = run(frames([icmpv6(bytes((1, 4)) + bytes(6) + inner, EVSE, EV)]))
    assert isinstance(event, events.IcmpError)
    assert (event.type, event.code, event.inner_src, event.inner_dst) == (1, 4, EV.ip, EVSE.ip)
    [event] = run(frames([icmpv6(bytes((3, 0)) + bytes(6) + inner[:20], EVSE, EV)]))
    assert isinstance(event, events.IcmpError)
    assert event.inner_src is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bytes((135, 0, 0)), "shorter than an ICMPv6 header"),
        (discovery(135, TARGET[:10]), "NS of 18 bytes"),
        (discovery(135, TARGET, b"\x01\x00" + EV.mac), "option of length 0"),
        (discovery(135, TARGET, b"\x01\x05" + EV.mac), "option exceeds the message"),
    ],
)
def test_broken_icmpv6(body: bytes, reason: str) -> None:
    data = ethernet(ipv6(body, 58))
    [event] = run(frames([data]))
    assert isinstance(event, events.Undecodable)
    assert event.layer == "icmpv6"
    assert reason in event.reason


def test_echo_is_other_traffic() -> None:
    [event] = run(frames([icmpv6(bytes((128, 0)) + bytes(6))]))
    assert isinstance(event, events.OtherTraffic)
    assert event.what == "icmpv6"


# --- UDP and SDP --------------------------------------------------------------------------------------------------


def test_sdp_request_and_response() -> None:
    request, response = run(
        frames([udp(sdp_request(0x00), EV, Host(b"\x33" * 6, ALL_NODES, 0)), udp(sdp_response(), EVSE, EV, 15118, 50000)])
    )
    assert isinstance(request, events.Sdp)
    assert isinstance(response, events.Sdp)
    assert (request.request, request.security, request.transport, request.ip, request.port) == (True, 0, 0, None, None)
    assert (request.dst, request.src_port, request.dst_port) == (ALL_NODES, 50000, 15118)
    assert (response.request, response.security, response.ip, response.port) == (False, 0x10, EVSE.ip, EVSE.port)
    assert not response.wireless


@pytest.mark.parametrize(("kind", "request_", "body"), [(0x9002, True, bytes((0, 0, 9))), (0x9003, False, bytes(20) + b"more")])
def test_wireless_sdp(kind: int, request_: bool, body: bytes) -> None:
    [event] = run(frames([udp(v2gtp(body, kind))]))
    assert isinstance(event, events.Sdp)
    assert (event.request, event.wireless) == (request_, True)


@pytest.mark.parametrize(
    ("payload", "readable", "reason"),
    [
        (b"hello", False, "shorter than a V2GTP header"),
        (v2gtp(b"\x10\x00", 0x8001), False, "payload type 0x8001 is not SDP"),
        (v2gtp(b"\x10", 0x9000), False, "request of 1 bytes, 2 are needed"),
        (v2gtp(bytes(19), 0x9001), False, "response of 19 bytes, 20 are needed"),
        (v2gtp(b"\x10\x00\x00", 0x9000), True, "request of 3 bytes, not 2"),
        (v2gtp(b"\x10\x00", 0x9000, 2, 0xFD), True, "version bytes 02fd"),
        (v2gtp(b"\x10\x00", 0x9000)[:7] + b"\x09\x10\x00", True, "length field 9, but 2 bytes follow"),
    ],
)
def test_odd_sdp_is_reported_and_read_where_it_can_be(payload: bytes, readable: bool, reason: str) -> None:
    *found, failure = run(frames([udp(payload)]))
    assert isinstance(failure, events.Undecodable)
    assert failure.layer == "sdp"
    assert reason in failure.reason
    assert [type(e) for e in found] == ([events.Sdp] if readable else [])


@pytest.mark.parametrize(
    ("sport", "dport", "what"), [(5353, 5353, "mdns"), (546, 547, "dhcpv6"), (40000, 514, "syslog"), (40000, 40001, "udp")]
)
def test_other_datagrams_have_short_names(sport: int, dport: int, what: str) -> None:
    [event] = run(frames([udp(b"whatever", sport=sport, dport=dport)]))
    assert isinstance(event, events.OtherTraffic)
    assert (event.what, event.length) == (what, 8)


def test_key_log_lines() -> None:
    [event] = run(frames([udp(b"CLIENT_RANDOM 00 11\n", dport=52345)]))
    assert isinstance(event, events.KeyLog)
    assert event.lines == b"CLIENT_RANDOM 00 11\n"


def test_a_datagram_in_fragments() -> None:
    datagram = udp(v2gtp(bytes(20), 0x9001) + bytes(8))[54:]
    data = [
        ethernet(ipv6(fragment(17, 0, True) + datagram[:24], 44)),
        ethernet(ipv6(fragment(17, 24, False) + datagram[24:], 44)),
    ]
    kinds = [type(e).__name__ for e in run(frames(data))]
    assert kinds == ["OtherTraffic", "OtherTraffic", "Sdp", "Undecodable"]


@pytest.mark.parametrize(("length", "reason"), [(7, "length 7"), (30, "length 30")])
def test_wrong_udp_length(length: int, reason: str) -> None:
    data = ethernet(ipv6(struct.pack(">HHHH", 1, 15118, length, 0) + b"abc", 17))
    [event] = run(frames([data]))
    assert isinstance(event, events.Undecodable)
    assert event.layer == "udp"
    assert reason in event.reason


def test_a_datagram_shorter_than_its_packet() -> None:
    datagram = udp(sdp_request())[54:]
    [event] = run(frames([ethernet(ipv6(datagram + b"padding", 17))]))
    assert isinstance(event, events.Sdp)
    [failure] = run(frames([ethernet(ipv6(datagram[:7], 17))]))
    assert isinstance(failure, events.Undecodable)
    assert failure.reason == "shorter than a UDP header"


@pytest.mark.parametrize(
    ("ethertype", "what"), [(0x0800, "ipv4"), (0x0806, "arp"), (0x88CC, "lldp"), (0xADAD, "other"), (0x0004, "llc")]
)
def test_other_ethertypes(ethertype: int, what: str) -> None:
    [event] = run(frames([ethernet(b"12345", ethertype)]))
    assert isinstance(event, events.OtherTraffic)
    assert (event.what, event.src_mac, event.dst_mac, event.length) == (what, EV.mac, EVSE.mac, 5)


def test_homeplug_is_left_to_its_own_decoder() -> None:
    assert run(frames([ethernet(bytes(46), 0x88E1)])) == []
