"""What is PostgreSQL's alone: its pooler, its clock, its locks, what happens when it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from outlive.cli.store import _prune as prune_by_hand
from outlive.errors import ConfigurationError, SchemaVersion, StoreUnavailable
from outlive.model.entries import (
    Accepted,
    Committed,
    Created,
    Existing,
    Fenced,
    Message,
    Rejected,
    RunCommit,
    TaskCommit,
    Terminate,
)
from outlive.model.events import Payload
from outlive.model.hints import Hint
from outlive.model.ids import RunId, TokenHash, WorkerId, step_id
from outlive.model.streams import Written, streams_of
from outlive.stores.postgres import PostgresStore, writing
from outlive.stores.postgres.connections import connect, parse
from outlive.stores.postgres.hints import _hint_of
from outlive.stores.protocol import Fence
from outlive.testing.conformance.queues import scheduled, wanted
from outlive.testing.conformance.world import FLOW, completed, hook, new_run, parked, step

W1, W2 = WorkerId("w1"), WorkerId("w2")


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_url) as made:
        yield made


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection to the server."""
    connection = await asyncpg.connect(parse(postgres_url)[0], statement_cache_size=0)
    yield connection
    connection.terminate()


def table(store: PostgresStore, name: str) -> str:
    return f'"{store._sql.schema}".{name}'


# --- what stands between -------------------------------------------------------------------------------------------------


async def test_pg4_a_pooler_is_found_out(store: PostgresStore, request: pytest.FixtureRequest) -> None:
    assert store._use().connections.pooled == request.config.getoption("pooled")


async def test_many_at_once_share_few_connections(store: PostgresStore) -> None:
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1")])
    records = await asyncio.gather(*(store.run(RunId("r1")) for _ in range(200)))
    assert {record.id for record in records if record is not None} == {"r1"}


async def test_who_is_cancelled_leaves_no_transaction_behind(store: PostgresStore) -> None:
    await store.join(W1, lease=30)
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004):
        committing = asyncio.create_task(store.commit(W1, [new_run(f"r-{delay}")]))
        await asyncio.sleep(delay)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
    assert isinstance((await store.commit(W1, [new_run("after")]))[0], Created)
    assert await store.audit() == []


async def test_who_is_cancelled_while_it_connects_leaves_nothing_behind(
    postgres_url: str, other: asyncpg.Connection
) -> None:
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(str(context)))
    for turns in range(16):
        connecting = asyncio.create_task(connect(parse(postgres_url)[0], pooled=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        if connecting.cancel():
            await asyncio.gather(connecting, return_exceptions=True)
            assert connecting.cancelled()
        else:  # a server that is near may be quicker
            connecting.result().terminate()
    gc.collect()
    await other.fetchval("SELECT 1")
    gc.collect()
    assert said == []


# --- one clock -----------------------------------------------------------------------------------------------------------


async def test_t9_the_servers_clock_decides(store: PostgresStore, other: asyncpg.Connection) -> None:
    await store.join(W1, lease=30)
    before = await other.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    await store.commit(W1, [new_run("r1", claim=True)])
    after = await other.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    [created, started] = await store.log(RunId("r1"), 1)
    assert before <= created.time == started.time <= after
    assert abs(store.clock.now() - after) < 5  # it follows


async def test_t9_nothing_is_pruned_by_the_clock_of_another_machine(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_url) as store:
        await store.join(W1, lease=30)
        await store.commit(W1, [new_run("r1", claim=True)])
        await store.commit(W1, [RunCommit(run=RunId("r1"), link=1, epoch=1, seq=2, proposals=(completed(),))])
    right = time.time()
    monkeypatch.setattr(time, "time", lambda: right + 400 * 86_400.0)
    assert await prune_by_hand(postgres_url, 30 * 86_400.0, dry_run=True, told=False) == 0
    assert await prune_by_hand(postgres_url, 0.0, dry_run=False, told=False) == 1


async def test_r15_a_payload_is_accepted_at_a_time_under_the_lock_of_its_run(
    store: PostgresStore, postgres_url: str, other: asyncpg.Connection
) -> None:
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1", claim=True)])
    await store.commit(W1, [RunCommit(run=RunId("r1"), link=1, epoch=1, seq=2, proposals=(hook("t1"),))])
    transaction = other.transaction()
    await transaction.start()
    await other.execute(f"SELECT 1 FROM {table(store, 'runs')} WHERE id = 'r1' FOR NO KEY UPDATE")
    payload = Payload(content_type="text/plain", text="x")
    sending = asyncio.create_task(
        store.commit(None, [Message(kind="payload", token_hash=TokenHash("t1"), payload=payload)])
    )
    while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.005)
    released = await other.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    await transaction.rollback()
    [outcome] = await sending
    assert isinstance(outcome, Accepted)
    accepted = await other.fetchval(f"SELECT accepted FROM {table(store, 'inbox')}")
    assert accepted >= released


# --- at once -------------------------------------------------------------------------------------------------------------


async def test_d4_of_many_who_start_one_run_at_once_one_does(postgres_url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_url)) for _ in range(6)]
        outcomes = await asyncio.gather(*(store.commit(None, [new_run("r1")]) for store in stores))
        assert sorted(type(outcome).__name__ for [outcome] in outcomes) == ["Created"] + ["Existing"] * 5
        assert all(outcome.same for [outcome] in outcomes if isinstance(outcome, Existing))
        assert await stores[0].audit() == []


async def test_d4_of_many_who_claim_one_token_at_once_one_gets_it(postgres_url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_url)) for _ in range(6)]
        for number, store in enumerate(stores):
            await store.join(WorkerId(f"w{number}"), lease=30)
            await store.commit(WorkerId(f"w{number}"), [new_run(f"r{number}", claim=True)])

        async def claim(number: int) -> str:
            entry = RunCommit(run=RunId(f"r{number}"), link=1, epoch=1, seq=2, proposals=(hook("token"),))
            [outcome] = await stores[number].commit(WorkerId(f"w{number}"), [entry])
            assert isinstance(outcome, Committed)
            return type(outcome.events[0].event).__name__

        kinds = await asyncio.gather(*(claim(number) for number in range(6)))
        assert sorted(kinds) == ["HookConflict"] * 5 + ["HookCreated"]
        holder = await stores[0].hook(TokenHash("token"))
        assert holder is not None and holder.run == f"r{kinds.index('HookCreated')}"
        assert await stores[0].audit() == []


async def test_pg7_batches_that_cross_each_other_all_arrive(postgres_url: str) -> None:
    """Each batch touches many runs in an order of its own: locks are taken in one order all the same."""
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_url)) for _ in range(4)]
        runs = [f"r{number}" for number in range(12)]
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        async with stores[0]._use().connections.single() as connection:
            before = await connection.fetchval(deadlocks)
        await stores[0].commit(None, [new_run(run) for run in runs])

        async def ask(store: PostgresStore, turn: int) -> None:
            for number in range(10):
                order = runs[(turn + number) % 12 :] + runs[: (turn + number) % 12]
                order = order[::-1] if turn % 2 else order
                outcomes = await store.commit(None, [Message(kind="wake", run=RunId(run)) for run in order])
                assert all(isinstance(outcome, Accepted) for outcome in outcomes)

        await asyncio.gather(*(ask(store, turn * 3) for turn, store in enumerate(stores)))
        async with stores[0]._use().connections.single() as connection:
            assert await connection.fetchval(deadlocks) == before
        assert await stores[0].audit() == []


async def test_two_who_claim_at_once_share_what_is_due(postgres_url: str) -> None:
    async with opened(postgres_url) as first, opened(postgres_url) as second:
        await first.join(W1, lease=30)
        await second.join(W2, lease=30)
        await first.commit(None, [new_run(f"r{number}") for number in range(40)])
        taken: list[str] = []
        while len(taken) < 40:
            kwargs: dict[str, Any] = {"limit": 5, "workflows": [FLOW], "fingerprint": "f", "suspects": 1}
            for claims in await asyncio.gather(first.claim(W1, **kwargs), second.claim(W2, **kwargs)):
                taken += [claimed.run for claimed in claims.runs]
        assert sorted(taken) == sorted(f"r{number}" for number in range(40))


# --- hints ---------------------------------------------------------------------------------------------------------------


def test_others_are_told_of_what_a_queued_step_writes() -> None:
    """And only of its end that a run is due."""
    done = Accepted(run=RunId("r"), link=1, owner=None)
    written = TaskCommit(run=RunId("r"), link=1, ref=1, attempt=1, streams=(Written("out", 1, ()),))
    ended = TaskCommit(run=RunId("r"), link=1, ref=1, attempt=1, ending=step())
    assert _hint_of(written, done) == Hint(about=(streams_of(RunId("r")),))
    assert _hint_of(ended, done) == Hint(due=True)


async def test_others_are_told_of_what_concerns_them(postgres_url: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("pooled"):
        pytest.skip("nothing is heard through a pooler, which is said when the store is opened")
    async with opened(postgres_url) as speaker, opened(postgres_url) as listener:
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        listener.on_hint(heard.put_nowait)
        speaker.on_hint(lambda hint: pytest.fail(f"it hears itself: {hint}") if not hint.anything else None)
        await speaker.join(W1, lease=30)

        async def until(fits: Any) -> None:
            async with asyncio.timeout(30):
                while not fits(await heard.get()):
                    pass

        await until(lambda hint: hint.anything)  # it listens
        await speaker.commit(None, [new_run("r1")])
        await until(lambda hint: hint.due)
        await speaker.commit(W1, [new_run("r2", claim=True)])
        await speaker.commit(None, [Message(kind="cancel", run=RunId("r2"))])
        await until(lambda hint: hint.workers == (W1,))
        await speaker.commit(W1, [RunCommit(run=RunId("r2"), link=1, epoch=1, seq=2, proposals=(step(),))])
        await speaker.commit(W1, [RunCommit(run=RunId("r2"), link=1, epoch=1, seq=3, proposals=(completed(),))])
        await until(lambda hint: hint.about == ("r2",))


# --- when it goes away ---------------------------------------------------------------------------------------------------


async def test_pg5_a_commit_that_was_not_answered_is_read_back(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.join(W1, lease=30)
    for happens in (True, False):
        cut_after_commit(monkeypatch, happens=happens)
        entries = [new_run(f"r-{happens}", claim=True)]
        if happens:
            [outcome] = await store.commit(W1, entries)
            assert isinstance(outcome, Created)
        else:
            with pytest.raises(StoreUnavailable):
                await store.commit(W1, entries)
        assert (await store.run(RunId(f"r-{happens}")) is not None) is happens
    cut_after_commit(monkeypatch, happens=True)
    [outcome] = await store.commit(None, [new_run("r-nobody")])
    assert isinstance(outcome, Created)


async def test_pg5_an_append_that_was_not_answered_is_read_back(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that most are goes as one statement, without a BEGIN and a COMMIT."""
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1", claim=True), new_run("r2", claim=True)])
    fetch, seen = asyncpg.Connection.fetch, 0

    def cut(happens: bool) -> None:
        async def cutting(self: asyncpg.Connection, query: str, *args: object, **kwargs: Any) -> Any:
            nonlocal seen
            if query != store._sql["append"]:
                return await fetch(self, query, *args, **kwargs)
            seen += 1
            if happens:
                await fetch(self, query, *args, **kwargs)
            self.terminate()
            raise ConnectionResetError("cut")

        monkeypatch.setattr(asyncpg.Connection, "fetch", cutting)

    def entries(seq: int) -> list[RunCommit]:
        return [RunCommit(run=RunId(run), link=1, epoch=1, seq=seq, proposals=(step(seq),)) for run in ("r1", "r2")]

    cut(happens=not request_pooled(store))
    outcomes = await store.commit(W1, entries(2))
    monkeypatch.undo()
    assert all(isinstance(outcome, Committed) and outcome.seq == 3 for outcome in outcomes)
    for outcome in outcomes:
        assert isinstance(outcome, Committed)
        assert outcome.events == tuple(await store.log(outcome_run(outcomes, outcome), 1, after=2))
    if request_pooled(store):
        assert seen == 0  # there it is a transaction like all others
        return
    cut(happens=False)
    with pytest.raises(StoreUnavailable):
        await store.commit(W1, entries(3))
    monkeypatch.undo()
    assert seen == 2
    assert [len(await store.log(RunId(run), 1)) for run in ("r1", "r2")] == [3, 3]
    outcomes = await store.commit(W1, entries(3))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert await store.audit() == []


def request_pooled(store: PostgresStore) -> bool:
    return store._use().connections.pooled


def outcome_run(outcomes: list[Any], outcome: object) -> RunId:
    return RunId(["r1", "r2"][outcomes.index(outcome)])


async def test_b4_an_append_is_fenced_run_by_run_and_by_the_lease(postgres_url: str) -> None:
    async with opened(postgres_url) as first, opened(postgres_url) as second:
        await first.join(W1, lease=30)
        await first.commit(W1, [new_run("r1", claim=True), new_run("r2", claim=True)])

        def entry(run: str, seq: int) -> RunCommit:
            return RunCommit(run=RunId(run), link=1, epoch=1, seq=seq, proposals=(step(seq),))

        await first.commit(W1, [entry("r1", 2), entry("r2", 2)])
        await second.commit(None, [Terminate(run=RunId("r1"), reason="enough")])
        fenced, done = await first.commit(W1, [entry("r1", 3), entry("r2", 3)])
        assert isinstance(fenced, Fenced) and isinstance(done, Committed)
        await first.expire(W1)
        assert await first.commit(W1, [entry("r2", 4)]) == [Fenced()]
        assert len(await first.log(RunId("r2"), 1)) == 4
        await second.join(W2, lease=30)
        await second.claim(W2, limit=5, workflows=[FLOW], fingerprint="f", suspects=1)
        assert await first.commit(W1, [entry("r2", 4)]) == [Fenced()]
        assert await first.audit() == []


async def test_a_message_that_can_not_be_read_costs_only_its_run(
    store: PostgresStore, other: asyncpg.Connection
) -> None:
    """A newer version may have written it."""
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1", claim=True), new_run("r2", claim=True)])
    await other.execute(
        f"INSERT INTO {table(store, 'inbox')} (id, run, link, ref, kind, accepted, body) "
        """VALUES (1000000, 'r1', 1, 1, 'step', 1, '{"ending": {"type": "step_glorified", "ref": 1}}')"""
    )
    both = [RunCommit(run=RunId(run), link=1, epoch=1, seq=2, proposals=(step(),), take=True) for run in ("r1", "r2")]
    refused, done = await store.commit(W1, both)
    assert isinstance(refused, Rejected) and isinstance(done, Committed)
    parking = RunCommit(run=RunId("r1"), link=1, epoch=1, seq=2, proposals=(parked(),))
    assert isinstance((await store.commit(W1, [parking]))[0], Committed)


@pytest.mark.parametrize("together", [False, True])
async def test_a_termination_appends_what_transactions_have_left_and_the_log_has_not(
    postgres_url: str, other: asyncpg.Connection, together: bool
) -> None:
    """Also where the owner appends some of it in the same batch."""
    r1, done = RunId("r1"), {ref: step(ref) for ref in (1, 2, 3)}
    async with opened(postgres_url) as store:
        await store.join(W1, lease=30)
        await store.commit(W1, [new_run("r1", claim=True)])
        for ref in done:
            fence = Fence(run=r1, link=1, epoch=1, worker=W1)
            async with other.transaction():
                assert await store.leave_result(other, step_id(r1, 1, ref, "s"), fence, done[ref])
        await store.commit(W1, [RunCommit(run=r1, link=1, epoch=1, seq=2, proposals=(done[2],))])
        entries = [RunCommit(run=r1, link=1, epoch=1, seq=3, proposals=(done[3],)), Terminate(run=r1, reason="enough")]
        for batch in [entries] if together else [[entry] for entry in entries]:
            await store.commit(W1, batch)
        log = [recorded.event for recorded in await store.log(r1, 1)]
        assert log[2:-1] == [done[2], done[3], done[1]]
        assert await store.audit() == []
        assert await other.fetchval(f"SELECT count(*) FROM {table(store, 'results')}") == 0


@pytest.mark.parametrize("queue", ["broken", "gpu"])
@pytest.mark.parametrize("deaths", [0, 1])
async def test_a_task_that_can_not_be_read_keeps_no_other_waiting(
    store: PostgresStore, other: asyncpg.Connection, queue: str, deaths: int
) -> None:
    await store.join(W1, lease=30)
    for run, where in (("r1", queue), ("r2", "gpu")):
        await store.commit(W1, [new_run(run, claim=True)])
        entry = RunCommit(run=RunId(run), link=1, epoch=1, seq=2, proposals=(scheduled(queue=where),))
        await store.commit(W1, [entry])
    await other.execute(
        f'UPDATE {table(store, "tasks")} SET deaths = $1, call = replace(call, \'"queue"\', \'"priority":true,"queue"\') '
        "WHERE run = 'r1'",
        deaths,
    )
    options: dict[str, Any] = {"limit": 0, "workflows": [], "fingerprint": "f", "suspects": 1, "tasks": wanted()}
    assert [task.key.run for task in (await store.claim(W1, **options)).tasks] == ["r2"]
    assert (await store.claim(W1, **options)).tasks == ()
    assert [line for line in await store.audit() if "r1" in line and "can't be read" in line]


async def test_a_claim_that_finds_nothing_after_all_keeps_its_connection(
    store: PostgresStore, other: asyncpg.Connection
) -> None:
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1", claim=True)])
    entry = RunCommit(run=RunId("r1"), link=1, epoch=1, seq=2, proposals=(scheduled(),))
    await store.commit(W1, [entry])
    await store.limit_queue("gpu", 0)
    backends = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'outlive'"
    before = await other.fetchval(backends)
    for _ in range(3):
        claims = await store.claim(W1, limit=0, workflows=[], fingerprint="f", suspects=1, tasks=wanted())
        assert claims.tasks == ()
    assert await other.fetchval(backends) == before


def cut_after_commit(monkeypatch: pytest.MonkeyPatch, *, happens: bool) -> None:
    """The next COMMIT is sent, or not, and its answer is lost."""
    execute = asyncpg.Connection.execute

    async def cut(self: asyncpg.Connection, query: str, *args: object, **kwargs: Any) -> str:
        if query != "COMMIT":
            return await execute(self, query, *args, **kwargs)
        monkeypatch.setattr(asyncpg.Connection, "execute", execute)
        if happens:
            await execute(self, query)
        self.terminate()
        raise ConnectionResetError("cut")

    monkeypatch.setattr(asyncpg.Connection, "execute", cut)


async def test_connections_that_the_server_ends_are_replaced(store: PostgresStore, other: asyncpg.Connection) -> None:
    await store.join(W1, lease=30)
    await store.commit(W1, [new_run("r1")])
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'outlive'"
    )
    for _ in range(20):  # one error for each connection that was open, at most
        with contextlib.suppress(StoreUnavailable):
            if isinstance((await store.commit(W1, [new_run("r2")]))[0], (Created, Existing)):
                break
    assert await store.run(RunId("r2")) is not None


async def test_of_several_servers_the_one_that_can_be_written_is_found(postgres_url: str) -> None:
    dsn, schema = parse(postgres_url)
    address = dsn.partition("@")[2].partition("/")[0]
    url = f"postgresql://outlive@127.0.0.1:1,{address}/postgres?target_session_attrs=read-write&schema={schema}"
    async with opened(url) as store:
        assert isinstance((await store.commit(None, [new_run("r1")]))[0], Created)


async def test_a_server_that_became_a_standby_is_left(store: PostgresStore, request: pytest.FixtureRequest) -> None:
    """Though its connections still stand: the address may lead to the new primary by now."""
    if request.config.getoption("pooled"):
        pytest.skip("the pooler has the connections to the server")
    async with store._use().connections.single() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="name the primary"):
        await store.commit(None, [new_run("r1")])
    assert isinstance((await store.commit(None, [new_run("r1")]))[0], Created)


async def test_a_user_who_is_locked_out_for_a_while_finds_back(
    postgres_url: str, other: asyncpg.Connection, request: pytest.FixtureRequest
) -> None:
    """At the start that would be a mistake in the url; a store that is at work waits, as for a server that is away."""
    if request.config.getoption("pooled"):
        pytest.skip("the pooler logs in with its own connections")
    schema, user = parse(postgres_url)[1], parse(postgres_url)[1].replace("test", "user")
    await other.execute(f'CREATE ROLE "{user}" LOGIN; CREATE SCHEMA "{schema}" AUTHORIZATION "{user}"')
    url = postgres_url.replace("outlive@", f"{user}@")
    async with opened(url) as store:
        await store.join(W1, lease=30)
        await other.execute(f'ALTER ROLE "{user}" NOLOGIN')
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", user)
        for ask in (lambda: store.commit(W1, [new_run("r1")]), lambda: asyncio.to_thread(store.renew_now, W1)):
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await ask()
        with pytest.raises(ConfigurationError):
            await PostgresStore(url).open()
        await other.execute(f'ALTER ROLE "{user}" LOGIN')
        assert isinstance((await store.commit(W1, [new_run("r1")]))[0], Created)
        assert await asyncio.to_thread(store.renew_now, W1)
    await other.execute(f'DROP SCHEMA "{schema}" CASCADE; DROP ROLE "{user}"')


async def test_without_a_server_it_says_so() -> None:
    with pytest.raises(StoreUnavailable, match="can't be used now"):
        await PostgresStore("postgresql://nobody:secret@127.0.0.1:1/none").open()


@pytest.mark.parametrize(
    "parameter",
    ["nonsense=1", "shared_buffers=1", "statement_timeout=abc", "sslmode=bogus", "target_session_attrs=master"],
)
async def test_a_parameter_that_can_not_be_asked_for_is_not_tried_again(postgres_url: str, parameter: str) -> None:
    with pytest.raises(ConfigurationError, match="a parameter of the url is refused"):
        await PostgresStore(f"{postgres_url}&{parameter}").open()


async def test_an_address_that_the_driver_can_not_read_is_not_tried_again() -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        await PostgresStore("postgresql:///db?host=h&port=x").open()


async def test_no_error_tells_the_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await PostgresStore("postgresql://nobody:secret@127.0.0.1:1/none").open()
    assert "secret" not in str(caught.value) and "secret" not in repr(caught.value.__cause__)


async def test_pg2_a_long_transaction_is_named(
    store: PostgresStore, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "LONG", 0.05)
    store._use().writer._look_at = 0.0
    await store.join(W1, lease=30)
    transaction = other.transaction(isolation="repeatable_read")
    await transaction.start()
    pid = await other.fetchval("SELECT pg_backend_pid()")
    await asyncio.sleep(0.1)
    kwargs: dict[str, Any] = {"limit": 5, "workflows": [FLOW], "fingerprint": "f", "suspects": 1}
    await store.claim(W1, **kwargs)
    told = [record.getMessage() for record in caplog.records if f"process {pid}" in record.getMessage()]
    assert len(told) == 1 and "pg_terminate_backend" in told[0]
    await store.claim(W1, **kwargs)
    assert len([r for r in caplog.records if f"process {pid}" in r.getMessage()]) == 1  # now and then, not always
    await transaction.rollback()


# --- schemas -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tables",
    [
        "meta (name text)",
        "meta (key text, value text); INSERT INTO {}.meta VALUES ('schema_version', 'x')",
        "events (x int)",
    ],
)
async def test_a_schema_with_tables_of_somebody_else_is_refused(
    postgres_url: str, other: asyncpg.Connection, tables: str
) -> None:
    schema = f'"{parse(postgres_url)[1]}"'
    await other.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.{tables.format(schema)}")
    with pytest.raises(ConfigurationError, match="tables that are not Outlive's"):
        await PostgresStore(postgres_url).open()


async def test_two_schemas_are_two_stores(postgres_url: str, store: PostgresStore) -> None:
    async with opened(postgres_url + "_b") as second:
        await store.commit(None, [new_run("r1")])
        assert await second.run(RunId("r1")) is None
        async with second._use().connections.single() as connection:
            await connection.execute(f'DROP SCHEMA "{second._sql.schema}" CASCADE')


async def test_many_who_open_a_new_schema_at_once_make_it_once(postgres_url: str) -> None:
    stores = [PostgresStore(postgres_url) for _ in range(5)]
    await asyncio.gather(*(store.open() for store in stores))
    await stores[0].commit(None, [new_run("r1")])
    assert await stores[4].run(RunId("r1")) is not None
    await asyncio.gather(*(store.close() for store in stores))


async def test_pg11_a_newer_schema_is_refused(
    postgres_url: str, store: PostgresStore, other: asyncpg.Connection
) -> None:
    """Unless it says that code of this version can work on it: a deploy runs both for a while."""
    await other.execute(f"UPDATE {table(store, 'meta')} SET value = '99' WHERE key = 'schema_version'")
    async with opened(postgres_url) as older:
        assert isinstance((await older.commit(None, [new_run("r1")]))[0], Created)
    await other.execute(f"INSERT INTO {table(store, 'meta')} (key, value) VALUES ('oldest_code', '99')")
    with pytest.raises(SchemaVersion, match="newer"):
        await PostgresStore(postgres_url).open()


@pytest.mark.parametrize("schema", ["Über", 'a"b', "a;b", "", "1a", "a" * 60, "pg_", "pg_catalog"])
def test_pg10_a_schema_is_named_like_one(schema: str) -> None:
    with pytest.raises(ConfigurationError):
        PostgresStore(
            f"postgresql://localhost/db?schema={schema}&x=1" if schema else "postgresql://localhost/db?schema=%20"
        )


async def test_a_user_who_may_not_create_it_is_told_how(postgres_url: str, other: asyncpg.Connection) -> None:
    with contextlib.suppress(asyncpg.DuplicateObjectError):
        await other.execute("CREATE ROLE poor LOGIN")
    with pytest.raises(ConfigurationError, match="CREATE SCHEMA"):
        await PostgresStore(postgres_url.replace("outlive@", "poor@")).open()


async def test_a_user_who_is_no_superuser_gets_by_with_a_schema_of_its_own(
    postgres_url: str, other: asyncpg.Connection
) -> None:
    schema = parse(postgres_url)[1]
    with contextlib.suppress(asyncpg.DuplicateObjectError):
        await other.execute("CREATE ROLE poor LOGIN")
    await other.execute(f'CREATE SCHEMA "{schema}" AUTHORIZATION poor')
    async with opened(postgres_url.replace("outlive@", "poor@")) as store:
        await store.join(W1, lease=30)
        [outcome] = await store.commit(W1, [new_run("r1", claim=True)])
        assert isinstance(outcome, Created)
        assert await store.audit() == []
