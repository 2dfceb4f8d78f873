"""Short reads on the read connection: one statement each, fetched whole."""

from __future__ import annotations

from typing import Final

from outlive.model.entries import ClaimedTask
from outlive.model.events import Recorded, WaitKind, decode_event
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.records import HookRecord, KeyRecord, QueueRecord, RunRecord, ServiceRecord, WaitRecord
from outlive.model.rows import TaskRow
from outlive.model.streams import Chunk, ChunkKind, StreamRecord
from outlive.model.tasks import claimed
from outlive.stores.columns import hook_record, run_record, service_record, task_row
from outlive.stores.protocol import RunFilter
from outlive.stores.sqlite.connection import Connection, fetch
from outlive.stores.sqlite.rows import TASK
from outlive.stores.sqlite.statements import SQL

_RECORD: Final = tuple[
    RunId,
    int,
    str,
    str,
    int,
    float,
    int,
    WorkerId | None,
    float | None,
    int,
    float,
    float | None,
    RunId,
    str | None,
    str,
    str,
    str,
    str,
    str,
]
_WAIT: Final = tuple[RunId, int, int, WaitKind, float]
_HOOK: Final = tuple[TokenHash, RunId, int, int, str, str, float, int, str]
_CHUNK: Final = tuple[int, ChunkKind, int, int, float, str | bytes]
_STREAM: Final = tuple[int | None, float, float, int]
_QUEUE: Final = tuple[str, int, int, int | None, float | None, int]
_SERVICE: Final = tuple[WorkerId, str | None, str, str]
_KEY: Final = tuple[str, str, str, str, float, float | None, float | None]


def log(connection: Connection, run: RunId, link: int, *, after: int, limit: int | None) -> list[Recorded]:
    values = (run, link, after, -1 if limit is None else limit)
    rows = fetch(connection, tuple[int, float, str, WorkerId, int], SQL["log"], values)
    return [Recorded(seq, time, decode_event(event), worker, epoch) for seq, time, event, worker, epoch in rows]


def run(connection: Connection, run: RunId) -> RunRecord | None:
    found = fetch(connection, _RECORD, SQL["record"], (run,))
    return run_record(*found[0]) if found else None


def runs(connection: Connection, where: RunFilter) -> list[RunRecord]:
    return [run_record(*row) for row in fetch(connection, _RECORD, *list_query(where))]


def list_query(where: RunFilter) -> tuple[str, tuple[str | float, ...]]:
    """The statement that lists what ``where`` asks for: the conditions that are set, over the index that fits the first of them."""
    tables, order = "runs AS r", "r.created_at DESC, r.id DESC"
    conditions: list[str] = []
    values: list[str | float] = []
    place = "(r.created_at, r.id)"
    if where.tag is not None:
        tables, order, place = (
            "tags AS t CROSS JOIN runs AS r ON r.id = t.run",
            "t.created_at DESC, t.run DESC",
            "(t.created_at, t.run)",
        )
        conditions.append("t.tag = ?")
        values.append(where.tag)
    for column, value in (("root", where.root), ("status", where.status), ("workflow", where.workflow)):
        if value is not None:
            conditions.append(f"r.{column} = ?")
            values.append(str(value))
    if where.before is not None:
        conditions.append(f"{place} < (SELECT created_at, id FROM runs WHERE id = ?)")  # noqa: S608 - constants; values are bound
        values.append(where.before)
    condition = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = SQL["record"].partition("FROM")[0]
    statement = f"{columns} FROM {tables} {condition} ORDER BY {order} LIMIT ?"
    return statement, (*values, where.limit)


def waits(connection: Connection, run: RunId) -> list[WaitRecord]:
    return [WaitRecord(*row) for row in fetch(connection, _WAIT, SQL["waits"], (run,))]


def tasks(connection: Connection, run: RunId) -> list[TaskRow]:
    return [task_row(*row) for row in fetch(connection, TASK, SQL["tasks_of"], (run,))]


def held(connection: Connection, worker: WorkerId) -> list[ClaimedTask]:
    return [claimed(task_row(*row)) for row in fetch(connection, TASK, SQL["held_tasks"], (worker,))]


def queues(connection: Connection, *, now: float) -> list[QueueRecord]:
    return [
        QueueRecord(name=name, waiting=count - running, running=running, limit=most, oldest=oldest, served=served)
        for name, count, running, most, oldest, served in fetch(connection, _QUEUE, SQL["queues"], (now,))
    ]


def services(connection: Connection, *, now: float) -> list[ServiceRecord]:
    return [service_record(*row) for row in fetch(connection, _SERVICE, SQL["services"], (now,))]


def hooks(connection: Connection, run: RunId) -> list[HookRecord]:
    return [hook_record(*row) for row in fetch(connection, _HOOK, SQL["hooks"], (run,))]


def open_hooks(connection: Connection, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
    run, ref = before if before is not None else ("\U0010ffff", 0)
    return [hook_record(*row) for row in fetch(connection, _HOOK, SQL["open_hooks"], (run, ref, limit))]


def hook(connection: Connection, token_hash: TokenHash) -> HookRecord | None:
    found = fetch(connection, _HOOK, SQL["hook_record"], (token_hash,))
    return hook_record(*found[0]) if found else None


def ended_hook(connection: Connection, token_hash: TokenHash) -> bool:
    return bool(fetch(connection, tuple[int], SQL["ended_hook"], (token_hash,)))


def answer(connection: Connection, request: str) -> str | None:
    found = fetch(connection, tuple[str | None], SQL["request"], (request,))
    return found[0][0] if found else None


def chunks(connection: Connection, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
    return [
        Chunk(number, kind, link, ref, time, data.encode() if isinstance(data, str) else data)
        for number, kind, link, ref, time, data in fetch(connection, _CHUNK, SQL["chunks"], (run, stream, start, limit))
    ]


def streams(connection: Connection, run: RunId) -> list[StreamRecord]:
    found: list[StreamRecord] = []
    for (name,) in fetch(connection, tuple[str], SQL["stream_names"], (run,)):
        record = stream(connection, run, name)
        if record is not None:
            found.append(record)
    return found


def stream(connection: Connection, run: RunId, name: str) -> StreamRecord | None:
    [(length, first, last, closed)] = fetch(connection, _STREAM, SQL["stream"], (run, name))
    return None if length is None else StreamRecord(name, length, bool(closed), first, last)


def stream_tail(connection: Connection, run: RunId, name: str, count: int) -> int:
    found = fetch(connection, tuple[int], SQL["last_chunk"], (run, name, count))
    return found[0][0] if found else 0


def api_key(connection: Connection, hashed: str) -> KeyRecord | None:
    found = fetch(connection, _KEY, SQL["api_key"], (hashed,))
    return KeyRecord(*found[0]) if found else None


def api_keys(connection: Connection) -> list[KeyRecord]:
    return [KeyRecord(*row) for row in fetch(connection, _KEY, SQL["api_keys"])]


def knocks(connection: Connection, worker: WorkerId) -> list[RunId]:
    return [run for (run,) in fetch(connection, tuple[RunId], SQL["knocks"], (worker,))]


def owned(connection: Connection, worker: WorkerId) -> list[RunId]:
    return [run for (run,) in fetch(connection, tuple[RunId], SQL["owned"], (worker,))]
