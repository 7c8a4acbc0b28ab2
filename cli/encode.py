"""`plugtap encode`: a V2G message as JSON to EXI hex."""

from __future__ import annotations

import argparse
import sys

import msgspec

from plugtap.cli.main import UsageError
from plugtap.protocols import exi

EXAMPLES = """examples:
  echo '{"supportedAppProtocolRes": {"ResponseCode": "OK_SuccessfulNegotiation", "SchemaID": 1}}' | plugtap encode --schema sap
  plugtap decode --exi 809a... --schema din | jq -c .content | plugtap encode --schema din
The content has the form `plugtap decode` prints: element names as keys, attributes "@Name", text beside attributes "#text"."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plugtap encode`."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="JSON of the content; - or nothing: standard input")
    parser.add_argument("--schema", required=True, choices=exi.SCHEMAS, help="the message set")


def run(args: argparse.Namespace) -> int:
    """Print the payload as hex."""
    try:
        if args.file == "-":
            text = sys.stdin.buffer.read()
        else:
            with open(args.file, "rb") as file:
                text = file.read()
        content = msgspec.json.decode(text, type=dict)
    except OSError as error:
        raise UsageError(f"{args.file}: {error.strerror}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{args.file}: not a JSON object: {error}") from None
    try:
        print(exi.encode(args.schema, content).hex())
    except exi.EncodeError as error:
        raise UsageError(f"this content is not a message of {args.schema}: {error}") from None
    return 0
