"""Hints that something has changed: what other processes wrote, what ended here. Truth is read from the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Protocol

from outlive.errors import StoreError
from outlive.model.ids import RunId
from outlive.stores.protocol import Store

log: Final = logging.getLogger("outlive.worker")

READ_AGAIN_EVERY: Final = 32
"""Looks after which waiters read the store again though nothing seemed to change."""


class Wakeable(Protocol):
    def poke(self) -> None: ...


class Notices:
    """Wakes those who wait for runs of any process."""

    def __init__(self, store: Store, worker: Wakeable | None, *, look_every: float) -> None:
        self._store = store
        self._worker = worker
        self._look_every = look_every
        self._waiting: dict[RunId, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._look(), name="outlive-notices")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def waiting(self, run: RunId) -> Generator[asyncio.Future[None]]:
        """Register first, then check, then await (rule 7): the future is done when ``run`` may have changed."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run, set()).add(changed)
        try:
            yield changed
        finally:
            waiting = self._waiting.get(run)
            if waiting is not None:
                waiting.discard(changed)
                if not waiting:
                    del self._waiting[run]

    def tell(self, run: RunId) -> None:
        """``run`` has changed."""
        for changed in self._waiting.get(run, ()):
            if not changed.done():
                changed.set_result(None)

    async def _look(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(self._look_every)
            looks += 1
            try:
                changed = self._store.changed()
            except StoreError as error:
                log.debug("can't look for changes now: %s", error)
                continue
            if changed and self._worker is not None:
                self._worker.poke()
            if changed or looks % READ_AGAIN_EVERY == 0:
                for run in list(self._waiting):
                    self.tell(run)
