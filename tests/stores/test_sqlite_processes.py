"""Several processes on one file: they die, and the others know at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.stores.sqlite import SQLiteStore
from outlive.testing.conformance import VirtualClock, World
from outlive.testing.conformance.world import W2

_PRELUDE = """
import asyncio, sys
from outlive.stores.sqlite import SQLiteStore
from outlive.testing.conformance import VirtualClock, World
from outlive.testing.conformance.world import *
from outlive.model.entries import *
clock = VirtualClock()
runner = asyncio.Runner()
world = World(SQLiteStore(sys.argv[1], clock=clock), clock, runner)
world.do(world.store.open())
"""


class Other:
    """Another process; it says ``ready`` and then does what it reads."""

    def __init__(self, path: Path, script: str) -> None:
        source = _PRELUDE + textwrap.dedent(script) + '\nprint("ready", flush=True)\nsys.stdin.read()\n'
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def world(path: Path) -> Iterator[World]:
    clock = VirtualClock()
    with asyncio.Runner() as runner:
        world = World(SQLiteStore(path, clock=clock), clock, runner)
        world.do(world.store.open())
        world.join(W2)
        yield world
        world.do(world.store.close())


def test_r33_the_runs_of_a_killed_process_are_taken_over_at_once(path: Path, world: World) -> None:
    other = Other(path, "world.join(); world.start('r1')")
    assert world.claim(W2).runs == ()  # it lives
    other.kill()
    [claimed] = world.claim(W2).runs  # and no lease had to end: this clock never moved
    assert (claimed.run, claimed.takeover, claimed.crashes) == ("r1", True, 1)
    assert sorted(file.name for file in Path(f"{path}-workers").iterdir()) == ["w2"]


def test_r33_a_process_that_stopped_is_swept_when_its_lease_ends(path: Path, world: World) -> None:
    other = Other(path, "world.join(lease=10.0); world.start('r1')")
    world.clock.advance(10)
    assert [c.run for c in world.claim(W2).runs] == ["r1"]
    other.kill()


def test_r33_one_id_is_not_used_by_two_processes(path: Path, world: World) -> None:
    other = Other(
        path,
        """
        from outlive.errors import LeaseLost
        try:
            world.join(W2)
        except LeaseLost:
            world.create('refused')
        """,
    )
    assert world.listed() == ["refused"]
    other.kill()


def test_r33_writes_of_another_process_are_noticed(path: Path, world: World) -> None:
    world.store.changed()
    other = Other(path, "world.create('r1')")
    assert world.store.changed()
    other.kill()


def test_h6_a_writer_lock_of_another_process_puts_an_inline_commit_off(path: Path, world: World) -> None:
    world.create("r1")
    world.claim(W2)
    other = Other(path, "assert world.store._use().locks.try_writing()")
    entry = world.entry("r1")
    assert world.store.commit_now(W2, [entry]) is None
    other.kill()
    assert world.store.commit_now(W2, [entry]) is not None


def test_a_process_killed_with_a_hot_log_loses_nothing_that_was_committed(path: Path, world: World) -> None:
    other = Other(
        path,
        """
        world.join()
        world.start('r1')
        world.append('r1', step(1))
        connection = world.store._use().writer._connection
        connection.execute("BEGIN IMMEDIATE")  # and dies in the middle of the next
        connection.execute("UPDATE runs SET seq = 99")
        """,
    )
    other.kill()
    assert world.record().seq == 3
    assert [c.run for c in world.claim(W2).runs] == ["r1"]
    assert world.faults() == []


def test_a_file_left_by_killed_processes_only_is_sound(path: Path) -> None:
    other = Other(path, "world.join(); world.start('r1'); world.append('r1', step(1))")
    other.kill()
    clock = VirtualClock()
    with asyncio.Runner() as runner:
        world = World(SQLiteStore(path, clock=clock), clock, runner)
        world.do(world.store.open())
        assert world.faults() == []
        assert world.kinds() == ["run_created", "run_started", "step_completed"]
        world.do(world.store.close())
