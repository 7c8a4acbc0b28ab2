"""Scenario files: a base session and what is different in this one. TOML, short, readable, deterministic by seed.

    title  = "Pre-charge stalls at 120 V"
    story  = "The power stage …"          # what happened, for people
    base   = "din-dc"                      # another scenario to start from (optional)
    group  = "value"                       # layer or kind of fault; "healthy" for good sessions

    [ev]  [evse]  [battery]  [supply]  [pilot]  [ev_modem]  [evse_modem]   # settings of the parts (sim/settings.py …)
    [line.EVCC] / [line.SECC]              # impairment of one direction; [line] attenuation_db, crosstalk_db
    [tap]                                  # how the tap listens
    [[change]]                             # a message altered on its way out (deviate.Change)
    [[do]]                                 # something that happens after a message (deviate.Action)
    [[exchange]]                           # a session by script: request, answer, times (scripted.Exchange)
    [[neighbor]]                           # another pair on the same line: ev, evse … as above
    [expect]                               # what the analyser should say
    outcome = "failed"; side = "SECC"; checks = ["value-precharge-stalled"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec

from plugtap.sim.bench import Bench, BenchSettings
from plugtap.sim.deviate import Action, Change
from plugtap.sim.electrical import Battery, Supply
from plugtap.sim.kernel import seconds
from plugtap.sim.line import Impairment
from plugtap.sim.modem import ModemSettings
from plugtap.sim.pair import PairSettings
from plugtap.sim.pilot import PilotSettings
from plugtap.sim.scripted import Exchange
from plugtap.sim.settings import EvseSettings, EvSettings
from plugtap.sim.taps import TapSettings
from plugtap.sim.v2g import Codec


class ScenarioError(Exception):
    """A scenario file says something that can't be understood; the message names file, key and what is wrong."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What plugtap should say. `checks` must fire in the session (or the capture), `never` must not; empty texts: not asked.

    No error may be found beyond `checks` and `verdict`; `also` names the consequences that are errors of their own right. `taps` names the
    taps of the matrix that can see the fault, where the rule in sim/matrix.py does not know.
    """

    outcome: str = ""  # of the last session
    outcomes: tuple[str, ...] = ()  # of all own sessions in order
    side: str = ""
    sides: tuple[str, ...] = ()  # who else may rightly be blamed by a tap that hears a part of it
    verdict: str = ""  # the check the verdict should name
    checks: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # in a healthy scenario: checks that may fire above info all the same
    taps: tuple[str, ...] = ()
    sessions: int = -1  # how many own sessions; -1: not asked
    protocol: str = ""


class PairFile(msgspec.Struct, forbid_unknown_fields=True):
    """The parts of a scenario that belong to one pair, as raw tables (merged over the base before they are typed)."""

    ev: dict[str, Any] = {}
    evse: dict[str, Any] = {}
    battery: dict[str, Any] = {}
    supply: dict[str, Any] = {}
    pilot: dict[str, Any] = {}
    ev_modem: dict[str, Any] = {}
    evse_modem: dict[str, Any] = {}
    change: list[dict[str, Any]] = []
    do: list[dict[str, Any]] = []
    exchange: list[dict[str, Any]] = []


class Scenario(PairFile, forbid_unknown_fields=True):
    """A scenario file as written (after its base was merged in)."""

    title: str = ""
    story: str = ""
    base: str = ""
    group: str = ""
    duration: float = 120.0
    tail: float = 3.0
    seed: int = 1
    line: dict[str, Any] = {}
    tap: dict[str, Any] = {}
    neighbor: list[dict[str, Any]] = []
    expect: Expect = Expect()
    name: str = ""

    @property
    def healthy(self) -> bool:
        """Whether it is a good session: nothing above info may be found in it."""
        return self.group == "healthy"


_MERGED = ("ev", "evse", "battery", "supply", "pilot", "ev_modem", "evse_modem", "line", "tap")
_MODEMS = {"ev_modem": ModemSettings(), "evse_modem": ModemSettings(restart=0.9)}


def library() -> dict[str, Scenario]:
    """All scenarios that come with plugtap, by name, in the order of their groups."""
    found = {name: load(name) for name in names()}
    return dict(sorted(found.items(), key=lambda item: (not item[1].healthy, item[1].group, item[0])))


def names() -> list[str]:
    """Names of the scenarios that come with plugtap."""
    folder = resources.files("plugtap.sim").joinpath("scenarios")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """One of plugtap's own scenarios. Raises ScenarioError."""
    return parse(text(name), name, check=False)


def text(name: str) -> str:
    """The file of one of plugtap's own scenarios. Raises ScenarioError."""
    path = resources.files("plugtap.sim").joinpath("scenarios", f"{name}.toml")
    if not path.is_file():
        raise ScenarioError(f"{name}: no such scenario; `plugtap simulate --list` shows them")
    return path.read_text(encoding="utf-8")


def parse(source: str, name: str = "scenario", *, check: bool = True) -> Scenario:
    """A scenario from TOML text. Raises ScenarioError. `check`: look at every setting now, not when it is run."""
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: {error}") from None
    try:
        own = msgspec.convert(raw, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{name}: {error}") from None
    own.name = name
    if own.base:
        _inherit(own, load(own.base))
    if check:
        build(own)
    return own


def _inherit(own: Scenario, base: Scenario) -> None:
    for part in _MERGED:
        setattr(own, part, _merged(getattr(base, part), getattr(own, part)))
    own.change = [*base.change, *own.change]
    own.do = [*base.do, *own.do]
    own.exchange = own.exchange or base.exchange
    own.neighbor = own.neighbor or base.neighbor
    if own.duration == Scenario().duration:
        own.duration = base.duration


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in own.items():
        known = result.get(key)
        result[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def _typed(where: str, raw: Any, kind: Any) -> Any:
    """Convert strictly: unknown keys are errors even where the struct itself would let them pass."""
    if isinstance(raw, dict):
        known = {field.name for field in msgspec.structs.fields(kind)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise ScenarioError(f"{where}: no setting named {', '.join(unknown)} (there are {', '.join(sorted(known))})")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: {error}") from None


def _pair(where: str, raw: PairFile) -> PairSettings:
    modems = {
        name: _typed(f"{where} [{name}]", {**msgspec.to_builtins(default), **getattr(raw, name)}, ModemSettings)
        for name, default in _MODEMS.items()
    }
    return PairSettings(
        ev=_typed(f"{where} [ev]", raw.ev, EvSettings),
        evse=_typed(f"{where} [evse]", raw.evse, EvseSettings),
        battery=_typed(f"{where} [battery]", raw.battery, Battery),
        supply=_typed(f"{where} [supply]", raw.supply, Supply),
        pilot=_typed(f"{where} [pilot]", raw.pilot, PilotSettings),
        ev_modem=modems["ev_modem"],
        evse_modem=modems["evse_modem"],
        changes=tuple(_typed(f"{where} [[change]]", change, Change) for change in raw.change),
        exchanges=tuple(_typed(f"{where} [[exchange]]", exchange, Exchange) for exchange in raw.exchange),
        actions=tuple(_typed(f"{where} [[do]]", action, Action) for action in raw.do),
    )


def build(scenario: Scenario, *, seed: int | None = None, start: int | None = None) -> BenchSettings:
    """The set-up a scenario describes. Raises ScenarioError."""
    name = scenario.name
    pairs = [_pair(name, scenario)]
    for number, raw in enumerate(scenario.neighbor, 1):
        other = msgspec.convert(raw, PairFile)
        pair = _pair(f"{name} [[neighbor]]", other)
        if "mac" not in other.ev:
            pair.ev.mac, pair.ev.modem_mac = f"02:53:00:00:{number + 1:02x}:01", f"02:53:00:00:{number + 1:02x}:11"
        if "mac" not in other.evse:
            pair.evse.mac, pair.evse.modem_mac = f"02:53:00:00:{number + 1:02x}:02", f"02:53:00:00:{number + 1:02x}:12"
        pairs.append(pair)
    settings = BenchSettings(
        seed=scenario.seed if seed is None else seed,
        duration=scenario.duration,
        tail=scenario.tail,
        pairs=tuple(pairs),
        tap=_typed(f"{name} [tap]", scenario.tap, TapSettings),
    )
    if start is not None:
        settings.start = start
    return settings


def bench(
    scenario: Scenario, *, seed: int | None = None, start: int | None = None, codec: Codec | None = None, others: Sequence[TapSettings] = ()
) -> Bench:
    """A bench ready to run the scenario; `others` are taps that listen beside the scenario's own."""
    made = Bench(build(scenario, seed=seed, start=start), codec, others)
    for key, value in scenario.line.items():
        if key in ("EVCC", "SECC", "both"):
            for side in ("EVCC", "SECC") if key == "both" else (key,):
                made.line.impair[side] = _typed(f"{scenario.name} [line.{key}]", value, Impairment)
        elif hasattr(made.line, key):
            setattr(made.line, key, value)
        else:
            raise ScenarioError(f"{scenario.name} [line]: no setting named {key}")
    return made


def length(scenario: Scenario) -> int:
    """The longest it can take, ns."""
    return seconds(scenario.duration)
