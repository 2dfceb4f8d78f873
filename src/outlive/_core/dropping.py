"""Taking a run out of memory without its clean-up doing anything (R24).

CPython runs ``finally`` and ``except BaseException`` when a suspended coroutine is closed. While a run is dropped everything that
it does through Outlive is inert, so what a clean-up does through steps happens once, in the life that counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, cast

from outlive._core.loop import DeterministicLoop, Task
from outlive._core.machine import Machine
from outlive._core.signals import Inert

CLOSE_TRIES: Final = 3
"""``async with TaskGroup()`` answers what is thrown in by waiting for its tasks; the next close gets further."""

graveyard: Final[list[object]] = []
"""Coroutines that would not close. They are kept so that the collector never runs them."""


def drop(machine: Machine) -> None:
    """Close every task's coroutine, newest first, with timers, commands and log lines off."""
    loop = machine.loop
    if loop.dropping:
        return
    loop.dropping = True
    if loop.holds_code:
        _close_all(loop)
    loop.forget()
    machine.open.clear()
    machine.issued.clear()


def _close_all(loop: DeterministicLoop) -> None:
    tasks = loop.all_tasks
    saved = loop.enter()
    try:
        with _no_word_of_what_is_never_awaited():
            for task in reversed(tasks):
                _close(task)
            for generator in reversed(loop.generators):
                _exhaust(generator)
            for task in loop.all_tasks[len(tasks) :]:  # begun by a clean-up: it never runs
                _close(task)
            loop.forget()
    finally:
        loop.leave(saved)


def _close(task: Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is dropped on purpose
    coroutine = cast("Coroutine[Any, Any, object] | None", task.get_coro())  # None after an eager start, from 3.12
    if coroutine is None:
        return
    # Whatever the clean-up raises, it raises to nobody.
    try:
        # before 3.13 a close does not reach what an async generator waits for
        task.context.run(coroutine.throw, Inert)
    except BaseException:
        return
    for _ in range(CLOSE_TRIES):
        try:
            task.context.run(coroutine.close)
        except RuntimeError:
            continue  # it ignored GeneratorExit: it is suspended again, further down
        except BaseException:
            pass
        return
    _bury(coroutine)
    _bury(task)


def _exhaust(generator: Any) -> None:
    closing = generator.aclose()
    step = closing.send
    argument: Any = None
    for _ in range(CLOSE_TRIES):
        try:
            step(argument)
        except BaseException:  # as above; StopIteration is how it says that it is closed
            return
        step, argument = closing.throw, GeneratorExit  # its clean-up waits for something
    _bury(generator)
    _bury(closing)


def _bury(thing: object) -> None:
    graveyard.append(thing)
    # one reference too many: the interpreter's end would close it once more, and with its globals gone it may never come back
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@contextlib.contextmanager
def _no_word_of_what_is_never_awaited() -> Generator[None]:
    """A coroutine that a body has made and not yet awaited dies with it; it will be made again."""
    before = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]  # what CPython calls, by this name
    warnings._warn_unawaited_coroutine = _warn_unless_dropping  # type: ignore[attr-defined]
    try:
        yield
    finally:
        warnings._warn_unawaited_coroutine = before if before is not _warn_unless_dropping else _warn  # type: ignore[attr-defined]


_warn: Final[Callable[[object], None]] = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]


def _warn_unless_dropping(coroutine: object) -> None:
    loop = asyncio._get_running_loop()  # another thread may have something to say
    if not (isinstance(loop, DeterministicLoop) and loop.dropping):
        _warn(coroutine)
