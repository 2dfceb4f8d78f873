"""Transactions: what a batch needs is loaded and locked, the rules are carried out on it, what they wrote is written.

All transactions lock in one order: the worker, runs by id, requests by id, then what they insert by key. Where a batch turns out to
need a run that it has not locked, it lets everything go and begins anew with all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from typing import Final, NamedTuple, TypeVar

import asyncpg

from outlive.errors import LeaseLost, StoreError, StoreUnavailable
from outlive.model.carry import Carrier
from outlive.model.entries import Claimed, Claims, Entry, Outcome, Rejected
from outlive.model.ids import RunId, WorkerId
from outlive.model.rows import RunRow
from outlive.stores.postgres.appending import Append, OwnedRows, as_append
from outlive.stores.postgres.clock import ServerClock
from outlive.stores.postgres.connections import (
    LOST,
    MOST_TRIES,
    Again,
    CommitUnknown,
    Connection,
    Connections,
    meets_others,
)
from outlive.stores.postgres.facets import Facet, Loaded, Missing, foreseen
from outlive.stores.postgres.flushing import flush
from outlive.stores.postgres.loading import Loader
from outlive.stores.postgres.rows import StagedRows
from outlive.stores.postgres.statements import Statements

_T = TypeVar("_T")

LONG: Final = 60.0
LOOK_EVERY: Final = 30.0
READ_BACK_TRIES: Final = 5
READ_BACK_PAUSE: Final = 1.0

log: Final = logging.getLogger("outlive.stores.postgres")


class Due(NamedTuple):
    """What a claim looks for."""

    workflows: list[str]
    limit: int
    fingerprint: str
    suspects: int
    root: RunId | None


class Stamp(NamedTuple):
    """By what a commit whose answer got lost is known: the statement that reads it, whose it is, and its number."""

    statement: str
    whose: str
    number: int


class Writer:
    """Commits batches and claims runs.

    Args:
        connections: To the database.
        sql: For its schema.
        fixed: What decides; the server's own clock, if it gives None.
        clock: Is told what the server's clock says.
    """

    def __init__(
        self,
        connections: Connections,
        sql: Statements,
        fixed: Callable[[], float | None],
        clock: ServerClock | None = None,
    ) -> None:
        self._connections = connections
        self._sql = sql
        self._fixed = fixed
        self._clock = clock
        self._store = uuid.uuid4().hex
        self._owned = OwnedRows()
        self._look_at = time.monotonic() + LOOK_EVERY

    # --- transactions ---

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[_Transaction, None]:
        """One try. What is uncertain at its end is read back before anybody is told.

        Raises:
            Again: It met another transaction.
        """
        transaction: _Transaction | None = None
        try:
            async with self._connections.stamped() as connection:
                transaction = _Transaction(connection, self._sql, self._fixed(), self._clock)
                yield transaction
        except CommitUnknown as error:
            stamp = None if transaction is None else transaction.stamp
            if stamp is None or not await self._committed(stamp):
                raise StoreUnavailable(str(error)) from error
            log.warning("a commit was not answered (%s), but it is there", error)

    async def _committed(self, stamp: Stamp) -> bool:
        """Whether the commit with this stamp happened. It waits for one that is still under way."""
        for _ in range(READ_BACK_TRIES):
            try:
                async with self._connections.transaction() as connection:
                    found = await connection.fetchval(self._sql[stamp.statement], stamp.whose)
            except StoreError:
                await asyncio.sleep(READ_BACK_PAUSE)
            else:
                return found is not None and found >= stamp.number
        raise StoreUnavailable("a commit was not answered and PostgreSQL can't be asked whether it happened")

    async def _tried(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """``once``, again while others are in its way."""
        for number in range(MOST_TRIES):
            try:
                return await once()
            except (Again, StoreError) as error:
                if not meets_others(error) or number == MOST_TRIES - 1:
                    if isinstance(error, Again):
                        break
                    raise
        raise StoreUnavailable(f"{MOST_TRIES} times others were in the way of a commit; it is tried again")

    # --- entries ---

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            return await self._batch(worker, entries)
        except _Refused as error:
            if len(entries) == 1:
                log.exception("refused: %s", type(entries[0]).__name__)
                return [Rejected(f"it can't be written: {error}")]
        except BaseException:
            self._owned.doubt()
            raise
        outcomes: list[Outcome] = []
        for entry in entries:  # at least one can't be written: each goes alone
            outcomes += await self.commit(worker, [entry])
        return outcomes

    async def _batch(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        append = None if self._connections.pooled else as_append(worker, entries, self._owned)
        if append is not None and (done := await self._append(append)) is not None:
            return done
        needs = await self._learn(entries)

        async def once() -> list[Outcome]:
            async with self._transaction() as transaction:
                leased = await transaction.lease(worker, "commit")
                outcomes = await transaction.carry(entries, needs, worker=worker, leased=leased)
                if not leased:
                    await transaction.stamp_store(self._store)
            self._remember(transaction, worker)
            return outcomes

        try:
            return await self._tried(once)
        except StoreError as error:
            if isinstance(error.__cause__, _ENTRY_ERRORS):
                raise _Refused(str(error.__cause__)) from error
            raise

    async def _append(self, append: Append) -> list[Outcome] | None:
        """None: nothing was written, and the batch takes the way of all others."""
        expected = self._owned.commits(append.worker)
        assert expected is not None, "an append is numbered"
        try:
            async with self._connections.use() as connection:
                commits, times = await append.execute(connection, self._sql, self._fixed(), self._clock)
        except StoreError as error:
            if meets_others(error) or isinstance(error.__cause__, _ENTRY_ERRORS):
                return None
            if not isinstance(error.__cause__, LOST):
                raise
            if not await self._committed(Stamp("stamped_commit", append.worker, expected + 1)):
                raise
            log.warning("a commit was not answered (%s), but it is there", error)
            async with self._connections.single() as connection:
                commits, times = expected + 1, await append.read_back(connection, self._sql)
        if commits is None:
            return None  # the lease has ended
        self._owned.count(append.worker, commits)
        return append.settle(times, self._owned)

    def _remember(self, transaction: _Transaction, worker: WorkerId | None) -> None:
        """What a transaction has left behind."""
        self._owned.keep(transaction.left, worker)
        stamp = transaction.stamp
        if worker is not None and stamp is not None and stamp.statement == "stamped_commit":
            self._owned.count(worker, stamp.number)

    async def _learn(self, entries: Sequence[Entry]) -> set[Facet]:
        """What to load and lock. Which runs hold a token or watch another is read before anything is locked."""
        loaded = Loaded()
        needs = foreseen(entries, loaded)
        unlocked = {facet for facet in needs if facet[0] in ("token", "watchers")}
        if unlocked:
            async with self._connections.single() as connection:
                await Loader(connection, self._sql, loaded, now=0.0, fixed=None).load(unlocked)
            needs = foreseen(entries, loaded)
        return needs

    # --- claims ---

    async def claim(self, worker: WorkerId, due: Due) -> Claims:
        await self._look_for_long_transactions()
        async with self._connections.single() as connection:
            statement = "look" if due.root is None else "look_under"
            values = [worker, due.workflows, due.fingerprint, self._fixed(), due.suspects > 0]
            asked = time.monotonic()
            record = await connection.fetchrow(self._sql[statement], *values, *([] if due.root is None else [due.root]))
        assert record is not None, "it always has one row"
        now, stands, dead, some_due, some_parked, next_due = record
        if self._clock is not None:
            self._clock.follow(now, asked=asked)
        if not stands:
            raise _lost(worker)
        if not (dead or some_due or some_parked):
            return Claims(runs=(), next_due=next_due)
        return await self._tried(lambda: self._claim(worker, due))

    async def _look_for_long_transactions(self) -> None:
        """Warn of them, now and then: while one is open no dead row is cleared away, and every claim walks past them."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY
        async with self._connections.single() as connection:
            for pid, user, program, seconds in await connection.fetch(self._sql["long_transactions"], LONG):
                log.warning(
                    "a transaction of %s has been open for %d s (process %d, user %s): PostgreSQL can't clear away old rows "
                    "until it ends, and everything slows down; end it, or SELECT pg_terminate_backend(%d)",
                    program or "a program without a name",
                    seconds,
                    pid,
                    user,
                    pid,
                )

    async def _claim(self, worker: WorkerId, due: Due) -> Claims:
        async with self._transaction() as transaction:
            if not await transaction.lease(worker, "claim"):
                raise _lost(worker)
            await transaction.sweep(worker)
            claimed = await transaction.take(worker, await transaction.due(due))
            next_due = await transaction.next_due(due)
        self._remember(transaction, worker)
        return Claims(runs=tuple(claimed), next_due=next_due)

    async def leave(self, worker: WorkerId) -> None:
        async def once() -> None:
            async with self._transaction() as transaction:
                await transaction.free(worker, crashed=False)

        await self._tried(once)

    async def tidy(self) -> None:
        """Remove the stamps of stores that were never closed, and, at the end, this one's."""
        async with self._transaction() as transaction:
            await transaction.tidy(self._store)


class _Transaction:
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

    async def sweep(self, worker: WorkerId) -> None:
        """Free the runs of workers whose lease has ended."""
        for (dead,) in await self._connection.fetch(self._sql["lock_dead"], worker, self._now):
            await self.free(dead, crashed=True)

    async def free(self, worker: WorkerId, *, crashed: bool) -> None:
        if not self._now:
            self._now = self._fixed or await self._connection.fetchval(self._sql["clock"])
        await self._connection.execute(self._sql["lock_worker"], worker)
        owned = await self._connection.fetch(self._sql["lock_owned"], worker)
        suspects = sum(not progress for _, progress in owned) if crashed else 0
        if owned:
            await self._connection.execute(self._sql["free"], worker, self._now, crashed, suspects == 1)
        await self._connection.execute(self._sql["leave"], worker)

    async def due(self, due: Due) -> list[RunId]:
        values = [due.workflows, self._now, due.limit, due.suspects > 0]
        if due.root is None:
            found = await self._connection.fetch(self._sql["due"], *values)
        else:
            found = await self._connection.fetch(self._sql["due_under"], *values, due.root)
        waiting = [run for run, suspect in found if suspect][due.suspects :]
        runs = [run for run, _ in found if run not in waiting]
        if len(runs) < due.limit:
            rest = (due.workflows, due.fingerprint, due.limit - len(runs), due.root)
            runs += [run for (run,) in await self._connection.fetch(self._sql["parked"], *rest)]
        return runs

    async def take(self, worker: WorkerId, runs: Collection[RunId]) -> list[Claimed]:
        if not runs:
            return []
        loader = Loader(self._connection, self._sql, self._loaded, now=self._now, fixed=self._fixed)
        await loader.load({("run", run) for run in runs})
        rows = StagedRows(self._loaded)
        carrier = Carrier(rows, worker=worker, leased=True, now=loader.now)
        claimed = [carrier.claim(run) for run in runs]
        await flush(self._connection, self._sql, rows)
        self._leave(rows)
        return claimed

    async def next_due(self, due: Due) -> float | None:
        at: float | None
        if due.root is None:
            at = await self._connection.fetchval(self._sql["next_due"], due.workflows)
        else:
            at = await self._connection.fetchval(self._sql["next_due_under"], due.workflows, due.root)
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


class _Refused(Exception):
    """An entry itself is at fault: trying again would not help."""


_ENTRY_ERRORS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeError,
    OverflowError,
)


def _lost(worker: WorkerId) -> LeaseLost:
    return LeaseLost(f"worker {worker} has lost its lease; join again under another id")
