"""What workflow code asks for. One activation gives a list of these; the driver carries them out."""

from __future__ import annotations

import logging
from typing import TypeAlias

from msgspec import Raw, Struct

from outlive.model.events import Payload, RunOutcome, WaitKind
from outlive.model.ids import RunId, TokenHash
from outlive.model.steps import DEFAULT_QUEUE, StepOptions
from outlive.model.streams import Piece
from outlive.model.webhooks import Answer, WebhookSettings


class CallStep(Struct, frozen=True):
    ref: int
    name: str
    digest: str
    input: Raw
    options: StepOptions
    arguments: dict[str, object] | None = None
    """The arguments themselves where they are immutable scalars, so that nobody need decode them (R34)."""


class CancelStep(Struct, frozen=True, gc=False):
    ref: int


class StartWait(Struct, frozen=True, gc=False):
    ref: int
    kind: WaitKind
    delay: float
    due: float
    """Log time of issue + delay."""


class CancelWait(Struct, frozen=True, gc=False):
    ref: int


class OpenHook(Struct, frozen=True, gc=False):
    ref: int
    token_hash: TokenHash
    token: str
    schema: str
    metadata: Raw
    webhook: WebhookSettings | None = None


class DisposeHook(Struct, frozen=True, gc=False):
    ref: int


class StartChild(Struct, frozen=True, gc=False):
    ref: int
    run_id: RunId
    workflow: str
    digest: str
    input: Raw
    tags: tuple[str, ...] = ()
    queue: str = DEFAULT_QUEUE


class WatchRun(Struct, frozen=True, gc=False):
    ref: int
    run_id: RunId


class UnwatchRun(Struct, frozen=True, gc=False):
    ref: int


class SendToHook(Struct, frozen=True, gc=False):
    ref: int
    digest: str
    token_hash: TokenHash
    payload: Payload


class CancelOther(Struct, frozen=True, gc=False):
    ref: int
    digest: str
    run_id: RunId


class SendAnswer(Struct, frozen=True, gc=False):
    """Answer the caller of a webhook."""

    ref: int
    digest: str
    request: str
    answer: Answer


class WriteChunk(Struct, frozen=True, gc=False):
    """Write to a stream of this run."""

    ref: int
    digest: str
    stream: str
    piece: Piece


class SetMarker(Struct, frozen=True, gc=False):
    id: str


class EmitLog(Struct, frozen=True):
    """A log line of the body, held back until what it tells of is durable (R19)."""

    record: logging.LogRecord


class EndRun(Struct, frozen=True):
    """The body and all its tasks are done."""

    outcome: RunOutcome


Command: TypeAlias = (
    CallStep
    | CancelStep
    | StartWait
    | CancelWait
    | OpenHook
    | DisposeHook
    | StartChild
    | WatchRun
    | UnwatchRun
    | SendToHook
    | CancelOther
    | SendAnswer
    | WriteChunk
    | SetMarker
    | EmitLog
    | EndRun
)
