"""Several processes on one SQLite file; some die, some freeze. Real time and real signals, a ledger outside of everybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive import Engine, HookNotFound, Run, Workflow
from outlive.model.ids import step_id
from outlive.stores.sqlite import SQLiteStore

from .program import (
    acts,
    blocks_all_threads,
    blocks_for_a_while,
    blocks_for_good,
    blocks_in_a_step,
    long_run,
    mixed,
)

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("OUTLIVE_KILLS") or (12 if "OUTLIVE_REPLAY_ALWAYS" in os.environ else 100))


class Fleet:
    """Worker processes on one file."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'outlive.db'}"
        self.ledger = folder / "ledger"
        self.workers: list[subprocess.Popen[str]] = []
        self._up: set[int] = set()

    def add(self, lease: float = 10.0) -> subprocess.Popen[str]:
        worker = self._start(lease)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        self.workers.append(worker)
        return worker

    def _start(self, lease: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.processes.program", self.url, str(lease)],
            cwd=ROOT,
            env=os.environ | {"LEDGER": str(self.ledger)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def spawn(self) -> None:
        """Another worker, which nobody waits for."""
        self.workers.append(self._start(10.0))

    def working(self) -> list[subprocess.Popen[str]]:
        """Workers that have come up."""
        outputs = {worker.stdout: worker for worker in self.workers}
        self._up |= {outputs[ready].pid for ready in select.select(list(outputs), [], [], 0)[0]}
        return [worker for worker in self.workers if worker.pid in self._up]

    def kill(self, worker: subprocess.Popen[str]) -> None:
        self.workers.remove(worker)
        worker.kill()
        worker.communicate()

    def lines(self, what: str) -> list[tuple[str, int]]:
        """(step id, process) of what was noted."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [(line.split()[1], int(line.split()[2])) for line in text.splitlines() if line.startswith(what)]

    def times(self, what: str) -> list[tuple[str, float]]:
        """(step id, moment) of what was noted."""
        return [
            (line.split()[1], float(line.split()[3]))
            for line in self.ledger.read_text().splitlines()
            if line.startswith(what)
        ]

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


@pytest.mark.parametrize("blocks", [blocks_for_a_while, blocks_in_a_step, blocks_all_threads])
async def test_b8_whoever_blocks_beyond_the_lease_keeps_it(
    fleet: Fleet, blocks: Workflow[[float], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat has a thread and a connection of its own, so nothing that blocks is run twice."""
    monkeypatch.setenv("BLOCK_LIMIT", "60")
    async with Engine(fleet.url, worker=False) as client:
        fleet.add(lease=0.5)
        fleet.add(lease=0.5)
        run = await client.start(blocks, 1.5)
        await run.result(timeout=60)
        assert [event.kind for event in await run.events()][-1] == "run_completed"
        assert {event.epoch for event in await run.events()} <= {0, 1}
        assert await audit(client) == []
    assert max(Counter(step for step, _ in fleet.lines("begin")).values()) == 1


async def test_b4_a_worker_frozen_again_and_again_never_writes_what_is_not_its_own(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        frozen = fleet.add(lease=0.4)
        other = fleet.add(lease=0.4)
        runs = [await client.start(acts, 40) for _ in range(3)]
        for _ in range(10):
            frozen.send_signal(signal.SIGSTOP)
            noted = len(fleet.lines("end"))
            ended = asyncio.gather(*(run.result(timeout=60) for run in runs))
            # beyond the lease: the other one takes over and goes on, unless the frozen one sits on SQLite's own lock
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(fleet.noted("end", noted + 3), 3)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            frozen.send_signal(signal.SIGCONT)
            frozen, other = other, frozen
        assert [await run.result(timeout=60) for run in runs] == [1600] * 3
        assert await audit(client) == []
        for run in runs:
            log = await log_of(client, run)
            assert log.count("step_completed") == 80


async def test_r28_a_worker_that_a_body_blocks_for_good_ends_and_others_go_on(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        first = fleet.add()
        await client.start(blocks_for_good)
        assert await asyncio.to_thread(first.wait, 60) == 70
        fleet.workers.remove(first)
        first.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_random_kills_lose_nothing_and_double_only_what_was_not_recorded(fleet: Fleet) -> None:
    chance = random.Random(7)
    async with Engine(fleet.url, worker=False) as client:
        for _ in range(4):
            fleet.spawn()
        killed = 0
        while killed < KILLS:
            names = [f"{killed}-{number}" for number in range(4)]
            runs = [await client.start(mixed.options(run_id=name), name, 4) for name in names]
            runs += [await client.start(acts.options(run_id=f"acts-{name}"), 3) for name in names]  # type: ignore[list-item]
            sending = [asyncio.create_task(send(client, name, 4)) for name in names]
            ended = asyncio.gather(*(run.result(timeout=120) for run in runs))
            while not ended.done() and killed < KILLS:
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                working = fleet.working()
                if len(working) > 1:
                    fleet.kill(chance.choice(working))
                    killed += 1
                    fleet.spawn()
            results = await ended
            await asyncio.gather(*sending)
            for result in results[:4]:
                assert isinstance(result, dict)
                assert result["got"] == [0, 1, 2, 3]
                assert result["once"] in ("acted", "interrupted")
                assert (result["child"], result["attempt"]) == (7, result["attempt"])
            assert results[4:] == [9] * 4
        assert await audit(client) == []
        recorded = await completions(client)
    assert Counter(step for step, _ in fleet.lines("once")).most_common(1)[0][1] == 1, (
        "an at_most_once step began twice"
    )
    ended_steps = {step for step, _ in fleet.lines("end")}
    lost = {step for step in recorded if step not in ended_steps and not step.endswith(":act_once")}
    assert lost == set(), "recorded, and never done"
    late = [step for step, at in fleet.times("begin") if at > recorded.get(step, float("inf"))]
    assert late == [], "done again after it was recorded"


async def send(client: Engine, name: str, count: int) -> None:
    """A client that knows of no worker: it insists until it is told that a payload is durable."""
    for number in range(count):
        while True:
            try:
                await client.resume_hook(f"hook-{name}", number, idempotency_key=f"{name}-{number}")
                break
            except HookNotFound:
                await asyncio.sleep(0.005)


async def completions(client: Engine) -> dict[str, float]:
    """When each step was recorded, by step id."""
    found: dict[str, float] = {}
    before: str | None = None
    while page := await client.list_runs(before=before, limit=100):
        for info in page:
            assert info.status == "completed", info
            for event in await client.get_run(info.id).events():
                if event.kind == "step_completed":
                    found[step_id(info.id, event.link, event.ref, event.data["name"])] = event.time.timestamp()
        before = page[-1].id
    return found
