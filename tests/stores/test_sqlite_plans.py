"""No statement's cost grows with the length of a log, or with the number of finished or sleeping runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import apsw
import pytest

from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.stores.protocol import RunFilter
from outlive.stores.sqlite.reading import list_query
from outlive.stores.sqlite.statements import MIGRATIONS, SQL

_WHOLE_TABLE = {
    "workers",
    "others",
    "unstamp",
    "audit_ids",
    "audit_strays",
    "api_keys",
    "queues",
    "queue_limits",
    "services",
}
"""Few rows, or a doctor's work."""


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.execute("".join(MIGRATIONS))
    yield connection
    connection.close()


def plan(connection: apsw.Connection, statement: str) -> list[str]:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = (None,) * (max(numbered) if numbered else statement.count("?"))
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [str(row[3]) for row in rows]


def scans(lines: list[str]) -> list[str]:
    """Walks over whole tables or indexes; over a JSON list or a subquery's result they are what is wanted."""
    harmless = re.compile(r"^SCAN (w|json_each|due|names|\(subquery|CONSTANT ROW)")
    return [line for line in lines if line.startswith("SCAN") and not harmless.match(line)]


@pytest.mark.parametrize("name", sorted(SQL.keys() - _WHOLE_TABLE))
def test_no_statement_scans_a_table(connection: apsw.Connection, name: str) -> None:
    assert scans(plan(connection, SQL[name])) == []


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("due", "runs_due (workflow=? AND wake_at>? AND wake_at<?)"),
        ("next_due", "runs_due (workflow=? AND wake_at>?)"),
        ("parked", "SEARCH before USING INDEX runs_parked (workflow=? AND fingerprint<?)"),
        ("parked", "SEARCH after USING INDEX runs_parked (workflow=? AND fingerprint>?)"),
        ("some_of_worker", "runs_owned (owner=?)"),
        ("free", "runs_owned (owner=?)"),
        ("owned", "runs_owned (owner=?)"),
        ("knocks", "runs_owned (owner=?)"),
        ("ended", "runs_ended (ended_at<?)"),
        ("pending", "inbox_run (run=? AND token_hash=?)"),
        ("inbox", "inbox_run (run=?)"),
        ("chunks", "SEARCH chunks USING PRIMARY KEY (run=? AND stream=? AND number>?)"),
        ("stream_length", "SEARCH chunks USING PRIMARY KEY (run=? AND stream=?)"),
        ("written_streams", "chunks_writer (run=? AND link=? AND ref=?)"),
        ("void_chunks", "chunks_writer (run=? AND link=? AND ref=?)"),
        ("close_requests", "requests_run (run=?)"),
        ("known_by_token", "keys_token (token_hash=? AND key=?)"),
        ("waiting_steps", "tasks_waiting (queue=? AND name=?)"),
        ("waiting_tasks", "tasks_waiting (queue=? AND name=?)"),
        ("suspected_steps", "tasks_suspected (queue=? AND name=? AND deaths>?)"),
        ("suspected_tasks", "tasks_suspected (queue=? AND name=? AND deaths>?)"),
        ("ending_tasks", "tasks_ending (cancelling=?)"),
        ("queue_limits", "tasks_running (queue=?)"),
        ("held_tasks", "tasks_held (owner=?)"),
        ("free_tasks", "tasks_held (owner=?)"),
        ("task", "tasks_step (run=? AND link=? AND ref=?)"),
        ("log", "SEARCH events USING PRIMARY KEY (run=? AND link=? AND seq>?)"),
    ],
)
def test_a_hot_statement_uses_its_index(connection: apsw.Connection, name: str, index: str) -> None:
    assert any(index in line for line in plan(connection, SQL[name]))


@pytest.mark.parametrize("name", ["advance_run", "append", "run"])
def test_what_every_event_costs_is_one_search(connection: apsw.Connection, name: str) -> None:
    assert len(plan(connection, SQL[name])) <= 1


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(),
        RunFilter(before=RunId("r")),
        RunFilter(status=RunStatus.FAILED),
        RunFilter(workflow="w"),
        RunFilter(root=RunId("r")),
        RunFilter(tag="t", before=RunId("r")),
        RunFilter(status=RunStatus.FAILED, before=RunId("r")),
    ],
    ids=repr,
)
def test_a_page_of_a_list_is_read_in_order_without_sorting(connection: apsw.Connection, where: RunFilter) -> None:
    lines = plan(connection, list_query(where)[0])
    assert not any("TEMP B-TREE" in line for line in lines)
    assert all("USING" in line for line in lines if line.startswith(("SCAN", "SEARCH")))
