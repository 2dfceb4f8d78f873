"""Transactions on the writer connection. Every call here is made with the writer lock held."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple, cast

import apsw

from outlive.errors import LeaseLost
from outlive.model.carry import Carrier
from outlive.model.entries import Claimed, ClaimedTask, Claims, Entry, Outcome, Rejected, TaskKey
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import KeyRecord, ServiceRecord
from outlive.model.tasks import Wanted, blamed
from outlive.stores.columns import service_columns
from outlive.stores.protocol import Clock
from outlive.stores.sqlite import housekeeping, queues
from outlive.stores.sqlite.connection import BUSY_MS, ENTRY_ERRORS, Connection, Durability, connect, fetch
from outlive.stores.sqlite.identity import OpenFile
from outlive.stores.sqlite.locks import ProcessLocks
from outlive.stores.sqlite.rows import SqliteRows
from outlive.stores.sqlite.statements import SQL

_STAMPS_KEPT: Final = 86_400.0

_log: Final = logging.getLogger("outlive.stores.sqlite")


class Due(NamedTuple):
    """What a claim looks for."""

    workflows: str
    """A JSON list of names."""
    limit: int
    fingerprint: str
    suspects: int
    root: RunId | None
    queues: str | None
    """A JSON list of names; None: all."""
    tasks: Wanted | None


class Writer:
    """The one connection of a store object that writes entries."""

    def __init__(
        self,
        connection: Connection,
        *,
        path: str,
        clock: Clock,
        durability: Durability,
        locks: ProcessLocks,
        store: str,
    ) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._path = path
        self._clock = clock
        self._durability: Durability = durability
        self._locks = locks
        self._store = store
        self._rows = SqliteRows(connection)
        self._file = OpenFile(path)
        self._stamp: tuple[str, str, int] | None = None
        """By which this transaction would be known: the statement that reads the stamp, whose, and its number."""
        self._joined: dict[WorkerId, float] = {}
        self._renewed: dict[WorkerId, float] = {}
        self.page_size: int = cast("int", connection.pragma("page_size"))
        self.wal_pages: int = 0
        connection.set_wal_hook(self._on_commit)

    def _on_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def data_version(self) -> int:
        [(version,)] = fetch(self._connection, tuple[int], "PRAGMA data_version")
        return version

    def close(self) -> None:
        """Workers that have not left are dead from now on: others see it at once."""
        for worker in self._joined:
            self._locks.let_go(worker)
        with contextlib.suppress(apsw.Error):  # a stamp left behind is swept later
            self._execute(SQL["unstamp"], (self._store, 0.0))

    def tidy(self) -> None:
        """Remove what stores that were never closed have left."""
        with contextlib.suppress(apsw.ReadOnlyError), self._transaction():
            self._execute(SQL["unstamp"], (self._store, self._clock.now() - _STAMPS_KEPT))
        known = {worker for (worker,) in fetch(self._connection, tuple[WorkerId], SQL["workers"])}
        for worker in self._locks.files():
            if worker not in known and not self._locks.alive(worker):
                self._locks.bury(worker)

    # --- transactions ---

    @contextlib.contextmanager
    def _transaction(self, *, wait: bool = True) -> Generator[None, None, None]:
        """All that is written inside, or nothing; what is uncertain at the end is read back."""
        self._begin(wait=wait)
        self._stamp = None
        try:
            self._rows.begin()
            yield
            stamp = self._stamp or self._stamp_store()
            self._file.check()
        except BaseException:
            self._roll_back()
            raise
        try:
            self._execute("COMMIT")
        except apsw.Error:
            self._rows.forget()
            if self._connection.in_transaction:
                self._roll_back()
                raise
            if not self._committed(*stamp):
                raise
            _log.warning("a commit to %s reported an error, but is there: %s", self._path, stamp, exc_info=True)

    def _begin(self, *, wait: bool) -> None:
        if wait:
            self._connection.set_busy_timeout(BUSY_MS)
        try:
            self._execute("BEGIN IMMEDIATE")
        finally:
            if wait:
                self._connection.set_busy_timeout(0)

    def _roll_back(self) -> None:
        self._rows.forget()
        if self._connection.in_transaction:  # some errors have rolled back already
            self._execute("ROLLBACK")

    def _stamp_store(self) -> tuple[str, str, int]:
        [(number,)] = fetch(self._connection, tuple[int], SQL["stamp"], (self._store, self._clock.now()))
        return ("stamped", self._store, number)

    def _committed(self, statement: str, whose: str, number: int) -> bool:
        """Whether the commit with this stamp happened, as a new connection sees it."""
        connection = connect(self._path, durability=self._durability)
        try:
            found = fetch(connection, tuple[int], SQL[statement], (whose,))
            return bool(found) and found[0][0] >= number
        finally:
            connection.close()

    # --- workers ---

    def join(self, worker: WorkerId, *, lease: float) -> None:
        now = self._clock.now()
        held = self._locks.hold(worker)
        try:
            with self._transaction():
                if held:
                    self._execute(SQL["join"], (worker, lease, now + lease, now))
                if not held or self._connection.changes() != 1:
                    raise LeaseLost(f"worker {worker} has joined before; take a new id for each life")
        except BaseException:
            if held:
                self._locks.let_go(worker)
            raise
        self._joined[worker] = lease
        self._renewed[worker] = now

    def serve(self, service: ServiceRecord) -> None:
        with self._transaction():
            self._execute(SQL["serve"], service_columns(service))

    def limit_queue(self, queue: str, limit: int | None) -> None:
        with self._transaction():
            self._execute(SQL["limit_queue"], (queue, limit))

    def renew(self, worker: WorkerId, *, connection: Connection) -> bool:
        """On the connection of the heartbeat."""
        now = self._clock.now()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(SQL["renew"], (worker, now))
            stands = connection.changes() == 1
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if stands:
            self._renewed[worker] = now
        return stands

    def lately_renewed(self, worker: WorkerId, now: float) -> bool:
        """Whether a commit has renewed the lease within a quarter of it: then the heartbeat needn't write (R33)."""
        renewed = self._renewed.get(worker)
        return renewed is not None and renewed <= now < renewed + self._joined[worker] / 4

    def leave(self, worker: WorkerId) -> None:
        with self._transaction():
            self._free(worker, crashed=False)
        self._joined.pop(worker, None)
        self._renewed.pop(worker, None)
        self._locks.let_go(worker)
        self._locks.bury(worker)

    def _leased(self, worker: WorkerId | None, now: float) -> bool:
        """Renew the lease in this transaction, if it stands."""
        if worker is None:
            return False
        renewed = fetch(self._connection, tuple[int], SQL["renew_in_commit"], (worker, now))
        if renewed:
            self._stamp = ("stamped_worker", worker, renewed[0][0])
        return bool(renewed)

    # --- entries ---

    def commit(self, worker: WorkerId | None, entries: Sequence[Entry], *, wait: bool = True) -> list[Outcome]:
        now = self._clock.now()
        try:
            with self._transaction(wait=wait):
                carrier = Carrier(self._rows, worker=worker, leased=(leased := self._leased(worker, now)), now=now)
                outcomes = [carrier.carry(entry) for entry in entries]
        except ENTRY_ERRORS:
            with self._transaction(wait=wait):
                carrier = Carrier(self._rows, worker=worker, leased=(leased := self._leased(worker, now)), now=now)
                outcomes = [self._carefully(carrier, entry) for entry in entries]
        if worker is not None:
            if leased:
                self._renewed[worker] = now
            else:
                self._renewed.pop(worker, None)
        return outcomes

    def _carefully(self, carrier: Carrier, entry: Entry) -> Outcome:
        """One entry of a batch in which at least one can't be written: that one is undone alone."""
        self._execute("SAVEPOINT entry")
        try:
            return carrier.carry(entry)
        except ENTRY_ERRORS as error:
            self._execute("ROLLBACK TO entry")
            self._rows.forget()
            _log.exception("refused: %s", type(entry).__name__)
            return Rejected(f"it can't be written: {type(error).__name__}: {error}")
        finally:
            self._execute("RELEASE entry")

    # --- claims ---

    def claim(self, worker: WorkerId, due: Due) -> Claims:
        now = self._clock.now()
        dead = self._dead(worker, now)
        ending = tuple(
            TaskKey(*key) for key in fetch(self._connection, tuple[RunId, int, int], SQL["cancelling_tasks"], (worker,))
        )
        tasks = due.tasks is not None and queues.anything(self._connection, due.tasks, due.root)
        if not dead and not tasks and not self._due(due, now):
            # nothing to write: no transaction, no fsync. What becomes due now is found by the next call
            if not fetch(self._connection, tuple[int], SQL["leased"], (worker, now)):
                raise _lost(worker)
            alone = due.tasks is not None and queues.waits_alone(self._connection, due.tasks, due.root)
            return Claims(runs=(), next_due=self._next_due(due), cancelling=ending, alone=alone)
        with self._transaction():
            if not self._leased(worker, now):
                raise _lost(worker)
            for other in dead:
                self._free(other, crashed=True)
            carrier = Carrier(self._rows, worker=worker, leased=True, now=now)
            claimed = [taken for run in self._due(due, now) if (taken := self._take(carrier, run))]
            next_due = self._next_due(due)
            steps: list[ClaimedTask] = []
            alone = False
            if due.tasks is not None:
                wanted = due.tasks.beside(claimed)
                alone = queues.waits_alone(self._connection, wanted, due.root)
                steps += queues.claim(self._connection, self._rows, worker, wanted, due.root)
        self._renewed[worker] = now
        for other in dead:
            self._locks.bury(other)
        return Claims(runs=tuple(claimed), next_due=next_due, tasks=tuple(steps), cancelling=ending, alone=alone)

    def _take(self, carrier: Carrier, run: RunId) -> Claimed | None:
        self._execute("SAVEPOINT claim")
        try:
            return carrier.claim(run)
        except ENTRY_ERRORS:  # a row that can't be: the others must not wait for it
            self._execute("ROLLBACK TO claim")
            self._rows.forget()
            _log.exception("run %s can't be claimed; run `outlive doctor`", run)
            return None
        finally:
            self._execute("RELEASE claim")

    def _dead(self, worker: WorkerId, now: float) -> list[WorkerId]:
        """Workers whose lease has ended or whose process is gone. Only the writer lock's holder asks, so none joins meanwhile."""
        others = fetch(self._connection, tuple[WorkerId, float], SQL["others"], (worker,))
        return [other for other, until in others if until <= now or not self._locks.alive(other)]

    def _free(self, worker: WorkerId, *, crashed: bool) -> None:
        [(held, owned, suspects)] = fetch(self._connection, tuple[int, int, int], SQL["some_of_worker"], (worker,))
        self._execute(SQL["free"], (worker, self._clock.now(), crashed, crashed and suspects + held == 1))
        self._execute(SQL["drop_void_tasks"], (worker,))
        self._execute(SQL["free_tasks"], (worker, crashed, crashed and blamed(held, runs=owned)))
        self._execute(SQL["stop_serving"], (worker,))
        self._rows.forget()
        self._execute(SQL["leave"], (worker,))

    def _due(self, due: Due, now: float) -> list[RunId]:
        values = (due.workflows, now, due.limit, due.suspects > 0)
        if due.root is None:
            found = fetch(self._connection, tuple[RunId, int], SQL["due"], (*values, due.queues))
        else:
            found = fetch(self._connection, tuple[RunId, int], SQL["due_under"], (*values, due.root, due.queues))
        suspected = [run for run, suspect in found if suspect][due.suspects :]
        runs = [run for run, _ in found if run not in suspected]
        if len(runs) < due.limit:
            parked = (due.workflows, due.fingerprint, due.limit - len(runs), due.root, due.queues)
            runs += [run for (run,) in fetch(self._connection, tuple[RunId], SQL["parked"], parked)]
        return runs

    def _next_due(self, due: Due) -> float | None:
        values = (due.workflows, due.queues) if due.root is None else (due.workflows, due.root, due.queues)
        statement = "next_due" if due.root is None else "next_due_under"
        [(at,)] = fetch(self._connection, tuple[float | None], SQL[statement], values)
        return at

    # --- keys of the HTTP API ---

    def add_api_key(self, key: KeyRecord) -> None:
        with self._transaction():
            values = (key.id, key.hash, key.name, key.role, key.created_at, key.expires_at)
            self._execute(SQL["add_api_key"], values)

    def revoke_api_key(self, id: str) -> bool:
        with self._transaction():
            self._execute(SQL["revoke_api_key"], (id,))
            return self._connection.changes() > 0

    def use_api_key(self, id: str, *, now: float) -> None:
        with self._transaction():
            self._execute(SQL["use_api_key"], (id, now))

    # --- keeping house ---

    def hash_seed(self, fresh: str) -> str:
        with self._transaction():
            self._execute(SQL["put_hash_seed"], (fresh,))  # the first to ask decides
            [(seed,)] = fetch(self._connection, tuple[str], SQL["hash_seed"])
        return seed

    def prune(self, *, ended_before: float, limit: int) -> int:
        with self._transaction():
            return housekeeping.prune(self._connection, ended_before=ended_before, limit=limit, now=self._clock.now())


def _lost(worker: WorkerId) -> LeaseLost:
    return LeaseLost(f"worker {worker} has lost its lease; join again under another id")
