"""What a transaction knows: parts of the tables, loaded before the rules of a commit are carried out on them.

The rules ask for rows one at a time, and a server answers best when it is asked for many at once. So they are carried out on what has
been loaded; where they ask for something that has not, it is noted, loaded with whatever else was missing, and they begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

from outlive.model import events as ev
from outlive.model.entries import (
    AnswerRequest,
    Entry,
    Message,
    NewRun,
    RequestCancel,
    Respond,
    RunCommit,
    SendPayload,
    SpawnRun,
    TaskCommit,
    TaskKey,
    Terminate,
    WriteStream,
)
from outlive.model.ids import RunId, TokenHash
from outlive.model.inbox import InboxItem
from outlive.model.rows import HeldHook, Known, RunRow, TaskRow, Watcher
from outlive.model.streams import StreamWrite, Written

Kind: TypeAlias = Literal[
    "run",
    "inbox",
    "waits",
    "token",
    "ended_token",
    "hooks",
    "watchers",
    "pending",
    "key",
    "token_key",
    "request",
    "length",
    "written",
    "event",
    "message_ids",
    "task",
    "unlogged",
]
Facet: TypeAlias = tuple[Kind, *tuple[str | int, ...]]
"""What is needed: its kind, and which."""

_TAKES: Final = ev.TERMINAL | {ev.HookDisposed, ev.WaitCompleted}


class Missing(Exception):
    """It has not been loaded yet."""

    def __init__(self, facet: Facet) -> None:
        super().__init__(facet)
        self.facet = facet


class Loaded(Struct):
    """What has been read so far, by facet. ``run`` rows are locked."""

    runs: dict[RunId, RunRow | None] = field(default_factory=dict)
    inboxes: dict[RunId, list[InboxItem]] = field(default_factory=dict)
    waits: dict[RunId, dict[int, float]] = field(default_factory=dict)
    tokens: dict[TokenHash, HeldHook | None] = field(default_factory=dict)
    ended_tokens: dict[TokenHash, bool] = field(default_factory=dict)
    hooks: dict[RunId, dict[TokenHash, HeldHook]] = field(default_factory=dict)
    watchers: dict[RunId, list[Watcher]] = field(default_factory=dict)
    pending: dict[tuple[RunId, TokenHash], int] = field(default_factory=dict)
    keys: dict[tuple[RunId, str], Known | None] = field(default_factory=dict)
    token_keys: dict[tuple[TokenHash, str], Known | None] = field(default_factory=dict)
    requests: dict[str, tuple[RunId, str | None] | None] = field(default_factory=dict)
    lengths: dict[tuple[RunId, str], int] = field(default_factory=dict)
    written: dict[tuple[RunId, int, int], list[tuple[str, int]]] = field(default_factory=dict)
    events: dict[tuple[RunId, int, int], ev.Event] = field(default_factory=dict)
    message_ids: list[int] = field(default_factory=list)
    tasks: dict[TaskKey, TaskRow | None] = field(default_factory=dict)
    """Locked."""
    unlogged: dict[tuple[RunId, int], list[ev.StepCompleted]] = field(default_factory=dict)


def foreseen(entries: Iterable[Entry], loaded: Loaded) -> set[Facet]:
    """What the rules will most probably ask for, given what is known. A guess: what it forgets costs another round."""
    needs: set[Facet] = set()
    messages = 0
    for entry in entries:
        match entry:
            case RunCommit():
                messages += _of_commit(needs, entry, loaded)
            case NewRun(id=run):
                needs.add(("run", run))
            case Message():
                messages += 1
                _of_message(needs, entry, loaded)
            case Terminate(run=run):
                row = loaded.runs.get(run)
                if row is not None:
                    needs.add(("unlogged", run, row.link))
                _of_end(needs, run, loaded)
            case TaskCommit():
                messages += 1
                _of_task(needs, entry)
            case AnswerRequest(request=request):
                needs.add(("request", request))
    if messages > len(loaded.message_ids):
        needs.add(("message_ids", messages))
    return needs


def _of_commit(needs: set[Facet], commit: RunCommit, loaded: Loaded) -> int:
    """How many messages it will send."""
    run, messages = commit.run, len(commit.undelivered)
    needs.add(("run", run))
    kinds = {type(proposal) for proposal in commit.proposals}
    if commit.take or commit.release or not kinds.isdisjoint(_TAKES):
        needs.add(("inbox", run))
    if commit.release:
        needs.add(("waits", run))
    if not kinds.isdisjoint(ev.TERMINAL) and commit.next_link is None:
        messages += _of_end(needs, run, loaded)
    if commit.next_link is not None:
        needs.add(("hooks", run))
    if commit.in_doubt:
        needs.add(("unlogged", run, commit.link))
    for watch in commit.watch:
        needs.update((("run", watch.target), ("inbox", run)))
    for ref in commit.cancel_tasks:
        needs.add(("task", run, commit.link, ref))
    needs.update(_of_streams(run, commit.link, commit.streams))
    for proposal in commit.proposals:
        match proposal:
            case ev.HookCreated(token_hash=token):
                needs.add(("token", token))
            case SpawnRun(new=new):
                needs.add(("run", new.id))
            case SendPayload(token_hash=token):
                messages += 1
                _of_holder(needs, token, f"{run}/{commit.link}/{proposal.ref}", loaded)
            case RequestCancel(target=target):
                messages += 1
                needs.add(("run", target))
            case Respond(request=request):
                needs.add(("request", request))
            case WriteStream(stream=stream):
                needs.add(("length", run, stream))
            case _:
                pass
    return messages


def _of_task(needs: set[Facet], commit: TaskCommit) -> None:
    needs.update((("run", commit.run), ("task", commit.run, commit.link, commit.ref)))
    needs.update(_of_streams(commit.run, commit.link, commit.streams))


def _of_streams(run: RunId, link: int, writes: Iterable[StreamWrite]) -> Iterable[Facet]:
    for write in writes:
        yield ("length", run, write.stream) if isinstance(write, Written) else ("written", run, link, write.ref)


def _of_end(needs: set[Facet], run: RunId, loaded: Loaded) -> int:
    needs.update((("run", run), ("inbox", run), ("watchers", run)))
    watchers = loaded.watchers.get(run, ())
    needs.update(("run", watcher.run) for watcher in watchers)
    return len(watchers)


def _of_message(needs: set[Facet], message: Message, loaded: Loaded) -> None:
    if message.token_hash is not None:
        _of_holder(needs, message.token_hash, message.key, loaded)
    elif message.run is not None:
        needs.add(("run", message.run))
        if message.key:
            needs.add(("key", message.run, message.key))


def _of_holder(needs: set[Facet], token: TokenHash, key: str, loaded: Loaded) -> None:
    needs.add(("token", token))
    held = loaded.tokens.get(token)
    if held is not None:
        needs.update((("run", held.run), ("pending", held.run, token)))
        if key:
            needs.add(("key", held.run, key))
    elif token in loaded.tokens:
        needs.add(("ended_token", token))
        if key:
            needs.add(("token_key", token, key))
