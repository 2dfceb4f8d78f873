"""Runs attempts of steps: async ones on the worker's loop, blocking ones in threads, those that ask for it in processes."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from outlive._codec import Codec
from outlive._core.authoring import Step
from outlive._core.context import step_metadata
from outlive._core.registry import Registry
from outlive._core.streams import step_sink
from outlive._runtime.attempts import Attempt, Ending, Kind, Raised, Returned, Stopped, kind_of
from outlive._runtime.processes import AnsweredError, ProcessPool
from outlive._runtime.threads import Job, StepAbandoned, ThreadPool
from outlive._runtime.transactions import ASK_AGAIN, Hopeless, Recorded, Transactions
from outlive.errors import (
    FatalError,
    RetryableError,
    SerializationError,
    StepError,
    StepTimeout,
)
from outlive.model.durations import until
from outlive.stores.protocol import Clock

LOOK_AGAIN: Final = 0.02
"""Seconds between two looks whether the lease stands."""


class Executor:
    """Attempts in flight of one worker. Ends are reported on the loop, once each, through ``attempt.on_end``."""

    def __init__(
        self,
        *,
        registry: Registry,
        codec: Codec,
        clock: Clock,
        base: contextvars.Context,
        cancel_grace: float,
        max_async: int,
        threads: int,
        processes: int = 1,
        transactions: Transactions | None = None,
    ) -> None:
        self._registry = registry
        self.codec: Codec = codec
        self._clock = clock
        self._base = base
        self._cancel_grace = cancel_grace
        self._rooms: dict[Kind, int] = {"async": max_async, "process": processes}
        """For how many attempts there is room, of those that are tasks of the loop."""
        self._queues: dict[Kind, deque[Attempt]] = {"async": deque(), "process": deque()}
        self._processes: ProcessPool | None = None
        self._pool: ThreadPool | None = None
        self._threads = threads
        self._transactions = transactions
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._running: set[Attempt] = set()
        self._quiet: list[asyncio.Future[None]] = []
        self._closing = False

    def knows(self, step: str) -> bool:
        """Whether it can run it: what it can't waits for another worker."""
        return self._registry.steps.get(step) is not None

    def start(self, attempt: Attempt) -> None:
        """Begin, or queue, ``attempt``; nothing begins any more while the worker closes."""
        if self._closing:
            return
        step = self._registry.step(attempt.call.name)
        attempt.step = step
        attempt.executor = self
        self._running.add(attempt)
        attempt.kind = kind_of(step)
        if attempt.kind == "thread":
            self._begin_in_thread(attempt, step)
        elif self._rooms[attempt.kind] > 0:
            self._rooms[attempt.kind] -= 1
            self._begin(attempt, step)
        else:
            self._queues[attempt.kind].append(attempt)

    def cancel(self, attempt: Attempt) -> None:
        """Ask ``attempt`` to end; it is given up after the grace."""
        if attempt.ended or attempt.cancelled:
            return
        attempt.cancelled = True
        if self._withdraw(attempt):
            self._finish(attempt, Stopped())
        else:
            self._interrupt(attempt)

    def _withdraw(self, attempt: Attempt) -> bool:
        """Whether it had not begun, and never will."""
        if attempt.task is not None:
            return False
        if attempt.job is not None:
            assert self._pool is not None, "a job without a pool"
            return self._pool.withdraw(attempt.job)
        if attempt in self._queues.get(attempt.kind, ()):
            self._queues[attempt.kind].remove(attempt)
        return True

    async def close(self, grace: float) -> None:
        """Wait up to ``grace`` seconds for what runs, then cancel it. Ends that come now are reported as ever."""
        self._closing = True
        if self._running and grace > 0:
            quiet: asyncio.Future[None] = self.loop.create_future()
            self._quiet.append(quiet)
            await asyncio.wait([quiet], timeout=grace)
        for attempt in list(self._running):
            attempt.on_end = _to_nobody
            self.cancel(attempt)
        tasks = [attempt.task for attempt in self._running if attempt.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._cancel_grace)
        if self._pool is not None:
            self._pool.close()
        if self._processes is not None:
            self._processes.close()

    # --- async steps -------------------------------------------------------------------------------------------------

    def _begin(self, attempt: Attempt, step: Step[..., Any]) -> None:
        attempt.began = attempt.started = self._clock.now()
        try:
            if attempt.kind == "process":
                coroutine = self._in_process(attempt, step)
            else:
                coroutine = self._coroutine(attempt, step, *self._arguments(attempt, step))
        except (SerializationError, TypeError) as error:  # the recorded arguments do not fit today's function
            self.loop.call_soon(self._end, attempt, self._raised(error, fatal=True))
            return
        attempt.coroutine = coroutine
        attempt.task = self.loop.create_task(self._run(attempt, coroutine), context=self._context(attempt))
        if attempt.call.options.timeout is not None:
            self._limit(attempt)

    def _coroutine(
        self, attempt: Attempt, step: Step[..., Any], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Coroutine[Any, Any, Any]:
        if not attempt.call.options.transaction:
            coroutine: Coroutine[Any, Any, Any] = step.fn(*args, **kwargs)
            return coroutine
        assert self._transactions is not None, "a worker has them"
        step.binder.bind(args, kwargs)  # what does not fit shows now
        return self._transactions.run(attempt, lambda: step.fn(*args, **kwargs), self.codec)

    def _in_process(self, attempt: Attempt, step: Step[..., Any]) -> Coroutine[Any, Any, Any]:
        if self._processes is None:
            self._processes = ProcessPool(self._cancel_grace * 0.8)
        return self._processes.run(step, attempt.call.input, attempt.metadata(), lambda: self._sure(attempt))

    async def _run(self, attempt: Attempt, coroutine: Coroutine[Any, Any, Any]) -> None:
        """The task of an attempt: whatever the step does, it ends with an ending."""
        try:
            await self._sure(attempt)
            ending = self._returned(attempt, await coroutine)
        except GeneratorExit:  # the loop is gone, and with it whoever waits
            raise
        except KeyboardInterrupt as interrupt:
            self._end(attempt, self._interrupted(attempt, interrupt))
            raise
        except BaseException as error:  # whatever a step raises is an answer; `SystemExit` can't end the process (R12)
            ending = self._interrupted(attempt, error)
        coroutine.close()  # in case it never began
        self._end(attempt, ending)

    async def _sure(self, attempt: Attempt) -> None:
        """The last thing before it acts: if this process was stopped for long, it may have lost everything and not know yet."""
        lease = attempt.writes.lease
        while not lease.stands():
            if lease.over:
                attempt.on_end = _to_nobody
                raise asyncio.CancelledError
            await asyncio.sleep(LOOK_AGAIN)

    def _end(self, attempt: Attempt, ending: Ending) -> None:
        """An async attempt is over and makes room for another."""
        kind, queue = attempt.kind, self._queues[attempt.kind]
        self._rooms[kind] += 1
        while queue and self._rooms[kind] > 0:
            waiting = queue.popleft()
            if not waiting.ended and waiting.step is not None:
                self._rooms[kind] -= 1
                self._begin(waiting, waiting.step)
        self._finish(attempt, ending)

    def sweep(self) -> None:
        """End attempts whose task somebody else cancelled before it began: no code of theirs has run that could say so."""
        for attempt in [attempt for attempt in self._running if attempt.task is not None and attempt.task.done()]:
            self._never_began(attempt)

    def _never_began(self, attempt: Attempt, _task: asyncio.Task[Any] | None = None) -> None:
        if attempt.coroutine is not None and inspect.getcoroutinestate(attempt.coroutine) == inspect.CORO_CREATED:
            attempt.coroutine.close()
            self._end(attempt, self._interrupted(attempt, asyncio.CancelledError()))

    # --- blocking steps ----------------------------------------------------------------------------------------------

    def _begin_in_thread(self, attempt: Attempt, step: Step[..., Any]) -> None:
        if self._pool is None:
            self._pool = ThreadPool(self._threads)
        attempt.began = self._clock.now()
        context, lease = self._context(attempt), attempt.writes.lease

        def call() -> None:
            try:
                self._tell(self._thread_began, attempt)
                args, kwargs = self._arguments(attempt, step)
                while not lease.stands():  # as in _sure
                    if lease.over:
                        attempt.on_end = _to_nobody
                        raise StepAbandoned
                    time.sleep(LOOK_AGAIN)
                ending = self._returned(attempt, context.run(step.fn, *args, **kwargs))
            except StepAbandoned:
                ending = self._interrupted(attempt, asyncio.CancelledError())
            except SerializationError as error:
                ending = self._raised(error, fatal=True)
            except BaseException as error:  # whatever a step raises is an answer, also in a thread
                ending = self._interrupted(attempt, error)
            self._tell(self._finish, attempt, ending)

        attempt.job = Job(call)
        self._pool.submit(attempt.job)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            pass  # the loop is gone, and with it whoever waits

    def _thread_began(self, attempt: Attempt) -> None:
        if not attempt.ended:
            attempt.started = self._clock.now()
            self._limit(attempt)

    # --- limits and ends ---------------------------------------------------------------------------------------------

    def _limit(self, attempt: Attempt) -> None:
        timeout = attempt.call.options.timeout
        if timeout is not None:
            attempt.timer = self.loop.call_later(timeout, self._time_out, attempt)

    def _time_out(self, attempt: Attempt) -> None:
        if not attempt.ended:
            attempt.timed_out = True
            self._interrupt(attempt)

    def _interrupt(self, attempt: Attempt) -> None:
        if attempt.grace is not None:
            return  # it has been told, and is given that time
        if attempt.task is not None:
            attempt.task.add_done_callback(functools.partial(self._never_began, attempt))
            attempt.task.cancel()
        elif attempt.job is not None and self._pool is not None:
            self._pool.interrupt(attempt.job)
        attempt.grace = self.loop.call_later(self._cancel_grace, self._give_up, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        if attempt.committing:  # whether it is done only the store knows, and it has not said so yet
            attempt.grace = self.loop.call_later(ASK_AGAIN, self._give_up, attempt)
            return
        if attempt.job is not None and self._pool is not None:
            self._pool.abandon(attempt.job)
        if attempt.timed_out and not attempt.cancelled:
            self._finish(attempt, msgspec.structs.replace(self._timed_out(attempt), overlapping=True))
        else:
            self._finish(attempt, Stopped(abandoned=True))

    def _finish(self, attempt: Attempt, ending: Ending) -> None:
        if attempt.ended:
            return  # it had been given up
        attempt.ended = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        if attempt.grace is not None:
            attempt.grace.cancel()
        self._running.discard(attempt)
        if self._quiet and not self._running:
            for quiet in self._quiet:
                if not quiet.done():
                    quiet.set_result(None)
            self._quiet.clear()
        attempt.on_end(attempt, ending)

    # --- from what a step did to what is recorded --------------------------------------------------------------------

    def _returned(self, attempt: Attempt, value: object) -> Ending:
        if isinstance(value, Recorded):
            return Returned(value.result)
        try:
            return Returned(Raw(self.codec.encode(value, what=f"result of {attempt.call.name}")))
        except SerializationError as error:
            return self._raised(error, fatal=True)  # it would be so again (R10)

    def _interrupted(self, attempt: Attempt, error: BaseException) -> Ending:
        if attempt.cancelled and isinstance(error, asyncio.CancelledError):
            return Stopped()
        if attempt.timed_out and isinstance(error, asyncio.CancelledError):
            return self._timed_out(attempt)
        if isinstance(error, AnsweredError):
            answer = error.answer
            return Raised(error, answer.value, answer.fatal, answer.retry_after)
        if isinstance(error, Hopeless):
            return self._raised(error.error, fatal=True)
        if isinstance(error, FatalError):
            return self._raised(error, fatal=True)
        if isinstance(error, RetryableError):
            after = error.retry_after
            return self._raised(error, retry_after=None if after is None else until(after, now=self._clock.now()))
        if not isinstance(error, Exception) or isinstance(error, StopIteration):
            # a step can't end its workflow by raising what steers Python (R12)
            error = StepError(str(error), type_name=f"{type(error).__module__}:{type(error).__qualname__}")
        return self._raised(error)

    def _timed_out(self, attempt: Attempt) -> Raised:
        return self._raised(
            StepTimeout(
                f"attempt {attempt.number} of {attempt.call.name} ran longer than {attempt.call.options.timeout} s"
            )
        )

    def _raised(self, error: BaseException, *, fatal: bool = False, retry_after: float | None = None) -> Raised:
        return Raised(error, Raw(self.codec.encode_exception(error)), fatal, retry_after)

    # --- what a step sees --------------------------------------------------------------------------------------------

    def _arguments(self, attempt: Attempt, step: Step[..., Any]) -> tuple[tuple[object, ...], dict[str, object]]:
        arguments = attempt.call.arguments
        if arguments is None:
            decoded = self.codec.decode(attempt.call.input)
            assert isinstance(decoded, dict), "a step's input is not a set of arguments"
            arguments = cast("dict[str, object]", decoded)
        return step.binder.spread(arguments)

    def _context(self, attempt: Attempt) -> contextvars.Context:
        context = self._base.copy()
        context.run(step_metadata.set, attempt.metadata)
        context.run(step_sink.set, attempt)
        return context


def _to_nobody(_attempt: Attempt, _ending: Ending) -> None:
    """The worker is going, or has lost its lease; another one will run the step again."""
