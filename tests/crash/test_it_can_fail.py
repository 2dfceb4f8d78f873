"""crash_everywhere finds what it is there to find: scenes that a crash does spoil."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from outlive import create_hook, step, workflow
from outlive.testing.crashpoints import Client, crash_everywhere

effects: list[str] = []


@step
async def unguarded(name: str) -> str:
    effects.append(name)
    await asyncio.sleep(1)
    return name


@workflow
async def two_steps() -> list[str]:
    return [await unguarded("a"), await unguarded("b")]


async def test_an_effect_that_is_no_step_of_the_log_is_found_twice() -> None:
    async def scene(client: Client) -> object:
        effects.clear()
        await client.run(two_steps)
        return list(effects)

    with pytest.raises(AssertionError, match=r"crash before commit \d+: the outcome is \['a', 'a', 'b'\]"):
        await asyncio.to_thread(crash_everywhere, scene)


@workflow
async def waits() -> object:
    return await create_hook(token="asked")


async def test_a_payload_that_is_sent_once_and_not_again_is_lost() -> None:
    async def scene(client: Client) -> object:
        run = await client.start(waits)
        await client.seen(run, "hook_created")
        sent = False

        async def once(engine: object) -> None:
            nonlocal sent
            if not sent:
                sent = True
                await engine.resume_hook("asked", 1)  # type: ignore[attr-defined]

        await client.ask(once)
        return await client.result(run)

    with pytest.raises(AssertionError, match="hangs"):
        await asyncio.to_thread(crash_everywhere, scene)


async def test_a_scene_that_differs_each_time_is_told() -> None:
    times = count()

    async def scene(client: Client) -> object:
        if next(times) > 0:
            return "nothing"
        await client.run(two_steps)
        return "nothing"

    with pytest.raises(AssertionError, match="never reached, so the scene is not the same"):
        await asyncio.to_thread(crash_everywhere, scene)
