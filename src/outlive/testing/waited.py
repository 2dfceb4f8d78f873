"""A store of a server, for virtual time: while it is asked, the clock stands."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from outlive.stores.protocol import Store
from outlive.testing.clock import VirtualTimeLoop

T = TypeVar("T")


class _Waited:
    """Every call of ``inner``; the loop waits in real time for those that are awaited."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _waited(found) if inspect.iscoroutinefunction(found) else found


def _waited(call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(call)
    async def waited(*args: Any, **kwargs: Any) -> Any:
        return await in_real_time(call(*args, **kwargs))

    return waited


async def in_real_time(call: Awaitable[T]) -> T:
    """What ``call`` gives; a virtual clock stands until then."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        return await call
    with loop.waiting():
        return await call


def in_virtual_time(store: Store) -> Store:
    """``store``, for an engine on a :class:`~outlive.testing.clock.VirtualTimeLoop`."""
    return cast("Store", _Waited(store))
