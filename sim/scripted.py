"""Sessions by script: what an Exchange list says is sent and answered, with its times. Made of a capture, then varied by hand.

The EV sends the requests in their order, each `gap` seconds after the response before; the charger answers each with the exchange's answer
after `latency`. Everything below (SLAC, link, TCP) and the deviations above work as in any other scenario.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from plugtap.sim.kernel import Script, seconds
from plugtap.sim.settings import NAMESPACES

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev
    from plugtap.sim.evse_serve import Server
    from plugtap.sim.tcp import Connection


class Exchange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request and its answer. `send` and `answer` are the message elements' contents; no `response`: it is never answered.

    `times`: so often, one after the other. `cp` (a state letter): what the EV does on the pilot before the request.
    """

    request: str
    schema: str
    send: dict[str, Any] = {}
    gap: float = 0.05
    response: str = ""
    answer: dict[str, Any] = {}
    latency: float = 0.01
    times: int = 1
    cp: str = ""


def flat(exchanges: tuple[Exchange, ...]) -> list[Exchange]:
    """Repetitions written out."""
    return [exchange for exchange in exchanges for _ in range(max(1, exchange.times))]


def run_ev(ev: Ev, exchanges: tuple[Exchange, ...]) -> Script[None]:
    """The EV's side of a script; the connection is open. Raises Over like any other session."""
    for exchange in flat(exchanges):
        yield seconds(exchange.gap)
        if exchange.cp:
            if exchange.cp == "B":
                ev.release()
            ev.pilot.ev(exchange.cp)
        ev.pair.event(f"step-{exchange.request}")
        ev.say(exchange.request, exchange.send, exchange.schema)
        if not exchange.response:
            continue  # nobody will answer; the next one's gap counts from here
        timeout = max(ev.settings.timeout, 2 * exchange.latency + 1)
        yield from ev.answer(exchange.request, timeout, exchange.schema)


class Answers:
    """The charger's side: answers by the script, in its order."""

    def __init__(self, exchanges: tuple[Exchange, ...]) -> None:
        self._left = flat(exchanges)

    def serve(self, server: Server, connection: Connection, name: str) -> Script[bool]:
        """Answer one request as the script says; False when it holds none."""
        while self._left and self._left[0].request != name:
            self._left.pop(0)
        if not self._left:
            return False
        exchange = self._left.pop(0)
        if not exchange.response:
            return True
        yield seconds(exchange.latency)
        server.evse.pair.send_v2g(connection, exchange.schema, exchange.response, exchange.answer, server.session_id)
        if name == "supportedAppProtocolReq":
            self._negotiated(server, exchange)
        return True

    @staticmethod
    def _negotiated(server: Server, exchange: Exchange) -> None:
        chosen = exchange.answer.get("SchemaID")
        for offer in exchange.send.get("AppProtocol", []):
            if offer.get("SchemaID") == chosen:
                known = [name for name, (space, _, _) in NAMESPACES.items() if space == offer.get("ProtocolNamespace")]
                server.protocol = known[0] if known else ""
        server.schema = {"iso20-dc": "iso20cm", "iso20-ac": "iso20cm", "": "sap"}.get(server.protocol, server.protocol)
