"""``race`` in all its edges (R2)."""

from __future__ import annotations

import asyncio

import pytest

from outlive import create_hook, race, sleep, workflow
from outlive._core import others
from outlive._core.context import required
from outlive.errors import PayloadInvalid
from outlive.model.commands import CallStep, CancelStep, CancelWait, UnwatchRun, WatchRun
from outlive.model.events import Payload
from outlive.model.ids import RunId
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, charge, fail, work
from tests.core.story import (
    begin,
    call_completed,
    hook_conflict,
    hook_created,
    hook_received,
    names,
    payload_received,
    step_completed,
    wait_completed,
    wait_created,
)


def test_r02_the_first_to_settle_decides() -> None:
    async def body() -> str:
        return await race(work("slow", 3), work("fast", 1), work("middle", 2))

    assert simulate(body).result == "fast"


def test_r02_log_order_decides_and_not_the_order_of_arguments() -> None:
    async def body() -> str:
        return await race(work("first"), work("second"))

    assert (
        begin(body).when(step_completed(ref=2, result="second"), step_completed(ref=1, result="first")).result
        == "second"
    )


def test_r02_named_contestants_say_who_won() -> None:
    async def body() -> tuple[str, str]:
        return await race(payment=work("paid", 5), deadline=sleep(2, "late"))

    assert simulate(body).result == ("deadline", "late")


def test_r02_an_exception_wins_like_a_value() -> None:
    async def body() -> str:
        try:
            await race(fail(3, 1), work("slow", 9))
        except Refused as refused:
            return f"refused {refused.amount}"
        return "not refused"

    assert simulate(body).result == "refused 3"


def test_r02_a_named_exception_wins_too() -> None:
    async def body() -> None:
        await race(bad=fail(3, 1), good=work("slow", 9))

    assert isinstance(simulate(body).failure, Refused)


def test_r02_a_winner_that_was_cancelled_cancels_the_race() -> None:
    async def body() -> str:
        task = asyncio.create_task(sleep(10))
        asyncio.get_running_loop().call_later(1, task.cancel)
        try:
            await race(task, sleep(5))
        except asyncio.CancelledError:
            return "cancelled"
        return "not cancelled"

    assert simulate(body).result == "cancelled"


def test_r02_one_contestant_is_a_race_too() -> None:
    async def body() -> tuple[str, str]:
        return await race(only=work("w"))

    assert simulate(body).result == ("only", "w")


def test_r02_a_race_of_nobody_is_an_error_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="needs something"):
        race()


def test_r02_a_race_of_named_and_unnamed_is_an_error_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="not both"):
        race(1, a=2)  # type: ignore[call-overload]


# --- losers ------------------------------------------------------------------------------------------------------------


def test_r02_a_losing_sleep_is_withdrawn() -> None:
    async def body() -> str:
        return await race(work("w"), sleep("1 day"))

    story = begin(body).when(wait_created(), step_completed())
    assert names(story.commands) == ["CancelWait", "EndRun"]


def test_r02_a_losing_sleep_costs_no_time() -> None:
    async def body() -> str:
        return await race(work("w", 1), sleep("1 day"))

    assert simulate(body).took == 1


def test_r02_a_losing_result_is_no_longer_watched() -> None:
    async def body() -> str:
        return await race(work("w"), others.watch(required("a test"), RunId("other")))

    story = begin(body)
    assert story.asked(WatchRun) == [WatchRun(2, RunId("other"))]
    assert story.when(step_completed()).asked(UnwatchRun) == [UnwatchRun(2)]


def test_r02_a_losing_conflict_leaves_the_hook_alone() -> None:
    async def body() -> str:
        hook = create_hook(token="mine")
        await race(work("w"), hook.conflict())
        return await hook

    story = begin(body).when(step_completed(), hook_created(), hook_received("payload"))
    assert story.result == "payload"


def test_r02_a_losing_step_runs_on_and_its_outcome_is_discarded() -> None:
    async def body() -> str:
        await race(work("slow", 5), sleep(1))
        return await work("after", 10)

    played = simulate(body)
    assert [name for _, name, _ in played.ran] == ["work", "work"]
    assert played.result == "after"
    assert "step_cancelled" not in " ".join(played.told)


def test_r02_a_losing_step_that_fails_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> str:
        await race(fail(1, 5), sleep(1))
        return await work("after", 10)

    played = simulate(body)
    assert played.outcome is not None and played.outcome.unretrieved == ()
    assert caplog.records == []


def test_r02_a_step_that_fails_at_the_same_moment_makes_no_noise() -> None:
    async def body() -> str:
        async def explode() -> None:
            raise ValueError("too late")

        async def win() -> str:
            return "won"

        return await race(win(), explode())

    played = simulate(body)
    assert played.result == "won"
    assert played.outcome is not None and played.outcome.unretrieved == ()


def test_r02_a_losing_coroutine_runs_on_in_the_background() -> None:
    async def body() -> list[str]:
        done: list[str] = []

        async def errand() -> None:
            done.append(await work("errand", 5))

        await race(errand(), sleep(1))
        await sleep(10)
        return done

    assert simulate(body).result == ["errand"]


def test_r02_what_a_losing_coroutine_awaits_is_its_own() -> None:
    async def body() -> list[str]:
        got: list[str] = []
        hook = create_hook()

        async def listen() -> None:
            got.append(await hook)

        await race(listen(), sleep(1))
        await sleep(10)
        return got

    assert simulate(body, world=World(payloads=[(5, "hello")])).result == ["hello"]


def test_r02_a_losing_task_is_not_touched() -> None:
    async def body() -> str:
        task = asyncio.create_task(sleep(5, "slept"))
        await race(task, sleep(1))
        return await task

    assert simulate(body).result == "slept"


def test_r05_the_end_does_not_wait_for_a_step_that_lost_a_race() -> None:
    async def body() -> str:
        return await race(work("slow", 99), sleep(1, "late"))

    played = simulate(body, world=World(lingers=50))
    assert (played.result, played.took) == ("late", 1)
    assert played.told[-2:] == ["step_cancelled 1 work", "run_completed"]


def test_r05_a_step_that_lost_a_race_is_not_asked_to_stop() -> None:
    async def body() -> str:
        return await race(work("slow", 99), sleep(1, "late"))

    story = begin(body).when(wait_completed())
    assert names(story.commands) == ["EndRun"]
    assert [type(command) for command in story.open] == [CallStep]


def test_r05_a_step_inside_a_coroutine_that_lost_is_cancelled_with_it() -> None:
    async def body() -> str:
        async def wrapped() -> str:
            return await work("slow", 99)

        return await race(wrapped(), sleep(1, "late"))

    assert names(begin(body).when(wait_completed()).commands) == ["CancelStep"]


# --- payloads ----------------------------------------------------------------------------------------------------------


def test_r02_a_hook_itself_is_a_contestant() -> None:
    async def body() -> tuple[str, object]:
        return await race(payment=create_hook(), deadline=sleep(10))

    assert simulate(body, world=World(payloads=[(3, "paid")])).result == ("payment", "paid")


def test_r02_a_hook_that_lost_stays_open_and_loses_nothing() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        return [await race(hook, sleep(1, "late")), await hook, await hook]

    assert simulate(body, world=World(payloads=[(3, "a"), (4, "b")])).result == ["late", "a", "b"]


def test_r02_a_buffered_payload_loses_to_an_earlier_contestant_and_stays() -> None:
    async def body() -> list[object]:
        one, two = create_hook(), create_hook()
        await sleep(5)
        return [await race(one, two), await two]

    assert simulate(body, world=World(payloads=[(1, "two", 2), (2, "one", 1)])).result == ["one", "two"]


def test_r02_of_one_hook_three_times_one_payload_is_taken_and_order_is_kept() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        await sleep(5)
        return [await race(hook, hook, hook), await hook, await hook, await hook]

    world = World(payloads=[(1, "a"), (2, "b"), (3, "c"), (4, "d")])
    assert simulate(body, world=world).result == ["a", "b", "c", "d"]


def test_r02_a_payload_given_back_goes_to_who_waits_already() -> None:
    async def body() -> list[object]:
        one, two = create_hook(), create_hook()
        await sleep(5)
        racing = asyncio.create_task(race(one, two))
        waiting = asyncio.create_task(two.receive())
        return [await racing, await waiting]

    assert simulate(body, world=World(payloads=[(1, "one"), (2, "two", 2)])).result == ["one", "two"]


def test_r02_a_payload_that_comes_after_the_race_goes_to_the_next_await() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        return [await race(work("w", 1), hook), await hook]

    story = begin(body).when(hook_created(), step_completed(result="w"), hook_received("later"))
    assert story.result == ["w", "later"]


def test_r02_an_unfit_payload_of_a_loser_is_not_consumed_either() -> None:
    async def body() -> tuple[object, str]:
        one, two = create_hook(), create_hook(int)
        await charge(1)
        won = await race(one, two)
        try:
            await two
        except PayloadInvalid:
            return won, "still unfit"
        return won, "gone"

    story = begin(body).when(
        hook_created(ref=1),
        hook_created(ref=2),
        hook_received("fine", ref=1),
        payload_received(Payload("application/json", text='"x"'), ref=2),
        step_completed("charge"),
    )
    assert story.result == ("fine", "still unfit")


def test_r02_an_unfit_payload_wins_as_an_exception() -> None:
    async def body() -> str:
        hook = create_hook(int)
        try:
            await race(hook, sleep(5))
        except PayloadInvalid:
            return str(await hook)
        return "no"

    story = begin(body).when(hook_created(), hook_received("x"), hook_received(5))
    assert story.result == "5"


def test_r02_a_conflict_wins_as_an_exception() -> None:
    async def body() -> None:
        await race(create_hook(token="theirs"), sleep(5))

    story = begin(body).when(hook_conflict("them"))
    assert "them" in str(story.failure)


# --- cancelling the race -----------------------------------------------------------------------------------------------


def test_r02_cancelling_the_race_cancels_all() -> None:
    async def body() -> str:
        hook = create_hook()
        racing = asyncio.create_task(race(work("w", 50), sleep(60), hook))
        await charge(1)
        racing.cancel()
        await asyncio.wait([racing])
        return f"{racing.cancelled()}"

    story = begin(body).when(hook_created(), step_completed("charge"))
    assert story.asked(CancelStep) and story.asked(CancelWait)
    assert simulate(body, world=World(lingers=2)).result == "True"


def test_r02_a_cancelled_race_is_over_when_its_steps_are() -> None:
    async def body() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(5):
                await race(work("w", 50), work("v", 60))
        except TimeoutError:
            pass
        return loop.time() - begun

    assert simulate(body, world=World(lingers=3)).result == 8


def test_r02_a_cancelled_race_gives_back_what_it_had_received() -> None:
    async def body() -> object:
        hook = create_hook()
        await charge(1)
        racing = asyncio.create_task(race(hook, sleep(60)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the payload is in the race's hands, which has not woken up yet
        racing.cancel()
        await asyncio.wait([racing])
        return [racing.cancelled(), await race(hook, sleep(1, "lost"))]

    story = begin(body).when(hook_created(), hook_received("kept"), step_completed("charge"))
    assert story.result == [True, "kept"]


def test_r02_a_payload_given_back_to_one_who_leaves_goes_on_to_the_next() -> None:
    async def body() -> list[object]:
        one, two = create_hook(), create_hook()
        await sleep(5)
        waiting: list[asyncio.Task[object]] = []

        def wait() -> None:
            waiting.append(asyncio.create_task(two.receive()))

        asyncio.get_running_loop().call_soon(wait)  # it comes after the race has taken both payloads
        first = await race(one, two)
        waiting[0].cancel()  # it was given the second one just now, and has not woken up yet
        return [first, await race(two, sleep(1, "lost"))]

    assert simulate(body, world=World(payloads=[(1, "one"), (2, "two", 2)])).result == ["one", "two"]


@pytest.mark.parametrize("turns", range(1, 6))
def test_r02_whenever_the_race_is_cancelled_the_payload_is_somewhere(turns: int) -> None:
    async def body() -> list[object]:
        hook = create_hook()
        await charge(1)
        racing = asyncio.create_task(race(hook, sleep(60)))
        for _ in range(turns):
            await asyncio.sleep(0)
        racing.cancel()
        won = await asyncio.gather(racing, return_exceptions=True)
        left = await race(hook, sleep(1, "nothing"))
        return [payload for payload in (*won, left) if payload == "payload"]

    assert simulate(body, world=World(payloads=[(0.5, "payload")])).result == ["payload"]


@pytest.mark.parametrize("turns", range(4))
def test_r02_whenever_a_receiver_is_cancelled_the_payload_is_somewhere(turns: int) -> None:
    async def body() -> list[object]:
        hook, gate = create_hook(), create_hook()
        receiving = asyncio.create_task(hook.receive())
        await gate
        for _ in range(turns):
            await asyncio.sleep(0)
        receiving.cancel()
        got = await asyncio.gather(receiving, return_exceptions=True)
        left = await race(hook, sleep(1, "nothing"))
        return [payload for payload in (*got, left) if payload == "payload"]

    assert simulate(body, world=World(payloads=[(1, "go", 2), (1, "payload", 1)])).result == ["payload"]


def test_r02_a_race_within_a_race() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        first = await race(race(hook, sleep(50, "inner")), sleep(5, "outer"))
        return [first, await hook]

    # the inner race is a coroutine: it runs on, and what it awaits is its own
    played = simulate(body, world=World(payloads=[(6, "inner's"), (7, "mine")]))
    assert played.result == ["outer", "mine"]


def test_r02_a_race_in_an_inline_workflow() -> None:
    @workflow
    async def inner() -> str:
        return await race(work("slow", 9), sleep(1, "late"))

    async def body() -> str:
        return await inner()

    assert simulate(body).result == "late"


def test_r02_many_races_against_one_hook_leave_no_receivers_behind() -> None:
    async def body() -> int:
        hook = create_hook()
        for _ in range(20):
            await race(hook, sleep(1))
        await asyncio.sleep(0)  # the last loser leaves
        return len(hook._receivers)

    assert simulate(body).result == 0


def test_r02_a_race_outside_of_a_run_is_plain_asyncio() -> None:
    async def quick() -> str:
        return "quick"

    async def main() -> str:
        return await race(quick(), asyncio.Event().wait())  # type: ignore[return-value]

    assert asyncio.run(main()) == "quick"


def test_r02_what_is_sent_by_a_loser_is_sent() -> None:
    async def body() -> str:
        return await race(work("w"), others.send(required("a test"), "token", "payload"))

    story = begin(body)
    assert names(story.commands) == ["CallStep work", "SendToHook"]
    assert story.when(step_completed(result="w"), call_completed()).result == "w"
