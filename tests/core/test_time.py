"""One clock, which is the log's (R14)."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from outlive import create_hook, get_workflow_metadata, now, race, sleep
from outlive.model import events as ev
from outlive.model.commands import StartWait
from outlive.model.durations import FOREVER
from outlive.model.events import Recorded
from tests.core.simulate import World, simulate
from tests.core.steps import charge, work
from tests.core.story import (
    START,
    begin,
    cancel_requested,
    hook_created,
    hook_received,
    names,
    replay,
    run_started,
    step_completed,
    wait_completed,
    wait_created,
)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def test_r14_now_is_the_time_of_the_log_aware_and_in_utc() -> None:
    async def body() -> list[datetime]:
        begun = now()
        await work("w", 5)
        return [begun, now()]

    assert simulate(body).result == [at(0), at(5)]


def test_r14_now_stands_still_within_an_activation() -> None:
    async def body() -> bool:
        before = now()
        for _ in range(100):
            await asyncio.sleep(0)
        return now() == before

    assert begin(body).result is True


def test_r14_loop_time_is_the_same_clock() -> None:
    async def body() -> float:
        await sleep(3)
        return asyncio.get_running_loop().time() - now().timestamp()

    assert simulate(body).result == 0


def test_r14_time_never_goes_back() -> None:
    async def body() -> list[datetime]:
        return [now(), *[(await charge(1), now())[1] for _ in range(2)]]

    story = begin(body).later(10).when(step_completed())
    behind = Recorded(9, START + 4, story.log[-1].event)
    again = replay(body).given(*story.log[1:]).machine
    call = again.open[2].command
    again.activate(
        Recorded(
            9, START + 4, ev.StepCompleted(ref=2, name=call.name, digest=call.digest, result=ev.NOTHING, started=0.0)
        )
    )  # type: ignore[union-attr]
    assert behind.time < again.loop.time() == START + 10


def test_r14_a_wait_is_due_at_log_time_of_issue_plus_delay() -> None:
    async def body() -> None:
        await charge(1)
        await sleep("1 day")

    [wait] = begin(body).later(100).when(step_completed()).asked(StartWait)
    assert (wait.delay, wait.due) == (86400.0, START + 100 + 86400)


def test_r14_a_fired_sleep_sets_the_clock_to_its_due_time() -> None:
    async def body() -> datetime:
        await sleep(60)
        return now()

    story = begin(body)
    early = Recorded(3, START, ev.WaitCompleted(ref=1, kind="sleep", delay=60.0, due=START + 60))
    assert story.when(early).result == at(60)


def test_r14_a_fired_timer_sets_the_clock_to_its_when() -> None:
    async def body() -> datetime:
        await asyncio.sleep(60)
        return now()

    early = Recorded(3, START, ev.WaitCompleted(ref=1, kind="timer", delay=60.0, due=START + 60))
    assert begin(body).when(early).result == at(60)


def test_r14_a_wait_that_was_recorded_afresh_keeps_the_later_time() -> None:
    async def body() -> datetime:
        await sleep(60)
        return now()

    story = begin(body).when(wait_created(later=1000))
    late = Recorded(4, START + 1060, ev.WaitCompleted(ref=1, kind="sleep", delay=60.0, due=START + 1060))
    assert story.when(late).result == at(1060)


def test_r38_a_woken_sleep_does_not_move_the_clock_to_where_it_would_have_ended() -> None:
    async def body() -> datetime:
        await sleep("1 day")
        await sleep(60)
        return now()

    story = begin(body).later(5).when(wait_completed(woken=True))
    assert story.asked(StartWait)[0].due == START + 65
    assert story.when(wait_completed()).result == at(65)


def test_r14_started_at_is_when_the_body_began() -> None:
    async def body() -> datetime:
        await sleep(60)
        return get_workflow_metadata().started_at

    assert simulate(body).result == at(0)


# --- what can be slept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("30s", 30.0),
        ("1 day", 86400.0),
        ("2h30m", 9000.0),
        ("P1D", 86400.0),
        (timedelta(minutes=2), 120.0),
        (0, 0.0),
        (-5, 0.0),
        (math.inf, FOREVER),
        (at(90), 90.0),
        (at(90).astimezone(timezone(timedelta(hours=5))), 90.0),
        (at(-90), 0.0),
    ],
)
def test_a_sleep_reads_delays_as_people_write_them(delay: object, seconds: float) -> None:
    async def body() -> None:
        await sleep(delay)  # type: ignore[call-overload]

    [wait] = begin(body).asked(StartWait)
    assert wait.delay == seconds


@pytest.mark.parametrize("delay", ["soon", "", "3 months", math.nan, datetime(2026, 11, 22)])
def test_a_delay_that_can_not_be_read_is_told_where_it_is_written(delay: object) -> None:
    with pytest.raises(ValueError, match=r"delay|duration|naive"):
        sleep(delay)  # type: ignore[call-overload]


def test_a_sleep_until_a_moment_is_counted_from_when_it_begins() -> None:
    async def body() -> None:
        nap = sleep(at(100))
        await charge(1)
        await nap

    [wait] = begin(body).later(30).when(step_completed()).asked(StartWait)
    assert (wait.delay, wait.due) == (70.0, START + 100)


def test_a_sleep_gives_its_result() -> None:
    async def body() -> str:
        return await sleep(5, "slept")

    assert simulate(body).result == "slept"


@pytest.mark.parametrize("delay", [5, 5.0, True])
def test_asyncio_sleep_is_durable_however_its_delay_is_written(delay: float) -> None:
    async def body() -> str:
        return await asyncio.sleep(delay, "slept")

    played = simulate(body)
    assert (played.result, played.took) == ("slept", float(delay))


def test_asyncio_sleep_for_ever_ends_with_the_calendar() -> None:
    async def body() -> None:
        await asyncio.sleep(math.inf)

    [wait] = begin(body).asked(StartWait)
    assert wait.delay == wait.due == FOREVER


def test_asyncio_sleep_for_no_number_is_refused() -> None:
    async def body() -> None:
        await asyncio.sleep(math.nan)

    assert isinstance(begin(body).failure, ValueError)


def test_asyncio_sleep_of_nothing_costs_nothing() -> None:
    async def body() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(-1)

    assert names(begin(body).commands) == ["EndRun"]


def test_call_later_and_call_at_are_durable_waits() -> None:
    async def body() -> list[str]:
        loop, done = asyncio.get_running_loop(), list[str]()
        loop.call_later(5, done.append, "later")
        loop.call_at(loop.time() + 3, done.append, "at")
        loop.call_soon(done.append, "soon")
        loop.call_later(4, done.append, "never").cancel()
        await sleep(6)
        return done

    assert simulate(body).result == ["soon", "at", "later"]


def test_a_timer_that_fires_as_it_is_cancelled_stays_cancelled() -> None:
    async def body() -> list[str]:
        done: list[str] = []
        timer = asyncio.get_running_loop().call_later(5, done.append, "fired")
        await charge(1)
        timer.cancel()
        await charge(2)
        return done

    story = begin(body).when(wait_created(), step_completed())
    assert names(story.commands) == ["CancelWait", "CallStep charge"]
    assert story.when(wait_completed(), step_completed()).result == []


def test_r15_what_the_log_has_first_comes_first() -> None:
    async def body() -> object:
        return await race(create_hook(), sleep(10, "deadline"))

    assert begin(body).when(hook_created(), hook_received("paid"), wait_completed()).result == "paid"
    assert begin(body).when(hook_created(), wait_completed(), hook_received("paid")).result == "deadline"


def test_r16_a_timeout_that_was_not_needed_leaves_no_trace() -> None:
    async def body() -> str:
        async with asyncio.timeout(10):
            return await work("w", 0)

    story = begin(body).when(step_completed(result="w"))
    assert [type(command).__name__ for command in story.commands] == ["CancelWait", "EndRun"]


def test_nested_timeouts_fire_from_the_inside_or_the_outside() -> None:
    async def body(inner: float, outer: float) -> list[str]:
        told: list[str] = []
        try:
            async with asyncio.timeout(outer):
                try:
                    async with asyncio.timeout(inner):
                        await sleep(100)
                except TimeoutError:
                    told.append("inner")
                    await sleep(100)
        except TimeoutError:
            told.append("outer")
        return told

    assert simulate(body, 3.0, 5.0).result == ["inner", "outer"]
    assert simulate(body, 5.0, 3.0).result == ["outer"]


def test_a_timeout_can_be_moved() -> None:
    async def body() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(5) as limit:
                await sleep(4)
                limit.reschedule(loop.time() + 10)
                await sleep(100)
        except TimeoutError:
            return loop.time() - begun
        return 0.0

    assert simulate(body).result == 14


def test_timeout_at_takes_loop_time() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + 5):
                await create_hook()
        except TimeoutError:
            return "late"
        return "in time"

    assert simulate(body).result == "late"
    assert simulate(body, world=World(payloads=[(3, "x")])).result == "in time"


def test_a_cancel_request_carries_its_time() -> None:
    async def body() -> datetime:
        try:
            await sleep(100)
        except asyncio.CancelledError:
            return now()
        return at(0)

    assert begin(body).later(7).when(cancel_requested()).result == at(7)


def test_a_run_that_slept_wakes_up_in_another_life() -> None:
    async def body() -> datetime:
        await sleep("30 days")
        return now()

    story = begin(body).when(wait_created())
    assert replay(body).given(run_started(), *story.log[2:]).when(wait_completed()).result == at(30 * 86400)
