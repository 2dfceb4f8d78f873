"""What a store is: rows and transactions, nothing of coroutines.

Every write is a batch of entries for :meth:`Store.commit`; each entry happens whole or not at all, in one transaction with
all that hangs on it (events, records, wake-ups, tokens, inboxes of others). The rules stand in ``model``; a store only carries them out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from msgspec import Raw, Struct

from outlive.model.entries import ClaimedTask, Claims, Entry, NewRun, Outcome
from outlive.model.events import Recorded, StepCompleted
from outlive.model.hints import Hint
from outlive.model.ids import RunId, StepId, TokenHash, WorkerId
from outlive.model.records import (
    HookRecord,
    KeyRecord,
    QueueRecord,
    RunRecord,
    RunStatus,
    ServiceRecord,
    TaskRecord,
    WaitRecord,
)
from outlive.model.streams import Chunk, StreamRecord
from outlive.model.tasks import Wanted

NO_GUESTS: Final = (
    "a transaction of yours can only hold what Outlive writes where both are in one database; use a store on PostgreSQL, in the database of "
    "your tables"
)


class Clock(Protocol):
    """Tells the time; injected, so that a test can own it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs to list, newest first."""

    status: RunStatus | None = None
    workflow: str | None = None
    tag: str | None = None
    root: RunId | None = None
    before: RunId | None = None
    """Only runs older than this one: the key of the next page."""
    limit: int = 50


class Pace(Struct, frozen=True, kw_only=True):
    """How often to ask a store for what others may have done; seconds. Workers may be told otherwise."""

    poll: float
    """For due runs, dead workers and messages."""
    look_every: float
    """Whether it has :meth:`~Store.changed`."""
    read_again: float
    """For those who wait for a run or a stream, though nothing seemed to change."""


class Fence(Struct, frozen=True):
    """Who may write for a run, and which of its lives."""

    run: RunId
    link: int
    epoch: int
    worker: WorkerId


class Store(Protocol):
    """Raises :class:`~outlive.errors.StoreUnavailable` from any call when it can't be reached or written now; nothing of that
    call has happened then, or, if the outcome of a commit is unknown, :meth:`commit` has found out by reading back.
    """

    clock: Clock
    """What decides when something is due."""
    pace: Pace
    one_clock: bool
    """That is the clock of the worker's machine. Then a commit may give the time of its events (``RunCommit.time``)."""

    async def open(self) -> None:
        """Connect, create or migrate the schema.

        Raises:
            SchemaVersion: The store was written by a newer Outlive.
        """
        ...

    async def close(self) -> None: ...

    # --- workers ---

    async def join(self, worker: WorkerId, *, lease: float) -> None:
        """Register ``worker``, alive for ``lease`` seconds from now and while it is renewed.

        Raises:
            LeaseLost: The id is in use; one names one life of a worker.
        """
        ...

    async def serve(self, service: ServiceRecord) -> None:
        """Let others see what a worker that has joined works on."""
        ...

    async def renew(self, worker: WorkerId) -> bool:
        """Extend the lease from now; False if it has ended or was taken away. A commit of the worker renews it too."""
        ...

    def renew_now(self, worker: WorkerId) -> bool:
        """:meth:`renew` from any thread but the one that writes: the heartbeat's, which must not wait for anybody else."""
        ...

    async def leave(self, worker: WorkerId) -> None:
        """Give up all its claims at once; they are due."""
        ...

    # --- writing ---

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        """Write ``entries``; one outcome for each, in order.

        A ``RunCommit`` needs a ``worker`` whose lease stands, else every one of the batch is ``Fenced``. All events of one run in one
        batch carry one time: the greater of the run's log time and the store's clock.
        """
        ...

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        """:meth:`commit` on the calling thread, if it can be done without waiting for anybody; else None, and nothing was done."""
        ...

    # --- claiming ---

    async def claim(
        self,
        worker: WorkerId,
        *,
        limit: int,
        workflows: Collection[str],
        fingerprint: str,
        suspects: int,
        root: RunId | None = None,
        queues: Collection[str] | None = None,
        tasks: Wanted | None = None,
    ) -> Claims:
        """Free the runs and tasks of dead workers, then take up to ``limit`` runs that are due and whose workflow is known here.

        A run not yet started gets its ``RunStarted``; a parked one that another ``fingerprint`` could not run gets ``RunUnparked``.
        At most ``suspects`` of them are suspected of having killed a worker (R31). With ``root``, only that run and its descendants; with ``queues``,
        only runs in one of them.
        Of ``tasks`` as many are taken as there is room for, within the limits of their queues; and any that nobody holds and that should end.

        Raises:
            LeaseLost: The lease of ``worker`` has ended, or it never joined.
        """
        ...

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        """Runs that ``worker`` owns and whose inbox isn't empty."""
        ...

    async def owned(self, worker: WorkerId) -> list[RunId]:
        """All runs that ``worker`` owns."""
        ...

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        """All tasks that ``worker`` holds."""
        ...

    def changed(self) -> bool:
        """Whether another process may have written since the last call. A hint: True when unsure."""
        ...

    def on_hint(self, told: Callable[[Hint], None]) -> None:
        """Call ``told``, on the loop, when another process says that it has changed something. Some stores have no such word."""
        ...

    # --- reading ---

    async def log(self, run: RunId, link: int, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """Events of a link with ``seq > after``, in order."""
        ...

    async def run(self, run: RunId) -> RunRecord | None: ...

    async def runs(self, where: RunFilter) -> list[RunRecord]: ...

    async def waits(self, run: RunId) -> list[WaitRecord]: ...

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        """Steps of ``run`` that wait in queues or were taken from them, by ref."""
        ...

    async def queues(self) -> list[QueueRecord]:
        """All queues, by name."""
        ...

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        """At most so many steps of ``queue`` run at once, across all workers; None: as many as workers take."""
        ...

    async def services(self) -> list[ServiceRecord]:
        """What living workers work on."""
        ...

    async def hooks(self, run: RunId) -> list[HookRecord]: ...

    async def open_hooks(self, *, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        """Of all runs, those with the greatest ids first; ``before``: run and ref of the last one of the page before."""
        ...

    async def hook(self, token_hash: TokenHash) -> HookRecord | None: ...

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        """Whether it was the token of a webhook that has ended, of a run that is still kept."""
        ...

    async def answer(self, request: str) -> str | None:
        """What the caller of a webhook gets from the run: None while that is open, empty if it never will be."""
        ...

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        """What stands in a stream from index ``start`` on, in order: void chunks are left out."""
        ...

    async def streams(self, run: RunId) -> list[StreamRecord]: ...

    async def stream(self, run: RunId, name: str) -> StreamRecord | None: ...

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        """The index at which the last ``count`` values of a stream begin."""
        ...

    # --- keys of the HTTP API ---

    async def add_api_key(self, key: KeyRecord) -> None: ...

    async def api_key(self, hashed: str) -> KeyRecord | None: ...

    async def api_keys(self) -> list[KeyRecord]: ...

    async def revoke_api_key(self, id: str) -> bool:
        """Delete it; False if there was none."""
        ...

    async def use_api_key(self, id: str, *, now: float) -> None:
        """Remember, to the minute, when it was used."""
        ...

    # --- on connections of others ---
    # Only where the user's own tables may lie beside ours; other stores raise ConfigurationError.

    async def result_of(self, step: StepId, run: RunId) -> Raw | None:
        """What a transaction has recorded as the result of ``step``; it waits for one that is under way."""
        ...

    async def leave_result(self, connection: object, step: StepId, fence: Fence, done: StepCompleted) -> bool:
        """Record on ``connection``, in the transaction that is open there, how ``step`` has ended. False: it may not be, or is already."""
        ...

    async def create_on(self, connection: object, new: NewRun) -> Outcome:
        """Create a run on ``connection``, in the transaction that is open there: it exists if and when that commits."""
        ...

    # --- keeping house ---

    async def prune(self, *, ended_before: float, limit: int) -> int:
        """Delete up to ``limit`` runs that ended before then, with their logs; how many it was. Call again until it is 0."""
        ...

    async def hash_seed(self, fresh: str) -> str | None:
        """The ``PYTHONHASHSEED`` under which its runs should be worked on (R22): ``fresh``, unless one was chosen before.

        None: any will do, since nothing outlives this process.
        """
        ...

    async def audit(self) -> list[str]:
        """What is wrong with what is kept: broken invariants, each in one line. Empty when all is well."""
        ...
