"""From a url to the store behind it, whose driver is imported only then."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Literal

from outlive.errors import ConfigurationError
from outlive.stores.protocol import Clock, Store
from outlive.stores.urls import is_postgres


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


def need_postgres_driver() -> None:
    """
    Raises:
        ConfigurationError: It is not installed.
    """
    if find_spec("asyncpg") is None:
        raise ConfigurationError("PostgreSQL needs its driver: pip install 'outlive[postgres]'")


def open_store(url: str, clock: Clock, durability: Literal["power", "process"]) -> Store:
    """The store behind ``url``, not yet open.

    Raises:
        ConfigurationError: No store has this kind of url.
    """
    scheme, colons, rest = url.partition("://")
    if scheme == "sqlite":
        from outlive.stores.sqlite import SQLiteStore

        path = rest.removeprefix("/")
        if not path:
            raise ConfigurationError(
                f"{url!r} names no file; write sqlite:///orders.db, or sqlite:////absolute/path.db"
            )
        return SQLiteStore(path, clock=clock, durability=durability)
    if scheme == "memory":
        from outlive.stores.memory import MemoryStore

        return MemoryStore(clock=clock)
    if is_postgres(url):
        need_postgres_driver()
        from outlive.stores.postgres import PostgresStore

        # with several machines one clock decides: the server's, unless a test has one of its own
        return PostgresStore(url, clock=None if isinstance(clock, SystemClock) else clock)
    # not the url itself: it may hold a password
    raise ConfigurationError(
        f"no store for {scheme if colons and scheme else 'this'}: urls; use sqlite:///path, postgresql://… or memory://"
    )
