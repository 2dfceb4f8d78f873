"""How events are added to the log of one run: numbered, timed, checked by the tables, their changes carried out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from outlive.model import events as ev
from outlive.model.changes import (
    Change,
    CloseRequest,
    DropAll,
    DropHook,
    DropWait,
    DropWatch,
    PutHook,
    PutTask,
    PutWait,
    changes,
)
from outlive.model.events import Event, Recorded
from outlive.model.ids import WorkerId
from outlive.model.records import RunStatus, next_status, parked_by
from outlive.model.rows import HeldHook, Rows, RunRow, TaskRow
from outlive.model.webhooks import GONE

IDLE: Final = frozenset(
    {ev.RunCreated, ev.RunStarted, ev.RunUnparked, ev.RunParked, ev.StepScheduled, ev.StepStarted, ev.WaitCreated}
)
"""What a run can write on its way into the same crash (R31)."""

ADVANCES: Final = frozenset(
    {
        ev.StepStarted,
        ev.StepCompleted,
        ev.StepFailed,
        ev.StepRetrying,
        ev.StepCancelled,
        ev.WaitCreated,
        ev.WaitCancelled,
        ev.Marker,
    }
)
"""Events that stand as they were proposed, take nothing from the inbox and leave the run's status as it is."""


class Appending:
    """One append: changes ``row`` in place and keeps the events; the caller writes both."""

    __slots__ = ("_epoch", "_rows", "_time", "_worker", "events", "row")

    def __init__(self, rows: Rows, row: RunRow, *, worker: WorkerId | None, now: float) -> None:
        self._rows = rows
        self._worker = worker if worker is not None else WorkerId("")
        self._epoch = row.epoch
        self._time = max(row.time, now)  # log time never goes back (R14)
        self.row: RunRow = row
        self.events: list[Recorded] = []

    def first(self, event: ev.RunCreated) -> None:
        self._record(event)

    def again(self) -> None:
        """The next link of a chain begins: its run is running already."""
        assert self.row.status is RunStatus.RUNNING, f"run {self.row.id} continues while {self.row.status}"
        self._record(ev.RunStarted())

    def add(self, event: Event) -> None:
        row = self.row
        status = next_status(row.status, event)
        assert status is not None, f"run {row.id}: {ev.kind_of(event)} may not happen while it is {row.status}"
        self._record(event)
        if type(event) not in IDLE:
            self._progressed()
        for change in changes(event):
            self._change(change)
        if status is not row.status:
            row.status = status
            self._changed_status(event)

    def advance(self, events: Iterable[Event]) -> None:
        """Add events of :data:`ADVANCES`, of which nearly all commits consist: a running run goes on running."""
        row, worker, epoch, time = self.row, self._worker, self._epoch, self._time
        assert row.status is RunStatus.RUNNING, f"run {row.id} can't advance while it is {row.status}"
        seq = row.seq
        for event in events:
            seq += 1
            self.events.append(Recorded(seq, time, event, worker, epoch))
            if type(event) not in IDLE and (not row.progress or row.crashes or row.suspect or row.tried):
                self._progressed()
            for change in changes(event):
                self._change(change)
        row.seq, row.time = seq, time

    def _progressed(self) -> None:
        row = self.row
        row.progress = True
        row.crashes, row.suspect, row.tried = 0, False, ""

    def _record(self, event: Event) -> None:
        row = self.row
        row.seq += 1
        row.time = self._time
        self.events.append(Recorded(row.seq, self._time, event, self._worker, self._epoch))

    def _changed_status(self, event: Event) -> None:
        row = self.row
        if row.status.ended:
            row.owner = row.wake_at = None
            row.ended_at = self._time
            row.fingerprint = ""
            row.reason = event.reason if type(event) is ev.RunTerminated else ""
        elif type(event) is ev.RunParked:
            row.owner = row.wake_at = None
            row.reason, row.fingerprint = event.reason, parked_by(event)
            row.tried = "\n".join(
                dict.fromkeys([*row.tried.split("\n"), event.fingerprint] if row.tried else [event.fingerprint])
            )
        elif type(event) is ev.RunUnparked:
            row.reason = row.fingerprint = ""

    def _change(self, change: Change) -> None:
        row, rows = self.row, self._rows
        match change:
            case PutWait(ref, kind, due):
                rows.put_wait(row.id, row.link, ref, kind, due)
            case DropWait(ref):
                rows.drop_wait(row.id, ref)
            case PutTask(call):
                rows.put_task(
                    TaskRow(run=row.id, link=row.link, ref=call.ref, root=row.root, call=call, scheduled_at=self._time)
                )
            case PutHook(ref, token_hash, token, schema, webhook):
                held = HeldHook(row.id, row.link, ref, token, schema, webhook)
                rows.put_hook(token_hash, held, created_at=self._time)
            case DropHook(ref):
                rows.drop_hook(row.id, row.link, ref)
            case DropWatch(ref):
                rows.drop_watch(row.id, ref)
            case CloseRequest(request):
                rows.answer_request(request, GONE)
            case DropAll():
                pass  # the commit ends the link as a whole, after its last event
            case _:
                assert_never(change)
