"""``outlive db``: the schema of a store on PostgreSQL, and what other commands say of such a store."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from outlive.stores.postgres.connections import parse
from outlive.stores.urls import shown

from .conftest import Project

pytestmark = pytest.mark.slow


def test_a_schema_is_made_and_told_of(project: Project, postgres_url: str) -> None:
    before = project.outlive("db", "status", "--url", postgres_url, "--json")
    assert (before.code, before.json["version"], before.json["fits"]) == (1, 0, False)
    assert "outlive db migrate" in project.outlive("db", "status", "--url", postgres_url).out

    made = project.outlive("db", "migrate", "--url", postgres_url, "--json")
    assert (made.code, made.json["fits"], made.json["version"]) == (0, True, made.json["known"])

    again = project.outlive("db", "migrate", "--url", postgres_url)
    assert again.code == 0
    assert f"version {made.json['version']}" in again.out
    assert project.outlive("db", "status", "--url", postgres_url).code == 0


def test_a_file_has_none(project: Project) -> None:
    done = project.outlive("db", "status", "--url", "sqlite:///x.db")
    assert done.code == 2
    assert "PostgreSQL" in done.err and "Traceback" not in done.err


def test_without_a_server_it_ends_with_1(project: Project) -> None:
    done = project.outlive("db", "status", "--url", "postgresql://me:secret@127.0.0.1:1/none")
    assert done.code == 1
    assert "secret" not in done.out + done.err and "Traceback" not in done.err


def test_commands_work_on_it_as_on_a_file(project: Project, postgres_url: str) -> None:
    done = project.outlive("run", "shop:double", "21", "--run-id", "r1", "--url", postgres_url)
    assert (done.code, done.out) == (0, "42.0\n"), done.err
    [run] = project.outlive("runs", "--json", "--url", postgres_url).json
    assert (run["id"], run["status"]) == ("r1", "completed")
    assert "shop:double" in project.outlive("show", "r1", "--url", postgres_url).out
    assert project.outlive("doctor", "--url", postgres_url).code == 0
    assert project.outlive("prune", "--older-than", "0s", "--url", postgres_url).out == "1 runs deleted\n"


@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("show", "r1"),
        ("tail", "r1"),
        ("hooks",),
        ("queues",),
        ("queues", "limit", "gpu", "1"),
        ("replay", "r1", "shop"),
        ("resume", "token", "1"),
        ("cancel", "r1"),
        ("keys", "list"),
        ("keys", "revoke", "k1"),
        ("doctor",),
        ("prune", "--older-than", "1d"),
    ],
)
def test_a_command_that_looks_makes_no_schema(project: Project, postgres_url: str, command: tuple[str, ...]) -> None:
    url = postgres_url.replace("//outlive@", "//outlive:hunter2@")
    done = project.outlive(*command, "--url", url)

    assert (done.code, done.out) == (2, "")
    assert shown(url) in done.err and "?schema=" in done.err and "outlive db migrate" in done.err
    assert "hunter2" not in done.err and len(done.err.splitlines()) == 1
    assert not asyncio.run(_schema_exists(url))


async def _schema_exists(url: str) -> bool:
    dsn, schema = parse(url)
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        return await connection.fetchval("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", schema)
    finally:
        await connection.close()


def test_a_server_that_is_not_there_is_no_finding(project: Project) -> None:
    done = project.outlive("doctor", "--url", "postgresql://me:secret@127.0.0.1:1/none")
    assert (done.code, done.out) == (1, "")
    assert "secret" not in done.err and "wrong" not in done.err


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [("?schema=pg_shop", "'pg_shop' can't be a schema"), ("?schema=shop&nonsense=1", "nonsense")],
)
@pytest.mark.parametrize("command", [("runs",), ("db", "status"), ("worker", "shop"), ("run", "shop:double", "1")])
def test_a_url_that_can_never_be_used_is_wrong_usage(
    project: Project, postgres_server: str, command: tuple[str, ...], parameters: str, problem: str
) -> None:
    done = project.outlive(*command, "--url", postgres_server + parameters)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


@pytest.mark.parametrize("command", [("runs",), ("db", "status"), ("worker", "shop")])
def test_a_port_that_is_no_number_is_wrong_usage(project: Project, command: tuple[str, ...]) -> None:
    done = project.outlive(*command, "--url", "postgresql://me:secret@host:notaport/db")
    assert (done.code, done.out) == (2, "")
    assert "postgresql://user:password@host:5432/database" in done.err and "secret" not in done.err


@pytest.mark.parametrize("command", [("runs",), ("doctor",), ("db", "status"), ("db", "migrate"), ("worker", "shop")])
def test_without_its_driver_the_extra_is_named(project: Project, command: tuple[str, ...]) -> None:
    (project.folder / "sitecustomize.py").write_text('import sys\n\nsys.modules["asyncpg"] = None\n')
    done = project.outlive(*command, "--url", "postgresql://host/db", PYTHONPATH=str(project.folder))
    assert (done.code, done.out) == (2, "")
    assert done.err == "outlive: PostgreSQL needs its driver: pip install 'outlive[postgres]'\n"
