"""Builds the compiled twin of the EXI engine, when that is possible; everything else stands in pyproject.toml.

The twin `plugtap.protocols.exi._engine_c` is `protocols/exi/engine.py`, compiled by Cython with the C types of
`engine.pxd`. Without a C compiler or without Cython, or with PLUGTAP_PURE=1 in the environment, it is left out and
engine.py runs as it stands. The twin carries the digest of the source it was made from; `build.py` does not use one
that belongs to other source.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "protocols" / "exi"
NAME = "plugtap.protocols.exi._engine_c"

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # the types are those of engine.pxd
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}


def generate() -> Path:
    """Copies the source under the twin's name, with its digest, into the build folder."""
    python = (SOURCE / "engine.py").read_bytes()
    types = (SOURCE / "engine.pxd").read_bytes()
    records = (SOURCE / "engine_native.h").read_bytes()
    digest = hashlib.sha256(python + types + records).hexdigest()
    folder = HERE / "build" / "exi" / "plugtap" / "protocols" / "exi"
    folder.mkdir(parents=True, exist_ok=True)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").touch()
    (folder / "_engine_c.pxd").write_bytes(types)
    (folder / "engine_native.h").write_bytes(records)
    (folder / "_engine_c.py").write_bytes(python + f'\n\nSOURCE = "{digest}"\n'.encode())
    return (folder / "_engine_c.py").relative_to(HERE)


def extensions() -> list[Extension]:
    if os.environ.get("PLUGTAP_PURE") == "1":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        print("Cython is not installed: the EXI engine stays plain Python")
        return []
    flags = ["-g0", "-Wno-sign-compare"]  # no debug information; Cython compares its own integers
    twin = Extension(NAME, [str(generate())], extra_compile_args=flags)
    built: list[Extension] = cythonize([twin], compiler_directives=DIRECTIVES, quiet=True)
    for extension in built:
        extension.optional = True  # cythonize forgets it: without a compiler setuptools then goes on
    return built


setup(ext_modules=extensions())
