"""The cyclic collector does not run inside an activation (R25), nor do those who listen to it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest

from outlive import create_hook
from outlive._core.guard import Guard, GuardMode
from tests.core.story import Story, run_started


@pytest.fixture
def heard() -> Iterator[list[float]]:
    """A monitor that reads the clock at each collection, as some libraries do; collections are frequent, and quick."""
    times: list[float] = []

    def listen(_phase: str, _info: dict[str, int]) -> None:
        times.append(time.perf_counter())

    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.callbacks.append(listen)
    gc.set_threshold(10)
    yield times
    gc.set_threshold(*before)
    gc.unfreeze()
    gc.callbacks.remove(listen)


async def waits() -> None:
    try:
        await create_hook()
    finally:
        _ = [[] for _ in range(100)]


def test_r25_a_monitor_of_the_collector_is_not_taken_for_the_body(heard: list[float]) -> None:
    for _ in range(20):
        Story(waits, (), {}, guard=Guard(GuardMode.STRICT)).when(run_started()).drop()
    assert heard
    assert gc.isenabled()
