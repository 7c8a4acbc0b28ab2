"""Mutates inputs and looks whether anything breaks: decoders, analysis, capture files, pilot input; then every other tools/fuzz_*.

  tools/fuzz                              a minute each, going on where the run before stopped
  tools/fuzz --seconds 600 --only stack   ten minutes of one target
  tools/fuzz --try build/fuzz/analysis-1-77.pcapng      a saved case again
  tools/fuzz --list                       targets, and how many cases of each have been tried

A case that breaks something is saved as a file, as small as it could be made; `plugtap analyze FILE` shows it too. The same seed and number
always give the same case. Exit code 1: something broke."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import hostile  # noqa: E402
from plugtap.protocols.errors import DecodeError  # noqa: E402

FOLDER = ROOT / "build" / "fuzz"
MAX_KEPT = 20  # crashes of one target in one run
SHRINK_SECONDS = 20.0
SLOW_SECONDS = 10.0  # a case that takes longer is a mistake too: somebody could stop a tap with it


class Counts:
    """How many cases of each target and seed have been tried; kept in a file, so that a run goes on where the last one stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tried: dict[str, int] = {}
        if path.exists():
            self.tried = {str(k): int(v) for k, v in json.loads(path.read_text()).items()}

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self.tried, indent=1, sort_keys=True))
        new.replace(self._path)


def broken(target: hostile.Target, data: bytes) -> str:
    """What goes wrong with a case: where and what, the same for the same mistake; empty if nothing does."""
    begun = time.process_time()
    try:
        target.check(data)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/tests/" not in f.filename] or traceback.extract_tb(error.__traceback__)
        last = frames[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
    took = time.process_time() - begun
    return f"slow: {took:.0f} s of CPU time" if took > SLOW_SECONDS else ""


def shrunk(target: hostile.Target, data: bytes, what: str) -> bytes:
    """The case with as many items taken out as can be while the same mistake shows."""
    if target.suffix != ".pcapng":
        return data
    try:
        items = hostile.from_archive(data)
    except DecodeError:
        return data
    where = what.partition(": ")[0]
    deadline = time.monotonic() + SHRINK_SECONDS
    size = max(1, len(items) // 2)
    while time.monotonic() < deadline:
        smaller = False
        for at in range(0, len(items), size):
            rest = items[:at] + items[at + size :]
            if broken(target, hostile.to_archive(rest)).startswith(where):
                items, smaller = rest, True
                break
            if time.monotonic() > deadline:
                break
        if not smaller:
            if size == 1:
                break
            size //= 2
    small = hostile.to_archive(items)
    return small if broken(target, small).startswith(where) else data


def fuzz(name: str, seed: int, seconds: float, counts: Counts) -> dict[str, list[Path]]:
    """Try cases of one target until the time is over; returns the mistakes and the files that show them."""
    target = hostile.TARGETS[name]
    found: dict[str, list[Path]] = {}
    key = f"{name}:{seed}"
    begun = time.monotonic()
    first = number = counts.tried.get(key, 0)
    shown = begun
    while (now := time.monotonic()) - begun < seconds:
        data = hostile.case(name, seed, number)
        what = broken(target, data)
        if what and what not in found and len(found) < MAX_KEPT:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path = FOLDER / f"{name}-{seed}-{number}{target.suffix}"
            path.write_bytes(shrunk(target, data, what))
            found[what] = [path]
            print(f"  {name}: {what}\n    {path}", flush=True)
        number += 1
        counts.tried[key] = number
        if now - shown > 10:
            shown = now
            counts.save()
            print(f"  {name}: {number - first} cases in {now - begun:.0f} s", flush=True)
    counts.save()
    took = time.monotonic() - begun
    print(f"{name}: {number - first} cases in {took:.0f} s ({(number - first) / took:.0f}/s), {number} with this seed so far, {len(found)} mistakes")
    return found


def others(seconds: float) -> bool:
    """Run the fuzzers that are commands of their own; each takes --seconds. True if one of them found something."""
    bad = False
    for path in sorted((ROOT / "tools").glob("fuzz_*")):
        with path.open("rb") as file:
            python = b"python" in file.readline()
        print(f"{path.name}:", flush=True)
        command = [sys.executable, str(path)] if python else [str(path)]
        bad |= subprocess.run([*command, "--seconds", str(seconds)], cwd=ROOT, check=False).returncode != 0
    return bad


def again(path: Path) -> int:
    """Try a saved case."""
    name = path.name.split("-")[0]
    if name not in hostile.TARGETS:
        print(f"{path.name}: the name of a saved case begins with its target: {', '.join(hostile.TARGETS)}", file=sys.stderr)
        return 2
    try:
        hostile.TARGETS[name].check(path.read_bytes())
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{path.name}: nothing breaks")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases (default: 1)")
    parser.add_argument("--only", action="append", choices=sorted(hostile.TARGETS), help="this target only; may be given several times")
    parser.add_argument("--from-start", action="store_true", help="begin with the first case again")
    parser.add_argument("--try", dest="case", type=Path, metavar="FILE", help="try a saved case")
    parser.add_argument("--list", action="store_true", help="targets and counts")
    args = parser.parse_args()
    if args.case is not None:
        return again(args.case)
    counts = Counts(FOLDER / "counts.json")
    if args.list:
        for name in hostile.TARGETS:
            tried = {key.partition(":")[2]: n for key, n in counts.tried.items() if key.partition(":")[0] == name}
            print(f"{name:10} " + (", ".join(f"seed {seed}: {n} cases" for seed, n in sorted(tried.items())) or "not tried yet"))
        return 0
    if args.from_start:
        counts.tried = {key: n for key, n in counts.tried.items() if not key.endswith(f":{args.seed}")}
    bad = False
    try:
        for name in args.only or hostile.TARGETS:
            bad |= bool(fuzz(name, args.seed, args.seconds, counts))
        if not args.only:
            bad |= others(args.seconds)
    except KeyboardInterrupt:
        counts.save()
        return 130
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
