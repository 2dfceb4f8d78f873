"""An engine on SQLite whose disk fails: nothing acknowledged is lost, it says what is wrong, and goes on when that is mended."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from outlive import Engine, HookNotFound, Run, StoreUnavailable, create_hook, sleep, step, workflow
from outlive._runtime import journal
from outlive._runtime.options import WorkerOptions
from outlive.stores.sqlite import SQLiteStore, writing
from outlive.testing.crash import kill

from .faults import Call, Faults, faulty

done: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def forget() -> None:
    done.clear()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    monkeypatch.setattr(journal, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(journal, "LONGEST_PAUSE", 0.01)
    with faulty() as made:
        yield made


@step
async def act(name: str) -> str:
    done[name] += 1
    return name


@workflow
async def everything() -> list[object]:
    hook = create_hook(token="hook")
    both = await asyncio.gather(act("a"), act("b"))
    await sleep(0.01)
    return [*both, await hook, await act("c")]


def engine(folder: Path) -> Engine:
    options = WorkerOptions(linger=0.0, poll=0.01, look_every=0.01)
    return Engine(f"sqlite:////{folder}/outlive.db", guard="off", options=options)


async def insisting(opened: Engine) -> Run[list[object]]:
    """As a client that was told "not now" and tries again."""
    while True:
        try:
            return await opened.start(everything.options(run_id="the-run"))
        except StoreUnavailable:
            await asyncio.sleep(0.002)


async def answering(opened: Engine) -> None:
    while True:
        try:
            await opened.resume_hook("hook", "payload", idempotency_key="once")
            return
        except (StoreUnavailable, HookNotFound):
            await asyncio.sleep(0.002)


async def audit(opened: Engine) -> list[str]:
    assert isinstance(opened.store, SQLiteStore)
    return await opened.store.audit()


async def survives(folder: Path) -> None:
    """The whole way of a run, whatever happens on it."""
    async with engine(folder) as opened:
        await played(opened)


async def played(opened: Engine) -> None:
    run = await insisting(opened)
    await answering(opened)
    while True:
        try:
            assert await run.result(timeout=30) == ["a", "b", "payload", "c"]
            kinds = [event.kind for event in await run.events()]
            assert await audit(opened) == []
            break
        except StoreUnavailable:
            await asyncio.sleep(0.002)
    assert done == {"a": 1, "b": 1, "c": 1}, "this process lives on, so nothing has to be done again"
    assert kinds.count("step_completed") == 3
    assert kinds.count("hook_received") == 1
    assert kinds[-1] == "run_completed"


FAULTS: list[tuple[Call, type[apsw.Error]]] = [
    ("write", apsw.IOError),
    ("write", apsw.FullError),
    ("sync", apsw.IOError),
    ("read", apsw.IOError),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), FAULTS)
def test_one_call_fails_wherever_that_is(call: Call, error: type[apsw.Error], faults: Faults, tmp_path: Path) -> None:
    async def with_nth_failing(nth: int, folder: Path) -> bool:
        done.clear()
        faults.met.clear()
        opened = engine(folder)
        await opened.open()
        faults.once(call, nth, error)
        try:
            await played(opened)
        finally:
            faults.mend()
            await opened.close()
        return faults.met.is_set()

    met = 0
    for nth in range(1, 26):
        folder = tmp_path / str(nth)
        folder.mkdir()
        met += asyncio.run(with_nth_failing(nth, folder))
    assert met >= 5, "the faults did not come"


LASTING: list[tuple[Call, type[apsw.Error], str]] = [
    ("write", apsw.FullError, "is full"),
    ("write", apsw.ReadOnlyError, "can't be written"),
    ("write", apsw.IOError, "can't be used now"),
]


@pytest.mark.parametrize(("call", "error", "told"), LASTING)
def test_while_it_lasts_nothing_is_accepted_and_the_reason_is_told(
    call: Call, error: type[apsw.Error], told: str, faults: Faults, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with engine(tmp_path) as opened:
            run = await insisting(opened)
            while not done["b"]:
                await asyncio.sleep(0.001)
            faults.lasting(call, error)
            with pytest.raises(StoreUnavailable, match=told):
                await opened.resume_hook("hook", "payload", idempotency_key="once")
            with pytest.raises(StoreUnavailable):
                await opened.start(everything.options(run_id="another"))
            faults.mend()
            await answering(opened)
            assert await run.result(timeout=30) == ["a", "b", "payload", "c"]
            assert [info.id for info in await opened.list_runs()] == ["the-run"]
            assert await audit(opened) == []

    with caplog.at_level(logging.WARNING, logger="outlive.journal"):
        asyncio.run(main())
    assert any("nothing new is accepted" in message for message in caplog.messages)
    assert "the store can be written again" in caplog.messages
    assert done == {"a": 1, "b": 1, "c": 1}


def test_a_program_that_keeps_the_file_locked_beyond_any_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "BUSY_MS", 20)

    async def main() -> None:
        async with engine(tmp_path) as opened:
            run = await insisting(opened)
            while not done["b"]:
                await asyncio.sleep(0.001)
            rude = apsw.Connection(str(tmp_path / "outlive.db"))
            rude.set_busy_timeout(5_000)
            rude.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked by another program"):
                await opened.resume_hook("hook", "payload", idempotency_key="once")
            rude.execute("ROLLBACK")
            rude.close()
            await answering(opened)
            assert await run.result(timeout=30) == ["a", "b", "payload", "c"]
            assert await audit(opened) == []

    asyncio.run(main())
    assert done == {"a": 1, "b": 1, "c": 1}


def test_a_worker_that_dies_with_a_full_disk_loses_nothing_that_was_acknowledged(
    faults: Faults, tmp_path: Path
) -> None:
    async def first() -> None:
        opened = engine(tmp_path)
        await opened.open()
        await insisting(opened)
        await answering(opened)
        faults.lasting("write", apsw.FullError)
        await kill(opened)
        faults.mend()

    asyncio.run(first())
    asyncio.run(survives_again(tmp_path))


async def survives_again(folder: Path) -> None:
    async with engine(folder) as opened:
        assert await opened.get_run("the-run").result(timeout=30) == ["a", "b", "payload", "c"]
        assert await audit(opened) == []


def test_an_engine_can_be_closed_while_the_disk_is_full(faults: Faults, tmp_path: Path) -> None:
    async def first() -> None:
        async with engine(tmp_path) as opened:
            await insisting(opened)
            await answering(opened)
            faults.lasting("write", apsw.FullError)
        faults.mend()

    asyncio.run(first())
    asyncio.run(survives_again(tmp_path))
