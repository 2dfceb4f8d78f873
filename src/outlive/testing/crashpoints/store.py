"""A store that dies with its engine at a chosen commit: before it, or after it and before the answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

from msgspec import Raw, Struct, structs

from outlive.errors import StoreUnavailable
from outlive.model.entries import ClaimedTask, Claims, Entry, NewRun, Outcome, RunCommit, SpawnRun
from outlive.model.events import Recorded, StepCompleted
from outlive.model.hints import Hint
from outlive.model.ids import RunId, StepId, TokenHash, WorkerId
from outlive.model.records import (
    HookRecord,
    KeyRecord,
    QueueRecord,
    RunRecord,
    ServiceRecord,
    TaskRecord,
    WaitRecord,
)
from outlive.model.streams import Chunk, StreamRecord
from outlive.model.tasks import Wanted
from outlive.stores.protocol import Clock, Fence, Pace, RunFilter, Store
from outlive.testing.crash import bury, shared

T = TypeVar("T")

Side: TypeAlias = Literal["before", "after"]

SIDES: Final[tuple[Side, ...]] = ("before", "after")


class CrashPoint(Struct, frozen=True):
    """Where a life ends: at its ``commit``-th commit, counted from 1."""

    commit: int
    side: Side

    def __str__(self) -> str:
        return f"{self.side} commit {self.commit}"


class MortalStore:
    """One engine's way to ``inner``, which outlives it. A claim that takes a run counts as a commit, and can only be died *after*.

    Once it has died, no call is answered: those that wait never return, the others fail.

    Args:
        inner: The store; open.
        dies: Where; never, if None.
        on_death: Called once, at that moment.
    """

    def __init__(self, inner: Store, *, dies: CrashPoint | None, on_death: Callable[[], None]) -> None:
        self.inner = inner
        self.clock: Clock = inner.clock
        self.pace: Pace = inner.pace
        self.one_clock: bool = inner.one_clock
        self.commits: int = 0
        self.dead: bool = False
        self._dies = dies
        self._on_death = on_death
        self._workers: list[WorkerId] = []

    # --- life and death ---

    async def open(self) -> None: ...

    async def close(self) -> None:
        """What the system does for a process that has died: its locks are free."""
        if shared(self.inner):
            for worker in self._workers:
                await bury(self.inner, worker)
        else:
            await self.inner.close()

    def _die(self) -> None:
        self.dead = True
        self._on_death()

    def _strikes(self, side: Side) -> bool:
        """Whether this commit, which was just counted, is the one to die at."""
        return self._dies == CrashPoint(self.commits, side)

    async def _answer(self, call: Callable[[], asyncio.Future[T]]) -> T:
        """What ``call`` gives, if nobody has died before it began or before it ended."""
        if self.dead:
            await _nothing()
        answer = await call()
        if self.dead:
            await _nothing()
        return answer

    # --- workers ---

    async def join(self, worker: WorkerId, *, lease: float) -> None:
        self._workers.append(worker)
        await self.inner.join(worker, lease=lease)

    async def serve(self, service: ServiceRecord) -> None:
        await self.inner.serve(service)

    async def renew(self, worker: WorkerId) -> bool:
        return await self.inner.renew(worker)

    def renew_now(self, worker: WorkerId) -> bool:
        if self.dead:
            raise StoreUnavailable("its engine is dead")
        return self.inner.renew_now(worker)

    async def leave(self, worker: WorkerId) -> None:
        if self.dead:
            await _nothing()
        await self.inner.leave(worker)
        self._workers.remove(worker)

    # --- writing ---

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        if self.dead:
            return None  # commit() is asked next, and never answers
        self.commits += 1
        if self._strikes("before"):
            self._die()
            return None
        outcomes = self.inner.commit_now(worker, [_seeded(entry) for entry in entries])
        if outcomes is None:
            self.commits -= 1  # commit() is asked next, and counts it
        elif self._strikes("after"):
            self._die()
            return None
        return outcomes

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        if self.dead:
            await _nothing()
        self.commits += 1
        if self._strikes("before"):
            self._die()
            await _nothing()
        outcomes = await self.inner.commit(worker, [_seeded(entry) for entry in entries])
        if self._strikes("after"):
            self._die()
        if self.dead:
            await _nothing()
        return outcomes

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
        if self.dead:
            await _nothing()
        claims = await self.inner.claim(
            worker,
            limit=limit,
            workflows=workflows,
            fingerprint=fingerprint,
            suspects=suspects,
            root=root,
            queues=queues,
            tasks=tasks,
        )
        if (claims.runs or claims.tasks) and not self.dead:
            self.commits += 1
            if self._strikes("before") or self._strikes("after"):
                self._die()
        if self.dead:
            await _nothing()
        return claims

    async def owned(self, worker: WorkerId) -> list[RunId]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.owned(worker)))

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.held(worker)))

    def on_hint(self, told: Callable[[Hint], None]) -> None:
        self.inner.on_hint(told)

    # --- reading ---

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.knocks(worker)))

    def changed(self) -> bool:
        return not self.dead and self.inner.changed()

    async def log(self, run: RunId, link: int, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.log(run, link, after=after, limit=limit)))

    async def run(self, run: RunId) -> RunRecord | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.run(run)))

    async def runs(self, where: RunFilter) -> list[RunRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.runs(where)))

    async def waits(self, run: RunId) -> list[WaitRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.waits(run)))

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.tasks(run)))

    async def queues(self) -> list[QueueRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.queues()))

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        await self.inner.limit_queue(queue, limit)

    async def services(self) -> list[ServiceRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.services()))

    async def hooks(self, run: RunId) -> list[HookRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.hooks(run)))

    async def open_hooks(self, *, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.open_hooks(before=before, limit=limit)))

    async def hook(self, token_hash: TokenHash) -> HookRecord | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.hook(token_hash)))

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.ended_hook(token_hash)))

    async def answer(self, request: str) -> str | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.answer(request)))

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        return await self._answer(
            lambda: asyncio.ensure_future(self.inner.chunks(run, stream, start=start, limit=limit))
        )

    async def streams(self, run: RunId) -> list[StreamRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.streams(run)))

    async def stream(self, run: RunId, name: str) -> StreamRecord | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.stream(run, name)))

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.stream_tail(run, name, count)))

    # --- keys of the HTTP API ---

    async def add_api_key(self, key: KeyRecord) -> None:
        await self.inner.add_api_key(key)

    async def api_key(self, hashed: str) -> KeyRecord | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.api_key(hashed)))

    async def api_keys(self) -> list[KeyRecord]:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.api_keys()))

    async def revoke_api_key(self, id: str) -> bool:
        return await self.inner.revoke_api_key(id)

    async def use_api_key(self, id: str, *, now: float) -> None:
        await self.inner.use_api_key(id, now=now)

    # --- on connections of others ---

    async def result_of(self, step: StepId, run: RunId) -> Raw | None:
        return await self._answer(lambda: asyncio.ensure_future(self.inner.result_of(step, run)))

    async def leave_result(self, connection: object, step: StepId, fence: Fence, done: StepCompleted) -> bool:
        return await self.inner.leave_result(connection, step, fence, done)

    async def create_on(self, connection: object, new: NewRun) -> Outcome:
        return await self.inner.create_on(connection, new)

    # --- keeping house ---

    async def prune(self, *, ended_before: float, limit: int) -> int:
        return await self.inner.prune(ended_before=ended_before, limit=limit)

    async def hash_seed(self, fresh: str) -> str | None:
        return await self.inner.hash_seed(fresh)

    async def audit(self) -> list[str]:
        return await self.inner.audit()


async def _nothing() -> None:
    """No answer; it ends with the task of whoever asked."""
    await asyncio.get_running_loop().create_future()


def _seeded(entry: Entry) -> Entry:
    """``entry`` with seeds that follow from the ids of its runs: what looks random is then the same in every trial."""
    match entry:
        case NewRun():
            return _with_seed(entry, 1)
        case RunCommit():
            proposals = tuple(
                SpawnRun(item.ref, _with_seed(item.new, 1)) if isinstance(item, SpawnRun) else item
                for item in entry.proposals
            )
            following = entry.next_link
            return structs.replace(
                entry,
                proposals=proposals,
                next_link=None if following is None else _with_seed(following, entry.link + 1),
            )
        case _:
            return entry


def _with_seed(new: NewRun, link: int) -> NewRun:
    return structs.replace(new, seed=hashlib.blake2b(f"{new.id}/{link}".encode(), digest_size=32).hexdigest())
