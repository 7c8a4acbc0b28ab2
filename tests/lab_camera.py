"""Steps of a test conversation into the items of its capture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from lab_good import Tree
from lab_wire import (
    ACK,
    ALL_NODES,
    BROADCAST,
    FIN,
    MMTYPES,
    PSH,
    RST,
    RUN_ID,
    SYN,
    Connection,
    Host,
    mme,
    neighbor,
    slac_payload,
    udp,
    v2gtp,
)

from plugtap.protocols.exi import encode
from plugtap.protocols.items import CpRecord, Frame, Item, Tick

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # of every conversation
PAYLOAD_TYPE = {"iso20cm": 0x8002, "iso20ac": 0x8003, "iso20dc": 0x8004, "iso20acdp": 0x8005, "iso20wpt": 0x8006}
# Control pilot plateaus, mV: high, low, duty 0.01 %, frequency 0.1 Hz.
PILOT: dict[str, tuple[int, int, int, int]] = {
    "A1": (12000, 12000, 10000, 0),
    "B1": (9000, 9000, 10000, 0),
    "C1": (6000, 6000, 10000, 0),
    "D1": (3000, 3000, 10000, 0),
    "A2": (12000, -12000, 500, 10000),
    "B2": (9000, -12000, 500, 10000),
    "C2": (6000, -12000, 500, 10000),
    "D2": (3000, -12000, 500, 10000),
    "E": (0, 0, 0, 0),
    "F": (-12000, -12000, 0, 0),
}


@dataclass
class Step:
    """One thing that happens. `fields` are the message's content (V2G), the fields of a MME, or options of the step."""

    kind: str  # v2g, mme, sdp, nd, tcp, cp, frame
    name: str
    side: str = ""
    gap: float = 0.001
    fields: dict[str, Any] = field(default_factory=dict)
    lost: bool = False  # sent, but not in the capture
    declared: bool = True  # and the capture says so (Frame.lost of the next frame)
    header: Tree = field(default_factory=dict)  # of a V2G message: what differs from the session's
    schema: str = ""
    raw: bytes | None = None  # V2G: this payload instead of the encoded content


def moved(item: Item, shift: int, number: int) -> Item:
    """The item `shift` ns later, its packet number raised by `number`."""
    if isinstance(item, Tick):
        return Tick(item.t + shift)
    assert isinstance(item, Frame | CpRecord)
    return msgspec.structs.replace(item, t=item.t + shift, number=item.number + number)


class Camera:
    """Turns steps into items."""

    def __init__(self, steps: list[Step], ev: Host, secc: Host, session_id: str, run_id: bytes = RUN_ID) -> None:
        self.steps, self.ev, self.secc, self.session_id, self.run_id = steps, ev, secc, session_id, run_id
        self.t = START
        self.items: list[Item] = []
        self.lost = 0
        self.connection = Connection(ev, secc)
        self.connections = 0
        self.cp: list[tuple[int, dict[str, Any]]] = []
        self.given_id = False

    def film(self, ticks: float | None, tail: float) -> list[Item]:
        for step in self.steps:
            self.t += round(step.gap * SECOND)
            make: Callable[[Step], None] = getattr(self, f"_{step.kind}")
            make(step)
        end = self.t + round(tail * SECOND)
        self._pilot(end if ticks is not None else self.t)
        items = sorted(self.items, key=lambda i: i.t)
        numbered: list[Item] = []
        for number, item in enumerate(items, 1):
            assert isinstance(item, Frame | CpRecord)
            numbered.append(Frame(item.t, number, item.data, lost=item.lost) if isinstance(item, Frame) else moved(item, 0, number))
        if ticks is None:
            return numbered
        step_ns = round(ticks * SECOND)
        marks: list[Item] = [Tick(t) for t in range(START + step_ns, end + 1, step_ns)]
        return sorted([*numbered, *marks], key=lambda i: (i.t, isinstance(i, Tick)))

    def _send(self, data: bytes, step: Step, later: int = 0) -> None:
        if step.lost:
            self.lost += 1 if step.declared else 0
            return
        self.items.append(Frame(self.t + later, 0, data, lost=self.lost))
        self.lost = 0

    def _frame(self, step: Step) -> None:
        assert step.raw is not None
        self._send(step.raw, step)

    def _mme(self, step: Step) -> None:
        f = step.fields
        src = f.get("src", self.ev.mac if step.side == "EVCC" else self.secc.mac)
        to = self.secc.mac if step.side == "EVCC" else self.ev.mac
        if step.name in ("CM_SLAC_PARM.REQ", "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND"):
            to = BROADCAST
        payload = step.raw if step.raw is not None else slac_payload(step.name, {"pev_mac": self.ev.mac, "evse_mac": self.secc.mac, "run_id": self.run_id} | f)
        mmtype = f.get("mmtype") or MMTYPES[step.name]
        self._send(mme(src, f.get("dst", to), mmtype, payload, f.get("mmv", 1)), step)

    def _sdp(self, step: Step) -> None:
        f, ev, secc = step.fields, self.ev, self.secc
        security, transport = f.get("security", 0x10), f.get("transport", 0)
        if step.side == "EVCC":
            data = f.get("payload", bytes([security, transport]))
            self._send(udp(ev, f.get("dst", ALL_NODES), ev.port, f.get("dport", 15118), v2gtp(0x9000, data)), step)
            return
        data = f.get("payload", f.get("ip", secc.ip) + f.get("port", secc.port).to_bytes(2, "big") + bytes([security, transport]))
        self._send(udp(f.get("src", secc), ev, 15118, ev.port, v2gtp(0x9001, data)), step)

    def _nd(self, step: Step) -> None:
        src, dst = (self.ev, self.secc) if step.side == "EVCC" else (self.secc, self.ev)
        src, dst = step.fields.get("src", src), step.fields.get("dst", dst)
        self._send(neighbor(src, dst, step.name == "NS", step.fields.get("target"), step.fields.get("lladdr")), step)

    def _tcp(self, step: Step) -> None:
        if step.name == "SYN" and step.side == "EVCC" and not step.fields.get("again"):
            ev = replace(self.ev, port=step.fields.get("port", self.ev.port + self.connections))
            self.connections += 1
            secc = replace(self.secc, port=step.fields.get("to_port", self.secc.port))
            self.connection = Connection(ev, secc, {"EVCC": 1000 * self.connections, "SECC": 5000 * self.connections})
        flags = {"SYN": SYN, "SYNACK": SYN | ACK, "ACK": ACK, "FIN": FIN | ACK, "RST": RST | ACK, "RSTACK": RST | ACK}[step.name]
        data, seq = step.fields.get("data", b""), step.fields.get("seq")
        self._send(self.connection.segment(step.side, flags, data, step.fields.get("window", 8192), seq), step)
        if step.name == "FIN" and step.fields.get("acked", True):
            self._ack(step, 500_000)

    def _ack(self, step: Step, later: int) -> None:
        """The other side's acknowledgement."""
        other = "SECC" if step.side == "EVCC" else "EVCC"
        data = self.connection.segment(other, ACK)
        self._send(data, Step("tcp", "ACK", other), later)

    def _v2g(self, step: Step) -> None:
        payload = step.raw if step.raw is not None else self._encode(step)
        kind = step.header.get("payload_type", PAYLOAD_TYPE.get(step.schema, 0x8001))
        data = step.header.get("bytes") or v2gtp(kind, payload, length=step.header.get("length"), version=step.header.get("version", 1))
        if step.header.get("again"):  # a retransmission of what was just sent
            seq = self.connection.seq[step.side] - len(data)
            self._send(self.connection.segment(step.side, PSH | ACK, data, seq=seq), step)
            return
        pieces = step.header.get("pieces", 1)
        size = -(-len(data) // pieces)
        for i in range(pieces):
            self._send(self.connection.segment(step.side, PSH | ACK, data[i * size : (i + 1) * size]), step)
        if step.header.get("acked", True):
            self._ack(step, 400_000)

    def _encode(self, step: Step) -> bytes:
        body = dict(step.fields)
        if step.schema == "sap":
            return encode("sap", {step.name: body})
        first = step.name == "SessionSetupReq"
        ident = ("0000000000000000" if step.schema.startswith("iso20") else "00") if first else self.session_id
        header = {"SessionID": step.header.get("SessionID", ident)}
        if step.schema.startswith("iso20"):
            header["TimeStamp"] = step.header.get("TimeStamp", self.t // SECOND)
            return encode(step.schema, {step.name: {"Header": header} | body})
        for name in ("Notification", "Signature"):
            if name in step.header:
                header[name] = step.header[name]
        return encode(step.schema, {"V2G_Message": {"Header": header, "Body": {step.name: body}}})

    def _cp(self, step: Step) -> None:
        self.cp.append((self.t, step.fields))

    def _pilot(self, end: int) -> None:
        """Cycle records between the changes: three short ones, then steady half seconds."""
        for i, (t, f) in enumerate(self.cp):
            until = self.cp[i + 1][0] if i + 1 < len(self.cp) else end
            hi, lo, duty, freq = PILOT[f["state"]]
            duty = f.get("duty", duty)
            at, made = t, 0
            while at < until:
                span = min(20_000_000 if made < 3 else 500_000_000, until - at)
                self.items.append(
                    CpRecord(
                        at,
                        0,
                        f.get("hi_mv", hi),
                        f.get("lo_mv", lo),
                        duty,
                        f.get("freq", freq),
                        span=span,
                        cycles=max(1, span // 1_000_000),
                        flags=f.get("flags", 0 if freq else 1),
                        pp_mv=f.get("pp_mv"),
                        pp_ohm=f.get("pp_ohm"),
                    )
                )
                at += span
                made += 1
