"""A store in memory: for tests, for simulation, and to read how little a store is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec
from msgspec import Raw

from outlive.errors import ConfigurationError, LeaseLost
from outlive.model.audit import Kept, faults, stray
from outlive.model.carry import Carrier
from outlive.model.entries import ClaimedTask, Claims, Entry, NewRun, Outcome, Rejected
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
    may_try,
)
from outlive.model.rows import TaskRow
from outlive.model.streams import Chunk, StreamRecord
from outlive.model.tasks import Shares, Wanted, blamed, claim_task, claimed, next_tried, task_record, waits_to_be_alone
from outlive.stores.memory.rows import MemoryRows, RunKept
from outlive.stores.protocol import NO_GUESTS, Clock, Fence, Pace, RunFilter

_KEY_LIFE = 7 * 86400.0


class MemoryStore:
    """All of the store protocol; several engines may share one."""

    pace: Pace = Pace(poll=0.25, look_every=0.03, read_again=1.0)
    one_clock = True

    def __init__(self, *, clock: Clock) -> None:
        self.clock: Clock = clock
        self._rows = MemoryRows()
        self._workers: dict[WorkerId, tuple[float, float]] = {}  # lease, until
        self._services: dict[WorkerId, ServiceRecord] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    # --- workers ---

    async def join(self, worker: WorkerId, *, lease: float) -> None:
        if worker in self._workers:
            raise LeaseLost(f"worker {worker} has joined before; take a new id for each life")
        self._workers[worker] = (lease, self.clock.now() + lease)

    async def serve(self, service: ServiceRecord) -> None:
        if service.worker in self._workers:
            self._services[service.worker] = service

    async def renew(self, worker: WorkerId) -> bool:
        return self.renew_now(worker)

    def renew_now(self, worker: WorkerId) -> bool:
        now = self.clock.now()
        lease, until = self._workers.get(worker, (0.0, now))
        if until > now:
            self._workers[worker] = (lease, now + lease)
        return until > now

    async def leave(self, worker: WorkerId) -> None:
        self._free(worker, crashed=False)

    def _free(self, worker: WorkerId, *, crashed: bool) -> None:
        self._workers.pop(worker, None)
        self._services.pop(worker, None)
        owned = [kept.row for kept in self._rows.runs.values() if kept.row.owner == worker]
        suspects = [row for row in owned if crashed and not row.progress]
        held = [task.deaths for task in self._rows.tasks.values() if task.owner == worker]
        self._rows.free_tasks(worker, crashed=crashed, blamed=crashed and blamed(len(held), runs=len(owned)))
        for row in suspects:
            row.suspect = True
            row.crashes += len(suspects) + len(held) == 1  # charged only when it was the only one (R31)
        for row in owned:
            row.owner, row.wake_at, row.takeover = None, self.clock.now(), True

    async def expire(self, worker: WorkerId) -> None:
        """End a lease, as if its worker had died; for tests."""
        lease, _ = self._workers[worker]
        self._workers[worker] = (lease, self.clock.now())

    # --- writing ---

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        return self.commit_now(worker, entries)

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        leased = worker is not None and self.renew_now(worker)
        carrier = Carrier(self._rows, worker=worker, leased=leased, now=self.clock.now())
        return [_unwritable(entry) or _carried(carrier, entry) for entry in entries]

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
        now = self.clock.now()
        if self._workers.get(worker, (0.0, now))[1] <= now:
            raise LeaseLost(f"worker {worker} has lost its lease; join again under another id")
        dead = [other for other, (_, until) in self._workers.items() if until <= now]
        for other in dead:
            self._free(other, crashed=True)
        known = [
            kept.row
            for kept in self._rows.runs.values()
            if kept.row.workflow in workflows
            and root in (None, kept.row.root)
            and (queues is None or kept.queue in queues)
        ]
        due = sorted((row.wake_at, row.id) for row in known if row.wake_at is not None and row.wake_at <= now)
        due += [
            (now, row.id)
            for row in known
            if row.status is RunStatus.PARKED and may_try(fingerprint, parked=row.fingerprint, tried=row.tried)
        ]
        suspected = [run for _, run in due if self._rows.runs[run].row.suspect][suspects:]
        due = [(at, run) for at, run in due if run not in suspected]
        carrier = Carrier(self._rows, worker=worker, leased=True, now=now)
        claimed = tuple(carrier.claim(run) for _, run in due[:limit])
        rest = [at for row in known if (at := self._rows.runs[row.id].row.wake_at) is not None]
        ending = tuple(task.key for task in self._rows.tasks.values() if task.owner == worker and task.cancelling)
        tasks = None if tasks is None else tasks.beside(claimed)
        alone = tasks is not None and waits_to_be_alone(self._suspects(tasks, root), idle=tasks.idle)
        taken = () if tasks is None else tuple(self._claim_tasks(worker, tasks, root))
        if dead or due[:limit] or taken:
            self.renew_now(worker)  # a claim that writes is a commit
        return Claims(runs=claimed, next_due=min(rest, default=None), tasks=taken, cancelling=ending, alone=alone)

    def _claim_tasks(self, worker: WorkerId, wanted: Wanted, root: RunId | None) -> Iterator[ClaimedTask]:
        rows = self._rows
        free = [task for task in rows.tasks.values() if task.owner is None and root in (None, task.root)]
        free.sort(key=lambda task: (task.call.options.priority, task.id))
        for task in [task for task in free if task.cancelling]:
            yield claim_task(rows, copy.copy(task), worker)
        waiting = [task for task in free if not task.cancelling]
        suspects = self._suspects(wanted, root)
        fresh = [] if suspects else self._waiting([task for task in waiting if not task.deaths], wanted)
        for task in (*next_tried(suspects, idle=wanted.idle), *fresh):
            yield claim_task(rows, copy.copy(task), worker)

    def _suspects(self, wanted: Wanted, root: RunId | None) -> list[TaskRow]:
        if not wanted.suspects:
            return []
        tasks = [t for t in self._rows.tasks.values() if t.owner is None and t.deaths and not t.cancelling]
        tasks = [task for task in tasks if root in (None, task.root)]
        tasks.sort(key=lambda task: (task.deaths, task.call.options.priority, task.id))
        return self._waiting(tasks, wanted)

    def _waiting(self, free: list[TaskRow], wanted: Wanted) -> list[TaskRow]:
        """Those of ``free`` that there is room for."""
        rows, found = self._rows, list[TaskRow]()
        limits = {queue: most for queue, most in rows.queues.items() if most is not None}
        held = Counter(task.call.options.queue for task in rows.tasks.values() if task.owner is not None)
        shares = Shares(wanted, limits=limits, held=held)
        for pick in shares.picks([(task.call.options.queue, task.call.name) for task in free]):
            of_pick = [t for t in free if t.call.options.queue == pick.queue and t.call.name in pick.steps]
            mine = of_pick[: shares.room(pick)]
            shares.take(pick, len(mine))
            free = [task for task in free if task not in mine]
            found += mine
        return found

    async def held(self, worker: WorkerId) -> list[ClaimedTask]:
        return [claimed(task) for task in self._rows.tasks.values() if task.owner == worker]

    async def knocks(self, worker: WorkerId) -> list[RunId]:
        owned = sorted(run for run, kept in self._rows.runs.items() if kept.row.owner == worker)
        return [run for run in owned if self._rows.inbox_waits(run)]

    async def owned(self, worker: WorkerId) -> list[RunId]:
        return sorted(run for run, kept in self._rows.runs.items() if kept.row.owner == worker)

    def changed(self) -> bool:
        return False

    def on_hint(self, told: Callable[[Hint], None]) -> None: ...

    # --- reading ---

    async def log(self, run: RunId, link: int, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        return self._rows.logs.get((run, link), [])[after : None if limit is None else after + limit]

    async def run(self, run: RunId) -> RunRecord | None:
        kept = self._rows.runs.get(run)
        return None if kept is None else _record(kept)

    async def runs(self, where: RunFilter) -> list[RunRecord]:
        records = sorted(
            (_record(kept) for kept in self._rows.runs.values()), key=lambda r: (r.created_at, r.id), reverse=True
        )
        last = None if where.before is None else self._rows.runs.get(where.before)
        return [
            record
            for record in records
            if where.status in (None, record.status)
            and where.workflow in (None, record.workflow)
            and (where.tag is None or where.tag in record.tags)
            and where.root in (None, record.root)
            and (last is None or (record.created_at, record.id) < (last.created_at, last.row.id))
        ][: where.limit]

    async def waits(self, run: RunId) -> list[WaitRecord]:
        return sorted(self._rows.waits.get(run, {}).values(), key=lambda wait: (wait.due, wait.ref))

    async def tasks(self, run: RunId) -> list[TaskRecord]:
        return [task_record(task) for key, task in sorted(self._rows.tasks.items()) if key.run == run]

    async def queues(self) -> list[QueueRecord]:
        now = self.clock.now()
        found: list[QueueRecord] = []
        for name, limit in sorted(self._rows.queues.items()):
            tasks = [task for task in self._rows.tasks.values() if task.call.options.queue == name]
            waiting = [task.scheduled_at for task in tasks if task.owner is None]
            living = [service for service in self._services.values() if self._workers[service.worker][1] > now]
            record = QueueRecord(
                name=name,
                waiting=len(waiting),
                running=len(tasks) - len(waiting),
                limit=limit,
                oldest=min(waiting, default=None),
                served=sum(service.queues is None or name in service.queues for service in living),
            )
            found.append(record)
        return found

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        self._rows.queues[queue] = limit

    async def services(self) -> list[ServiceRecord]:
        now = self.clock.now()
        return [service for worker, service in sorted(self._services.items()) if self._workers[worker][1] > now]

    async def hooks(self, run: RunId) -> list[HookRecord]:
        found = [self._hook(token) for token, (hook, _) in self._rows.hooks.items() if hook.run == run]
        return sorted(found, key=lambda hook: (hook.ref, hook.token_hash))

    async def open_hooks(self, *, before: tuple[RunId, int] | None, limit: int) -> list[HookRecord]:
        found = [self._hook(token) for token in self._rows.hooks]
        older = [hook for hook in found if before is None or (hook.run, hook.ref) < before]
        return sorted(older, key=lambda hook: (hook.run, hook.ref), reverse=True)[:limit]

    async def hook(self, token_hash: TokenHash) -> HookRecord | None:
        return self._hook(token_hash) if token_hash in self._rows.hooks else None

    def _hook(self, token_hash: TokenHash) -> HookRecord:
        hook, created_at = self._rows.hooks[token_hash]
        pending = self._rows.pending(hook.run, token_hash)
        return HookRecord(
            token_hash, hook.run, hook.link, hook.ref, hook.token, hook.schema, created_at, pending, hook.webhook
        )

    async def ended_hook(self, token_hash: TokenHash) -> bool:
        return self._rows.ended_hook(token_hash)

    async def answer(self, request: str) -> str | None:
        kept = self._rows.requests.get(request)
        return None if kept is None else kept[2]

    async def chunks(self, run: RunId, stream: str, *, start: int, limit: int) -> list[Chunk]:
        return [chunk for chunk in self._rows.standing(run, stream) if chunk.index >= start][:limit]

    async def streams(self, run: RunId) -> list[StreamRecord]:
        names = sorted(self._rows.streams.get(run, {}))
        return [record for name in names if (record := await self.stream(run, name)) is not None]

    async def stream(self, run: RunId, name: str) -> StreamRecord | None:
        chunks = self._rows.streams.get(run, {}).get(name)
        if not chunks:
            return None
        closed = any(chunk.kind == "close" for chunk in self._rows.standing(run, name))
        return StreamRecord(name, len(chunks), closed, chunks[0].time, chunks[-1].time)

    async def stream_tail(self, run: RunId, name: str, count: int) -> int:
        values = [chunk.index for chunk in self._rows.standing(run, name) if chunk.kind in ("value", "bytes")]
        return values[-count] if count <= len(values) else 0

    # --- keys of the HTTP API ---

    async def add_api_key(self, key: KeyRecord) -> None:
        self._rows.api_keys[key.id] = key

    async def api_key(self, hashed: str) -> KeyRecord | None:
        return next((key for key in self._rows.api_keys.values() if key.hash == hashed), None)

    async def api_keys(self) -> list[KeyRecord]:
        return sorted(self._rows.api_keys.values(), key=lambda key: (key.created_at, key.id))

    async def revoke_api_key(self, id: str) -> bool:
        return self._rows.api_keys.pop(id, None) is not None

    async def use_api_key(self, id: str, *, now: float) -> None:
        if (key := self._rows.api_keys.get(id)) is not None:
            self._rows.api_keys[id] = msgspec.structs.replace(key, used_at=now)

    # --- on connections of others ---

    async def result_of(self, step: StepId, run: RunId) -> Raw | None:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    async def leave_result(self, connection: object, step: StepId, fence: Fence, done: StepCompleted) -> bool:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    async def create_on(self, connection: object, new: NewRun) -> Outcome:  # noqa: ARG002
        raise ConfigurationError(NO_GUESTS)

    # --- keeping house ---

    async def hash_seed(self, fresh: str) -> str | None:  # noqa: ARG002
        return None

    async def prune(self, *, ended_before: float, limit: int) -> int:
        rows = self._rows
        ended = [run for run, k in rows.runs.items() if k.row.ended_at is not None and k.row.ended_at < ended_before][
            :limit
        ]
        for run in ended:
            rows.prune(run)
        stale = min(ended_before, self.clock.now() - _KEY_LIFE)
        rows.keys = {key: kept for key, kept in rows.keys.items() if key[0] in rows.runs and kept[2] >= stale}
        rows.requests = {request: kept for request, kept in rows.requests.items() if kept[1] >= stale}
        return len(ended)

    async def audit(self) -> list[str]:
        rows = self._rows
        found: list[str] = []
        for run, kept in rows.runs.items():
            watches = [watcher for watchers in rows.watches.values() for watcher in watchers if watcher.run == run]
            known = Kept(
                row=kept.row,
                logs=[rows.logs[run, link] for link in range(1, kept.row.link + 1)],
                waits=await self.waits(run),
                hooks=[hook for hook, _ in rows.hooks.values() if hook.run == run],
                watches=watches,
                inbox=rows.inbox(run),
                tasks=[task for key, task in rows.tasks.items() if key.run == run],
            )
            found += faults(known, workers=self._workers)
        for kind, table in (("waits", rows.waits), ("an inbox", rows.inboxes)):
            found += [stray(kind, run) for run, content in table.items() if content and run not in rows.runs]
        return found


def _record(kept: RunKept) -> RunRecord:
    row = kept.row
    return RunRecord(
        id=row.id,
        link=row.link,
        workflow=row.workflow,
        status=row.status,
        seq=row.seq,
        time=row.time,
        epoch=row.epoch,
        owner=row.owner,
        wake_at=row.wake_at,
        crashes=row.crashes,
        created_at=kept.created_at,
        ended_at=row.ended_at,
        root=row.root,
        parent=kept.parent,
        tags=kept.tags,
        input_digest=row.input_digest,
        reason=row.reason,
        fingerprint=row.fingerprint,
        queue=kept.queue,
    )


def _carried(carrier: Carrier, entry: Entry) -> Outcome:
    try:
        return carrier.carry(entry)
    except AssertionError as error:  # raised before anything was written
        return Rejected(f"it can't be written: {error}")


def _unwritable(entry: Entry) -> Rejected | None:
    """What a database would refuse: text that is not Unicode, numbers beyond 64 bits."""
    try:
        msgspec.json.encode(entry, enc_hook=lambda _judge: None)  # the judge is not written
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        return Rejected(f"it can't be written: {error}")
    return None
