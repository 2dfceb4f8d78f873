"""The store fails: nothing acknowledged is lost, acceptance stops, and all goes on by itself when it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec import DecodeError

from outlive import Engine, StoreUnavailable, create_hook, get_step_metadata, sleep, step, workflow
from outlive._runtime import journal
from outlive.model.entries import Busy, Claims, Entry, Outcome, TaskCommit
from outlive.model.events import Recorded
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

    unsure = False
    """The next commit happens, and is told as one that others were in the way of."""

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        if self.slow:
            return None
        self._check()
        done = super().commit_now(worker, entries)
        if self.unsure:
            self.unsure = False
            return [Busy("whether it was written is unknown") for _ in entries]
        return done

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

    odd: Exception | None = None
    """What the next commit raises, which is none of its errors."""

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailable("disk full")
        if self.odd is not None:
            odd, self.odd = self.odd, None
            raise odd

    unreadable = False

    async def log(self, *args: Any, **options: Any) -> list[Recorded]:
        if self.unreadable:
            raise DecodeError("an event of another age")
        return await super().log(*args, **options)


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


@workflow
async def acts_twice() -> int:
    return await act(1) + await act(2)


@pytest.mark.parametrize("slow", [False, True])
async def test_an_error_that_a_store_should_not_raise_strands_nobody(
    failing: Engine, store: FailingStore, slow: bool
) -> None:
    store.slow = slow
    run = await failing.start(naps_and_acts)
    await asyncio.sleep(30)
    store.odd = MemoryError("for a moment")
    assert await run.result(timeout=1000) == 1


@workflow
async def naps_and_acts() -> int:
    await sleep(60)
    return await act(1)


async def test_what_was_written_though_others_were_said_to_be_in_the_way_strands_nobody(
    failing: Engine, store: FailingStore
) -> None:
    store.unsure = True
    with pytest.raises(StoreUnavailable, match="unknown"):
        await failing.start(acts_twice.options(run_id="x"))
    assert await failing.get_run("x").result(timeout=1000) == 3
    run = await failing.start(naps_and_acts)
    await asyncio.sleep(30)
    store.unsure = True
    assert await run.result(timeout=1000) == 1
    assert await store.audit() == []


async def test_a_run_whose_log_can_not_be_read_is_parked(store: FailingStore, clock: VirtualClock) -> None:
    """It stayed with its worker, which had it neither in memory nor on its way there, for as long as that lived."""
    async with Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options()) as first:
        run = await first.start(naps_and_acts)
        await asyncio.sleep(1)
    store.unreadable = True
    async with Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options()) as second:
        await asyncio.sleep(100)
        record = await store.run(run.id)
        assert record is not None and (record.status, record.owner) == ("parked", None)
        assert "can't be read" in record.reason
        store.unreadable = False
        assert await second.get_run(run.id).wake_up()
        assert await second.get_run(run.id).result(timeout=1000) == 1


async def test_who_is_held_back_for_room_is_told_when_the_store_is_down(
    failing: Engine, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_WAITING", 3)
    store.slow = True
    waiting = [asyncio.ensure_future(failing.start(acts_twice)) for _ in range(20)]
    await asyncio.sleep(0)
    store.broken = True
    await asyncio.sleep(5)
    assert all(isinstance(started.exception(), StoreUnavailable) for started in waiting)
    store.broken = False
    await asyncio.sleep(10)
    assert await (await failing.start(acts_twice)).result() == 3


async def test_runs_go_on_however_many_callers_there_are(
    failing: Engine, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_ENTRIES", 10)
    store.slow = True
    run = await failing.start(acts_twice)

    async def calls() -> None:
        while True:
            await failing.start(acts_twice.options(run_id="the same each time"))

    callers = [asyncio.ensure_future(calls()) for _ in range(50)]
    try:
        assert await run.result(timeout=100) == 3
    finally:
        for caller in callers:
            caller.cancel()


@step(queue="gpu", max_retries=3, retry_delay=0.5)
async def long_at_the_second_try() -> None:
    attempt = get_step_metadata().attempt
    record("begin", attempt)
    if attempt == 1:
        await asyncio.sleep(5)
        raise ValueError("once")
    await asyncio.sleep(100)
    record("end", attempt)


@workflow
async def tries_twice() -> None:
    await long_at_the_second_try()


class Unsure(MemoryStore):
    """One process's way to a store: the next end of a queued step is written, which it is not told, and then it is away for a while."""

    def __init__(self, inner: MemoryStore, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.__dict__.update(inner.__dict__)
        self._away_until = 0.0

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        if self.clock.now() < self._away_until:
            raise StoreUnavailable("away")
        done = super().commit_now(worker, entries)
        if self._away_until == 0.0 and any(isinstance(entry, TaskCommit) for entry in entries):
            self._away_until = self.clock.now() + 3
            raise StoreUnavailable("whether it was written is unknown")
        return done


async def test_an_attempt_that_is_taken_before_the_end_of_the_one_before_is_known_is_run_once(
    store: FailingStore, clock: VirtualClock
) -> None:
    """By one worker: its journal tries to write the first one's end again, while it has the second one already."""
    of_runs, of_steps = (virtual_options(queues=(queue,), poll=0.2) for queue in ("default", "gpu"))
    unsure = Unsure(store, clock)
    async with (
        Engine(store=store, clock=clock, shutdown_grace=0, options=of_runs) as runs,
        Engine(store=unsure, clock=clock, shutdown_grace=0, options=of_steps),
    ):
        await (await runs.start(tries_twice)).result()
        assert effects("begin") == [1, 2] and effects("end") == [2]
        assert await store.audit() == []
