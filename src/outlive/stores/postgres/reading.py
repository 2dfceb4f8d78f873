"""Reads: one statement each."""

from __future__ import annotations

from typing import Any, Final

from outlive.model.entries import ClaimedTask
from outlive.model.events import Recorded, decode_event
from outlive.model.ids import RunId, TokenHash, WorkerId
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
from outlive.model.tasks import claimed, task_record
from outlive.stores.columns import hook_record, run_record, service_record, task_row
from outlive.stores.postgres.connections import Connections
from outlive.stores.postgres.statements import Statements
from outlive.stores.protocol import RunFilter

_MOST: Final = 2**62


class Reader:
    """What a store tells of its rows."""

    def __init__(self, connections: Connections, sql: Statements) -> None:
        self._connections = connections
        self._sql = sql

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        async with self._connections.single() as connection:
            return await connection.fetch(self._sql[statement], *values)

    async def log(self, run: RunId, link: int, *, after: int, limit: int | None) -> list[Recorded]:
        rows = await self.fetch("log", run, link, after, _MOST if limit is None else limit)
        return [Recorded(seq, time, decode_event(event), worker, epoch) for seq, time, event, worker, epoch in rows]

    async def run(self, run: RunId) -> RunRecord | None:
        found = await self.fetch("record", run)
        return run_record(*found[0]) if found else None

    async def runs(self, where: RunFilter) -> list[RunRecord]:
        statement, values = list_query(where, self._sql)
        async with self._connections.single() as connection:
            return [run_record(*row) for row in await connection.fetch(statement, *values)]

    async def waits(self, run: RunId) -> list[WaitRecord]:
        return [WaitRecord(*row) for row in await self.fetch("waits", run)]

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        return [task_record(task_row(*row)) for row in await self.fetch("tasks_of", run)]

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        return [claimed(task_row(*row)) for row in await self.fetch("held_tasks", worker)]

    async def queues(self, now: float | None) -> list[QueueRecord]:
        return [
            QueueRecord(name=name, waiting=waiting, running=running, limit=most, oldest=oldest, served=served)
            for name, waiting, running, most, oldest, served in await self.fetch("queues", now)
        ]

    async def services(self, now: float | None) -> list[ServiceRecord]:
        return [service_record(*row) for row in await self.fetch("services", now)]

    async def hooks(self, run: RunId) -> list[HookRecord]:
        return [hook_record(*row) for row in await self.fetch("hooks", run)]

    async def open_hooks(self, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        run, ref = before if before is not None else ("\U0010ffff", 0)
        return [hook_record(*row) for row in await self.fetch("open_hooks", run, ref, limit)]

    async def hook(self, token_hash: TokenHash) -> HookRecord | None:
        found = await self.fetch("hook_record", token_hash)
        return hook_record(*found[0]) if found else None

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        [(ended,)] = await self.fetch("ended_hook", token_hash)
        return bool(ended)

    async def answer(self, request: str) -> str | None:
        found = await self.fetch("request", request)
        return found[0][0] if found else None

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        return [Chunk(*row) for row in await self.fetch("chunks", run, stream, start, limit)]

    async def streams(self, run: RunId, name: str | None = None) -> list[StreamRecord]:
        return [StreamRecord(*row) for row in await self.fetch("streams", run, name)]

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        found = await self.fetch("last_chunk", run, name, count)
        return found[0][0] if found else 0

    async def api_key(self, hashed: str) -> KeyRecord | None:
        found = await self.fetch("api_key", hashed)
        return KeyRecord(*found[0]) if found else None

    async def api_keys(self) -> list[KeyRecord]:
        return [KeyRecord(*row) for row in await self.fetch("api_keys")]

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        return [run for (run,) in await self.fetch("knocks", worker)]

    async def owned(self, worker: WorkerId) -> list[RunId]:
        return [run for (run,) in await self.fetch("owned", worker)]


def list_query(where: RunFilter, sql: Statements) -> tuple[str, list[str | int]]:
    """The statement that lists what ``where`` asks for: the conditions that are set, over the index that fits the first of them."""
    values: list[str | int] = []

    def bound(value: str | int) -> str:
        values.append(value)
        return f"${len(values)}"

    tables, key = "outlive.runs AS r", "r.created_at, r.id"
    conditions: list[str] = []
    if where.tag is not None:
        tables, key = "outlive.tags AS t JOIN outlive.runs AS r ON r.id = t.run", "t.created_at, t.run"
        conditions.append(f"t.tag = {bound(where.tag)}")
    for column, value in (("root", where.root), ("status", where.status), ("workflow", where.workflow)):
        if value is not None:
            conditions.append(f"r.{column} = {bound(str(value))}")
    if where.before is not None:
        conditions.append(f"({key}) < (SELECT created_at, id FROM outlive.runs WHERE id = {bound(where.before)})")  # noqa: S608 - constants; values are bound
    condition = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(f"{column} DESC" for column in key.split(", "))
    columns = sql["record"].partition("FROM")[0]
    text = f"{columns} FROM {tables} {condition} ORDER BY {order} LIMIT {bound(where.limit)}"
    return sql.qualify(text), values
