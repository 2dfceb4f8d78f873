"""Brings a schema to this version: in one transaction, and one process at a time.

Migrations expand: code of the version before goes on working on the schema after, and may be started on it, so that a deploy can take
its time. One that takes away what older code needs says so in its name (``0007_contract_….sql``) and shuts that code out.
"""

from __future__ import annotations

import hashlib
from typing import Final

import asyncpg
from msgspec import Struct

from outlive.errors import ConfigurationError, SchemaVersion, StoreUnavailable
from outlive.stores.postgres.connections import Connection, Connections, parse
from outlive.stores.postgres.statements import Statements

# not by to_regclass: within a transaction that waited for another it answers from a cache
_THERE: Final = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'meta')"
_SCHEMA_THERE: Final = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)"
_VERSIONS: Final = "SELECT key, value FROM outlive.meta WHERE key IN ('schema_version', 'oldest_code')"
_KEEP: Final = """
INSERT INTO outlive.meta (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class SchemaState(Struct, frozen=True):
    """What stands in the database, and what this code is made for."""

    schema: str
    version: int
    """Of the schema; 0: there is none yet."""
    oldest_code: int
    """Code that knows at least this version can work on it."""
    known: int
    """The version that this code makes of it."""
    server: str
    pooled: bool
    """It is reached through a pooler that keeps no sessions."""

    @property
    def fits(self) -> bool:
        """Whether this code can work on it as it is."""
        return self.version >= self.known >= self.oldest_code


async def state_of(url: str) -> SchemaState:
    """Look, and change nothing."""
    return await _with(url, migrates=False)


async def migrate_url(url: str) -> SchemaState:
    """Bring the schema of ``url`` to this version; what it is then.

    Raises:
        SchemaVersion: It was written by a newer Outlive, for which this code is too old.
        ConfigurationError: This user may not create it.
        StoreUnavailable: Others are in the way, or there is no server.
    """
    return await _with(url, migrates=True)


async def _with(url: str, *, migrates: bool) -> SchemaState:
    dsn, schema = parse(url)
    sql, connections = Statements(schema), Connections(dsn, most=1)
    try:
        await connections.open()
        if migrates:
            await migrate(connections, sql)
        async with connections.single() as connection:
            version, oldest = await _versions(connection, sql)
            server = await connection.fetchval("SHOW server_version")
        return SchemaState(schema, version, oldest, len(sql.migrations), server, connections.pooled)
    finally:
        await connections.close()


async def migrate(connections: Connections, sql: Statements) -> None:
    """Bring the schema to this version; a newer one that this code can work on is left as it is.

    Raises:
        SchemaVersion: This code is too old for it.
        ConfigurationError: This user may not create it.
        StoreUnavailable: Others hold its tables; it does not wait for them, since everybody else would wait behind it.
    """
    async with connections.single() as connection:
        if await _judged(connection, sql) >= len(sql.migrations):
            return
    async with connections.transaction() as connection:
        await connection.execute("SET LOCAL lock_timeout = '15s'")  # for others to bring it there
        # of this transaction, not of a session: it works through a pooler too
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_number(sql.schema))
        version = await _judged(connection, sql)
        try:
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            if version == 0 and not await connection.fetchval(_SCHEMA_THERE, sql.schema):
                await connection.execute(sql.qualify('CREATE SCHEMA "' + sql.schema + '"'))
            for number, (name, script) in enumerate(sql.migrations.items(), start=1):
                if number > version:
                    await connection.execute(script)
                    await connection.execute(sql.qualify(_KEEP), "schema_version", str(number))
                    if "contract" in name:
                        await connection.execute(sql.qualify(_KEEP), "oldest_code", str(number))
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"this user may not create the schema {sql.schema} ({error}); let its owner run `CREATE SCHEMA {sql.schema} "
                "AUTHORIZATION ...`, or name another one with ?schema= in the url"
            ) from error
        except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as error:
            raise _not_ours(sql, error) from error
        except asyncpg.LockNotAvailableError as error:
            raise StoreUnavailable(
                f"the tables of the schema {sql.schema} are in use ({error}); run `outlive db migrate` again in a quiet moment"
            ) from error


async def _judged(connection: Connection, sql: Statements) -> int:
    version, oldest = await _versions(connection, sql)
    known = len(sql.migrations)
    if oldest > known:
        raise SchemaVersion(
            f"the schema {sql.schema} has version {version} and needs code that knows at least {oldest}; this Outlive knows versions "
            f"up to {known}: it was written by a newer one. Upgrade this process (pip install --upgrade outlive), or use another schema"
        )
    return version


async def _versions(connection: Connection, sql: Statements) -> tuple[int, int]:
    """Of the schema, and of the oldest code that can work on it."""
    if not await connection.fetchval(_THERE, sql.schema):
        return 0, 0
    try:
        found = {key: int(value) for key, value in await connection.fetch(sql.qualify(_VERSIONS))}
    except (asyncpg.UndefinedColumnError, ValueError) as error:
        raise _not_ours(sql, error) from error
    return found.get("schema_version", 0), found.get("oldest_code", 1)


def _not_ours(sql: Statements, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the schema {sql.schema} has tables that are not Outlive's ({error}); name another one with ?schema= in the url"
    )


def _lock_number(schema: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"outlive {schema}".encode(), digest_size=8).digest(), "big", signed=True)
