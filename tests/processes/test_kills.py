"""Several processes on one store; some die, some freeze. Real time and real signals, a ledger outside of everybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive import Engine, Run, Workflow

from .fleet import Fleet, fleet_on
from .ledger import check_ledger, check_mixed, send
from .program import (
    acts,
    blocks_all_threads,
    blocks_for_a_while,
    blocks_for_good,
    blocks_in_a_step,
    long_run,
    mixed,
)

KILLS = int(os.environ.get("OUTLIVE_KILLS") or (12 if "OUTLIVE_REPLAY_ALWAYS" in os.environ else 100))


@pytest.fixture(params=["sqlite", "postgres"])
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    if request.param == "sqlite":
        with fleet_on(f"sqlite:///{tmp_path / 'outlive.db'}", tmp_path) as made:
            yield made
    else:
        with fleet_on(request.getfixturevalue("postgres_url"), tmp_path, lease=1.0) as made:
            yield made


async def log_of(engine: Engine, run: Run[int]) -> list[str]:
    return [event.kind for event in await run.events()]


async def audit(engine: Engine) -> list[str]:
    return await engine.store.audit()


async def test_another_process_takes_over_at_once_when_one_is_killed(fleet: Fleet) -> None:
    async with Engine(fleet.url, worker=False) as client:
        # a process that has died is known at once by its locks; on another machine only time can tell
        lease = 1000.0 if fleet.url.startswith("sqlite") else 1.0
        workers = {worker.pid: worker for worker in (fleet.add(lease), fleet.add(lease))}
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
        fleet.freeze(first)
        second = fleet.add(lease=1000.0)
        assert await run.result(timeout=60) == second.pid
        log = await log_of(client, run)
        fleet.thaw(first)
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
            fleet.freeze(frozen)
            noted = len(fleet.lines("end"))
            ended = asyncio.gather(*(run.result(timeout=60) for run in runs))
            # beyond the lease: the other one takes over and goes on, unless the frozen one sits on SQLite's own lock
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(fleet.noted("end", noted + 3), 3)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            fleet.thaw(frozen)
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
                check_mixed(result)
            assert results[4:] == [9] * 4
        await check_ledger(client, fleet)
