"""Taking tasks from queues; inside the writer's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator

from outlive.model.entries import ClaimedTask
from outlive.model.ids import RunId, WorkerId
from outlive.model.tasks import Shares, Wanted, claim_task
from outlive.stores.columns import readable_tasks
from outlive.stores.sqlite.connection import Connection, fetch
from outlive.stores.sqlite.rows import TASK, SqliteRows
from outlive.stores.sqlite.statements import SQL


def anything(connection: Connection, wanted: Wanted, root: RunId | None) -> bool:
    """Whether there may be a task to take."""
    return bool(_waiting(connection, wanted, root)) or bool(fetch(connection, TASK, SQL["ending_tasks"], (root,)))


def claim(
    connection: Connection, rows: SqliteRows, worker: WorkerId, wanted: Wanted, root: RunId | None
) -> Iterator[ClaimedTask]:
    for task in readable_tasks(fetch(connection, TASK, SQL["ending_tasks"], (root,))):
        yield claim_task(rows, task, worker)
    counted = fetch(connection, tuple[str, int, int], SQL["queue_limits"])
    limits, held = {name: most for name, most, _ in counted}, {name: count for name, _, count in counted}
    shares = Shares(wanted, limits=limits, held=held)
    for pick in shares.picks(_waiting(connection, wanted, root)):
        room = shares.room(pick)
        if room == 0:
            continue
        values = (pick.queue, json.dumps(pick.steps), room, root)
        mine = list(readable_tasks(fetch(connection, TASK, SQL["waiting_tasks"], values)))
        shares.take(pick, len(mine))
        for task in mine:
            yield claim_task(rows, task, worker)


def _waiting(connection: Connection, wanted: Wanted, root: RunId | None) -> list[tuple[str, str]]:
    steps = wanted.steps
    if not steps:
        return []
    found = fetch(connection, tuple[str, str], SQL["waiting_steps"], (json.dumps(steps), root))
    return [(queue, name) for queue, name in found if wanted.queues is None or queue in wanted.queues]
