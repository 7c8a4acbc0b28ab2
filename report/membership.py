"""Which session an event belongs to, for commands that print events."""

from __future__ import annotations

from plugtap.config.analysis import AnalysisSettings
from plugtap.protocols.events import Event
from plugtap.sessions.session import Session
from plugtap.sessions.tracker import SessionTracker


class Membership:
    """A session tracker that is only asked whose event one was."""

    def __init__(self, settings: AnalysisSettings | None = None) -> None:
        self._found: Session | None = None
        self._tracker = SessionTracker(
            settings or AnalysisSettings(), notify=self._notify, closed=lambda s: None, set_timer=lambda *a: None, cancel_timer=lambda *a: None
        )

    def _notify(self, session: Session, event: Event) -> None:
        self._found = session

    def of(self, event: Event) -> Session | None:
        """The session of `event`; None where it belongs to none."""
        self._found = None
        self._tracker.handle(event)
        return self._found
