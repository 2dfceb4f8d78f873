"""Pruning what has ended, and looking for what can't be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from outlive.model.audit import Kept, faults, stray, unreadable
from outlive.model.ids import RunId
from outlive.model.rows import Watcher
from outlive.stores.columns import inbox_item, task_row
from outlive.stores.postgres.connections import Connection, Connections
from outlive.stores.postgres.loading import held_hook, run_row
from outlive.stores.postgres.reading import Reader
from outlive.stores.postgres.statements import Statements

PRUNE_BATCH: Final = 200
KEY_LIFE: Final = 7 * 86_400.0
"""How long a key deduplicates deliveries to a run that lives on."""


async def prune(
    connections: Connections, sql: Statements, *, ended_before: float, limit: int, now: Callable[[], float | None]
) -> int:
    """In short transactions, so that commits pass between them."""
    pruned = 0
    while pruned < limit:
        batch = min(limit - pruned, PRUNE_BATCH)
        async with connections.transaction() as connection:
            runs = [run for (run,) in await connection.fetch(sql["ended"], ended_before, batch)]
            await connection.execute(sql["prune"], runs)
            clock = now() or await connection.fetchval(sql["clock"])
            await connection.execute(sql["prune_old"], min(ended_before, clock - KEY_LIFE), 1_000)
        pruned += len(runs)
        if len(runs) < batch:
            break
    return pruned


async def audit(connections: Connections, sql: Statements) -> list[str]:
    """What is wrong, in one line each. Each run is read by itself, in one short transaction that sees one state of it."""
    reader = Reader(connections, sql)
    found: list[str] = []
    last = RunId("")
    while page := [run for (run,) in await reader.fetch("audit_ids", last)]:
        for run in page:
            async with connections.transaction() as connection:
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                try:
                    found += await _faults(connection, sql, run)
                except msgspec.MsgspecError as error:
                    found.append(unreadable(run, error))
        last = page[-1]
    found += [stray(kind, run) for kind, run in await reader.fetch("audit_strays")]
    return found


async def _faults(connection: Connection, sql: Statements, run: RunId) -> list[str]:
    row = await connection.fetchrow(sql["run"], run)
    if row is None:
        return []  # pruned meanwhile
    one = OneConnection(connection, sql)
    record = run_row(row)
    kept = Kept(
        row=record,
        logs=[await one.log(run, link, after=0, limit=None) for link in range(1, record.link + 1)],
        waits=await one.waits(run),
        hooks=[held_hook(*columns) for _, *columns in await connection.fetch(sql["hooks_of"], [run])],
        watches=[Watcher(*watch) for watch in await connection.fetch(sql["audit_watches"], run)],
        inbox=[inbox_item(*columns) for _, *columns in await connection.fetch(sql["inboxes"], [run])],
        tasks=[task_row(*columns) for columns in await connection.fetch(sql["tasks_of"], run)],
    )
    workers = {worker for (worker,) in await connection.fetch(sql["workers"])}
    return list(faults(kept, workers=workers))


class OneConnection(Reader):
    """A reader that stays in one transaction."""

    def __init__(self, connection: Connection, sql: Statements) -> None:
        self._connection = connection
        self._sql = sql

    async def fetch(self, statement: str, *values: object) -> list[object]:
        return list(await self._connection.fetch(self._sql[statement], *values))
