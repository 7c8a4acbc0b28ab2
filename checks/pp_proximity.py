"""The proximity contact: what the resistor in the plug says (IEC 61851-1 annex B, SAE J1772)."""

from __future__ import annotations

import statistics

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import has_pwm, letter, ns, pilot
from plugtap.checks.cp_hlc import is_ac, is_dc
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import PilotSample, V2gMessage
from plugtap.protocols.pilot import duty_current
from plugtap.sessions.values import dig, physical

CABLES = {"pp_13A": 13, "pp_20A": 20, "pp_32A": 32, "pp_63A": 63}
ALL = (*CABLES, "pp_latched", "pp_button")
MAX_WINDOW = 2000


class _Proximity(Check):
    """Reads the resistance and tells how long a condition has held."""

    def start(self) -> None:
        self.since: PilotSample | None = None

    def code(self, ohm: float) -> str | None:
        """Which coding a resistance is, by name of its limit: the nearest, for the bands of 100, 150 and 220 Ohm overlap, and those of 480 and 680 Ohm."""
        band = self.limit("pp_band") / 100
        codes = ((self.limit(name), name) for name in ALL)
        near = [(abs(ohm - value) / value, name) for value, name in codes if value > 0 and abs(ohm - value) <= band * value]
        return min(near)[1] if near else None

    def held(self, ev: PilotSample, condition: bool) -> bool:
        """Has the condition held for pp_time? Starts over after it was said."""
        if not condition:
            self.since = None
            return False
        if self.since is None:
            self.since = ev
        return ev.t + ev.span - self.since.t >= ns(self.limit("pp_time"))

    def say(self, ev: PilotSample, detail: str, values: dict[str, Value], key: str = "") -> None:
        """Fire for the stretch since the condition began."""
        since = self.since or ev
        self.fire([since, ev], detail, key=key, values=values, since=since.t)
        self.since = None


@register
class PpResistorUnknown(_Proximity):
    """An open contact is pp-lost."""

    meta = Meta(
        id="pp-resistor-unknown",
        title="The proximity resistor is none of the codes",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="line",
        trigger=(
            "with a car in, the resistance is within {pp_band} of none of {pp_13A}, {pp_20A}, {pp_32A}, {pp_63A}, "
            "{pp_latched}, {pp_button}, for {pp_time}"
        ),
        cause="The cable's coding is damaged, the contact is corroded, or it is a wrong cable.",
        fix="Measure PP to PE in the plug; replace the cable or plug.",
        refs=("IEC 61851-1 annex B", "SAE J1772"),
        gap="proceed",
        limits=pilot(*ALL, "pp_band", "pp_time", "pp_open"),
        uec="ProximityPilotFault",
        mrec="CX023",
        priority=65,
        example="950 ohm.",
    )

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or letter(ev.state) not in "BCD":
            self.since = None
            return
        self.arm()
        if self.held(ev, ev.pp_ohm < self.limit("pp_open") and self.code(ev.pp_ohm) is None):
            self.say(ev, f"The proximity resistance is {ev.pp_ohm} ohm.", {"resistance": Value(ev.pp_ohm, "Ohm")})


@register
class PpCcs2Value(_Proximity):
    """CCS1 plugs (150 and 480 ohm) are right as they are."""

    meta = Meta(
        id="pp-ccs2-value",
        title="A DC plug has the proximity coding of an AC cable",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "DC session and a proximity resistance of an AC cable ({pp_20A}, {pp_32A} or {pp_63A}, ± {pp_band}) instead of {pp_13A}, for {pp_time}"
        ),
        cause=("The EVSE's cable was built with AC coding; the EV may refuse or stall (CableCheck time-outs are known)."),
        fix="Fit 1.5 kohm between PP and PE in the plug.",
        refs=("IEC 62196", "IEC 61851-23"),
        gap="proceed",
        modes=("dc",),
        limits=pilot(*ALL, "pp_band", "pp_time"),
        uec="ProximityPilotFault",
        mrec="CX023",
        priority=40,
        example="220 ohm on a DC plug, CableCheck never ends.",
    )

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or letter(ev.state) not in "BCD" or not is_dc(self.session):
            self.since = None
            return
        self.arm()
        if self.held(ev, self.code(ev.pp_ohm) in ("pp_20A", "pp_32A", "pp_63A")):
            values = {"resistance": Value(ev.pp_ohm, "Ohm", self.limit("pp_13A"), "!=")}
            self.say(ev, f"The proximity resistance is {ev.pp_ohm} ohm in a DC session.", values)


@register
class PpButtonPressed(_Proximity):
    """The step from latched to pressed while power may flow."""

    meta = Meta(
        id="pp-button-pressed",
        title="The latch button was pressed while charging",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="user",
        trigger="the resistance goes from {pp_latched} to {pp_button} (± {pp_band}) in C or D",
        cause="The driver pressed the latch, or its spring or switch is broken.",
        fix="Ask the driver; inspect the latch if nobody pressed it.",
        refs=("SAE J1772",),
        gap="proceed",
        limits=pilot(*ALL, "pp_band", "pp_time"),
        uec="ProximityPilotValueChanged",
        mrec="CX020",
        priority=15,
        example="150 to 480 ohm at 60 A.",
    )

    def start(self) -> None:
        super().start()
        self.latched: PilotSample | None = None

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or letter(ev.state) not in "CD":
            self.latched = self.since = None
            return
        code = self.code(ev.pp_ohm)
        if code == "pp_latched":
            self.arm()
            self.latched = ev
        if self.latched is not None and self.held(ev, code == "pp_button"):
            self.say(
                ev,
                f"The proximity resistance went from {self.latched.pp_ohm} to {ev.pp_ohm} ohm in {ev.state}.",
                {"actualValue": Value(ev.pp_ohm, "Ohm"), "expectedValue": Value(self.latched.pp_ohm, "Ohm")},
            )
            self.latched = None


@register
class PpLost(_Proximity):
    """The pilot sees a car, the proximity contact does not."""

    meta = Meta(
        id="pp-lost",
        title="The proximity contact is open though a car is connected",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="line",
        trigger="more than {pp_open} in B, C or D for {pp_time}",
        cause="The plug is not fully inserted, or the PP pin is corroded or bent.",
        fix="Reseat the plug; inspect the PP pin on both sides.",
        refs=("SAE J1772", "CharIN ProximityPilotNotDetected"),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("pp_open", "pp_time"),
        uec="ProximityPilotNotDetected",
        mrec="CX023",
        priority=20,
        example="Open for 0.4 s in C2.",
    )

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or letter(ev.state) not in "BCD":
            self.since = None
            return
        self.arm()
        if self.held(ev, ev.pp_ohm > self.limit("pp_open")):
            self.say(ev, f"PP is open ({ev.pp_ohm} ohm) in {ev.state}.", {"resistance": Value(ev.pp_ohm, "Ohm", self.limit("pp_open"), ">")})


@register
class PpNoise(_Proximity):
    """A tunable heuristic."""

    meta = Meta(
        id="pp-noise",
        title="The proximity resistance is unsteady",
        severity="info",
        class_="heuristic",
        effect="none",
        side="line",
        trigger="standard deviation of the resistance over {jitter_window} above {pp_sd} of its mean",
        cause="Corrosion or vibration at the PP pin.",
        fix="Inspect the pin.",
        refs=("practice",),
        confidence="unconfirmed",
        gap="proceed",
        limits=pilot("jitter_window", "pp_sd", "pp_open"),
        uec="ProximityPilotValueChanged",
        mrec="CX023",
        priority=95,
        example="Between 120 and 210 ohm.",
    )

    def start(self) -> None:
        self.window: list[PilotSample] = []

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or ev.pp_ohm > self.limit("pp_open") or letter(ev.state) not in "BCD":
            self.window = []
            return
        self.window.append(ev)
        if ev.t - self.window[0].t < ns(self.limit("jitter_window")) and len(self.window) < MAX_WINDOW:
            return
        window, self.window = self.window, []
        ohms = [s.pp_ohm for s in window if s.pp_ohm is not None]
        mean = statistics.fmean(ohms)
        if len(ohms) < 10 or mean <= 0:
            return
        self.arm()
        share = 100 * statistics.pstdev(ohms) / mean
        if share > self.limit("pp_sd"):
            self.fire(
                [window[0], ev],
                f"The proximity resistance varies by {share:.0f} % around {mean:.0f} ohm.",
                values={"deviation": Value(round(share, 1), "%", self.limit("pp_sd"), ">")},
                since=window[0].t,
            )


@register
class PpPowerLimitMismatch(_Proximity):
    """AC: the offered current, by message or by duty cycle, against the cable's."""

    meta = Meta(
        id="pp-power-limit-mismatch",
        title="More current is offered than the cable is coded for",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=("AC: EVSEMaxCurrent or the current of the duty cycle exceeds the ampacity of the cable's coding by more than {current_difference}"),
        cause="The EVSE ignores the cable's coding.",
        fix="EVSE: limit the current to the cable.",
        refs=("IEC 61851-1 annex B",),
        gap="proceed",
        modes=("ac",),
        limits=pilot(*ALL, "pp_band", "pp_time", "current_difference"),
        priority=60,
        example="32 A offered over a 20 A cable.",
    )

    def start(self) -> None:
        super().start()
        self.cable: int | None = None

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if ev.pp_ohm is None or letter(ev.state) not in "BCD":
            return
        self.cable = CABLES.get(self.code(ev.pp_ohm) or "")
        offered = duty_current(ev.duty, self.session.duty_table).ampere if has_pwm(ev) else None
        if self.cable is not None and offered is not None and not is_dc(self.session):
            self.arm()
            if self.held(ev, offered > self.cable + self.limit("current_difference")):
                self.say(
                    ev,
                    f"The pilot announces {offered:.0f} A, the cable is coded for {self.cable} A.",
                    {"current": Value(round(offered, 1), "A", self.cable, ">")},
                )

    @on(V2gMessage, "ChargingStatusRes", "ChargeParameterDiscoveryRes")
    def message(self, ev: V2gMessage) -> None:
        limit = physical(ev.body.get("EVSEMaxCurrent")) or physical(dig(ev.body, "AC_EVSEChargeParameter", "EVSEMaxCurrent"))
        if limit is None or self.cable is None or not is_ac(self.session):
            return
        self.arm()
        if limit > self.cable + self.limit("current_difference"):
            self.fire(
                ev,
                f"EVSEMaxCurrent is {limit:g} A, the cable is coded for {self.cable} A.",
                key="message",
                values={"EVSEMaxCurrent": Value(limit, "A", self.cable, ">")},
            )


@register
class PpAmpacityLimitsDc(_Proximity):
    """Needs no proximity value: the odd power limit is the sign."""

    meta = Meta(
        id="pp-ampacity-limits-dc",
        title="DC power is capped at what an AC cable would carry",
        severity="info",
        class_="implementation",
        effect="degrades",
        side="SECC",
        trigger=(
            "EVSEMaximumPowerLimit in CurrentDemandRes within {dc_cap_tolerance} of 3 x 230 V x 13, 20, 32 or 63 A, "
            "and below {dc_cap_share} of the limit in ChargeParameterDiscoveryRes"
        ),
        cause="The EVSE maps the proximity coding of its DC cable to an AC ampacity.",
        fix="EVSE configuration: do not derive a limit from PP for DC.",
        refs=("EVerest issue 2291",),
        gap="proceed",
        certainty="possible",
        protocols=("din", "iso2"),
        modes=("dc",),
        limits=pilot("dc_cap_tolerance", "dc_cap_share"),
        priority=80,
        example="22 kW in the loop, 150 kW in ChargeParameterDiscoveryRes.",
    )

    def start(self) -> None:
        super().start()
        self.promised: float | None = None
        self.share = self.limit("dc_cap_share") / 100

    @on(V2gMessage, "ChargeParameterDiscoveryRes")
    def parameters(self, ev: V2gMessage) -> None:
        self.promised = physical(dig(ev.body, "DC_EVSEChargeParameter", "EVSEMaximumPowerLimit")) or self.promised

    @on(V2gMessage, "CurrentDemandRes")
    def loop(self, ev: V2gMessage) -> None:
        limit = self.session.electrical.evse_max_p if "EVSEMaximumPowerLimit" in ev.body else None
        if limit is None or self.promised is None:
            return
        self.arm()
        if limit >= self.promised * self.share:
            return
        tolerance = self.limit("dc_cap_tolerance") / 100
        if any(abs(limit - 690 * ampere) <= tolerance * 690 * ampere for ampere in CABLES.values()):
            self.fire(
                ev,
                f"EVSEMaximumPowerLimit is {limit / 1000:.1f} kW, ChargeParameterDiscoveryRes said {self.promised / 1000:.1f} kW.",
                values={"EVSEMaximumPowerLimit": Value(limit, "W", round(self.promised * self.limit("dc_cap_share") / 100), "<")},
            )
