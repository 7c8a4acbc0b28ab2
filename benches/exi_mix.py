"""The messages that the EXI bench and the fuzzer use: those of real captures where these are at hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plugtap.protocols import exi

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures" / "decoded"

# The reference decodes write attributes bare and text beside attributes as "value".
ATTRIBUTES = ("Id", "Algorithm", "URI", "Name")

PIECE = 500

DIN_HEADER = {"SessionID": "A1B2C3D4E5F60718"}


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        out = {}
        for key, inner in value.items():
            bare = key in ATTRIBUTES and isinstance(inner, str)
            out["#text" if key == "value" else f"@{key}" if bare else key] = _restored(inner)
        return out
    return [_restored(v) for v in value] if isinstance(value, list) else value


def _encoded(schema: str, content: Any) -> Iterator[tuple[str, bytes]]:
    """The message in the first set that has it; nothing when its attributes could not be told from elements."""
    for candidate in [s for s in exi.SCHEMAS if s.startswith(schema)]:
        try:
            yield candidate, exi.encode(candidate, content)
        except exi.EncodeError:
            continue
        return


def captured() -> Iterator[tuple[str, bytes]]:
    """Schema and EXI of every message in ../shared/captures, in capture order; nothing where the folder is absent.

    The bytes are made from the reference decodes, so they do not depend on plugtap's capture readers.
    """
    for path in sorted(CAPTURES.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                if row["msg"] is None:
                    continue
                yield from _encoded(row["ns"], _restored(row["d"]))


def made(count: int = 20_000) -> Iterator[tuple[str, bytes]]:
    """A charging session without captures: almost only CurrentDemand, as in real ones, with moving values."""
    for index in range(count):
        soc = index * 100 // count
        current = {"Multiplier": -1, "Unit": "A", "Value": 1250 - index % 97}
        voltage = {"Multiplier": -1, "Unit": "V", "Value": 3600 + index % 411}
        if index % 2:
            status = {"EVSEIsolationStatus": "Valid", "EVSEStatusCode": "EVSE_Ready", "NotificationMaxDelay": 0, "EVSENotification": "None"}
            body: dict[str, Any] = {
                "CurrentDemandRes": {
                    "ResponseCode": "OK",
                    "DC_EVSEStatus": status,
                    "EVSEPresentVoltage": voltage,
                    "EVSEPresentCurrent": current,
                    "EVSECurrentLimitAchieved": False,
                    "EVSEVoltageLimitAchieved": False,
                    "EVSEPowerLimitAchieved": False,
                    "EVSEMaximumVoltageLimit": {"Multiplier": 0, "Unit": "V", "Value": 920},
                    "EVSEMaximumCurrentLimit": {"Multiplier": 0, "Unit": "A", "Value": 300},
                    "EVSEMaximumPowerLimit": {"Multiplier": 3, "Unit": "W", "Value": 150},
                }
            }
        else:
            body = {
                "CurrentDemandReq": {
                    "DC_EVStatus": {"EVReady": True, "EVErrorCode": "NO_ERROR", "EVRESSSOC": soc},
                    "EVTargetCurrent": current,
                    "EVMaximumVoltageLimit": {"Multiplier": 0, "Unit": "V", "Value": 420},
                    "EVMaximumCurrentLimit": {"Multiplier": 0, "Unit": "A", "Value": 200},
                    "BulkChargingComplete": False,
                    "ChargingComplete": False,
                    "RemainingTimeToFullSoC": {"Multiplier": 0, "Unit": "s", "Value": 1800 - index % 1800},
                    "RemainingTimeToBulkSoC": {"Multiplier": 0, "Unit": "s", "Value": 900},
                    "EVTargetVoltage": voltage,
                }
            }
        yield "din", exi.encode("din", {"V2G_Message": {"Header": DIN_HEADER, "Body": body}})


def mix(limit: int) -> tuple[str, list[tuple[str, bytes]]]:
    """What is measured and where it comes from: all captured messages in capture order, or `limit` of them in pieces of
    PIECE, evenly spread (single messages from everywhere would not follow one another as real ones do)."""
    real = list(captured())
    if not real:
        return "a made session (no captures at hand)", list(made(limit or 20_000))
    if not limit or limit >= len(real):
        return "all captured messages in their order", real
    pieces = max(1, limit // PIECE)
    starts = [i * (len(real) - PIECE) // max(1, pieces - 1) for i in range(pieces)]
    return f"{pieces} pieces of {len(real)} captured messages", [m for start in starts for m in real[start : start + PIECE]]
