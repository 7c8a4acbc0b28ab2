"""CPF1 frames: any bytes give messages or counts, and a zero byte always brings the parser back."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugtap.protocols import cobs, cpf1
from plugtap.protocols.cpf1 import Cpf1Parser, Cycle, Message, encode

# --- COBS -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("001100", "01021101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
        ("01" * 253, "fe" + "01" * 253),
        ("01" * 254, "ff" + "01" * 254),
        ("01" * 255, "ff" + "01" * 254 + "0201"),
        ("01" * 254 + "00", "ff" + "01" * 254 + "0101"),
        ("00" + "01" * 254, "01ff" + "01" * 254),
    ],
)
def test_cobs_vectors(data: str, encoded: str) -> None:
    assert cobs.encode(bytes.fromhex(data)) == bytes.fromhex(encoded)
    assert cobs.decode(bytes.fromhex(encoded)) == bytes.fromhex(data)


@pytest.mark.parametrize("encoded", ["", "00", "02", "0511", "01000101", "ff0101"])
def test_what_is_no_cobs(encoded: str) -> None:
    assert cobs.decode(bytes.fromhex(encoded)) is None


@given(st.lists(st.one_of(st.just(b"\0"), st.binary(max_size=3), st.integers(250, 260).map(lambda n: b"x" * n))))
def test_cobs_round_trip(parts: list[bytes]) -> None:
    data = b"".join(parts)
    encoded = cobs.encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs.decode(encoded) == data


# --- frames -----------------------------------------------------------------------------------------------------


def frame(body: str) -> bytes:
    """A body with its CRC and framing, built by hand."""
    raw = bytes.fromhex(body)
    return cobs.encode(raw + zlib.crc32(raw).to_bytes(4, "little")) + b"\0"


HEADER = {"seq": 0x0203, "t_us": 0x0405, "flags": 4}
HEAD = "04 0302 0504000000000000"

EXAMPLES: list[tuple[Message, str]] = [
    (
        cpf1.Hello(
            modes=7, fw=0x0102, rate_hz=100_000, uv_per_lsb=-7000, offset_uv=5, boot_id=0xAABBCCDD, device="pico-1",
            dropped_frames=9, **HEADER,
        ),
        f"01 {HEAD} 01 07 0201 a0860100 a8e4ffff 05000000 ddccbbaa {b'pico-1'.hex()} {'00' * 10} 09000000",
    ),
    (
        cpf1.Time(host_cookie=0x11, t_us_now=0x22, mcu_freq_hz=48_000_000, **HEADER),
        f"02 {HEAD} 11000000 2200000000000000 006cdc02",
    ),
    (cpf1.Raw(rate_hz=50_000, n=2, data=b"\1\0\xff\xff", **HEADER), f"10 {HEAD} 50c30000 0200 00 00 0100 ffff"),
    (
        cpf1.Raw(rate_hz=50_000, n=3, data=b"\x23\x61\x45\x89\x07", bits=12, channel=1, **HEADER),
        f"11 {HEAD} 50c30000 0300 01 01 23 61 45 89 07",
    ),
    (
        cpf1.Cycles(cycles=(Cycle(100, 9012, -11987, 512, 10001, 3, 2),), **HEADER),
        f"20 {HEAD} 0100 00 00 6400 3423 2dd1 0002 1127 03 02",
    ),
    (cpf1.Level(mean_mv=12000, min_mv=-5, max_mv=12100, n=500, **HEADER), f"21 {HEAD} e02e fbff 442f f401"),
    (cpf1.Pp(pp_mv=2770, pp_ohm=1500, **HEADER), f"30 {HEAD} d20a dc05"),
    (cpf1.Log(text="grüße", **HEADER), f"7f {HEAD} {'grüße'.encode().hex()}"),
    (cpf1.SetMode(mode=cpf1.MODE_TRIGGERED, rate_hz=50_000, **HEADER), f"81 {HEAD} 03 50c30000"),
    (cpf1.Sync(cookie=0xDEADBEEF, **HEADER), f"82 {HEAD} efbeadde"),
    (cpf1.GetHello(**HEADER), f"83 {HEAD}"),
    (cpf1.Unknown(type=0x55, payload=b"new", **HEADER), f"55 {HEAD} 6e6577"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "body"), EXAMPLES, ids=lambda v: type(v).__name__)
def test_bytes(message: Message, body: str) -> None:
    assert encode(message) == frame(body)
    parser = Cpf1Parser()
    assert parser.feed(frame(body)) == [message]
    assert parser.counters.frames == 1
    assert parser.counters.unknown == isinstance(message, cpf1.Unknown)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (cpf1.Raw(rate_hz=1, n=2, data=b"\0\0"), "2 samples of 16 bits"),
        (cpf1.Raw(rate_hz=1, n=2, data=b"\0\0", bits=8), "8 bits"),
        (cpf1.Raw(rate_hz=1, n=2000, data=bytes(4000)), "at most 2048"),
        (cpf1.Hello(device="x" * 17), "16 bytes"),
        (cpf1.Pp(pp_mv=-1, pp_ohm=0), "Pp"),
        (cpf1.Cycles(cycles=(Cycle(0, 40_000, 0, 0, 0),)), "Cycles"),
        (cpf1.GetHello(seq=-1), "GetHello"),
    ],
)
def test_what_does_not_fit_is_not_sent(message: Message, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encode(message)


@pytest.mark.parametrize(
    "body",
    [
        "01" + HEAD,  # HELLO without content
        f"20 {HEAD} 0200 00 00 6400 3423 2dd1 0002 1127 03 02",  # two cycles announced, one there
        f"20 {HEAD} 0000 00 00 6400",
        f"20 {HEAD} 01",
        f"10 {HEAD} 50c30000 0200 00 00 0100",
        f"10 {HEAD} 00000000 0100 00 00 0100",  # no rate
        f"10 {HEAD} 50c30000 0100 00 01 0100",  # fmt of the other type
        f"21 {HEAD} e02e fbff 442f f401 00",
        f"83 {HEAD} 00",
        "20 04",  # not even a header
        f"7f {HEAD} {'00' * 2037}",  # too long
    ],
)
def test_sound_frames_of_the_wrong_length(body: str) -> None:
    parser = Cpf1Parser()
    assert parser.feed(frame(body)) == []
    assert (parser.counters.bad_length, parser.counters.frames) == (1, 0)


GOOD = encode(cpf1.Pp(pp_mv=1, pp_ohm=2))


def test_damage_is_counted_and_the_next_frame_is_read() -> None:
    parser = Cpf1Parser()
    flipped = bytes([GOOD[0], GOOD[1] ^ 0x40]) + GOOD[2:]
    assert len(parser.feed(b"garbage\0" + flipped + b"\0\0" + GOOD)) == 1
    assert parser.counters == cpf1.Cpf1Counters(frames=1, bad_cobs=1, bad_crc=1)


def test_noise_without_a_zero_is_bounded() -> None:
    parser = Cpf1Parser()
    for _ in range(1000):
        assert parser.feed(b"\x55" * 1000) == []
        assert len(parser._buffer) <= 3100
    assert parser.feed(b"\x55\0" + GOOD) == [cpf1.Pp(pp_mv=1, pp_ohm=2)]
    assert parser.counters.oversize == 1
    assert parser.feed(b"\x55" * 5000 + b"\0" + GOOD) == [cpf1.Pp(pp_mv=1, pp_ohm=2)]
    assert parser.counters.oversize == 2


@pytest.mark.parametrize(
    ("seqs", "lost"), [((1, 2, 3), 0), ((1, 3), 1), ((0xFFFF, 0), 0), ((0xFFFE, 1), 2), ((5, 0), 0), ((7, 7), 0)]
)
def test_lost_frames_are_counted(seqs: tuple[int, ...], lost: int) -> None:
    parser = Cpf1Parser()
    for seq in seqs:
        parser.feed(encode(cpf1.GetHello(seq=seq)))
    assert parser.counters.lost == lost


def test_text_of_a_device_that_is_no_text() -> None:
    (message,) = Cpf1Parser().feed(frame(f"7f {HEAD} ff fe 41"))
    assert isinstance(message, cpf1.Log)
    assert message.text == "\ufffd\ufffdA"


# --- any messages, any bytes ------------------------------------------------------------------------------------

_u8, _u16, _u32, _u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
_s16, _s32 = st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 31), (1 << 31) - 1)
_head: dict[str, Any] = {"seq": _u16, "t_us": _u64, "flags": _u8}
_cycle = st.builds(Cycle, dt=_u16, hi_mv=_s16, lo_mv=_s16, duty=_u16, freq=_u16, noise=_u8, flags=_u8)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        cpf1.Hello,
        proto=_u8, modes=_u8, fw=_u16, rate_hz=_u32, uv_per_lsb=_s32, offset_uv=_s32, boot_id=_u32, dropped_frames=_u32,
        device=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=16), **_head,
    ),
    st.builds(cpf1.Time, host_cookie=_u32, t_us_now=_u64, mcu_freq_hz=_u32, **_head),
    st.builds(cpf1.Cycles, cycles=st.lists(_cycle, max_size=20).map(tuple), **_head),
    st.builds(cpf1.Level, mean_mv=_s16, min_mv=_s16, max_mv=_s16, n=_u16, **_head),
    st.builds(cpf1.Pp, pp_mv=_u16, pp_ohm=_u16, **_head),
    st.builds(cpf1.Log, text=st.text(max_size=100), **_head),
    st.builds(lambda n, **head: cpf1.Raw(rate_hz=1000, n=n, data=bytes(2 * n), **head), st.integers(0, 50), **_head),
)  # fmt: skip


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 50))
def test_round_trip_in_any_pieces(messages: list[Message], size: int) -> None:
    stream = b"".join(encode(message) for message in messages)
    whole, pieces = Cpf1Parser(), Cpf1Parser()
    assert whole.feed(stream) == messages
    assert [m for i in range(0, len(stream), size) for m in pieces.feed(stream[i : i + size])] == messages
    assert whole.counters == pieces.counters


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_costs_at_most_two_frames(messages: list[Message], at: int, flip: int) -> None:
    stream = bytearray(b"".join(encode(message) for message in messages))
    stream[at % len(stream)] ^= flip
    parser = Cpf1Parser()
    found = parser.feed(bytes(stream) + b"\0" + GOOD)
    assert found[-1] == cpf1.Pp(pp_mv=1, pp_ohm=2)
    assert len(found) >= len(messages) + 1 - 2
    assert all(message in messages for message in found[:-1])


@given(st.binary(max_size=3000))
def test_random_bytes(data: bytes) -> None:
    parser = Cpf1Parser()
    assert all(isinstance(message, Message) for message in parser.feed(data))
    assert parser.feed(b"\0" + GOOD)[-1:] == [cpf1.Pp(pp_mv=1, pp_ohm=2)]
