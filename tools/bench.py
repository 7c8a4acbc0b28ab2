"""Runs the measurements in benches/, one after the other, and shows what they print.

  tools/bench                    all of them
  tools/bench analyze pcap       some
  tools/bench --list             what each measures
  tools/bench --write            all, into docs/benchmarks.md
  tools/bench analyze -- --repeat 1      options of the script itself

Exit code 1: a measurement failed."""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

What `make bench ARGS=--write` measured; nothing here is written by hand. Ratios to a named peer in the same run say more than absolute numbers: those
depend on the machine. What each script measures, on which input: `benches/NAME.py --help`.

"""


def scripts() -> dict[str, Path]:
    """Name and path of every measurement: what can be run; the rest are parts that they share."""
    return {path.stem: path for path in sorted((ROOT / "benches").glob("*.py")) if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}


def summary(path: Path) -> str:
    """First paragraph of a script's docstring, on one line."""
    return " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0].split())


def machine() -> str:
    """Processor, cores, memory, system."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = f"{models[0]} ({name})" if models else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}"


def run(path: Path, options: list[str]) -> tuple[int, str, float]:
    """Exit code, output and seconds of a measurement; the output is shown as it comes."""
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, str(path), *options], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(f"  {line}", end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines), time.monotonic() - begin


def main() -> int:
    known = scripts()
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="measurements (default: all)")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--write", action="store_true", help="write all that was measured into docs/benchmarks.md")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    args, options = parser.parse_args(given[:cut]), given[cut + 1 :]
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(known)}")
    if args.write and args.names:
        parser.error("--write wants all measurements: leave the names out")
    if args.list:
        for name, path in known.items():
            print(f"{name:12} {summary(path)}")
        return 0
    page = [HEAD, f"{datetime.date.today().isoformat()}, {machine()}; load before it began {os.getloadavg()[0]:.1f}.\n"]
    failed = []
    for name in args.names or known:
        print(f"{name}: {summary(known[name])}", flush=True)
        code, output, seconds = run(known[name], options)
        print(f"  ({seconds:.0f} s)\n")
        if code:
            failed.append(name)
        page.append(f"\n## {name}\n\n{summary(known[name])}\n\n```\n{output.rstrip()}\n```\n")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    if args.write:
        PAGE.write_text("".join(page), encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
