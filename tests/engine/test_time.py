"""Clocks that are set, and files that go away, under a living engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlive import Engine, StoreUnavailable, sleep, step, workflow
from outlive.testing.clock import VirtualClock, virtual_options


class SetClock:
    """A clock that somebody sets."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.error = 0.0

    def now(self) -> float:
        return self._clock.now() + self.error


@step
async def act(n: int) -> int:
    return n


@workflow
async def naps(count: int) -> int:
    for number in range(count):
        await sleep(5)
        await act(number)
    return count


async def test_a_clock_that_was_set_back_and_right_again_stalls_nobody(clock: VirtualClock) -> None:
    wrong = SetClock(clock)
    options = virtual_options(poll=0.25)
    async with Engine("memory://", clock=wrong, shutdown_grace=0, options=options) as engine:
        run = await engine.start(naps, 3)
        await asyncio.sleep(2)
        wrong.error = -3600.0
        await asyncio.sleep(20)
        wrong.error = 0.0
        assert await run.result(timeout=30) == 3


async def test_a_clock_that_was_set_forward_is_followed(clock: VirtualClock) -> None:
    wrong = SetClock(clock)
    options = virtual_options(poll=0.25)
    async with Engine("memory://", clock=wrong, shutdown_grace=0, options=options) as engine:
        run = await engine.start(naps, 3)
        await asyncio.sleep(2)
        wrong.error = 3600.0
        assert await run.result(timeout=30) == 3


@pytest.mark.parametrize("gone", ["", "-wal"])
async def test_nothing_is_acknowledged_on_a_file_that_was_deleted(
    tmp_path: Path, clock: VirtualClock, gone: str
) -> None:
    file = tmp_path / "o.db"
    async with Engine(f"sqlite:///{file}", clock=clock, shutdown_grace=0, options=virtual_options()) as engine:
        await (await engine.start(naps, 0)).result()
        (tmp_path / f"o.db{gone}").rename(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            await engine.start(naps, 0)
        (tmp_path / "elsewhere").rename(tmp_path / f"o.db{gone}")
        await asyncio.sleep(30)
        assert await (await engine.start(naps, 0)).result() == 0
