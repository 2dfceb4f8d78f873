"""A live activation fails: the run is read again, and goes on as if that had not been (R12, R32, R38)."""

from __future__ import annotations

import asyncio
import logging

import pytest

from outlive import Engine, get_logger, patched, step, workflow

from .helpers import effects, record


class Failing:
    """Raises ``MemoryError`` for the given places, as often as told."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}

    def here(self, place: str) -> None:
        if self.left.get(place, 0) > 0:
            self.left[place] -= 1
            raise MemoryError


failing = Failing()


@pytest.fixture(autouse=True)
def nothing_fails() -> None:
    failing.left.clear()


@step
async def act(name: str) -> str:
    record("act", name)
    return name


@workflow
async def patched_at_once() -> tuple[bool, str]:
    get_logger().warning("begun")
    new = patched("new")
    failing.here("first")
    return new, await act("a")


async def test_r38_a_first_activation_that_failed_is_no_replay(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    failing.left["first"] = 1
    with caplog.at_level(logging.WARNING, logger="outlive.workflow"):
        assert await (await engine.start(patched_at_once)).result() == (True, "a")
    assert caplog.messages.count("begun") == 1
    assert effects("act") == ["a"]


@workflow
async def patched_late() -> tuple[str, bool, str]:
    first = await act("a")
    get_logger().warning("late")
    new = patched("new")
    failing.here("second")
    return first, new, await act("b")


async def test_r38_nor_is_a_later_one(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    failing.left["second"] = 2
    with caplog.at_level(logging.WARNING, logger="outlive.workflow"):
        assert await (await engine.start(patched_late)).result() == ("a", True, "b")
    assert caplog.messages.count("late") == 1
    assert effects("act") == ["a", "b"]


@workflow
async def fails_at_each_step() -> list[str]:
    done: list[str] = []
    for name in "abcdef":
        done.append(await act(name))
        failing.here(name)
    return done


async def test_r12_an_activation_that_goes_well_sets_the_count_to_nothing(engine: Engine) -> None:
    failing.left = dict.fromkeys("abcdef", 2)
    assert await (await engine.start(fails_at_each_step)).result() == list("abcdef")
    assert effects("act") == list("abcdef")


async def test_r12_three_in_a_row_park_it(engine: Engine) -> None:
    failing.left = {"c": 3}
    run = await engine.start(fails_at_each_step)
    await asyncio.sleep(10)
    assert await run.status() == "parked"
    await run.wake_up()
    assert await run.result() == list("abcdef")
    assert effects("act") == list("abcdef")
