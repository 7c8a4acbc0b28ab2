"""The virtual charger: pilot, SLAC, SDP, and a TCP server that speaks DIN 70121, ISO 15118-2 and ISO 15118-20.

It reacts: to the pilot, to frames, to requests. How it behaves is EvseSettings; what it can deliver is Supply.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from plugtap.sim import wire
from plugtap.sim.electrical import OFF
from plugtap.sim.evse_serve import Server
from plugtap.sim.kernel import MS, Process, Script, seconds
from plugtap.sim.node import Node
from plugtap.sim.settings import EvseSettings
from plugtap.sim.slac_evse import SlacEvse
from plugtap.sim.tcp import Connection

if TYPE_CHECKING:
    from plugtap.sim.pair import Pair


class Evse:
    """One charger's connector."""

    def __init__(self, pair: Pair, settings: EvseSettings) -> None:
        self.pair = pair
        self.world = pair.world
        self.settings = settings
        self.name = f"pair{pair.number}/evse"
        self.station = pair.evse_station
        self.pilot = pair.pilot
        self.power = pair.power
        self.node = Node(pair.world, pair.evse_station, settings.tcp, self.name)
        self.node.send_named = lambda name, frame: pair.send_frame(pair.evse_station, name, frame)
        self.node.learns_macs = settings.learns_macs
        self.node.answers_neighbors = settings.answers_neighbors
        self.node.advertised = bytes.fromhex(settings.nd_mac.replace(":", "")) or self.node.mac
        self.slac = SlacEvse(self)
        self.chance = pair.world.chance(self.name)
        self.server = Server(self)
        self.connection: Connection | None = None
        self.status = ""  # a DC_EVSEStatusCode that overrides the usual one
        self.notification = ""
        self.toggles = 0
        self.meter_start = 4_200_000 + self.chance.randrange(10_000)
        self.old_session_id = b""
        self._pwm_since = -1
        self._linked_at = 0
        self._processes: list[Process] = []
        self._receipt_count = 0
        self.port = 0

    @property
    def din(self) -> bool:
        """Whether DIN 70121 was negotiated."""
        return self.server.protocol == "din"

    def start(self) -> None:
        """Power up: the pilot is watched, SLAC is served."""
        self.pilot.on_state.append(self._pilot)
        self.pair.world.spawn(self.slac.serve(), f"{self.name}/slac")
        self.world.later(20 * MS, self._new_key)

    # -- pilot ---------------------------------------------------------------------------------------------------------

    def _pilot(self, state: str) -> None:
        self.pair.pilot_mme()
        if state == "A":
            self._reset()
        elif state in ("B", "C") and not self._processes:
            self._processes.append(self.world.spawn(self._plugged(), f"{self.name}/plugged"))
        if state == "C":
            self.toggles += 1
        if state in ("C", "D") and self.pilot.drive == "high" and self.old_session_id and self.connection is None:
            # A paused EV knocks: PWM back on, the network is still there.
            self.world.later(500 * MS, lambda: self.pwm(self.settings.duty))

    def pwm(self, duty: float) -> None:
        """Drive the pilot with this duty (100: no PWM)."""
        if self.pilot.state == "A" and duty < 100:
            return
        self.pilot.pwm(duty)
        self.pair.pilot_mme()
        self._pwm_since = self.world.now if duty < 100 else -1
        self.pair.event("pwm" if duty < 100 else "pwm-off")

    def _plugged(self) -> Script[None]:
        """From plug-in: 5 % PWM, and, if no SLAC comes, an E/F step or basic charging."""
        s = self.settings
        yield seconds(s.b_to_pwm)
        self.pwm(s.duty)
        if s.ef_step:
            yield seconds(s.ef_after)
            if not self.slac.runs:
                self.pilot.fault("F")
                yield seconds(s.ef_step)
                self.pwm(s.duty)
        if s.basic_after:
            yield seconds(s.basic_after)
            if self.connection is None:
                yield from self._to_nominal()

    def _new_key(self) -> None:
        """A key for the next car, while there is none: the modem restarts with it and is ready in time."""
        if self.settings.slac:
            self.slac.new_key()

    def _to_nominal(self) -> Script[None]:
        """The car does not speak: charge by duty, by the way the standard (or the scenario) says."""
        s = self.settings
        if s.basic_path == "ef":
            self.pilot.fault("F")
            yield seconds(s.basic_step or 4.2)
        elif s.basic_path == "x1":
            self.pwm(100)
            yield seconds(s.basic_step or 3.2)
        self.pwm(s.nominal_duty)

    def armed(self) -> bool:
        """Whether SLAC is answered now: the plug is in, 5 % is on, and the modem is ready."""
        ready = seconds(self.settings.ready_after_pwm)
        own = self._pwm_since >= 0 and self.world.now - self._pwm_since >= ready and self.pilot.state != "A"
        return own or self.settings.answer_foreign

    def _reset(self) -> None:
        """The plug is out: everything off."""
        for process in self._processes:
            process.kill()
        self._processes.clear()
        self.power.set(OFF)
        if self.connection is not None:
            self.connection.silence()
            self.connection = None
        self.node.stop()
        self.slac.runs.clear()
        self.slac.matched = False
        self.status = self.notification = ""
        self.old_session_id = b""
        self.pair.evse_modem.forget()
        self.world.later(500 * MS, self._new_key)
        if self.pilot.drive != "high":
            self.world.later(20 * MS, lambda: self.pwm(100))

    # -- link ------------------------------------------------------------------------------------------------------------

    def on_match(self) -> None:
        """The EV has the key: open for business."""
        self.node.stop()
        self._linked_at = self.world.now
        s = self.settings
        self.port = s.tcp_port or self.chance.randrange(49152, 65536)
        if s.sdp:
            self.node.bind(15118, self._sdp)
        backlog = self.node.listen(self.port)
        if len(self._processes) > 1:
            for process in self._processes[1:]:
                process.kill()
            del self._processes[1:]
        self._processes.append(self.world.spawn(self.node.start(), f"{self.name}/up"))
        self._processes.append(self.world.spawn(self.server.accept(backlog), f"{self.name}/server"))

    def _sdp(self, packet: wire.Packet, sport: int, dport: int, payload: bytes) -> None:
        s = self.settings
        if payload[2:4] != b"\x90\x00" or self.world.now - self._linked_at < seconds(s.sdp_ready):
            return
        answer = self.node.ip + struct.pack("!HBB", self.port, s.sdp_security, 0)
        altered = self.pair.payload("SDPRes", wire.v2gtp(wire.SDP_RESPONSE, answer))
        if altered is None:
            return
        data, extra = altered
        delay = seconds(s.sdp_delay * (0.6 + 0.8 * self.chance.random())) + extra
        self.world.later(delay, lambda: self.node.send_udp(packet.src, 15118, sport, data))

    # -- what may happen to a session ------------------------------------------------------------------------------------

    def link_lost(self) -> bool:
        """The EV starts over although there is a session: believed when nothing was heard of it for three seconds."""
        if self.connection is None or self.world.now - self.server.heard < seconds(3.0):
            return False
        self.connection.silence()
        self.connection = None
        self.power.set(OFF)
        return True

    def communication_over(self) -> None:
        """The TCP connection is gone: power off, and PWM off a little later."""
        self.power.set(OFF)
        self.connection = None
        delay = seconds(self.settings.x1_after)
        if self.settings.x1_after >= 0:
            self.world.later(delay, self._x1)

    def _x1(self) -> None:
        if self.connection is None and self.pilot.drive == "pwm":
            self.pwm(100)
            if self.settings.again_after and not self.old_session_id:
                self.world.later(seconds(self.settings.again_after), self._again)

    def _again(self) -> None:
        """The plug is still in: a new key, and 5 % for another attempt."""
        if self.pilot.state != "A" and self.connection is None:
            self._new_key()
            self.world.later(1200 * MS, lambda: self.pwm(self.settings.duty))

    def receipt_due(self) -> bool:
        """Whether this response asks for a metering receipt: every tenth."""
        if not self.settings.receipt:
            return False
        self._receipt_count += 1
        return self._receipt_count % 10 == 0

    def begin_stop(self, status: str = "") -> None:
        """The charger's user pressed stop: ask the EV to end."""
        self.status = status or self.settings.stop_status
        self.notification = "StopCharging"
        self.pair.event("secc-stop")

    def emergency(self, status: str) -> None:
        """Power off at once, and say so."""
        self.status = status
        self.power.set(OFF)
        self.power.supply.dead = True
        self.pair.event("emergency")

    def end(self, how: str) -> None:
        """End the connection: fin, rst, or silence (the controller hangs)."""
        if self.connection is None:
            return
        if how == "fin":
            self.connection.close()
        elif how == "rst":
            self.connection.abort()
        else:
            self.connection.silence()
            self.server.hang = True
