"""What the simulators' logs say happened, and how that compares with what plugtap decoded."""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError

_ENCODED = re.compile(r"Message to encode \(ns=Namespace\.(\w+)\): (.*)$")
_ENCODED_EXI = re.compile(r"EXI-encoded message: ([0-9a-f]+)$")
_DECODED_EXI = re.compile(r"EXI-encoded message \(ns=\S+\): ([0-9a-f]+)$")
_DECODED = re.compile(r"Decoded message \(ns=Namespace\.(\w+)\): (.*)$")
_SENT = re.compile(r"comm_session \(\d+\): Sent (\w+)$")
_RECEIVED = re.compile(r"comm_session \(\d+\): (\w+) received$")
_REASON = re.compile(r"comm_session \(\d+\): Reason: (.*)$")
_ERROR = re.compile(r"^ERROR\s.*?\(\d+\): (.*)$")

# The simulators' names of the schemas.
SCHEMAS = {
    "SAP": "sap", "DIN_MSG_DEF": "din", "ISO_V2_MSG_DEF": "iso2", "ISO_V20_COMMON_MSG": "iso20cm",
    "ISO_V20_AC": "iso20ac", "ISO_V20_DC": "iso20dc",
}  # fmt: skip
# Reasons that go with StopNotification(successful=True) in the package's states.
SUCCESS = (
    "Communication session stopped successfully",
    "Communication session terminated",
    "EV requested to Terminate the communication session",
    "EV requested to terminate the communication session",
)


@dataclass
class Logged:
    """A message in a simulator's log, with the tree that its EXI codec was given or gave, and the EXI bytes."""

    side: str  # EVCC or SECC: who sent it
    name: str
    schema: str
    content: dict[str, Any]
    exi: bytes
    received: bool  # the content came out of the EXI codec


@dataclass
class Log:
    """One simulator's log: messages in order, why it ended, and what it called an error."""

    messages: list[Logged] = field(default_factory=list)
    reason: str = ""
    errors: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """``EVCC SessionSetupReq`` …"""
        return [f"{m.side} {m.name}" for m in self.messages]

    @property
    def success(self) -> bool:
        """The simulator ended its session as planned."""
        return self.reason.startswith(SUCCESS)

    @property
    def end(self) -> str:
        """Why it ended, in its own words."""
        return self.reason or (self.errors[0] if self.errors else "nothing")


def read_log(text: str, side: str) -> Log:
    """Reads the log of the simulator that plays `side`.

    A message counts where the simulator says that it was sent or received: its codec also encodes pieces of messages,
    to sign them.
    """
    log = Log()
    peer = "SECC" if side == "EVCC" else "EVCC"
    schema, content, payload = "", {}, b""
    for line in text.splitlines():
        if found := _ENCODED.search(line) or _DECODED.search(line):
            schema, content = SCHEMAS.get(found[1], found[1]), json.loads(found[2])
        elif found := _ENCODED_EXI.search(line) or _DECODED_EXI.search(line):
            payload = bytes.fromhex(found[1])
        elif found := _SENT.search(line):
            log.messages.append(Logged(side, found[1], schema, content, payload, False))
        elif found := _RECEIVED.search(line):
            log.messages.append(Logged(peer, found[1], schema, content, payload, True))
        elif found := _REASON.search(line):
            log.reason = log.reason or found[1]
        elif found := _ERROR.search(line):
            log.errors.append(found[1])
    return log


def compare_messages(evcc: Log, secc: Log, lines: list[dict[str, Any]], *, gave_up: bool = False) -> list[str]:
    """Differences in order and content between both logs and the lines of `plugtap decode`.

    Where a simulator gave up, it does not log what came after: then one log may be the beginning of the other.
    """
    decoded = [f"{line['side']} {line['message'] or 'undecodable'}" for line in lines]
    found = [f"{line['error']['reason']} (frame {line['frame']})" for line in lines if line.get("error")]
    longest = max(len(evcc.messages), len(secc.messages))
    for name, log in (("EVCC", evcc), ("SECC", secc)):
        begun = gave_up and len(log.messages) < longest
        if text := sequence_difference(log.names, decoded[: len(log.messages)] if begun else decoded):
            found.append(f"{name} log: {text}")
        for logged, line in zip(log.messages, lines, strict=False):
            if logged.received and logged.name == line["message"]:
                found += [f"frame {line['frame']} {logged.name}: {text}" for text in content_differences(logged.content, line["content"])]
    return found


def compare_payloads(evcc: Log, secc: Log) -> tuple[int, list[str]]:
    """The EXI bytes in both logs through plugtap's decoder: how many there were, and where the trees differ."""
    count, found = 0, []
    for logged in (m for log in (evcc, secc) for m in log.messages if m.received):
        count += 1
        try:
            tree = exi.decode_message(logged.schema, logged.exi).content
        except DecodeError as error:
            found.append(f"{logged.name} in the log: {error}")
            continue
        found += [f"{logged.name} in the log: {text}" for text in content_differences(logged.content, tree)]
    return count, found


def compare_identities(secc: Log, session: dict[str, Any]) -> list[str]:
    """Whether plugtap's session has the EVCCID and EVSEID of the session set-up in the log."""
    found = []
    for message, element, ours in (
        ("SessionSetupReq", "EVCCID", session["evcc"]["evccid"]),
        ("SessionSetupRes", "EVSEID", session["secc"]["evseid"]),
    ):
        trees = [dict(_leaves(m.content)) for m in secc.messages if m.name == message]
        theirs = [value for tree in trees for path, value in tree.items() if path.endswith(f"/{element}")]
        if theirs != ([ours] if trees else []):
            found.append(f"{element}: log {theirs}, plugtap {ours!r}")
    return found


def sequence_difference(logged: list[str], decoded: list[str]) -> str:
    """Where two sequences of messages differ first, in words; "" where they are the same."""
    for index, (theirs, ours) in enumerate(zip(logged, decoded, strict=False), 1):
        if ours != theirs:
            return f"message {index}: log {theirs}, plugtap {ours}"
    if len(logged) != len(decoded):
        extra = (logged[len(decoded) :] or decoded[len(logged) :])[0]
        return f"{len(logged)} messages, plugtap {len(decoded)}; the first without counterpart is {extra}"
    return ""


def content_differences(logged: Any, content: Any) -> list[str]:
    """Paths where the values of one message differ between the simulators' EXI codec and plugtap."""
    theirs, ours = dict(_leaves(logged)), dict(_leaves(content))
    return [
        f"{path}: log {theirs.get(path)!r}, plugtap {ours.get(path)!r}"
        for path in sorted({*theirs, *ours})
        if path not in theirs or path not in ours or not _same(theirs[path], ours[path])
    ]


def _leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Values by path. The simulators' codec names attributes like elements, and text beside attributes ``value``."""
    if isinstance(tree, dict):
        pairs = [(f"{path}/{'value' if key == '#text' else key.lstrip('@')}", value) for key, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(f"{path}[{index}]", value) for index, value in enumerate(tree)]
    else:
        return [(path, tree)]
    return [leaf for key, value in pairs for leaf in _leaves(value, key)] or [(path, {})]


def _same(theirs: Any, ours: Any) -> bool:
    """Equal values; hexBinary comes as base64 from the simulators' codec where their package asks for that."""
    if type(theirs) is type(ours) and theirs == ours:
        return True
    if not isinstance(theirs, str) or not isinstance(ours, str):
        return False
    try:
        return b64decode(theirs, validate=True) == bytes.fromhex(ours)
    except (ValueError, binascii.Error):
        return False
