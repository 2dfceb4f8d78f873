"""Runs that are very long, and values that are very large (A12, A13, E8)."""

from __future__ import annotations

import asyncio

import pytest

from outlive import Engine, SerializationError, continue_as_new, create_hook, sleep, step, workflow
from outlive.stores.memory import MemoryStore
from outlive.testing.clock import VirtualClock, virtual_options
from outlive.testing.crash import kill

ROUNDS, WIDE = 100, 1_000


@step
async def add(number: int) -> int:
    return number + 1


@workflow
async def counts(rounds: int) -> int:
    total = 0
    for _ in range(rounds):
        total += sum(await asyncio.gather(*(add(0) for _ in range(WIDE))))
    await sleep("1 day")
    return total


def on(store: MemoryStore, clock: VirtualClock) -> Engine:
    return Engine(
        store=store, clock=clock, guard="cheap", shutdown_grace=0, options=virtual_options(replay_always=False)
    )


@pytest.mark.slow
async def test_a_run_of_a_hundred_thousand_events_goes_on_elsewhere_and_can_be_ended(clock: VirtualClock) -> None:
    store = MemoryStore(clock=clock)
    first = on(store, clock)
    await first.open()
    run = await first.start(counts, ROUNDS)
    await asyncio.sleep(1000)
    assert (await run.info()).events > ROUNDS * WIDE
    await kill(first)
    async with on(store, clock) as second:
        again = second.get_run(run.id)
        assert await again.result() == ROUNDS * WIDE
        long = await second.start(counts, ROUNDS // 10)
        await asyncio.sleep(1000)
        before = (await long.info()).events
        assert await long.terminate("enough")
        assert (await long.info()).events == before + 1
        assert await store.audit() == []


MEGABYTES = "x" * 10_000_000


@step
async def sizes(value: str) -> int:
    return len(value)


@workflow
async def passes_on(value: str, links: int) -> list[int]:
    if links:
        continue_as_new(value, links - 1)
    hook = create_hook(str, token="large")
    sent = await hook
    return [len(value), await sizes(value), len(sent)]


async def test_ten_megabytes_go_through_a_chain_and_a_hook(engine: Engine) -> None:
    run = await engine.start(passes_on, MEGABYTES, 1)
    await asyncio.sleep(1)
    await engine.resume_hook("large", MEGABYTES)
    assert await run.result() == [10_000_000] * 3


async def test_what_is_over_the_limit_is_refused_at_the_call_and_nothing_is_lost(engine: Engine) -> None:
    too_large = "x" * 70_000_000
    with pytest.raises(SerializationError, match=r"takes 70,0.* bytes and the limit is 67,108,864"):
        await engine.start(passes_on, too_large, 0)
    run = await engine.start(passes_on, "small", 0)
    await asyncio.sleep(1)
    with pytest.raises(SerializationError):
        await engine.resume_hook("large", too_large)
    await engine.resume_hook("large", "fits")
    assert await run.result() == [5, 5, 4]
