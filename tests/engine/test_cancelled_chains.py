"""A request to cancel reaches the body of a chain, whichever of its links has ended by then (R7, R8)."""

from __future__ import annotations

import asyncio

import pytest

from outlive import Engine, RunCancelled, continue_as_new, sleep, step, workflow
from outlive._core.authoring import Workflow

from .conftest import MakeEngine


@step
async def act(seconds: float) -> None:
    await asyncio.sleep(seconds)


@step(queue="q")
async def queued() -> None:
    await asyncio.sleep(5)


async def tidy() -> None:
    try:
        await asyncio.sleep(1e6)
    finally:
        await act(30)


@workflow
async def naps(link: int) -> int:
    await sleep(60)
    if link < 5:
        continue_as_new(link + 1)
    return link


@workflow
async def naps_and_acts(link: int) -> int:
    await sleep(60)
    await act(0)
    if link < 5:
        continue_as_new(link + 1)
    return link


@workflow
async def tidies(link: int) -> int:
    if link < 3:
        tidying = asyncio.create_task(tidy())
        await sleep(1)
        assert not tidying.done()
        continue_as_new(link + 1)
    await sleep(1000)
    return link


@workflow
async def waits_in_a_queue(link: int) -> int:
    if link < 3:
        await queued()
        continue_as_new(link + 1)
    return link


@pytest.mark.parametrize("chain", [naps, naps_and_acts])
async def test_r08_that_came_while_nobody_was_there(make_engine: MakeEngine, chain: Workflow[[int], int]) -> None:
    """It is taken in with what the body goes on to the next link for."""
    async with make_engine(worker=False) as client:
        async with make_engine():
            await client.start(chain.options(run_id="x"), 0)
            await asyncio.sleep(1)
        await asyncio.sleep(100)
        assert await client.get_run("x").cancel()
        async with make_engine() as second:
            with pytest.raises(RunCancelled):
                await second.get_run("x").result()
            assert await second.store.audit() == []


async def test_r08_that_came_while_a_link_tidied_up(engine: Engine) -> None:
    run = await engine.start(tidies, 0)
    await asyncio.sleep(10)
    assert await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert (await run.info()).link == 2
    assert await engine.store.audit() == []


async def test_r08_that_came_after_the_end_of_a_queued_step(make_engine: MakeEngine) -> None:
    async with make_engine(worker=False) as client:
        async with make_engine(queues=("default",)) as first:
            await client.start(waits_in_a_queue.options(run_id="y"), 0)
            assert first.worker is not None
            first.worker.poke()
            await asyncio.sleep(1)
        async with make_engine(queues=("q",)):
            await asyncio.sleep(20)
            assert await client.get_run("y").cancel()
        async with make_engine() as second:
            with pytest.raises(RunCancelled):
                await second.get_run("y").result()
