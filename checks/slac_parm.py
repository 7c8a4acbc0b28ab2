"""The opening of SLAC: CM_SLAC_PARM.REQ and CNF, their fields, and when the EV begins (ISO 15118-3 A.9.1)."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.checks.cp_common import is_digital
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import mac, ns, seconds, slac
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import (
    BROADCAST,
    CmAttenCharInd,
    CmMnbcSoundInd,
    CmSlacMatchCnf,
    CmSlacMatchReq,
    CmSlacParmCnf,
    CmSlacParmReq,
    CmStartAttenCharInd,
)
from plugtap.sessions.notices import SessionClosing

MAX_RUNS = 16


@register
class ParmNoCnf(Check):
    """Counts unanswered requests; each answer starts the count over. Answered at last, and no pilot at 5 % before: then the EVSE was still starting."""

    meta = Meta(
        id="slac-parm-no-cnf",
        title="CM_SLAC_PARM.REQ is not answered",
        severity="warning",
        class_="timeout",
        effect="stops-charging",
        side="SECC",
        trigger=("CM_SLAC_PARM.REQ and {C_EV_match_retry} repeats, none answered within {TT_match_response}, on a tap that hears the EVSE; information once answered, unless the pilot was at 5 %"),
        cause=("The EVSE's SLAC software is not ready when the pilot goes to 5 %, or its modem is off, restarting or not the one of this cable."),
        fix=(
            "EVSE: arm SLAC before switching the PWM on (or delay the PWM by 0.5 s). On site: check that the EVSE's "
            "PLC modem runs and is wired to this outlet."
        ),
        refs=("ISO 15118-3 Table A.1 (TT_match_response, C_EV_match_retry)",),
        needs=("hears-secc",),
        limits=slac("TT_match_response", "C_EV_match_retry"),
        uec="SLACTimeout",
        priority=30,
        example=(
            "Six requests in a row, the EVSE's modem restarts: three unanswered, the finding; the fourth is answered "
            "and the session completes: a warning, and information where no pilot at 5 % was seen."
        ),
    )

    def start(self) -> None:
        self.waiting: list[Mme] = []  # the latest
        self.sent = 0
        self.first: Mme | None = None
        self.said = ""  # what was said of the requests that wait
        self.ready = False  # the pilot said that digital communication may begin

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        self.arm()
        if not self.waiting:
            self.first, self.sent = ev, 0
        self.sent += 1
        self.waiting = [*self.waiting[-8:], ev]
        self.at(ev.t + ns(self.limit("TT_match_response")), self.overdue)

    @on(Mme, "CM_SLAC_PARM.CNF")
    def answer(self, ev: Mme) -> None:
        if self.waiting:
            self.evaluated()
        if self.said and not self.ready:
            # Nothing shows that the EVSE had told the EV to begin: it was still starting, and came.
            late = "" if self.first is None else f" The answer came {seconds(ev.t - self.first.t):.1f} s after the first of them."
            self.amend(severity="info", effect="none", detail=self.said + late)
        self.said, self.ready = "", False
        self.waiting = []
        self.cancel()

    def overdue(self, t: int) -> None:
        sent = self.sent
        if sent > self.limit("C_EV_match_retry"):
            pilot = self.session.pilot
            self.ready = self.ready or (pilot is not None and is_digital(pilot))
            self.said = f"{sent} CM_SLAC_PARM.REQ in a row without CM_SLAC_PARM.CNF."
            self.fire(
                self.waiting,
                self.said,
                values={"requests": Value(sent, "", self.limit("C_EV_match_retry") + 1, ">=")},
                since=self.waiting[0].t,
            )


@register
class ParmRetry(Check):
    """A repeat is a request with the RunID of the one before, or one that comes before anything answered."""

    meta = Meta(
        id="slac-parm-retry",
        title="CM_SLAC_PARM.REQ is repeated",
        severity="info",
        class_="info",
        effect="none",
        side="unknown",
        trigger="CM_SLAC_PARM.REQ again with the same RunID, or while no step of the run has followed",
        cause="The EVSE had not answered yet (modem starting, PWM not at 5 %), or the EV did not accept the answer.",
        fix=("None if the next answer is accepted. If answers were there, compare their fields with slac-parm-fields and slac-runid-echo."),
        refs=("ISO 15118-3 A.9.1 (V2G3-A09)", "Table A.1 (C_EV_match_retry)"),
        gap="proceed",
        limits=slac("C_EV_match_retry"),
        uec="SLACSequenceError",
        priority=80,
        example="A car that wakes up before the charger sends a request each second until the first answer.",
    )

    def start(self) -> None:
        self.last: Mme | None = None
        self.repeats = 0
        self.answered = 0
        self.moved_on = False

    @on(Mme, "CM_SLAC_PARM.CNF")
    def answer(self, ev: Mme) -> None:
        self.answered += 1

    @on(Mme, "CM_START_ATTEN_CHAR.IND")
    def next_step(self, ev: Mme) -> None:
        self.moved_on = True

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmSlacParmReq):
            return
        self.arm()
        last = self.last
        again = last is not None and (last.body.run_id == body.run_id or not self.moved_on)
        if not again:
            self.repeats = self.answered = 0
        else:
            self.repeats += 1
            many = self.repeats > self.limit("C_EV_match_retry")
            self.fire(
                [last, ev] if last is not None else ev,
                "The EV asked again, "
                + ("though it had been answered." if self.answered else "nothing had answered yet.")
                + (" More often than the standard's two repeats." if many else ""),
                key="answered" if self.answered else "",
                values={"repeats": Value(self.repeats, "", self.limit("C_EV_match_retry"), ">" if many else "<=")},
            )
        self.last = ev
        self.moved_on = False


@register
class ParmFields(Check):
    """All fields of both messages whose value ISO 15118-3 fixes."""

    meta = Meta(
        id="slac-parm-fields",
        title="A field of CM_SLAC_PARM has a value the standard does not allow",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger=(
            "APPLICATION_TYPE or SECURITY_TYPE not 0; in the CNF M-SOUND_TARGET not broadcast, NUM_SOUNDS not "
            "{C_EV_match_MNBC}, Time_Out not {Time_Out_field}, RESP_TYPE not 1, FORWARDING_STA not the EV's MAC"
        ),
        cause="The sender's SLAC software fills the field wrongly; a strict peer ignores the message.",
        fix="Correct the field named in the details in the sender's SLAC software.",
        refs=("ISO 15118-3 Annex A (CM_SLAC_PARM)",),
        gap="proceed",
        limits=slac("C_EV_match_MNBC", "Time_Out_field"),
        uec="SLACParameterInvalid",
        priority=25,
        example="Time_Out 10 (1 s) instead of 6: some peers ignore it.",
    )

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmSlacParmReq):
            self._look(ev, "EVCC", {"APPLICATION_TYPE": (body.application_type, 0), "SECURITY_TYPE": (body.security_type, 0)})

    @on(Mme, "CM_SLAC_PARM.CNF")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmSlacParmCnf):
            return
        fields: dict[str, tuple[object, object]] = {
            "APPLICATION_TYPE": (body.application_type, 0),
            "SECURITY_TYPE": (body.security_type, 0),
            "M-SOUND_TARGET": (mac(body.m_sound_target), mac(BROADCAST)),
            "NUM_SOUNDS": (body.num_sounds, round(self.limit("C_EV_match_MNBC"))),
            "Time_Out": (body.time_out, round(self.limit("Time_Out_field"))),
            "RESP_TYPE": (body.resp_type, 1),
        }
        ev_mac = self.session.evcc_mac
        if ev_mac is not None:
            fields["FORWARDING_STA"] = (mac(body.forwarding_sta), mac(ev_mac))
        self._look(ev, "SECC", fields)

    def _look(self, ev: Mme, side: str, fields: dict[str, tuple[object, object]]) -> None:
        self.arm()
        wrong = {name: Value(is_, "", should, "!=") for name, (is_, should) in fields.items() if is_ != should}
        if wrong:
            self.fire(
                ev,
                f"{ev.name}: {', '.join(f'{n} is {v.value}, not {v.limit}' for n, v in wrong.items())}.",
                key=f"{side}{sorted(wrong)}",
                values=wrong,
                side=side,
            )


@register
class RunIdEcho(Check):
    """Only judged where the EV's own RunID was seen. An EV that minds goes no further: then this stopped it, and what else it did not do follows."""

    meta = Meta(
        id="slac-runid-echo",
        title="The EVSE does not echo the RunID",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="SECC",
        trigger=("RunID in CM_SLAC_PARM.CNF, CM_ATTEN_CHAR.IND or CM_SLAC_MATCH.CNF is none that this EV sent in CM_SLAC_PARM.REQ (all 8 bytes)"),
        cause="The EVSE's SLAC software copies the wrong bytes: the MAC, six bytes only, or an older run.",
        fix="EVSE software: copy the 8 bytes of RunID from the request unchanged.",
        refs=("ISO 15118-3 Annex A",),
        gap="suppress",
        needs=("slac-evcc",),
        uec="SLACParameterInvalid",
        priority=20,
        example="An EV that puts ASCII into RunID and an EVSE that answers with zeros: the EV repeats for ever.",
    )

    def start(self) -> None:
        self.sent: list[bytes] = []
        self.since = self.now
        self.ignored: tuple[Mme, str] | None = None  # a wrong CM_SLAC_PARM.CNF after which the EV has not gone on

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        if isinstance(ev.body, CmSlacParmReq) and ev.body.run_id not in self.sent:
            self.sent = [*self.sent[-MAX_RUNS:], ev.body.run_id]

    @on(Mme, "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND", "CM_SLAC_MATCH.REQ")
    def went_on(self, ev: Mme) -> None:
        self.ignored = None

    @on(SessionClosing)
    def closing(self, ev: SessionClosing) -> None:
        shown = self.session.ended is not None and self.session.ended.how != "capture-end"
        if self.ignored is not None and shown and not self.session.messages:
            answer, run_id = self.ignored
            self.fire(
                answer,
                f"The EV did not go on after {answer.name} with RunID {run_id}; its own is {self.sent[-1].hex()}.",
                key="ignored",
                since=self.since,
                t=answer.t,
                effect="stops-charging",
                values={"RunID": Value(run_id, "", self.sent[-1].hex(), "!=")},
            )

    @on(Mme, "CM_SLAC_PARM.CNF", "CM_ATTEN_CHAR.IND", "CM_SLAC_MATCH.CNF")
    def answer(self, ev: Mme) -> None:
        body = ev.body
        if not isinstance(body, CmSlacParmCnf | CmAttenCharInd | CmSlacMatchCnf) or not self.sent:
            return
        if self.session.slac.match_cnf is not None and isinstance(body, CmAttenCharInd):
            return  # some hobby stacks reuse the message after the match for other things
        self.arm()
        if isinstance(body, CmSlacParmCnf):
            self.ignored = (ev, body.run_id.hex()) if body.run_id not in self.sent else None
        if body.run_id not in self.sent:
            self.fire(
                ev,
                f"{ev.name} carries RunID {body.run_id.hex()}, the EV's is {self.sent[-1].hex()}.",
                key=ev.name,
                since=self.since,
                values={"RunID": Value(body.run_id.hex(), "", self.sent[-1].hex(), "!=")},
            )


@register
class RunIdChanged(Check):
    """The EV's own messages against its own CM_SLAC_PARM.REQ."""

    meta = Meta(
        id="slac-runid-changed",
        title="The EV changes its RunID within a run",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="EVCC",
        trigger=("RunID of CM_START_ATTEN_CHAR.IND, CM_MNBC_SOUND.IND or CM_SLAC_MATCH.REQ is none of this EV's CM_SLAC_PARM.REQ"),
        cause="A fault in the EV's SLAC software, or two of its runs interleaved.",
        fix="EV software: one RunID from CM_SLAC_PARM.REQ to CM_SLAC_MATCH.REQ.",
        refs=("ISO 15118-3 Annex A",),
        gap="suppress",
        uec="SLACParameterInvalid",
        priority=20,
        example="Sounds with the RunID of the run before: the EVSE counts none of them.",
    )

    def start(self) -> None:
        self.sent: list[bytes] = []
        self.since = self.now

    @on(Mme, "CM_SLAC_PARM.REQ")
    def request(self, ev: Mme) -> None:
        if isinstance(ev.body, CmSlacParmReq) and ev.body.run_id not in self.sent:
            self.sent = [*self.sent[-MAX_RUNS:], ev.body.run_id]

    @on(Mme, "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND", "CM_SLAC_MATCH.REQ")
    def later(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmStartAttenCharInd | CmMnbcSoundInd | CmSlacMatchReq) and self.sent:
            self.arm()
            if body.run_id not in self.sent:
                self.fire(
                    ev,
                    f"{ev.name} carries RunID {body.run_id.hex()}, CM_SLAC_PARM.REQ had {self.sent[-1].hex()}.",
                    key=ev.name,
                    since=self.since,
                    values={"RunID": Value(body.run_id.hex(), "", self.sent[-1].hex(), "!=")},
                )


@register
class SlacMacMismatch(Check):
    """MACs inside the messages against the sender's, and the 17-byte ids."""

    meta = Meta(
        id="slac-mac-mismatch",
        title="A SLAC message names another station than the one that sent it",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="unknown",
        trigger=("PEV_MAC, EVSE_MAC or SOURCE_ADDRESS differs from the MAC of the frames, or a PEV_ID or EVSE_ID is not 17 zero bytes (info)"),
        cause="The software mixes up the MAC of the host and that of its modem.",
        fix="Use one MAC: the one the Ethernet frames carry as source.",
        refs=("ISO 15118-3 Annex A", "ISO 15118-5 TC_SECC_CMN_VTB_CmSlacMatch_013..022"),
        gap="proceed",
        uec="SLACParameterInvalid",
        priority=20,
        example="CM_SLAC_MATCH.REQ with the modem's MAC as PEV_MAC: the EVSE ignores it.",
    )

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def profile(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmAttenCharInd) and self.session.slac.match_cnf is None and not ev.dst[0] & 1:
            self._look(ev, "SECC", {"SOURCE_ADDRESS": (body.source_address, ev.dst)}, {})

    @on(Mme, "CM_SLAC_MATCH.REQ")
    def match_request(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmSlacMatchReq):
            macs = {"PEV_MAC": (body.pev_mac, ev.src), "EVSE_MAC": (body.evse_mac, ev.dst)}
            self._look(ev, "EVCC", macs, {"PEV_ID": body.pev_id, "EVSE_ID": body.evse_id})

    @on(Mme, "CM_SLAC_MATCH.CNF")
    def match_answer(self, ev: Mme) -> None:
        body = ev.body
        if isinstance(body, CmSlacMatchCnf):
            macs = {"PEV_MAC": (body.pev_mac, ev.dst), "EVSE_MAC": (body.evse_mac, ev.src)}
            self._look(ev, "SECC", macs, {"PEV_ID": body.pev_id, "EVSE_ID": body.evse_id})

    def _look(self, ev: Mme, side: str, macs: dict[str, tuple[bytes, bytes]], ids: dict[str, bytes]) -> None:
        self.arm()
        wrong = {name: Value(mac(is_), "", mac(should), "!=") for name, (is_, should) in macs.items() if is_ != should and not should[0] & 1}
        if wrong:
            self.fire(
                ev,
                f"{ev.name}: {', '.join(f'{n} is {v.value}, the frame says {v.limit}' for n, v in wrong.items())}.",
                key=ev.name,
                values=wrong,
                side=side,
            )
        named = [name for name, value in ids.items() if any(value)]
        if named:
            self.fire(
                ev,
                f"{ev.name}: {' and '.join(named)} should be zero.",
                key=f"id {ev.name}",
                side=side,
                severity="info",
                effect="none",
                values={name: Value(ids[name].hex(), "", "00" * 17, "!=") for name in named},
            )
