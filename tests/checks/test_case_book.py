"""Every check has its three cases: it fires, it is armed and silent, and frames are lost."""

from __future__ import annotations

import pathlib

from casebook import read_whole

from plugtap.checks.catalogue import load


def test_no_check_lacks_its_cases() -> None:
    book = read_whole()
    assert sorted(load().keys() - book.keys()) == []
    assert sorted(book.keys() - load().keys()) == []


def test_all_three_are_run() -> None:
    """A file that enters cases also runs them."""
    for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "= book(" in text and path.name != pathlib.Path(__file__).name:
            assert all(f"assert_{what}(case)" in text for what in ("fires", "quiet", "gap")), path.name
