"""The charger's ISO 15118-20 answers: DC, DC_BPT, AC and AC_BPT, scheduled and dynamic control, external identification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.electrical import CURRENT, ISOLATION, OFF, PRECHARGE
from plugtap.sim.kernel import MS, SECOND, Script, seconds
from plugtap.sim.tcp import Connection
from plugtap.sim.v2g import Content, number, rational

if TYPE_CHECKING:
    from plugtap.sim.evse_serve import Server

# What may follow a response (facts: EVerest d20, ISO 15118-20 8.8); SessionStop always may.
NEXT: dict[str, tuple[str, ...]] = {
    "SessionSetupReq": ("AuthorizationSetupReq",),
    "AuthorizationSetupReq": ("AuthorizationReq",),
    "AuthorizationReq": ("ServiceDiscoveryReq",),
    "ServiceDiscoveryReq": ("ServiceDetailReq",),
    "ServiceDetailReq": ("ServiceDetailReq", "ServiceSelectionReq"),
    "ServiceSelectionReq": ("DC_ChargeParameterDiscoveryReq", "AC_ChargeParameterDiscoveryReq"),
    "DC_ChargeParameterDiscoveryReq": ("ScheduleExchangeReq",),
    "AC_ChargeParameterDiscoveryReq": ("ScheduleExchangeReq",),
    "ScheduleExchangeReq": ("DC_CableCheckReq", "PowerDeliveryReq"),
    "DC_CableCheckReq": ("DC_PreChargeReq",),
    "DC_PreChargeReq": ("DC_PreChargeReq",),
    "DC_PreChargeReq:finished": ("PowerDeliveryReq",),
    "PowerDeliveryReq:start": ("DC_ChargeLoopReq", "AC_ChargeLoopReq"),
    "DC_ChargeLoopReq": ("DC_ChargeLoopReq", "PowerDeliveryReq"),
    "AC_ChargeLoopReq": ("AC_ChargeLoopReq", "PowerDeliveryReq"),
    "PowerDeliveryReq:stop": ("DC_WeldingDetectionReq",),
    "DC_WeldingDetectionReq": ("DC_WeldingDetectionReq",),
    "SessionStopReq": (),
}


class Serve20:
    """Bound to a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.dynamic = True
        self.bpt = False

    def one(self, connection: Connection, name: str, body: Content) -> Script[None]:
        """Answer one request."""
        server = self.server
        evse = server.evse
        session_id = str(body.get("Header", {}).get("SessionID", ""))
        code = self._code(name, session_id)
        build = getattr(self, f"_on_{name}", None)
        if build is None:
            server.last = "failed"
            return
        answer: Content = yield from build(code, body)
        code = str(answer["ResponseCode"])
        step = name
        if name == "PowerDeliveryReq":
            step = f"{name}:{str(body.get('ChargeProgress')).lower()}"
        elif name == "DC_PreChargeReq" and body.get("EVProcessing") == "Finished":
            step = f"{name}:finished"
        if code.startswith("FAILED"):
            server.last = "failed"
        else:
            server.last = step
            server.expected = (name,) if answer.get("EVSEProcessing", "Finished") != "Finished" else NEXT.get(step, ())
        head: Content = {"Header": {"TimeStamp": evse.world.now // SECOND}}
        schema = "iso20dc" if name.startswith("DC_") else "iso20ac" if name.startswith("AC_") else "iso20cm"
        evse.pair.send_v2g(connection, schema, name[:-3] + "Res", {**head, **answer}, server.session_id)

    def _code(self, name: str, session_id: str) -> str:
        server = self.server
        if not server.evse.settings.strict:
            return "OK"
        if name not in server.expected and name != "SessionStopReq":
            return "FAILED_SequenceError"
        if name != "SessionSetupReq" and session_id != server.session_id:
            return "FAILED_UnknownSession"
        return "OK"

    def _status(self) -> Content:
        """EVSEStatus, only when there is something to say."""
        evse = self.server.evse
        if not evse.notification:
            return {}
        notice = "Terminate" if evse.notification == "StopCharging" else evse.notification
        return {"EVSEStatus": {"NotificationMaxDelay": evse.settings.notification_delay, "EVSENotification": notice}}

    def _on_SessionSetupReq(self, code: str, body: Content) -> Script[Content]:
        if code == "OK":
            code = self.server.setup_session(str(body["Header"]["SessionID"]))
        yield 0
        return {"ResponseCode": code, "EVSEID": self.server.evse.settings.evseid}

    def _on_AuthorizationSetupReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        return {
            "ResponseCode": code, "AuthorizationServices": ["EIM"], "CertificateInstallationService": False,
            "EIM_ASResAuthorizationMode": {},
        }  # fmt: skip

    def _on_AuthorizationReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        waiting = code == "OK" and self.server.ongoing("authorization", self.server.evse.settings.auth_time)
        return {"ResponseCode": code, "EVSEProcessing": "Ongoing" if waiting else "Finished"}

    def _on_ServiceDiscoveryReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        services = (2, 6) if self.server.evse.settings.energy == "dc" else (1, 5)
        entries = [{"ServiceID": number, "FreeService": False} for number in services]
        return {"ResponseCode": code, "ServiceRenegotiationSupported": False, "EnergyTransferServiceList": {"Service": entries}}

    def _on_ServiceDetailReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        sets = []
        for number_, mode in ((1, 2), (2, 1)):
            parameters = [
                {"@Name": "Connector", "intValue": 2}, {"@Name": "ControlMode", "intValue": mode},
                {"@Name": "MobilityNeedsMode", "intValue": 1}, {"@Name": "Pricing", "intValue": 0},
            ]  # fmt: skip
            sets.append({"ParameterSetID": number_, "Parameter": parameters})
        return {"ResponseCode": code, "ServiceID": body.get("ServiceID", 2), "ServiceParameterList": {"ParameterSet": sets}}

    def _on_ServiceSelectionReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        chosen = body.get("SelectedEnergyTransferService", {})
        self.bpt = chosen.get("ServiceID") in (5, 6)
        self.dynamic = chosen.get("ParameterSetID") == 1
        return {"ResponseCode": code}

    def _dc_limits(self) -> Content:
        supply = self.server.evse.power.supply
        return {
            "EVSEMaximumChargePower": rational(supply.max_w, 2), "EVSEMinimumChargePower": rational(0, 0),
            "EVSEMaximumChargeCurrent": rational(supply.max_a, -1),
        }  # fmt: skip

    def _on_DC_ChargeParameterDiscoveryReq(self, code: str, body: Content) -> Script[Content]:
        supply = self.server.evse.power.supply
        mode: Content = {
            **self._dc_limits(), "EVSEMinimumChargeCurrent": rational(supply.min_a, -1),
            "EVSEMaximumVoltage": rational(supply.max_v, -1), "EVSEMinimumVoltage": rational(supply.min_v, -1),
        }  # fmt: skip
        if self.bpt:
            mode |= {
                "EVSEMaximumDischargePower": rational(20000, 1), "EVSEMinimumDischargePower": rational(0, 0),
                "EVSEMaximumDischargeCurrent": rational(50, 0), "EVSEMinimumDischargeCurrent": rational(0, 0),
            }  # fmt: skip
        for name in ("DC_CPDReqEnergyTransferMode", "BPT_DC_CPDReqEnergyTransferMode"):
            if name in body:
                self.server.ev_max_v = number(body[name].get("EVMaximumVoltage"))
        yield 0
        return {"ResponseCode": code, ("BPT_" if self.bpt else "") + "DC_CPDResEnergyTransferMode": mode}

    def _on_AC_ChargeParameterDiscoveryReq(self, code: str, body: Content) -> Script[Content]:
        watts = self.server.evse.settings.ac_max_a * 230 * 3
        mode: Content = {
            "EVSEMaximumChargePower": rational(watts, 1), "EVSEMinimumChargePower": rational(0, 0), "EVSENominalFrequency": rational(50, 0),
        }  # fmt: skip
        if self.bpt:
            mode |= {"EVSEMaximumDischargePower": rational(watts, 1), "EVSEMinimumDischargePower": rational(0, 0)}
        yield 0
        return {"ResponseCode": code, ("BPT_" if self.bpt else "") + "AC_CPDResEnergyTransferMode": mode}

    def _on_ScheduleExchangeReq(self, code: str, body: Content) -> Script[Content]:
        evse = self.server.evse
        waiting = code == "OK" and self.server.ongoing("parameters", evse.settings.parameters_time)
        yield 0
        content: Content = {"ResponseCode": code, "EVSEProcessing": "Ongoing" if waiting else "Finished"}
        if self.dynamic:
            return content | {"Dynamic_SEResControlMode": {}}
        entries = {"PowerScheduleEntry": [{"Duration": 86400, "Power": rational(evse.power.supply.max_w, 2)}]}
        schedule = {"PowerSchedule": {"TimeAnchor": evse.world.now // SECOND, "PowerScheduleEntries": entries}}
        return content | {"Scheduled_SEResControlMode": {"ScheduleTuple": [{"ScheduleTupleID": 1, "ChargingSchedule": schedule}]}}

    def _on_DC_CableCheckReq(self, code: str, body: Content) -> Script[Content]:
        server, evse = self.server, self.server.evse
        s = evse.settings
        begun = "cable-check" not in server.began
        waiting = code == "OK" and server.ongoing("cable-check", s.cable_check_time)
        if begun:
            evse.power.set(ISOLATION, s.cable_check_v or min(500.0, server.ev_max_v + 50, evse.power.supply.max_v))
        elif evse.world.now - server.began["cable-check"] > seconds(s.cable_check_time * 0.7) and evse.power.mode == ISOLATION:
            evse.power.set(OFF)
        yield 0
        return {"ResponseCode": code, "EVSEProcessing": "Ongoing" if waiting else "Finished"}

    def _on_DC_PreChargeReq(self, code: str, body: Content) -> Script[Content]:
        power = self.server.evse.power
        if code == "OK":
            power.set(PRECHARGE, number(body.get("EVTargetVoltage")), 1.0)
        yield 0
        return {"ResponseCode": code, "EVSEPresentVoltage": rational(power.read_voltage(), -1)}

    def _on_PowerDeliveryReq(self, code: str, body: Content) -> Script[Content]:
        server, evse = self.server, self.server.evse
        s = evse.settings
        if s.energy == "ac" and body.get("ChargeProgress") == "Start":
            for _ in range(150):
                if evse.pilot.state in ("C", "D"):
                    break
                yield 20 * MS
            yield seconds(s.contactor_time)
        else:
            yield seconds(s.powerdelivery_time)
        if body.get("ChargeProgress") == "Stop":
            evse.power.set(OFF)
        elif server.loop_began < 0:
            server.loop_began = evse.world.now
        return {"ResponseCode": code, **self._status()}

    def _loop(self) -> None:
        server = self.server
        s = server.evse.settings
        elapsed = server.evse.world.now - server.loop_began
        if s.stop_at and elapsed >= seconds(s.stop_at) and not server.evse.notification:
            server.evse.begin_stop()

    def _on_DC_ChargeLoopReq(self, code: str, body: Content) -> Script[Content]:
        server, evse = self.server, self.server.evse
        power, supply, s = evse.power, evse.power.supply, evse.settings
        self._loop()
        prefix = "BPT_" if self.bpt else ""
        mode = body.get(f"{prefix}{'Dynamic' if self.dynamic else 'Scheduled'}_DC_CLReqControlMode", {})
        volts = number(mode.get("EVTargetVoltage", mode.get("EVMaximumVoltage")))
        amperes = number(mode.get("EVTargetCurrent", mode.get("EVMaximumChargeCurrent")))
        if self.dynamic:
            amperes = min(amperes, s.dynamic_w / max(1.0, power.voltage))
            elapsed = evse.world.now - server.loop_began
            if self.bpt and amperes > 1 and elapsed > seconds(s.discharge_after):
                amperes = -min(40.0, number(mode.get("EVMaximumDischargeCurrent")))
        if code == "OK" and not supply.dead:
            power.set(CURRENT, volts, amperes)
        reached = power.limits_reached()
        answer: Content = {
            "ResponseCode": code, **self._status(), "EVSEPresentCurrent": rational(power.read_current(), -1),
            "EVSEPresentVoltage": rational(power.read_voltage(), -1), "EVSEPowerLimitAchieved": reached[2],
            "EVSECurrentLimitAchieved": reached[0], "EVSEVoltageLimitAchieved": reached[1],
        }  # fmt: skip
        limits: Content = {**self._dc_limits(), "EVSEMaximumVoltage": rational(supply.max_v, -1)}
        if self.bpt:
            limits |= {
                "EVSEMaximumDischargePower": rational(20000, 1), "EVSEMinimumDischargePower": rational(0, 0),
                "EVSEMaximumDischargeCurrent": rational(50, 0), "EVSEMinimumVoltage": rational(supply.min_v, -1),
            }  # fmt: skip
        yield 0
        return answer | {f"{prefix}{'Dynamic' if self.dynamic else 'Scheduled'}_DC_CLResControlMode": limits}

    def _on_AC_ChargeLoopReq(self, code: str, body: Content) -> Script[Content]:
        power = self.server.evse.power
        self._loop()
        if power.mode != CURRENT:
            power.set(CURRENT, 500, 16)
        answer: Content = {"ResponseCode": code, **self._status()}
        prefix = "BPT_" if self.bpt else ""
        target = {"EVSETargetActivePower": rational(7000, 0)} if self.dynamic else {}
        yield 0
        return answer | {f"{prefix}{'Dynamic' if self.dynamic else 'Scheduled'}_AC_CLResControlMode": target}

    def _on_DC_WeldingDetectionReq(self, code: str, body: Content) -> Script[Content]:
        yield 0
        return {"ResponseCode": code, "EVSEPresentVoltage": rational(self.server.evse.power.read_voltage(), -1)}

    def _on_SessionStopReq(self, code: str, body: Content) -> Script[Content]:
        server, evse = self.server, self.server.evse
        evse.power.set(OFF)
        paused = body.get("ChargingSession") == "Pause"
        evse.old_session_id = bytes.fromhex(server.session_id) if paused else b""
        yield seconds(evse.settings.stop_time)
        return {"ResponseCode": code}
