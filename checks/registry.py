"""All checks by id. Modules that define checks are listed in checks/catalogue.py."""

from __future__ import annotations

import re
from typing import TypeVar

from plugtap.checks.base import Check
from plugtap.checks.finding import CLASSES, EFFECTS, SEVERITIES, SIDES

REGISTRY: dict[str, type[Check]] = {}
C = TypeVar("C", bound=type[Check])


def register(check: C) -> C:
    """Class decorator: enter the check into the registry. Raises ValueError where its metadata is not usable."""
    meta = check.meta
    problems = [
        text
        for wrong, text in (
            (not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", meta.id), "id is not kebab-case"),
            (meta.severity not in SEVERITIES, f"severity {meta.severity}"),
            (meta.class_ not in CLASSES, f"class {meta.class_}"),
            (meta.effect not in EFFECTS, f"effect {meta.effect}"),
            (meta.side not in SIDES, f"side {meta.side}"),
            (meta.gap not in ("suppress", "uncertain", "proceed"), f"gap {meta.gap}"),
            (meta.severity == "error" and meta.effect not in ("unsafe", "stops-charging"), "error without an effect that deserves it"),
            (meta.severity == "error" and meta.confidence == "unconfirmed", "error on an unconfirmed number"),
            (meta.id in REGISTRY and REGISTRY[meta.id].__qualname__ != check.__qualname__, "registered twice"),
        )
        if wrong
    ]
    if problems:
        raise ValueError(f"check {meta.id}: {'; '.join(problems)}")
    REGISTRY[meta.id] = check
    return check
