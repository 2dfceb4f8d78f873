"""When a command begins, what is in it, and which event ends it (R1, R3, R4)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from outlive import create_hook, race, sleep, step
from outlive._core.authoring import StepDecorator
from outlive._core.registry import Registry
from outlive._core.signals import Diverged
from outlive.errors import SerializationError
from outlive.model import events as ev
from outlive.model.commands import CallStep, CancelStep, CancelWait, EndRun, OpenHook, StartWait
from outlive.model.steps import StepOptions
from tests.core.simulate import World, play_hot, simulate
from tests.core.steps import charge, keep, refund, work
from tests.core.story import (
    START,
    begin,
    cancel_requested,
    completed,
    decoded,
    given_to,
    hook_created,
    names,
    replay,
    run_started,
    step_cancelled,
    step_completed,
    step_failed,
    step_retrying,
    step_started,
    stored,
    wait_cancelled,
    wait_completed,
    wait_created,
)


async def buy(amount: int) -> int:
    return await charge(amount)


def test_a_step_that_is_awaited_is_called() -> None:
    [call] = begin(buy, 42).asked(CallStep)
    assert (call.ref, given_to(call)) == (1, {"amount": 42})


def test_a_finished_step_is_not_called_again() -> None:
    story = replay(buy, 42).given(run_started(), step_completed("charge", 43))
    assert story.commands[-1:] == [EndRun(completed(43))]
    assert names(story.open) == []


def test_what_is_open_after_a_replay_is_what_was_asked_for_and_not_ended() -> None:
    async def body() -> None:
        await charge(1)
        await asyncio.gather(charge(2), sleep(5))

    story = replay(body).given(run_started(), step_completed("charge", 1))
    assert names(story.open) == ["CallStep charge", "StartWait"]


# --- R1 ---------------------------------------------------------------------------------------------------------------


def test_r01_a_step_that_is_only_called_has_no_ref() -> None:
    async def body() -> None:
        later = charge(1)
        await refund(2)
        await later

    story = begin(body)
    assert [(call.ref, call.name.rpartition(":")[2]) for call in story.asked(CallStep)] == [(1, "refund")]
    story.when(step_completed("refund"))
    assert [(call.ref, call.name.rpartition(":")[2]) for call in story.asked(CallStep)] == [(2, "charge")]


def test_r01_a_task_takes_its_ref_when_it_runs_and_not_when_it_is_made() -> None:
    async def body() -> None:
        task = asyncio.create_task(charge(1))
        await refund(2)
        await task

    assert names(begin(body).commands) == ["CallStep refund", "CallStep charge"]


def test_r01_a_hook_takes_its_ref_when_it_is_created() -> None:
    async def body() -> None:
        task = asyncio.create_task(charge(1))
        create_hook()
        await task

    assert names(begin(body).commands) == ["OpenHook", "CallStep charge"]


def test_r01_a_sleep_begins_when_it_is_awaited() -> None:
    async def body() -> None:
        nap = sleep(10)
        await charge(1)
        await nap

    story = begin(body)
    assert names(story.commands) == ["CallStep charge"]
    [wait] = story.later(100).when(step_completed("charge")).asked(StartWait)
    assert wait.due == story.time + 10


@step
async def many(a: int, b: int = 2, *rest: int, c: int = 3, **named: int) -> None: ...


def forms() -> dict[str, object]:
    return {
        "positional": lambda: many(1, 5),
        "keyword": lambda: many(b=5, a=1),
        "mixed": lambda: many(1, b=5),
    }


@pytest.mark.parametrize("form", ["keyword", "mixed"])
def test_r01_positional_and_keyword_forms_are_one_call(form: str) -> None:
    async def body(form: str) -> None:
        await forms()[form]()  # type: ignore[operator]

    digests = {begin(body, each).asked(CallStep)[0].digest for each in ("positional", form)}
    assert len(digests) == 1


def test_r01_defaults_are_not_filled_in() -> None:
    async def body() -> None:
        await many(1)

    assert given_to(begin(body).asked(CallStep)[0]) == {"a": 1}


def test_r01_a_call_logged_before_a_parameter_was_added_still_matches() -> None:
    old = play_hot(buy, 42)

    async def charged(amount: int, currency: str = "EUR", note: str = "") -> int:
        return amount

    newer = StepDecorator(charge.name, StepOptions(), Registry())(charged)

    async def same_body(amount: int) -> int:
        return await newer(amount=amount)

    assert replay(same_body, 42).given(*old.log[1:]).result == 42


@step
def odd(first: int, /, second: int = 0, *rest: int, only: str = "", **named: object) -> object:
    return first, second, rest, only, named


@pytest.mark.parametrize(
    "arguments",
    [
        ((1,), {}),
        ((1, 2), {}),
        ((1, 2, 3, 4), {}),
        ((1,), {"second": 2, "only": "x"}),
        ((1, 2, 3), {"only": "x", "first": "a name of its own", "*rest": 1}),
    ],
)
def test_r01_a_step_gets_what_it_was_called_with(arguments: tuple[tuple[int, ...], dict[str, object]]) -> None:
    args, kwargs = arguments
    spread = odd.binder.spread(odd.binder.bind(args, kwargs))
    assert odd.fn(*spread[0], **spread[1]) == odd.fn(*args, **kwargs)


def test_r01_a_call_that_does_not_fit_raises_where_it_is_awaited_and_takes_no_ref() -> None:
    async def body() -> str:
        with pytest.raises(TypeError, match="charge"):
            await charge()  # type: ignore[call-arg]
        return await work("next")

    [call] = begin(body).asked(CallStep)
    assert call.ref == 1


def test_r01_a_call_that_can_not_be_encoded_says_where_and_takes_no_ref() -> None:
    async def body() -> str:
        with pytest.raises(SerializationError, match=r"keep\['value'\]\[1\]|keep\.value"):
            await keep([1, object()])
        return await work("next")

    [call] = begin(body).asked(CallStep)
    assert call.ref == 1


def test_r01_later_mutation_has_no_effect() -> None:
    async def body() -> object:
        basket = ["book"]
        task = asyncio.create_task(keep(basket))
        await asyncio.sleep(0)
        basket.append("pen")
        return await task

    [call] = begin(body).asked(CallStep)
    assert given_to(call) == {"value": ["book"]}
    assert simulate(body).result == ["book"]


def test_r01_scalars_go_along_undecoded_and_nothing_else_does() -> None:
    async def body() -> None:
        await asyncio.gather(keep(1), keep([1]))

    assert [call.arguments for call in begin(body).asked(CallStep)] == [{"value": 1}, None]


def test_r01_a_step_cancelled_in_the_activation_that_issued_it_says_so_in_the_same_breath() -> None:
    async def body() -> None:
        task = asyncio.create_task(charge(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    story = begin(body)
    assert names(story.commands) == ["CallStep charge", "CancelStep"]
    assert simulate(body).ran == []


def test_r01_a_task_cancelled_before_it_was_driven_issues_nothing() -> None:
    async def body() -> None:
        task = asyncio.create_task(charge(1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert names(begin(body).commands) == ["EndRun"]


def test_r01_refs_are_dense_and_in_the_order_of_issue() -> None:
    async def body() -> None:
        create_hook()
        await asyncio.gather(charge(1), sleep(5), asyncio.sleep(6), race(refund(1), sleep(9)))

    commands = begin(body).commands
    assert [command.ref for command in commands if not isinstance(command, EndRun)] == [1, 2, 3, 4, 5, 6]  # type: ignore[union-attr]


@dataclass
class Account:
    number: int

    @step
    async def close(self, reason: str) -> int:
        return self.number


def test_r01_a_method_carries_its_object() -> None:
    async def body() -> int:
        return await Account(7).close("done")

    assert given_to(begin(body).asked(CallStep)[0]) == {"self": Account(7), "reason": "done"}
    assert simulate(body).result == 7


# --- R3 ---------------------------------------------------------------------------------------------------------------


async def first_of_two() -> str:
    return await race(work("slow", 9), work("fast", 1))


def test_r03_an_event_whose_awaiter_is_gone_is_a_no_op_that_moves_the_clock() -> None:
    async def body() -> float:
        await race(sleep(10), charge(1))
        await charge(2)
        return asyncio.get_running_loop().time()

    story = begin(body).when(wait_created(), step_completed())
    # the wait was withdrawn, but its end was already on its way into the log
    story.when(wait_completed())
    assert story.commands == []
    assert story.when(step_completed()).result == story.time == START + 10


def test_r03_an_event_after_the_end_of_the_body_is_a_no_op() -> None:
    story = begin(first_of_two).when(step_completed(ref=2, result="fast"))
    outcome = story.outcome
    story.when(step_completed(ref=1, result="slow"))
    assert (story.commands, story.outcome) == ([], outcome)


def test_r03_replay_takes_an_event_after_the_end_as_live_does() -> None:
    story = begin(first_of_two).when(step_completed(ref=2, result="fast"), step_completed(ref=1, result="slow"))
    assert replay(first_of_two).given(*story.log[1:], stored(completed("fast"))).result == "fast"


def test_r03_a_second_terminal_event_for_a_ref_wakes_nobody() -> None:
    async def body() -> list[int]:
        return [await charge(1), await charge(2)]

    story = begin(body).when(step_completed(result=1))
    again = story.log[-1].event
    story.when(again)
    assert story.commands == []
    assert story.when(step_completed(result=2)).result == [1, 2]


def test_r03_cancelling_a_step_that_has_ended_asks_for_nothing() -> None:
    async def body() -> None:
        task = asyncio.create_task(charge(1))
        await sleep(5)
        task.cancel()

    story = begin(body).when(step_completed(), wait_completed())
    assert names(story.commands) == ["EndRun"]


def test_r03_cancelling_a_wait_twice_asks_once() -> None:
    async def body() -> None:
        handle = asyncio.get_running_loop().call_later(5, print)
        handle.cancel()
        handle.cancel()
        await charge(1)

    assert names(begin(body).commands) == ["StartWait", "CancelWait", "CallStep charge"]


def test_r03_an_event_for_a_ref_that_was_never_issued_diverges() -> None:
    story = begin(buy, 1)
    call = story.asked(CallStep)[0]
    stray = ev.StepCompleted(ref=2, name=call.name, digest=call.digest, result=ev.NOTHING, started=0.0)
    with pytest.raises(Diverged, match="command 2"):
        story.when(stray)


def test_r03_an_event_for_a_ref_issued_as_something_else_diverges() -> None:
    with pytest.raises(Diverged, match=r"a sleep of 1\.0 s as command 1"):
        begin(buy, 1).when(ev.WaitCompleted(ref=1, kind="sleep", delay=1.0, due=1.0))


def test_r03_a_divergence_changes_nothing() -> None:
    story = begin(buy, 1)
    with pytest.raises(Diverged):
        story.when(ev.WaitCompleted(ref=1, kind="sleep", delay=1.0, due=1.0))
    assert story.when(step_completed(result=5)).result == 5


# --- R4 ---------------------------------------------------------------------------------------------------------------


def test_r04_echoes_are_matched_and_not_delivered() -> None:
    async def body() -> str:
        hook = create_hook()
        return await race(work("w"), sleep(5), hook)

    story = begin(body).when(hook_created(), wait_created(), step_started(), step_retrying(), step_started(attempt=2))
    assert (story.commands, story.outcome) == ([], None)


def test_r04_an_echo_is_held_against_the_code_too() -> None:
    with pytest.raises(Diverged):
        begin(buy, 1).when(ev.StepStarted(ref=1, name="another", digest="", attempt=1))


def test_r04_what_is_known_of_an_attempt_is_there_after_a_replay() -> None:
    story = begin(buy, 1).when(step_started(), step_retrying(after=7))
    kept = replay(buy, 1).given(*story.log[1:]).machine.open[1]
    assert (kept.attempt, kept.retry_at, kept.recorded) == (2, story.time + 7, None)
    kept = replay(buy, 1).given(*story.log[1:3]).machine.open[1]
    assert (kept.attempt, kept.retry_at, kept.recorded) == (1, None, 0.0)


def test_r04_the_due_time_in_the_log_is_the_one_that_counts() -> None:
    story = begin(sleeping).when(wait_created(later=100))
    assert story.machine.open[1].recorded == story.time + 10 + 100


async def sleeping() -> None:
    await sleep(10)


def test_r04_a_wait_that_was_cancelled_in_the_log_is_not_open() -> None:
    async def body() -> None:
        await race(sleep(10), charge(1))
        await charge(2)

    story = begin(body).when(wait_created(), step_completed())
    assert [type(command) for command in story.commands] == [CancelWait, CallStep]
    assert names(story.when(wait_cancelled()).open) == ["CallStep charge"]


def test_a_failed_step_raises_where_it_is_awaited() -> None:
    async def body() -> str:
        try:
            await charge(1)
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    assert begin(body).when(step_failed(error=ValueError("declined"))).result == "caught declined"


def test_a_cancelled_step_raises_cancelled_error() -> None:
    async def body() -> str:
        task = asyncio.create_task(charge(1))
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else "not"

    assert begin(body).when(step_cancelled()).result == "cancelled"


def test_two_branches_get_their_own_results_whatever_the_order_of_their_ends() -> None:
    async def body() -> list[str]:
        async def branch(label: str, seconds: float) -> str:
            return f"{label}={await work(label, seconds)}"

        return await asyncio.gather(branch("a", 3), branch("b", 2), branch("c", 1))

    played = simulate(body)
    assert played.result == ["a=a", "b=b", "c=c"]
    assert played.told[2:5] == ["step_completed 3 work", "step_completed 2 work", "step_completed 1 work"]


def test_two_branches_with_the_very_same_call_get_their_own_results() -> None:
    async def body() -> list[int]:
        return await asyncio.gather(charge(1), charge(1))

    story = begin(body).when(step_completed(ref=2, result=20), step_completed(ref=1, result=10))
    assert story.result == [10, 20]
    assert replay(body).given(*story.log[1:]).result == [10, 20]


def test_a_run_may_ask_for_nothing() -> None:
    async def body() -> str:
        return "done"

    assert begin(body).commands == [EndRun(completed("done"))]


def test_values_are_delivered_as_a_store_gives_them_back() -> None:
    async def body() -> bool:
        given = [1, 2]
        back = await keep(given)
        return back == given and back is not given

    assert simulate(body).result is True


def test_a_cancel_request_in_the_log_is_replayed() -> None:
    async def body() -> str:
        try:
            await sleep(100)
        except asyncio.CancelledError:
            return await work("clean-up")
        return ""

    assert simulate(body, world=World(cancels=[5])).result == "clean-up"
    assert names(replay(body).given(run_started(), cancel_requested()).open) == ["StartWait", "CallStep work"]


def test_a_hook_and_a_step_may_share_a_name_with_nothing() -> None:
    async def body() -> None:
        create_hook(token="charge")
        await charge(1)

    hook, call = begin(body).commands
    assert isinstance(hook, OpenHook) and isinstance(call, CallStep)
    assert decoded(call.input) == {"amount": 1}
    assert CancelStep(1) != CancelWait(1)
