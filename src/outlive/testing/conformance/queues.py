"""Steps in queues: who takes them, who may write for them, and what comes back to their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from outlive.errors import LeaseLost
from outlive.model import events as ev
from outlive.model.entries import Accepted, ClaimedTask, Fenced, Outcome, TaskCommit, TaskKey, Terminate
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import ServiceRecord
from outlive.model.steps import StepOptions
from outlive.model.streams import Voided, Written
from outlive.model.tasks import Lane, Wanted
from outlive.testing.conformance.world import FLOW, LEASE, W1, W2, World, WorldFixtures, completed, new_run, parked

CHARGE = "app:charge"


def scheduled(
    ref: int = 1, *, name: str = CHARGE, queue: str = "gpu", priority: int = 0, attempt: int = 1
) -> ev.StepScheduled:
    options = StepOptions(queue=queue, priority=priority)
    return ev.StepScheduled(ref=ref, name=name, digest="d", input=Raw(b"{}"), options=options, attempt=attempt)


def wanted(
    *steps: str,
    room: int = 10,
    queues: tuple[str, ...] | None = None,
    rooms: Mapping[str, int] | None = None,
    suspects: bool = True,
    idle: bool = True,
) -> Wanted:
    lane = Lane(frozenset(steps or (CHARGE,)), room)
    served = None if queues is None else frozenset(queues)
    return Wanted(lanes=(lane,), queues=served, rooms=rooms or {}, suspects=suspects, idle=idle)


def inherit(world: World, heir: WorkerId) -> None:
    """Everybody dies, and ``heir`` is there."""
    world.clock.advance(LEASE)
    world.join(heir)


def fifth(world: World) -> WorkerId:
    """A worker, after four that each died with both tasks of ``r1``."""
    world.start("r1")
    world.append("r1", scheduled(1), scheduled(2))
    world.append("r1", release=True)
    worker = W1
    for death in range(4):
        assert len(take(world, worker)) == 2
        inherit(world, heir := WorkerId(f"heir-{death}"))
        worker = heir
    return worker


def take(world: World, worker: WorkerId = W1, tasks: Wanted | None = None) -> list[ClaimedTask]:
    claims = world.do(
        world.store.claim(worker, limit=0, workflows=(), fingerprint="f", suspects=1, tasks=tasks or wanted())
    )
    return list(claims.tasks)


def refs(tasks: list[ClaimedTask]) -> list[int]:
    return [task.key.ref for task in tasks]


def done(ref: int = 1, *, attempt: int = 1, result: bytes = b"1") -> ev.StepCompleted:
    return ev.StepCompleted(ref=ref, name=CHARGE, digest="d", result=Raw(result), started=1.0, attempt=attempt)


def end(world: World, ending: ev.StepEnding, *, run: str = "r1", worker: WorkerId = W1, link: int = 1) -> Outcome:
    commit = TaskCommit(run=RunId(run), link=link, ref=ending.ref, attempt=ending.attempt, ending=ending)
    return world.one(commit, worker=worker)


class QueueConformance(WorldFixtures):
    def test_a_step_is_taken_once_and_its_result_comes_back(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        [task] = take(world)
        assert (task.key, task.call, task.claims) == (TaskKey(RunId("r1"), 1, 1), scheduled(), 1)
        assert take(world) == []
        assert isinstance(end(world, done()), Accepted)
        assert world.do(world.store.knocks(W1)) == ["r1"]
        assert world.append("r1", take=True).events[-1].event == done()
        assert world.do(world.store.tasks(RunId("r1"))) == []

    def test_a_result_wakes_a_run_that_nobody_owns(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        world.append("r1", release=True)
        assert world.record("r1").wake_at is None
        end(world, done())
        assert world.record("r1").wake_at == world.clock.at
        assert [claimed.run for claimed in world.claim().runs] == ["r1"]
        world.append("r1", take=True)

    def test_a_retry_comes_back_too_and_the_next_attempt_is_put_into_the_queue(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        at = world.clock.at + 5
        again = ev.StepRetrying(ref=1, name=CHARGE, digest="d", error=Raw(b"{}"), started=1.0, at=at)
        end(world, again)
        world.append("r1", take=True)
        assert [wait.due for wait in world.do(world.store.waits(RunId("r1")))] == [at]
        world.append("r1", scheduled(attempt=2))
        assert world.do(world.store.waits(RunId("r1"))) == []
        [task] = take(world)
        assert task.call.attempt == 2

    def test_only_steps_that_are_known_are_taken_from_queues_that_are_served(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled(1), scheduled(2, name="app:other"), scheduled(3, queue="cpu"))
        assert take(world, tasks=wanted("app:third")) == []
        assert refs(take(world, tasks=wanted(CHARGE, queues=("cpu",)))) == [3]
        assert refs(take(world, tasks=wanted(CHARGE, "app:other", queues=("gpu",)))) == [1, 2]

    def test_the_lowest_priority_goes_first_then_the_oldest(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled(1, priority=7), scheduled(2), scheduled(3, priority=-1), scheduled(4))
        assert refs(take(world, tasks=wanted(room=3))) == [3, 2, 4]
        assert refs(take(world)) == [1]

    def test_no_more_are_taken_than_there_is_room_for(self, world: World) -> None:
        world.start("r1")
        world.append("r1", *(scheduled(ref) for ref in range(1, 6)))
        assert refs(take(world, tasks=wanted(room=2))) == [1, 2]
        assert refs(take(world, tasks=wanted(rooms={"gpu": 1}))) == [3]
        assert take(world, tasks=wanted(room=0)) == []

    def test_no_queue_starves_because_another_always_has_something(self, world: World) -> None:
        world.start("r1")
        steps = [scheduled(ref, queue=queue) for ref, queue in enumerate("aaaaabbbbbcd", 1)]
        world.append("r1", *steps)
        first = take(world, tasks=wanted(room=6))
        assert Counter(task.call.options.queue for task in first) == {"a": 2, "b": 2, "c": 1, "d": 1}
        turns = [take(world, tasks=msgspec.structs.replace(wanted(room=1), turn=turn)) for turn in (1, 2)]
        assert {task.call.options.queue for [task] in turns} == {"a", "b"}
        assert refs(take(world, tasks=wanted(room=3))) == [4, 5, 9]
        assert len(take(world)) == 1

    def test_a_limit_counts_what_all_living_workers_hold(self, world: World) -> None:
        world.join(W2)
        world.do(world.store.limit_queue("gpu", 3))
        world.start("r1")
        world.append("r1", *(scheduled(ref) for ref in range(1, 6)), scheduled(6, queue="cpu"))
        assert refs(take(world, tasks=wanted(room=2, queues=("gpu",)))) == [1, 2]
        assert refs(take(world, W2)) == [6, 3]
        assert take(world) == []
        end(world, done(1))
        assert refs(take(world)) == [4]
        world.do(world.store.limit_queue("gpu", None))
        assert refs(take(world, W2)) == [5]
        world.append("r1", take=True)

    def test_a_dead_worker_holds_no_slot(self, world: World) -> None:
        world.do(world.store.limit_queue("gpu", 1))
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        world.clock.advance(LEASE)
        world.join(W2)
        [task] = take(world, W2)
        assert (task.key.ref, task.claims) == (1, 2)
        assert isinstance(end(world, done()), Fenced)
        assert isinstance(end(world, done(), worker=W2), Accepted)
        world.claim(W2)
        world.append("r1", take=True, worker=W2)

    def test_r31_a_crash_is_charged_to_a_step_only_if_nothing_else_was_at_work(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        world.append("r1", scheduled(1), scheduled(2))
        world.append("r1", release=True)
        take(world, W2, wanted(room=1))
        world.clock.advance(LEASE / 2)
        assert world.do(world.store.renew(W1))
        world.clock.advance(LEASE / 2)
        assert [task.crashes for task in take(world)] == [1], "it was alone"
        assert [task.crashes for task in take(world)] == [0]
        world.clock.advance(LEASE)
        world.join(WorkerId("w3"))
        assert [task.crashes for task in take(world, WorkerId("w3"))] == [0], "there were two"
        assert [task.crashes for task in take(world, WorkerId("w3"))] == [1]

    def test_r31_what_workers_died_with_is_tried_first_apart_and_in_ever_smaller_groups(self, world: World) -> None:
        world.start("r1")
        world.append("r1", *(scheduled(ref) for ref in range(1, 10)))
        world.append("r1", release=True)
        assert len(take(world)) == 9
        inherit(world, W2)
        world.append_fresh("r2", scheduled(1, priority=-5), worker=W2)
        assert [(task.key.ref, task.deaths) for task in take(world, W2)] == [(ref, 1) for ref in range(1, 9)]
        inherit(world, W3 := WorkerId("w3"))
        assert [(task.key.ref, task.deaths) for task in take(world, W3)] == [(9, 1)], "the least suspected first"
        assert [(task.key.ref, task.deaths) for task in take(world, W3)] == [(ref, 2) for ref in range(1, 5)]
        inherit(world, W4 := WorkerId("w4"))
        assert [(task.key.ref, task.deaths) for task in take(world, W4)] == [(ref, 2) for ref in (5, 6, 7, 8)]
        assert [(task.key.ref, task.deaths) for task in take(world, W4)] == [(9, 2)]
        assert [(task.key.ref, task.deaths) for task in take(world, W4)] == [(1, 3), (2, 3)]
        assert [task.key.run for task in take(world, W4, wanted(suspects=False))] == ["r2"]

    def test_r31_what_four_workers_died_with_waits_for_one_that_has_nothing_else(self, world: World) -> None:
        worker = fifth(world)
        world.append_fresh("r2", scheduled(1), worker=worker)
        assert take(world, worker, wanted(idle=False)) == [], "nor is anything new taken, so that it has its turn"
        [alone] = take(world, worker)
        assert (alone.key.ref, alone.deaths, alone.crashes) == (1, 4, 0)
        inherit(world, W2)
        assert [(task.key.ref, task.crashes) for task in take(world, W2)] == [(2, 0)]
        inherit(world, W3 := WorkerId("w3"))
        [alone] = take(world, W3)
        assert (alone.key.ref, alone.deaths, alone.crashes) == (1, 5, 1), "now it was alone"

    def test_r31_of_many_the_least_suspected_go_first_whatever_room_there_is(self, world: World) -> None:
        world.start("r1")
        world.append("r1", *(scheduled(ref) for ref in range(1, 7)))
        world.append("r1", release=True)
        assert refs(take(world, W1, wanted(room=4))) == [1, 2, 3, 4]
        for heir in ("h1", "h2", "h3"):
            inherit(world, WorkerId(heir))
            while take(world, WorkerId(heir)):
                pass
        inherit(world, W2)
        assert [(task.key.ref, task.deaths) for task in take(world, W2, wanted(room=4, idle=False))] == [(5, 3), (6, 3)]
        assert take(world, W2, wanted(room=4, idle=False)) == []
        assert [(task.key.ref, task.deaths) for task in take(world, W2, wanted(room=4))] == [(1, 4)]

    def test_r31_a_step_is_charged_only_where_no_run_was(self, world: World) -> None:
        """Not even one that has gone on: what it did next may have been deadly."""
        worker = fifth(world)
        [other] = take(world, worker)
        end(world, done(other.key.ref), worker=worker)
        [task] = take(world, worker)
        world.one(new_run("r2", claim=True), worker=worker)
        world.one(new_run("r3", claim=True), worker=worker)
        world.append("r3", done(1), worker=worker)
        inherit(world, W2)
        [again] = take(world, W2)
        assert (again.deaths, again.crashes) == (task.deaths + 1, task.crashes)
        for run in ("r2", "r3"):
            world.one(Terminate(run=RunId(run), reason=""), worker=W2)
        inherit(world, W3 := WorkerId("w3"))
        [once_more] = take(world, W3)
        assert (once_more.deaths, once_more.crashes) == (again.deaths + 1, again.crashes + 1)

    def test_r31_a_worker_is_told_that_a_step_waits_for_it_to_be_idle(self, world: World) -> None:
        worker = fifth(world)
        options: dict[str, Any] = {"limit": 10, "workflows": (FLOW,), "fingerprint": "f", "suspects": 10}
        for _ in range(2):
            busy = world.do(world.store.claim(worker, tasks=wanted(idle=False), **options))
            assert busy.alone and busy.tasks == ()
        world.do(world.store.limit_queue("gpu", 0))
        full = world.do(world.store.claim(worker, tasks=wanted(idle=False), **options))
        assert not full.alone, "there is no room for it anyway"
        world.do(world.store.limit_queue("gpu", None))
        idle = world.do(world.store.claim(worker, tasks=wanted(), **options))
        assert not idle.alone and len(idle.tasks) == 1

    def test_a_claim_that_finds_no_room_and_nothing_that_may_be_tried_writes_nothing(self, world: World) -> None:
        worker = fifth(world)
        assert take(world, worker, wanted(idle=False)) == [], "it frees what the dead one held"
        world.clock.advance(LEASE / 2)
        assert take(world, worker, wanted(idle=False)) == []
        world.do(world.store.limit_queue("gpu", 0))
        assert take(world, worker) == []
        world.clock.advance(LEASE / 2)
        with pytest.raises(LeaseLost):
            take(world, worker)

    def test_r31_no_step_is_tried_beside_a_suspected_run(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", scheduled(1))
        take(world)
        inherit(world, W2)
        world.append_fresh("r3", scheduled(1), worker=W2)
        both = world.do(
            world.store.claim(W2, limit=10, workflows=(FLOW,), fingerprint="f", suspects=10, tasks=wanted())
        )
        assert len(both.runs) == 2 and both.tasks == ()
        assert [task.key.run for task in take(world, W2)] == ["r1"]
        assert [task.key.run for task in take(world, W2)] == ["r3"]

    def test_a_worker_that_leaves_gives_its_steps_back(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        world.append("r1", scheduled())
        take(world, W2)
        assert [task.claims for task in world.do(world.store.held(W2))] == [1]
        world.do(world.store.leave(W2))
        assert world.do(world.store.held(W2)) == []
        [task] = take(world)
        assert (task.claims, task.crashes, task.deaths) == (2, 0, 0)

    def test_only_who_holds_a_step_writes_for_it(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        assert isinstance(end(world, done(), worker=W2), Fenced)
        assert isinstance(end(world, done(attempt=2)), Fenced)
        assert isinstance(end(world, done(7)), Fenced)
        assert isinstance(end(world, done(), run="r9"), Fenced)
        world.clock.advance(LEASE)
        assert isinstance(end(world, done()), Fenced)

    def test_a_step_writes_to_the_streams_of_its_run(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        run = RunId("r1")
        write = Written("out", 1, (("value", b"1"), ("value", b"2")))
        world.one(TaskCommit(run=run, link=1, ref=1, attempt=1, streams=(write,)))
        assert [chunk.data for chunk in world.do(world.store.chunks(run, "out", start=0, limit=9))] == [b"1", b"2"]
        world.one(TaskCommit(run=run, link=1, ref=1, attempt=1, streams=(Voided(1), write)))
        chunks = world.do(world.store.chunks(run, "out", start=0, limit=9))
        assert [chunk.kind for chunk in chunks] == ["reset", "value", "value"]

    def test_a_step_that_waits_is_cancelled_at_once(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        ended = world.append("r1", cancel_tasks=(1,), take=True)
        assert [item.event for item in ended.events] == [
            ev.StepCancelled(ref=1, name=CHARGE, digest="d", outcome="not_started")
        ]
        assert take(world) == []

    def test_a_step_may_be_put_into_its_queue_and_cancelled_in_one_commit(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled(), cancel_tasks=(1,), take=True)
        assert world.kinds()[-2:] == ["step_scheduled", "step_cancelled"]
        assert take(world) == []

    def test_who_holds_a_step_is_told_to_end_it(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        world.append("r1", scheduled())
        take(world, W2)
        asked = world.append("r1", cancel_tasks=(1,), take=True)
        assert (asked.events, asked.cancelling) == ((), (W2,))
        claims = world.do(world.store.claim(W2, limit=1, workflows=(), fingerprint="f", suspects=1, tasks=wanted()))
        assert claims.cancelling == (TaskKey(RunId("r1"), 1, 1),)
        failed = ev.StepFailed(ref=1, name=CHARGE, digest="d", error=Raw(b"{}"), started=1.0)
        end(world, failed, worker=W2)
        [ended] = world.append("r1", cancel_tasks=(1,), take=True).events
        assert isinstance(ended.event, ev.StepCancelled), "it is not tried again (R6)"

    def test_a_step_that_had_ended_as_it_was_cancelled_keeps_its_result(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        end(world, done())
        [ended] = world.append("r1", cancel_tasks=(1,), take=True).events
        assert ended.event == done()

    def test_somebody_says_that_a_cancelled_step_has_ended_when_its_worker_is_dead(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        world.append("r1", scheduled())
        take(world, W2)
        world.append("r1", cancel_tasks=(1,), take=True)
        world.do(world.store.leave(W2))
        [task] = take(world, tasks=wanted("app:unknown", queues=("cpu",)))
        assert task.cancelling

    @pytest.mark.parametrize("held", [True, False])
    def test_when_its_run_has_ended_a_step_waits_no_more_and_what_runs_keeps_its_slot(
        self, world: World, held: bool
    ) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        if held:
            take(world)
        cancelled = ev.StepCancelled(ref=1, name=CHARGE, digest="d", outcome="unknown")
        world.append("r1", cancelled, completed())
        tasks = world.do(world.store.tasks(RunId("r1")))
        assert [(task.owner, task.void, task.cancelling) for task in tasks] == ([(W1, True, False)] if held else [])
        assert isinstance(end(world, done()), Accepted if held else Fenced)
        assert world.do(world.store.tasks(RunId("r1"))) == []

    def test_a_terminated_run_ends_its_steps(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled(1), scheduled(2))
        take(world, tasks=wanted(room=1))
        world.one(Terminate(run=RunId("r1"), reason="enough"), worker=None)
        [task] = world.do(world.store.tasks(RunId("r1")))
        assert (task.ref, task.void, task.cancelling) == (1, True, True)
        world.do(world.store.leave(W1))
        assert world.do(world.store.tasks(RunId("r1"))) == []

    def test_a_parked_run_keeps_its_steps(self, world: World) -> None:
        world.start("r1")
        world.append("r1", scheduled())
        take(world)
        world.append("r1", parked())
        assert isinstance(end(world, done()), Accepted)
        world.claim(fingerprint="code-2")
        assert world.append("r1", take=True).events[-1].event == done()

    def test_queues_are_told_of(self, world: World) -> None:
        service = ServiceRecord(worker=W1, queues=("gpu",), workflows=("app:flow",), steps=(CHARGE,))
        world.do(world.store.serve(msgspec.structs.replace(service, queues=None)))
        world.do(world.store.serve(service))
        world.do(world.store.limit_queue("gpu", 5))
        world.start("r1")
        world.append("r1", scheduled(1), scheduled(2), scheduled(3, queue="cpu"))
        take(world, tasks=wanted(room=1, queues=("gpu",)))
        cpu, gpu = world.do(world.store.queues())
        assert (cpu.name, cpu.waiting, cpu.running, cpu.limit, cpu.served) == ("cpu", 1, 0, None, 0)
        assert (gpu.name, gpu.waiting, gpu.running, gpu.limit, gpu.served) == ("gpu", 1, 1, 5, 1)
        assert gpu.oldest == world.clock.at
        assert world.do(world.store.services()) == [service]
        world.clock.advance(LEASE)
        assert world.do(world.store.services()) == []
        world.do(world.store.leave(W1))

    def test_a_claim_that_may_take_nothing_leaves_the_lease_as_it_is_and_one_that_takes_a_step_renews_it(
        self, world: World
    ) -> None:
        world.start("r1")
        world.create("r2")
        world.append("r1", scheduled())
        world.join(W2)
        world.clock.advance(LEASE - 1)
        assert world.claim(W2, limit=0).runs == ()
        assert refs(take(world)) == [1]
        world.clock.advance(LEASE - 1)
        assert not world.do(world.store.renew(W2))
        assert world.do(world.store.renew(W1))

    def test_a_worker_that_is_gone_serves_nothing(self, world: World) -> None:
        world.do(world.store.leave(W1))
        world.do(world.store.serve(ServiceRecord(worker=W1, queues=None, workflows=(), steps=())))
        assert world.do(world.store.services()) == []

    def test_a_run_is_taken_by_who_serves_its_queue(self, world: World) -> None:
        world.create("r1", queue="eu")
        world.create("r2")
        assert (world.record("r1").queue, world.record("r2").queue) == ("eu", "default")
        assert [claimed.run for claimed in world.claim(queues=("us", "default")).runs] == ["r2"]
        assert world.claim(queues=("us",)).next_due is None
        assert [claimed.run for claimed in world.claim(root="r1", queues=("us",)).runs] == []
        assert [claimed.run for claimed in world.claim(queues=("eu",)).runs] == ["r1"]
        world.append("r1", parked())
        assert world.claim(queues=("us",), fingerprint="code-2").runs == ()
        assert [claimed.run for claimed in world.claim(fingerprint="code-2").runs] == ["r1"]

    def test_with_a_root_only_steps_under_it_are_taken(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", scheduled())
        world.append("r2", scheduled())
        claims = world.do(
            world.store.claim(W1, limit=1, workflows=(), fingerprint="f", suspects=1, root=RunId("r2"), tasks=wanted())
        )
        assert [task.key.run for task in claims.tasks] == ["r2"]
