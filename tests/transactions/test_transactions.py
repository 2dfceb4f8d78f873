"""Steps whose effect and recorded result are committed together, and runs that start with a transaction of somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import psycopg
import pytest

from outlive import (
    ConfigurationError,
    Engine,
    NotInWorkflow,
    RunConflict,
    RunFailed,
    RunNotFound,
    StoreUnavailable,
    create_hook,
    get_connection,
    get_step_metadata,
    sleep,
    step,
    workflow,
)
from outlive._runtime.options import WorkerOptions
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.testing.crash import kill

from .conftest import Bank, book, current

pytestmark = pytest.mark.server


@step(transaction=True)
async def pay(order: str) -> str:
    await book(order)
    return f"paid {order}"


@step(transaction=True, max_retries=2, retry_delay=0.01)
async def pay_at_second_try(order: str) -> int:
    await book(order)
    if get_step_metadata().attempt == 1:
        raise ConnectionError("after its effect, before its commit")
    return get_step_metadata().attempt


@step(transaction=True)
async def pay_with_a_lock(order: str) -> object:
    await book(order)
    return asyncio.Lock()


@workflow
async def buys(order: str) -> str:
    return await pay(order)


@workflow
async def buys_at_second_try(order: str) -> int:
    return await pay_at_second_try(order)


@workflow
async def buys_a_lock(order: str) -> object:
    return await pay_with_a_lock(order)


async def test_effect_and_result_are_there_together(bank: Bank) -> None:
    async with bank.engine() as engine:
        assert await (await engine.start(buys, "a")).result() == "paid a"
        assert await bank.bookings() == ["a"]
        assert await engine.store.audit() == []
        await kept_nothing(engine)


async def kept_nothing(engine: Engine) -> None:
    """The results of runs that have ended are in their logs."""
    store: Any = engine.store
    async with store._use().connections.single() as connection:
        assert await connection.fetchval(store._sql.qualify("SELECT count(*) FROM outlive.results")) == 0


async def test_an_attempt_that_fails_leaves_no_effect(bank: Bank) -> None:
    async with bank.engine() as engine:
        assert await (await engine.start(buys_at_second_try, "a")).result() == 2
    assert await bank.bookings() == ["a"]


async def test_a_result_that_can_not_be_carried_leaves_no_effect(bank: Bank) -> None:
    async with bank.engine() as engine:
        with pytest.raises(RunFailed):
            await (await engine.start(buys_a_lock, "a")).result()
    assert await bank.bookings() == []


async def crashed_after_its_commit(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> RunId:
    """A run whose worker died after the transaction of its step and before its journal had the event."""
    first = bank.engine()
    await first.open()
    monkeypatch.setattr(first.journal, "touch", lambda _source: None)  # nothing of its runs gets into the log any more
    run = await first.start(buys, "a")
    while await bank.bookings() == []:
        await asyncio.sleep(0.01)
    await kill(first)
    return run.id


async def test_what_was_committed_before_a_crash_is_not_done_again(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await crashed_after_its_commit(bank, monkeypatch)
    async with bank.engine() as second:
        assert await second.get_run(run).result() == "paid a"
        assert await bank.bookings() == ["a"]
        assert await second.store.audit() == []


async def test_a_worker_that_has_lost_the_run_commits_nothing(bank: Bank) -> None:
    """It was frozen inside the transaction, and another has done the step meanwhile."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
            inside.set()

    first = Engine(bank.url, transactions=slow, shutdown_grace=0)
    await first.open()
    leave = first.store.leave_result

    async def frozen(*args: Any) -> bool:
        inside.set()
        await go_on.wait()
        return await leave(*args)

    first.store.leave_result = frozen  # type: ignore[method-assign]
    run = await first.start(buys, "a")
    await inside.wait()
    assert first.worker is not None
    await first.store.expire(first.worker.id)  # type: ignore[attr-defined]
    async with bank.engine() as second:
        assert await second.get_run(run.id).result() == "paid a"
        go_on.set()
        await asyncio.sleep(0.1)
        assert await bank.bookings() == ["a"]
        assert await second.store.audit() == []
    await first.close()


async def test_a_commit_whose_answer_got_lost_counts(bank: Bank) -> None:
    lost = 0

    @contextlib.asynccontextmanager
    async def unsure() -> AsyncIterator[Any]:
        nonlocal lost
        async with bank.begin() as connection:
            yield connection
        if lost == 0:
            lost += 1
            raise ConnectionResetError("COMMIT was sent, and the line went dead")

    async with Engine(bank.url, transactions=unsure) as engine:
        assert await (await engine.start(buys, "a")).result() == "paid a"
    assert (lost, await bank.bookings()) == (1, ["a"])


@step(transaction=True, max_retries=0)
async def pay_once(order: str) -> str:
    await book(order)
    return f"paid {order}"


@workflow
async def buys_without_retry(order: str) -> str:
    return await pay_once(order)


async def test_a_lost_commit_is_found_out_before_the_step_is_said_to_have_failed(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the only attempt, and the server can't be asked: who records its failure finds out."""
    refused = 0

    @contextlib.asynccontextmanager
    async def unsure() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
        raise ConnectionResetError("COMMIT was sent, and the server went away")

    async with Engine(bank.url, transactions=unsure) as engine:
        ask = engine.store.result_of

        async def away(*args: Any) -> Any:
            nonlocal refused
            if await bank.bookings():
                refused += 1
                raise StoreUnavailable("it is not back yet")
            return await ask(*args)

        monkeypatch.setattr(engine.store, "result_of", away)
        assert await (await engine.start(buys_without_retry, "a")).result() == "paid a"
    assert (refused, await bank.bookings()) == (1, ["a"])


@step(transaction=True, max_retries=0, timeout=0.5)
async def pay_in_time(order: str) -> str:
    await book(order)
    return f"paid {order}"


@workflow
async def buys_in_time(order: str) -> str:
    return await pay_in_time(order)


async def test_a_commit_that_an_attempt_was_stopped_in_counts(bank: Bank) -> None:
    """Its time was up when the commit had happened, and before it could say so."""

    @contextlib.asynccontextmanager
    async def slow_to_answer() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
        await asyncio.Event().wait()

    async with Engine(bank.url, transactions=slow_to_answer) as engine:
        assert await (await engine.start(buys_in_time, "a")).result() == "paid a"
    assert await bank.bookings() == ["a"]


async def ends_of_steps(engine: Engine, run: RunId) -> list[str]:
    ends = [recorded.event for recorded in await engine.store.log(run, 1) if type(recorded.event) in ev.ENDS_STEP]
    return [ev.kind_of(event) for event in ends]


async def test_a_step_that_was_committed_before_a_crash_is_not_cancelled(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took its run over was told to cancel it before the store could say what had been done."""
    run = await crashed_after_its_commit(bank, monkeypatch)
    async with bank.engine() as second:
        monkeypatch.setattr(second.store, "result_of", lambda *_args: asyncio.Event().wait())
        handle = second.get_run(run)
        await handle.cancel()
        while not (await handle.status()).ended:
            await asyncio.sleep(0.01)
        assert await ends_of_steps(second, run) == ["step_completed"]
        assert await second.store.audit() == []
    assert await bank.bookings() == ["a"]


@workflow
async def buys_and_does_not_wait(order: str) -> str:
    with create_hook(token="go on") as hook:
        paying = asyncio.ensure_future(pay(order))
        await hook
        assert not paying.done()
    return "gone on"


async def test_a_step_that_committed_and_lost_a_race_is_in_the_log_as_completed(bank: Bank) -> None:
    committed, never = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow_to_answer() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
        committed.set()
        await never.wait()

    async with Engine(bank.url, transactions=slow_to_answer, shutdown_grace=0) as engine:
        run = await engine.start(buys_and_does_not_wait, "a")
        await committed.wait()
        await engine.resume_hook("go on", None)
        assert await run.result() == "gone on"
        assert await ends_of_steps(engine, run.id) == ["step_completed"]
        assert await bank.bookings() == ["a"]
        assert await engine.store.audit() == []
        await kept_nothing(engine)


async def test_a_step_is_not_given_up_while_it_commits(bank: Bank) -> None:
    """Its time is up, its grace too, and its commit arrives after both."""
    here, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def stubborn() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
            here.set()
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()

    async with Engine(bank.url, transactions=stubborn, options=WorkerOptions(cancel_grace=0.01)) as engine:
        run = await engine.start(buys_in_time, "a")
        await here.wait()
        await asyncio.sleep(0.8)  # its timeout is 0.5 s
        assert await ends_of_steps(engine, run.id) == []
        go_on.set()
        assert await run.result() == "paid a"
    assert await bank.bookings() == ["a"]


async def test_a_step_that_was_given_up_does_not_commit_later(bank: Bank) -> None:
    here, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def stubborn() -> AsyncIterator[Any]:
        try:
            async with bank.begin() as connection:
                here.set()
                while not go_on.is_set():
                    with contextlib.suppress(asyncio.CancelledError):
                        await go_on.wait()
                yield connection
        finally:
            ended.set()

    async with Engine(bank.url, transactions=stubborn, options=WorkerOptions(cancel_grace=0.01)) as engine:
        run = await engine.start(buys_in_time, "a")
        await here.wait()
        with pytest.raises(RunFailed):
            await run.result()
        go_on.set()
        await ended.wait()
    assert await bank.bookings() == []


async def test_a_cancelled_step_is_rolled_back(bank: Bank) -> None:
    entered = asyncio.Event()

    @contextlib.asynccontextmanager
    async def waits() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            entered.set()
            await asyncio.sleep(0.05)
            yield connection
            await asyncio.sleep(30)

    async with Engine(bank.url, transactions=waits, shutdown_grace=0) as engine:
        run = await engine.start(buys, "a")
        await entered.wait()
        await run.cancel()
        while not (await run.status()).ended:
            await asyncio.sleep(0.01)
    assert await bank.bookings() == []


# --- a run that is terminated ----------------------------------------------------------------------------------------


@workflow
async def buys_and_waits(order: str) -> None:
    await pay(order)
    await pay(f"{order} again")
    await sleep("1 day")


async def paid(engine: Engine, run: RunId) -> list[tuple[str, str]]:
    """What its log says of steps, when it has been terminated."""
    await engine.get_run(run).terminate()
    log = [recorded.event for recorded in await engine.store.log(run, 1)]
    assert isinstance(log[-1], ev.RunTerminated)
    assert await engine.store.audit() == []
    await kept_nothing(engine)
    ends = [event for event in log if type(event) in ev.ENDS_STEP]
    return [(ev.kind_of(event), bytes(getattr(event, "result", b"")).decode()) for event in ends]


async def test_what_was_committed_before_a_crash_is_in_the_log_of_a_run_that_is_terminated_then(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await crashed_after_its_commit(bank, monkeypatch)
    async with Engine(bank.url, worker=False) as second:
        assert await paid(second, run) == [("step_completed", '"paid a"')]


async def test_a_step_that_commits_while_its_run_is_terminated_is_in_its_log(bank: Bank) -> None:
    """Its worker does not know yet that it has."""
    committed, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow_to_answer() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            yield connection
        committed.set()
        await go_on.wait()

    async with Engine(bank.url, transactions=slow_to_answer) as engine:
        run = await engine.start(buys, "a")
        await committed.wait()
        assert await paid(engine, run.id) == [("step_completed", '"paid a"')]
        go_on.set()
    assert await bank.bookings() == ["a"]


async def test_a_step_whose_run_is_terminated_before_it_commits_is_rolled_back(bank: Bank) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def waits() -> AsyncIterator[Any]:
        async with bank.begin() as connection:
            inside.set()
            await go_on.wait()
            yield connection

    async with Engine(bank.url, transactions=waits) as engine:
        run = await engine.start(buys, "a")
        await inside.wait()
        assert await paid(engine, run.id) == []
        go_on.set()
    assert await bank.bookings() == []


async def test_what_the_log_of_a_terminated_run_has_is_there_once(bank: Bank) -> None:
    async with bank.engine() as engine:
        run = await engine.start(buys_and_waits, "a")
        while len(await bank.bookings()) < 2:
            await asyncio.sleep(0.01)
        # perhaps in one commit with the second
        assert await paid(engine, run.id) == [("step_completed", '"paid a"'), ("step_completed", '"paid a again"')]


# --- how it is used wrongly ------------------------------------------------------------------------------------------


async def test_without_a_way_in_it_says_what_to_do(bank: Bank) -> None:
    async with Engine(bank.url) as engine:
        with pytest.raises(RunFailed) as failed:
            await (await engine.start(buys.options(run_id="x"), "a")).result(timeout=60)
        assert "transactions=" in str(failed.value.__cause__)


async def test_elsewhere_there_is_no_connection() -> None:
    with pytest.raises(NotInWorkflow, match="transaction=True"):
        get_connection()


async def test_on_a_store_that_is_no_postgres_it_says_so() -> None:
    async with Engine("memory://") as engine:
        with pytest.raises(ConfigurationError, match="PostgreSQL"):
            await engine.on(object()).start(buys, "a")


def test_it_is_async_and_needs_no_at_most_once() -> None:
    with pytest.raises(TypeError, match="async"):

        @step(transaction=True)
        def blocking() -> None: ...

    with pytest.raises(ValueError, match="exactly once"):

        @step(transaction=True, at_most_once=True)
        async def twice() -> None: ...


async def test_a_connection_that_is_none_is_refused(bank: Bank) -> None:
    async with bank.engine() as engine:
        with pytest.raises(ConfigurationError, match="psycopg"):
            await engine.on(object()).start(buys, "a")


async def test_a_connection_without_a_transaction_is_refused(bank: Bank) -> None:
    async with bank.engine() as engine:
        plain = await asyncpg.connect(bank.dsn)
        autocommit = await psycopg.AsyncConnection[Any].connect(bank.dsn, autocommit=True)
        for connection in (plain, autocommit):
            with pytest.raises(ConfigurationError, match="no transaction is open"):
                await engine.on(connection).start(buys, "a")
            await connection.close()
        blocking = await asyncio.to_thread(psycopg.connect, bank.dsn)
        with pytest.raises(ConfigurationError, match="give an async connection"):
            await engine.on(blocking).start(buys, "a")
        blocking.close()


# --- starting with a transaction -------------------------------------------------------------------------------------


async def test_a_run_starts_with_the_transaction_or_not_at_all(bank: Bank) -> None:
    async with bank.engine() as engine:
        async with bank.begin() as connection:
            await bank.book(connection, "order")
            run = await engine.on(connection).start(buys.options(run_id="both", tags=["t"]), "a")
            with pytest.raises(RunNotFound):
                await engine.get_run("both").info()  # nobody sees it yet
        assert await run.result() == "paid a"
        with contextlib.suppress(ZeroDivisionError):
            async with bank.begin() as connection:
                await bank.book(connection, "another order")
                await engine.on(connection).start(buys.options(run_id="neither"), "b")
                raise ZeroDivisionError
        with pytest.raises(RunNotFound):
            await engine.get_run("neither").info()
        assert [info.id for info in await engine.list_runs(tag="t")] == ["both"]
        assert await engine.store.audit() == []
    assert await bank.bookings() == ["order", "a"]


async def test_t9_it_is_due_by_the_servers_clock(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bank.engine() as engine:
        monkeypatch.setattr(type(engine.store.clock), "now", lambda _self: 4e9)  # an hour, or decades, ahead
        async with bank.begin() as connection:
            await engine.on(connection).start(buys.options(run_id="now"), "a")
        record = await engine.store.run(RunId("now"))
        assert record is not None and record.created_at < 4e9


async def test_the_same_start_again_is_the_same_run(bank: Bank) -> None:
    async with bank.engine() as engine:
        for _ in range(2):
            async with bank.begin() as connection:
                run = await engine.on(connection).start(buys.options(run_id="same"), "a")
        assert await run.result() == "paid a"
        with pytest.raises(RunConflict):
            async with bank.begin() as connection:
                await engine.on(connection).start(buys.options(run_id="same"), "other")
    assert await bank.bookings() == ["a"]


async def test_a_step_starts_a_run_in_its_own_transaction(bank: Bank) -> None:
    async with bank.engine() as engine:
        current["engine"] = engine  # type: ignore[assignment]
        assert await (await engine.start(hands_over, "a")).result() == "handed over"
        assert await engine.get_run("next-a").result() == "paid a"
    assert await bank.bookings() == ["order a", "a"]


@step(transaction=True)
async def hand_over(order: str) -> str:
    await book(f"order {order}")
    engine: Engine = current["engine"]  # type: ignore[assignment]
    await engine.on(get_connection()).start(buys.options(run_id=f"next-{order}"), order)
    return "handed over"


@workflow
async def hands_over(order: str) -> str:
    return await hand_over(order)
