"""Timers of a worker: what is due, and whom to tell. One heap, one timer of the real loop."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from outlive.stores.protocol import Clock

LONGEST_NAP: Final = 60.0
"""The wall clock may be set; look again at least this often."""


class Timers:
    """Calls back at wall-clock times. A callback that no longer matters must see so itself: nothing is ever removed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")
        self._closed = False

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` at ``when`` (epoch seconds) or soon after, never before."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, callback))
        if when < self._armed_for:
            self._arm()

    def close(self) -> None:
        self._closed = True
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if not self._heap or self._closed:
            self._armed_for = float("inf")
            return
        self._armed_for = self._heap[0][0]
        nap = min(max(self._armed_for - self._clock.now(), 0.0), LONGEST_NAP)
        self._handle = asyncio.get_running_loop().call_later(nap, self._fire)

    def _fire(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            callback = heapq.heappop(self._heap)[2]
            callback()
        self._arm()
