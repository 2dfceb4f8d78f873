"""A workflow full of sets, played in a process of its own: what it prints must not depend on PYTHONHASHSEED (R21)."""

from __future__ import annotations

import asyncio
import sys

from outlive import create_hook, race, sleep, step
from tests.core.simulate import World, play_hot


@step
async def tick(label: str, seconds: float = 1.0) -> str:
    return label


async def body() -> list[str]:
    told: list[str] = []
    for ended in asyncio.as_completed([tick(f"as {n}", 1.0) for n in range(8)]):
        told.append(await ended)
    tasks = {asyncio.create_task(tick(f"wait {n}", n % 3)) for n in range(9)}
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        told += [await tick(f"saw {task.result()}") for task in done]
    groups = [asyncio.gather(tick(f"g{n}"), tick(f"h{n}")) for n in range(6)]
    await asyncio.sleep(5)
    done_groups, _ = await asyncio.wait(groups)
    for group in done_groups:
        told += [await tick(f"grouped {label}") for label in group.result()]
    hooks = {create_hook() for _ in range(5)}
    told.append(await race(*(hook for hook in hooks), sleep(1, "no payload")))
    naps = {sleep(n, f"nap {n}") for n in range(6)}
    told += await asyncio.gather(*naps)
    for n in range(12):
        asyncio.create_task(tick(f"left {n}", 100 + n))  # noqa: RUF006
    await asyncio.sleep(0)
    told += [task.get_name() for task in asyncio.all_tasks()]
    return told


if __name__ == "__main__":
    noise = [object() for _ in range(int(sys.argv[1]))]  # other addresses than in the last process
    played = play_hot(body, world=World())
    print(len(noise) >= 0, *played.told, *played.result, sep="\n")
