"""What goes into a commit: the facts an owner has found, and the requests of everybody else.

A batch is only a carrier of entries: each is done whole, or not at all, and has an outcome of its own (R30).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Raw, Struct

from outlive.model.events import Event, HookReceived, Parent, Payload, Recorded, StepEnding, StepScheduled
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.steps import DEFAULT_QUEUE
from outlive.model.streams import Piece, StreamWrite
from outlive.model.webhooks import Answer

# --- entries ---------------------------------------------------------------------------------------------------------


class NewRun(Struct, frozen=True, kw_only=True):
    """Create a run, unless one with this id is there. With ``claim`` it is started and owned by the committing worker at once (R34)."""

    id: RunId
    workflow: str
    input: Raw
    input_digest: str
    seed: str
    engine: int
    python: str
    hash_seed: str
    tags: tuple[str, ...] = ()
    parent: Parent | None = None
    root: RunId | None = None
    """None: the run itself."""
    claim: bool = False
    queue: str = DEFAULT_QUEUE
    """Only workers that serve it take the run."""


class SpawnRun(Struct, frozen=True, gc=False):
    """A proposal that becomes ``ChildStarted``: creates ``new`` in the same transaction."""

    ref: int
    new: NewRun


class Watch(Struct, frozen=True, gc=False):
    """Tell this run, as ``ChildCompleted`` on ``ref``, when ``target`` ends; at once if it has."""

    ref: int
    target: RunId


class SendPayload(Struct, frozen=True, gc=False):
    """A proposal that becomes ``CallCompleted`` or ``CallFailed``: accepts a payload for another run's hook in the same transaction."""

    ref: int
    digest: str
    token_hash: TokenHash
    payload: Payload


class RequestCancel(Struct, frozen=True, gc=False):
    """A proposal that becomes ``CallCompleted`` or ``CallFailed``: asks another run to end, in the same transaction."""

    ref: int
    digest: str
    target: RunId


class Respond(Struct, frozen=True, gc=False):
    """A proposal that becomes ``CallCompleted``, with whether it was the first answer, which is the one that the caller gets."""

    ref: int
    digest: str
    request: str
    answer: Answer


class WriteStream(Struct, frozen=True, gc=False):
    """A proposal that becomes ``CallCompleted``: the body writes to a stream in the same transaction."""

    ref: int
    digest: str
    stream: str
    piece: Piece


Proposal: TypeAlias = Event | SpawnRun | SendPayload | RequestCancel | Respond | WriteStream
"""An event, or what the store turns into one. ``HookCreated`` becomes ``HookConflict`` if the token is held."""


Judge: TypeAlias = Callable[[int, Payload], str]
"""Why a payload does not fit the hook with that ref; empty if it does. Called in the transaction, on whatever thread; never raises."""


class RunCommit(Struct, frozen=True, kw_only=True):
    """The owner of a run appends to its log."""

    run: RunId
    link: int
    epoch: int
    seq: int
    """Events that the owner knows; the first one appended is the next."""
    proposals: tuple[Proposal, ...] = ()
    watch: tuple[Watch, ...] = ()
    unwatch: tuple[int, ...] = ()
    take: bool = False
    """Take in the run's inbox (R15). Waking messages stay until they are acknowledged."""
    judge: Judge | None = None
    """Finds whether payloads that are taken in fit their hooks."""
    ack: tuple[int, ...] = ()
    """Waking messages whose effect is among the proposals."""
    streams: tuple[StreamWrite, ...] = ()
    """What steps wrote to streams, in order; written before the proposals."""
    release: bool = False
    """Give up the claim with this commit (R17)."""
    cancel_tasks: tuple[int, ...] = ()
    """Steps in queues that should end. What nobody has begun ends in this commit; it takes in the inbox, where others may have ended."""
    in_doubt: tuple[int, ...] = ()
    """Steps of which the proposals say that they failed or were cancelled, and a transaction may have recorded that they are done."""
    undelivered: tuple[tuple[TokenHash, HookReceived], ...] = ()
    """With ``RunContinued``: payloads taken in for tokens that users chose and never received by the body; the next link gets them."""
    unheard_cancel: bool = False
    """With ``RunContinued``: a request to cancel was taken in when the body was done; the next link gets it."""
    time: float | None = None
    """Log time of these events, if the body has been shown it already; else the store's clock gives it."""
    next_link: NewRun | None = None
    """With ``RunContinued``: the seed and versions of the link that follows; its id is the run's."""


class Message(Struct, frozen=True, kw_only=True):
    """A request from outside the run. Done once it is durable in the run's inbox."""

    kind: Literal["payload", "cancel", "wake"]
    run: RunId | None = None
    """Whom ``cancel`` and ``wake`` are for."""
    token_hash: TokenHash | None = None
    """Whom a payload is for."""
    payload: Payload | None = None
    key: str = ""
    """Deduplicates deliveries to one run: the second gets the first one's answer."""
    limit: int = 10_000
    """Payloads that may wait for one hook."""
    webhook: bool = False
    """It came to a URL, so only a webhook takes it: a hook whose token a user chose could be guessed."""
    reply: str = ""
    """Of a webhook with a ``key``: how its caller is answered, for those who come again."""


class Terminate(Struct, frozen=True, kw_only=True):
    """End a run without its body, in a commit whose size does not depend on its log (R7)."""

    run: RunId
    reason: str


class AnswerRequest(Struct, frozen=True, gc=False):
    """Answer the caller of a webhook, from outside the run: a step does."""

    request: str
    answer: Answer


class TaskKey(NamedTuple):
    """Which step of which run."""

    run: RunId
    link: int
    ref: int


class TaskCommit(Struct, frozen=True, kw_only=True):
    """The worker that holds a task says how its attempt ended, or writes to streams for it."""

    run: RunId
    link: int
    ref: int
    attempt: int
    streams: tuple[StreamWrite, ...] = ()
    ending: StepEnding | None = None


Entry: TypeAlias = NewRun | RunCommit | Message | Terminate | AnswerRequest | TaskCommit

# --- outcomes --------------------------------------------------------------------------------------------------------


class Committed(Struct, frozen=True, kw_only=True):
    """Of a ``RunCommit``: what was appended, in order, with what the inbox held and the substitutes."""

    events: tuple[Recorded, ...]
    """Of the link that the commit names."""
    seq: int
    """Of the link that goes on: after ``RunContinued``, the next one's."""
    next_events: tuple[Recorded, ...] = ()
    """After ``RunContinued``: the first events of the next link, which this worker owns with the same epoch."""
    waking: tuple[int, ...] = ()
    """Waking messages in the inbox, to be acknowledged."""
    ended_watches: tuple[RunId, ...] = ()
    """Runs whose inbox this commit wrote to."""
    answered: tuple[str, ...] = ()
    """Requests of webhooks that have their answer now, or never will."""
    wrote: bool = False
    """The body wrote to a stream."""
    cancelling: tuple[WorkerId, ...] = ()
    """Who holds tasks that should end."""


class Fenced(Struct, frozen=True):
    """Of a ``RunCommit`` or ``TaskCommit``: the claim no longer stands. Nothing was written; drop the run, or the task."""


class Rejected(Struct, frozen=True):
    """Of any entry: it can't be written, now or later. Nothing of it was."""

    reason: str


class Busy(Struct, frozen=True):
    """Of any entry: somebody else's transaction is in its way. Nothing of it was written, and later it may be."""

    reason: str


class Created(Struct, frozen=True, kw_only=True):
    """Of a ``NewRun``. ``owner`` None: it was not claimed, because nobody asked or because the worker's lease had ended."""

    id: RunId
    events: tuple[Recorded, ...] = ()
    epoch: int = 0
    owner: WorkerId | None = None


class Existing(Struct, frozen=True, kw_only=True):
    """Of a ``NewRun``: the id was taken. ``same``: by a run of the same workflow and input."""

    id: RunId
    same: bool


class Accepted(Struct, frozen=True, kw_only=True):
    """Of a ``Message``, ``Terminate`` or ``TaskCommit``: it is durable. ``owner`` is who should be told."""

    run: RunId
    link: int
    owner: WorkerId | None
    repeated: bool = False
    """A message with this key had been accepted before; nothing was added."""
    reply: str = ""
    """What that one said of how its caller is answered."""


class Answered(Struct, frozen=True, gc=False):
    """Of an ``AnswerRequest``. ``first``: this is the answer that the caller gets, or the same as that."""

    first: bool


class Refused(Struct, frozen=True):
    """Of a ``Message`` or ``Terminate``: there is no one to take it."""

    reason: Literal["not_found", "ended", "full"]
    run: RunId | None = None


Outcome: TypeAlias = Committed | Fenced | Rejected | Busy | Created | Existing | Accepted | Refused | Answered


# --- claims ----------------------------------------------------------------------------------------------------------


class Claimed(Struct, frozen=True, kw_only=True):
    """A run that this worker owns now; its log is read apart."""

    run: RunId
    link: int
    workflow: str
    epoch: int
    seq: int
    crashes: int
    root: RunId
    takeover: bool
    """Its owner before died or lost it."""
    suspect: bool = False
    """It may have killed a worker, alone (then ``crashes`` counts it) or among others: run it carefully (R31)."""


class ClaimedTask(Struct, frozen=True, kw_only=True):
    """A task that this worker holds now."""

    key: TaskKey
    call: StepScheduled
    claims: int
    """How many workers have taken it, this one included."""
    crashes: int
    """How many of them died while only this task can have done it."""
    deaths: int
    """How many of them died: it is run beside few others, at last beside none (R31)."""
    cancelling: bool
    """It is only taken to say that it has ended."""


class Claims(Struct, frozen=True, kw_only=True):
    runs: tuple[Claimed, ...]
    next_due: float | None
    """When the next run that nobody owns is due."""
    tasks: tuple[ClaimedTask, ...] = ()
    cancelling: tuple[TaskKey, ...] = ()
    """Tasks that this worker holds and that should end."""
    alone: bool = False
    """A task waits for this worker to be idle: it has to be tried alone."""
