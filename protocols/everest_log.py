"""The control pilot in the session event log of an EVerest charging station: what its EvseManager says it did and saw.

The log has no levels. The letter follows from what the car did, the digit from what the station did with the PWM.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from plugtap.protocols.cp_text import TextReading

_NUMBER = r"([0-9]{1,3}(?:\.[0-9]{1,20})?(?:[eE]-?[0-9]{1,3})?)"


class _Row(NamedTuple):
    """What an event does: a new letter, PWM on or off; None leaves it as it is."""

    letter: str | None = None
    pwm: bool | None = None


_CONNECTED = re.compile(r"^Session Started: EVConnected")

# The log names events of the car by what they mean (EVerest modules/EvseManager). EFtoBCD does not say which of the
# three: B is the least of them, and the request for power that makes it C has its own event.
_EVENTS: tuple[tuple[re.Pattern[str], _Row], ...] = (
    (re.compile(rf"^Set PWM On \({_NUMBER}%\)"), _Row(pwm=True)),
    (re.compile(r"^Set PWM Off"), _Row(pwm=False)),
    (re.compile(r"^Set PWM F"), _Row("F", False)),
    (_CONNECTED, _Row("B")),
    (re.compile(r"^Event CarPluggedIn"), _Row("B")),
    (re.compile(r"^Event CarRequestedPower"), _Row("C")),
    (re.compile(r"^Event CarRequestedStopPower"), _Row("B")),
    (re.compile(r"^Event EFtoBCD"), _Row("B")),
    (re.compile(r"^Event BCDtoEF"), _Row("E")),
    (re.compile(r"^Event CarUnplugged"), _Row("A")),
)


class EverestPilot:
    """Follows the pilot through the events of one log, in their order."""

    def __init__(self) -> None:
        self._letter: str | None = None
        self._pwm = False
        self._duty: int | None = None  # 0.01 %

    def feed(self, event: str) -> list[TextReading]:
        """What is known after an event; nothing when it says nothing of the pilot, or changes nothing. A session begins
        with plugging in: the state before it, A, comes first then."""
        for pattern, row in _EVENTS:
            found = pattern.match(event)
            if found is not None:
                begins = self._letter is None and pattern is _CONNECTED
                reading = self._apply(row, found)
                return ([TextReading(state="A1")] if begins else []) + ([reading] if reading is not None else [])
        return []

    def _apply(self, row: _Row, found: re.Match[str]) -> TextReading | None:
        before = (self._letter, self._pwm, self._duty)
        self._letter = row.letter or self._letter
        if row.pwm is not None:
            self._pwm = row.pwm
            self._duty = None
        if row.pwm:
            self._duty = round(100 * float(found[1]))
            if not 0 < self._duty < 10_000:  # 100 % is a steady level, 0 % none
                self._pwm, self._duty = False, None
        if self._letter is None or before == (self._letter, self._pwm, self._duty):
            return None
        digit = "" if self._letter in "EF" else "2" if self._pwm else "1"
        return TextReading(state=self._letter + digit, duty=self._duty if digit == "2" else None)
