"""Whatever happens, in whatever order: all stores answer alike, and stay sound."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw, to_builtins

from outlive.errors import LeaseLost
from outlive.model import events as ev
from outlive.model.entries import (
    Entry,
    Message,
    Outcome,
    RequestCancel,
    RunCommit,
    SendPayload,
    SpawnRun,
    TaskCommit,
    TaskKey,
    Terminate,
    Watch,
)
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.records import RunRecord
from outlive.model.steps import StepOptions
from outlive.model.streams import Voided, Written
from outlive.model.tasks import Lane, Wanted
from outlive.stores.memory import MemoryStore
from outlive.stores.postgres import PostgresStore
from outlive.stores.protocol import RunFilter, Store
from outlive.stores.sqlite import SQLiteStore
from outlive.testing.conformance import VirtualClock
from outlive.testing.conformance.world import FLOW, new_run
from tests.servers.schemas import drop_schema

RUNS = st.sampled_from([RunId("r1"), RunId("r2"), RunId("r3")])
TOKENS = st.sampled_from([TokenHash("t1"), TokenHash("t2")])
REFS = st.integers(1, 4)
PAYLOAD = ev.Payload("text/plain", text="hello")


def _wait(ref: int, due: int, done: bool) -> ev.Event:
    at = 1_800_000_000.0 + due
    kind: type[ev.WaitCreated | ev.WaitCompleted] = ev.WaitCompleted if done else ev.WaitCreated
    return kind(ref=ref, kind="sleep", delay=1.0, due=at)


QUEUED = st.integers(21, 23)
"""Refs of steps in queues."""
QUEUES = st.sampled_from(["q1", "q2"])


def _ending(kind: str, ref: int, attempt: int) -> ev.StepEnding:
    known: dict[str, Any] = {"ref": ref, "name": "s", "digest": "d", "attempt": attempt}
    match kind:
        case "completed":
            return ev.StepCompleted(result=Raw(b"1"), started=1.0, **known)
        case "failed":
            return ev.StepFailed(error=Raw(b"{}"), started=1.0, **known)
        case "retrying":
            return ev.StepRetrying(error=Raw(b"{}"), started=1.0, at=1_800_000_010.0, **known)
        case _:
            return ev.StepCancelled(outcome="ended", **known)


ORDINARY = st.one_of(
    st.builds(ev.StepStarted, ref=REFS, name=st.just("s"), digest=st.just("d")),
    st.builds(
        ev.StepCompleted,
        ref=REFS,
        name=st.just("s"),
        digest=st.just("d"),
        result=st.just(Raw(b"1")),
        started=st.just(1.0),
    ),
    st.builds(_wait, REFS, st.integers(0, 60), st.booleans()),
    st.builds(
        lambda ref, token, named: ev.HookCreated(ref=ref, token_hash=token, token=token if named else ""),
        REFS,
        TOKENS,
        st.booleans(),
    ),
    st.builds(ev.HookDisposed, ref=REFS),
    st.builds(lambda ref, run: SpawnRun(ref, new_run(run)), REFS, RUNS),
    st.builds(lambda ref, token: SendPayload(ref, "d", token, PAYLOAD), REFS, TOKENS),
    st.builds(lambda ref, run: RequestCancel(ref, "d", run), REFS, RUNS),
)
LAST = st.sampled_from(
    [
        ev.RunCompleted(result=Raw(b"[1]")),
        ev.RunFailed(error=Raw(b"{}")),
        ev.RunContinued(input=Raw(b"2")),
        ev.RunParked(reason="why", fingerprint="3.11-f1"),
        ev.RunParked(reason="why", fingerprint="3.12-f1", python="3.11"),
    ]
)


class StoresAgree(RuleBasedStateMachine):
    server: str

    def __init__(self) -> None:
        super().__init__()
        self.schema = f"test_{secrets.token_hex(6)}"
        self.held: list[Entry] = []
        """Entries that will be committed in one batch with others."""
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name, "runs.db")
        self.stores: list[Store] = [
            MemoryStore(clock=self.clock),
            SQLiteStore(path, clock=self.clock, durability="process"),
            PostgresStore(f"{self.server}?schema={self.schema}", clock=self.clock),
        ]
        self.runner = asyncio.Runner()
        self.workers = [WorkerId("w1"), WorkerId("w2")]
        self.lives = 2
        self.refs: dict[tuple[str, int], int] = {}
        self.tasks: list[tuple[TaskKey, int]] = []
        """Those that were ever taken, and which attempt it was."""
        for store in self.stores:
            self.runner.run(store.open())
        for worker in self.workers:
            self.all("join", worker, lease=30.0)

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.run(drop_schema(self.server, self.schema))
        self.runner.close()
        self.folder.cleanup()

    def all(self, call: str, *args: Any, **kwargs: Any) -> Any:
        return self.each(call, [args] * len(self.stores), **kwargs)[1]

    def each(self, call: str, arguments: list[tuple[Any, ...]], **kwargs: Any) -> list[Any]:
        """What the stores answer, which is the same but for the ids of messages."""
        answers = []
        for store, args in zip(self.stores, arguments, strict=True):
            try:
                answers.append(self.runner.run(getattr(store, call)(*args, **kwargs)))
            except LeaseLost:
                answers.append("lost")
        shown = [repr(_without_ids(to_builtins(answer, enc_hook=_raw))) for answer in answers]
        assert len(set(shown)) == 1, (call, shown)
        return answers

    def commit(self, worker: WorkerId | None, *entries: Entry) -> list[Outcome]:
        """With what was held before them."""
        held, self.held = self.held, []
        return self.all("commit", worker, [*held, *entries])[len(held) :]

    def ask_of(self, hold: bool, entry: Entry) -> None:
        """An entry from outside, alone or with whatever is committed next."""
        if hold:
            self.held.append(entry)
        else:
            self.commit(None, entry)

    def record(self, run: RunId) -> RunRecord | None:
        return self.runner.run(self.stores[1].run(run))

    @rule(run=RUNS, claim=st.booleans(), worker=st.integers(0, 1), digest=st.sampled_from(["digest", "other"]))
    def create(self, run: RunId, claim: bool, worker: int, digest: str) -> None:
        self.commit(self.workers[worker], new_run(run, claim=claim, input_digest=digest))

    @rule(
        run=RUNS,
        proposals=st.lists(ORDINARY, max_size=4),
        last=st.none() | LAST,
        take=st.booleans(),
        release=st.booleans(),
        watch=st.none() | RUNS,
        stale=st.sampled_from([0, 0, 0, 1]),
    )
    def append(
        self, run: RunId, proposals: list[Any], last: Any, take: bool, release: bool, watch: RunId | None, stale: int
    ) -> None:
        record = self.record(run)
        if record is None or record.owner is None:
            return
        proposals = self.lawful(record, proposals)
        entry = RunCommit(
            run=run,
            link=record.link,
            epoch=record.epoch - stale,
            seq=record.seq,
            proposals=(*proposals, last) if last is not None else tuple(proposals),
            take=take,
            release=release,
            watch=() if watch is None or watch == run else (Watch(self.fresh(record), watch),),
            next_link=new_run(run, seed="next") if isinstance(last, ev.RunContinued) else None,
        )
        held, self.held = self.held, []
        answers = self.each("commit", [(record.owner, [*held, entry])] * len(self.stores))
        self.acknowledge(run, record.owner, [getattr(answer[-1], "waking", ()) for answer in answers])

    def acknowledge(self, run: RunId, worker: WorkerId, waking: list[tuple[int, ...]]) -> None:
        """Messages have other ids in every store."""
        record = self.record(run)
        if record is not None:
            for ids in zip(*waking, strict=True):
                known = {"run": run, "link": record.link, "epoch": record.epoch, "seq": record.seq}
                self.each("commit", [(worker, [RunCommit(**known, ack=(id,))]) for id in ids])

    def fresh(self, record: RunRecord) -> int:
        self.refs[record.id, record.link] = ref = self.refs.get((record.id, record.link), 10) + 1
        return ref

    def lawful(self, record: RunRecord, proposals: list[Any]) -> list[Any]:
        """Only what the tables allow for its ref: an owner's machine never proposes anything else."""
        from outlive.model.records import REF_TRANSITIONS, RefStatus

        refs: dict[int, tuple[RefStatus, str]] = {}
        for recorded in self.runner.run(self.stores[1].log(record.id, record.link)):
            before = refs.get(recorded.event.ref, (RefStatus.UNSEEN, ""))[0]
            moved = REF_TRANSITIONS[before].get(type(recorded.event))
            if recorded.event.ref and moved is not None:
                refs[recorded.event.ref] = (moved, ev.kind_of(recorded.event).split("_")[0])
        lawful = []
        for proposal in proposals:
            becomes = {SpawnRun: ev.ChildStarted, SendPayload: ev.CallCompleted, RequestCancel: ev.CallCompleted}
            kind = becomes.get(type(proposal), type(proposal))
            before, family = refs.get(proposal.ref, (RefStatus.UNSEEN, ""))
            moved = REF_TRANSITIONS[before].get(kind)
            same = family in ("", kind.__struct_config__.tag.split("_")[0])
            if moved is not None and same:
                refs[proposal.ref] = (moved, kind.__struct_config__.tag.split("_")[0])
                lawful.append(proposal)
                if isinstance(proposal, ev.HookCreated):
                    break  # it may become a conflict: what follows it is another commit's
        return lawful

    @rule(token=TOKENS, key=st.sampled_from(["", "k1", "k2"]), hold=st.booleans())
    def send(self, token: TokenHash, key: str, hold: bool) -> None:
        self.ask_of(hold, Message(kind="payload", token_hash=token, payload=PAYLOAD, key=key, limit=3))

    @rule(run=RUNS, kind=st.sampled_from(["cancel", "wake"]), hold=st.booleans())
    def ask(self, run: RunId, kind: Any, hold: bool) -> None:
        self.ask_of(hold, Message(kind=kind, run=run))

    @rule(run=RUNS, hold=st.booleans())
    def terminate(self, run: RunId, hold: bool) -> None:
        self.ask_of(hold, Terminate(run=run, reason="enough"))

    @rule(
        worker=st.integers(0, 1),
        limit=st.integers(0, 3),
        fingerprint=st.sampled_from(["3.11-f1", "3.11-f2", "3.12-f1"]),
        suspects=st.integers(0, 2),
    )
    def claim(self, worker: int, limit: int, fingerprint: str, suspects: int) -> None:
        self.all(
            "claim", self.workers[worker], limit=limit, workflows=[FLOW], fingerprint=fingerprint, suspects=suspects
        )

    @rule(
        run=RUNS,
        queued=st.lists(st.tuples(QUEUED, QUEUES, st.integers(0, 1)), max_size=3, unique_by=lambda step: step[0]),
        cancel=st.lists(QUEUED, max_size=2, unique=True),
        last=st.none() | LAST,
        release=st.booleans(),
    )
    def schedule(
        self, run: RunId, queued: list[tuple[int, str, int]], cancel: list[int], last: Any, release: bool
    ) -> None:
        record = self.record(run)
        if record is None or record.owner is None:
            return
        attempts: dict[int, int | None] = {}
        for recorded in self.runner.run(self.stores[1].log(run, record.link)):
            event = recorded.event
            if event.ref:
                attempts[event.ref] = event.attempt + 1 if isinstance(event, ev.StepRetrying) else None
        proposals = [
            ev.StepScheduled(
                ref=ref,
                name="s",
                digest="d",
                input=Raw(b"{}"),
                options=StepOptions(queue=queue, priority=priority),
                attempt=attempt,
            )
            for ref, queue, priority in queued
            if (attempt := attempts.get(ref, 1)) is not None
        ]
        entry = RunCommit(
            run=run,
            link=record.link,
            epoch=record.epoch,
            seq=record.seq,
            proposals=(*proposals, *([] if last is None else [last])),
            cancel_tasks=() if isinstance(last, ev.RunParked) else tuple(cancel),
            take=bool(cancel),
            release=release,
            next_link=new_run(run, seed="next") if isinstance(last, ev.RunContinued) else None,
        )
        held, self.held = self.held, []
        answers = self.each("commit", [(record.owner, [*held, entry])] * len(self.stores))
        self.acknowledge(run, record.owner, [getattr(answer[-1], "waking", ()) for answer in answers])

    @rule(
        worker=st.integers(0, 1),
        room=st.integers(0, 3),
        queues=st.none() | st.just(frozenset({"q1"})),
        most=st.none() | st.integers(0, 2),
        turn=st.integers(0, 1),
    )
    def take(self, worker: int, room: int, queues: frozenset[str] | None, most: int | None, turn: int) -> None:
        lanes = (Lane(frozenset({"s"}), room), Lane(frozenset({"other"}), 1))
        wanted = Wanted(lanes=lanes, queues=queues, rooms={} if most is None else {"q2": most}, turn=turn)
        options = {"limit": 0, "workflows": [FLOW], "fingerprint": "3.11-f1", "suspects": 1, "tasks": wanted}
        claims = self.all("claim", self.workers[worker], **options)
        if claims != "lost":
            self.tasks += [(task.key, task.call.attempt) for task in claims.tasks]

    @precondition(lambda self: self.tasks)
    @rule(
        number=st.integers(0, 100),
        worker=st.integers(0, 1),
        kind=st.sampled_from(["completed", "failed", "retrying", "cancelled", "streams"]),
        hold=st.booleans(),
        streams=st.booleans(),
    )
    def finish(self, number: int, worker: int, kind: str, hold: bool, streams: bool) -> None:
        (run, link, ref), attempt = self.tasks[number % len(self.tasks)]
        writes = (Voided(ref), Written("out", ref, (("value", b"1"),))) if streams or kind == "streams" else ()
        ending = None if kind == "streams" else _ending(kind, ref, attempt)
        entry = TaskCommit(run=run, link=link, ref=ref, attempt=attempt, streams=writes, ending=ending)
        if hold:
            self.held.append(entry)
        else:
            self.commit(self.workers[worker], entry)

    @rule(queue=QUEUES, limit=st.none() | st.integers(0, 2))
    def limit_queue(self, queue: str, limit: int | None) -> None:
        self.all("limit_queue", queue, limit)

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(worker=st.integers(0, 1), leaves=st.booleans())
    def live_again(self, worker: int, leaves: bool) -> None:
        if leaves:
            self.all("leave", self.workers[worker])
        self.lives += 1
        self.workers[worker] = WorkerId(f"w{self.lives}")
        self.all("join", self.workers[worker], lease=30.0)

    @precondition(lambda self: self.clock.at > 1_800_000_060)
    @rule()
    def prune(self) -> None:
        self.all("prune", ended_before=self.clock.now() - 30, limit=2)

    @invariant()
    def they_hold_the_same_and_are_sound(self) -> None:
        records = self.all("runs", RunFilter())
        for record in records:
            self.all("log", record.id, record.link)
            self.all("waits", record.id)
            self.all("hooks", record.id)
            self.all("tasks", record.id)
            self.all("chunks", record.id, "out", start=0, limit=100)
        self.all("queues")
        for worker in self.workers:
            self.all("knocks", worker)
            self.all("held", worker)
        for store in self.stores:
            assert [fault for fault in self.runner.run(store.audit()) if "stranded" not in fault] == []


@pytest.fixture(autouse=True, scope="module")
def _server(postgres_server: str) -> None:
    StoresAgree.server = postgres_server


def _without_ids(answer: Any) -> Any:
    for outcome in answer if isinstance(answer, list) else ():
        if isinstance(outcome, dict) and "waking" in outcome:
            outcome["waking"] = len(outcome["waking"])
    if (
        isinstance(answer, list) and answer and isinstance(answer[0], dict) and "served" in answer[0]
    ):  # a name without anything in it may be known or not
        return [queue for queue in answer if queue["waiting"] or queue["running"] or queue["limit"] is not None]
    if isinstance(answer, dict) and "cancelling" in answer:  # of a claim
        answer["cancelling"] = sorted(answer["cancelling"])
        answer["tasks"] = sorted(answer["tasks"], key=lambda task: task["key"])
    return answer


def _raw(value: Any) -> Any:
    return bytes(value).decode() if isinstance(value, Raw) else value


TestStoresAgree = pytest.mark.timeout(600)(StoresAgree.TestCase)
TestStoresAgree.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
