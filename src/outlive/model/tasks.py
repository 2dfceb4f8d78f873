"""Tasks: attempts of steps that wait in a queue, or that a worker which serves it is running.

A task is one attempt. It is put there in the commit that appends its ``step_scheduled``, and goes in the one that puts how it ended into
the inbox of its run; the slots of a queue are the tasks that living workers hold, so that nothing is counted and nothing can leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from outlive.model import events as ev
from outlive.model.entries import Accepted, ClaimedTask, Fenced, TaskCommit
from outlive.model.ids import WorkerId
from outlive.model.inbox import InboxItem
from outlive.model.records import TaskRecord
from outlive.model.rows import Rows, TaskRow
from outlive.model.streams import Written

GIVEN_UP_AFTER: Final = 5
"""Crashes of its worker, while only this task could have caused them, after which the step fails with ``StepInterrupted`` (R31)."""


def commit_task(rows: Rows, commit: TaskCommit, *, worker: WorkerId | None, now: float) -> Accepted | Fenced:
    """What the worker that holds a task writes for it; ``worker`` is None if its lease has ended."""
    run = rows.run(commit.run)
    task = rows.task(commit.run, commit.link, commit.ref)
    if run is None or task is None or worker is None or task.owner != worker or task.call.attempt != commit.attempt:
        return Fenced()
    for write in () if task.void else commit.streams:
        if isinstance(write, Written):
            rows.write_stream(run.id, task.link, write.ref, write.stream, write.pieces, time=now)
        else:
            rows.void_stream(run.id, task.link, write.ref, time=now)
    if commit.ending is not None:
        rows.drop_task(task)
        if not task.void:
            ending = _cancelled(task, commit.ending)
            rows.add_message(
                run.id, InboxItem(id=0, kind="step", accepted=now, link=task.link, ref=task.ref, ending=ending)
            )
            rows.wake_run(run.id, now)
    return Accepted(run=run.id, link=task.link, owner=run.owner)


def _cancelled(task: TaskRow, ending: ev.StepEnding) -> ev.StepEnding:
    """One that was asked to end is not tried again (R6)."""
    if task.cancelling and isinstance(ending, ev.StepFailed | ev.StepRetrying):
        return cancellation(task, "ended")
    return ending


def cancellation(task: TaskRow, outcome: ev.StepOutcome) -> ev.StepCancelled:
    call = task.call
    return ev.StepCancelled(ref=task.ref, name=call.name, digest=call.digest, outcome=outcome, attempt=call.attempt)


def cancel_task(rows: Rows, task: TaskRow) -> ev.StepCancelled | None:
    """The run asks ``task`` to end. What nobody holds is cancelled at once; else its worker is to be told."""
    if task.owner is None:
        rows.drop_task(task)
        return cancellation(task, "ended" if task.claims or task.call.attempt > 1 else "not_started")
    if not task.cancelling:
        task.cancelling = True
        rows.update_task(task)
    return None


def claim_task(rows: Rows, task: TaskRow, worker: WorkerId) -> ClaimedTask:
    """Take a task that nobody holds."""
    assert task.owner is None, f"{task.key} is held by {task.owner}"
    task.owner = worker
    task.claims += 1
    rows.update_task(task)
    return claimed(task)


def claimed(task: TaskRow) -> ClaimedTask:
    return ClaimedTask(
        key=task.key, call=task.call, claims=task.claims, crashes=task.crashes, cancelling=task.cancelling
    )


def task_record(task: TaskRow) -> TaskRecord:
    call = task.call
    return TaskRecord(
        run=task.run,
        link=task.link,
        ref=task.ref,
        name=call.name,
        queue=call.options.queue,
        priority=call.options.priority,
        attempt=call.attempt,
        scheduled_at=task.scheduled_at,
        owner=task.owner,
        crashes=task.crashes,
        cancelling=task.cancelling,
        void=task.void,
    )


class Lane(Struct, frozen=True):
    """Steps that a worker runs in one way, and how many more of them it can take."""

    steps: frozenset[str]
    room: int


class Wanted(Struct, frozen=True, kw_only=True):
    """Which tasks a worker would take."""

    lanes: tuple[Lane, ...]
    queues: frozenset[str] | None = None
    """That it serves; None: all."""
    rooms: Mapping[str, int] = {}
    """How many more it can take of a queue, where that is limited."""

    @property
    def steps(self) -> list[str]:
        """That there is room for."""
        return sorted(step for lane in self.lanes if lane.room > 0 for step in lane.steps)


class Pick(NamedTuple):
    """What to take next: of ``queue``, up to ``room`` of ``steps``."""

    queue: str
    steps: list[str]
    lane: frozenset[str]
    room: int


class Shares:
    """Divides the room of one claim among queues.

    Args:
        wanted: What the worker would take.
        limits: Of queues, across all workers.
        held: How many tasks of a limited queue living workers hold.
    """

    def __init__(self, wanted: Wanted, *, limits: Mapping[str, int], held: Mapping[str, int]) -> None:
        self._wanted = wanted
        self._rooms = dict(wanted.rooms)
        for queue, most in limits.items():
            left = most - held.get(queue, 0)
            self._rooms[queue] = min(self._rooms.get(queue, left), left)

    def picks(self, waiting: Iterable[tuple[str, str]]) -> list[Pick]:
        """``waiting``: queues and the steps that wait there."""
        by_queue: dict[str, set[str]] = {}
        for queue, step in waiting:
            by_queue.setdefault(queue, set()).add(step)
        picks: list[Pick] = []
        for lane in self._wanted.lanes:
            for queue in sorted(by_queue):
                steps = sorted(by_queue[queue] & lane.steps)
                if self._wanted.queues is not None and queue not in self._wanted.queues:
                    continue
                if steps and lane.room > 0:
                    picks.append(Pick(queue, steps, lane.steps, lane.room))
        return picks

    def room(self, pick: Pick, taken: int) -> int:
        """How many of ``pick`` may be taken, when its lane has ``taken`` in this claim."""
        return max(min(pick.room - taken, self._rooms.get(pick.queue, pick.room)), 0)

    def take(self, queue: str, count: int) -> None:
        if queue in self._rooms:
            self._rooms[queue] -= count
