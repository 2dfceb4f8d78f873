"""Timers of a worker: what is due, and whom to tell. One heap, one timer of the real loop."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from outlive.stores.protocol import Clock

LONGEST_NAP: Final = 60.0
"""The wall clock may be set; look again at least this often."""
FEW: Final = 256
"""Cancelled alarms that are not worth a sweep."""


class Alarm:
    """One call at one time."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: Timers, callback: Callable[[], None]) -> None:
        self._timers = timers
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call back, and hold on to nothing: a timer may be a year away."""
        if self.callback is not None:
            self.callback = None
            self._timers.cancelled()


class Timers:
    """Calls back at wall-clock times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = 0
        self._dead = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")
        self._closed = False

    def at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call ``callback`` at ``when`` (epoch seconds) or soon after, never before."""
        self._count += 1
        alarm = Alarm(self, callback)
        heapq.heappush(self._heap, (when, self._count, alarm))
        if when < self._armed_for:
            self._arm()
        return alarm

    def cancelled(self) -> None:
        """One more alarm of the heap is dead."""
        self._dead += 1
        if self._dead > FEW and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def look(self) -> None:
        """Look at the clock again: it may have been set since the next alarm was armed."""
        if self._heap and self._heap[0][0] <= self._clock.now():
            self._fire()

    def close(self) -> None:
        self._closed = True
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        while self._heap and self._heap[0][2].callback is None:  # nobody is woken for an alarm that was cancelled
            heapq.heappop(self._heap)
            self._dead -= 1
        if not self._heap or self._closed:
            self._armed_for = float("inf")
            return
        self._armed_for = self._heap[0][0]
        nap = min(max(self._armed_for - self._clock.now(), 0.0), LONGEST_NAP)
        self._handle = asyncio.get_running_loop().call_later(nap, self._fire)

    def _fire(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            alarm = heapq.heappop(self._heap)[2]
            callback, alarm.callback = alarm.callback, None
            if callback is None:
                self._dead -= 1
            else:
                callback()
        self._arm()
