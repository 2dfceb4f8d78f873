"""An engine closes, whatever its runs are busy with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlive import Engine, get_writable, workflow
from outlive._runtime import worker


@workflow
async def writes_on_and_on() -> None:
    out = get_writable("out")
    number = 0
    while True:
        await out.write(number)
        number += 1


async def test_an_engine_closes_beside_a_body_that_is_never_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited until nothing was left to be written."""
    monkeypatch.setattr(worker, "LEAST_FLUSH", 0.1)
    async with asyncio.timeout(60):
        async with Engine(f"sqlite:///{tmp_path}/runs.db", durability="process", shutdown_grace=0.1) as engine:
            run = await engine.start(writes_on_and_on)
            async for number in run.stream("out"):
                if number == 100:
                    break
        async with Engine(f"sqlite:///{tmp_path}/runs.db", worker=False) as client:
            assert await client.get_run(run.id).status() == "running"
