"""The sounding: CM_START_ATTEN_CHAR.IND and CM_MNBC_SOUND.IND, their number, pace and fields (ISO 15118-3 A.9.2)."""

from __future__ import annotations

import itertools

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds, slac
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import CmAttenCharInd, CmMnbcSoundInd, CmSlacParmCnf, CmSlacParmReq, CmStartAttenCharInd
from plugtap.sessions.notices import NewAttempt, SessionClosing

SOUNDING = ("CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND")
MAX_MESSAGES = 40  # of one run that are remembered


@register
class StartAttenLate(Check):
    """Armed by each answer while the run has not begun sounding."""

    meta = Meta(
        id="slac-start-atten-late",
        title="The EV does not start sounding after the EVSE's answer",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger=("no CM_START_ATTEN_CHAR.IND within {TT_match_sequence} of CM_SLAC_PARM.CNF, on a tap that hears the EV"),
        cause=("The EV does not accept the EVSE's CM_SLAC_PARM.CNF (RunID, FORWARDING_STA or another field), or did not receive it."),
        fix=(
            "Compare the CNF's fields with slac-parm-fields and slac-runid-echo; check that the EVSE's signal "
            "reaches the car (coupling, contact); try another car."
        ),
        refs=("ISO 15118-3 Table A.1 (TT_match_sequence)",),
        needs=("slac-both",),
        limits=slac("TT_match_sequence"),
        uec="SLACTimeout",
        priority=35,
        example=("Six requests in two bursts, each answered within 0.1 s, no sound: SLAC is stuck after CM_SLAC_PARM.CNF."),
    )

    def start(self) -> None:
        self.answer: Mme | None = None
        self.run_ids: list[bytes] = []

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        if isinstance(ev.body, CmSlacParmReq):
            self.run_ids = [*self.run_ids[-8:], ev.body.run_id]

    @on(Mme, "CM_SLAC_PARM.CNF")
    def answered(self, ev: Mme) -> None:
        if self.session.slac.start_attens == 0 and self.session.slac.match_cnf is None:
            self.arm()
            self.answer = ev
            self.at(ev.t + ns(self.limit("TT_match_sequence")), self.overdue)

    @on(Mme, *SOUNDING, "CM_ATTEN_CHAR.RSP", "CM_SLAC_MATCH.REQ")
    def went_on(self, ev: Mme) -> None:
        if self.answer is not None:
            self.evaluated()
        self.answer = None
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.answer is None:
            return
        # An answer that carries another RunID is none for the EV: then the EVSE is more likely at fault than the EV.
        echo = self.answer.body.run_id if isinstance(self.answer.body, CmSlacParmCnf) else b""
        strange = bool(self.run_ids) and echo not in self.run_ids
        detail = f"CM_SLAC_PARM.CNF was not followed by CM_START_ATTEN_CHAR.IND within {self.limit('TT_match_sequence'):g} s"
        self.fire(
            self.answer,
            detail + (f"; it carries RunID {echo.hex()}, the EV's is {self.run_ids[-1].hex()}." if strange else "."),
            cause="The EVSE does not echo the EV's RunID, so the EV does not take the answer as its own." if strange else None,
            fix="EVSE software: copy the 8 bytes of RunID from the request unchanged." if strange else None,
            side="unknown" if strange else None,
            values={"waited": Value(seconds(t - self.answer.t), "s", self.limit("TT_match_sequence"), ">=")},
            since=self.answer.t,
            t=t,
        )


@register
class StartAttenCount(Check):
    """Counted when the EVSE reports, so that a run broken off is not judged."""

    meta = Meta(
        id="slac-start-atten-count",
        title="Not three CM_START_ATTEN_CHAR.IND",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger=("{C_EV_start_atten_char_inds} CM_START_ATTEN_CHAR.IND are due in a run; another number was seen by the time of CM_ATTEN_CHAR.IND"),
        cause="The EV sends another number, or the power line or this tap lost one.",
        fix="None while SLAC matches; else check the signal between car and EVSE first.",
        refs=("ISO 15118-3 Table A.1 (C_EV_start_atten_char_inds)",),
        certainty="likely",
        needs=("slac-evcc",),
        limits=slac("C_EV_start_atten_char_inds"),
        uec="SLACParameterOutOfRange",
        priority=85,
        example="Two of three seen, one lost on the line.",
    )

    def start(self) -> None:
        self.messages: list[Mme] = []
        self.judged = False

    @on(Mme, "CM_SLAC_PARM.REQ")
    def new_run(self, ev: Mme) -> None:
        self.messages = []
        self.judged = False

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def start_message(self, ev: Mme) -> None:
        self.messages = [*self.messages[-MAX_MESSAGES:], ev]

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        if not self.messages or self.judged or self.session.slac.match_cnf is not None:
            return
        self.judged = True
        self.arm()
        wanted = self.limit("C_EV_start_atten_char_inds")
        if len(self.messages) != wanted:
            self.fire(
                self.messages,
                f"{len(self.messages)} CM_START_ATTEN_CHAR.IND in this run.",
                values={"messages": Value(len(self.messages), "", wanted, "!=")},
                since=self.messages[0].t,
            )


@register
class StartAttenTimeoutField(Check):
    """One finding for each value seen."""

    meta = Meta(
        id="slac-start-atten-timeout-field",
        title="Time_Out of CM_START_ATTEN_CHAR.IND is not 600 ms",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="field Time_Out of CM_START_ATTEN_CHAR.IND is not {Time_Out_field}",
        cause="The EV announces another window; some EVSEs then ignore the whole run.",
        fix="EV software: send Time_Out 6 (600 ms).",
        refs=("ISO 15118-3 Annex A (CM_START_ATTEN_CHAR)",),
        gap="proceed",
        limits=slac("Time_Out_field"),
        uec="SLACParameterInvalid",
        priority=25,
        example="Time_Out 10: the charger never sends CM_ATTEN_CHAR.IND.",
    )

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def start_message(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmStartAttenCharInd):
            return
        self.arm()
        if body.time_out != self.limit("Time_Out_field"):
            self.fire(
                ev,
                f"Time_Out is {body.time_out} ({body.time_out * 100} ms).",
                values={"Time_Out": Value(body.time_out, "100 ms", self.limit("Time_Out_field"), "!=")},
            )


@register
class BatchInterval(Check):
    """All pauses of a run are judged together, when the run is over; only the worst is named."""

    meta = Meta(
        id="slac-batch-interval",
        title="Sounding messages come too fast or too slowly",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger=(
            "a pause between sounding messages below {TP_EV_batch_msg_interval_min} or above "
            "{TP_EV_batch_msg_interval_max}, by more than {batch_tolerance}"
        ),
        cause="The EV schedules its sounds unevenly, or the line or capture delayed frames.",
        fix=("None while SLAC matches. EV software: 20 to 50 ms between messages; long pauses leave the EVSE's 600 ms window."),
        refs=("ISO 15118-3 Table A.1 (TP_EV_batch_msg_interval)",),
        certainty="likely",
        limits=slac("TP_EV_batch_msg_interval_min", "TP_EV_batch_msg_interval_max", "batch_tolerance"),
        uec="SLACParameterOutOfRange",
        priority=90,
        example="Sounds every 90 ms: the last three come after the window.",
    )

    def start(self) -> None:
        self.last: Mme | None = None

    @on(Mme, "CM_SLAC_PARM.REQ", "CM_ATTEN_CHAR.IND")
    def not_sounding(self, ev: Mme) -> None:
        self.last = None

    @on(Mme, *SOUNDING)
    def sound(self, ev: Mme) -> None:
        last, self.last = self.last, ev
        if last is None or self.session.slac.match_cnf is not None:
            return
        self.arm()
        pause, tolerance = ev.t - last.t, self.limit("batch_tolerance")
        low, high = self.limit("TP_EV_batch_msg_interval_min"), self.limit("TP_EV_batch_msg_interval_max")
        if pause < ns(low - tolerance):
            self._off([last, ev], pause, low, "<")
        elif pause > ns(high + tolerance):
            self._off([last, ev], pause, high, ">")

    def _off(self, frames: list[Mme], pause: int, limit: float, op: str) -> None:
        self.fire(
            frames,
            f"{1000 * seconds(pause):.0f} ms between two sounding messages.",
            values={"pause": Value(seconds(pause), "s", limit, op)},
            since=frames[0].t,
        )


@register
class SoundsMissing(Check):
    """The EVSE's own count (NUM_SOUNDS of CM_ATTEN_CHAR.IND) is the best witness; else the sounds this tap heard."""

    meta = Meta(
        id="slac-sounds-missing",
        title="Fewer sounds than announced",
        severity="info",
        class_="normative",
        effect="degrades",
        side="line",
        trigger=(
            "the EVSE counted fewer than {C_EV_match_MNBC} sounds (info; warning below {few_sounds}), or fewer were "
            "heard by the time the window of {TT_EVSE_match_MNBC} closed and the EVSE reported nothing"
        ),
        cause="The power line signal is weak or disturbed, or the EV stopped sounding early.",
        fix=(
            "Look at the attenuation of this session; clean and reseat the connector; check PE and pilot contacts; "
            "look for disturbance from power electronics."
        ),
        refs=("ISO 15118-3 A.9.2", "Table A.1 (C_EV_match_MNBC, TT_EVSE_match_MNBC)"),
        limits=slac("C_EV_match_MNBC", "TT_EVSE_match_MNBC", "few_sounds"),
        needs=("slac-evcc",),
        gap="uncertain",
        uec="SLACTimeout",
        priority=55,
        example="The EVSE counts 2 of 10 sounds, the car does not answer its report, the second attempt works.",
    )

    def start(self) -> None:
        self.first: Mme | None = None
        self.heard = 0

    @on(Mme, "CM_SLAC_PARM.REQ")
    def new_run(self, ev: Mme) -> None:
        self.first = None
        self.heard = 0
        self.cancel()

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def start_message(self, ev: Mme) -> None:
        if self.first is None:
            self.first = ev
            self.arm()
            # The EVSE reports within 0.1 s after its window; only when it reports nothing the tap's own count is used.
            self.at(ev.t + 2 * ns(self.limit("TT_EVSE_match_MNBC")), self.window_over)

    @on(Mme, "CM_MNBC_SOUND.IND")
    def sound(self, ev: Mme) -> None:
        self.heard += 1

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmAttenCharInd) or self.session.slac.match_cnf is not None or self.first is None:
            return
        self.cancel()
        if body.num_sounds < self.limit("C_EV_match_MNBC"):
            heard = f" (this tap heard {self.heard})" if self.heard != body.num_sounds else ""
            self._missing(ev, body.num_sounds, f"The EVSE counted {body.num_sounds} sounds{heard}.")
        else:
            self.evaluated()

    def window_over(self, t: int) -> None:
        if self.first is not None and self.heard < self.limit("C_EV_match_MNBC"):
            self._missing(self.first, self.heard, f"{self.heard} sounds heard and no report of the EVSE.")

    def _missing(self, ev: Mme, count: int, detail: str) -> None:
        few = count < self.limit("few_sounds")
        self.fire(
            ev,
            detail,
            key="few" if few else "",
            values={"sounds": Value(count, "", self.limit("C_EV_match_MNBC"), "<")},
            since=self.first.t if self.first is not None else None,
            severity="warning" if few else None,
            effect="stops-charging" if few else None,
        )


@register
class SoundCountdown(Check):
    """Only runs in which every sound was heard are judged."""

    meta = Meta(
        id="slac-sound-countdown",
        title="The sounds do not count down",
        severity="info",
        class_="normative",
        effect="none",
        side="EVCC",
        trigger=("Cnt of the first CM_MNBC_SOUND.IND is neither 10 nor 9, or Cnt does not fall by 1 from sound to sound"),
        cause="A fault in the EV's SLAC software; also seen when a sound is lost between the car and this tap.",
        fix="None while SLAC matches.",
        refs=("ISO 15118-3 Annex A (CM_MNBC_SOUND)", "ISO 15118-5 AttenuationCharacterization"),
        certainty="likely",
        needs=("slac-evcc",),
        limits=slac("C_EV_match_MNBC"),
        uec="SLACParameterInvalid",
        priority=90,
        example="Cnt 0 in all ten sounds.",
    )

    def start(self) -> None:
        self.sounds: list[tuple[int, Mme]] = []

    @on(Mme, "CM_SLAC_PARM.REQ")
    def new_run(self, ev: Mme) -> None:
        self.sounds = []

    @on(Mme, "CM_MNBC_SOUND.IND")
    def sound(self, ev: Mme) -> None:
        if not isinstance(ev.body, CmMnbcSoundInd) or self.session.slac.match_cnf is not None:
            return
        self.sounds = [*self.sounds[-MAX_MESSAGES:], (ev.body.cnt, ev)]
        if len(self.sounds) < self.limit("C_EV_match_MNBC"):
            return
        self.arm()
        counts = [cnt for cnt, _ in self.sounds]
        steady = all(b == a - 1 for a, b in itertools.pairwise(counts))
        if counts[0] not in (9, 10) or not steady:
            self.fire(
                [ev for _, ev in self.sounds],
                f"The sounds count {', '.join(map(str, counts))}.",
                values={"first": Value(counts[0], "", 9, "!=")},
                since=self.sounds[0][1].t,
            )
        self.sounds = []


@register
class SoundWindow(Check):
    """Judged once a run, when the last sound it will have is known."""

    meta = Meta(
        id="slac-sound-window",
        title="Sounding takes longer than the EVSE listens",
        severity="info",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger="a CM_MNBC_SOUND.IND later than {TT_EVSE_match_MNBC} after the first CM_START_ATTEN_CHAR.IND",
        cause="The EV leaves too long pauses between its sounds.",
        fix="EV software: shorten the pauses so that all sounds fit in 600 ms.",
        refs=("ISO 15118-3 Table A.1 (TT_EVSE_match_MNBC)",),
        certainty="likely",
        limits=slac("TT_EVSE_match_MNBC"),
        uec="SLACTimeout",
        priority=70,
        example="The tenth sound at 730 ms: the EVSE has already averaged over nine.",
    )

    def start(self) -> None:
        self.first: Mme | None = None
        self.last: Mme | None = None

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        self._judge()

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        self._judge()

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def start_message(self, ev: Mme) -> None:
        if self.first is None:
            self.first = ev

    @on(Mme, "CM_MNBC_SOUND.IND")
    def sound(self, ev: Mme) -> None:
        if self.session.slac.match_cnf is None:
            self.last = ev

    def _judge(self) -> None:
        first, last = self.first, self.last
        self.first = self.last = None
        if first is None or last is None:
            return
        self.arm()
        window = self.limit("TT_EVSE_match_MNBC")
        if last.t - first.t > ns(window):
            self.fire(
                [first, last],
                f"The last sound came {1000 * seconds(last.t - first.t):.0f} ms after the first CM_START_ATTEN_CHAR.IND.",
                values={"sounding": Value(seconds(last.t - first.t), "s", window, ">")},
                since=first.t,
                t=last.t,
            )
