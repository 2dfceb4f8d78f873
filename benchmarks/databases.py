"""Where a measurement keeps its runs: a fresh folder on this disk, or a fresh database of one PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

from tests.servers.postgres import postgres

HERE: Final = Path(__file__).parent
Places: TypeAlias = Callable[[], AbstractContextManager[str]]
"""Gives a fresh one each time: what programs get as their last argument."""


@contextmanager
def folder() -> Iterator[str]:
    """Beside this file and not in the system's temporary folder, which may be memory."""
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as where:
        yield where


@contextmanager
def databases() -> Iterator[Places]:
    """On a server that is started for them, with fsync and otherwise as it comes."""
    numbers = itertools.count(1)
    with postgres(fsync=True) as server:

        @contextmanager
        def database() -> Iterator[str]:
            name = f"benchmark_{next(numbers)}"
            asyncio.run(_execute(server.url, f"CREATE DATABASE {name}"))
            try:
                yield server.url.removesuffix("/postgres") + f"/{name}"
            finally:
                asyncio.run(_execute(server.url, f"DROP DATABASE {name} WITH (FORCE)"))

        yield database


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
