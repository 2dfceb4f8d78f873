"""Insertion order for the sets that ``asyncio.wait`` and ``asyncio.as_completed`` iterate (R21).

Both take the awaitables they are given through ``set(...)``, and ``wait`` fills two sets with futures. Coroutines hash by address,
and so does a plain ``asyncio.Future()``; their order would be another one in each process. The name ``set`` in ``asyncio.tasks`` is
therefore bound to a function that keeps the caller's order when a deterministic loop is running, and makes a builtin
set otherwise. The functions look the name up when they run, so ``from asyncio import as_completed`` gains by it too.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


class OrderedSet(set[T]):
    """A set that iterates in the order in which it was filled; what CPython puts in without calling us comes last."""

    _order: dict[T, None] | None = None  # of a copy, which CPython makes without calling us

    def __init__(self, items: Iterable[T] = ()) -> None:
        order = dict.fromkeys(items)
        super().__init__(order)
        self._order = order

    @override
    def add(self, element: T, /) -> None:
        super().add(element)
        if self._order is None:
            self._order = {}
        self._order[element] = None

    @override
    def pop(self) -> T:
        for item in self:
            self.discard(item)
            return item
        raise KeyError("pop from an empty set")

    @override
    def __iter__(self) -> Iterator[T]:
        order = self._order or {}
        kept = [item for item in order if item in self]
        added = [item for item in super().__iter__() if item not in order] if len(kept) != len(self) else []
        return iter([*kept, *added])


def set_within_asyncio(items: Iterable[T] | None = None) -> set[T]:
    """Stands for ``set`` in ``asyncio.tasks``."""
    if getattr(type(asyncio._get_running_loop()), "ordered", False):
        return OrderedSet(items if items is not None else ())
    return set(items) if items is not None else set()


def install_ordered_sets() -> None:
    """Bind ``set`` in ``asyncio.tasks``. Again and again, to no further effect."""
    asyncio.tasks.__dict__["set"] = set_within_asyncio
