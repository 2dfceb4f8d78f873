"""Records as rows of a database and back; the columns are the same in all of them, in this order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from outlive.model.events import NOTHING, Parent, Payload, Recorded, StepEnding, StepScheduled, encode_event
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.inbox import EndStatus, InboxItem, MessageKind
from outlive.model.records import HookRecord, RunRecord, RunStatus, ServiceRecord
from outlive.model.rows import RunRow, TaskRow
from outlive.model.webhooks import decode_settings

_log: Final = logging.getLogger("outlive.stores")
_parents: Final = msgspec.json.Decoder(Parent)
_tags: Final = msgspec.json.Decoder(tuple[str, ...])


class _Body(Struct, frozen=True, omit_defaults=True):
    """What a message holds beside its columns."""

    payload: Payload | None = None
    run_id: RunId | None = None
    status: EndStatus = "completed"
    outcome: Raw = NOTHING
    ending: StepEnding | None = None


_bodies: Final = msgspec.json.Decoder(_Body)
_calls: Final = msgspec.json.Decoder(StepScheduled)
_names: Final = msgspec.json.Decoder(tuple[str, ...])


def run_columns(row: RunRow) -> tuple[str | float | None, ...]:
    return (
        row.id,
        row.link,
        row.workflow,
        row.status.value,
        row.seq,
        row.time,
        row.epoch,
        row.owner,
        row.wake_at,
        row.crashes,
        row.suspect,
        row.progress,
        row.takeover,
        row.root,
        row.input_digest,
        row.ended_at,
        row.reason,
        row.fingerprint,
        row.tried,
    )


def new_run_columns(
    row: RunRow, parent: Parent | None, created_at: float, tags: tuple[str, ...], queue: str
) -> tuple[str | float | None, ...]:
    made_by = None if parent is None else msgspec.json.encode(parent).decode()
    return (*run_columns(row), created_at, made_by, msgspec.json.encode(tags).decode() if tags else "[]", queue)


def event_columns(run: RunId, link: int, recorded: Recorded) -> tuple[str | float, ...]:
    return (run, link, recorded.seq, recorded.time, recorded.worker, recorded.epoch, encode_event(recorded.event))


def message_body(message: InboxItem) -> str:
    body = _Body(message.payload, message.run_id, message.status, message.outcome, message.ending)
    return msgspec.json.encode(body).decode()


def inbox_item(
    id: int, link: int, ref: int, kind: MessageKind, accepted: float, token_hash: TokenHash | None, body: str
) -> InboxItem:
    held = _bodies.decode(body)
    return InboxItem(
        id=id,
        kind=kind,
        accepted=accepted,
        link=link,
        ref=ref,
        token_hash=token_hash,
        payload=held.payload,
        run_id=held.run_id,
        status=held.status,
        outcome=held.outcome,
        ending=held.ending,
    )


def task_row(
    id: int,
    run: RunId,
    link: int,
    ref: int,
    root: RunId,
    scheduled_at: float,
    owner: WorkerId | None,
    claims: int,
    crashes: int,
    deaths: int,
    cancelling: bool,
    void: bool,
    call: str,
) -> TaskRow:
    return TaskRow(
        id=id,
        run=run,
        link=link,
        ref=ref,
        root=root,
        scheduled_at=scheduled_at,
        owner=owner,
        claims=claims,
        crashes=crashes,
        deaths=deaths,
        cancelling=bool(cancelling),
        void=bool(void),
        call=_calls.decode(call),
    )


def readable_tasks(rows: Iterable[Any]) -> Iterator[TaskRow]:
    """One that can't be read must not keep the others waiting."""
    for row in rows:
        try:
            yield task_row(*row)
        except msgspec.MsgspecError as error:
            _log.error("step %s of run %s can't be taken (%s); run `outlive doctor`", row[3], row[1], error)


def new_task(task: TaskRow) -> tuple[str, int, int, str, str, str, int, float, str]:
    """The columns of a task that nobody has taken, but for its id."""
    options = task.call.options
    call = msgspec.json.encode(task.call).decode()
    return (
        task.run,
        task.link,
        task.ref,
        task.root,
        options.queue,
        task.call.name,
        options.priority,
        task.scheduled_at,
        call,
    )


def service_columns(service: ServiceRecord) -> tuple[str, str | None, str, str]:
    queues = None if service.queues is None else msgspec.json.encode(service.queues).decode()
    workflows, steps = (msgspec.json.encode(names).decode() for names in (service.workflows, service.steps))
    return service.worker, queues, workflows, steps


def service_record(worker: WorkerId, queues: str | None, workflows: str, steps: str) -> ServiceRecord:
    return ServiceRecord(
        worker=worker,
        queues=None if queues is None else _names.decode(queues),
        workflows=_names.decode(workflows),
        steps=_names.decode(steps),
    )


def hook_record(
    token_hash: TokenHash,
    run: RunId,
    link: int,
    ref: int,
    token: str,
    schema: str,
    created_at: float,
    pending: int,
    webhook: str,
) -> HookRecord:
    settings = decode_settings(webhook) if webhook else None
    return HookRecord(token_hash, run, link, ref, token, schema, created_at, pending, settings)


def run_record(
    id: RunId,
    link: int,
    workflow: str,
    status: str,
    seq: int,
    time: float,
    epoch: int,
    owner: WorkerId | None,
    wake_at: float | None,
    crashes: int,
    created_at: float,
    ended_at: float | None,
    root: RunId,
    parent: str | None,
    tags: str,
    input_digest: str,
    reason: str,
    fingerprint: str,
    queue: str,
) -> RunRecord:
    return RunRecord(
        id=id,
        link=link,
        workflow=workflow,
        status=RunStatus(status),
        seq=seq,
        time=time,
        epoch=epoch,
        owner=owner,
        wake_at=wake_at,
        crashes=crashes,
        created_at=created_at,
        ended_at=ended_at,
        root=root,
        parent=None if parent is None else _parents.decode(parent),
        tags=_tags.decode(tags),
        input_digest=input_digest,
        reason=reason,
        fingerprint=fingerprint,
        queue=queue,
    )
