"""The tables of a memory store, and a transaction's view of them."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import msgspec
from msgspec import Struct

from outlive.model.entries import NewRun, TaskKey
from outlive.model.events import Event, Parent, Recorded, StepCompleted, WaitKind
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.inbox import InboxItem
from outlive.model.records import KeyRecord, RunStatus, WaitRecord
from outlive.model.rows import HeldHook, Known, RunRow, TaskRow, Watcher
from outlive.model.streams import Chunk, Piece, Reset, encode_reset
from outlive.model.webhooks import GONE


class RunKept(Struct):
    row: RunRow
    parent: Parent | None
    tags: tuple[str, ...]
    created_at: float
    queue: str


class MemoryRows:
    """The tables, and the transaction's view of them: entries are judged before they write, so none is ever undone."""

    def __init__(self) -> None:
        self.runs: dict[RunId, RunKept] = {}
        self.logs: defaultdict[tuple[RunId, int], list[Recorded]] = defaultdict(list)
        self.waits: defaultdict[RunId, dict[int, WaitRecord]] = defaultdict(dict)
        self.hooks: dict[TokenHash, tuple[HeldHook, float]] = {}
        self.inboxes: defaultdict[RunId, dict[int, InboxItem]] = defaultdict(dict)
        self.watches: defaultdict[RunId, dict[Watcher, None]] = defaultdict(dict)
        self.keys: dict[tuple[RunId, str], tuple[Known, TokenHash | None, float]] = {}
        self.ended_hooks: dict[TokenHash, RunId] = {}
        self.requests: dict[str, tuple[RunId, float, str | None]] = {}
        self.streams: defaultdict[RunId, dict[str, list[Chunk]]] = defaultdict(dict)
        self.void: set[tuple[RunId, str, int]] = set()
        """Chunks of attempts that others have followed."""
        self.api_keys: dict[str, KeyRecord] = {}
        self.tasks: dict[TaskKey, TaskRow] = {}
        self.queues: dict[str, int | None] = {}
        """Their limits."""
        self._next_task = 1
        self._next_message = 1

    def run(self, run: RunId) -> RunRow | None:
        kept = self.runs.get(run)
        return None if kept is None else copy.copy(kept.row)

    def add_run(self, row: RunRow, new: NewRun, *, parent: Parent | None, created_at: float) -> None:
        self.runs[row.id] = RunKept(copy.copy(row), parent, new.tags, created_at, new.queue)

    def advance_run(self, row: RunRow, *, seq: int) -> None:
        self.update_run(row, epoch=row.epoch, seq=seq)

    def update_run(self, row: RunRow, *, epoch: int, seq: int) -> None:
        kept = self.runs[row.id]
        assert (kept.row.epoch, kept.row.seq) == (epoch, seq), f"run {row.id} changed under its own commit"
        kept.row = copy.copy(row)

    def wake_run(self, run: RunId, at: float) -> None:
        row = self.runs[run].row
        if row.owner is None and row.status in (RunStatus.PENDING, RunStatus.RUNNING):
            row.wake_at = at if row.wake_at is None else min(row.wake_at, at)

    def append(self, run: RunId, link: int, events: Sequence[Recorded]) -> None:
        self.logs[run, link].extend(events)

    def put_wait(self, run: RunId, link: int, ref: int, kind: WaitKind, due: float) -> None:
        self.waits[run][ref] = WaitRecord(run, link, ref, kind, due)

    def drop_wait(self, run: RunId, ref: int) -> None:
        self.waits[run].pop(ref, None)

    def next_wait(self, run: RunId) -> float | None:
        return min((wait.due for wait in self.waits[run].values()), default=None)

    def task(self, run: RunId, link: int, ref: int) -> TaskRow | None:
        task = self.tasks.get(TaskKey(run, link, ref))
        return None if task is None else copy.copy(task)

    def put_task(self, task: TaskRow) -> None:
        task.id = self._next_task
        self._next_task += 1
        self.tasks[task.key] = copy.copy(task)
        self.queues.setdefault(task.call.options.queue, None)

    def update_task(self, task: TaskRow) -> None:
        self.tasks[task.key] = copy.copy(task)

    def drop_task(self, task: TaskRow) -> None:
        del self.tasks[task.key]

    def void_tasks(self, run: RunId, *, cancel: bool) -> None:
        for task in [task for task in self.tasks.values() if task.run == run]:
            if task.owner is None:
                del self.tasks[task.key]
            else:
                task.void = True
                task.cancelling |= cancel

    def free_tasks(self, worker: WorkerId, *, crashed: bool, blamed: bool) -> None:
        """Its worker has left or died."""
        for task in [task for task in self.tasks.values() if task.owner == worker]:
            task.owner = None
            task.deaths += crashed
            task.crashes += blamed
            if task.void:
                del self.tasks[task.key]

    def hook(self, token_hash: TokenHash) -> HeldHook | None:
        found = self.hooks.get(token_hash)
        return None if found is None else found[0]

    def put_hook(self, token_hash: TokenHash, hook: HeldHook, *, created_at: float) -> None:
        self.hooks[token_hash] = (hook, created_at)

    def drop_hook(self, run: RunId, link: int, ref: int) -> None:
        for token_hash, (hook, _) in list(self.hooks.items()):
            if (hook.run, hook.link, hook.ref) == (run, link, ref):
                self._end_hook(token_hash, hook)

    def _end_hook(self, token_hash: TokenHash, hook: HeldHook) -> None:
        del self.hooks[token_hash]
        if hook.webhook is not None:
            self.ended_hooks[token_hash] = hook.run

    def ended_hook(self, token_hash: TokenHash) -> bool:
        return token_hash in self.ended_hooks

    def named_hooks(self, run: RunId) -> dict[TokenHash, int]:
        return {token_hash: hook.ref for token_hash, (hook, _) in self.hooks.items() if hook.run == run and hook.token}

    def unlogged(self, run: RunId, link: int) -> Sequence[StepCompleted]:  # noqa: ARG002
        return ()

    def inbox(self, run: RunId) -> list[InboxItem]:
        return list(self.inboxes[run].values())

    def inbox_waits(self, run: RunId) -> bool:
        return any(not item.held for item in self.inboxes[run].values())

    def pending(self, run: RunId, token_hash: TokenHash) -> int:
        return sum(item.token_hash == token_hash for item in self.inboxes[run].values())

    def add_message(self, run: RunId, message: InboxItem) -> None:
        self.inboxes[run][self._next_message] = msgspec.structs.replace(message, id=self._next_message)
        self._next_message += 1

    def drop_messages(self, run: RunId, ids: Collection[int]) -> None:
        for key in ids:
            self.inboxes[run].pop(key, None)

    def readdress(self, run: RunId, token_hash: TokenHash, *, link: int, ref: int) -> None:
        hook, created_at = self.hooks[token_hash]
        self.hooks[token_hash] = (msgspec.structs.replace(hook, link=link, ref=ref), created_at)
        for key, item in self.inboxes[run].items():
            if item.token_hash == token_hash:
                self.inboxes[run][key] = msgspec.structs.replace(item, link=link, ref=ref)

    def readdress_cancels(self, run: RunId, *, link: int) -> None:
        for key, item in self.inboxes[run].items():
            if item.kind == "cancel":
                self.inboxes[run][key] = msgspec.structs.replace(item, link=link)

    def known(self, run: RunId, key: str) -> Known | None:
        found = self.keys.get((run, key))
        return None if found is None else found[0]

    def known_by_token(self, token_hash: TokenHash, key: str) -> Known | None:
        return next((a for (_, k), (a, token, _) in self.keys.items() if k == key and token == token_hash), None)

    def remember(
        self, run: RunId, key: str, *, link: int, token_hash: TokenHash | None, time: float, reply: str
    ) -> None:
        self.keys[run, key] = (Known(run, link, reply), token_hash, time)

    def open_request(self, run: RunId, request: str, *, time: float) -> None:
        self.requests.setdefault(request, (run, time, None))

    def answer_request(self, request: str, answer: str) -> bool:
        if request not in self.requests:
            return False
        run, time, there = self.requests[request]
        if there is None:
            self.requests[request] = (run, time, answer)
            return True
        return answer != GONE and there == answer

    def close_requests(self, run: RunId) -> None:
        for request, (owner, _, there) in list(self.requests.items()):
            if owner == run and there is None:
                self.answer_request(request, GONE)

    def write_stream(
        self, run: RunId, link: int, ref: int, stream: str, pieces: Sequence[Piece], *, time: float
    ) -> None:
        chunks = self.streams[run].setdefault(stream, [])
        for kind, data in pieces:
            chunks.append(Chunk(len(chunks), kind, link, ref, time, data))

    def void_stream(self, run: RunId, link: int, ref: int, *, time: float) -> None:
        for stream, chunks in sorted(self.streams[run].items()):
            written = [(run, stream, chunk.index) for chunk in chunks if (chunk.link, chunk.ref) == (link, ref)]
            standing = [place for place in written if place not in self.void]
            if standing:
                self.void.update(standing)
                reset = encode_reset(Reset(standing[0][2], link, ref))
                self.write_stream(run, link, 0, stream, (("reset", reset),), time=time)

    def standing(self, run: RunId, stream: str) -> list[Chunk]:
        """The chunks that are not void."""
        chunks = self.streams.get(run, {}).get(stream, [])
        return [chunk for chunk in chunks if (run, stream, chunk.index) not in self.void]

    def prune(self, run: RunId) -> None:
        """Forget an ended run."""
        for link in range(1, self.runs.pop(run).row.link + 1):
            self.logs.pop((run, link), None)
        self.streams.pop(run, None)
        self.tasks = {key: task for key, task in self.tasks.items() if key.run != run}
        self.void = {place for place in self.void if place[0] != run}
        self.ended_hooks = {token: owner for token, owner in self.ended_hooks.items() if owner != run}
        self.requests = {request: kept for request, kept in self.requests.items() if kept[0] != run}

    def put_watch(self, target: RunId, watcher: Watcher) -> None:
        self.watches[target][watcher] = None

    def drop_watch(self, run: RunId, ref: int) -> None:
        self._drop_watches(lambda watcher: watcher.run == run and watcher.ref == ref)

    def take_watchers(self, target: RunId) -> list[Watcher]:
        return list(self.watches.pop(target, ()))

    def drop_all(self, run: RunId, *, keep_link: int | None) -> None:
        self.waits.pop(run, None)
        for token_hash, (hook, _) in list(self.hooks.items()):
            if hook.run == run and hook.link != keep_link:
                self._end_hook(token_hash, hook)
        self._drop_watches(lambda watcher: watcher.run == run)
        self.inboxes[run] = {key: item for key, item in self.inboxes[run].items() if item.link == keep_link}

    def event_at(self, run: RunId, link: int, seq: int) -> Event:
        return self.logs[run, link][seq - 1].event

    def _drop_watches(self, goes: Callable[[Watcher], bool]) -> None:
        for target, watchers in list(self.watches.items()):
            self.watches[target] = {watcher: None for watcher in watchers if not goes(watcher)}
            if not self.watches[target]:
                del self.watches[target]
