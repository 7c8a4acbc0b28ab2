"""A virtual QCA7005-class modem: answers the host's management messages, takes keys, restarts, and reports what it heard of sounds.

It can be deaf, slow or lying (ModemSettings), as real ones are.
"""

from __future__ import annotations

import struct

import msgspec

from plugtap.sim import mme
from plugtap.sim.kernel import MS, SECOND, World
from plugtap.sim.line import Line, Station

VERSION = b"MAC-QCA7005-1.1.3.1531-00-20150204-CS"


class ModemSettings(msgspec.Struct, frozen=True):
    """How a modem behaves. Times in seconds."""

    answer: float = 0.008
    restart: float = 2.2  # from CM_SET_KEY.CNF until it carries traffic again
    set_key_result: int = 0x01  # Qualcomm: 0x01 took the key (the specification says 0x00)
    takes_key: bool = True  # False: answers, and stays in its old network
    deaf: bool = False  # answers nothing
    lies: bool = False  # claims a link that is not there
    profiles: bool = True  # sends CM_ATTEN_PROFILE.IND for each sound it hears
    vendor_profile: bool = False  # sends the Qualcomm 0xA14E indication as well, once, without groups


class Modem:
    """The modem of one station."""

    def __init__(self, world: World, line: Line, station: Station, settings: ModemSettings) -> None:
        self.world = world
        self.line = line
        self.station = station
        self.settings = settings
        self.nmk = bytes.fromhex("50d3e4933f855b7040784df815aa8db7")  # the HomePlug AV default key
        self.restarts = 0
        self._chance = world.chance(f"{station.name}/modem")
        station.modem = self._local
        station.on_sound = self._sound

    def forget(self) -> None:
        """Leave the network."""
        self.station.nid = b""
        self.station.online = True

    # -- messages of the own host --------------------------------------------------------------------------------------

    def _local(self, frame: bytes) -> None:
        message = mme.read(frame)
        if message is None or self.settings.deaf or not self.station.online:
            return
        kind, body = message.mmtype & ~3, message.body
        answer: bytes | None = None
        if kind == mme.SET_KEY:
            answer = mme.set_key_cnf(self.settings.set_key_result, self._chance.randbytes(4))
        elif kind == mme.GET_KEY:
            answer = b"\0" + bytes(9) + self.station.nid.ljust(7, b"\0") + b"\x01" + bytes(4) + self.nmk
        elif kind == mme.NW_INFO:
            answer = self._networks()
        elif kind == mme.VS_SW_VER:
            answer = mme.OUI_QUALCOMM + bytes([0, 0x22, len(VERSION)]) + VERSION.ljust(254, b"\0")
        elif kind == mme.VS_NW_INFO:
            answer = self._vendor_networks(message.mmv)
        elif kind == mme.VS_LINK_STATUS:
            answer = mme.OUI_QUALCOMM + bytes([0, 1 if self.linked() or self.settings.lies else 0])
        elif kind == mme.VS_RS_DEV:
            answer = mme.OUI_QUALCOMM + b"\0"
        if answer is None:
            return
        reply = mme.build(message.src, self.station.modem_mac, kind | mme.CNF, answer, message.mmv)
        delay = round(self.settings.answer * SECOND * (0.8 + 0.4 * self._chance.random()))
        self.world.later(delay, lambda: self.station.arrive(reply, True))
        if kind == mme.SET_KEY and self.settings.takes_key:
            nid, nmk = body[14:21], body[22:38]
            self.world.later(delay + 20 * MS, lambda: self._restart(nid, nmk))
        elif kind == mme.VS_RS_DEV:
            self.world.later(delay + 20 * MS, lambda: self._restart(self.station.nid, self.nmk))

    def _restart(self, nid: bytes, nmk: bytes) -> None:
        self.station.online = False
        self.station.nid = nid
        self.nmk = nmk
        self.restarts += 1
        spread = 0.85 + 0.3 * self._chance.random()
        self.world.later(round(self.settings.restart * SECOND * spread), self._back)

    def _back(self) -> None:
        self.station.online = True

    def linked(self) -> bool:
        """Another station that is up shares this modem's network."""
        own = self.station
        return bool(own.nid) and own.online and any(
            other is not own and other.online and other.nid == own.nid for other in self.line.stations
        )

    def _networks(self) -> bytes:
        nid = self.station.nid
        if not nid:
            return b"\0"
        role = 2 if self.station.side == "SECC" else 0
        return b"\x01" + nid + bytes([1, 1 if role else 2, role]) + self._coordinator() + b"\0\0"

    def _coordinator(self) -> bytes:
        for other in self.line.stations:
            if other.side == "SECC" and other.nid == self.station.nid:
                return other.modem_mac
        return self.station.modem_mac

    def _vendor_networks(self, mmv: int) -> bytes:
        """VS_NW_INFO in the layout of MMV 0 (QCA7005) or MMV 1 (later firmware)."""
        own = self.station
        others = [s for s in self.line.stations if s is not own and s.online and own.nid and s.nid == own.nid]
        role = 2 if own.side == "SECC" else 0
        tei = 1 if role else 2
        if mmv == 0:
            body = bytes([1]) + own.nid.ljust(7, b"\0") + bytes([1, tei, role]) + self._coordinator() + bytes([1, len(others)])
            for number, other in enumerate(others):
                body += other.modem_mac + bytes([2 + number]) + other.mac + bytes([9, 9])
            return mme.OUI_QUALCOMM + body
        network = own.nid.ljust(7, b"\0") + bytes(2) + bytes([1, tei]) + bytes(4) + bytes([role]) + self._coordinator()
        network += bytes([1]) + bytes(3) + bytes([len(others)]) + bytes(5)
        for number, other in enumerate(others):
            network += other.modem_mac + bytes([2 + number]) + bytes(3) + other.mac + struct.pack("<HBBHH", 9, 0, 0, 9, 0)
        return mme.OUI_QUALCOMM + b"\x01\0" + struct.pack("<H", len(network) + 1) + b"\0\x01" + network

    # -- sounding --------------------------------------------------------------------------------------------------------

    def _sound(self, frame: bytes) -> None:
        """An EVSE's modem tells its host how strongly it heard a sound."""
        if self.station.side != "SECC" or not self.settings.profiles or self.settings.deaf:
            return
        sender = next((s for s in self.line.stations if s.mac == frame[6:12]), None)
        if sender is None:
            return
        groups = self.line.profile(sender, self.station, self._chance)
        body = mme.atten_profile(sender.mac, groups)
        reply = mme.build(self.station.mac, self.station.modem_mac, mme.ATTEN_PROFILE | mme.IND, body)
        self.world.later(round(MS * (0.3 + self._chance.random())), lambda: self.station.arrive(reply, True))
