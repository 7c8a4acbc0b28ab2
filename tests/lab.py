"""The laboratory: a test conversation built from a good one, run through the whole analysis as bytes.

::

    result = (Lab.good("din-dc")
              .replace("PreChargeRes", EVSEPresentVoltage=volt(90))
              .stop_after("PreChargeRes")
              .close("rst", side="EVCC")
              .run())
    finding = result.one("time-precharge")

Steps have a name (a V2G message, a MME, ``SDP.REQ``, ``SYN`` …, ``CP``) and a gap: seconds since the step before.
`nth` picks among steps of one name, counted from 0, negative from the end, None for all. Names without Req/Res mean
both messages of the exchange. `pytest` puts this folder on the path: ``from lab import Lab``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab_camera import SECOND, START, Camera, Step, moved
from lab_good import GOOD, NAMESPACE, SESSION_ID, Tree
from lab_wire import EV_MAC, EVSE_MAC, RUN_ID, Host

from plugtap.analysis.analysis import Analysis
from plugtap.analysis.outputs import SessionReport
from plugtap.checks.finding import Finding
from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.items import CpRecord, Item, Tick

DROP: Any = object()  # as a field's value: take the field away


@dataclass
class Result:
    """What the analysis said."""

    analysis: Analysis
    items: list[Item]
    outputs: list[SessionReport | Finding]

    @property
    def sessions(self) -> list[SessionReport]:
        """The last state of every session, in order of their start."""
        last = {o.id: o for o in self.outputs if isinstance(o, SessionReport)}
        return sorted(last.values(), key=lambda s: s.start)

    @property
    def session(self) -> SessionReport:
        """The only session."""
        (session,) = self.sessions
        return session

    @property
    def findings(self) -> list[Finding]:
        """All findings in their last revision, in order of time."""
        last = {o.id: o for o in self.outputs if isinstance(o, Finding)}
        for session in self.sessions:
            last |= {f.id: f for f in session.findings}
        return sorted(last.values(), key=lambda f: (f.time, f.check))

    def of(self, check: str) -> list[Finding]:
        """The findings of one check."""
        return [f for f in self.findings if f.check == check]

    def one(self, check: str) -> Finding:
        """The only finding of a check."""
        found = self.of(check)
        assert len(found) == 1, f"{check}: {len(found)} findings; all: {sorted({f.check for f in self.findings})}"
        return found[0]

    def ids(self, *severities: str) -> set[str]:
        """Ids of the checks that fired, of these severities or of all."""
        return {f.check for f in self.findings if not severities or f.severity in severities}

    def count(self, check: str, what: str) -> int:
        """A counter of a check: armed, evaluated, fired, suppressed, failed."""
        return self.analysis.engine.counters.by_check.get(check, {}).get(what, 0)

    def failures(self) -> dict[str, tuple[int, str]]:
        """Checks that raised: must be empty in every test."""
        return dict(self.analysis.engine.failures)


class Lab:
    """A conversation that can be edited and run. All editing methods return the Lab itself."""

    def __init__(self, protocol: str = "din") -> None:
        self.protocol = protocol
        self.steps: list[Step] = []
        self.ev = Host(EV_MAC, 49200)
        self.secc = Host(EVSE_MAC, 61341)
        self.session_id = SESSION_ID
        self.run_id = RUN_ID

    # -- a good session ------------------------------------------------------------------------------------------

    @classmethod
    def good(cls, name: str, *, pilot: bool = True, slac: bool = True) -> Lab:
        """One of ``din-dc``, ``iso2-dc``, ``iso2-ac``, ``iso20-dc``, ``iso20-ac`` from plug-in to unplugging."""
        lab = cls(name.split("-", maxsplit=1)[0])
        if pilot:
            lab.steps += [
                Step("cp", "CP", gap=0.0, fields={"state": "A1"}),
                Step("cp", "CP", gap=2.0, fields={"state": "B1"}),
                Step("cp", "CP", gap=0.5, fields={"state": "B2"}),
            ]
        if slac:
            lab._slac()
        lab._connect()
        for message, request, response, pause in GOOD[name]():
            lab._exchange(message, request, response)
            stop = request.get("ReadyToChargeState") is False or request.get("ChargeProgress") == "Stop"
            if pilot and message.endswith("ChargeParameterDiscovery") and "dc" in name:
                lab.steps.append(Step("cp", "CP", gap=0.02, fields={"state": "C2"}))
            if pilot and message == "PowerDelivery" and "ac" in name and not stop:
                lab.steps.append(Step("cp", "CP", gap=0.02, fields={"state": "C2"}))
            if pilot and message == "PowerDelivery" and stop:
                lab.steps.append(Step("cp", "CP", gap=0.02, fields={"state": "B2"}))
            lab.steps.append(Step("pause", "", gap=pause))
        lab._fold_pauses()
        lab.steps += [Step("tcp", "FIN", "EVCC", 0.1), Step("tcp", "FIN", "SECC", 0.01)]
        if pilot:
            lab.steps += [
                Step("cp", "CP", gap=1.0, fields={"state": "B1"}),
                Step("cp", "CP", gap=2.0, fields={"state": "A1"}),
            ]
        return lab

    def _slac(self) -> None:
        def add(name: str, side: str, gap: float, **fields: Any) -> None:
            self.steps.append(Step("mme", name, side, gap, fields))

        add("CM_SLAC_PARM.REQ", "EVCC", 0.6)
        add("CM_SLAC_PARM.CNF", "SECC", 0.005)
        for _ in range(3):
            add("CM_START_ATTEN_CHAR.IND", "EVCC", 0.03)
        for i in range(10):
            add("CM_MNBC_SOUND.IND", "EVCC", 0.03, cnt=9 - i)
            add("CM_ATTEN_PROFILE.IND", "SECC", 0.002)
        add("CM_ATTEN_CHAR.IND", "SECC", 0.2)
        add("CM_ATTEN_CHAR.RSP", "EVCC", 0.01)
        add("CM_SLAC_MATCH.REQ", "EVCC", 0.05)
        add("CM_SLAC_MATCH.CNF", "SECC", 0.007)

    def _connect(self) -> None:
        self.steps += [
            Step("sdp", "SDP.REQ", "EVCC", 3.0),
            Step("sdp", "SDP.RES", "SECC", 0.01),
            Step("nd", "NS", "EVCC", 0.005),
            Step("nd", "NA", "SECC", 0.002),
            Step("tcp", "SYN", "EVCC", 0.01),
            Step("tcp", "SYNACK", "SECC", 0.002),
            Step("tcp", "ACK", "EVCC", 0.001),
        ]

    def _schema(self, message: str) -> str:
        if message.startswith("supportedAppProtocol"):
            return "sap"
        if self.protocol != "iso20":
            return self.protocol
        return {"DC_": "iso20dc", "AC_": "iso20ac", "ACD": "iso20acdp", "WPT": "iso20wpt"}.get(message[:3], "iso20cm")

    def _exchange(self, message: str, request: Tree, response: Tree, gap: float = 0.02) -> None:
        self.steps.append(self.message(f"{message}Req", request, gap=gap))
        self.steps.append(self.message(f"{message}Res", response, gap=0.012))

    def _fold_pauses(self) -> None:
        """Turn pause steps into the gap of what follows."""
        kept: list[Step] = []
        pause = 0.0
        for step in self.steps:
            if step.kind == "pause":
                pause += step.gap
            else:
                step.gap += pause
                pause = 0.0
                kept.append(step)
        self.steps = kept

    def message(
        self,
        name: str,
        content: Tree | None = None,
        *,
        gap: float = 0.02,
        side: str | None = None,
        raw: bytes | None = None,
    ) -> Step:
        """A V2G message to insert. `content` is what the message element holds."""
        if side is None:
            side = "EVCC" if name.endswith("Req") else "SECC"
        return Step("v2g", name, side, gap, copy.deepcopy(content or {}), schema=self._schema(name), raw=raw)

    def pair(self, number: int) -> Lab:
        """Let another EV and EVSE hold the conversation: MACs, addresses, port, RunID and SessionID of their own."""
        own = number.to_bytes(2, "big")
        self.ev, self.secc = Host(EV_MAC[:4] + own, 49200 + 100 * number), Host(EVSE_MAC[:3] + own + EVSE_MAC[5:], 61341 - number)
        self.session_id, self.run_id = own.hex().upper() + SESSION_ID[4:], own + RUN_ID[2:]
        return self

    # -- editing -------------------------------------------------------------------------------------------------

    def find(self, name: str, nth: int | None = None, side: str | None = None) -> list[Step]:
        """The steps of a name (both messages for a name without Req/Res); AssertionError where there are none."""
        found = [s for s in self.steps if s.name in (name, f"{name}Req", f"{name}Res") and side in (None, s.side)]
        if nth is not None:
            per: dict[str, list[Step]] = {}
            for step in found:
                per.setdefault(step.name, []).append(step)
            found = [steps[nth] for steps in per.values() if -len(steps) <= nth < len(steps)]
        assert found, f"no step {name} {nth}"
        return found

    def find_or_none(self, name: str) -> list[Step]:
        """All steps of this name, none if there is none."""
        return [step for step in self.steps if step.name == name]

    def drop(self, name: str, nth: int | None = None) -> Lab:
        """Take steps out: they are never sent. What follows keeps its time."""
        for step in self.find(name, nth):
            i = self._index(step)
            if i + 1 < len(self.steps):
                self.steps[i + 1].gap += step.gap
            del self.steps[i]
        return self

    def _index(self, step: Step) -> int:
        return next(i for i, s in enumerate(self.steps) if s is step)

    def replace(self, name: str, nth: int | None = None, changes: Tree | None = None, **fields: Any) -> Lab:
        """Change fields. Keys of `changes` may be paths (``DC_EVSEStatus.EVSEStatusCode``, ``A.0.B``); DROP removes."""
        for step in self.find(name, nth):
            for path, new in ((changes or {}) | fields).items():
                _assign(step.fields, path, copy.deepcopy(new) if new is not DROP else DROP)
        return self

    def header(self, name: str, nth: int | None = None, **fields: Any) -> Lab:
        """Change fields of the V2G header (``SessionID``)."""
        for step in self.find(name, nth):
            step.header |= fields
        return self

    def delay(self, name: str, nth: int | None, seconds: float) -> Lab:
        """Let steps, and all that follows them, happen later (or sooner: negative)."""
        for step in self.find(name, nth):
            step.gap = max(0.0, step.gap + seconds)
        return self

    def insert_after(self, name: str, nth: int, *steps: Step) -> Lab:
        """Insert after the last message found."""
        i = max(self._index(s) for s in self.find(name, nth))
        self.steps[i + 1 : i + 1] = [copy.deepcopy(s) for s in steps]
        return self

    def insert_before(self, name: str, nth: int, *steps: Step) -> Lab:
        """Insert before the first message found."""
        i = min(self._index(s) for s in self.find(name, nth))
        self.steps[i:i] = [copy.deepcopy(s) for s in steps]
        return self

    def repeat(self, name: str, nth: int, times: int, every: float | None = None) -> Lab:
        """Say an exchange (or one step) `times` more, `every` seconds from start to start (default: as it was)."""
        found = self.find(name, nth)
        first, last = self._index(found[0]), self._index(found[-1])
        block = self.steps[first : last + 1]
        copies: list[Step] = []
        for _ in range(times):
            again = copy.deepcopy(block)
            if every is not None:
                again[0].gap = max(0.0, every - sum(s.gap for s in again[1:]))
            copies += again
        self.steps[last + 1 : last + 1] = copies
        return self

    def append(self, *steps: Step) -> Lab:
        """Add at the end."""
        self.steps += [copy.deepcopy(s) for s in steps]
        return self

    def stop_after(self, name: str, nth: int = -1, *, pilot: bool = True) -> Lab:
        """Nothing comes after this step; with `pilot` the control pilot stays as it is, else it goes on as planned."""
        i = max(self._index(s) for s in self.find(name, nth))
        rest = [] if pilot else [s for s in self.steps[i + 1 :] if s.kind == "cp"]
        self.steps = self.steps[: i + 1] + rest
        return self

    def lose(self, name: str, nth: int | None = None, *, declared: bool = True) -> Lab:
        """The steps happened, but the capture lacks their frames; `declared`: and says how many it lost."""
        for step in self.find(name, nth):
            step.lost, step.declared = True, declared
        return self

    def close(self, how: str, side: str = "EVCC", gap: float = 0.05) -> Lab:
        """End the TCP connection: ``fin`` (both sides, `side` first) or ``rst``."""
        if how == "rst":
            return self.append(Step("tcp", "RST", side, gap))
        other = "SECC" if side == "EVCC" else "EVCC"
        return self.append(Step("tcp", "FIN", side, gap), Step("tcp", "FIN", other, 0.01))

    def pilot(self, state: str, gap: float = 0.02, **levels: int) -> Lab:
        """Add a change of the control pilot at the end; `levels`: hi_mv, lo_mv, duty, freq."""
        return self.append(Step("cp", "CP", gap=gap, fields={"state": state, **levels}))

    def cp(self, state: str, gap: float = 0.02, **levels: int) -> Step:
        """A change of the control pilot, to insert."""
        return Step("cp", "CP", gap=gap, fields={"state": state, **levels})

    def frame(self, data: bytes, gap: float = 0.01) -> Step:
        """A raw Ethernet frame, to insert."""
        return Step("frame", "FRAME", gap=gap, raw=data)

    def sap(self, *entries: Tree, nth: int = 0) -> Lab:
        """Let the EV offer these AppProtocol entries."""
        return self.replace("supportedAppProtocolReq", nth, {"AppProtocol": list(entries)})

    # -- running -------------------------------------------------------------------------------------------------

    def items(self, *, ticks: float | None = 1.0, tail: float = 70.0) -> list[Item]:
        """The capture: frames, pilot records and, unless `ticks` is None, proofs of silence.

        `ticks` seconds apart, until `tail` seconds after the last step.
        """
        return Camera(self.steps, self.ev, self.secc, self.session_id, self.run_id).film(ticks, tail)

    def run(
        self,
        settings: AnalysisSettings | None = None,
        *,
        ticks: float | None = 1.0,
        tail: float = 70.0,
        then: Iterable[Lab] = (),
    ) -> Result:
        """Run the conversation, then those of `then`, through one Analysis. AssertionError if a check raised."""
        settings = settings or AnalysisSettings(site="lab", tap="lab")
        labs = [self, *then]
        items: list[Item] = []
        for lab in labs:
            shift = items[-1].t - START + SECOND if items else 0
            number = max((i.number for i in items if not isinstance(i, Tick)), default=0)
            items += [moved(i, shift, number) for i in lab.items(ticks=ticks, tail=tail if ticks is not None or lab is labs[-1] else 0.0)]
        sources = ("plc", "cp") if any(isinstance(i, CpRecord) for i in items) else ("plc",)
        analysis = Analysis(settings, sources=sources, foreign=ticks is None)
        outputs: list[SessionReport | Finding] = []
        for item in items:
            outputs += analysis.feed(item)
        outputs += analysis.finish(None if ticks is None else items[-1].t)
        result = Result(analysis, items, outputs)
        assert not result.failures(), result.failures()
        return result


def _assign(tree: Any, path: str, new: Any) -> None:
    *way, last = path.split(".")
    for name in way:
        tree = tree[int(name)] if isinstance(tree, list) else tree.setdefault(name, {})
    if isinstance(tree, list):
        tree[int(last)] = new
    elif new is DROP:
        tree.pop(last, None)
    else:
        tree[last] = new


__all__ = ["DROP", "NAMESPACE", "START", "Lab", "Result", "Step"]
