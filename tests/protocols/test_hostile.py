"""Bit flips, cuts, random frames and splices through the whole stack: events and findings come out, never an exception.
tools/fuzz does the same for as long as it is given."""

from __future__ import annotations

import collections
import random

import hostile
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugtap.analysis.analysis import Analysis
from plugtap.protocols.events import V2gMessage
from plugtap.protocols.items import Frame, Item
from plugtap.protocols.stack import Stack

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_decoders_take_anything(seed: int) -> None:
    hostile.check_stack(hostile.case("stack", seed, 0))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_analysis_takes_anything(seed: int) -> None:
    hostile.check_analysis(hostile.case("analysis", seed, 0))


@given(SEEDS)
@settings(max_examples=200, deadline=None)
def test_capture_readers_take_anything(seed: int) -> None:
    hostile.check_capture(hostile.case("capture", seed, 0))


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_pilot_readers_take_anything(seed: int) -> None:
    hostile.check_pilot(hostile.case("pilot", seed, 0))


@given(st.lists(st.binary(max_size=200), max_size=20), st.sampled_from((1, 113, 276)))
@settings(max_examples=100, deadline=None)
def test_frames_of_pure_noise(data: list[bytes], link: int) -> None:
    stack = Stack()
    for number, one in enumerate(data, 1):
        assert isinstance(stack.feed(Frame(number, number, one, link)), list)
    stack.finish(len(data), len(data))


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_every_cut_of_every_kind_of_frame(kind: str) -> None:
    """Each frame of a conversation, ending at every byte."""
    shapes = {(len(item.data), item.data[12:20]): item for item in hostile.corpus(kind) if isinstance(item, Frame)}
    assert len(shapes) > 20
    stack = Stack()
    for item in shapes.values():
        for length in range(0, len(item.data), 1 if len(item.data) < 150 else 7):
            stack.feed(msgspec.structs.replace(item, data=item.data[:length], wire_len=len(item.data)))
    assert stack.undecodable > 100


def test_the_same_damage_says_the_same() -> None:
    for seed in range(5):
        items = hostile.from_archive(hostile.case("analysis", seed, 1))
        assert told(items) == told(items)


def told(items: list[Item]) -> bytes:
    analysis = Analysis(foreign=True)
    for item in items:
        analysis.feed(item)
    analysis.finish()
    return msgspec.json.encode(analysis.reports())


def test_the_dice_reach_the_inner_layers() -> None:
    """The fuzzer would be worth little if everything broke at the first header."""
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(20):
        stack = Stack()
        for item in hostile.from_archive(hostile.case("stack", seed, 2)):
            for event in stack.feed(item):
                seen[type(event).__name__] += 1
                seen["undecoded message"] += isinstance(event, V2gMessage) and event.message is None
    for name in ("V2gMessage", "undecoded message", "Tcp", "Mme", "Sdp", "Undecodable", "V2gtpOddity", "Loss", "Pilot"):
        assert seen[name] >= 3, (name, seen)


def test_a_case_can_be_rolled_again() -> None:
    assert hostile.case("stack", 7, 8) == hostile.case("stack", 7, 8) != hostile.case("stack", 7, 9)
    assert hostile.mutated_items(random.Random(1), hostile.corpus("din-dc"), 0.0) == list(hostile.corpus("din-dc"))
