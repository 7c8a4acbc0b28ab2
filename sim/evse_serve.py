"""The charger's V2G server: reads requests, checks order and session, answers. DIN 70121 and ISO 15118-2; -20 is in evse20.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim import responses
from plugtap.sim.electrical import CURRENT, ISOLATION, OFF, PRECHARGE
from plugtap.sim.evse20 import Serve20
from plugtap.sim.kernel import MS, Mailbox, Script, seconds
from plugtap.sim.scripted import Answers
from plugtap.sim.settings import NAMESPACES
from plugtap.sim.tcp import Closed, Connection
from plugtap.sim.v2g import Assembler, Content, name_and_body, number, schema_for

if TYPE_CHECKING:
    from plugtap.sim.evse import Evse

# After the response to the key, these requests are in order (facts: DIN 70121 9.x, ISO 15118-2 8.8.4; SessionStop is always accepted
# except in the charge loop). "din"/"iso2" names where they differ.
NEXT: dict[str, dict[str, tuple[str, ...]]] = {
    "din": {
        "supportedAppProtocolReq": ("SessionSetupReq",),
        "SessionSetupReq": ("ServiceDiscoveryReq",),
        "ServiceDiscoveryReq": ("ServicePaymentSelectionReq",),
        "ServicePaymentSelectionReq": ("ContractAuthenticationReq",),
        "ContractAuthenticationReq": ("ChargeParameterDiscoveryReq",),
        "ChargeParameterDiscoveryReq": ("CableCheckReq",),
        "CableCheckReq": ("PreChargeReq",),
        "PreChargeReq": ("PreChargeReq", "PowerDeliveryReq"),
        "PowerDeliveryReq:start": ("CurrentDemandReq",),
        "CurrentDemandReq": ("CurrentDemandReq", "PowerDeliveryReq"),
        "PowerDeliveryReq:stop": ("WeldingDetectionReq",),
        "WeldingDetectionReq": ("WeldingDetectionReq",),
        "SessionStopReq": (),
    },
    "iso2": {
        "supportedAppProtocolReq": ("SessionSetupReq",),
        "SessionSetupReq": ("ServiceDiscoveryReq",),
        "ServiceDiscoveryReq": ("ServiceDetailReq", "PaymentServiceSelectionReq"),
        "ServiceDetailReq": ("ServiceDetailReq", "PaymentServiceSelectionReq"),
        "PaymentServiceSelectionReq": ("AuthorizationReq",),
        "AuthorizationReq": ("ChargeParameterDiscoveryReq",),
        "ChargeParameterDiscoveryReq": ("CableCheckReq", "PowerDeliveryReq"),
        "CableCheckReq": ("PreChargeReq",),
        "PreChargeReq": ("PreChargeReq", "PowerDeliveryReq"),
        "PowerDeliveryReq:start": ("CurrentDemandReq", "ChargingStatusReq"),
        "CurrentDemandReq": ("CurrentDemandReq", "PowerDeliveryReq", "MeteringReceiptReq"),
        "ChargingStatusReq": ("ChargingStatusReq", "PowerDeliveryReq", "MeteringReceiptReq"),
        "MeteringReceiptReq": ("CurrentDemandReq", "ChargingStatusReq", "PowerDeliveryReq"),
        "PowerDeliveryReq:renegotiate": ("ChargeParameterDiscoveryReq",),
        "PowerDeliveryReq:stop": ("WeldingDetectionReq",),
        "WeldingDetectionReq": ("WeldingDetectionReq",),
        "SessionStopReq": (),
    },
}
LOOP = ("CurrentDemandReq", "ChargingStatusReq")


class Server:
    """One connection at a time."""

    def __init__(self, evse: Evse) -> None:
        self.evse = evse
        self.protocol = ""
        self.schema = "sap"
        self.session_id = ""
        self.expected: tuple[str, ...] = ()
        self.hang = False
        self.began: dict[str, int] = {}  # when an ongoing process was first asked for
        self.loop_began = -1
        self.heard = 0  # when the EV was last heard
        self.last = ""
        self.serve20 = Serve20(self)
        self.answers: Answers | None = None

    def accept(self, backlog: Mailbox[Connection]) -> Script[None]:
        """Serve connections, one after the other."""
        while True:
            connection = yield backlog.get()
            if not (yield connection.opened.get()):
                continue
            self.evse.connection = connection
            self.hang = False
            yield from self._serve(connection)
            if self.evse.connection is connection:
                self.evse.communication_over()

    def _serve(self, connection: Connection) -> Script[None]:
        evse = self.evse
        assembler = Assembler()
        self.protocol, self.schema, self.expected, self.last = "", "sap", ("supportedAppProtocolReq",), ""
        self.began.clear()
        self.loop_began = -1
        exchanges = evse.pair.settings.exchanges
        self.answers = Answers(exchanges) if exchanges else None
        while True:
            data = yield connection.inbox.get(seconds(evse.settings.sequence_timeout))
            if self.hang:
                continue
            if data is None:
                connection.close()
                yield 500 * MS
                return
            self.heard = evse.world.now
            if isinstance(data, Closed):
                if data.how == "fin":
                    yield 5 * MS
                    connection.close()
                    yield 200 * MS
                return
            for payload_type, payload in assembler.feed(data):
                yield from self._one(connection, payload_type, payload)
                if self.last in ("SessionStopReq", "failed"):
                    yield from self._closing(connection)
                    return

    def _closing(self, connection: Connection) -> Script[None]:
        """After SessionStopRes or a fatal answer: the EV closes; if it doesn't, we do."""
        s = self.evse.settings
        if s.close_with in ("fin", "rst"):
            yield 20 * MS
            self.evse.end(s.close_with)
        wait = s.close_after
        data = yield connection.inbox.get(seconds(wait))
        while data is not None and not isinstance(data, Closed):
            data = yield connection.inbox.get(seconds(wait))
        if data is None or data.how == "fin":
            connection.close()
            yield 200 * MS

    def _one(self, connection: Connection, payload_type: int, payload: bytes) -> Script[None]:
        evse, s = self.evse, self.evse.settings
        content = evse.pair.codec.decode(schema_for(payload_type, self.schema), payload)
        foreign = self.schema in ("din", "iso2") and payload_type != 0x8001
        if content is None or foreign:
            connection.close()
            self.last = "failed"
            return
        name, body = name_and_body(content)
        if self.answers is not None:
            if name == "SessionSetupReq":
                self.setup_session(evse.settings.session_id)
            yield from self.answers.serve(self, connection, name)
            self.last = name
            return
        if self.schema == "sap":
            yield from self._negotiate(connection, body)
            return
        base = s.loop_latency if name in LOOP or name.endswith("ChargeLoopReq") else s.latency
        yield seconds(base * (1 + s.jitter * (2 * evse.chance.random() - 1)))
        if self.protocol.startswith("iso20"):
            yield from self.serve20.one(connection, name, body)
            return
        header = content["V2G_Message"]["Header"]
        answer = yield from self._answer(name, body, str(header.get("SessionID", "")))
        evse.pair.send_v2g(connection, self.schema, name[:-3] + "Res", answer, self.session_id)

    # -- SAP -------------------------------------------------------------------------------------------------------------

    def _negotiate(self, connection: Connection, body: Content) -> Script[None]:
        evse, s = self.evse, self.evse.settings
        yield seconds(s.latency)
        offers = sorted(body.get("AppProtocol", []), key=lambda offer: offer["Priority"])
        spoken = {NAMESPACES[name][0]: name for name in s.protocols}
        common = [offer for offer in offers if offer["ProtocolNamespace"] in spoken]
        chosen = common[-1 if s.prefer_last else 0] if common else None
        if chosen is None:
            self.last = "failed"
            if s.silent_negotiation:
                connection.close()
            else:
                answer: Content = {"ResponseCode": "Failed_NoNegotiation"}
                evse.pair.send_v2g(connection, "sap", "supportedAppProtocolRes", answer, "")
            return
        self.protocol = spoken[chosen["ProtocolNamespace"]]
        answer = {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": chosen["SchemaID"]}
        evse.pair.send_v2g(connection, "sap", "supportedAppProtocolRes", answer, "")
        self.schema = {"iso20-dc": "iso20cm", "iso20-ac": "iso20cm"}.get(self.protocol, self.protocol)
        self.expected = ("SessionSetupReq",)

    # -- answers ---------------------------------------------------------------------------------------------------------

    def setup_session(self, offered: str) -> str:
        """Choose the SessionID; the response code says whether an old session goes on."""
        evse, s = self.evse, self.evse.settings
        if evse.old_session_id and bytes.fromhex(offered) == evse.old_session_id:
            self.session_id = offered
            return s.old_session
        self.session_id = s.session_id or evse.chance.randbytes(8).hex().upper()
        return "OK_NewSessionEstablished"

    def ongoing(self, step: str, duration: float) -> bool:
        """Whether a process that takes `duration` seconds since it was first asked for still goes on."""
        begin = self.began.setdefault(step, self.evse.world.now)
        return self.evse.world.now - begin < seconds(duration)

    def _code(self, name: str, session_id: str) -> str:
        s = self.evse.settings
        if not s.strict:
            return "OK"
        stop_allowed = name == "SessionStopReq" and self.last not in (*LOOP, "PowerDeliveryReq:start")
        if name not in self.expected and not stop_allowed:
            return "FAILED_SequenceError"
        if name != "SessionSetupReq" and session_id != self.session_id:
            return "FAILED_UnknownSession"
        return "OK"

    def _answer(self, name: str, body: Content, session_id: str) -> Script[Content]:
        code = self._code(name, session_id)
        step = name
        if name == "PowerDeliveryReq":
            progress = str(body.get("ChargeProgress", "Start" if body.get("ReadyToChargeState") else "Stop"))
            step = f"{name}:{progress.lower()}"
        build = getattr(self, f"_on_{name}", None)
        if build is None:
            self.last = "failed"
            return {"ResponseCode": "FAILED"}
        answer: Content = yield from build(code, body, session_id)
        code = str(answer["ResponseCode"])
        if code.startswith("FAILED"):
            self.last = "failed"
        else:
            self.last = step
            followers = NEXT[self.protocol].get(step, ())
            self.expected = (name,) if answer.get("EVSEProcessing", "Finished") != "Finished" else followers
        return answer

    def _on_SessionSetupReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        if code == "OK":
            code = self.setup_session(session_id)
        yield 0
        return responses.session_setup(self.evse, code)

    def _on_ServiceDiscoveryReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        return responses.service_discovery(self.evse, code)

    def _on_ServiceDetailReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        return {"ResponseCode": code, "ServiceID": body.get("ServiceID", 1)}

    def _on_ServicePaymentSelectionReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        return {"ResponseCode": code}

    _on_PaymentServiceSelectionReq = _on_ServicePaymentSelectionReq

    def _on_ContractAuthenticationReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        waiting = code == "OK" and self.ongoing("authorization", self.evse.settings.auth_time)
        ongoing = "Ongoing" if self.evse.din else "Ongoing_WaitingForCustomerInteraction"
        return {"ResponseCode": code, "EVSEProcessing": ongoing if waiting else "Finished"}

    _on_AuthorizationReq = _on_ContractAuthenticationReq

    def _on_ChargeParameterDiscoveryReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse, s = self.evse, self.evse.settings
        waiting = code == "OK" and self.ongoing("parameters", s.parameters_time)
        ev = body.get("DC_EVChargeParameter")
        if ev is not None:
            self.ev_max_v = number(ev.get("EVMaximumVoltageLimit"))
        if not waiting and s.nominal_duty and s.energy == "ac":
            evse.pwm(s.nominal_duty)
        yield 0
        return responses.parameters(evse, code, "Ongoing" if waiting else "Finished")

    ev_max_v = 0.0

    def _on_CableCheckReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse, s = self.evse, self.evse.settings
        if evse.pilot.state not in ("C", "D") and not s.ignores_pilot:
            # The check begins when the EV is in C; the charger waits for it.
            self.began.pop("cable-check", None)
            yield 0
            return responses.cable_check(evse, code, False)
        begun = "cable-check" not in self.began
        waiting = code == "OK" and self.ongoing("cable-check", s.cable_check_time)
        elapsed = evse.world.now - self.began["cable-check"]
        if begun:
            test = s.cable_check_v or min(500.0, self.ev_max_v + 50, evse.power.supply.max_v)
            evse.power.set(ISOLATION, test)
        elif elapsed > seconds(s.cable_check_time * 0.7) and evse.power.mode == ISOLATION:
            evse.power.set(OFF)
        yield 0
        return responses.cable_check(evse, code, not waiting)

    def _on_PreChargeReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        target = number(body.get("EVTargetVoltage"))
        if code == "OK":
            self.evse.power.set(PRECHARGE, target, number(body.get("EVTargetCurrent")))
        yield 0
        return responses.precharge(self.evse, code)

    def _on_PowerDeliveryReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse, s = self.evse, self.evse.settings
        progress = str(body.get("ChargeProgress", "Start" if body.get("ReadyToChargeState") else "Stop"))
        if s.energy == "ac" and progress == "Start" and code == "OK":
            for _ in range(150):
                if evse.pilot.state in ("C", "D") or s.ignores_pilot:
                    break
                yield 20 * MS
            else:
                code = "FAILED_ContactorError"
            yield seconds(s.contactor_time)
        else:
            yield seconds(s.powerdelivery_time)
        if progress == "Stop":
            evse.power.set(OFF)
        elif progress == "Renegotiate":
            self.began.clear()
        elif self.loop_began < 0:
            self.loop_began = evse.world.now
        return responses.power_delivery(evse, code)

    def _on_CurrentDemandReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse = self.evse
        if code == "OK" and not evse.power.supply.dead:
            evse.power.set(CURRENT, number(body.get("EVTargetVoltage")), number(body.get("EVTargetCurrent")))
        self._maybe_stop()
        yield 0
        return responses.current_demand(evse, code)

    def _maybe_stop(self) -> None:
        evse, s = self.evse, self.evse.settings
        elapsed = evse.world.now - self.loop_began
        if s.stop_at and elapsed >= seconds(s.stop_at) and not evse.notification:
            evse.begin_stop()
        if s.renegotiate_at and elapsed >= seconds(s.renegotiate_at) and not evse.notification:
            evse.notification = "ReNegotiation"

    def _on_ChargingStatusReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse = self.evse
        if evse.power.mode != CURRENT:
            evse.power.set(CURRENT, 500, 16)
        self._maybe_stop()
        yield 0
        return responses.charging_status(evse, code)

    def _on_MeteringReceiptReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        return responses.metering_receipt(self.evse, code)

    def _on_WeldingDetectionReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        yield 0
        return responses.welding(self.evse, code)

    def _on_SessionStopReq(self, code: str, body: Content, session_id: str) -> Script[Content]:
        evse = self.evse
        evse.power.set(OFF)
        evse.old_session_id = bytes.fromhex(self.session_id) if body.get("ChargingSession") == "Pause" else b""
        yield seconds(evse.settings.stop_time)
        return {"ResponseCode": code}
