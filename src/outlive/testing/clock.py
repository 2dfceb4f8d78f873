"""Virtual time: an asyncio loop that jumps to its next timer instead of waiting for it.

    loop = VirtualTimeLoop()
    engine = Engine("memory://", clock=loop.clock, options=virtual_options())

A year's sleep takes no time. Work in threads is still waited for, for a moment of real time, before the clock jumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

from outlive._runtime.options import WorkerOptions

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEP_PATIENCE: Final = 0.02
STORE_PATIENCE: Final = 30.0
START: Final = 1_800_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Selects without waiting; what would have been waited is given to ``jump``."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualTimeLoop | None = None

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or self.loop is None or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            return super().select(None)  # only a thread can wake this loop
        patience = self.loop.patience()
        if patience > 0 and (ready := super().select(patience)):
            return ready
        self.loop.jump(timeout)
        return []


class VirtualClock:
    """The loop's time, as seconds since the epoch."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return START + self._loop.time()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is as long as its timers say."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._in_executor = 0
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self
        self.clock: VirtualClock = VirtualClock(self)

    @override
    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        # a hair further, so that rounding never leaves the timer just ahead
        self._virtual += seconds + 1e-6

    def patience(self) -> float:
        """Real seconds to wait for threads: long for the store's calls, which end; short for steps, which may wait for a timer."""
        if self._in_executor > 0:
            return STORE_PATIENCE
        return STEP_PATIENCE if any(thread.name == "outlive-step" for thread in threading.enumerate()) else 0.0

    @contextlib.contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """What is awaited inside comes in real time: a server's answer."""
        self._in_executor += 1
        try:
            yield
        finally:
            self._in_executor -= 1

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._in_executor += 1
        future.add_done_callback(self._executor_done)
        return future

    @override
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._in_executor += 1  # threads end in real time
        try:
            await super().shutdown_default_executor()
        finally:
            self._in_executor -= 1

    def _executor_done(self, _future: object) -> None:
        self._in_executor -= 1


def virtual_options(**changes: Any) -> WorkerOptions:
    """Worker options for virtual time: a lease that outlives any jump, and polls so rare that jumps stay long."""
    settings: dict[str, Any] = {"lease": 1e11, "poll": 1e6, "look_every": 1e6}
    return WorkerOptions(**(settings | changes))
