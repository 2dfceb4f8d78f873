"""The workloads on Outlive, each in a process of its own: ``python -m benchmarks.outlive_programs NAME SIZE FOLDER``."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from outlive import Engine, Run, create_hook, race, sleep, step, workflow
from outlive._core.guard import Guard, GuardMode
from outlive._runtime.replaying import replay as replay_log

Figures = dict[str, float]

WITH_BYTECODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@step
async def add(number: int) -> int:
    return number + 1


@workflow
async def steps(count: int) -> int:
    number = 0
    for _ in range(count):
        number = await add(number)
    return number


@workflow
async def fan_out(count: int) -> int:
    return sum(await asyncio.gather(*(add(number) for number in range(count))))


@workflow
async def fan_out_through_a_queue(count: int) -> int:
    return sum(await asyncio.gather(*(add.options(queue="farm")(number) for number in range(count))))


@workflow
async def waits_for_hook(token: str) -> object:
    return await create_hook(token=token)


@workflow
async def sleeps(seconds: float) -> None:
    await sleep(seconds)


@workflow
async def race_a_day(number: int) -> int | None:
    return await race(add(number), sleep("1 day"))


def percentiles(seconds: list[float]) -> Figures:
    seconds.sort()
    return {"value": seconds[len(seconds) // 2] * 1_000, "p99": seconds[len(seconds) * 99 // 100] * 1_000}


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 / 1e6


async def sequential(engine: Engine, size: int) -> Figures:
    begun = time.perf_counter()
    assert await (await engine.start(steps, size)).result() == size
    return {"value": (time.perf_counter() - begun) / size * 1_000}


async def runs(engine: Engine, size: int) -> Figures:
    begun = time.perf_counter()
    handles = await asyncio.gather(*(engine.start(steps, 5) for _ in range(size)))
    assert await asyncio.gather(*(handle.result() for handle in handles)) == [5] * size
    return {"value": 5 * size / (time.perf_counter() - begun)}


async def gather(engine: Engine, size: int) -> Figures:
    begun = time.perf_counter()
    await (await engine.start(fan_out, size)).result()
    return {"value": time.perf_counter() - begun}


async def queued(engine: Engine, size: int) -> Figures:
    begun = time.perf_counter()
    await (await engine.start(fan_out_through_a_queue, size)).result()
    return {"value": time.perf_counter() - begun}


async def start(engine: Engine, size: int) -> Figures:
    taken: list[float] = []
    for _ in range(size):
        await asyncio.sleep(0.003)  # the worker is idle
        begun = time.perf_counter()
        await (await engine.start(steps, 1)).result()
        taken.append(time.perf_counter() - begun)
    return percentiles(taken)


async def hook(engine: Engine, size: int) -> Figures:
    taken: list[float] = []
    for number in range(size):
        handle = await engine.start(waits_for_hook, f"token-{number}")
        await asyncio.sleep(0.005)
        begun = time.perf_counter()
        await engine.resume_hook(f"token-{number}", number)
        assert await handle.result() == number
        taken.append(time.perf_counter() - begun)
    return percentiles(taken)


async def timers(engine: Engine, size: int) -> Figures:
    async def lateness() -> float:
        handle = await engine.start(sleeps, 5.0)
        begun = time.perf_counter()
        await handle.result()
        return time.perf_counter() - begun - 5.0

    return {"value": max(await asyncio.gather(*(lateness() for _ in range(size))))}


async def pinned(engine: Engine, size: int) -> Figures:
    """Steps a second beside a transaction that has been open for ``size`` seconds, as a part of those without it."""
    import asyncpg

    async def for_a_while(seconds: float) -> float:
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            await runs(engine, 200)
            done += 1_000
        return done / (time.perf_counter() - begun)

    await for_a_while(size / 6)
    base = await for_a_while(size / 3)
    connection = await asyncpg.connect(engine.url)
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    await connection.fetch("SELECT 1")
    await for_a_while(size * 2 / 3)
    beside = await for_a_while(size / 3)
    await transaction.rollback()
    await connection.close()
    return {"value": beside / base}


async def races(engine: Engine, size: int) -> Figures:
    begun = time.perf_counter()
    handles = await asyncio.gather(*(engine.start(race_a_day, number) for number in range(size)))
    await asyncio.gather(*(handle.result() for handle in handles))
    return {"value": time.perf_counter() - begun}


async def sleepers(engine: Engine, size: int) -> Figures:
    handles: list[Run[None]] = []
    for _ in range(0, size, 1_000):
        handles = await asyncio.gather(*(engine.start(sleeps, 86_400.0) for _ in range(min(size, 1_000))))
    while engine.worker is not None and engine.worker.hot:
        await asyncio.sleep(0.1)
    gc.collect()
    memory = resident()
    begun = time.perf_counter()
    await handles[0].wake_up()
    await handles[0].result()
    return {"value": memory, "wake": (time.perf_counter() - begun) * 1_000}


async def replay(engine: Engine, size: int) -> Figures:
    handle = await engine.start(steps, size)
    await handle.result()
    log = await engine.store.log(handle.id, 1)

    def again() -> float:
        begun = time.perf_counter()
        verdict = replay_log(
            log,
            run=handle.id,
            link=1,
            workflow=steps,
            codec=engine.codec,
            guard=Guard(GuardMode.CHEAP),
            make_handle=engine.get_run,
        )
        assert verdict.divergence is None
        return len(log) / (time.perf_counter() - begun)

    return {"value": await asyncio.to_thread(again)}


async def imports(_engine: Engine, size: int) -> Figures:
    return {"value": (process("import outlive", size) - process("pass", size)) * 1_000}


async def first(_engine: Engine, size: int) -> Figures:
    program = str(Path(__file__).parent / "first_result.py")
    return {"value": process(f"import runpy; runpy.run_path({program!r}, run_name='__main__')", size)}


def process(code: str, times: int) -> float:
    """Seconds that a Python takes for ``code``, the median; with its bytecode there, as it is on the second start."""
    taken: list[float] = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=WITH_BYTECODE)
        taken.append(time.perf_counter() - begun)
    return sorted(taken[1:])[times // 2]


# --- workers in processes of their own ---


@step
async def moment() -> float:
    return time.time()


@workflow
async def tells_when_it_begins() -> float:
    return await moment()


async def work(url: str) -> None:
    """A worker, until it is killed."""
    async with Engine(url, guard="cheap"):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def enqueue(engine: Engine, size: int) -> Figures:
    taken: list[float] = []
    for _ in range(size):
        await asyncio.sleep(0.05)  # the worker is idle
        begun = time.time()
        handle = await engine.start(tells_when_it_begins)
        taken.append(await handle.result() - begun)
    return percentiles(taken)


async def spread(engine: Engine, size: int) -> Figures:
    """All of them are there before anybody takes them up."""
    begun = time.perf_counter()
    handles = await asyncio.gather(*(engine.start(steps, 5) for _ in range(size)))
    await asyncio.gather(*(handle.result() for handle in handles))
    return {"value": 5 * size / (time.perf_counter() - begun)}


@step
async def burn() -> str:
    """About 2 ms of a CPU."""
    return hashlib.pbkdf2_hmac("sha256", b"", b"", 10_000).hex()


@workflow
async def burns(count: int) -> None:
    for _ in range(count):
        await burn()


async def spread_burning(engine: Engine, size: int) -> Figures:
    """The same with steps that do something: until the server is the limit."""
    begun = time.perf_counter()
    handles = await asyncio.gather(*(engine.start(burns, 5) for _ in range(size)))
    await asyncio.gather(*(handle.result() for handle in handles))
    return {"value": 5 * size / (time.perf_counter() - begun)}


ELSEWHERE: dict[str, tuple[int, Callable[[Engine, int], Coroutine[Any, Any, Figures]]]] = {
    "enqueue": (1, enqueue),
    "one_worker": (1, spread),
    "two_workers": (2, spread),
    "one_burning": (1, spread_burning),
    "two_burning": (2, spread_burning),
}


async def elsewhere(engine: Engine, name: str, size: int, url: str) -> Figures:
    count, program = ELSEWHERE[name]
    command = [sys.executable, "-m", "benchmarks.outlive_programs", "work", "0", url]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        await program(engine, min(size, 20))  # whatever is made once is made
        return await program(engine, size)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


PROGRAMS: dict[str, Callable[[Engine, int], Coroutine[Any, Any, Figures]]] = {
    "sequential": sequential,
    "runs": runs,
    "gather": gather,
    "queued": queued,
    "start": start,
    "hook": hook,
    "timers": timers,
    "races": races,
    "pinned": pinned,
    "sleepers": sleepers,
    "replay": replay,
    "imports": imports,
    "first": first,
}


async def main(name: str, size: int, folder: str) -> Figures:
    programs = PROGRAMS
    if name not in programs:
        from benchmarks import http_programs  # which costs the others time and memory

        programs = http_programs.PROGRAMS
    if name == "work":
        await work(folder)
    url = folder if "://" in folder else f"sqlite:////{Path(folder).resolve()}/outlive.db"
    async with Engine(url, guard="cheap", worker=name not in ELSEWHERE) as engine:
        if name in ELSEWHERE:
            return await elsewhere(engine, name, size, url)
        await (await engine.start(steps, 3)).result()  # whatever is made once is made
        return await programs[name](engine, size)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
