"""After a power cut every acknowledged fact is there, the file is sound, and a worker goes on (RELIABILITY C2, H4)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path
from typing import Final

import pytest

from outlive import Engine, HookNotFound, create_hook, sleep, step, workflow
from outlive._runtime.options import WorkerOptions
from outlive.stores.sqlite import SQLiteStore, store
from outlive.stores.sqlite.connection import Durability

from .powerloss import LOSSES, Acknowledged, AcknowledgingStore, Loss, Record, Sync, Write, cut, lost, recording

STATES: Final = int(os.environ.get("OUTLIVE_POWER_CUTS", "480"))
RUNS: Final = 12


class Now:
    def now(self) -> float:
        return time.time()


@step
async def act(number: int) -> str:
    return f"{number} " + "x" * 300


@step(max_retries=2, retry_delay=0.01)
async def fails_once(run: int, seen: list[int] = []) -> str:  # noqa: B006  # counts within this process
    seen.append(run)
    if seen.count(run) == 1:
        raise ConnectionError(f"run {run}")
    return f"tried {run}"


@workflow
async def everything(number: int) -> list[object]:
    hook = create_hook(token=f"hook-{number}")
    first = await asyncio.gather(*(act(n) for n in range(4)))
    got = await hook
    hook.dispose()
    await sleep(0.02)
    return [*first, got, await fails_once(number), await act(5)]


async def busy(path: Path, record: Record, durability: Durability) -> None:
    made = AcknowledgingStore(path, clock=Now(), durability=durability)
    made.record = record
    await made.open()
    options = WorkerOptions(linger=0.005, lease=1.0)
    async with Engine(store=made, guard="off", options=options) as engine:
        runs = [await engine.start(everything, number) for number in range(RUNS)]
        for number in range(RUNS):
            while True:
                try:
                    await engine.resume_hook(f"hook-{number}", f"payload for {number}")
                    break
                except HookNotFound:  # not yet
                    await asyncio.sleep(0.005)
        for run in runs:
            await run.result(timeout=60)
    await made.close()


def recorded(path: Path, durability: Durability, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A busy engine, with many checkpoints of all kinds."""
    monkeypatch.setattr(store, "_CHECKPOINT_PAGES", 12)
    monkeypatch.setattr(store, "_RESTART_PAGES", 40)
    monkeypatch.setattr(store, "_LARGEST_WAL", 70 * 4096)
    with recording(path) as record:
        asyncio.run(busy(path, record, durability))
    return record


@pytest.fixture
def powered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    return recorded(tmp_path / "outlive.db", "power", monkeypatch)


def cuts(record: Record, count: int) -> list[tuple[int, Loss]]:
    """Where to cut, spread over the record, each kind of loss in turn; not before the schema is there."""
    begin = next(at for at, step in enumerate(record.steps) if isinstance(step, Acknowledged))
    places = len(record.steps) - begin
    return [(begin + number * places // count + 1, LOSSES[number % len(LOSSES)]) for number in range(count)]


async def audited(path: Path) -> list[str]:
    made = SQLiteStore(path, clock=Now())
    await made.open()
    try:
        return await made.audit()
    finally:
        await made.close()


@pytest.mark.slow
def test_what_was_acknowledged_survives_every_cut(powered: Record, tmp_path: Path) -> None:
    chance = random.Random(11)
    for number, (at, loss) in enumerate(cuts(powered, STATES)):
        folder = tmp_path / str(number)
        promised = cut(powered, at, loss, chance, folder)
        assert asyncio.run(audited(folder / "outlive.db")) == [], (at, loss)
        assert lost(promised, folder / "outlive.db") == set(), (at, loss)


@pytest.mark.slow
def test_a_worker_goes_on_after_a_cut(powered: Record, tmp_path: Path) -> None:
    async def go_on(path: Path) -> None:
        async with Engine(f"sqlite:////{path}", guard="off") as engine:
            for run in await engine.list_runs():
                while not (info := await engine.get_run(run.id).info()).status.ended:
                    if info.open_hooks:  # whoever was not answered sends again
                        [begun, *_] = await engine.get_run(run.id).events()
                        number = begun.data["input"]["number"]
                        with contextlib.suppress(HookNotFound):  # it went on meanwhile
                            await engine.resume_hook(f"hook-{number}", "again")
                    await asyncio.sleep(0.02)
                assert info.status == "completed"

    chance = random.Random(12)
    for number, (at, loss) in enumerate(cuts(powered, 12)):
        folder = tmp_path / f"on-{number}"
        cut(powered, at, loss, chance, folder)
        asyncio.run(asyncio.wait_for(go_on(folder / "outlive.db"), 60))


@pytest.mark.slow
def test_without_syncs_the_same_cuts_lose_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the test above can fail: ``durability="process"`` promises nothing beyond the process."""
    record = recorded(tmp_path / "outlive.db", "process", monkeypatch)
    chance = random.Random(13)
    losses = 0
    for number, (at, loss) in enumerate(cuts(record, 40)):
        folder = tmp_path / str(number)
        promised = cut(record, at, loss, chance, folder)
        assert asyncio.run(audited(folder / "outlive.db")) == [], "never a damaged file"
        losses += bool(lost(promised, folder / "outlive.db"))
    assert losses > 0


@pytest.mark.slow
def test_the_record_has_what_it_is_about(powered: Record) -> None:
    kinds = {type(step) for step in powered.steps}
    assert {Write, Sync, Acknowledged} <= kinds
    assert any(isinstance(step, Write) and step.file == "outlive.db" for step in powered.steps[100:]), "no checkpoint"
