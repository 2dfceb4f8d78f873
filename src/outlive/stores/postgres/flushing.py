"""Writes what a transaction has staged: one statement for each table, in an order in which each finds what it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from outlive.model.ids import RunId
from outlive.model.inbox import InboxItem
from outlive.model.rows import RunRow
from outlive.model.webhooks import encode
from outlive.stores.columns import event_columns, message_body, new_run_columns, new_task, run_columns
from outlive.stores.postgres.connections import Again
from outlive.stores.postgres.rows import StagedRows, Writes
from outlive.stores.postgres.statements import Statements

_COUNTED: Final = frozenset({"insert_runs", "advance_runs", "update_runs", "put_hooks"})
"""They answer with a row for each that they wrote; fewer: another transaction was there first."""


class Speaker(Protocol):
    """A connection, ours or somebody else's."""

    async def fetch(self, query: str, /, *args: object) -> Sequence[Any]: ...
    async def execute(self, query: str, /, *args: object) -> object: ...


async def flush(connection: Speaker, sql: Statements, rows: StagedRows) -> None:
    """Inside the transaction.

    Raises:
        Again: A run id or a token was taken meanwhile.
    """
    for statement, table in _statements(rows, rows.writes):
        if table:
            columns = [list(column) for column in zip(*table, strict=True)]
            if statement not in _COUNTED:
                await connection.execute(sql[statement], *columns)
            elif len(await connection.fetch(sql[statement], *columns)) != len(table):
                raise Again
    cleared, taken, closed = rows.writes.cleared, rows.writes.taken_watchers, rows.writes.closed
    if cleared or taken or closed:
        await connection.execute(sql["clear"], list(cleared), list(cleared.values()), list(taken), list(closed))
    for statement, table in _after_clearing(rows.writes):
        if table:
            columns = [list(column) for column in zip(*table, strict=True)]
            found = await connection.fetch(sql[statement], *columns)
            if statement in _COUNTED and len(found) != len(table):
                raise Again


def _statements(rows: StagedRows, writes: Writes) -> Iterator[tuple[str, Collection[tuple[Any, ...]]]]:
    """What comes before links are cleared: runs first, since whoever waits for a lock should wait for that."""
    new, updated = writes.new_runs, [run for run in writes.updated if run not in writes.new_runs]
    yield "insert_runs", [new_run_columns(rows.runs[run], *new[run]) for run in sorted(new)]
    yield "update_runs", [run_columns(rows.runs[run]) for run in updated]
    skipped = {*new, *updated}
    yield "advance_runs", [_advance(rows.runs[run]) for run in writes.advanced if run not in skipped]
    yield "insert_tags", [(tag, created_at, run) for run, (_, created_at, tags, _) in new.items() for tag in tags]
    yield (
        "append_events",
        [event_columns(run, link, event) for run, link, event in writes.events],
    )
    moved = writes.moved_hooks
    yield "move_hooks", [(token, run, link, ref) for token, (run, link, ref) in moved.items()]
    yield "move_cancels", list(writes.moved_cancels.items())
    yield "drop_hooks", writes.dropped_hooks
    yield "open_requests", [(request, run, time) for request, (run, time) in writes.opened_requests.items()]
    yield "answer_requests", list(writes.answers.items())
    yield "drop_watches", writes.dropped_watches
    yield "drop_tasks", list(writes.dropped_tasks)
    yield (
        "update_tasks",
        [(*key, t.owner, t.claims, t.crashes, t.cancelling) for key, t in writes.updated_tasks.items()],
    )
    yield "void_tasks", list(writes.voided_tasks.items())
    yield "put_tasks", [new_task(task) for task in writes.new_tasks.values()]
    yield "drop_messages", [(id,) for id in writes.dropped_messages]


def _after_clearing(writes: Writes) -> Iterator[tuple[str, Collection[tuple[Any, ...]]]]:
    yield "drop_waits", [key for key, wait in writes.waits.items() if wait is None]
    yield (
        "put_waits",
        [(run, ref, *wait) for (run, ref), wait in writes.waits.items() if wait is not None],
    )
    yield "end_tokens", list(writes.ended_tokens.items())
    yield (
        "put_hooks",
        [
            (
                token,
                hook.run,
                hook.link,
                hook.ref,
                hook.token,
                hook.schema,
                created_at,
                "" if hook.webhook is None else encode(hook.webhook),
            )
            for token, (hook, created_at) in sorted(writes.hooks.items())
        ],
    )
    yield "add_messages", [_message(run, item) for run, item in writes.messages.values()]
    yield (
        "remember_keys",
        [(run, key, known.link, token, time, known.reply) for (run, key), (known, token, time) in writes.keys.items()],
    )
    yield "void_chunks", writes.voided
    yield (
        "write_chunks",
        [
            (run, stream, number, chunk.kind, chunk.link, chunk.ref, chunk.time, chunk.void, chunk.data)
            for (run, stream), chunks in writes.chunks.items()
            for number, chunk in chunks.items()
        ],
    )
    yield "put_watches", [(target, w.run, w.link, w.ref) for target, w in writes.watches]


def _advance(row: RunRow) -> tuple[Any, ...]:
    return (row.id, row.seq, row.time, row.progress, row.crashes, row.suspect, row.tried)


def _message(run: RunId, item: InboxItem) -> tuple[Any, ...]:
    return (item.id, run, item.link, item.ref, item.kind, item.accepted, item.token_hash, message_body(item))
