"""What a commit of a run's owner does: proposals become events, the inbox is taken in, the row goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, cast

import msgspec
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.appending import ADVANCES, Appending
from outlive.model.creation import add_run, next_link, same
from outlive.model.delivery import deliver, end, tell
from outlive.model.entries import (
    Accepted,
    Committed,
    Message,
    Proposal,
    Refused,
    RequestCancel,
    Respond,
    RunCommit,
    SendPayload,
    SpawnRun,
    Watch,
    WriteStream,
)
from outlive.model.events import Event, Parent
from outlive.model.ids import RunId, WorkerId
from outlive.model.inbox import InboxItem, arrange
from outlive.model.records import RUN_TRANSITIONS, RunStatus
from outlive.model.rows import Rows, RunRow, Watcher
from outlive.model.streams import StreamWrite, Written
from outlive.model.tasks import cancel_task
from outlive.model.webhooks import encode

_TAKES: Final = ev.TERMINAL | {ev.HookDisposed, ev.WaitCompleted}
"""What can't be appended without a look at the inbox (R15, R18)."""

_BECOMES: Final[dict[type[Proposal], type[Proposal]]] = {
    SpawnRun: ev.ChildStarted,
    SendPayload: ev.CallCompleted,
    RequestCancel: ev.CallCompleted,
    Respond: ev.CallCompleted,
    WriteStream: ev.CallCompleted,
}
_ARRANGED: Final = frozenset({ev.WaitCompleted, ev.RunParked})
"""What may have to move within its commit, even if the inbox is empty."""

_TRUE: Final = Raw(b"true")
_FALSE: Final = Raw(b"false")


def advance(rows: Rows, row: RunRow, commit: RunCommit, *, worker: WorkerId | None, now: float) -> Committed | None:
    """The commit of a run that only appends what it has found, as most do; None if there is more to it."""
    if (
        commit.take
        or commit.release
        or commit.ack
        or commit.watch
        or commit.unwatch
        or commit.streams
        or commit.cancel_tasks
        or commit.in_doubt
        or not commit.proposals
        or row.status is not RunStatus.RUNNING
        or not ADVANCES.issuperset(map(type, commit.proposals))
    ):
        return None
    seq = row.seq
    appending = Appending(rows, row, worker=worker, now=now if commit.time is None else commit.time)
    appending.advance(cast("tuple[Event, ...]", commit.proposals))
    rows.append(row.id, row.link, appending.events)
    rows.advance_run(row, seq=seq)
    return Committed(events=tuple(appending.events), seq=row.seq)


class RunCommitting:
    """One commit of one run, whose fence has been found to stand. ``row`` changes in place."""

    __slots__ = (
        "_answered",
        "_cancelling",
        "_commit",
        "_disposed",
        "_ends",
        "_kinds",
        "_now",
        "_row",
        "_rows",
        "_touched",
        "_worker",
    )

    def __init__(self, rows: Rows, row: RunRow, commit: RunCommit, *, worker: WorkerId | None, now: float) -> None:
        self._rows = rows
        self._row = row
        self._commit = commit
        self._worker = worker
        self._now = now
        self._kinds = {type(proposal) for proposal in commit.proposals}
        self._ends = not self._kinds.isdisjoint(ev.TERMINAL)
        self._disposed: set[int] = set()
        self._touched: set[RunId] = set()
        self._answered: list[str] = []
        self._cancelling: list[WorkerId] = []
        if ev.HookDisposed in self._kinds:
            self._disposed = {p.ref for p in commit.proposals if type(p) is ev.HookDisposed}

    def carry(self) -> Committed:
        rows, row, commit, ends = self._rows, self._row, self._commit, self._ends
        continued = ev.RunContinued in self._kinds
        assert continued == (commit.next_link is not None), "a next link comes with run_continued, and only with it"
        taken, waking = self._take(continued=continued)
        proposals = self._found_out()
        if taken or not self._kinds.isdisjoint(_ARRANGED) or (ends and type(proposals[-1]) not in ev.TERMINAL):
            proposals = tuple(arrange(proposals, taken))
        _judge(row, proposals)  # nothing is written before this line, everything after it
        gone = [*commit.ack, *(() if ends else (item.id for item in taken))]
        if gone:
            rows.drop_messages(row.id, gone)
        time = self._now if commit.time is None else commit.time
        appending = Appending(rows, row, worker=self._worker, now=time)
        for write in commit.streams:
            self._write(write)
        for proposal in proposals:
            appending.add(self._resolve(proposal))
        for ref in () if ends else commit.cancel_tasks:
            self._cancel(appending, ref)
        for ref in commit.unwatch:
            rows.drop_watch(row.id, ref)
        if not ends:
            answered = {item.ref for item in taken if item.kind == "child"} if commit.watch else ()
            for watch in commit.watch:
                # a worker before this one watched too, and its answer came with this commit (R3)
                if watch.ref not in answered:
                    self._watch(watch)
        if appending.events:
            rows.append(row.id, commit.link, appending.events)
        next_events: Sequence[ev.Recorded] = ()
        if commit.next_link is not None:
            self._hand_back(commit)
            next_events = next_link(rows, commit.next_link, row, worker=self._worker, now=self._now)
        elif ends:
            self._touched.update(end(rows, row, appending.events[-1].event, now=self._now))
        if commit.release and row.owner is not None:
            row.owner = None  # when it is due is computed here and now, never taken over from before (R17)
            row.wake_at = self._now if continued or rows.inbox_waits(row.id) else rows.next_wait(row.id)
        if row.owner is None or row.link != commit.link:
            rows.update_run(row, epoch=commit.epoch, seq=commit.seq)
        elif appending.events:
            rows.advance_run(row, seq=commit.seq)
        return Committed(
            events=tuple(appending.events),
            seq=row.seq,
            next_events=tuple(next_events),
            waking=tuple(waking),
            ended_watches=tuple(self._touched),
            answered=tuple(self._answered),
            wrote=WriteStream in self._kinds,
            cancelling=tuple(self._cancelling),
        )

    def _found_out(self) -> tuple[Proposal, ...]:
        """The proposals, and instead of an end that is in doubt the one that a transaction has recorded."""
        commit = self._commit
        if not commit.in_doubt:
            return commit.proposals
        done = {event.ref: event for event in self._rows.unlogged(commit.run, commit.link)}
        return tuple(
            done.get(proposal.ref, proposal) if type(proposal) in (ev.StepFailed, ev.StepCancelled) else proposal
            for proposal in commit.proposals
        )

    def _take(self, *, continued: bool) -> tuple[list[InboxItem], list[int]]:
        """What this commit takes from the inbox, and the waking messages that stay in it."""
        commit, run = self._commit, self._row.id
        taken: list[InboxItem] = []
        waking: list[int] = []
        if not commit.take and self._kinds.isdisjoint(_TAKES):
            return taken, waking
        named = self._rows.named_hooks(run) if continued else {}
        for item in self._rows.inbox(run):
            if item.kind == "wake":
                if item.id not in commit.ack and not self._ends:
                    waking.append(item.id)
            elif continued and (item.kind == "cancel" or (item.token_hash in named and item.ref not in self._disposed)):
                continue  # it goes on to the next link (R8)
            elif self._ends or not item.held:
                taken.append(item)
        return taken, waking

    def _hand_back(self, commit: RunCommit) -> None:
        """What the ending link took in and its body never received waits for the next one, in its old place (rule 7)."""
        if commit.unheard_cancel:
            self._rows.add_message(self._row.id, InboxItem(id=0, kind="cancel", accepted=self._now, link=commit.link))
        named = self._rows.named_hooks(self._row.id)
        for token_hash, received in commit.undelivered:
            if token_hash in named:
                item = InboxItem(
                    id=0,
                    kind="payload",
                    # before what was accepted in the same moment and still waits: its new id says nothing of its place
                    accepted=math.nextafter(received.accepted, 0.0),
                    link=commit.link,
                    ref=received.ref,
                    token_hash=token_hash,
                    payload=received.payload,
                )
                self._rows.add_message(self._row.id, item)

    # --- proposals that become events ---

    def _resolve(self, proposal: Proposal) -> Event:
        match proposal:
            case ev.HookCreated():
                return self._open(proposal)
            case SpawnRun():
                return self._spawn(proposal)
            case SendPayload():
                return self._send(proposal)
            case RequestCancel():
                return self._request_cancel(proposal)
            case Respond():
                return self._respond(proposal)
            case WriteStream(ref=ref, digest=digest, stream=stream, piece=piece):
                self._write(Written(stream, ref, (piece,)))
                return ev.CallCompleted(ref=ref, name="write", digest=digest)
            case ev.HookDiscarded(payload=payload):
                if payload.request is not None:
                    self._answered.append(payload.request.id)
                return proposal
            case ev.HookReceived() if self._commit.judge is not None:
                invalid = self._commit.judge(proposal.ref, proposal.payload)
                return msgspec.structs.replace(proposal, fits=not invalid, invalid=invalid)
            case _:
                return proposal

    def _open(self, created: ev.HookCreated) -> ev.HookCreated | ev.HookConflict:
        row = self._row
        holder = self._rows.hook(created.token_hash)
        if holder is None:
            return created
        if holder.run == row.id and holder.ref == 0:  # the chain holds it for us; its payloads come with the next take
            self._rows.readdress(row.id, created.token_hash, link=row.link, ref=created.ref)
            self._touched.add(row.id)
            return created
        return ev.HookConflict(ref=created.ref, token_hash=created.token_hash, run_id=holder.run)

    def _spawn(self, spawn: SpawnRun) -> ev.ChildStarted:
        new, row = spawn.new, self._row
        existing = self._rows.run(new.id)
        if existing is None:
            parent = Parent(row.id, row.link, spawn.ref)
            add_run(self._rows, new, parent=parent, root=row.root, worker=None, now=self._now)
        return ev.ChildStarted(
            ref=spawn.ref,
            run_id=new.id,
            workflow=new.workflow,
            digest=new.input_digest,
            input=new.input,
            conflict=existing is not None and not same(existing, new),
        )

    def _send(self, send: SendPayload) -> ev.CallCompleted | ev.CallFailed:
        row, name = self._row, "resume_hook"
        held = self._rows.hook(send.token_hash)
        if held is not None and held.run == row.id and (self._ends or held.ref in self._disposed):
            return ev.CallFailed(ref=send.ref, name=name, digest=send.digest, reason="ended")
        key = f"{row.id}/{row.link}/{send.ref}"
        message = Message(kind="payload", token_hash=send.token_hash, payload=send.payload, key=key)
        answer = deliver(self._rows, message, now=self._now)
        if isinstance(answer, Refused):
            return ev.CallFailed(ref=send.ref, name=name, digest=send.digest, reason=answer.reason)
        self._touched.add(answer.run)
        return ev.CallCompleted(ref=send.ref, name=name, digest=send.digest)

    def _request_cancel(self, request: RequestCancel) -> ev.CallCompleted | ev.CallFailed:
        ref, name, digest = request.ref, "cancel", request.digest
        if request.target == self._row.id and self._ends:
            return ev.CallCompleted(ref=ref, name=name, digest=digest, result=_FALSE)
        answer = deliver(self._rows, Message(kind="cancel", run=request.target), now=self._now)
        if isinstance(answer, Accepted):
            self._touched.add(answer.run)
            return ev.CallCompleted(ref=ref, name=name, digest=digest, result=_TRUE)
        if answer.reason == "ended":
            return ev.CallCompleted(ref=ref, name=name, digest=digest, result=_FALSE)
        return ev.CallFailed(ref=ref, name=name, digest=digest, reason=answer.reason)

    def _respond(self, respond: Respond) -> ev.CallCompleted:
        first = self._rows.answer_request(respond.request, encode(respond.answer))
        self._answered.append(respond.request)
        return ev.CallCompleted(
            ref=respond.ref, name="respond", digest=respond.digest, result=_TRUE if first else _FALSE
        )

    def _write(self, write: StreamWrite) -> None:
        rows, run, link = self._rows, self._row.id, self._commit.link
        if isinstance(write, Written):
            rows.write_stream(run, link, write.ref, write.stream, write.pieces, time=self._now)
        else:
            rows.void_stream(run, link, write.ref, time=self._now)

    def _cancel(self, appending: Appending, ref: int) -> None:
        task = self._rows.task(self._row.id, self._commit.link, ref)
        if task is None:
            return  # how it ended has come in with this commit
        ended = cancel_task(self._rows, task)
        if ended is not None:
            appending.add(ended)
        elif task.owner is not None:
            self._cancelling.append(task.owner)

    def _watch(self, watch: Watch) -> None:
        """Register, then check (R36)."""
        rows, row = self._rows, self._row
        if any(item.kind == "child" and item.ref == watch.ref for item in rows.inbox(row.id)):
            return  # a worker before this one watched too, and the answer is there
        watcher = Watcher(row.id, row.link, watch.ref)
        target = rows.run(watch.target)
        if target is not None and not target.status.ended:
            rows.put_watch(watch.target, watcher)
            return
        last = None if target is None else rows.event_at(target.id, target.link, target.seq)
        tell(rows, watcher, watch.target, last, now=self._now)
        self._touched.add(row.id)


def _judge(row: RunRow, proposals: Sequence[Proposal]) -> None:
    """Each proposal may happen where it stands: an entry is refused before it has written anything."""
    status = row.status
    for proposal in proposals:
        kind: type[Proposal] = type(proposal)
        after = RUN_TRANSITIONS[status].get(cast("type[Event]", _BECOMES.get(kind, kind)))
        assert after is not None, f"run {row.id}: {kind.__name__} may not happen while it is {status}"
        status = after
