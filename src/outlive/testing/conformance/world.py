"""A store under test, with a clock that only tests move, and short words for what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias, TypeVar

import pytest
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.entries import (
    Accepted,
    Claims,
    Committed,
    Created,
    Entry,
    Existing,
    Message,
    NewRun,
    Outcome,
    Proposal,
    Refused,
    RunCommit,
    Watch,
)
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.records import RunRecord
from outlive.stores.protocol import Clock, RunFilter, Store

T = TypeVar("T")

StoreFactory: TypeAlias = Callable[[Clock], Store]

W1, W2 = WorkerId("w1"), WorkerId("w2")
LEASE = 30.0
FLOW = "app:flow"


class VirtualClock:
    """Stands still until it is moved."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at: float = at

    def now(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class World:
    """One open store and two workers, ``w1`` and ``w2``, of which ``w1`` has joined."""

    def __init__(self, store: Store, clock: VirtualClock, runner: asyncio.Runner) -> None:
        self.store = store
        self.clock = clock
        self._runner = runner

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    # --- acting ---

    def join(self, worker: WorkerId = W1, *, lease: float = LEASE) -> None:
        self.do(self.store.join(worker, lease=lease))

    def commit(self, *entries: Entry, worker: WorkerId | None = W1) -> list[Outcome]:
        return self.do(self.store.commit(worker, entries))

    def one(self, entry: Entry, *, worker: WorkerId | None = W1) -> Outcome:
        [outcome] = self.commit(entry, worker=worker)
        return outcome

    def create(self, run: str = "r1", **fields: Any) -> Created | Existing:
        outcome = self.one(new_run(run, **fields))
        assert isinstance(outcome, (Created, Existing)), outcome
        return outcome

    def start(self, *runs: str, **fields: Any) -> None:
        """Create runs that ``w1`` owns at once."""
        for run in runs:
            created = self.create(run, claim=True, **fields)
            assert isinstance(created, Created) and created.epoch == 1, created

    def entry(self, run: str, *proposals: Proposal, **fields: Any) -> RunCommit:
        """What the owner of ``run`` would commit, knowing all of its log."""
        record = self.record(run)
        known: dict[str, Any] = {"link": record.link, "epoch": record.epoch, "seq": record.seq}
        return RunCommit(run=record.id, proposals=proposals, **{**known, **fields})

    def append(self, run: str, *proposals: Proposal, worker: WorkerId = W1, **fields: Any) -> Committed:
        outcome = self.one(self.entry(run, *proposals, **fields), worker=worker)
        assert isinstance(outcome, Committed), outcome
        return outcome

    def append_fresh(self, run: str, *proposals: Proposal, worker: WorkerId) -> None:
        """A run that ``worker`` has begun, and left to itself."""
        created = self.one(new_run(run, claim=True), worker=worker)
        assert isinstance(created, Created)
        self.append(run, *proposals, worker=worker)
        self.append(run, release=True, worker=worker)

    def send(self, token: str, text: str = "hello", **fields: Any) -> Accepted | Refused:
        return self.send_payload(token, ev.Payload(content_type="text/plain", text=text), **fields)

    def send_payload(self, token: str, payload: ev.Payload, **fields: Any) -> Accepted | Refused:
        outcome = self.one(Message(kind="payload", token_hash=TokenHash(token), payload=payload, **fields), worker=None)
        assert isinstance(outcome, (Accepted, Refused)), outcome
        return outcome

    def cancel(self, run: str, **fields: Any) -> Accepted | Refused:
        outcome = self.one(Message(kind="cancel", run=RunId(run), **fields), worker=None)
        assert isinstance(outcome, (Accepted, Refused)), outcome
        return outcome

    def wake(self, run: str) -> Accepted | Refused:
        outcome = self.one(Message(kind="wake", run=RunId(run)), worker=None)
        assert isinstance(outcome, (Accepted, Refused)), outcome
        return outcome

    def claim(
        self,
        worker: WorkerId = W1,
        *,
        limit: int = 10,
        workflows: tuple[str, ...] = (FLOW,),
        fingerprint: str = "code-1",
        suspects: int = 100,
        root: str | None = None,
        queues: tuple[str, ...] | None = None,
    ) -> Claims:
        under = None if root is None else RunId(root)
        return self.do(
            self.store.claim(
                worker,
                limit=limit,
                workflows=workflows,
                fingerprint=fingerprint,
                suspects=suspects,
                root=under,
                queues=queues,
            )
        )

    # --- looking ---

    def record(self, run: str = "r1") -> RunRecord:
        record = self.do(self.store.run(RunId(run)))
        assert record is not None, f"there is no run {run}"
        return record

    def log(self, run: str = "r1", link: int = 1) -> list[ev.Event]:
        return [recorded.event for recorded in self.do(self.store.log(RunId(run), link))]

    def kinds(self, run: str = "r1", link: int = 1) -> list[str]:
        return [ev.kind_of(event) for event in self.log(run, link)]

    def listed(self, **fields: Any) -> list[str]:
        return [record.id for record in self.do(self.store.runs(RunFilter(**fields)))]

    def faults(self) -> list[str]:
        return self.do(self.store.audit())


class WorldFixtures:
    """What each part of the suite stands on."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError("give the suite a store: override the fixture store_factory")

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def world(self, store_factory: StoreFactory, clock: VirtualClock) -> Iterator[World]:
        with asyncio.Runner() as runner:
            world = World(store_factory(clock), clock, runner)
            world.do(world.store.open())
            world.join(W1)
            try:
                yield world
                assert world.faults() == []  # whatever a test did, it must have left a sound store
            finally:
                world.do(world.store.close())


def new_run(run: str = "r1", **fields: Any) -> NewRun:
    known: dict[str, Any] = {
        "workflow": FLOW,
        "input": Raw(b'{"n":1}'),
        "input_digest": "digest",
        "seed": "seed",
        "engine": 1,
        "python": "3.11",
        "hash_seed": "0",
    }
    return NewRun(id=RunId(run), **{**known, **fields})


def step(ref: int = 1, result: bytes = b"42") -> ev.StepCompleted:
    return ev.StepCompleted(ref=ref, name="app:charge", digest="d", result=Raw(result), started=1.0)


def started(ref: int = 1) -> ev.StepStarted:
    return ev.StepStarted(ref=ref, name="app:charge", digest="d")


def sleep_until(due: float, ref: int = 1) -> ev.WaitCreated:
    return ev.WaitCreated(ref=ref, kind="sleep", delay=60.0, due=due)


def woke(due: float, ref: int = 1) -> ev.WaitCompleted:
    return ev.WaitCompleted(ref=ref, kind="sleep", delay=60.0, due=due)


def hook(token: str = "t1", ref: int = 1, *, named: bool = False) -> ev.HookCreated:  # noqa: S107 - opens nothing
    """``named``: the user chose the token. Here the token is its own hash."""
    return ev.HookCreated(ref=ref, token_hash=TokenHash(token), token=token if named else "")


def completed(result: bytes = b'"done"') -> ev.RunCompleted:
    return ev.RunCompleted(result=Raw(result))


def parked(fingerprint: str = "code-1", reason: str = "divergence", *, python: str = "") -> ev.RunParked:
    return ev.RunParked(reason=reason, fingerprint=fingerprint, python=python)


def watch(target: str, ref: int = 1) -> Watch:
    return Watch(ref, RunId(target))
