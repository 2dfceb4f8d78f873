"""Renews leases from the thread of a heartbeat, whatever the loop of the engine is busy with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from outlive.errors import ConfigurationError, StoreUnavailable
from outlive.model.ids import WorkerId
from outlive.stores.postgres.connections import Connections
from outlive.stores.postgres.statements import Statements


class Beat:
    """A connection of its own, on a loop of its own that runs in whatever thread asks."""

    def __init__(self, dsn: str, sql: Statements, time: Callable[[], float | None]) -> None:
        self._dsn = dsn
        self._sql = sql
        self._time = time
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._connections: Connections | None = None
        self._closed = False

    def renew(self, worker: WorkerId) -> bool:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(self._renew(worker))

    async def _renew(self, worker: WorkerId) -> bool:
        if self._connections is None:
            connections = Connections(self._dsn, most=1)
            try:
                await connections.open()
            except ConfigurationError as error:  # who asks is at work already, and has to go on
                raise StoreUnavailable(f"{error}; this is tried again") from error
            self._connections = connections
        async with self._connections.single() as connection:
            return await connection.fetchval(self._sql["renew"], worker, self._time()) is not None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._runner is not None:
                if self._connections is not None:
                    self._runner.run(self._connections.close())
                self._runner.close()
