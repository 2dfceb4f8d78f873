"""The commit that most are: runs that are owned and known here get the events that they have found, in one statement.

Nothing is read before it. The rules are carried out on the rows as this store last saw them, and the statement itself says whether they
stood: a run whose row is another is fenced, alone. What needs more than that takes the way of all others.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

from msgspec import Struct, structs

from outlive.model.carry import Carrier
from outlive.model.entries import Committed, Entry, Fenced, Outcome, RunCommit
from outlive.model.events import encode_event
from outlive.model.ids import RunId, WorkerId
from outlive.model.rows import RunRow
from outlive.stores.postgres.clock import ServerClock
from outlive.stores.postgres.connections import Connection
from outlive.stores.postgres.facets import Loaded, Missing
from outlive.stores.postgres.rows import StagedRows
from outlive.stores.postgres.statements import Statements

MOST_REMEMBERED: Final = 50_000

Times: TypeAlias = dict[RunId, float]
"""Log time of what was appended, by run; who is missing was fenced."""


class OwnedRows:
    """The rows of runs that the worker owns, as its commits have left them. Only its owner changes a run's row."""

    def __init__(self) -> None:
        self._rows: dict[RunId, RunRow] = {}
        self._counted: tuple[WorkerId, int] | None = None

    def get(self, run: RunId) -> RunRow | None:
        return self._rows.get(run)

    def commits(self, worker: WorkerId) -> int | None:
        """How many commits of ``worker`` the last answer counted: by the next number one is found whose answer gets lost."""
        return self._counted[1] if self._counted is not None and self._counted[0] == worker else None

    def count(self, worker: WorkerId, commits: int) -> None:
        self._counted = (worker, commits)

    def keep(self, rows: Iterable[RunRow], worker: WorkerId | None) -> None:
        """They have been committed."""
        if len(self._rows) > MOST_REMEMBERED:
            self._rows.clear()
        for row in rows:
            if worker is not None and row.owner == worker:
                self._rows[row.id] = row
            else:
                self._rows.pop(row.id, None)

    def doubt(self) -> None:
        """Something went wrong, and what is remembered may not stand."""
        self._rows.clear()
        self._counted = None


class Append(Struct):
    """A batch that is nothing but events, carried out in memory."""

    worker: WorkerId
    entries: list[RunCommit]
    outcomes: list[Committed]
    rows: StagedRows
    before: dict[RunId, RunRow]

    async def execute(
        self, connection: Connection, sql: Statements, fixed: float | None, clock: ServerClock | None
    ) -> tuple[int | None, Times]:
        """The worker's count of commits, None if its lease has ended; and what was appended when."""
        asked = time.monotonic()
        answer = await connection.fetch(sql["append"], self.worker, fixed, *self._columns())
        now, commits = answer[0][0], answer[0][1]
        if clock is not None:
            clock.follow(now, asked=asked)
        return commits, {run: at for _, _, run, at in answer if run is not None}

    async def read_back(self, connection: Connection, sql: Statements) -> Times:
        """What it did, when its answer got lost and it is known to have happened."""
        rows = [self.rows.runs[run] for run in self.before]
        columns = [[row.id for row in rows], [row.epoch for row in rows], [row.seq for row in rows]]
        return dict(cast("list[tuple[RunId, float]]", await connection.fetch(sql["appended"], *columns)))

    def _columns(self) -> list[list[Any]]:
        events: dict[RunId, list[str]] = {run: [] for run in self.before}
        for run, _, recorded in self.rows.writes.events:
            events[run].append(encode_event(recorded.event))
        table = [
            (
                row.id,
                row.link,
                row.epoch,
                self.before[row.id].seq,
                row.seq,
                row.progress,
                row.crashes,
                row.suspect,
                row.tried,
                f"[{','.join(events[row.id])}]",
            )
            for row in (self.rows.runs[run] for run in self.before)
        ]
        return [list(column) for column in zip(*table, strict=True)]

    def settle(self, times: Times, owned: OwnedRows) -> list[Outcome]:
        """The outcomes, with the log time that the server gave."""
        settled: list[Outcome] = []
        for outcome, entry in zip(self.outcomes, self.entries, strict=True):
            at = times.get(entry.run)
            if at is None:
                settled.append(Fenced())
                continue
            row = self.rows.runs[entry.run]
            row.time = at
            owned.keep([row], self.worker)
            events = tuple(structs.replace(event, time=at) for event in outcome.events)
            settled.append(structs.replace(outcome, events=events))
        return settled


def as_append(worker: WorkerId | None, entries: Sequence[Entry], owned: OwnedRows) -> Append | None:
    """``entries`` as an append; None if there is more to them."""
    if worker is None or owned.commits(worker) is None:
        return None
    before: dict[RunId, RunRow] = {}
    for entry in entries:
        row = owned.get(entry.run) if isinstance(entry, RunCommit) else None
        if row is None or row.id in before:
            return None
        before[row.id] = row
    rows = StagedRows(Loaded(runs={run: copy.copy(row) for run, row in before.items()}))
    carrier = Carrier(rows, worker=worker, leased=True, now=0.0)  # the server gives the time
    outcomes: list[Committed] = []
    for entry in entries:
        try:
            outcome = carrier.carry(entry)
        except (Missing, AssertionError):
            return None
        if not isinstance(outcome, Committed):
            return None
        outcomes.append(outcome)
    if not _only_events(rows, before):
        return None
    return Append(worker, cast("list[RunCommit]", list(entries)), outcomes, rows, before)


def _only_events(rows: StagedRows, before: Collection[RunId]) -> bool:
    writes = rows.writes
    others = (getattr(writes, name) for name in writes.__struct_fields__ if name not in ("events", "advanced"))
    return set(writes.advanced) == set(before) and not any(others)
