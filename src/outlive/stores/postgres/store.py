"""Everything that is kept, in one schema of a PostgreSQL database."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from outlive.errors import LeaseLost, UsageError
from outlive.model.entries import ClaimedTask, Claims, Entry, NewRun, Outcome
from outlive.model.events import NOTHING, Recorded, StepCompleted, encode_event
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
from outlive.model.tasks import Wanted
from outlive.stores.columns import service_columns
from outlive.stores.postgres import housekeeping
from outlive.stores.postgres.beating import Beat
from outlive.stores.postgres.clock import ServerClock
from outlive.stores.postgres.connections import Connections, parse
from outlive.stores.postgres.guests import Guest, create_on
from outlive.stores.postgres.hints import Hints
from outlive.stores.postgres.migrating import migrate
from outlive.stores.postgres.reading import Reader
from outlive.stores.postgres.statements import Statements
from outlive.stores.postgres.transaction import Due
from outlive.stores.postgres.writing import Writer
from outlive.stores.protocol import Clock, Fence, Pace, RunFilter

MOST_CONNECTIONS: Final = 8

_HEARING: Final = Pace(poll=1.0, look_every=1.0, read_again=5.0)
_DEAF: Final = Pace(poll=1.0, look_every=1.0, read_again=1.0)


class PostgresStore:
    """A store in the database of ``url``, which any number of machines may share.

    What one process commits it tells the others, so they need not ask often; through a pooler that keeps no sessions nothing can be
    heard, and they ask.

    Args:
        url: ``postgresql://user@host/database``; ``?schema=`` names the schema, else ``outlive``. It is created if it is not there.
        clock: Decides what is due and when a lease ends; for tests. The server's own clock decides otherwise.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        dsn, schema = parse(url)
        self.clock: Clock = ServerClock() if clock is None else clock
        self.pace: Pace = _HEARING
        self.one_clock: bool = clock is not None
        self._dsn = dsn
        self._sql = Statements(schema)
        self._opened: _Opened | None = None

    # --- life ---

    async def open(self) -> None:
        assert self._opened is None, "the store is open already"
        server = self.clock if isinstance(self.clock, ServerClock) else None
        opened = _Opened(self._dsn, self._sql, self._time, server)
        try:
            await opened.connections.open()
            await migrate(opened.connections, self._sql)
            await opened.writer.tidy()
            if server is not None:
                async with opened.connections.single() as connection:
                    asked = time.monotonic()
                    server.follow(await connection.fetchval(self._sql["clock"]), asked=asked)
            opened.hints.open(pooled=opened.connections.pooled)
            self.pace = _DEAF if opened.connections.pooled else _HEARING
        except BaseException:
            await opened.close()
            raise
        self._opened = opened

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            await opened.close()

    def _time(self) -> float | None:
        """What time it is, if the server is not to say."""
        return self.clock.now() if self.one_clock else None

    def _use(self) -> _Opened:
        opened = self._opened
        if opened is None:
            raise UsageError("the PostgreSQL store is not open; use it inside `async with Engine(...)`")
        if opened.pid != os.getpid():
            raise UsageError(
                "the PostgreSQL store was opened before this process forked; open an engine of its own in the child, "
                "or start processes with multiprocessing's 'spawn'"
            )
        return opened

    # --- workers ---

    async def join(self, worker: WorkerId, *, lease: float) -> None:
        async with self._use().connections.single() as connection:
            joined = await connection.fetchval(self._sql["join"], worker, lease, self._time())
        if joined is None:
            raise LeaseLost(f"worker {worker} has joined before; take a new id for each life")

    async def serve(self, service: ServiceRecord) -> None:
        async with self._use().connections.single() as connection:
            await connection.execute(self._sql["serve"], *service_columns(service))

    async def renew(self, worker: WorkerId) -> bool:
        async with self._use().connections.single() as connection:
            return await connection.fetchval(self._sql["renew"], worker, self._time()) is not None

    def renew_now(self, worker: WorkerId) -> bool:
        """:meth:`renew` for the thread of the heartbeat: on a connection and a loop of its own."""
        return self._use().beat.renew(worker)

    async def expire(self, worker: WorkerId) -> None:
        """End a lease, as if its worker had died and time had passed; for tests."""
        async with self._use().connections.single() as connection:
            await connection.execute(self._sql["expire"], worker)

    async def leave(self, worker: WorkerId) -> None:
        await self._use().writer.leave(worker)

    # --- writing ---

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        if not entries:
            return []
        opened = self._use()
        outcomes = await opened.writer.commit(worker, entries)
        opened.hints.tell(entries, outcomes)
        return outcomes

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:  # noqa: ARG002
        return None  # a server is always waited for

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
            sorted(workflows),
            limit=limit,
            fingerprint=fingerprint,
            suspects=suspects,
            root=root,
            queues=None if queues is None else sorted(queues),
            tasks=tasks,
        )
        return await self._use().writer.claim(worker, due)

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        return await self._use().reader.knocks(worker)

    async def owned(self, worker: WorkerId) -> list[RunId]:
        return await self._use().reader.owned(worker)

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        return await self._use().reader.held(worker)

    def changed(self) -> bool:
        return False  # it says so by itself

    def on_hint(self, told: Callable[[Hint], None]) -> None:
        self._use().hints.on_hint(told)

    # --- reading ---

    async def log(self, run: RunId, link: int, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        return await self._use().reader.log(run, link, after=after, limit=limit)

    async def run(self, run: RunId) -> RunRecord | None:
        return await self._use().reader.run(run)

    async def runs(self, where: RunFilter) -> list[RunRecord]:
        return await self._use().reader.runs(where)

    async def waits(self, run: RunId) -> list[WaitRecord]:
        return await self._use().reader.waits(run)

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        return await self._use().reader.tasks(run)

    async def queues(self) -> list[QueueRecord]:
        return await self._use().reader.queues(self._time())

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        async with self._use().connections.single() as connection:
            await connection.execute(self._sql["limit_queue"], queue, limit)

    async def services(self) -> list[ServiceRecord]:
        return await self._use().reader.services(self._time())

    async def hooks(self, run: RunId) -> list[HookRecord]:
        return await self._use().reader.hooks(run)

    async def open_hooks(self, *, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        return await self._use().reader.open_hooks(before, limit)

    async def hook(self, token_hash: TokenHash) -> HookRecord | None:
        return await self._use().reader.hook(token_hash)

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        return await self._use().reader.ended_hook(token_hash)

    async def answer(self, request: str) -> str | None:
        return await self._use().reader.answer(request)

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        return await self._use().reader.chunks(run, stream, start=start, limit=limit)

    async def streams(self, run: RunId) -> list[StreamRecord]:
        return await self._use().reader.streams(run)

    async def stream(self, run: RunId, name: str) -> StreamRecord | None:
        return next(iter(await self._use().reader.streams(run, name)), None)

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        return await self._use().reader.stream_tail(run, name, count)

    # --- keys of the HTTP API ---

    async def add_api_key(self, key: KeyRecord) -> None:
        values = (key.id, key.hash, key.name, key.role, key.created_at, key.expires_at)
        async with self._use().connections.single() as connection:
            await connection.execute(self._sql["add_api_key"], *values)

    async def api_key(self, hashed: str) -> KeyRecord | None:
        return await self._use().reader.api_key(hashed)

    async def api_keys(self) -> list[KeyRecord]:
        return await self._use().reader.api_keys()

    async def revoke_api_key(self, id: str) -> bool:
        async with self._use().connections.single() as connection:
            return await connection.fetchval(self._sql["revoke_api_key"], id) is not None

    async def use_api_key(self, id: str, *, now: float) -> None:
        async with self._use().connections.single() as connection:
            await connection.execute(self._sql["use_api_key"], id, now)

    # --- on connections of others ---

    async def result_of(self, step: StepId, run: RunId) -> Raw | None:
        async with self._use().connections.transaction() as connection:
            # a transaction that records for it holds that lock too
            await connection.execute(self._sql["lock_runs"], [run], None)
            found: str | None = await connection.fetchval(self._sql["result_of"], step)
        return None if found is None else Raw(found.encode())

    async def leave_result(self, connection: object, step: StepId, fence: Fence, done: StepCompleted) -> bool:
        result, event = bytes(done.result).decode(), encode_event(replace(done, result=NOTHING))
        values = (step, fence.run, fence.link, fence.epoch, fence.worker, result, self._time(), event)
        return await Guest(connection).fetchval(self._sql["leave_result"], *values) is not None

    async def create_on(self, connection: object, new: NewRun) -> Outcome:
        self._use()
        return await create_on(Guest(connection), self._sql, new, now=self._time())

    # --- keeping house ---

    async def prune(self, *, ended_before: float, limit: int) -> int:
        connections = self._use().connections
        return await housekeeping.prune(connections, self._sql, ended_before=ended_before, limit=limit, now=self._time)

    async def hash_seed(self, fresh: str) -> str | None:
        seed: str | None = None
        while seed is None:  # another process has put its own in this very moment
            async with self._use().connections.single() as connection:
                seed = await connection.fetchval(self._sql["hash_seed"], fresh)
        return seed

    async def audit(self) -> list[str]:
        return await housekeeping.audit(self._use().connections, self._sql)


class _Opened:
    """What an open store holds."""

    def __init__(self, dsn: str, sql: Statements, fixed: Callable[[], float | None], clock: ServerClock | None) -> None:
        self.pid: int = os.getpid()
        self.connections: Connections = Connections(dsn, most=MOST_CONNECTIONS)
        self.writer: Writer = Writer(self.connections, sql, fixed, clock)
        self.reader: Reader = Reader(self.connections, sql)
        self.beat: Beat = Beat(dsn, sql, fixed)
        self.hints: Hints = Hints(dsn, sql.schema)

    async def close(self) -> None:
        await self.hints.close()
        await asyncio.to_thread(self.beat.close)
        await self.connections.close()
