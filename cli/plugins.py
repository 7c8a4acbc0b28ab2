"""Checks of third parties: entry points of the group ``plugtap.checks``, loaded only where the settings switch them on by name.

A package offers them in its pyproject.toml::

    [project.entry-points."plugtap.checks"]
    acme-door-open = "acme_plugtap.checks:DoorOpen"

The name is the check's id, the object a class derived from plugtap.checks.base.Check. Nothing of it is imported until the settings say
``[analysis.checks.acme-door-open]`` with ``enabled = true``: code of others runs by consent, and only at the edge.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from plugtap.checks.base import Check
from plugtap.checks.catalogue import load
from plugtap.checks.meta import Meta
from plugtap.checks.registry import REGISTRY, register
from plugtap.config.analysis import CheckSettings
from plugtap.config.errors import ConfigError

GROUP = "plugtap.checks"


def offered() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def enable(*settings: Mapping[str, CheckSettings]) -> list[str]:
    """Load and register every offered check that one of the settings switches on. Returns their ids.

    Raises ConfigError where one cannot be loaded, is no check, has another id than its name, or takes the id of one of plugtap's own.
    """
    wanted = {name for checks in settings for name, entry in checks.items() if entry.enabled}
    entries = offered()
    return [_load(entries[name]) for name in sorted(wanted & entries.keys())]


def known(extra: Iterable[str] = ()) -> list[str]:
    """Ids that settings may name: plugtap's own and what is offered."""
    return sorted({*load(), *offered(), *extra})


def hold(checks: Mapping[str, CheckSettings], section: str = "analysis.checks") -> None:
    """What settings say of checks must mean something: a misspelt check or limit would do nothing, silently. Raises ConfigError."""
    ids = known()
    for name, entry in checks.items():
        key = f"{section}.{name}"
        meant = fnmatch.filter(ids, name)
        if not meant:
            near = difflib.get_close_matches(name, ids, 1)
            remedy = f"did you mean {near[0]}?" if near else "`plugtap checks` lists them; families are written time-*"
            raise ConfigError(key, "there is no such check", remedy)
        loaded = [REGISTRY[check].meta for check in meant if check in REGISTRY]
        if len(loaded) == len(meant):  # what is only offered by a package is not imported for this
            _hold_limits(entry.limits, loaded, f"{key}.limits")


def _hold_limits(limits: Mapping[str, float], metas: list[Meta], key: str) -> None:
    for name, value in limits.items():
        defaults = [meta.limits[name].value for meta in metas if name in meta.limits]
        if not defaults:
            names = sorted({name for meta in metas for name in meta.limits})
            near = difflib.get_close_matches(name, names, 1)
            have = f"there are {', '.join(names)}" if names else "it has none"
            raise ConfigError(f"{key}.{name}", "there is no such limit", f"did you mean {near[0]}?" if near else have)
        if value < 0 <= min(defaults):
            raise ConfigError(f"{key}.{name}", f"is {value:g}", f"write a number from 0 on; it is {defaults[0]:g} unless set")


def _load(entry: EntryPoint) -> str:
    key = f"analysis.checks.{entry.name}"
    where = f"entry point {entry.value}"
    own = load()
    try:
        check = entry.load()
    except Exception as error:  # anything may go wrong in code of others; it must not take plugtap down with a traceback
        raise ConfigError(key, f"{where} can't be loaded: {type(error).__name__}: {error}", "repair or remove that package") from None
    if not (isinstance(check, type) and issubclass(check, Check) and isinstance(getattr(check, "meta", None), Meta)):
        raise ConfigError(key, f"{where} is no check", "it must be a class derived from plugtap.checks.base.Check, with `meta`")
    if check.meta.id != entry.name:
        raise ConfigError(key, f"{where} is the check {check.meta.id}", "name the entry point after the check's id")
    if own.get(entry.name) not in (None, check):
        raise ConfigError(key, f"{where} takes the id of one of plugtap's own checks", "give it another id")
    try:
        register(check)
    except ValueError as error:
        raise ConfigError(key, f"{where}: {error}", "see checks/README.md") from None
    return entry.name


def forget(ids: Iterable[str]) -> None:
    """Take checks out again (tests)."""
    for ident in ids:
        REGISTRY.pop(ident, None)
