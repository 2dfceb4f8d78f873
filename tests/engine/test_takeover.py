"""A worker dies; another goes on from what was committed."""

from __future__ import annotations

import asyncio

import pytest

from outlive import (
    Engine,
    ReplayDivergence,
    StepInterrupted,
    continue_as_new,
    create_hook,
    get_logger,
    get_step_metadata,
    now,
    patched,
    race,
    rng,
    sleep,
    start,
    step,
    uuid4,
    workflow,
)
from outlive._runtime.suspects import AT_ONCE, PROBATION, TRIAL
from outlive.testing.crash import kill

from .conftest import MakeEngine
from .helpers import effects, kinds, record

assert ReplayDivergence


@step
async def work(name: str, seconds: float = 0) -> str:
    record("begin", name)
    await asyncio.sleep(seconds)
    record("end", name)
    return name.upper()


@step(at_most_once=True)
async def pay(seconds: float) -> str:
    record("pay", get_step_metadata().attempt)
    await asyncio.sleep(seconds)
    return "paid"


@step(retry_delay=100)
async def fails_once() -> int:
    attempt = get_step_metadata().attempt
    record("attempt", attempt)
    if attempt == 1:
        raise ConnectionError
    return attempt


@workflow
async def three_steps() -> list[str]:
    first = await work("a")
    both = await asyncio.gather(work("b"), work("c", 100))
    return [first, *both]


async def test_what_was_recorded_is_not_done_again(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(three_steps)
    await asyncio.sleep(10)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == ["A", "B", "C"]
    assert effects("end") == ["a", "b", "c"]
    assert effects("begin") == ["a", "b", "c", "c"]


@workflow
async def sleeps_long() -> float:
    began = now()
    await sleep("10 days")
    return (now() - began).total_seconds()


async def test_r16_a_sleep_goes_on_where_it_was(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(sleeps_long)
    await asyncio.sleep(5 * 86400)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == pytest.approx(10 * 86400, abs=2)


async def test_r14_a_deadline_that_was_never_written_counts_afresh(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(deadline_around_step)
    await asyncio.sleep(0.5)
    await kill(first)
    await asyncio.sleep(86400)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == "SLOW"


@workflow
async def deadline_around_step() -> str:
    try:
        async with asyncio.timeout(60):
            return await work("slow", 30)
    except TimeoutError:
        return "timed out"


@workflow
async def pays() -> str:
    try:
        return await pay(100)
    except StepInterrupted as interrupted:
        return str(interrupted).split(";")[1].strip()


async def test_r10_a_step_that_runs_at_most_once_is_not_run_again(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(pays)
    await asyncio.sleep(10)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == "whether it acted is unknown"
    assert effects("pay") == [1]


@workflow
async def retries() -> int:
    return await fails_once()


async def test_attempts_survive_a_crash(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(retries)
    await asyncio.sleep(10)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == 2
    assert effects("attempt") == [1, 2]


@workflow
async def same_names() -> list[str]:
    async def branch(name: str, seconds: float) -> str:
        first = await work(name, seconds)
        return first + await work(name + "2", seconds)

    return list(await asyncio.gather(branch("x", 50), branch("y", 20)))


async def test_branches_get_their_own_results_back(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(same_names)
    await asyncio.sleep(30)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == ["XX2", "YY2"]


@workflow
async def chance() -> tuple[str, float, str]:
    before = (str(uuid4()), rng().random())
    await sleep(100)
    return (*before, str(uuid4()))


async def test_chance_is_the_same_on_replay(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(chance)
    await asyncio.sleep(50)
    await kill(first)
    async with make_engine() as second:
        a, number, b = await second.get_run(run.id).result()
        created = (await second.store.log(run.id, 1))[0].event
    assert a != b
    assert 0 <= number < 1
    assert created.seed


@workflow
async def collects(n: int) -> list[object]:
    with create_hook(token="collector") as hook:
        return [await hook for _ in range(n)]


async def test_d01_a_payload_accepted_before_the_crash_is_delivered_after_it(make_engine: MakeEngine) -> None:
    first = make_engine(linger=0.0)
    await first.open()
    run = await first.start(collects, 2)
    await asyncio.sleep(10)
    await first.resume_hook("collector", {"n": 1})
    await kill(first)
    client = make_engine(worker=False)
    async with client:
        await client.resume_hook("collector", {"n": 2})
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == [{"n": 1}, {"n": 2}]


@workflow
async def parent() -> str:
    child = await start(deadline_around_step)
    return await child.result()


async def test_a_parent_hears_of_its_child_after_a_crash(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(parent)
    await asyncio.sleep(10)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == "SLOW"
    assert effects("end") == ["slow"]


@workflow
async def chain(n: int) -> int:
    await work(f"link{n}")
    await sleep(100)
    if n:
        continue_as_new(n - 1)
    return n


async def test_r08_a_chain_survives_a_crash_in_a_later_link(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(chain, 2)
    await asyncio.sleep(150)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == 0
    assert effects("end") == ["link2", "link1", "link0"]


@workflow
async def cleans_up() -> str:
    try:
        await race(sleep("1 day"), sleep("2 days"))
    finally:
        await work("clean-up")
    return "done"


async def test_r24_a_clean_up_happens_once_though_the_run_is_evicted_and_taken_over(make_engine: MakeEngine) -> None:
    first = make_engine(linger=0.0)
    await first.open()
    run = await first.start(cleans_up)
    await asyncio.sleep(3600)
    await kill(first)
    async with make_engine(linger=0.0) as second:
        assert await second.get_run(run.id).result() == "done"
    assert effects("end") == ["clean-up"]


@workflow
async def logs() -> None:
    get_logger().warning("before")
    await work("a")
    await sleep(100)
    get_logger().warning("after")


async def test_log_lines_are_silent_on_replay(make_engine: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(logs)
    await asyncio.sleep(50)
    await kill(first)
    async with make_engine() as second:
        await second.get_run(run.id).result()
    assert [entry.message for entry in caplog.records if entry.name == "outlive.workflow"] == ["before", "after"]


@workflow
async def asks_patch() -> list[bool]:
    answers = [patched("a")]
    await sleep(100)
    answers.append(patched("a"))
    return answers


async def test_r38_one_answer_per_run_and_id(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(asks_patch)
    await asyncio.sleep(50)
    await kill(first)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == [True, True]


async def test_r17_a_run_evicted_while_it_is_called_is_not_stranded(make_engine: MakeEngine) -> None:
    async with make_engine(linger=0.0) as engine:
        run = await engine.start(collects, 3)
        for number in range(3):
            await asyncio.sleep(5)
            await engine.resume_hook("collector", number)
        assert await run.result() == [0, 1, 2]


async def test_two_engines_share_one_store(make_engine: MakeEngine) -> None:
    async with make_engine() as first, make_engine(poll=1.0, look_every=1.0) as second:
        runs = await asyncio.gather(*(first.start(three_steps) for _ in range(5)))
        others = [second.get_run(run.id) for run in runs]
        results = await asyncio.gather(*(run.result() for run in others))
    assert results == [["A", "B", "C"]] * 5


async def test_a_closed_engine_hands_over_at_once(make_engine: MakeEngine) -> None:
    async with make_engine() as first:
        run = await first.start(deadline_around_step)
        await asyncio.sleep(5)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == "SLOW"
        assert "run_completed" in await kinds(second.get_run(run.id))


async def test_an_engine_that_only_starts_leaves_the_work_to_others(make_engine: MakeEngine) -> None:
    async with make_engine(worker=False) as client:
        run = await client.start(three_steps)
        assert (await run.status()) == "pending"
    async with make_engine() as worker:
        assert await worker.get_run(run.id).result() == ["A", "B", "C"]


async def test_closing_twice_is_harmless(engine: Engine) -> None:
    await engine.close()


@step
async def long_work(name: str) -> str:
    record("begins", asyncio.get_running_loop().time())
    await asyncio.sleep(1000)
    return name


@workflow
async def works_long(name: str) -> str:
    return await long_work(name)


async def test_r31_suspects_are_tried_few_at_a_time_and_none_waits_long(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    runs = [await first.start(works_long, str(number)) for number in range(20)]
    await asyncio.sleep(1)
    await kill(first)
    taken_over = asyncio.get_running_loop().time()
    async with make_engine() as second:
        assert [await second.get_run(run.id).result() for run in runs] == [str(number) for number in range(20)]
    again = [at - taken_over for at in effects("begins")[20:]]
    assert len(again) == 20
    assert sum(at < PROBATION for at in again) == 1
    assert sum(at < TRIAL for at in again) == TRIAL / PROBATION
    assert sum(at < TRIAL + PROBATION for at in again) == TRIAL / PROBATION + AT_ONCE
    assert max(again) < TRIAL + 3 * PROBATION


@step
async def kills_its_worker() -> None:
    record("kills")
    await asyncio.sleep(1e6)


@workflow
async def deadly() -> None:
    await kills_its_worker()


@workflow
async def harmless(name: str) -> str:
    await uppercase_slowly("x")
    return name


@step
async def uppercase_slowly(text: str) -> str:
    await asyncio.sleep(1)
    return text.upper()


async def test_r31_a_run_that_kills_its_worker_is_told_from_one_that_was_beside_it(make_engine: MakeEngine) -> None:
    """It kills at once, before the other one has done anything."""
    often = {"poll": 1.0, "look_every": 1.0}
    async with make_engine(worker=False) as client:
        bad, good = await client.start(deadly), await client.start(harmless, "done")
        done = asyncio.ensure_future(good.result())
        for _ in range(12):
            engine = make_engine(**often)
            await engine.open()
            seen = len(effects("kills"))
            for _ in range(20):
                await asyncio.sleep(0.5)
                if len(effects("kills")) > seen or (done.done() and await bad.status() == "parked"):
                    break
            if len(effects("kills")) == seen:
                await engine.close()
                break
            await kill(engine)
        assert await bad.status() == "parked"
        assert await done == "done"


async def test_r31_a_suspect_that_goes_on_makes_room_at_once(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    runs = [await first.start(three_steps) for _ in range(40)]
    await kill(first)
    taken_over = asyncio.get_running_loop().time()
    async with make_engine() as second:
        await asyncio.gather(*(second.get_run(run.id).result() for run in runs))
    assert asyncio.get_running_loop().time() - taken_over < 100 + PROBATION
