"""The EV's steps through a DIN 70121 or ISO 15118-2 session, one method a step. A plan is a list of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim import requests
from plugtap.sim.kernel import Script, seconds
from plugtap.sim.v2g import Content, number

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev


DC_PLAN = (
    "session_setup", "service_discovery", "payment", "authorization", "parameters", "cable_check", "precharge",
    "power_on", "charge", "power_off", "welding", "stop",
)  # fmt: skip
AC_PLAN = (
    "session_setup", "service_discovery", "payment", "authorization", "parameters", "power_on", "charge", "power_off", "stop",
)  # fmt: skip


class Over(Exception):
    """The session can't go on. `why`: failed, timeout, closed, undecodable, no-link, no-sdp, no-tcp, no-protocol, stalled."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(f"{why} {detail}")
        self.why = why
        self.detail = detail


class Steps:
    """Bound to an EV."""

    def __init__(self, ev: Ev) -> None:
        self.ev = ev
        self.loop_started = 0

    def run(self, plan: tuple[str, ...]) -> Script[None]:
        """The steps of the plan, one after the other."""
        s = self.ev.settings
        if self.ev.resuming and plan == DC_PLAN:
            plan = tuple(step for step in plan if step != "service_detail")
        for step in plan:
            if step == s.cp_c_at and s.energy == "dc":
                yield seconds(s.c_delay)
                self.ev.pilot.ev("C")
            self.ev.pair.event(f"step-{step}")
            yield from getattr(self, f"step_{step}")()

    def _ask(self, message: requests.Message, gap: float = -1.0, timeout: float = 0.0) -> Script[Content]:
        ev = self.ev
        yield from ev.think(ev.settings.gap if gap < 0 else gap)
        return (yield from ev.ask(*message, timeout))

    def _until_finished(self, build: str, limit: float) -> Script[Content]:
        """Repeat a request while the charger says Ongoing."""
        ev = self.ev
        begin = ev.world.now
        gap = -1.0
        while True:
            answer = yield from self._ask(getattr(requests, build)(ev), gap)
            if answer.get("EVSEProcessing", "Finished") == "Finished":
                return answer
            if ev.stop_asked > 3:
                raise Over("failed", "the charger shut down")
            if ev.world.now - begin > seconds(limit):
                raise Over("timeout", build)
            gap = ev.settings.poll

    def step_session_setup(self) -> Script[None]:
        yield from self._ask(requests.session_setup(self.ev))

    def step_service_discovery(self) -> Script[None]:
        yield from self._ask(requests.service_discovery(self.ev))

    def step_service_detail(self) -> Script[None]:
        yield from self._ask(requests.service_detail(self.ev))

    def step_payment(self) -> Script[None]:
        yield from self._ask(requests.payment(self.ev))

    def step_authorization(self) -> Script[None]:
        yield from self._until_finished("authorization", self.ev.settings.ongoing_timeout)

    def step_parameters(self) -> Script[None]:
        answer = yield from self._until_finished("parameters", self.ev.settings.ongoing_timeout)
        tuples = answer.get("SAScheduleList", {}).get("SAScheduleTuple", [])
        if tuples:
            self.ev.tuple_id = tuples[0]["SAScheduleTupleID"]
            entries = tuples[0]["PMaxSchedule"]["PMaxScheduleEntry"]
            power = entries[0]["PMax"] if entries else 0
            self.ev.profile_power = number(power) if isinstance(power, dict) else float(power)

    def step_cable_check(self) -> Script[None]:
        yield from self._until_finished("cable_check", self.ev.settings.cablecheck_timeout)

    def step_precharge(self) -> Script[None]:
        """Repeat PreChargeReq until the charger's voltage is near the battery's."""
        ev, s = self.ev, self.ev.settings
        begin = ev.world.now
        gap = -1.0
        while True:
            answer = yield from self._ask(requests.precharge(ev), gap)
            present = number(answer.get("EVSEPresentVoltage"))
            if abs(present - ev.power.battery.open_voltage()) <= s.precharge_tolerance:
                break
            if ev.stop_asked > 3:
                raise Over("failed", "the charger shut down")
            if ev.world.now - begin > seconds(s.precharge_timeout):
                raise Over("timeout", "pre-charge")
            gap = s.poll
        ev.power.contactor(True)

    def step_power_on(self) -> Script[None]:
        ev, s = self.ev, self.ev.settings
        yield from ev.think(s.gap)
        if s.energy == "ac" and s.cp_c_at != "never":
            ev.world.later(seconds(s.c_delay), lambda: ev.pilot.ev("C"))
        yield from ev.ask(*requests.power_delivery(ev, "Start"), ev.settings.powerdelivery_timeout)
        if s.energy == "ac":
            ev.power.contactor(True)

    def step_charge(self) -> Script[None]:
        """The charge loop, until time, state of charge, driver or charger end it."""
        ev, s = self.ev, self.ev.settings
        self.loop_started = ev.world.now
        renegotiate = seconds(s.renegotiate_at) if s.renegotiate_at else 0
        while True:
            elapsed = ev.world.now - self.loop_started
            if s.energy == "dc":
                ramp = min(1.0, elapsed / max(1, seconds(s.ramp)))
                amperes = ev.wanted_current() * ramp
                answer = yield from self._ask(requests.current_demand(ev, amperes), s.loop, s.loop_timeout)
            else:
                answer = yield from self._ask(requests.charging_status(ev), s.loop * 1.2)
            if answer.get("ReceiptRequired"):
                yield from self._ask(requests.metering_receipt(ev))
            if ev.wants_stop or elapsed >= seconds(s.charge_time) or ev.power.battery.soc >= s.target_soc:
                break
            if ev.stop_asked > s.obey_stop >= 0:
                break
            if renegotiate and elapsed >= renegotiate:
                renegotiate = 0
                yield from self._renegotiate()
        if s.energy == "dc":
            # The EV takes its current back before it says stop.
            for share in (0.5, 0.1, 0.0):
                yield from self._ask(requests.current_demand(ev, amperes * share), s.loop, s.loop_timeout)

    def _renegotiate(self) -> Script[None]:
        """PowerDelivery(Renegotiate) and the way back into the loop (ISO 15118-2)."""
        ev, s = self.ev, self.ev.settings
        yield from self._ask(requests.power_delivery(ev, "Renegotiate"), timeout=s.powerdelivery_timeout)
        yield from self.step_parameters()
        if s.energy == "dc" and s.renegotiation_cable_check:
            ev.power.contactor(False)
            yield from self.step_cable_check()
            yield from self.step_precharge()
        yield from self._ask(requests.power_delivery(ev, "Start"), timeout=s.powerdelivery_timeout)

    def step_power_off(self) -> Script[None]:
        ev, s = self.ev, self.ev.settings
        yield from self._ask(requests.power_delivery(ev, "Stop"), timeout=s.powerdelivery_timeout)
        ev.power.contactor(False)
        yield seconds(s.b_delay)
        ev.pilot.ev("B")

    def step_welding(self) -> Script[None]:
        """Watch the charger's voltage go away after opening the contactor."""
        ev, s = self.ev, self.ev.settings
        begin, polls = ev.world.now, 0
        while True:
            answer = yield from self._ask(requests.welding(ev), s.poll if polls else -1.0)
            polls += 1
            if polls >= s.welding_polls and number(answer.get("EVSEPresentVoltage")) < s.welding_below_v:
                return
            if ev.world.now - begin > seconds(s.welding_timeout):
                return

    def step_stop(self) -> Script[None]:
        yield from self._ask(requests.session_stop(self.ev))

    # -- steps that only deviating plans use --------------------------------------------------------------------------

    def step_go_c(self) -> Script[None]:
        """Pilot to C here."""
        self.ev.pilot.ev("C")
        yield 0

    def step_go_b(self) -> Script[None]:
        """Pilot to B here, contactor open."""
        self.ev.release()
        yield 0

    def step_close_contactor(self) -> Script[None]:
        """The contactor closes without more ado."""
        self.ev.power.contactor(True)
        yield 0

    def step_precharge_once(self) -> Script[None]:
        """One PreChargeReq, whatever comes back."""
        yield from self._ask(requests.precharge(self.ev))
        self.ev.power.contactor(True)

    def step_cable_check_once(self) -> Script[None]:
        """One CableCheckReq, whatever comes back."""
        yield from self._ask(requests.cable_check(self.ev))

    def step_authorization_once(self) -> Script[None]:
        """One authorization request, whatever comes back."""
        yield from self._ask(requests.authorization(self.ev))

    def step_status_once(self) -> Script[None]:
        """A ChargingStatusReq, wherever that is."""
        yield from self._ask(requests.charging_status(self.ev))

    def step_doze(self) -> Script[None]:
        """The EV takes its time: 45 s."""
        yield seconds(45)

    def step_demand_once(self) -> Script[None]:
        """One CurrentDemandReq of 0 A."""
        yield from self._ask(requests.current_demand(self.ev, 0.0))

    def step_renegotiate(self) -> Script[None]:
        """PowerDelivery(Renegotiate) out of place."""
        yield from self._ask(requests.power_delivery(self.ev, "Renegotiate"))

    def step_stall(self) -> Script[None]:
        """The EV falls asleep: it acknowledges on TCP and says no more for 70 s."""
        yield seconds(70)
        raise Over("stalled")

    def step_receipt(self) -> Script[None]:
        """A MeteringReceiptReq nobody asked for."""
        yield from self._ask(requests.metering_receipt(self.ev))
