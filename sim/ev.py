"""The virtual EV: plugs in, finds its charger, negotiates, and charges by DIN 70121, ISO 15118-2 or ISO 15118-20.

A script in virtual time that sees only what a car sees: frames from its modem, the pilot, its battery. How it behaves is EvSettings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugtap.sim import mme, requests
from plugtap.sim.ev20 import Ev20
from plugtap.sim.ev_opening import Opening
from plugtap.sim.ev_steps import AC_PLAN, DC_PLAN, Over, Steps
from plugtap.sim.kernel import MS, SECOND, Process, Script, seconds
from plugtap.sim.node import Node
from plugtap.sim.scripted import run_ev
from plugtap.sim.settings import EvSettings
from plugtap.sim.slac_ev import SlacEv
from plugtap.sim.tcp import Closed, Connection
from plugtap.sim.v2g import Assembler, Content, name_and_body, number, schema_for

if TYPE_CHECKING:
    from plugtap.sim.pair import Pair

STOPPED = ("EVSE_Shutdown", "EVSE_EmergencyShutdown", "EVSE_Malfunction", "EVSE_UtilityInterruptEvent")


class Ev:
    """One EV. `wants_stop` is set when somebody asks it to end the session orderly."""

    def __init__(self, pair: Pair, settings: EvSettings) -> None:
        self.pair = pair
        self.world = pair.world
        self.settings = settings
        self.name = f"pair{pair.number}/ev"
        self.station = pair.ev_station
        self.pilot = pair.pilot
        self.power = pair.power
        self.node = Node(pair.world, pair.ev_station, settings.tcp, self.name)
        self.node.send_named = lambda name, frame: pair.send_frame(pair.ev_station, name, frame)
        self.node.learns_macs = settings.learns_macs
        self.slac = SlacEv(self)
        self.steps = Steps(self)
        self.steps20 = Ev20(self)
        self.opening = Opening(self)
        self.chance = pair.world.chance(self.name)
        self.connection: Connection | None = None
        self.protocol = ""  # din, iso2, iso20-dc, iso20-ac
        self.schema = "sap"
        self.session_id = settings.session_id
        self.tuple_id = 1
        self.profile_power = 10000.0
        self.meter_info: Content = {}
        self.evse_max_a = 1e9
        self.evse_max_w = 1e9
        self.wants_stop = False
        self.stop_asked = 0  # responses since the charger asked to stop
        self.outcome = ""
        self.resuming = False
        self.evccid = settings.evccid or pair.ev_station.mac.hex()
        self.assembler = Assembler()
        self._process: Process | None = None

    @property
    def din(self) -> bool:
        """Whether DIN 70121 was negotiated."""
        return self.protocol == "din"

    def start(self) -> None:
        """Begin the scenario's life of this EV."""
        self._process = self.world.spawn(self._life(), self.name)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _life(self) -> Script[None]:
        s = self.settings
        yield seconds(s.plug_delay)
        for turn in range(s.sessions):
            if turn:
                yield seconds(s.between)
            yield from self._plugged_in()
        if not s.stay_plugged:
            self.pair.event("over")

    def _plugged_in(self) -> Script[None]:
        """From plug to unplug."""
        s = self.settings
        self.resuming = False
        self.pilot.ev("B")
        self.pair.event("plug")
        yield from self._basic() if s.basic else self._attempts()
        if s.stay_plugged:
            return
        yield seconds(s.unplug_after)
        self.pair.ev_modem.forget()
        self.pilot.ev("A")
        self.pair.event("unplug")

    def _basic(self) -> Script[None]:
        """Charging by duty alone (IEC 61851-1): C while the duty offers a current."""
        while not (self.pilot.drive == "pwm" and 8 <= self.pilot.duty <= 97):
            yield 100 * MS
        yield SECOND
        self.pilot.ev("C")
        yield seconds(self.settings.charge_time)
        self.pilot.ev("B")
        yield SECOND

    def _attempts(self) -> Script[None]:
        s = self.settings
        for attempt in range(s.retries + 1):
            if attempt:
                yield seconds(s.retry_wait)
            yield from self._attempt()
            if self.outcome == "paused":
                s.pause = False
                yield seconds(s.pause_for)
                yield from self.toggle(1)
                self.resuming = True
                yield from self._attempt()
            if self.outcome in ("done", "paused"):
                return

    def _attempt(self) -> Script[None]:
        self.outcome = ""
        try:
            if not self.resuming:
                if self.settings.wait_pwm:
                    yield from self._wait_for_pwm()
                yield seconds(self.settings.slac_delay)
                if not (yield from self.slac.match()):
                    raise Over("no-match")
            yield from self._link()
            yield from self._session()
        except Over as over:
            self.outcome = over.why
            self.pair.event(f"ev-over-{over.why}")
            yield from self._give_up(over)
        self.node.stop()
        self.connection = None
        self.pair.event("ev-end")

    def _wait_for_pwm(self) -> Script[None]:
        while self.pilot.drive != "pwm":
            yield 10 * MS

    def _link(self) -> Script[None]:
        """Wait until the modem says it has joined the charger's network."""
        s = self.settings
        until = self.world.now + seconds(s.link_timeout)
        self.station.mme.clear()
        while True:
            yield seconds(s.link_poll)
            self.pair.send_mme(self.station, mme.LOCAL_MODEM, mme.VS_LINK_STATUS, mme.OUI_QUALCOMM, 0)
            answer = yield self.station.mme.get(80 * MS)
            if answer is not None and answer.mmtype == mme.VS_LINK_STATUS | mme.CNF and answer.body[4:5] == b"\x01":
                break
            if self.world.now > until:
                raise Over("no-link")
        self.pair.event("link")
        if s.amp_map:
            self.pair.send_mme(self.station, self.pair.evse_station.mac, mme.AMP_MAP, mme.amp_map_req())
            yield 200 * MS

    def _session(self) -> Script[None]:
        s = self.settings
        yield from self.node.start()
        if s.no_sdp:
            yield from self._basic()
            self.outcome = "done"
            return
        yield seconds(s.sdp_delay)
        ip, port = yield from self.opening.discover()
        yield seconds(s.tcp_delay)
        if s.no_tcp:
            raise Over("no-tcp")
        yield from self.opening.connect(ip, port)
        exchanges = self.pair.settings.exchanges
        if exchanges:
            self.schema, self.protocol = "sap", s.protocols[0]
            yield from run_ev(self, exchanges)
            self.outcome = "done"
            self.release()
            yield from self._close(s.stop_with)
            return
        yield from self.opening.negotiate()
        self.stop_asked = 0
        self.wants_stop = False
        if self.protocol.startswith("iso20"):
            yield from self.steps20.run()
        else:
            yield from self.steps.run(s.plan or (DC_PLAN if s.energy == "dc" else AC_PLAN))
        self.outcome = "paused" if s.pause else "done"
        yield from self._close(s.stop_with)

    # -- talking -------------------------------------------------------------------------------------------------------

    def think(self, time: float) -> Script[None]:
        """The EV's own time between a response and its next request."""
        yield seconds(time * (1 + self.settings.jitter * (2 * self.chance.random() - 1)))

    def say(self, name: str, body: Content, schema: str = "") -> None:
        """Send a request and don't wait."""
        if self.connection is None:
            raise Over("closed", "no connection")
        self.pair.send_v2g(self.connection, schema or self.schema, name, body, self.settings.use_session_id or self.session_id)

    def ask(self, name: str, body: Content, timeout: float = 0.0, schema: str = "") -> Script[Content]:
        """Send a request and wait for its response; raises Over when there is none or it says FAILED."""
        s = self.settings
        self.say(name, body, schema)
        return (yield from self.answer(name, timeout or s.timeout, schema))

    def answer(self, name: str, timeout: float, schema: str = "") -> Script[Content]:
        """Wait for the response to `name`."""
        s, connection = self.settings, self.connection
        assert connection is not None
        until = self.world.now + seconds(timeout)
        expected = name[:-3] + "Res"
        while True:
            data = yield connection.inbox.get(until - self.world.now)
            if data is None:
                raise Over("timeout", name)
            if isinstance(data, Closed):
                raise Over("closed", data.how)
            for payload_type, payload in self.assembler.feed(data):
                content = self.pair.codec.decode(schema_for(payload_type, schema or self.schema), payload)
                if content is None:
                    raise Over("undecodable", name)
                got, body = name_and_body(content)
                if got != expected:
                    raise Over("failed", f"{got} instead of {expected}")
                self._learn(got, content, body)
                code = str(body.get("ResponseCode", ""))
                if code.upper().startswith("FAILED") and not s.ignores_failed and got != "supportedAppProtocolRes":
                    raise Over("failed", code)
                return body

    def _learn(self, name: str, content: Content, body: Content) -> None:
        header: Any = content.get("V2G_Message", {}).get("Header") or body.get("Header") or {}
        if name == "SessionSetupRes":
            self.session_id = header.get("SessionID", self.session_id)
        limits = body.get("DC_EVSEChargeParameter", body)
        self.evse_max_a = number(limits["EVSEMaximumCurrentLimit"]) if "EVSEMaximumCurrentLimit" in limits else self.evse_max_a
        self.evse_max_w = number(limits["EVSEMaximumPowerLimit"]) if "EVSEMaximumPowerLimit" in limits else self.evse_max_w
        if "MeterInfo" in body:
            self.meter_info = body["MeterInfo"]
        for key in ("DC_EVSEStatus", "AC_EVSEStatus", "EVSEStatus"):
            status = body.get(key)
            if isinstance(status, dict) and status.get("EVSEIsolationStatus") == "Fault":
                raise Over("failed", "isolation fault")
            if isinstance(status, dict) and (
                status.get("EVSENotification") in ("StopCharging", "Terminate") or status.get("EVSEStatusCode") in STOPPED
            ):
                self.stop_asked += 1

    # -- ends ------------------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Contactor open, pilot back to B."""
        self.power.contactor(False)
        if self.pilot.state in ("C", "D"):
            self.pilot.ev("B")

    def _give_up(self, over: Over) -> Script[None]:
        s = self.settings
        yield from self.think(s.b_delay)
        self.release()
        if self.connection is None:
            return
        how = "fin" if over.why == "closed" else s.fail_with
        if how == "session-stop" and self.schema not in ("sap",):
            try:
                if self.protocol.startswith("iso20"):
                    yield from self.steps20.stop()
                else:
                    yield from self.ask(*requests.session_stop(self))
            except Over:
                pass
            how = "fin"
        yield from self._close(how)

    def _close(self, how: str) -> Script[None]:
        if self.connection is None:
            return
        yield 15 * MS
        self.end(how)
        yield 300 * MS

    def end(self, how: str) -> None:
        """End the connection: fin, rst, silence (then nothing more is sent, and the script stops) or open (not at all)."""
        if self.connection is None:
            return
        if how in ("fin", "session-stop"):
            self.connection.close()
        elif how == "rst":
            self.connection.abort()
        elif how == "silence":
            self.connection.silence()
            if self._process is not None and self.outcome == "":
                self._process.kill()
                self._process = self.world.spawn(self._after_silence(), self.name)

    def _after_silence(self) -> Script[None]:
        s = self.settings
        yield seconds(max(1.5, s.unplug_after))
        self.release()
        if not s.stay_plugged:
            yield seconds(s.unplug_after + 65)
            self._unplug()

    def _unplug(self) -> None:
        """The plug comes out, and the scenario is over."""
        self.pilot.ev("A")
        self.pair.event("unplug")
        self.pair.event("over")

    def lose(self) -> None:
        """The plug is gone: the EV's stack is off."""
        if self._process is not None:
            self._process.kill()
        if self.connection is not None:
            self.connection.silence()
        self.node.stop()
        self.pair.ev_modem.forget()

    def ask_stop(self) -> None:
        """The driver wants to stop."""
        self.wants_stop = True

    def restart_slac(self) -> None:
        """Leave everything and start over with SLAC."""
        if self._process is not None:
            self._process.kill()
        if self.connection is not None:
            self.connection.silence()
        self.node.stop()
        self._process = self.world.spawn(self._again(), self.name)

    def _again(self) -> Script[None]:
        self.release()
        yield from self._attempts()
        if not self.settings.stay_plugged:
            yield seconds(self.settings.unplug_after)
            self._unplug()

    def toggle(self, times: int) -> Script[None]:
        """B-C-B on the pilot: wakes a charger, or proves which cable this is (ISO 15118-3)."""
        duration = self.settings.toggle_time
        for _ in range(times):
            self.pilot.ev("C")
            yield seconds(duration)
            self.pilot.ev("B")
            yield seconds(duration)

    def wanted_current(self) -> float:
        """What the battery takes now, and no more than the charger announces."""
        battery = self.power.battery
        volts = max(1.0, battery.open_voltage())
        wish = min(battery.max_a, battery.max_w / volts if battery.max_w else 1e9)
        if self.settings.respects_limits:
            wish = min(wish, self.evse_max_a, self.evse_max_w / max(volts, self.power.voltage))
        return wish

    def precharge_target(self) -> float:
        """The voltage the EV asks for in pre-charge."""
        return self.settings.precharge_target or self.power.battery.open_voltage()


