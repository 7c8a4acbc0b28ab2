"""What others may import from `plugtap` itself is there, costs nothing until used, and does what docs/analyze.md says."""

from __future__ import annotations

import contextlib
import io
import pathlib
import re
import subprocess
import sys

import plugtap
import pytest
from plugtap.cli.main import main

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "analyze.md"


def test_every_name_is_there() -> None:
    for name in plugtap.__all__:
        assert getattr(plugtap, name) is not None
    assert set(plugtap.__all__) <= set(dir(plugtap))
    with pytest.raises(AttributeError, match="no attribute 'Analyser'"):
        _ = plugtap.Analyser


def test_the_root_imports_no_layer() -> None:
    code = "import sys, plugtap; print(sorted(m for m in sys.modules if m.startswith('plugtap.')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_example_in_the_docs_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "precharge-stalled", "-o", "charge.pcapng"]) == 0
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(example.group(1), str(DOCS), "exec"), {})
    assert re.search(r"^failed SECC .*120 V", said.getvalue(), re.MULTILINE)
