"""A party's network stack: neighbour discovery, UDP and TCP of one host on the virtual line."""

from __future__ import annotations

from collections.abc import Callable

from plugtap.sim import wire
from plugtap.sim.kernel import MS, SECOND, Mailbox, Script, World
from plugtap.sim.line import Station
from plugtap.sim.tcp import Connection, TcpSettings

UdpHandler = Callable[[wire.Packet, int, int, bytes], None]


class Node:
    """IPv6 host with one link-local address. `send_named` takes the ND frames (NS, NA), which a scenario may change."""

    def __init__(self, world: World, station: Station, tcp: TcpSettings, name: str) -> None:
        self.world = world
        self.station = station
        self.settings = tcp
        self.mac = station.mac
        self.ip = wire.link_local(station.mac)
        self.name = name
        self.up = False
        self.answers_neighbors = True
        self.learns_macs = False
        self.advertised = self.mac
        self.send_named: Callable[[str, bytes], None] = lambda name, frame: station.send(frame)
        self._chance = world.chance(f"{name}/node")
        self._neighbors: dict[bytes, bytes] = {}
        self._pending: dict[bytes, list[Callable[[bytes], bytes]]] = {}
        self._udp: dict[int, UdpHandler] = {}
        self._connections: dict[tuple[int, bytes, int], Connection] = {}
        self._listening: dict[int, Mailbox[Connection]] = {}
        station.listen(self._receive)

    # -- link ----------------------------------------------------------------------------------------------------------

    def start(self) -> Script[None]:
        """Bring the interface up: duplicate address detection, then the address is usable."""
        self.send_named("NS", wire.neighbor_solicitation(self.mac, wire.UNSPECIFIED, self.ip))
        yield 300 * MS
        self.up = True

    def stop(self) -> None:
        """Interface down: everything learnt is forgotten."""
        self.up = False
        self._neighbors.clear()
        self._pending.clear()
        self._udp.clear()
        self._listening.clear()
        for connection in list(self._connections.values()):
            connection.silence()
        self._connections.clear()

    def _resolved(self, ip: bytes, build: Callable[[bytes], bytes]) -> None:
        """Send what `build` makes of the neighbour's MAC, as soon as that is known."""
        mac = self._neighbors.get(ip)
        if mac is not None:
            self.station.send(build(mac))
            return
        queue = self._pending.setdefault(ip, [])
        if len(queue) < 8:
            queue.append(build)
        if len(queue) == 1:
            self.world.spawn(self._resolve(ip), f"{self.name}/nd")

    def _resolve(self, ip: bytes) -> Script[None]:
        for _ in range(3):
            if ip in self._neighbors or ip not in self._pending:
                return
            self.send_named("NS", wire.neighbor_solicitation(self.mac, self.ip, ip))
            yield SECOND
        self._pending.pop(ip, None)

    def _learn(self, ip: bytes, mac: bytes) -> None:
        self._neighbors[ip] = mac
        for build in self._pending.pop(ip, []):
            self.station.send(build(mac))

    def _noticed(self, packet: wire.Packet) -> None:
        """Traffic tells nothing about neighbours (RFC 4861), except to a sloppy stack."""
        if self.learns_macs:
            self._neighbors.setdefault(packet.src, packet.src_mac)

    # -- UDP -----------------------------------------------------------------------------------------------------------

    def bind(self, port: int, handler: UdpHandler) -> None:
        """Hand datagrams for `port` to the handler: (packet, source port, destination port, payload)."""
        self._udp[port] = handler

    def unbind(self, port: int) -> None:
        """Close the port."""
        self._udp.pop(port, None)

    def send_multicast(self, sport: int, dport: int, payload: bytes, group: bytes = wire.ALL_NODES) -> None:
        """A datagram to a multicast group."""
        self.station.send(wire.udp(self.mac, wire.multicast_mac(group), self.ip, group, sport, dport, payload))

    def send_udp(self, dst: bytes, sport: int, dport: int, payload: bytes) -> None:
        """A datagram to one host."""
        self._resolved(dst, lambda mac: wire.udp(self.mac, mac, self.ip, dst, sport, dport, payload))

    # -- TCP -----------------------------------------------------------------------------------------------------------

    def listen(self, port: int) -> Mailbox[Connection]:
        """Accept connections on `port`; the mailbox gives them when the handshake begins."""
        self._listening[port] = Mailbox()
        return self._listening[port]

    def unlisten(self, port: int) -> None:
        """Stop accepting."""
        self._listening.pop(port, None)

    def connect(self, ip: bytes, port: int, local_port: int | None = None) -> Connection:
        """Open a connection; wait on its `opened`."""
        own = local_port if local_port is not None else self._chance.randrange(49152, 65536)
        connection = self._connection(own, ip, port)
        connection.connect()
        return connection

    def _connection(self, own: int, ip: bytes, port: int) -> Connection:
        connection = Connection(
            self.world, self.settings, self._chance.getrandbits(32), self._transmit, own, ip, port, self._forget
        )
        self._connections[(own, ip, port)] = connection
        return connection

    def _forget(self, connection: Connection) -> None:
        key = (connection.local_port, connection.peer_ip, connection.peer_port)
        if self._connections.get(key) is connection:
            del self._connections[key]

    def _transmit(self, c: Connection, seq: int, ack: int, flags: int, window: int, payload: bytes, options: bytes) -> None:
        def build(mac: bytes) -> bytes:
            return wire.tcp(
                self.mac, mac, self.ip, c.peer_ip, c.local_port, c.peer_port, seq, ack, flags, window, payload, options
            )

        self._resolved(c.peer_ip, build)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _receive(self, frame: bytes) -> None:
        packet = wire.read_ipv6(frame) if self.up or frame[12:14] == b"\x86\xdd" else None
        if packet is None:
            return
        if packet.next_header == wire.NEXT_ICMPV6:
            self._icmp(packet)
        elif packet.next_header == wire.NEXT_UDP and len(packet.body) >= 8:
            sport, dport = int.from_bytes(packet.body[0:2], "big"), int.from_bytes(packet.body[2:4], "big")
            handler = self._udp.get(dport)
            if handler is not None and packet.dst in (self.ip, wire.ALL_NODES):
                self._noticed(packet)
                handler(packet, sport, dport, packet.body[8:])
        elif packet.next_header == wire.NEXT_TCP and packet.dst == self.ip:
            self._tcp(packet)

    def _icmp(self, packet: wire.Packet) -> None:
        body = packet.body
        if len(body) < 24:
            return
        target = body[8:24]
        if body[0] == wire.NEIGHBOR_SOLICITATION and target == self.ip and packet.src != wire.UNSPECIFIED:
            self._learn(packet.src, packet.src_mac)
            if self.up and self.answers_neighbors:
                answer = wire.neighbor_advertisement(self.mac, self.ip, packet.src_mac, packet.src, self.advertised)
                self.world.later(self._chance.randrange(100_000, 600_000), lambda: self.send_named("NA", answer))
        elif body[0] == wire.NEIGHBOR_ADVERTISEMENT:
            at = body.find(b"\x02\x01", 24)
            self._learn(target, body[at + 2 : at + 8] if at >= 0 else packet.src_mac)

    def _tcp(self, packet: wire.Packet) -> None:
        segment = wire.read_tcp(packet.body)
        if segment is None:
            return
        self._noticed(packet)
        connection = self._connections.get((segment.dport, packet.src, segment.sport))
        if connection is not None and connection.state != "closed":
            connection.receive(segment)
            return
        if segment.flags & wire.RST or self.settings.deaf:
            return
        backlog = self._listening.get(segment.dport)
        if segment.flags & (wire.SYN | wire.ACK) == wire.SYN and backlog is not None and not self.settings.refuse:
            fresh = self._connection(segment.dport, packet.src, segment.sport)
            fresh.accept(segment)
            backlog.put(fresh)
        elif segment.flags & wire.SYN or segment.payload:
            self._reset(packet, segment)

    def _reset(self, packet: wire.Packet, segment: wire.Segment) -> None:
        """Answer a segment that belongs to nothing (RFC 9293 3.10.7.1)."""
        ack = (segment.seq + len(segment.payload) + (1 if segment.flags & (wire.SYN | wire.FIN) else 0)) & 0xFFFFFFFF
        frame = wire.tcp(
            self.mac, packet.src_mac, self.ip, packet.src, segment.dport, segment.sport,
            segment.ack if segment.flags & wire.ACK else 0, ack, wire.RST | wire.ACK, 0,
        )  # fmt: skip
        self.station.send(frame)
