"""The virtual modem, read with plugtap's own decoders: keys, restart, both layouts of NW_INFO, and its bad habits."""

from __future__ import annotations

import msgspec
import pytest

from plugtap.protocols import cm_mme, slac, vendor_mme
from plugtap.protocols.events import Event, Mme
from plugtap.protocols.items import Frame
from plugtap.protocols.stack import Stack
from plugtap.sim import mme
from plugtap.sim.kernel import SECOND, World, seconds
from plugtap.sim.line import Line, Station
from plugtap.sim.modem import Modem, ModemSettings

KEY = bytes(range(16))


class Desk:
    """Two hosts with a modem each; what the first one's host sees is decoded."""

    def __init__(self, **habits: object) -> None:
        self.world = World(0, 1)
        self.line = Line(self.world)
        self.host = self.line.join("a", "EVCC", bytes.fromhex("020000000001"), bytes.fromhex("020000000011"))
        self.peer = self.line.join("b", "SECC", bytes.fromhex("020000000002"), bytes.fromhex("020000000012"))
        settings = msgspec.structs.replace(ModemSettings(restart=2.0), **habits)
        self.modem = Modem(self.world, self.line, self.host, settings)
        self.other = Modem(self.world, self.line, self.peer, ModemSettings(restart=0.5))
        self.line.taps.append(self)  # type: ignore[arg-type]
        self.frames: list[bytes] = []

    def hear(self, where: str, station: Station, frame: bytes, local: bool) -> None:
        if where == "in" and station is self.host:
            self.frames.append(frame)

    def ask(self, mmtype: int, body: bytes = b"", mmv: int = 1, wait: float = 0.1) -> list[Mme]:
        self.frames.clear()
        self.host.send(mme.build(mme.LOCAL_MODEM, self.host.mac, mmtype, body, mmv))
        self.world.advance(self.world.now + seconds(wait))
        stack = Stack()
        events: list[Event] = []
        for number, frame in enumerate(self.frames, 1):
            events += stack.feed(Frame(t=number, number=number, data=frame))
        return [event for event in events if isinstance(event, Mme)]

    def join(self) -> None:
        nid = mme.nid_of(KEY)
        for station in (self.host, self.peer):
            station.send(mme.build(mme.LOCAL_MODEM, station.mac, mme.SET_KEY, mme.set_key_req(nid, KEY)))
        self.world.advance(self.world.now + 4 * SECOND)


def test_set_key_restarts_the_modem_and_answers_as_qualcomm_does() -> None:
    desk = Desk()
    answers = desk.ask(mme.SET_KEY, mme.set_key_req(mme.nid_of(KEY), KEY))
    assert [type(m.body) for m in answers] == [cm_mme.CmSetKeyCnf]
    assert answers[0].body.result == 1, "0x01 means: taken"
    assert not desk.host.online
    assert desk.ask(mme.VS_SW_VER, mme.OUI_QUALCOMM, 0) == [], "a restarting modem answers nothing"
    desk.world.advance(4 * SECOND)
    assert desk.host.online and desk.host.nid == cm_mme.nid_from_nmk(KEY)
    assert desk.modem.restarts == 1


def test_identity_keys_and_link_status() -> None:
    desk = Desk()
    version = desk.ask(mme.VS_SW_VER, mme.OUI_QUALCOMM, 0)[0].body
    assert isinstance(version, vendor_mme.VsSwVerCnf) and version.version.startswith("MAC-QCA7005")
    assert desk.ask(mme.VS_LINK_STATUS, mme.OUI_QUALCOMM, 0)[0].body.link_status == 0
    desk.join()
    assert desk.ask(mme.VS_LINK_STATUS, mme.OUI_QUALCOMM, 0)[0].body.link_status == 1
    key = desk.ask(mme.GET_KEY)[0].body
    assert isinstance(key, cm_mme.CmGetKeyCnf) and (key.nid, key.key) == (mme.nid_of(KEY), KEY)
    network = desk.ask(mme.NW_INFO)[0].body
    assert isinstance(network, cm_mme.CmNwInfoCnf) and network.networks[0].nid == mme.nid_of(KEY)


@pytest.mark.parametrize("mmv", [0, 1])
def test_nw_info_in_both_layouts_names_the_other_station(mmv: int) -> None:
    desk = Desk()
    desk.join()
    body = desk.ask(mme.VS_NW_INFO, mme.OUI_QUALCOMM, mmv)[0].body
    assert len(body.networks) == 1
    network = body.networks[0]
    assert network.nid == mme.nid_of(KEY)
    assert [station.mac for station in network.stations] == [desk.peer.modem_mac]


def test_deaf_lying_and_stubborn_modems() -> None:
    assert Desk(deaf=True).ask(mme.VS_SW_VER, mme.OUI_QUALCOMM, 0) == []
    assert Desk(lies=True).ask(mme.VS_LINK_STATUS, mme.OUI_QUALCOMM, 0)[0].body.link_status == 1
    stubborn = Desk(takes_key=False, set_key_result=0)
    assert stubborn.ask(mme.SET_KEY, mme.set_key_req(mme.nid_of(KEY), KEY))[0].body.result == 0
    stubborn.world.advance(10 * SECOND)
    assert stubborn.host.online and stubborn.host.nid == b"" and stubborn.modem.restarts == 0
    assert Desk(answer=2.0).ask(mme.VS_SW_VER, mme.OUI_QUALCOMM, 0) == [], "slow: not within 100 ms"


def test_sounds_come_back_as_profiles_of_58_groups() -> None:
    desk = Desk()
    profiles: list[bytes] = []
    desk.line.taps.clear()
    desk.line.taps.append(type("Tap", (), {"hear": lambda self, where, station, frame, local: profiles.append(frame) if local else None})())
    for remaining in range(9, -1, -1):
        desk.host.send(mme.build(b"\xff" * 6, desk.host.mac, mme.MNBC_SOUND | mme.IND, mme.mnbc_sound(b"RUNID123", remaining, bytes(16))))
        desk.world.advance(desk.world.now + 40_000_000)
    stack = Stack()
    bodies = [e.body for n, frame in enumerate(profiles, 1) for e in stack.feed(Frame(t=n, number=n, data=frame)) if isinstance(e, Mme)]
    assert len(bodies) == 10 and all(isinstance(body, slac.CmAttenProfileInd) for body in bodies)
    means = [sum(body.aag) / len(body.aag) for body in bodies]
    assert all(len(body.aag) == 58 and body.pev_mac == desk.host.mac for body in bodies)
    assert all(abs(mean - desk.line.attenuation_db) < 3 for mean in means)
    assert len({body.aag for body in bodies}) > 1, "a measurement is never twice the same"
