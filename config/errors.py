"""The operator's errors."""

from __future__ import annotations


class ConfigError(Exception):
    """A setting is wrong. `key` names it (``tap.garage.capture.interface``), the message says what is wrong and what to write instead."""

    def __init__(self, key: str, problem: str, remedy: str = "") -> None:
        text = f"{key}: {problem}" if key else problem
        super().__init__(f"{text} ({remedy})" if remedy else text)
        self.key = key
        self.problem = problem
        self.remedy = remedy
