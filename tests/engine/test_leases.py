"""What a worker does that can't be sure of its lease: nothing new."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from outlive import Engine, step, workflow
from outlive._runtime.lease import Lease
from outlive.model.entries import Claims, Entry, Outcome
from outlive.model.events import Recorded
from outlive.model.ids import WorkerId
from outlive.stores.memory import MemoryStore
from outlive.testing.clock import VirtualClock, virtual_options

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
    monkeypatch.setattr(engine.worker.lease, "stands", lambda: stands)
    run = await engine.start(one, blocking)
    await asyncio.sleep(1)
    assert effects("acts") == []
    stands = True  # it did not lose it after all
    assert await run.result() == "acted"
    assert len(effects("acts")) == 1


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("known", [True, False], ids=["begun", "unnoticed"])
async def test_b4_what_waited_for_a_lease_that_was_lost_never_begins(
    make_engine: MakeEngine, blocking: bool, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even once this process has another lease; ``unnoticed``: its thread had begun, and the loop did not know yet."""
    often = {"poll": 1.0, "look_every": 1.0}
    async with make_engine(**often) as zombie, make_engine(**often) as other:
        assert zombie.worker is not None
        lease = zombie.worker.lease
        monkeypatch.setattr(lease, "stands", lambda: False)
        if not known:
            monkeypatch.setattr(zombie.worker.executor, "_thread_began", lambda _attempt: None)
        run = await zombie.start(one, blocking)
        await asyncio.sleep(1)
        await zombie.store.leave(lease.worker)  # others may take over now
        assert await other.get_run(run.id).result() == "acted"
        assert len(effects("acts")) == 1
        zombie.worker.lease_lost(lease)
        await asyncio.sleep(1)
        assert zombie.worker.lease.stands()
        assert len(effects("acts")) == 1


class LateAnswers(MemoryStore):
    """One whose answer to a call takes as long as the freeze of the process that asked."""

    late = ""
    asker: WorkerId | None = None
    thaw: asyncio.Event
    asked: asyncio.Event

    def freeze(self, late: str, asker: WorkerId) -> None:
        self.late, self.asker = late, asker
        self.thaw, self.asked = asyncio.Event(), asyncio.Event()

    async def _answer(self, call: str) -> None:
        if call == self.late:
            self.late = ""
            self.asked.set()
            await self.thaw.wait()

    async def claim(self, worker: WorkerId, **options: Any) -> Claims:
        claims = await super().claim(worker, **options)
        if worker == self.asker and claims.runs:
            await self._answer("claim")
        return claims

    async def log(self, *args: Any, **options: Any) -> list[Recorded]:
        events = await super().log(*args, **options)
        await self._answer("log")
        return events

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:  # type: ignore[override]
        return None if self.late == "commit" else super().commit_now(worker, entries)

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        outcomes = super().commit_now(worker, entries)
        await self._answer("commit")
        return outcomes


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("late", ["claim", "log", "commit"])
async def test_b4_what_was_taken_under_a_lost_lease_is_not_taken_up_under_the_next(
    clock: VirtualClock, late: str, blocking: bool
) -> None:
    """It was claimed, or created claimed; then the process was frozen, others did the work, and the answer is read."""
    store = LateAnswers(clock=clock)
    options = virtual_options(poll=1.0, look_every=1.0)
    async with (
        Engine(store=store, clock=clock, options=options) as zombie,
        Engine(store=store, clock=clock, worker=False, options=options) as client,
    ):
        assert zombie.worker is not None
        lease = zombie.worker.lease
        store.freeze(late, lease.worker)
        starter = zombie if late == "commit" else client
        starting = asyncio.create_task(starter.start(one.options(run_id="frozen"), blocking))
        await store.asked.wait()
        await store.leave(lease.worker)
        async with Engine(store=store, clock=clock, options=options) as other:
            assert await other.get_run("frozen").result() == "acted"
        zombie.worker.lease_lost(lease)
        assert not zombie.worker._hatching, "else a claim of the next life could hide behind it"
        await asyncio.sleep(0.5)  # it has another by now, unless it waits for the claim
        store.thaw.set()
        await starting
        await asyncio.sleep(5)
        assert zombie.worker.lease.stands()
        assert len(effects("acts")) == 1
        assert await store.audit() == []


@pytest.mark.parametrize("blocking", [False, True])
async def test_what_waits_for_the_lease_can_be_cancelled(
    engine: Engine, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.worker is not None
    monkeypatch.setattr(engine.worker.lease, "stands", lambda: False)
    run = await engine.start(one, blocking)
    await asyncio.sleep(1)
    await run.cancel()
    await asyncio.sleep(60)
    assert (await run.status()) == "cancelled"
    assert effects("acts") == []


async def test_a_worker_survives_what_its_store_should_not_raise(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that stopped to look would strand what it could take, and nobody would know."""
    often = {"poll": 1.0, "look_every": 1.0}
    async with make_engine(worker=False, **often) as client, make_engine(**often) as engine:
        right = engine.store.claim
        wrong = 0

        async def claim(*args: Any, **kwargs: Any) -> Claims:
            nonlocal wrong
            wrong += 1
            if wrong <= 3:
                raise RuntimeError("a bug")
            return await right(*args, **kwargs)

        monkeypatch.setattr(engine.store, "claim", claim)
        assert await (await client.start(one, False)).result() == "acted"
        assert wrong > 3 and "in a way it should not" in caplog.text
        monkeypatch.undo()


async def test_a_heartbeat_survives_what_its_store_should_not_raise(clock: VirtualClock) -> None:
    renewed = threading.Event()
    tries = 0

    class Broken:
        def renew_now(self, _worker: WorkerId) -> bool:
            nonlocal tries
            tries += 1
            if tries <= 3:
                raise RuntimeError("a bug")
            renewed.set()
            return True

    lease = Lease(Broken(), WorkerId("w"), 0.02, clock, on_lost=lambda _: pytest.fail("it stands"))  # type: ignore[arg-type]
    lease.keep()
    assert renewed.wait(30)
    lease.end()
