"""Every check has its three cases: it fires, it is armed and silent, and frames are lost."""

from __future__ import annotations

import importlib
import pathlib

from casebook import BOOK

from plugtap.checks.catalogue import load


def test_no_check_lacks_its_cases() -> None:
    for path in sorted(pathlib.Path(__file__).parent.glob("test_*_checks.py")):
        importlib.import_module(path.stem)
    assert sorted(load().keys() - BOOK.keys()) == []
    assert sorted(BOOK.keys() - load().keys()) == []
