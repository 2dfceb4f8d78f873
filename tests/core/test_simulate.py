"""The runtime that other tests rely on finds what it is there to find."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from outlive import create_hook, race, sleep
from outlive._core.signals import Diverged
from tests.core.simulate import World, play_hot, simulate
from tests.core.steps import charge, work


def test_a_body_that_asks_for_something_else_in_each_life_is_found() -> None:
    lives = itertools.count()

    async def body() -> None:
        await work(f"life {next(lives)}")

    with pytest.raises((Diverged, AssertionError)):
        simulate(body)


def test_a_body_that_returns_something_else_in_each_life_is_found() -> None:
    lives = itertools.count()

    async def body() -> int:
        life = next(lives)
        await charge(1)
        return life

    with pytest.raises(AssertionError, match="evicted"):
        simulate(body)


def test_a_body_that_waits_for_another_time_in_each_life_is_found() -> None:
    lives = itertools.count()

    async def body() -> None:
        await sleep(next(lives))

    with pytest.raises((Diverged, AssertionError)):
        simulate(body)


def test_time_is_virtual() -> None:
    async def body() -> str:
        return await sleep("300 days", "slept")

    assert simulate(body).took == 300 * 86400


def test_a_run_may_wait_for_what_never_comes() -> None:
    async def body() -> object:
        return await create_hook()

    played = simulate(body)
    assert (played.outcome, played.told[-1]) == (None, "hook_created 1")


def test_the_log_in_short() -> None:
    async def body() -> str:
        name, _ = await race(payment=create_hook(), step=work("w", 9), deadline=sleep(5))
        await asyncio.sleep(1)
        return name

    played = simulate(body, world=World(payloads=[(3, "paid")]))
    assert played.told == [
        "run_created body",
        "run_started",
        "hook_created 1",
        "wait_created 3",
        "hook_received 1",
        "wait_created 4",
        "wait_cancelled 3",
        "wait_completed 4",
        "step_cancelled 2 work",
        "run_completed",
    ]


def test_a_step_is_run_when_it_ends_and_once() -> None:
    async def body() -> list[int]:
        return await asyncio.gather(charge(1), charge(2))

    assert play_hot(body).ran == [(1, "charge", {"amount": 1}), (2, "charge", {"amount": 2})]
