"""Reads facets: one statement for each kind, however many of them there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, cast

from msgspec import Raw
from msgspec.structs import replace

from outlive.model.entries import TaskKey
from outlive.model.events import ENDS_STEP, StepCompleted, decode_event
from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.model.rows import HeldHook, Known, RunRow, Watcher
from outlive.model.webhooks import decode_settings
from outlive.stores.columns import inbox_item, task_row
from outlive.stores.postgres.connections import Connection
from outlive.stores.postgres.facets import Facet, Kind, Loaded
from outlive.stores.postgres.statements import Statements

_STATUS: Final = {status.value: status for status in RunStatus}


_Which: TypeAlias = Collection[tuple[Any, ...]]
_Fetch: TypeAlias = Callable[..., Awaitable[list[Any]]]


class Loader:
    """Loads into ``loaded``, inside one transaction."""

    def __init__(
        self, connection: Connection, sql: Statements, loaded: Loaded, *, now: float, fixed: float | None
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._loaded = loaded
        self._fixed = fixed
        self.now: float = now
        """The server's clock, read after the last row was locked: what is accepted under that lock is accepted then (R15)."""

    async def load(self, facets: Collection[Facet]) -> None:
        by_kind: defaultdict[Kind, list[tuple[Any, ...]]] = defaultdict(list)
        for kind, *which in sorted(facets, key=repr):  # rows are locked in one order
            by_kind[kind].append(tuple(which))
        for kind, load in _LOADS.items():
            if kind in by_kind:
                await load(self, by_kind[kind])

    async def _fetch(self, statement: str, *values: object) -> list[Any]:
        return await self._connection.fetch(self._sql[statement], *values)

    async def _runs(self, which: _Which) -> None:
        ids = [run for (run,) in which]
        self._loaded.runs.update(dict.fromkeys(map(RunId, ids)))
        for record in await self._fetch("lock_runs", ids, self._fixed):
            *columns, now = record
            row = run_row(columns)
            self._loaded.runs[row.id] = row
            self.now = max(self.now, now)

    async def _inboxes(self, which: _Which) -> None:
        runs = [run for (run,) in which]
        self._loaded.inboxes.update({run: [] for run in runs})
        for run, *columns in await self._fetch("inboxes", runs):
            self._loaded.inboxes[run].append(inbox_item(*columns))

    async def _waits(self, which: _Which) -> None:
        runs = [run for (run,) in which]
        self._loaded.waits.update({run: {} for run in runs})
        for run, ref, due in await self._fetch("waits_of", runs):
            self._loaded.waits[run][ref] = due

    async def _tokens(self, which: _Which) -> None:
        tokens = [token for (token,) in which]
        self._loaded.tokens.update(dict.fromkeys(tokens))
        for token, *columns in await self._fetch("tokens", tokens):
            self._loaded.tokens[token] = held_hook(*columns)

    async def _ended_tokens(self, which: _Which) -> None:
        tokens = [token for (token,) in which]
        self._loaded.ended_tokens.update(dict.fromkeys(tokens, False))
        for (token,) in await self._fetch("ended_tokens", tokens):
            self._loaded.ended_tokens[token] = True

    async def _hooks(self, which: _Which) -> None:
        runs = [run for (run,) in which]
        self._loaded.hooks.update({run: {} for run in runs})
        for token, *columns in await self._fetch("hooks_of", runs):
            hook = held_hook(*columns)
            self._loaded.hooks[hook.run][token] = self._loaded.tokens[token] = hook

    async def _watchers(self, which: _Which) -> None:
        targets = [target for (target,) in which]
        self._loaded.watchers.update({target: [] for target in targets})
        for target, *columns in await self._fetch("watchers", targets):
            self._loaded.watchers[target].append(Watcher(*columns))

    async def _pending(self, which: _Which) -> None:
        self._loaded.pending.update(dict.fromkeys(cast("Any", which), 0))
        for run, token, count in await self._fetch("pendings", *_columns(which, 2)):
            self._loaded.pending[run, token] = count

    async def _keys(self, which: _Which) -> None:
        self._loaded.keys.update(dict.fromkeys(cast("Any", which)))
        for run, key, link, reply in await self._fetch("keys_of_runs", *_columns(which, 2)):
            self._loaded.keys[run, key] = Known(run, link, reply)

    async def _token_keys(self, which: _Which) -> None:
        self._loaded.token_keys.update(dict.fromkeys(cast("Any", which)))
        for token, key, run, link, reply in await self._fetch("keys_of_tokens", *_columns(which, 2)):
            self._loaded.token_keys[token, key] = Known(run, link, reply)

    async def _requests(self, which: _Which) -> None:
        ids = [request for (request,) in which]
        self._loaded.requests.update(dict.fromkeys(ids))
        for request, run, answer in await self._fetch("lock_requests", ids):
            self._loaded.requests[request] = (run, answer)

    async def _lengths(self, which: _Which) -> None:
        self._loaded.lengths.update(dict.fromkeys(cast("Any", which), 0))
        for run, stream, length in await self._fetch("stream_lengths", *_columns(which, 2)):
            self._loaded.lengths[run, stream] = length

    async def _written(self, which: _Which) -> None:
        self._loaded.written.update({cast("Any", key): [] for key in which})
        for run, link, ref, stream, first in await self._fetch("written_streams", *_columns(which, 3)):
            self._loaded.written[run, link, ref].append((stream, first))

    async def _events(self, which: _Which) -> None:
        for run, link, seq, event in await self._fetch("events_at", *_columns(which, 3)):
            self._loaded.events[run, link, seq] = decode_event(event)

    async def _tasks(self, which: _Which) -> None:
        self._loaded.tasks.update({TaskKey(*key): None for key in which})
        for record in await self._fetch("lock_tasks", *_columns(which, 3)):
            task = task_row(*record)
            self._loaded.tasks[task.key] = task

    async def _unlogged(self, which: _Which) -> None:
        for run, link in which:
            left: dict[int, StepCompleted] = {}
            for event, result in await self._fetch("results_of_link", run, link):
                done = decode_event(event)
                assert isinstance(done, StepCompleted), "nothing else is left by a transaction"
                left[done.ref] = replace(done, result=Raw(result.encode()))
            for record in await self._fetch("log", run, link, 0, None) if left else ():
                event = decode_event(record["event"])
                if type(event) in ENDS_STEP:
                    left.pop(event.ref, None)
            self._loaded.unlogged[RunId(run), link] = list(left.values())

    async def _message_ids(self, which: _Which) -> None:
        count = max(count for (count,) in which)
        found = await self._fetch("message_ids", count)
        self._loaded.message_ids = sorted(id for (id,) in found)


_LOADS: Final[Mapping[Kind, Callable[[Loader, _Which], Awaitable[None]]]] = {
    "run": Loader._runs,
    "request": Loader._requests,
    "task": Loader._tasks,
    "token": Loader._tokens,
    "hooks": Loader._hooks,
    "inbox": Loader._inboxes,
    "waits": Loader._waits,
    "ended_token": Loader._ended_tokens,
    "watchers": Loader._watchers,
    "pending": Loader._pending,
    "key": Loader._keys,
    "token_key": Loader._token_keys,
    "length": Loader._lengths,
    "written": Loader._written,
    "event": Loader._events,
    "unlogged": Loader._unlogged,
    "message_ids": Loader._message_ids,
}
"""What locks comes first, in the order in which all transactions lock."""


def _columns(which: _Which, count: int) -> list[list[Any]]:
    return [[key[number] for key in which] for number in range(count)]


def run_row(columns: Any) -> RunRow:
    row = RunRow(*columns)
    row.status = _STATUS[row.status]
    return row


def held_hook(run: RunId, link: int, ref: int, token: str, schema: str, webhook: str) -> HeldHook:
    return HeldHook(run, link, ref, token, schema, decode_settings(webhook) if webhook else None)
