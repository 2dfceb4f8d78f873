"""Finding the store that a command is about, and opening it."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from outlive._core.texts import LONGEST_ID
from outlive._runtime.location import default_url, find_url
from outlive.cli.exits import Complaint
from outlive.cli.options import checked
from outlive.engine import Engine
from outlive.errors import RunNotFound
from outlive.model.ids import RunId
from outlive.model.records import RunRecord
from outlive.stores.opening import SystemClock, need_postgres_driver, open_store
from outlive.stores.urls import is_postgres, shown

if TYPE_CHECKING:
    from outlive.stores.postgres.migrating import SchemaState


async def existing_url(url: str | None) -> str:
    """The store to look into; a command that only looks never makes one, nor a schema of one.

    Raises:
        Complaint: There is none.
    """
    found = url or find_url()
    if found is None:
        raise Complaint(
            "there is no store here: no .outlive/ in this folder or above, and $OUTLIVE_URL is not set; name one with --url"
        )
    scheme, _, rest = found.partition("://")
    if scheme == "sqlite" and rest.removeprefix("/") and not Path(rest.removeprefix("/")).exists():
        raise Complaint(f"there is no store at {rest.removeprefix('/')}; name another with --url")
    if is_postgres(found):
        state = await schema_state(found)
        if state.version == 0:
            raise Complaint(
                f"there is no store in the schema {state.schema} of {shown(found)}; name another one with ?schema= in the url, "
                "or make this one with `outlive db migrate`"
            )
    return found


async def schema_state(url: str) -> SchemaState:
    """What stands in the PostgreSQL of ``url``, where nothing is changed."""
    need_postgres_driver()
    from outlive.stores.postgres.migrating import state_of

    return await state_of(url)


def working_url(url: str | None, *, beside: Path | None = None) -> str:
    """The store to work in, made if there is none; ``beside``: the folder of the script that is run."""
    return url or default_url(beside or Path.cwd())


@asynccontextmanager
async def client(url: str | None) -> AsyncGenerator[Engine]:
    """An engine that executes nothing, on a store that exists."""
    async with Engine(await existing_url(url), worker=False) as engine:
        yield engine


async def record_of(engine: Engine, run: str) -> RunRecord:
    """The record of ``run``.

    Raises:
        RunNotFound: There is none.
        Complaint: There can't be one.
    """
    record = await engine.store.run(RunId(checked(run, "the id of a run", most=LONGEST_ID)))
    if record is None:
        raise RunNotFound(f"there is no run {run} in this store; see: outlive runs")
    return record


def under_hash_seed(url: str) -> None:
    """Go on in this process, started again, under the hash seed of the store: string sets in bodies keep their order (R22)."""
    seed = asyncio.run(_hash_seed(url))
    if seed is None or os.environ.get("PYTHONHASHSEED") == seed or sys.flags.ignore_environment:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606  # this very program, with its own arguments
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": seed}
    )


async def _hash_seed(url: str) -> str | None:
    store = open_store(url, SystemClock(), "power")
    await store.open()
    try:
        ours = os.environ.get("PYTHONHASHSEED", "")
        # never 0, which turns randomization off
        return await store.hash_seed(ours if ours.isdecimal() else str(1 + secrets.randbelow(2**32 - 1)))
    finally:
        await store.close()
