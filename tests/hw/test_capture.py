"""AF_PACKET capture on a veth pair, as root and unprivileged."""

from __future__ import annotations

import ast
import inspect
import os
import pathlib
import struct

import pytest
from namespace import run_script

from plugtap.hw import capture

SCRIPT = pathlib.Path(__file__).with_name("capture_script.py")


@pytest.mark.parametrize("unprivileged", [False, True], ids=["as-is", "unprivileged"])
def test_live_capture(unprivileged: bool) -> None:
    if not unprivileged and os.geteuid() != 0:
        pytest.skip("not root: the unprivileged run is this one")
    seen = run_script(SCRIPT, unprivileged=unprivileged)
    steps = [
        "interface missing is told", "interface that appears is opened", "filter", "own frame", "fifth",
        "flood is accounted for", "frame after the flood", "carrier loss", "carrier back", "interface gone",
        "interface back", "frames after its return", "times in order", "nanoseconds", "silent", "silent while gone",
    ]  # fmt: skip
    assert [step for step in steps if seen[step] is not True] == []
    assert seen["data"] == [True, True, True], "also the VLAN tag that the kernel takes off"
    assert seen["wire_len"] == [True, True, True]
    assert seen["directions"] == ["in", "in", "in"]
    assert seen["own direction"] == "out"
    assert seen["not silent"] is None
    assert seen["sent by tap while capturing"] == 0, "opening and capturing puts nothing on the wire"
    flood = seen["flood"]
    assert flood["accounted"] == 20_001, "every frame was captured or counted as lost, none twice"
    assert flood["counter"] == 20_000 - flood["captured"]
    assert seen["opened"] == 2


def test_nothing_in_the_capture_modules_sends() -> None:
    """The capture socket has no use for send, write or any other way out."""
    tree = ast.parse(inspect.getsource(capture))
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    assert not {name for name in called if "send" in name or "write" in name}


def run_filter(program: bytes, frame: bytes) -> int:
    """A classic BPF machine for the four instructions that the filter uses."""
    code = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
    accumulator = position = 0
    while True:
        operation, yes, no, value = code[position]
        position += 1
        if operation == 0x28:
            if value + 2 > len(frame):
                return 0
            accumulator = int.from_bytes(frame[value : value + 2], "big")
        elif operation == 0x15:
            position += yes if accumulator == value else no
        else:
            assert operation == 0x06
            return value


MACS = bytes(12)


@pytest.mark.parametrize(
    ("frame", "passes"),
    [
        (MACS + b"\x88\xe1" + bytes(46), True),
        (MACS + b"\x86\xdd" + bytes(46), True),
        (MACS + b"\x08\x00" + bytes(46), False),
        (MACS + b"\x81\x00\x00\x05\x88\xe1" + bytes(46), True),
        (MACS + b"\x88\xa8\x00\x05\x86\xdd" + bytes(46), True),
        (MACS + b"\x81\x00\x00\x05\x08\x00" + bytes(46), False),
        (MACS + b"\x08\x06\x00\x05\x88\xe1" + bytes(46), False),
        (MACS + b"\x88", False),
    ],
)
def test_filter_program(frame: bytes, passes: bool) -> None:
    assert (run_filter(capture.ccs_filter(), frame) > 0) is passes
