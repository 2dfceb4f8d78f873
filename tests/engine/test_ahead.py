"""A body that waits for one step alone goes on while that is committed, and nothing comes of it until it is (R34)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest

from outlive import Engine, Run, get_logger, now, step, workflow
from outlive._core.guard import Guard, GuardMode
from outlive._runtime.replaying import replay
from outlive.model.entries import Entry, Outcome, RunCommit
from outlive.model.events import kind_of
from outlive.model.ids import WorkerId
from outlive.testing.clock import VirtualClock, virtual_options
from outlive.testing.crash import kill

from .helpers import effects, kinds, record
from .test_store_faults import FailingStore


class WatchedStore(FailingStore):
    """Keeps what each commit of a run asked for."""

    def __init__(self, *, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.commits: list[list[str]] = []

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        done = super().commit_now(worker, entries)
        for entry in entries:
            if isinstance(entry, RunCommit) and done is not None:
                self.commits.append([kind_of(event) for event in entry.proposals])  # type: ignore[arg-type]
        return done


@pytest.fixture
async def store(clock: VirtualClock) -> WatchedStore:
    made = WatchedStore(clock=clock)
    await made.open()
    return made


def on(store: WatchedStore, clock: VirtualClock) -> Engine:
    return Engine(store=store, clock=clock, shutdown_grace=0, options=virtual_options(replay_always=False))


@pytest.fixture
async def engine(store: WatchedStore, clock: VirtualClock) -> AsyncIterator[Engine]:
    async with on(store, clock) as opened:
        yield opened


@step
async def act(name: str, seconds: float = 0) -> str:
    record("act", name)
    await asyncio.sleep(seconds)
    return name


@workflow
async def two_acts() -> str:
    return await act("a") + await act("b")


async def test_r34_a_last_result_and_the_end_leave_in_one_commit(engine: Engine, store: WatchedStore) -> None:
    assert await (await engine.start(two_acts)).result() == "ab"
    assert store.commits == [["step_completed"], ["step_completed", "run_completed"]]


@step(max_retries=0)
async def fail() -> None:
    raise ConnectionError


@workflow
async def fails() -> None:
    await fail()


async def test_r34_so_do_a_last_failure_and_the_end(engine: Engine, store: WatchedStore) -> None:
    run = await engine.start(fails)
    assert str((await run.info()).status) in ("running", "failed")
    await asyncio.sleep(1)
    assert store.commits == [["step_failed", "run_failed"]]


async def test_what_was_not_committed_has_not_happened(store: WatchedStore, clock: VirtualClock) -> None:
    first = on(store, clock)
    await first.open()
    run = await first.start(two_acts)
    store.broken = True
    await asyncio.sleep(1)
    await kill(first)
    store.broken = False
    assert await kinds_of(store, run) == ["run_created", "run_started"]
    async with on(store, clock) as second:
        assert await second.get_run(run.id).result() == "ab"
    assert effects("act") == ["a", "a", "b"]


async def kinds_of(store: WatchedStore, run: Run[str]) -> list[str]:
    return [kind_of(item.event) for item in await store.log(run.id, 1)]


async def test_a_body_that_went_ahead_goes_on_when_the_store_is_mended(engine: Engine, store: WatchedStore) -> None:
    run = await engine.start(two_acts)
    store.broken = True
    await asyncio.sleep(100)
    assert effects("act") == ["a"]
    store.broken = False
    assert await run.result() == "ab"
    assert effects("act") == ["a", "b"]
    assert await kinds(run) == ["run_created", "run_started", "step_completed", "step_completed", "run_completed"]


@workflow
async def says_when() -> datetime:
    await act("a", 3.0)
    get_logger("said").warning("done")
    return now()


async def test_the_log_has_the_time_that_the_body_was_shown(engine: Engine, store: WatchedStore) -> None:
    run = await engine.start(says_when)
    result = await run.result()
    log = await store.log(run.id, 1)
    assert log[-1].time == result.timestamp()
    verdict = await asyncio.to_thread(
        replay,
        log,
        run=run.id,
        link=1,
        workflow=says_when,
        codec=engine.codec,
        guard=Guard(GuardMode.STRICT),
        make_handle=engine.get_run,
    )
    assert verdict.divergence is None


async def test_a_line_comes_out_when_what_it_tells_of_is_durable(
    engine: Engine, store: WatchedStore, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.start(says_when)
    store.broken = True
    with caplog.at_level(logging.WARNING, logger="said"):
        await asyncio.sleep(100)
        assert "done" not in caplog.messages
        store.broken = False
        await run.result()
        assert caplog.messages.count("done") == 1
