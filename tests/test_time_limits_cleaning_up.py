"""In a task of asyncio, what cleans up after a limit has its ten seconds, however it was ended."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from time_limit_support import (
    LONG,
    SHORT,
    limit,
    timer_is_given_back,  # noqa: F401 - for every test
)

from modelmedic import timelimit
from modelmedic.errors import OperationTimedOut


async def _waits():
    await asyncio.sleep(LONG)


async def _blocks():
    time.sleep(LONG)  # noqa: ASYNC251 - the point


async def _cleans(cleaned):
    until = time.monotonic() + 2 * SHORT
    while time.monotonic() < until:
        time.sleep(0.01)  # noqa: ASYNC251 - an alarm would ring here
    await asyncio.sleep(2 * SHORT)  # and a cancel would be heard here
    cleaned.append("cleaned up")


@pytest.mark.parametrize("hangs", [_waits, _blocks])
def test_what_cleans_up_is_not_broken_off(hangs):
    async def main():
        async with limit():
            try:
                await hangs()
            finally:
                await _cleans(cleaned)

    cleaned = []
    with pytest.raises(OperationTimedOut):
        asyncio.run(main())
    assert cleaned == ["cleaned up"]


@pytest.mark.parametrize("hangs", [_waits, _blocks])
def test_what_cleans_up_is_not_broken_off_for_another_reason_either(hangs):
    async def main():
        async with limit(LONG) as block:
            threading.Timer(SHORT, block.interrupt, [OSError("the disk is nearly full")]).start()
            try:
                await hangs()
            finally:
                await _cleans(cleaned)

    cleaned = []
    with pytest.raises(OSError, match="nearly full"):
        asyncio.run(main())
    assert cleaned == ["cleaned up"]


def test_what_cleans_up_for_ever_is_cancelled_when_its_time_is_over(monkeypatch):
    async def main():
        async with limit():
            try:
                await _blocks()
            finally:
                await asyncio.sleep(LONG)
                cleaned.append("came through")

    cleaned = []
    monkeypatch.setattr(timelimit, "AGAIN_SECONDS", 2 * SHORT)
    with pytest.raises(OperationTimedOut) as caught:
        asyncio.run(main())
    assert cleaned == []
    assert caught.value.interrupted == "task"


def test_a_cancel_that_was_held_back_does_not_hit_what_comes_after_the_block(monkeypatch):
    async def main():
        with pytest.raises(OperationTimedOut):
            async with limit():
                await _blocks()
        await asyncio.sleep(4 * SHORT)
        return "came through"

    monkeypatch.setattr(timelimit, "AGAIN_SECONDS", SHORT)
    assert asyncio.run(main()) == "came through"
