"""Runs that may have killed their worker, and which of them are tried when (R31)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from outlive._runtime.timers import Timers
from outlive.model.ids import RunId
from outlive.stores.protocol import Clock

AT_ONCE: Final = 8
PROBATION: Final = 2.0
"""Seconds for which a suspected run is the only suspect of its worker: no other one is taken, and no step from a queue."""
TRIAL: Final = 10.0
"""Seconds for which suspected runs and suspected steps wait for each other."""
PATIENCE: Final = 60.0
"""Seconds for which a worker takes no run, so that a step can be tried alone."""
MAKES_WAY: Final = 0.1
"""The chance that it begins to, each time it looks, which is about once a second."""


class Suspects:
    """The suspected runs of one life of a worker that have done nothing yet.

    Args:
        chance: A number from 0 to 1, another one each time.
        poke: Called when others may have their turn.
    """

    def __init__(self, clock: Clock, timers: Timers, *, chance: Callable[[], float], poke: Callable[[], None]) -> None:
        self._clock = clock
        self._timers = timers
        self._chance = chance
        self._poke = poke
        self._began = 0.0
        self._way_until = 0.0
        self._since: dict[RunId, float] = {}
        self.steps_first: bool = False
        """Suspected steps have their turn first: at the beginning of every other life, so that each kind is tried without the other."""

    def begin(self) -> None:
        """A new life."""
        self._since.clear()
        self._began = self._clock.now()
        self._way_until = 0.0
        self.steps_first = self._chance() < 0.5

    def taken(self, run: RunId) -> None:
        """A suspected run is here."""
        self._since[run] = now = self._clock.now()
        for pause in (PROBATION, TRIAL):
            self._timers.at(now + pause, self._poke)

    def acquit(self, run: RunId) -> None:
        """It has gone on, or left."""
        if self._since.pop(run, None) is not None:
            self._poke()

    def trying(self, within: float) -> bool:
        """Whether it may yet be a run, taken within so many seconds, that kills this worker."""
        since = self._clock.now() - within
        return any(taken > since for taken in self._since.values())

    def room(self) -> int:
        """How many may be taken now.

        One after the other at the beginning of a life, so that the one that ended the last is found; later several, or somebody waits for days.
        """
        if self.steps_first:
            return 0
        now = self._clock.now()
        tried = sum(taken > now - PROBATION for taken in self._since.values())
        return max((1 if now < self._began + TRIAL else AT_ONCE) - tried, 0)

    # --- a step that has to be tried alone ---------------------------------------------------------------------------

    def step_waits(self, waits: bool, *, patient: bool) -> None:
        """Told of each look: one waits, or none, for the runs of this worker to be gone. One of its workers makes way for it, as chance has it.

        A look that was not ``patient`` has tried it beside them, if it could be tried at all.
        """
        if not (waits and patient):
            self._way_until = 0.0
        elif not self._way_until and self._chance() < MAKES_WAY:
            self._way_until = self._clock.now() + PATIENCE
            self._timers.at(self._way_until, self._poke)

    @property
    def making_way(self) -> bool:
        """No run is taken, and those that are here leave when they can."""
        return self.steps_first or self._way_until > 0.0

    @property
    def out_of_patience(self) -> bool:
        """There are still runs here: the step is tried beside them, and nobody will be charged."""
        return 0.0 < self._way_until <= self._clock.now()
