"""A dropped run's clean-up does nothing and makes no noise (R24, R25)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import random
import subprocess
import sys
import textwrap
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlive import continue_as_new, create_hook, get_logger, now, patched, race, rng, sleep, uuid4
from outlive._core.dropping import graveyard
from outlive._core.machine import INERT_LIMIT
from outlive._core.signals import Inert
from tests.core.simulate import World, simulate
from tests.core.steps import charge, refund, work
from tests.core.story import Story, begin, hook_created, names, step_completed, step_failed


@pytest.fixture(scope="module", autouse=True)
def _collecting_is_quick() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_noise(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No warning, no line of a log, nothing that nobody can raise."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
        gc.collect()
    # loops and sockets that other tests have left are collected here too; those are theirs
    assert [text for warning in warned if "unclosed" not in (text := str(warning.message))] == []
    assert unraisable == []
    assert caplog.record_tuples == []


@pytest.fixture
def buried() -> Iterator[list[object]]:
    """What could not be closed since the test began."""
    before = len(graveyard)
    now_buried: list[object] = []
    yield now_buried
    now_buried += graveyard[before:]
    assert len(now_buried) == 2, "one coroutine and its task were to be buried"
    del graveyard[before:]
    keep_for_ever.append(now_buried)


keep_for_ever: list[object] = []


def dropped(body: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Story:
    """Begin ``body`` and take it out of memory; nothing may come out."""
    story = begin(body, *args)
    before = len(graveyard)
    story.machine._out.clear()
    issued = len(story.machine.issued)
    story.drop()
    assert (story.machine._out, story.machine.open) == ([], {})
    assert issued >= len(story.machine.issued)
    assert len(graveyard) == before, "it would not close"
    return story


def test_r24_finally_runs_and_its_steps_are_inert() -> None:
    told: list[str] = []

    async def body() -> None:
        try:
            await charge(1)
        finally:
            told.append("finally")
            await refund(1)
            told.append("never")

    dropped(body)
    assert told == ["finally"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: refund(1),
        lambda: sleep(5),
        lambda: race(refund(1), sleep(5)),
        lambda: asyncio.wait_for(refund(1), 5),
        lambda: asyncio.gather(refund(1), refund(2)),
        lambda: asyncio.create_task(refund(1)),
        lambda: asyncio.shield(refund(1)),
        lambda: asyncio.sleep(5),
        lambda: asyncio.sleep(0),
        lambda: asyncio.Event().wait(),
    ],
)
def test_r24_whatever_a_clean_up_awaits_is_inert(call: Callable[[], Any]) -> None:
    told: list[str] = []

    async def body() -> None:
        try:
            await charge(1)
        finally:
            await call()
            told.append("never")

    dropped(body)
    assert told == []


def test_r24_what_a_clean_up_calls_is_inert_too() -> None:
    told: list[type[BaseException]] = []

    async def body() -> None:
        hook = create_hook()
        try:
            await charge(1)
        finally:
            for call in (create_hook, lambda: patched("p")):
                try:
                    call()
                except BaseException as error:
                    told.append(type(error))
            hook.dispose()
            get_logger("tests").error("silent")
            asyncio.get_running_loop().call_later(5, print)
            asyncio.get_running_loop().call_soon(print)
            told.append(type(now() and uuid4() and rng()))  # type: ignore[arg-type]
            continue_as_new()

    dropped(body)
    assert told == [Inert, Inert, random.Random]


def test_r24_no_except_exception_catches_it() -> None:
    told: list[str] = []

    async def body() -> None:
        while True:
            try:
                await charge(1)
            except Exception:
                told.append("caught")

    dropped(body)
    assert told == []


def test_r24_retrying_for_ever_ends_in_the_graveyard(buried: list[object]) -> None:
    tries: list[int] = []

    async def body() -> None:
        while True:
            try:
                await charge(1)
            except BaseException:
                tries.append(1)

    begin(body).drop()
    assert INERT_LIMIT <= len(tries) < INERT_LIMIT + 10


def test_r24_so_does_creating_hooks_for_ever(buried: list[object]) -> None:
    tries: list[int] = []

    async def body() -> None:
        hook = create_hook()
        while True:
            try:
                await hook
            except BaseException:
                tries.append(1)
            with contextlib.suppress(BaseException):
                patched("p")
                hook = create_hook()

    begin(body).drop()
    assert len(tries) < 2 * INERT_LIMIT


@pytest.mark.parametrize("call", [create_hook, lambda: patched("p")])
def test_r24_so_does_asking_for_ever(buried: list[object], call: Callable[[], object]) -> None:
    tries: list[int] = []

    async def body() -> None:
        while True:
            try:
                call()
                await charge(1)
            except BaseException:
                tries.append(1)

    story = begin(body)
    story.machine._out.clear()
    story.drop()
    assert len(tries) < 2 * INERT_LIMIT
    assert (story.machine._out, story.machine.open) == ([], {})


def test_r24_so_does_sleeping_for_ever(buried: list[object]) -> None:
    async def body() -> None:
        while True:
            try:
                await asyncio.sleep(1)
            except BaseException:
                pass

    begin(body).drop()


def test_r24_what_is_buried_never_runs_again() -> None:
    code = """
        from tests.core.story import begin
        from tests.core.steps import charge

        async def body() -> None:
            while True:
                try:
                    await charge(1)
                except BaseException:
                    if over:
                        print("it ran again")

        over = False
        begin(body).drop()
        over = True
    """
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_r24_task_groups_close(depth: int) -> None:
    async def nested(depth: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(charge(depth))
            if depth > 1:
                await nested(depth - 1)

    dropped(nested, depth)


def test_r24_a_task_group_in_a_clean_up_is_inert() -> None:
    async def body() -> None:
        try:
            await charge(1)
        finally:
            async with asyncio.TaskGroup() as group:
                group.create_task(refund(1))
                group.create_task(refund(2))

    dropped(body)


def test_r24_tasks_are_closed_newest_first() -> None:
    order: list[int] = []

    async def body() -> None:
        async def background(number: int) -> None:
            try:
                await charge(number)
            finally:
                order.append(number)

        await asyncio.gather(*(background(number) for number in range(5)))

    dropped(body)
    assert order == [4, 3, 2, 1, 0]


def test_r24_a_step_that_lost_a_race_is_closed_too() -> None:
    async def body() -> None:
        await race(charge(1), refund(1))
        await sleep(5)

    story = begin(body).when(step_completed("refund"))
    coroutines = [task.get_coro() for task in story.machine.loop.all_tasks]
    assert [inspect.getcoroutinestate(coroutine) for coroutine in coroutines] == ["CORO_SUSPENDED"] * 2
    story.drop()
    assert [inspect.getcoroutinestate(coroutine) for coroutine in coroutines] == ["CORO_CLOSED"] * 2


def test_r24_a_clean_up_runs_in_its_own_context_and_loop() -> None:
    told: list[object] = []
    colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour")

    async def body() -> None:
        token = colour.set("mine")
        try:
            await charge(1)
        finally:
            told.append(colour.get())
            colour.reset(token)
            told.append(asyncio.get_running_loop())

    story = dropped(body)
    assert told == ["mine", story.machine.loop]


def test_r24_async_generators_are_closed() -> None:
    told: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            told.append("finally")
            await refund(1)
            told.append("never")

    async def body() -> None:
        async for _ in numbers():
            await charge(1)

    dropped(body)
    assert told == ["finally"]


@pytest.mark.parametrize("pause", [0, 5])
def test_r24_also_when_their_clean_up_sleeps(pause: float) -> None:
    told: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            told.append("finally")
            await asyncio.sleep(pause)
            told.append("never")

    async def body() -> None:
        async for _ in numbers():
            await charge(1)

    dropped(body)
    assert told == ["finally"]


def test_r24_also_when_they_yield_once_more() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            yield 2

    async def body() -> None:
        async for _ in numbers():
            await charge(1)

    dropped(body)


def test_r24_a_generator_that_waits_inside_is_closed_with_its_task() -> None:
    told: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            await charge(1)
            yield 1
        finally:
            told.append("finally")

    async def body() -> None:
        async for _ in numbers():
            pass

    dropped(body)
    assert told == ["finally"]


def test_r24_a_coroutine_that_was_made_and_not_yet_awaited_says_nothing() -> None:
    async def helper() -> None: ...

    async def body() -> None:
        later = [charge(2), helper(), sleep(5), race(charge(3), sleep(1))]
        await charge(1)
        await asyncio.gather(*later)

    dropped(body)


def test_r24_nor_does_one_that_a_clean_up_made() -> None:
    async def body() -> None:
        try:
            await charge(1)
        finally:
            later = [refund(1), refund(2)]
            await later[0]
            await later[1]

    dropped(body)


def test_outside_of_a_drop_python_says_what_was_never_awaited() -> None:
    async def body() -> None:
        await charge(1)

    dropped(body)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        charge(2).__class__  # noqa: B018


def test_r24_an_exception_that_nobody_retrieved_is_not_told_by_a_drop() -> None:
    async def body() -> None:
        async def explode() -> None:
            raise ValueError("unseen")

        kept = asyncio.create_task(explode())
        await charge(1)
        await kept

    dropped(body)


def test_r24_a_clean_up_that_raises_raises_to_nobody() -> None:
    async def body() -> None:
        try:
            await charge(1)
        finally:
            raise ValueError("in a clean-up")

    dropped(body)


@pytest.mark.parametrize(
    "error", [RuntimeError, SystemExit, KeyboardInterrupt, MemoryError, StopIteration, RecursionError]
)
def test_r24_whatever_it_raises(error: type[BaseException]) -> None:
    async def body() -> None:
        try:
            await charge(1)
        finally:
            raise error

    dropped(body)


def test_r24_dropping_twice_drops_once() -> None:
    told: list[str] = []

    async def body() -> None:
        try:
            await charge(1)
        finally:
            told.append("finally")

    dropped(body).drop()
    assert told == ["finally"]


def test_r24_a_run_may_be_dropped_before_it_began_and_after_it_ended() -> None:
    async def body() -> None: ...

    Story(body).drop()
    begin(body).drop()


def test_r24_a_run_can_be_dropped_in_a_task_of_the_worker() -> None:
    async def body() -> None:
        await charge(1)

    story = begin(body)

    async def close_engine() -> None:
        story.drop()

    asyncio.run(close_engine())
    assert story.machine.loop.dropping


def test_r24_the_worker_has_its_own_loop_back_after_a_drop() -> None:
    async def body() -> None:
        try:
            await charge(1)
        finally:
            raise ValueError

    async def worker() -> bool:
        before = asyncio.get_running_loop()
        begun.drop()
        return asyncio.get_running_loop() is before

    begun = begin(body)
    assert asyncio.run(worker())


def test_r24_nothing_of_a_dropped_run_is_kept() -> None:
    class Big:
        pass

    seen: list[weakref.ref[Big]] = []

    async def body() -> None:
        big = Big()
        seen.append(weakref.ref(big))
        hook = create_hook()
        async with asyncio.timeout(50):
            await asyncio.gather(race(hook, charge(1)), sleep(9), asyncio.sleep(10), return_exceptions=True)
        del big

    story = begin(body).when(hook_created())
    machine = weakref.ref(story.machine)
    story.drop()
    from tests.core import story as stories

    stories.drop_all()
    del story
    gc.collect()
    assert (seen[0](), machine()) == (None, None)


async def careful(told: list[str], label: str) -> None:
    try:
        await work(label, 5)
    except BaseException as error:
        told.append(f"{label} {type(error).__name__}")
        raise
    finally:
        await refund(1)


def test_r24_what_a_clean_up_does_happens_once_in_the_life_that_counts() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(20):
                try:
                    await sleep(100)
                finally:
                    await refund(1)
        except TimeoutError:
            return "timed out"
        return ""

    played = simulate(body)
    assert [name for _, name, _ in played.ran] == ["refund"]


def test_r24_a_whole_run_full_of_clean_up_makes_no_noise_in_any_of_its_lives() -> None:
    async def body() -> list[str]:
        told: list[str] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                for number in range(3):
                    yield number
                    await charge(number)
            finally:
                await refund(9)

        with create_hook() as hook:
            async with asyncio.TaskGroup() as group:
                group.create_task(race(hook, sleep(7)))
                group.create_task(asyncio.wait_for(asyncio.shield(work("w", 2)), 5))
                async for number in numbers():
                    told.append(f"{number}")
                    if number == 1:
                        break
            try:
                async with asyncio.timeout(1):
                    await work("slow", 9)
            except TimeoutError:
                told.append("late")
            finally:
                await refund(2)
        return told

    assert simulate(body, world=World(lingers=2, payloads=[(4, "x")]), collect=True).result == ["0", "1", "late"]


# --- R25 ---------------------------------------------------------------------------------------------------------------


def test_r25_a_generator_that_nobody_holds_is_not_finalized_by_the_collector() -> None:
    told: list[str] = []

    async def body() -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                told.append("finally")

        async for _ in numbers():
            break
        gc.collect()
        await charge(1)

    story = begin(body)
    gc.collect()
    assert told == []
    story.when(step_completed())
    assert told == ["finally"]


def test_r25_exhausted_generators_are_not_kept() -> None:
    async def body() -> None:
        async def numbers() -> AsyncIterator[int]:
            yield 1

        for _ in range(1_000):
            async for _number in numbers():
                pass
        await charge(1)

    assert len(begin(body).machine.loop.generators) < 100


def test_r25_unfinished_generators_are_kept_all_the_same() -> None:
    closed: list[int] = []

    async def body() -> None:
        async def numbers(number: int) -> AsyncIterator[int]:
            try:
                yield number
            finally:
                closed.append(number)

        for number in range(500):
            await anext(numbers(number))
        assert closed == []
        await charge(1)

    begin(body).when(step_completed())
    assert closed == list(range(500))


def test_r25_the_collector_is_off_during_an_activation_and_back_after_it() -> None:
    async def body() -> bool:
        return gc.isenabled()

    assert gc.isenabled()
    assert begin(body).result is False
    assert gc.isenabled()


def test_r25_it_stays_off_for_who_has_it_off() -> None:
    async def body() -> None:
        await charge(1)

    gc.disable()
    try:
        begin(body)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_r25_the_workers_own_generators_are_left_alone() -> None:
    async def main() -> list[str]:
        told: list[str] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                told.append("finally")

        generator = numbers()
        await anext(generator)
        hooks = sys.get_asyncgen_hooks()
        asyncio.get_running_loop().call_soon(lambda: begin(plain))
        await asyncio.sleep(0)
        assert sys.get_asyncgen_hooks() == hooks
        await generator.aclose()
        return told

    async def plain() -> None:
        await charge(1)

    assert asyncio.run(main()) == ["finally"]


def test_r25_collecting_between_all_events_changes_nothing() -> None:
    async def body() -> list[str]:
        tasks = [asyncio.create_task(work(str(n), n)) for n in range(4)]
        background = weakref.ref(asyncio.create_task(work("unheld", 9)))
        done = await asyncio.gather(*tasks)
        await sleep(10)
        return [*done, str(background() is None)]

    assert simulate(body, collect=True).result == ["0", "1", "2", "3", "True"]


def test_f1_a_task_that_nobody_holds_is_not_collected() -> None:
    told: list[str] = []

    async def body() -> None:
        async def background() -> None:
            told.append(await work("kept", 2))

        asyncio.create_task(background())  # noqa: RUF006
        await sleep(5)

    simulate(body, collect=True)
    assert set(told) == {"kept"}


def test_a_failed_step_may_be_dropped_with_its_traceback() -> None:
    async def body() -> None:
        try:
            await charge(1)
        except ValueError:
            await refund(1)

    story = begin(body).when(step_failed(error=ValueError("x")))
    assert names(story.open) == ["CallStep refund"]
    story.drop()
