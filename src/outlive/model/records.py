"""What is known of a run besides its log, and which event may follow in which state.

Everything that may change a status stands in these tables; stores and the audit read them, nothing else decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from outlive.model import events as ev
from outlive.model.events import Event, Parent, WaitKind
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.steps import DEFAULT_QUEUE
from outlive.model.webhooks import WebhookSettings


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TERMINATED})

_ALIVE: Final[Mapping[type[Event], RunStatus]] = {
    ev.RunTerminated: RunStatus.TERMINATED,
}
_STAYS_RUNNING: Final[Mapping[type[Event], RunStatus]] = dict.fromkeys(
    (
        ev.RunContinued,  # the next link of the chain goes on
        ev.StepScheduled,
        ev.StepStarted,
        ev.StepCompleted,
        ev.StepFailed,
        ev.StepRetrying,
        ev.StepCancelled,
        ev.WaitCreated,
        ev.WaitCompleted,
        ev.WaitCancelled,
        ev.HookCreated,
        ev.HookConflict,
        ev.HookReceived,
        ev.HookDiscarded,
        ev.HookDisposed,
        ev.ChildStarted,
        ev.ChildCompleted,
        ev.CallCompleted,
        ev.CallFailed,
        ev.CancelRequested,
        ev.Marker,
    ),
    RunStatus.RUNNING,
)

RUN_TRANSITIONS: Final[Mapping[RunStatus, Mapping[type[Event], RunStatus]]] = {
    RunStatus.PENDING: {
        ev.RunStarted: RunStatus.RUNNING,
        **_ALIVE,
    },
    RunStatus.RUNNING: {
        **_STAYS_RUNNING,
        **_ALIVE,
        ev.RunCompleted: RunStatus.COMPLETED,
        ev.RunFailed: RunStatus.FAILED,
        ev.RunCancelled: RunStatus.CANCELLED,
        ev.RunParked: RunStatus.PARKED,
    },
    RunStatus.PARKED: {
        ev.RunUnparked: RunStatus.RUNNING,
        # it is terminated while payloads wait, or while it is not in its log how steps in queues ended
        **dict.fromkeys({ev.HookDiscarded, *ev.ENDS_STEP}, RunStatus.PARKED),
        **_ALIVE,
    },
    RunStatus.COMPLETED: {},
    RunStatus.FAILED: {},
    RunStatus.CANCELLED: {},
    RunStatus.TERMINATED: {},
}


class RefStatus(StrEnum):
    """The life of one command: a step, a wait, a hook, a child or a call."""

    UNSEEN = "unseen"
    OPEN = "open"
    RETRYING = "retrying"
    ENDED = "ended"


REF_TRANSITIONS: Final[Mapping[RefStatus, Mapping[type[Event], RefStatus]]] = {
    RefStatus.UNSEEN: {
        ev.StepScheduled: RefStatus.OPEN,
        ev.StepStarted: RefStatus.OPEN,
        ev.StepRetrying: RefStatus.RETRYING,
        ev.StepCompleted: RefStatus.ENDED,  # an ordinary step is one event
        ev.StepFailed: RefStatus.ENDED,
        ev.StepCancelled: RefStatus.ENDED,
        ev.WaitCreated: RefStatus.OPEN,
        ev.WaitCompleted: RefStatus.ENDED,  # fired before it was written
        ev.HookCreated: RefStatus.OPEN,
        ev.HookConflict: RefStatus.ENDED,
        ev.ChildStarted: RefStatus.ENDED,
        ev.ChildCompleted: RefStatus.ENDED,
        ev.CallCompleted: RefStatus.ENDED,
        ev.CallFailed: RefStatus.ENDED,
        ev.HookDiscarded: RefStatus.UNSEEN,  # a token held for this link that it never opened (R8)
    },
    RefStatus.OPEN: {
        ev.StepScheduled: RefStatus.OPEN,  # the code that began it knew no queue
        ev.StepStarted: RefStatus.OPEN,  # the worker of the attempt before died
        ev.StepRetrying: RefStatus.RETRYING,
        ev.StepCompleted: RefStatus.ENDED,
        ev.StepFailed: RefStatus.ENDED,
        ev.StepCancelled: RefStatus.ENDED,
        ev.WaitCompleted: RefStatus.ENDED,
        ev.WaitCancelled: RefStatus.ENDED,
        ev.HookReceived: RefStatus.OPEN,
        ev.HookDiscarded: RefStatus.OPEN,
        ev.HookDisposed: RefStatus.ENDED,
    },
    RefStatus.RETRYING: {
        ev.StepScheduled: RefStatus.OPEN,
        ev.StepStarted: RefStatus.OPEN,
        ev.StepRetrying: RefStatus.RETRYING,
        ev.StepCompleted: RefStatus.ENDED,
        ev.StepFailed: RefStatus.ENDED,
        ev.StepCancelled: RefStatus.ENDED,
    },
    RefStatus.ENDED: {
        ev.HookDiscarded: RefStatus.ENDED,  # accepted before the hook was disposed, in the same commit
    },
}


def next_status(status: RunStatus, event: Event) -> RunStatus | None:
    """The status after ``event``, or ``None`` if it may not happen in ``status``."""
    return RUN_TRANSITIONS[status].get(type(event))


_FOR_PYTHON: Final = "python "


def parked_by(event: ev.RunParked) -> str:
    """What a parked row keeps: the fingerprint that could not go on, or the only Python that may try again."""
    return _FOR_PYTHON + event.python if event.python else event.fingerprint


def may_try(fingerprint: str, *, parked: str, tried: str) -> bool:
    """Whether code with ``fingerprint``, which begins with its Python and a dash, may take up a parked row (R23, R32)."""
    if fingerprint in tried.split("\n"):
        return False
    return not parked.startswith(_FOR_PYTHON) or parked == _FOR_PYTHON + fingerprint.partition("-")[0]


class RunRecord(Struct, frozen=True, kw_only=True):
    """The hot row of a run (of its newest link)."""

    id: RunId
    link: int
    workflow: str
    status: RunStatus
    seq: int
    """Events in the log of this link."""
    time: float
    """Log time: of its last event."""
    epoch: int
    owner: WorkerId | None
    wake_at: float | None
    """When it is due; None while it is owned, ended or waits for a message only."""
    crashes: int
    created_at: float
    ended_at: float | None
    root: RunId
    parent: Parent | None
    tags: tuple[str, ...]
    input_digest: str
    reason: str
    """Why it is parked or was terminated."""
    fingerprint: str
    """Of the code that could not go on, while it is parked; or ``python 3.11``, if only that may try again."""
    queue: str = DEFAULT_QUEUE
    """Only workers that serve it take the run."""


class WaitRecord(Struct, frozen=True, gc=False):
    run: RunId
    link: int
    ref: int
    kind: WaitKind
    due: float


class TaskRecord(Struct, frozen=True, kw_only=True):
    """An attempt of a step in a queue."""

    run: RunId
    link: int
    ref: int
    name: str
    queue: str
    priority: int
    attempt: int
    scheduled_at: float
    owner: WorkerId | None
    """Who runs it; None: it waits."""
    crashes: int
    """How many workers died that had it, and nothing else that can have done it."""
    deaths: int
    """How many workers died that had it."""
    cancelling: bool
    void: bool


class QueueRecord(Struct, frozen=True, kw_only=True):
    """A queue that has held a step, or has a limit."""

    name: str
    waiting: int
    running: int
    limit: int | None
    """How many steps may run at once, across all workers."""
    oldest: float | None
    """Since when the first of those that wait has waited."""
    served: int
    """How many living workers serve it."""


class ServiceRecord(Struct, frozen=True, kw_only=True):
    """What a living worker works on."""

    worker: WorkerId
    queues: tuple[str, ...] | None
    """None: all."""
    workflows: tuple[str, ...]
    steps: tuple[str, ...]


class KeyRecord(Struct, frozen=True, gc=False):
    """A key of the HTTP API; ``hash`` is the hex SHA-256 of what its owner holds."""

    id: str
    hash: str
    name: str
    role: str
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None


class HookRecord(Struct, frozen=True, gc=False):
    """An open hook. ``ref`` 0: the token is held for the next link, which has not opened it yet (R8)."""

    token_hash: TokenHash
    run: RunId
    link: int
    ref: int
    token: str
    schema: str
    created_at: float
    pending: int
    """Payloads accepted, not yet in the log."""
    webhook: WebhookSettings | None = None
