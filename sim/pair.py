"""One EV at one charger: the parts that belong together, and the place where a scenario's deviations take hold.

Every message of either party goes out through here: it is counted, changed as the scenario says, sent, and what should happen after it
is set off.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from plugtap.sim import mme, wire
from plugtap.sim.deviate import Action, Change, altered, apply_path, flipped, in_range, patched
from plugtap.sim.electrical import OFF, Battery, Power, Supply
from plugtap.sim.ev import Ev
from plugtap.sim.evse import Evse
from plugtap.sim.kernel import MS, Script, World, seconds
from plugtap.sim.line import Line, Station
from plugtap.sim.modem import Modem, ModemSettings
from plugtap.sim.pilot import Pilot, PilotSettings
from plugtap.sim.scripted import Exchange
from plugtap.sim.settings import EvseSettings, EvSettings
from plugtap.sim.tcp import Connection
from plugtap.sim.v2g import PAYLOAD_TYPE, Codec, Content


class PairSettings(msgspec.Struct):
    """Everything about one pair that a scenario may say. The structs are this pair's own and may be changed while it runs."""

    ev: EvSettings = msgspec.field(default_factory=EvSettings)
    evse: EvseSettings = msgspec.field(default_factory=EvseSettings)
    battery: Battery = msgspec.field(default_factory=Battery)
    supply: Supply = msgspec.field(default_factory=Supply)
    pilot: PilotSettings = msgspec.field(default_factory=PilotSettings)
    ev_modem: ModemSettings = ModemSettings()
    evse_modem: ModemSettings = ModemSettings(restart=0.9)
    changes: tuple[Change, ...] = ()
    actions: tuple[Action, ...] = ()
    exchanges: tuple[Exchange, ...] = ()  # a session by script instead of by plan


class Pair:
    """The EV, the charger and all between them. `number` 0 is the pair the tap belongs to."""

    def __init__(self, world: World, line: Line, settings: PairSettings, codec: Codec, number: int = 0) -> None:
        self.world = world
        self.line = line
        self.settings = settings
        self.number = number
        self.codec = codec
        self.counts: Counter[str] = Counter()
        self.over_at: int | None = None  # when the EV was done and unplugged
        name = f"pair{number}"
        ev_mac, evse_mac = (bytes.fromhex(text.replace(":", "")) for text in (settings.ev.mac, settings.evse.mac))
        self.ev_station = line.join(f"{name}/ev", "EVCC", ev_mac, _mac(settings.ev.modem_mac), number)
        self.evse_station = line.join(f"{name}/evse", "SECC", evse_mac, _mac(settings.evse.modem_mac), number)
        self.ev_modem = Modem(world, line, self.ev_station, settings.ev_modem)
        self.evse_modem = Modem(world, line, self.evse_station, settings.evse_modem)
        self.pilot = Pilot(world, settings.pilot, name)
        self.power = Power(world, settings.battery, settings.supply, name)
        self.evse = Evse(self, settings.evse)
        self.ev = Ev(self, settings.ev)

    def start(self) -> None:
        """Let both parties begin."""
        self.pilot.start()
        self.pilot.on_state.append(self._pilot_changed)
        self.evse.start()
        self.ev.start()
        self.event("start")

    # -- events --------------------------------------------------------------------------------------------------------

    def event(self, name: str) -> int:
        """Something named happened (a message was sent, the plug went in): count it and set off what waits for it."""
        self.counts[name] += 1
        count = self.counts[name]
        if name == "over" and self.over_at is None:
            self.over_at = self.world.now
        for action in self.settings.actions:
            if action.after == name and in_range(action.nth, count):
                self.world.later(seconds(action.delay), lambda what=action: self._act(what))  # type: ignore[misc]
        return count

    def _pilot_changed(self, state: str) -> None:
        self.event(f"cp-{state}")

    def _act(self, action: Action) -> None:
        for path, value in action.set.items():
            self.put(path, value)
        if action.do:
            verb = VERBS.get(action.do)
            if verb is None:
                raise ValueError(f"no such verb: {action.do}")
            verb(self, action.value)

    def put(self, path: str, value: Any) -> None:
        """Set an attribute by its path: ``supply.stall_v``, ``pilot.noise_v``, ``line.EVCC.loss``, ``evse.status`` …"""
        first, _, rest = path.partition(".")
        if first == "line":
            side, _, name = rest.partition(".")
            if not name:
                setattr(self.line, side, value)
                return
            for direction in ("EVCC", "SECC") if side == "both" else (side,):
                setattr(self.line.impair[direction], name, value)
            return
        if first == "pilot":
            self.pilot.touch()
        target: Any = getattr(self.settings, first)
        if target.__struct_config__.frozen:
            fresh = msgspec.structs.replace(target, **{rest: value})
            setattr(self.settings, first, fresh)
            {"ev_modem": self.ev_modem, "evse_modem": self.evse_modem}[first].settings = fresh
        elif "." in rest:
            head, _, leaf = rest.partition(".")
            setattr(target, head, msgspec.structs.replace(getattr(target, head), **{leaf: value}))
        else:
            if not hasattr(target, rest):
                raise ValueError(f"no such setting: {path}")
            setattr(target, rest, value)

    # -- messages ------------------------------------------------------------------------------------------------------

    def changes_for(self, name: str, count: int) -> list[Change]:
        """The deviations of this message."""
        return [c for c in self.settings.changes if c.message == name and c.matches(count)]

    def send_v2g(self, connection: Connection, schema: str, name: str, body: Content, session_id: str) -> None:
        """Encode and send one V2G message. `body` is the message element's content."""
        count = self.event(name)
        changes = self.changes_for(name, count)
        header: Content = {"SessionID": session_id}
        sent_as = name
        delay, repeat = 0.0, 1
        for change in changes:
            body = altered(body, change)
            header = {**header, **change.header}
            sent_as = change.name or sent_as
            delay += change.delay
            repeat = max(repeat, change.repeat)
            if change.drop:
                return
        data = self._frame_v2g(schema, sent_as, body, header, changes)
        for copy in range(repeat):
            self.world.later(seconds(delay) + copy * MS, lambda: connection.send(data))

    def _frame_v2g(self, schema: str, name: str, body: Content, header: Content, changes: list[Change]) -> bytes:
        if schema == "sap":
            content: Content = {name: body}
        elif schema.startswith("iso20"):
            own = body.get("Header", {})
            content = {name: {"Header": {**own, **header}, **{k: v for k, v in body.items() if k != "Header"}}}
        else:
            content = {"V2G_Message": {"Header": header, "Body": {name: body}}}
        payload = bytes.fromhex("80") if any(c.exi for c in changes) else self.codec.encode(schema, content)
        kind, version, inverse, length = PAYLOAD_TYPE[schema], 0x01, 0xFE, None
        for change in changes:
            payload = bytes.fromhex(change.exi) if change.exi else payload
            payload = flipped(payload, change.flip) + bytes.fromhex(change.append)
            payload = payload[: change.cut] if change.cut else payload
            kind = change.payload_type or kind
            version = change.version if change.version != 0x01 else version
            inverse = change.inverse if change.inverse != 0xFE else inverse
            length = change.length if change.length >= 0 else length
        return wire.v2gtp(kind, payload, version, inverse, length)

    def send_mme(self, station: Station, dst: bytes, mmtype: int, body: bytes, mmv: int = 1) -> None:
        """Send one management message."""
        frame = mme.build(dst, station.mac, mmtype, body, mmv)
        message = mme.read(frame)
        assert message is not None
        self.send_frame(station, message.name, frame)

    def send_frame(self, station: Station, name: str, frame: bytes) -> None:
        """Send one frame that has a name, changed as the scenario says."""
        count = self.event(name)
        delay, repeat = 0.0, 1
        for change in self.changes_for(name, count):
            if change.drop:
                return
            frame = patched(frame, change)
            delay += change.delay
            repeat = max(repeat, change.repeat)
        for copy in range(repeat):
            self.world.later(seconds(delay) + copy * MS, lambda: station.send(frame))

    def payload(self, name: str, data: bytes) -> tuple[bytes, int] | None:
        """A V2GTP payload of SDP as the scenario wants it, and its extra delay in ns; None: don't send it."""
        count = self.event(name)
        delay = 0.0
        for change in self.changes_for(name, count):
            if change.drop:
                return None
            data = patched(data, change)
            delay += change.delay
        return data, seconds(delay)

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def pilot_mme(self) -> None:
        """Some chargers' modems report the pilot in a vendor message; called when the pilot changes."""
        if not self.settings.evse.vendor_pilot:
            return
        high, _, duty = self.pilot.levels()
        freq = round(self.pilot.settings.frequency) if self.pilot.drive == "pwm" else 0
        body = mme.pilot_iotecha(round(duty), freq, round(high * 1000))
        frame = mme.build(mme.LOCAL_MODEM, self.evse_station.modem_mac, 0xA22E, body)
        for tap in self.line.taps:
            tap.hear("out", self.evse_station, frame, True)

    def unplug(self) -> None:
        """The plug is pulled, whatever is going on."""
        self.power.set(OFF)
        self.power.contactor(False)
        self.ev.lose()
        self.pilot.ev("A")
        self.event("over")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _foreign(pair: Pair, what: str) -> None:
    """Traffic that has no place on a charging line, sent by the charger's host."""
    station, node = pair.evse_station, pair.evse.node
    if what == "router-advertisement":
        station.send(wire.router_advertisement(station.mac, node.ip))
    elif what == "mdns":
        group = bytes.fromhex("ff0200000000000000000000000000fb")
        query = bytes.fromhex("000000000001000000000000095f7365727669636573075f646e732d7364045f756470056c6f63616c00000c0001")
        station.send(wire.udp(station.mac, wire.multicast_mac(group), node.ip, group, 5353, 5353, query))
    elif what == "ipv4":
        station.send(wire.ethernet(wire.BROADCAST, station.mac, 0x0806, bytes.fromhex("0001080006040001") + station.mac + bytes(16)))
    else:
        raise ValueError(f"no such foreign traffic: {what}")


def _noise(pair: Pair, count: int) -> Script[None]:
    """A powerline adapter in the same house, 25 management messages a second."""
    station = pair.line.join("adapter", "SECC", bytes.fromhex("02530000aa01"), bytes.fromhex("02530000aa02"), 99)
    for _ in range(count):
        station.send(mme.build(wire.BROADCAST, station.mac, 0x6018, bytes(40)))
        yield 40 * MS


VERBS: dict[str, Any] = {
    "cp": lambda pair, value: pair.pilot.ev(value),
    "duty": lambda pair, value: pair.pilot.pwm(float(value)),
    "cp-fault": lambda pair, value: pair.pilot.fault(value),
    "bcb": lambda pair, value: pair.world.spawn(pair.ev.toggle(int(value or 1)), "bcb"),
    "unplug": lambda pair, value: pair.unplug(),
    "ev-fin": lambda pair, value: pair.ev.end("fin"),
    "ev-rst": lambda pair, value: pair.ev.end("rst"),
    "ev-silence": lambda pair, value: pair.ev.end("silence"),
    "ev-stop": lambda pair, value: pair.ev.ask_stop(),
    "ev-slac": lambda pair, value: pair.ev.restart_slac(),
    "secc-fin": lambda pair, value: pair.evse.end("fin"),
    "secc-rst": lambda pair, value: pair.evse.end("rst"),
    "secc-silence": lambda pair, value: pair.evse.end("silence"),
    "secc-stop": lambda pair, value: pair.evse.begin_stop(value or ""),
    "emergency": lambda pair, value: pair.evse.emergency(value or "EVSE_EmergencyShutdown"),
    "foreign": _foreign,
    "tap-stop": lambda pair, value: [tap.stop() for tap in pair.line.taps],
    "mme-noise": lambda pair, value: pair.world.spawn(_noise(pair, int(value or 100)), "noise"),
    "ev-parm": lambda pair, value: pair.send_mme(
        pair.ev_station, wire.BROADCAST, mme.SLAC_PARM, mme.slac_parm_req(bytes.fromhex("5155455354494F4E"))
    ),
    "secc-window": lambda pair, value: pair.evse.connection and pair.evse.connection.set_window(int(value)),
    "ev-window": lambda pair, value: pair.ev.connection and pair.ev.connection.set_window(int(value)),
}

__all__ = ["VERBS", "Pair", "PairSettings", "apply_path"]
