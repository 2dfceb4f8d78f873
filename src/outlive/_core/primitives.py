"""Locks, queues, events, conditions and barriers belong to the run that makes them (R26).

asyncio binds a primitive to the loop on which it first has to wait, so one that a module made would belong to whichever run came
first, and fail all others and every replay. On our loops one is bound as it is made, and waiting on any other is refused in all
modes of the guard; strict mode refuses any use. Outside of bodies asyncio does what it always does.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import mixins
from collections.abc import Callable
from typing import Any, Final, cast

from outlive._core import guard_table as table
from outlive._core.guard import blame, line_of
from outlive.errors import NonDeterminismError

_Mixin: Final[Any] = mixins._LoopBoundMixin  # the base of all of them
_bind_at_first_wait: Final[Callable[[object], asyncio.AbstractEventLoop]] = _Mixin._get_loop


def _ours() -> asyncio.AbstractEventLoop | None:
    loop = asyncio._get_running_loop()
    return loop if getattr(type(loop), "ordered", False) else None


def _made(cls: type[Any], *_args: object, **_kwargs: object) -> object:
    made = object.__new__(cls)
    loop = _ours()
    # one that a module makes while a body imports it belongs to the module
    if loop is not None and blame(sys._getframe(1)) is not None:  # pyright: ignore[reportPrivateUsage]  # whoever makes it
        made._loop = loop
    return cast("object", made)


def _loop_to_wait_on(primitive: Any) -> asyncio.AbstractEventLoop:
    loop = _ours()
    if loop is None:
        return _bind_at_first_wait(primitive)
    bound: object = primitive._loop
    if bound is not loop:
        where = line_of(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]  # whoever waits
        name = f"asyncio.{type(primitive).__name__}"
        raise NonDeterminismError(f"{name} at {where} was created outside the workflow body; {table.PRIMITIVE}")
    return loop


def install_bound_primitives() -> None:
    """Again and again, to no further effect."""
    _Mixin.__new__ = _made
    _Mixin._get_loop = _loop_to_wait_on
