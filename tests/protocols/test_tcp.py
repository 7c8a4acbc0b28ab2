"""TCP scenarios, built segment by segment: what is reported, and which messages come through."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from builders import ACK, EV, EVSE, FIN, MS, PSH, SYN, Host, Talk, ethernet, exi, frames, ipv6, renumbered, tcp_segment, v2gtp
from hypothesis import given
from hypothesis import strategies as st
from net_lab import messages, oddities, raws, run, tcp_kinds

from plugtap.protocols import ethernet as link
from plugtap.protocols import events, tcp, tcp_header
from plugtap.protocols import ipv6 as ip6
from plugtap.protocols.items import LINKTYPE_LINUX_SLL, Frame
from plugtap.protocols.net import Limits, NetDecoder, Output


def msg(number: int, size: int = 12) -> bytes:
    return v2gtp(exi(number, size))


OPEN = ["a.syn", "b.synack", "a.open"]
CLOSE = ["a.fin", "b.fin", "b.closed"]


def clean(talk: Talk) -> list[Frame]:
    return [*talk.open(), talk.send(True, msg(1)), talk.send(False, msg(2)), talk.ack(True), *talk.close()]


def repeated(talk: Talk) -> list[Frame]:
    first = [*talk.open(), talk.send(True, msg(1))]
    again = talk.segment(True, msg(1), PSH | ACK, back=20)
    return [*first, again, talk.send(False, msg(2)), talk.ack(True), *talk.close()]


def repeated_with_more(talk: Talk) -> list[Frame]:
    first = [*talk.open(), talk.send(True, msg(1))]
    again = talk.segment(True, msg(1) + msg(3), PSH | ACK, back=20)
    talk.seq[0] += 20
    return [*first, again, talk.send(False, msg(2)), talk.ack(True), *talk.close()]


def captured_twice(talk: Talk) -> list[Frame]:
    """Every frame again, 0.2 ms later, as a bridge of two taps gives them."""
    return renumbered(
        [copy for f in clean(talk) for copy in (f, msgspec.structs.replace(f, t=f.t + MS // 5))], keep_times=True
    )


def out_of_order(talk: Talk) -> list[Frame]:
    start = talk.open()
    one, two = talk.send(True, msg(1)), talk.send(True, msg(2))
    return renumbered([*start, two, one, talk.ack(False), *talk.close()])


def lost_and_acknowledged(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1)), talk.send(False, msg(2))]
    talk.send(True, msg(3))  # not captured
    return renumbered([*start, talk.send(False, msg(4)), talk.send(True, msg(5)), talk.send(False, msg(6)), *talk.close()])


def lost_at_the_end(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1))]
    talk.send(False, msg(2))
    return renumbered([*start, talk.ack(True), *talk.close()])


def keep_alive(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1)), talk.ack(False)]
    probes = [talk.segment(True, back=1), talk.ack(False), talk.segment(True, b"x", back=1), talk.ack(False)]
    return [*start, *probes, *talk.close()]


def zero_window(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1)), talk.segment(False, window=0)]
    return [*start, talk.segment(False), talk.send(True, msg(2)), *talk.close()]


def duplicate_acks(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1)), talk.ack(False)]
    return [*start, talk.ack(False), talk.ack(False), *talk.close()]


def reset(talk: Talk) -> list[Frame]:
    return [*talk.open(), talk.send(True, msg(1)), talk.send(False, msg(2)[:10]), talk.rst(True)]


def refused(talk: Talk) -> list[Frame]:
    return [talk.syn(), talk.rst(False)]


def refused_then_open(talk: Talk) -> list[Frame]:
    first = [talk.syn(), talk.rst(False)]
    talk.seq[0] -= 1
    return [*first, *clean(talk)]


def unanswered(talk: Talk) -> list[Frame]:
    first = talk.syn()
    talk.seq[0] -= 1
    second = talk.syn()
    talk.seq[0] -= 1
    return [first, second, talk.syn()]


def half_closed(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.send(True, msg(1)), talk.fin(True), talk.ack(False)]
    return [*start, talk.send(False, msg(2)), talk.ack(True), talk.fin(False), talk.ack(True)]


def fin_before_the_data(talk: Talk) -> list[Frame]:
    start = talk.open()
    data, fin = talk.send(True, msg(1)), talk.fin(True)
    return renumbered([*start, fin, data, talk.ack(False), talk.fin(False), talk.ack(True)])


def fin_repeated(talk: Talk) -> list[Frame]:
    start = [*talk.open(), talk.fin(True)]
    talk.seq[0] -= 1
    return [*start, talk.fin(True), talk.ack(False), talk.fin(False), talk.ack(True)]


def joined(talk: Talk) -> list[Frame]:
    return renumbered(clean(talk)[3:])


def joined_inside_a_message(talk: Talk) -> list[Frame]:
    return renumbered([*talk.open(), talk.send(True, msg(1, 40)[:20]), talk.send(True, msg(1, 40)[20:]), *clean_rest(talk)][4:])


def clean_rest(talk: Talk) -> list[Frame]:
    return [talk.send(False, msg(2)), talk.send(True, msg(3)), *talk.close()]


def synack_first(talk: Talk) -> list[Frame]:
    return renumbered(clean(talk)[1:])


def syn_lost_answer_lost(talk: Talk) -> list[Frame]:
    made = clean(talk)
    return renumbered([made[0], *made[3:]])


def only_b(talk: Talk) -> list[Frame]:
    """The tap hears the SECC only."""
    made = [*talk.open(), talk.send(True, msg(1)), talk.send(False, msg(2)), talk.send(True, msg(3)), talk.send(False, msg(4))]
    made += talk.close()
    return renumbered([f for f in made if f.data[6:12] == EVSE.mac])


def only_b_with_a_hole(talk: Talk) -> list[Frame]:
    made = talk.open()
    for number in range(1, 9):
        made.append(talk.send(number % 2 == 1, msg(number)))
    heard = [f for f in made if f.data[6:12] == EVSE.mac]
    return renumbered([*heard[:2], *heard[3:]])


def leftover_acknowledgement(talk: Talk) -> list[Frame]:
    """The SECC still has the old connection: it acknowledges that, is reset, and the same SYN works then (RFC 9293 3.5.2)."""
    first = [talk.syn(), talk.segment(False, ack=4388, back=400), talk.segment(True, flags=4 | ACK)]
    talk.seq[0] -= 1
    return [*first, *clean(talk)]


def answered_twice(talk: Talk) -> list[Frame]:
    """Two SYN-ACKs with different numbers: the second one counts."""
    first = [talk.syn(), talk.synack()]
    talk.seq[1] = 900_000
    return [*first, talk.synack(), talk.segment(True), talk.send(True, msg(1)), talk.send(False, msg(2)), *talk.close()]


def damaged_sequence_number(talk: Talk) -> list[Frame]:
    """A bit flipped in a sequence number, so the checksum is wrong; retransmitted right."""
    start = [*talk.open(), talk.send(True, msg(1)), talk.ack(False)]
    good = talk.send(True, msg(2))
    wrong = bytearray(good.data)
    wrong[14 + 40 + 4] ^= 0x10
    return renumbered([*start, msgspec.structs.replace(good, data=bytes(wrong)), good, talk.ack(False), *talk.close()])


SCENARIOS: list[tuple[Callable[[Talk], list[Frame]], list[str], list[tuple[str, int]]]] = [
    (clean, [*OPEN, *CLOSE], [("a", 1), ("b", 2)]),
    (repeated, [*OPEN, "a.retransmission", *CLOSE], [("a", 1), ("b", 2)]),
    (repeated_with_more, [*OPEN, "a.retransmission", *CLOSE], [("a", 1), ("a", 3), ("b", 2)]),
    (
        captured_twice,
        [
            "a.syn", "a.duplicate", "b.synack", "b.duplicate", "a.open", "a.duplicate", "a.duplicate", "b.duplicate",
            "a.duplicate", "a.fin", "a.duplicate", "b.duplicate", "b.fin", "b.closed", "b.duplicate", "a.duplicate",
        ],
        [("a", 1), ("b", 2)],
    ),
    (out_of_order, [*OPEN, "a.out-of-order", *CLOSE], [("a", 1), ("a", 2)]),
    (
        lost_and_acknowledged,
        [*OPEN, "b.ack-unseen", "a.out-of-order", "a.gap", *CLOSE],
        [("a", 1), ("b", 2), ("b", 4), ("a", 5), ("b", 6)],
    ),
    (lost_at_the_end, [*OPEN, "a.ack-unseen", "a.fin", "b.gap", "b.fin", "b.closed"], [("a", 1)]),
    (keep_alive, [*OPEN, "a.keepalive", "b.dup-ack", "a.keepalive", "b.dup-ack", *CLOSE], [("a", 1)]),
    (zero_window, [*OPEN, "b.zero-window", *CLOSE], [("a", 1), ("a", 2)]),
    (duplicate_acks, [*OPEN, "b.dup-ack", "b.dup-ack", *CLOSE], [("a", 1)]),
    (reset, [*OPEN, "a.rst", "a.closed"], [("a", 1)]),
    (refused, ["a.syn", "b.rst", "b.closed"], []),
    (refused_then_open, ["a.syn", "b.rst", "b.closed", *OPEN, *CLOSE], [("a", 1), ("b", 2)]),
    (unanswered, ["a.syn", "a.syn", "a.syn"], []),
    (half_closed, [*OPEN, "a.fin", "b.fin", "b.closed"], [("a", 1), ("b", 2)]),
    (fin_before_the_data, [*OPEN, "a.fin", "b.fin", "b.closed"], [("a", 1)]),
    (fin_repeated, [*OPEN, "a.fin", "a.retransmission", "b.fin", "b.closed"], []),
    (joined, ["a.open", "a.fin", "b.fin", "b.closed"], [("a", 1), ("b", 2)]),
    (joined_inside_a_message, ["a.open", *CLOSE], [("b", 2), ("a", 3)]),
    (synack_first, ["b.synack", "a.open", *CLOSE], [("a", 1), ("b", 2)]),
    (syn_lost_answer_lost, ["a.syn", "a.open", *CLOSE], [("a", 1), ("b", 2)]),
    (only_b, ["b.synack", "b.open", "b.fin"], [("b", 2), ("b", 4)]),
    (only_b_with_a_hole, ["b.synack", "b.open", "b.out-of-order", "b.gap"], [("b", 2), ("b", 6), ("b", 8)]),
    (
        leftover_acknowledgement,
        ["a.syn", "a.rst", "a.closed", *OPEN, *CLOSE],
        [("a", 1), ("b", 2)],
    ),
    (answered_twice, ["a.syn", "b.synack", "b.synack", "a.open", *CLOSE], [("a", 1), ("b", 2)]),
    (damaged_sequence_number, [*OPEN, "a.bad-checksum", *CLOSE], [("a", 1), ("a", 2)]),
]  # fmt: skip


@pytest.mark.parametrize("origin", [1000, 2**32 - 3], ids=["", "wrap"])
@pytest.mark.parametrize(("build", "kinds", "found"), SCENARIOS, ids=[row[0].__name__ for row in SCENARIOS])
def test_scenarios(
    build: Callable[[Talk], list[Frame]], kinds: list[str], found: list[tuple[str, int]], origin: int
) -> None:
    out = run(build(Talk(seq=[origin, 2**32 - 11 if origin > 2**31 else 500_000])))
    assert tcp_kinds(out, data=False) == kinds
    assert messages(out) == found
    assert {e.stream for e in out if isinstance(e, events.Tcp)} == {0}


# --- facts that the table does not show ---------------------------------------------------------------------------


def of_kind(out: list[Output], kind: str) -> list[events.Tcp]:
    return [e for e in out if isinstance(e, events.Tcp) and e.kind == kind]


def test_lengths_of_events() -> None:
    out = run(lost_and_acknowledged(Talk()))
    assert [(e.kind, e.length) for e in of_kind(out, "ack-unseen") + of_kind(out, "gap")] == [("ack-unseen", 20), ("gap", 20)]
    assert [(e.length, e.stream, e.from_a) for e in out if isinstance(e, events.Loss)] == [(20, 0, True)]
    assert [e.after_hole for e in raws(out)] == [False, False, False, True, False]
    assert [e.length for e in of_kind(run(repeated_with_more(Talk())), "retransmission")] == [20]


def test_the_data_event_comes_before_what_is_in_it() -> None:
    names = [e.kind if isinstance(e, events.Tcp) else type(e).__name__ for e in run(clean(Talk()))]
    assert names[3:7] == ["data", "RawV2g", "data", "RawV2g"]


def test_peers_and_sides() -> None:
    out = run(clean(Talk()))
    first, second = raws(out)
    a, b = events.TcpPeer(EV.mac, EV.ip, EV.port), events.TcpPeer(EVSE.mac, EVSE.ip, EVSE.port)
    assert (first.src, first.dst, first.side, second.src, second.side) == (a, b, "EVCC", b, "SECC")
    assert all((e.a, e.b, e.opener_seen) == (a, b, True) for e in out if isinstance(e, events.Tcp))
    assert not any(e.opener_seen for e in run(joined(Talk())) if isinstance(e, events.Tcp | type(first)))


def test_the_sender_of_a_synack_is_not_the_opener() -> None:
    [event, *_] = run(synack_first(Talk()))
    assert isinstance(event, events.Tcp)
    assert (event.a.ip, event.from_a, event.opener_seen) == (EV.ip, False, True)


def test_a_message_waiting_behind_a_hole_keeps_its_own_frame() -> None:
    talk = Talk()
    start = talk.open()
    talk.send(True, msg(1))
    made = renumbered([*start, talk.send(True, msg(2)), talk.ack(False)])
    [raw] = raws(run(made))
    assert (raw.frame, raw.first_frame, raw.t) == (4, 4, made[3].t)


def test_a_message_behind_a_filled_hole_has_the_frame_that_filled_it() -> None:
    found = [(e.frame, e.index, e.first_frame) for e in raws(run(out_of_order(Talk())))]
    assert found == [(5, 0, 5), (5, 1, 5)]


def test_content_that_differs_is_noted_and_the_first_counts() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, msg(1)), talk.segment(True, msg(9), PSH | ACK, back=20), talk.send(False, msg(2))]
    out = run(made)
    assert [(e.kind, e.length) for e in of_kind(out, "overlap")] == [("overlap", 1)]
    assert messages(out) == [("a", 1), ("b", 2)]


def cooked(frame: Frame) -> Frame:
    """The same frame as the `any` device gives it: no destination address."""
    header = b"\0\0\0\x01\0\x06" + frame.data[6:12] + b"\0\0" + frame.data[12:14]
    return msgspec.structs.replace(frame, data=header + frame.data[14:], link=LINKTYPE_LINUX_SLL)


@pytest.mark.parametrize("first", [0, 1], ids=["from the SYN", "from the SYN-ACK"])
def test_cooked_captures_learn_the_addresses_of_both_ends(first: int) -> None:
    made = [cooked(f) for f in clean(Talk())[first:]]
    for raw in raws(run(renumbered(made))):
        assert {raw.src.mac, raw.dst.mac} <= {EV.mac, EVSE.mac, bytes(6)}
        if not raw.from_a:
            assert (raw.src.mac, raw.dst.mac) == (EVSE.mac, EV.mac)
    nameless = [msgspec.structs.replace(f, data=f.data[:4] + bytes(10) + f.data[14:]) for f in made]
    assert {e.src.mac for e in raws(run(renumbered(nameless)))} == {bytes(6)}


def test_data_in_a_syn() -> None:
    talk = Talk()
    made = [talk.segment(True, msg(1), SYN)]
    talk.seq[0] += 21
    out = run([*made, talk.synack(), talk.ack(True), talk.send(True, msg(2))])
    assert messages(out) == [("a", 1), ("a", 2)]


def test_an_absurd_acknowledgement_gives_nothing_up() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, msg(1))]
    one, two = talk.send(True, msg(2)), talk.send(True, msg(3))
    wrong = talk.segment(False, ack=talk.seq[0] + 2**24)
    out = run(renumbered([*made, two, wrong, one]))
    assert messages(out) == [("a", 1), ("a", 2), ("a", 3)]
    assert of_kind(out, "ack-unseen") == of_kind(out, "gap") == []


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_a_port_pair_used_again_is_a_new_stream(closed: bool) -> None:
    one = Talk()
    made = clean(one) if closed else clean(one)[:6]
    two = Talk(seq=[77, 88], t=one.t, number=one.number)
    out = run(renumbered(made + clean(two)))
    assert [(e.stream, e.from_a) for e in of_kind(out, "reused")] == [(1, True)]
    assert [(e.stream, m) for e, m in zip(raws(out), messages(out), strict=True)] == [
        (0, ("a", 1)), (0, ("b", 2)), (1, ("a", 1)), (1, ("b", 2)),
    ]  # fmt: skip


def test_a_port_pair_used_again_is_known_without_its_syn() -> None:
    one = Talk()
    made = clean(one)[:6]
    two = Talk(seq=[2_000_000_000, 3_000_000_000])
    out = run(renumbered(made + clean(two)[3:]))
    assert len(of_kind(out, "reused")) == 1
    assert [e.stream for e in raws(out)] == [0, 0, 1, 1]


def test_data_behind_a_fin_is_a_new_stream() -> None:
    one = Talk()
    made = clean(one)
    two = Talk(seq=[one.seq[0] + 5000, one.seq[1] + 5000])
    out = run(renumbered([*made, two.send(True, msg(3)), two.send(False, msg(4))]))
    assert [e.stream for e in raws(out)] == [0, 0, 1, 1]


def test_streams_are_numbered_by_their_first_segment() -> None:
    hosts = [Host(EV.mac, EV.ip, 50000 + i) for i in range(5)]
    talks = [Talk(a=host) for host in hosts]
    out = run(renumbered([talk.syn() for talk in talks] + [talk.synack() for talk in reversed(talks)]))
    assert [e.stream for e in out if isinstance(e, events.Tcp)] == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]


def test_connections_are_bounded_and_closed_ones_go_first() -> None:
    decoder = NetDecoder(Limits(tcp=tcp.Limits(connections=4)))
    keep = Talk()
    made = [*keep.open(), keep.send(True, msg(1)[:9])]
    for port in range(50_000, 50_010):
        made += refused(Talk(a=Host(EV.mac, EV.ip, port)))
    made.append(keep.send(True, msg(1)[9:]))
    out: list[Output] = []
    for frame in renumbered(made):
        out += decoder.feed(frame, link.parse(frame))
    assert decoder.counts["connections_dropped"] == 7
    assert messages(out) == [("a", 1)]


def test_the_oldest_idle_connection_is_dropped_and_its_message_reported_cut() -> None:
    made: list[Frame] = []
    for port in range(50_000, 50_003):
        talk = Talk(a=Host(EV.mac, EV.ip, port))
        made += [*talk.open(), talk.send(True, msg(1)[:9])]
    out = run(renumbered(made), Limits(tcp=tcp.Limits(connections=2)), finish=False)
    assert [(e.stream, e.kind, e.length) for e in out if isinstance(e, events.V2gtpOddity)] == [(0, "cut", 9)]


@pytest.mark.parametrize("from_a", [True, False])
def test_a_tick_gives_up_a_hole_that_is_too_old(from_a: bool) -> None:
    talk = Talk()
    made = talk.open()
    talk.send(from_a, msg(1))
    made = renumbered([*made, talk.send(from_a, msg(2))])
    decoder = NetDecoder()
    for frame in made:
        assert not raws(decoder.feed(frame, link.parse(frame)))
    assert decoder.tick(made[-1].t + 4_000_000_000, 4) == []
    out = decoder.tick(made[-1].t + 6_000_000_000, 4)
    who = "a" if from_a else "b"
    assert (tcp_kinds(out), messages(out)) == ([f"{who}.gap", f"{who}.data"], [(who, 2)])


def test_the_clock_may_jump_back() -> None:
    made = [msgspec.structs.replace(f, t=f.t - 50_000_000_000 * (i % 2)) for i, f in enumerate(lost_and_acknowledged(Talk()))]
    out = run(made)
    assert messages(out) == [("a", 1), ("b", 2), ("b", 4), ("a", 5), ("b", 6)]


def test_a_frame_cut_by_the_snap_length_is_a_hole() -> None:
    talk = Talk()
    made = [*talk.open(), talk.send(True, msg(1, 40)), talk.ack(False), talk.send(True, msg(2)), talk.ack(False)]
    made[3] = msgspec.structs.replace(made[3], data=made[3].data[:-5], wire_len=len(made[3].data))
    out = run(made)
    assert messages(out) == [("a", 2)]
    assert oddities(out) == [("cut", 43)]
    assert [e.length for e in of_kind(out, "gap")] == [5]
    assert tcp_kinds(out, data=False).count("a.out-of-order") == 1


def test_one_byte_segments_give_the_same_messages() -> None:
    stream = b"".join(msg(i, 5 + i) for i in range(8))
    whole, single = Talk(), Talk(seq=[2**32 - 40, 9])
    one = run([*whole.open(), whole.send(True, stream)])
    many = run([*single.open(), *(single.send(True, stream[i : i + 1]) for i in range(len(stream)))])
    assert [(e.payload_type, e.payload) for e in raws(one)] == [(e.payload_type, e.payload) for e in raws(many)]
    assert len(raws(one)) == 8
    assert oddities(one) == oddities(many) == []


@given(st.data())
def test_any_loss_and_order_of_an_acknowledged_conversation(data: st.DataObject) -> None:
    """Request and response in turn: what was captured in whole segments comes through, in order, and nothing else."""
    talk = Talk()
    made = talk.open()
    for number in range(12):
        made.append(talk.send(number % 2 == 0, msg(number)))
    keep = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))
    out = run(renumbered([*made[:3], *(f for f, kept in zip(made[3:], keep, strict=True) if kept)]))
    found = messages(out)
    for side, rest in (("a", 0), ("b", 1)):
        assert [n for s, n in found if s == side] == [n for n in range(12) if n % 2 == rest and keep[n]]
    assert oddities(out) == []


# --- parsing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (bytes(19), "shorter than a TCP header"),
        (tcp_segment(EV, EVSE, 1, 1, ACK)[:12] + b"\x40" + bytes(7), "header length 16"),
        (tcp_segment(EV, EVSE, 1, 1, ACK)[:12] + b"\xf0" + bytes(7), "header length 60"),
    ],
)
def test_broken_headers(segment: bytes, reason: str) -> None:
    [event] = run(frames([ethernet(ipv6(segment, 6))]))
    assert isinstance(event, events.Undecodable)
    assert (event.layer, event.src_mac) == ("tcp", EV.mac)
    assert reason in event.reason


def test_options_are_skipped() -> None:
    segment = bytearray(tcp_segment(EV, EVSE, 5, 6, ACK | FIN))
    segment[12] = 8 << 4
    segment += b"\x02\x04\x05\xa0\x01\x03\x03\x07\x01\x01\x04\x02" + b"payload"
    parsed = tcp_header.parse(ip6.parse(ipv6(bytes(segment), 6)))
    assert (parsed.payload, parsed.flags, parsed.seq, parsed.ack) == (b"payload", ACK | FIN, 5, 6)
