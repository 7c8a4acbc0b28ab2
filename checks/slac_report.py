"""The attenuation report as an exchange: CM_ATTEN_CHAR.IND in time, and CM_ATTEN_CHAR.RSP (ISO 15118-3 A.9.3)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds, slac
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import CmAttenCharInd, CmAttenCharRsp
from plugtap.sessions.notices import NewAttempt


@register
class AttenCharLate(Check):
    """From the first CM_START_ATTEN_CHAR.IND of a run."""

    meta = Meta(
        id="slac-atten-char-late",
        title="The EVSE does not report the attenuation in time",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger=("no CM_ATTEN_CHAR.IND within {TT_EV_atten_results} of the first CM_START_ATTEN_CHAR.IND, on a tap that hears both sides"),
        cause="The EVSE is busy, waits for sounds that were lost, or its modem does not measure.",
        fix=(
            "EVSE software: report 600 ms after the start over the sounds received. On site: check that the EVSE's "
            "modem delivers attenuation profiles (QCA7000 class in EVSE mode)."
        ),
        refs=("ISO 15118-3 V2G3-A09-30, V2G3-A09-31", "Table A.1 (TT_EV_atten_results)"),
        needs=("slac-both",),
        limits=slac("TT_EV_atten_results"),
        uec="SLACTimeout",
        priority=35,
        example="Ten sounds, no report, the car begins again.",
    )

    def start(self) -> None:
        self.first: Mme | None = None

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        if ev.what == "slac":
            self.first = None
            self.cancel()

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def start_message(self, ev: Mme) -> None:
        if self.first is None and self.session.slac.match_cnf is None:
            self.first = ev
            self.arm()
            self.at(ev.t + ns(self.limit("TT_EV_atten_results")), self.overdue)

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        if self.first is not None:
            self.evaluated()
        self.cancel()

    @on(Mme, "CM_SLAC_PARM.REQ", "CM_SLAC_MATCH.REQ", "CM_ATTEN_CHAR.RSP")
    def moved_on(self, ev: Mme) -> None:
        if ev.name == "CM_SLAC_PARM.REQ":
            self.first = None
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.first is not None:
            sounds = self.session.slac.sounds_heard
            self.fire(
                self.first,
                f"No CM_ATTEN_CHAR.IND {self.limit('TT_EV_atten_results'):g} s after the EV started sounding; {sounds} sounds heard.",
                values={
                    "waited": Value(seconds(t - self.first.t), "s", self.limit("TT_EV_atten_results"), ">="),
                    "sounds": Value(sounds),
                },
                since=self.first.t,
                t=t,
            )


@register
class AttenCharNoRsp(Check):
    """The EVSE may repeat its report twice; the finding comes when the last answer would have been due."""

    meta = Meta(
        id="slac-atten-char-no-rsp",
        title="The EV does not answer the attenuation report",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger=(
            "no CM_ATTEN_CHAR.RSP within {TT_match_response} of CM_ATTEN_CHAR.IND and the time for "
            "{C_EV_match_retry} repeats, on a tap that hears both sides"
        ),
        cause=("The EV rejects the report (values implausible, too few sounds), chose another EVSE, or did not receive it."),
        fix=("Look at slac-sounds-missing and the attenuation; check the EVSE's report for constant or zero values; reseat the connector."),
        refs=("ISO 15118-3 V2G3-A09-47", "Table A.1 (TT_match_response, C_EV_match_retry)"),
        needs=("slac-both",),
        limits=slac("TT_match_response", "C_EV_match_retry"),
        uec="SLACTimeout",
        priority=40,
        example="The report says 2 of 10 sounds, is repeated twice and never answered; the second attempt works.",
    )

    def start(self) -> None:
        self.reports: list[Mme] = []

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmAttenCharInd) or self.session.slac.match_cnf is not None or ev.dst[0] & 1:
            return
        if self.reports and self.reports[0].src != ev.src:
            return  # a second EVSE: slac-multi-evse-response
        self.arm()
        if not self.reports:
            tries = 1 + self.limit("C_EV_match_retry")
            self.at(ev.t + ns(tries * self.limit("TT_match_response")), self.overdue)
        self.reports = [*self.reports[-8:], ev]

    @on(Mme, "CM_ATTEN_CHAR.RSP", "CM_SLAC_MATCH.REQ")
    def answer(self, ev: Mme) -> None:
        if self.reports:
            self.evaluated()
        self.reports = []
        self.cancel()

    def overdue(self, t: int) -> None:
        reports, self.reports = self.reports, []
        if reports:
            self.fire(
                reports,
                f"CM_ATTEN_CHAR.IND was sent {len(reports)} times and not answered within {seconds(t - reports[0].t):g} s.",
                values={"reports": Value(len(reports))},
                since=reports[0].t,
                t=t,
                certainty="likely" if len(self.session.slac.evses) > 1 else None,
            )


@register
class AttenCharResult(Check):
    """RESULT of the EV's answer."""

    meta = Meta(
        id="slac-atten-char-result",
        title="The EV rejects the attenuation report",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger="RESULT of CM_ATTEN_CHAR.RSP is not 0",
        cause="The EV does not accept the EVSE's values.",
        fix="Check the report's fields and values; update the EVSE's SLAC software if they are constant.",
        refs=("ISO 15118-3 Annex A (CM_ATTEN_CHAR)",),
        gap="proceed",
        uec="SLACParameterInvalid",
        priority=35,
        example="RESULT 1 after a report of all zeros.",
    )

    @on(Mme, "CM_ATTEN_CHAR.RSP")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmAttenCharRsp):
            self.arm()
            if body.result != 0:
                self.fire(ev, f"CM_ATTEN_CHAR.RSP has RESULT {body.result}.", values={"RESULT": Value(body.result, "", 0, "!=")})
