"""What MQTT and the findings log carry: the objects of the JSON contract, with site, tap and archive, redacted and
bounded."""

from __future__ import annotations

from typing import Any

import msgspec

from plugtap.analysis.outputs import FORMAT, Output, SessionReport
from plugtap.protocols.items import CpRecord
from plugtap.protocols.pilot import letter_of
from plugtap.report.redact import Redactor
from plugtap.sessions.records import rfc3339


class Payloads:
    """Makes payloads for one site. `redactor` None: identities are shown."""

    def __init__(self, site: str, redactor: Redactor | None, *, max_bytes: int) -> None:
        self._site = site
        self._redactor = redactor
        self._max_bytes = max_bytes

    def output(self, tap: str, archive: str, output: Output) -> dict[str, Any]:
        """A session or a finding as a tree."""
        tree: dict[str, Any] = msgspec.to_builtins(output)
        if self._redactor is not None:
            tree = self._redactor.tree(tree)
        if isinstance(output, SessionReport):
            frames: Any = [output.first_frame, output.last_frame]
        else:
            frames = list(output.frames)
        return {**tree, "format": FORMAT, "site": self._site, "tap": tap, "archive": {"id": archive, "frames": frames}}

    def bounded(self, tree: dict[str, Any]) -> bytes:
        """The JSON of a session or finding, cut to fit: first a session's findings become ids, then long texts and
        lists go.

        What was cut says ``"truncated": true``; the findings have messages of their own.
        """
        encoded = msgspec.json.encode(tree)
        if len(encoded) <= self._max_bytes:
            return encoded
        tree = {**tree, "truncated": True}
        if "findings" in tree:
            tree["findings"] = [{"id": f["id"], "check": f["check"], "severity": f["severity"]} for f in tree["findings"]]
            encoded = msgspec.json.encode(tree)
            if len(encoded) <= self._max_bytes:
                return encoded
            tree["findings"] = []
        keep = 1000
        while len(encoded := msgspec.json.encode(tree)) > self._max_bytes and keep:
            keep //= 4
            tree = {key: _cut(value, keep) for key, value in tree.items()}
        return encoded

    def state(self, tap: str, session: SessionReport | None) -> bytes:
        """``tap/<tap>/state``: what the tap sees at the moment, small."""
        tree: dict[str, Any] = {"format": FORMAT, "site": self._site, "tap": tap, "state": "idle", "session": None}
        if session is not None:
            tree["state"] = "session" if session.state == "open" else "idle"
            tree["session"] = {
                "id": session.id,
                "rev": session.rev,
                "state": session.state,
                "start": session.start,
                "end": session.end,
                "protocol": session.protocol,
                "reached": session.reached,
                "outcome": session.outcome,
                "summary": session.verdict.summary,
                "findings": len(session.findings),
            }
        if self._redactor is not None:
            tree = self._redactor.tree(tree)
        return msgspec.json.encode(tree)

    def pilot(self, tap: str, record: CpRecord) -> bytes:
        """``tap/<tap>/pilot``: the control pilot as last read."""
        return msgspec.json.encode(
            {
                "format": FORMAT,
                "site": self._site,
                "tap": tap,
                "time": rfc3339(record.t),
                "state": pilot_state(record),
                "hi_v": record.hi_mv / 1000,
                "lo_v": record.lo_mv / 1000,
                "duty": record.duty / 100,
                "freq_hz": record.freq / 10,
                "pp_ohm": record.pp_ohm,
            }
        )


def pilot_state(record: CpRecord) -> str:
    """State letter, with 2 where there is PWM and 1 where there is none (E and F have no digit)."""
    letter = letter_of(record.hi_mv)
    if letter in "EF":
        return letter
    return letter + ("2" if 0 < record.duty < 10_000 and record.lo_mv < record.hi_mv else "1")


def _cut(value: Any, keep: int) -> Any:
    if isinstance(value, str):
        return value[: max(keep, 40)]
    if isinstance(value, list):
        return [_cut(entry, keep) for entry in value[:keep]]
    if isinstance(value, dict):
        return {key: _cut(entry, keep) for key, entry in list(value.items())[: max(keep, 10)]}
    return value
