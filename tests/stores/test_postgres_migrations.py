"""A migration that expands leaves the code of the version before able to read and to write all that it did (PG11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
import pytest

from outlive.stores.postgres.connections import parse
from outlive.stores.postgres.statements import Statements

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.attidentity <> '' OR a.attgenerated <> '' OR a.atthasdef
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
RULES = """
SELECT c.relname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = $1::regnamespace AND k.contype <> 'n'
UNION ALL
SELECT c.relname, regexp_replace(pg_get_indexdef(i.indexrelid), 'INDEX \\S+', '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace = $1::regnamespace AND i.indisunique
UNION ALL
SELECT c.relname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = $1::regnamespace AND NOT t.tgisinternal
"""


class Shape(NamedTuple):
    columns: dict[tuple[str, str], tuple[str, bool, bool]]
    """Of which type; whether it must have a value; whether it gets one by itself."""
    rules: set[tuple[str, str]]
    """What a row must obey."""


async def shape_of(connection: asyncpg.Connection, schema: str) -> Shape:
    columns = await connection.fetch(COLUMNS, schema)
    rules = await connection.fetch(RULES, schema)
    return Shape({(row[0], row[1]): (row[2], row[3], row[4]) for row in columns}, {(row[0], row[1]) for row in rules})


def what_breaks(before: Shape, after: Shape) -> list[str]:
    """What stands in the way of statements that were written for ``before``."""
    tables = {table for table, _ in before.columns}
    found = []
    for place, (kind, needed, filled) in before.columns.items():
        now = after.columns.get(place)
        if now is None:
            found.append(f"{place} is gone")
        elif now[0] != kind:
            found.append(f"{place} was {kind} and is {now[0]}")
        elif now[1] > needed or now[2] < filled:
            found.append(f"{place} must be given now")
    for place in after.columns.keys() - before.columns.keys():
        _, needed, filled = after.columns[place]
        if place[0] in tables and needed and not filled:
            found.append(f"{place} is not known to older code, which gives it no value")
    found += [f"{table} has a new rule: {rule}" for table, rule in after.rules - before.rules if table in tables]
    found += [f"{table} has lost a rule: {rule}" for table, rule in before.rules - after.rules]
    return sorted(found)


@pytest.fixture
async def schema(postgres_url: str) -> str:
    return parse(postgres_url)[1]


@pytest.fixture
async def connection(postgres_url: str, schema: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(parse(postgres_url)[0], statement_cache_size=0)
    await connection.execute(f'CREATE SCHEMA "{schema}"')
    yield connection
    connection.terminate()


async def test_a_migration_that_does_not_say_so_takes_nothing_away(connection: asyncpg.Connection, schema: str) -> None:
    before = Shape({}, set())
    for number, (name, script) in enumerate(Statements(schema).migrations.items(), start=1):
        assert name.startswith(f"{number:04}_")
        await connection.execute(script)
        after = await shape_of(connection, schema)
        if number > 1 and "contract" not in name:
            assert what_breaks(before, after) == [], name
        before = after
    assert ("runs", "id") in before.columns and before.rules


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE outlive.runs DROP COLUMN time",
        "ALTER TABLE outlive.runs RENAME COLUMN time TO at",
        "ALTER TABLE outlive.runs RENAME TO links",
        "ALTER TABLE outlive.runs ALTER COLUMN reason TYPE bytea USING NULL",
        "ALTER TABLE outlive.runs ALTER COLUMN owner SET NOT NULL",
        "ALTER TABLE outlive.runs ALTER COLUMN queue DROP DEFAULT",
        "ALTER TABLE outlive.runs ADD COLUMN more text NOT NULL",
        "ALTER TABLE outlive.runs ADD CHECK (seq > 5)",
        "CREATE UNIQUE INDEX ON outlive.runs (workflow)",
        "ALTER TABLE outlive.runs DROP CONSTRAINT runs_pkey CASCADE",
    ],
)
async def test_what_older_code_would_stumble_over_is_found(
    connection: asyncpg.Connection, schema: str, change: str
) -> None:
    sql = Statements(schema)
    for script in sql.migrations.values():
        await connection.execute(script)
    before = await shape_of(connection, schema)
    await connection.execute(sql.qualify(change))
    assert what_breaks(before, await shape_of(connection, schema))
