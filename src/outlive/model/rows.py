"""What a store keeps, as the rules of a commit see it: one transaction's view of its rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from outlive.model.entries import NewRun, TaskKey
from outlive.model.events import Event, Parent, Recorded, StepCompleted, StepScheduled, WaitKind
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.inbox import InboxItem
from outlive.model.records import RunStatus
from outlive.model.streams import Piece
from outlive.model.webhooks import WebhookSettings


class RunRow(Struct):
    """The part of a run's row that changes, in the order of its columns; what ``RunRecord`` adds never does."""

    id: RunId
    link: int
    workflow: str
    status: RunStatus
    seq: int
    time: float
    epoch: int
    owner: WorkerId | None
    wake_at: float | None
    crashes: int
    suspect: bool
    progress: bool
    """An event since its claim that shows that the run does not kill its worker (R31)."""
    takeover: bool
    """Freed from a dead worker, and not claimed since."""
    root: RunId
    input_digest: str
    ended_at: float | None
    reason: str
    fingerprint: str
    """Of the code that parked it; or ``python 3.11``, if only that may try again."""
    tried: str
    """All fingerprints that parked it since it last went on, one a line: none of them tries again (R32)."""


class HeldHook(Struct, frozen=True, gc=False):
    """Who holds a token."""

    run: RunId
    link: int
    ref: int
    token: str
    schema: str
    webhook: WebhookSettings | None = None


class Known(Struct, frozen=True, gc=False):
    """Where an earlier message with the same key went, and how its caller is answered."""

    run: RunId
    link: int
    reply: str


class Watcher(Struct, frozen=True, gc=False):
    run: RunId
    link: int
    ref: int


class TaskRow(Struct, kw_only=True):
    """An attempt of a step in a queue; ``id`` orders those of one priority."""

    run: RunId
    link: int
    ref: int
    root: RunId
    call: StepScheduled
    scheduled_at: float
    id: int = 0
    owner: WorkerId | None = None
    claims: int = 0
    """How many workers have taken it."""
    crashes: int = 0
    """How many of them died while only this task can have done it."""
    deaths: int = 0
    """How many of them died."""
    cancelling: bool = False
    """Its run has asked for its end."""
    void: bool = False
    """Its run has gone on without it; it still holds its slot."""

    @property
    def key(self) -> TaskKey:
        return TaskKey(self.run, self.link, self.ref)


class Rows(Protocol):
    """Reads see the writes before them. What is read is a copy; nothing is kept unless it is written."""

    def run(self, run: RunId) -> RunRow | None: ...

    def add_run(self, row: RunRow, new: NewRun, *, parent: Parent | None, created_at: float) -> None: ...

    def advance_run(self, row: RunRow, *, seq: int) -> None:
        """Write what an ordinary event changes: seq, time, progress, crashes, suspect, tried. ``seq``: what it was."""
        ...

    def update_run(self, row: RunRow, *, epoch: int, seq: int) -> None:
        """Write all of ``row``. ``epoch`` and ``seq``: what they were."""
        ...

    def wake_run(self, run: RunId, at: float) -> None:
        """Make it due at ``at`` at the latest, unless it is owned, parked or ended."""
        ...

    def append(self, run: RunId, link: int, events: Sequence[Recorded]) -> None: ...

    def unlogged(self, run: RunId, link: int) -> Sequence[StepCompleted]:
        """Steps that a transaction of the user's has recorded, and its log has not."""
        ...

    def put_wait(self, run: RunId, link: int, ref: int, kind: WaitKind, due: float) -> None: ...

    def drop_wait(self, run: RunId, ref: int) -> None: ...

    def next_wait(self, run: RunId) -> float | None: ...

    def task(self, run: RunId, link: int, ref: int) -> TaskRow | None: ...

    def put_task(self, task: TaskRow) -> None:
        """Add it under the next id."""
        ...

    def update_task(self, task: TaskRow) -> None:
        """Write its owner, claims, crashes and whether it is to end."""
        ...

    def drop_task(self, task: TaskRow) -> None: ...

    def void_tasks(self, run: RunId, *, cancel: bool) -> None:
        """The run has ended, or goes on as another link: its tasks that nobody holds go, the others are void, and with ``cancel`` asked to end."""
        ...

    def hook(self, token_hash: TokenHash) -> HeldHook | None: ...

    def put_hook(self, token_hash: TokenHash, hook: HeldHook, *, created_at: float) -> None: ...

    def drop_hook(self, run: RunId, link: int, ref: int) -> None:
        """Free its token. That of a webhook is remembered as ended for as long as the run is."""
        ...

    def ended_hook(self, token_hash: TokenHash) -> bool:
        """Whether it was the token of a webhook."""
        ...

    def named_hooks(self, run: RunId) -> dict[TokenHash, int]:
        """The tokens that users chose among those the run holds, with their refs."""
        ...

    def inbox(self, run: RunId) -> list[InboxItem]:
        """In the order of acceptance."""
        ...

    def inbox_waits(self, run: RunId) -> bool:
        """Whether there is a message that could be taken now: a held one could not."""
        ...

    def pending(self, run: RunId, token_hash: TokenHash) -> int: ...

    def add_message(self, run: RunId, message: InboxItem) -> None:
        """Add it under the next id, which replaces the one in ``message``."""
        ...

    def drop_messages(self, run: RunId, ids: Collection[int]) -> None: ...

    def readdress(self, run: RunId, token_hash: TokenHash, *, link: int, ref: int) -> None:
        """Hook and payloads of that token belong to this link and ref now."""
        ...

    def readdress_cancels(self, run: RunId, *, link: int) -> None:
        """Requests to cancel the run are for this link now."""
        ...

    def known(self, run: RunId, key: str) -> Known | None: ...

    def known_by_token(self, token_hash: TokenHash, key: str) -> Known | None:
        """The same, when the hook is gone."""
        ...

    def remember(
        self, run: RunId, key: str, *, link: int, token_hash: TokenHash | None, time: float, reply: str
    ) -> None: ...

    def open_request(self, run: RunId, request: str, *, time: float) -> None:
        """The caller of a webhook waits for an answer."""
        ...

    def answer_request(self, request: str, answer: str) -> bool:
        """Unless it has another one; whether ``answer`` is the one that the caller gets."""
        ...

    def close_requests(self, run: RunId) -> None:
        """Those that wait for ``run`` will get none."""
        ...

    def write_stream(
        self, run: RunId, link: int, ref: int, stream: str, pieces: Sequence[Piece], *, time: float
    ) -> None:
        """Append to a stream."""
        ...

    def void_stream(self, run: RunId, link: int, ref: int, *, time: float) -> None:
        """What ``ref`` wrote to any stream is void, and each of them says so."""
        ...

    def put_watch(self, target: RunId, watcher: Watcher) -> None: ...

    def drop_watch(self, run: RunId, ref: int) -> None: ...

    def take_watchers(self, target: RunId) -> list[Watcher]:
        """Those who watch ``target``, whose watches end with this."""
        ...

    def drop_all(self, run: RunId, *, keep_link: int | None) -> None:
        """Drop waits, hooks, watches and inbox of the run, except hooks and messages that were readdressed to ``keep_link``.

        Tokens of its webhooks are remembered as ended.
        """
        ...

    def event_at(self, run: RunId, link: int, seq: int) -> Event: ...
