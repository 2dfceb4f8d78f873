"""Keeps a worker's lease alive from a thread of its own, so that blocked user code can't let it lapse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from outlive.errors import StoreError
from outlive.model.ids import WorkerId
from outlive.stores.protocol import Clock, Store

LONGEST_REST: Final = 3600.0


class Heartbeat:
    """Renews the lease of one worker after another; calls ``on_lost`` on the loop when one has ended."""

    def __init__(self, store: Store, lease: float, clock: Clock, *, on_lost: Callable[[], None]) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._now = threading.Event()
        self._thread: threading.Thread | None = None
        self._good_until = 0.0

    def stands(self) -> bool:
        """Whether the lease surely stands: nothing should begin after it has ended, however long this process was stopped.

        A quarter is held back, since a renewal may be left out for so long after a commit.
        """
        return self._clock.now() < self._good_until - self._lease / 4

    def start(self, worker: WorkerId) -> None:
        self._stop = threading.Event()
        self._now = threading.Event()
        self._good_until = self._clock.now() + self._lease
        self._thread = threading.Thread(
            target=self._beat, args=(worker, self._stop, self._now), name="outlive-heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._now.set()

    def check(self) -> None:
        """Look now whether the lease still stands."""
        self._now.set()

    def _beat(self, worker: WorkerId, stop: threading.Event, now: threading.Event) -> None:
        while True:
            now.wait(min(self._lease / 4, LONGEST_REST))
            now.clear()
            if stop.is_set():
                return
            sent = self._clock.now()
            try:
                stands = self._store.renew_now(worker)
            except StoreError:
                stands = self._clock.now() < self._good_until  # unknown until the lease must have ended (B9)
            else:
                if stands and not stop.is_set():
                    # from the moment it was sent: a slow answer must not make the lease look longer than it is (B10)
                    self._good_until = sent + self._lease
            if not stands and not stop.is_set():
                try:
                    self._loop.call_soon_threadsafe(self._on_lost)
                except RuntimeError:
                    pass  # the loop is closed: there is nothing left to drop
                return
