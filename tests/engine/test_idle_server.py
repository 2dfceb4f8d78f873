"""What a worker with nothing to do asks of a server."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from outlive import create_hook, workflow

from .conftest import MakeEngine

SECONDS = 60


@pytest.fixture(params=["postgres-hot"])
def kind(request: pytest.FixtureRequest) -> str:
    """Only where there is a server."""
    return str(request.param)


@workflow
async def waits(token: str) -> object:
    return await create_hook(token=token)


async def test_an_idle_worker_asks_twice_a_second_at_most(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Also one that has runs: what waits for a message is a row."""
    async with make_engine(poll=None, look_every=None) as engine:
        for number in range(20):
            await engine.start(waits, f"token-{number}")
        await asyncio.sleep(SECONDS)  # they leave memory
        asked = _counted(monkeypatch)
        await asyncio.sleep(SECONDS)
        # through a pooler each question is a transaction of three statements
        assert 0 < asked.total() <= (4 if request.config.getoption("pooled") else 2) * SECONDS, asked


def _counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    asked: Counter[str] = Counter()
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        original = getattr(asyncpg.Connection, name)

        async def counting(self: Any, query: str, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            asked[query[:60]] += 1
            return await _original(self, query, *args, **kwargs)

        monkeypatch.setattr(asyncpg.Connection, name, counting)
    return asked
