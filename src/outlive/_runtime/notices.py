"""Hints that something has changed: what other processes wrote, what ended here. Truth is read from the store."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from outlive.errors import StoreError
from outlive.model.events import RunOutcome
from outlive.model.hints import Hint
from outlive.model.ids import RunId, WorkerId
from outlive.stores.protocol import Store

log: Final = logging.getLogger("outlive.worker")


POKE_EVERY: Final = 0.02
"""Seconds between two looks for what hints tell of."""


class Wakeable(Protocol):
    @property
    def id(self) -> WorkerId: ...
    def poke(self) -> None: ...
    def holds(self, run: RunId) -> bool: ...


class Notices:
    """Wakes those who wait for runs of any process."""

    def __init__(self, store: Store, worker: Wakeable | None, *, look_every: float, read_again: float) -> None:
        self._store = store
        self._worker = worker
        self._look_every = look_every
        self._read_again = read_again
        """Seconds after which waiters read the store though nothing seemed to change."""
        self._poke_again: float = 0.0
        self._poking: asyncio.TimerHandle | None = None
        self._waiting: dict[str, dict[asyncio.Future[RunOutcome | None], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._store.on_hint(self._hinted)
        self._task = asyncio.get_running_loop().create_task(self._look(), name="outlive-notices")

    async def close(self) -> None:
        if self._poking is not None:
            self._poking.cancel()
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

    def _hinted(self, hint: Hint) -> None:
        """Another process says what it has done."""
        worker = self._worker
        if worker is not None and (hint.due or hint.anything or worker.id in hint.workers):
            self._poke(worker)
        for about in list(self._waiting) if hint.anything else hint.about:
            self._tell_of_others(about)

    def _poke(self, worker: Wakeable) -> None:
        """At once, but not again and again: many busy workers say a lot, and each look is a question to the server."""
        if self._poking is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._poke_again - loop.time()
        if wait <= 0:
            self._poke_again = loop.time() + POKE_EVERY
            worker.poke()
        else:
            self._poking = loop.call_later(wait, self._poke_now, worker)

    def _poke_now(self, worker: Wakeable) -> None:
        self._poking = None
        self._poke(worker)

    def _tell_of_others(self, about: str) -> None:
        """Of the end of a run that is here the worker tells; to its streams others write too, with steps in queues."""
        if self._worker is None or not self._worker.holds(RunId(about)):
            self.tell(about)

    async def _look(self) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(self._look_every)
            waited += self._look_every
            try:
                changed = self._store.changed()
            except StoreError as error:
                log.debug("can't look for changes now: %s", error)
                continue
            if changed and self._worker is not None:
                self._worker.poke()
            if changed or waited >= self._read_again:
                waited = 0.0
                for about in list(self._waiting):
                    self._tell_of_others(about)
