"""The deterministic event loop: asyncio whose time is the log's time and whose only I/O is commands.

It runs inside a callback of the worker's loop, one activation at a time, until nothing is ready. Everything here is about
order: callbacks run in the order in which they were scheduled, futures and tasks hash by the order of their creation (R21),
and nothing gets in between activations (R26).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import sys
from asyncio import events as _events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple, cast

from typing_extensions import override

from outlive._core.guard import Guard
from outlive._core.order import install_ordered_sets
from outlive._core.primitives import install_bound_primitives
from outlive.errors import NonDeterminismError
from outlive.model.durations import FOREVER

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CALLBACKS: Final = 100_000
"""A drain that runs more callbacks than this is never idle (R28)."""


class NeverIdle(BaseException):
    """A body schedules callbacks without end; private, outside ``Exception`` so that no body catches it."""


class Host(Protocol):
    """Who turns the loop's timers into durable waits, and hears of tasks that fail."""

    def start_timer(self, handle: Timer, delay: float) -> None: ...
    def cancel_timer(self, handle: Timer) -> None: ...
    def task_failed(self, task: asyncio.Task[Any]) -> None: ...


class Timer(asyncio.TimerHandle):
    """What ``call_later`` returns: a durable wait. ``ref`` names its command."""

    ref: int = 0


def _outside(what: str) -> NoReturn:
    raise NonDeterminismError(
        f"{what}: a step, a thread or a callback touched a workflow's future from outside the workflow; "
        "return a value from the step instead, or send it through a hook"
    )


class Future(asyncio.Future[T]):
    """A future of the deterministic loop. It hashes by creation order and can't be settled from outside (R26)."""

    __slots__ = ("_order",)

    def __init__(self, *, loop: DeterministicLoop) -> None:
        super().__init__(loop=loop)
        self._order = loop.next_order()

    @override
    def __hash__(self) -> int:
        return self._order

    @override
    def set_result(self, result: T, /) -> None:
        if asyncio._get_running_loop() is not self.get_loop():
            _outside("set_result()")
        super().set_result(result)

    @override
    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        if asyncio._get_running_loop() is not self.get_loop():
            _outside("set_exception()")
        super().set_exception(exception)

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        if asyncio._get_running_loop() is not self.get_loop():
            _outside("cancel()")
        return super().cancel(msg)


class Task(asyncio.Task[T]):
    """A task of the deterministic loop."""

    __slots__ = ("_order", "context")

    def __init__(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: DeterministicLoop,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        # the order first: Task.__init__ puts the task into a WeakSet, which hashes it
        self._order = loop.next_order()
        self.context: contextvars.Context = contextvars.copy_context() if context is None else context
        number = self._order - loop.first_order
        super().__init__(coro, loop=loop, name=name or f"Task-{number}", context=self.context)

    @override
    def __hash__(self) -> int:
        return self._order

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        if asyncio._get_running_loop() is not self.get_loop():
            _outside("cancel()")
        return super().cancel(msg)


class DeterministicLoop(asyncio.AbstractEventLoop):
    """One run's loop. Methods that would leave the deterministic world raise ``NonDeterminismError``."""

    ordered: Final = True  # asked by order.py

    def __init__(self, host: Host, guard: Guard, *, first_order: int = 0) -> None:
        """``first_order`` sets this loop's tasks apart: asyncio keeps all tasks of a thread in one set, which gets slow if they all hash alike."""
        install_ordered_sets()
        _install_ordered_futures()
        install_bound_primitives()
        self.host = host
        self._guard = guard
        self._time = 0.0
        self.first_order = first_order
        self._order = first_order
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: dict[Task[Any], None] = {}
        self._detached: dict[Task[Any], None] = {}
        self._generators: dict[int, AsyncGenerator[object, object]] = {}
        self._many_generators = 64
        self._debug = False
        self.active: bool = False
        self.dropping = False
        self.on_exception: Callable[[dict[str, Any]], None] = lambda _context: None

    # --- driven from outside -----------------------------------------------------------------------------------------

    def advance(self, time: float) -> None:
        """Move the clock to ``time``, never back (R14)."""
        self._time = max(self._time, time)

    def drain(self) -> None:
        """Run callbacks until none is ready.

        Raises:
            NeverIdle: More than ``MAX_CALLBACKS`` of them ran.
        """
        ready, rearm = self._ready, self._guard.rearm if self._guard.strict else None
        budget = MAX_CALLBACKS
        while ready:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            budget -= 1
            if budget < 0:
                raise NeverIdle
            if rearm is not None:
                rearm()
            try:
                handle._run()  # asyncio's own way to run a handle
            except SystemExit:
                pass  # the task that raised it has it as its exception; it says nothing to this process

    def enter(self) -> tuple[asyncio.AbstractEventLoop | None, Any, bool]:
        """Make this the running loop of the thread; give what :meth:`leave` needs to put back."""
        outer = _events._get_running_loop()
        if outer is not None and (
            isinstance(outer, DeterministicLoop) or (not self.dropping and asyncio.current_task(outer) is not None)
        ):
            raise RuntimeError("an activation is entered from a callback of the worker's loop, not from a task (R27)")
        # a collection inside an activation would run finalizers at an unrecorded moment (R25), and its callbacks under the guard
        collecting = gc.isenabled()
        gc.disable()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generator_started, finalizer=_keep)
        _events._set_running_loop(self)
        self.active = True
        self._guard.enter()
        return outer, hooks, collecting

    def leave(self, saved: tuple[asyncio.AbstractEventLoop | None, Any, bool]) -> None:
        self._guard.exit()
        self.active = False
        outer, hooks, collecting = saved
        _events._set_running_loop(outer)
        sys.set_asyncgen_hooks(*hooks)
        if collecting:
            gc.enable()

    def next_order(self) -> int:
        self._order += 1
        return self._order

    def fire(self, timer: Timer) -> None:
        """Schedule the callback of a wait that is over; the clock reaches at least its ``when``."""
        self.advance(timer.when())
        self._ready.append(timer)

    @property
    def tasks(self) -> list[Task[Any]]:
        """Tasks not yet done, in creation order, but for those that were detached."""
        return list(self._tasks)

    @property
    def all_tasks(self) -> list[Task[Any]]:
        """Tasks not yet done, the detached ones first."""
        return [*self._detached, *self._tasks]

    def detach(self, task: asyncio.Task[Any]) -> None:
        """Nobody waits for ``task`` any more, nor does the end of the run."""
        if self._tasks.pop(cast("Task[Any]", task), self) is None:
            self._detached[cast("Task[Any]", task)] = None

    @property
    def generators(self) -> list[AsyncGenerator[object, object]]:
        """Async generators that were started and not yet closed."""
        return list(self._generators.values())

    def _generator_started(self, generator: AsyncGenerator[object, object]) -> None:
        # kept until it is exhausted: a finalizer would run its ``finally`` whenever the collector pleases (R25)
        if len(self._generators) >= self._many_generators:
            self._generators = {key: kept for key, kept in self._generators.items() if kept.ag_frame is not None}  # type: ignore[attr-defined]
            self._many_generators = 64 + 2 * len(self._generators)
        self._generators[id(generator)] = generator

    @property
    def holds_code(self) -> bool:
        """Whether there is any task, generator or callback left."""
        return bool(self._tasks or self._detached or self._generators or self._ready)

    def forget(self) -> None:
        """Let go of everything that the run held."""
        self._ready.clear()
        self._tasks.clear()
        self._detached.clear()
        self._generators.clear()

    # --- asyncio's side ----------------------------------------------------------------------------------------------

    @override
    def time(self) -> float:
        return self._time

    @override
    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if asyncio._get_running_loop() is not self:
            _outside("call_soon()")
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dropping:
            self._ready.append(handle)
        return handle

    @override
    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    @override
    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if asyncio._get_running_loop() is not self:
            _outside("call_later()")
        delay = min(float(delay), FOREVER)  # as the log gives it back: there 5 is 5.0
        if math.isnan(delay):
            raise ValueError("a delay can't be NaN")
        timer = Timer(self._time + delay, callback, args, self, context)
        if self.dropping:
            return timer
        if delay <= 0:
            self._ready.append(timer)  # due now: no one has to wait for it
        else:
            self.host.start_timer(timer, delay)
        return timer

    @override
    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self._time, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:  # how a handle tells its loop
        if asyncio._get_running_loop() is not self:
            _outside("a timer's cancel()")
        if not self.dropping:
            self.host.cancel_timer(cast("Timer", handle))

    @override
    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    @override
    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        **kwargs: Any,
    ) -> Task[T]:
        if asyncio._get_running_loop() is not self:
            _outside("create_task()")
        if kwargs.pop("eager_start", None):
            raise NonDeterminismError("eager tasks are not supported in a workflow; leave eager_start out")
        task = Task(coro, loop=self, name=None if name is None else str(name), context=context)
        self._tasks[task] = None
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if self._tasks.pop(cast("Task[Any]", task), self) is self:
            self._detached.pop(cast("Task[Any]", task), None)
        if task._log_traceback:  # it failed, and so far nobody has asked
            self.host.task_failed(task)

    @override
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_exception(context)

    @override
    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_exception(context)

    @override
    def get_exception_handler(self) -> None:
        return None

    @override
    def get_debug(self) -> bool:
        return False

    @override
    def set_debug(self, enabled: bool) -> None:
        """Asyncio's debug mode reads clocks and stacks; a workflow has none."""

    @override
    def is_running(self) -> bool:
        return self.active

    @override
    def is_closed(self) -> bool:
        return False

    @override
    async def shutdown_asyncgens(self) -> None:
        while self._generators:
            await self._generators.pop(next(iter(self._generators))).aclose()

    @override
    def get_task_factory(self) -> None:
        return None


class _GatheringFuture(asyncio.tasks._GatheringFuture):  # type: ignore[name-defined,misc]  # the one future that asyncio makes without asking its loop
    """What ``gather`` returns; on our loops it hashes by creation order too (R21)."""

    def __init__(self, children: list[asyncio.Future[Any]], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(children, loop=loop)  # pyright: ignore[reportUnknownMemberType]
        self._order: int = loop.next_order() if isinstance(loop, DeterministicLoop) else object.__hash__(self)

    @override
    def __hash__(self) -> int:
        return self._order


_asyncio_all_tasks: Final = asyncio.tasks.all_tasks


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """Return a set of all tasks for the loop; for ours in creation order, and not in that of a set of the whole process."""
    asked = loop if loop is not None else asyncio.get_running_loop()
    if not isinstance(asked, DeterministicLoop):
        return _asyncio_all_tasks(loop)
    return {task for task in asked.all_tasks if not task.done()}


def _install_ordered_futures() -> None:
    asyncio.tasks.__dict__["_GatheringFuture"] = _GatheringFuture
    for module in (asyncio, asyncio.tasks):
        module.__dict__["all_tasks"] = _all_tasks


def _keep(_generator: AsyncGenerator[object, object]) -> None:
    """Finalizer of a run's async generators: nothing. The run closes them itself (R25)."""


_INSTEAD: Final[dict[str, str]] = {
    "run_in_executor": "put the work into a step",
    "set_default_executor": "put the work into a step",
    "getaddrinfo": "make the call in a step",
    "getnameinfo": "make the call in a step",
    "create_connection": "make the call in a step",
    "create_server": "serve from outside the workflow and send what comes in through a hook",
    "create_unix_connection": "make the call in a step",
    "create_unix_server": "serve from outside the workflow and send what comes in through a hook",
    "create_datagram_endpoint": "make the call in a step",
    "connect_accepted_socket": "make the call in a step",
    "connect_read_pipe": "read in a step",
    "connect_write_pipe": "write in a step",
    "sendfile": "send in a step",
    "start_tls": "make the call in a step",
    "subprocess_shell": "run it in a step",
    "subprocess_exec": "run it in a step",
    "add_reader": "read in a step",
    "remove_reader": "read in a step",
    "add_writer": "write in a step",
    "remove_writer": "write in a step",
    "sock_recv": "read in a step",
    "sock_recv_into": "read in a step",
    "sock_recvfrom": "read in a step",
    "sock_recvfrom_into": "read in a step",
    "sock_sendall": "write in a step",
    "sock_sendto": "write in a step",
    "sock_connect": "make the call in a step",
    "sock_accept": "serve from outside the workflow and send what comes in through a hook",
    "sock_sendfile": "send in a step",
    "add_signal_handler": "cancel the run from outside",
    "remove_signal_handler": "cancel the run from outside",
    "set_task_factory": "a workflow's tasks are the loop's own",
    "set_exception_handler": "catch the exception where it is raised",
    "run_forever": "await instead",
    "run_until_complete": "await instead",
    "stop": "return from the workflow instead",
    "close": "return from the workflow instead",
    "shutdown_default_executor": "there is none in a workflow",
}


def _refuse(name: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(_self: DeterministicLoop, *_args: object, **_kwargs: object) -> NoReturn:
        raise NonDeterminismError(f"loop.{name}() leaves the deterministic world of a workflow; {instead}")

    refuse.__name__ = name
    return refuse


for _name, _what in _INSTEAD.items():
    setattr(DeterministicLoop, _name, _refuse(_name, _what))
DeterministicLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # every one is refused above
