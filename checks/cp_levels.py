"""Voltages of the control pilot: plateaus against the bands of IEC 61851-1, the negative half wave, the EV's diode.

Only what an ADC measured cycle by cycle is judged, except for the positive plateau, which some MMEs carry too.
"""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import has_pwm, letter, measured, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot, PilotSample
from plugtap.protocols.items import CP_CLIPPED, CP_GLITCH, CP_OVERRUN
from plugtap.protocols.pilot import CP_NOMINAL

BANDS = tuple(f"{state}_{side}" for state in "ABCD" for side in ("low", "high"))


@register
class LevelOutOfBand(Check):
    """The state is decided by the middles between the nominal levels; this looks at the narrow bands within."""

    meta = Meta(
        id="cp-level-out-of-band",
        title="The pilot's level is outside the band of its state",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger=(
            "positive plateau outside A {A_low} to {A_high}, B {B_low} to {B_high}, C {C_low} to {C_high}, D {D_low} "
            "to {D_high}, by more than {cp_tolerance}, for {level_cycles}"
        ),
        cause=("Contact resistance in pilot or PE, a wrong resistor in the EV, a drifted EVSE supply, or a tap whose ADC is not calibrated."),
        fix=("Measure at the EVSE outlet and at the inlet and compare; check PE and crimps; calibrate the tap with no car plugged in (12.0 V)."),
        refs=("IEC 61851-1 Table A.4", "SAE J1772 Table A1"),
        gap="proceed",
        needs=("pilot",),
        limits=pilot(*BANDS, "cp_tolerance", "level_cycles"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=65,
        example="B at 7.9 V for minutes: 0.3 kohm of contact resistance.",
    )

    def start(self) -> None:
        self.cycles = 0
        self.first: PilotSample | None = None

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        state = letter(ev.state)
        if state not in "ABCD" or ev.flags & (CP_NOMINAL | CP_GLITCH | CP_CLIPPED):
            self.cycles, self.first = 0, None
            return
        self.arm()
        level, tolerance = ev.hi_mv / 1000, self.limit("cp_tolerance")
        low, high = self.limit(f"{state}_low"), self.limit(f"{state}_high")
        if low - tolerance <= level <= high + tolerance:
            self.cycles, self.first = 0, None
            return
        if self.first is None or self.first.state != ev.state:
            self.first, self.cycles = ev, 0
        # A value in an MME stands for the time since the one before.
        self.cycles += ev.cycles if ev.origin == "adc" else (ev.t - self.first.t) // 1_000_000
        if self.cycles >= self.limit("level_cycles"):
            below = level < low
            self.fire(
                [self.first, ev],
                f"{ev.state}: the positive plateau is at {level:.2f} V, {'below' if below else 'above'} the band of {low} to {high} V.",
                key=state + ("<" if below else ">"),
                values={"voltagePositive": Value(round(level, 3), "V", low if below else high, "<" if below else ">")},
                since=self.first.t,
            )
            self.cycles, self.first = 0, None


@register
class GapVoltageNoise(Check):
    """Share of cycles whose state could not be told, over a window, away from transitions."""

    meta = Meta(
        id="cp-gap-voltage-noise",
        title="The pilot often lies between two states",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="line",
        trigger=(
            "more than {gap_share} of the cycles within {gap_window} lie between the bands of two states, {gap_settle} and more away from a change"
        ),
        cause="Noise, a worn contact, or the PLC coupling loading the pilot.",
        fix="Clean the contacts; check the pilot's RC and the coupling capacitor; check the shield.",
        refs=("IEC 61851-1 Table A.4",),
        gap="proceed",
        needs=("pilot-cycles",),
        limits=pilot("B_low", "B_high", "C_low", "C_high", "D_high", "A_low", "gap_share", "gap_window", "gap_settle"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=80,
        example="2 % of the cycles at 7.4 V while in B.",
    )

    def start(self) -> None:
        self.window: int | None = None
        self.total = 0
        self.between = 0
        self.changed = 0

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.changed = ev.t

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not measured(ev) or ev.t - self.changed < ns(self.limit("gap_settle")):
            return
        if self.window is None:
            self.arm()
            self.window, self.total, self.between = ev.t, 0, 0
        self.total += ev.cycles
        level = ev.hi_mv / 1000
        gaps = (("B_high", "A_low"), ("C_high", "B_low"), ("D_high", "C_low"))
        if any(self.limit(low) < level < self.limit(high) for low, high in gaps):
            self.between += ev.cycles
        if ev.t - self.window >= ns(self.limit("gap_window")):
            share = 100 * self.between / self.total if self.total else 0.0
            if share > self.limit("gap_share"):
                self.fire(
                    ev,
                    f"{share:.1f} % of {self.total} cycles lay between two states.",
                    values={"share": Value(round(share, 2), "%", self.limit("gap_share"), ">")},
                    since=self.window,
                )
            else:
                self.evaluated()
            self.window = None


@register
class NegativeRailMissing(Check):
    """A symmetric wave is the missing diode (cp-diode-missing) and not repeated here."""

    meta = Meta(
        id="cp-negative-rail-missing",
        title="The pilot's negative half wave is not at -12 V",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "with PWM in B, C or D the low plateau is above {negative_high} or below {negative_low}, by more than {cp_tolerance}, for {rail_cycles}"
        ),
        cause="The EVSE's -12 V supply sags, or a clamp on the pilot is damaged.",
        fix="Measure the EVSE's -12 V with and without a car; check the diode and clamp in the inlet.",
        refs=("IEC 61851-1 Table A.4", "SAE J1772 Table A1"),
        gap="proceed",
        needs=("pilot-cycles",),
        limits=pilot("negative_low", "negative_high", "cp_tolerance", "rail_cycles", "diode_symmetry"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=45,
        example="-9.8 V in C2.",
    )

    def start(self) -> None:
        self.cycles = 0

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not measured(ev) or not has_pwm(ev) or letter(ev.state) not in "BCD" or ev.flags & CP_CLIPPED:
            self.cycles = 0
            return
        self.arm()
        low, tolerance = ev.lo_mv / 1000, self.limit("cp_tolerance")
        symmetric = abs(ev.hi_mv + ev.lo_mv) / 1000 < self.limit("diode_symmetry")
        above = low > self.limit("negative_high") + tolerance
        if symmetric or not (above or low < self.limit("negative_low") - tolerance):
            self.cycles = 0
            return
        self.cycles += ev.cycles
        if self.cycles >= self.limit("rail_cycles"):
            limit = self.limit("negative_high" if above else "negative_low")
            self.fire(
                ev,
                f"The negative plateau is at {low:.2f} V in {ev.state}.",
                key=">" if above else "<",
                values={"voltageNegative": Value(round(low, 3), "V", limit, ">" if above else "<")},
            )
            self.cycles = 0


@register
class DiodeMissing(Check):
    """Only with PWM: a steady level says nothing about the diode."""

    meta = Meta(
        id="cp-diode-missing",
        title="The EV's diode is not seen",
        severity="warning",
        class_="normative",
        effect="unsafe",
        side="EVCC",
        trigger=("with PWM in B, C or D both plateaus have the same height: their sum is below {diode_symmetry} for {rail_cycles}"),
        cause=("The diode in the inlet is shorted, something resistive (a dummy load, water) is on the pilot, or a tool plays the car."),
        fix="EVSE: do not close the contactor. Inspect inlet and connector for water and damage; check the diode.",
        refs=("IEC 61851-1 annex A", "TC_SECC_CMN_VTB_Abnormal_001"),
        gap="proceed",
        needs=("pilot-cycles",),
        limits=pilot("diode_symmetry", "rail_cycles"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=15,
        example="+9 V and -9 V in B2.",
    )

    def start(self) -> None:
        self.cycles = 0

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not measured(ev) or not has_pwm(ev) or letter(ev.state) not in "BCD":
            self.cycles = 0
            return
        self.arm()
        if abs(ev.hi_mv + ev.lo_mv) / 1000 >= self.limit("diode_symmetry"):
            self.cycles = 0
            return
        self.cycles += ev.cycles
        if self.cycles >= self.limit("rail_cycles"):
            self.fire(
                ev,
                f"{ev.state}: plateaus at {ev.hi_mv / 1000:.2f} V and {ev.lo_mv / 1000:.2f} V.",
                values={
                    "voltagePositive": Value(ev.hi_mv / 1000, "V"),
                    "voltageNegative": Value(ev.lo_mv / 1000, "V"),
                },
            )
            self.cycles = 0


@register
class SamplingGap(Check):
    """A self-check of the tap: while it fires, other findings about the pilot deserve less trust."""

    meta = Meta(
        id="cp-sampling-gap",
        title="The tap missed some of the pilot",
        severity="info",
        class_="info",
        effect="none",
        side="tap",
        trigger="no pilot sample for more than {sample_gap} while connected, or the ADC reports overrun or clipping",
        cause="The serial line overflowed, the host was busy, or the signal exceeds the ADC's range.",
        fix="Check the ADC's cable, baud rate and input divider.",
        refs=("self-check",),
        confidence="unconfirmed",
        gap="proceed",
        needs=("pilot-cycles",),
        limits=pilot("sample_gap"),
        priority=95,
        example="0.8 s without samples in C2.",
    )

    def start(self) -> None:
        self.end: int | None = None

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not measured(ev):
            return
        end, self.end = self.end, ev.t + ev.span
        self.arm()
        if ev.flags & (CP_OVERRUN | CP_CLIPPED):
            what = "overrun" if ev.flags & CP_OVERRUN else "clipping"
            self.fire(ev, f"The ADC reports {what}.", key=what)
        # Records without a span are samples of a slow or hand-made source: a hole in them can't be told.
        if end is not None and ev.span and letter(ev.state) in "BCD" and ev.t - end > ns(self.limit("sample_gap")):
            self.fire(
                ev,
                f"No pilot samples for {seconds(ev.t - end):.3f} s.",
                key="gap",
                values={"gap": Value(seconds(ev.t - end), "s", self.limit("sample_gap"), ">")},
            )
