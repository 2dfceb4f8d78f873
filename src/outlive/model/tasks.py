"""Tasks: attempts of steps that wait in a queue, or that a worker which serves it is running.

A task is one attempt. It is put there in the commit that appends its ``step_scheduled``, and goes in the one that puts how it ended into
the inbox of its run; the slots of a queue are the tasks that living workers hold, so that nothing is counted and nothing can leak.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from outlive.model import events as ev
from outlive.model.entries import Accepted, Claimed, ClaimedTask, Fenced, TaskCommit
from outlive.model.ids import WorkerId
from outlive.model.inbox import InboxItem
from outlive.model.records import TaskRecord
from outlive.model.rows import Rows, TaskRow
from outlive.model.streams import Written

GIVEN_UP_AFTER: Final = 5
"""Crashes of its worker, while only this task could have caused them, after which the step fails with ``StepInterrupted`` (R31)."""
LONGEST_TRIAL: Final = 600.0
"""Seconds."""


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
        key=task.key,
        call=task.call,
        claims=task.claims,
        crashes=task.crashes,
        deaths=task.deaths,
        cancelling=task.cancelling,
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
        deaths=task.deaths,
        cancelling=task.cancelling,
        void=task.void,
    )


# --- tasks that workers died with ------------------------------------------------------------------------------------


def alone(deaths: int) -> bool:
    """Whether a task that saw so many workers die is only tried where no run is, nor another task that was taken lately."""
    return together(deaths) == 1


def blamed(held: int, *, runs: int) -> bool:
    """Whether the death of a worker that held so many tasks, and had so many runs in memory, can only be the doing of its task."""
    return held == 1 and runs == 0


def together(deaths: int) -> int:
    """How many of the tasks that saw so many workers die are tried at once: half as many each time, at last one alone."""
    return max(16 >> deaths, 1)


def trial(deaths: int) -> float:
    """For how many seconds a worker takes nothing else beside them."""
    return min(5.0 * 2 ** min(deaths, 10), LONGEST_TRIAL) if deaths else 0.0


def waits_to_be_alone(suspects: Sequence[TaskRow], *, idle: bool) -> bool:
    """Whether the next of ``suspects`` is not tried now, because its worker is not idle."""
    return not idle and bool(suspects) and alone(min(task.deaths for task in suspects))


def next_tried(suspects: Sequence[TaskRow], *, idle: bool) -> list[TaskRow]:
    """Which of ``suspects`` are tried now: those that the fewest workers died with. What has to be alone waits until its worker is ``idle``."""
    if not suspects or waits_to_be_alone(suspects, idle=idle):
        return []
    least = min(task.deaths for task in suspects)
    group = sorted(
        (task for task in suspects if task.deaths == least), key=lambda task: (task.call.options.priority, task.id)
    )
    return group[: together(least)]


# --- what a worker takes ---------------------------------------------------------------------------------------------


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
    turn: int = 0
    """Which queue is asked first: another one each time."""
    suspects: bool = True
    """It may take tasks that workers died with. While there are some that it can take, it takes nothing else."""
    idle: bool = True
    """It holds no task that it took lately, and has no run in memory."""

    @property
    def steps(self) -> list[str]:
        """That there is room for."""
        return sorted(step for lane in self.lanes if lane.room > 0 for step in lane.steps)

    def beside(self, runs: Sequence[Claimed]) -> Wanted:
        """What it would take once it has taken ``runs``: nothing beside suspected ones, or it is never known who did it."""
        if not runs:
            return self
        return replace(self, lanes=() if any(run.suspect for run in runs) else self.lanes, idle=False)


class Pick(NamedTuple):
    """What to take next: of ``queue``, some of ``steps``."""

    queue: str
    steps: list[str]
    lane: Lane
    sharing: int
    """How many queues, this one included, are to share what room its lane has left."""


class Shares:
    """Divides the room of one claim among queues: none starves because another one always has something.

    Args:
        wanted: What the worker would take.
        limits: Of queues, across all workers.
        held: How many tasks of a limited queue living workers hold.
    """

    def __init__(self, wanted: Wanted, *, limits: Mapping[str, int], held: Mapping[str, int]) -> None:
        self._wanted = wanted
        self._taken: Counter[Lane] = Counter()
        self._rooms = dict(wanted.rooms)
        for queue, most in limits.items():
            left = most - held.get(queue, 0)
            self._rooms[queue] = min(self._rooms.get(queue, left), left)

    def picks(self, waiting: Iterable[tuple[str, str]]) -> Iterator[Pick]:
        """``waiting``: queues and the steps that wait there. Those who have :meth:`room` are to be taken, and that is to be told."""
        by_queue: dict[str, set[str]] = {}
        for queue, step in waiting:
            if self._wanted.queues is None or queue in self._wanted.queues:
                by_queue.setdefault(queue, set()).add(step)
        queues = sorted(by_queue)
        turn = self._wanted.turn % max(len(queues), 1)
        queues = [*queues[turn:], *queues[:turn]]
        for lane in self._wanted.lanes:
            steps = {queue: found for queue in queues if (found := sorted(by_queue[queue] & lane.steps))}
            for place, queue in enumerate(steps):
                yield Pick(queue, steps[queue], lane, len(steps) - place)
            if len(steps) > 1:  # what one of them left is for the others
                yield from (Pick(queue, steps[queue], lane, 1) for queue in steps)

    def room(self, pick: Pick) -> int:
        """How many of ``pick`` may be taken."""
        left = pick.lane.room - self._taken[pick.lane]
        return max(min(-(-left // pick.sharing), self._rooms.get(pick.queue, left)), 0)

    def take(self, pick: Pick, count: int) -> None:
        """So many of them were."""
        self._taken[pick.lane] += count
        if pick.queue in self._rooms:
            self._rooms[pick.queue] -= count
