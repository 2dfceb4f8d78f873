"""The rows of a transaction: what was loaded, and on top of it what is to be written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from outlive.model.entries import NewRun, TaskKey
from outlive.model.events import Event, Parent, Recorded, StepCompleted, WaitKind
from outlive.model.ids import RunId, TokenHash
from outlive.model.inbox import InboxItem
from outlive.model.records import RunStatus
from outlive.model.rows import HeldHook, Known, RunRow, TaskRow, Watcher
from outlive.model.streams import ChunkKind, Piece, Reset, encode_reset
from outlive.model.webhooks import GONE
from outlive.stores.postgres.facets import Kind, Loaded, Missing

_K = TypeVar("_K")
_V = TypeVar("_V")


class NewChunk(Struct):
    """A chunk to be written."""

    link: int
    ref: int
    time: float
    kind: ChunkKind
    data: bytes
    void: bool = False


class Writes(Struct):
    """What is to be written, as it will be at the end; in the order in which it is."""

    new_runs: dict[RunId, tuple[Parent | None, float, tuple[str, ...], str]] = field(default_factory=dict)
    advanced: dict[RunId, None] = field(default_factory=dict)
    updated: dict[RunId, None] = field(default_factory=dict)
    events: list[tuple[RunId, int, Recorded]] = field(default_factory=list)
    cleared: dict[RunId, int] = field(default_factory=dict)
    """Runs whose waits, watches, hooks and messages go, except those of this link."""
    waits: dict[tuple[RunId, int], tuple[int, WaitKind, float] | None] = field(default_factory=dict)
    moved_hooks: dict[TokenHash, tuple[RunId, int, int]] = field(default_factory=dict)
    dropped_hooks: list[tuple[RunId, int, int]] = field(default_factory=list)
    ended_tokens: dict[TokenHash, RunId] = field(default_factory=dict)
    hooks: dict[TokenHash, tuple[HeldHook, float]] = field(default_factory=dict)
    moved_cancels: dict[RunId, int] = field(default_factory=dict)
    dropped_messages: list[int] = field(default_factory=list)
    messages: dict[int, tuple[RunId, InboxItem]] = field(default_factory=dict)
    keys: dict[tuple[RunId, str], tuple[Known, TokenHash | None, float]] = field(default_factory=dict)
    opened_requests: dict[str, tuple[RunId, float]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    closed: dict[RunId, None] = field(default_factory=dict)
    """Runs whose open requests get no answer."""
    voided: list[tuple[RunId, int, int]] = field(default_factory=list)
    chunks: dict[tuple[RunId, str], dict[int, NewChunk]] = field(default_factory=dict)
    dropped_watches: list[tuple[RunId, int]] = field(default_factory=list)
    taken_watchers: dict[RunId, None] = field(default_factory=dict)
    watches: dict[tuple[RunId, Watcher], None] = field(default_factory=dict)
    new_tasks: dict[TaskKey, TaskRow] = field(default_factory=dict)
    updated_tasks: dict[TaskKey, TaskRow] = field(default_factory=dict)
    dropped_tasks: dict[TaskKey, None] = field(default_factory=dict)
    voided_tasks: dict[RunId, bool] = field(default_factory=dict)
    """Runs that their tasks are of no use to any more, and whether those are asked to end."""


class StagedRows:
    """:class:`~outlive.model.rows.Rows` over what was loaded.

    Every read may raise :class:`Missing`; what is written goes to ``writes``, and nothing else changes.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.writes: Writes = Writes()
        self.runs: dict[RunId, RunRow] = {}
        """As they will be."""
        self._loaded = loaded
        self._ids: Iterator[int] = iter(loaded.message_ids)
        self._inboxes: dict[RunId, dict[int, InboxItem]] = {}
        self._given: int = 0

    # --- runs ---

    def run(self, run: RunId) -> RunRow | None:
        row = self.runs.get(run)
        if row is None:
            row = _get(self._loaded.runs, run, "run", run)
        return copy.copy(row)

    def add_run(self, row: RunRow, new: NewRun, *, parent: Parent | None, created_at: float) -> None:
        self.runs[row.id] = copy.copy(row)
        self.writes.new_runs[row.id] = (parent, created_at, new.tags, new.queue)

    def advance_run(self, row: RunRow, *, seq: int) -> None:
        self._put_run(row, epoch=row.epoch, seq=seq)
        self.writes.advanced[row.id] = None

    def update_run(self, row: RunRow, *, epoch: int, seq: int) -> None:
        self._put_run(row, epoch=epoch, seq=seq)
        self.writes.updated[row.id] = None

    def _put_run(self, row: RunRow, *, epoch: int, seq: int) -> None:
        before = self.run(row.id)
        assert before is not None and (before.epoch, before.seq) == (epoch, seq), (
            f"run {row.id} changed under its own commit"
        )
        self.runs[row.id] = copy.copy(row)

    def wake_run(self, run: RunId, at: float) -> None:
        row = self.run(run)
        if row is not None and row.owner is None and row.status in (RunStatus.PENDING, RunStatus.RUNNING):
            row.wake_at = at if row.wake_at is None else min(row.wake_at, at)
            self.runs[run] = row
            self.writes.updated[run] = None

    # --- logs ---

    def append(self, run: RunId, link: int, events: Sequence[Recorded]) -> None:
        self.writes.events.extend((run, link, recorded) for recorded in events)

    def event_at(self, run: RunId, link: int, seq: int) -> Event:
        for other, its_link, recorded in reversed(self.writes.events):
            if (other, its_link, recorded.seq) == (run, link, seq):
                return recorded.event
        return _get(self._loaded.events, (run, link, seq), "event", run, link, seq)

    # --- waits ---

    def put_wait(self, run: RunId, link: int, ref: int, kind: WaitKind, due: float) -> None:
        self.writes.waits[run, ref] = (link, kind, due)

    def drop_wait(self, run: RunId, ref: int) -> None:
        self.writes.waits[run, ref] = None

    def next_wait(self, run: RunId) -> float | None:
        loaded = _get(self._loaded.waits, run, "waits", run)
        there: dict[int, float] = {} if run in self.writes.cleared else loaded.copy()
        for (other, ref), wait in self.writes.waits.items():
            if other == run:
                there.pop(ref, None)
                if wait is not None:
                    there[ref] = wait[2]
        return min(there.values(), default=None)

    # --- tasks ---

    def task(self, run: RunId, link: int, ref: int) -> TaskRow | None:
        key, writes = TaskKey(run, link, ref), self.writes
        if key in writes.new_tasks:
            return copy.copy(writes.new_tasks[key])
        if key in writes.dropped_tasks:
            return None
        there = writes.updated_tasks.get(key) or _get(self._loaded.tasks, key, "task", *key)
        task = copy.copy(there)
        if task is not None and run in writes.voided_tasks:
            task.void = True
            task.cancelling |= writes.voided_tasks[run]
            return None if task.owner is None else task
        return task

    def put_task(self, task: TaskRow) -> None:
        self.writes.new_tasks[task.key] = copy.copy(task)

    def update_task(self, task: TaskRow) -> None:
        self.writes.updated_tasks[task.key] = copy.copy(task)

    def drop_task(self, task: TaskRow) -> None:
        if self.writes.new_tasks.pop(task.key, None) is None:
            self.writes.dropped_tasks[task.key] = None
        self.writes.updated_tasks.pop(task.key, None)

    def void_tasks(self, run: RunId, *, cancel: bool) -> None:
        self.writes.new_tasks = {key: task for key, task in self.writes.new_tasks.items() if key.run != run}
        self.writes.voided_tasks[run] = cancel

    # --- hooks ---

    def hook(self, token_hash: TokenHash) -> HeldHook | None:
        put = self.writes.hooks.get(token_hash)
        if put is not None:
            return put[0]
        return self._as_it_is(token_hash, _get(self._loaded.tokens, token_hash, "token", token_hash))

    def _as_it_is(self, token_hash: TokenHash, hook: HeldHook | None) -> HeldHook | None:
        """A loaded hook, if it is still there, as it is now."""
        if hook is None:
            return None
        if token_hash in self.writes.moved_hooks:
            run, link, ref = self.writes.moved_hooks[token_hash]
            hook = msgspec.structs.replace(hook, run=run, link=link, ref=ref)
        gone = (hook.run, hook.link, hook.ref) in self.writes.dropped_hooks
        return None if gone or self.writes.cleared.get(hook.run, hook.link) != hook.link else hook

    def put_hook(self, token_hash: TokenHash, hook: HeldHook, *, created_at: float) -> None:
        self.writes.hooks[token_hash] = (hook, created_at)

    def drop_hook(self, run: RunId, link: int, ref: int) -> None:
        self.writes.dropped_hooks.append((run, link, ref))
        self._drop_put_hooks(lambda hook: (hook.run, hook.link, hook.ref) == (run, link, ref))

    def _drop_put_hooks(self, goes: Callable[[HeldHook], bool]) -> None:
        for token_hash, (hook, _) in list(self.writes.hooks.items()):
            if goes(hook):
                del self.writes.hooks[token_hash]
                if hook.webhook is not None:
                    self.writes.ended_tokens[token_hash] = hook.run

    def ended_hook(self, token_hash: TokenHash) -> bool:
        if token_hash in self.writes.ended_tokens:
            return True
        held = self._loaded.tokens.get(token_hash)
        if held is not None and held.webhook is not None and self._as_it_is(token_hash, held) is None:
            return True  # it ends in this very transaction
        return _get(self._loaded.ended_tokens, token_hash, "ended_token", token_hash)

    def named_hooks(self, run: RunId) -> dict[TokenHash, int]:
        return {token_hash: hook.ref for token_hash, hook in self._hooks_of(run).items() if hook.token}

    def _hooks_of(self, run: RunId) -> dict[TokenHash, HeldHook]:
        there = {
            token_hash: hook
            for token_hash, loaded in _get(self._loaded.hooks, run, "hooks", run).items()
            if (hook := self._as_it_is(token_hash, loaded)) is not None
        }
        return there | {token: hook for token, (hook, _) in self.writes.hooks.items() if hook.run == run}

    # --- inbox ---

    def unlogged(self, run: RunId, link: int) -> Sequence[StepCompleted]:
        left = _get(self._loaded.unlogged, (run, link), "unlogged", run, link)
        logged = {(of, at, type(it.event), it.event.ref) for of, at, it in self.writes.events}
        return [done for done in left if (run, link, StepCompleted, done.ref) not in logged]

    def inbox(self, run: RunId) -> list[InboxItem]:
        return list(self._inbox(run).values())

    def _inbox(self, run: RunId) -> dict[int, InboxItem]:
        inbox = self._inboxes.get(run)
        if inbox is None:
            inbox = {item.id: item for item in self._standing(run)}
            inbox.update((id, item) for id, (other, item) in self.writes.messages.items() if other == run)
            self._inboxes[run] = inbox
        return inbox

    def _standing(self, run: RunId) -> Iterator[InboxItem]:
        """What was loaded, as it is now."""
        for item in _get(self._loaded.inboxes, run, "inbox", run):
            if item.kind == "cancel" and run in self.writes.moved_cancels:
                item = msgspec.structs.replace(item, link=self.writes.moved_cancels[run])
            elif item.token_hash is not None and item.token_hash in self.writes.moved_hooks:
                _, link, ref = self.writes.moved_hooks[item.token_hash]
                item = msgspec.structs.replace(item, link=link, ref=ref)
            if item.id not in self.writes.dropped_messages and self.writes.cleared.get(run, item.link) == item.link:
                yield item

    def inbox_waits(self, run: RunId) -> bool:
        return any(not item.held for item in self._inbox(run).values())

    def pending(self, run: RunId, token_hash: TokenHash) -> int:
        if run in self._inboxes or run in self._loaded.inboxes:
            return sum(item.token_hash == token_hash for item in self._inbox(run).values())
        there = _get(self._loaded.pending, (run, token_hash), "pending", run, token_hash)
        return there + sum(
            item.token_hash == token_hash for other, item in self.writes.messages.values() if other == run
        )

    def add_message(self, run: RunId, message: InboxItem) -> None:
        self._given += 1
        id = next(self._ids, None)
        if id is None:
            raise Missing(("message_ids", 2 * self._given))
        item = msgspec.structs.replace(message, id=id)
        self.writes.messages[id] = (run, item)
        if run in self._inboxes:
            self._inboxes[run][id] = item

    def drop_messages(self, run: RunId, ids: Collection[int]) -> None:
        for id in ids:
            if self.writes.messages.pop(id, None) is None:
                self.writes.dropped_messages.append(id)
            if run in self._inboxes:
                self._inboxes[run].pop(id, None)

    def readdress(self, run: RunId, token_hash: TokenHash, *, link: int, ref: int) -> None:
        hook = self.hook(token_hash)
        assert hook is not None, "only a hook that is there is moved"
        if token_hash in self.writes.hooks:
            created_at = self.writes.hooks[token_hash][1]
            self.writes.hooks[token_hash] = (msgspec.structs.replace(hook, link=link, ref=ref), created_at)
        self.writes.moved_hooks[token_hash] = (run, link, ref)
        self._change_messages(run, lambda item: item.token_hash == token_hash, link=link, ref=ref)

    def readdress_cancels(self, run: RunId, *, link: int) -> None:
        self.writes.moved_cancels[run] = link
        self._change_messages(run, lambda item: item.kind == "cancel", link=link)

    def _change_messages(self, run: RunId, which: Callable[[InboxItem], bool], **changes: int) -> None:
        for id, (other, item) in self.writes.messages.items():
            if other == run and which(item):
                self.writes.messages[id] = (run, msgspec.structs.replace(item, **changes))
        for id, item in self._inboxes.get(run, {}).items():
            if which(item):
                self._inboxes[run][id] = msgspec.structs.replace(item, **changes)

    def known(self, run: RunId, key: str) -> Known | None:
        staged = self.writes.keys.get((run, key))
        return staged[0] if staged is not None else _get(self._loaded.keys, (run, key), "key", run, key)

    def known_by_token(self, token_hash: TokenHash, key: str) -> Known | None:
        for (_, other), (known, token, _) in self.writes.keys.items():
            if (token, other) == (token_hash, key):
                return known
        return _get(self._loaded.token_keys, (token_hash, key), "token_key", token_hash, key)

    def remember(
        self, run: RunId, key: str, *, link: int, token_hash: TokenHash | None, time: float, reply: str
    ) -> None:
        self.writes.keys[run, key] = (Known(run, link, reply), token_hash, time)

    # --- callers of webhooks ---

    def open_request(self, run: RunId, request: str, *, time: float) -> None:
        self.writes.opened_requests.setdefault(request, (run, time))

    def answer_request(self, request: str, answer: str) -> bool:
        there = self._answer_there(request)
        if there is False:
            return False
        if there is None:
            self.writes.answers[request] = answer
            return True
        return answer != GONE and there == answer

    def _answer_there(self, request: str) -> str | bool | None:
        """False: there is no such request."""
        if request in self.writes.answers:
            return self.writes.answers[request]
        opened = self.writes.opened_requests.get(request)
        loaded = (opened[0], None) if opened is not None else _get(self._loaded.requests, request, "request", request)
        if loaded is None:
            return False
        run, answer = loaded
        return GONE if answer is None and run in self.writes.closed else answer

    def close_requests(self, run: RunId) -> None:
        self.writes.closed[run] = None
        for request, (owner, _) in self.writes.opened_requests.items():
            if owner == run:
                self.writes.answers.setdefault(request, GONE)

    # --- streams ---

    def write_stream(
        self, run: RunId, link: int, ref: int, stream: str, pieces: Sequence[Piece], *, time: float
    ) -> None:
        chunks = self.writes.chunks.get((run, stream), {})
        first = max(chunks) + 1 if chunks else _get(self._loaded.lengths, (run, stream), "length", run, stream)
        for number, (kind, data) in enumerate(pieces, start=first):
            chunks[number] = NewChunk(link, ref, time, kind, data)
        self.writes.chunks[run, stream] = chunks

    def void_stream(self, run: RunId, link: int, ref: int, *, time: float) -> None:
        since: dict[str, int] = {}
        if (run, link, ref) not in self.writes.voided:
            written = _get(self._loaded.written, (run, link, ref), "written", run, link, ref)
            since.update(written)
        for (other, stream), chunks in self.writes.chunks.items():
            standing = [n for n, chunk in chunks.items() if (chunk.link, chunk.ref, chunk.void) == (link, ref, False)]
            if other == run and ref > 0 and standing:
                since.setdefault(stream, min(standing))
                for number in standing:
                    chunks[number].void = True
        self.writes.voided.append((run, link, ref))
        for stream, first in sorted(since.items()):
            reset = encode_reset(Reset(first, link, ref))
            self.write_stream(run, link, 0, stream, (("reset", reset),), time=time)

    # --- watches ---

    def put_watch(self, target: RunId, watcher: Watcher) -> None:
        self.writes.watches[target, watcher] = None

    def drop_watch(self, run: RunId, ref: int) -> None:
        self.writes.dropped_watches.append((run, ref))
        self._forget_watches(lambda _, watcher: (watcher.run, watcher.ref) == (run, ref))

    def take_watchers(self, target: RunId) -> list[Watcher]:
        there = dict.fromkeys(
            watcher
            for watcher in _get(self._loaded.watchers, target, "watchers", target)
            if target not in self.writes.taken_watchers
            and watcher.run not in self.writes.cleared
            and (watcher.run, watcher.ref) not in self.writes.dropped_watches
        )
        there.update((watcher, None) for other, watcher in self.writes.watches if other == target)
        self.writes.taken_watchers[target] = None
        self._forget_watches(lambda other, _: other == target)
        return list(there)

    def _forget_watches(self, goes: Callable[[RunId, Watcher], bool]) -> None:
        self.writes.watches = {key: None for key in self.writes.watches if not goes(*key)}

    def drop_all(self, run: RunId, *, keep_link: int | None) -> None:
        kept = 0 if keep_link is None else keep_link  # links count from 1
        self.writes.waits = {key: wait for key, wait in self.writes.waits.items() if key[0] != run}
        self._drop_put_hooks(lambda hook: hook.run == run and hook.link != kept)
        self._forget_watches(lambda _, watcher: watcher.run == run)
        self.writes.messages = {
            id: (other, item) for id, (other, item) in self.writes.messages.items() if other != run or item.link == kept
        }
        if run in self._inboxes:
            self._inboxes[run] = {id: item for id, item in self._inboxes[run].items() if item.link == kept}
        self.writes.cleared[run] = kept


def _get(table: dict[_K, _V], key: _K, kind: Kind, *which: str | int) -> _V:
    try:
        return table[key]
    except KeyError:
        raise Missing((kind, *which)) from None
