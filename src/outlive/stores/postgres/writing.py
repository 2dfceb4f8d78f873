"""Transactions: what a batch needs is loaded and locked, the rules are carried out on it, what they wrote is written.

All transactions lock in one order: the worker, runs by id, requests by id, then what they insert by key. Where a batch turns out to
need a run that it has not locked, it lets everything go and begins anew with all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import asyncpg
import msgspec

from outlive.errors import LeaseLost, StoreError, StoreUnavailable
from outlive.model.entries import Busy, ClaimedTask, Claims, Entry, NewRun, Outcome, Rejected, TaskKey
from outlive.model.ids import RunId, WorkerId
from outlive.stores.postgres.appending import Append, OwnedRows, as_append
from outlive.stores.postgres.clock import ServerClock
from outlive.stores.postgres.connections import (
    LOST,
    MOST_TRIES,
    Again,
    CommitUnknown,
    Connections,
    meets_others,
)
from outlive.stores.postgres.facets import Facet, Loaded, foreseen
from outlive.stores.postgres.loading import Loader
from outlive.stores.postgres.statements import Statements
from outlive.stores.postgres.transaction import Due, Stamp, Transaction

_T = TypeVar("_T")

LONG: Final = 60.0
LOOK_EVERY: Final = 30.0
APART: Final = 10.0
"""Seconds for which what is about a run goes alone, once somebody's transaction was in its way."""
IMPATIENT: Final = "SET LOCAL lock_timeout = '50ms'"
READ_BACK_TRIES: Final = 5
READ_BACK_PAUSE: Final = 1.0

log: Final = logging.getLogger("outlive.stores.postgres")


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
        self._held_up: dict[RunId | None, float] = {}
        """Runs that somebody's transaction holds, and until when what is about them goes alone: the others need not wait for them."""

    # --- transactions ---

    @contextlib.asynccontextmanager
    async def _transaction(self, *, patient: bool = True) -> AsyncGenerator[Transaction, None]:
        """One try. What is uncertain at its end is read back before anybody is told.

        Raises:
            Again: It met another transaction.
        """
        transaction: Transaction | None = None
        try:
            async with self._connections.stamped() as connection:
                if not patient:
                    await connection.execute(IMPATIENT)
                transaction = Transaction(connection, self._sql, self._fixed(), self._clock)
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
        now = time.monotonic()
        self._held_up = {run: until for run, until in self._held_up.items() if until > now}
        apart = [entry for entry in entries if _about(entry) in self._held_up] if self._held_up else []
        if not apart:
            return await self._together(worker, entries)
        rest = [entry for entry in entries if _about(entry) not in self._held_up]
        together = iter(await self._together(worker, rest) if rest else ())
        alone = iter(await self._each(worker, apart, sure=bool(rest)))
        waiting = {id(entry) for entry in apart}
        return [next(alone if id(entry) in waiting else together) for entry in entries]

    async def _together(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            return await self._batch(worker, entries)
        except (_Refused, _HeldUp):  # at least one can't be written, or not now
            return await self._each(worker, entries, sure=False)
        except BaseException:
            self._owned.doubt()
            raise

    async def _each(self, worker: WorkerId | None, entries: Sequence[Entry], *, sure: bool) -> list[Outcome]:
        """Each alone. Once something was written, or ``sure`` has been, that is told whatever becomes of the others."""
        outcomes: list[Outcome] = []
        away: StoreError | None = None
        for entry in entries:
            try:
                if away is None:
                    outcomes += await self._batch(worker, [entry], patient=False)
                    self._held_up.pop(_about(entry), None)
                else:
                    outcomes.append(Busy(str(away)))
            except _Refused as error:
                log.exception("refused: %s", type(entry).__name__)
                outcomes.append(Rejected(f"it can't be written: {error}"))
            except _HeldUp as error:
                self._held_up[_about(entry)] = time.monotonic() + APART
                outcomes.append(Busy(str(error)))
            except StoreError as error:
                self._owned.doubt()
                if not (sure or outcomes):
                    raise
                away = error
                outcomes.append(Busy(str(error)))
            except BaseException:
                self._owned.doubt()
                raise
        return outcomes

    async def _batch(self, worker: WorkerId | None, entries: Sequence[Entry], *, patient: bool = True) -> list[Outcome]:
        append = as_append(worker, entries, self._owned) if patient and not self._connections.pooled else None
        if append is not None and (done := await self._append(append)) is not None:
            return done
        try:
            needs = await self._learn(entries)
        except msgspec.MsgspecError as error:
            raise _Refused(str(error)) from error

        async def once() -> list[Outcome]:
            async with self._transaction(patient=patient) as transaction:
                leased = await transaction.lease(worker, "commit")
                outcomes = await transaction.carry(entries, needs, worker=worker, leased=leased)
                if not leased:
                    await transaction.stamp_store(self._store)
            self._remember(transaction, worker)
            return outcomes

        try:
            return await self._tried(once)
        except msgspec.MsgspecError as error:  # a row that can't be: the others must not wait for it
            raise _Refused(str(error)) from error
        except StoreError as error:
            if isinstance(error.__cause__, _ENTRY_ERRORS):
                raise _Refused(str(error.__cause__)) from error
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise _HeldUp(str(error)) from error
            raise

    async def _append(self, append: Append) -> list[Outcome] | None:
        """None: nothing was written, and the batch takes the way of all others."""
        expected = self._owned.commits(append.worker)
        assert expected is not None, "an append is numbered"
        sent = False
        try:
            async with self._connections.use() as connection:
                sent = True
                commits, times = await append.execute(connection, self._sql, self._fixed(), self._clock)
        except StoreError as error:
            if meets_others(error) or isinstance(error.__cause__, _ENTRY_ERRORS):
                return None
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise _HeldUp(str(error)) from error
            if not sent or not isinstance(error.__cause__, LOST):
                raise  # without a connection nothing can have happened
            if not await self._committed(Stamp("stamped_commit", append.worker, expected + 1)):
                raise
            log.warning("a commit was not answered (%s), but it is there", error)
            async with self._connections.single() as connection:
                commits, times = expected + 1, await append.read_back(connection, self._sql)
        if commits is None:
            return None  # the lease has ended
        self._owned.count(append.worker, commits)
        return append.settle(times, self._owned)

    def _remember(self, transaction: Transaction, worker: WorkerId | None) -> None:
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
            root = [] if due.root is None else [due.root]
            asked = time.monotonic()
            record = await connection.fetchrow(
                self._sql[statement],
                *values,
                *root,
                [] if due.tasks is None else due.tasks.steps,
                due.queues,
                due.tasks is not None and due.tasks.suspects,
            )
        assert record is not None, "it always has one row"
        now, stands, dead, some_due, some_parked, next_due, some_tasks, cancelling = record
        if self._clock is not None:
            self._clock.follow(now, asked=asked)
        if not stands:
            raise _lost(worker)
        ending = () if cancelling is None else tuple(TaskKey(*key) for key in json.loads(cancelling))
        some_runs = (some_due or some_parked) and due.limit > 0
        if not (dead or some_runs or (some_tasks and due.tasks is not None)):
            return Claims(runs=(), next_due=next_due, cancelling=ending)
        return await self._tried(lambda: self._claim(worker, due, ending))

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

    async def _claim(self, worker: WorkerId, due: Due, ending: tuple[TaskKey, ...]) -> Claims:
        next_due: float | None = None
        tasks: list[ClaimedTask] = []
        alone = False
        try:
            async with self._transaction() as transaction:
                if not await transaction.lease(worker, "claim"):
                    raise _lost(worker)
                freed = await transaction.sweep(worker)
                claimed = await transaction.take(worker, await transaction.due(due))
                next_due = await transaction.next_due(due)
                if due.tasks is not None:
                    tasks, alone = await transaction.take_tasks(worker, due.tasks.beside(claimed), due.root)
                if not (freed or claimed or tasks):
                    raise _Nothing  # what may not be taken yet is no reason to write
        except _Nothing:
            return Claims(runs=(), next_due=next_due, cancelling=ending, alone=alone)
        self._remember(transaction, worker)
        return Claims(runs=tuple(claimed), next_due=next_due, tasks=tuple(tasks), cancelling=ending, alone=alone)

    async def leave(self, worker: WorkerId) -> None:
        async def once() -> None:
            async with self._transaction() as transaction:
                await transaction.leave(worker)

        await self._tried(once)

    async def tidy(self) -> None:
        """Remove the stamps of stores that were never closed."""
        async with self._transaction() as transaction:
            await transaction.tidy(self._store)


class _Refused(Exception):
    """An entry itself is at fault: trying again would not help."""


def _about(entry: Entry) -> RunId | None:
    return getattr(entry, "id" if isinstance(entry, NewRun) else "run", None)


class _HeldUp(Exception):
    """Somebody's transaction holds what an entry needs: the others need not wait for that."""


_ENTRY_ERRORS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeError,
    OverflowError,
)


class _Nothing(Again):
    """There was nothing to take after all: the connection is good, and what was done is taken back."""


def _lost(worker: WorkerId) -> LeaseLost:
    return LeaseLost(f"worker {worker} has lost its lease; join again under another id")
