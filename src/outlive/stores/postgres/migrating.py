"""Brings a schema to this version: in one transaction, and one process at a time."""

from __future__ import annotations

import hashlib
from typing import Final

import asyncpg

from outlive.errors import ConfigurationError, SchemaVersion
from outlive.stores.postgres.connections import Connection, Connections
from outlive.stores.postgres.statements import Statements

# not by to_regclass: within a transaction that waited for another it answers from a cache
_THERE: Final = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'meta')"
_SCHEMA_THERE: Final = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)"
_VERSION: Final = "SELECT value FROM outlive.meta WHERE key = 'schema_version'"
_KEEP: Final = """
INSERT INTO outlive.meta (key, value) VALUES ('schema_version', $1)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


async def version_of(connection: Connection, sql: Statements) -> int:
    """0: there is nothing yet."""
    if not await connection.fetchval(_THERE, sql.schema):
        return 0
    found = await connection.fetchval(sql.qualify(_VERSION))
    return 0 if found is None else int(found)


async def migrate(connections: Connections, sql: Statements) -> None:
    """Bring the schema to this version.

    Raises:
        SchemaVersion: It was written by a newer Outlive.
        ConfigurationError: This user may not create it.
    """
    async with connections.single() as connection:
        if await _judged(connection, sql) == len(sql.migrations):
            return
    async with connections.transaction() as connection:
        # of this transaction, not of a session: it works through a pooler too
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock_number(sql.schema))
        version = await _judged(connection, sql)
        try:
            if version == 0 and not await connection.fetchval(_SCHEMA_THERE, sql.schema):
                await connection.execute(sql.qualify('CREATE SCHEMA "' + sql.schema + '"'))
            for number, script in enumerate(sql.migrations, start=1):
                if number > version:
                    await connection.execute(script)
                    await connection.execute(sql.qualify(_KEEP), str(number))
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(
                f"this user may not create the schema {sql.schema} ({error}); let its owner run `CREATE SCHEMA {sql.schema} "
                "AUTHORIZATION ...`, or name another one with ?schema= in the url"
            ) from error


async def _judged(connection: Connection, sql: Statements) -> int:
    version, known = await version_of(connection, sql), len(sql.migrations)
    if version > known:
        raise SchemaVersion(
            f"the schema {sql.schema} has version {version}, and this Outlive knows versions up to {known}: it was written by a "
            "newer one. Upgrade this process (pip install --upgrade outlive), or use another schema"
        )
    return version


def _lock_number(schema: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"outlive {schema}".encode(), digest_size=8).digest(), "big", signed=True)
