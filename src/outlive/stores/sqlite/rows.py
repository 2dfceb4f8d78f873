"""The rows of a SQLite file, as one transaction on its writer connection sees them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from outlive.model.entries import NewRun
from outlive.model.events import Event, Parent, Recorded, StepCompleted, WaitKind, decode_event
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.inbox import InboxItem, MessageKind
from outlive.model.records import RunStatus
from outlive.model.rows import HeldHook, Known, RunRow, TaskRow, Watcher
from outlive.model.streams import Piece, Reset, encode_reset
from outlive.model.webhooks import GONE, decode_settings, encode
from outlive.stores.columns import (
    event_columns,
    inbox_item,
    message_body,
    new_run_columns,
    new_task,
    run_columns,
    task_row,
)
from outlive.stores.sqlite.connection import Connection, fetch
from outlive.stores.sqlite.statements import SQL

_STATUS: Final = {status.value: status for status in RunStatus}
_COLUMNS: Final = tuple[
    RunId,
    int,
    str,
    RunStatus,
    int,
    float,
    int,
    WorkerId | None,
    float | None,
    int,
    bool,
    bool,
    bool,
    RunId,
    str,
    float | None,
    str,
    str,
    str,
]
_ITEM: Final = tuple[int, int, int, MessageKind, float, TokenHash | None, str]
TASK: Final = tuple[int, RunId, int, int, RunId, float, WorkerId | None, int, int, int, bool, bool, str]
_RUN: Final = SQL["run"]
_ADD_RUN: Final = SQL["add_run"]
_ADVANCE_RUN: Final = SQL["advance_run"]
_UPDATE_RUN: Final = SQL["update_run"]
_APPEND: Final = SQL["append"]


_MOST_REMEMBERED: Final = 50_000


class SqliteRows:
    """Every write of a run checks what was read; a row that is not as it was is a broken invariant, not a lost race.

    Rows of owned runs are remembered from one transaction to the next: :meth:`begin` asks SQLite whether any other connection has
    written since, and everything that this one writes goes through here.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._many = connection.executemany
        self._version: int | None = None
        self._known: dict[RunId, RunRow] = {}
        self._bare: set[RunId] = set()
        """Those of them that have no wait, hook, message, task or watch, and whom nobody watches."""
        self._queued: set[tuple[str, str]] = set()
        """Queues and steps that are known to have been in them."""

    def begin(self) -> None:
        """Inside a transaction that has just begun: what is remembered stands unless somebody else has written."""
        [(version,)] = fetch(self._connection, tuple[int], "PRAGMA data_version")
        if version != self._version or len(self._known) > _MOST_REMEMBERED:
            self.forget()
            self._version = version

    def forget(self) -> None:
        """What was remembered may not stand: a transaction was rolled back, or rows were written past this object."""
        self._known.clear()
        self._bare.clear()
        self._queued.clear()

    # --- runs ---

    def run(self, run: RunId) -> RunRow | None:
        known = self._known.get(run)
        return known if known is not None else self._read(run)

    def _read(self, run: RunId) -> RunRow | None:
        found = fetch(self._connection, _COLUMNS, _RUN, (run,))
        if not found:
            return None
        row = RunRow(*found[0])
        row.status = _STATUS[row.status]
        row.suspect, row.progress, row.takeover = bool(row.suspect), bool(row.progress), bool(row.takeover)
        if row.owner is not None:
            self._known[run] = row
        return row

    def add_run(self, row: RunRow, new: NewRun, *, parent: Parent | None, created_at: float) -> None:
        self._execute(_ADD_RUN, new_run_columns(row, parent, created_at, new.tags, new.queue))
        for tag in new.tags:
            self._execute(SQL["add_tag"], (tag, created_at, row.id))
        if row.owner is not None:
            self._known[row.id] = row
            self._bare.add(row.id)

    def advance_run(self, row: RunRow, *, seq: int) -> None:
        self._execute(
            _ADVANCE_RUN,
            (
                row.id,
                row.link,
                row.epoch,
                seq,
                row.seq,
                row.time,
                row.progress,
                row.crashes,
                row.suspect,
                row.tried,
                row.owner,
            ),
        )
        self._check(row)

    def update_run(self, row: RunRow, *, epoch: int, seq: int) -> None:
        self._execute(_UPDATE_RUN, (*run_columns(row), epoch, seq))
        self._check(row)
        if row.owner is not None:
            self._known[row.id] = row
        else:
            self._let_go(row.id)

    def _check(self, row: RunRow) -> None:
        assert self._connection.changes() == 1, f"run {row.id} changed under its own commit"

    def wake_run(self, run: RunId, at: float) -> None:
        self._execute(SQL["wake_run"], (run, at))
        self._let_go(run)

    def _let_go(self, run: RunId) -> None:
        self._known.pop(run, None)
        self._bare.discard(run)

    # --- logs ---

    def append(self, run: RunId, link: int, events: Sequence[Recorded]) -> None:
        if len(events) == 1:
            self._execute(_APPEND, event_columns(run, link, events[0]))
        else:
            self._many(_APPEND, [event_columns(run, link, recorded) for recorded in events])

    def event_at(self, run: RunId, link: int, seq: int) -> Event:
        [(event,)] = fetch(self._connection, tuple[str], SQL["event_at"], (run, link, seq))
        return decode_event(event)

    # --- waits ---

    def put_wait(self, run: RunId, link: int, ref: int, kind: WaitKind, due: float) -> None:
        self._bare.discard(run)
        self._execute(SQL["put_wait"], (run, link, ref, kind, due))

    def drop_wait(self, run: RunId, ref: int) -> None:
        if run not in self._bare:
            self._execute(SQL["drop_wait"], (run, ref))

    def next_wait(self, run: RunId) -> float | None:
        if run in self._bare:
            return None
        [(due,)] = fetch(self._connection, tuple[float | None], SQL["next_wait"], (run,))
        return due

    # --- tasks ---

    def task(self, run: RunId, link: int, ref: int) -> TaskRow | None:
        found = fetch(self._connection, TASK, SQL["task"], (run, link, ref))
        return task_row(*found[0]) if found else None

    def put_task(self, task: TaskRow) -> None:
        self._bare.discard(task.run)
        options, name = task.call.options, task.call.name
        self._execute(SQL["put_task"], new_task(task))
        if (options.queue, name) not in self._queued:
            self._execute(SQL["put_queue"], (options.queue,))
            self._execute(SQL["put_queued_step"], (options.queue, name))
            self._queued.add((options.queue, name))

    def update_task(self, task: TaskRow) -> None:
        self._execute(SQL["update_task"], (*task.key, task.owner, task.claims, task.crashes, task.cancelling))

    def drop_task(self, task: TaskRow) -> None:
        self._execute(SQL["drop_task"], task.key)

    def void_tasks(self, run: RunId, *, cancel: bool) -> None:
        if run not in self._bare:
            self._execute(SQL["drop_waiting_tasks"], (run,))
            self._execute(SQL["void_tasks"], (run, cancel))

    # --- hooks ---

    def hook(self, token_hash: TokenHash) -> HeldHook | None:
        found = fetch(self._connection, tuple[RunId, int, int, str, str, str], SQL["hook"], (token_hash,))
        if not found:
            return None
        run, link, ref, token, schema, webhook = found[0]
        return HeldHook(run, link, ref, token, schema, decode_settings(webhook) if webhook else None)

    def put_hook(self, token_hash: TokenHash, hook: HeldHook, *, created_at: float) -> None:
        self._bare.discard(hook.run)
        webhook = "" if hook.webhook is None else encode(hook.webhook)
        values = (token_hash, hook.run, hook.link, hook.ref, hook.token, hook.schema, created_at, webhook)
        self._execute(SQL["put_hook"], values)

    def drop_hook(self, run: RunId, link: int, ref: int) -> None:
        self._execute(SQL["end_hook"], (run, link, ref))
        self._execute(SQL["drop_hook"], (run, link, ref))

    def ended_hook(self, token_hash: TokenHash) -> bool:
        return bool(fetch(self._connection, tuple[int], SQL["ended_hook"], (token_hash,)))

    def named_hooks(self, run: RunId) -> dict[TokenHash, int]:
        return dict(fetch(self._connection, tuple[TokenHash, int], SQL["named_hooks"], (run,)))

    # --- inbox ---

    def unlogged(self, run: RunId, link: int) -> Sequence[StepCompleted]:  # noqa: ARG002
        return ()

    def inbox(self, run: RunId) -> list[InboxItem]:
        if run in self._bare:
            return []
        return [inbox_item(*row) for row in fetch(self._connection, _ITEM, SQL["inbox"], (run,))]

    def inbox_waits(self, run: RunId) -> bool:
        if run in self._bare:
            return False
        [(waits,)] = fetch(self._connection, tuple[int], SQL["inbox_waits"], (run,))
        return bool(waits)

    def pending(self, run: RunId, token_hash: TokenHash) -> int:
        [(count,)] = fetch(self._connection, tuple[int], SQL["pending"], (run, token_hash))
        return count

    def add_message(self, run: RunId, message: InboxItem) -> None:
        self._bare.discard(run)
        body = message_body(message)
        self._execute(
            SQL["add_message"],
            (run, message.link, message.ref, message.kind, message.accepted, message.token_hash, body),
        )

    def drop_messages(self, run: RunId, ids: Collection[int]) -> None:
        self._many(SQL["drop_message"], [(run, message) for message in ids])

    def readdress(self, run: RunId, token_hash: TokenHash, *, link: int, ref: int) -> None:
        self._execute(SQL["readdress_hook"], (token_hash, link, ref))
        self._execute(SQL["readdress_payloads"], (run, token_hash, link, ref))

    def readdress_cancels(self, run: RunId, *, link: int) -> None:
        self._execute(SQL["readdress_cancels"], (run, link))

    def known(self, run: RunId, key: str) -> Known | None:
        found = fetch(self._connection, tuple[RunId, int, str], SQL["known"], (run, key))
        return Known(*found[0]) if found else None

    def known_by_token(self, token_hash: TokenHash, key: str) -> Known | None:
        found = fetch(self._connection, tuple[RunId, int, str], SQL["known_by_token"], (token_hash, key))
        return Known(*found[0]) if found else None

    def remember(
        self, run: RunId, key: str, *, link: int, token_hash: TokenHash | None, time: float, reply: str
    ) -> None:
        self._execute(SQL["remember"], (run, key, link, token_hash, time, reply))

    # --- callers of webhooks ---

    def open_request(self, run: RunId, request: str, *, time: float) -> None:
        self._execute(SQL["open_request"], (request, run, time))

    def answer_request(self, request: str, answer: str) -> bool:
        self._execute(SQL["answer_request"], (request, answer))
        if self._connection.changes():
            return True
        found = fetch(self._connection, tuple[str], SQL["request"], (request,))
        return answer != GONE and bool(found) and found[0][0] == answer

    def close_requests(self, run: RunId) -> None:
        if run not in self._bare:
            self._execute(SQL["close_requests"], (run,))

    # --- streams ---

    def write_stream(
        self, run: RunId, link: int, ref: int, stream: str, pieces: Sequence[Piece], *, time: float
    ) -> None:
        found = fetch(self._connection, tuple[int], SQL["stream_length"], (run, stream))
        first = found[0][0] if found else 0
        self._many(
            SQL["write_chunk"],
            [
                (run, stream, number, kind, link, ref, time, data if kind == "bytes" else data.decode())
                for number, (kind, data) in enumerate(pieces, start=first)
            ],
        )

    def void_stream(self, run: RunId, link: int, ref: int, *, time: float) -> None:
        written = fetch(self._connection, tuple[str, int], SQL["written_streams"], (run, link, ref))
        if written:
            self._execute(SQL["void_chunks"], (run, link, ref))
        for stream, since in written:
            reset = encode_reset(Reset(since, link, ref))
            self.write_stream(run, link, 0, stream, (("reset", reset),), time=time)

    # --- watches ---

    def put_watch(self, target: RunId, watcher: Watcher) -> None:
        self._bare.difference_update((target, watcher.run))
        self._execute(SQL["put_watch"], (target, watcher.run, watcher.link, watcher.ref))

    def drop_watch(self, run: RunId, ref: int) -> None:
        self._execute(SQL["drop_watch"], (run, ref))

    def take_watchers(self, target: RunId) -> list[Watcher]:
        if target in self._bare:
            return []
        return [
            Watcher(*row) for row in fetch(self._connection, tuple[RunId, int, int], SQL["take_watchers"], (target,))
        ]

    def drop_all(self, run: RunId, *, keep_link: int | None) -> None:
        if run in self._bare:
            return
        kept = 0 if keep_link is None else keep_link  # links count from 1
        self._execute(SQL["drop_all_waits"], (run,))
        self._execute(SQL["drop_all_watches"], (run,))
        self._execute(SQL["end_all_hooks"], (run, kept))
        self._execute(SQL["drop_all_hooks"], (run, kept))
        self._execute(SQL["drop_all_messages"], (run, kept))
