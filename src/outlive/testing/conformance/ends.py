"""How runs end, who is told, and how chains go on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.entries import Accepted, Fenced, Refused, Terminate
from outlive.model.ids import RunId, TokenHash
from outlive.model.records import RunStatus
from outlive.testing.conformance.world import (
    W1,
    World,
    WorldFixtures,
    completed,
    hook,
    new_run,
    parked,
    sleep_until,
    step,
    watch,
)

CONTINUED = ev.RunContinued(input=Raw(b'{"n":2}'))


def next_link() -> dict[str, Any]:
    return {"next_link": new_run("r1", seed="seed-2", input=Raw(b'{"n":2}'), input_digest="digest-2")}


class EndConformance(WorldFixtures):
    @pytest.mark.parametrize(
        ("event", "status"),
        [
            (completed(), RunStatus.COMPLETED),
            (ev.RunFailed(error=Raw(b'{"type":"E"}')), RunStatus.FAILED),
            (ev.RunCancelled(), RunStatus.CANCELLED),
        ],
    )
    def test_a_run_ends_with_its_last_event(self, world: World, event: ev.Event, status: RunStatus) -> None:
        world.start("r1")
        world.append("r1", hook("t1", 1), sleep_until(9e9, 2))
        world.append("r1", event)
        record = world.record()
        assert (record.status, record.owner, record.wake_at, record.ended_at) == (status, None, None, world.clock.now())
        assert world.do(world.store.waits(RunId("r1"))) == []
        assert world.do(world.store.hooks(RunId("r1"))) == []

    # --- watching ---

    @pytest.mark.parametrize(
        ("event", "status", "outcome"),
        [
            (completed(b"[1]"), "completed", b"[1]"),
            (ev.RunFailed(error=Raw(b'{"type":"E"}')), "failed", b'{"type":"E"}'),
            (ev.RunCancelled(), "cancelled", b"null"),
        ],
    )
    def test_who_watches_a_run_is_told_how_it_ended(
        self, world: World, event: ev.Event, status: str, outcome: bytes
    ) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2", 4),))
        assert world.append("r2", event).ended_watches == ("r1",)
        [recorded] = world.append("r1", take=True).events
        assert isinstance(recorded.event, ev.ChildCompleted)
        assert (recorded.event.ref, recorded.event.run_id, recorded.event.status) == (4, "r2", status)
        assert bytes(recorded.event.outcome) == outcome

    def test_watching_what_has_ended_is_answered_at_once(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", completed(b"7"))
        assert world.append("r1", watch=(watch("r2", 4),)).ended_watches == ("r1",)
        [recorded] = world.append("r1", take=True).events
        assert isinstance(recorded.event, ev.ChildCompleted) and bytes(recorded.event.outcome) == b"7"

    def test_watching_nobody_is_answered_at_once(self, world: World) -> None:
        world.start("r1")
        world.append("r1", watch=(watch("none", 4),))
        [recorded] = world.append("r1", take=True).events
        assert recorded.event == ev.ChildCompleted(ref=4, run_id=RunId("none"), status="not_found")

    def test_a_watch_registered_again_is_answered_once(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2", 4),))
        world.append("r1", watch=(watch("r2", 4),))
        world.append("r2", completed())
        world.append("r1", watch=(watch("r2", 4),))
        assert len(world.append("r1", take=True).events) == 1

    def test_r03_a_watch_renewed_as_its_answer_is_taken_in_is_answered_once(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2", 4),))
        world.append("r2", completed())
        taken = world.append("r1", take=True, watch=(watch("r2", 4),))
        assert [ev.kind_of(r.event) for r in taken.events] == ["child_completed"]
        assert world.append("r1", take=True).events == ()

    def test_the_end_of_a_watched_run_makes_the_watcher_due(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2"),), release=True)
        assert world.record("r1").wake_at is None
        world.append("r2", completed())
        assert world.record("r1").wake_at == world.clock.now()

    def test_a_withdrawn_watch_is_not_answered(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2", 4),))
        world.append("r1", unwatch=(4,))
        assert world.append("r2", completed()).ended_watches == ()

    def test_a_run_that_has_ended_is_told_nothing(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2", 4),))
        world.append("r1", completed())
        assert world.append("r2", completed()).ended_watches == ()

    # --- terminating ---

    def test_r07_terminating_ends_a_run_and_fences_its_owner(self, world: World) -> None:
        world.start("r1")
        late = world.entry("r1", step(1))
        assert world.one(Terminate(run=RunId("r1"), reason="enough"), worker=None) == Accepted(
            run=RunId("r1"), link=1, owner=W1
        )
        record = world.record()
        assert (record.status, record.reason, record.epoch, record.owner) == (RunStatus.TERMINATED, "enough", 2, None)
        assert world.one(late) == Fenced()

    @pytest.mark.parametrize("state", ["pending", "parked", "asleep"])
    def test_a_run_can_be_terminated_in_any_state(self, world: World, state: str) -> None:
        world.create("r1")
        if state != "pending":
            world.claim()
            world.append("r1", hook("t1", 1), sleep_until(9e9, 2), release=state == "asleep")
            world.send("t1")
        if state == "parked":
            world.append("r1", parked())
        world.one(Terminate(run=RunId("r1"), reason="enough"))
        assert world.record().status is RunStatus.TERMINATED
        assert ("hook_discarded" in world.kinds()) == (state != "pending")

    def test_terminating_tells_who_watches(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", watch=(watch("r2"),))
        world.one(Terminate(run=RunId("r2"), reason="enough"))
        [recorded] = world.append("r1", take=True).events
        assert recorded.event == ev.ChildCompleted(
            ref=1, run_id=RunId("r2"), status="terminated", outcome=Raw(b'"enough"')
        )

    def test_terminating_twice_is_refused(self, world: World) -> None:
        world.start("r1")
        world.one(Terminate(run=RunId("r1"), reason="a"))
        assert world.one(Terminate(run=RunId("r1"), reason="b")) == Refused("ended", RunId("r1"))

    def test_terminating_nobody_is_refused(self, world: World) -> None:
        assert world.one(Terminate(run=RunId("none"), reason="a")) == Refused("not_found", RunId("none"))

    # --- chains (R8) ---

    def test_r08_the_next_link_begins_in_the_commit_that_ends_this_one(self, world: World) -> None:
        world.start("r1")
        world.append("r1", step(1))
        committed = world.append("r1", CONTINUED, **next_link())
        assert [ev.kind_of(r.event) for r in committed.events] == ["run_continued"]
        assert [ev.kind_of(r.event) for r in committed.next_events] == ["run_created", "run_started"]
        record = world.record()
        assert (record.link, record.seq, committed.seq, record.owner, record.epoch) == (2, 2, 2, W1, 1)
        first = world.log("r1", 2)[0]
        assert isinstance(first, ev.RunCreated) and (first.seed, bytes(first.input)) == ("seed-2", b'{"n":2}')

    def test_r08_the_old_link_keeps_its_log(self, world: World) -> None:
        world.start("r1")
        world.append("r1", CONTINUED, **next_link())
        world.append("r1", step(1))
        assert world.kinds("r1", 1) == ["run_created", "run_started", "run_continued"]
        assert world.kinds("r1", 2) == ["run_created", "run_started", "step_completed"]

    def test_r08_a_chain_is_still_known_by_its_first_input(self, world: World) -> None:
        world.start("r1")
        world.append("r1", CONTINUED, **next_link())
        outcome = world.create("r1")
        assert getattr(outcome, "same", None) is True

    def test_r08_waits_and_watches_end_with_the_link(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", sleep_until(9e9, 1), watch=(watch("r2", 2),))
        world.append("r1", CONTINUED, **next_link())
        assert world.do(world.store.waits(RunId("r1"))) == []
        assert world.append("r2", completed()).ended_watches == ()

    def test_r08_who_watches_a_chain_watches_it_to_its_end(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", watch=(watch("r1", 2),))
        world.append("r1", CONTINUED, **next_link())
        assert world.append("r1", completed()).ended_watches == ("r2",)

    def test_r08_a_cancel_request_goes_on_to_the_next_link(self, world: World) -> None:
        world.start("r1")
        world.cancel("r1")
        world.append("r1", CONTINUED, **next_link())
        assert [r.event for r in world.append("r1", take=True).events] == [ev.CancelRequested()]

    def test_r08_a_generated_token_is_free_and_its_payload_discarded(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        world.append("r1", CONTINUED, **next_link())
        assert world.kinds("r1", 1)[-2:] == ["hook_discarded", "run_continued"]
        assert world.do(world.store.hook(TokenHash("t1"))) is None

    def test_r08_a_chosen_token_is_held_until_the_next_link_opens_it(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1", named=True))
        world.send("t1", "early")
        world.append("r1", CONTINUED, **next_link())
        assert isinstance(world.send("t1", "between"), Accepted)
        assert world.append("r2", hook("t1")).events[0].event == ev.HookConflict(
            ref=1, token_hash=TokenHash("t1"), run_id=RunId("r1")
        )
        assert world.append("r1", take=True).events == ()  # nobody can take them yet
        assert world.do(world.store.knocks(W1)) == []
        assert world.append("r1", hook("t1", ref=6, named=True)).ended_watches == ("r1",)
        received = [r.event for r in world.append("r1", take=True).events]
        assert [(e.ref, e.payload.text) for e in received if isinstance(e, ev.HookReceived)] == [
            (6, "early"),
            (6, "between"),
        ]

    def test_r08_a_held_payload_is_discarded_when_the_chain_ends(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", named=True))
        world.append("r1", CONTINUED, **next_link())
        world.send("t1")
        world.append("r1", completed())
        assert world.kinds("r1", 2)[-2:] == ["hook_discarded", "run_completed"]
        assert world.do(world.store.hook(TokenHash("t1"))) is None

    def test_r08_two_held_tokens_keep_their_own_payloads(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("a", 1, named=True), hook("b", 2, named=True))
        world.send("a", "for a")
        world.send("b", "for b")
        world.append("r1", CONTINUED, **next_link())
        world.append("r1", hook("b", 1, named=True))
        [recorded] = world.append("r1", take=True).events
        assert isinstance(recorded.event, ev.HookReceived) and recorded.event.payload.text == "for b"

    def test_r08_what_the_body_never_received_keeps_its_place(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", named=True))
        world.send("t1", "first")
        world.append("r1", take=True)
        taken = world.log("r1")[-1]
        assert isinstance(taken, ev.HookReceived)
        world.send("t1", "second")  # in the same moment
        world.append("r1", CONTINUED, undelivered=((TokenHash("t1"), taken),), **next_link())
        world.append("r1", hook("t1", named=True, ref=2))
        world.append("r1", take=True)
        received = [event.payload.text for event in world.log("r1", 2) if isinstance(event, ev.HookReceived)]
        assert received == ["first", "second"]

    def test_r08_a_held_message_makes_nobody_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", named=True))
        world.append("r1", CONTINUED, **next_link())
        world.append("r1", hook("t2", ref=1), release=True)
        world.send("t1")
        assert world.record().wake_at is None

    def test_a_run_may_continue_and_be_released_at_once(self, world: World) -> None:
        world.start("r1")
        world.append("r1", CONTINUED, release=True, **next_link())
        record = world.record()
        assert (record.owner, record.wake_at, record.link) == (None, world.clock.now(), 2)
