"""How runs and links begin."""

from __future__ import annotations

from outlive.model import events as ev
from outlive.model.appending import Appending
from outlive.model.entries import NewRun
from outlive.model.events import Parent, Recorded
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import RunStatus
from outlive.model.rows import Rows, RunRow


def same(row: RunRow, new: NewRun) -> bool:
    """Whether to start ``new`` means the run that is there."""
    return row.workflow == new.workflow and row.input_digest == new.input_digest


def add_run(
    rows: Rows, new: NewRun, *, parent: Parent | None, root: RunId, worker: WorkerId | None, now: float
) -> tuple[RunRow, list[Recorded]]:
    """Write a run that is not there yet; ``worker`` starts and owns it at once."""
    row = RunRow(
        id=new.id,
        link=1,
        workflow=new.workflow,
        status=RunStatus.PENDING,
        seq=0,
        time=now,
        epoch=0 if worker is None else 1,
        owner=worker,
        wake_at=now if worker is None else None,
        crashes=0,
        suspect=False,
        progress=False,
        takeover=False,
        root=root,
        input_digest=new.input_digest,
        ended_at=None,
        reason="",
        fingerprint="",
        tried="",
    )
    appending = Appending(rows, row, worker=worker, now=now)
    appending.first(_created(new, parent))
    if worker is not None:
        appending.add(ev.RunStarted())
    rows.add_run(row, new, parent=parent, created_at=now)
    rows.append(row.id, 1, appending.events)
    return row, appending.events


def next_link(rows: Rows, new: NewRun, row: RunRow, *, worker: WorkerId | None, now: float) -> list[Recorded]:
    """The chain goes on under the same owner, with the tokens that users chose and requests to cancel (R8)."""
    link = row.link + 1
    for token_hash in rows.named_hooks(row.id):
        rows.readdress(row.id, token_hash, link=link, ref=0)
    rows.readdress_cancels(row.id, link=link)
    rows.drop_all(row.id, keep_link=link)
    rows.void_tasks(row.id, cancel=False)
    row.link, row.seq, row.workflow = link, 0, new.workflow
    appending = Appending(rows, row, worker=worker, now=now)
    appending.first(_created(new, None))
    appending.again()
    rows.append(row.id, link, appending.events)
    return appending.events


def _created(new: NewRun, parent: Parent | None) -> ev.RunCreated:
    return ev.RunCreated(
        workflow=new.workflow,
        input=new.input,
        seed=new.seed,
        engine=new.engine,
        python=new.python,
        hash_seed=new.hash_seed,
        parent=parent,
    )
