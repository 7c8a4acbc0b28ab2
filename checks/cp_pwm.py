"""The oscillator: frequency, duty cycle and how often it changes (IEC 61851-1 annex A)."""

from __future__ import annotations

import math
import statistics

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import has_pwm, is_nominal, letter, measured, ns, pilot, seconds
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.protocols.events import Pilot, PilotSample
from plugtap.protocols.pilot import duty_current

MAX_WINDOW = 2000  # samples


@register
class FrequencyOutOfRange(Check):
    """Mean over some cycles; what is outside the generator's own tolerance but accepted is information."""

    meta = Meta(
        id="cp-frequency-out-of-range",
        title="The pilot's frequency is not 1 kHz",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=(
            "mean frequency over {freq_cycles} outside {freq_generator_low} to {freq_generator_high} (info) or {freq_low} to {freq_high} (warning)"
        ),
        cause="The EVSE's PWM timer is misconfigured or its clock drifts.",
        fix="EVSE: correct the PWM timer. If every outlet shows the same, check the tap's own clock.",
        refs=("IEC 61851-1 annex A", "SAE J1772"),
        confidence="corrected",
        gap="proceed",
        needs=("pilot",),
        limits=pilot("freq_low", "freq_high", "freq_generator_low", "freq_generator_high", "freq_cycles"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=70,
        example="972 Hz.",
    )

    def start(self) -> None:
        self.cycles = 0
        self.sum = 0.0

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not has_pwm(ev) or math.isnan(ev.freq) or ev.freq <= 0:
            self.cycles, self.sum = 0, 0.0
            return
        weight = ev.cycles if ev.origin == "adc" else round(self.limit("freq_cycles"))  # an MME carries a mean already
        self.cycles += weight
        self.sum += ev.freq * weight
        if self.cycles < self.limit("freq_cycles"):
            return
        mean = self.sum / self.cycles
        self.cycles, self.sum = 0, 0.0
        self.arm()
        for low, high, severity in (("freq_low", "freq_high", "warning"), ("freq_generator_low", "freq_generator_high", "info")):
            below = mean < self.limit(low)
            if below or mean > self.limit(high):
                self.fire(
                    ev,
                    f"The pilot runs at {mean:.1f} Hz.",
                    key=severity,
                    values={"frequency": Value(round(mean, 1), "Hz", self.limit(low if below else high), "<" if below else ">")},
                    severity=severity,
                )
                return


@register
class DutyJitter(Check):
    """A tunable heuristic: the standard text for it was not found in public.

    A generator that is set to another duty changes it once, one that jitters all the time: a window with one change is not judged.
    """

    meta = Meta(
        id="cp-duty-jitter",
        title="The duty cycle jitters",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        trigger="standard deviation of the duty cycle over {jitter_window} above {duty_sd}, without a change of state",
        cause="A noisy oscillator, PWM made in software, or the PLC coupling disturbing the edges.",
        fix="EVSE: use a hardware timer, check the pilot driver; tap: filter the edges.",
        refs=("practice",),
        confidence="unconfirmed",
        gap="proceed",
        needs=("pilot-cycles",),
        limits=pilot("jitter_window", "duty_sd"),
        uec="ControlPilotFault",
        priority=95,
        example="Between 4.1 and 6.2 % from cycle to cycle.",
    )

    def start(self) -> None:
        self.window: list[PilotSample] = []
        self.changes = 0  # of the duty, within the window

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        self.changes += 1
        if ev.state != ev.before:
            self.window = []

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not self.window:
            self.changes = 0
        if not measured(ev) or not has_pwm(ev) or math.isnan(ev.duty):
            self.window = []
            return
        self.window.append(ev)
        if ev.t - self.window[0].t < ns(self.limit("jitter_window")) and len(self.window) < MAX_WINDOW:
            return
        window, self.window = self.window, []
        if len(window) < 10 or self.changes == 1:
            return  # steady stretches come as few long records
        self.arm()
        deviation = statistics.pstdev(s.duty for s in window)
        if deviation > self.limit("duty_sd"):
            self.fire(
                [window[0], ev],
                f"The duty cycle varies by {deviation:.2f} percentage points around {statistics.fmean(s.duty for s in window):.1f} %.",
                values={"deviation": Value(round(deviation, 3), "%", self.limit("duty_sd"), ">")},
                since=window[0].t,
            )


@register
class DutyInvalid(Check):
    """Borders of Table A.7 with a tolerance for the measurement."""

    meta = Meta(
        id="cp-duty-invalid",
        title="The duty cycle is one that means nothing",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "duty cycle above 0 and below 3 %, between 7 and 8 % (SAE J1772: 9.5 %), or above 97 % (SAE J1772: 96.5 %) and below 100 %, by "
            "more than {duty_tolerance}, for {invalid_duty_time}; the setting analysis.pilot says whose table counts"
        ),
        cause="The EVSE maps its current limit wrongly to the duty cycle, or the PLC coupling shifts the edges.",
        fix="EVSE: 10 to 85 % = 0.6 A per %, 85 to 96 % = 2.5 A x (duty - 64); 5 % for digital communication.",
        refs=("IEC 61851-1 Table A.7", "SAE J1772"),
        gap="proceed",
        needs=("pilot",),
        limits=pilot("duty_tolerance", "invalid_duty_time"),
        uec="ControlPilotFault",
        mrec="CX014",
        priority=30,
        example="7.5 %: neither 5 % nor a current.",
    )

    def start(self) -> None:
        self.first: PilotSample | None = None

    @on(PilotSample)
    def sample(self, ev: PilotSample) -> None:
        if not has_pwm(ev) or letter(ev.state) not in "BCD" or math.isnan(ev.duty):
            self.first = None
            return
        self.arm()
        tolerance = self.limit("duty_tolerance")
        around = (ev.duty - tolerance, ev.duty, ev.duty + tolerance)
        if any(duty_current(duty, self.session.duty_table).meaning != "none" for duty in around):
            self.first = None
            return
        if self.first is None:
            self.first = ev
        lasted = ev.t + ev.span - self.first.t
        if lasted >= ns(self.limit("invalid_duty_time")):
            self.fire(
                [self.first, ev],
                f"The duty cycle is {ev.duty:.1f} % for {seconds(lasted):.1f} s.",
                values={"dutyCycle": Value(round(ev.duty, 2), "%")},
                since=self.first.t,
            )
            self.first = None


@register
class DutyUpdateTooFast(Check):
    """Two commanded changes of the offered current."""

    meta = Meta(
        id="cp-duty-update-too-fast",
        title="The offered current changes too often",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=("two changes of a duty cycle that announces a current, each of at least {duty_step}, less than {duty_update} apart"),
        cause="The load management changes the limit too often.",
        fix="EVSE: change the duty cycle at most every 5 s.",
        refs=("IEC 61851-1 annex A (5 s)",),
        gap="proceed",
        needs=("pilot",),
        modes=("ac",),
        limits=pilot("duty_update", "duty_step"),
        uec="ControlPilotStateUnexpected",
        priority=85,
        example="16, 14 and 12 A within 3 s.",
    )

    def start(self) -> None:
        self.before: Pilot | None = None
        self.changed: Pilot | None = None

    @on(Pilot)
    def change(self, ev: Pilot) -> None:
        if not is_nominal(ev, self.session.duty_table):
            self.before = self.changed = None
            return
        before, self.before = self.before, ev
        if before is None or abs(ev.duty - before.duty) < self.limit("duty_step"):
            return
        last, self.changed = self.changed, ev
        if last is None:
            return
        self.arm()
        if ev.t - last.t < ns(self.limit("duty_update")):
            self.fire(
                [last, ev],
                f"The duty cycle changed to {last.duty:.1f} % and {seconds(ev.t - last.t):.1f} s later to {ev.duty:.1f} %.",
                values={"interval": Value(seconds(ev.t - last.t), "s", self.limit("duty_update"), "<")},
            )
