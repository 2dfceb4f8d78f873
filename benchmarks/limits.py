"""What this machine can do at most, whatever the engine: ``python -m benchmarks.limits FOLDER``."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

import apsw
import asyncpg
import msgspec
from typing_extensions import override

COMMITS: Final = 500
RUNS: Final = 1_000


def database(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    connection.execute("CREATE TABLE events (run TEXT, seq INTEGER, event TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID")
    return connection


def commits_per_second(folder: Path) -> float:
    """Durable commits of one small row, one after the other."""
    connection = database(folder / "commits.db")
    begun = time.perf_counter()
    for number in range(COMMITS):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO events VALUES (?, 1, ?)", (str(number), "x" * 200))
        connection.execute("COMMIT")
    return COMMITS / (time.perf_counter() - begun)


class Event(msgspec.Struct, tag_field="type", tag="step_completed"):
    ref: int
    name: str
    input: dict[str, int]
    result: int


class GroupCommit:
    """Rows of all who write gather while the loop is busy, and leave in one commit."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[str, int, str]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, row: tuple[str, int, str]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._rows:
            loop.call_soon(self._commit)
        self._rows.append(row)
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append(durable)
        return durable

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, []
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")
        for durable in waiting:
            durable.set_result(None)


async def step(number: int) -> int:
    return number + 1


async def ceiling(folder: Path) -> float:
    return await all_runs(GroupCommit(database(folder / "ceiling.db")))


async def all_runs(journal: GroupCommit) -> float:
    """Steps per second of a program that runs each step as a task, encodes its event and waits for a group commit; no more."""
    encode = msgspec.json.Encoder().encode

    async def run(name: str) -> None:
        number = 0
        await journal.write((name, 0, encode(Event(0, "module:run", {"n": 0}, 0)).decode()))
        for ref in range(1, 6):
            given, number = number, await asyncio.create_task(step(number))
            await journal.write((name, ref, encode(Event(ref, "module:step", {"n": given}, number)).decode()))
        await journal.write((name, 6, encode(Event(6, "module:run", {"n": 0}, number)).decode()))

    begun = time.perf_counter()
    await asyncio.gather(*(run(f"run-{number:08}") for number in range(RUNS)))
    return 5 * RUNS / (time.perf_counter() - begun)


class GroupInsert(GroupCommit):
    """The same on PostgreSQL: while a statement is under way, rows gather for the next."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._postgres = connection
        self._rows = []
        self._waiting = []
        self._busy = False

    @override
    def _commit(self) -> None:
        if not self._busy:
            self._busy = True
            self._inserting = asyncio.get_running_loop().create_task(self._insert())

    async def _insert(self) -> None:
        while self._rows:
            rows, self._rows = self._rows, []
            waiting, self._waiting = self._waiting, []
            await self._postgres.execute(
                "INSERT INTO events SELECT * FROM unnest($1::text[], $2::int[], $3::text[])",
                *map(list, zip(*rows, strict=True)),
            )
            for durable in waiting:
                durable.set_result(None)
        self._busy = False


async def on_postgres(url: str) -> dict[str, float]:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE events (run text, seq int, event text, PRIMARY KEY (run, seq))")
    begun = time.perf_counter()
    for number in range(COMMITS):
        await connection.execute("INSERT INTO events VALUES ($1, 1, $2)", str(number), "x" * 200)
    commit = (time.perf_counter() - begun) / COMMITS * 1_000
    return {"commit": commit, "ceiling": await all_runs(GroupInsert(connection))}


if __name__ == "__main__":
    if "://" in sys.argv[1]:
        print(json.dumps(asyncio.run(on_postgres(sys.argv[1]))))
        sys.exit()
    where = Path(sys.argv[1])
    print(json.dumps({"commit": 1_000 / commits_per_second(where), "ceiling": asyncio.run(ceiling(where))}))
