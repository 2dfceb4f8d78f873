"""Every primitive of asyncio, live, evicted at each event and crashed after each event (DESIGN section 5)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from outlive import create_hook, race, sleep
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, charge, fail, refund, work

Body: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


async def gather() -> list[str]:
    return await asyncio.gather(work("a", 3), work("b", 1), work("c", 2))


async def gather_with_exceptions() -> list[str]:
    ended = await asyncio.gather(work("a", 3), fail(1, 1), sleep(2, "c"), return_exceptions=True)
    return [str(value) for value in ended]


async def wait_for_all() -> list[int]:
    done, pending = await asyncio.wait([asyncio.create_task(charge(n)) for n in range(3)])
    return [len(pending), *(task.result() for task in done)]


async def wait_for_the_first() -> list[str]:
    tasks = [asyncio.create_task(work(label, seconds)) for label, seconds in (("a", 3), ("b", 1), ("c", 2))]
    order: list[str] = []
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order += [task.result() for task in done]
    return order


async def wait_for_the_first_exception() -> list[int]:
    tasks = [asyncio.create_task(work("a", 9)), asyncio.create_task(work("b", 1))]
    bad = asyncio.create_task(fail(1, 5))
    done, pending = await asyncio.wait([*tasks, bad], return_when=asyncio.FIRST_EXCEPTION)
    bad.exception()
    return [len(done), len(pending)]


async def wait_with_a_timeout() -> list[int]:
    done, pending = await asyncio.wait([asyncio.create_task(work(str(n), n)) for n in range(6)], timeout=2.5)
    return [len(done), len(pending)]


async def wait_for_in_time() -> str:
    return await asyncio.wait_for(work("a", 1), 5)


async def wait_for_too_late() -> str:
    try:
        return await asyncio.wait_for(work("a", 9), 5)
    except TimeoutError:
        return "late"


async def timeout() -> str:
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(work("a", 9), sleep(50))
    except TimeoutError:
        return await work("clean-up")
    return "no"


async def timeout_that_is_taken_away() -> str:
    async with asyncio.timeout(5) as limit:
        await work("a", 1)
        limit.reschedule(None)
        return await work("b", 50)


async def task_group() -> list[str]:
    async with asyncio.TaskGroup() as group:
        a = group.create_task(work("a", 2))
        b = group.create_task(work("b", 1))
    return [a.result(), b.result()]


async def task_group_that_fails() -> list[str]:
    told: list[str] = []

    async def careful() -> None:
        try:
            await sleep(100)
        finally:
            told.append(await work("undone"))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(careful())
            group.create_task(fail(1, 2))
            group.create_task(fail(2, 1))
    except* Refused as refused:
        told += [str(error) for error in refused.exceptions]
    return told


async def as_completed() -> list[str]:
    return [await ended for ended in asyncio.as_completed([work("a", 3), work("b", 1), work("c", 2)])]


async def as_completed_with_a_timeout() -> list[str]:
    told: list[str] = []
    try:
        for ended in asyncio.as_completed([work("a", 3), work("b", 1), sleep(9, "c")], timeout=4):
            told.append(await ended)
    except TimeoutError:
        told.append("late")
    return told


async def shield() -> list[str]:
    inner = asyncio.create_task(work("a", 9))
    try:
        async with asyncio.timeout(5):
            await asyncio.shield(inner)
    except TimeoutError:
        return ["late", await inner]
    return []


async def queue() -> list[str]:
    jobs: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
    told: list[str] = []

    async def produce() -> None:
        for n in range(5):
            await jobs.put(await work(f"job {n}", 1))

    async def consume(name: str) -> None:
        while True:
            job = await jobs.get()
            told.append(f"{name}: {await work(job, 3)}")
            jobs.task_done()

    consumers = [asyncio.create_task(consume(name)) for name in "xy"]
    await produce()
    await jobs.join()
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    return told


async def priority_queue() -> list[int]:
    jobs: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    for n in (3, 1, 2):
        jobs.put_nowait(n)
    return [await charge(await jobs.get()) for _ in range(3)]


async def lifo_queue() -> list[int]:
    jobs: asyncio.LifoQueue[int] = asyncio.LifoQueue()
    for n in (1, 2, 3):
        await jobs.put(await charge(n))
    return [jobs.get_nowait() for _ in range(3)]


async def event() -> list[str]:
    ready, told = asyncio.Event(), list[str]()

    async def wait(name: str) -> None:
        await ready.wait()
        told.append(await work(name))

    waiting = asyncio.gather(wait("a"), wait("b"))
    await work("getting ready", 5)
    ready.set()
    await waiting
    return told


async def lock() -> list[str]:
    mutex, told = asyncio.Lock(), list[str]()

    async def enter(name: str, seconds: float) -> None:
        async with mutex:
            told.append(f"{name} in")
            await work(name, seconds)
            told.append(f"{name} out")

    await asyncio.gather(enter("a", 3), enter("b", 1), enter("c", 1))
    return told


async def semaphore() -> list[str]:
    room, order = asyncio.Semaphore(2), list[str]()

    async def enter(name: str, seconds: float) -> None:
        async with room:
            order.append(await work(name, seconds))

    await asyncio.gather(*(enter(str(n), 5 - n) for n in range(5)))
    return order


async def bounded_semaphore() -> str:
    room = asyncio.BoundedSemaphore(1)
    async with room:
        await charge(1)
    try:
        room.release()
    except ValueError:
        return "refused"
    return "released"


async def condition() -> list[int]:
    change, stock, told = asyncio.Condition(), list[int](), list[int]()

    async def take() -> None:
        async with change:
            await change.wait_for(lambda: bool(stock))
            told.append(stock.pop(0))

    takers = [asyncio.create_task(take()) for _ in range(3)]
    for n in range(3):
        number = await charge(n)
        async with change:
            stock.append(number)
            change.notify()
    await asyncio.gather(*takers)
    return told


async def condition_with_a_deadline() -> str:
    change = asyncio.Condition()
    try:
        async with asyncio.timeout(5), change:
            await change.wait()
    except TimeoutError:
        return f"late, {change.locked()}"
    return "in time"


async def barrier() -> list[str]:
    meeting, told = asyncio.Barrier(3), list[str]()

    async def come(name: str, seconds: float) -> None:
        await work(name, seconds)
        await meeting.wait()
        told.append(name)

    await asyncio.gather(come("a", 3), come("b", 1), come("c", 2))
    return sorted(told)


async def future() -> str:
    promise: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def fulfil() -> None:
        promise.set_result(await work("kept", 2))

    task = asyncio.create_task(fulfil())
    value = await promise
    await task
    return value


async def future_with_callbacks() -> list[str]:
    told: list[str] = []
    promise: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    promise.add_done_callback(lambda done: told.append(done.result()))
    asyncio.get_running_loop().call_later(3, promise.set_result, "x")
    await promise
    return told


async def asyncio_sleep() -> list[str]:
    return await asyncio.gather(asyncio.sleep(3, "a"), asyncio.sleep(1, "b"), asyncio.sleep(2, "c"))


async def async_generator() -> list[str]:
    async def pages(last: int) -> AsyncIterator[str]:
        try:
            for n in range(last):
                yield await work(f"page {n}")
        finally:
            await refund(last)

    got: list[str] = []
    async for page in pages(9):
        got.append(page)
        if len(got) == 3:
            break
    got += [page async for page in pages(2)]
    async with contextlib.aclosing(pages(5)) as one:
        got.append(await anext(one))
    return got


async def async_context_managers() -> list[str]:
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def account(name: str) -> AsyncIterator[str]:
        told.append(await work(f"open {name}"))
        try:
            yield name
        finally:
            told.append(await work(f"close {name}"))

    async with contextlib.AsyncExitStack() as stack:
        for name in "ab":
            await stack.enter_async_context(account(name))
        try:
            await fail(1)
        except Refused:
            told.append("refused")
    return told


async def context_variables() -> list[str]:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    async def child(label: str) -> str:
        name.set(label)
        await work(label)
        return name.get()

    name.set("parent")
    return [*await asyncio.gather(child("a"), child("b")), name.get()]


async def tasks_and_their_callbacks() -> list[str]:
    told: list[str] = []
    task = asyncio.create_task(work("w", 2), name="worker")
    task.add_done_callback(lambda done: told.append(f"{done.get_name()} {done.result()}"))
    await task
    await asyncio.sleep(0)
    return told


async def uncancelled() -> list[int]:
    counts: list[int] = []

    async def stubborn() -> None:
        me = asyncio.current_task()
        assert me is not None
        for _ in range(3):
            try:
                await sleep(100)
            except asyncio.CancelledError:
                counts.append(me.cancelling())
                me.uncancel()

    task = asyncio.create_task(stubborn())
    for _ in range(3):
        await sleep(1)
        task.cancel()
    await task
    return counts


async def hooks_and_queues() -> list[object]:
    inbox: asyncio.Queue[object] = asyncio.Queue()

    async def listen() -> None:
        async for payload in create_hook():
            inbox.put_nowait(payload)

    listening = asyncio.create_task(listen())
    got = [await inbox.get() for _ in range(2)]
    got.append(await race(inbox.get(), sleep(10, "quiet")))
    listening.cancel()
    return got


BODIES: dict[Body, object] = {
    gather: ["a", "b", "c"],
    gather_with_exceptions: ["a", "1 is too much", "c"],
    wait_for_all: [0, 0, 1, 2],
    wait_for_the_first: ["b", "c", "a"],
    wait_for_the_first_exception: [2, 1],
    wait_with_a_timeout: [3, 3],
    wait_for_in_time: "a",
    wait_for_too_late: "late",
    timeout: "clean-up",
    timeout_that_is_taken_away: "b",
    task_group: ["a", "b"],
    task_group_that_fails: ["undone", "2 is too much"],
    as_completed: ["b", "c", "a"],
    as_completed_with_a_timeout: ["b", "a", "late"],
    shield: ["late", "a"],
    queue: ["x: job 0", "y: job 1", "x: job 2", "y: job 3", "x: job 4"],
    priority_queue: [1, 2, 3],
    lifo_queue: [3, 2, 1],
    event: ["a", "b"],
    lock: ["a in", "a out", "b in", "b out", "c in", "c out"],
    semaphore: ["1", "0", "2", "3", "4"],
    bounded_semaphore: "refused",
    condition: [0, 1, 2],
    condition_with_a_deadline: "late, False",
    barrier: ["a", "b", "c"],
    future: "kept",
    future_with_callbacks: ["x"],
    asyncio_sleep: ["a", "b", "c"],
    async_generator: ["page 0", "page 1", "page 2", "page 0", "page 1", "page 0"],
    async_context_managers: ["open a", "open b", "refused", "close b", "close a"],
    context_variables: ["a", "b", "parent"],
    tasks_and_their_callbacks: ["worker w"],
    uncancelled: [1, 1, 1],
    hooks_and_queues: ["one", "two", "quiet"],
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_primitive_of_asyncio_lives_through_anything(body: Body) -> None:
    played = simulate(body, world=World(payloads=[(1, "one"), (2, "two")], lingers=0.5))
    assert played.result == BODIES[body]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_cancelled_run_ends_whatever_it_waits_for(body: Body) -> None:
    world = World(payloads=[(1, "one"), (2, "two")], lingers=0.5, cancels=[1.25])
    assert simulate(body, world=world).outcome is not None
