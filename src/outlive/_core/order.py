"""Insertion order for the sets that ``asyncio.wait`` and ``asyncio.as_completed`` iterate (R21).

Both take the awaitables they are given through ``set(...)``. Coroutines hash by address, so their tasks would be
created, and their commands numbered, in another order in each process. The name ``set`` in ``asyncio.tasks`` is
therefore bound to a function that keeps the caller's order when a deterministic loop is running, and makes a builtin
set otherwise. The functions look the name up when they run, so ``from asyncio import as_completed`` gains by it too.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T")


class OrderedSet(set[T]):
    """A set that iterates in the order in which it was built; what is added later comes last."""

    _order: Mapping[T, None] = MappingProxyType({})  # of a copy, which CPython makes without calling us

    def __init__(self, items: Iterable[T]) -> None:
        order = dict.fromkeys(items)
        super().__init__(order)
        self._order = order

    @override
    def __iter__(self) -> Iterator[T]:
        kept = [item for item in self._order if item in self]
        added = [item for item in super().__iter__() if item not in self._order] if len(kept) != len(self) else []
        return iter([*kept, *added])


def set_within_asyncio(items: Iterable[T] | None = None) -> set[T]:
    """Stands for ``set`` in ``asyncio.tasks``.

    A set that starts empty is the builtin everywhere: ``wait`` fills two with futures, which hash by creation order,
    and gives them to the caller.
    """
    if items is None:
        return set()
    ours = getattr(type(asyncio._get_running_loop()), "ordered", False)
    return OrderedSet(items) if ours else set(items)


def install_ordered_sets() -> None:
    """Bind ``set`` in ``asyncio.tasks``. Again and again, to no further effect."""
    asyncio.tasks.__dict__["set"] = set_within_asyncio
