"""What an entry does to the rows of a store: the rules of a commit, the same for every backend.

A store opens a transaction, carries the entries out in order on its :class:`~outlive.model.rows.Rows`, and commits.
Each entry is judged before its first write, so a refusal needs no undoing.
"""

from __future__ import annotations

from typing import assert_never

from outlive.model import events as ev
from outlive.model.appending import Appending
from outlive.model.committing import RunCommitting, advance
from outlive.model.creation import add_run, same
from outlive.model.delivery import deliver, end
from outlive.model.entries import (
    Accepted,
    Answered,
    AnswerRequest,
    Claimed,
    Committed,
    Created,
    Entry,
    Existing,
    Fenced,
    Message,
    NewRun,
    Outcome,
    Refused,
    RunCommit,
    TaskCommit,
    Terminate,
)
from outlive.model.ids import RunId, WorkerId
from outlive.model.inbox import arrange
from outlive.model.records import RunStatus
from outlive.model.rows import Rows
from outlive.model.tasks import commit_task
from outlive.model.webhooks import encode


class Carrier:
    """Carries out the entries of one transaction at ``now``, for ``worker``, whose lease stands in it if ``leased``."""

    def __init__(self, rows: Rows, *, worker: WorkerId | None, leased: bool, now: float) -> None:
        self._rows = rows
        self._worker = worker
        self._leased = leased
        self._now = now

    def carry(self, entry: Entry) -> Outcome:
        match entry:
            case RunCommit():
                return self._commit(entry)
            case Message():
                return deliver(self._rows, entry, now=self._now)
            case NewRun():
                return self._create(entry)
            case Terminate():
                return self._terminate(entry)
            case TaskCommit():
                return commit_task(self._rows, entry, worker=self._worker if self._leased else None, now=self._now)
            case AnswerRequest(request, answer):
                return Answered(self._rows.answer_request(request, encode(answer)))
            case _:
                assert_never(entry)

    def _commit(self, commit: RunCommit) -> Committed | Fenced:
        row = self._rows.run(commit.run)
        if (
            row is None
            or not self._leased
            or row.owner != self._worker
            or row.epoch != commit.epoch
            or row.link != commit.link
            or row.seq != commit.seq
        ):
            return Fenced()
        done = advance(self._rows, row, commit, worker=self._worker, now=self._now)
        if done is None:
            done = RunCommitting(self._rows, row, commit, worker=self._worker, now=self._now).carry()
        return done

    def _create(self, new: NewRun) -> Created | Existing:
        existing = self._rows.run(new.id)
        if existing is not None:
            return Existing(id=new.id, same=same(existing, new))
        worker = self._worker if new.claim and self._leased else None
        root = new.id if new.root is None else new.root
        row, events = add_run(self._rows, new, parent=new.parent, root=root, worker=worker, now=self._now)
        return Created(id=new.id, events=tuple(events), epoch=row.epoch, owner=worker)

    def _terminate(self, terminate: Terminate) -> Accepted | Refused:
        row = self._rows.run(terminate.run)
        if row is None:
            return Refused("not_found", terminate.run)
        if row.status.ended:
            return Refused("ended", row.id)
        owner, epoch, seq = row.owner, row.epoch, row.seq
        row.epoch += 1  # the owner is fenced
        appending = Appending(self._rows, row, worker=None, now=self._now)
        last = ev.RunTerminated(reason=terminate.reason)
        for event in arrange((*self._rows.unlogged(row.id, row.link), last), self._rows.inbox(row.id)):
            assert isinstance(
                event, (ev.HookDiscarded, ev.StepCompleted, ev.StepFailed, ev.StepCancelled, ev.RunTerminated)
            ), "of an inbox discarded payloads outlive its run, and what is known of steps"
            appending.add(event)
        self._rows.append(row.id, row.link, appending.events)
        end(self._rows, row, last, now=self._now)
        self._rows.update_run(row, epoch=epoch, seq=seq)
        return Accepted(run=row.id, link=row.link, owner=owner)

    def claim(self, run: RunId) -> Claimed:
        """Take ``run``, which the store has found to be due and without an owner."""
        row = self._rows.run(run)
        assert row is not None and row.owner is None and self._worker is not None, f"{run} can't be claimed"
        seq, epoch, takeover = row.seq, row.epoch, row.takeover
        row.epoch += 1
        row.owner, row.wake_at = self._worker, None
        row.progress = row.takeover = False
        if row.status is not RunStatus.RUNNING:
            appending = Appending(self._rows, row, worker=self._worker, now=self._now)
            if row.status is RunStatus.PARKED:
                row.crashes = 0  # whoever lifted the park gives it all its chances again
                appending.add(ev.RunUnparked())
            else:
                appending.add(ev.RunStarted())
            self._rows.append(row.id, row.link, appending.events)
        self._rows.update_run(row, epoch=epoch, seq=seq)
        return Claimed(
            run=row.id,
            link=row.link,
            workflow=row.workflow,
            epoch=row.epoch,
            seq=row.seq,
            crashes=row.crashes,
            root=row.root,
            takeover=takeover,
            suspect=row.suspect,
        )
