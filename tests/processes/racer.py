"""A process that does what eleven others do in the same moment. ``python -m tests.processes.racer URL NUMBER``; it goes at a line on stdin."""

from __future__ import annotations

import asyncio
import json
import sys

from outlive import Engine, HookConflict, RunConflict, create_hook, step, workflow


@step
async def who(number: int) -> int:
    return number


@workflow
async def same(number: int) -> int:
    return await who(number)


@workflow
async def holder(number: int) -> str:
    hook = create_hook(token="the-one")
    try:
        await hook.conflict()
        await hook
    except HookConflict as conflict:
        return conflict.run_id
    return f"holder-{number}"


async def main(url: str, number: int) -> None:
    async with Engine(url) as engine:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            winner = await (await engine.start(same.options(run_id="same"), number)).result()
        except RunConflict:
            winner = None  # another one started it with its own number
        held = await engine.start(holder.options(run_id=f"holder-{number}"), number)
        print(json.dumps({"winner": winner}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps({"holder": await held.result()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
