"""The store fails: nothing acknowledged is lost, acceptance stops, and all goes on by itself when it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from outlive import Engine, StoreUnavailable, create_hook, sleep, step, workflow
from outlive.model.entries import Claims, Entry, Outcome
from outlive.model.ids import WorkerId
from outlive.stores.memory import MemoryStore
from outlive.testing.clock import VirtualClock, virtual_options
from outlive.testing.crash import kill

from .helpers import effects, record


class FailingStore(MemoryStore):
    """Fails, or takes its time, while told to."""

    broken = False
    slow = False
    hesitant = False
    """A claim has happened a second before its worker is told."""

    async def claim(self, worker: WorkerId, **options: Any) -> Claims:
        claims = await super().claim(worker, **options)
        if self.hesitant and claims.runs:
            await asyncio.sleep(1)
        return claims

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        if self.slow:
            return None
        self._check()
        return super().commit_now(worker, entries)

    late = False
    """A commit has happened a second before its worker is told."""

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        if not self.late:
            await asyncio.sleep(1)
        self._check()
        done = super().commit_now(worker, entries)
        assert done is not None
        if self.late:
            await asyncio.sleep(1)
        return done

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailable("disk full")


@pytest.fixture
async def store(clock: VirtualClock) -> FailingStore:
    made = FailingStore(clock=clock)
    await made.open()
    return made


@pytest.fixture
async def failing(store: FailingStore, clock: VirtualClock) -> AsyncIterator[Engine]:
    async with Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options()) as engine:
        yield engine


@step
async def act(n: int) -> int:
    record("act", n)
    return n


@workflow
async def acts() -> list[int]:
    return [await act(n) for n in range(5)]


@workflow
async def acts_after_a_while() -> list[int]:
    await sleep(100)
    return await acts()


async def test_a_broken_store_accepts_nothing_and_says_why(failing: Engine, store: FailingStore) -> None:
    store.broken = True
    with pytest.raises(StoreUnavailable, match="disk full"):
        await failing.start(acts)
    with pytest.raises(StoreUnavailable, match="disk full"):
        await failing.start(acts)
    assert await failing.list_runs() == []


async def test_a_run_goes_on_by_itself_when_the_store_is_mended(failing: Engine, store: FailingStore) -> None:
    run = await failing.start(acts_after_a_while)
    await asyncio.sleep(50)
    store.broken = True
    await asyncio.sleep(1000)
    assert effects("act") == []
    store.broken = False
    assert await run.result() == [0, 1, 2, 3, 4]
    assert effects("act") == [0, 1, 2, 3, 4]


async def test_acceptance_comes_back_with_the_store(failing: Engine, store: FailingStore) -> None:
    store.broken = True
    with pytest.raises(StoreUnavailable):
        await failing.start(acts)
    store.broken = False
    await asyncio.sleep(30)
    assert await (await failing.start(acts)).result() == [0, 1, 2, 3, 4]


async def test_a_store_that_breaks_in_the_middle_of_a_batch_loses_nothing(failing: Engine, store: FailingStore) -> None:
    runs = await asyncio.gather(*(failing.start(acts) for _ in range(20)))
    store.slow = True
    await asyncio.sleep(2)
    store.broken = True
    await asyncio.sleep(100)
    store.broken = False
    assert [await run.result() for run in runs] == [[0, 1, 2, 3, 4]] * 20
    assert len(effects("act")) == 100


async def test_a_slow_store_gathers_what_happens_meanwhile(failing: Engine, store: FailingStore) -> None:
    store.slow = True
    runs = await asyncio.gather(*(failing.start(acts) for _ in range(50)))
    assert [await run.result() for run in runs] == [[0, 1, 2, 3, 4]] * 50


async def test_a_caller_who_leaves_does_not_disturb_the_rest(failing: Engine, store: FailingStore) -> None:
    store.slow = True
    leaving = asyncio.ensure_future(failing.start(acts.options(run_id="left")))
    staying = asyncio.ensure_future(failing.start(acts))
    await asyncio.sleep(0.5)
    leaving.cancel()
    assert await (await staying).result() == [0, 1, 2, 3, 4]
    assert await failing.get_run("left").result() == [0, 1, 2, 3, 4]


@workflow
async def disposes_at_once() -> str | None:
    hook = create_hook()
    hook.dispose()
    return await hook.conflict()


async def test_a_hook_disposed_before_it_was_registered_strands_nobody(
    store: FailingStore, clock: VirtualClock
) -> None:
    async with Engine(store=store, clock=clock, worker=False) as client:
        run = await client.start(disposes_at_once)
    store.broken = True
    first = Engine(store=store, clock=clock, options=virtual_options())
    await first.open()
    await asyncio.sleep(1)
    await kill(first)
    store.broken = False
    async with Engine(store=store, clock=clock, options=virtual_options()) as second:
        assert await second.get_run(run.id).result(timeout=1000) is None


class UnsureStore(FailingStore):
    """Commits, and can't say so: the connection broke, and so did the one that was to read back."""

    unsure = 0

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        done = super().commit_now(worker, entries)
        if self.unsure:
            self.unsure -= 1
            raise StoreUnavailable("whether it was written is unknown")
        return done


@step
async def slow_act(n: int) -> int:
    await asyncio.sleep(10)
    record("act", n)
    return n


@workflow
async def slow_acts() -> list[int]:
    return [await slow_act(n) for n in range(5)]


@pytest.mark.parametrize("after", [1, 11, 21, 41, 51])
async def test_a_commit_that_happened_unseen_strands_no_run(clock: VirtualClock, after: float) -> None:
    store = UnsureStore(clock=clock)
    await store.open()
    async with Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options()) as engine:
        run = await engine.start(slow_acts)
        await asyncio.sleep(after)
        store.unsure = 1
        assert await run.result() == [0, 1, 2, 3, 4]
        assert await store.audit() == []
    assert sorted(effects("act")) == [0, 1, 2, 3, 4]


async def test_a_start_that_happened_unseen_is_taken_up(clock: VirtualClock) -> None:
    store = UnsureStore(clock=clock)
    await store.open()
    async with Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options()) as engine:
        store.unsure = 1
        with pytest.raises(StoreUnavailable, match="unknown"):
            await engine.start(acts.options(run_id="unseen"))
        await asyncio.sleep(30)
        run = await engine.start(acts.options(run_id="unseen"))
        assert await run.result() == [0, 1, 2, 3, 4]
    assert effects("act") == [0, 1, 2, 3, 4]


@step
async def act_slowly() -> None:
    record("slowly")
    await asyncio.sleep(5)


@workflow
async def acts_slowly_after_a_while() -> None:
    await sleep(100)
    await act_slowly()


async def test_a_run_that_is_being_claimed_is_no_stray(failing: Engine, store: FailingStore) -> None:
    """It is owned and not in memory yet, and must not live twice."""
    run = await failing.start(acts_slowly_after_a_while)
    assert failing._worker is not None
    store.hesitant = True
    await asyncio.sleep(100.5)
    failing._worker.look_for_strays()
    await run.result()
    assert len(effects("slowly")) == 1


async def test_a_run_that_is_being_created_is_no_stray(failing: Engine, store: FailingStore) -> None:
    assert failing._worker is not None
    store.slow = store.late = True
    starting = asyncio.create_task(failing.start(acts))
    await asyncio.sleep(0.5)
    failing._worker.look_for_strays()
    assert await (await starting).result() == [0, 1, 2, 3, 4]
    assert effects("act") == [0, 1, 2, 3, 4]
