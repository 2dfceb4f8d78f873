"""Hints that something has changed: what other processes wrote, what ended here. Truth is read from the store."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from outlive.errors import StoreError
from outlive.model.events import RunOutcome
from outlive.model.ids import RunId
from outlive.stores.protocol import Store

log: Final = logging.getLogger("outlive.worker")

READ_AGAIN_EVERY: Final = 32
"""Looks after which waiters read the store again though nothing seemed to change."""


_STREAMS: Final = "streams of "


def streams_of(run: RunId) -> str:
    """Under which name news of the streams of ``run`` are told."""
    return _STREAMS + run


class Wakeable(Protocol):
    def poke(self) -> None: ...
    def holds(self, run: RunId) -> bool: ...


class Notices:
    """Wakes those who wait for runs of any process."""

    def __init__(self, store: Store, worker: Wakeable | None, *, look_every: float) -> None:
        self._store = store
        self._worker = worker
        self._look_every = look_every
        self._waiting: dict[str, dict[asyncio.Future[RunOutcome | None], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._look(), name="outlive-notices")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wait(self, about: str) -> asyncio.Future[RunOutcome | None]:
        """Register first, then check, then await (rule 7): done when something may have changed.

        ``about`` is a run, which gives how it ended if that is known, or whatever else news are told of.
        """
        changed: asyncio.Future[RunOutcome | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(about, {})[changed] = None
        return changed

    def leave(self, about: str, changed: asyncio.Future[RunOutcome | None]) -> None:
        """Nobody waits for ``changed`` any more."""
        waiting = self._waiting.get(about)
        if waiting is not None and waiting.pop(changed, self) is None and not waiting:
            del self._waiting[about]

    def tell(self, about: str, outcome: RunOutcome | None = None) -> None:
        """It has changed; a run ended with ``outcome``, if that is known here."""
        for changed in self._waiting.pop(about, ()):
            if not changed.done():
                changed.set_result(outcome)

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
                for about in list(self._waiting):
                    if self._worker is None or not self._worker.holds(RunId(about.removeprefix(_STREAMS))):
                        self.tell(about)  # of those that are here the worker tells
