"""Hooks in a body (R18, R19, R20, R39)."""

from __future__ import annotations

import asyncio
import base64

import msgspec
import pytest

from outlive import create_hook, race, sleep
from outlive._core.hooks import Hook
from outlive.errors import HookConflict, HookNotFound, NonDeterminismError, NotInWorkflow, PayloadInvalid
from outlive.model import commands as cmd
from outlive.model.commands import DisposeHook, OpenHook
from outlive.model.events import Payload
from tests.core.simulate import World, simulate
from tests.core.steps import charge, work
from tests.core.story import (
    SEED,
    Story,
    begin,
    decoded,
    hook_conflict,
    hook_created,
    hook_disposed,
    hook_received,
    names,
    payload_received,
    replay,
    run_started,
    step_completed,
    wait_completed,
)


async def listen() -> object:
    return await create_hook()


def test_a_hook_opens_when_it_is_created() -> None:
    async def body() -> None:
        create_hook(token="orders", metadata={"for": "you"})
        await charge(1)

    hook, _ = begin(body).commands
    assert isinstance(hook, OpenHook)
    assert (hook.ref, hook.token, decoded(hook.metadata)) == (1, "orders", {"for": "you"})


def test_a_payload_comes_to_who_waits() -> None:
    assert begin(listen).when(hook_created(), hook_received({"paid": True})).result == {"paid": True}


def test_a_payload_may_come_before_anybody_waits() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        await work("w", 10)
        return [await hook, await hook, await hook]

    assert simulate(body, world=World(payloads=[(1, "a"), (2, "b"), (20, "c")])).result == ["a", "b", "c"]


def test_receivers_are_served_in_the_order_in_which_they_came() -> None:
    async def body() -> list[str]:
        hook = create_hook()

        async def receive(label: str) -> str:
            return f"{label}{await hook}"

        return await asyncio.gather(receive("a"), receive("b"), receive("c"))

    assert simulate(body, world=World(payloads=[(1, 1), (2, 2), (3, 3)])).result == ["a1", "b2", "c3"]


def test_a_receiver_that_was_cancelled_is_passed_over() -> None:
    async def body() -> str:
        hook = create_hook()
        gone = asyncio.create_task(hook.receive())
        there = asyncio.create_task(hook.receive())
        await sleep(1)
        gone.cancel()
        return str(await there)

    assert simulate(body, world=World(payloads=[(2, "mine")])).result == "mine"


def test_a_hook_can_be_iterated_until_it_is_disposed() -> None:
    async def body() -> list[object]:
        got: list[object] = []
        hook = create_hook()
        async for payload in hook:
            got.append(payload)
            if payload == "last":
                hook.dispose()
        return got

    world = World(payloads=[(1, "a"), (2, "b"), (3, "last"), (4, "late")])
    assert simulate(body, world=world).result == ["a", "b", "last"]


def test_an_iteration_that_waits_ends_when_the_hook_is_disposed() -> None:
    async def body() -> str:
        hook = create_hook()

        async def drain() -> list[object]:
            return [payload async for payload in hook]

        draining = asyncio.create_task(drain())
        await sleep(5)
        hook.dispose()
        return str(await draining)

    assert simulate(body, world=World(payloads=[(1, "a")])).result == "['a']"


def test_with_disposes_at_the_end() -> None:
    async def body() -> object:
        with create_hook() as hook:
            got = await hook
        await charge(1)
        return got

    story = begin(body).when(hook_created(), hook_received("x"))
    assert story.asked(DisposeHook) == [DisposeHook(1)]
    assert names(story.when(hook_disposed()).open) == ["CallStep charge"]


def test_disposing_twice_disposes_once() -> None:
    async def body() -> None:
        hook = create_hook()
        hook.dispose()
        hook.dispose()
        await charge(1)

    story = begin(body)
    assert names(story.commands) == ["OpenHook", "CallStep charge"]
    assert names(story.when(hook_created()).commands) == ["DisposeHook"]


def test_a_hook_that_is_to_be_disposed_is_remembered_until_it_is() -> None:
    async def body() -> None:
        create_hook().dispose()
        await charge(1)

    story = replay(body).given(run_started(), hook_created())
    assert story.machine.open[1].withdrawn


def test_what_waits_on_a_hook_that_is_disposed_is_told() -> None:
    async def body() -> str:
        hook = create_hook()
        waiting = asyncio.create_task(hook.receive())
        await sleep(1)
        hook.dispose()
        try:
            await waiting
        except HookNotFound:
            return "gone"
        return "still there"

    assert simulate(body).result == "gone"


def test_a_disposed_hook_gives_what_it_has_and_then_is_gone() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        await sleep(5)
        hook.dispose()
        got = [await hook]
        with pytest.raises(HookNotFound):
            await hook
        return got

    assert simulate(body, world=World(payloads=[(1, "a")])).result == ["a"]


def test_r18_a_payload_that_was_appended_as_the_hook_went_is_kept() -> None:
    async def body() -> object:
        hook = create_hook()
        await charge(1)
        hook.dispose()
        await charge(2)
        return await hook

    story = begin(body).when(hook_created(), step_completed(), hook_received("just in time"), step_completed())
    assert story.result == "just in time"


def test_r03_a_payload_for_a_hook_that_is_gone_is_a_no_op() -> None:
    async def body() -> None:
        create_hook().dispose()
        await charge(1)

    story = begin(body).when(hook_created())
    late = hook_received("late")(story)
    assert story.when(hook_disposed(), late).commands == []


# --- R19 ---------------------------------------------------------------------------------------------------------------


def test_r19_a_conflict_is_raised_by_every_await() -> None:
    async def body() -> list[str]:
        hook = create_hook(token="theirs")
        told: list[str] = []
        for _ in range(2):
            try:
                await hook
            except HookConflict as conflict:
                told.append(conflict.run_id)
        return told

    assert simulate(body, world=World(taken={"theirs": "them"})).result == ["them", "them"]


def test_r19_conflict_gives_the_holder() -> None:
    async def body() -> str | None:
        return await create_hook(token="theirs").conflict()

    assert begin(body).when(hook_conflict("them")).result == "them"


def test_r19_conflict_gives_none_once_the_hook_is_registered() -> None:
    async def body() -> str | None:
        return await create_hook(token="mine").conflict()

    story = begin(body)
    assert story.outcome is None
    assert story.when(hook_created()).result is None


def test_r19_conflict_may_be_asked_for_twice_and_late() -> None:
    async def body() -> list[object]:
        hook = create_hook(token="mine")
        return [*await asyncio.gather(hook.conflict(), hook.conflict()), await hook.conflict()]

    assert simulate(body).result == [None, None, None]


def test_r19_a_conflict_reaches_all_who_wait() -> None:
    async def body() -> list[str]:
        hook = create_hook(token="theirs")
        ended = await asyncio.gather(hook.receive(), hook.receive(), return_exceptions=True)
        return [type(error).__name__ for error in ended]

    assert begin(body).when(hook_conflict("them")).result == ["HookConflict", "HookConflict"]


def test_r19_a_hook_disposed_before_it_was_in_conflict_needs_none_either() -> None:
    async def body() -> None:
        with create_hook(token="theirs"):
            pass
        await charge(1)

    assert begin(body).when(hook_conflict("them")).commands == []
    assert simulate(body, world=World(taken={"theirs": "them"})).told[2:] == [
        "hook_conflict 1",
        "step_completed 2 charge",
        "run_completed",
    ]


def test_r19_a_hook_in_conflict_needs_no_disposal() -> None:
    async def body() -> None:
        with create_hook(token="theirs") as hook:
            await hook.conflict()
        await charge(1)

    assert names(begin(body).when(hook_conflict("them")).commands) == ["CallStep charge"]


# --- R20 ---------------------------------------------------------------------------------------------------------------


class Order(msgspec.Struct):
    number: int


async def listen_for_orders() -> str:
    hook = create_hook(Order)
    try:
        order = await hook
    except PayloadInvalid as invalid:
        return f"invalid: {invalid}"
    return f"order {order.number}"


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (Payload("application/json", text='{"number": 5}'), "order 5"),
        (Payload("application/problem+json; charset=utf-8", text='{"number": 5}'), "order 5"),
        (Payload("application/json", text='{"number": "five"}'), "invalid"),
        (Payload("application/json", text="{"), "invalid"),
        (Payload("application/json", text=""), "invalid"),
        (Payload("application/json", text="[" * 100_000), "invalid"),
        (Payload("application/json", data=b"\xff"), "invalid"),
        (Payload("text/plain", text="5"), "invalid"),
        (Payload("application/octet-stream", data=b"\xff"), "invalid"),
        (Payload("application/vnd.outlive+json", text='{"$t":"what","v":1}'), "invalid"),
        (Payload("", text="x"), "invalid"),
    ],
)
def test_r20_what_comes_from_outside_never_fails_a_run(payload: Payload, told: str) -> None:
    story = begin(listen_for_orders).when(hook_created(), payload_received(payload))
    assert str(story.result).startswith(told)
    assert replay(listen_for_orders).given(*story.log[1:]).outcome == story.outcome


def test_r20_an_unfit_payload_is_told_to_one_receiver_and_the_hook_goes_on() -> None:
    async def body() -> list[str]:
        hook = create_hook(int)
        told: list[str] = []
        for _ in range(3):
            try:
                told.append(str(await hook))
            except PayloadInvalid:
                told.append("unfit")
        return told

    assert simulate(body, world=World(payloads=[(1, 1), (2, "two"), (3, 3)])).result == ["1", "unfit", "3"]


def test_r20_an_untyped_hook_takes_what_was_sent() -> None:
    assert begin(listen).when(hook_created(), payload_received(Payload("text/plain", text="hi"))).result == "hi"
    assert begin(listen).when(hook_created(), payload_received(Payload("image/png", data=b"\x89"))).result == b"\x89"


# --- R39 ---------------------------------------------------------------------------------------------------------------


def token_of(story: Story) -> str:
    [hook] = story.asked(OpenHook)
    target = story.machine.open[hook.ref].target
    assert isinstance(target, Hook)
    return str(target.token)


def test_r39_a_generated_token_is_the_same_in_every_life() -> None:
    assert token_of(begin(listen)) == token_of(replay(listen).given(run_started()))


def test_r39_another_link_has_another_token() -> None:
    other = Story(listen, seed="0ffe" * 16, link=2).when(run_started())
    assert token_of(begin(listen)) != token_of(other)


def test_r39_a_generated_token_has_256_bits_and_is_not_in_the_log() -> None:
    story = begin(listen)
    [hook] = story.asked(OpenHook)
    token = token_of(story)
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert hook.token == "" and token not in str(hook)


def test_r39_a_token_does_not_follow_from_what_is_public() -> None:
    public = ["story", "1", "listen", *(c.token_hash for c in begin(listen).asked(OpenHook))]
    token = token_of(begin(listen))
    assert all(part not in token for part in public if len(part) > 5)
    assert SEED not in token


def test_r39_two_hooks_have_two_tokens() -> None:
    async def body() -> bool:
        return create_hook().token == create_hook().token

    assert begin(body).result is False


@pytest.mark.parametrize("token", ["", "x" * 513])
def test_a_token_has_a_length(token: str) -> None:
    async def body() -> None:
        create_hook(token=token)

    assert isinstance(begin(body).failure, ValueError)


def test_a_hook_outside_of_a_body_has_no_meaning() -> None:
    with pytest.raises(NotInWorkflow):
        create_hook()


def test_a_hook_of_another_run_is_refused() -> None:
    there: list[Hook[object]] = []

    async def first() -> None:
        there.append(create_hook())
        await charge(1)

    async def second() -> object:
        return await there[0]

    begin(first)
    assert isinstance(begin(second).failure, NonDeterminismError)


def test_r25_also_when_its_run_is_no_longer_there() -> None:
    there: list[Hook[object]] = []

    async def first() -> None:
        there.append(create_hook())
        await charge(1)

    async def second() -> object:
        return await there[0]

    begin(first).drop()
    assert isinstance(begin(second).failure, NonDeterminismError)


def test_a_hook_awaited_outside_of_its_run_is_refused() -> None:
    there: list[Hook[object]] = []

    async def body() -> None:
        there.append(create_hook())
        await charge(1)

    begin(body)
    with pytest.raises(NonDeterminismError):
        asyncio.run(there[0].receive())


def test_a_set_of_hooks_is_in_the_order_of_their_creation() -> None:
    async def body() -> list[int]:
        return [hook.ref for hook in {create_hook() for _ in range(5)}]

    assert begin(body).result == [1, 2, 3, 4, 5]


def test_hooks_in_conditions_and_deadlines() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        got: list[object] = []
        while True:
            name, value = await race(item=hook, idle=sleep(10))
            if name == "idle":
                return got
            got.append(value)

    assert simulate(body, world=World(payloads=[(1, "a"), (9, "b"), (18, "c"), (29, "late")])).result == ["a", "b", "c"]


def test_a_registration_is_durable_before_anything_waits_for_it() -> None:
    async def body() -> str:
        hook = create_hook()
        await hook.conflict()
        return await work("told the world")

    story = begin(body)
    assert names(story.commands) == ["OpenHook"]
    assert names(story.when(hook_created()).commands) == ["CallStep work"]
    assert isinstance(story.commands[0], cmd.CallStep)


def test_a_wait_and_a_payload_in_one_commit_are_two_activations() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        first = await race(hook, sleep(5, "late"))
        return [first, await race(hook, sleep(5, "late"))]

    story = begin(body).when(hook_created(), hook_received("a"), hook_received("b"))
    assert story.result == ["a", "b"]
    story = begin(body).when(hook_created(), wait_completed(), hook_received("b"))
    assert story.result == ["late", "b"]
