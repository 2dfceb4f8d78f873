"""What reaches a run from outside: messages, and news of the runs it watches."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.entries import Accepted, Message, Refused
from outlive.model.events import Event
from outlive.model.ids import RunId
from outlive.model.inbox import EndStatus, InboxItem
from outlive.model.records import RunStatus
from outlive.model.rows import HeldHook, Known, Rows, RunRow, Watcher


def deliver(rows: Rows, message: Message, *, now: float) -> Accepted | Refused:
    """Accept a message for the run that it names, or that holds its token."""
    held: HeldHook | None = None
    if message.kind == "payload":
        assert message.token_hash is not None and message.payload is not None, "a payload goes to a token"
        held = rows.hook(message.token_hash)
        if held is None:
            known = rows.known_by_token(message.token_hash, message.key) if message.key else None
            if known is None and rows.ended_hook(message.token_hash):
                return Refused("ended")
            return _again(rows, known)
        if message.webhook and held.webhook is None:
            return Refused("not_found")
        run = held.run
    else:
        assert message.run is not None, "a request names its run"
        run = message.run
    if message.key and (known := rows.known(run, message.key)) is not None:
        return _again(rows, known)
    row = rows.run(run)
    if row is None:
        return Refused("not_found", run)
    if row.status.ended:
        return Refused("ended", run)
    if message.token_hash is not None and rows.pending(run, message.token_hash) >= message.limit:
        return Refused("full", run)
    link, ref = (held.link, held.ref) if held is not None else (row.link, 0)
    item = InboxItem(
        id=0,
        kind=message.kind,
        accepted=now,
        link=link,
        ref=ref,
        token_hash=message.token_hash,
        payload=message.payload,
    )
    rows.add_message(run, item)
    if message.key:
        rows.remember(run, message.key, link=link, token_hash=message.token_hash, time=now, reply=message.reply)
    request = None if message.payload is None else message.payload.request
    if request is not None and request.manual:
        rows.open_request(run, request.id, time=now)
    if message.kind == "wake" and row.status is RunStatus.PARKED:
        row.fingerprint = row.tried = ""  # any worker may try again
        rows.update_run(row, epoch=row.epoch, seq=row.seq)
    elif row.owner is None and not item.held:
        rows.wake_run(run, now)
    return Accepted(run=run, link=link, owner=row.owner)


def _again(rows: Rows, known: Known | None) -> Accepted | Refused:
    """A message whose key was seen before is answered as that one was."""
    if known is None:
        return Refused("not_found")
    row = rows.run(known.run)
    owner = None if row is None else row.owner
    return Accepted(run=known.run, link=known.link, owner=owner, repeated=True, reply=known.reply)


def end(rows: Rows, row: RunRow, last: Event, *, now: float) -> list[RunId]:
    """The run has ended: nothing points to it any more, and who waited for it is told. Those are given back."""
    rows.drop_all(row.id, keep_link=None)
    rows.close_requests(row.id)
    rows.void_tasks(row.id, cancel=type(last) is ev.RunTerminated)
    watchers = rows.take_watchers(row.id)
    for watcher in watchers:
        tell(rows, watcher, row.id, last, now=now)
        rows.wake_run(watcher.run, now)
    return [watcher.run for watcher in watchers]


def tell(rows: Rows, watcher: Watcher, target: RunId, last: Event | None, *, now: float) -> None:
    """How ``target`` has ended: with its event ``last``, or by never having been there."""
    status, outcome = _outcome(last)
    message = InboxItem(
        id=0,
        kind="child",
        accepted=now,
        link=watcher.link,
        ref=watcher.ref,
        run_id=target,
        status=status,
        outcome=outcome,
    )
    rows.add_message(watcher.run, message)


def _outcome(last: Event | None) -> tuple[EndStatus, Raw]:
    match last:
        case ev.RunCompleted(result=result):
            return "completed", result
        case ev.RunFailed(error=error):
            return "failed", error
        case ev.RunCancelled():
            return "cancelled", ev.NOTHING
        case ev.RunTerminated(reason=reason):
            return "terminated", Raw(msgspec.json.encode(reason))
        case None:
            return "not_found", ev.NOTHING
        case _:
            raise AssertionError(f"{ev.kind_of(last)} does not end a run")
