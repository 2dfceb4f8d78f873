"""Transactions that are open elsewhere hold up what is about them, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from outlive import Engine, StoreUnavailable, sleep, step, workflow
from outlive._runtime.options import WorkerOptions

from .conftest import Bank, book

pytestmark = pytest.mark.server


@step(transaction=True)
async def pay(order: str) -> str:
    await book(order)
    return f"paid {order}"


@workflow
async def buys(order: str) -> str:
    return await pay(order)


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubles(number: int) -> int:
    await sleep(0.05)
    return await double(number)


@contextlib.asynccontextmanager
async def holding(bank: Bank, run: str) -> AsyncIterator[None]:
    """Somebody's transaction holds the row of ``run``, as one does that is about to commit a step of it."""
    other = await asyncpg.connect(bank.dsn)
    async with other.transaction():
        await other.fetch(f'SELECT FROM "{bank.schema}".runs WHERE id = $1 FOR SHARE', run)
        yield
    await other.close()


async def test_a_worker_that_froze_before_its_commit_holds_up_nobody_else(bank: Bank) -> None:
    frozen, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def freezes() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
            frozen.set()
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):  # frozen
                    await go_on.wait()

    first = Engine(bank.url, transactions=freezes, options=WorkerOptions(poll=0.02), shutdown_grace=0)
    await first.open()
    run = await first.start(buys, "a")
    await frozen.wait()
    assert first.worker is not None
    await first.store.expire(first.worker.id)  # type: ignore[attr-defined]
    async with bank.engine() as second, Engine(bank.url, worker=False) as client:
        begun = second.worker
        assert begun is not None
        life = begun.id
        for number in range(5):
            assert await (await client.start(doubles, number)).result(timeout=30) == 2 * number
        assert begun.id == life, "nor does it take the lease of whoever looks after what is left"
        assert await bank.bookings() == []
        go_on.set()
        assert await client.get_run(run.id).result(timeout=30) == "paid a"
        assert await client.store.audit() == []
    await first.close()
    assert await bank.bookings() == ["a"]


async def test_a_client_that_goes_silent_before_its_commit_is_not_waited_for(bank: Bank) -> None:
    shown = ""

    @contextlib.asynccontextmanager
    async def looks() -> AsyncIterator[Any]:
        nonlocal shown
        async with bank.begin() as connection:
            yield connection
            shown = await bank.show(connection, "idle_in_transaction_session_timeout")

    async with Engine(bank.url, transactions=looks) as engine:
        await (await engine.start(buys, "a")).result()
    assert shown == "10s"


async def test_a_run_that_a_transaction_holds_is_tried_again_and_the_others_go_on(bank: Bank) -> None:
    async with bank.engine() as engine:
        held = await engine.start(doubles.options(run_id="held"), 1)
        async with holding(bank, "held"):
            assert await asyncio.gather(*[(await engine.start(doubles, n)).result(timeout=30) for n in range(5)]) == [
                0,
                2,
                4,
                6,
                8,
            ]
            with pytest.raises(StoreUnavailable, match="a transaction that has not ended"):
                await held.cancel()
            assert not (await held.status()).ended
        assert await held.result(timeout=30) == 2
        assert await engine.store.audit() == []


async def test_a_run_that_somebody_is_about_to_start_holds_up_no_other(bank: Bank) -> None:
    async with bank.engine() as engine:
        async with bank.begin() as connection:
            await engine.on(connection).start(doubles.options(run_id="mine"), 1)
            same, other = await asyncio.gather(
                engine.start(doubles.options(run_id="mine"), 1), engine.start(doubles, 2), return_exceptions=True
            )
            assert isinstance(same, StoreUnavailable) and "has not ended" in str(same)
            assert not isinstance(other, BaseException)
            assert await other.result(timeout=30) == 4
        assert await (await engine.start(doubles.options(run_id="mine"), 1)).result(timeout=30) == 2
