"""Many workers on one PostgreSQL, while everything goes wrong that can: processes, connections, the server, the network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from outlive import Engine
from tests.servers.pgbouncer import NoPgbouncer, pgbouncer
from tests.servers.postgres import Postgres, postgres
from tests.servers.proxy import Proxy

from .fleet import Fleet, fleet_on
from .ledger import check_ledger, check_mixed, insist, send
from .program import acts, mixed

SECONDS = float(os.environ.get("OUTLIVE_CHAOS_SECONDS", "180"))
LEASE = 2.0
HEALED_WITHIN = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.own_server, pytest.mark.timeout(900)]


class Chaos:
    """What goes wrong, each in a task of its own, and how often it has."""

    def __init__(self, fleet: Fleet, server: Postgres) -> None:
        self.fleet = fleet
        self.server = server
        self.chance = random.Random(11)
        self.kills = self.freezes = self.restarts = self.cuts = 0
        self._frozen: set[int] = set()
        self._restarting = threading.Lock()

    async def kill_workers(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.5, 2.0))
            working = [worker for worker in self.fleet.working() if worker.pid not in self._frozen]
            if len(working) > 1:
                self.fleet.kill(self.chance.choice(working))
                self.kills += 1
                self.fleet.spawn()

    async def freeze_workers(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.2, 1.0))
            working = self.fleet.working()
            if not working:
                continue
            worker = self.chance.choice(working)
            self._frozen.add(worker.pid)
            self.fleet.freeze(worker)
            await asyncio.sleep(LEASE * 1.5)  # others take over what it had
            self.fleet.thaw(worker)
            self._frozen.discard(worker.pid)
            self.freezes += 1

    async def crash_the_server(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(3.0, 7.0))
            await asyncio.to_thread(self._crash_the_server)
            self.restarts += 1

    def _crash_the_server(self) -> None:
        with self._restarting:
            self.server.stop(signal.SIGQUIT)
            self.server.start()

    def heal(self) -> None:
        """All workers go on, and the server is up: whoever is ended while he waits for a thread does not end that."""
        self.fleet.thaw_all()
        with self._restarting:
            pass

    async def end_connections(self) -> None:
        """Five a second."""
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self.server.url, timeout=2)
                try:
                    ended = await connection.fetch(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outlive' "
                        "ORDER BY random() LIMIT 1"
                    )
                    self.cuts += len(ended)
                finally:
                    connection.terminate()


async def work(client: Engine, name: str, healed: asyncio.Event) -> None:
    """Runs of two kinds, one wave after the other, until it is over; and the last ones to their ends."""
    wave = 0
    while not healed.is_set() or wave == 0:
        wave += 1
        first, second = mixed.options(run_id=f"{name}-{wave}"), acts.options(run_id=f"acts-{name}-{wave}")
        token = f"{name}-{wave}"
        run = await insist(lambda first=first, token=token: client.start(first, token, 4))
        other = await insist(lambda second=second: client.start(second, 3))
        sending = asyncio.create_task(send(client, token, 4))
        check_mixed(await insist(run.result))
        assert await insist(other.result) == 9
        await sending


@contextlib.asynccontextmanager
async def going_wrong(*troubles: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(trouble()) for trouble in troubles]
    try:
        yield
        for task in tasks:
            assert not task.done(), f"a trouble ended by itself: {task}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_chaos_loses_nothing_doubles_nothing_and_strands_nothing(tmp_path: Path) -> None:
    with postgres(fsync=True) as server:
        await endure(server, server.url, tmp_path, SECONDS)


async def test_chaos_behind_a_pooler_loses_nothing(tmp_path: Path) -> None:
    """Which has connections of its own, and goes on giving out those that the server has ended."""
    with postgres(fsync=True) as server:
        try:
            with pgbouncer(server.port) as url:
                await endure(server, url, tmp_path, SECONDS / 6)
        except NoPgbouncer as error:
            pytest.skip(str(error))


async def endure(server: Postgres, url: str, folder: Path, seconds: float) -> None:
    with fleet_on(url, folder, lease=LEASE) as fleet:
        for _ in range(4):
            fleet.spawn()
        chaos = Chaos(fleet, server)
        async with Engine(url, worker=False) as client:
            healed = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                async with going_wrong(
                    chaos.kill_workers, chaos.freeze_workers, chaos.crash_the_server, chaos.end_connections
                ):
                    working = [group.create_task(work(client, f"w{number}", healed)) for number in range(6)]
                    await asyncio.sleep(seconds)
                await asyncio.to_thread(chaos.heal)
                healed.set()
                await asyncio.wait_for(asyncio.gather(*working), HEALED_WITHIN)
            await check_ledger(client, fleet)
        print(f"{chaos.kills} kills, {chaos.freezes} freezes, {chaos.restarts} restarts, {chaos.cuts} cuts")
        enough = seconds / 180
        assert chaos.kills >= 90 * enough and chaos.freezes >= 30 * enough and chaos.restarts >= 20 * enough


async def test_a_network_that_cuts_and_falls_silent_loses_nothing(tmp_path: Path) -> None:
    with postgres(fsync=True) as server:
        async with Proxy(server.port) as proxy:
            url = f"postgresql://outlive@127.0.0.1:{proxy.port}/postgres"
            with fleet_on(url, tmp_path, lease=LEASE) as fleet:
                for _ in range(3):
                    fleet.spawn()
                async with Engine(server.url, worker=False) as client:
                    healed = asyncio.Event()
                    async with asyncio.TaskGroup() as group:
                        async with going_wrong(proxy.misbehave):
                            working = [group.create_task(work(client, f"w{number}", healed)) for number in range(4)]
                            await asyncio.sleep(SECONDS / 6)
                        healed.set()
                        await asyncio.wait_for(asyncio.gather(*working), HEALED_WITHIN)
                    await check_ledger(client, fleet)
            print(f"{proxy.cut} connections cut, {proxy.after_commit} of them after COMMIT, {proxy.silences} silences")
            assert proxy.after_commit > 0 and proxy.silences > 0 and proxy.cut > proxy.after_commit
