"""What a worker does that can't be sure of its lease: nothing new."""

from __future__ import annotations

import asyncio

import pytest

from outlive import Engine, step, workflow

from .conftest import MakeEngine
from .helpers import effects, record


@step
async def acts() -> str:
    record("acts")
    return "acted"


@step
def acts_in_a_thread() -> str:
    record("acts")
    return "acted"


@workflow
async def one(blocking: bool) -> str:
    return await (acts_in_a_thread() if blocking else acts())


@pytest.mark.parametrize("blocking", [False, True])
async def test_b4_nothing_begins_while_the_lease_may_have_ended(
    engine: Engine, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped for longer than its lease, and wakes in the moment before an attempt."""
    assert engine.worker is not None
    stands = False
    monkeypatch.setattr(engine.worker._heartbeat, "stands", lambda: stands)
    run = await engine.start(one, blocking)
    await asyncio.sleep(1)
    assert effects("acts") == []
    stands = True  # it did not lose it after all
    assert await run.result() == "acted"
    assert len(effects("acts")) == 1


@pytest.mark.parametrize("blocking", [False, True])
async def test_b4_what_waited_for_a_lease_that_was_lost_never_begins(
    make_engine: MakeEngine, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_engine() as engine:
        assert engine.worker is not None
        monkeypatch.setattr(engine.worker._heartbeat, "stands", lambda: False)
        run = await engine.start(one, blocking)
        await asyncio.sleep(1)
        await engine.store.leave(engine.worker.id)  # others may take over now
        engine.worker._lease_lost()
        await asyncio.sleep(1)
        assert effects("acts") == []
        monkeypatch.undo()
        assert await run.result() == "acted"
        assert len(effects("acts")) == 1


@pytest.mark.parametrize("blocking", [False, True])
async def test_what_waits_for_the_lease_can_be_cancelled(
    engine: Engine, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.worker is not None
    monkeypatch.setattr(engine.worker._heartbeat, "stands", lambda: False)
    run = await engine.start(one, blocking)
    await asyncio.sleep(1)
    await run.cancel()
    await asyncio.sleep(60)
    assert (await run.status()) == "cancelled"
    assert effects("acts") == []
