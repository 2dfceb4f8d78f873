"""Sets within asyncio keep the caller's order on our loops (R21)."""

from __future__ import annotations

import ast
import asyncio
import asyncio.tasks
import inspect
import subprocess
import sys
from asyncio import as_completed
from typing import TYPE_CHECKING, ClassVar

import pytest

from outlive._core.order import OrderedSet, install_ordered_sets, set_within_asyncio

if TYPE_CHECKING:
    from collections.abc import Iterator

install_ordered_sets()


class OrderedLoop(asyncio.SelectorEventLoop):
    """Stands in for the deterministic loop."""

    ordered: ClassVar[bool] = True


@pytest.fixture
def on_our_loop() -> Iterator[None]:
    loop = OrderedLoop()
    asyncio._set_running_loop(loop)
    yield
    asyncio._set_running_loop(None)
    loop.close()


def started_by_as_completed(loop: asyncio.AbstractEventLoop) -> list[int]:
    started: list[int] = []

    async def note(number: int) -> None:
        started.append(number)

    async def main() -> None:
        for next_done in as_completed([note(number) for number in range(50)]):
            await next_done

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return started


class Unlucky:
    """Hashes against the order of creation, as an address may."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return -self.number


@pytest.mark.usefixtures("on_our_loop")
def test_a_set_built_within_asyncio_iterates_in_insertion_order() -> None:
    items = [Unlucky(number) for number in range(50)]
    assert list(asyncio.tasks.__dict__["set"](items)) == items


def test_duplicates_count_once() -> None:
    assert list(OrderedSet([3, 1, 3, 2])) == [3, 1, 2]


def test_it_is_a_set_all_the_same() -> None:
    built = OrderedSet([3, 1, 2])
    built.discard(3)
    built.add(9)
    assert isinstance(built, set)
    assert built == {1, 2, 9}
    assert list(built) == [1, 2, 9]
    assert built | {4} == {1, 2, 4, 9}
    assert set(built.copy()) == {1, 2, 9}


@pytest.mark.usefixtures("on_our_loop")
def test_a_set_that_is_filled_later_iterates_in_the_order_of_filling() -> None:
    items = [Unlucky(number) for number in range(50)]
    filled = asyncio.tasks.__dict__["set"]()
    for item in (*items, *items[10:20]):
        filled.add(item)
    filled.discard(items[3])
    assert list(filled) == items[:3] + items[4:]
    assert [filled.pop() for _ in range(49)] == items[:3] + items[4:]
    with pytest.raises(KeyError):
        filled.pop()


def test_on_any_other_loop_it_is_the_builtin() -> None:
    assert type(set_within_asyncio([1, 2])) is set
    assert type(set_within_asyncio()) is set


def test_as_completed_starts_coroutines_in_the_order_given() -> None:
    assert started_by_as_completed(OrderedLoop()) == list(range(50))


def test_as_completed_on_any_other_loop_runs_everything() -> None:
    assert sorted(started_by_as_completed(asyncio.SelectorEventLoop())) == list(range(50))


def test_r21_wait_gives_plain_futures_in_the_order_given() -> None:
    async def main() -> tuple[list[asyncio.Future[int]], list[asyncio.Future[int]]]:
        futures = [asyncio.Future[int]() for _ in range(100)]
        for number, future in enumerate(futures):
            future.set_result(number)
        done, _ = await asyncio.wait(futures)
        return futures, list(done)

    loop = OrderedLoop()
    try:
        given, done = loop.run_until_complete(main())
    finally:
        loop.close()
    assert done == given


def test_installing_twice_changes_nothing() -> None:
    install_ordered_sets()
    assert asyncio.tasks.__dict__["set"] is set_within_asyncio


def test_a_child_process_without_us_has_the_builtin() -> None:
    code = "import asyncio.tasks; print('set' in vars(asyncio.tasks))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_asyncio_only_ever_calls_the_name() -> None:
    """No ``isinstance(x, set)``, no annotation: a new CPython that does so needs another look here."""
    tree = ast.parse(inspect.getsource(asyncio.tasks))
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "set" and id(n) not in called] == []
