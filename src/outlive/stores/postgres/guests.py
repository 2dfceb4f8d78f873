"""Our statements on somebody else's connection: psycopg's, SQLAlchemy's or asyncpg's, inside a transaction that is theirs to end."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final, cast

from outlive.errors import ConfigurationError
from outlive.model.creation import add_run, same
from outlive.model.entries import Created, Existing, NewRun
from outlive.stores.postgres.connections import Again
from outlive.stores.postgres.facets import Loaded
from outlive.stores.postgres.flushing import flush
from outlive.stores.postgres.loading import run_row
from outlive.stores.postgres.rows import StagedRows
from outlive.stores.postgres.statements import Statements

_CAST: Final = re.compile(r"\$(\d+)::([a-z]+(?: precision)?(?:\[\])?)")
_IDLE: Final = 0
"""``psycopg.pq.TransactionStatus.IDLE``"""
_VALUE: Final = re.compile(r"\$(\d+)")


class Guest:
    """A connection of the user's, spoken to as to one of ours.

    Raises:
        ConfigurationError: It is none that can be used here.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._fetch = _speaker(connection)

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        found: list[Any] = await self._fetch(self._connection, statement, values)
        return found

    async def execute(self, statement: str, *values: object) -> None:
        await self._fetch(self._connection, statement, values)

    async def fetchval(self, statement: str, *values: object) -> Any:
        found = await self.fetch(statement, *values)
        return found[0][0] if found else None


def _speaker(connection: Any) -> Callable[..., Any]:
    for kind in type(connection).__mro__:
        module = kind.__module__.partition(".")[0]
        if not inspect.iscoroutinefunction(getattr(connection, "execute", None)):
            break  # it would block the loop
        if module == "psycopg" and hasattr(connection, "cursor"):
            _in_transaction(not connection.autocommit or connection.info.transaction_status != _IDLE)
            return _with_psycopg
        if module == "sqlalchemy":
            return _with_sqlalchemy
        if module == "asyncpg" and hasattr(connection, "fetch"):
            _in_transaction(connection.is_in_transaction())
            return _with_asyncpg
    raise ConfigurationError(
        f"{type(connection).__module__}.{type(connection).__qualname__} is no connection that can be used here; give an async connection of "
        "psycopg or asyncpg, or an async session or connection of SQLAlchemy"
    )


def _in_transaction(it_is: bool) -> None:
    if not it_is:
        raise ConfigurationError("no transaction is open on this connection: nothing would hold together; begin one")


async def _with_asyncpg(connection: Any, statement: str, values: tuple[object, ...]) -> list[Any]:
    found: list[Any] = await connection.fetch(statement, *values)
    return found


async def _with_psycopg(connection: Any, statement: str, values: tuple[object, ...]) -> list[Any]:
    text = _VALUE.sub(r"%(p\1)s", statement.replace("%", "%%"))
    cursor = await connection.execute(text, {f"p{number}": value for number, value in enumerate(values, start=1)})
    if cursor.description is None:
        return []
    found: list[Any] = [_row(record) for record in await cursor.fetchall()]
    return found


def _row(record: Any) -> tuple[Any, ...]:
    """Whatever kind of row its connection gives."""
    return tuple(cast("dict[str, Any]", record).values()) if isinstance(record, dict) else tuple(record)


async def _with_sqlalchemy(connection: Any, statement: str, values: tuple[object, ...]) -> list[Any]:
    from sqlalchemy import text

    # a colon after a name is part of it there
    converted = _VALUE.sub(r":p\1", _CAST.sub(r"CAST($\1 AS \2)", statement))
    result = await connection.execute(
        text(converted), {f"p{number}": value for number, value in enumerate(values, start=1)}
    )
    return list(result.fetchall()) if result.returns_rows else []


async def create_on(guest: Guest, sql: Statements, new: NewRun, *, now: float | None) -> Created | Existing:
    """Create a run in the transaction that is open on ``guest``; nobody owns it, and it is due: by the server's clock, unless ``now`` is given."""
    if now is None:
        now = await guest.fetchval(sql["clock"])
        assert now is not None, "a clock tells the time"
    rows = StagedRows(Loaded(runs={new.id: None}))
    add_run(rows, new, parent=new.parent, root=new.id if new.root is None else new.root, worker=None, now=now)
    try:
        await flush(guest, sql, rows)
    except Again:  # the id is taken
        [columns] = await guest.fetch(sql["run"], new.id)
        return Existing(id=new.id, same=same(run_row(columns), new))
    return Created(id=new.id)
