"""Connections to one database: opened when needed, put away when free, thrown away when anything about them is in doubt."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from outlive.errors import ConfigurationError, StoreError, StoreUnavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_TIMEOUT: Final = 10.0
LEAVE: Final = 0.2
"""Seconds that a connection which nobody wants any more gets to be made."""
COMMAND_TIMEOUT: Final = 20.0
"""Seconds. A server that says nothing for so long is taken for gone: by then a lease has ended, and others go on."""
DEFAULT_SCHEMA: Final = "outlive"
MOST_PORT: Final = 65_535
_WRITE: Final = (
    "write postgresql://user:password@host:5432/database, and in a password %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, "
    "%25 for %"
)

SETTINGS: Final = {"enable_seqscan": "off", "jit": "off", "random_page_cost": "1", "lock_timeout": "2000"}
"""All our statements go by an index. A plan that was made while the tables were empty would read all of them, and is kept for long.
Who waits for a lock may hold the row of its worker, whose lease must not end meanwhile."""

_BEGIN: Final = "BEGIN; SET LOCAL statement_timeout = '20s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
_BEGIN_POOLED: Final = "; ".join([_BEGIN, *(f"SET LOCAL {name} = {value}" for name, value in SETTINGS.items())])
_AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server is shutting down, or somebody has ended this connection
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""After these the connection is of no use."""
MOST_TRIES: Final = 50

_HOST: Final = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:@]+)?(?::([0-9]{1,5})?)?")
_REFUSED: Final = (
    asyncpg.UndefinedObjectError,  # a parameter that the driver does not know is a setting for the server
    asyncpg.CantChangeRuntimeParamError,
    asyncpg.InvalidParameterValueError,
    asyncpg.ClientConfigurationError,
)
"""After these, when it connects, something in the url is wrong."""

log: Final = logging.getLogger("outlive.stores.postgres")


class CommitUnknown(Exception):
    """COMMIT was sent and not answered: it may have happened."""


class Again(Exception):
    """This transaction met another one: roll back and begin anew."""


def parse(url: str) -> tuple[str, str]:
    """The address for the driver, and the schema.

    Raises:
        ConfigurationError: It names no server. Nothing of it is in the error: what stands in the wrong place may be a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"the url of this PostgreSQL can't be read; {_WRITE}") from None
    hosts = parts.netloc.partition("@")[2] if "@" in parts.netloc else parts.netloc
    for host in hosts.split(",") if hosts else ():
        written = _HOST.fullmatch(host)
        if not host or written is None or int(written[1] or 0) > MOST_PORT:
            raise ConfigurationError(f"the url of this PostgreSQL has a host or a port that can't be one; {_WRITE}")
    if parts.fragment:
        raise ConfigurationError(f"the url of this PostgreSQL has a #, which means nothing in it; {_WRITE}")
    query = dict(parse_qsl(parts.query))
    schema = query.pop("schema", DEFAULT_SCHEMA)
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query))), schema


class Connections:
    """Up to ``most`` connections of one event loop; who finds none free waits."""

    def __init__(self, dsn: str, *, most: int) -> None:
        self._dsn = dsn
        self._room = asyncio.Semaphore(most)
        self._free: list[Connection] = []
        self._opened = False
        self._closed = False
        self.pooled: bool = False
        """A pooler that hands out another server connection for each transaction stands between: no session state then."""

    async def open(self) -> None:
        """Connect once, and find out what is there."""
        self.pooled = True
        async with self.use() as connection:
            # a pooler invents the process id that it tells its clients
            self.pooled = await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid()
        if not self.pooled:
            await self._put_away()  # it was opened as if there were a pooler
        self._opened = True

    async def close(self) -> None:
        self._closed = True
        await self._put_away()

    async def _put_away(self) -> None:
        while self._free:
            with contextlib.suppress(Exception):
                await self._free.pop().close(timeout=2)

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncGenerator[Connection, None]:
        """A connection; whatever goes wrong becomes an error of ours.

        Raises:
            StoreUnavailable: The server can't be reached, or went away.
        """
        async with self._room:
            connection = await self._take()
            kept = False
            try:
                yield connection
                kept = True
            except (*LOST, asyncpg.ReadOnlySQLTransactionError) as error:  # or another server is the primary now
                self._doubt_all()
                raise translated(error) from error
            except (asyncpg.PostgresError, UnicodeError, OverflowError) as error:  # or a value that can't be sent
                kept = _usable(connection)
                raise translated(error) from error
            except CommitUnknown:
                self._doubt_all()
                raise
            except (Again, StoreError):
                kept = _usable(connection)
                raise
            finally:
                if kept and not self._closed:
                    self._free.append(connection)
                else:
                    connection.terminate()

    def _doubt_all(self) -> None:
        """A connection has broken: the others, which were opened to the same server, may not know yet that they have too."""
        while self._free:
            self._free.pop().terminate()

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        try:
            return await connect(self._dsn, pooled=self.pooled)
        except ConfigurationError as error:
            if self._opened:  # it was right once, and may be right again: a password that is being changed
                raise StoreUnavailable(f"{error}; this is tried again") from error
            raise

    @contextlib.asynccontextmanager
    async def stamped(self) -> AsyncGenerator[Connection, None]:
        """A transaction whose end its caller can read back.

        Raises:
            CommitUnknown: It may have happened.
        """
        async with self.use() as connection, begun(connection, pooled=self.pooled):
            yield connection

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        """All that is written inside, or nothing; it may be repeated."""
        try:
            async with self.stamped() as connection:
                yield connection
        except CommitUnknown as error:
            raise StoreUnavailable(str(error)) from error

    @contextlib.asynccontextmanager
    async def single(self) -> AsyncGenerator[Connection, None]:
        """For statements that stand alone."""
        if self.pooled:  # between the parts of one statement the pooler might change the server
            async with self.transaction() as connection:
                yield connection
        else:
            async with self.use() as connection:
                yield connection


def _usable(connection: Connection) -> bool:
    return not connection.is_closed() and not connection.is_in_transaction()


@contextlib.asynccontextmanager
async def begun(connection: Connection, *, pooled: bool) -> AsyncGenerator[None, None]:
    await connection.execute(_BEGIN_POOLED if pooled else _BEGIN)
    try:
        yield
    except asyncio.CancelledError:
        raise  # the connection is thrown away, and the server rolls back
    except BaseException:
        if not connection.is_closed():
            with contextlib.suppress(asyncpg.PostgresError, *LOST):
                await connection.execute("ROLLBACK")
        raise
    try:
        await connection.execute("COMMIT")
    except _AGAIN:
        raise
    except (asyncpg.PostgresError, *LOST) as error:
        raise CommitUnknown(f"PostgreSQL did not answer a commit ({type(error).__name__}: {error})") from error


async def connect(dsn: str, *, pooled: bool) -> Connection:
    """One connection.

    Raises:
        StoreUnavailable: There is no server, or it does not let us in now.
        ConfigurationError: It never will.
    """
    try:
        connection = await _let_it_end(
            asyncpg.connect(
                dsn,
                timeout=CONNECT_TIMEOUT,
                command_timeout=COMMAND_TIMEOUT,
                server_settings={"application_name": "outlive"} | ({} if pooled else SETTINGS),
                statement_cache_size=0 if pooled else 200,
            )
        )
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ConfigurationError(
            f"PostgreSQL does not let us in: {error}; look at user and password of the url"
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise ConfigurationError(f"{error}; create it with `createdb`, or name another one in the url") from error
    except (asyncpg.PostgresError, *LOST) as error:
        if isinstance(error, _REFUSED) or "unsupported startup parameter" in str(error):  # the latter says pgbouncer
            raise ConfigurationError(
                f"a parameter of the url is refused ({error}); look at what follows the ? in it"
            ) from error
        raise translated(error) from error
    except (ValueError, OverflowError, IndexError):  # by the driver, of the address
        raise ConfigurationError(
            f"the url of this PostgreSQL, or one of $PGHOST and $PGPORT, can't be read; {_WRITE}"
        ) from None
    else:
        return connection


async def _let_it_end(connecting: Coroutine[Any, Any, Connection]) -> Connection:
    """What ``connecting`` gives; who is cancelled leaves it a moment.

    The driver forgets a future when it is cancelled just when the server has been reached, and asyncio logs that as an error. Whoever
    closes a store that was just opened meets that moment.
    """
    task = asyncio.ensure_future(connecting)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task}, timeout=LEAVE)
        finally:
            task.cancel()
            task.add_done_callback(_throw_away)
        raise
    return task.result()


def _throw_away(connected: asyncio.Task[Connection]) -> None:
    if not connected.cancelled() and connected.exception() is None:
        connected.result().terminate()


def meets_others(error: BaseException) -> bool:
    """Whether it is the fault of another transaction at the same time: trying again helps."""
    return isinstance(error, (Again, *_AGAIN)) or isinstance(error.__cause__, _AGAIN)


def translated(error: Exception) -> StoreError:
    """What ``error`` means to a caller. Nothing in it names user or password."""
    match error:
        case asyncpg.InsufficientPrivilegeError():
            return StoreUnavailable(
                f"PostgreSQL refuses ({error}); give the user of the url the right to use the schema"
            )
        case asyncpg.UndefinedTableError() | asyncpg.InvalidSchemaNameError():
            return StoreUnavailable(f"the schema is not there any more ({error}); restart this process to create it")
        case asyncpg.DiskFullError() | asyncpg.OutOfMemoryError():
            return StoreUnavailable(f"PostgreSQL has no room ({error}); make room, nothing was lost")
        case asyncpg.LockNotAvailableError():
            return StoreUnavailable("a transaction that has not ended holds what this needs; end it, and try again")
        case asyncpg.ReadOnlySQLTransactionError():
            return StoreUnavailable(
                f"this PostgreSQL can't be written ({error}); it may be a standby: name the primary in the url, or all servers and "
                "target_session_attrs=read-write"
            )
        case _:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return StoreUnavailable(f"PostgreSQL can't be used now ({what}); this is tried again")
