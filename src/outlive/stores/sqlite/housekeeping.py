"""Pruning what has ended, and looking for what can't be."""

from __future__ import annotations

from typing import Final

import msgspec

from outlive.model.audit import Kept, faults, stray, unreadable
from outlive.model.ids import RunId, WorkerId
from outlive.model.rows import HeldHook, Watcher
from outlive.stores.sqlite import reading
from outlive.stores.sqlite.connection import Connection, fetch
from outlive.stores.sqlite.rows import SqliteRows
from outlive.stores.sqlite.statements import SQL

PRUNE_BATCH: Final = 50
KEY_LIFE: Final = 7 * 86_400.0
"""How long a key deduplicates deliveries to a run that lives on."""

_PER_RUN: Final = (
    *("prune_events", "prune_tags", "prune_keys", "prune_chunks", "prune_requests", "prune_ended_hooks", "prune_tasks"),
    "prune_run",
)


def prune(connection: Connection, *, ended_before: float, limit: int, now: float) -> int:
    """Inside the writer's transaction."""
    ended = fetch(connection, tuple[RunId], SQL["ended"], (ended_before, limit))
    for statement in _PER_RUN:
        connection.executemany(SQL[statement], ended)
    stale = min(ended_before, now - KEY_LIFE)
    connection.execute(SQL["prune_old_keys"], (stale, 1_000))
    connection.execute(SQL["prune_old_requests"], (stale, 1_000))
    return len(ended)


def audit(connection: Connection) -> list[str]:
    """What is wrong, in one line each. Each run is read by itself, in one short read transaction."""
    found = [f"the file: {line}" for (line,) in fetch(connection, tuple[str], "PRAGMA integrity_check") if line != "ok"]
    last = RunId("")
    while page := fetch(connection, tuple[RunId], SQL["audit_ids"], (last,)):
        for (run,) in page:
            with connection:
                try:
                    found += _faults(connection, run)
                except msgspec.MsgspecError as error:
                    found.append(unreadable(run, error))
        last = page[-1][0]
    found += [stray(kind, run) for kind, run in fetch(connection, tuple[str, str], SQL["audit_strays"])]
    return found


def _faults(connection: Connection, run: RunId) -> list[str]:
    rows = SqliteRows(connection)
    row = rows.run(run)
    if row is None:
        return []  # pruned meanwhile
    kept = Kept(
        row=row,
        logs=[reading.log(connection, run, link, after=0, limit=None) for link in range(1, row.link + 1)],
        waits=reading.waits(connection, run),
        hooks=[
            HeldHook(*hook) for hook in fetch(connection, tuple[RunId, int, int, str, str], SQL["audit_hooks"], (run,))
        ],
        watches=[Watcher(*watch) for watch in fetch(connection, tuple[RunId, int, int], SQL["audit_watches"], (run,))],
        inbox=rows.inbox(run),
        tasks=reading.tasks(connection, run),
    )
    workers = {worker for (worker,) in fetch(connection, tuple[WorkerId], SQL["workers"])}
    return list(faults(kept, workers=workers))
