"""`plugtap decode`: every message of a capture as JSON Lines, or one EXI payload."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from plugtap.cli.main import UsageError
from plugtap.hw.files import read_items
from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.events import Event, Mme, Redecoded, Sdp, V2gMessage
from plugtap.protocols.stack import Stack
from plugtap.report.decode_lines import event_line
from plugtap.report.membership import Membership
from plugtap.report.redact import KEY_BYTES, Redactor

LAYERS = ("v2g", "slac", "all")

EXAMPLES = """examples:
  plugtap decode charge.pcapng                     every V2G message, one JSON object a line
  plugtap decode charge.pcapng --layer all | jq .  SLAC and SDP too
  plugtap decode --exi 8000dbab9371d3234b71d1b981899189d191818991d26b9b3a232b30020000040040
  zcat old.pcap.gz | plugtap decode -

`frame` is the number of the frame that completes the message, as in Wireshark. Undecodable payloads have "message": null, an "error" and the bytes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap decode`."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", metavar="FILE", help="pcap or pcapng, gzip or not; - for standard input")
    parser.add_argument("--layer", choices=LAYERS, default="v2g", help="which messages: V2G; HomePlug with SLAC; or all, SDP too (default: v2g)")
    parser.add_argument("--exi", metavar="HEX", help="decode this EXI payload instead of a file (- reads hex from standard input)")
    parser.add_argument("--schema", choices=exi.SCHEMAS, help="schema of --exi (default: by its first bytes)")
    parser.add_argument("--redact", action="store_true", help="replace MACs, addresses and identities by keyed hashes")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a payload can't be decoded")


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 with --strict and something undecodable."""
    if (args.exi is None) == (args.file is None):
        raise UsageError("give either a capture FILE or --exi HEX")
    return _payload(args) if args.exi is not None else _capture(args)


def _payload(args: argparse.Namespace) -> int:
    text = sys.stdin.read() if args.exi == "-" else args.exi
    try:
        data = bytes.fromhex("".join(text.split()))
    except ValueError:
        raise UsageError("--exi wants hexadecimal digits, two a byte") from None
    schema = args.schema or exi.guess(data)
    if schema is None:
        raise UsageError("the first bytes fit no schema that can be guessed; name one with --schema")
    line: dict[str, Any] = {"schema": schema, "message": None, "content": None, "guessed": args.schema is None}
    failed = False
    try:
        decoded = exi.decode_message(schema, data)
        line.update(message=decoded.message, content=decoded.content)
        if decoded.variant:
            line["variant"] = decoded.variant
        if decoded.notes:
            line["notes"] = list(decoded.notes)
    except DecodeError as wrong:
        line.update(error={"layer": wrong.layer, "offset": wrong.offset, "path": wrong.path, "reason": wrong.reason}, exi=data.hex())
        failed = True
    _write(line)
    return 1 if failed and args.strict else 0


def _write(line: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")


def _redacted(line: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    if "payload" in line:  # raw bytes with MACs and keys anywhere in them
        line["payload"] = redactor.value(line["payload"])
    shown: dict[str, Any] = redactor.tree(line)
    return shown


def _wanted(event: Event, layer: str) -> bool:
    if isinstance(event, V2gMessage | Redecoded):
        return layer in ("v2g", "all")
    if isinstance(event, Mme):
        return layer in ("slac", "all")
    return isinstance(event, Sdp) and layer == "all"


def _events(path: str) -> Iterator[Event]:
    stack = Stack()
    items = read_items(path)
    t = frame = 0
    for item in items:
        t, frame = max(t, item.t), max(frame, getattr(item, "number", 0))
        yield from stack.feed(item)
    yield from stack.finish(t, frame)


def _capture(args: argparse.Namespace) -> int:
    failures = 0
    members = Membership()
    # The key is thrown away with the run: nobody can find out a MAC by trying them all.
    redactor = Redactor(os.urandom(KEY_BYTES)) if args.redact else None
    start: int | None = None
    for event in _events(args.file):
        start = event.t if start is None else start
        session = members.of(event)
        if _wanted(event, args.layer):
            line = event_line(event, session, start)
            if isinstance(event, Redecoded):  # the line before it was counted by what it said
                failures -= event.message_before is None
            failures += line.get("error") is not None
            _write(line if redactor is None else _redacted(line, redactor))
            if args.file == "-":  # whoever reads a live capture line by line must not wait for a full buffer
                sys.stdout.flush()
    sys.stdout.flush()
    if failures:
        print(f"plugtap decode: {failures} payloads could not be decoded; each line says where and why", file=sys.stderr)
    return 1 if failures and args.strict else 0
