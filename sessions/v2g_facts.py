"""What one V2G message adds to its session. Called for every decoded message, in order."""

from __future__ import annotations

from typing import Any

from plugtap.protocols.events import Redecoded, V2gMessage
from plugtap.sessions.session import Electrical, Said, Session
from plugtap.sessions.tables import (
    ENERGY_OF_MODE,
    EV_NO_ERROR,
    EVSE_FAULT_STATUS,
    EVSE_STOP_STATUS,
    LOOP_MESSAGES,
    NAMESPACES,
    POWER_STARTED_A,
)
from plugtap.sessions.values import dig, physical

PROTOCOL_OF_NAMESPACE = dict(NAMESPACES)
PILOT_GRACE_NS = 1_000_000_000
MAX_STEP_S = 5.0  # energy is not integrated over longer holes in the loop


def stem(message: str) -> str:
    """``CableCheck`` of ``CableCheckReq``; the name itself where it is neither request nor response."""
    return message[:-3] if message.endswith(("Req", "Res")) else message


def is_request(message: str) -> bool:
    """Does the name say request?"""
    return message.endswith("Req")


def response_code(ev: V2gMessage) -> str | None:
    """The ResponseCode of a response, None in requests."""
    code = ev.body.get("ResponseCode")
    return code if isinstance(code, str) else None


def failed(code: str | None) -> bool:
    """FAILED, FAILED_*, Failed_NoNegotiation (DIN sends a bare FAILED)."""
    return code is not None and code.lower().startswith("failed")


def apply(session: Session, ev: V2gMessage) -> None:
    """Take the message's facts into the session. Unknown or odd content adds nothing and raises nothing."""
    if ev.message is None:
        return
    name, body = ev.message, ev.body
    said = Said(ev.t, ev.frame, name, ev.side, response_code(ev))
    session.messages[name] = session.messages.get(name, 0) + 1
    session.remember(said)
    if ev.schema not in (None, "sap") and ev.schema is not None:
        session.protocol = "iso20" if ev.schema.startswith("iso20") else ev.schema
    match name:
        case "supportedAppProtocolReq":
            offers = body.get("AppProtocol")
            session.sap_offer = [o for o in offers if isinstance(o, dict)] if isinstance(offers, list) else []
        case "supportedAppProtocolRes":
            _sap_response(session, body, said)
        case "ServiceDiscoveryRes":
            session.modes_offered = _modes(body)
        case "SessionSetupReq":
            session.evccid = _text(body.get("EVCCID")) or session.evccid
        case "SessionSetupRes":
            _setup_response(session, ev, body, said)
        case "ServicePaymentSelectionReq" | "PaymentServiceSelectionReq":
            chosen = body.get("SelectedPaymentOption")
            session.payment = {"Contract": "pnc", "ExternalPayment": "eim"}.get(str(chosen), session.payment)
        case "AuthorizationReq" if "SelectedAuthorizationService" in body:
            session.payment = {"PnC": "pnc", "EIM": "eim"}.get(str(body["SelectedAuthorizationService"]), session.payment)
        case "ChargeParameterDiscoveryReq":
            mode = body.get("EVRequestedEnergyTransferType", body.get("RequestedEnergyTransferMode"))
            session.energy = ENERGY_OF_MODE.get(str(mode), session.energy)
        case "PowerDeliveryReq":
            _power_delivery(session, body, said)
        case "PowerDeliveryRes":
            request = session.last_request
            if not failed(said.code):
                # A request that the tap missed, while power was delivered, was one to stop it or to renegotiate.
                asked = delivery_kind(request.body) if request is not None and request.message == "PowerDeliveryReq" else ""
                session.delivering = asked in ("Start", "Renegotiate", "ScheduleRenegotiation")
        case "SessionStopReq":
            session.session_stop_req = ev
            session.paused = body.get("ChargingSession") == "Pause"
            session.stop_asked = session.stop_asked or said
            session.stop_asked_by = session.stop_asked_by or "EVCC"
        case "SessionStopRes":
            session.session_stop_res = ev
        case "ContractAuthenticationRes" | "AuthorizationRes" if body.get("EVSEProcessing") == "Finished" and not failed(said.code):
            session.authorized = session.authorized or said.t
    if session.protocol == "iso20":
        _iso20_energy(session, name, body)
    _codes(session, said)
    _status(session, body, said)
    session.stopping = session.stop_asked_by is not None or session.delivery in ("Stop", "Standby")
    _electrical(session, ev, name, body)


def correct(session: Session, ev: Redecoded) -> None:
    """A message counted under another name, or under none: put right how often it came, what was said when, and the latest messages.

    What else was concluded from it (values, phases) is replaced by the messages that follow, not here.
    """
    new, before = ev.message, ev.message_before
    if before is not None and session.messages.get(before):
        session.messages[before] -= 1
        if not session.messages[before]:
            del session.messages[before]
        session.history = [s for s in session.history if (s.frame, s.name) != (new.frame, before)]
    if new.message is not None:
        session.messages[new.message] = session.messages.get(new.message, 0) + 1
        session.remember(Said(new.t, new.frame, new.message, new.side, response_code(new)))
        session.history.sort(key=lambda said: (said.t, said.frame))
    for name in ("pending", "last_request", "request_before", "last_response", "response_before", "latest", "message_before"):
        held = getattr(session, name)
        if held is not None and (held.stream, held.frame, held.index) == (new.stream, new.frame, new.index):
            fits = name in ("latest", "message_before") or (new.message is not None and is_request(new.message) == is_request(held.message or ""))
            setattr(session, name, new if fits else None)


def _modes(body: dict[str, Any]) -> tuple[str, ...]:
    """Energy transfer modes offered: ISO 15118-2 has a list of them, DIN one type; ISO 15118-20 names services instead."""
    found = dig(body, "ChargeService", "SupportedEnergyTransferMode") or {}
    listed = found.get("EnergyTransferMode") if isinstance(found, dict) else None
    one = dig(body, "ChargeService", "EnergyTransferType")
    modes = listed if isinstance(listed, list) else [one]
    return tuple(mode for mode in modes[:8] if isinstance(mode, str))


def _text(node: Any) -> str | None:
    return node if isinstance(node, str) and node else None


def _sap_response(session: Session, body: dict[str, Any], said: Said) -> None:
    session.sap_code = said.code
    if failed(said.code):
        session.failed_negotiation = said
        return
    session.failed_negotiation = None
    for offer in session.sap_offer:
        if offer.get("SchemaID") == body.get("SchemaID"):
            session.protocol = PROTOCOL_OF_NAMESPACE.get(str(offer.get("ProtocolNamespace")), session.protocol)


def _setup_response(session: Session, ev: V2gMessage, body: dict[str, Any], said: Said) -> None:
    session.evseid = _text(body.get("EVSEID")) or session.evseid
    session.session_id = _text(ev.header.get("SessionID")) or session.session_id
    session.given_id = None
    if not failed(said.code):
        session.setup_ok = True
        given = _text(ev.header.get("SessionID"))
        session.given_id = given if given is not None and given.strip("0") else None


def delivery_kind(body: dict[str, Any]) -> str:
    """Start, Stop, Renegotiate, Standby … of a PowerDeliveryReq (DIN: ReadyToChargeState true is Start)."""
    if "ReadyToChargeState" in body:
        return "Start" if body["ReadyToChargeState"] is True else "Stop"
    return str(body.get("ChargeProgress", ""))


def _power_delivery(session: Session, body: dict[str, Any], said: Said) -> None:
    session.delivery_before, session.delivery = session.delivery, delivery_kind(body)
    if delivery_kind(body) in ("Stop", "Standby"):
        session.delivering = False
        session.delivery_stopped = said
        if session.cp_lost is not None and session.cp_lost[0].startswith("B") and said.t - session.cp_lost[1] < PILOT_GRACE_NS:
            # The pilot's clock and the frames' are two: an edge just before the stop is the stop.
            session.cp_lost = None
        session.stop_asked = session.stop_asked or said
        session.stop_asked_by = session.stop_asked_by or "EVCC"
    else:
        session.delivery_stopped = None


def _iso20_energy(session: Session, name: str, body: dict[str, Any]) -> None:
    if name.startswith(("AC_", "DC_", "WPT_", "ACDP_")):
        base = name.split("_", 1)[0].lower()
        bpt = any(isinstance(key, str) and key.startswith("BPT_") for key in body)
        if session.energy is None or bpt:
            session.energy = f"{base}-bpt" if bpt and base in ("ac", "dc") else base


def _codes(session: Session, said: Said) -> None:
    if said.code is None or said.name == "supportedAppProtocolRes":
        return
    if failed(said.code):
        session.failed_response = session.failed_response or said
    elif said.name != "SessionStopRes":
        # The session went on as if nothing had been: that failure did not end it.
        session.failed_response = None


def _status(session: Session, body: dict[str, Any], said: Said) -> None:
    for holder in ("DC_EVSEStatus", "EVSEStatus", "AC_EVSEStatus"):
        status = body.get(holder)
        if isinstance(status, dict):
            break
    else:
        holder, status = "", dig(body, "DC_EVSEChargeParameter", "DC_EVSEStatus")
    if isinstance(status, dict):
        code = status.get("EVSEStatusCode")
        if status.get("EVSEIsolationStatus") == "Fault":
            session.isolation_fault = session.isolation_fault or said
        if code in EVSE_FAULT_STATUS:
            if session.evse_fault is None:
                session.evse_fault = (str(code), said)
        elif code is not None and session.evse_fault is not None and said.name not in ("SessionStopRes", "WeldingDetectionRes"):
            session.evse_fault = None if code in ("EVSE_Ready",) else session.evse_fault
        if (code in EVSE_STOP_STATUS or status.get("EVSENotification") in ("StopCharging", "Terminate")) and (
            session.stop_asked_by is None and session.reached_at_least("pre-charge")
        ):
            session.stop_asked_by, session.stop_asked = "SECC", said
    ev_status = body.get("DC_EVStatus")
    if not isinstance(ev_status, dict):
        ev_status = dig(body, "DC_EVChargeParameter", "DC_EVStatus") or dig(body, "DC_EVPowerDeliveryParameter", "DC_EVStatus")
    if isinstance(ev_status, dict):
        error = ev_status.get("EVErrorCode")
        if isinstance(error, str) and error not in EV_NO_ERROR:
            session.ev_error = session.ev_error or (error, said)
        _soc(session, ev_status.get("EVRESSSOC"))
    _soc(session, dig(body, "DisplayParameters", "PresentSOC"))


def _soc(session: Session, soc: object) -> None:
    if isinstance(soc, int) and not isinstance(soc, bool) and 0 <= soc <= 100:
        el = session.electrical
        el.soc_start = soc if el.soc_start is None else el.soc_start
        el.soc_end = soc


# Field of Electrical -> names of the element in the protocols.
_LIMITS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ev_max_v", ("EVMaximumVoltageLimit", "EVMaximumVoltage")),
    ("ev_max_i", ("EVMaximumCurrentLimit", "EVMaximumChargeCurrent")),
    ("ev_max_p", ("EVMaximumPowerLimit", "EVMaximumChargePower")),
    ("evse_max_v", ("EVSEMaximumVoltageLimit", "EVSEMaximumVoltage")),
    ("evse_max_i", ("EVSEMaximumCurrentLimit", "EVSEMaximumChargeCurrent")),
    ("evse_max_p", ("EVSEMaximumPowerLimit", "EVSEMaximumChargePower")),
    ("evse_min_v", ("EVSEMinimumVoltageLimit", "EVSEMinimumVoltage")),
    ("evse_min_i", ("EVSEMinimumCurrentLimit", "EVSEMinimumChargeCurrent")),
)
_LIMIT_HOLDERS = (
    "DC_EVChargeParameter", "DC_EVSEChargeParameter", "DC_CPDReqEnergyTransferMode", "DC_CPDResEnergyTransferMode",
    "BPT_DC_CPDReqEnergyTransferMode", "BPT_DC_CPDResEnergyTransferMode", "Scheduled_DC_CLReqControlMode",
    "Scheduled_DC_CLResControlMode", "Dynamic_DC_CLReqControlMode", "Dynamic_DC_CLResControlMode",
    "BPT_Scheduled_DC_CLReqControlMode", "BPT_Scheduled_DC_CLResControlMode", "BPT_Dynamic_DC_CLReqControlMode",
    "BPT_Dynamic_DC_CLResControlMode",
)  # fmt: skip


def _nodes(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The message itself and the element in it that holds limits and targets."""
    return [n for n in (body, *(body[h] for h in _LIMIT_HOLDERS if h in body)) if isinstance(n, dict)]


def _limits(el: Electrical, body: dict[str, Any]) -> None:
    for node in _nodes(body):
        for field, names in _LIMITS:
            for name in names:
                if name in node:
                    setattr(el, field, _first(physical(node[name]), getattr(el, field)))


def _electrical(session: Session, ev: V2gMessage, name: str, body: dict[str, Any]) -> None:
    el = session.electrical
    base = stem(name)
    if base.endswith("ChargeParameterDiscovery") or base in LOOP_MESSAGES:
        _limits(el, body)
    if base in ("CableCheck", "DC_CableCheck"):
        el.cable_check_first = el.cable_check_first or ev.t
        el.cable_check_last = ev.t
    elif base in ("PreCharge", "DC_PreCharge"):
        el.precharge_first = el.precharge_first or ev.t
        el.precharge_last = ev.t
        el.precharge_v = _first(physical(body.get("EVSEPresentVoltage")), el.precharge_v)
        el.precharge_target = _first(physical(body.get("EVTargetVoltage")), el.precharge_target)
    elif base in LOOP_MESSAGES:
        _loop(session, ev, name, body)


def _first(new: float | None, old: float | None) -> float | None:
    return old if new is None else new


def _loop(session: Session, ev: V2gMessage, name: str, body: dict[str, Any]) -> None:
    el = session.electrical
    el.loop_first = el.loop_first or ev.t
    el.loop_last = ev.t
    if is_request(name):
        for node in _nodes(body):
            el.target_v = _first(physical(node.get("EVTargetVoltage")), el.target_v)
            el.target_i = _first(physical(node.get("EVTargetCurrent")), el.target_i)
            if el.target_i is not None and el.target_i > (el.target_i_max or 0.0):
                el.target_i_max = el.target_i
        return
    el.loops += 1
    el.loop_answered = el.loop_answered or ev.t
    if LOOP_MESSAGES[stem(name)] in ("ac", "wpt"):
        if not failed(response_code(ev)):
            el.ac_charging = True
            if el.ac_started is None and (session.pilot is None or session.pilot.state[:1] in ("C", "D")):
                el.ac_started = ev.t
        return
    volts, amps = el.present_v, el.present_i = physical(body.get("EVSEPresentVoltage")), physical(body.get("EVSEPresentCurrent"))
    if volts is None or amps is None:
        return
    el.v_max = volts if el.v_max is None else max(el.v_max, volts)
    el.i_max = amps if el.i_max is None else max(el.i_max, amps)
    if abs(amps) >= POWER_STARTED_A and el.power_started is None:
        el.power_started = ev.t
    if el.t_last is not None and el.v_last is not None and el.i_last is not None:
        step = (ev.t - el.t_last) / 1e9
        if 0 < step <= MAX_STEP_S:
            el.energy_ws += step * (volts * amps + el.v_last * el.i_last) / 2
    el.v_last, el.i_last, el.t_last = volts, amps, ev.t
