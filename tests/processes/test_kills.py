"""Several processes on one SQLite file; some die, some freeze. Real time and real signals, a ledger outside of everybody."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive import Engine, Run
from outlive.stores.sqlite import SQLiteStore

from .program import acts, blocks_for_good, long_run

ROOT = Path(__file__).parents[2]


class Fleet:
    """Worker processes on one file."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'outlive.db'}"
        self.ledger = folder / "ledger"
        self.workers: list[subprocess.Popen[str]] = []

    def add(self, lease: float = 10.0) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.program", self.url, str(lease)],
            cwd=ROOT,
            env=os.environ | {"LEDGER": str(self.ledger)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[str]) -> None:
        self.workers.remove(worker)
        worker.kill()
        worker.communicate()

    def lines(self, what: str) -> list[tuple[str, int]]:
        """(step id, process) of what was noted."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [(line.split()[1], int(line.split()[2])) for line in text.splitlines() if line.startswith(what)]

    async def noted(self, what: str, count: int) -> None:
        """Wait for the ledger to hold ``count`` lines."""
        while len(self.lines(what)) < count:
            await asyncio.sleep(0.005)


@contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    fleet = Fleet(folder)
    try:
        yield fleet
    finally:
        for worker in list(fleet.workers):
            worker.send_signal(signal.SIGCONT)
            fleet.kill(worker)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as made:
        yield made


async def log_of(engine: Engine, run: Run[int]) -> list[str]:
    return [event.kind for event in await run.events()]


async def audit(engine: Engine) -> list[str]:
    assert isinstance(engine.store, SQLiteStore)
    return await engine.store.audit()


async def test_another_process_takes_over_at_once_when_one_is_killed(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        workers = {worker.pid: worker for worker in (fleet.add(lease=1000.0), fleet.add(lease=1000.0))}
        run = await client.start(long_run, 0.5)
        await fleet.noted("begin", 1)
        killed = workers.pop(fleet.lines("begin")[0][1])
        fleet.kill(killed)
        (survivor,) = workers
        assert await run.result(timeout=30) == survivor
        assert await audit(client) == []
    assert [process for _, process in fleet.lines("end")] == [survivor]


async def test_a_frozen_process_writes_nothing_when_it_comes_back(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        first = fleet.add(lease=1.0)
        run = await client.start(long_run, 0.5)
        await fleet.noted("begin", 1)
        first.send_signal(signal.SIGSTOP)
        second = fleet.add(lease=1000.0)
        assert await run.result(timeout=60) == second.pid
        log = await log_of(client, run)
        first.send_signal(signal.SIGCONT)
        again = await client.start(long_run, 0.0)
        await again.result(timeout=60)
        assert await log_of(client, run) == log
        assert await audit(client) == []


async def test_r28_a_worker_that_a_body_blocks_for_good_ends_and_others_go_on(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        first = fleet.add()
        await client.start(blocks_for_good)
        assert await asyncio.to_thread(first.wait, 60) == 70
        fleet.workers.remove(first)
        first.communicate()


async def test_random_kills_lose_nothing_and_double_only_what_was_not_recorded(fleet: Fleet) -> None:
    chance = random.Random(7)
    count, steps = 12, 15
    async with Engine(fleet.url, worker=False) as client:
        fleet.add()
        fleet.add()
        runs = [await client.start(acts, steps) for _ in range(count)]
        for _ in range(12):
            done = len(fleet.lines("end"))
            await asyncio.wait_for(fleet.noted("end", min(done + chance.randint(5, 20), count * steps * 2 - 1)), 60)
            fleet.kill(chance.choice(fleet.workers))
            fleet.add()
        results = [await run.result(timeout=120) for run in runs]
        recorded = [await log_of(client, run) for run in runs]
        assert await audit(client) == []
    assert results == [steps * steps] * count
    assert [log.count("step_completed") for log in recorded] == [2 * steps] * count
    ends = Counter(step for step, _ in fleet.lines("end"))
    assert len(ends) == count * steps * 2
    in_flight = 2 * count  # what each run can have had in flight at one kill
    assert sum(ends.values()) - len(ends) <= 12 * in_flight
