"""A worker process for the tests that kill it. ``python -m tests.processes.program URL LEDGER``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time

from outlive import (
    Engine,
    StepInterrupted,
    StoreUnavailable,
    create_hook,
    get_step_metadata,
    sleep,
    start,
    step,
    workflow,
)
from outlive._runtime.lease import Lease
from outlive._runtime.options import WorkerOptions

_looked = threading.local()


def remember_looks() -> None:
    """Let the ledger tell when an attempt last looked whether its lease stands: from there to its first line only a freeze may fall."""
    stands = Lease.stands

    def look(lease: Lease) -> bool:
        _looked.at = time.time()
        return stands(lease)

    Lease.stands = look  # type: ignore[method-assign]


def note(what: str) -> None:
    """Append to the ledger, which outlives everybody."""
    line = f"{what} {get_step_metadata().step_id} {os.getpid()} {time.time()!r} {_looked.at!r}\n"
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.fsync(descriptor)
    os.close(descriptor)


@step(max_retries=0)
async def act(number: int) -> int:
    note("begin")
    await asyncio.sleep(0.005)
    note("end")
    return number


@step
async def long_act(seconds: float) -> int:
    note("begin")
    await asyncio.sleep(seconds)
    note("end")
    return os.getpid()


@workflow
async def acts(count: int) -> int:
    total = 0
    for number in range(count):
        first, second = await asyncio.gather(act(number), act(number + 1))
        total += first + second
        await sleep(0.005)
    return total


@workflow
async def long_run(seconds: float) -> int:
    return await long_act(seconds)


@step(at_most_once=True)
async def act_once() -> str:
    note("once")
    await asyncio.sleep(0.005)
    return "acted"


@step
def act_in_thread(number: int) -> int:
    note("begin")
    time.sleep(0.002)
    note("end")
    return number


@step(max_retries=5, retry_delay=0.01)
async def act_twice() -> int:
    note("begin")
    if get_step_metadata().attempt == 1:
        raise ConnectionError
    note("end")
    return get_step_metadata().attempt


@workflow
async def child(number: int) -> int:
    await sleep(0.01)
    return await act(number)


@workflow
async def mixed(name: str, payloads: int) -> dict[str, object]:
    """A bit of everything, and payloads from a client that does not know who lives."""
    got: list[object] = []
    with create_hook(token=f"hook-{name}") as hook:
        started = await start(child, 7)
        for _ in range(payloads):
            got.append(await hook)
            await asyncio.gather(act.options(queue="farm")(1), act_in_thread(2))
    try:
        once = await act_once()
    except StepInterrupted:
        once = "interrupted"
    return {"got": got, "once": once, "attempt": await act_twice(), "child": await started.result()}


@workflow
async def blocks_for_good() -> None:
    time.sleep(1000)  # in C, where no exception arrives


@workflow
async def blocks_for_a_while(seconds: float) -> int:
    time.sleep(seconds)
    return await act(1)


@step
async def block_the_loop(seconds: float) -> int:
    note("begin")
    time.sleep(seconds)
    note("end")
    return os.getpid()


@step
def block_a_thread(number: int, seconds: float) -> int:
    note("begin")
    time.sleep(seconds)
    note("end")
    return number


@workflow
async def blocks_in_a_step(seconds: float) -> int:
    return await block_the_loop(seconds)


@workflow
async def blocks_all_threads(seconds: float) -> int:
    return sum(await asyncio.gather(*(block_a_thread(number, seconds) for number in range(24))))


async def main(url: str, lease: float) -> None:
    logging.basicConfig()
    remember_looks()
    options = WorkerOptions(lease=lease, block_warning=0.1, block_limit=float(os.environ.get("BLOCK_LIMIT", "0.2")))
    engine = Engine(url, guard="off", options=options, on_hopeless=lambda: os._exit(70))
    while engine.closed:
        try:
            await engine.open()
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
