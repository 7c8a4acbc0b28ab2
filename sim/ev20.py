"""The EV's ISO 15118-20 session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugtap.sim.kernel import Script

if TYPE_CHECKING:
    from plugtap.sim.ev import Ev


class Ev20:
    """Bound to an EV."""

    def __init__(self, ev: Ev) -> None:
        self.ev = ev

    def run(self) -> Script[None]:
        """The whole session."""
        yield 0

    def stop(self) -> Script[None]:
        """SessionStop after a failure."""
        yield 0
