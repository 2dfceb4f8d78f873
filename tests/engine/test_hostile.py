"""Code that blocks, kills, floods or never ends: it is found, and costs only its own run (R11, R28, R30, R31)."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import pytest

from outlive import (
    Engine,
    RunFailed,
    RunParked,
    RunTerminated,
    SerializationError,
    StepError,
    StepTimeout,
    get_run,
    get_step_metadata,
    get_workflow_metadata,
    sleep,
    step,
    workflow,
)
from outlive.testing.crash import kill

from .conftest import MakeEngine
from .helpers import effects, kinds, record


@step
async def quick(n: int) -> int:
    return n


@workflow
async def harmless() -> int:
    return await quick(3)


@workflow
async def blocks() -> None:
    while True:
        pass


async def test_r28_a_blocking_body_is_named_stopped_and_parked(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_engine(block_warning=0.05, block_limit=0.2) as engine:
        run = await engine.start(blocks)
        with pytest.raises(RunParked, match="WorkflowBlocked"):
            await engine.await_result(run.id, None, or_parked=True)
        assert await (await engine.start(harmless)).result() == 3
    warning = next(entry.getMessage() for entry in caplog.records if entry.name == "outlive.watchdog")
    assert run.id in warning
    assert "in blocks" in warning


@workflow
async def blocks_in_c() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000).hex()  # other threads run, and no exception arrives


async def test_r28_a_worker_that_let_its_lease_go_begins_a_new_life_if_the_body_ends_after_all(
    make_engine: MakeEngine,
) -> None:
    gone: list[str] = []
    async with make_engine(block_warning=0.02, block_limit=0.05, poll=1.0, look_every=1.0) as engine:
        engine.worker._on_hopeless = lambda: gone.append(engine.worker.id)  # type: ignore[union-attr]
        run = await engine.start(blocks_in_c)
        with pytest.raises(RunParked, match="WorkflowBlocked"):
            await engine.await_result(run.id, None, or_parked=True)
        assert await (await engine.start(harmless)).result() == 3
        assert engine.worker is not None
        assert len(gone) == 1 and engine.worker.id != gone[0] and engine.worker.lease.stands()


release = threading.Event()


@step(timeout=1, max_retries=1, retry_delay=1)
def stuck() -> str:
    attempt = get_step_metadata().attempt
    record("stuck", (attempt, get_step_metadata().overlapping))
    if attempt == 1:
        release.wait()  # no bytecode runs here, so no exception arrives
    return "done"


@workflow
async def uses_stuck() -> str:
    return await stuck()


async def test_r11_a_stuck_thread_is_given_up_and_the_next_attempt_is_marked(make_engine: MakeEngine) -> None:
    release.clear()
    async with make_engine(cancel_grace=5) as engine:
        run = await engine.start(uses_stuck)
        assert await run.result() == "done"
    release.set()
    assert effects("stuck") == [(1, False), (2, True)]


async def test_r1_a_thread_that_has_begun_and_was_not_heard_of_yet_is_not_said_to_have_ended(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.clear()
    async with make_engine(cancel_grace=5) as engine:
        assert engine.worker is not None
        monkeypatch.setattr(engine.worker.executor, "_thread_began", lambda _attempt: None)
        run = await engine.start(uses_stuck)
        await asyncio.sleep(1)
        assert effects("stuck") == [(1, False)]
        await run.cancel()
        await asyncio.sleep(60)
        assert await run.status() == "cancelled"
        cancelled = [event.data for event in await run.events() if event.kind == "step_cancelled"]
        assert [data["outcome"] for data in cancelled] == ["abandoned"]
    release.set()


met = threading.Barrier(4, timeout=30)


@step
def meets(others: bool) -> int:
    return met.wait() if others else 0


@workflow
async def meetings() -> list[int]:
    await meets(False)  # now there is a thread that is free
    return sorted(await asyncio.gather(*(meets(True) for _ in range(4))))


async def test_blocking_steps_that_begin_at_once_run_at_once(make_engine: MakeEngine) -> None:
    async with make_engine(max_threads=4) as engine:
        assert await (await engine.start(meetings)).result() == [0, 1, 2, 3]


@step(timeout=1, max_retries=0)
def spins() -> None:
    while not get_step_metadata().cancelled:
        pass
    record("saw", "cancelled")
    while True:
        pass


@workflow
async def uses_spins() -> str:
    try:
        await spins()
    except StepTimeout:
        return "stopped"
    return ""


async def test_r11_a_thread_sees_that_it_was_cancelled_and_is_interrupted(engine: Engine) -> None:
    assert await (await engine.start(uses_spins)).result() == "stopped"


@step
async def returns_a_lock() -> object:
    record("lock")
    return threading.Lock()


@workflow
async def wants_a_lock() -> object:
    return await returns_a_lock()


async def test_r10_a_result_that_cannot_be_carried_is_fatal(engine: Engine) -> None:
    run = await engine.start(wants_a_lock)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert isinstance(failed.value.__cause__, SerializationError)
    assert "_thread.lock" in str(failed.value.__cause__)
    assert effects("lock") == [None]


async def test_an_argument_that_cannot_be_carried_is_refused_at_start(engine: Engine) -> None:
    with pytest.raises(SerializationError, match="lock"):
        await engine.start(takes, threading.Lock())
    assert await engine.list_runs() == []


@workflow
async def takes(value: object) -> object:
    return value


@step(max_retries=0)
async def exits() -> None:
    raise SystemExit(3)


@workflow
async def uses_exits() -> str:
    try:
        await exits()
    except StepError as error:
        return error.type_name
    return ""


async def test_r12_a_step_cannot_end_the_process(engine: Engine) -> None:
    assert await (await engine.start(uses_exits)).result() == "builtins:SystemExit"


@step
async def hangs(name: str) -> None:
    record("began", name)
    await asyncio.sleep(1e9)


@workflow
async def poison() -> None:
    await hangs("poison")


async def test_r31_a_run_that_alone_kills_its_workers_is_parked(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(poison)
    await asyncio.sleep(10)
    for _ in range(6):
        await kill(first)
        first = make_engine()
        await first.open()
        await asyncio.sleep(10)
    info = await first.get_run(run.id).info()
    assert info.status == "parked"
    assert "kills its workers" in info.reason
    assert await (await first.start(harmless)).result() == 3
    await first.close()


async def test_r31_progress_clears_suspicion(make_engine: MakeEngine) -> None:
    engine = make_engine()
    await engine.open()
    run = await engine.start(slow_but_sure, 12)
    for _ in range(12):
        await asyncio.sleep(150)
        await kill(engine)
        engine = make_engine()
        await engine.open()
    assert await engine.get_run(run.id).result() == 12
    await engine.close()


@step
async def takes_a_while(n: int) -> int:
    await asyncio.sleep(100)
    return n


@workflow
async def slow_but_sure(n: int) -> int:
    for number in range(n):
        await takes_a_while(number)
    return n


@workflow
async def wide(n: int) -> int:
    return sum(await asyncio.gather(*(quick(number) for number in range(n))))


async def test_a_gather_of_thousands_goes_through(make_engine: MakeEngine) -> None:
    async with make_engine(replay_always=False) as engine:
        assert await (await engine.start(wide, 3000)).result() == sum(range(3000))


@workflow
async def large() -> int:
    return len(await echo("x" * 10_000_000))


@step
async def echo(text: str) -> str:
    return text


async def test_a_ten_megabyte_value_goes_through(engine: Engine) -> None:
    assert await (await engine.start(large)).result() == 10_000_000


@workflow
async def many_sleepers(n: int) -> int:
    await asyncio.gather(*(sleep(100 + number % 7) for number in range(n)))
    return n


async def test_many_sleeps_of_one_run_are_all_kept(make_engine: MakeEngine) -> None:
    async with make_engine(replay_always=False, linger=0.0) as engine:
        run = await engine.start(many_sleepers, 1500)
        assert await run.result() == 1500
        assert (await kinds(run)).count("wait_completed") == 1500


async def test_terminate_ends_a_run_without_its_body(engine: Engine) -> None:
    run = await engine.start(poison)
    await asyncio.sleep(10)
    assert await run.terminate("enough") is True
    with pytest.raises(RunTerminated, match="enough"):
        await run.result()
    assert await run.terminate() is False


async def test_wake_up_completes_sleeps_only(engine: Engine) -> None:
    run = await engine.start(sleeps_with_timeout)
    await asyncio.sleep(50)
    await run.wake_up()
    assert await run.result() == "woken"


@workflow
async def sleeps_with_timeout() -> str:
    async with asyncio.timeout(1e6):
        await sleep("3 days")
        return "woken"


class Evil(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@workflow
async def raises_evil() -> None:
    raise Evil


async def test_an_exception_whose_text_cannot_be_made_still_fails_the_run(engine: Engine) -> None:
    with pytest.raises(RunFailed, match="failed"):
        await (await engine.start(raises_evil)).result()


@workflow
async def awaits_itself() -> None:
    await get_run(get_workflow_metadata().run_id).result()


async def test_a_run_that_waits_for_itself_is_told_so(engine: Engine) -> None:
    with pytest.raises(RunFailed, match="its own result"):
        await (await engine.start(awaits_itself)).result()


async def test_an_exception_nobody_retrieved_is_shown(engine: Engine) -> None:
    run = await engine.start(forgets_a_task)
    assert await run.result() == 1
    assert any("ZeroDivisionError" in text for text in (await run.info()).unretrieved)


@workflow
async def forgets_a_task() -> int:
    async def fails() -> None:
        await quick(1)
        raise ZeroDivisionError

    task = asyncio.create_task(fails())
    await sleep(10)
    assert task.done()
    return 1
