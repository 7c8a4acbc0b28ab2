"""Limits and schedules of ChargeParameterDiscovery: do they make sense, alone and together?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugtap.checks.asked import Asked
from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.guards import COUNTED, NO_VALUE, VALUELESS, unusual_values
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import Range, ranges
from plugtap.checks.v2g_common import dc_status, dig, limits, memo, physical, protocol_of, quantity
from plugtap.checks.value_common import PARAMETERS_RES
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.session import Session

ANY_SIZE = 1 << 64
MAX_EXPONENT = 9  # the schemas allow -3 to 3; beyond this nothing is usual


def measured(node: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """All physical values of a message with the names of their elements."""
    if depth > 8:
        return
    if isinstance(node, list):
        for entry in node[:64]:
            yield from measured(entry, path, depth + 1)
    elif isinstance(node, dict):
        if "Value" in node and ("Multiplier" in node or "Exponent" in node):
            yield path, node
            return
        for name, child in node.items():
            if isinstance(child, dict | list):
                yield from measured(child, name, depth + 1)


@memo
def measured_of(ev: V2gMessage) -> list[tuple[str, dict[str, Any]]]:
    """All physical values of a message. Those right below it, nearly all in a charge loop, without the search."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, child in ev.body.items():
        if type(child) is dict and "Value" in child and ("Multiplier" in child or "Exponent" in child):
            found.append((name, child))
        elif type(child) is dict or type(child) is list:
            found += measured(child, name, 1)
    return found


def schedule_entries(ev: V2gMessage) -> list[tuple[Any, dict[str, Any]]]:
    """(SAScheduleTupleID, PMaxScheduleEntry) of a ChargeParameterDiscoveryRes."""
    found = []
    tuples = dig(ev.body, "SAScheduleList", "SAScheduleTuple") and ev.body["SAScheduleList"]["SAScheduleTuple"]
    for entry in tuples if isinstance(tuples, list) else []:
        if not isinstance(entry, dict):
            continue
        inner = entry.get("PMaxSchedule")
        rows = inner.get("PMaxScheduleEntry") if isinstance(inner, dict) else None
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict):
                found.append((entry.get("SAScheduleTupleID"), row))
    return found


@register
class Incompatible(Check):
    """No voltage or current both sides can agree on."""

    meta = Meta(
        id="value-ev-evse-incompatible",
        title="EV and EVSE do not match",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        certainty="likely",
        trigger="EVMaximumVoltageLimit below EVSEMinimumVoltageLimit, or EVMaximumCurrentLimit at or below a positive EVSEMinimumCurrentLimit",
        cause="An EV of another voltage class than the EVSE, or an EVSE minimum that is set too high.",
        fix="Compare the limits named here; lower the EVSE's minimum if its hardware allows.",
        refs=("V2G2-477",),
        modes=("dc",),
        uec="V2GParameterOutOfRange",
        priority=40,
        gap="proceed",
        example="EVMaximumVoltageLimit 400 V, EVSEMinimumVoltageLimit 450 V.",
    )

    @on(V2gMessage, *PARAMETERS_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        pairs = (("Voltage", "V", el.ev_max_v, el.evse_min_v), ("Current", "A", el.ev_max_i, el.evse_min_i))
        if all(top is None or low is None for _, _, top, low in pairs):
            return
        self.arm()
        for what, unit, top, low in pairs:
            if top is None or low is None or low <= 0 or top > low:
                continue
            self.fire(
                ev, f"The EV's maximum {what.lower()} is {top:g} {unit}, the EVSE's minimum {low:g} {unit}.", key=what,
                values={f"EVMaximum{what}Limit": quantity(top, unit, low, "<")},
            )  # fmt: skip
        self.evaluated()


@register
class LimitsInconsistent(Check):
    """Limits of the EVSE that contradict each other."""

    meta = Meta(
        id="value-limits-inconsistent",
        title="EVSE's limits contradict each other",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="EVSEMaximumVoltageLimit below EVSEMinimumVoltageLimit, the same for current, or a maximum of 0 when the parameters are Finished",
        cause="The EVSE's configuration, or its power unit had not reported its limits yet.",
        fix="EVSE: announce the limits of the power unit before EVSEProcessing Finished.",
        refs=("V2G20-2654", "V2G20-2655"),
        modes=("dc",),
        uec="V2GParameterOutOfRange",
        priority=56,
        gap="proceed",
        example="EVSEMaximumCurrentLimit 0 A with EVSEProcessing Finished.",
    )

    @on(V2gMessage, *PARAMETERS_RES)
    def message(self, ev: V2gMessage) -> None:
        el = self.session.electrical
        if ev.body.get("EVSEProcessing") == "Ongoing" or (el.evse_max_v is None and el.evse_max_i is None):
            return
        self.arm()
        for what, unit, top, low in (("Voltage", "V", el.evse_max_v, el.evse_min_v), ("Current", "A", el.evse_max_i, el.evse_min_i)):
            if top is not None and low is not None and top < low:
                self.fire(
                    ev, f"EVSEMaximum{what}Limit {top:g} {unit} is below EVSEMinimum{what}Limit {low:g} {unit}.", key=what,
                    values={f"EVSEMaximum{what}Limit": quantity(top, unit, low, "<")},
                )  # fmt: skip
            elif top == 0:
                self.fire(
                    ev, f"EVSEMaximum{what}Limit is 0 {unit}.", key=f"{what} zero", values={f"EVSEMaximum{what}Limit": quantity(0, unit, 0, "=")}
                )
        if el.evse_max_p == 0:
            self.fire(ev, "EVSEMaximumPowerLimit is 0 W.", key="power zero", values={"EVSEMaximumPowerLimit": quantity(0, "W", 0, "=")})
        self.evaluated()


@register
class NegativeLimit(Asked):
    """Only bidirectional ISO 15118-20 knows negative power."""

    meta = Meta(
        id="value-negative-limit",
        title="EV announces a negative limit",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="EVMaximumCurrentLimit, EVMaximumVoltageLimit or EVMaximumPowerLimit below 0 in DIN or ISO 15118-2",
        cause="An overflow or a wrong multiplier in the EV's software, or a vehicle-to-home dialect.",
        fix="EV: correct the sign and the multiplier.",
        refs=("V2G2-477", "V2G-DC-455"),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GParameterOutOfRange",
        priority=41,
        gap="proceed",
        example="EVMaximumPowerLimit -15536 W.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryReq")
    def message(self, ev: V2gMessage) -> None:
        node = ev.body.get("DC_EVChargeParameter")
        if not isinstance(node, dict):
            return
        self.arm()
        for name in ("EVMaximumCurrentLimit", "EVMaximumVoltageLimit", "EVMaximumPowerLimit"):
            number = physical(node.get(name))
            if number is not None and number < 0:
                self.hold(ev, ev, f"{name} is {number:g}.", key=name, values={name: quantity(number, "", 0, "<")})
        self.evaluated()


def wrong_unit(session: Session, ev: V2gMessage, name: str, unit: Any) -> Range | None:
    """The row that an element's unit does not fit."""
    row = ranges().get((protocol_of(session, ev), name))
    return None if unit is None or row is None or unit == row.unit else row


class _Values(Check):
    """Base: every physical value of the messages that carry limits, targets and measurements."""

    @on(
        V2gMessage, "ChargeParameterDiscoveryReq", "ChargeParameterDiscoveryRes", "DC_ChargeParameterDiscoveryReq", "DC_ChargeParameterDiscoveryRes",
        "AC_ChargeParameterDiscoveryReq", "AC_ChargeParameterDiscoveryRes", "PreChargeReq", "PreChargeRes", "CurrentDemandReq", "CurrentDemandRes",
        "ChargingStatusRes", "WeldingDetectionRes", "DC_PreChargeReq", "DC_PreChargeRes", "DC_ChargeLoopReq", "DC_ChargeLoopRes", "AC_ChargeLoopReq", "AC_ChargeLoopRes",
        only=unusual_values, quiet=COUNTED,
    )  # fmt: skip
    def message(self, ev: V2gMessage) -> None:
        self.arm()
        self.values(ev)
        self.evaluated()

    def values(self, ev: V2gMessage) -> None:
        """All of a message."""
        for name, node in measured_of(ev):
            self.value(ev, name, node)

    def value(self, ev: V2gMessage, name: str, node: dict[str, Any]) -> None:
        """One value."""
        raise NotImplementedError


@register
class UnitMismatch(_Values):
    """Which unit belongs to an element stands in ranges.tsv. DIN may leave the unit out."""

    meta = Meta(
        id="value-unit-mismatch",
        title="Value has the wrong unit",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger="the Unit of a value is not the one of its row in ranges.tsv",
        cause="An encoder that fills the unit with a constant.",
        fix="Correct the unit; the other side may refuse the value.",
        refs=("ISO 15118-2 Table 68",),
        protocols=("din", "iso2"),
        uec="V2GParameterOutOfRange",
        priority=58,
        gap="proceed",
        example="EVTargetVoltage with unit A.",
    )

    def start(self) -> None:
        self.rows: dict[tuple[str | None, str, Any], Range | None] = {}  # schema, element, unit -> the row that it does not fit

    def value(self, ev: V2gMessage, name: str, node: dict[str, Any]) -> None:
        unit = node.get("Unit")
        known = ev.schema, name, unit
        if known not in self.rows:
            self.rows[known] = wrong_unit(self.session, ev, name, unit)
        row = self.rows[known]
        if row is None:
            return
        key = f"{ev.message} {name}"
        if self.repeat(ev, key):
            return
        # Remaining times are shown to the driver and decide nothing.
        severity = "info" if row.unit == "s" else None
        self.fire(ev, f"{name} in {ev.message} has the unit {unit}, not {row.unit}.", key=key, side=ev.side, severity=severity,
                  values={name: Value(unit, "", row.unit, "!=")})  # fmt: skip


@register
class Extreme(_Values):
    """A wrong multiplier turns 400 V into 40 kV."""

    meta = Meta(
        id="value-multiplier-extreme",
        title="Value is implausibly large",
        severity="warning",
        class_="heuristic",
        effect="degrades",
        side="unknown",
        certainty="likely",
        trigger="a voltage above {max_voltage}, a current above {max_current} or a power above {max_power} (or outside its row in ranges.tsv)",
        cause="A wrong multiplier or exponent.",
        fix="Compare Multiplier and Value in the named frame.",
        refs=("ISO 15118-2 Table 68",),
        limits=limits("max_voltage", "max_current", "max_power"),
        uec="V2GParameterOutOfRange",
        priority=57,
        gap="proceed",
        example="EVMaximumPowerLimit 8000000 W.",
    )

    def start(self) -> None:
        self.odd: set[tuple[str | None, str | None]] = set()  # schema and message in which a unit was wrong
        self.tops: dict[tuple[str | None, str, Any], tuple[float | None, str]] = {}  # schema, element, Unit -> what `top` says

    def values(self, ev: V2gMessage) -> None:
        fine = True
        for name, node in measured_of(ev):
            known = ev.schema, name, node.get("Unit")
            if known not in self.tops:
                self.tops[known] = self.top(ev, name, node)
            top, unit = self.tops[known]
            number = physical(node)
            if top is not None and number is not None and abs(number) > top:
                fine = False
                self.fire(ev, f"{name} in {ev.message} is {number:g} {unit}.", key=f"{ev.message} {name}", side=ev.side,
                          values={name: quantity(number, unit, top, ">")})  # fmt: skip
        if fine and (ev.schema, ev.message) not in self.odd:
            self.remember(ev)

    def top(self, ev: V2gMessage, name: str, node: dict[str, Any]) -> tuple[float | None, str]:
        """(largest plausible number, None where there is none; unit) of an element."""
        row = ranges().get((protocol_of(self.session, ev), name))
        unit = str(node.get("Unit") or (row.unit if row is not None else None))
        limit = {"V": "max_voltage", "A": "max_current", "W": "max_power"}.get(unit)
        if limit is None:
            return None, unit
        top = self.limit(limit)
        return (top if row is None or row.high is None else min(top, row.high)), unit

    def remember(self, ev: V2gMessage) -> None:
        """Leave it to the guard from now on, unless a unit is wrong or values stand deeper."""
        usual: dict[str, tuple[Any, Any, int]] = {}
        for name, node in ev.body.items():
            if type(node) is list:
                return
            if type(node) is not dict or name in VALUELESS:
                continue
            if "Value" not in node and not any(type(child) in (dict, list) for child in node.values()):
                usual[name] = NO_VALUE
                continue
            exponent = node.get("Multiplier")
            if type(node.get("Value")) is not int or type(exponent) is not int or abs(exponent) > MAX_EXPONENT:
                return
            if wrong_unit(self.session, ev, name, node.get("Unit")) is not None:
                self.odd.add((ev.schema, ev.message))
                return
            top, _ = self.top(ev, name, node)
            # One less than fits: rounding must not decide here.
            usual[name] = node.get("Unit"), exponent, ANY_SIZE if top is None else int(top / 10.0**exponent) - 1
        self.session.usual_values.setdefault((ev.schema, ev.message), {}).update(usual)


@register
class PmaxZero(Check):
    """An EV reads it as: no power today."""

    meta = Meta(
        id="value-pmax-zero",
        title="Schedule without power",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="with EVSEProcessing Finished PMax is 0 in all entries of all schedules, without EVSENotification StopCharging",
        cause="The EVSE's energy management has no power for this outlet.",
        fix="EVSE: answer Ongoing until power is available, or tell the pause by EVSENotification.",
        refs=("V2G2-303", "V2G2-305"),
        protocols=("din", "iso2"),
        uec="V2GParameterOutOfRange",
        priority=47,
        gap="proceed",
        example="One PMaxScheduleEntry with PMax 0 for 86400 s.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        entries = schedule_entries(ev)
        powers = [physical(row.get("PMax")) for _, row in entries]
        if not powers or ev.body.get("EVSEProcessing") != "Finished":
            return  # while Ongoing some EVSEs send an empty schedule
        self.arm()
        if all(p == 0 for p in powers) and dc_status(ev).get("EVSENotification") != "StopCharging":
            self.fire(ev, f"PMax is 0 in all {len(powers)} entries of the schedule.", values={"PMax": quantity(0, "W", 0, "=")})
        else:
            self.evaluated()


@register
class PmaxLow(Check):
    """PMax counts for the whole session in some EVs. In DIN it cannot exceed 32.7 kW, so only schedules that are not saturated are looked at."""

    meta = Meta(
        id="value-schedule-power-limits-session",
        title="Schedule is far below the EVSE's capability",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="SECC",
        certainty="possible",
        trigger="the highest PMax is below {pmax_share} of EVSEMaximumPowerLimit in the same message",
        cause="The EVSE offers what its energy management grants at this moment; some EVs take it as the cap of the session.",
        fix="EVSE: put what may be available during the session into the schedule.",
        refs=(),
        protocols=("din", "iso2"),
        modes=("dc",),
        limits=limits("pmax_share"),
        uec="V2GParameterOutOfRange",
        gap="proceed",
        example="PMax 3 kW, EVSEMaximumPowerLimit 150 kW.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        powers = [p for p in (physical(row.get("PMax")) for _, row in schedule_entries(ev)) if p is not None]
        top = physical(dig(ev.body, "DC_EVSEChargeParameter", "EVSEMaximumPowerLimit"))
        if not powers or not top or top <= 0:
            return
        self.arm()
        share, best = self.limit("pmax_share"), max(powers)
        if 0 < best < top * share / 100 and not (ev.schema == "din" and best >= 30000):
            # Seen often in DIN, where PMax is a plain number of W.
            kilowatts = " The number looks like kW where W belongs." if abs(best * 1000 - top) < 0.01 * top else ""
            self.fire(
                ev,
                f"The schedule grants {best / 1000:g} kW, the EVSE can do {top / 1000:g} kW.{kilowatts}",
                values={"PMax": quantity(best, "W", top * share / 100, "<")},
            )
        else:
            self.evaluated()


@register
class ShortHorizon(Check):
    """The schedule should cover the time until departure, or a day."""

    meta = Meta(
        id="value-pmax-short-horizon",
        title="Schedule ends before departure",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="the schedule covers less than DepartureTime, or {departure} where the EV named none",
        cause="The EVSE's default schedule is short.",
        fix="EVSE: extend the last entry to DepartureTime or 24 h.",
        refs=("V2G2-303", "V2G2-304", "V2G2-305"),
        protocols=("iso2",),
        limits=limits("departure"),
        uec="V2GParameterOutOfRange",
        gap="proceed",
        example="One entry of 3600 s, no DepartureTime.",
    )

    def start(self) -> None:
        self.departure: float | None = None

    @on(V2gMessage, "ChargeParameterDiscoveryReq")
    def request(self, ev: V2gMessage) -> None:
        for holder in ("DC_EVChargeParameter", "AC_EVChargeParameter"):
            node = ev.body.get(holder)
            if isinstance(node, dict):
                value = node.get("DepartureTime")
                self.departure = float(value) if isinstance(value, int) and value > 0 else None

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        if ev.schema != "iso2":
            return
        ends: dict[Any, int] = {}
        for ident, row in schedule_entries(ev):
            start, duration = dig(row, "RelativeTimeInterval", "start"), dig(row, "RelativeTimeInterval", "duration")
            if not isinstance(start, int):
                continue
            # Only the last entry has a duration; without one it is open.
            ends[ident] = start + duration if isinstance(duration, int) else 1 << 40
        if not ends:
            return
        self.arm()
        needed, covered = self.departure or self.limit("departure"), max(ends.values())
        if covered < needed:
            self.fire(ev, f"The schedule covers {covered} s, needed are {needed:g} s.", values={"covered": Value(covered, "s", needed, "<")})
        else:
            self.evaluated()
