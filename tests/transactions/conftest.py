"""A bank in the store's database, and engines that are let into its transactions, by one driver or another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from outlive import Engine, get_connection
from outlive._runtime.options import WorkerOptions
from outlive.stores.postgres.connections import parse


class Bank:
    """A table of bookings, the ways into a transaction, and what is in the table."""

    def __init__(self, url: str, driver: str, begin: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self.url = url
        self.dsn, self.schema = parse(url)
        self.driver = driver
        self.begin = begin
        self.table = f'"{self.schema}_bank".bookings'

    async def book(self, connection: Any, what: str) -> None:
        """On a connection of the driver."""
        statement = f"INSERT INTO {self.table} (what) VALUES "
        if self.driver == "asyncpg":
            await connection.execute(f"{statement}($1)", what)
        elif self.driver == "psycopg":
            await connection.execute(f"{statement}(%s)", (what,))
        else:
            await connection.execute(text(f"{statement}(:what)"), {"what": what})

    async def show(self, connection: Any, setting: str) -> str:
        """On a connection of the driver."""
        if self.driver == "asyncpg":
            return str(await connection.fetchval(f"SHOW {setting}"))
        if self.driver == "psycopg":
            [shown] = await (await connection.execute(f"SHOW {setting}")).fetchone()
            return str(shown)
        return str((await connection.execute(text(f"SHOW {setting}"))).scalar_one())

    async def bookings(self) -> list[str]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return [what for (what,) in await connection.fetch(f"SELECT what FROM {self.table} ORDER BY id")]
        finally:
            await connection.close()

    def engine(self, **options: Any) -> Engine:
        settings = WorkerOptions(poll=0.02, **options)
        return Engine(self.url, transactions=self.begin, options=settings, shutdown_grace=0)


current: dict[str, Bank] = {}


async def book(what: str) -> None:
    """In a step: whatever the driver is."""
    await current["bank"].book(get_connection(), what)


@pytest.fixture(params=["psycopg", "asyncpg", "sqlalchemy+asyncpg", "sqlalchemy+psycopg"])
async def bank(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[Bank]:
    dsn, schema = parse(postgres_url)
    owner = await asyncpg.connect(dsn)
    await owner.execute(
        f'CREATE SCHEMA "{schema}_bank"; CREATE TABLE "{schema}_bank".bookings (id bigserial PRIMARY KEY, what text NOT NULL)'
    )
    async with AsyncExitStack() as stack:
        begin = await _way_in(request.param, dsn, stack)
        current["bank"] = Bank(postgres_url, request.param, begin)
        yield current["bank"]
    await owner.execute(f'DROP SCHEMA "{schema}_bank" CASCADE')
    await owner.close()


async def _way_in(driver: str, dsn: str, stack: AsyncExitStack) -> Callable[[], AbstractAsyncContextManager[Any]]:
    if driver == "psycopg":
        pool = psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            dsn, open=False, min_size=1, kwargs={"prepare_threshold": None}
        )
        await pool.open()
        stack.push_async_callback(pool.close)
        return pool.connection
    if driver == "asyncpg":

        @contextlib.asynccontextmanager
        async def begin() -> AsyncIterator[asyncpg.Connection]:
            connection = await asyncpg.connect(dsn, statement_cache_size=0)
            try:
                async with connection.transaction():
                    yield connection
            finally:
                connection.terminate()

        return begin
    arguments: dict[str, Any] = (
        {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        if "asyncpg" in driver
        else {"prepare_threshold": None}
    )
    database = create_async_engine(
        dsn.replace("postgresql://", f"postgresql+{driver.partition('+')[2]}://"), connect_args=arguments
    )
    stack.push_async_callback(database.dispose)
    return async_sessionmaker(database).begin
