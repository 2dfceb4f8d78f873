"""What must hold of everything that is kept about a run; each broken invariant becomes one line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from outlive.model import events as ev
from outlive.model.events import Recorded
from outlive.model.ids import WorkerId
from outlive.model.inbox import InboxItem
from outlive.model.records import REF_TRANSITIONS, RefStatus, RunStatus, WaitRecord, next_status
from outlive.model.rows import HeldHook, RunRow, TaskRow, Watcher


class Kept(Struct, frozen=True, kw_only=True):
    """All that a store keeps about one run. ``logs``: of every link, the first first."""

    row: RunRow
    logs: Sequence[Sequence[Recorded]]
    waits: Sequence[WaitRecord] = ()
    hooks: Sequence[HeldHook] = ()
    watches: Sequence[Watcher] = ()
    inbox: Sequence[InboxItem] = ()
    tasks: Sequence[TaskRow] = ()


def faults(kept: Kept, *, workers: Collection[WorkerId]) -> Iterator[str]:
    """What is wrong with one run."""
    row = kept.row
    for fault in (*_of_logs(kept), *_of_row(kept, workers), *_of_waits(kept), *_of_tasks(kept, workers)):
        yield f"run {row.id}: {fault}"


def _of_logs(kept: Kept) -> Iterator[str]:
    row = kept.row
    if len(kept.logs) != row.link:
        yield f"it is in link {row.link}, but {len(kept.logs)} links have a log"
    status, time, epoch = RunStatus.PENDING, 0.0, 0
    for number, log in enumerate(kept.logs, start=1):
        yield from (f"link {number}: {fault}" for fault in log_faults(log, before=status))
        for recorded in log:
            if recorded.time < time or recorded.epoch < epoch:
                yield f"link {number}: time or epoch goes back at event {recorded.seq}"
            time, epoch = max(time, recorded.time), max(epoch, recorded.epoch)
        status = final_status(log, before=status)
        if number < row.link and (not log or type(log[-1].event) is not ev.RunContinued):
            yield f"link {number}: another link follows, but it does not end with run_continued"
    if kept.logs and len(kept.logs[-1]) != row.seq:
        yield f"its row counts {row.seq} events, its log {len(kept.logs[-1])}"
    if status is not row.status:
        yield f"its row says {row.status}, its log {status}"
    if kept.logs and row.time < time:
        yield "its row's time is before its last event"
    if row.epoch < epoch:
        yield f"an event carries epoch {epoch}, its row {row.epoch}"


def log_faults(log: Sequence[Recorded], *, before: RunStatus = RunStatus.PENDING) -> Iterator[str]:
    """What is wrong with the log of one link, whose run had the status ``before``."""
    if not log or type(log[0].event) is not ev.RunCreated:
        yield "the first event is not run_created"
    status = before
    refs: dict[int, RefStatus] = {}
    for place, recorded in enumerate(log, start=1):
        event, kind = recorded.event, ev.kind_of(recorded.event)
        if recorded.seq != place:
            yield f"event {recorded.seq} stands in place {place}"
        if type(event) in ev.TERMINAL and place != len(log):
            yield f"event {recorded.seq} ({kind}) ends the link, but {len(log) - place} follow"
        if type(event) is ev.RunCreated:
            if place != 1:
                yield f"event {recorded.seq}: a second run_created"
            continue
        if type(event) is ev.RunStarted and status is RunStatus.RUNNING and place == 2 and before is RunStatus.RUNNING:
            continue  # the next link of a running chain
        after = next_status(status, event)
        if after is None:
            yield f"event {recorded.seq}: {kind} while {status}"
        else:
            status = after
        if event.ref:
            was = refs.get(event.ref, RefStatus.UNSEEN)
            moved = REF_TRANSITIONS[was].get(type(event))
            if moved is None:
                yield f"event {recorded.seq}: {kind} for ref {event.ref}, which is {was}"
            else:
                refs[event.ref] = moved


def final_status(log: Sequence[Recorded], *, before: RunStatus = RunStatus.PENDING) -> RunStatus:
    status = before
    for recorded in log:
        status = next_status(status, recorded.event) or status
    return status


def _of_row(kept: Kept, workers: Collection[WorkerId]) -> Iterator[str]:
    row = kept.row
    if row.owner is not None:
        if row.status is not RunStatus.RUNNING:
            yield f"it is {row.status}, but owned by {row.owner}"
        if row.owner not in workers:
            yield f"its owner {row.owner} is unknown; nobody will free it"
        if row.wake_at is not None:
            yield "it is owned and due at once"
    if row.status.ended != (row.ended_at is not None):
        yield f"it is {row.status}, but its end is {row.ended_at}"
    if row.status.ended:
        for name, rows in (
            ("waits", kept.waits),
            ("hooks", kept.hooks),
            ("watches", kept.watches),
            ("messages", kept.inbox),
        ):
            if rows:
                yield f"it has ended and still has {len(rows)} {name}"
        if row.wake_at is not None:
            yield "it has ended and is still due"
    if row.status is RunStatus.PENDING and row.wake_at is None:
        yield "it was never started and is never due"
    if row.status is RunStatus.RUNNING and row.owner is None and row.wake_at is None:
        if kept.waits:
            yield "it sleeps, but is never due"
        elif any(not item.held for item in kept.inbox):
            yield "messages wait for it, but it is never due"
        elif not kept.hooks and not kept.watches and all(task.void for task in kept.tasks):
            yield "it is stranded: nothing can wake it"


def _of_waits(kept: Kept) -> Iterator[str]:
    armed: dict[int, float] = {}
    for recorded in kept.logs[-1] if kept.logs else ():
        event = recorded.event
        match event:
            case ev.WaitCreated(ref=ref, due=due):
                armed[ref] = due
            case ev.StepRetrying(ref=ref, at=at):
                armed[ref] = at
            case ev.StepScheduled(ref=ref):
                armed.pop(ref, None)
            case _:
                if type(event) in ev.ENDS_REF:
                    armed.pop(event.ref, None)
    rows = {wait.ref: wait.due for wait in kept.waits}
    if kept.row.status.ended:
        return
    for ref in sorted(armed.keys() | rows.keys()):
        if armed.get(ref) != rows.get(ref):
            yield f"the wait of ref {ref} is due at {armed.get(ref)} by its log, at {rows.get(ref)} by its row"


def _of_tasks(kept: Kept, workers: Collection[WorkerId]) -> Iterator[str]:
    scheduled: dict[int, int] = {}
    for recorded in kept.logs[-1] if kept.logs and not kept.row.status.ended else ():
        event = recorded.event
        if type(event) is ev.StepScheduled:
            scheduled[event.ref] = event.attempt
        elif type(event) in ev.ENDS_REF or type(event) is ev.StepRetrying:
            scheduled.pop(event.ref, None)
    there = {task.ref: task.call.attempt for task in kept.tasks if not task.void}
    for item in kept.inbox:
        if item.ending is not None:
            if item.ref in there:
                yield f"the step of ref {item.ref} has ended, and is still in its queue"
            there[item.ref] = item.ending.attempt
    for ref in sorted(scheduled.keys() | there.keys()):
        if scheduled.get(ref) != there.get(ref):
            yield f"ref {ref}: attempt {scheduled.get(ref)} is scheduled by its log, {there.get(ref)} by its queue"
    for task in kept.tasks:
        if task.owner is not None and task.owner not in workers:
            yield f"the step of ref {task.ref} is held by {task.owner}, who is unknown; nobody will free it"


def unreadable(run: str, error: Exception) -> str:
    """The line for a run of which something can't be read."""
    return f"run {run}: something that is kept of it can't be read: {error}"


def stray(kind: str, run: str) -> str:
    """The line for a row whose run is gone."""
    return f"run {run}: it does not exist, but has {kind}"
