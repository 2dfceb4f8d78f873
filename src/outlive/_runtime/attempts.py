"""An attempt: one try of a step, how it may end, and what it may write meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from msgspec import Raw, Struct

from outlive._codec import Codec
from outlive._core.authoring import Step
from outlive._core.context import StepMetadata
from outlive._core.streams import PROGRESS_EVERY
from outlive._runtime.streaming import OVER
from outlive._runtime.threads import Job
from outlive.errors import UsageError
from outlive.model.commands import CallStep
from outlive.model.ids import RunId, StepId, step_id
from outlive.model.streams import Piece
from outlive.model.webhooks import Answer
from outlive.stores.protocol import Fence

if TYPE_CHECKING:
    from outlive._runtime.executor import Executor
    from outlive._runtime.lease import Lease
    from outlive._runtime.streaming import Streams

Kind: TypeAlias = Literal["async", "thread", "process"]
"""How a step is run: on the loop, in a thread, in a process. Of each there is room for so many."""


def kind_of(step: Step[..., Any]) -> Kind:
    if step.step_options.executor == "process":
        return "process"
    return "async" if step.is_async else "thread"


class Returned(Struct, frozen=True):
    result: Raw


class Raised(Struct, frozen=True):
    error: BaseException
    encoded: Raw
    fatal: bool
    retry_after: float | None = None
    overlapping: bool = False
    """The attempt was given up and may still be running."""


class Stopped(Struct, frozen=True):
    """It was cancelled and has ended; or, ``abandoned``, it has not."""

    abandoned: bool = False


Ending: TypeAlias = Returned | Raised | Stopped


class Writes(Protocol):
    """The run of an attempt, as far as that may write there."""

    @property
    def lease(self) -> Lease:
        """Under which it was taken: an attempt begins only while that stands."""
        ...

    def counts(self, attempt: Attempt) -> bool:
        """Whether its result would be accepted."""
        ...

    @property
    def streams(self) -> Streams: ...

    @property
    def fence(self) -> Fence | None:
        """For what it writes elsewhere; None: its worker has lost it."""
        ...

    async def respond(self, request: str, answer: Answer) -> bool: ...


class Attempt:
    """One try of a step, in this life of its run. A result is accepted from no other object (R11)."""

    __slots__ = (
        "began",
        "call",
        "cancelled",
        "committing",
        "coroutine",
        "ended",
        "executor",
        "grace",
        "job",
        "kind",
        "link",
        "number",
        "on_end",
        "overlapping",
        "progressed",
        "recorded",
        "run",
        "started",
        "step",
        "task",
        "timed_out",
        "timer",
        "writes",
    )

    def __init__(
        self,
        call: CallStep,
        *,
        writes: Writes,
        run: RunId,
        link: int,
        number: int,
        overlapping: bool,
        on_end: Callable[[Attempt, Ending], None],
    ) -> None:
        self.call: CallStep = call
        self.run: RunId = run
        self.link: int = link
        self.number: int = number
        self.overlapping: bool = overlapping
        self.on_end: Callable[[Attempt, Ending], None] = on_end
        self.writes: Writes = writes
        self.executor: Executor | None = None
        self.progressed: float = 0.0
        """When it last said how far it is."""
        self.step: Step[..., Any] | None = None
        self.kind: Kind = "async"
        self.began: float = 0.0
        self.started: float = 0.0
        """The same, of a blocking step once its thread has taken it up."""
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.task: asyncio.Task[Any] | None = None
        self.job: Job | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.cancelled: bool = False
        self.timed_out: bool = False
        self.ended: bool = False
        self.committing: bool = False
        """Its transaction may be committed any moment."""
        self.recorded: bool = False

    @property
    def running(self) -> bool:
        """Began, and neither ended nor was given up."""
        return self.started != 0.0 and not self.ended

    @property
    def step_id(self) -> StepId:
        """The idempotency key of its step."""
        return step_id(self.run, self.link, self.call.ref, self.call.name)

    # --- what it writes (streams.Sink) ---

    @property
    def codec(self) -> Codec:
        assert self.executor is not None, "an attempt that runs was started"
        return self.executor.codec

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self.executor is not None, "an attempt that runs was started"
        return self.executor.loop

    async def write(self, stream: str, piece: Piece) -> None:
        if not self.writes.counts(self):
            raise UsageError(OVER)
        await self.writes.streams.write(self.call.ref, stream, piece)

    async def flush(self) -> None:
        await self.writes.streams.flush()

    async def respond(self, request: str, answer: Answer) -> bool:
        return await self.writes.respond(request, answer)

    def progress_due(self) -> bool:
        now = self.loop.time()
        if now < self.progressed + PROGRESS_EVERY:
            return False
        self.progressed = now
        return True

    def metadata(self) -> StepMetadata:
        """What the step can ask for; made when it asks."""
        return StepMetadata(
            step_id=self.step_id,
            name=self.call.name,
            run_id=self.run,
            attempt=self.number,
            started_at=datetime.fromtimestamp(self.began, UTC),
            overlapping=self.overlapping,
            is_cancelled=lambda: self.cancelled or self.timed_out,
        )
