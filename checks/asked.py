"""Deviations that are judged by what the other side does with them: accepted is information, refused or unanswered is what it can be."""

from __future__ import annotations

from typing import Any

from plugtap.checks.base import Check
from plugtap.checks.v2g_common import failed, response_code
from plugtap.protocols.events import Event, V2gMessage
from plugtap.sessions.notices import Exchange


class Asked(Check):
    """Base. `hold` instead of `fire`: the finding waits until the odd message is answered, or the session ends."""

    _held: tuple[V2gMessage, Any, str, dict[str, Any]] | None = None

    def hold(self, odd: V2gMessage, evidence: Any, detail: str, **facts: Any) -> None:
        """Like fire, for `odd`: a request or response that should not be so. A second one before the first is judged takes its place."""
        self._held = (odd, evidence, detail, {"t": odd.t} | facts)
        if self not in self.ctx.waiting:
            self.ctx.waiting.append(self)

    def step(self, ev: Event) -> None:
        """The dialogue's next step, while a finding is held (called by the engine)."""
        if isinstance(ev, Exchange):
            self._exchange(ev)
        else:
            self._say(accepted=False, by="")

    def _exchange(self, ev: Exchange) -> None:
        held = self._held
        if held is None:
            return
        odd = held[0]
        if ev.request.frame == odd.frame and ev.request.index == odd.index:
            self._say(accepted=not failed(response_code(ev.response)), by="EVSE")
        elif ev.response.frame != odd.frame and ev.request.t >= odd.t and ev.name != "SessionStop":
            # The dialogue went on.
            self._say(accepted=not failed(response_code(ev.response)), by="EV" if odd.side == "SECC" else "EVSE")

    def _say(self, accepted: bool, by: str) -> None:
        held, self._held = self._held, None
        if self in self.ctx.waiting:
            self.ctx.waiting.remove(self)
        if held is None:
            return
        _, evidence, detail, facts = held
        if accepted:
            facts = facts | {"severity": "info", "effect": "none"}
            detail += f" The {by} accepted it."
        self.fire(evidence, detail, **facts)
