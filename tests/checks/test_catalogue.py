"""The catalogue as a whole: metadata, cases, tables, documentation."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from casebook import BOOK, Lab, read_whole
from plugtap.checks import explain, tables
from plugtap.checks.catalogue import MODULES, load
from plugtap.checks.finding import SEVERITIES
from plugtap.checks.meta import Limit, Meta
from plugtap.checks.planned import PLANNED, STATUS

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
BELOW_V2G = ("slac", "link", "sdp", "tcp", "cp", "pp", "cross")
CHECKS = load()


def test_no_check_lacks_its_three_cases() -> None:
    """Each check below the V2G layer has a case that fires, one that is quiet, and one with a gap (the casebook runs all three)."""
    read_whole()
    lacking = {i for i, c in CHECKS.items() if c.meta.family in BELOW_V2G} - set(BOOK)
    assert not lacking


def test_every_id_of_the_catalogue_is_accounted_for() -> None:
    """An id is a check, or planned.py says why not."""
    text = (HERE / "catalogue_ids.txt").read_text(encoding="utf-8")
    ids = {line for line in text.splitlines() if line and not line.startswith("#")}
    assert len(ids) == 320
    assert ids == set(CHECKS) | set(PLANNED)


def test_what_is_planned_is_explained() -> None:
    for ident, planned in PLANNED.items():
        assert ident not in CHECKS, f"{ident} is a check now: take it out of planned.py"
        assert planned.status in STATUS
        assert planned.why
        assert set(planned.into) <= set(CHECKS)
        assert bool(planned.into) == (planned.status == "merged")


def test_modules_are_listed_once_and_all() -> None:
    """A module that registers checks and is not in catalogue.py would do nothing, silently."""
    assert list(MODULES) == sorted(set(MODULES))
    with_checks = {p.stem for p in (ROOT / "checks").glob("*.py") if re.search(r"^@register\nclass", p.read_text(encoding="utf-8"), re.MULTILINE)}
    assert with_checks == set(MODULES)


@pytest.mark.parametrize("meta", [c.meta for c in CHECKS.values()], ids=list(CHECKS))
def test_metadata_is_complete(meta: Meta) -> None:
    assert meta.severity in SEVERITIES
    for text in (meta.title, meta.trigger, meta.cause, meta.fix, meta.example):
        assert text and "TODO" not in text
    assert all(meta.refs)
    assert meta.refs or meta.class_ in ("heuristic", "implementation", "info"), "a requirement needs its reference"
    assert "{" not in explain.trigger(meta), "the trigger names a limit that is not there"
    assert set(meta.needs) <= set(explain.NEEDS)
    assert 1 <= meta.priority <= 99
    assert meta.confidence in explain.CONFIDENCE
    assert not (meta.confidence == "unconfirmed" and meta.severity == "error")


@pytest.mark.parametrize("name", ["slac", "pilot", "transport"])
def test_every_limit_of_a_table_is_used(name: str) -> None:
    """A number nobody uses is a number somebody corrects in vain."""
    used = set().union(*(c.meta.limits for c in CHECKS.values()))
    assert set(tables.limits_of(name)) <= used
    assert all(row["source"] for row in tables.rows(name))


def test_trigger_with_numbers() -> None:
    """The unit follows its number once."""
    limits = {"wait": Limit(0.2, "s", ""), "tries": Limit(2, "repeats", "")}
    assert explain.filled("{tries} repeats within {wait}, {other}", limits) == "2 repeats within 0.2 s, {other}"


@pytest.mark.parametrize("name", ["din-dc", "iso2-dc", "iso2-ac", "iso20-dc", "iso20-ac"])
def test_good_sessions_below_v2g(name: str) -> None:
    """A healthy session: nothing above info from the families below V2G, and no check raises."""
    findings = Lab.good(name).run().findings
    assert not [f.check for f in findings if f.check.split("-")[0] in BELOW_V2G and f.severity != "info"]


def test_documentation_is_up_to_date() -> None:
    """docs/checks.md is what tools/checks_doc writes."""
    made = subprocess.run([sys.executable, str(ROOT / "tools" / "checks_doc"), "--check"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def test_new_check_makes_a_skeleton(tmp_path: pathlib.Path) -> None:
    """The skeleton compiles, is listed, and its test fails until it is written."""
    for folder in ("checks", "tests/checks"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "checks" / "catalogue.py", tmp_path / "checks" / "catalogue.py")
    tool = [sys.executable, str(ROOT / "tools" / "new_check"), "--root", str(tmp_path)]
    made = subprocess.run([*tool, "slac-my-symptom"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    check = (tmp_path / "checks" / "slac_my_symptom.py").read_text(encoding="utf-8")
    test = (tmp_path / "tests" / "checks" / "test_slac_my_symptom.py").read_text(encoding="utf-8")
    compile(check, "check", "exec")
    compile(test, "test", "exec")
    assert 'id="slac-my-symptom"' in check and "class SlacMySymptom(Check)" in check
    assert '    "slac_my_symptom",\n' in (tmp_path / "checks" / "catalogue.py").read_text(encoding="utf-8")
    again = subprocess.run([*tool, "slac-my-symptom"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    odd = subprocess.run([*tool, "MySymptom"], capture_output=True, text=True, check=False)
    assert odd.returncode == 2
