"""How an event changes the records beside the log. Stores carry these out; none has rules of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

from msgspec import Struct

from outlive.model import events as ev
from outlive.model.events import Event, WaitKind
from outlive.model.ids import TokenHash
from outlive.model.webhooks import WebhookSettings


class PutWait(Struct, frozen=True, gc=False):
    ref: int
    kind: WaitKind
    due: float


class DropWait(Struct, frozen=True, gc=False):
    ref: int


class PutTask(Struct, frozen=True, gc=False):
    call: ev.StepScheduled


class PutHook(Struct, frozen=True, gc=False):
    ref: int
    token_hash: TokenHash
    token: str
    schema: str
    webhook: WebhookSettings | None


class DropHook(Struct, frozen=True, gc=False):
    ref: int


class DropWatch(Struct, frozen=True, gc=False):
    ref: int


class DropAll(Struct, frozen=True, gc=False):
    """The link has ended: its waits, hooks and watches go. ``keep_named``: tokens that users chose stay with the chain (R8)."""

    keep_named: bool = False


class CloseRequest(Struct, frozen=True, gc=False):
    """The caller of a webhook will get no answer from the run."""

    request: str


Change: TypeAlias = PutWait | DropWait | PutTask | PutHook | DropHook | DropWatch | DropAll | CloseRequest

_NONE: Final[tuple[Change, ...]] = ()


def _scheduled(event: ev.StepScheduled) -> tuple[Change, ...]:
    # the pause before it is over
    return (DropWait(event.ref), PutTask(event)) if event.attempt > 1 else (PutTask(event),)


def _retrying(event: ev.StepRetrying) -> tuple[Change, ...]:
    return (PutWait(event.ref, "retry", event.at),)


def _step_ended(event: ev.StepCompleted | ev.StepFailed | ev.StepCancelled) -> tuple[Change, ...]:
    # only a second attempt has a retry to forget
    return (DropWait(event.ref),) if event.attempt > 1 or type(event) is ev.StepCancelled else _NONE


def _wait_created(event: ev.WaitCreated) -> tuple[Change, ...]:
    return (PutWait(event.ref, event.kind, event.due),)


def _wait_ended(event: ev.WaitCompleted | ev.WaitCancelled) -> tuple[Change, ...]:
    return (DropWait(event.ref),)


def _hook_created(event: ev.HookCreated) -> tuple[Change, ...]:
    return (PutHook(event.ref, event.token_hash, event.token, event.schema, event.webhook),)


def _hook_disposed(event: ev.HookDisposed) -> tuple[Change, ...]:
    return (DropHook(event.ref),)


def _discarded(event: ev.HookDiscarded) -> tuple[Change, ...]:
    request = event.payload.request
    return _NONE if request is None or not request.manual else (CloseRequest(request.id),)


def _watched(event: ev.ChildCompleted) -> tuple[Change, ...]:
    return (DropWatch(event.ref),)


def _ended(_: Event) -> tuple[Change, ...]:
    return (DropAll(),)


def _continued(_: ev.RunContinued) -> tuple[Change, ...]:
    return (DropAll(keep_named=True),)


_CHANGES: Final[Mapping[type[Event], Callable[..., tuple[Change, ...]]]] = {
    ev.StepScheduled: _scheduled,
    ev.StepRetrying: _retrying,
    ev.StepCompleted: _step_ended,
    ev.StepFailed: _step_ended,
    ev.StepCancelled: _step_ended,
    ev.WaitCreated: _wait_created,
    ev.WaitCompleted: _wait_ended,
    ev.WaitCancelled: _wait_ended,
    ev.HookCreated: _hook_created,
    ev.HookDisposed: _hook_disposed,
    ev.HookDiscarded: _discarded,
    ev.ChildCompleted: _watched,
    ev.RunCompleted: _ended,
    ev.RunFailed: _ended,
    ev.RunCancelled: _ended,
    ev.RunTerminated: _ended,
    ev.RunContinued: _continued,
}


def changes(event: Event) -> tuple[Change, ...]:
    """What the records beside the log become through ``event``."""
    change = cast("Callable[[Event], tuple[Change, ...]] | None", _CHANGES.get(type(event)))
    return _NONE if change is None else change(event)
