"""Looks for what its worker may take: runs that are due, steps in queues; and for what it has without knowing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from outlive._core.registry import Registry
from outlive._runtime.options import WorkerOptions
from outlive._runtime.suspects import PROBATION, TRIAL, Suspects
from outlive.errors import LeaseLost, StoreError
from outlive.model import entries as en
from outlive.model.ids import RunId
from outlive.model.records import RunRecord
from outlive.stores.protocol import Store

if TYPE_CHECKING:
    from outlive._runtime.worker import Worker

log: Final = logging.getLogger("outlive.worker")

CLAIM_BATCH: Final = 200


class Claims:
    """The looks of one worker, one after the other: what one has taken is known here before the next."""

    def __init__(
        self, worker: Worker, store: Store, registry: Registry, options: WorkerOptions, *, root: RunId | None
    ) -> None:
        self._worker = worker
        self._store = store
        self._registry = registry
        self._options = options
        self._root = root
        self._poll: float = store.pace.poll if options.poll is None else options.poll
        self._poke = asyncio.Event()
        self._looking = asyncio.Lock()
        self._strays_expected = False
        self._met: set[RunId] | None = None
        """While strays are looked for: the runs that were in memory at any time meanwhile."""
        self.suspects: Suspects = Suspects(worker.clock, worker.timers, chance=worker.chance, poke=self.poke)

    def poke(self) -> None:
        """There may be something to claim."""
        self._poke.set()

    async def run(self) -> None:
        """Look again and again, for as long as the worker is there."""
        worker, pause = self._worker, 0.0
        while not worker.closing:
            self._poke.clear()
            try:
                await worker.awake()
                async with self._looking:
                    await self._gather_strays()
                    pause = await self._look()
            except LeaseLost:
                worker.lease_lost(worker.lease)
                continue
            except StoreError as error:
                log.warning("can't claim runs now: %s", error)
                self._strays_expected = True  # it may have happened though it said otherwise
                pause = 1.0
            except Exception as error:  # a bug, but a worker that stopped to look would strand what it could take
                log.critical("looking for runs went wrong in a way it should not", exc_info=error)
                self._strays_expected = True
                pause = 1.0
            if pause > 0:
                await self._nap(pause)

    async def look(self) -> None:
        """Look once, now: after this, a run that is still parked is parked for the code that runs here."""
        async with self._looking:
            await self._look()

    async def _nap(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._poke.set)
        try:
            await self._poke.wait()
        finally:
            timer.cancel()

    async def _look(self) -> float:
        """Take what there is; seconds until the next look is due."""
        worker = self._worker
        worker.timers.look()
        worker.executor.sweep()
        room = self.room()
        patient = not self.suspects.out_of_patience
        await worker.serve()
        # as this look sees it: what leaves meanwhile is for the next; a task that was taken lately keeps a step waiting too, and for
        # longer than runs should wait for that
        in_the_way = worker.busy and worker.queues.settled
        life = worker.id
        claims = await self._store.claim(
            life,
            limit=room,
            workflows=self._registry.workflows.names(),
            fingerprint=worker.fingerprint(),
            suspects=(suspects := 0 if worker.queues.trying(TRIAL) else self.suspects.room()),
            root=self._root,
            queues=self._options.queues,
            tasks=worker.queues.wanted(patient=patient),
        )
        self.suspects.step_waits(claims.alone and in_the_way, patient=patient)
        if worker.journal.worker != life:
            return 0.0  # the lease was lost meanwhile, and with it what was claimed under it
        for claimed in claims.runs:
            worker.hatch(claimed)
        for task in claims.tasks:
            worker.queues.take(task)
        for key in claims.cancelling:
            worker.queues.cancel(key)
        await worker.look_for_knocks()
        if self.suspects.steps_first:
            self.suspects.steps_first = False
            return 0.0
        if room == 0:
            return self._poll
        if len(claims.runs) == room:
            return 0.0
        pause = self._poll
        if claims.next_due is not None:
            # what is due and was not taken is a suspect that waits for its turn
            soonest = 0.001 if suspects > 0 else PROBATION / 8
            pause = min(pause, max(claims.next_due - worker.clock.now(), soonest))
        return pause

    def room(self) -> int:
        """For how many runs there is room now."""
        if self._worker.queues.isolating or self.suspects.making_way:
            return 0
        return max(min(self._options.max_hot - self._worker.here, CLAIM_BATCH), 0)

    # --- strays ------------------------------------------------------------------------------------------------------

    def expect_strays(self) -> None:
        """Find runs that are owned and not here: a commit has happened though the store could not say so (rule 4)."""
        self._strays_expected = True
        self.poke()

    def met(self, run: RunId) -> None:
        """It is in memory now."""
        if self._met is not None:
            self._met.add(run)

    async def _gather_strays(self) -> None:
        """Take up runs that the store says are owned here, and that were not in memory at any time while it was asked.

        One that was has perhaps left since, and its record, read before that, would bring it to life a second time.
        """
        if not self._strays_expected:
            return
        worker = self._worker
        owner, met, held = worker.journal.worker, worker.runs_here(), set(worker.queues.held)
        self._strays_expected, self._met = False, met
        try:
            tasks = await self._store.held(worker.id)
            found = [await self._store.run(run) for run in await self._store.owned(worker.id) if run not in met]
            await worker.journal.settled()  # a commit that was on its way may have brought one in: that is told first
        except StoreError:
            self._strays_expected = True
            raise
        finally:
            self._met = None
        for task in tasks:
            if task.key not in held and owner == worker.journal.worker:
                worker.queues.take(task)
        for record in found:
            if record is not None and record.owner == owner == worker.journal.worker and record.id not in met:
                worker.hatch(_reclaimed(record))


def _reclaimed(record: RunRecord) -> en.Claimed:
    """As if it had been claimed just now."""
    return en.Claimed(
        run=record.id,
        link=record.link,
        workflow=record.workflow,
        epoch=record.epoch,
        seq=record.seq,
        crashes=record.crashes,
        root=record.root,
        takeover=True,
    )
