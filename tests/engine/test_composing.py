"""Workflows composed with plain asyncio, run to their end."""

from __future__ import annotations

import asyncio

import pytest

from outlive import (
    Engine,
    FatalError,
    RetryableError,
    RunCancelled,
    RunFailed,
    StepError,
    StepTimeout,
    continue_as_new,
    create_hook,
    get_step_metadata,
    get_workflow_metadata,
    now,
    patched,
    race,
    sleep,
    start,
    step,
    workflow,
)

from .helpers import effects, kinds, record


class CardDeclined(Exception):
    """An exception of the user's, known to this module."""


@step
async def double(n: int) -> int:
    record("double", n)
    return n * 2


@step
def double_in_thread(n: int) -> int:
    record("thread", n)
    return n * 2


@step(max_retries=2, retry_delay=5)
async def flaky(fails: int) -> int:
    attempt = get_step_metadata().attempt
    record("flaky", attempt)
    if attempt <= fails:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


@step
async def declined() -> None:
    record("declined")
    raise FatalError("no")


@step(max_retries=0)
async def decline_card() -> None:
    raise CardDeclined("insufficient funds")


@step
async def patient() -> float:
    meta = get_step_metadata()
    if meta.attempt == 1:
        raise RetryableError("later", retry_after="1 hour")
    return meta.started_at.timestamp()


@step(timeout=30, max_retries=1, retry_delay=1)
async def slow() -> int:
    record("slow", get_step_metadata().attempt)
    if get_step_metadata().attempt == 1:
        await asyncio.sleep(100)
    return 7


@step
async def forever(name: str) -> None:
    record("begin", name)
    try:
        await asyncio.sleep(1e6)
    finally:
        record("end", name)


@workflow
async def in_sequence(n: int) -> int:
    for _ in range(3):
        n = await double(n)
    return n


async def test_steps_run_in_sequence_once_each(engine: Engine) -> None:
    run = await engine.start(in_sequence, 1)
    assert await run.result() == 8
    assert effects("double") == [1, 2, 4]


@workflow
async def everything_at_once() -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(double(n)) for n in range(3)]
    threads = await asyncio.gather(*(double_in_thread(n) for n in range(3)))
    return [task.result() for task in tasks] + list(threads)


async def test_task_groups_gather_and_threads_compose(engine: Engine) -> None:
    run = await engine.start(everything_at_once)
    assert await run.result() == [0, 2, 4, 0, 2, 4]


@workflow
async def long_sleep() -> float:
    before = now()
    await sleep("40 days")
    return (now() - before).total_seconds()


async def test_a_forty_day_sleep_takes_forty_days(engine: Engine) -> None:
    run = await engine.start(long_sleep)
    assert await run.result() == pytest.approx(40 * 86400, abs=1)


@workflow
async def retried(fails: int) -> int:
    return await flaky(fails)


async def test_a_failed_attempt_is_retried_and_counted(engine: Engine) -> None:
    run = await engine.start(retried, 2)
    assert await run.result() == 3
    assert effects("flaky") == [1, 2, 3]
    assert (await kinds(run)).count("step_retrying") == 2


async def test_the_last_attempt_fails_the_step(engine: Engine) -> None:
    run = await engine.start(retried, 9)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert isinstance(failed.value.__cause__, ConnectionError)
    assert effects("flaky") == [1, 2, 3]


@workflow
async def fatal() -> str:
    try:
        await declined()
    except FatalError as error:
        return str(error)
    return "accepted"


async def test_a_fatal_error_is_not_retried_and_reaches_the_body(engine: Engine) -> None:
    assert await (await engine.start(fatal)).result() == "no"
    assert effects("declined") == [None]


@workflow
async def pays() -> str:
    try:
        await decline_card()
    except CardDeclined as declined:
        return f"declined: {declined}"
    return "paid"


async def test_r12_an_exception_arrives_as_its_own_type(engine: Engine) -> None:
    assert await (await engine.start(pays)).result() == "declined: insufficient funds"


@workflow
async def waits_as_told() -> float:
    return await patient() - now().timestamp()


async def test_retry_after_decides_when(engine: Engine, clock: object) -> None:
    run = await engine.start(waits_as_told)
    await run.result()
    events = {event.kind: event for event in await run.events()}
    assert (events["step_completed"].time - events["step_retrying"].time).total_seconds() == pytest.approx(3600, abs=1)


@workflow
async def waits_for_slow() -> int:
    return await slow()


async def test_r11_a_timed_out_attempt_is_retried(engine: Engine) -> None:
    assert await (await engine.start(waits_for_slow)).result() == 7
    assert effects("slow") == [1, 2]


@workflow
async def times_out() -> str:
    try:
        await slow.options(max_retries=0)()
    except StepTimeout:
        return "timed out"
    return "in time"


async def test_r11_a_timeout_without_retries_reaches_the_body(engine: Engine) -> None:
    assert await (await engine.start(times_out)).result() == "timed out"


@workflow
async def gives_up_waiting() -> str:
    try:
        async with asyncio.timeout(60):
            await forever("a")
    except TimeoutError:
        return "gave up"
    return "done"


async def test_r06_a_timeout_cancels_the_step_and_waits_for_its_end(engine: Engine) -> None:
    run = await engine.start(gives_up_waiting)
    assert await run.result() == "gave up"
    assert effects() == [("begin", "a"), ("end", "a")]
    assert "step_cancelled" in await kinds(run)


@workflow
async def races() -> tuple[str, object]:
    return await race(step=double(21), deadline=sleep("1 day"), approval=create_hook())


async def test_r02_a_step_beats_a_sleep_and_a_hook(engine: Engine) -> None:
    run = await engine.start(races)
    assert await run.result() == ("step", 42)
    assert "wait_created" not in await kinds(run)


@workflow
async def step_loses() -> str:
    return await race(forever("b"), sleep(5, "deadline"))


async def test_r05_a_step_that_lost_its_race_is_recorded_as_cancelled(engine: Engine) -> None:
    run = await engine.start(step_loses)
    assert await run.result() == "deadline"
    assert (await kinds(run))[-2:] == ["step_cancelled", "run_completed"]


@workflow
async def child(n: int) -> int:
    await sleep(10)
    return await double(n)


@workflow
async def parent() -> list[object]:
    inline = await child(1)
    handle = await start(child, 2)
    return [inline, await handle.result(), get_workflow_metadata().parent_run_id]


async def test_a_workflow_awaits_another_inline_and_as_a_run_of_its_own(engine: Engine) -> None:
    run = await engine.start(parent)
    assert await run.result() == [2, 4, None]
    assert (await kinds(run)).count("child_completed") == 1


@workflow
async def failing_child() -> None:
    raise ValueError("child")


@workflow
async def parent_of_failure() -> str:
    handle = await start(failing_child)
    try:
        await handle.result()
    except RunFailed as failed:
        return f"{type(failed.__cause__).__name__}: {failed.__cause__}"
    return ""


async def test_a_childs_failure_is_raised_by_result(engine: Engine) -> None:
    assert await (await engine.start(parent_of_failure)).result() == "ValueError: child"


@workflow
async def counts_down(n: int, seen: list[int]) -> list[int]:
    seen.append(await double(n))
    if n:
        continue_as_new(n - 1, seen)
    return seen


async def test_r08_a_chain_goes_on_under_one_id(engine: Engine) -> None:
    run = await engine.start(counts_down, 3, [])
    assert await run.result() == [6, 4, 2, 0]
    info = await run.info()
    assert info.link == 4
    assert [event.kind for event in await run.events(link=1)][-1] == "run_continued"


@workflow
async def cleans_up() -> None:
    try:
        await sleep("300 days")
    finally:
        await double(3)


async def test_r07_a_cancelled_run_cleans_up_with_steps(engine: Engine) -> None:
    run = await engine.start(cleans_up)
    await asyncio.sleep(10)
    assert await run.cancel() is True
    with pytest.raises(RunCancelled):
        await run.result()
    assert effects("double") == [3]
    assert await run.cancel() is False


@workflow
async def ignores_cancel() -> str:
    try:
        await sleep("300 days")
    except asyncio.CancelledError:
        pass
    return "went on"


async def test_r07_a_body_that_returns_after_a_cancel_is_completed(engine: Engine) -> None:
    run = await engine.start(ignores_cancel)
    await asyncio.sleep(10)
    await run.cancel()
    assert await run.result() == "went on"


@step
async def raises_cancelled() -> None:
    raise asyncio.CancelledError


@workflow
async def unasked_cancel() -> str:
    try:
        await raises_cancelled.options(max_retries=0)()
    except StepError as error:
        return error.type_name
    return ""


async def test_r12_a_cancelled_error_that_nobody_asked_for_is_a_step_error(engine: Engine) -> None:
    assert await (await engine.start(unasked_cancel)).result() == "asyncio.exceptions:CancelledError"


@workflow
async def new_code() -> bool:
    await double(1)
    return patched("faster")


async def test_r38_a_new_run_is_patched(engine: Engine) -> None:
    run = await engine.start(new_code)
    assert await run.result() is True
    assert "marker" in await kinds(run)


async def test_the_same_id_gives_the_same_run(engine: Engine) -> None:
    flow = in_sequence.options(run_id="once")
    first, second = await asyncio.gather(engine.start(flow, 1), engine.start(flow, 1))
    assert first == second
    assert await first.result() == await second.result() == 8
    assert effects("double") == [1, 2, 4]


async def test_the_same_id_with_another_input_is_a_conflict(engine: Engine) -> None:
    from outlive import RunConflict

    flow = in_sequence.options(run_id="twice")
    await engine.start(flow, 1)
    with pytest.raises(RunConflict, match="another workflow or input"):
        await engine.start(flow, 2)


@step
async def starts_child(n: int) -> str:
    handle = await start(in_sequence, n)
    if get_step_metadata().attempt == 1:
        raise ConnectionError
    return handle.id


@workflow
async def starts_in_a_step() -> int:
    first = await starts_child(1)
    second = await starts_child(1)
    assert first != second
    return len({first, second})


async def test_r36_a_retried_step_starts_its_run_once(engine: Engine) -> None:
    run = await engine.start(starts_in_a_step)
    assert await run.result() == 2
    assert len(await engine.list_runs()) == 3


@workflow
async def cancels_at_once() -> str:
    task = asyncio.create_task(forever("never"))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    return ""


async def test_r01_a_step_cancelled_before_it_begins_never_runs(engine: Engine) -> None:
    run = await engine.start(cancels_at_once)
    assert await run.result() == "cancelled"
    assert effects() == []
    assert (await kinds(run)).count("step_cancelled") == 1


@step(timeout=5, max_retries=0)
async def tidies_for_three_seconds() -> None:
    try:
        await asyncio.sleep(100)
    finally:
        await asyncio.sleep(3)
        record("tidied")


@workflow
async def is_cancelled_while_a_step_tidies() -> None:
    await tidies_for_three_seconds()


async def test_r06_a_step_that_has_been_told_to_end_is_not_told_again(engine: Engine) -> None:
    """Its time was up, and then its run was cancelled: that would have ended its clean-up."""
    run = await engine.start(is_cancelled_while_a_step_tidies)
    await asyncio.sleep(6)
    assert await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert effects("tidied") == [None]
