"""Twelve processes want the same run id, and the same token, in the same moment: one gets it, and all say the same one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlive import Engine

from .fleet import ROOT

PROCESSES = 12

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    given: str = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return given or f"sqlite:///{tmp_path / 'runs.db'}"


async def test_d4_one_of_twelve_processes_gets_it(url: str) -> None:
    command = [sys.executable, "-m", "tests.processes.racer", url]
    racers = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    try:
        for racer in racers:
            assert _line(racer) == "ready"
        for racer in racers:
            _go(racer)
        winners = {json.loads(_line(racer))["winner"] for racer in racers} - {None}
        assert len(winners) == 1, winners

        async with Engine(url, worker=False) as client:
            [(status, result)] = [
                (info.status, await client.get_run(info.id).result())
                for info in await client.list_runs()
                if info.id == "same"
            ]
            assert (status, result) == ("completed", winners.pop())
            token = await client.get_hook("the-one")
            while len(await _ended(client)) < PROCESSES - 1:
                await asyncio.sleep(0.05)
            await client.resume_hook("the-one", 1)
            results = {info.id: await client.get_run(info.id).result() for info in await _holders(client)}
            assert set(results.values()) == {token.run_id}
            assert await client.store.audit() == []
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


async def _holders(client: Engine) -> list[Any]:
    return [info for info in await client.list_runs(limit=100) if info.id.startswith("holder-")]


async def _ended(client: Engine) -> list[Any]:
    return [info for info in await _holders(client) if info.status == "completed"]


def _line(racer: subprocess.Popen[str]) -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()


def _go(racer: subprocess.Popen[str]) -> None:
    assert racer.stdin is not None
    racer.stdin.write("go\n")
    racer.stdin.flush()
