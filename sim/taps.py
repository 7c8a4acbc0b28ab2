"""What different listening posts hear of the same line (DESIGN section 6.7; facts measured on real modems are named in docs/bench.md).

============  ==========================================================================================================
passive       a full sniffer (sniffer firmware, commercial box): everything on the air, no host-to-modem messages
host          on the charger's own host or a mirror of its port: all of that host's traffic, local messages included
host-ev       the same on the EV's side
evse-side     a stock modem that has not joined: only what the charger sends in SLAC, nothing after the match
ev-side       the same, hearing the EV
broadcast     a stock modem that joined with the key of the match: charger's SLAC, then only broadcast and multicast
bridge        between two modems put into the line: both directions, named by their side
============  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plugtap.protocols.items import Frame, TapEvent
from plugtap.sim import mme
from plugtap.sim.kernel import World, seconds
from plugtap.sim.line import Station

KINDS = ("passive", "host", "host-ev", "evse-side", "ev-side", "broadcast", "bridge")
VANTAGE = {"passive": "passive", "host": "host", "host-ev": "host", "bridge": "bridge"}


class TapSettings(msgspec.Struct):
    """How the tap listens."""

    kind: str = "passive"
    miss: float = 0.0  # share of frames it does not hear, and does not know of
    drop: float = 0.0  # share of frames its own system drops and counts
    rekey_blind: float = 0.0  # seconds without hearing after each match, while its modem restarts with the new key
    announce_rekey: bool = True  # it says so with a tap event
    snap: int = 0  # cut frames to so many bytes
    hears_neighbors: bool = True
    duplicate: float = 0.0  # share of frames it reports twice
    pilot: bool = True
    late_start: float = 0.0  # seconds after the start at which it begins to listen
    stop_at: float = 0.0  # seconds after the start at which it stops (0: to the end)


class LineTap:
    """Listens to a line and hands Frames (without numbers) to `emit`."""

    def __init__(self, world: World, settings: TapSettings, emit: Callable[[Frame | TapEvent], None], pair: int = 0) -> None:
        if settings.kind not in KINDS:
            raise ValueError(f"no such kind of tap: {settings.kind} (there are {', '.join(KINDS)})")
        self.world = world
        self.settings = settings
        self.emit = emit
        self.pair = pair
        self._chance = world.chance("tap")
        self._blind_until = 0
        self._joined = False
        self._dropped = 0
        self._from = world.start + seconds(settings.late_start)
        self._to = world.start + seconds(settings.stop_at) if settings.stop_at else 1 << 62

    def listening(self) -> bool:
        """Whether it records at this moment."""
        return self._from <= self.world.now <= self._to

    def stop(self) -> None:
        """Record nothing more: the capture is cut here."""
        self._to = min(self._to, self.world.now)

    def hear(self, where: str, station: Station, frame: bytes, local: bool) -> None:
        """Called by the line for everything that passes one of the three places."""
        kind = self.settings.kind
        if not self.listening():
            return
        direction, source = "", "plc"
        if kind in ("host", "host-ev"):
            side = "SECC" if kind == "host" else "EVCC"
            if where == "air" or station.side != side or station.pair != self.pair:
                return
            direction = "out" if where == "out" else "in"
        elif kind == "bridge":
            if where != "air" or local or station.pair != self.pair:
                return
            source = "plc" if station.side == "SECC" else "plc2"
        elif where != "air" or local or not self._passive(kind, station, frame):
            return
        self._record(frame, direction, source)

    def _passive(self, kind: str, station: Station, frame: bytes) -> bool:
        """Whether a third station of this kind gets to hear a frame on the air."""
        message = mme.read(frame)
        if station.pair != self.pair and not (message is not None and self.settings.hears_neighbors):
            return False
        matched = message is not None and message.mmtype == mme.SLAC_MATCH | mme.CNF
        heard = True
        if kind in ("evse-side", "ev-side", "broadcast"):
            side = "EVCC" if kind == "ev-side" else "SECC"
            if message is not None:
                heard = station.side == side and not self._joined
            else:
                heard = kind == "broadcast" and self._joined and bool(frame[0] & 1)
        if heard and self.world.now < self._blind_until:
            heard = False
        if matched and (kind == "broadcast" or self.settings.rekey_blind):
            self._rekey(kind)
        return heard

    def _rekey(self, kind: str) -> None:
        """The tap's modem takes the key it overheard, and is deaf while it restarts."""
        self._joined = True
        blind = self.settings.rekey_blind or 5.2
        self._blind_until = self.world.now + seconds(blind)
        if self.settings.announce_rekey:
            values: dict[str, int | str] = {"blind_ms": round(blind * 1000)}
            event = TapEvent(t=self.world.now, number=0, source="plc", kind="rekey", detail="joining", values=values)
            self.world.later(1000, lambda: self.emit(event))

    def _record(self, frame: bytes, direction: str, source: str) -> None:
        s, chance = self.settings, self._chance
        if s.miss and chance.random() < s.miss:
            return
        if s.drop and chance.random() < s.drop:
            self._dropped += 1
            return
        lost, self._dropped = self._dropped, 0
        data = frame[: s.snap] if s.snap else frame
        wire_len = len(frame) if len(data) < len(frame) else 0
        item = Frame(t=self.world.now, number=0, data=data, wire_len=wire_len, source=source, direction=direction, lost=lost)
        self.emit(item)
        if s.duplicate and chance.random() < s.duplicate:
            again = msgspec.structs.replace(item, t=item.t + 40_000, lost=0)
            self.world.later(40_000, lambda: self.emit(again))
