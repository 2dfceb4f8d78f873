"""Cancelling a step is a request; its awaiter hears when the attempt has ended (R6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from outlive import sleep
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, charge, fail, refund, work
from tests.core.story import (
    begin,
    cancel_requested,
    completed,
    names,
    replay,
    run_started,
    step_cancelled,
    step_completed,
    step_failed,
    step_retrying,
    wait_completed,
)

LINGERING = World(lingers=3)


def elapsed() -> float:
    return asyncio.get_running_loop().time() - 1_800_000_000.0


def test_r06_the_awaiter_hears_when_the_attempt_has_ended() -> None:
    async def body() -> str:
        task = asyncio.create_task(charge(1))
        await sleep(5)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "not"

    story = begin(body).when(wait_completed())
    assert (names(story.commands), story.outcome) == (["CancelStep"], None)
    assert story.when(step_cancelled()).result == "cancelled"


def test_r06_a_cancel_is_not_swallowed_by_a_step_that_completed_meanwhile() -> None:
    async def body() -> str:
        task = asyncio.create_task(charge(1))
        await sleep(5)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "not"

    assert begin(body).when(wait_completed(), step_completed(result=1)).result == "cancelled"


def test_r06_nor_by_one_that_failed_meanwhile() -> None:
    async def body() -> str:
        task = asyncio.create_task(charge(1))
        await sleep(5)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "not"

    assert begin(body).when(wait_completed(), step_failed(error=Refused(1))).result == "cancelled"


def test_r06_asking_twice_asks_once() -> None:
    async def body() -> str:
        task = asyncio.create_task(charge(1))
        await sleep(5)
        task.cancel()
        task.cancel()
        await sleep(5)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "not"

    story = begin(body).when(wait_completed())
    assert names(story.commands) == ["CancelStep", "StartWait"]
    assert story.when(wait_completed()).commands == []
    assert story.when(step_cancelled()).result == "cancelled"


def test_r06_the_reason_of_the_cancel_arrives() -> None:
    async def body() -> list[str]:
        async def careful() -> list[str]:
            try:
                await charge(1)
            except asyncio.CancelledError as error:
                return [str(arg) for arg in error.args]
            return []

        task = asyncio.create_task(careful())
        await sleep(5)
        task.cancel("out of stock")
        return await task

    assert begin(body).when(wait_completed(), step_cancelled()).result == ["out of stock"]


def test_r06_a_request_that_waits_is_there_after_a_replay() -> None:
    async def body() -> None:
        await charge(1)

    story = replay(body).given(run_started(), cancel_requested())
    assert story.machine.open[1].cancelling


def test_r06_a_request_between_attempts_is_there_too() -> None:
    async def body() -> None:
        await charge(1)

    story = replay(body).given(run_started(), step_retrying(), cancel_requested())
    assert story.machine.open[1].cancelling
    assert names(story.when(step_cancelled()).commands) == ["EndRun"]


def test_r06_compensation_does_not_overtake_the_effect() -> None:
    async def body() -> None:
        try:
            await charge(5)
        except asyncio.CancelledError:
            await refund(5)
            raise

    story = begin(body).when(cancel_requested())
    assert names(story.commands) == ["CancelStep"]
    assert names(story.when(step_completed("charge", 5)).commands) == ["CallStep refund"]


def test_r06_timeout_ends_when_the_step_has() -> None:
    async def body() -> tuple[str, float, int]:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(5):
                await work("slow", 50)
        except TimeoutError:
            return "timeout", elapsed(), task.cancelling()
        return "none", elapsed(), task.cancelling()

    assert simulate(body, world=LINGERING).result == ("timeout", 8, 0)


def test_r06_wait_for_ends_when_the_step_has() -> None:
    async def body() -> tuple[str, float]:
        try:
            await asyncio.wait_for(work("slow", 50), 5)
        except TimeoutError:
            return "timeout", elapsed()
        return "none", elapsed()

    assert simulate(body, world=LINGERING).result == ("timeout", 8)


def test_r06_a_step_that_completes_in_its_grace_is_still_timed_out() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(5):
                await work("nearly", 7)
        except TimeoutError:
            return "timeout"
        return "none"

    played = simulate(body, world=LINGERING)
    assert played.result == "timeout"
    assert "step_completed 2 work" in played.told


def test_r06_a_task_group_ends_when_its_steps_have() -> None:
    async def body() -> tuple[list[str], float]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(1, 2))
                group.create_task(work("slow", 50))
        except* Refused as refused:
            caught = [str(error) for error in refused.exceptions]
        return caught, elapsed()

    assert simulate(body, world=LINGERING).result == (["1 is too much"], 5)


def test_r06_gather_gives_up_at_the_first_failure_and_lets_the_rest_run() -> None:
    async def body() -> list[object]:
        slow = asyncio.create_task(work("slow", 9))
        try:
            await asyncio.gather(slow, fail(1, 2))
        except Refused:
            return [elapsed(), await slow, elapsed()]
        return []

    assert simulate(body, world=LINGERING).result == [2, "slow", 9]


def test_r06_a_cancelled_gather_is_over_when_all_its_steps_are() -> None:
    async def body() -> float:
        gathering = asyncio.gather(work("a", 50), work("b", 60))
        asyncio.get_running_loop().call_later(5, gathering.cancel)
        try:
            await gathering
        except asyncio.CancelledError:
            return elapsed()
        return 0.0

    assert simulate(body, world=LINGERING).result == 8


def test_r06_shield_keeps_the_step() -> None:
    async def body() -> tuple[str, float]:
        task = asyncio.create_task(work("kept", 9))
        try:
            async with asyncio.timeout(5):
                await asyncio.shield(task)
        except TimeoutError:
            return await task, elapsed()
        return "", elapsed()

    assert simulate(body, world=LINGERING).result == ("kept", 9)


Nested = Callable[[], Coroutine[Any, Any, Any]]


def in_timeout() -> Coroutine[Any, Any, Any]:
    async def run() -> None:
        async with asyncio.timeout(100):
            await work("w", 50)

    return run()


def in_task_group() -> Coroutine[Any, Any, Any]:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("w", 50))
            await work("v", 60)

    return run()


def in_shield() -> Coroutine[Any, Any, Any]:
    async def run() -> None:
        await asyncio.shield(work("w", 50))

    return run()


def in_wait_for() -> Coroutine[Any, Any, Any]:
    async def run() -> None:
        await asyncio.wait_for(work("w", 50), 100)

    return run()


def in_gather() -> Coroutine[Any, Any, Any]:
    async def run() -> None:
        await asyncio.gather(work("w", 50), work("v", 60))

    return run()


def plain() -> Coroutine[Any, Any, Any]:
    return work("w", 50)


@pytest.mark.parametrize("nested", [plain, in_timeout, in_task_group, in_shield, in_wait_for, in_gather])
def test_r06_a_cancel_goes_through_and_is_counted_back(nested: Nested) -> None:
    async def body() -> list[object]:
        cancelled: list[object] = []

        async def stubborn() -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                await nested()
            except asyncio.CancelledError:
                cancelled.append(task.cancelling())
                task.uncancel()
            cancelled.append(task.cancelling())

        task = asyncio.create_task(stubborn())
        await sleep(5)
        task.cancel()
        await task
        return cancelled

    assert simulate(body, world=LINGERING).result == [1, 0]


@pytest.mark.parametrize("nested", [plain, in_timeout, in_task_group, in_shield, in_wait_for, in_gather])
def test_r06_a_cancelled_run_is_cancelled_through_anything(nested: Nested) -> None:
    async def body() -> None:
        await nested()

    assert type(simulate(body, world=World(lingers=3, cancels=[5])).outcome).__name__ == "RunCancelled"


def test_r06_a_timeout_of_no_time_never_runs_the_step() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(0):
                await charge(1)
        except TimeoutError:
            return "at once"
        return "no"

    played = simulate(body)
    assert (played.result, played.ran, played.took) == ("at once", [], 0)


def test_r06_a_sleep_and_a_hook_are_cancelled_at_once() -> None:
    async def body() -> float:
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(sleep(50), asyncio.sleep(60))
        except TimeoutError:
            return elapsed()
        return 0.0

    assert simulate(body, world=LINGERING).result == 5


def test_r06_a_waiter_that_is_cancelled_leaves_its_queue() -> None:
    async def body() -> list[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        gone = asyncio.create_task(queue.get())
        there = asyncio.create_task(queue.get())
        await sleep(1)
        gone.cancel()
        queue.put_nowait("item")
        return [await there, str(gone.cancelled())]

    assert simulate(body).result == ["item", "True"]


def test_r06_a_cancelled_step_frees_what_its_task_held() -> None:
    async def body() -> list[str]:
        lock = asyncio.Lock()

        async def holding(label: str, seconds: float) -> str:
            async with lock:
                return await work(label, seconds)

        first = asyncio.create_task(holding("first", 50))
        second = asyncio.create_task(holding("second", 1))
        await sleep(5)
        first.cancel()
        return [await second, str(first.cancelled())]

    played = simulate(body, world=LINGERING)
    assert (played.result, played.took) == (["second", "True"], 9)


def test_r06_the_run_can_end_before_anybody_asked_for_the_step() -> None:
    async def body() -> str:
        asyncio.create_task(charge(1))  # noqa: RUF006
        return "done"

    story = begin(body)
    assert names(story.commands) == ["CallStep charge", "CancelStep"]
    assert story.when(step_cancelled()).commands[-1:][0].outcome == completed("done")  # type: ignore[union-attr]
