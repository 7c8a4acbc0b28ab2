"""make fuzz and make bench do what they say: mistakes are found, kept, made small and shown again; measurements run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import hostile
import pytest
from plugtap.protocols.items import Frame

ROOT = Path(__file__).resolve().parents[1]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHES = list(loaded("bench").scripts().values())


@pytest.fixture
def fuzz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = loaded("fuzz")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "fuzz")
    return module


def fragile(data: bytes) -> None:
    """A decoder with a mistake: it can't stand a sound (CM_MNBC_SOUND.IND) after any SDP request."""
    asked = False
    for item in hostile.from_archive(data):
        if isinstance(item, Frame):
            asked = asked or item.data[56:58] == (15118).to_bytes(2, "big")
            if asked and item.data[15:17] == b"\x76\x60":
                raise IndexError("a mistake")


def test_a_mistake_is_found_kept_and_made_small(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def two_sessions(dice: object) -> bytes:
        return hostile.to_archive([*hostile.corpus("din-dc"), *hostile.corpus("din-dc")])

    monkeypatch.setitem(hostile.TARGETS, "stack", hostile.Target(two_sessions, fragile, ".pcapng"))
    counts = fuzz.Counts(fuzz.FOLDER / "counts.json")
    found = fuzz.fuzz("stack", 3, 0.3, counts)
    ((what, [path]),) = found.items()
    assert what.startswith("IndexError at ")
    assert path == fuzz.FOLDER / "stack-3-0.pcapng"
    assert str(path) in capsys.readouterr().out
    assert len(hostile.from_archive(path.read_bytes())) == 2, "one request and one sound show the mistake"
    assert fuzz.again(path) == 1
    assert "IndexError: a mistake" in capsys.readouterr().err
    monkeypatch.undo()
    assert fuzz.again(path) == 0, "the real decoders have no such mistake"


def test_a_run_goes_on_where_the_one_before_stopped(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(hostile, "case", lambda name, seed, number: tried.append(number) or b"")
    monkeypatch.setitem(hostile.TARGETS, "pilot", hostile.Target(lambda dice: b"", lambda data: None, ".pilot"))
    path = fuzz.FOLDER / "counts.json"
    assert fuzz.fuzz("pilot", 1, 0.05, fuzz.Counts(path)) == {}
    first = len(tried)
    fuzz.fuzz("pilot", 1, 0.05, fuzz.Counts(path))
    assert first > 0
    assert tried == list(range(len(tried)))
    assert fuzz.Counts(path).tried == {"pilot:1": len(tried)}


def test_fuzz_as_a_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "fuzz.py"), "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(hostile.TARGETS)
    (tmp_path / "nobody-1-2.bin").write_bytes(b"")
    wrong = subprocess.run([sys.executable, str(ROOT / "tools" / "fuzz.py"), "--try", str(tmp_path / "nobody-1-2.bin")], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_every_measurement_explains_itself(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert loaded("bench").summary(path).split()[0] in done.stdout


def test_bench_lists_all_measurements() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "bench.py"), "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [path.stem for path in BENCHES]
    assert all(len(line.split()) > 3 for line in done.stdout.splitlines()), "a measurement without a docstring"


@pytest.mark.slow
def test_the_measurement_of_analyze_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "bench.py"), "analyze", "--", "--repeat", "1", "--captures", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "virtual session" in done.stdout
    assert "checks make analyze" in done.stdout
