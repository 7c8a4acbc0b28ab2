"""The bench's TCP: whatever the line loses, doubles, reorders or damages, the bytes arrive whole and in order, or the end is said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugtap.sim.kernel import SECOND, Script, World, seconds
from plugtap.sim.line import Line
from plugtap.sim.node import Node
from plugtap.sim.tcp import Closed, Connection, TcpSettings


class Cable:
    """Two hosts on one network."""

    def __init__(self, seed: int = 1, client: TcpSettings | None = None, server: TcpSettings | None = None, **impair: float) -> None:
        self.world = World(0, seed)
        self.line = Line(self.world)
        a = self.line.join("a", "EVCC", bytes.fromhex("020000000001"), bytes.fromhex("020000000011"))
        b = self.line.join("b", "SECC", bytes.fromhex("020000000002"), bytes.fromhex("020000000012"))
        a.nid = b.nid = b"network"
        self.client = Node(self.world, a, client or TcpSettings(), "a")
        self.server = Node(self.world, b, server or TcpSettings(), "b")
        self.client.up = self.server.up = True
        for side in ("EVCC", "SECC"):
            for name, value in impair.items():
                setattr(self.line.impair[side], name, value)
        self.frames: list[tuple[str, bytes]] = []
        self.line.taps.append(self)  # type: ignore[arg-type]
        self.got = bytearray()
        self.back = bytearray()
        self.ends: list[str] = []
        self.opened: bool | None = None
        self.connection: Connection | None = None

    def hear(self, where: str, station: object, frame: bytes, local: bool) -> None:
        if where == "air":
            self.frames.append((getattr(station, "side", ""), frame))

    def run(self, chunks: list[bytes], until: float = 120.0) -> None:
        """Send the chunks, echo them, close."""
        backlog = self.server.listen(55555)

        def serve() -> Script[None]:
            connection = yield backlog.get()
            while True:
                data = yield connection.inbox.get()
                if isinstance(data, Closed):
                    self.ends.append(f"server {data.how}")
                    connection.close()
                    return
                self.got.extend(data)
                connection.send(data)

        def call() -> Script[None]:
            self.connection = connection = self.client.connect(self.server.ip, 55555)
            self.opened = yield connection.opened.get()
            if not self.opened:
                return
            for chunk in chunks:
                connection.send(chunk)
                yield 20_000_000
            total = sum(map(len, chunks))
            while len(self.back) < total:
                data = yield connection.inbox.get(60 * SECOND)
                if data is None or isinstance(data, Closed):
                    self.ends.append("client gave up")
                    return
                self.back.extend(data)
            connection.close()

        self.world.spawn(serve(), "serve")
        self.world.spawn(call(), "call")
        self.world.advance(seconds(until))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.lists(st.binary(min_size=1, max_size=4000), min_size=1, max_size=6),
    st.floats(0, 0.15), st.floats(0, 0.1), st.floats(0, 0.1), st.floats(0, 0.05),
)  # fmt: skip
def test_bytes_survive_a_bad_line(seed: int, chunks: list[bytes], loss: float, duplicate: float, reorder: float, damage: float) -> None:
    patient = TcpSettings(retries=30, syn_retries=12)
    cable = Cable(seed, patient, patient, loss=loss, duplicate=duplicate, reorder=reorder, damage=damage)
    cable.run(chunks, until=900.0)
    if cable.opened:  # three lost neighbour solicitations in a row end it before it began
        assert bytes(cable.got) == b"".join(chunks)
        assert bytes(cable.back) == b"".join(chunks)


def test_a_clean_line_shows_no_retransmission_and_an_orderly_end() -> None:
    cable = Cable(1)
    cable.run([b"hello", b"x" * 5000])
    assert cable.ends == ["server fin"]
    assert cable.connection is not None and cable.connection.state == "closed"
    data = [(side, frame[58:62], len(frame)) for side, frame in cable.frames if frame[20] == 6 and len(frame) > 74]
    assert len(data) == len(set(data)), "the same sequence number twice"


def test_segments_are_cut_as_the_settings_say() -> None:
    cable = Cable(1, client=TcpSettings(split=20))
    cable.run([b"y" * 90])
    sizes = [int.from_bytes(frame[18:20], "big") - 20 for side, frame in cable.frames if side == "EVCC" and frame[20] == 6]
    assert [size for size in sizes if size > 4] == [20, 20, 20, 20, 10]  # 4: the SYN's option


@pytest.mark.parametrize("how", ["refuse", "deaf"])
def test_a_port_that_refuses_or_stays_silent(how: str) -> None:
    server = TcpSettings(refuse=True) if how == "refuse" else TcpSettings(deaf=True)
    cable = Cable(1, client=TcpSettings(syn_retries=2), server=server)
    cable.run([b"x"])
    assert cable.opened is False
    syns = [frame for side, frame in cable.frames if side == "EVCC" and frame[20] == 6 and frame[67] & 2]
    assert len(syns) == (1 if how == "refuse" else 3)


def test_a_closed_window_is_probed_and_waited_for() -> None:
    cable = Cable(1, client=TcpSettings(rto=0.2))
    backlog = cable.server.listen(55555)
    world = cable.world
    read = bytearray()

    def serve() -> Script[None]:
        connection = yield backlog.get()
        yield connection.opened.get()
        connection.set_window(0)
        yield seconds(1.5)
        connection.set_window(4000)
        while len(read) < 300:
            read.extend((yield connection.inbox.get()))

    def call() -> Script[None]:
        connection = cable.client.connect(cable.server.ip, 55555)
        yield connection.opened.get()
        yield seconds(0.1)
        connection.send(b"z" * 300)

    world.spawn(serve(), "serve")
    world.spawn(call(), "call")
    world.advance(seconds(1.4))
    assert not read
    zero = [frame for side, frame in cable.frames if side == "SECC" and frame[20] == 6 and frame[68:70] == b"\0\0"]
    assert len(zero) >= 3, "the probes are answered with a window of 0"
    world.advance(seconds(5))
    assert bytes(read) == b"z" * 300


def test_reset_and_silence_are_told_apart() -> None:
    for how, expected in (("abort", "rst"), ("silence", None)):
        cable = Cable(1)
        backlog = cable.server.listen(55555)
        seen: list[object] = []

        def serve(backlog: object = backlog, seen: list[object] = seen) -> Script[None]:
            connection = yield backlog.get()  # type: ignore[attr-defined]
            yield connection.opened.get()
            seen.append((yield connection.inbox.get(5 * SECOND)))

        def call(cable: Cable = cable, how: str = how) -> Script[None]:
            connection = cable.client.connect(cable.server.ip, 55555)
            yield connection.opened.get()
            yield seconds(0.2)
            getattr(connection, how)()

        cable.world.spawn(serve(), "serve")
        cable.world.spawn(call(), "call")
        cable.world.advance(10 * SECOND)
        assert seen == ([Closed(expected)] if expected else [None])
