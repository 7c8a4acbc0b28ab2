"""What the attenuation report says: how strong the signal is, and whose it is (ISO 15118-3 A.9.3)."""

from __future__ import annotations

import statistics

from plugtap.checks.base import Check, on
from plugtap.checks.finding import Value
from plugtap.checks.meta import Meta
from plugtap.checks.registry import register
from plugtap.checks.slac_common import mac, slac
from plugtap.protocols.events import Mme
from plugtap.protocols.slac import CmAttenCharInd, CmSlacMatchReq, CmSlacParmCnf
from plugtap.sessions.notices import NewAttempt, ReportToOther

MAX_EVSES = 16


class _Report(Check):
    """Looks at each CM_ATTEN_CHAR.IND of the matching that carries a profile."""

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        body = ev.body
        # After the match some hobby stacks use the message for other purposes.
        if isinstance(body, CmAttenCharInd) and self.session.slac.match_cnf is None and body.complete:
            self.arm()
            self.look(ev, body)

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        """Judge one report."""
        raise NotImplementedError


@register
class AttenGroups(_Report):
    """NumGroups as sent."""

    meta = Meta(
        id="slac-atten-groups",
        title="CM_ATTEN_CHAR.IND has the wrong number of groups",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="SECC",
        trigger="NumGroups of CM_ATTEN_CHAR.IND is not {NumGroups}",
        cause="A fault in the EVSE's SLAC software.",
        fix="EVSE software: report 58 groups.",
        refs=("ISO 15118-3 Annex A (CM_ATTEN_CHAR)",),
        gap="proceed",
        limits=slac("NumGroups"),
        uec="SLACParameterInvalid",
        priority=25,
        example="NumGroups 0: the EV has nothing to compare.",
    )

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        if len(body.aag) != self.limit("NumGroups"):
            self.fire(
                ev,
                f"CM_ATTEN_CHAR.IND reports {len(body.aag)} groups.",
                values={"NumGroups": Value(len(body.aag), "", self.limit("NumGroups"), "!=")},
            )


@register
class AttenAllZero(_Report):
    """A measured profile differs from group to group; the last groups are left out since stacks fill them with fixed values."""

    meta = Meta(
        id="slac-atten-all-zero",
        title="The attenuation profile is made up",
        severity="info",
        class_="heuristic",
        effect="none",
        side="SECC",
        trigger="groups 0 to 53 of CM_ATTEN_CHAR.IND all have the same value",
        cause=("The EVSE reports constants instead of a measurement: a simulated EVSE, or a modem that gives its host no CM_ATTEN_PROFILE.IND."),
        fix="Real EVSE: use a modem that measures (QCA7000 class, EVSE mode), update its firmware. Simulator: none.",
        refs=("real captures: simulated EVSEs report a mean of 9.55 dB",),
        gap="proceed",
        uec="SLACParameterInvalid",
        priority=85,
        example="54 times 9 dB, then 9, 15, 19, 25: the same mean of 9.55 dB in every session.",
    )

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        measured = body.aag[:54]
        if len(measured) >= 10 and len(set(measured)) == 1:
            self.fire(
                ev,
                f"All groups report {measured[0]} dB, mean {sum(body.aag) / len(body.aag):.2f} dB.",
                values={"attenuation": Value(measured[0], "dB"), "mean": Value(round(sum(body.aag) / len(body.aag), 2), "dB")},
            )


@register
class AttenHigh(_Report):
    """The mean the EV compares EVSEs by; it contains the receive offset of each side, so compare within a site."""

    meta = Meta(
        id="slac-atten-high",
        title="The power line signal is weak",
        severity="info",
        class_="heuristic",
        effect="degrades",
        side="line",
        trigger=("mean attenuation of CM_ATTEN_CHAR.IND above {attenuation_info} (info) or {attenuation_warning} (warning)"),
        cause=("Poor CP or PE contact, a long or wrong coupling path, an EMI filter in the way; or the report is about a neighbour's EVSE."),
        fix=("Reseat and inspect the connector, check the PLC coupling on both sides, compare with other cars at this outlet."),
        refs=("ISO 15118-3 A.9 (C_EV_match_signalattn_indirect)",),
        gap="proceed",
        limits=slac("attenuation_info", "attenuation_warning"),
        uec="SLACAttenuationHigh",
        priority=75,
        example="48 dB: one sound of nine lost, the first matching fails.",
    )

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        mean = body.average
        if mean is None:
            return
        bad = mean > self.limit("attenuation_warning")
        limit = self.limit("attenuation_warning") if bad else self.limit("attenuation_info")
        if mean > limit:
            self.fire(
                ev,
                f"Mean attenuation {mean:.1f} dB.",
                key=f"{ev.src.hex()}{bad}",
                values={"attenuation": Value(round(mean, 2), "dB", limit, ">")},
                severity="warning" if bad else None,
            )


@register
class AttenLow(_Report):
    """No public number exists for this limit: information only."""

    meta = Meta(
        id="slac-atten-low",
        title="The power line signal is implausibly strong",
        severity="info",
        class_="heuristic",
        effect="none",
        side="line",
        trigger="mean attenuation of CM_ATTEN_CHAR.IND below {attenuation_low}",
        cause="Bench coupling without a cable, or too high transmit power.",
        fix="On a bench: none. In the field: calibrate the transmit power.",
        refs=("practice",),
        confidence="unconfirmed",
        gap="proceed",
        limits=slac("attenuation_low"),
        priority=95,
        example="Mean 1 dB with both modems on one table.",
    )

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        mean = body.average
        if mean is not None and mean < self.limit("attenuation_low"):
            self.fire(
                ev,
                f"Mean attenuation {mean:.1f} dB.",
                values={"attenuation": Value(round(mean, 2), "dB", self.limit("attenuation_low"), "<")},
            )


@register
class AttenGroupOutlier(_Report):
    """Groups 56 and 57 lie at the band's edge and are always weak."""

    meta = Meta(
        id="slac-atten-group-outlier",
        title="One part of the band is much weaker than the rest",
        severity="info",
        class_="heuristic",
        effect="none",
        side="line",
        trigger="a group among 0 to 55 is more than {outlier} above the median",
        cause="A narrow-band disturber, a resonance or a notch filter.",
        fix="Look for power electronics or filters near the cable if sessions fail here.",
        refs=("practice, corrected on real captures",),
        confidence="corrected",
        gap="proceed",
        limits=slac("outlier"),
        priority=95,
        example="Groups 20 to 22 at 55 dB, median 30 dB.",
    )

    def look(self, ev: Mme, body: CmAttenCharInd) -> None:
        groups = body.aag[:56]
        if len(groups) < 56 or len(set(groups[:54])) == 1:
            return
        median = statistics.median(groups)
        worst = max(range(len(groups)), key=lambda i: groups[i])
        if groups[worst] > median + self.limit("outlier"):
            self.fire(
                ev,
                f"Group {worst} has {groups[worst]} dB, the median is {median:g} dB.",
                values={"above_median": Value(groups[worst] - median, "dB", self.limit("outlier"), ">")},
            )


@register
class MultiEvseResponse(Check):
    """Answers to one EV from more than one EVSE."""

    meta = Meta(
        id="slac-multi-evse-response",
        title="Several EVSEs answer one EV",
        severity="warning",
        class_="normative",
        effect="degrades",
        side="line",
        trigger="CM_SLAC_PARM.CNF or CM_ATTEN_CHAR.IND from two or more MACs to one EV in one attempt",
        cause="The signal leaks to a neighbouring outlet (cross-talk).",
        fix=(
            "The EV must choose the EVSE with the lowest attenuation; check shielding and cable routing between the "
            "outlets, and the match against the pilot."
        ),
        refs=("ISO 15118-3 A.9",),
        gap="proceed",
        certainty="likely",
        uec="SLACSequenceError",
        priority=45,
        example="Two chargers side by side answer, with 44 and 60 dB.",
    )

    def start(self) -> None:
        self.answers: dict[bytes, Mme] = {}

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        if ev.what == "slac":
            self.answers = {}

    @on(Mme, "CM_SLAC_PARM.CNF", "CM_ATTEN_CHAR.IND")
    def answer(self, ev: Mme) -> None:
        if not isinstance(ev.body, CmSlacParmCnf | CmAttenCharInd) or self.session.slac.match_cnf is not None:
            return
        self.arm()
        if ev.src not in self.answers and len(self.answers) < MAX_EVSES:
            self.answers[ev.src] = ev
            if len(self.answers) > 1:
                self.fire(
                    list(self.answers.values()),
                    f"{len(self.answers)} EVSEs answered this EV: {', '.join(mac(m) for m in self.answers)}.",
                    values={"evses": Value(len(self.answers), "", 1, ">")},
                )


@register
class WrongEvseSelected(Check):
    """Needs reports of at least two EVSEs in one attempt."""

    meta = Meta(
        id="slac-wrong-evse-selected",
        title="The EV matches with the EVSE that is farther away",
        severity="warning",
        class_="normative",
        effect="stops-charging",
        side="EVCC",
        trigger=(
            "CM_SLAC_MATCH.REQ to an EVSE whose mean attenuation is more than {better_by} above that of another that reported, or "
            "more than {rival_by} above what it reported to another EV at the same time (side: line)"
        ),
        cause="A fault in the EV's choice, a profile that does not show the real distance, or cross-talk: only the neighbour's EVSE answered.",
        fix=(
            "Prove it with the pilots of both outlets; EV software must choose the lowest attenuation. Cross-talk: look at shielding and "
            "routing of the pilot wires."
        ),
        refs=("ISO 15118-3 A.9",),
        certainty="likely",
        limits=slac("better_by", "rival_by"),
        uec="SLACSequenceError",
        priority=20,
        example="Reports of 44 and 60 dB, the match goes to the one with 60.",
    )

    def start(self) -> None:
        self.means: dict[bytes, tuple[float, Mme]] = {}
        self.rivals: dict[bytes, ReportToOther] = {}  # by EVSE: its best report to another EV
        self.chosen: Mme | None = None

    @on(NewAttempt)
    def new_attempt(self, ev: NewAttempt) -> None:
        if ev.what == "slac":
            self.means, self.rivals, self.chosen = {}, {}, None

    @on(Mme, "CM_ATTEN_CHAR.IND")
    def report(self, ev: Mme) -> None:
        mean = ev.body.average if isinstance(ev.body, CmAttenCharInd) else None
        if mean is not None and (ev.src in self.means or len(self.means) < MAX_EVSES):
            self.means[ev.src] = (mean, ev)

    @on(ReportToOther)
    def other(self, ev: ReportToOther) -> None:
        known = self.rivals.get(ev.evse)
        if ev.average is not None and (known is None or known.average is None or ev.average < known.average) and len(self.rivals) < MAX_EVSES:
            self.rivals[ev.evse] = ev
            self._crossed()

    def _crossed(self) -> None:
        """Is the EVSE that was chosen much closer to another EV that is at SLAC with it now?"""
        ours = self.means.get(self.chosen.dst) if self.chosen is not None else None
        rival = self.rivals.get(self.chosen.dst) if self.chosen is not None else None
        if ours is None or rival is None or rival.average is None or self.chosen is None:
            return
        self.arm()
        difference = ours[0] - rival.average
        if difference > self.limit("rival_by"):
            self.fire(
                [ours[1], rival, self.chosen],
                f"The EV matches with {mac(rival.evse)} at {ours[0]:.1f} dB, to which another EV is closer at the same time ({rival.average:.1f} dB): "
                "cross-talk, this is probably not the EVSE it is plugged into.",
                key="rival", side="line", since=ours[1].t,
                values={"difference": Value(round(difference, 2), "dB", self.limit("rival_by"), ">")},
            )  # fmt: skip

    @on(Mme, "CM_SLAC_MATCH.REQ")
    def choice(self, ev: Mme) -> None:
        chosen = self.means.get(ev.dst)
        if not isinstance(ev.body, CmSlacMatchReq) or chosen is None:
            return
        self.chosen = ev
        self._crossed()
        if len(self.means) < 2:
            return
        self.arm()
        best, closest = min(((mean, frame) for mean, frame in self.means.values()), key=lambda pair: pair[0])
        if chosen[0] > best + self.limit("better_by"):
            self.fire(
                [closest, chosen[1], ev],
                f"The EV matches with {mac(ev.dst)} ({chosen[0]:.1f} dB) though {mac(closest.src)} is closer ({best:.1f} dB).",
                values={"difference": Value(round(chosen[0] - best, 2), "dB", self.limit("better_by"), ">")},
                since=closest.t,
            )
