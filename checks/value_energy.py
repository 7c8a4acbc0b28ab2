"""Energy, meter and state of charge over the session."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.status_ev import ev_status
from plugtap.checks.v2g_common import dig, limits, memo, ns, quantity
from plugtap.checks.value_common import LOOP_RES, present
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.notices import SessionEnded

METERED = ("CurrentDemandRes", "ChargingStatusRes")
MAX_READING = 999_999_999


@memo
def soc_of(ev: V2gMessage) -> int | None:
    """State of charge of a request of the loop, percent."""
    status = ev.body.get("DC_EVStatus")
    if type(status) is dict and type(status.get("EVRESSSOC")) is int:
        return int(status["EVRESSSOC"])
    status = ev_status(ev)
    value = status["EVRESSSOC"] if "EVRESSSOC" in status else dig(ev.body, "DisplayParameters", "PresentSOC")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@register
class SocRange(Check):
    """The field has seven bits: 101 to 127 can be on the wire."""

    meta = Meta(
        id="value-soc-range",
        title="State of charge outside 0 to 100 %",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger="EVRESSSOC (PresentSOC) below 0 or above 100",
        cause="The EV sends a value for 'unknown' that does not exist.",
        fix="EV: clamp the value.",
        refs=("ISO 15118-2 8.5.4.2",),
        modes=("dc",),
        uec="V2GParameterOutOfRange",
        gap="proceed",
        example="EVRESSSOC 127.",
    )

    @on(
        V2gMessage, "ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq", "WeldingDetectionReq",
        "DC_ChargeLoopReq", "AC_ChargeLoopReq",
    )  # fmt: skip
    def message(self, ev: V2gMessage) -> None:
        soc = soc_of(ev)
        if soc is None:
            return
        self.arm()
        if 0 <= soc <= 100:
            self.evaluated()
        else:
            self.fire(ev, f"{ev.message} says {soc} %.", values={"EVRESSSOC": Value(soc, "%", 100 if soc > 100 else 0, ">" if soc > 100 else "<")})


@register
class SocFrozen(Check):
    """No public number: off unless a site switches it on."""

    meta = Meta(
        id="value-soc-frozen",
        title="State of charge does not move while energy flows",
        severity="info",
        class_="heuristic",
        effect="none",
        side="EVCC",
        certainty="possible",
        trigger="more than {soc_frozen_power} for {soc_frozen_time} and EVRESSSOC unchanged",
        cause="The EV reports a stale value.",
        fix="Nothing; do not rely on the state of charge of this EV.",
        refs=(),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("soc_frozen_power", "soc_frozen_time"),
        uec="V2GParameterOutOfRange",
        enabled=False,
        example="40 kW for six minutes, EVRESSSOC 55 % all the time.",
    )

    def start(self) -> None:
        self.since: V2gMessage | None = None
        self.soc: int | None = None

    @on(V2gMessage, "CurrentDemandReq", "DC_ChargeLoopReq")
    def request(self, ev: V2gMessage) -> None:
        soc = soc_of(ev)
        if soc is None:
            return
        if soc != self.soc:
            self.soc, self.since = soc, ev

    @on(V2gMessage, *LOOP_RES)
    def message(self, ev: V2gMessage) -> None:
        volts, amps = present(ev)
        if self.since is None or volts is None or amps is None or volts * amps < self.limit("soc_frozen_power"):
            self.since = ev if self.since is not None else None
            return
        self.arm()
        limit = self.limit("soc_frozen_time")
        if ev.t - self.since.t <= ns(limit):
            self.evaluated()
            return
        since, self.since = self.since, ev
        self.fire([since, ev], f"EVRESSSOC stays at {self.soc} % for {limit:g} s at {volts * amps / 1000:.1f} kW.", since=since.t,
                  values={"EVRESSSOC": Value(self.soc, "%"), "power": quantity(volts * amps, "W")})  # fmt: skip


@register
class SocJump(Check):
    """Battery systems recalculate: information."""

    meta = Meta(
        id="value-soc-jump",
        title="State of charge jumps",
        severity="info",
        class_="heuristic",
        effect="none",
        side="EVCC",
        certainty="possible",
        trigger="EVRESSSOC changes by more than {soc_jump} within {soc_jump_time}, or falls by more than {soc_drop} while charging",
        cause="The EV's battery system recalculates, or sends a start value first.",
        fix="Nothing.",
        refs=(),
        confidence="unconfirmed",
        modes=("dc",),
        limits=limits("soc_jump", "soc_jump_time", "soc_drop"),
        uec="V2GParameterOutOfRange",
        example="EVRESSSOC 0 % in ChargeParameterDiscoveryReq, 62 % in CurrentDemandReq.",
    )

    def start(self) -> None:
        self.before: tuple[V2gMessage, int] | None = None
        self.highest = 0
        self.jump, self.drop = self.limit("soc_jump"), self.limit("soc_drop")

    @on(V2gMessage, "CurrentDemandReq", "DC_ChargeLoopReq")
    def message(self, ev: V2gMessage) -> None:
        soc = soc_of(ev)
        if soc is None or not 0 <= soc <= 100:
            return
        before, self.before = self.before, (ev, soc)
        if before is None:
            self.highest = soc
            return
        self.arm()
        if soc == before[1] and self.highest - soc <= self.drop:
            self.evaluated()
            self.highest = max(self.highest, soc)
            return
        jump, drop = self.jump, self.drop
        if abs(soc - before[1]) > jump and ev.t - before[0].t <= ns(self.limit("soc_jump_time")):
            self.fire([before[0], ev], f"EVRESSSOC went from {before[1]} % to {soc} %.", since=before[0].t,
                      values={"EVRESSSOC": Value(soc, "%"), "change": Value(abs(soc - before[1]), "%", jump, ">")})  # fmt: skip
            self.highest = soc
        elif self.highest - soc > drop and self.session.energy_moved:
            self.fire([before[0], ev], f"EVRESSSOC fell from {self.highest} % to {soc} % while charging.", key="drop",
                      values={"EVRESSSOC": Value(soc, "%"), "drop": Value(self.highest - soc, "%", drop, ">")})  # fmt: skip
            self.highest = soc
        else:
            self.evaluated()
            self.highest = max(self.highest, soc)


@register
class MeterImplausible(Check):
    """MeterInfo of the loop."""

    meta = Meta(
        id="value-meter-implausible",
        title="Meter reading is implausible",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="MeterReading falls or exceeds 999,999,999 Wh, or MeterID is empty",
        cause="The EVSE's meter driver.",
        fix="EVSE: report the meter's identity and its total in Wh.",
        refs=("ISO 15118-2 8.5.2.27",),
        protocols=("iso2", "iso20"),
        uec="V2GParameterOutOfRange",
        example="MeterReading 1200, then 900.",
    )

    def start(self) -> None:
        self.before: tuple[V2gMessage, int] | None = None

    @on(V2gMessage, *METERED, "AC_ChargeLoopRes", "DC_ChargeLoopRes")
    def message(self, ev: V2gMessage) -> None:
        info = ev.body.get("MeterInfo")
        if not isinstance(info, dict):
            return
        self.arm()
        reading = info.get("MeterReading", info.get("ChargedEnergyReadingWh"))
        if info.get("MeterID") == "":
            self.fire(ev, "MeterID is empty.", key="id", values={"MeterID": Value("")})
        if isinstance(reading, int):
            before, self.before = self.before, (ev, reading)
            if reading > MAX_READING:
                self.fire(ev, f"MeterReading is {reading} Wh.", key="large", values={"MeterReading": Value(reading, "Wh", MAX_READING, ">")})
            if before is not None and reading < before[1]:
                self.fire([before[0], ev], f"MeterReading fell from {before[1]} Wh to {reading} Wh.", key="falls", since=before[0].t,
                          values={"MeterReading": Value(reading, "Wh", before[1], "<")})  # fmt: skip
        self.evaluated()


@register
class EnergyMismatch(Check):
    """The meter against the integral of voltage and current; DIN has no meter."""

    meta = Meta(
        id="value-energy-mismatch",
        title="Meter and reported power disagree",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        certainty="possible",
        trigger="MeterReading rises by another amount than the integral of EVSEPresentVoltage and EVSEPresentCurrent, more than {energy_mismatch}, "
        "above {energy_min}",
        cause="A scaling error of the meter or of the reported values.",
        fix="Compare meter and reported values with a reference.",
        refs=(),
        confidence="unconfirmed",
        protocols=("iso2", "iso20"),
        modes=("dc",),
        limits=limits("energy_mismatch", "energy_min"),
        uec="V2GParameterOutOfRange",
        example="The meter counts 10.2 kWh, voltage and current give 9.1 kWh.",
    )

    def start(self) -> None:
        self.first: tuple[V2gMessage, int, float] | None = None
        self.last: tuple[V2gMessage, int, float] | None = None

    @on(V2gMessage, "CurrentDemandRes", "DC_ChargeLoopRes")
    def message(self, ev: V2gMessage) -> None:
        reading = dig(ev.body, "MeterInfo", "MeterReading")
        if reading is None:
            reading = dig(ev.body, "MeterInfo", "ChargedEnergyReadingWh")
        if not isinstance(reading, int):
            return
        point = (ev, reading, self.session.electrical.energy_ws / 3600)
        if self.first is None:
            self.arm()
            self.first = point
        self.last = point

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        if self.first is None or self.last is None:
            return
        meter, integral = self.last[1] - self.first[1], self.last[2] - self.first[2]
        limit = self.limit("energy_mismatch")
        if min(meter, integral) < self.limit("energy_min") or abs(meter - integral) <= integral * limit / 100:
            self.evaluated()
            return
        self.fire(
            [self.first[0], self.last[0]], f"The meter counted {meter} Wh, voltage and current give {integral:.0f} Wh.", since=self.first[0].t,
            values={"MeterReading": Value(meter, "Wh"), "integral": quantity(integral, "Wh"),
                    "difference": quantity(abs(meter - integral) / integral * 100, "%", limit, ">")},
        )  # fmt: skip
