"""CPython's own tests of asyncio's primitives pass on the deterministic loop (DESIGN section 5)."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import importlib
import inspect
import itertools
import unittest
import warnings
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from outlive._core.loop import DeterministicLoop, Timer
from tests.core.story import UNWATCHED

pytest.importorskip("test.test_asyncio", reason="this Python comes without its test package")

MODULES = ("test_locks", "test_queues", "test_taskgroups", "test_timeouts", "test_waitfor")

EXPECTED: dict[str, str] = {
    "test_timeouts.TimeoutTests.test_nested_timeouts": "two deadlines at one moment are two events, applied one at a time",
    "test_locks.ConditionTests.test_ambiguous_loops": "a lock of another loop is refused in our own words",
}
"""Tests that can't pass, and why."""


class Timers:
    """As much of a machine as a loop needs: its waits, in the order in which they are due."""

    def __init__(self) -> None:
        self._waits: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count(1)
        self.time = 0.0

    def start_timer(self, handle: Timer, delay: float) -> None:
        heapq.heappush(self._waits, (handle.when(), next(self._numbers), handle))

    def cancel_timer(self, handle: Timer) -> None:
        self._waits = sorted(wait for wait in self._waits if wait[2] is not handle)

    def task_failed(self, task: asyncio.Task[Any]) -> None:
        """Who runs the tests asks for it."""

    def pop(self) -> Timer | None:
        return heapq.heappop(self._waits)[2] if self._waits else None


class VirtualRunner:
    """An ``asyncio.Runner`` whose time jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        self._timers = Timers()
        self._loop = DeterministicLoop(self._timers, UNWATCHED)

    def get_loop(self) -> DeterministicLoop:
        return self._loop

    def run(self, coro: Coroutine[Any, Any, Any], *, context: contextvars.Context | None = None) -> object:
        task = self._activate(lambda: self._loop.create_task(coro, context=context))
        while not task.done():
            timer = self._timers.pop()
            assert timer is not None, "the test waits for what will never come"
            self._activate(lambda timer=timer: self._loop.fire(timer))
        return task.result()

    def _activate(self, deliver: Any) -> Any:
        saved = self._loop.enter()
        try:
            made = deliver()
            self._loop.drain()
        finally:
            self._loop.leave(saved)
        return made

    def close(self) -> None:
        self._loop.dropping = True
        self._loop.forget()


class OnOurLoop:
    """Put before a test case of CPython's."""

    _asyncioRunner: VirtualRunner | None

    def _setupAsyncioRunner(self) -> None:
        self._asyncioRunner = VirtualRunner()


def theirs() -> Iterator[tuple[str, type[unittest.TestCase], str]]:
    loader = unittest.TestLoader()
    for name in MODULES:
        module = importlib.import_module(f"test.test_asyncio.{name}")
        for made in vars(module).values():
            if isinstance(made, type) and issubclass(made, unittest.IsolatedAsyncioTestCase):
                ours = type(made.__name__, (OnOurLoop, made), {})
                for method in loader.getTestCaseNames(made):
                    if inspect.iscoroutinefunction(getattr(made, method)):  # others bring a loop, or want the thread's
                        yield f"{name}.{made.__name__}.{method}", ours, method


CASES = {name: (case, method) for name, case, method in theirs()}


@pytest.fixture(scope="module", autouse=True)
def _what_they_leave_open_is_theirs() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.parametrize("name", CASES)
def test_what_cpython_tests(name: str) -> None:
    case, method = CASES[name]
    result = unittest.TestResult()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case(method).run(result)
    told = "\n".join(text for _, text in (*result.errors, *result.failures))
    if name in EXPECTED:
        assert told, f"it passes now: take it off the list of exceptions ({EXPECTED[name]})"
        pytest.skip(EXPECTED[name])
    assert not told, told
