"""The power line of one connector: modems, what they let through, and what the line does to frames.

A frame takes the way host, own modem, line, other modem, host; each piece costs time. Data passes only between modems that hold the
same network key and are not restarting; SLAC passes to everyone in earshot. Taps are told at each of the three places a frame can be
heard: leaving a host, in the air, arriving at a host.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import msgspec

from plugtap.sim import mme
from plugtap.sim.kernel import MS, Mailbox, World
from plugtap.sim.wire import ETHERTYPE_HOMEPLUG

FrameHandler = Callable[[bytes], None]


class Impairment(msgspec.Struct):
    """What the line does to frames of one direction. Probabilities 0..1, times in milliseconds."""

    delay: float = 1.2  # one way, air and modems
    jitter: float = 0.8
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # a frame is overtaken by what comes in the next 8 ms
    damage: float = 0.0  # one byte wrong (the modem's own CRC missed it)
    cut: bool = False  # nothing gets through


class Tap(Protocol):
    """Who listens. `where` is out (leaving a host), air, or in (arriving at a host)."""

    def hear(self, where: str, station: Station, frame: bytes, local: bool) -> None:
        """A frame passed; `local` marks messages between a host and its own modem."""

    def stop(self) -> None:
        """Listen no more."""


class Station:
    """A host with its modem on the line. `side` is EVCC or SECC, `pair` numbers the EV/EVSE pair it belongs to."""

    def __init__(self, line: Line, name: str, side: str, mac: bytes, modem_mac: bytes, pair: int = 0) -> None:
        self.line = line
        self.name = name
        self.side = side
        self.mac = mac
        self.modem_mac = modem_mac
        self.pair = pair
        self.mme: Mailbox[mme.Mme] = Mailbox()  # management messages for the host
        self.modem: FrameHandler = lambda frame: None  # local messages; set by modem.Modem
        self.on_sound: FrameHandler = lambda frame: None
        self.nid = b""
        self.online = True  # the modem answers and carries traffic (False while it restarts)
        self.promiscuous = False  # the host takes unicast messages meant for others
        self.deaf_to: set[str] = set()  # names of messages the host never gets to see
        self._handlers: list[FrameHandler] = []

    def listen(self, handler: FrameHandler) -> None:
        """Hand every frame that is not a management message to `handler`."""
        self._handlers.append(handler)

    def send(self, frame: bytes) -> None:
        """Send a frame from this host."""
        self.line.transmit(self, frame)

    def arrive(self, frame: bytes, local: bool = False) -> None:
        """A frame reaches this host from its modem."""
        for tap in self.line.taps:
            tap.hear("in", self, frame, local)
        message = mme.read(frame)
        if message is not None:
            if message.name not in self.deaf_to:
                self.mme.put(message)
            return
        for handler in self._handlers:
            handler(frame)


class Line:
    """Carries frames between stations."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stations: list[Station] = []
        self.taps: list[Tap] = []
        self.impair = {"EVCC": Impairment(), "SECC": Impairment()}
        self.crosstalk_db = 30.0  # between stations of different pairs, on top of their own
        self.attenuation_db = 14.0
        self._chance = world.chance("line")
        self._busy: dict[str, int] = {}

    def join(self, name: str, side: str, mac: bytes, modem_mac: bytes, pair: int = 0) -> Station:
        """A new station."""
        station = Station(self, name, side, mac, modem_mac, pair)
        self.stations.append(station)
        return station

    def transmit(self, station: Station, frame: bytes) -> None:
        """A host sends: to its own modem, or through it onto the line."""
        dst = frame[0:6]
        is_mme = int.from_bytes(frame[12:14], "big") == ETHERTYPE_HOMEPLUG
        if is_mme and dst in (mme.LOCAL_MODEM, station.modem_mac):
            for tap in self.taps:
                tap.hear("out", station, frame, True)
            station.modem(frame)
            return
        for tap in self.taps:
            tap.hear("out", station, frame, False)
        if not station.online:
            return
        impair = self.impair[station.side]
        chance = self._chance
        if impair.cut:
            return
        if impair.damage and chance.random() < impair.damage:
            frame = _damaged(frame, chance)
        copies = 2 if impair.duplicate and chance.random() < impair.duplicate else 1
        late = impair.reorder and chance.random() < impair.reorder
        for copy in range(copies):
            delay = round((impair.delay + chance.random() * impair.jitter) * MS)
            on_air = self.world.now + delay // 2 + copy * 200_000
            if late:
                on_air += round(8 * MS * (0.5 + chance.random()))
            else:
                on_air = max(on_air, self._busy.get(station.name, 0) + 1000)
                self._busy[station.name] = on_air
            self.world.at(on_air, lambda data=frame, rest=delay // 2: self._on_air(station, data, rest, is_mme))  # type: ignore[misc]

    def _on_air(self, sender: Station, frame: bytes, rest: int, is_mme: bool) -> None:
        for tap in self.taps:
            tap.hear("air", sender, frame, False)
        dst = frame[0:6]
        loss = self.impair[sender.side].loss
        if loss and self._chance.random() < loss:
            return  # the other end did not hear it; a tap in between may well have
        for station in self.stations:
            if station is sender or not station.online:
                continue
            if not (dst[0] & 1 or dst == station.mac or station.promiscuous):
                continue
            if is_mme:
                if self.path_db(sender, station) > 75:
                    continue
            elif not sender.nid or sender.nid != station.nid:
                continue
            self.world.later(rest, lambda to=station: self._deliver(to, sender, frame))  # type: ignore[misc]

    def _deliver(self, station: Station, sender: Station, frame: bytes) -> None:
        if not station.online:
            return
        station.arrive(frame)
        if frame[12:14] == b"\x88\xe1" and int.from_bytes(frame[15:17], "little") == mme.MNBC_SOUND | mme.IND:
            station.on_sound(frame)

    def path_db(self, a: Station, b: Station) -> float:
        """Mean attenuation between two stations."""
        return self.attenuation_db + (0.0 if a.pair == b.pair else self.crosstalk_db)

    def profile(self, a: Station, b: Station, chance: random.Random) -> bytes:
        """Attenuation of one sound between two stations: 58 groups, dB. Ripples with frequency, rises at the ends of the band."""
        mean = self.path_db(a, b)
        ripple = self.world.chance(f"profile/{min(a.name, b.name)}/{max(a.name, b.name)}")
        groups = bytearray()
        for group in range(mme.GROUPS):
            edge = 6.0 * max(0, group - 53) / 4 + 3.0 * max(0, 3 - group) / 3
            value = mean + 4.0 * (group / mme.GROUPS - 0.5) + ripple.gauss(0, 1.3) + edge + chance.gauss(0, 0.6)
            groups.append(max(0, min(255, round(value))))
        return bytes(groups)


def _damaged(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(14, len(frame))
    return frame[:at] + bytes([frame[at] ^ (1 << chance.randrange(8))]) + frame[at + 1 :]
