"""The same workloads on DBOS, in an environment of its own: ``python dbos_programs.py NAME SIZE FOLDER``.

It keeps its SQLite as it comes: a rollback journal with ``synchronous=FULL``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

WITH_BYTECODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@DBOS.step()
async def add(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def steps(count: int) -> int:
    number = 0
    for _ in range(count):
        number = await add(number)
    return number


@DBOS.workflow()
async def fan_out(count: int) -> int:
    return sum(await asyncio.gather(*(add(number) for number in range(count))))


@DBOS.workflow()
async def waits_for_message() -> Any:
    return await DBOS.recv_async(timeout_seconds=60)


@DBOS.workflow()
async def sleeps(seconds: float) -> None:
    await DBOS.sleep_async(seconds)


def percentiles(seconds: list[float]) -> dict[str, float]:
    seconds.sort()
    return {"value": seconds[len(seconds) // 2] * 1_000, "p99": seconds[len(seconds) * 99 // 100] * 1_000}


async def sequential(size: int) -> dict[str, float]:
    begun = time.perf_counter()
    await (await DBOS.start_workflow_async(steps, size)).get_result()
    return {"value": (time.perf_counter() - begun) / size * 1_000}


async def runs(size: int) -> dict[str, float]:
    begun = time.perf_counter()
    handles = await asyncio.gather(*(DBOS.start_workflow_async(steps, 5) for _ in range(size)))
    await asyncio.gather(*(handle.get_result() for handle in handles))
    return {"value": 5 * size / (time.perf_counter() - begun)}


async def gather(size: int) -> dict[str, float]:
    begun = time.perf_counter()
    await (await DBOS.start_workflow_async(fan_out, size)).get_result()
    return {"value": time.perf_counter() - begun}


async def start(size: int) -> dict[str, float]:
    taken: list[float] = []
    for _ in range(size):
        begun = time.perf_counter()
        await (await DBOS.start_workflow_async(steps, 1)).get_result()
        taken.append(time.perf_counter() - begun)
    return percentiles(taken)


async def hook(size: int) -> dict[str, float]:
    taken: list[float] = []
    for number in range(size):
        with SetWorkflowID(f"hook-{number}"):
            handle = await DBOS.start_workflow_async(waits_for_message)
        await asyncio.sleep(0.05)
        begun = time.perf_counter()
        await DBOS.send_async(f"hook-{number}", number)
        await handle.get_result()
        taken.append(time.perf_counter() - begun)
    return percentiles(taken)


async def timers(size: int) -> dict[str, float]:
    async def lateness() -> float:
        handle = await DBOS.start_workflow_async(sleeps, 5.0)
        begun = time.perf_counter()
        await handle.get_result()
        return time.perf_counter() - begun - 5.0

    return {"value": max(await asyncio.gather(*(lateness() for _ in range(size))))}


@DBOS.workflow()
async def tells_when_it_begins() -> float:
    return time.time()


async def enqueue(size: int) -> dict[str, float]:
    queue = await DBOS.register_queue_async("benchmark")
    await asyncio.sleep(2)  # until it is listened to
    taken: list[float] = []
    for _ in range(size):
        await asyncio.sleep(0.05)
        begun = time.time()
        handle = await queue.enqueue_async(tells_when_it_begins)
        taken.append(await handle.get_result() - begun)
    return percentiles(taken)


@DBOS.workflow()
async def adds(number: int) -> int:
    return await add(number)


async def queued(size: int) -> dict[str, float]:
    queue = await DBOS.register_queue_async("benchmark")
    await asyncio.sleep(2)  # until it is listened to
    begun = time.perf_counter()
    handles = [await queue.enqueue_async(adds, number) for number in range(size)]
    for handle in handles:
        await handle.get_result()
    return {"value": time.perf_counter() - begun}


def process(code: str, times: int) -> float:
    """Seconds that a Python takes for ``code``, the median; with its bytecode there, as it is on the second start."""
    taken: list[float] = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=WITH_BYTECODE)
        taken.append(time.perf_counter() - begun)
    return sorted(taken[1:])[times // 2]


async def imports(size: int) -> dict[str, float]:
    return {"value": (process("import dbos", size) - process("pass", size)) * 1_000}


PROGRAMS = {
    "sequential": sequential,
    "runs": runs,
    "gather": gather,
    "start": start,
    "hook": hook,
    "hook_polled": hook,
    "timers": timers,
    "enqueue": enqueue,
    "queued": queued,
    "imports": imports,
}


async def main(name: str, size: int, folder: str) -> dict[str, float]:
    logging.disable(logging.WARNING)
    config: Any = {
        "name": "benchmark",
        "system_database_url": folder if "://" in folder else f"sqlite:///{Path(folder).resolve()}/dbos.db",
        "run_admin_server": False,
    }
    if name == "hook_polled":
        config["notification_listener_polling_interval_sec"] = 0.001  # as it comes, it looks once a second
    DBOS(config=config)
    DBOS.launch()
    try:
        await (await DBOS.start_workflow_async(steps, 1)).get_result()  # whatever is made once is made
        if name == "once":
            return {"value": 0.0}
        return await PROGRAMS[name](size)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    _, which, how_many, where = sys.argv
    if which == "first":
        command = [sys.executable, __file__, "once", "1"]
        durations: list[float] = []
        for attempt in range(int(how_many) + 1):
            fresh = Path(where) / str(attempt)
            fresh.mkdir()
            since = time.perf_counter()
            subprocess.run([*command, str(fresh)], check=True, stdout=subprocess.DEVNULL, env=WITH_BYTECODE)
            durations.append(time.perf_counter() - since)
        print(json.dumps({"value": sorted(durations[1:])[int(how_many) // 2]}))
    else:
        print(json.dumps(asyncio.run(main(which, int(how_many), where))))
