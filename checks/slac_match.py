"""The match: CM_VALIDATE, CM_SLAC_MATCH, the key, and what comes right after (ISO 15118-3 A.9.4 to A.9.6)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import ns, seconds, slac
from plugtap.protocols.cm_mme import DEFAULT_NMK, CmSetKeyCnf, CmSetKeyReq, nid_from_nmk
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import (
    VALIDATE_FAILURE,
    VALIDATE_NOT_READY,
    VALIDATE_SUCCESS,
    CmSlacMatchCnf,
    CmSlacMatchReq,
    CmValidateCnf,
    CmValidateReq,
)
from plugtap.sessions.notices import NewAttempt
from plugtap.sessions.session import Session

VALIDATE_RESULT = ("not ready", "ready", "success", "failure", "not required")


def talks(session: Session) -> bool:
    """Does the pair talk IP already? Then SLAC cannot have failed, whatever frames of neighbours are in the capture."""
    return bool(session.messages or session.sdp_requests or session.sdp_responses or session.streams)


@register
class ValidateUsed(Check):
    """One finding a session."""

    meta = Meta(
        id="slac-validate-used",
        title="The EV validates the match with the pilot",
        severity="info",
        class_="info",
        effect="none",
        side="none",
        trigger="CM_VALIDATE.REQ seen",
        cause="The attenuation alone does not tell the EV which EVSE it is plugged into.",
        fix="None; if it happens at every session of a site, look for cross-talk between its outlets.",
        refs=("ISO 15118-3 V2G3-A09-51",),
        gap="proceed",
        priority=95,
        example="Two EVSEs within 3 dB: the car toggles S2 to be sure.",
    )

    @on(Mme, "CM_SLAC_MATCH.REQ")
    def match(self, ev: Mme) -> None:
        self.arm()

    @on(Mme, "CM_VALIDATE.REQ")
    def request(self, ev: Mme) -> None:
        self.fire(ev, "The EV sent CM_VALIDATE.REQ.")


@register
class ValidateFailed(Check):
    """Step 1 asks whether the EVSE can, step 2 counts the toggles; the request's timer tells them apart."""

    meta = Meta(
        id="slac-validate-failed",
        title="The validation by the pilot fails",
        severity="info",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger="CM_VALIDATE.CNF says not ready or failure in the first step, or anything but success in the second",
        cause=("The EVSE does not implement the validation, or did not see the pilot toggle: the EV may be at another outlet."),
        fix="Compare the pilot of this outlet with the toggles; the EV should try the next EVSE.",
        refs=("ISO 15118-3 V2G3-A09-51",),
        gap="proceed",
        uec="SLACSequenceError",
        priority=70,
        example="Result 3 (failure): no toggle arrived at this outlet.",
    )

    def start(self) -> None:
        self.step = 0

    @on(Mme, "CM_VALIDATE.REQ")
    def request(self, ev: Mme) -> None:
        if isinstance(ev.body, CmValidateReq):
            self.step = 2 if self.step else 1

    @on(Mme, "CM_VALIDATE.CNF")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmValidateCnf):
            return
        self.arm()
        wrong = body.result != VALIDATE_SUCCESS if self.step == 2 else body.result in (VALIDATE_NOT_READY, VALIDATE_FAILURE)
        if wrong:
            said = VALIDATE_RESULT[body.result] if body.result < len(VALIDATE_RESULT) else f"code {body.result}"
            self.fire(
                ev,
                f"CM_VALIDATE.CNF says {said} in step {max(self.step, 1)}, after {body.toggle_num} toggles.",
                values={"result": Value(body.result), "toggles": Value(body.toggle_num)},
            )


@register
class MatchReqMissing(Check):
    """A new CM_SLAC_PARM.REQ is a restart and has its own finding."""

    meta = Meta(
        id="slac-match-req-missing",
        title="The EV does not ask for the match",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="EVCC",
        trigger=(
            "no CM_SLAC_MATCH.REQ within {TT_EVSE_match_session} of CM_ATTEN_CHAR.RSP (information where another EV was in SLAC at the same time: "
            "one of them is plugged in elsewhere)"
        ),
        cause="The EV chose another EVSE, or gave up.",
        fix="Look for a match of this car with another EVSE at the same time; check the attenuation report.",
        refs=("ISO 15118-3 V2G3-A09-98", "Table A.1 (TT_EVSE_match_session)"),
        needs=("slac-evcc",),
        limits=slac("TT_EVSE_match_session"),
        uec="SLACTimeout",
        priority=40,
        example="The report is answered, then nothing for 10 s.",
    )

    def start(self) -> None:
        self.answer: Mme | None = None

    @on(Mme, "CM_ATTEN_CHAR.RSP")
    def report_answered(self, ev: Mme) -> None:
        if self.session.slac.match_req is None:
            self.arm()
            self.answer = ev
            self.at(ev.t + ns(self.limit("TT_EVSE_match_session")), self.overdue)

    @on(Mme, "CM_SLAC_MATCH.REQ", "CM_SLAC_MATCH.CNF", "CM_SLAC_PARM.REQ")
    def went_on(self, ev: Mme) -> None:
        if self.answer is not None:
            self.evaluated()
        self.answer = None
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.answer is not None and not talks(self.session):
            self.fire(
                self.answer,
                f"No CM_SLAC_MATCH.REQ for {self.limit('TT_EVSE_match_session'):g} s after CM_ATTEN_CHAR.RSP (frame {self.answer.frame}).",
                values={"waited": Value(seconds(t - self.answer.t), "s", self.limit("TT_EVSE_match_session"), ">=")},
                since=self.answer.t,
                t=t,
                severity="info" if self.session.slac.rivals else None,
                effect="none" if self.session.slac.rivals else None,
            )


@register
class MatchNoCnf(Check):
    """The one SLAC rule with a measured hit rate: wait long, and stay silent once the pair talks."""

    meta = Meta(
        id="slac-match-no-cnf",
        title="CM_SLAC_MATCH.REQ is not answered",
        severity="error",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger=(
            "no CM_SLAC_MATCH.CNF for {match_wait} after the first CM_SLAC_MATCH.REQ (or until the EV starts over, "
            "after {C_EV_match_retry} repeats of {TT_match_response}), no V2G traffic of the pair, on a tap that "
            "hears the EVSE"
        ),
        cause=("The EVSE rejects a field of the request, is in the wrong state, or the request went to another EVSE than the one plugged in."),
        fix=(
            "Compare the request's fields (MVFLength, MACs, RunID); restart the EVSE's SLAC software; look for "
            "cross-talk if the EV talks to a neighbour."
        ),
        refs=("ISO 15118-3 Table A.1 (TT_match_response)", "fleet study: 72 % of SLAC failures stop here"),
        needs=("hears-secc",),
        limits=slac("match_wait", "TT_match_response", "C_EV_match_retry"),
        uec="SLACTimeout",
        priority=30,
        example="Five requests, no answer, pilot at 0.4 V: a broken pilot wire.",
    )

    def start(self) -> None:
        self.requests: list[Mme] = []

    @on(Mme, "CM_SLAC_MATCH.REQ")
    def request(self, ev: Mme) -> None:
        if not isinstance(ev.body, CmSlacMatchReq):
            return
        self.arm()
        self.requests = [*self.requests[-8:], ev]
        if len(self.requests) == 1:
            self.at(ev.t + ns(self.limit("match_wait")), self.overdue)

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def answer(self, ev: Mme) -> None:
        if self.requests:
            self.evaluated()
        self.requests = []
        self.cancel()

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        tries = 1 + self.limit("C_EV_match_retry")
        if ev.what == "slac" and self.requests and ev.t - self.requests[0].t >= ns(tries * self.limit("TT_match_response")):
            self.overdue(ev.t)
        self.requests = []
        self.cancel()

    def overdue(self, t: int) -> None:
        requests, self.requests = self.requests, []
        if requests and not talks(self.session):
            waited = seconds(t - requests[0].t)
            self.fire(
                requests,
                f"CM_SLAC_MATCH.REQ was sent {len(requests)} times and not answered for {waited:.1f} s.",
                values={"waited": Value(waited, "s", self.limit("match_wait"), ">="), "requests": Value(len(requests))},
                since=requests[0].t,
                t=t,
            )


@register
class MatchMvfLength(Check):
    """MVFLength of both messages."""

    meta = Meta(
        id="slac-match-mvf-length",
        title="MVFLength of CM_SLAC_MATCH is wrong",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="unknown",
        trigger="MVFLength is not {MVFLength_REQ} in the request or not {MVFLength_CNF} in the confirmation",
        cause="A fault in the sender's SLAC software; strict peers ignore the message.",
        fix="Correct the field in the sender's SLAC software.",
        refs=("ISO 15118-3 Annex A (CM_SLAC_MATCH)",),
        gap="proceed",
        limits=slac("MVFLength_REQ", "MVFLength_CNF"),
        uec="SLACParameterInvalid",
        priority=25,
        example="MVFLength 0 in the request, no confirmation.",
    )

    @on(Mme, "CM_SLAC_MATCH.REQ", "CM_SLAC_MATCH.CNF")
    def message(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmSlacMatchReq | CmSlacMatchCnf):
            return
        self.arm()
        request = isinstance(body, CmSlacMatchReq)
        wanted = self.limit("MVFLength_REQ" if request else "MVFLength_CNF")
        if body.mvf_length != wanted:
            self.fire(
                ev,
                f"{ev.name}: MVFLength is {body.mvf_length}.",
                key=ev.name,
                values={"MVFLength": Value(body.mvf_length, "bytes", wanted, "!=")},
                side="EVCC" if request else "SECC",
            )


@register
class NidNmkInvalid(Check):
    """Networks may carry any NID: information only. The key itself is never shown."""

    meta = Meta(
        id="slac-nid-nmk-invalid",
        title="The network's id does not follow from its key, or the key is a known one",
        severity="info",
        class_="normative",
        effect="none",
        side="SECC",
        trigger=("NID of CM_SLAC_MATCH.CNF is not the one HomePlug AV derives from the NMK, or the NMK is all zero or the factory default"),
        cause="The EVSE uses a configured key or id instead of a random one.",
        fix="EVSE: make a random NMK for each matching and derive the NID from it.",
        refs=("HomePlug AV 1.1 (NID)", "ISO 15118-3"),
        gap="proceed",
        uec="SLACParameterInvalid",
        priority=90,
        example="NID 01:02:03:04:05:06:07.",
    )

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmSlacMatchCnf):
            return
        self.arm()
        if body.nmk == DEFAULT_NMK or not any(body.nmk):
            self.fire(ev, "The NMK is " + ("all zero." if not any(body.nmk) else "the one every modem has out of the box."), key="known")
            return
        expected = nid_from_nmk(body.nmk)
        # the two bits above the low half of the last byte are the security level
        if body.nid[:6] != expected[:6] or body.nid[6] & 0x0F != expected[6] & 0x0F:
            self.fire(ev, "The NID does not follow from the NMK.", key="derived")


@register
class SetKeyFail(Check):
    """RESULT cannot be trusted (some modems answer 1 when they took the key), so only silence counts."""

    meta = Meta(
        id="slac-setkey-fail",
        title="The modem does not confirm its new key",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="unknown",
        trigger=("no CM_SET_KEY.CNF within {set_key_wait} of CM_SET_KEY.REQ, and no IP traffic of the pair within {communication_setup}"),
        cause="The modem is busy, restarting, or does not take the key.",
        fix="Repeat CM_SET_KEY; check the modem's firmware and its connection to the host.",
        refs=("HomePlug AV 1.1 chapter 11 (CM_SET_KEY)",),
        certainty="likely",
        needs=("host",),
        limits=slac("set_key_wait", "communication_setup"),
        uec="PLCFault",
        priority=45,
        example="Matched, CM_SET_KEY.REQ three times, no confirmation, no SDP.",
    )

    def start(self) -> None:
        self.request_frame: Mme | None = None
        self.late: int | None = None  # ns; how long a confirmation took that came too late

    @on(Mme, "CM_SET_KEY.REQ")
    def request(self, ev: Mme) -> None:
        if isinstance(ev.body, CmSetKeyReq):
            self.arm()
            self.request_frame, self.late = ev, None
            # whether the silence matters shows later: some modems take the key without a word
            self.at(ev.t + ns(self.limit("communication_setup")), self.judge)

    @on(Mme, "CM_SET_KEY.CNF")
    def answer(self, ev: Mme) -> None:
        if not isinstance(ev.body, CmSetKeyCnf):
            return
        asked = self.request_frame
        if asked is not None and ev.t - asked.t > ns(self.limit("set_key_wait")):
            self.late = ev.t - asked.t
            return
        self.evaluated()
        self.request_frame = None
        self.cancel()

    def judge(self, t: int) -> None:
        ev = self.request_frame
        if ev is not None and not talks(self.session):
            confirmed = "was not confirmed" if self.late is None else f"was confirmed after {seconds(self.late):.1f} s only"
            side = {self.session.evcc_mac: "EVCC", self.session.secc_mac: "SECC"}.get(ev.src)
            self.fire(
                ev,
                f"CM_SET_KEY.REQ {confirmed}, and no IP traffic followed within {self.limit('communication_setup'):g} s.",
                values={"waited": Value(seconds(t - ev.t), "s", self.limit("set_key_wait"), ">")},
                since=ev.t,
                side=side,
                t=ev.t + ns(self.limit("set_key_wait")),
            )


@register
class AmpMap(Check):
    """Either side may ask."""

    meta = Meta(
        id="slac-amp-map",
        title="CM_AMP_MAP.REQ is not answered",
        severity="info",
        class_="timeout",
        effect="none",
        side="unknown",
        trigger="no CM_AMP_MAP.CNF within {TT_amp_map_exchange} of CM_AMP_MAP.REQ",
        cause="The peer does not support the amplitude map exchange.",
        fix="None; the exchange is optional.",
        refs=("ISO 15118-3 A.9.6", "Table A.1 (TT_amp_map_exchange)"),
        needs=("slac-both",),
        limits=slac("TT_amp_map_exchange"),
        uec="SLACTimeout",
        priority=95,
        example="The charger asks twice, the car does not answer.",
    )

    def start(self) -> None:
        self.asked: Mme | None = None

    @on(Mme, "CM_AMP_MAP.REQ")
    def request(self, ev: Mme) -> None:
        self.arm()
        self.asked = ev
        self.at(ev.t + ns(self.limit("TT_amp_map_exchange")), self.overdue)

    @on(Mme, "CM_AMP_MAP.CNF")
    def answer(self, ev: Mme) -> None:
        if self.asked is not None:
            self.evaluated()
        self.asked = None
        self.cancel()

    def overdue(self, t: int) -> None:
        if self.asked is not None:
            side = {self.session.evcc_mac: "SECC", self.session.secc_mac: "EVCC"}.get(self.asked.src)
            self.fire(
                self.asked,
                "CM_AMP_MAP.REQ was not answered.",
                values={"waited": Value(seconds(t - self.asked.t), "s", self.limit("TT_amp_map_exchange"), ">=")},
                since=self.asked.t,
                side=side,
                t=t,
            )
