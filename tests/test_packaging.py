"""The build maps the top-level folders to plugtap.*: nothing is forgotten, and wheel, sdist and editable install import alike."""

from __future__ import annotations

import pathlib
import pkgutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOT_INSTALLED = {"tests", "tools", "benches", "docs", "systemd", "build", "dist", ".venv"}


def declared() -> dict[str, str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


def test_every_folder_with_code_is_a_package() -> None:
    folders = {
        str(p.parent.relative_to(ROOT))
        for p in ROOT.rglob("*.py")
        if not NOT_INSTALLED & set(p.relative_to(ROOT).parts) and p.parent != ROOT and not any(x.startswith(".") for x in p.relative_to(ROOT).parts)
    }
    assert folders == set(declared().values())
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted(declared())
    for folder in folders:
        assert (ROOT / folder / "__init__.py").is_file()


def package_files() -> set[str]:
    """Names under site-packages of every module and data file that belongs in an install."""
    names = set()
    for package, folder in declared().items():
        for path in (ROOT / folder).iterdir():
            if path.suffix in (".py", ".toml", ".json", ".tsv", ".bin") or path.name in ("py.typed",):
                names.add(f"{package.replace('.', '/')}/{path.name}")
    return names


@pytest.mark.slow
def test_wheel_and_sdist_hold_all_and_import(tmp_path: pathlib.Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)], capture_output=True, text=True, env=None, check=False, timeout=600
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as packed:
        missing = package_files() - set(packed.namelist())
    assert not missing
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        inside = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert not {f"{folder}/__init__.py" for folder in declared().values()} - inside
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False, system_site_packages=False)
    # The libraries are those of the running environment; plugtap itself only from the wheel.
    target = tmp_path / "target"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(target)
    libraries = next(p for p in sys.path if p.endswith("site-packages"))
    code = (
        "import sys, pkgutil, importlib; sys.path[:0] = [sys.argv[1]]; sys.path.append(sys.argv[2]);"
        "import plugtap; assert plugtap.__file__.startswith(sys.argv[1]), plugtap.__file__;"
        "names = [m.name for m in pkgutil.walk_packages(plugtap.__path__, 'plugtap.') if not m.name.endswith('__main__')];"
        "[importlib.import_module(n) for n in names]; print(*sorted(names))"
    )
    run = subprocess.run(
        [str(environment / "bin" / "python"), "-I", "-c", code, str(target), libraries], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert set(run.stdout.split()) == editable_names() | set(declared()) - {"plugtap"}


def editable_names() -> set[str]:
    names = set()
    for package, folder in declared().items():
        names |= {f"{package}.{m.name}" for m in pkgutil.iter_modules([str(ROOT / folder)]) if m.name != "__main__"}
    return names


def test_every_module_imports() -> None:
    code = "import importlib, sys; [importlib.import_module(n) for n in sys.argv[1:]]"
    command = [sys.executable, "-W", "error", "-c", code, *sorted(editable_names())]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
