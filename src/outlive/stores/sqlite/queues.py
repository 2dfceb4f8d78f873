"""Taking tasks from queues; inside the writer's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator

from outlive.model.entries import ClaimedTask
from outlive.model.ids import RunId, WorkerId
from outlive.model.rows import TaskRow
from outlive.model.tasks import Shares, Wanted, claim_task, next_tried, waits_to_be_alone
from outlive.stores.columns import readable_tasks
from outlive.stores.sqlite.connection import Connection, fetch
from outlive.stores.sqlite.rows import TASK, SqliteRows
from outlive.stores.sqlite.statements import SQL


def anything(connection: Connection, wanted: Wanted, root: RunId | None) -> bool:
    """Whether there is a task to take: what may not be taken yet is no reason to write."""
    return (
        next(_choice(connection, wanted, root), None) is not None
        or next(readable_tasks(fetch(connection, TASK, SQL["ending_tasks"], (root,))), None) is not None
    )


def waits_alone(connection: Connection, wanted: Wanted, root: RunId | None) -> bool:
    """Whether a task has to be tried alone, and waits for this worker to be idle."""
    if wanted.idle or not wanted.suspects:
        return False
    return waits_to_be_alone(list(_waiting(connection, wanted, root, suspected=True)), idle=False)


def claim(
    connection: Connection, rows: SqliteRows, worker: WorkerId, wanted: Wanted, root: RunId | None
) -> Iterator[ClaimedTask]:
    for task in readable_tasks(fetch(connection, TASK, SQL["ending_tasks"], (root,))):
        yield claim_task(rows, task, worker)
    for task in list(_choice(connection, wanted, root)):
        yield claim_task(rows, task, worker)


def _choice(connection: Connection, wanted: Wanted, root: RunId | None) -> Iterator[TaskRow]:
    """What is to be taken now."""
    suspects = list(_waiting(connection, wanted, root, suspected=True)) if wanted.suspects else []
    if suspects:
        yield from next_tried(suspects, idle=wanted.idle)
    else:
        yield from _waiting(connection, wanted, root, suspected=False)


def _waiting(connection: Connection, wanted: Wanted, root: RunId | None, *, suspected: bool) -> Iterator[TaskRow]:
    """Those that there is room for."""
    steps, tasks = ("suspected_steps", "suspected_tasks") if suspected else ("waiting_steps", "waiting_tasks")
    waiting = _steps(connection, steps, wanted, root)
    if not waiting:
        return
    counted = fetch(connection, tuple[str, int, int], SQL["queue_limits"])
    limits, held = {name: most for name, most, _ in counted}, {name: count for name, _, count in counted}
    shares = Shares(wanted, limits=limits, held=held)
    found: list[int] = []
    for pick in shares.picks(waiting):
        room = shares.room(pick)
        if room == 0:
            continue
        values = (pick.queue, json.dumps(pick.steps), room, root, json.dumps(found))
        mine = list(readable_tasks(fetch(connection, TASK, SQL[tasks], values)))
        shares.take(pick, len(mine))
        found += [task.id for task in mine]
        yield from mine


def _steps(connection: Connection, statement: str, wanted: Wanted, root: RunId | None) -> list[tuple[str, str]]:
    steps = wanted.steps
    if not steps:
        return []
    found = fetch(connection, tuple[str, str], SQL[statement], (json.dumps(steps), root))
    return [(queue, name) for queue, name in found if wanted.queues is None or queue in wanted.queues]
