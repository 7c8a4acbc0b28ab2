"""Limits on how long one side may let the other wait, without a look at every message: a deadline that, when it is due, finds out how long the
latest message has been waiting, and is set again for when that one, or one that is yet to come, can be due."""

from __future__ import annotations

from plugtap.checks.base import Check, on
from plugtap.protocols.events import Loss, V2gMessage
from plugtap.sessions.notices import SessionEnded


class Patience(Check):
    """Base. Subclasses say how long a message may be the last one (`span`), at least how long any (`least`, set in `start`), and what if not (`over`)."""

    least: int  # ns; no span is shorter

    def start(self) -> None:
        self.due = self.deadline(self._look)
        self.judged: V2gMessage | None = None  # nothing more is to be said of this one
        self.unproven: V2gMessage | None = None  # nobody may have listened when its time was over: no deadline says so

    def span(self, latest: V2gMessage) -> int | None:
        """How long `latest` may stay the session's last message, ns; None: as long as it likes."""
        raise NotImplementedError

    def over(self, latest: V2gMessage, t: int) -> None:
        """Nothing came after `latest` until `t`."""
        raise NotImplementedError

    @on(V2gMessage, once=True)
    def begin(self, ev: V2gMessage) -> None:
        self._again(ev.t)

    @on(Loss)
    def lost(self, ev: Loss) -> None:
        # Silence in what was lost proves nothing; and after a clock set back no earlier time says anything.
        if ev.kind == "clock-jump":
            self.judged = self.session.latest
        t = max(ev.t, ev.until)
        due = self._due()
        if due is not None and due <= t:
            self.unproven = self.session.latest
        self._again(t)

    @on(SessionEnded)
    def ended(self, ev: SessionEnded) -> None:
        self.judged = self.session.latest

    @property
    def waiting(self) -> V2gMessage | None:
        """The session's last message, if nothing was said of it yet."""
        latest = self.session.latest
        return None if latest is self.judged else latest

    def _due(self) -> int | None:
        """When the last message has waited too long, ns."""
        latest = self.waiting
        span = None if latest is None or latest is self.unproven else self.span(latest)
        return None if latest is None or span is None else latest.t + span

    def _look(self, t: int) -> None:
        due, latest = self._due(), self.session.latest
        if due is not None and due <= t and latest is not None:
            self.judged = latest
            self.over(latest, t)
        self._again(t)

    def _again(self, t: int) -> None:
        due = self._due()
        self.due.set(due if due is not None and due > t else t + self.least)
