"""How logs grow: new runs, appends, fences, waits, what one entry's failure does to the others."""

from __future__ import annotations

from msgspec import Raw

from outlive.model import events as ev
from outlive.model.entries import Committed, Created, Existing, Fenced, Message, Rejected, SpawnRun
from outlive.model.events import Parent
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import RunStatus
from outlive.testing.conformance.world import (
    FLOW,
    LEASE,
    W1,
    W2,
    World,
    WorldFixtures,
    completed,
    hook,
    new_run,
    sleep_until,
    started,
    step,
    woke,
)


class CommitConformance(WorldFixtures):
    # --- new runs ---

    def test_a_new_run_is_pending_and_due_at_once(self, world: World) -> None:
        assert isinstance(world.create("r1"), Created)
        record = world.record("r1")
        assert (record.status, record.wake_at, record.owner, record.epoch) == (
            RunStatus.PENDING,
            world.clock.now(),
            None,
            0,
        )
        assert world.kinds() == ["run_created"]

    def test_r34_a_run_can_be_created_started_and_owned_in_one_commit(self, world: World) -> None:
        created = world.create("r1", claim=True)
        assert isinstance(created, Created)
        assert [ev.kind_of(recorded.event) for recorded in created.events] == ["run_created", "run_started"]
        record = world.record("r1")
        assert (record.status, record.owner, record.epoch, record.seq, record.wake_at) == (
            RunStatus.RUNNING,
            W1,
            1,
            2,
            None,
        )

    def test_a_worker_without_a_lease_creates_without_claiming(self, world: World) -> None:
        world.clock.advance(LEASE)
        created = world.create("r1", claim=True)
        assert isinstance(created, Created) and created.epoch == 0
        assert world.record().status is RunStatus.PENDING

    def test_the_second_run_of_an_id_is_the_first_one(self, world: World) -> None:
        world.create("r1")
        assert world.create("r1") == Existing(id=RunId("r1"), same=True)

    def test_an_id_with_another_input_conflicts(self, world: World) -> None:
        world.create("r1")
        assert world.create("r1", input_digest="other") == Existing(id=RunId("r1"), same=False)

    def test_an_id_with_another_workflow_conflicts(self, world: World) -> None:
        world.create("r1")
        assert world.create("r1", workflow="app:other") == Existing(id=RunId("r1"), same=False)

    def test_b2_one_id_twice_in_a_batch_is_one_run(self, world: World) -> None:
        first, second = world.commit(new_run("r1", claim=True), new_run("r1", claim=True))
        assert (type(first), type(second)) == (Created, Existing)

    def test_what_a_run_was_created_with_is_kept(self, world: World) -> None:
        parent = Parent(RunId("p"), 1, 7)
        world.create("r1", tags=("a", "b"), parent=parent, root=RunId("p"))
        record = world.record()
        assert (record.tags, record.parent, record.root, record.created_at) == (
            ("a", "b"),
            parent,
            "p",
            world.clock.now(),
        )
        [event] = world.log()
        assert isinstance(event, ev.RunCreated) and (event.parent, bytes(event.input)) == (parent, b'{"n":1}')

    # --- appending ---

    def test_events_are_numbered_densely_and_carry_worker_and_epoch(self, world: World) -> None:
        world.start("r1")
        committed = world.append("r1", step(1), step(2))
        assert [(r.seq, r.worker, r.epoch) for r in committed.events] == [(3, W1, 1), (4, W1, 1)]
        assert [r.seq for r in world.do(world.store.log(RunId("r1"), 1))] == [1, 2, 3, 4]

    def test_values_come_back_as_they_were(self, world: World) -> None:
        world.start("r1")
        world.append("r1", step(1, b'{"a":[1,2.5,"\\u00e9\\u0000"]}'))
        event = world.log()[-1]
        assert isinstance(event, ev.StepCompleted) and bytes(event.result) == b'{"a":[1,2.5,"\\u00e9\\u0000"]}'

    def test_the_log_can_be_read_in_parts(self, world: World) -> None:
        world.start("r1")
        world.append("r1", *(step(ref) for ref in range(1, 6)))
        part = world.do(world.store.log(RunId("r1"), 1, after=3, limit=2))
        assert [recorded.seq for recorded in part] == [4, 5]

    def test_the_log_of_an_unknown_run_is_empty(self, world: World) -> None:
        assert world.log("nobody") == []

    def test_r14_log_time_never_goes_back(self, world: World) -> None:
        world.start("r1")
        before = world.record().time
        world.clock.advance(-5)
        assert [r.time for r in world.append("r1", step(1)).events] == [before]

    def test_events_of_one_commit_carry_one_time(self, world: World) -> None:
        world.start("r1")
        world.clock.advance(3)
        assert {r.time for r in world.append("r1", step(1), step(2)).events} == {world.clock.now()}

    def test_an_empty_commit_changes_nothing(self, world: World) -> None:
        world.start("r1")
        before = world.record()
        assert world.append("r1") == Committed(events=(), seq=2)
        assert world.record() == before

    def test_commit_now_is_a_commit_or_nothing(self, world: World) -> None:
        world.start("r1")
        outcomes = world.store.commit_now(W1, [world.entry("r1", step(1))])
        assert (outcomes is None) == (world.record().seq == 2)

    # --- fences ---

    def test_b1_a_stale_epoch_is_fenced(self, world: World) -> None:
        world.start("r1")
        assert world.one(world.entry("r1", step(), epoch=0)) == Fenced()
        assert world.record().seq == 2

    def test_another_worker_is_fenced(self, world: World) -> None:
        world.join(W2)
        world.start("r1")
        assert world.one(world.entry("r1", step()), worker=W2) == Fenced()

    def test_an_owner_that_missed_an_event_is_fenced(self, world: World) -> None:
        world.start("r1")
        assert world.one(world.entry("r1", step(), seq=1)) == Fenced()

    def test_a_commit_to_another_link_is_fenced(self, world: World) -> None:
        world.start("r1")
        assert world.one(world.entry("r1", step(), link=2)) == Fenced()

    def test_an_unknown_run_is_fenced(self, world: World) -> None:
        world.start("r1")
        assert world.one(world.entry("r1", step()).__class__(run=RunId("no"), link=1, epoch=1, seq=2)) == Fenced()

    def test_b4_nothing_follows_the_end_of_a_run(self, world: World) -> None:
        world.start("r1")
        late = world.entry("r1", completed(b"2"))
        world.append("r1", completed(b"1"))
        assert world.one(late) == Fenced()

    def test_a_worker_past_its_lease_writes_nothing(self, world: World) -> None:
        world.start("r1")
        world.clock.advance(LEASE)
        assert world.commit(world.entry("r1", step()), world.entry("r1", step())) == [Fenced(), Fenced()]
        assert not world.do(world.store.renew(W1))

    def test_a_worker_that_never_joined_is_fenced(self, world: World) -> None:
        world.start("r1")
        assert world.one(world.entry("r1", step()), worker=WorkerId("ghost")) == Fenced()

    def test_r33_a_commit_renews_the_lease(self, world: World) -> None:
        world.start("r1")
        world.clock.advance(LEASE - 1)
        world.append("r1", step(1))
        world.clock.advance(LEASE - 1)
        assert world.append("r1", step(2)).seq == 4

    def test_r30_a_fenced_run_does_not_stop_the_others_of_a_batch(self, world: World) -> None:
        world.start("r1", "r2")
        first, second = world.commit(world.entry("r1", step(), epoch=9), world.entry("r2", step()))
        assert (type(first), type(second)) == (Fenced, Committed)

    def test_r30_an_entry_that_cannot_be_written_is_rejected_alone(self, world: World) -> None:
        world.start("r1", "r2", "r3")
        bad = ev.Marker(id="\ud800")
        outcomes = world.commit(
            world.entry("r1", step()), world.entry("r2", sleep_until(9e9), bad), world.entry("r3", step())
        )
        assert [type(outcome) for outcome in outcomes] == [Committed, Rejected, Committed]
        assert world.record("r2").seq == 2
        assert world.do(world.store.waits(RunId("r2"))) == []

    def test_r30_an_event_that_may_not_happen_is_rejected(self, world: World) -> None:
        world.start("r1")
        assert isinstance(world.one(world.entry("r1", ev.RunUnparked())), Rejected)

    # --- waits ---

    def test_a_wait_is_a_row_until_it_ends(self, world: World) -> None:
        world.start("r1")
        due = world.clock.now() + 60
        world.append("r1", sleep_until(due))
        assert [(w.ref, w.kind, w.due) for w in world.do(world.store.waits(RunId("r1")))] == [(1, "sleep", due)]
        world.append("r1", woke(due))
        assert world.do(world.store.waits(RunId("r1"))) == []

    def test_a_cancelled_wait_is_gone(self, world: World) -> None:
        world.start("r1")
        world.append("r1", sleep_until(9e9))
        world.append("r1", ev.WaitCancelled(ref=1))
        assert world.do(world.store.waits(RunId("r1"))) == []

    def test_r10_a_retry_is_a_wait_until_the_next_attempt_ends(self, world: World) -> None:
        world.start("r1")
        at = world.clock.now() + 8
        world.append("r1", ev.StepRetrying(ref=1, name="s", digest="d", error=Raw(b"{}"), started=1.0, at=at))
        assert [(w.kind, w.due) for w in world.do(world.store.waits(RunId("r1")))] == [("retry", at)]
        world.append("r1", ev.StepCompleted(ref=1, name="s", digest="d", result=Raw(b"1"), started=2.0, attempt=2))
        assert world.do(world.store.waits(RunId("r1"))) == []

    # --- releasing (R17) ---

    def test_r17_a_released_run_is_due_with_its_first_wait(self, world: World) -> None:
        world.start("r1")
        now = world.clock.now()
        world.append("r1", sleep_until(now + 60, 1), sleep_until(now + 20, 2), release=True)
        record = world.record()
        assert (record.owner, record.wake_at) == (None, now + 20)

    def test_r17_a_released_run_with_a_message_is_due_now(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        world.append("r1", sleep_until(9e9, 2), release=True)
        assert world.record().wake_at == world.clock.now()

    def test_a_run_that_waits_for_a_message_only_is_never_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"), release=True)
        assert world.record().wake_at is None

    def test_a_released_run_can_not_be_written_by_its_last_owner(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"), release=True)
        assert world.one(world.entry("r1", step(2))) == Fenced()

    # --- children ---

    def test_a_spawned_run_is_there_with_the_event_that_says_so(self, world: World) -> None:
        world.start("r1")
        committed = world.append("r1", SpawnRun(3, new_run("c1")))
        assert committed.events[0].event == ev.ChildStarted(
            ref=3, run_id=RunId("c1"), workflow=FLOW, digest="digest", input=Raw(b'{"n":1}')
        )
        child = world.record("c1")
        assert (child.parent, child.root, child.status) == (Parent(RunId("r1"), 1, 3), "r1", RunStatus.PENDING)

    def test_a_grandchild_has_the_root_of_the_family(self, world: World) -> None:
        world.start("r1")
        world.append("r1", SpawnRun(1, new_run("c1")))
        world.claim()
        world.append("c1", SpawnRun(1, new_run("c2")))
        assert world.record("c2").root == "r1"

    def test_a_spawned_id_that_is_taken_is_a_recorded_conflict(self, world: World) -> None:
        world.create("c1", input_digest="other")
        world.start("r1")
        [recorded] = world.append("r1", SpawnRun(1, new_run("c1"))).events
        assert isinstance(recorded.event, ev.ChildStarted) and recorded.event.conflict

    def test_a_run_spawned_again_is_the_same(self, world: World) -> None:
        world.create("c1")
        world.start("r1")
        [recorded] = world.append("r1", SpawnRun(1, new_run("c1"))).events
        assert isinstance(recorded.event, ev.ChildStarted) and not recorded.event.conflict

    def test_a_fenced_spawn_creates_nothing(self, world: World) -> None:
        world.start("r1")
        world.one(world.entry("r1", SpawnRun(1, new_run("c1")), epoch=9))
        assert world.do(world.store.run(RunId("c1"))) is None

    def test_entries_of_all_kinds_share_a_batch(self, world: World) -> None:
        world.start("r1")
        world.append("r1", started(1))
        outcomes = world.commit(
            world.entry("r1", step(1)),
            new_run("r2"),
            Message(kind="cancel", run=RunId("r1")),
            new_run("r3", claim=True),
        )
        assert [type(outcome).__name__ for outcome in outcomes] == ["Committed", "Created", "Accepted", "Created"]
