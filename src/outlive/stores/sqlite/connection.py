"""Connections to a SQLite file, and what their errors mean."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Literal, Protocol, TypeAlias, TypeVar, cast

import apsw
import msgspec

from outlive.errors import ConfigurationError, SchemaVersion, StoreCorrupt, StoreError, StoreUnavailable
from outlive.stores.sqlite.statements import MIGRATIONS

_T = TypeVar("_T")

Value: TypeAlias = str | float | bytes | None


class Cursor(Protocol):
    def fetchall(self) -> list[tuple[object, ...]]: ...


class Connection(Protocol):
    """What is used of ``apsw.Connection``, whose own annotations a strict checker finds partially unknown."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, statements: str, bindings: Sequence[Value] = (), /) -> Cursor: ...
    def executemany(self, statements: str, bindings: Iterable[Sequence[Value]], /) -> Cursor: ...
    def pragma(self, name: str, value: Value = ..., /) -> object: ...
    def changes(self) -> int: ...
    def set_busy_timeout(self, milliseconds: int, /) -> None: ...
    def set_wal_hook(self, callable: Callable[[apsw.Connection, str, int], int], /) -> None: ...
    def wal_checkpoint(self, dbname: str | None = ..., mode: int = ...) -> tuple[int, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


Durability: TypeAlias = Literal["power", "process"]

BUSY_MS: Final = 5_000
"""How long to wait for programs that don't queue on the side file, such as a database client."""

_APPLICATION: Final = 0x4F75746C  # "Outl"
_SAFE: Final = (3, 51, 3)

ENTRY_ERRORS: Final = (
    apsw.ConstraintError,
    apsw.TooBigError,
    apsw.MismatchError,
    apsw.RangeError,
    AssertionError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""What an entry itself is at fault for: trying again would not help."""

_log: Final = logging.getLogger("outlive.stores.sqlite")


def connect(path: str, *, durability: Durability, wait: bool = True, reads: bool = False) -> Connection:
    """A connection that never checkpoints by itself; with ``wait`` it waits for programs that don't queue."""
    connection = cast(Connection, apsw.Connection(path, statementcachesize=200))
    connection.set_busy_timeout(BUSY_MS)
    mode = connection.pragma("journal_mode")
    if mode != "wal":
        mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        connection.close()
        raise ConfigurationError(
            f"{path} can't use write-ahead logging (its journal mode is {mode}); use a file on a local disk"
        )
    connection.pragma("synchronous", "FULL" if durability == "power" else "NORMAL")
    connection.pragma("trusted_schema", False)
    connection.pragma("wal_autocheckpoint", 0)
    if sys.platform == "darwin" and durability == "power":  # there fsync does not reach the disk
        connection.pragma("fullfsync", True)
        connection.pragma("checkpoint_fullfsync", True)
    if reads:
        connection.pragma("query_only", True)
    if not wait:
        connection.set_busy_timeout(0)
    return connection


def fetch(
    connection: Connection,
    shape: type[_T],  # noqa: ARG001 - for the type checker
    statement: str,
    values: Sequence[Value] = (),
) -> list[_T]:
    """All rows of a statement. ``shape`` says what the schema makes its columns; nothing is converted."""
    return cast("list[_T]", connection.execute(statement, values).fetchall())


def migrate(connection: Connection, path: str) -> None:
    """Bring the schema to this version, in one transaction.

    Raises:
        SchemaVersion: The file was written by a newer Outlive.
        ConfigurationError: The file belongs to another program.
    """
    if _version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, script in enumerate(MIGRATIONS, start=1):
            if number > _version(connection, path):  # read again under the lock: another process may have been first
                connection.execute(script)
                connection.pragma("user_version", number)
        connection.pragma("application_id", _APPLICATION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: Connection, path: str) -> int:
    version, known = cast("int", connection.pragma("user_version")), len(MIGRATIONS)
    ours = connection.pragma("application_id") == _APPLICATION or connection.in_transaction
    if not ours and fetch(connection, tuple[str], "SELECT name FROM sqlite_schema LIMIT 1"):
        raise ConfigurationError(f"{path} is a database of another program; give Outlive a file of its own")
    if version > known:
        raise SchemaVersion(
            f"{path} has schema version {version}, and this Outlive knows versions up to {known}: it was written by a newer one. "
            "Upgrade this process (pip install --upgrade outlive), or use another file"
        )
    return version


def warn_of_old_sqlite(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:3]) < _SAFE:
        _log.warning(
            "SQLite %s can corrupt a database in write-ahead mode when two connections write as the log is reset; "
            "install an apsw built with SQLite 3.51.3 or later",
            version,
        )


def translated(error: apsw.Error | OSError, path: str) -> StoreError:
    """What ``error`` means to a caller."""
    match error:
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreCorrupt(
                f"{path} is damaged or not a database ({error}); stop all workers, keep a copy of it and its -wal file, "
                "and restore a backup, or salvage it with `sqlite3 FILE .recover`"
            )
        case apsw.FullError():
            return StoreUnavailable(f"the disk of {path} is full ({error}); make room, nothing was lost")
        case apsw.BusyError() | apsw.LockedError():
            return StoreUnavailable(
                f"{path} is locked by another program ({error}); end its transaction, then try again"
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError() | PermissionError():
            return StoreUnavailable(
                f"{path} can't be written ({error}); give this user the right to write it and its folder"
            )
        case apsw.CantOpenError():
            return StoreUnavailable(
                f"{path} can't be opened ({error}); check that its folder exists and can be written"
            )
        case _:
            return StoreUnavailable(f"{path} can't be used now ({type(error).__name__}: {error}); try again")
