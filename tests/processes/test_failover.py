"""The server dies for good, and its standby takes its place: workers and clients go on with that."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from outlive import Engine
from tests.servers.postgres import postgres, standby_of

from .fleet import fleet_on
from .ledger import check_ledger
from .test_chaos import HEALED_WITHIN, LEASE, work

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.own_server, pytest.mark.timeout(300)]


async def sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_a_failover_loses_nothing_and_nobody_has_to_be_restarted(tmp_path: Path) -> None:
    """With synchronous replication, or what the standby never got would be lost."""
    with postgres(fsync=True) as first, standby_of(first) as second:
        await sql(first.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        both = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        url = f"postgresql://outlive@{both}/postgres?target_session_attrs=read-write"
        with fleet_on(url, tmp_path, lease=LEASE) as fleet:
            workers = [fleet.add() for _ in range(3)]
            async with Engine(url, worker=False) as client:
                healed = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    working = [group.create_task(work(client, f"w{number}", healed)) for number in range(4)]
                    await fleet.noted("end", 100)
                    first.stop(signal.SIGQUIT)
                    before = len(fleet.lines("end"))
                    await asyncio.sleep(1)
                    await sql(second.url, "SELECT pg_promote()")
                    await asyncio.wait_for(fleet.noted("end", before + 100), HEALED_WITHIN)
                    healed.set()
                    await asyncio.wait_for(asyncio.gather(*working), HEALED_WITHIN)
                await check_ledger(client, fleet)
            assert all(worker.poll() is None for worker in workers)
