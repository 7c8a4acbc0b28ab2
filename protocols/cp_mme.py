"""Vendor MMEs that carry the state of the control pilot: some PLC modems and test systems tell it to whoever listens.

ST / IoTecha STP_CPSTATE.IND (0xA22E), SPIDCOM 0xA10E, dSPACE Smart Charging Solution diagnostics (0x8002, ASCII with
JSON).
Layouts: dspace-group/dsV2Gshark, Wireshark, real frames. `cp_of` gives what they have in common.
"""

from __future__ import annotations

import math

import msgspec

from plugtap.protocols.errors import DecodeError
from plugtap.protocols.mme_codec import Codec, fixed
from plugtap.protocols.mme_names import OUI_DSPACE, OUI_SPIDCOM, OUI_ST

# Byte "CP State" of STP_CPSTATE.IND; the even codes up to 8 mean "between the two".
STP_STATES = {1: "A", 3: "B", 5: "C", 7: "D", 9: "E", 10: "F"}

_MAX_JSON = 4096
_MAX_KEYS = 64


class StpCpStateInd(msgspec.Struct, frozen=True):
    """STP_CPSTATE.IND (0xA22E), OUI 00:80:E1. `state`: 1 A, 3 B, 5 C, 7 D, 9 E, 10 F, even numbers below 9 ambiguous.

    `duty` in %, `freq` in Hz (0 without PWM; a steady positive level has duty 100), `cp_mv` the positive plateau.
    """

    state: int
    duty: int
    freq: int
    cp_mv: int
    message_version: int = 0

    @property
    def letter(self) -> str | None:
        """State letter A to F; None when ambiguous or unknown."""
        return STP_STATES.get(self.state)


class SpidcomCpInd(msgspec.Struct, frozen=True):
    """SPIDCOM 0xA10E, OUI 00:13:D7. `changed`: bit mask of what changed; `freq` Hz, `duty` 0.1 %, `cp_mv` the
    positive plateau.
    """

    changed: int
    freq: int
    duty: int
    cp_mv: int


class DspaceDiag(msgspec.Struct, frozen=True):
    """dSPACE diagnostics (0x8002): ``dSPACE SCS Diag|dsV2Gshark|v1|<topic>|{json}``.

    `values` is the JSON object as sent, e.g. ``{"CP State": "State_B2", "CP/CE Voltage [V]": 8.97, "PP Resistor
    [Ohm]": 1568}``.
    """

    version: str
    topic: str
    values: dict[str, str | int | float | bool | None]

    def number(self, key: str) -> float | None:
        """A finite numeric value, or None."""
        value = self.values.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        return None


_DSPACE_PREFIX = b"dSPACE SCS Diag|dsV2Gshark|"
_json = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


def _read_dspace(data: bytes, pos: int, _mmv: int) -> DspaceDiag:
    raw = data[pos:].rstrip(b"\0")
    parts = raw.split(b"|", 4)
    if not raw.startswith(_DSPACE_PREFIX) or len(parts) != 5:
        raise DecodeError("homeplug", pos, "not a dSPACE diagnostics text")
    json_at = pos + len(raw) - len(parts[4])
    if len(parts[4]) > _MAX_JSON:
        raise DecodeError("homeplug", json_at, f"dSPACE diagnostics longer than {_MAX_JSON} bytes")
    try:
        # flat values only: nesting is refused by type, so depth is no concern
        values = _json.decode(parts[4])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeError("homeplug", json_at, f"dSPACE diagnostics: {error}") from None
    if len(values) > _MAX_KEYS:
        raise DecodeError("homeplug", json_at, f"dSPACE diagnostics: more than {_MAX_KEYS} values")
    return DspaceDiag(
        version=parts[2].decode("ascii", "replace"), topic=parts[3].decode("ascii", "replace"), values=values
    )


def _write_dspace(body: DspaceDiag, _mmv: int) -> bytes:
    head = f"{_DSPACE_PREFIX.decode()}{body.version}|{body.topic}|".encode("ascii", "replace")
    return head + msgspec.json.encode(body.values)


class CarriedCp(msgspec.Struct, frozen=True):
    """What an MME says about the control pilot; None where it does not say.

    `letter` A to F, `pwm` whether the oscillator runs, `level_mv` the positive plateau, `duty` in %, `freq` in Hz.
    """

    level_mv: int | None = None
    letter: str | None = None
    pwm: bool | None = None
    duty: float | None = None
    freq: float | None = None
    pp_mv: int | None = None
    pp_ohm: int | None = None


_MAX_MV = 30_000  # beyond the pilot's ±12 V by far: not a voltage


def _milli(volts: float | None) -> int | None:
    return round(volts * 1000) if volts is not None and abs(volts) * 1000 <= _MAX_MV else None


def cp_of(body: object) -> CarriedCp | None:
    """The control pilot state in an MME body; None when the MME carries none."""
    if isinstance(body, StpCpStateInd):
        return CarriedCp(level_mv=body.cp_mv, letter=body.letter, duty=float(body.duty), freq=float(body.freq))
    if isinstance(body, SpidcomCpInd):
        return CarriedCp(level_mv=body.cp_mv, duty=body.duty / 10, freq=float(body.freq))
    if isinstance(body, DspaceDiag):
        level = _milli(body.number("CP/CE Voltage [V]"))
        state = str(body.values.get("CP State", "")).removeprefix("State_")
        letter = state[0] if state[:1] in ("A", "B", "C", "D", "E", "F") else None
        if level is None and letter is None:
            return None
        ohm = body.number("PP Resistor [Ohm]")
        return CarriedCp(
            level_mv=level,
            letter=letter,
            pwm={"1": False, "2": True}.get(state[1:2]),
            pp_mv=_milli(body.number("PP/ID Voltage [V]")),
            # 0 stands for "nothing plugged"
            pp_ohm=round(ohm) if ohm is not None and 0 < ohm < 1e6 else None,
        )
    return None


CODECS: tuple[Codec, ...] = (
    fixed(
        0xA22E,
        StpCpStateInd,
        ("", "4x"),  # MME version, reserved
        ("message_version", "B"),
        ("state", "B"),
        ("duty", "B"),
        ("freq", "h"),
        ("cp_mv", "h"),
        oui=OUI_ST,
    ),
    fixed(0xA10E, SpidcomCpInd, ("changed", "B"), ("freq", "h"), ("duty", "h"), ("cp_mv", "h"), oui=OUI_SPIDCOM),
    Codec(0x8002, DspaceDiag, _read_dspace, _write_dspace, 1, OUI_DSPACE),
)
