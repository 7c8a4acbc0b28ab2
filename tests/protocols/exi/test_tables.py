"""The committed tables: their shape, their size, and that they are what the tools make of the schemas."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from plugtap.protocols import exi
from plugtap.protocols.exi import tables

TOOLS = Path(__file__).resolve().parents[3] / "tools"
sys.path.insert(0, str(TOOLS))
from exi_bisimulation import Comparison, parse  # noqa: E402


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PyPI wheel that has the schemas; tests that need it are skipped where pip cannot fetch it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "iso15118==0.31.2"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("pip cannot download iso15118 0.31.2 here")
    return next(folder.glob("*.whl"))


def test_counts() -> None:
    """Roots and fragment elements of each set, which give the widths of the first event code."""
    counts = {s: (len(tables.read(s).roots), len(tables.read(s).elements)) for s in exi.FRAGMENT_SCHEMAS}
    assert counts == {
        "sap": (2, 9),
        "din": (81, 245),
        "iso2": (80, 243),
        "iso20cm": (54, 281),
        "iso20ac": (42, 154),
        "iso20dc": (48, 149),
        "iso20acdp": (34, 129),
        "iso20wpt": (38, 193),
        "xmldsig": (24, 45),
    }


def test_size() -> None:
    """A few kilobytes each: repetitions are counted, not unrolled."""
    package = resources.files("plugtap.protocols.exi")
    sizes = [len(package.joinpath(f"{schema}.json").read_bytes()) for schema in exi.FRAGMENT_SCHEMAS]
    assert sum(sizes) < 200_000


@pytest.mark.parametrize("schema", exi.FRAGMENT_SCHEMAS)
def test_nothing_points_outside(schema: str) -> None:
    raw = tables.read(schema)
    assert (raw.format, raw.schema) == (1, schema)
    assert raw.elements == sorted(raw.elements, key=lambda e: (e[0], raw.uris[e[1]]))
    assert len(raw.fragment) == len(raw.elements)
    for entry in raw.types:
        if isinstance(entry[0], str):
            continue
        for state in entry:
            for p in state[1:]:
                assert all(0 <= following < len(entry) for following in (p[1:2] + p[6:7]))
                assert p[0] not in (2, 3, 4) or 0 <= p[2] < len(raw.types)
                assert p[0] != 4 or p[3] < len(raw.elements)
                assert p[0] != 3 or p[3] < len(raw.attributes)


@pytest.mark.parametrize("schema", exi.FRAGMENT_SCHEMAS)
def test_no_two_children_share_a_key(schema: str) -> None:
    """Content is keyed by local names: within a type a name must mean one thing, and a limit one list."""
    raw = tables.read(schema)
    for entry in raw.types:
        if isinstance(entry[0], str):
            continue
        children = {(p[3], p[2]) for state in entry for p in state[1:] if p[0] == 4}
        names = [raw.elements[element][0] for element, _ in children]
        relaxed = any(p[0] == 6 for state in entry for p in state[1:])
        assert relaxed or len(names) == len(set(names))


SMALL: dict[str, Any] = {
    "uris": ["urn:x"],
    "elements": [["a", 0], ["b", 0]],
    "attributes": [["Id", 0]],
    "roots": [[0, 0]],
    "fragment": [0, 1],
    "types": [[[0, [3, 1, 2, 0], [4, 2, 1, 1, 1, 3, 3]], [1, [4, 2, 1, 1, 1, 3, 3]], [2, [4, 2, 1, 1, 1, 3, 3], [0]], [2, [0]]], ["nbit", 0, 7], ["string", 0, None]],
}
DUMP = """ROOT document 0
ROOT fragment 1
STATE 0 SCHEMA_INFORMED_DOC_CONTENT 0
START_ELEMENT 9 a urn:x 2
START_ELEMENT_GENERIC 9
STATE 1 SCHEMA_INFORMED_FRAGMENT_CONTENT 0
START_ELEMENT 1 a urn:x 2
START_ELEMENT 1 b urn:x 7
START_ELEMENT_GENERIC 1
END_DOCUMENT 9
STATE 2 SCHEMA_INFORMED_FIRST_START_TAG_CONTENT 7
ATTRIBUTE 3 Id urn:x StringDatatype
START_ELEMENT 4 b urn:x 7
STATE 3 SCHEMA_INFORMED_START_TAG_CONTENT 5
START_ELEMENT 4 b urn:x 7
STATE 4 SCHEMA_INFORMED_ELEMENT_CONTENT 2
START_ELEMENT 5 b urn:x 7
END_ELEMENT -1
STATE 5 SCHEMA_INFORMED_ELEMENT_CONTENT 2
START_ELEMENT 6 b urn:x 7
END_ELEMENT -1
STATE 6 SCHEMA_INFORMED_ELEMENT_CONTENT 2
END_ELEMENT -1
STATE 7 SCHEMA_INFORMED_FIRST_START_TAG_CONTENT 7
CHARACTERS 8 NBitUnsignedIntegerDatatype|0|7
STATE 8 SCHEMA_INFORMED_ELEMENT_CONTENT 2
END_ELEMENT -1
STATE 9 DOC_END 0""".replace(" ", "\t")


def compared(dump: str) -> Comparison:
    comparison = Comparison(SMALL, parse(dump))
    comparison.run()
    return comparison


def test_comparison_of_equal_grammars() -> None:
    """A counted repetition of at most three is the same as three unrolled states."""
    result = compared(DUMP)
    assert (result.differences, len(result.pairs)) == ([], 5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("START_ELEMENT\t6\tb", "START_ELEMENT\t5\tb"),  # one repetition more
        ("Integer", "Enumeration"),
        ("|0|7", "|0|8"),
        ("StringDatatype", "BooleanDatatype"),
        ("Id\turn:x", "Id\turn:y"),
        ("START_TAG_CONTENT\t5", "START_TAG_CONTENT\t4"),
        ("STATE\t6\tSCHEMA_INFORMED_ELEMENT_CONTENT", "STATE\t6\tSCHEMA_INFORMED_START_TAG_CONTENT"),
        ("ATTRIBUTE\t3\tId\turn:x\tStringDatatype\n", ""),
        ("START_ELEMENT_GENERIC\t9\n", ""),
    ],
)
def test_comparison_sees_every_difference(old: str, new: str) -> None:
    assert old in DUMP
    assert compared(DUMP.replace(old, new)).differences


@pytest.mark.slow
def test_tables_are_made_again(wheel: Path) -> None:
    """The tool gives the committed tables, byte for byte."""
    run = subprocess.run([sys.executable, str(TOOLS / "exi_schemas"), "--check", "--wheel", str(wheel)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "changed" not in run.stdout


@pytest.mark.slow
def test_grammars_are_those_of_exificient(wheel: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("no Java here")
    run = subprocess.run([sys.executable, str(TOOLS / "exi_grammar_proof"), "--wheel", str(wheel)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "14027 state pairs, 0 differences"
