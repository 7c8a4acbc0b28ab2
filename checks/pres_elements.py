"""Elements that must or must not be there, from the table presence.tsv."""

from __future__ import annotations

import functools
from typing import Any

from plugtap.checks.asked import Asked
from plugtap.checks.base import on
from plugtap.checks.finding import Value
from plugtap.checks.guards import first_loops
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.tables import Presence, presence
from plugtap.checks.v2g_common import dig, failed, response_code
from plugtap.protocols.events import V2gMessage
from plugtap.sessions.v2g_facts import is_request


@functools.lru_cache(maxsize=1024)
def rows_of(check: str, schema: str | None, message: str | None, mode: str) -> list[tuple[Presence, list[str], list[list[str]]]]:
    """The rows for a message, with the paths of condition and elements."""
    rows = [r for r in presence(check) if r.protocol == schema and r.message == message and r.mode in ("any", mode)]
    return [(r, r.when[0].split("/") if r.when else [], [a.split("/") for a in "/".join(r.element).split("|")]) for r in rows]


class _Presence(Asked):
    """Base: rows of one check. Subclasses mark `message` with the messages their rows name."""

    def look(self, ev: V2gMessage) -> None:
        """Hold a message against the rows."""
        mode = "ac" if (self.session.energy or "dc").startswith("ac") else "dc"
        known = rows_of(self.meta.id, ev.schema, ev.message, mode)
        if not known or failed(response_code(ev)):
            return
        for row, condition, alternatives in known:
            if row.when is not None and str(dig(ev.body, *condition)) != row.when[1]:
                continue
            self.arm()
            there = any(dig(ev.body, *path) is not None for path in alternatives)
            if there == (row.rule == "required"):
                self.evaluated()
                continue
            self.wrong(ev, row, "/".join(alternatives[0]))

    def wrong(self, ev: V2gMessage, row: Presence, element: str) -> None:
        """A row that does not hold."""
        what = "lacks" if row.rule == "required" else "has"
        name = element.rpartition("/")[2]
        detail = f"{ev.message} {what} {name}" + (f" while {row.when[0]} is {row.when[1]}." if row.when else ".")
        facts: dict[str, Any] = {
            "key": f"{ev.message} {element}", "side": "EVCC" if is_request(str(ev.message)) else "SECC", "values": {name: Value(row.rule)},
        }  # fmt: skip
        if self.meta.effect == "stops-charging":
            self.hold(ev, ev, detail, **facts)
        else:
            self.fire(ev, detail, **facts)


@register
class EvParameter(_Presence):
    """AC_EVChargeParameter or DC_EVChargeParameter, as the requested mode says."""

    meta = Meta(
        id="pres-chargeparam-mismatch",
        title="EV's charge parameters do not fit the requested mode",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="ChargeParameterDiscoveryReq without the charge parameters of its mode, or with those of the other",
        cause="The EV's software fills the wrong element.",
        fix="EV: send exactly one of AC_EVChargeParameter and DC_EVChargeParameter. EVSE: answer FAILED_WrongChargeParameter.",
        refs=("V2G2-477", "ISO 15118-2 Tables 104, 106"),
        protocols=("din", "iso2"),
        uec="V2GParameterNotAllowed",
        priority=38,
        gap="proceed",
        example="DC_extended is requested, AC_EVChargeParameter comes.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryReq")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class EvseParameter(_Presence):
    """The same on the EVSE's side."""

    meta = Meta(
        id="pres-evse-chargeparam-mismatch",
        title="EVSE's charge parameters do not fit the session",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="ChargeParameterDiscoveryRes Finished without the charge parameters of the mode, or with those of the other",
        cause="The EVSE's software fills the wrong element.",
        fix="EVSE: send DC_EVSEChargeParameter for DC, AC_EVSEChargeParameter for AC.",
        refs=("ISO 15118-2 Table 104",),
        protocols=("din", "iso2"),
        uec="V2GParameterNotAllowed",
        priority=38,
        gap="proceed",
        example="ChargeParameterDiscoveryRes Finished without DC_EVSEChargeParameter.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class ScheduleMissing(_Presence):
    """It may be left out only while Ongoing. In DIN it must be there always: without it the message cannot be decoded."""

    meta = Meta(
        id="pres-saschedule-missing",
        title="Schedule missing",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="ChargeParameterDiscoveryRes Finished without SAScheduleList",
        cause="The EVSE's software leaves the schedule out.",
        fix="EVSE: send at least one SAScheduleTuple with Finished.",
        refs=("V2G2-303", "V2G2-305"),
        protocols=("iso2",),
        uec="V2GParameterNotAllowed",
        priority=39,
        gap="proceed",
        example="ChargeParameterDiscoveryRes Finished, no SAScheduleList.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class ProfileMissing(_Presence):
    """DC EVs usually leave it out, and may."""

    meta = Meta(
        id="pres-chargingprofile-missing-ac",
        title="Charging profile missing",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="AC PowerDeliveryReq(Start) without ChargingProfile",
        cause="The EV's software leaves it out.",
        fix="EV: send a ChargingProfile within PMax. Some EVSEs answer FAILED_ChargingProfileInvalid.",
        refs=("V2G2-224", "V2G2-225", "ISO 15118-2 Table 104"),
        protocols=("iso2",),
        modes=("ac",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="PowerDeliveryReq Start with SAScheduleTupleID 1 and nothing else.",
    )

    @on(V2gMessage, "PowerDeliveryReq")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class IsolationStatusMissing(_Presence):
    """Optional in ISO 15118-2, where the EV then has EVSEStatusCode only."""

    meta = Meta(
        id="pres-evseisolationstatus-missing",
        title="Isolation status missing",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger="EVSEIsolationStatus absent in ChargeParameterDiscoveryRes (DIN), CableCheckRes, PreChargeRes or CurrentDemandRes",
        cause="The EVSE's software leaves it out.",
        fix="EVSE: send EVSEIsolationStatus in every DC_EVSEStatus.",
        refs=("DIN SPEC 70121 Table 97",),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="CableCheckRes whose DC_EVSEStatus has no EVSEIsolationStatus.",
    )

    @on(V2gMessage, "ChargeParameterDiscoveryRes", "CableCheckRes", "PreChargeRes")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)

    @on(V2gMessage, "CurrentDemandRes", only=first_loops)
    def in_loop(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class LoopLimitsMissing(_Presence):
    """Optional by the schema; one EVSE family ends the session without them."""

    meta = Meta(
        id="pres-currentdemand-limits-missing",
        title="EV sends no limits in the charge loop",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="EVCC",
        trigger="CurrentDemandReq without EVMaximumVoltageLimit or EVMaximumCurrentLimit",
        cause="The EV leaves optional elements out.",
        fix="EVSE: take the limits of ChargeParameterDiscovery. EV: send them, for EVSEs that expect them.",
        refs=("ISO 15118-2 8.4.5.4",),
        protocols=("din", "iso2"),
        modes=("dc",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="CurrentDemandReq with targets only.",
    )

    @on(V2gMessage, "CurrentDemandReq", only=first_loops)
    def in_loop(self, ev: V2gMessage) -> None:
        self.look(ev)


@register
class DinForbidden(_Presence):
    """What ISO 15118-2 has and DIN does not use."""

    meta = Meta(
        id="pres-din-forbidden-elements",
        title="Element that DIN does not use",
        severity="info",
        class_="normative",
        effect="none",
        side="unknown",
        trigger="ServiceName, ServiceScope, SalesTariff or GenChallenge in DIN; an energy type other than DC_core and DC_extended; not exactly one service",
        cause="A stack of ISO 15118-2 used for DIN.",
        fix="Leave the named element out.",
        refs=("V2G-DC-252", "V2G-DC-396", "V2G-DC-554", "V2G-DC-625", "V2G-DC-628", "V2G-DC-629", "V2G-DC-635"),
        protocols=("din",),
        modes=("dc",),
        uec="V2GParameterNotAllowed",
        gap="proceed",
        example="ServiceDiscoveryReq with ServiceScope.",
    )

    @on(V2gMessage, "ServiceDiscoveryReq", "ServiceDiscoveryRes", "ContractAuthenticationReq")
    def message(self, ev: V2gMessage) -> None:
        self.look(ev)

    @on(V2gMessage, "ChargeParameterDiscoveryReq")
    def mode(self, ev: V2gMessage) -> None:
        if ev.schema != "din":
            return
        self.arm()
        mode = ev.body.get("EVRequestedEnergyTransferType")
        if mode in ("DC_core", "DC_extended"):
            self.evaluated()
        else:
            self.fire(ev, f"The EV requests {mode}.", key="mode", side="EVCC", values={"EVRequestedEnergyTransferType": Value(mode)})

    @on(V2gMessage, "ServicePaymentSelectionReq")
    def services(self, ev: V2gMessage) -> None:
        if ev.schema != "din":
            return
        self.arm()
        chosen = dig(ev.body, "SelectedServiceList") or {}
        entries = chosen.get("SelectedService") if isinstance(chosen, dict) else None
        count = len(entries) if isinstance(entries, list) else 0
        if count == 1:
            self.evaluated()
        else:
            self.fire(ev, f"The EV selects {count} services.", key="services", side="EVCC", values={"services": Value(count, "", 1, "!=")})

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def tariff(self, ev: V2gMessage) -> None:
        if ev.schema != "din":
            return
        tuples = dig(ev.body, "SAScheduleList") or {}
        entries = tuples.get("SAScheduleTuple") if isinstance(tuples, dict) else None
        self.arm()
        if isinstance(entries, list) and any(isinstance(e, dict) and "SalesTariff" in e for e in entries):
            self.fire(ev, "ChargeParameterDiscoveryRes has a SalesTariff.", key="tariff", side="SECC")
        else:
            self.evaluated()
