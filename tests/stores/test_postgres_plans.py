"""With a million runs that have ended and a million that sleep, every statement of the hot path goes by an index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.stores.postgres import PostgresStore
from outlive.stores.postgres.connections import SETTINGS
from outlive.stores.postgres.reading import list_query
from outlive.stores.postgres.statements import Statements
from outlive.stores.protocol import RunFilter
from tests.servers.postgres import postgres

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.own_server, pytest.mark.timeout(600)]

MILLION = 1_000_000
FILL = """
INSERT INTO outlive.runs
SELECT
    'run-' || n, 1, 'app:flow-' || n % 5, CASE WHEN n <= {million} THEN 'completed' ELSE 'running' END, 3, n, 1, NULL,
    CASE WHEN n > {million} THEN 4e9 + n END, 0, false, false, false, 'run-' || n / 10, 'd',
    CASE WHEN n <= {million} THEN n END, '', '', '', n, NULL, '[]'
FROM generate_series(1, 2 * {million}) AS n;
INSERT INTO outlive.events
SELECT 'run-' || n, 1, seq, n, 'w', 1, '{{}}' FROM generate_series({million} - 100000, {million} + 100000) AS n, generate_series(1, 3) AS seq;
INSERT INTO outlive.waits
SELECT 'run-' || n, 1, 1, 'sleep', 4e9 + n FROM generate_series({million} + 1, 2 * {million}) AS n;
INSERT INTO outlive.hooks
SELECT 'token-' || n, 'run-' || n, 1, 2, '', '', n, '' FROM generate_series({million} + 1, {million} + 100000) AS n;
INSERT INTO outlive.inbox
SELECT n, 'run-' || n, 1, 2, 'payload', n, 'token-' || n, '{{}}' FROM generate_series({million} + 1, {million} + 100000) AS n;
INSERT INTO outlive.watches
SELECT 'run-' || n + 1, 'run-' || n, 1, 3 FROM generate_series({million} + 1, {million} + 100000) AS n;
INSERT INTO outlive.chunks
SELECT 'run-' || n, 's', k, 'value', 1, 1, n, false, '1' FROM generate_series({million} + 1, {million} + 50000) AS n, generate_series(0, 1) AS k;
INSERT INTO outlive.requests
SELECT 'request-' || n, 'run-' || n, n, NULL FROM generate_series({million} + 1, {million} + 100000) AS n;
INSERT INTO outlive.keys
SELECT 'run-' || n, 'k', 1, 'token-' || n, n, '' FROM generate_series({million} + 1, {million} + 100000) AS n;
INSERT INTO outlive.tags SELECT 'tag-' || n % 7, n, 'run-' || n FROM generate_series(1, 100000) AS n;
INSERT INTO outlive.workers (id, lease, lease_until, joined_at) SELECT 'w' || n, 10, 5e9, 1 FROM generate_series(1, 4) AS n;
INSERT INTO outlive.tasks (run, link, ref, root, queue, name, priority, scheduled_at, owner, cancelling, call)
SELECT
    'run-' || n, 1, 4, 'run-' || n / 10, 'queue-' || n % 5, CASE WHEN n % 10 = 0 THEN 'app:unknown' ELSE 'app:step-' || n % 7 END, n % 3, n,
    CASE WHEN n <= {million} + 300 THEN 'w1' END, n = {million} + 5, '{{}}'
FROM generate_series({million} + 1, {million} + 200000) AS n;
INSERT INTO outlive.queues (name, most) SELECT 'queue-' || n, 100 FROM generate_series(0, 4) AS n;
INSERT INTO outlive.queued_steps (name, queue) SELECT DISTINCT name, queue FROM outlive.tasks;
UPDATE outlive.runs SET owner = 'w1', wake_at = NULL WHERE id IN (SELECT 'run-' || n FROM generate_series({million} + 1, {million} + 500) AS n);
"""

RUNS = [f"run-{MILLION + n}" for n in range(1, 101)]
TOKENS = [f"token-{MILLION + n}" for n in range(1, 101)]
ONES = [1] * 100
FLOWS = [f"app:flow-{n}" for n in range(5)]
TEXTS = [""] * 100
FLOATS = [1.0] * 100
NO = [False] * 100
STEPS = [f"app:step-{n}" for n in range(7)]
QUEUES = [f"queue-{n}" for n in range(5)]

STATEMENTS: dict[str, tuple[Any, ...]] = {
    "lock_runs": (RUNS, None),
    "inboxes": (RUNS,),
    "waits_of": (RUNS,),
    "tokens": (TOKENS,),
    "ended_tokens": (TOKENS,),
    "hooks_of": (RUNS,),
    "watchers": (RUNS,),
    "pendings": (RUNS, TOKENS),
    "keys_of_runs": (RUNS, ["k"] * 100),
    "keys_of_tokens": (TOKENS, ["k"] * 100),
    "lock_requests": ([f"request-{MILLION + 1}"],),
    "stream_lengths": (RUNS, ["s"] * 100),
    "written_streams": (RUNS, ONES, ONES),
    "events_at": (RUNS, ONES, ONES),
    "lock_owned_free": ("w1",),
    "results_of_link": (RUNS[0], 1),
    "advance_runs": (RUNS, ONES, FLOATS, NO, ONES, NO, TEXTS),
    "append": ("w1", None, RUNS, ONES, ONES, ONES, ONES, NO, ONES, NO, TEXTS, ["[{}]"] * 100),
    "appended": (RUNS, ONES, ONES),
    "update_runs": (
        RUNS, ONES, TEXTS, TEXTS, ONES, FLOATS, ONES, TEXTS, FLOATS, ONES, NO, NO, NO, TEXTS, TEXTS, FLOATS, TEXTS, TEXTS, TEXTS,
    ),
    "clear": (RUNS, ONES, RUNS, RUNS),
    "drop_waits": (RUNS, ONES),
    "move_hooks": (TOKENS, RUNS, ONES, ONES),
    "move_cancels": (RUNS, ONES),
    "drop_hooks": (RUNS, ONES, ONES),
    "drop_messages": (list(range(MILLION, MILLION + 100)),),
    "answer_requests": ([f"request-{MILLION + 1}"], [""]),
    "void_chunks": (RUNS, ONES, ONES),
    "drop_watches": (RUNS, ONES),
    "lease_commit": ("w1", None),
    "lease_claim": ("w1", None),
    "renew": ("w1", None),
    "look": ("w1", FLOWS, "f", None, True, STEPS, QUEUES, True),
    "look_under": ("w1", FLOWS, "f", None, True, f"run-{MILLION // 5}", STEPS, QUEUES, True),
    "lock_tasks": (RUNS, ONES, ONES),
    "tasks_of": (RUNS[0],),
    "held_tasks": ("w1",),
    "lock_held": ("w1",),
    "free_tasks": ("w1", 1, 0),
    "update_tasks": (RUNS, ONES, ONES, ["w1"] * 100, ONES, ONES, NO),
    "drop_tasks": (RUNS, ONES, ONES),
    "void_tasks": (RUNS, NO),
    "put_tasks": (RUNS, ONES, ONES, RUNS, TEXTS, TEXTS, ONES, FLOATS, TEXTS),
    "waiting_steps": (STEPS, QUEUES, None),
    "lock_limits": (QUEUES,),
    "held_slots": (QUEUES,),
    "waiting_tasks": ("queue-1", STEPS, 100, None, []),
    "suspected_steps": (STEPS, QUEUES, None),
    "suspected_tasks": ("queue-1", STEPS, 100, None, []),
    "ending_tasks": (None,),
    "due": (FLOWS, 2e9, 200, True, None),
    "due_under": (FLOWS, 2e9, 200, True, f"run-{MILLION // 5}", ["default"]),
    "parked": (FLOWS, "f", 200, None, None),
    "next_due": (FLOWS, ["default"]),
    "next_due_under": (FLOWS, f"run-{MILLION // 5}", None),
    "lock_owned": ("w1",),
    "free": ("w1", 1.0, True, True),
    "knocks": ("w1",),
    "owned": ("w1",),
    "log": (RUNS[0], 1, 0, 1000),
    "record": (RUNS[0],),
    "waits": (RUNS[0],),
    "hooks": (RUNS[0],),
    "hook_record": (TOKENS[0],),
    "open_hooks": (RUNS[50], 1, 50),
    "ended_hook": (TOKENS[0],),
    "request": (f"request-{MILLION + 1}",),
    "chunks": (RUNS[0], "s", 0, 100),
    "streams": (RUNS[0], None),
    "last_chunk": (RUNS[0], "s", 1),
    "ended": (100.0, 200),
    "prune_old": (100.0, 1000),
}  # fmt: skip
SMALL = {"queues", "queued_steps", "services", "workers", "commits", "meta", "api_keys", "ended_hooks"}
"""Tables that are as small as a cluster is, or empty here."""
LISTS = [
    RunFilter(),
    RunFilter(status=RunStatus.RUNNING),
    RunFilter(workflow="app:flow-1"),
    RunFilter(tag="tag-3"),
    RunFilter(root=RunId("run-77")),
    RunFilter(before=RunId(f"run-{MILLION}")),
    RunFilter(status=RunStatus.COMPLETED, before=RunId("run-500000")),
]


@pytest.fixture(scope="module")
def filled() -> Iterator[str]:
    """The url of a schema with two million runs."""
    with postgres() as server:
        url = f"{server.url}?schema=outlive"
        asyncio.run(_fill(url, server.url))
        yield server.url


async def _fill(url: str, dsn: str) -> None:
    store = PostgresStore(url)
    await store.open()
    await store.close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'; SET work_mem = '64MB'")
    await connection.execute(FILL.format(million=MILLION))
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def test_every_statement_goes_by_an_index(filled: str) -> None:
    sql = Statements("outlive")
    lists = {f"list {number}": list_query(where, sql) for number, where in enumerate(LISTS)}
    texts = {name: (sql[name], list(values)) for name, values in STATEMENTS.items()} | lists
    connection = await asyncpg.connect(filled, server_settings=SETTINGS)
    slow: list[str] = []
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for name, (text, values) in texts.items():
            transaction = connection.transaction()
            await transaction.start()
            statement = await connection.prepare(text)
            plan = await statement.explain(*values)
            await transaction.rollback()
            slow += [
                f"{name} ({mode}): reads all of {found}" for found in _scanned(plan[0]["Plan"]) if found not in SMALL
            ]
    await connection.close()
    assert slow == []


def _scanned(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _scanned(part)


async def test_no_statement_is_forgotten() -> None:
    """Those that insert read nothing but keys; those of the house are listed by name."""
    sql = Statements("outlive")
    inserts = {name for name in sql._texts if sql[name].startswith("INSERT") or name in ("join", "hash_seed")}
    house = {"audit_ids", "audit_strays", "audit_watches", "run", "workers", "prune", "tidy", "clock", "message_ids"}
    guests = {"leave_result", "result_of"}  # by their keys
    rare = {
        "long_transactions",
        "lock_dead",
        "lock_worker",
        "leave",
        "expire",
        "api_key",
        "api_keys",
        "revoke_api_key",
        "use_api_key",
        "queues",
        "services",
    }
    stamps = {"stamped_store", "stamped_commit", "stamped_claim"}
    assert set(sql._texts) - inserts - house - rare - stamps - guests == set(STATEMENTS)
