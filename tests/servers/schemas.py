"""What tests do to a schema past the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from outlive.stores.postgres import PostgresStore
from outlive.stores.protocol import Clock, Store
from outlive.testing.waited import in_real_time, in_virtual_time


async def drop_schema(url: str, schema: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'SET client_min_messages = error; DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    finally:
        await connection.close()


async def end_leases(url: str) -> None:
    """As if enough time had passed since the workers died."""
    dsn, _, schema = url.partition("?schema=")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'UPDATE "{schema}".workers SET lease_until = 0')
    finally:
        await connection.close()


def empty_postgres(url: str) -> Callable[[Clock], Awaitable[Store]]:
    """Opens the store of ``url`` for virtual time, with nothing in it."""

    async def opened(clock: Clock) -> Store:
        store = PostgresStore(url, clock=clock)
        waited = in_virtual_time(store)
        await waited.open()
        await in_real_time(_empty(url))
        return waited

    return opened


async def _empty(url: str) -> None:
    dsn, _, schema = url.partition("?schema=")
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'meta'", schema
        )
        await connection.execute("; ".join(f'DELETE FROM "{schema}"."{table}"' for (table,) in tables))
    finally:
        await connection.close()
