"""From the wheel to the bytes of a table file: the schema sets and their main schemas (development tool)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from exi_grammar import Table
from exi_xsd import Reader, Schemas

WHEEL = "iso15118==0.31.2"

# Main schema of each set, below the wheel's folder of schemas.
SETS = {
    "sap": "V2G_CI_AppProtocol.xsd",
    "din": "din_spec/V2G_CI_MsgDef.xsd",
    "iso2": "iso15118_2/V2G_CI_MsgDef.xsd",
    "iso20cm": "iso15118_20/V2G_CI_CommonMessages.xsd",
    "iso20ac": "iso15118_20/V2G_CI_AC.xsd",
    "iso20dc": "iso15118_20/V2G_CI_DC.xsd",
    "iso20acdp": "iso15118_20/V2G_CI_ACDP.xsd",
    "iso20wpt": "iso15118_20/V2G_CI_WPT.xsd",
    "xmldsig": "xmldsig-core-schema.xsd",
}


def download(into: Path) -> Path:
    """Fetches the wheel with pip. Raises CalledProcessError when it cannot be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), WHEEL]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(into.glob("iso15118-*.whl"))


def unpack(wheel: Path, into: Path) -> Path:
    """Extracts schemas and jar; the package's `shared` folder. The schema set of a schema is found from there."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".xsd", ".jar")):
                archive.extract(name, into)
    return into / "iso15118" / "shared"


def read_set(schema: str, shared: Path) -> Schemas:
    top = shared / "schemas"
    return Reader(top / SETS[schema], top).read()


def compile_set(schema: str, shared: Path) -> bytes:
    """The table file of a set: one line per type, so that differences can be read."""
    table = Table(schema, read_set(schema, shared)).build()
    types = table.pop("types")
    assert isinstance(types, list)
    head = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    lines = ",\n".join(json.dumps(t, separators=(",", ":"), ensure_ascii=False) for t in types)
    return f'{head[:-1]},\n"types":[\n{lines}\n]}}\n'.encode()


def java_schemas(shared: Path) -> dict[str, Path]:
    """The main schema of each set, in a form that Xerces reads without a network.

    Several schemas import xmldsig from their own folder, where the wheel does not have it; and its document type
    names a file on the web.
    """
    top = shared / "schemas"
    xmldsig = top / SETS["xmldsig"]
    text = re.sub(r"<!DOCTYPE.*?\]>", "", xmldsig.read_text(encoding="utf-8"), flags=re.DOTALL)
    for folder in {(top / main).parent for main in SETS.values()}:
        (folder / xmldsig.name).write_text(text, encoding="utf-8")
    return {schema: top / main for schema, main in SETS.items()}


def java(program: str, shared: Path, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Runs a Java source file of tools/java with the wheel's jar; its output. Raises CalledProcessError."""
    source = Path(__file__).resolve().parent / "java" / program
    command = ["java", *options, "-cp", str(shared / "EXICodec.jar"), str(source), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
