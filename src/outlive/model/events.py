"""What happened to a run: the events of its log.

An event is written as one JSON object, readable in a database client; values inside it are the codec's
own JSON, embedded as they are. A field may be added with a default, never renamed or removed: logs are for ever.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.steps import StepOptions
from outlive.model.webhooks import RequestHead, WebhookSettings

NOTHING: Final = Raw(b"null")
"""The encoded ``None``."""

WaitKind: TypeAlias = Literal["sleep", "timer", "retry"]
"""``sleep()``; what asyncio asked for (``timeout``, ``asyncio.sleep``); the pause before a step's next attempt."""


class Payload(Struct, frozen=True, omit_defaults=True, gc=False):
    """Data from outside, as it came: text where it is UTF-8, bytes (base64 in JSON) where it is not."""

    content_type: str
    text: str = ""
    data: bytes = b""
    request: RequestHead | None = None
    """Of a webhook: the request that brought it."""

    @classmethod
    def of(cls, content_type: str, raw: bytes, request: RequestHead | None = None) -> Payload:
        try:
            return cls(content_type, text=raw.decode(), request=request)
        except UnicodeDecodeError:
            return cls(content_type, data=raw, request=request)

    @property
    def raw(self) -> bytes:
        return self.data or self.text.encode()


class Parent(Struct, frozen=True, gc=False):
    """The command that started a child run."""

    run: RunId
    link: int
    ref: int


class _Event(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    ref: int = 0
    """The command this is about; 0 for the run itself."""


class RunCreated(_Event, tag="run_created", frozen=True, kw_only=True):
    """``seed`` is secret: tokens, ids and random numbers of this link derive from it."""

    workflow: str
    input: Raw
    seed: str
    engine: int
    """Version of the engine's behaviour (R23)."""
    python: str
    hash_seed: str
    """Fingerprint of the process's string hashing (R22)."""
    parent: Parent | None = None


class RunStarted(_Event, tag="run_started", frozen=True, kw_only=True):
    """The body begins, at this time."""


class RunCompleted(_Event, tag="run_completed", frozen=True, kw_only=True):
    result: Raw
    unretrieved: tuple[str, ...] = ()
    """Exceptions of tasks that nobody awaited."""


class RunFailed(_Event, tag="run_failed", frozen=True, kw_only=True):
    error: Raw
    unretrieved: tuple[str, ...] = ()


class RunCancelled(_Event, tag="run_cancelled", frozen=True, kw_only=True):
    unretrieved: tuple[str, ...] = ()


class RunContinued(_Event, tag="run_continued", frozen=True, kw_only=True):
    """Ends this link; ``input`` is that of the next one."""

    input: Raw
    unretrieved: tuple[str, ...] = ()


class RunTerminated(_Event, tag="run_terminated", frozen=True, kw_only=True):
    reason: str = ""


class RunParked(_Event, tag="run_parked", frozen=True, kw_only=True):
    """Stopped for a human. The log before it stays as it is; ``fingerprint`` names the code that could not go on."""

    reason: str
    report: str = ""
    fingerprint: str = ""
    python: str = ""
    """The only Python that may try again, where the run diverged on another than it began on (R23)."""


class RunUnparked(_Event, tag="run_unparked", frozen=True, kw_only=True):
    """Taken up again."""


class CancelRequested(_Event, tag="cancel_requested", frozen=True, kw_only=True):
    """Somebody asked for the run to be cancelled."""


class StepScheduled(_Event, tag="step_scheduled", frozen=True, kw_only=True):
    """An attempt waits in a queue for a worker that serves that. How it ends comes back through the run's inbox."""

    name: str
    digest: str
    input: Raw
    options: StepOptions
    attempt: int = 1


class StepStarted(_Event, tag="step_started", frozen=True, kw_only=True):
    name: str
    digest: str
    attempt: int = 1


class StepCompleted(_Event, tag="step_completed", frozen=True, kw_only=True):
    name: str
    digest: str
    result: Raw
    started: float
    """When the attempt began, by the worker's clock."""
    input: Raw = NOTHING
    attempt: int = 1


class StepFailed(_Event, tag="step_failed", frozen=True, kw_only=True):
    """No attempt will follow."""

    name: str
    digest: str
    error: Raw
    started: float
    input: Raw = NOTHING
    attempt: int = 1


class StepRetrying(_Event, tag="step_retrying", frozen=True, kw_only=True):
    """``attempt`` failed; the next one begins at ``at``, an absolute time."""

    name: str
    digest: str
    error: Raw
    started: float
    at: float
    attempt: int = 1


StepOutcome: TypeAlias = Literal["not_started", "ended", "abandoned", "unknown"]


class StepCancelled(_Event, tag="step_cancelled", frozen=True, kw_only=True):
    """``outcome``: the attempt never began, ended cancelled, outlived its grace, or was still running as the run ended."""

    name: str
    digest: str
    outcome: StepOutcome
    attempt: int = 1


class WaitCreated(_Event, tag="wait_created", frozen=True, kw_only=True):
    kind: WaitKind
    delay: float
    due: float


class WaitCompleted(_Event, tag="wait_completed", frozen=True, kw_only=True):
    kind: WaitKind
    delay: float
    due: float
    woken: bool = False
    """Completed by ``wake_up()`` before it was due."""


class WaitCancelled(_Event, tag="wait_cancelled", frozen=True, kw_only=True):
    """Nobody waits for it any more."""


class HookCreated(_Event, tag="hook_created", frozen=True, kw_only=True):
    token_hash: TokenHash
    token: str = ""
    """Only a token that the user chose; a generated one is derived from the seed."""
    schema: str = ""
    """Name of the type that payloads must fit, where there is one."""
    metadata: Raw = NOTHING
    webhook: WebhookSettings | None = None


class HookConflict(_Event, tag="hook_conflict", frozen=True, kw_only=True):
    """The token is held by another run."""

    token_hash: TokenHash
    run_id: RunId


class HookReceived(_Event, tag="hook_received", frozen=True, kw_only=True):
    """``fits``: what the run's owner found as it took the payload in, for ever (R20); None in logs that do not say."""

    payload: Payload
    accepted: float
    fits: bool | None = None
    invalid: str = ""
    """Why it does not fit."""


class HookDiscarded(_Event, tag="hook_discarded", frozen=True, kw_only=True):
    """Accepted, but the hook or the run was gone before it could be delivered (R18)."""

    payload: Payload
    accepted: float


class HookDisposed(_Event, tag="hook_disposed", frozen=True, kw_only=True):
    """The token is free again."""


class ChildStarted(_Event, tag="child_started", frozen=True, kw_only=True):
    run_id: RunId
    workflow: str
    digest: str
    input: Raw = NOTHING
    conflict: bool = False
    """The id belongs to a run of another workflow or input."""


class ChildCompleted(_Event, tag="child_completed", frozen=True, kw_only=True):
    """The run that this ref watches has ended; ``outcome`` is its result or its encoded exception."""

    run_id: RunId
    status: Literal["completed", "failed", "cancelled", "terminated", "not_found"]
    outcome: Raw = NOTHING


class CallCompleted(_Event, tag="call_completed", frozen=True, kw_only=True):
    """A command beyond the run's own log (``resume_hook``, ``cancel``, ``respond``, ``write``) took effect in the same commit."""

    name: str
    digest: str
    result: Raw = NOTHING


class CallFailed(_Event, tag="call_failed", frozen=True, kw_only=True):
    name: str
    digest: str
    reason: str


class Marker(_Event, tag="marker", frozen=True, kw_only=True):
    """``patched(id)`` was first reached here, under code that has the patch (R38)."""

    id: str


Event: TypeAlias = (
    RunCreated
    | RunStarted
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunContinued
    | RunTerminated
    | RunParked
    | RunUnparked
    | CancelRequested
    | StepScheduled
    | StepStarted
    | StepCompleted
    | StepFailed
    | StepRetrying
    | StepCancelled
    | WaitCreated
    | WaitCompleted
    | WaitCancelled
    | HookCreated
    | HookConflict
    | HookReceived
    | HookDiscarded
    | HookDisposed
    | ChildStarted
    | ChildCompleted
    | CallCompleted
    | CallFailed
    | Marker
)

StepEnding: TypeAlias = StepCompleted | StepFailed | StepRetrying | StepCancelled
"""How an attempt ends."""

RunOutcome: TypeAlias = RunCompleted | RunFailed | RunCancelled | RunContinued
"""What the end of a body writes."""

TERMINAL: Final = frozenset({RunCompleted, RunFailed, RunCancelled, RunContinued, RunTerminated})
"""The last event of a link is one of these."""

ACTIVATIONS: Final = frozenset(
    {
        RunStarted,
        StepCompleted,
        StepFailed,
        StepCancelled,
        WaitCompleted,
        HookCreated,
        HookReceived,
        HookConflict,
        ChildStarted,
        ChildCompleted,
        CallCompleted,
        CallFailed,
        CancelRequested,
    }
)
"""Events that the body can observe (R4). All others are echoes: matched, not delivered."""

ENDS_STEP: Final[frozenset[type[Event]]] = frozenset({StepCompleted, StepFailed, StepCancelled})
ENDS_REF: Final = ENDS_STEP | frozenset(
    {
        WaitCompleted,
        WaitCancelled,
        HookConflict,
        HookDisposed,
        ChildStarted,
        ChildCompleted,
        CallCompleted,
        CallFailed,
    }
)
"""At most one of these follows a ref (R3)."""


class Recorded(Struct, frozen=True, gc=False):
    """An event in its place in the log."""

    seq: int
    time: float
    event: Event
    worker: WorkerId = WorkerId("")
    epoch: int = 0


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> str:
    return _encoder.encode(event).decode()


def decode_event(text: str | bytes) -> Event:
    """The event in a row.

    Raises:
        msgspec.MsgspecError: The row does not hold an event of this or an older version.
    """
    return _decoder.decode(text)


def kind_of(event: Event) -> str:
    """The event's name, as in the API and in the log."""
    return str(event.__struct_config__.tag)
