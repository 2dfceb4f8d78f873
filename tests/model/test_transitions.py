"""Every cell of the tables, allowed or not."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import pytest
from msgspec import Raw

from outlive.model import events as ev
from outlive.model.changes import changes
from outlive.model.events import Event
from outlive.model.records import REF_TRANSITIONS, RUN_TRANSITIONS, RefStatus, RunStatus, next_status
from outlive.model.steps import StepOptions

KINDS: tuple[type[Event], ...] = get_args(Event)
OF_THE_RUN = {kind for kind in KINDS if kind.__name__.startswith("Run")} | {ev.CancelRequested, ev.Marker}
ENDED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TERMINATED}
DECLARED = {
    **{(RunStatus.RUNNING, kind): RunStatus.RUNNING for kind in KINDS if kind not in OF_THE_RUN},
    (RunStatus.RUNNING, ev.CancelRequested): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.Marker): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RunContinued): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RunCompleted): RunStatus.COMPLETED,
    (RunStatus.RUNNING, ev.RunFailed): RunStatus.FAILED,
    (RunStatus.RUNNING, ev.RunCancelled): RunStatus.CANCELLED,
    (RunStatus.RUNNING, ev.RunParked): RunStatus.PARKED,
    (RunStatus.RUNNING, ev.RunTerminated): RunStatus.TERMINATED,
    (RunStatus.PENDING, ev.RunStarted): RunStatus.RUNNING,
    (RunStatus.PENDING, ev.RunTerminated): RunStatus.TERMINATED,
    (RunStatus.PARKED, ev.RunUnparked): RunStatus.RUNNING,
    (RunStatus.PARKED, ev.RunTerminated): RunStatus.TERMINATED,
    (RunStatus.PARKED, ev.HookDiscarded): RunStatus.PARKED,
    (RunStatus.PARKED, ev.StepCompleted): RunStatus.PARKED,
    (RunStatus.PARKED, ev.StepFailed): RunStatus.PARKED,
    (RunStatus.PARKED, ev.StepCancelled): RunStatus.PARKED,
}
"""Said a second time, by the tests: a change of the table has to be meant."""

SAMPLES: dict[type, object] = {
    str: "x",
    int: 1,
    float: 1.0,
    Raw: Raw(b"1"),
    bool: False,
    StepOptions: StepOptions(queue="gpu"),
}


def sample(kind: type[Event]) -> Event:
    """An event of that kind with any fields that will do."""
    special: dict[str, object] = {
        "kind": "sleep",
        "payload": ev.Payload("text/plain"),
        "status": "completed",
        "outcome": "ended",
    }
    if kind is ev.ChildCompleted:
        special["outcome"] = Raw(b"1")
    hints = {field.name: field for field in msgspec.structs.fields(kind) if field.required}
    values = {name: special.get(name, SAMPLES.get(field.type, "x")) for name, field in hints.items()}
    return kind(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "kind"), list(itertools.product(RunStatus, KINDS)), ids=str)
def test_a_run_moves_as_declared(status: RunStatus, kind: type[Event]) -> None:
    assert next_status(status, sample(kind)) == DECLARED.get((status, kind))


@pytest.mark.parametrize("status", RunStatus)
def test_only_ended_runs_are_ended(status: RunStatus) -> None:
    assert status.ended == (status in ENDED)


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_end_is_final(status: RunStatus) -> None:
    assert RUN_TRANSITIONS[status] == {}


@pytest.mark.parametrize("kind", sorted(ev.ENDS_REF, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_what_ends_a_ref_ends_it_from_every_state_it_may_happen_in(kind: type[Event]) -> None:
    assert {table[kind] for table in REF_TRANSITIONS.values() if kind in table} == {RefStatus.ENDED}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_r03_nothing_but_a_discarded_payload_follows_the_end_of_a_ref(kind: type[Event]) -> None:
    assert (kind in REF_TRANSITIONS[RefStatus.ENDED]) == (kind is ev.HookDiscarded)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_about_a_ref_has_a_place_in_the_table(kind: type[Event]) -> None:
    assert any(kind in table for table in REF_TRANSITIONS.values()) == (kind not in OF_THE_RUN)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_comes_back_from_its_row(kind: type[Event]) -> None:
    event = sample(kind)
    row = ev.encode_event(event)
    assert type(ev.decode_event(row)) is kind
    assert ev.encode_event(ev.decode_event(row)) == row


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_of_a_newer_version_with_more_fields_can_be_read(kind: type[Event]) -> None:
    row = ev.encode_event(sample(kind))
    assert type(ev.decode_event(row[:-1] + ',"later":1}')) is kind


@pytest.mark.parametrize("kind", sorted(ev.TERMINAL, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_the_end_of_a_link_drops_all_that_hangs_on_it(kind: type[Event]) -> None:
    [change] = changes(sample(kind))
    assert type(change).__name__ == "DropAll"


def test_an_ordinary_step_changes_nothing_but_the_log() -> None:
    assert changes(sample(ev.StepCompleted)) == ()
