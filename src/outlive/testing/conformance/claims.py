"""Who runs what: leases, claims, dead workers, parked runs."""

from __future__ import annotations

import pytest

from outlive.errors import LeaseLost
from outlive.model import events as ev
from outlive.model.entries import Fenced, Refused, SpawnRun
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import RunStatus
from outlive.testing.conformance.world import (
    LEASE,
    W1,
    W2,
    World,
    WorldFixtures,
    completed,
    hook,
    new_run,
    parked,
    sleep_until,
    started,
    step,
)


def lose(world: World, worker: WorkerId = W2) -> None:
    """The lease of ``w1`` ends, and ``worker`` is there to see it."""
    world.clock.advance(LEASE)
    world.join(worker)


class ClaimConformance(WorldFixtures):
    # --- leases ---

    def test_a_lease_stands_while_it_is_renewed(self, world: World) -> None:
        world.clock.advance(LEASE - 1)
        assert world.do(world.store.renew(W1))
        world.clock.advance(LEASE - 1)
        assert world.do(world.store.renew(W1))

    def test_a_lease_that_has_ended_can_not_be_renewed(self, world: World) -> None:
        world.clock.advance(LEASE)
        assert not world.do(world.store.renew(W1))

    def test_a_worker_that_never_joined_has_no_lease(self, world: World) -> None:
        assert not world.do(world.store.renew(WorkerId("ghost")))

    def test_an_id_names_one_life(self, world: World) -> None:
        with pytest.raises(LeaseLost):
            world.join(W1)

    def test_a_worker_without_a_lease_claims_nothing(self, world: World) -> None:
        world.create("r1")
        world.clock.advance(LEASE)
        with pytest.raises(LeaseLost):
            world.claim()

    def test_a_worker_that_was_swept_is_fenced_for_ever(self, world: World) -> None:
        world.start("r1")
        entry = world.entry("r1", step())
        lose(world)
        world.claim(W2)
        world.clock.advance(-LEASE)  # not even a clock that goes back revives it
        assert world.one(entry) == Fenced()
        assert not world.do(world.store.renew(W1))

    def test_leaving_frees_what_was_owned(self, world: World) -> None:
        world.start("r1")
        world.do(world.store.leave(W1))
        assert world.record().owner is None
        world.join(W2)
        [claimed] = world.claim(W2).runs
        assert (claimed.epoch, claimed.crashes, claimed.suspect) == (2, 0, False)

    def test_leaving_twice_is_harmless(self, world: World) -> None:
        world.do(world.store.leave(W1))
        world.do(world.store.leave(W1))

    # --- what is due ---

    def test_a_new_run_is_started_by_its_claim(self, world: World) -> None:
        world.create("r1")
        [claimed] = world.claim().runs
        assert (claimed.run, claimed.link, claimed.epoch, claimed.seq, claimed.takeover) == ("r1", 1, 1, 2, False)
        record = world.record()
        assert (record.status, record.owner, record.wake_at) == (RunStatus.RUNNING, W1, None)
        assert world.kinds() == ["run_created", "run_started"]

    def test_a_sleeping_run_is_claimed_when_it_is_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", sleep_until(world.clock.now() + 20), release=True)
        assert world.claim().runs == ()
        world.clock.advance(20)
        assert [c.run for c in world.claim().runs] == ["r1"]

    def test_the_next_due_time_is_told(self, world: World) -> None:
        world.start("r1", "r2")
        now = world.clock.now()
        world.append("r1", sleep_until(now + 20), release=True)
        world.append("r2", sleep_until(now + 10), release=True)
        assert world.claim().next_due == now + 10

    def test_with_nothing_ahead_nothing_is_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook(), release=True)
        assert world.claim().next_due is None

    def test_what_was_owned_is_not_claimed(self, world: World) -> None:
        world.start("r1")
        world.join(W2)
        assert world.claim(W2).runs == ()

    def test_a_claim_is_made_once(self, world: World) -> None:
        world.create("r1")
        world.join(W2)
        assert len(world.claim(W1).runs) == 1
        assert world.claim(W2).runs == ()

    def test_a_claim_takes_no_more_than_its_limit_oldest_first(self, world: World) -> None:
        for run in ("r1", "r2", "r3"):
            world.create(run)
            world.clock.advance(1)
        claims = world.claim(limit=2)
        assert [c.run for c in claims.runs] == ["r1", "r2"]
        assert claims.next_due == world.clock.now() - 1

    def test_b13_a_run_of_an_unknown_workflow_waits(self, world: World) -> None:
        world.create("r1", workflow="app:new")
        claims = world.claim()
        assert (claims.runs, claims.next_due) == ((), None)
        assert world.record().status is RunStatus.PENDING

    def test_workflows_that_nobody_knows_don_t_hide_others(self, world: World) -> None:
        for number in range(5):
            world.create(f"x{number}", workflow="app:new")
        world.create("r1")
        assert [c.run for c in world.claim(limit=1).runs] == ["r1"]

    def test_r37_a_claim_can_be_limited_to_one_family(self, world: World) -> None:
        world.start("r1")
        world.append("r1", SpawnRun(1, new_run("c1")))
        world.create("other")
        claims = world.claim(root="r1")
        assert ([c.run for c in claims.runs], claims.next_due) == (["c1"], None)

    def test_each_claim_raises_the_epoch(self, world: World) -> None:
        world.start("r1")
        world.append("r1", sleep_until(world.clock.now()), release=True)
        assert [c.epoch for c in world.claim().runs] == [2]

    def test_a_worker_can_ask_what_it_owns(self, world: World) -> None:
        world.start("r1", "r2", "r3")
        world.append("r2", sleep_until(9e9), release=True)
        world.append("r3", completed())
        assert world.do(world.store.owned(W1)) == ["r1"]
        assert world.do(world.store.owned(W2)) == []

    # --- dead workers ---

    def test_the_runs_of_a_dead_worker_are_taken_over(self, world: World) -> None:
        world.start("r1")
        world.append("r1", step())
        lose(world)
        [claimed] = world.claim(W2).runs
        assert (claimed.epoch, claimed.seq, claimed.takeover, claimed.crashes) == (2, 3, True, 0)

    def test_a_takeover_is_told_once(self, world: World) -> None:
        world.start("r1")
        lose(world)
        world.claim(W2)
        world.append("r1", sleep_until(world.clock.now()), release=True, worker=W2)
        assert [c.takeover for c in world.claim(W2).runs] == [False]

    def test_the_old_owner_is_fenced(self, world: World) -> None:
        world.start("r1")
        entry = world.entry("r1", step())
        lose(world)
        world.claim(W2)
        assert world.one(entry) == Fenced()

    # --- crashes (R31) ---

    def test_r31_the_only_suspect_is_charged(self, world: World) -> None:
        world.start("r1")
        world.append("r1", started())
        lose(world)
        [claimed] = world.claim(W2).runs
        assert (claimed.crashes, claimed.suspect) == (1, True)

    def test_r31_one_suspect_among_others_is_not_charged(self, world: World) -> None:
        world.start("r1", "r2")
        lose(world)
        assert [(c.crashes, c.suspect) for c in world.claim(W2).runs] == [(0, True), (0, True)]

    def test_r31_a_run_that_went_on_is_no_suspect(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", step())
        lose(world)
        assert {c.run: (c.crashes, c.suspect) for c in world.claim(W2).runs} == {"r1": (1, True), "r2": (0, False)}

    @pytest.mark.parametrize("suspects", [0, 1, 2])
    def test_r31_few_suspects_are_taken_at_once(self, world: World, suspects: int) -> None:
        world.start("r1", "r2", "r3")
        world.append("r2", step())
        lose(world)
        taken = world.claim(W2, suspects=suspects).runs
        assert sum(claimed.suspect for claimed in taken) == suspects
        assert "r2" in [claimed.run for claimed in taken]
        rest = world.claim(W2, suspects=2).runs
        assert len(taken) + len(rest) == 3

    def test_r31_crashes_add_up(self, world: World) -> None:
        world.start("r1")
        for number in range(2, 5):
            lose(world, WorkerId(f"w{number}"))
            world.claim(WorkerId(f"w{number}"))
        assert world.record().crashes == 3

    def test_r31_any_new_event_sets_the_count_to_zero(self, world: World) -> None:
        world.start("r1")
        lose(world)
        world.claim(W2)
        world.append("r1", started(), worker=W2)
        assert world.record().crashes == 1
        world.append("r1", step(), worker=W2)
        assert world.record().crashes == 0

    # --- parking (R32) ---

    def test_r32_a_parked_run_keeps_why(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1", "divergence"))
        record = world.record()
        assert (record.status, record.reason, record.fingerprint) == (RunStatus.PARKED, "divergence", "code-1")
        assert (record.owner, record.wake_at) == (None, None)

    def test_r32_the_code_that_parked_a_run_does_not_try_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1"))
        assert world.claim(fingerprint="code-1").runs == ()

    def test_r32_other_code_tries_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1"))
        [claimed] = world.claim(fingerprint="code-2").runs
        assert (claimed.run, claimed.epoch, claimed.takeover) == ("r1", 2, False)
        assert world.kinds()[-2:] == ["run_parked", "run_unparked"]
        record = world.record()
        assert (record.status, record.reason, record.fingerprint) == (RunStatus.RUNNING, "", "")

    def test_r23_only_its_own_python_tries_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("3.12-code", python="3.11"))
        assert world.claim(fingerprint="3.12-other").runs == ()
        assert world.claim(fingerprint="3.13-code").runs == ()
        assert [c.run for c in world.claim(fingerprint="3.11-code").runs] == ["r1"]

    def test_r23_a_wake_up_lets_any_python_try(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("3.12-code", python="3.11"))
        world.wake("r1")
        assert [c.run for c in world.claim(fingerprint="3.12-code").runs] == ["r1"]

    def test_r32_old_and_new_workers_do_not_pass_a_run_to_and_fro(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1"))
        world.claim(fingerprint="code-2")
        world.append("r1", parked("code-2"))
        assert world.claim(fingerprint="code-1").runs == ()
        assert [c.run for c in world.claim(fingerprint="code-3").runs] == ["r1"]

    def test_r32_a_run_that_went_on_may_be_tried_by_all_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1"))
        world.claim(fingerprint="code-2")
        world.append("r1", step())
        world.append("r1", parked("code-2"))
        assert [c.run for c in world.claim(fingerprint="code-1").runs] == ["r1"]

    def test_r32_a_wake_up_lets_the_same_code_try_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", parked("code-1"))
        world.wake("r1")
        assert [c.run for c in world.claim(fingerprint="code-1").runs] == ["r1"]

    def test_other_messages_leave_a_run_parked_and_wait(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.append("r1", parked())
        world.send("t1")
        world.cancel("r1")
        assert world.claim().runs == ()
        world.claim(fingerprint="code-2")
        assert [ev.kind_of(r.event) for r in world.append("r1", take=True).events] == [
            "hook_received",
            "cancel_requested",
        ]

    def test_parking_does_not_discard_payloads(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        world.append("r1", parked(), take=True)
        assert "hook_discarded" not in world.kinds()

    def test_waits_of_a_parked_run_are_kept_but_do_not_wake_it(self, world: World) -> None:
        world.start("r1")
        world.append("r1", sleep_until(world.clock.now() + 1))
        world.append("r1", parked())
        world.clock.advance(5)
        assert world.claim().runs == ()
        assert len(world.do(world.store.waits(RunId("r1")))) == 1

    def test_a_wake_up_of_an_ended_run_is_refused(self, world: World) -> None:
        world.start("r1")
        world.append("r1", completed())
        assert world.wake("r1") == Refused("ended", RunId("r1"))
