"""What comes from outside: hooks, payloads, cancel requests, wake-ups, and where they land in a log."""

from __future__ import annotations

from msgspec import Raw, structs

from outlive.model import events as ev
from outlive.model.entries import Accepted, Outcome, Refused, RequestCancel, SendPayload
from outlive.model.events import Payload
from outlive.model.ids import RunId, TokenHash
from outlive.testing.conformance.world import (
    W1,
    World,
    WorldFixtures,
    completed,
    hook,
    sleep_until,
    step,
    woke,
)

HELLO = Payload("text/plain", text="hello")


class MessageConformance(WorldFixtures):
    # --- tokens ---

    def test_an_open_hook_can_be_looked_up(self, world: World) -> None:
        world.start("r1")
        world.append("r1", ev.HookCreated(ref=1, token_hash=TokenHash("t1"), token="approve", schema="app:Answer"))
        record = world.do(world.store.hook(TokenHash("t1")))
        assert record is not None
        assert (record.run, record.link, record.ref, record.token, record.schema) == (
            "r1",
            1,
            1,
            "approve",
            "app:Answer",
        )
        assert world.do(world.store.hooks(RunId("r1"))) == [record]

    def test_d4_a_token_that_is_held_is_a_recorded_conflict(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1"))
        [recorded] = world.append("r2", hook("t1", ref=5)).events
        assert recorded.event == ev.HookConflict(ref=5, token_hash=TokenHash("t1"), run_id=RunId("r1"))

    def test_a_run_conflicts_with_its_own_open_hook(self, world: World) -> None:
        world.start("r1")
        events = world.append("r1", hook("t1", ref=1), hook("t1", ref=2)).events
        assert [ev.kind_of(r.event) for r in events] == ["hook_created", "hook_conflict"]

    def test_d6_a_disposed_token_is_free_in_the_same_commit(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1"))
        world.commit(world.entry("r1", ev.HookDisposed(ref=1)), world.entry("r2", hook("t1")))
        assert world.kinds("r2")[-1] == "hook_created"

    def test_d6_the_end_of_a_run_frees_its_tokens(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1"))
        world.append("r1", completed())
        world.append("r2", hook("t1"))
        assert world.kinds("r2")[-1] == "hook_created"

    # --- payloads ---

    def test_d1_a_payload_waits_until_it_is_taken(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        accepted = world.clock.now()
        assert world.send("t1") == Accepted(run=RunId("r1"), link=1, owner=W1)
        world.clock.advance(5)
        [recorded] = world.append("r1", take=True).events
        assert recorded.event == ev.HookReceived(ref=1, payload=HELLO, accepted=accepted)
        assert world.append("r1", take=True).events == ()

    def test_payloads_arrive_in_order(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", 1), hook("t2", 2))
        world.send("t1", "a")
        world.send("t2", "b")
        world.send("t1", "c")
        texts = [
            r.event.payload.text for r in world.append("r1", take=True).events if isinstance(r.event, ev.HookReceived)
        ]
        assert texts == ["a", "b", "c"]

    def test_bytes_survive(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        send = SendPayload(2, "d", TokenHash("t1"), Payload.of("application/octet-stream", b"\xff\x00\xfe"))
        world.append("r1", send)
        [recorded] = world.append("r1", take=True).events
        assert isinstance(recorded.event, ev.HookReceived) and recorded.event.payload.raw == b"\xff\x00\xfe"

    def test_a_payload_for_nobody_is_refused(self, world: World) -> None:
        assert world.send("nobody") == Refused("not_found")

    def test_d2_a_payload_after_the_end_is_refused(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.append("r1", completed())
        assert world.send("t1") == Refused("not_found")

    def test_r20_payloads_that_wait_for_one_hook_are_limited(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", 1), hook("t2", 2))
        world.send("t1", limit=1)
        assert world.send("t1", limit=1) == Refused("full", RunId("r1"))
        assert isinstance(world.send("t2", limit=1), Accepted)

    def test_a_hook_counts_what_waits_for_it(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        record = world.do(world.store.hook(TokenHash("t1")))
        assert record is not None and record.pending == 1

    def test_d8_a_repeated_delivery_gets_the_first_answer(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        first = world.send("t1", key="k")
        assert world.send("t1", key="k") == _again(first)
        assert len(world.append("r1", take=True).events) == 1

    def test_d8_also_after_the_first_was_taken(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        first = world.send("t1", key="k")
        world.append("r1", take=True)
        assert world.send("t1", key="k") == _again(first)
        assert world.append("r1", take=True).events == ()

    def test_d8_also_after_the_hook_was_disposed(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        first = world.send("t1", key="k")
        world.append("r1", ev.HookDisposed(ref=1))
        assert world.send("t1", key="k") == _again(first)

    def test_keys_of_two_runs_are_apart(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1"))
        world.append("r2", hook("t2"))
        world.send("t1", key="k")
        assert world.send("t2", key="k") == Accepted(run=RunId("r2"), link=1, owner=W1)
        assert len(world.append("r2", take=True).events) == 1

    def test_r18_a_payload_for_a_disposed_hook_is_discarded_visibly(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        events = world.append("r1", ev.HookDisposed(ref=1)).events
        assert [ev.kind_of(r.event) for r in events] == ["hook_disposed", "hook_discarded"]

    def test_r18_a_payload_for_a_run_that_ends_is_discarded_visibly(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1")
        world.append("r1", completed())
        assert world.kinds()[-2:] == ["hook_discarded", "run_completed"]

    def test_disposing_one_hook_delivers_to_the_other(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1", 1), hook("t2", 2))
        world.send("t2")
        events = world.append("r1", ev.HookDisposed(ref=1)).events
        assert [ev.kind_of(r.event) for r in events] == ["hook_disposed", "hook_received"]

    # --- waking whom it concerns ---

    def test_t4_a_message_makes_an_unowned_run_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"), release=True)
        assert world.send("t1") == Accepted(run=RunId("r1"), link=1, owner=None)
        assert world.record().wake_at == world.clock.now()

    def test_a_message_does_not_put_off_a_run_that_is_due(self, world: World) -> None:
        world.start("r1")
        due = world.clock.now() + 5
        world.append("r1", hook("t1"), sleep_until(due, 2), release=True)
        world.clock.advance(10)
        world.send("t1")
        assert world.record().wake_at == due

    def test_an_owner_can_ask_which_of_its_runs_have_messages(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", hook("t1"))
        world.send("t1")
        assert world.do(world.store.knocks(W1)) == ["r1"]
        world.append("r1", take=True)
        assert world.do(world.store.knocks(W1)) == []

    # --- order (R15) ---

    def test_r15_a_message_accepted_before_a_deadline_comes_before_it(self, world: World) -> None:
        world.start("r1")
        due = world.clock.now() + 10
        world.append("r1", hook("t1"), sleep_until(due, 2))
        world.clock.advance(10)  # accepted at the very moment
        world.send("t1")
        world.clock.advance(1)
        events = world.append("r1", woke(due, 2)).events
        assert [ev.kind_of(r.event) for r in events] == ["hook_received", "wait_completed"]

    def test_r15_a_message_accepted_after_a_deadline_comes_after_it(self, world: World) -> None:
        world.start("r1")
        due = world.clock.now() + 10
        world.append("r1", hook("t1"), sleep_until(due, 2))
        world.clock.advance(11)
        world.send("t1")
        events = world.append("r1", woke(due, 2)).events
        assert [ev.kind_of(r.event) for r in events] == ["wait_completed", "hook_received"]

    # --- cancelling ---

    def test_r07_a_request_to_cancel_is_an_event_when_taken(self, world: World) -> None:
        world.start("r1")
        assert world.cancel("r1") == Accepted(run=RunId("r1"), link=1, owner=W1)
        assert [r.event for r in world.append("r1", take=True).events] == [ev.CancelRequested()]

    def test_cancelling_what_is_not_there_is_refused(self, world: World) -> None:
        assert world.cancel("nobody") == Refused("not_found", RunId("nobody"))

    def test_cancelling_what_has_ended_is_refused(self, world: World) -> None:
        world.start("r1")
        world.append("r1", completed())
        assert world.cancel("r1") == Refused("ended", RunId("r1"))

    # --- waking up ---

    def test_r38_a_wake_up_stays_until_it_is_acknowledged(self, world: World) -> None:
        world.start("r1")
        world.wake("r1")
        [message] = world.append("r1", take=True).waking
        assert world.append("r1", take=True).waking == (message,)
        world.append("r1", ack=(message,))
        assert world.append("r1", take=True).waking == ()

    def test_a_wake_up_makes_a_sleeping_run_due(self, world: World) -> None:
        world.start("r1")
        world.append("r1", sleep_until(9e9), release=True)
        world.wake("r1")
        assert world.record().wake_at == world.clock.now()

    # --- from run to run (R36) ---

    def test_r36_a_run_sends_to_another_run(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", hook("t2"))
        committed = world.append("r1", SendPayload(4, "d", TokenHash("t2"), HELLO))
        assert committed.events[0].event == ev.CallCompleted(ref=4, name="resume_hook", digest="d")
        assert committed.ended_watches == ("r2",)
        assert world.append("r2", take=True).events[0].event == ev.HookReceived(
            ref=1, payload=HELLO, accepted=world.clock.now()
        )

    def test_r36_a_send_to_nobody_fails(self, world: World) -> None:
        world.start("r1")
        [recorded] = world.append("r1", SendPayload(1, "d", TokenHash("none"), HELLO)).events
        assert recorded.event == ev.CallFailed(ref=1, name="resume_hook", digest="d", reason="not_found")

    def test_a_send_to_a_hook_that_this_commit_disposes_fails(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        events = world.append("r1", SendPayload(2, "d", TokenHash("t1"), HELLO), ev.HookDisposed(ref=1)).events
        assert events[0].event == ev.CallFailed(ref=2, name="resume_hook", digest="d", reason="ended")

    def test_r36_a_run_cancels_another_run(self, world: World) -> None:
        world.start("r1", "r2")
        [recorded] = world.append("r1", RequestCancel(1, "d", RunId("r2"))).events
        assert recorded.event == ev.CallCompleted(ref=1, name="cancel", digest="d", result=Raw(b"true"))
        assert world.append("r2", take=True).events[0].event == ev.CancelRequested()

    def test_r36_cancelling_an_ended_run_answers_false(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", completed())
        [recorded] = world.append("r1", RequestCancel(1, "d", RunId("r2"))).events
        assert recorded.event == ev.CallCompleted(ref=1, name="cancel", digest="d", result=Raw(b"false"))

    def test_r36_cancelling_an_unknown_run_fails(self, world: World) -> None:
        world.start("r1")
        [recorded] = world.append("r1", RequestCancel(1, "d", RunId("none"))).events
        assert recorded.event == ev.CallFailed(ref=1, name="cancel", digest="d", reason="not_found")

    def test_a_fenced_sender_sends_nothing(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r2", hook("t2"))
        world.one(world.entry("r1", SendPayload(1, "d", TokenHash("t2"), HELLO), step(2), epoch=7))
        assert world.append("r2", take=True).events == ()


def _again(first: Outcome) -> Outcome:
    """The same answer, for a message that came before."""
    assert isinstance(first, Accepted), f"{first} is not an acceptance"
    return structs.replace(first, repeated=True)
