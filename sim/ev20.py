"""The EV's ISO 15118-20 session: DC, DC_BPT, AC and AC_BPT, scheduled or dynamic control, external identification.

In plain TCP: the bench has no TLS, and every -20 capture it makes is marked so by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.kernel import SECOND, Script, seconds
from plugtap.sim.v2g import Content, number, rational

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev

SERVICES = {"ac": 1, "dc": 2, "ac-bpt": 5, "dc-bpt": 6}  # ISO 15118-20 table 204
CONTROL = {"scheduled": 1, "dynamic": 2}
PLAN_DC = (
    "session_setup", "authorization_setup", "authorization", "service_discovery", "service_detail", "service_selection",
    "parameters", "schedule", "cable_check", "precharge", "power_on", "charge", "power_off", "welding", "stop",
)  # fmt: skip
PLAN_AC = (
    "session_setup", "authorization_setup", "authorization", "service_discovery", "service_detail", "service_selection",
    "parameters", "schedule", "power_on", "charge", "power_off", "stop",
)  # fmt: skip


class Ev20:
    """Bound to an EV."""

    def __init__(self, ev: Ev) -> None:
        self.ev = ev
        self.parameter_set = 1

    @property
    def dc(self) -> bool:
        """Whether energy goes as direct current."""
        return self.ev.settings.energy.startswith("dc")

    @property
    def bpt(self) -> bool:
        """Whether energy may go both ways."""
        return self.ev.settings.energy.endswith("bpt")

    @property
    def _own(self) -> str:
        return "iso20dc" if self.dc else "iso20ac"

    def run(self) -> Script[None]:
        """The whole session."""
        s = self.ev.settings
        for step in s.plan or (PLAN_DC if self.dc else PLAN_AC):
            if step == s.cp_c_at and self.dc:
                yield seconds(s.c_delay)
                self.ev.pilot.ev("C")
            self.ev.pair.event(f"step-{step}")
            yield from getattr(self, f"step_{step}")()

    def stop(self) -> Script[None]:
        """SessionStop after a failure."""
        yield from self.ev.ask("SessionStopReq", {**self._header(), "ChargingSession": "Terminate"}, schema="iso20cm")

    def _header(self) -> Content:
        return {"Header": {"TimeStamp": self.ev.world.now // SECOND}}

    def _ask(self, name: str, body: Content, schema: str = "iso20cm", gap: float = -1.0, timeout: float = 0.0) -> Script[Content]:
        ev = self.ev
        yield from ev.think(ev.settings.gap if gap < 0 else gap)
        return (yield from ev.ask(name, {**self._header(), **body}, timeout, schema))

    def _until_finished(self, name: str, body: Content, schema: str, limit: float) -> Script[Content]:
        from plugtap.sim.ev_steps import Over

        ev = self.ev
        begin = ev.world.now
        gap = -1.0
        while True:
            answer = yield from self._ask(name, body, schema, gap)
            if answer.get("EVSEProcessing", "Finished") == "Finished":
                return answer
            if ev.world.now - begin > seconds(limit):
                raise Over("timeout", name)
            gap = ev.settings.poll

    def step_session_setup(self) -> Script[None]:
        yield from self._ask("SessionSetupReq", {"EVCCID": self.ev.settings.evccid or "WMIBENCH" + self.ev.station.mac.hex().upper()})

    def step_authorization_setup(self) -> Script[None]:
        yield from self._ask("AuthorizationSetupReq", {})

    def step_authorization(self) -> Script[None]:
        body: Content = {"SelectedAuthorizationService": "EIM", "EIM_AReqAuthorizationMode": {}}
        yield from self._until_finished("AuthorizationReq", body, "iso20cm", self.ev.settings.ongoing_timeout)

    def step_service_discovery(self) -> Script[None]:
        yield from self._ask("ServiceDiscoveryReq", {})

    def step_service_detail(self) -> Script[None]:
        answer = yield from self._ask("ServiceDetailReq", {"ServiceID": SERVICES[self.ev.settings.energy]}, timeout=5.0)
        wanted = CONTROL[self.ev.settings.control_mode]
        for group in answer.get("ServiceParameterList", {}).get("ParameterSet", []):
            if any(p["@Name"] == "ControlMode" and p.get("intValue") == wanted for p in group["Parameter"]):
                self.parameter_set = group["ParameterSetID"]

    def step_service_selection(self) -> Script[None]:
        chosen = {"ServiceID": SERVICES[self.ev.settings.energy], "ParameterSetID": self.parameter_set}
        yield from self._ask("ServiceSelectionReq", {"SelectedEnergyTransferService": chosen})

    def step_parameters(self) -> Script[None]:
        battery = self.ev.power.battery
        if self.dc:
            mode: Content = {
                "EVMaximumChargePower": rational(battery.max_w, 2), "EVMinimumChargePower": rational(100, 0),
                "EVMaximumChargeCurrent": rational(battery.max_a, -1), "EVMinimumChargeCurrent": rational(1, 0),
                "EVMaximumVoltage": rational(battery.max_v, -1), "EVMinimumVoltage": rational(battery.empty_v - 20, -1),
            }  # fmt: skip
            if self.bpt:
                mode |= {
                    "EVMaximumDischargePower": rational(20000, 1), "EVMinimumDischargePower": rational(100, 0),
                    "EVMaximumDischargeCurrent": rational(50, 0), "EVMinimumDischargeCurrent": rational(1, 0),
                }  # fmt: skip
            name = "BPT_DC_CPDReqEnergyTransferMode" if self.bpt else "DC_CPDReqEnergyTransferMode"
            yield from self._ask("DC_ChargeParameterDiscoveryReq", {name: mode}, "iso20dc")
            return
        mode = {"EVMaximumChargePower": rational(11000, 0), "EVMinimumChargePower": rational(1380, 0)}
        if self.bpt:
            mode |= {"EVMaximumDischargePower": rational(11000, 0), "EVMinimumDischargePower": rational(0, 0)}
        name = "BPT_AC_CPDReqEnergyTransferMode" if self.bpt else "AC_CPDReqEnergyTransferMode"
        yield from self._ask("AC_ChargeParameterDiscoveryReq", {name: mode}, "iso20ac")

    def _energy(self) -> Content:
        battery, s = self.ev.power.battery, self.ev.settings
        missing = battery.capacity_wh * max(0.0, s.full_soc - battery.soc) / 100
        return {
            "EVTargetEnergyRequest": rational(missing * 0.8, 1), "EVMaximumEnergyRequest": rational(missing, 1),
            "EVMinimumEnergyRequest": rational(0, 0),
        }  # fmt: skip

    def step_schedule(self) -> Script[None]:
        if self.ev.settings.control_mode == "dynamic":
            mode: Content = {"Dynamic_SEReqControlMode": {"DepartureTime": 7200, "MinimumSOC": 30, "TargetSOC": 80, **self._energy()}}
        else:
            mode = {"Scheduled_SEReqControlMode": {"DepartureTime": 7200, **self._energy()}}
        body: Content = {"MaximumSupportingPoints": 1024, **mode}
        yield from self._until_finished("ScheduleExchangeReq", body, "iso20cm", self.ev.settings.ongoing_timeout)

    def step_cable_check(self) -> Script[None]:
        yield from self._until_finished("DC_CableCheckReq", {}, "iso20dc", self.ev.settings.cablecheck_timeout)

    def step_precharge(self) -> Script[None]:
        from plugtap.sim.ev_steps import Over

        ev, s = self.ev, self.ev.settings
        begin, gap, processing = ev.world.now, -1.0, "Ongoing"
        while True:
            battery_v = ev.power.battery.open_voltage()
            body: Content = {
                "EVProcessing": processing, "EVPresentVoltage": rational(battery_v, -1), "EVTargetVoltage": rational(ev.precharge_target(), -1),
            }  # fmt: skip
            answer = yield from self._ask("DC_PreChargeReq", body, "iso20dc", gap)
            if processing == "Finished":
                break
            present = number(answer.get("EVSEPresentVoltage"))
            if abs(present - battery_v) <= s.precharge_tolerance:
                processing = "Finished"
            elif ev.world.now - begin > seconds(s.precharge_timeout):
                raise Over("timeout", "pre-charge")
            gap = s.poll
        ev.power.contactor(True)

    def step_power_on(self) -> Script[None]:
        ev, s = self.ev, self.ev.settings
        entries = {"EVPowerProfileEntry": [{"Duration": 7200, "Power": rational(11000, 0)}]}
        mode: Content = (
            {"Dynamic_EVPPTControlMode": {}}
            if s.control_mode == "dynamic"
            else {"Scheduled_EVPPTControlMode": {"SelectedScheduleTupleID": 1}}
        )
        profile: Content = {"TimeAnchor": ev.world.now // SECOND, **mode, "EVPowerProfileEntries": entries}
        body: Content = {"EVProcessing": "Finished", "ChargeProgress": "Start", "EVPowerProfile": profile}
        if self.bpt:
            body["BPT_ChannelSelection"] = "Charge"
        yield from ev.think(s.gap)
        if not self.dc:
            ev.world.later(seconds(s.c_delay), lambda: ev.pilot.ev("C"))
        yield from ev.ask("PowerDeliveryReq", {**self._header(), **body}, s.powerdelivery_timeout, "iso20cm")
        if not self.dc:
            ev.power.contactor(True)

    def _loop_request(self, share: float) -> tuple[str, Content]:
        ev, s = self.ev, self.ev.settings
        battery = ev.power.battery
        dynamic = s.control_mode == "dynamic"
        amperes = ev.wanted_current() * share
        display = {"PresentSOC": int(battery.soc), "ChargingComplete": False}
        if self.dc:
            if dynamic:
                mode: Content = {
                    **self._energy(), "EVMaximumChargePower": rational(battery.max_w * share, 2), "EVMinimumChargePower": rational(0, 0),
                    "EVMaximumChargeCurrent": rational(amperes, -1), "EVMaximumVoltage": rational(battery.max_v, -1),
                    "EVMinimumVoltage": rational(battery.empty_v - 20, -1),
                }  # fmt: skip
                if self.bpt:
                    mode |= {
                        "EVMaximumDischargePower": rational(20000, 1), "EVMinimumDischargePower": rational(0, 0),
                        "EVMaximumDischargeCurrent": rational(50, 0),
                    }  # fmt: skip
            else:
                mode = {"EVTargetCurrent": rational(amperes, -1), "EVTargetVoltage": rational(battery.full_v + 4, -1)}
            name = f"{'BPT_' if self.bpt else ''}{'Dynamic' if dynamic else 'Scheduled'}_DC_CLReqControlMode"
            present = rational(ev.power.voltage, -1)
            return "DC_ChargeLoopReq", {"DisplayParameters": display, "MeterInfoRequested": False, "EVPresentVoltage": present, name: mode}
        active = rational(ev.power.voltage * ev.power.current, 0)
        if dynamic:
            mode = {
                **self._energy(), "EVMaximumChargePower": rational(11000, 0), "EVMinimumChargePower": rational(0, 0),
                "EVPresentActivePower": active, "EVPresentReactivePower": rational(0, 0),
            }  # fmt: skip
            if self.bpt:
                mode |= {"EVMaximumDischargePower": rational(11000, 0), "EVMinimumDischargePower": rational(0, 0)}
        else:
            mode = {"EVPresentActivePower": active}
        name = f"{'BPT_' if self.bpt else ''}{'Dynamic' if dynamic else 'Scheduled'}_AC_CLReqControlMode"
        return "AC_ChargeLoopReq", {"DisplayParameters": display, "MeterInfoRequested": False, name: mode}

    def step_charge(self) -> Script[None]:
        ev, s = self.ev, self.ev.settings
        begin = ev.world.now
        while True:
            elapsed = ev.world.now - begin
            name, body = self._loop_request(min(1.0, elapsed / max(1, seconds(s.ramp))))
            yield from self._ask(name, body, self._own, s.loop, s.loop_timeout)
            if ev.wants_stop or elapsed >= seconds(s.charge_time) or ev.power.battery.soc >= s.target_soc:
                break
            if ev.stop_asked > s.obey_stop >= 0:
                break
        for share in (0.5, 0.1, 0.0):
            name, body = self._loop_request(share)
            yield from self._ask(name, body, self._own, s.loop, s.loop_timeout)

    def step_power_off(self) -> Script[None]:
        ev, s = self.ev, self.ev.settings
        body: Content = {"EVProcessing": "Finished", "ChargeProgress": "Stop"}
        yield from self._ask("PowerDeliveryReq", body, timeout=s.powerdelivery_timeout)
        ev.power.contactor(False)
        yield seconds(s.b_delay)
        ev.pilot.ev("B")

    def step_welding(self) -> Script[None]:
        s = self.ev.settings
        begin, polls, processing = self.ev.world.now, 0, "Ongoing"
        while True:
            answer = yield from self._ask("DC_WeldingDetectionReq", {"EVProcessing": processing}, "iso20dc", s.poll if polls else -1.0)
            polls += 1
            if processing == "Finished":
                return
            gone = polls >= s.welding_polls and number(answer.get("EVSEPresentVoltage")) < s.welding_below_v
            if gone or self.ev.world.now - begin > seconds(s.welding_timeout):
                processing = "Finished"

    def step_stop(self) -> Script[None]:
        ending = "Pause" if self.ev.settings.pause else "Terminate"
        yield from self._ask("SessionStopReq", {"ChargingSession": ending})

    def step_precharge_once(self) -> Script[None]:
        """One DC_PreChargeReq that says Ongoing, whatever comes back."""
        volts = rational(self.ev.power.battery.open_voltage(), -1)
        body: Content = {"EVProcessing": "Ongoing", "EVPresentVoltage": volts, "EVTargetVoltage": volts}
        yield from self._ask("DC_PreChargeReq", body, "iso20dc")
        self.ev.power.contactor(True)

    def step_welding_once(self) -> Script[None]:
        """One DC_WeldingDetectionReq that says Ongoing."""
        yield from self._ask("DC_WeldingDetectionReq", {"EVProcessing": "Ongoing"}, "iso20dc")
