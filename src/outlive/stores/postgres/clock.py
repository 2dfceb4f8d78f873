"""The server's clock, as this process knows it between two answers."""

from __future__ import annotations

import time

LONGEST_TRIP: float = 0.5
"""Seconds. An answer that took longer says little about the time at which it was written."""


class ServerClock:
    """Follows the server: what is due is decided by one clock, however those of the workers' machines are set (R14)."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()
        self._followed = False

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def follow(self, told: float, *, asked: float) -> None:
        """The server said ``told`` to a question that was asked at ``asked`` by ``time.monotonic()``."""
        answered = time.monotonic()
        if not self._followed or answered - asked < LONGEST_TRIP:
            self._ahead = told - (asked + answered) / 2
            self._followed = True
