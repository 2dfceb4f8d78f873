"""The end of the body, cancelled runs, the next link (R5, R7, R8)."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator

import pytest

from outlive import continue_as_new, create_hook, race, sleep, workflow
from outlive._core.loop import NeverIdle
from outlive.errors import SerializationError
from outlive.model import events as ev
from outlive.model.commands import CancelStep, EndRun
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, charge, fail, refund, work
from tests.core.story import (
    begin,
    cancel_requested,
    decoded,
    hook_created,
    hook_received,
    names,
    replay,
    run_started,
    step_cancelled,
    step_completed,
    step_failed,
    stored,
    wait_completed,
)

# --- R5 ---------------------------------------------------------------------------------------------------------------


def test_r05_remaining_tasks_are_cancelled_in_creation_order() -> None:
    order: list[int] = []

    async def body() -> None:
        async def background(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append(number)

        tasks = [asyncio.create_task(background(number)) for number in range(20)]
        await asyncio.sleep(0)
        assert len(tasks) == 20

    begin(body)
    assert order == list(range(20))


def test_r05_clean_up_may_await_steps_and_the_run_goes_on_until_they_are_done() -> None:
    async def body() -> str:
        async def background() -> None:
            try:
                await sleep(1000)
            finally:
                await refund(1)

        asyncio.create_task(background())  # noqa: RUF006
        await charge(1)
        return "done"

    story = begin(body).when(step_completed("charge"))
    assert (names(story.commands), story.outcome) == (["CancelWait", "CallStep refund"], None)
    assert names(story.when(step_completed("refund")).commands) == ["EndRun"]
    assert story.result == "done"


def test_r05_the_outcome_is_fixed_when_the_body_ends() -> None:
    async def body() -> list[int]:
        numbers = [1]

        async def background() -> None:
            try:
                await sleep(1000)
            finally:
                await refund(1)
                numbers.append(2)

        asyncio.create_task(background())  # noqa: RUF006
        await asyncio.sleep(0)
        return numbers

    assert simulate(body).result == [1]


def test_r05_a_step_that_is_cancelled_at_the_end_is_waited_for() -> None:
    async def body() -> str:
        asyncio.create_task(work("background", 50))  # noqa: RUF006
        await charge(1)
        return "done"

    story = begin(body).when(step_completed("charge"))
    assert (story.asked(CancelStep), story.outcome) == ([CancelStep(2)], None)
    assert story.when(step_cancelled("work")).result == "done"


def test_r05_what_a_clean_up_began_is_cancelled_when_the_clean_up_is_done() -> None:
    told: list[str] = []

    async def body() -> None:
        async def forever() -> None:
            try:
                await create_hook()
            finally:
                told.append("ended")

        async def background() -> None:
            try:
                await sleep(1000)
            finally:
                asyncio.create_task(forever())  # noqa: RUF006
                await refund(1)
                told.append("refunded")

        asyncio.create_task(background())  # noqa: RUF006
        await charge(1)

    story = begin(body).when(step_completed("charge"), hook_created())
    assert story.outcome is None
    story.when(step_completed("refund"))
    assert (told, story.result) == (["refunded", "ended"], None)


def test_r05_clean_up_without_end_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive._core.machine.MAX_SWEEPS", 100)

    async def body() -> None:
        async def again() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                asyncio.create_task(again())  # noqa: RUF006

        asyncio.create_task(again())  # noqa: RUF006
        await asyncio.sleep(0)

    with pytest.raises(NeverIdle):
        begin(body)


def test_r05_async_generators_are_closed_at_the_end_and_may_await_steps() -> None:
    async def body() -> str:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await refund(1)

        async for _number in numbers():
            return "done"
        return "none"

    played = simulate(body)
    assert (played.result, [name for _, name, _ in played.ran]) == ("done", ["refund"])


def test_r05_one_generator_that_fails_to_close_does_not_keep_others_from_it() -> None:
    closed: list[int] = []

    async def body() -> None:
        async def numbers(number: int) -> AsyncIterator[int]:
            try:
                yield number
            finally:
                closed.append(number)
                if number == 1:
                    raise ValueError("can't close")

        kept = [numbers(1), numbers(2)]
        for generator in kept:
            await anext(generator)
        closed.clear()

    story = begin(body)
    assert closed == [1, 2]
    assert isinstance(story.outcome, ev.RunCompleted) and "can't close" in story.outcome.unretrieved[0]


def test_r05_an_exception_that_nobody_retrieved_is_logged_once_and_does_not_fail_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> str:
        asyncio.create_task(fail(1))  # noqa: RUF006
        await sleep(5)
        return "done"

    story = begin(body).when(step_failed(error=Refused(1)), wait_completed())
    assert story.result == "done"
    assert isinstance(story.outcome, ev.RunCompleted) and "Refused" in story.outcome.unretrieved[0]
    assert [record.name for record in caplog.records] == ["outlive.run"]
    caplog.clear()
    assert replay(body).given(*story.log[1:]).outcome == story.outcome
    assert caplog.records == []


def test_r05_an_exception_in_a_reference_cycle_is_shown_all_the_same() -> None:
    async def body() -> None:
        class Holder:
            task: asyncio.Task[None]

        holder = Holder()

        async def explode() -> None:
            kept = holder
            raise ValueError(f"kept {kept is holder}")

        holder.task = asyncio.create_task(explode())
        await asyncio.sleep(0)

    gc.disable()
    try:
        story = begin(body)
    finally:
        gc.enable()
    assert isinstance(story.outcome, ev.RunCompleted) and "kept True" in story.outcome.unretrieved[0]


def test_r05_an_exception_that_was_retrieved_is_not_shown() -> None:
    async def body() -> None:
        async def explode() -> None:
            raise ValueError("seen")

        await asyncio.gather(explode(), return_exceptions=True)

    outcome = begin(body).outcome
    assert outcome is not None and outcome.unretrieved == ()


def test_r05_nothing_comes_out_after_the_end() -> None:
    async def body() -> None:
        create_hook()
        await race(charge(1), charge(2), sleep(9))

    story = begin(body).when(hook_created(), step_completed(ref=2))
    assert isinstance(story.commands[-1], EndRun)
    assert story.when(step_completed(ref=3), hook_received("late", ref=1), cancel_requested()).commands == []


def test_r05_system_exit_in_a_body_fails_the_run_and_leaves_the_process_alone() -> None:
    async def body() -> None:
        raise SystemExit(3)

    assert type(begin(body).failure).__name__ in ("SystemExit", "StepError")


def test_r05_system_exit_without_end_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive._core.loop.MAX_CALLBACKS", 1_000)

    async def body() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)
            raise SystemExit

        again()

    with pytest.raises(NeverIdle):
        begin(body)


def test_r05_a_result_that_can_not_be_encoded_fails_the_run() -> None:
    async def body() -> object:
        return object()

    assert isinstance(begin(body).failure, SerializationError)


# --- R7 ---------------------------------------------------------------------------------------------------------------


def test_r07_cancelled_is_asked_for_and_ends_with_cancelled_error() -> None:
    async def body() -> None:
        await sleep(100)

    assert simulate(body, world=World(cancels=[5])).outcome == ev.RunCancelled()


def test_r07_a_cancel_request_wakes_up_any_wait() -> None:
    async def body() -> None:
        await create_hook()

    assert names(begin(body).when(hook_created(), cancel_requested()).commands) == ["EndRun"]


def test_r07_a_returned_value_is_completed_though_a_cancel_was_asked_for() -> None:
    async def body() -> str:
        try:
            await sleep(100)
        except asyncio.CancelledError:
            return "rather not"
        return ""

    assert simulate(body, world=World(cancels=[5])).result == "rather not"


def test_r07_another_exception_is_failed_though_a_cancel_was_asked_for() -> None:
    async def body() -> None:
        try:
            await sleep(100)
        except asyncio.CancelledError:
            raise Refused(1) from None

    assert isinstance(simulate(body, world=World(cancels=[5])).failure, Refused)


def test_r07_a_cancelled_error_that_nobody_asked_for_is_failed() -> None:
    async def body() -> None:
        raise asyncio.CancelledError

    assert isinstance(begin(body).outcome, ev.RunFailed)


def test_r07_a_main_task_that_cancels_itself_is_failed() -> None:
    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await sleep(5)

    assert isinstance(begin(body).outcome, ev.RunFailed)


def test_r07_each_request_cancels_once() -> None:
    async def body() -> int:
        cancels = 0
        while cancels < 3:
            try:
                await sleep(100)
            except asyncio.CancelledError:
                cancels += 1
        return cancels

    assert simulate(body, world=World(cancels=[1, 2, 3])).result == 3


def test_r07_a_cancelled_body_compensates_with_steps() -> None:
    async def body() -> None:
        await charge(1)
        try:
            await sleep(1000)
        except asyncio.CancelledError:
            await refund(1)
            raise

    played = simulate(body, world=World(cancels=[5]))
    assert (played.outcome, [name for _, name, _ in played.ran]) == (ev.RunCancelled(), ["charge", "refund"])


def test_r07_a_request_after_the_body_has_ended_changes_nothing() -> None:
    async def body() -> str:
        asyncio.create_task(work("background", 50))  # noqa: RUF006
        await charge(1)
        return "done"

    story = begin(body).when(step_completed("charge"), cancel_requested(), step_cancelled("work"))
    assert story.result == "done"


def test_r07_a_request_reaches_an_inline_workflow() -> None:
    @workflow
    async def inner() -> str:
        try:
            await sleep(1000)
        except asyncio.CancelledError:
            return "inner stopped"
        return ""

    async def body() -> str:
        return await inner()

    assert simulate(body, world=World(cancels=[5])).result == "inner stopped"


# --- R8 ---------------------------------------------------------------------------------------------------------------


async def countdown(number: int, *, note: str = "") -> str:
    await charge(number)
    if number > 1:
        continue_as_new(number - 1, note="again")
    return "done"


def test_r08_continue_as_new_ends_the_link_with_the_next_ones_input() -> None:
    outcome = simulate(countdown, 3).outcome
    assert isinstance(outcome, ev.RunContinued)
    assert decoded(outcome.input) == {"number": 2, "note": "again"}


def test_r08_positional_and_keyword_forms_continue_alike() -> None:
    async def body(a: int, b: int = 0) -> None:
        continue_as_new(b=2, a=1)

    outcome = begin(body, 9).outcome
    assert isinstance(outcome, ev.RunContinued)
    assert decoded(outcome.input) == {"a": 1, "b": 2}


def test_r08_arguments_that_do_not_fit_are_told_where_they_are_written() -> None:
    async def body(number: int) -> str:
        with pytest.raises(TypeError):
            continue_as_new(1, 2)
        return "still here"

    assert begin(body, 1).result == "still here"


def test_r08_arguments_that_can_not_be_encoded_fail_the_run() -> None:
    async def body(thing: object) -> None:
        continue_as_new(object())

    assert isinstance(begin(body, 1).failure, SerializationError)


def test_r08_no_except_exception_stops_it() -> None:
    async def body(number: int) -> str:
        try:
            continue_as_new(2)
        except Exception:
            return "swallowed"

    assert isinstance(begin(body, 1).outcome, ev.RunContinued)


def test_r08_a_body_that_catches_it_goes_on() -> None:
    async def body(number: int) -> str:
        try:
            continue_as_new(2)
        except BaseException:
            return "changed its mind"

    assert begin(body, 1).result == "changed its mind"


def test_r08_in_another_task_it_is_an_error() -> None:
    async def body(number: int) -> str:
        async def elsewhere() -> None:
            continue_as_new(2)

        try:
            await asyncio.gather(elsewhere())
        except RuntimeError as error:
            return str(error)
        return ""

    assert "main task" in str(begin(body, 1).result)


def test_r08_out_of_a_task_group_it_still_counts() -> None:
    async def body(number: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep(1000))
            await charge(1)
            continue_as_new(2)

    assert isinstance(simulate(body, 1).outcome, ev.RunContinued)


def test_r08_an_inline_workflow_continues_the_run_that_it_is_in() -> None:
    @workflow
    async def inner() -> None:
        continue_as_new(7)

    async def body(number: int) -> None:
        await inner()

    outcome = begin(body, 1).outcome
    assert isinstance(outcome, ev.RunContinued)
    assert decoded(outcome.input) == {"number": 7}


def test_r08_the_link_ends_as_any_body_does() -> None:
    async def body(number: int) -> None:
        async def background() -> None:
            try:
                await sleep(1000)
            finally:
                await refund(1)

        asyncio.create_task(background())  # noqa: RUF006
        await charge(1)
        continue_as_new(2)

    story = begin(body, 1).when(step_completed("charge"))
    assert story.outcome is None
    assert isinstance(story.when(step_completed("refund")).outcome, ev.RunContinued)


def test_r08_a_cancel_request_does_not_make_it_cancelled() -> None:
    async def body(number: int) -> None:
        try:
            await sleep(100)
        except asyncio.CancelledError:
            continue_as_new(2)

    assert isinstance(simulate(body, 1, world=World(cancels=[5])).outcome, ev.RunContinued)


def test_r08_what_nobody_received_for_a_token_of_the_users_goes_on() -> None:
    async def body(number: int) -> None:
        mine, secret = create_hook(token="mine"), create_hook()
        disposed = create_hook(token="disposed")
        await mine
        await charge(1)
        disposed.dispose()
        assert secret.token
        continue_as_new(2)

    story = begin(body, 1).when(hook_created(ref=1), hook_created(ref=2), hook_created(ref=3))
    story.when(*(hook_received(value, ref=ref) for value, ref in (("taken", 1), ("left", 1), ("a", 2), ("b", 3))))
    story.when(step_completed())
    [(token_hash, received)] = story.machine.undelivered()
    assert token_hash == story.command(1).token_hash  # type: ignore[union-attr]
    assert received == story.log[-4].event


def test_r08_a_completed_replay_ends_the_same() -> None:
    story = replay(countdown, 3).given(run_started(), step_completed())
    assert story.outcome is not None
    story.given(stored(story.outcome))


def test_what_a_run_logs_is_not_lost_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        asyncio.get_running_loop().call_soon(int, "not a number")
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        outcome = begin(body).outcome
    assert outcome is not None and "not a number" in outcome.unretrieved[0]
    assert len(caplog.records) == 1
