"""Errors of devices and files."""

from __future__ import annotations


class SourceError(Exception):
    """A file or device can't be read or opened. Says which, why, and what to do about it."""

    def __init__(self, name: str, reason: str, remedy: str = "") -> None:
        text = f"{name}: {reason}"
        super().__init__(f"{text} ({remedy})" if remedy else text)
        self.name = name
        self.reason = reason
        self.remedy = remedy
