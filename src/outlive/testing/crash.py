"""Killing an engine in its tracks, within one process: nothing more is written, no claim is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from outlive.engine import Engine
from outlive.handles import default
from outlive.model.ids import WorkerId
from outlive.stores.protocol import Store


async def kill(engine: Engine) -> None:
    """Stop ``engine`` as SIGKILL would. What it had not committed is lost; another engine on the store takes over at once."""
    # it reaches into the engine on purpose: a crash asks nobody
    worker, journal, store = engine._worker, engine._journal, engine._store
    assert worker is not None and journal is not None and store is not None, "only an open worker is worth killing"
    journal._closed = True
    worker.closing = True
    tasks = [*worker._tasks, *worker._hatching.values()]
    if engine._notices is not None and engine._notices._task is not None:
        tasks.append(engine._notices._task)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if journal._task is not None:
        await asyncio.wait([journal._task])  # a commit that was sent may arrive, as it may in life
    worker.timers.close()
    worker.lease.end()
    worker.watchdog.stop()
    for hot in list(worker.hot.values()):
        hot.abandon()
    worker.hot.clear()
    worker.queues.drop()
    if worker.executor._pool is not None:
        worker.executor._pool.close()  # idle threads would be waited for in virtual time
    if engine in default:
        default.remove(engine)
    await bury(store, worker.id)
    if engine._given is None:
        await store.close()
    engine._store = engine._journal = engine._worker = engine._notices = None


def shared(store: Store) -> bool:
    """Whether it outlives the processes that use it, and only time tells that one of them is dead."""
    return hasattr(store, "expire")


async def bury(store: Store, worker: WorkerId) -> None:
    """The process of ``worker`` has died: its lease ends now, where that would take time; where it would not, its locks are freed."""
    expire: Callable[[WorkerId], Awaitable[None]] | None = getattr(store, "expire", None)
    if expire is not None:
        await expire(worker)
    else:
        await store.close()
