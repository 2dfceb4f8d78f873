"""A served engine: a real uvicorn on a loopback port, in this process or in one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from outlive import Engine
from outlive.http import Role, create_app
from outlive.http.app import OutliveApp
from outlive.http.auth import create_key
from outlive.http.serving import Server, address_of, listen

WEBHOOK = "/.well-known/workflow/v1/webhook/"


class Front:
    """One served engine and ways to call it."""

    def __init__(self, engine: Engine, app: OutliveApp, url: str, keys: dict[str, str]) -> None:
        self.engine = engine
        self.app = app
        self.url = url
        self.keys = keys
        self.clients: list[httpx2.AsyncClient] = []

    def client(self, role: str | None = None, **options: Any) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {self.keys[role]}"} if role else {}
        made = httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, **{"timeout": 20, **options})
        self.clients.append(made)
        return made


@asynccontextmanager
async def fronted(engine: Engine, *, keys: bool = True, **options: Any) -> AsyncIterator[Front]:
    """``engine`` on a port of its own, with a key for each role unless told otherwise."""
    app = create_app(engine, **{"on_token": lambda _token: None, **options})
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    listener = listen("127.0.0.1", 0)
    async with engine:
        made = {role.name.lower(): (await create_key(engine, name=role.name, role=role))[1] for role in Role if keys}
        server = Server(app, on_started=lambda: started.set_result(None))
        serving = asyncio.create_task(server._serve([listener]))
        await started
        front = Front(engine, app, address_of(listener), made)
        try:
            yield front
        finally:
            app.state.stopping.set()
            for client in front.clients:
                await client.aclose()
            server.should_exit = True
            await serving
            listener.close()


@pytest.fixture
def make_engine(tmp_path: Path) -> Callable[..., Engine]:
    def make(**options: Any) -> Engine:
        return Engine(f"sqlite:///{tmp_path / 'outlive.db'}", durability="process", shutdown_grace=0, **options)

    return make


@pytest.fixture
async def front(make_engine: Callable[..., Engine]) -> AsyncIterator[Front]:
    async with fronted(make_engine()) as made:
        yield made


async def until(reached: Callable[[], object]) -> None:
    """Wait for something that will be so soon."""
    while not reached():
        await asyncio.sleep(0.005)
