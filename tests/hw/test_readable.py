"""Waiting for a file descriptor: a cancellation always arrives, also together with what was waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from plugtap.hw.source import readable


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancellation_beside_the_data_is_not_lost(steps: int) -> None:
    read, write = os.pipe()
    try:
        task = asyncio.create_task(readable(read, timeout=5))
        await asyncio.sleep(0.01)
        os.write(write, b"x")
        for _ in range(steps):
            await asyncio.sleep(0)
        late = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await task and late
        assert task.cancelled() != late
    finally:
        os.close(read)
        os.close(write)


async def test_nothing_comes() -> None:
    read, write = os.pipe()
    try:
        assert not await readable(read, timeout=0.02)
        os.write(write, b"x")
        assert await readable(read, timeout=5)
    finally:
        os.close(read)
        os.close(write)
