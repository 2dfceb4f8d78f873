"""Engine tests run in virtual time, over all stores, hot and replayed at every event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from outlive import Engine
from outlive._core.registry import Registry, registry
from outlive.stores.memory import MemoryStore
from outlive.stores.postgres import PostgresStore
from outlive.stores.protocol import Store
from outlive.testing.clock import VirtualClock, VirtualTimeLoop, virtual_options
from outlive.testing.waited import in_virtual_time

from . import helpers

MakeEngine = Callable[..., Engine]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def ledger() -> None:
    helpers.forget()


@pytest.fixture(
    params=["memory-hot", "memory-replayed", "sqlite-hot", "sqlite-replayed", "postgres-hot", "postgres-replayed"]
)
def kind(request: pytest.FixtureRequest) -> str:
    """Which store, and whether every event replays the log."""
    return cast("str", request.param)


@pytest.fixture
async def clock() -> VirtualClock:
    return cast("VirtualTimeLoop", asyncio.get_running_loop()).clock


@pytest.fixture
async def make_engine(
    kind: str, tmp_path: Path, clock: VirtualClock, request: pytest.FixtureRequest
) -> AsyncIterator[MakeEngine]:
    """Engines on one store; each stands for a process."""
    store: Store | None = None
    if kind.startswith("memory"):
        store = MemoryStore(clock=clock)
    elif kind.startswith("postgres"):
        store = in_virtual_time(PostgresStore(request.getfixturevalue("postgres_url"), clock=clock))
    if store is not None:
        await store.open()

    def make(*, worker: bool = True, registry: Registry = registry, **options: object) -> Engine:
        settings = {"replay_always": kind.endswith("replayed")} | options
        return Engine(
            f"sqlite:///{tmp_path / 'outlive.db'}",
            store=store,
            worker=worker,
            clock=clock,
            registry=registry,
            guard="strict",
            durability="process",
            shutdown_grace=0,
            options=virtual_options(**settings),
        )

    yield make
    if store is not None:
        await store.close()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> AsyncIterator[Engine]:
    async with make_engine() as opened:
        yield opened
