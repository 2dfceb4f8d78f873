"""Where messages take their place."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.ids import RunId, TokenHash
from outlive.model.inbox import InboxItem, arrange

PAYLOAD = ev.Payload("text/plain", text="x")


def payload(id: int, accepted: float, ref: int = 1) -> InboxItem:
    return InboxItem(
        id=id, kind="payload", accepted=accepted, ref=ref, token_hash=TokenHash(f"t{ref}"), payload=PAYLOAD
    )


def cancel(id: int, accepted: float) -> InboxItem:
    return InboxItem(id=id, kind="cancel", accepted=accepted)


def child(id: int, accepted: float, ref: int = 9) -> InboxItem:
    return InboxItem(id=id, kind="child", accepted=accepted, ref=ref, run_id=RunId("c"))


def woke(due: float, ref: int) -> ev.WaitCompleted:
    return ev.WaitCompleted(ref=ref, kind="sleep", delay=1.0, due=due)


def step(ref: int) -> ev.StepStarted:
    return ev.StepStarted(ref=ref, name="s", digest="d")


def ended(id: int, accepted: float, ref: int, *, retries: bool = False) -> InboxItem:
    result = ev.StepCompleted(ref=ref, name="s", digest="d", result=Raw(b"7"), started=1.0)
    again = ev.StepRetrying(ref=ref, name="s", digest="d", error=Raw(b"1"), started=1.0, at=9.0)
    return InboxItem(id=id, kind="step", accepted=accepted, ref=ref, ending=again if retries else result)


def lost(ref: int) -> ev.StepCancelled:
    return ev.StepCancelled(ref=ref, name="s", digest="d", outcome="unknown")


def kinds(proposals: list[Any]) -> list[str]:
    return [ev.kind_of(proposal) for proposal in proposals]


DONE = ev.RunCompleted(result=Raw(b"1"))
PARKED = ev.RunParked(reason="r")


def test_r15_inbox_before_timer_at_the_same_moment() -> None:
    assert kinds(arrange([woke(10.0, 2)], [payload(1, 10.0)])) == ["hook_received", "wait_completed"]


def test_r15_messages_and_waits_are_ordered_by_time() -> None:
    arranged = arrange([woke(20.0, 3), woke(10.0, 2)], [payload(2, 15.0), cancel(1, 5.0)])
    assert kinds(arranged) == ["cancel_requested", "wait_completed", "hook_received", "wait_completed"]


def test_waits_of_one_moment_are_ordered_by_ref() -> None:
    assert [p.ref for p in arrange([woke(10.0, 5), woke(10.0, 2)], [])] == [2, 5]  # type: ignore[union-attr]


def test_messages_of_one_moment_are_ordered_by_acceptance() -> None:
    assert kinds(arrange([], [child(1, 5.0), cancel(2, 5.0)])) == ["child_completed", "cancel_requested"]


def test_what_the_owner_found_comes_first_in_its_order() -> None:
    assert kinds(arrange([step(2), step(1)], [cancel(1, 0.0)])) == ["step_started", "step_started", "cancel_requested"]


def test_the_end_comes_last() -> None:
    assert kinds(arrange([DONE, woke(5.0, 1)], [])) == ["wait_completed", "run_completed"]


def test_r18_a_payload_for_a_hook_disposed_here_is_discarded() -> None:
    arranged = arrange([ev.HookDisposed(ref=1)], [payload(1, 5.0), payload(2, 6.0, ref=2)])
    assert kinds(arranged) == ["hook_disposed", "hook_discarded", "hook_received"]


def test_a_request_for_a_run_with_a_disposed_hook_is_delivered() -> None:
    assert kinds(arrange([ev.HookDisposed(ref=1)], [cancel(1, 5.0)])) == ["hook_disposed", "cancel_requested"]


def test_r18_at_the_end_payloads_are_discarded_and_the_rest_is_dropped() -> None:
    assert kinds(arrange([DONE], [payload(1, 5.0), cancel(2, 6.0), child(3, 7.0)])) == [
        "hook_discarded",
        "run_completed",
    ]


def test_a_run_that_parks_keeps_its_messages() -> None:
    assert kinds(arrange([PARKED], [payload(1, 5.0)])) == ["hook_received", "run_parked"]


def test_r38_a_wake_up_is_no_event() -> None:
    assert arrange([], [InboxItem(id=1, kind="wake", accepted=5.0)]) == []


@given(
    st.lists(st.builds(payload, st.integers(1, 99), st.floats(0, 9), st.integers(1, 3)), max_size=6),
    st.lists(st.builds(woke, st.floats(0, 9), st.integers(4, 9)), max_size=4),
    st.sampled_from([(), (DONE,), (PARKED,), (ev.HookDisposed(ref=1),)]),
)
def test_no_payload_is_lost_and_none_doubled(items: list[InboxItem], waits: list[Any], others: tuple[Any, ...]) -> None:
    arranged = arrange([*waits, *others], items)
    assert sum(isinstance(p, ev.HookReceived | ev.HookDiscarded) for p in arranged) == len(items)
    assert len(arranged) == len(items) + len(waits) + len(others)


def test_a_step_whose_end_is_known_did_not_end_in_the_unknown() -> None:
    arranged = arrange([lost(1), lost(2), lost(3), DONE], [ended(1, 5.0, 2), ended(2, 6.0, 3, retries=True)])
    assert kinds(arranged) == ["step_cancelled", "step_completed", "step_cancelled", "run_completed"]
    assert kinds(arrange([lost(1)], [ended(1, 5.0, 1)])) == ["step_completed"]


def test_what_is_known_of_steps_outlives_a_run_that_is_terminated() -> None:
    arranged = arrange([ev.RunTerminated()], [ended(1, 5.0, 2), ended(2, 6.0, 3, retries=True), cancel(3, 7.0)])
    assert kinds(arranged) == ["step_completed", "run_terminated"]
