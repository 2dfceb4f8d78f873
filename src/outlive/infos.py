"""What is known of runs, hooks and streams, as people and programs are shown it; secrets are left out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from msgspec import Struct

from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.model.records import HookRecord, RunRecord, RunStatus
from outlive.model.steps import DEFAULT_QUEUE
from outlive.model.streams import StreamRecord
from outlive.model.webhooks import SECRET_HEADERS
from outlive.readers import StreamInfo
from outlive.views import masked


class RunEvent(Struct, frozen=True, kw_only=True):
    """An event as shown to people and programs; secrets are left out."""

    run_id: RunId
    link: int
    seq: int
    time: datetime
    kind: str
    ref: int
    worker: str
    epoch: int
    data: dict[str, Any]


class RunInfo(Struct, frozen=True, kw_only=True):
    """What is known of a run, at one moment."""

    id: RunId
    workflow: str
    status: RunStatus
    created_at: datetime
    ended_at: datetime | None
    link: int
    events: int
    """In the log of the newest link."""
    tags: tuple[str, ...]
    parent_id: RunId | None
    root_id: RunId
    wake_at: datetime | None
    """When it goes on by itself, if nobody has it in memory."""
    owner: str | None
    """The worker that has it in memory."""
    reason: str
    """Why it is parked or was terminated."""
    queue: str = DEFAULT_QUEUE
    """Only workers that serve it take the run."""
    open_hooks: int = 0
    unretrieved: tuple[str, ...] = ()
    """Exceptions of tasks that nobody awaited."""


class HookInfo(Struct, frozen=True, kw_only=True):
    """An open hook, seen from outside."""

    run_id: RunId
    ref: int
    created_at: datetime
    pending: int
    """Payloads accepted and not yet taken in by the run."""
    type_name: str


def when(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def run_info(record: RunRecord) -> RunInfo:
    return RunInfo(
        id=record.id,
        workflow=record.workflow,
        status=record.status,
        created_at=when(record.created_at),
        ended_at=when(record.ended_at) if record.ended_at is not None else None,
        link=record.link,
        events=record.seq,
        tags=record.tags,
        parent_id=record.parent.run if record.parent is not None else None,
        root_id=record.root,
        wake_at=when(record.wake_at) if record.wake_at is not None else None,
        owner=record.owner,
        reason=record.reason,
        queue=record.queue,
    )


def hook_info(record: HookRecord) -> HookInfo:
    return HookInfo(
        run_id=record.run,
        ref=record.ref,
        created_at=when(record.created_at),
        pending=record.pending,
        type_name=record.schema,
    )


def stream_info(record: StreamRecord) -> StreamInfo:
    return StreamInfo(
        name=record.name,
        length=record.length,
        closed=record.closed,
        first_at=when(record.first_at),
        last_at=when(record.last_at),
    )


def run_event(run: RunId, link: int, recorded: ev.Recorded) -> RunEvent:
    data = cast("dict[str, Any]", msgspec.json.decode(ev.encode_event(recorded.event)))
    for hidden in ("type", "ref", "seed"):
        data.pop(hidden, None)
    _mask_webhook(recorded.event, data)
    data = cast("dict[str, Any]", masked(data))
    return RunEvent(
        run_id=run,
        link=link,
        seq=recorded.seq,
        time=when(recorded.time),
        kind=ev.kind_of(recorded.event),
        ref=recorded.event.ref,
        worker=recorded.worker,
        epoch=recorded.epoch,
        data=data,
    )


def _mask_webhook(event: ev.Event, data: dict[str, Any]) -> None:
    """The secrets of a webhook, and what proves to it who its callers are."""
    if isinstance(event, ev.HookCreated) and event.webhook is not None and event.webhook.secrets:
        data["webhook"]["secrets"] = ["<secret>"] * len(event.webhook.secrets)
    if isinstance(event, ev.HookReceived | ev.HookDiscarded) and event.payload.request is not None:
        data["payload"]["request"]["headers"] = [
            [name, "<secret>" if name in SECRET_HEADERS else value] for name, value in event.payload.request.headers
        ]
