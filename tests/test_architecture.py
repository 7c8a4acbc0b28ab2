"""The house holds: layers import only what stands above them, and pure layers do nothing but compute."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# DESIGN section 3, from the top: each layer may import those before it (and itself).
LAYERS = ("config", "protocols", "sessions", "checks", "analysis", "report", "hw", "sim", "daemon", "cli")
PURE = ("protocols", "sessions", "checks", "analysis", "report")
# What a pure layer may not touch: time, files, network, processes, environment, logging, concurrency.
FORBIDDEN = {
    "asyncio", "socket", "logging", "time", "os", "sys", "io", "pathlib", "subprocess", "threading", "multiprocessing", "select", "selectors",
    "random", "secrets", "tempfile", "shutil", "signal", "sqlite3", "urllib", "http", "serial", "aiomqtt", "prometheus_client", "glob",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval"}
CLOCKS = {"now", "utcnow", "today"}
# (file, module): the few that need one of these, each with its reason.
ALLOWED: dict[tuple[str, str], str] = {}


def modules(layer: str) -> list[pathlib.Path]:
    return [p for p in sorted((ROOT / layer).rglob("*.py")) if "__pycache__" not in p.parts]


def imports(path: pathlib.Path) -> list[tuple[str, int]]:
    """(module, line) of every import in a file, wherever it stands; type-checking-only imports count too."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write plugtap.…"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "plugtap" else [node.module or ""]
            found += [(name, node.lineno) for name in names]
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_upwards_only(layer: str) -> None:
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], "__version__"}
    wrong = []
    for path in modules(layer):
        for name, line in imports(path):
            parts = name.split(".")
            if parts[0] == "plugtap" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", PURE)
def test_pure_layers_do_nothing_but_compute(layer: str) -> None:
    wrong = []
    for path in modules(layer):
        name = str(path.relative_to(ROOT))
        for module, line in imports(path):
            if module.split(".")[0] in FORBIDDEN and (name, module) not in ALLOWED:
                wrong.append(f"{name}:{line} imports {module}")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                    wrong.append(f"{name}:{node.lineno} calls {called.id}()")
                if isinstance(called, ast.Attribute) and called.attr in CLOCKS:
                    wrong.append(f"{name}:{node.lineno} reads a clock: .{called.attr}()")
    assert not wrong, "\n".join(wrong)


def test_the_list_of_exceptions_holds_nothing_old() -> None:
    for name, module in ALLOWED:
        assert module in {m for m, _ in imports(ROOT / name)}, f"{name} no longer imports {module}"


def test_only_hw_opens_devices() -> None:
    wrong = []
    for layer in ("config", *PURE, "daemon", "cli", "sim"):
        for path in modules(layer):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr == "AF_PACKET" and layer != "sim":
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} uses AF_PACKET")
            wrong += [f"{path.relative_to(ROOT)}:{line} imports {m}" for m, line in imports(path) if m.split(".")[0] == "serial"]
    assert not wrong, "\n".join(wrong)


def test_every_layer_has_a_readme_that_says_what_it_may_not_import() -> None:
    for folder in (*LAYERS, "plugtap", "systemd", "tests", "benches", "docs", "tools"):
        text = (ROOT / folder / "README.md").read_text()
        assert len(text) > 200, f"{folder}/README.md says too little"
        if folder in LAYERS:
            assert "import" in text, f"{folder}/README.md: what must it not import?"
