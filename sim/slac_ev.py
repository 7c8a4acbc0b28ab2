"""The EV's part of SLAC: find the charger at the other end of this cable, take its key, join its network (ISO 15118-3 Annex A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim import mme, wire
from plugtap.sim.kernel import MS, SECOND, Script, seconds

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev


class SlacEv:
    """Runs matching for an EV. `match` gives True when the EV's modem has the charger's key."""

    def __init__(self, ev: Ev) -> None:
        self.ev = ev
        self.run_id = b""
        self._chance = ev.world.chance(f"{ev.name}/slac")

    def match(self) -> Script[bool]:
        """Up to `slac_runs` rounds."""
        s = self.ev.settings
        for number in range(s.slac_runs):
            if number:
                yield seconds(s.slac_wait)
            if (yield from self._round()):
                return True
        return False

    def _send(self, dst: bytes, mmtype: int, body: bytes) -> None:
        self.ev.pair.send_mme(self.ev.station, dst, mmtype, body)

    def _await(self, mmtype: int, timeout: int) -> Script[mme.Mme | None]:
        """The next message of a type within `timeout` ns; other messages are passed over."""
        until = self.ev.world.now + timeout
        while True:
            left = until - self.ev.world.now
            if left <= 0:
                return None
            message = yield self.ev.station.mme.get(left)
            if message is None:
                return None
            if message.mmtype == mmtype:
                return message  # type: ignore[no-any-return]

    def _round(self) -> Script[bool]:
        s = self.ev.settings
        self.ev.station.mme.clear()
        self.run_id = bytes.fromhex(s.run_id) if s.run_id else self._chance.randbytes(8)
        self.ev.pair.event("slac-round")
        if not (yield from self._parameters()):
            return False
        results = yield from self._sounding()
        if not results:
            return False
        yield seconds(s.match_delay)
        chosen = (max if s.choose_worst else min)(results, key=lambda mac: results[mac])
        key = yield from self._matching(chosen)
        if key is None:
            return False
        return (yield from self._set_key(*key))

    def _parameters(self) -> Script[bool]:
        s = self.ev.settings
        for _ in range(s.parm_tries):
            self._send(wire.BROADCAST, mme.SLAC_PARM | mme.REQ, mme.slac_parm_req(self.run_id))
            answer = yield from self._await(mme.SLAC_PARM | mme.CNF, seconds(s.parm_timeout))
            if answer is not None and answer.body[17:25] == self.run_id:
                return True
        return False

    def _sounding(self) -> Script[dict[bytes, float]]:
        """Sounds out; chargers' averages in: MAC -> mean attenuation."""
        s, mac = self.ev.settings, self.ev.station.mac
        yield seconds(s.start_delay * (0.9 + 0.2 * self._chance.random()))
        begin = self.ev.world.now
        for _ in range(s.starts):
            self._send(wire.BROADCAST, mme.START_ATTEN_CHAR | mme.IND, mme.start_atten_char(mac, self.run_id, s.sounds))
            if (yield from self._pause("CM_START_ATTEN_CHAR.IND")):
                return {}
        for number in range(s.sounds):
            noise = self._chance.randbytes(16)
            self._send(wire.BROADCAST, mme.MNBC_SOUND | mme.IND, mme.mnbc_sound(self.run_id, s.sounds - 1 - number, noise))
            if (yield from self._pause("CM_MNBC_SOUND.IND")):
                return {}
        results: dict[bytes, float] = {}
        while True:
            # The first result may take its time; others, if they come at all, come soon after it.
            left = begin + seconds(s.atten_wait) - self.ev.world.now if not results else 120 * MS
            answer = yield from self._await(mme.ATTEN_CHAR | mme.IND, left)
            if answer is None:
                return results
            groups = answer.body[52 : 52 + answer.body[51]] if len(answer.body) > 51 else b""
            if answer.body[8:16] != self.run_id or not groups:
                continue
            results[answer.src] = sum(groups) / len(groups)
            yield seconds(s.rsp_delay * (0.7 + 0.6 * self._chance.random()))
            self._send(answer.src, mme.ATTEN_CHAR | mme.RSP, mme.atten_char_rsp(mac, self.run_id))

    def _pause(self, name: str) -> Script[bool]:
        """Wait one batch interval; True: the scenario wants a restart here."""
        s = self.ev.settings
        yield seconds(s.batch_interval * (0.97 + 0.06 * self._chance.random()))
        if s.slac_restart_after == name:
            s.slac_restart_after = ""
            return True
        return False

    def _matching(self, evse: bytes) -> Script[tuple[bytes, bytes] | None]:
        """CM_VALIDATE if asked for, then CM_SLAC_MATCH: NID and NMK."""
        s, mac = self.ev.settings, self.ev.station.mac
        if s.validate and not (yield from self._validate(evse)):
            return None
        self.ev.station.promiscuous = s.take_foreign_match
        for _ in range(s.match_tries):
            self._send(evse, mme.SLAC_MATCH | mme.REQ, mme.slac_match_req(mac, evse, self.run_id))
            answer = yield from self._await(mme.SLAC_MATCH | mme.CNF, seconds(s.match_timeout))
            if answer is not None and (answer.body[50:58] == self.run_id or s.take_foreign_match):
                self.ev.station.promiscuous = False
                return answer.body[66:73], answer.body[74:90]
        self.ev.station.promiscuous = False
        return None

    def _validate(self, evse: bytes) -> Script[bool]:
        s = self.ev.settings
        self._send(evse, mme.VALIDATE | mme.REQ, mme.validate_req(0))
        answer = yield from self._await(mme.VALIDATE | mme.CNF, 200 * MS)
        if answer is None or answer.body[2] not in (1, 4):
            return answer is not None and answer.body[2] == 4
        self._send(evse, mme.VALIDATE | mme.REQ, mme.validate_req(max(0, round(s.toggles * 6 + 2) - 1)))
        yield from self.ev.toggle(s.toggles)
        answer = yield from self._await(mme.VALIDATE | mme.CNF, 3500 * MS)
        return answer is not None and answer.body[2] == 2

    def _set_key(self, nid: bytes, nmk: bytes) -> Script[bool]:
        """Give the key to the own modem and wait until it is back."""
        self.ev.pair.event("matched")
        if not self.ev.settings.set_key:
            return True
        yield 15 * MS
        self._send(mme.LOCAL_MODEM, mme.SET_KEY | mme.REQ, mme.set_key_req(nid, nmk))
        yield from self._await(mme.SET_KEY | mme.CNF, SECOND)
        return True
