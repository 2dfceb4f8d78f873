"""Exceptions that cross between step, body and process (R12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import Raw

from outlive._core import others
from outlive._core.context import required
from outlive._core.dropping import drop
from outlive._core.signals import Discarded, Undecodable
from outlive.errors import StepError
from outlive.model import events as ev
from outlive.model.commands import CallStep
from outlive.model.ids import RunId
from tests.core.simulate import simulate
from tests.core.steps import Refused, charge, fail, work
from tests.core.story import begin, child_completed, replay, run_started, step_completed, step_failed


async def pay() -> str:
    try:
        await charge(1)
    except Refused as refused:
        return f"refused {refused.amount}"
    except StepError as error:
        return f"{error.type_name}: {error.message}"
    return "paid"


def test_r12_an_exception_arrives_as_its_own_type() -> None:
    assert begin(pay).when(step_failed(error=Refused(7))).result == "refused 7"


def test_r12_one_that_nobody_knows_arrives_as_step_error() -> None:
    class Private(Exception):
        pass

    text = str(begin(pay).when(step_failed(error=Private("secret"))).result)
    assert text.endswith("Private: secret")


def test_r12_it_arrives_the_same_on_replay() -> None:
    async def body() -> str:
        try:
            await fail(3)
        except Refused as refused:
            return f"refused {refused.amount}"
        return "no"

    assert simulate(body).result == "refused 3"


def test_r12_an_exception_group_is_caught_by_its_parts() -> None:
    async def body() -> list[str]:
        caught: list[str] = []
        try:
            await charge(1)
        except* Refused as refused:
            caught += [str(error) for error in refused.exceptions]
        except* ValueError as invalid:
            caught += [str(error) for error in invalid.exceptions]
        return caught

    group = ExceptionGroup("both", [Refused(1), ValueError("bad")])
    assert begin(body).when(step_failed(error=group)).result == ["1 is too much", "bad"]


@pytest.mark.parametrize(
    "error", [StopIteration("x"), KeyError("x"), TimeoutError("x"), OSError(5, "x"), AssertionError()]
)
def test_r12_any_exception_can_be_delivered(error: Exception) -> None:
    async def body() -> bool:
        try:
            await charge(1)
        except (Exception, StepError):
            return True
        return False

    assert begin(body).when(step_failed(error=error)).result is True


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep")])
def test_r12_a_step_that_ran_out_of_memory_fails_its_run_like_any_other(error: Exception) -> None:
    async def body() -> None:
        await charge(1)

    story = begin(body).when(step_failed(error=error))
    assert isinstance(story.outcome, ev.RunFailed)
    assert isinstance(replay(body).given(*story.log[1:]).outcome, ev.RunFailed)


def test_r12_also_out_of_a_task_group() -> None:
    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(charge(1))

    assert isinstance(begin(body).when(step_failed(error=MemoryError())).outcome, ev.RunFailed)


def out_of_memory() -> None:
    raise MemoryError


def too_deep() -> None:
    def deeper() -> None:
        deeper()

    deeper()


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("accident", [out_of_memory, too_deep, interrupted])
def test_r12_an_activation_that_meets_the_end_of_the_process_is_discarded(accident: Callable[[], None]) -> None:
    async def body() -> None:
        await charge(1)
        accident()

    with pytest.raises(Discarded):
        begin(body).when(step_completed())


@pytest.mark.parametrize("accident", [out_of_memory, too_deep, interrupted])
def test_r12_also_in_another_task_that_is_gathered(accident: Callable[[], None]) -> None:
    async def body() -> str:
        async def elsewhere() -> None:
            accident()

        await asyncio.gather(elsewhere(), return_exceptions=True)
        return "never recorded"

    with pytest.raises(Discarded):
        begin(body)


@pytest.mark.parametrize("accident", [out_of_memory, too_deep])
def test_r12_also_in_a_task_group(accident: Callable[[], None]) -> None:
    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(charge(1))
            accident()

    with pytest.raises(Discarded):
        begin(body).when(step_completed())


def test_r12_a_discarded_run_can_be_dropped_and_replayed() -> None:
    weather = ["bad"]

    async def body() -> str:
        label = await work("w")
        if weather:
            raise KeyboardInterrupt
        return label

    story = begin(body)
    with pytest.raises(Discarded):
        story.when(step_completed("work", "fine"))
    drop(story.machine)
    weather.clear()
    assert replay(body).given(*story.log[1:]).result == "fine"


def test_r12_an_interrupt_does_not_reach_the_worker() -> None:
    async def body() -> None:
        raise KeyboardInterrupt

    with pytest.raises(Discarded) as caught:
        begin(body)
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)


def test_r12_a_base_exception_fails_the_run() -> None:
    class Stop(BaseException):
        pass

    async def body() -> None:
        raise Stop("it")

    assert isinstance(begin(body).outcome, ev.RunFailed)


def test_r12_generator_exit_from_a_body_fails_the_run() -> None:
    async def body() -> None:
        raise GeneratorExit

    assert isinstance(begin(body).outcome, ev.RunFailed)


def test_r12_stop_iteration_from_a_body_fails_the_run() -> None:
    async def body() -> None:
        raise StopIteration

    assert isinstance(begin(body).outcome, ev.RunFailed)


def test_r12_a_recorded_value_that_can_not_be_rebuilt_is_told_apart_from_a_failure() -> None:
    story = replay(pay).given(run_started())
    call = story.find(CallStep, "charge", None)
    broken = ev.StepCompleted(
        ref=1, name=call.name, digest=call.digest, result=Raw(b'{"$t":"never heard of","v":1}'), started=0.0
    )
    with pytest.raises(Undecodable):
        story.given(broken)


def test_r12_so_is_an_exception_whose_type_is_gone() -> None:
    story = replay(pay).given(run_started())
    call = story.find(CallStep, "charge", None)
    broken = ev.StepFailed(ref=1, name=call.name, digest=call.digest, error=Raw(b'"no exception"'), started=0.0)
    with pytest.raises(Undecodable):
        story.given(broken)


def test_r12_so_is_the_result_of_another_run() -> None:
    async def body() -> object:
        return await others.watch(required("a test"), RunId("other"))

    with pytest.raises(Undecodable):
        begin(body).when(child_completed(outcome=Raw(b'{"$t":"never heard of","v":1}')))


def test_r12_and_an_input_that_can_not_be_rebuilt() -> None:
    story = replay(pay)
    story.machine._created = ev.RunCreated(
        workflow="w", input=Raw(b'{"$t":"never heard of","v":1}'), seed="00", engine=1, python="", hash_seed=""
    )
    with pytest.raises(Undecodable):
        story.given(run_started())
