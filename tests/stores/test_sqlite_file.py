"""The file: its schema, its neighbours, its disk."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from msgspec import Raw

from outlive.errors import ConfigurationError, SchemaVersion, StoreCorrupt, StoreUnavailable, UsageError
from outlive.model import events as ev
from outlive.model.entries import Committed, Created
from outlive.model.ids import RunId, TokenHash
from outlive.model.records import HookRecord
from outlive.stores.sqlite import SQLiteStore
from outlive.stores.sqlite.connection import warn_of_old_sqlite
from outlive.stores.sqlite.filesystem import kind_of
from outlive.stores.sqlite.statements import MIGRATIONS
from outlive.testing.conformance import VirtualClock, World
from outlive.testing.conformance.queues import scheduled, take
from outlive.testing.conformance.world import W1, W2, new_run, step

NFS = "22 1 0:21 / / rw - ext4 /dev/sda rw\n36 22 0:31 / {at} rw - nfs4 server:/export rw\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def world(path: Path, clock: VirtualClock, runner: asyncio.Runner) -> Iterator[World]:
    world = World(SQLiteStore(path, clock=clock, durability="process"), clock, runner)
    world.do(world.store.open())
    world.join()
    yield world
    world.do(world.store.close())


@pytest.mark.parametrize("queue", ["broken", "gpu"])
@pytest.mark.parametrize("deaths", [0, 1])
def test_a_task_that_can_not_be_read_keeps_no_other_waiting(world: World, path: Path, queue: str, deaths: int) -> None:
    world.start("r1", "r2")
    world.append("r1", scheduled(queue=queue))
    world.append("r2", scheduled())
    apsw.Connection(str(path)).execute(
        "UPDATE tasks SET deaths = ?, call = replace(call, '\"queue\"', '\"priority\":true,\"queue\"') WHERE run = 'r1'",
        (deaths,),
    )
    assert [task.key.run for task in take(world)] == ["r2"]
    assert take(world) == []
    assert [line for line in world.faults() if "r1" in line and "can't be read" in line]


def opened(path: Path, runner: asyncio.Runner, **options: object) -> None:
    """Open and close once."""
    store = SQLiteStore(path, clock=VirtualClock(), **options)  # type: ignore[arg-type]
    runner.run(store.open())
    runner.run(store.close())


async def _hook(store: SQLiteStore, token_hash: str) -> HookRecord | None:
    await store.open()
    try:
        return await store.hook(TokenHash(token_hash))
    finally:
        await store.close()


# --- schema ---


def test_the_schema_version_is_recorded(path: Path, runner: asyncio.Runner) -> None:
    opened(path, runner)
    assert apsw.Connection(str(path)).pragma("user_version") == len(MIGRATIONS)


def test_a_file_of_an_older_outlive_is_migrated_and_keeps_what_it_holds(path: Path, runner: asyncio.Runner) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(MIGRATIONS[0])
    connection.pragma("user_version", 1)
    connection.pragma("application_id", 0x4F75746C)
    connection.execute("INSERT INTO hooks VALUES ('hash', 'r1', 1, 1, 'name', '', 5.0)")
    connection.close()
    found = runner.run(_hook(SQLiteStore(path, clock=VirtualClock()), "hash"))
    assert found == HookRecord(TokenHash("hash"), RunId("r1"), 1, 1, "name", "", 5.0, 0, None)


def test_steps_that_waited_before_deaths_were_counted_are_taken_after_the_upgrade(world: World, path: Path) -> None:
    world.start("r1")
    world.append("r1", scheduled())
    world.do(world.store.close())
    connection = apsw.Connection(str(path))
    connection.execute("DROP INDEX tasks_suspected; ALTER TABLE tasks DROP COLUMN deaths; PRAGMA user_version = 3")
    connection.close()
    world.do(world.store.open())
    world.join(W2)
    assert [(task.key.run, task.deaths) for task in take(world, W2)] == [("r1", 0)]


def test_a_file_of_a_newer_outlive_is_refused_with_both_versions(path: Path, runner: asyncio.Runner) -> None:
    opened(path, runner)
    apsw.Connection(str(path)).pragma("user_version", 7)
    with pytest.raises(SchemaVersion, match=r"schema version 7, and this Outlive knows versions up to 4.*upgrade"):
        opened(path, runner)


def test_the_database_of_another_program_is_refused(path: Path, runner: asyncio.Runner) -> None:
    apsw.Connection(str(path)).execute("CREATE TABLE runs (id)")
    with pytest.raises(ConfigurationError, match="another program"):
        opened(path, runner)


def test_what_was_written_is_there_after_opening_again(path: Path, world: World, runner: asyncio.Runner) -> None:
    world.start("r1")
    world.do(world.store.close())
    world.do(world.store.open())
    assert world.kinds() == ["run_created", "run_started"]


def test_power_durability_syncs_every_commit(path: Path, runner: asyncio.Runner, clock: VirtualClock) -> None:
    store = SQLiteStore(path, clock=clock)
    runner.run(store.open())
    connection = store._use().writer._connection  # pyright: ignore[reportPrivateUsage]
    assert connection.pragma("synchronous") == 2
    runner.run(store.close())


# --- neighbours ---


def test_two_stores_of_one_process_share_a_file(path: Path, world: World) -> None:
    other = World(SQLiteStore(path, clock=world.clock), world.clock, world._runner)  # pyright: ignore[reportPrivateUsage]
    other.do(other.store.open())
    other.join(W2)
    world.start("r1")
    assert other.claim(W2).runs == ()  # the first one lives: it is looked up in memory, not probed
    assert other.kinds() == ["run_created", "run_started"]
    other.do(other.store.close())
    assert world.append("r1", step()).seq == 3  # closing the second took none of the first one's locks away


def test_a_store_that_is_closed_gives_up_its_workers_at_once(path: Path, world: World) -> None:
    other = World(SQLiteStore(path, clock=world.clock), world.clock, world._runner)  # pyright: ignore[reportPrivateUsage]
    other.do(other.store.open())
    other.join(W2)
    world.create("r1")
    other.claim(W2)
    other.do(other.store.close())
    assert [c.run for c in world.claim().runs] == ["r1"]


def test_a_write_of_another_connection_is_noticed(path: Path, world: World) -> None:
    world.store.changed()
    assert not world.store.changed()
    apsw.Connection(str(path)).execute("INSERT INTO meta VALUES ('k', 'v')")
    assert world.store.changed()
    assert not world.store.changed()


def test_own_writes_are_no_news(world: World) -> None:
    world.store.changed()
    world.start("r1")
    assert not world.store.changed()


def test_an_inline_commit_does_not_wait_for_the_writer_lock(world: World) -> None:
    world.start("r1")
    entry = world.entry("r1", step())
    with world.store._use().locks.writing():  # type: ignore[attr-defined]
        assert world.store.commit_now(W1, [entry]) is None
    assert isinstance(world.one(entry), Committed)


def test_an_inline_commit_does_not_wait_for_a_program_that_does_not_queue(path: Path, world: World) -> None:
    world.start("r1")
    entry = world.entry("r1", step())
    client = apsw.Connection(str(path))
    client.execute("BEGIN IMMEDIATE")
    assert world.store.commit_now(W1, [entry]) is None
    client.execute("ROLLBACK")
    assert isinstance(world.one(entry), Committed)


def test_a_program_that_keeps_the_database_locked_is_named(
    path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlive.stores.sqlite.writing.BUSY_MS", 1)
    world.start("r1")
    client = apsw.Connection(str(path))
    client.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked by another program"):
        world.append("r1", step())


def test_the_heartbeat_has_a_connection_of_its_own(world: World) -> None:
    world.clock.advance(20)
    assert world.store.renew_now(W1)  # type: ignore[attr-defined]
    world.clock.advance(20)
    assert world.do(world.store.renew(W1))


def test_side_files_of_workers_that_left_are_gone(path: Path, world: World) -> None:
    world.do(world.store.leave(W1))
    assert list(Path(f"{path}-workers").iterdir()) == []


def test_side_files_are_for_their_owner_only(path: Path, world: World) -> None:
    assert stat.S_IMODE(Path(f"{path}-lock").stat().st_mode) == 0o600


def test_h9_a_store_is_refused_in_the_child_of_a_fork_which_can_open_its_own(path: Path, world: World) -> None:
    world.create("r1")
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            try:
                world.store.commit_now(W1, [])
            except UsageError:
                own = SQLiteStore(path, clock=world.clock)
                with asyncio.Runner() as runner:
                    runner.run(own.open())
                    runner.run(own.join(W2, lease=30.0))
                    claims = runner.run(own.claim(W2, limit=5, workflows=["app:flow"], fingerprint="f", suspects=5))
                    runner.run(own.leave(W2))
                    failed = 0 if len(claims.runs) == 1 else 2
        finally:
            os._exit(failed)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [c.run for c in world.claim().runs] == ["r1"]  # the parent's locks and lease still stand


# --- disk ---


def test_h8_a_full_disk_is_unavailable_and_nothing_is_lost(world: World) -> None:
    world.start("r1")
    connection = world.store._use().writer._connection  # type: ignore[attr-defined]
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(StoreUnavailable, match="full"):
        world.append("r1", *(step(ref, b'"' + b"x" * 2000 + b'"') for ref in range(1, 50)))
    connection.pragma("max_page_count", 1_000_000)
    assert world.append("r1", step()).seq == 3


def test_a_file_that_can_not_be_written_says_so(world: World) -> None:
    world.start("r1")
    connection = world.store._use().writer._connection  # type: ignore[attr-defined]
    connection.pragma("query_only", True)  # root may write any file, so the mode of the file would not do
    with pytest.raises(StoreUnavailable, match="can't be written"):
        world.append("r1", step())


def test_a_path_that_can_not_be_opened_says_so(tmp_path: Path, runner: asyncio.Runner) -> None:
    with pytest.raises(StoreUnavailable, match="can't be"):
        opened(tmp_path / "no" / "folder.db", runner)


def test_a_file_that_is_no_database_is_corrupt(path: Path, runner: asyncio.Runner) -> None:
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(StoreCorrupt, match="backup"):
        opened(path, runner)


def test_h5_a_network_file_system_is_refused(path: Path, runner: asyncio.Runner) -> None:
    with pytest.raises(ConfigurationError, match=r"network file system .nfs4."):
        opened(path, runner, mountinfo=NFS.format(at=path.parent))


def test_h5_a_local_one_beside_it_is_not(path: Path, runner: asyncio.Runner) -> None:
    opened(path, runner, mountinfo=NFS.format(at=f"{path.parent}x"))


@pytest.mark.parametrize(
    ("at", "kind"), [("/a/b.db", "ext4"), ("/mnt/my disk/x.db", "cifs"), ("/mnt/over/x.db", "tmpfs")]
)
def test_the_mount_of_a_path_is_the_last_longest_one(at: str, kind: str) -> None:
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /mnt/my\\040disk rw - cifs //s/x rw\n"
        "3 1 0:3 / /mnt/over rw shared:1 - nfs s:/ rw\n4 3 0:4 / /mnt/over rw - tmpfs tmpfs rw\n"
    )
    assert kind_of(at, table) == kind


def test_h3_an_old_sqlite_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_old_sqlite("3.51.2")
    assert "3.51.3" in caplog.text


def test_h3_a_sound_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_old_sqlite("3.54.1.0")
    assert caplog.text == ""


# --- a commit whose outcome is unknown ---


class _Answers:
    """A connection whose next COMMIT does its work, or does not, and then raises."""

    def __init__(self, connection: apsw.Connection, *, happens: bool) -> None:
        self._connection = connection
        self._happens = happens

    def execute(self, statement: str, *values: object) -> object:
        if statement != "COMMIT":
            return self._connection.execute(statement, *values)  # type: ignore[arg-type]
        self._connection.execute("COMMIT" if self._happens else "ROLLBACK")
        raise apsw.IOError("disk I/O error")


def test_a_commit_that_happened_though_it_raised_is_a_commit(world: World) -> None:
    world.start("r1")
    writer = world.store._use().writer  # type: ignore[attr-defined]
    writer._execute = _Answers(writer._connection, happens=True).execute
    outcome = world.one(world.entry("r1", step()))
    writer._execute = writer._connection.execute
    assert isinstance(outcome, Committed)
    assert world.record().seq == 3


def test_the_same_for_a_commit_without_a_worker(world: World) -> None:
    writer = world.store._use().writer  # type: ignore[attr-defined]
    writer._execute = _Answers(writer._connection, happens=True).execute
    outcome = world.one(new_run("r1"), worker=None)
    writer._execute = writer._connection.execute
    assert outcome == Created(id=RunId("r1"), events=outcome.events)  # type: ignore[union-attr]


def test_a_commit_that_raised_and_did_not_happen_can_be_tried_again(world: World) -> None:
    world.start("r1")
    writer = world.store._use().writer  # type: ignore[attr-defined]
    writer._execute = _Answers(writer._connection, happens=False).execute
    with pytest.raises(StoreUnavailable, match="try again"):
        world.one(world.entry("r1", step()))
    writer._execute = writer._connection.execute
    assert world.append("r1", step()).seq == 3


# --- the write-ahead log ---


def test_the_log_is_checkpointed_when_it_has_grown(path: Path, world: World) -> None:
    world.start("r1")
    for number in range(1, 40):
        world.append("r1", step(number, b'"' + b"x" * 200_000 + b'"'))
    world.do(world.store.run(RunId("r1")))  # behind the checkpoint in the queue of the read thread
    assert Path(f"{path}-wal").stat().st_size < 16 * 2**20


def test_h2_a_log_that_grew_behind_a_pinned_reader_is_cut_off(
    path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlive.stores.sqlite.store._LARGEST_WAL", 6 * 2**20)
    world.start("r1")
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchall()
    for number in range(1, 40):
        world.append("r1", step(number, b'"' + b"x" * 200_000 + b'"'))
    reader.execute("ROLLBACK")
    for number in range(40, 70):
        world.append("r1", step(number, b'"' + b"x" * 200_000 + b'"'))
    world.do(world.store.run(RunId("r1")))
    assert Path(f"{path}-wal").stat().st_size < 8 * 2**20


# --- the audit ---


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("UPDATE runs SET owner = NULL", "stranded"),
        ("UPDATE runs SET owner = 'ghost'", "its owner ghost is unknown"),
        ("UPDATE runs SET seq = 9", "its row counts 9 events"),
        ("UPDATE runs SET status = 'completed', owner = NULL", "its row says completed, its log running"),
        ("INSERT INTO waits VALUES ('r1', 7, 1, 'sleep', 5.0)", "the wait of ref 7"),
        ("INSERT INTO waits VALUES ('gone', 7, 1, 'sleep', 5.0)", "run gone: it does not exist"),
        ("DELETE FROM events WHERE seq = 2", "event 3 stands in place 2"),
        ("UPDATE events SET time = 0 WHERE seq = 3", "time or epoch goes back at event 3"),
        ("UPDATE events SET seq = seq + 9 WHERE seq = 1", "the first event is not run_created"),
    ],
)
def test_the_audit_finds_what_can_not_be(path: Path, world: World, damage: str, line: str) -> None:
    world.start("r1")
    world.append("r1", ev.StepCompleted(ref=1, name="s", digest="d", result=Raw(b"1"), started=1.0))
    apsw.Connection(str(path)).execute(damage)
    assert any(line in fault for fault in world.faults())
