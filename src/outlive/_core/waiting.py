"""``sleep`` and ``race``: awaiting what only waits."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar, cast, overload

from typing_extensions import override

from outlive._core.authoring import is_step
from outlive._core.context import current, now
from outlive.model.durations import Delay, seconds, until

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
T8 = TypeVar("T8")


class Durable(Coroutine[Any, Any, T]):
    """An awaitable of Outlive that only waits. ``race`` withdraws it when it loses, which costs nobody anything (R2).

    It is a coroutine, so that ``create_task`` and ``TaskGroup`` take it; like one it begins when it is first driven.
    """

    __slots__ = ("_coroutine", "_order", "_take_back")

    def __init__(self, coroutine: Coroutine[Any, Any, T], take_back: Callable[[], None] | None = None) -> None:
        self._coroutine = coroutine
        self._order: int | None = None
        self._take_back = take_back

    @override
    def __hash__(self) -> int:
        if self._order is None:
            machine = current()
            self._order = id(self) if machine is None else machine.loop.next_order()  # alike in every process (R21)
        return self._order

    @override
    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    @override
    def send(self, value: Any, /) -> Any:
        return self._coroutine.send(value)

    @override
    def throw(self, *args: Any) -> Any:
        return self._coroutine.throw(*args)

    @override
    def close(self) -> None:
        self._coroutine.close()

    def take_back(self) -> None:
        """It ended and lost all the same: what it was given goes to the next who waits."""
        if self._take_back is not None:
            self._take_back()


@overload
def sleep(delay: Delay) -> Durable[None]: ...
@overload
def sleep(delay: Delay, result: T) -> Durable[T]: ...
def sleep(delay: Delay, result: object = None) -> Durable[Any]:
    """Wait, durably: a day's sleep survives any crash and costs nothing meanwhile. Gives ``result``.

    Args:
        delay: Seconds, ``"30s"``, ``"1 day"``, ``"2h30m"``, ISO 8601 (``"P1D"``), a ``timedelta``, or an aware ``datetime`` to sleep until.

    Raises:
        ValueError: The delay can't be read, or is a naive ``datetime``.
    """
    until(delay, now=0.0)  # a bad delay is told where it is written, not where it is awaited
    amount = delay if not isinstance(delay, str) else seconds(delay)

    async def wait() -> object:
        machine = current()
        if machine is None:
            await asyncio.sleep(until(amount, now=now().timestamp()))
        else:
            await machine.wait(until(amount, now=machine.loop.time()))
        return result

    return Durable(wait())


@overload
def race(a: Awaitable[T1], /) -> Coroutine[object, None, T1]: ...
@overload
def race(a: Awaitable[T1], b: Awaitable[T2], /) -> Coroutine[object, None, T1 | T2]: ...
@overload
def race(a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], /) -> Coroutine[object, None, T1 | T2 | T3]: ...
@overload
def race(
    a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], d: Awaitable[T4], /
) -> Coroutine[object, None, T1 | T2 | T3 | T4]: ...
@overload
def race(
    a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], d: Awaitable[T4], e: Awaitable[T5], /
) -> Coroutine[object, None, T1 | T2 | T3 | T4 | T5]: ...
@overload
def race(
    a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], d: Awaitable[T4], e: Awaitable[T5], f: Awaitable[T6], /
) -> Coroutine[object, None, T1 | T2 | T3 | T4 | T5 | T6]: ...
@overload
def race(
    a: Awaitable[T1],
    b: Awaitable[T2],
    c: Awaitable[T3],
    d: Awaitable[T4],
    e: Awaitable[T5],
    f: Awaitable[T6],
    g: Awaitable[T7],
    /,
) -> Coroutine[object, None, T1 | T2 | T3 | T4 | T5 | T6 | T7]: ...
@overload
def race(
    a: Awaitable[T1],
    b: Awaitable[T2],
    c: Awaitable[T3],
    d: Awaitable[T4],
    e: Awaitable[T5],
    f: Awaitable[T6],
    g: Awaitable[T7],
    h: Awaitable[T8],
    /,
) -> Coroutine[object, None, T1 | T2 | T3 | T4 | T5 | T6 | T7 | T8]: ...
@overload
def race(*aws: Awaitable[T]) -> Coroutine[object, None, T]: ...
@overload
def race(**named: Awaitable[object]) -> Coroutine[object, None, tuple[str, Any]]: ...
def race(*aws: Awaitable[Any], **named: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """The value, or the exception, of the first to settle; with names, ``(name, value)``.

    Losers that only waited (``sleep``, a hook, ``result()``) are withdrawn: they consume nothing. A losing step or coroutine runs on in
    the background and its outcome is discarded; wrap it in a task and cancel that if it must stop. Cancelling the race cancels all.
    """
    if aws and named:
        raise TypeError("race takes awaitables, or named awaitables, not both")
    if not aws and not named:
        raise TypeError("race needs something to wait for")
    return _race(list(named), list(named.values()) or list(aws))


async def _race(names: list[str], aws: list[Awaitable[Any]]) -> Any:
    contestants = [_contestant(aw) for aw in aws]
    tasks = [asyncio.ensure_future(contestant) for contestant in contestants]
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for place, task in enumerate(tasks):
        task.add_done_callback(lambda _task, place=place: None if first.done() else first.set_result(place))  # type: ignore[misc]  # mypy can't infer the default
    try:
        winner = await first
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for contestant, task in reversed(list(zip(contestants, tasks, strict=True))):
                _discard(contestant, task)
        raise
    for place in reversed(range(len(tasks))):
        if place != winner:
            _withdraw(contestants[place], tasks[place])
    value = tasks[winner].result()
    return (names[winner], value) if names else value


def _contestant(aw: Awaitable[T]) -> Awaitable[T]:
    """What stands for ``aw`` in a race: a hook stands for its next payload."""
    receive = getattr(aw, "receive", None)
    return cast("Awaitable[T]", receive()) if receive is not None else aw


def _withdraw(contestant: Awaitable[Any], task: asyncio.Future[Any]) -> None:
    """It lost: what only waits leaves, what works runs on."""
    if task.done():
        _discard(contestant, task)
        return
    task.add_done_callback(functools.partial(_discard, contestant))
    machine = current()
    if isinstance(contestant, Durable):
        task.cancel()
    elif machine is not None and is_step(contestant):
        machine.loop.detach(cast("asyncio.Task[Any]", task))  # the run ends without it (R5)


def _discard(contestant: Awaitable[Any], task: asyncio.Future[Any]) -> None:
    """Nobody wants to know how it ended."""
    if task.done() and not task.cancelled():
        task.exception()  # retrieved, so that nobody reports it
        if isinstance(contestant, Durable):
            contestant.take_back()
