"""plugtap.toml as text -> Settings; errors name the key, the value, and what to write instead. Opens no file itself."""

from __future__ import annotations

import datetime
import difflib
import importlib.resources
import json
import math
import re
import tomllib
import typing
from typing import Any

import msgspec

from plugtap.config.analysis import AnalysisSettings, CheckSettings
from plugtap.config.errors import ConfigError
from plugtap.config.settings import NAME_PATTERN, NAME_RULE, FileCapture, Settings, Tap

_T = typing.TypeVar("_T")
_AT = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")
_PLAIN: dict[Any, str] = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def default_toml() -> str:
    """The commented default settings file."""
    return importlib.resources.files("plugtap.config").joinpath("plugtap.toml").read_text(encoding="utf-8")


def parse_settings(text: str) -> Settings:
    """Read the text of a plugtap.toml. Raises ConfigError for the first thing that is wrong."""
    settings = _read(text)
    _consistent(settings)
    return settings


def parse_analysis(text: str, tap: str = "") -> AnalysisSettings:
    """What concerns analysis in the text of a plugtap.toml, which needs no taps for it. With the checks of tap `tap`
    where there is one, else of the only tap. Raises ConfigError."""
    settings = _read(text)
    names = list(settings.tap)
    if tap in names:
        return settings.analysis_of(tap)
    if len(names) == 1:
        return settings.analysis_of(names[0])
    return msgspec.structs.replace(settings, tap={"tap": Tap()}).analysis_of("tap")


def _read(text: str) -> Settings:
    """Each value by itself is right."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"not valid TOML: {error}", "texts need quotes, sections look like [mqtt]") from None
    _finite(raw, "")
    taps = _table(raw, "tap")
    analysis = _table(raw, "analysis")
    plain = {key: value for key, value in raw.items() if key != "tap"}
    if "analysis" in plain:
        plain["analysis"] = {**analysis, "checks": _checks(_table(analysis, "checks", "analysis"), "analysis.checks")}
    settings = _convert(plain, Settings, "")
    converted: dict[str, Tap] = {}
    for name, table in taps.items():
        if not re.match(NAME_PATTERN, name):
            raise ConfigError(f"tap.{name}", f"the tap's name {_show(name)} can't be used", f"take {NAME_RULE}")
        key = f"tap.{name}"
        if not isinstance(table, dict):
            raise ConfigError(key, f"is {_show(table)}", f"write a section [{key}.capture]")
        tap = {**table}
        if "checks" in tap:
            tap["checks"] = _checks(_table(tap, "checks", key), f"{key}.checks")
        converted[name] = _convert(tap, Tap, key)
    return msgspec.structs.replace(settings, tap=converted)


def _consistent(settings: Settings) -> None:
    """Rules over several keys."""
    if not settings.tap:
        raise ConfigError("tap", "no tap is set", 'write a section like [tap.garage.capture] with type = "interface"')
    used: dict[str, str] = {}
    for name, tap in settings.tap.items():
        if tap.capture is None and tap.pilot is None:
            raise ConfigError(f"tap.{name}", "has no source", f"write [tap.{name}.capture] or [tap.{name}.pilot]")
        if isinstance(tap.capture, FileCapture) and tap.pilot is not None:
            raise ConfigError(
                f"tap.{name}.pilot", "a capture file and a live pilot have nothing to do with each other", "remove one"
            )
        for part, source in (("capture", tap.capture), ("pilot", tap.pilot)):
            if source is None:
                continue
            for field in ("interface", "path", "device"):
                value = getattr(source, field, None)
                key = f"tap.{name}.{part}.{field}"
                if value in used:
                    raise ConfigError(
                        key, f"{_show(value)} is used by {used[value]} as well", "one source feeds one tap"
                    )
                if value is not None:
                    used[value] = key
    archive = settings.archive
    if archive.split_megabytes < archive.rotate_megabytes:
        raise ConfigError(
            "archive.split_megabytes",
            f"{archive.split_megabytes} is below archive.rotate_megabytes = {archive.rotate_megabytes}",
            "a file is closed between sessions from rotate_megabytes on, and within one only at split_megabytes",
        )
    if archive.keep_megabytes < 2 * archive.rotate_megabytes:
        raise ConfigError(
            "archive.keep_megabytes",
            f"{archive.keep_megabytes} is less than two files of archive.rotate_megabytes = {archive.rotate_megabytes}",
            "keep more, or rotate earlier",
        )
    mqtt = settings.mqtt
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        missing = "key_file" if mqtt.cert_file else "cert_file"
        raise ConfigError(f"mqtt.{missing}", "is missing", "a client certificate needs both cert_file and key_file")
    if (mqtt.cert_file or mqtt.ca_file) and not mqtt.tls:
        raise ConfigError("mqtt.tls", "is false, but certificates are set", "write tls = true")
    if mqtt.password_file and not mqtt.username:
        raise ConfigError("mqtt.username", "is missing, but password_file is set", "write the user's name")


def _table(raw: dict[str, Any], key: str, prefix: str = "") -> dict[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, dict):
        name = f"{prefix}.{key}" if prefix else key
        raise ConfigError(name, f"is {_show(value)}, not a section", f"write [{name}] on a line of its own")
    return value


def _checks(table: dict[str, Any], key: str) -> dict[str, Any]:
    """Convert check by check, since msgspec does not name the key of a mapping in its errors."""
    checks = {name: _convert(entry, CheckSettings, f"{key}.{name}") for name, entry in table.items()}
    for name, entry in checks.items():
        if not _is_date(entry.expected_until):
            raise ConfigError(f"{key}.{name}.expected_until", f"is {_show(entry.expected_until)}", 'write the last day like "2027-03-31"')
    return {name: msgspec.to_builtins(entry) for name, entry in checks.items()}


def _is_date(text: str) -> bool:
    try:
        return not text or (len(text) == 10 and bool(datetime.date.fromisoformat(text)))
    except ValueError:
        return False


def _finite(raw: Any, key: str) -> None:
    """TOML has inf and nan; no setting does."""
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ConfigError(key, f"is {raw}", "write a finite number")
    parts = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for name, part in parts:
        _finite(part, f"{key}.{name}" if key else str(name))


def _convert(raw: Any, type_: type[_T], prefix: str) -> _T:
    try:
        return msgspec.convert(raw, type_)
    except msgspec.ValidationError as error:
        raise _explain(str(error), raw, type_, prefix) from None


def _explain(message: str, raw: Any, type_: Any, prefix: str) -> ConfigError:
    """A msgspec error in the operator's words."""
    found = _AT.match(message)
    problem, path = (found["problem"], found["path"] or "$") if found else (message, "$")
    # A mapping's key appears as [...]: the mapping as a whole is named then.
    steps = [step for step in path.removeprefix("$").replace("[...]", "").split(".") if step]
    missing, unknown = _MISSING.search(problem), _UNKNOWN.search(problem)
    if missing:
        steps.append(missing["field"])
    if unknown:
        known = _fields(_walk(type_, raw, steps)[0])
        near = difflib.get_close_matches(unknown["field"], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return ConfigError(_join(prefix, [*steps, unknown["field"]]), "there is no such key", hint)
    hint_type, value = _walk(type_, raw, steps)
    remedy = _describe(hint_type, typed=missing is not None)
    key = _join(prefix, steps)
    if missing:
        return ConfigError(key, "is missing", remedy and f"write {steps[-1]} = {remedy}")
    return ConfigError(key, f"{_show(value)} is not allowed", remedy and f"write {remedy}")


def _join(prefix: str, steps: list[str]) -> str:
    return ".".join(part for part in [prefix, *steps] if part)


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    """The Struct types within a type hint (the members of a union)."""
    if typing.get_origin(hint) is typing.Annotated:
        return _structs(typing.get_args(hint)[0])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [found for part in typing.get_args(hint) for found in _structs(part)]


def _fields(hint: Any) -> list[str]:
    names: list[str] = []
    for struct in _structs(hint):
        tag = struct.__struct_config__.tag_field
        names += [name for name in [*([tag] if tag else []), *struct.__struct_encode_fields__] if name not in names]
    return names


def _walk(hint: Any, raw: Any, steps: list[str]) -> tuple[Any, Any]:
    """The type hint and the raw value at `steps` below `hint` and `raw`; None where there is none."""
    for step in steps:
        name, _, index = step.partition("[")
        candidates = _structs(hint)
        if len(candidates) > 1 and isinstance(raw, dict):
            named = [struct for struct in candidates if struct.__struct_config__.tag == raw.get("type")]
            candidates = named or candidates
        if candidates and name == candidates[0].__struct_config__.tag_field:
            tags = [str(struct.__struct_config__.tag) for struct in _structs(hint)]
            hint = typing.Annotated[str, msgspec.Meta(description=" or ".join(json.dumps(tag) for tag in tags))]
        else:
            hints = [typing.get_type_hints(struct, include_extras=True).get(name) for struct in candidates]
            hint = next((found for found in hints if found is not None), None)
        raw = raw.get(name) if isinstance(raw, dict) else None
        if index:
            position = index.rstrip("]")
            hint = next(iter(typing.get_args(hint)), None)
            raw = (
                raw[int(position)] if isinstance(raw, list) and position.isdigit() and int(position) < len(raw) else raw
            )
        # A union of structs is narrowed by its tag, so that unknown keys are compared with the right ones.
        tagged = [s for s in _structs(hint) if isinstance(raw, dict) and s.__struct_config__.tag == raw.get("type")]
        if len(_structs(hint)) > 1 and tagged:
            hint = tagged[0]
    return hint, raw


def _describe(hint: Any, *, typed: bool) -> str:
    """What may be written for a value of this type."""
    if typing.get_origin(hint) is typing.Annotated:
        notes = [meta.description for meta in hint.__metadata__ if isinstance(meta, msgspec.Meta) and meta.description]
        if notes:
            kind = _PLAIN.get(typing.get_args(hint)[0], "") if typed else ""
            return f"{kind}: {notes[-1]}" if kind and kind != notes[-1] else str(notes[-1])
        return _describe(typing.get_args(hint)[0], typed=typed)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(_show(choice) for choice in typing.get_args(hint))
    if _structs(hint):
        return f"a section with {', '.join(_fields(hint)[:8])}"
    if typing.get_origin(hint) in (tuple, list):
        return "a list in [ ]"
    if typing.get_origin(hint) is dict:
        return f"names with {_describe(typing.get_args(hint)[1], typed=typed)} each, in {{ }}"
    choices = [_describe(part, typed=typed) for part in typing.get_args(hint) if part is not type(None)]
    return " or ".join(choice for choice in choices if choice)
