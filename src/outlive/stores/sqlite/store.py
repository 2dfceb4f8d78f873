"""Everything that is kept, in one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import apsw
from msgspec import Raw

from outlive.errors import ConfigurationError, UsageError
from outlive.model.entries import ClaimedTask, Claims, Entry, NewRun, Outcome
from outlive.model.events import Recorded, StepCompleted
from outlive.model.hints import Hint
from outlive.model.ids import RunId, StepId, TokenHash, WorkerId
from outlive.model.records import (
    HookRecord,
    KeyRecord,
    QueueRecord,
    RunRecord,
    ServiceRecord,
    TaskRecord,
    WaitRecord,
)
from outlive.model.streams import Chunk, StreamRecord
from outlive.model.tasks import Wanted, task_record
from outlive.stores.protocol import NO_GUESTS, Clock, Fence, Pace, RunFilter
from outlive.stores.sqlite import housekeeping, locks, reading
from outlive.stores.sqlite.connection import (
    BUSY_MS,
    Connection,
    Durability,
    connect,
    migrate,
    translated,
    warn_of_old_sqlite,
)
from outlive.stores.sqlite.filesystem import mounts, refuse_network
from outlive.stores.sqlite.writing import Due, Writer

_T = TypeVar("_T")

INLINE_LIMIT: Final = 8
"""Entries that :meth:`SQLiteStore.commit_now` takes: more would keep the loop from its other runs."""

_CHECKPOINT_PAGES: Final = 1_000
_LARGEST_WAL: Final = 64 * 2**20
_RESTART_PAGES: Final = 4_000
_READERS_MS: Final = 20
"""How long to wait for readers to leave the log: writers wait meanwhile."""

_log: Final = logging.getLogger("outlive.stores.sqlite")


class SQLiteStore:
    """A store in the file ``path``, which the processes of one machine may share.

    Args:
        path: The database; its side files (``-wal``, ``-shm``, ``-lock``, ``-checkpoint``, ``-workers/``) lie beside it.
        clock: Decides what is due and when a lease ends.
        durability: ``"power"``: a commit that returned survives a power cut. ``"process"``: it survives the death of every
            process, and a power cut may take the last ones.
        mountinfo: The mount table in which network file systems are looked for; the system's unless given.
    """

    pace: Pace = Pace(poll=0.25, look_every=0.03, read_again=1.0)
    one_clock = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock,
        durability: Durability = "power",
        mountinfo: str | None = None,
    ) -> None:
        self._path = os.path.realpath(path)
        self.clock: Clock = clock
        self._durability: Durability = durability
        self._mountinfo = mountinfo
        self._opened: _Opened | None = None

    # --- life ---

    async def open(self) -> None:
        assert self._opened is None, "the store is open already"
        refuse_network(self._path, mounts() if self._mountinfo is None else self._mountinfo)
        warn_of_old_sqlite(apsw.sqlite_lib_version())
        loop = asyncio.get_running_loop()
        self._opened = await loop.run_in_executor(None, self._guarded, self._open)

    def _open(self) -> _Opened:
        return _Opened(self._path, clock=self.clock, durability=self._durability)

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            await asyncio.get_running_loop().run_in_executor(None, opened.close)

    def _use(self) -> _Opened:
        opened = self._opened
        if opened is None:
            raise UsageError(f"the store {self._path} is not open; use it inside `async with Engine(...)`")
        if opened.pid != os.getpid():
            raise UsageError(
                f"the store {self._path} was opened before this process forked; open an engine of its own in the child, "
                "or start processes with multiprocessing's 'spawn'"
            )
        return opened

    def _guarded(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (apsw.Error, OSError) as error:
            raise translated(error, self._path) from error

    async def _write(self, call: Callable[[Writer], _T]) -> _T:
        opened = self._use()

        def in_thread() -> _T:
            with opened.locks.writing():
                return call(opened.writer)

        result = await asyncio.get_running_loop().run_in_executor(opened.writer_thread, self._guarded, in_thread)
        opened.after_write()
        return result

    async def _read(self, call: Callable[[Connection], _T]) -> _T:
        opened = self._use()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(opened.reader_thread, self._guarded, lambda: call(opened.reader))

    # --- workers ---

    async def join(self, worker: WorkerId, *, lease: float) -> None:
        await self._write(lambda writer: writer.join(worker, lease=lease))

    async def serve(self, service: ServiceRecord) -> None:
        await self._write(lambda writer: writer.serve(service))

    async def renew(self, worker: WorkerId) -> bool:
        return await asyncio.get_running_loop().run_in_executor(None, self.renew_now, worker)

    def renew_now(self, worker: WorkerId) -> bool:
        """:meth:`renew` for the thread of the heartbeat: on a connection of its own, without the executor or the loop."""
        opened = self._use()
        return self._guarded(lambda: opened.renew(worker))

    async def leave(self, worker: WorkerId) -> None:
        await self._write(lambda writer: writer.leave(worker))

    # --- writing ---

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        return await self._write(lambda writer: writer.commit(worker, entries)) if entries else []

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        if len(entries) > INLINE_LIMIT:
            return None
        opened = self._use()
        if not opened.locks.try_writing():
            return None
        try:
            return opened.writer.commit(worker, entries, wait=False)
        except apsw.BusyError:
            return (
                None  # a program that doesn't queue has the write lock: nothing was done, the executor may wait for it
            )
        except (apsw.Error, OSError) as error:
            raise translated(error, self._path) from error
        finally:
            opened.locks.stop_writing()
            opened.after_write()

    # --- claiming ---

    async def claim(
        self,
        worker: WorkerId,
        *,
        limit: int,
        workflows: Collection[str],
        fingerprint: str,
        suspects: int,
        root: RunId | None = None,
        queues: Collection[str] | None = None,
        tasks: Wanted | None = None,
    ) -> Claims:
        due = Due(
            json.dumps(sorted(workflows)),
            limit=limit,
            fingerprint=fingerprint,
            suspects=suspects,
            root=root,
            queues=None if queues is None else json.dumps(sorted(queues)),
            tasks=tasks,
        )
        return await self._write(lambda writer: writer.claim(worker, due))

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        return await self._read(lambda connection: reading.knocks(connection, worker))

    async def owned(self, worker: WorkerId) -> list[RunId]:
        return await self._read(lambda connection: reading.owned(connection, worker))

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        return await self._read(lambda connection: reading.held(connection, worker))

    def changed(self) -> bool:
        opened = self._use()
        return self._guarded(opened.changed)

    def on_hint(self, told: Callable[[Hint], None]) -> None: ...

    # --- reading ---

    async def log(self, run: RunId, link: int, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        return await self._read(lambda connection: reading.log(connection, run, link, after=after, limit=limit))

    async def run(self, run: RunId) -> RunRecord | None:
        return await self._read(lambda connection: reading.run(connection, run))

    async def runs(self, where: RunFilter) -> list[RunRecord]:
        return await self._read(lambda connection: reading.runs(connection, where))

    async def waits(self, run: RunId) -> list[WaitRecord]:
        return await self._read(lambda connection: reading.waits(connection, run))

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        return [task_record(task) for task in await self._read(lambda connection: reading.tasks(connection, run))]

    async def queues(self) -> list[QueueRecord]:
        return await self._read(partial(reading.queues, now=self.clock.now()))

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        await self._write(lambda writer: writer.limit_queue(queue, limit))

    async def services(self) -> list[ServiceRecord]:
        return await self._read(partial(reading.services, now=self.clock.now()))

    async def hooks(self, run: RunId) -> list[HookRecord]:
        return await self._read(lambda connection: reading.hooks(connection, run))

    async def open_hooks(self, *, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        return await self._read(lambda connection: reading.open_hooks(connection, before, limit))

    async def hook(self, token_hash: TokenHash) -> HookRecord | None:
        return await self._read(lambda connection: reading.hook(connection, token_hash))

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        return await self._read(lambda connection: reading.ended_hook(connection, token_hash))

    async def answer(self, request: str) -> str | None:
        return await self._read(lambda connection: reading.answer(connection, request))

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        return await self._read(lambda connection: reading.chunks(connection, run, stream, start=start, limit=limit))

    async def streams(self, run: RunId) -> list[StreamRecord]:
        return await self._read(lambda connection: reading.streams(connection, run))

    async def stream(self, run: RunId, name: str) -> StreamRecord | None:
        return await self._read(lambda connection: reading.stream(connection, run, name))

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        return await self._read(lambda connection: reading.stream_tail(connection, run, name, count))

    # --- keys of the HTTP API ---

    async def add_api_key(self, key: KeyRecord) -> None:
        await self._write(lambda writer: writer.add_api_key(key))

    async def api_key(self, hashed: str) -> KeyRecord | None:
        return await self._read(lambda connection: reading.api_key(connection, hashed))

    async def api_keys(self) -> list[KeyRecord]:
        return await self._read(reading.api_keys)

    async def revoke_api_key(self, id: str) -> bool:
        return await self._write(lambda writer: writer.revoke_api_key(id))

    async def use_api_key(self, id: str, *, now: float) -> None:
        await self._write(lambda writer: writer.use_api_key(id, now=now))

    # --- on connections of others ---

    async def result_of(self, step: StepId, run: RunId) -> Raw | None:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    async def leave_result(self, connection: object, step: StepId, fence: Fence, done: StepCompleted) -> bool:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    async def create_on(self, connection: object, new: NewRun) -> Outcome:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    # --- keeping house ---

    async def prune(self, *, ended_before: float, limit: int) -> int:
        pruned = 0
        while pruned < limit:  # each batch in a short transaction of its own, so that commits pass between them
            batch = min(limit - pruned, housekeeping.PRUNE_BATCH)
            done = await self._write(partial(Writer.prune, ended_before=ended_before, limit=batch))
            pruned += done
            if done < batch:
                break
        return pruned

    async def hash_seed(self, fresh: str) -> str | None:
        return await self._write(lambda writer: writer.hash_seed(fresh))

    async def audit(self) -> list[str]:
        return await self._read(housekeeping.audit)


class _Opened:
    """The connections and threads of one open store."""

    def __init__(self, path: str, *, clock: Clock, durability: Durability) -> None:
        self.pid = os.getpid()
        self._path = path
        self._clock = clock
        self.locks = locks.attach(path)
        connections: list[Connection] = []
        try:
            with self.locks.writing():
                writer = connect(path, durability=durability)
                connections.append(writer)
                migrate(writer, path)
                self.reader = connect(path, durability=durability, reads=True)
                connections.append(self.reader)
                self._beat = connect(path, durability=durability)
                connections.append(self._beat)
                self.writer = Writer(
                    writer, path=path, clock=clock, durability=durability, locks=self.locks, store=uuid.uuid4().hex
                )
                self.writer.tidy()
        except BaseException:
            for connection in connections:
                connection.close()
            locks.detach(self.locks)
            raise
        self._connections = connections
        self._beating = threading.Lock()
        self._version: int | None = None
        self._checkpoint_at = _CHECKPOINT_PAGES
        self._wal_pages = 0
        self.writer_thread = ThreadPoolExecutor(1, thread_name_prefix="outlive-sqlite-write")
        self.reader_thread = ThreadPoolExecutor(1, thread_name_prefix="outlive-sqlite-read")

    def close(self) -> None:
        self.writer_thread.shutdown()
        self.reader_thread.shutdown()
        with self._beating, self.locks.writing():
            self.writer.close()
            for connection in self._connections:
                try:
                    connection.close()
                except (
                    apsw.Error
                ) as error:  # the last one copies the log into the database; what is in the log is durable as it is
                    _log.warning("%s could not be tidied up while it was closed: %s", self._path, error)
        locks.detach(self.locks)

    def renew(self, worker: WorkerId) -> bool:
        now = self._clock.now()
        if self.writer.lately_renewed(worker, now):
            return True
        with self._beating, self.locks.writing():
            return self.writer.renew(worker, connection=self._beat)

    def changed(self) -> bool:
        """``data_version`` of the writer connection changes when any other one has committed."""
        if not self.locks.try_writing():
            return True  # unsure, and asking would mean waiting
        try:
            version, self._version = self._version, self.writer.data_version()
        finally:
            self.locks.stop_writing()
        return version != self._version

    # --- the write-ahead log ---

    def after_write(self) -> None:
        pages = self.writer.wal_pages
        if pages < self._wal_pages:
            self._checkpoint_at = _CHECKPOINT_PAGES  # the log has begun anew
        self._wal_pages = pages
        if pages >= self._checkpoint_at:
            self._checkpoint_at = pages + _CHECKPOINT_PAGES
            with contextlib.suppress(RuntimeError):  # the store is closing: the last connection checkpoints by itself
                self.reader_thread.submit(self._checkpoint)

    def _checkpoint(self) -> None:
        """Copy the log into the database while others write; then, if they never pause, stop them for a moment to begin it anew."""
        with self.locks.checkpointing() as ours:
            if not ours:
                return
            try:
                pages, _ = self.reader.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                cut = pages * self.writer.page_size > _LARGEST_WAL
                if cut or pages >= _RESTART_PAGES:
                    self.reader.set_busy_timeout(_READERS_MS)
                    with self.locks.writing():
                        self.reader.wal_checkpoint(
                            mode=apsw.SQLITE_CHECKPOINT_TRUNCATE if cut else apsw.SQLITE_CHECKPOINT_RESTART
                        )
            except apsw.Error as error:  # a commit is durable without it; a later one asks again
                _log.info("checkpoint of %s put off: %s", self._path, error)
            finally:
                self.reader.set_busy_timeout(BUSY_MS)
