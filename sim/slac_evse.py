"""The charger's part of SLAC: answer, average what its modem heard of the sounds, hand out the key (ISO 15118-3 Annex A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim import mme
from plugtap.sim.kernel import MS, Script, Timer, seconds

if TYPE_CHECKING:
    from plugtap.sim.evse import Evse


class Run:
    """What the charger knows of one EV's round."""

    def __init__(self, run_id: bytes) -> None:
        self.run_id = run_id
        self.profiles: list[bytes] = []
        self.heard = 0
        self.wanted = 10
        self.sounding: Timer | None = None
        self.tries = 0
        self.acknowledged = False
        self.repeat: Timer | None = None


class SlacEvse:
    """Serves matching for one charger; several EVs may be heard at once."""

    def __init__(self, evse: Evse) -> None:
        self.evse = evse
        self.runs: dict[bytes, Run] = {}
        self.matched = False
        self.partner = b""  # MAC of the EV that was given the key
        self.nmk = b""
        self.nid = b""
        self._chance = evse.world.chance(f"{evse.name}/slac")

    def new_key(self) -> None:
        """A fresh network key for this plug-in; the own modem takes it."""
        s = self.evse.settings
        self.nmk = bytes.fromhex(s.nmk) if s.nmk else self._chance.randbytes(16)
        self.nid = bytes.fromhex(s.nid) if s.nid else mme.nid_of(self.nmk)
        self.runs.clear()
        self.matched = False
        self._send(mme.LOCAL_MODEM, mme.SET_KEY | mme.REQ, mme.set_key_req(self.nid, self.nmk))

    def _send(self, dst: bytes, mmtype: int, body: bytes) -> None:
        self.evse.pair.send_mme(self.evse.station, dst, mmtype, body)

    def serve(self) -> Script[None]:
        """Answer management messages for ever."""
        while True:
            message = yield self.evse.station.mme.get()
            if message is not None and self.evse.settings.slac:
                self._handle(message)

    def _handle(self, message: mme.Mme) -> None:
        s, body, ev = self.evse.settings, message.body, message.src
        if message.mmtype == mme.SLAC_PARM | mme.REQ:
            if self.matched and (self.evse.link_lost() or (ev == self.partner and self.evse.connection is None)):
                # Its own EV starts over: the match before came to nothing.
                self.matched = False
            if self.evse.armed() and not self.matched and len(body) >= 10:
                run = Run(body[2:10])
                self.runs[ev] = run
                delay = seconds(s.parm_delay * (0.6 + 0.8 * self._chance.random()))
                self.evse.world.later(
                    delay, lambda: self._send(ev, mme.SLAC_PARM | mme.CNF, mme.slac_parm_cnf(ev, run.run_id))
                )
        elif message.mmtype == mme.ATTEN_PROFILE | mme.IND:
            self._profile(body)
        elif ev in self.runs:
            run = self.runs[ev]
            if message.mmtype == mme.START_ATTEN_CHAR | mme.IND:
                if run.sounding is None:
                    run.wanted = body[2]
                    run.sounding = self.evse.world.later(600 * MS, lambda: self._result(ev, run))
            elif message.mmtype == mme.ATTEN_CHAR | mme.RSP:
                run.acknowledged = True
            elif message.mmtype == mme.VALIDATE | mme.REQ:
                self._validate(ev, body)
            elif message.mmtype == mme.SLAC_MATCH | mme.REQ and body[44:50] == self.evse.station.mac:
                self._match(ev, run)

    def _profile(self, body: bytes) -> None:
        run = self.runs.get(body[0:6])
        if run is None or run.sounding is None:
            return
        run.profiles.append(body[8 : 8 + body[6]])
        s = self.evse.settings
        if s.wait_all_sounds and len(run.profiles) >= run.wanted and run.sounding.call is not None:
            run.sounding.cancel()
            ev = body[0:6]
            self.evse.world.later(seconds(s.char_delay), lambda: self._result(ev, run))

    def _result(self, ev: bytes, run: Run) -> None:
        """Send (and repeat until acknowledged) the average over the sounds heard."""
        s = self.evse.settings
        if self.runs.get(ev) is not run or run.acknowledged or run.tries >= s.char_tries:
            return
        if not run.profiles and s.char_constant < 0:
            return
        run.tries += 1
        if s.char_constant >= 0:
            groups = bytes([s.char_constant]) * mme.GROUPS
        else:
            groups = bytes(round(sum(column) / len(column)) for column in zip(*run.profiles, strict=True))
        self._send(ev, mme.ATTEN_CHAR | mme.IND, mme.atten_char_ind(ev, run.run_id, len(run.profiles), groups))
        self.evse.world.later(seconds(s.char_timeout), lambda: self._result(ev, run))

    def _validate(self, ev: bytes, body: bytes) -> None:
        s = self.evse.settings
        if body[1] == 0:
            self._send(ev, mme.VALIDATE | mme.CNF, mme.validate_cnf(0, 1))
            self.evse.toggles = 0
            return
        wait = (body[1] + 1) * 100 * MS
        self.evse.world.later(
            wait,
            lambda: self._send(ev, mme.VALIDATE | mme.CNF, mme.validate_cnf(self.evse.toggles, s.answer_validate)),
        )

    def _match(self, ev: bytes, run: Run) -> None:
        delay = seconds(self.evse.settings.match_delay * (0.6 + 0.8 * self._chance.random()))
        body = mme.slac_match_cnf(ev, self.evse.station.mac, run.run_id, self.nid, self.nmk)
        self.evse.world.later(delay, lambda: self._send(ev, mme.SLAC_MATCH | mme.CNF, body))
        self.matched = True
        self.partner = ev
        self.evse.on_match()
