"""What an engine keeps between messages (memos, shapes, readers) never shows in what it decodes."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from exi_bare import bare
from exi_contents import Maker, messages

from plugtap.protocols import exi
from plugtap.protocols.errors import DecodeError
from plugtap.protocols.exi import build, tables
from plugtap.protocols.exi.decoder import MAX_DEPTH, MAX_ENTRIES
from plugtap.protocols.exi.result import Decoded

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benches"))
from exi_mix import made

SESSION = [data for _, data in made(400)]


def outcome(grammar: Any, data: bytes) -> Any:
    try:
        return grammar.decode(data, MAX_DEPTH, MAX_ENTRIES)
    except DecodeError as error:
        return error.offset, error.path, error.reason, error.partial


def loaded(engine: str, schema: str) -> Any:
    return tables.load(schema, build.plain if engine == "plain" else build.compiled)


def test_damaged_and_sound_messages_in_turn(engine: str) -> None:
    """The same as from an engine without memory, value by value and key by key in order."""
    random = Random(3)
    reference, used = tables.load("din", bare()), loaded(engine, "din")
    decoded = 0
    for data in SESSION:
        damaged = bytearray(data)
        place = random.randrange(8, 8 * len(data))
        damaged[place >> 3] ^= 128 >> (place & 7)
        cut = data[: random.randrange(1, len(data))]
        for version in (data, bytes(damaged), cut, data):
            expected, found = outcome(reference, version), outcome(used, version)
            assert found == expected
            if isinstance(found, Decoded):
                decoded += 1
                assert str(found.content) == str(expected.content)  # the order of the keys too
    assert decoded > 2 * len(SESSION)


def test_contents_are_the_callers_own(engine: str) -> None:
    """Changing one message's content changes no other's, though equal elements are copies of one memory."""
    first, second = exi.decode("din", SESSION[0]), exi.decode("din", SESSION[0])
    limit = first["V2G_Message"]["Body"]["CurrentDemandReq"]["EVMaximumVoltageLimit"]
    limit["Value"] = -1
    limit["Extra"] = {}
    del first["V2G_Message"]["Header"]["SessionID"]
    assert second == exi.decode("din", SESSION[0]) != first
    assert second["V2G_Message"]["Header"]["SessionID"] == "A1B2C3D4E5F60718"


def test_garbage_collector_minds_the_contents(engine: str) -> None:
    """A cycle that a caller makes through decoded elements is found: elements with children are watched, as dictionaries filled key by key are."""
    for _ in range(3):  # first key by key, then from a model
        content = exi.decode("din", SESSION[1])
        message = content["V2G_Message"]
        assert gc.is_tracked(message) and gc.is_tracked(message["Body"]) and gc.is_tracked(message["Body"]["CurrentDemandRes"])


def test_more_kinds_of_elements_than_are_remembered(engine: str) -> None:
    """Shapes are forgotten when there are too many; what is decoded stays right before, during and after."""
    reference, used = tables.load("iso20cm", bare()), loaded(engine, "iso20cm")
    random = Random(5)
    names = messages("iso20cm")
    root = next(p.type for p in used.documents if p.type.value is None)
    most = 0
    for turn in range(400):
        before = root.table.shapes.count
        for name in names:
            data = exi.encode("iso20cm", Maker("iso20cm", random).message(name))
            assert outcome(used, data) == outcome(reference, data)
        most = max(most, root.table.shapes.count)
        if root.table.shapes.count < before or (engine == "plain" and turn == 10):  # the plain engine has no shapes
            break
    else:
        pytest.fail("there never were too many shapes")
    assert most <= build.plain.MAX_SHAPES


@pytest.mark.parametrize("threads", [4])
def test_threads(engine: str, threads: int) -> None:
    """Readers and memories are shared by threads: none sees another's message."""
    grammar = loaded(engine, "din")
    expected = [outcome(tables.load("din", bare()), data) for data in SESSION[:40]]
    wrong: list[Any] = []

    def work(start: int) -> None:
        for i in range(start, start + 1500):
            found = outcome(grammar, SESSION[i % 40])
            if found != expected[i % 40]:
                wrong.append((i, found))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=work, args=(13 * n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
