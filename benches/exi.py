"""How fast EXI is decoded: plugtap compiled, plugtap plain, and EXIficient (Java) to XML, on the same messages.

    .venv/bin/python benches/exi.py [--messages N] [--rounds N] [--wheel FILE | --no-java]

All three run in turn, in the same run, each warm, in one process and on one thread, over all captured messages in their
order (--messages: over some of them, quicker). The figure is messages per second of that thread's CPU time, best round,
so that other work on the machine and Java's compiling and collecting threads do not count. EXIficient comes from the
PyPI wheel iso15118 0.31.2 (pip downloads it); its XML is a string in memory. plugtap's content are finished dictionaries. Also
measured: loading all tables, and the memory they take before and after all these messages.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from exi_compile import download, java, java_schemas, unpack
from exi_mix import mix

from plugtap.protocols import exi
from plugtap.protocols.exi import build, decoder, tables
from plugtap.protocols.exi.decoder import decode_message

Messages = list[tuple[str, bytes]]


def plugtap(engine: Any, messages: Messages, rounds: int) -> float:
    """Messages per CPU second through the public function, on one build of the engine."""
    tables.loaded.clear()
    for schema in {schema for schema, _ in messages}:
        tables.loaded[schema] = tables.load(schema, engine)
    best = 0.0
    end = time.monotonic() + rounds  # seconds: about as long as EXIficient takes, so that all see quiet moments alike
    while rounds > 0 or time.monotonic() < end:
        rounds -= 1
        began = time.thread_time()
        for schema, data in messages:
            decode_message(schema, data)
        best = max(best, len(messages) / (time.thread_time() - began))
    tables.loaded.clear()
    return best


def exificient(shared: Path, messages: Messages, rounds: int, scratch: Path) -> float:
    """The same for EXIficient, from its byte array to an XML string."""
    listing = scratch / "messages.txt"
    listing.write_text("".join(f"{schema} {data.hex()}\n" for schema, data in messages))
    used = {schema for schema, _ in messages}
    schemas = [f"{schema}={path}" for schema, path in java_schemas(shared).items() if schema in used]
    best = 0.0
    for line in java("ExiBench.java", shared, str(listing), str(rounds), *schemas).splitlines():
        _wall, cpu, _process, failed, _characters = line.split()
        if int(failed) > len(messages) // 100:
            raise SystemExit(f"EXIficient failed on {failed} messages")
        best = max(best, float(cpu))
    return best


def load_all(engine: Any, messages: Messages) -> tuple[float, float, float]:
    """Milliseconds to read all tables; MiB they take with every type linked, and what is remembered of `messages` too."""
    best = 1e9
    for _ in range(5):
        began = time.thread_time()
        for schema in exi.FRAGMENT_SCHEMAS:
            tables.load(schema, engine)
        best = min(best, 1000 * (time.thread_time() - began))
    tracemalloc.start()
    loaded = [tables.load(schema, engine) for schema in exi.FRAGMENT_SCHEMAS]
    seen: set[int] = set()
    todo = [p for grammar in loaded for p in (*grammar.documents, *grammar.fragments)]
    while todo:
        p = todo.pop()
        if p.type is None or p.type.value is not None or id(p.type) in seen:
            continue
        seen.add(id(p.type))
        states, known = [p.type.first()], set[int]()
        while states:
            state = states.pop()
            if id(state) not in known:
                known.add(id(state))
                todo += state.productions
                states += [s for q in state.productions for s in (q.next, q.full) if s is not None]
    size = tracemalloc.get_traced_memory()[0] / 1048576
    used = dict(zip(exi.FRAGMENT_SCHEMAS, loaded, strict=True))
    for schema, data in messages:
        used[schema].decode(data, decoder.MAX_DEPTH, decoder.MAX_ENTRIES)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0] / 1048576
    tracemalloc.stop()
    return best, size, after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=0, help="how many, in pieces; default: all")
    parser.add_argument("--rounds", type=int, default=20, help="of each, and at least as many seconds; the first ones warm up (default: 20)")
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    parser.add_argument("--no-java", action="store_true", help="leave EXIficient out")
    args = parser.parse_args()
    source, messages = mix(args.messages)
    size = sum(len(data) for _, data in messages) / len(messages)
    print(f"{source}: {len(messages)}, {size:.0f} bytes each on average")
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if not args.no_java:
            try:
                shared = unpack(args.wheel or download(Path(scratch)), Path(scratch))
                rates["EXIficient to XML"] = exificient(shared, messages, args.rounds, Path(scratch))
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                print(f"EXIficient is left out: {error}")
        rates["plugtap plain"] = plugtap(build.plain, messages, args.rounds)
        if build.compiled is None:
            print(build.WHY_PLAIN)
        else:
            rates["plugtap compiled"] = plugtap(build.compiled, messages, args.rounds)
    base = rates.get("EXIficient to XML")
    for name, rate in rates.items():
        print(f"{name:18} {rate:9,.0f} messages/s" + (f"  {rate / base:5.2f} x EXIficient" if base else ""))
    for name, engine in (("plain", build.plain), ("compiled", build.compiled)):
        if engine is not None:
            load, memory, after = load_all(engine, messages)
            print(f"all tables, {name}: {load:.1f} ms to load, {memory:.1f} MiB with every type linked, {after:.1f} MiB after the messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
