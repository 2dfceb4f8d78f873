"""Code and log disagree: said where and how, in words that a person can use (rule 9, R3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec import Raw

from outlive import continue_as_new, create_hook, race, sleep, workflow
from outlive._core import others
from outlive._core.authoring import StepDecorator
from outlive._core.context import required
from outlive._core.matching import describe, describe_issued
from outlive._core.registry import Registry
from outlive._core.signals import Diverged
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.model.steps import StepOptions
from tests.core.simulate import World, play_hot
from tests.core.steps import charge, keep, refund, work
from tests.core.story import begin, encoded, hook_created, replay, stored


@workflow
async def shop(amount: int) -> int:
    return await charge(amount)


async def recorded() -> str:
    hook = create_hook(token="orders")
    await charge(5)
    await sleep("1 hour")
    await asyncio.sleep(3)
    machine = required("a test")
    await others.start_child(machine, shop, (1,), {})
    await others.watch(machine, RunId("story.5"))
    await others.send(machine, "token", 1)
    return str(await hook)


WORLD = World(payloads=[(1, "order")], runs={"story.5": (10, 1)})


async def variant(change: str) -> str:
    """``recorded``, but for ``change``."""
    hook = create_hook(token="other orders" if change == "token" else "orders")
    if change == "added in the middle":
        await work("new")
    match change:
        case "name":
            await refund(5)
        case "argument":
            await charge(6)
        case "argument's form":
            await charge(amount=5, currency="USD")
        case "kind":
            await sleep(5)
        case "removed":
            pass
        case _:
            await charge(5)
    if change == "order":
        await asyncio.sleep(3)
        await sleep("1 hour")
    else:
        await sleep("2 hours" if change == "delay" else "1 hour")
        await (sleep(3) if change == "kind of wait" else asyncio.sleep(3))
    machine = required("a test")
    await others.start_child(machine, shop, (2 if change == "child's input" else 1,), {})
    await others.watch(machine, RunId("another" if change == "watched run" else "story.5"))
    if change != "removed at the end":
        await others.send(machine, "token", 2 if change == "sent" else 1)
    order = await hook
    if change == "added at the end":
        await work("new")
    return f"{order}!" if change == "result" else str(order)


HOW = {
    "token": (1, "hook_created", "a hook"),
    "name": (2, "charge", "refund"),
    "argument": (2, "charge", "charge' with other arguments"),
    "argument's form": (2, "charge", "charge' with other arguments"),
    "kind": (2, "charge", "a sleep of 5.0 s"),
    "removed": (2, "charge", "a sleep of 3600.0 s"),
    "added in the middle": (2, "charge", "work"),
    "delay": (3, "a sleep of 3600.0 s", "a sleep of 7200.0 s"),
    "order": (3, "a sleep of 3600.0 s", "a timer of 3.0 s"),
    "kind of wait": (4, "a timer of 3.0 s", "a sleep of 3.0 s"),
    "child's input": (5, "child", "child"),
    "watched run": (6, "child_completed", "a watch"),
    "sent": (7, "resume_hook", "resume_hook' with other arguments"),
    "removed at the end": (7, "resume_hook", "no command number 7"),
    "added at the end": (0, "run_completed here", "is still waiting"),
    "result": (0, 'the result "order"', 'returned "order!"'),
}


def test_the_same_code_does_not_diverge() -> None:
    log = play_hot(recorded, world=WORLD).log
    assert replay(recorded).given(*log[1:]).result == "order"
    assert replay(variant, "nothing").given(*log[1:]).result == "order"


@pytest.mark.parametrize("change", HOW)
def test_r03_each_change_of_code_under_a_log_is_found(change: str) -> None:
    ref, recorded_as, attempted = HOW[change]
    log = play_hot(recorded, world=WORLD).log
    with pytest.raises(Diverged) as caught:
        replay(variant, change).given(*log[1:])
    diverged = caught.value
    assert diverged.ref == ref
    assert recorded_as in diverged.recorded
    assert attempted in diverged.attempted
    assert str(diverged) == f"the log has {diverged.recorded}, the code {diverged.attempted}"


LOG = play_hot(recorded, world=WORLD).log
ECHOES = {ev.WaitCreated, ev.HookCreated}
"""What nobody in ``recorded`` waits for."""


AWAITED = [place for place, found in enumerate(LOG[:-1]) if place > 1 and type(found.event) not in ECHOES]


@pytest.mark.parametrize("lost", AWAITED)
def test_a4_a_log_that_lost_an_event_is_found(lost: int) -> None:
    with pytest.raises(Diverged):
        replay(recorded).given(*LOG[1:lost], *LOG[lost + 1 :])


ONCE = [place for place in AWAITED if not isinstance(LOG[place].event, ev.HookReceived)]


@pytest.mark.parametrize("twice", ONCE)
def test_r03_an_event_that_is_there_twice_is_taken_once(twice: int) -> None:
    assert replay(recorded).given(*LOG[1 : twice + 1], LOG[twice], *LOG[twice + 1 :]).result == "order"


Body = Callable[[], Coroutine[Any, Any, Any]]


async def returns() -> str:
    return "fine"


async def raises() -> str:
    raise ValueError("not fine")


async def waits() -> str:
    return str(await create_hook())


async def continues() -> str:
    continue_as_new()


@pytest.mark.parametrize(
    ("then", "now", "attempted"),
    [
        (returns, raises, "ended with run_failed"),
        (raises, returns, "ended with run_completed"),
        (returns, waits, "is still waiting"),
        (continues, returns, "ended with run_completed"),
        (returns, continues, "ended with run_continued"),
    ],
)
def test_r03_another_end_is_found(then: Body, now: Body, attempted: str) -> None:
    log = play_hot(then).log
    with pytest.raises(Diverged) as caught:
        replay(now).given(*log[1:])
    assert attempted in caught.value.attempted


def test_r03_a_clean_up_that_the_log_knows_nothing_of_is_found() -> None:
    async def now() -> str:
        async def background() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await refund(1)

        asyncio.create_task(background())  # noqa: RUF006
        await asyncio.sleep(0)
        return "fine"

    with pytest.raises(Diverged, match="is still waiting"):
        replay(now).given(*play_hot(returns).log[1:])


def test_r03_another_next_link_is_found() -> None:
    async def then(number: int) -> None:
        continue_as_new(number + 1)

    async def now(number: int) -> None:
        continue_as_new(number + 2)

    log = play_hot(then, 1).log
    with pytest.raises(Diverged):
        replay(now, 1).given(*log[1:])


def test_r03_arguments_that_the_code_no_longer_takes_are_found() -> None:
    async def then(amount: int) -> int:
        return amount

    async def now(amount: int, currency: str) -> int:
        return amount

    story = replay(now, 1, "EUR")
    story.machine._created = replay(then, 1).machine._created
    with pytest.raises(Diverged, match=r"the log has the arguments amount, the code takes others: .*currency"):
        story.given(ev.RunStarted())


def test_r03_a_run_that_was_terminated_may_end_anywhere() -> None:
    log = begin(waits).when(hook_created()).log
    replay(waits).given(*log[1:], stored(ev.RunTerminated(reason="enough")))


def test_r03_what_was_added_beyond_the_end_of_the_log_is_no_divergence() -> None:
    async def then() -> None:
        await charge(1)
        await create_hook()

    async def now() -> None:
        await charge(1)
        await refund(1)

    log = play_hot(then).log[:3]
    assert [type(command).__name__ for command in replay(now).given(*log[1:]).open] == ["CallStep"]


def test_r03_a_set_in_another_order_is_the_same_argument() -> None:
    async def then() -> None:
        await keep({"b": 1, "a": {3, 1, 2}})

    async def now() -> None:
        await keep({"a": {2, 3, 1}, "b": 1})

    replay(now).given(*play_hot(then).log[1:])


def test_r03_a_set_in_another_order_is_the_same_result() -> None:
    async def body() -> object:
        return {"words": {"a", "e"}, "x": 1, "y": 2}

    reordered = bytes(encoded({"y": 2, "words": ["a", "e"], "x": 1})).replace(
        b'["a","e"]', b'{"$t":"set","v":["e","a"]}'
    )
    elsewhere = bytes(encoded({"y": 2, "words": ["a", "e"], "x": 1})).replace(
        b'["a","e"]', b'{"$t":"set","v":["a","e"]}'
    )
    replay(body).given(*play_hot(body).log[1:-1], stored(ev.RunCompleted(result=Raw(reordered))))
    replay(body).given(*play_hot(body).log[1:-1], stored(ev.RunCompleted(result=Raw(elsewhere))))


def test_r03_swapped_branches_that_call_the_same_are_told_by_their_order_alone() -> None:
    async def then() -> list[int]:
        return await asyncio.gather(charge(1), charge(2))

    async def now() -> list[int]:
        return await asyncio.gather(charge(2), charge(1))

    with pytest.raises(Diverged, match="other arguments"):
        replay(now).given(*play_hot(then).log[1:])


def test_r38_a_marker_that_the_code_no_longer_asks_for_is_no_divergence() -> None:
    log = play_hot(waits).log
    replay(waits).given(*log[1:], stored(ev.Marker(id="old")))


def test_r08_a_payload_discarded_for_a_hook_never_opened_is_no_divergence() -> None:
    discarded = ev.HookDiscarded(ref=9, payload=ev.Payload("text/plain", text="x"), accepted=0.0)
    replay(returns).given(*play_hot(returns).log[1:-1], stored(discarded))


def test_where_a_command_was_issued_is_kept_when_it_is_traced() -> None:
    story = replay(recorded)
    story.machine._trace = lambda: "orders.py:7"
    story.given(ev.RunStarted())
    assert {issued.where for issued in story.machine.issued} == {"orders.py:7"}


def test_every_event_can_be_described() -> None:
    log = play_hot(recorded, world=WORLD).log
    assert all(describe(recorded.event) for recorded in log)
    assert all(describe_issued(issued) for issued in replay(recorded).given(*log[1:]).machine.issued)


def test_a_step_that_got_another_name_but_kept_its_old_one_in_the_log_matches() -> None:
    async def renamed(amount: int) -> int:
        return amount

    new = StepDecorator(charge.name, StepOptions(), Registry())(renamed)

    async def then() -> int:
        return await charge(1)

    async def now() -> int:
        return await new(1)

    assert replay(now).given(*play_hot(then).log[1:]).result == 1


def test_a_race_that_has_one_more_contestant_at_the_end_is_not_seen_until_it_matters() -> None:
    async def then() -> str:
        return await race(work("a", 1), work("b", 9))

    async def now() -> str:
        return await race(work("a", 1), work("b", 9), sleep(5, "c"))

    assert replay(now).given(*play_hot(then).log[1:]).result == "a"
