"""``@workflow`` and ``@step``: what decorated functions become."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from msgspec import Raw

from outlive._codec import digest
from outlive._core.binding import Binder
from outlive._core.context import current
from outlive._core.loop import DeterministicLoop
from outlive._core.pending import StepFuture
from outlive._core.registry import Registry, registry, stable_name
from outlive._core.texts import LONGEST_NAME, check_run_id, check_text
from outlive.errors import NonDeterminismError
from outlive.model.commands import CallStep
from outlive.model.durations import Duration, seconds
from outlive.model.ids import PLAIN_NAME
from outlive.model.retry import RetryPolicy
from outlive.model.steps import DEFAULT_QUEUE, StepExecutor, StepOptions

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")
S = TypeVar("S")

_MOST_PRIORITY = 2**31 - 1
_SCALARS = frozenset({str, int, float, bool, type(None), bytes})


class Step(Generic[P, R]):
    """A function whose result is recorded. Calling it gives a coroutine; outside a workflow that runs the function once.

    What it gives is typed ``Coroutine[object, None, R]``: with ``Any`` in it mypy loses the types of ``asyncio.gather``.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        options: StepOptions,
        binder: Binder,
        bound: tuple[object, ...] = (),
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = name
        self.step_options = options
        self.binder = binder
        self.is_async: bool = inspect.iscoroutinefunction(fn)
        self._bound = bound

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, R]:
        loop = asyncio._get_running_loop()
        origin = loop if isinstance(loop, DeterministicLoop) else None
        coroutine = self._drive(origin, (*self._bound, *args), kwargs)
        coroutine.__qualname__ = self.fn.__qualname__  # type: ignore[attr-defined]  # what Python calls it if nobody awaits it
        return coroutine

    async def _drive(self, origin: DeterministicLoop | None, args: tuple[object, ...], kwargs: dict[str, object]) -> R:
        machine = current()
        if machine is None or (origin is not None and machine.loop is not origin):
            if origin is not None:
                where = (
                    "inside a workflow and awaited outside of it"
                    if machine is None
                    else "in one run and awaited in another"
                )
                raise NonDeterminismError(f"step {self.name} was called {where}; await it where it is called")
            return await self._plain(args, kwargs)
        arguments = self.binder.bind(args, kwargs)
        encoded = machine.encode(arguments, self.name)
        mark = digest(encoded)
        ref = machine.issue("step", self.name, mark)
        scalars = _SCALARS.issuperset(map(type, arguments.values()))
        command = CallStep(
            ref=ref,
            name=self.name,
            digest=mark,
            input=Raw(encoded),
            options=self.step_options,
            arguments=arguments if scalars else None,
        )
        return await machine.call(command, StepFuture[R](machine, ref), ref)

    async def _plain(self, args: tuple[object, ...], kwargs: dict[str, object]) -> R:
        if self.is_async:
            return cast("R", await self.fn(*args, **kwargs))
        context = contextvars.copy_context()
        call = functools.partial(context.run, self.fn, *args, **kwargs)
        return cast("R", await asyncio.get_running_loop().run_in_executor(None, call))

    def options(
        self,
        *,
        max_retries: int | None = None,
        retry_delay: Duration | None = None,
        timeout: Duration | None = None,
        at_most_once: bool | None = None,
        transaction: bool | None = None,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Step[P, R]:
        """The same step with other options for one call; what is left out stays."""
        options = _options(
            max_retries=max_retries,
            retry_delay=retry_delay,
            timeout=timeout,
            at_most_once=at_most_once,
            transaction=transaction,
            queue=queue,
            priority=priority,
            base=self.step_options,
        )
        return Step(self.fn, name=self.name, options=options, binder=self.binder, bound=self._bound)

    @overload
    def __get__(self, obj: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self: Step[Concatenate[S, P2], R], obj: S, owner: type | None = None) -> Step[P2, R]: ...
    def __get__(self, obj: object, owner: type | None = None) -> object:
        if obj is None:
            return self
        bound: Step[..., Any] = Step(
            self.fn, name=self.name, options=self.step_options, binder=self.binder, bound=(obj,)
        )
        return bound

    def __repr__(self) -> str:
        return f"<step {self.name}>"


def is_step(awaitable: object) -> bool:
    """Whether it is what calling a step gives."""
    return getattr(awaitable, "cr_code", None) is Step._drive.__code__  # pyright: ignore[reportUnknownMemberType]  # of any step


class Workflow(Generic[P, R]):
    """A deterministic async function that orchestrates. Awaited inside another workflow it runs inline, in the caller's log."""

    def __init__(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        *,
        name: str,
        binder: Binder,
        version: str | None = None,
        run_id: str | None = None,
        tags: tuple[str, ...] = (),
        queue: str = DEFAULT_QUEUE,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.name = name
        self.version = version
        self.binder = binder
        self.run_id = run_id
        self.tags = tags
        self.queue = queue

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, R]:
        return self.fn(*args, **kwargs)

    def options(
        self,
        *,
        run_id: str | None = None,
        tags: tuple[str, ...] | list[str] | None = None,
        queue: str | None = None,
    ) -> Workflow[P, R]:
        """The same workflow for one start: with a run id of your choice, with tags, or for workers that serve ``queue``."""
        return Workflow(
            self.fn,
            name=self.name,
            binder=self.binder,
            version=self.version,
            run_id=self.run_id if run_id is None else check_run_id(run_id),
            tags=self.tags if tags is None else tuple(check_text(tag, "a tag", most=LONGEST_NAME) for tag in tags),
            queue=self.queue if queue is None else check_queue(queue),
        )

    def body(self, arguments: dict[str, object]) -> Coroutine[Any, Any, object]:
        """The coroutine of one run."""
        args, kwargs = self.binder.spread(arguments)
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


def _options(
    *,
    max_retries: int | None,
    retry_delay: Duration | None,
    timeout: Duration | None,
    at_most_once: bool | None,
    transaction: bool | None,
    queue: str | None,
    priority: int | None,
    base: StepOptions,
) -> StepOptions:
    max_retries = None if max_retries is None else whole(max_retries, "max_retries")
    if max_retries is not None and max_retries < 0:
        raise ValueError("max_retries is a number of attempts after the first: 0 or more")
    if at_most_once and max_retries:
        raise ValueError("a step that runs at most once can't be retried; leave max_retries out")
    once = base.at_most_once if at_most_once is None else bool(at_most_once)
    transacts = base.transaction if transaction is None else bool(transaction)
    if once and transacts:
        raise ValueError("a step in a transaction is done exactly once; leave at_most_once out")
    where = base.queue if queue is None else queue
    if transacts and base.executor:
        raise ValueError("a step in a transaction runs beside its log; leave executor out")
    if base.executor not in ("", "process"):
        raise ValueError(f'{base.executor!r} is no way to run a step; there is executor="process"')
    if where:
        check_queue(where)
    if where and transacts:
        raise ValueError("a step in a transaction runs where its run is, beside its log; leave queue out")
    order = base.priority if priority is None else whole(priority, "priority")
    if order and not where:
        raise ValueError("only a step in a queue has a priority; give it queue=")
    if not -_MOST_PRIORITY <= order <= _MOST_PRIORITY:
        raise ValueError(f"a priority is a number from {-_MOST_PRIORITY} to {_MOST_PRIORITY}")
    retries = base.retry.max_retries if max_retries is None else max_retries
    return StepOptions(
        retry=RetryPolicy(
            max_retries=0 if once else retries,
            delay=base.retry.delay if retry_delay is None else seconds(retry_delay),
        ),
        timeout=base.timeout if timeout is None else seconds(timeout),
        at_most_once=once,
        transaction=transacts,
        queue=where,
        priority=order,
        executor=base.executor,
    )


def whole(number: object, what: str) -> int:
    """``number``, which will be stored and has to come back.

    Raises:
        TypeError: It is no whole number; a bool is none.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{what} is a whole number, not {number!r}")
    return int(number)


def check_queue(name: str) -> str:
    """``name``, if a queue can have it.

    Raises:
        ValueError: It can't.
    """
    if not isinstance(cast("object", name), str) or not PLAIN_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} can't be the name of a queue: up to 128 letters, digits and _ . : -, not beginning with a dot"
        )
    return name


def _refuse_generators(fn: Callable[..., object], what: str) -> None:
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"{fn.__qualname__} is a generator; a {what} returns one value (return a list)")
    if not inspect.isfunction(fn):
        raise TypeError(
            f"@{what} goes on a function, not on {fn!r}; with staticmethod or classmethod put @{what} inside"
        )


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    max_retries: int | None = None,
    retry_delay: Duration | None = None,
    timeout: Duration | None = None,
    at_most_once: bool = False,
    transaction: bool = False,
    queue: str = "",
    priority: int = 0,
    executor: StepExecutor = "",
) -> StepDecorator: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    max_retries: int | None = None,
    retry_delay: Duration | None = None,
    timeout: Duration | None = None,
    at_most_once: bool = False,
    transaction: bool = False,
    queue: str = "",
    priority: int = 0,
    executor: StepExecutor = "",
) -> Step[..., Any] | StepDecorator:
    """Mark a function as a step: work whose result is recorded once.

    An ``async def`` runs on the worker's loop, a ``def`` in a thread. Before its result is recorded a step runs at least once;
    ``get_step_metadata().step_id`` is the key that makes its effect idempotent.

    Args:
        name: Stable name in the log; ``module:qualname`` unless given. Renaming a step changes what sleeping runs meet.
        max_retries: Attempts after the first (3).
        retry_delay: Pause between attempts; unset it doubles from 1 s, with jitter.
        timeout: Limit of one attempt, from its start.
        at_most_once: Record the start before the call; after a crash in between raise ``StepInterrupted`` instead of running again.
        transaction: Run it in a transaction of your own database, which commits its effect and its recorded result together: it is done
            exactly once. For an ``async def``, on PostgreSQL; see :func:`get_connection` and ``docs/transactions.md``.
        queue: Let any worker run it that serves this queue, on whatever machine; see ``docs/queues.md``. Until one does, the step waits.
        priority: Within its queue the lowest first, as in ``asyncio.PriorityQueue``.
        executor: ``"process"`` runs it in a process of its own, for work that keeps a CPU busy; see ``docs/queues.md``.
    """
    decorate = StepDecorator(
        name,
        _options(
            max_retries=max_retries,
            retry_delay=retry_delay,
            timeout=timeout,
            at_most_once=at_most_once,
            transaction=transaction,
            queue=queue,
            priority=priority,
            base=StepOptions(executor=executor),
        ),
    )
    return decorate if fn is None else decorate(fn)


class StepDecorator:
    """``@step(...)`` with options."""

    def __init__(self, name: str | None, options: StepOptions, registry: Registry = registry) -> None:
        self._name = name
        self._options = options
        self._registry = registry

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Step[..., Any]:
        _refuse_generators(fn, "step")
        if self._options.transaction and not inspect.iscoroutinefunction(fn):
            raise TypeError(f"{fn.__qualname__} is not async; a step in a transaction is an async def")
        made: Step[..., Any] = Step(fn, name=self._name or stable_name(fn), options=self._options, binder=Binder(fn))
        self._registry.steps.add(made)
        self._registry.reach(fn)
        return made


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(*, name: str | None = None, version: str | None = None) -> WorkflowDecorator: ...
def workflow(
    fn: Callable[..., Any] | None = None, /, *, name: str | None = None, version: str | None = None
) -> Workflow[..., Any] | WorkflowDecorator:
    """Mark an ``async def`` as a workflow: it awaits steps, sleeps and hooks, and is replayed from its log after a crash.

    Args:
        name: Stable name; ``module:qualname`` unless given.
        version: A label of yours, shown with the workflow.
    """
    decorate = WorkflowDecorator(name, version)
    return decorate if fn is None else decorate(fn)


class WorkflowDecorator:
    """``@workflow(...)`` with options."""

    def __init__(self, name: str | None, version: str | None, registry: Registry = registry) -> None:
        self._name = name
        self._version = version
        self._registry = registry

    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]:
        _refuse_generators(fn, "workflow")
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"{fn.__qualname__} is not async; a workflow is an async def")
        made: Workflow[P, R] = Workflow(
            fn, name=self._name or stable_name(fn), version=self._version, binder=Binder(fn)
        )
        self._registry.workflows.add(made)
        self._registry.reach(fn)
        return made
