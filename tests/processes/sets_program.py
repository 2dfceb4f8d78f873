"""A run whose steps are given sets of strings. ``python -m tests.processes.sets_program URL begin|end``."""

from __future__ import annotations

import asyncio
import os
import sys

from outlive import Engine, sleep, step, workflow

WORDS = [f"word {number}" for number in range(40)]


@step
async def count(words: set[str], more: dict[str, frozenset[str]]) -> int:
    return len(words) + sum(map(len, more.values()))


@workflow
async def counts_twice() -> int:
    first = await count(set(WORDS), {"some": frozenset(WORDS[:7])})
    await sleep("1 day")
    return first + await count(set(WORDS), {"some": frozenset(WORDS[:7])})


async def main(url: str, phase: str) -> None:
    async with Engine(url, guard="strict") as engine:
        run = await engine.start(counts_twice.options(run_id="sets"))
        if phase == "begin":
            while "step_completed" not in [event.kind for event in await run.events()]:
                await asyncio.sleep(0.01)
            print(list(set(WORDS))[:3], flush=True)
            os._exit(9)
        await run.wake_up()
        print(list(set(WORDS))[:3], await run.result(timeout=30), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
