"""A log told as a story."""

from __future__ import annotations

import json

from msgspec import Raw

from outlive._codec import Codec
from outlive._core.seeds import Seed
from outlive.cli.timeline import tell
from outlive.model import events as ev
from outlive.model.ids import TokenHash, WorkerId
from outlive.views import masked, view

SEED = "ab" * 32
codec = Codec()


def log(*events: ev.Event, worker: str = "w1") -> list[ev.Recorded]:
    created = ev.RunCreated(workflow="shop:buy", input=Raw(b"{}"), seed=SEED, engine=1, python="3.11", hash_seed="0")
    all_events = (created, ev.RunStarted(), *events)
    return [ev.Recorded(seq, float(seq), event, WorkerId(worker), 1) for seq, event in enumerate(all_events, 1)]


def error(text: str) -> Raw:
    return Raw(codec.encode_exception(ValueError(text)))


def test_the_attempts_of_a_step_are_one_entry_with_its_failures() -> None:
    entry = tell(
        log(
            ev.StepRetrying(ref=1, name="charge", digest="", error=error("busy"), started=2.5, at=4.0),
            ev.StepCompleted(ref=1, name="charge", digest="", result=Raw(b"7"), started=4.0, attempt=2),
        )
    )[-1]

    assert (entry.status, entry.attempts, entry.failures) == ("completed", 2, ["ValueError: busy"])
    assert (entry.started, entry.ended, entry.value) == (2.5, 4.0, 7)


def test_a_step_that_another_worker_ended_was_taken_over() -> None:
    first = log(ev.StepStarted(ref=1, name="charge", digest=""))
    done = ev.StepCompleted(ref=1, name="charge", digest="", result=Raw(b"7"), started=9.0)

    assert tell([*first, ev.Recorded(4, 9.0, done, WorkerId("w2"), 2)])[-1].taken_over


def test_a_wait_knows_when_it_is_due() -> None:
    entry = tell(log(ev.WaitCreated(ref=1, kind="sleep", delay=60.0, due=63.0)))[-1]

    assert (entry.kind, entry.status, entry.started, entry.due) == ("sleep", "waiting", 3.0, 63.0)


def test_a_generated_token_is_derived_from_the_seed_only_when_asked_for() -> None:
    events = log(ev.HookCreated(ref=1, token_hash=TokenHash("h")))

    assert tell(events)[-1].token == ""
    assert tell(events, tokens=True)[-1].token == Seed(SEED).token(1)


def test_what_an_ended_run_leaves_open_is_not_waited_for() -> None:
    story = tell(log(ev.WaitCreated(ref=1, kind="sleep", delay=60.0, due=63.0), ev.RunCompleted(result=Raw(b"1"))))

    assert [entry.status for entry in story[-2:]] == ["left", "completed"]


def test_values_are_read_without_their_classes() -> None:
    assert view(codec.encode({"pair": (1, {2}), 3: b"x"})) == {"pair": [1, [2]], "3": "eA=="}
    assert view(codec.encode("long" * 10_000)) == "long" * 10_000


def test_hooks_in_values_are_masked_unless_asked_for() -> None:
    before = b'{"hook":{"$t":"ext","c":"outlive:hook-handle","v":"token"}}'
    marked = b'{"hook":{"$t":"ext","c":"app:any","secret":true,"v":"token"}}'

    for raw in (before, marked):
        assert view(raw) == {"hook": "<secret>"}
        assert view(raw, tokens=True) == {"hook": "token"}
        assert masked(json.loads(raw)) == {"hook": "<secret>"}
