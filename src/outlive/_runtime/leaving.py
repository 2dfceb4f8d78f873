"""When a run leaves memory: it lingers where it may soon be needed, for coming back costs a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun

SOON: Final = 10.0
"""A run that goes on by itself within so many lingers stays until then."""
MANY: Final = 64
"""Of more open commands the next due one is not looked for."""


class Leaving:
    """Watches one run for the moment when it is no longer needed here."""

    __slots__ = ("_armed", "_hot")

    def __init__(self, hot: HotRun) -> None:
        self._hot = hot
        self._armed = False

    def consider(self) -> None:
        """Called after whatever may have been the last thing to do here for a while."""
        hot = self._hot
        if self._armed or not hot.quiet:
            return
        # a suspect with nothing to do is cleared by leaving: what kills this worker later was something else (R31)
        linger, now = 0.0 if hot.suspected else hot.owner.linger(), hot.owner.clock.now()
        due = self._next_due()
        if due is not None and due < now + SOON * linger:
            return
        self._armed = True
        mark = hot.activity
        hot.at(now + linger, lambda: self._leave(mark))

    def _next_due(self) -> float | None:
        """When the run goes on by itself, if that is easily told."""
        hot = self._hot
        if len(hot.open) > MANY:
            return None
        dues = [hot.next_due_of(ref) if item.retry_at is None else item.retry_at for ref, item in hot.open.items()]
        return min((due for due in dues if due is not None), default=None)

    def _leave(self, mark: int) -> None:
        self._armed = False
        hot = self._hot
        if hot.dropped or hot.in_flight or not hot.quiet:
            return  # considered again when what is in flight has settled
        if hot.activity != mark:
            self.consider()
        else:
            hot.leave()
