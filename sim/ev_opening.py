"""How the EV opens a session: discovery of the charger, the TCP connection, and the choice of a protocol."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from plugtap.sim import wire
from plugtap.sim.ev_steps import Over
from plugtap.sim.kernel import MS, Mailbox, Script, seconds
from plugtap.sim.settings import NAMESPACES
from plugtap.sim.v2g import Assembler

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev


class Opening:
    """Bound to an EV."""

    def __init__(self, ev: Ev) -> None:
        self.ev = ev

    def discover(self) -> Script[tuple[bytes, int]]:
        """SECC discovery (ISO 15118-2 7.10.1): ask every 250 ms."""
        s = self.ev.settings
        answers: Mailbox[bytes] = Mailbox()
        port = self.ev.chance.randrange(49152, 65536)
        self.ev.node.bind(port, lambda packet, sport, dport, payload: answers.put(payload) if sport == 15118 else None)
        for _ in range(s.sdp_tries):
            payload = self.ev.pair.payload("SDPReq", wire.v2gtp(wire.SDP_REQUEST, bytes([s.sdp_security, 0])))
            if payload is not None:
                data, delay = payload
                self.ev.world.later(delay, lambda data=data: self.ev.node.send_multicast(port, 15118, data))  # type: ignore[misc]
            answer = yield answers.get(seconds(s.sdp_interval))
            usable = answer is not None and len(answer) >= 28 and answer[2:4] == b"\x90\x01"
            if usable and s.insists_on_tls and answer[26] != s.sdp_security:
                yield seconds(s.sdp_interval)
            elif usable:
                self.ev.node.unbind(port)
                return answer[8:24], struct.unpack_from("!H", answer, 24)[0]
        self.ev.node.unbind(port)
        raise Over("no-sdp")

    def connect(self, ip: bytes, port: int) -> Script[None]:
        s = self.ev.settings
        connection = self.ev.node.connect(ip, s.tcp_port or port)
        if not (yield connection.opened.get(seconds(s.tcp.syn_retry * 2 ** (s.tcp.syn_retries + 1)))):
            raise Over("no-tcp")
        self.ev.connection = connection
        self.ev.assembler = Assembler()
        if s.tcp_probe:
            self.ev.world.spawn(self._probe(ip, port - 423), f"{self.ev.name}/probe")
        self.ev.pair.event("tcp")

    def _probe(self, ip: bytes, port: int) -> Script[None]:
        """Cars of one group of makes knock at another port every second for as long as the session lasts; each SYN gets a RST."""
        own = self.ev.chance.randrange(49152, 60000)
        while self.ev.connection is not None and self.ev.connection.state == "established":
            yield seconds(self.ev.settings.tcp_probe)
            own += 1
            probe = self.ev.node.connect(ip, port, own)
            yield probe.opened.get(500 * MS)
            probe.abort()

    def negotiate(self) -> Script[None]:
        s = self.ev.settings
        self.ev.schema, self.ev.protocol = "sap", ""
        offers = []
        for index, name in enumerate(s.protocols):
            space, major, minor = NAMESPACES[name]
            offers.append({
                "ProtocolNamespace": space, "VersionNumberMajor": major, "VersionNumberMinor": minor,
                "SchemaID": index + 1, "Priority": index + 1,
            })  # fmt: skip
        yield from self.ev.think(s.gap)
        answer = yield from self.ev.ask("supportedAppProtocolReq", {"AppProtocol": offers})
        chosen = answer.get("SchemaID")
        if not str(answer.get("ResponseCode", "")).startswith("OK") or not chosen or chosen > len(s.protocols):
            raise Over("no-protocol")
        self.ev.protocol = s.protocols[chosen - 1]
        self.ev.schema = {"tesla": "din", "iso20-dc": "iso20cm", "iso20-ac": "iso20cm"}.get(self.ev.protocol, self.ev.protocol)
        if not self.ev.resuming:
            self.ev.session_id = s.session_id
