"""The lease of one life of a worker, kept alive from a thread of its own, so that blocked user code can't let it lapse."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from outlive.errors import StoreError
from outlive.model.ids import WorkerId
from outlive.stores.protocol import Clock, Store

log: Final = logging.getLogger("outlive.worker")

LONGEST_REST: Final = 3600.0


class Lease:
    """What was taken under it may be worked on while it stands. One that is over never stands again: a new life has its own (rule 4).

    ``on_lost`` is called on the loop when it was found to have ended.
    """

    def __init__(
        self, store: Store, worker: WorkerId, seconds: float, clock: Clock, *, on_lost: Callable[[Lease], None]
    ) -> None:
        self.worker = worker
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._over = threading.Event()
        self._now = threading.Event()
        self._good_until = 0.0

    @property
    def over(self) -> bool:
        """It was lost, or given back."""
        return self._over.is_set()

    def stands(self) -> bool:
        """Whether the lease surely stands: nothing should begin after it has ended, however long this process was stopped.

        A quarter is held back, since a renewal may be left out for so long after a commit.
        """
        return not self.over and self._clock.now() < self._good_until - self._seconds / 4

    def keep(self) -> None:
        """The store has just granted it: renew it from now on."""
        self._good_until = self._clock.now() + self._seconds
        threading.Thread(target=self._beat, name="outlive-heartbeat", daemon=True).start()

    def end(self) -> None:
        """Renew it no longer; nothing begins under it any more."""
        self._over.set()
        self._now.set()

    def check(self) -> None:
        """Look now whether it still stands."""
        self._now.set()

    def _beat(self) -> None:
        while True:
            self._now.wait(min(self._seconds / 4, LONGEST_REST))
            self._now.clear()
            if self.over:
                return
            if self._loop.is_closed():
                self._over.set()
                log.error(
                    "the event loop of worker %s was closed before its engine: its lease is renewed no longer",
                    self.worker,
                )
                return
            sent = self._clock.now()
            try:
                stands = self._store.renew_now(self.worker)
            except Exception as error:  # whatever it is, it must not end the heartbeat
                if not isinstance(error, StoreError):
                    log.critical("renewing a lease went wrong in a way it should not", exc_info=error)
                stands = self._clock.now() < self._good_until  # unknown until the lease must have ended (B9)
            else:
                if stands:
                    # from the moment it was sent: a slow answer must not make the lease look longer than it is (B10)
                    self._good_until = sent + self._seconds
            if not stands and not self.over:
                try:
                    self._loop.call_soon_threadsafe(self._on_lost, self)
                except RuntimeError:
                    pass  # the loop is closed: there is nothing left to drop
                return
