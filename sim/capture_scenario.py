"""A scenario file out of a capture: the first whole session's messages and times, to vary by hand.

Levels below V2G are described by settings (SLAC and SDP timing); V2G becomes `[[exchange]]` tables. Keys and MACs are not taken over; what
the messages say (EVCCID, EVSEID, session id) is, so such a file is as private as the capture.
"""

from __future__ import annotations

import itertools
import json
import statistics
from typing import Any

import msgspec

from plugtap.protocols.events import Event, Mme, Pilot, Sdp, Tcp, V2gMessage
from plugtap.protocols.items import CpRecord, Frame, Item
from plugtap.protocols.stack import Stack
from plugtap.sim.kernel import SECOND
from plugtap.sim.scenario import ScenarioError
from plugtap.sim.scripted import Exchange
from plugtap.sim.settings import NAMESPACES

MAX_EXCHANGES = 5000


def events_of(items: list[Item]) -> list[Event]:
    """Everything the protocol stack makes of the items."""
    stack = Stack()
    found: list[Event] = []
    number = 0
    for item in items:
        if isinstance(item, Frame | CpRecord):
            found += stack.feed(item)
            number = item.number
    return found + stack.finish(found[-1].t if found else 0, number)


def scenario_text(items: list[Item], name: str) -> tuple[str, str]:
    """TOML of the scenario, and a line that says what is in it. Raises ScenarioError when there is no session to take."""
    events = events_of(items)
    stream = next((e.stream for e in events if isinstance(e, V2gMessage) and e.message == "SessionSetupRes"), None)
    if stream is None:
        raise ScenarioError(f"{name}: no session was set up in this capture, so there is nothing to take over")
    messages = [e for e in events if isinstance(e, V2gMessage) and e.stream == stream and e.message is not None][: 2 * MAX_EXCHANGES]
    exchanges = _exchanges(messages, [e for e in events if isinstance(e, Pilot)])
    protocol, energy = _kind(exchanges)
    assigned = next(m.header.get("SessionID", "") for m in messages if m.message == "SessionSetupRes")
    ev: dict[str, Any] = {"protocols": [protocol], "energy": energy, "timeout": 5.0, **_slac(events, messages[0].t), **_sdp(events)}
    evse: dict[str, Any] = {"energy": energy[:2], "session_id": assigned}
    actions = _ending(events, messages, ev, evse)
    lines = [
        f"title = {json.dumps(f'From {name}')}",
        f'story = {json.dumps(f"{len(exchanges)} exchanges of {name}, as recorded.")}',
        'group = "capture"',
        f"duration = {round((messages[-1].t - messages[0].t) / SECOND + 60, 1)}",
        "", "[ev]", *(f"{key} = {_toml(value)}" for key, value in ev.items()),
        "", "[evse]", *(f"{key} = {_toml(value)}" for key, value in evse.items()),
    ]  # fmt: skip
    if not any(isinstance(e, Pilot) for e in events):
        lines += ["", "[tap]", "pilot = false"]
    if actions:
        lines += ["", "[[do]]", *(f"{key} = {_toml(value)}" for key, value in actions.items())]
    for exchange in exchanges:
        lines += ["", "[[exchange]]"]
        default = Exchange(request="", schema="")
        for field in msgspec.structs.fields(Exchange):
            value = getattr(exchange, field.name)
            if value != getattr(default, field.name):
                lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join(lines) + "\n", f"{len(messages)} messages in {len(exchanges)} exchanges, {protocol}"


def _toml(value: Any) -> str:
    """A value as TOML; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    if isinstance(value, float):
        return repr(round(value, 6))
    return json.dumps(value)


def _exchanges(messages: list[V2gMessage], pilot: list[Pilot]) -> list[Exchange]:
    """Requests with their responses and times; equal ones after each other become one with `times`."""
    found: list[Exchange] = []
    before = messages[0].t - 50_000_000
    changes = [(e.t, e.state[0]) for e in pilot if e.before is not None and e.state[0] != e.before[0] and e.state[0] in "BC"]
    for at, message in enumerate(messages):
        name = str(message.message)
        if not name.endswith("Req"):
            continue
        answer = messages[at + 1] if at + 1 < len(messages) and messages[at + 1].message == name[:-3] + "Res" else None
        cp = ""
        while changes and changes[0][0] <= message.t:
            cp = changes.pop(0)[1]
        if not pilot and name in ("CableCheckReq", "DC_CableCheckReq") and not any(e.cp for e in found):
            cp = "C"
        if not pilot and found and _stops(found[-1]):
            cp = "B"
        exchange = Exchange(
            request=name, schema=str(message.schema), send=message.body, cp=cp, gap=max(0.0, (message.t - before) / SECOND),
            response=str(answer.message) if answer is not None else "", answer=answer.body if answer is not None else {},
            latency=(answer.t - message.t) / SECOND if answer is not None else 0.01,
        )  # fmt: skip
        before = answer.t if answer is not None else message.t
        last = found[-1] if found else None
        if last is not None and not cp and (last.request, last.send, last.answer) == (exchange.request, exchange.send, exchange.answer):
            weight = last.times
            found[-1] = msgspec.structs.replace(
                last, times=weight + 1, gap=(last.gap * weight + exchange.gap) / (weight + 1),
                latency=(last.latency * weight + exchange.latency) / (weight + 1),
            )  # fmt: skip
        else:
            found.append(exchange)
    return found


def _stops(exchange: Exchange) -> bool:
    """PowerDelivery that ends the energy transfer."""
    sent = exchange.send
    return exchange.request == "PowerDeliveryReq" and (sent.get("ReadyToChargeState") is False or sent.get("ChargeProgress") == "Stop")


def _kind(exchanges: list[Exchange]) -> tuple[str, str]:
    """Protocol and energy by the names the bench has for them."""
    names = {exchange.request for exchange in exchanges}
    energy = "ac" if names & {"ChargingStatusReq", "AC_ChargeLoopReq", "AC_ChargeParameterDiscoveryReq"} else "dc"
    for exchange in exchanges:
        if exchange.request == "supportedAppProtocolReq":
            for offer in exchange.send.get("AppProtocol", []):
                if offer.get("SchemaID") == exchange.answer.get("SchemaID"):
                    known = [key for key, (space, _, _) in NAMESPACES.items() if space == offer.get("ProtocolNamespace")]
                    if known:
                        return known[0], energy
    schema = next((exchange.schema for exchange in exchanges if exchange.schema != "sap"), "din")
    return (f"iso20-{energy}" if schema.startswith("iso20") else schema), energy


def _first(run: list[Mme], name: str) -> int | None:
    return next((e.t for e in run if e.name == name), None)


def _slac(events: list[Event], until: int) -> dict[str, float]:
    """Times of the EV's steps in the SLAC run that led to the dialogue, where they were seen. `until`: the dialogue's first message."""
    run: list[Mme] = []
    for event in events:
        if isinstance(event, Mme) and event.t <= until:
            run = [event] if event.name == "CM_SLAC_PARM.REQ" else [*run, event]
    answer = _first(run, "CM_SLAC_PARM.CNF")
    found: dict[str, float] = {}
    if not run or run[0].name != "CM_SLAC_PARM.REQ" or answer is None:
        return found
    start = _first(run, "CM_START_ATTEN_CHAR.IND")
    if start is not None and start >= answer:
        found["start_delay"] = (start - answer) / SECOND
    sounds = [e.t for e in run if e.name == "CM_MNBC_SOUND.IND"]
    if len(sounds) > 1:
        found["batch_interval"] = statistics.median(after - before for before, after in itertools.pairwise(sounds)) / SECOND
    result, match = _first(run, "CM_ATTEN_CHAR.RSP"), _first(run, "CM_SLAC_MATCH.REQ")
    if result is not None and match is not None and match >= result:
        found["match_delay"] = (match - result) / SECOND
    return found


def _sdp(events: list[Event]) -> dict[str, Any]:
    request = next((e for e in events if isinstance(e, Sdp) and e.request), None)
    if request is None:
        return {}
    return {"sdp_security": request.security}


def _ending(events: list[Event], messages: list[V2gMessage], ev: dict[str, Any], evse: dict[str, Any]) -> dict[str, Any]:
    """Who ended the connection, and how. What no setting says is an action after the last message; empty if there is none."""
    stream, last = messages[0].stream, messages[-1]
    end = next((e for e in events if isinstance(e, Tcp) and e.stream == stream and e.kind in ("fin", "rst")), None)
    if end is not None and end.from_a:
        ev["stop_with"] = end.kind
        return {}
    if end is not None:
        evse["close_with"] = end.kind
        ev["stop_with"] = "fin"
        return {}
    # Nobody closed it: the EV began again with SLAC, or the recording ends here.
    again = next((e.t for e in events if isinstance(e, Mme) and e.name == "CM_SLAC_PARM.REQ" and e.t > last.t), None)
    ev["stop_with"] = "open"
    ev["unplug_after"] = 3600.0
    until = again if again is not None else max(e.t for e in events)
    after = {"after": str(last.message), "nth": str(sum(m.message == last.message for m in messages)), "delay": (until - last.t) / SECOND}
    return {**after, "do": "ev-slac" if again is not None else "tap-stop"}
