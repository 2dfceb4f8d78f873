"""One transaction: what it loads and locks, carries out, and writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import asyncpg

from outlive.model.carry import Carrier
from outlive.model.entries import Claimed, ClaimedTask, Entry, Outcome, Rejected
from outlive.model.ids import RunId, WorkerId
from outlive.model.rows import RunRow, TaskRow
from outlive.model.tasks import Shares, Wanted, blamed, claim_task, next_tried, waits_to_be_alone
from outlive.stores.columns import readable_tasks
from outlive.stores.postgres.clock import ServerClock
from outlive.stores.postgres.connections import Again, Connection
from outlive.stores.postgres.facets import Facet, Loaded, Missing
from outlive.stores.postgres.flushing import flush
from outlive.stores.postgres.loading import Loader
from outlive.stores.postgres.rows import StagedRows
from outlive.stores.postgres.statements import Statements

log: Final = logging.getLogger("outlive.stores.postgres")


class Due(NamedTuple):
    """What a claim looks for."""

    workflows: list[str]
    limit: int
    fingerprint: str
    suspects: int
    root: RunId | None
    queues: list[str] | None
    """None: all."""
    tasks: Wanted | None


class Stamp(NamedTuple):
    """By what a commit whose answer got lost is known: the statement that reads it, whose it is, and its number."""

    statement: str
    whose: str
    number: int


class Transaction:
    """One try of one transaction, from its begin to just before its end."""

    def __init__(self, connection: Connection, sql: Statements, fixed: float | None, clock: ServerClock | None) -> None:
        self._connection = connection
        self._clock = clock
        self._sql = sql
        self._fixed = fixed
        self._loaded = Loaded()
        self._now = 0.0
        self.stamp: Stamp | None = None
        self.left: list[RunRow] = []
        """Rows as this transaction leaves them."""

    async def lease(self, worker: WorkerId | None, what: str) -> bool:
        """Renew the lease in this transaction, if it stands; and read the clock."""
        asked = time.monotonic()
        record = await self._connection.fetchrow(self._sql[f"lease_{what}"], worker or "", self._fixed)
        assert record is not None, "it always has one row"
        self._now, number = record
        if self._clock is not None:
            self._clock.follow(self._now, asked=asked)
        if number is not None:
            self.stamp = Stamp(f"stamped_{what}", worker or "", number)
        return number is not None

    async def stamp_store(self, store: str) -> None:
        number = await self._connection.fetchval(self._sql["stamp"], store, self._now)
        self.stamp = Stamp("stamped_store", store, number)

    async def carry(
        self, entries: Sequence[Entry], needs: set[Facet], *, worker: WorkerId | None, leased: bool
    ) -> list[Outcome]:
        """Carry the entries out and write what comes of it. ``needs`` grows by what the next try should load at once."""
        loader = Loader(self._connection, self._sql, self._loaded, now=self._now, fixed=self._fixed)
        await loader.load(needs)
        rejected: dict[int, Rejected] = {}
        while True:
            rows = StagedRows(self._loaded)
            carrier = Carrier(rows, worker=worker, leased=leased, now=loader.now)
            outcomes, missing, refused = _carried(carrier, entries, rejected)
            if missing:
                needs |= missing
                if any(facet[0] == "run" for facet in missing):
                    raise Again  # runs are locked all at once, in their order
                await loader.load(missing)
            elif refused:
                rejected |= refused
            else:
                await flush(self._connection, self._sql, rows)
                self._leave(rows)
                return outcomes

    def _leave(self, rows: StagedRows) -> None:
        there = {run: row for run, row in self._loaded.runs.items() if row is not None}
        self.left = list((there | rows.runs).values())

    # --- claims ---

    async def sweep(self, worker: WorkerId) -> bool:
        """Free the runs of workers whose lease has ended; whether there were any."""
        found = await self._connection.fetch(self._sql["lock_dead"], worker, self._now)
        return any([await self._free_dead(dead) for (dead,) in found])

    async def _free_dead(self, dead: WorkerId) -> bool:
        """All that was its, or nothing yet: a transaction of a user's, whose worker may be frozen in it, must not hold up who sweeps."""
        owned = await self._connection.fetch(self._sql["lock_owned_free"], dead)
        if len(owned) < len(await self._connection.fetch(self._sql["owned"], dead)):
            log.info("worker %s is gone, and one of its steps holds a transaction open: its runs wait for that", dead)
            return False
        await self._free(dead, owned, crashed=True)
        return True

    async def leave(self, worker: WorkerId) -> None:
        """Free what was this worker's."""
        self._now = self._fixed or await self._connection.fetchval(self._sql["clock"])
        await self._connection.execute(self._sql["lock_worker"], worker)
        await self._free(worker, await self._connection.fetch(self._sql["lock_owned"], worker), crashed=False)

    async def _free(self, worker: WorkerId, owned: Sequence[asyncpg.Record], *, crashed: bool) -> None:
        held = await self._connection.fetch(self._sql["lock_held"], worker)
        if held:
            blame = crashed and blamed(len(held), runs=len(owned))
            await self._connection.execute(self._sql["free_tasks"], worker, int(crashed), int(blame))
        if owned:
            only = crashed and sum(not progress for _, progress in owned) + len(held) == 1
            await self._connection.execute(self._sql["free"], worker, self._now, crashed, only)
        await self._connection.execute(self._sql["leave"], worker)

    async def due(self, due: Due) -> list[RunId]:
        values = [due.workflows, self._now, due.limit, due.suspects > 0]
        if due.root is None:
            found = await self._connection.fetch(self._sql["due"], *values, due.queues)
        else:
            found = await self._connection.fetch(self._sql["due_under"], *values, due.root, due.queues)
        waiting = [run for run, suspect in found if suspect][due.suspects :]
        runs = [run for run, _ in found if run not in waiting]
        if len(runs) < due.limit:
            rest = (due.workflows, due.fingerprint, due.limit - len(runs), due.root, due.queues)
            runs += [run for (run,) in await self._connection.fetch(self._sql["parked"], *rest)]
        return runs

    async def take(self, worker: WorkerId, runs: Collection[RunId]) -> list[Claimed]:
        if not runs:
            return []
        loader = Loader(self._connection, self._sql, self._loaded, now=self._now, fixed=self._fixed)
        await loader.load({("run", run) for run in runs})
        rows = StagedRows(self._loaded)
        carrier = Carrier(rows, worker=worker, leased=True, now=loader.now)
        claimed: list[Claimed] = []
        for run in runs:
            try:
                claimed.append(carrier.claim(run))
            except AssertionError:  # a row that can't be: the others must not wait for it
                log.exception("run %s can't be claimed; run `outlive doctor`", run)
        await flush(self._connection, self._sql, rows)
        self._leave(rows)
        return claimed

    async def take_tasks(self, worker: WorkerId, wanted: Wanted, root: RunId | None) -> tuple[list[ClaimedTask], bool]:
        """Tasks that nobody holds, as there is room for them; and whether one waits to be alone."""
        rows = StagedRows(self._loaded)
        mine = list(readable_tasks(await self._connection.fetch(self._sql["ending_tasks"], root)))
        claimed = [claim_task(rows, task, worker) for task in mine]
        suspected = await self._steps("suspected_steps", wanted, root) if wanted.suspects else []
        waiting = await self._steps("waiting_steps", wanted, root)
        limits, held = await self._slots({queue for queue, _ in (*suspected, *waiting)})
        suspects, some = await self._choose(
            "suspected_tasks", suspected, Shares(wanted, limits=limits, held=held), root
        )
        fresh: list[TaskRow] = []
        if not some:
            fresh, _ = await self._choose("waiting_tasks", waiting, Shares(wanted, limits=limits, held=held), root)
        claimed += [claim_task(rows, task, worker) for task in (*next_tried(suspects, idle=wanted.idle), *fresh)]
        await flush(self._connection, self._sql, rows)
        return claimed, waits_to_be_alone(suspects, idle=wanted.idle)

    async def _steps(self, statement: str, wanted: Wanted, root: RunId | None) -> list[tuple[str, str]]:
        """Which steps wait, and where."""
        if not wanted.steps:
            return []
        queues = None if wanted.queues is None else sorted(wanted.queues)
        found = await self._connection.fetch(self._sql[statement], wanted.steps, queues, root)
        return [(queue, name) for queue, name in found]

    async def _slots(self, queues: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
        """The limits of ``queues``, locked, all at once and in their order; and how many of their tasks are held."""
        limits: dict[str, int] = {}
        held: dict[str, int] = {}
        if queues:
            limits.update(tuple(row) for row in await self._connection.fetch(self._sql["lock_limits"], sorted(queues)))
        if limits:
            held.update(tuple(row) for row in await self._connection.fetch(self._sql["held_slots"], sorted(limits)))
        return limits, held

    async def _choose(
        self, statement: str, waiting: Sequence[tuple[str, str]], shares: Shares, root: RunId | None
    ) -> tuple[list[TaskRow], bool]:
        """Those that there is room for, locked; and whether there are any, be it that others have locked them."""
        found: list[TaskRow] = []
        some = False
        for pick in shares.picks(waiting):
            room = shares.room(pick)
            if room == 0:
                continue
            values = (pick.queue, pick.steps, room, root, [task.id for task in found])
            records = await self._connection.fetch(self._sql[statement], *values)
            mine = list(readable_tasks(records))
            some = some or bool(mine) or not records
            shares.take(pick, len(mine))
            found += mine
        return found, some

    async def next_due(self, due: Due) -> float | None:
        at: float | None
        if due.root is None:
            at = await self._connection.fetchval(self._sql["next_due"], due.workflows, due.queues)
        else:
            values = (due.workflows, due.root, due.queues)
            at = await self._connection.fetchval(self._sql["next_due_under"], *values)
        return at

    async def tidy(self, store: str) -> None:
        self._now = self._fixed or await self._connection.fetchval(self._sql["clock"])
        await self._connection.execute(self._sql["tidy"], store, self._now - 86_400.0)


def _carried(
    carrier: Carrier, entries: Sequence[Entry], rejected: dict[int, Rejected]
) -> tuple[list[Outcome], set[Facet], dict[int, Rejected]]:
    """The outcomes; what was missing, in which case they mean nothing; and who can't be carried out at all."""
    outcomes: list[Outcome] = []
    missing: set[Facet] = set()
    refused: dict[int, Rejected] = {}
    for number, entry in enumerate(entries):
        if number in rejected:
            outcomes.append(rejected[number])
            continue
        try:
            outcomes.append(carrier.carry(entry))
        except Missing as error:
            missing.add(error.facet)
        except AssertionError as error:
            if not missing:  # or it may only be that a row before it was missing
                log.exception("refused: %s", type(entry).__name__)
                refused[number] = Rejected(f"it can't be written: {error}")
                break  # what it has staged goes with this pass
    return outcomes, missing, refused
