"""``outlive worker``."""

from __future__ import annotations

import importlib
import signal

import pytest

from outlive import Engine
from outlive.stores.postgres.connections import parse
from outlive.stores.urls import shown

from .conftest import FOREVER, Project, read_until

pytestmark = pytest.mark.slow


def test_a_worker_finishes_what_others_left_and_stops_when_told(project: Project) -> None:
    token = project.interrupted("one")
    project.outlive("resume", token, "7")
    worker = project.begin("worker", "shop.py")
    read_until(worker, "run one of shop:ask: completed", stream="stderr")
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=FOREVER)

    assert worker.returncode == 0
    assert "stopped" in said
    assert project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one").json == ["answer", 7]


def test_a_second_signal_ends_it_at_once(project: Project) -> None:
    (project.folder / "slow.py").write_text(
        "import asyncio\nfrom outlive import step, workflow\n"
        "@step\nasync def linger():\n    print('lingering', flush=True)\n    await asyncio.sleep(600)\n"
        "@workflow\nasync def stay():\n    await linger()\n"
    )
    started = project.begin("run", "slow:stay", "--run-id", "one")
    read_until(started, "lingering")
    started.kill()
    started.wait(FOREVER)
    worker = project.begin("worker", "slow")
    read_until(worker, "lingering")
    worker.send_signal(signal.SIGTERM)
    read_until(worker, "stopping", stream="stderr")
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(FOREVER) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("modules", "problem"),
    [((), "which workflows"), (("shop:buy",), "name its module: shop"), (("json",), "no workflow and no step in json")],
)
def test_a_worker_needs_modules_with_workflows(project: Project, modules: tuple[str, ...], problem: str) -> None:
    done = project.outlive("worker", *modules)

    assert done.code == 2
    assert problem in done.err


BANK = """
import contextlib
import os

import asyncpg
from outlive import create_webhook, get_connection, step, workflow


@contextlib.asynccontextmanager
async def begin():
    connection = await asyncpg.connect(os.environ["BANK"])
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@step(transaction=True)
async def pay():
    return await get_connection().fetchval("SELECT 40 + 2")


@workflow
async def buys():
    with create_webhook() as link:
        return [await pay(), link.url.split("/")[2]]
"""


async def test_a_worker_is_told_how_transactions_begin_and_where_webhooks_are_called(
    project: Project, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.folder / "bank.py").write_text(BANK)
    options = ("--url", postgres_url, "--transactions", "bank:begin", "--base-url", "https://flows.example")
    worker = project.begin("worker", "bank", *options, BANK=parse(postgres_url)[0])
    read_until(worker, "works in", stream="stderr")
    monkeypatch.syspath_prepend(project.folder)
    bank = importlib.import_module("bank")
    async with Engine(postgres_url, worker=False) as client:
        assert await (await client.start(bank.buys)).result(timeout=FOREVER) == [42, "flows.example"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [("begin", "names nothing"), ("shop:begin", "has no 'begin'"), ("nowhere:begin", "no module")],
)
def test_what_begins_no_transactions_is_wrong_usage(project: Project, target: str, problem: str) -> None:
    done = project.outlive("worker", "shop.py", "--transactions", target)

    assert done.code == 2
    assert problem in done.err


@pytest.mark.parametrize("options", [(), ("--verbose",), ("--processes", "2")])
def test_a_worker_never_tells_the_password_of_its_store(
    project: Project, postgres_url: str, options: tuple[str, ...]
) -> None:
    url = postgres_url.replace("//outlive@", "//outlive:hunter2@")
    assert "hunter2" in url
    worker = project.begin("worker", "shop.py", "--url", url, *options)
    line = read_until(worker, "works in", stream="stderr")
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=FOREVER)

    assert shown(url) in line
    assert "hunter2" not in line + out + err
