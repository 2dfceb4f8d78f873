"""Steps that run in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from outlive import FatalError, StepTimeout, get_step_metadata, step, workflow


@dataclass
class Part:
    number: int
    name: str


class TooMuch(Exception):
    pass


@step(executor="process")
def crunch(part: Part, times: int = 2) -> tuple[int, Part, str]:
    return os.getpid(), Part(part.number * times, part.name), get_step_metadata().step_id


@step(executor="process")
async def crunch_async(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@step(executor="process", max_retries=0)
def refuse() -> None:
    raise TooMuch("far")


@step(executor="process")
def doomed(calls: str) -> None:
    with Path(calls).open("a") as file:
        file.write("x")
    raise FatalError("no")


@step(executor="process", retry_delay=0)
def die_once(calls: str) -> int:
    with Path(calls).open("a") as file:
        file.write("x")
    if get_step_metadata().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return get_step_metadata().attempt


@step(executor="process", max_retries=0)
def leave() -> None:
    raise SystemExit(3)


@step(executor="process", max_retries=0, timeout=0.5)
def stuck(notes: str) -> None:
    Path(notes).write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.01)
    finally:
        Path(notes).write_text("tidied up")


@step(executor="process")
def fork() -> str:
    """Both of it return."""
    if os.fork() == 0:
        return "the child's"
    os.wait()
    return "the parent's"


@step(executor="process", max_retries=0)
def die_and_leave_a_child(note: str) -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    Path(note).write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)


@step(executor="process", queue="cpu")
def square(number: int) -> tuple[int, int]:
    return os.getpid(), number * number


@workflow
async def crunches() -> list[object]:
    first = await crunch(Part(4, "a"))
    second = await crunch(Part(5, "b"), times=3)
    return [*first, *second]


@workflow
async def asynchronous() -> int:
    return await crunch_async(1)


@workflow
async def catches() -> str:
    try:
        await refuse()
    except TooMuch as error:
        return f"TooMuch {error}"
    return "nothing"


@workflow
async def fatal(calls: str) -> None:
    await doomed(calls)


@workflow
async def survives(calls: str) -> int:
    return await die_once(calls)


@workflow
async def left() -> None:
    await leave()


@workflow
async def hurried(notes: str) -> str:
    await crunch_async(0)  # its process is up before the short timeout begins
    try:
        await stuck(notes)
    except StepTimeout:
        return "timed out"
    return "done"


@workflow
async def squares(count: int) -> list[tuple[int, int]]:
    return list(await asyncio.gather(*(square(number) for number in range(count))))


@workflow
async def forks() -> list[object]:
    return [await fork(), *[await crunch_async(number) for number in range(4)]]


@workflow
async def dies_and_leaves_a_child(note: str) -> None:
    await die_and_leave_a_child(note)
