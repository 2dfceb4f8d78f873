"""Taking a run out of memory without its clean-up doing anything (R24).

CPython runs ``finally`` and ``except BaseException`` when a suspended coroutine is closed. While a run is dropped everything that
it does through Outlive is inert, so what a clean-up does through steps happens once, in the life that counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from outlive._core.machine import Machine

CLOSE_TRIES: Final = 4
"""``async with TaskGroup()`` answers a close with "coroutine ignored GeneratorExit"; the next close gets further."""

graveyard: Final[list[object]] = []
"""Coroutines that would not close. They are kept so that the collector never runs them."""


def drop(machine: Machine) -> None:
    """Close every task's coroutine, newest first, with timers, commands and log lines off."""
    loop = machine.loop
    if loop.dropping:
        return
    loop.dropping = True
    tasks = loop.tasks
    saved = loop.enter()
    try:
        for task in reversed(tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is dropped on purpose
            _close(task)
        for generator in reversed(loop.generators):
            _exhaust(generator)
    finally:
        loop.leave(saved)
    loop.forget()
    machine.open.clear()
    machine.issued.clear()


def _close(task: asyncio.Task[Any]) -> None:
    coroutine = task.get_coro()
    if coroutine is None:
        return
    for _ in range(CLOSE_TRIES):
        # whatever the clean-up raises, it raises to nobody
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it ignored GeneratorExit: it is suspended again, further down
        except BaseException:
            pass
        return
    graveyard.append(coroutine)
    graveyard.append(task)


def _exhaust(generator: Any) -> None:
    closing = generator.aclose()
    for _ in range(CLOSE_TRIES):
        try:
            closing.send(None)
        except StopIteration:
            return
        except RuntimeError:
            return
        except BaseException:
            return
    graveyard.append(generator)
    with contextlib.suppress(BaseException):
        closing.close()
